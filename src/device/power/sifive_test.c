// SiFive test finisher (compatible "sifive,test1"; Linux drives it as a syscon for power-off and
// reboot): the low half of what is written to offset 0 says what to do, the high half is the exit
// status of a failure.
#include "device/power/sifive_test.h"

static enum mem_result finisher_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                     struct mem_attrs attrs)
{
    *val = 0;
    return MEM_OK;
}

static enum mem_result finisher_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                      struct mem_attrs attrs)
{
    struct machine_env *env = ((struct sys_device *)opaque)->dev.env;
    if (off)
        return MEM_OK;
    switch (val & 0xffff) {
    case FINISHER_PASS:
        env->request_shutdown(env->opaque, "guest-shutdown", 0);
        break;
    case FINISHER_FAIL:
        env->request_shutdown(env->opaque, "guest-shutdown", (int)(val >> 16 & 0xffff));
        break;
    case FINISHER_RESET:
        env->request_reset(env->opaque, "guest-reset");
        break;
    default:
        log_guest("finisher", "test finisher: 0x%llx means nothing", (unsigned long long)val);
    }
    return MEM_OK;
}

static const struct mmio_ops finisher_ops = {finisher_read, finisher_write, .min_size = 2,
                                             .max_size = 4};

static int finisher_init(struct device *d, struct err *e)
{
    struct sys_device *s = container_of(d, struct sys_device, dev);
    sys_add_window(s, "sifive-test", 0x1000, &finisher_ops, s);
    return 0;
}

const struct device_type sifive_test_type = {
    .name = "riscv.sifive.test",
    .desc = "SiFive test finisher (power off, reset)",
    .category = "Misc devices",
    .size = sizeof(struct sys_device),
    .base = &sys_device_base,
    .init = finisher_init,
};
