// A register that says how far the guest has come: a write of N reports, on the operator's side,
// the time since the machine was first run. Test programs and initial RAM disks write it. A guest
// is told of POINTS times; later ones are dropped.
#include "base/log.h"
#include "device/isa/isa.h"

enum { POINTS = 32 };

struct boot_timer {
    struct device dev;
    uint32_t iobase, points;
    struct region *region;
};

static enum mem_result port_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    struct boot_timer *t = opaque;
    int64_t us = clock_now(t->dev.env->clock) / 1000;
    if (t->points++ < POINTS)
        log_info("boot timer: point %u after %lld.%03lld ms", (unsigned)val, (long long)(us / 1000),
                 (long long)(us % 1000));
    return MEM_OK;
}

// Microseconds of guest time since the start, for programs in the guest.
static enum mem_result port_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                 struct mem_attrs attrs)
{
    *val = (uint64_t)clock_now(((struct boot_timer *)opaque)->dev.env->clock) / 1000;
    return MEM_OK;
}

static const struct mmio_ops ops = {.read = port_read, .write = port_write, .max_size = 4};

static int init(struct device *d, struct err *e)
{
    struct boot_timer *t = container_of(d, struct boot_timer, dev);
    t->region = space_map_mmio(isa_bus_of(d)->ports, "boot-timer", t->iobase, 4, &ops, t,
                               device_guard(d), 1);
    return 0;
}

static void leave(struct device *d)
{
    region_unmap(container_of(d, struct boot_timer, dev)->region);
}

static const struct field fields[] = {
    FIELD(struct boot_timer, iobase, .kind = F_U32, .use = FIELD_PROP, .init = 0x5f0,
          .max = 0xfff0),
    FIELD(struct boot_timer, points, .kind = F_U32, .use = FIELD_STATE | FIELD_RESET),
    {0},
};

const struct device_type isa_boot_timer_type = {
    .name = "isa-boot-timer",
    .desc = "reports how long the guest took to come here",
    .bus = "ISA",
    .category = "Misc devices",
    .size = sizeof(struct boot_timer),
    .fields = fields,
    .user_creatable = true,
    .init = init,
    .exit = leave,
};
