// Power off and reset by ACPI's sleep control and reset registers.
#include "device/isa/power.h"

struct acpi_power {
    struct sys_device sys;
};

static enum mem_result power_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                   struct mem_attrs attrs)
{
    enum { SLP_EN = 1 << 5 };
    struct machine_env *env = ((struct acpi_power *)opaque)->sys.dev.env;
    if (off == ACPI_POWER_RESET && val == ACPI_POWER_RESET_VALUE)
        env->request_reset(env->opaque, "guest-reset");
    else if (off == ACPI_POWER_SLEEP_CONTROL && val & SLP_EN) {
        if ((val >> 2 & 7) == ACPI_POWER_S5)
            env->request_shutdown(env->opaque, "guest-shutdown", 0);
        else
            log_guest("acpi sleep", "acpi: sleep type %u does not exist", (unsigned)(val >> 2 & 7));
    }
    return MEM_OK;
}

static enum mem_result power_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                  struct mem_attrs attrs)
{
    *val = 0;
    return MEM_OK;
}

static const struct mmio_ops ops = {.read = power_read, .write = power_write, .max_size = 1};

static int init(struct device *d, struct err *e)
{
    struct acpi_power *p = container_of(d, struct acpi_power, sys.dev);
    sys_add_window(&p->sys, "acpi-power", ACPI_POWER_SIZE, &ops, p);
    return 0;
}

const struct device_type acpi_power_type = {
    .name = "acpi-power",
    .desc = "ACPI sleep and reset registers",
    .category = "Misc devices",
    .size = sizeof(struct acpi_power),
    .base = &sys_device_base,
    .init = init,
};
