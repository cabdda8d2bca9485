// isa-debug-exit: a port by which a test program in the guest ends the machine with an exit status
// of its choice: (value << 1) | 1, as QEMU's device of that name gives it.
#include "device/isa/isa.h"

struct debug_exit {
    struct device dev;
    uint32_t iobase, iosize;
    struct region *region;
};

static enum mem_result port_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    struct machine_env *env = ((struct debug_exit *)opaque)->dev.env;
    env->request_shutdown(env->opaque, "guest-shutdown", (int)(val << 1 | 1) & 0xff);
    return MEM_OK;
}

static const struct mmio_ops ops = {.write = port_write, .max_size = 4};

static int init(struct device *d, struct err *e)
{
    struct debug_exit *x = container_of(d, struct debug_exit, dev);
    if (x->iobase + x->iosize > 0x10000)
        return err_set(e, "isa-debug-exit: ports end at 0xffff");
    x->region = space_map_mmio(isa_bus_of(d)->ports, "isa-debug-exit", x->iobase, x->iosize, &ops,
                               x, device_guard(d), 1);
    return 0;
}

static void leave(struct device *d)
{
    region_unmap(container_of(d, struct debug_exit, dev)->region);
}

static const struct field fields[] = {
    FIELD(struct debug_exit, iobase, .kind = F_U32, .use = FIELD_PROP, .init = 0x501,
          .max = 0xffff),
    FIELD(struct debug_exit, iosize, .kind = F_U32, .use = FIELD_PROP, .init = 2, .min = 1,
          .max = 8),
    {0},
};

const struct device_type isa_debug_exit_type = {
    .name = "isa-debug-exit",
    .desc = "ends the machine with an exit status",
    .bus = "ISA",
    .category = "Misc devices",
    .size = sizeof(struct debug_exit),
    .fields = fields,
    .user_creatable = true,
    .init = init,
    .exit = leave,
};
