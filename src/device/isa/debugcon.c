// isa-debugcon: a port that firmware writes its messages to, one byte at a time (port 0xe9, as in
// Bochs); reading it gives a number by which its presence is known.
#include "chardev/chardev.h"
#include "device/isa/isa.h"

struct debugcon {
    struct device dev;
    uint32_t iobase, readback;
    struct chardev *chardev;
    struct chr_frontend *fe;
    struct region *region;
};

static enum mem_result port_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                 struct mem_attrs attrs)
{
    *val = ((struct debugcon *)opaque)->readback;
    return MEM_OK;
}

static enum mem_result port_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    struct debugcon *c = opaque;
    uint8_t byte = (uint8_t)val;
    if (c->fe)
        chr_write_all(c->fe, &byte, 1);
    return MEM_OK;
}

static const struct mmio_ops ops = {.read = port_read, .write = port_write, .max_size = 1};

static size_t takes_nothing(void *fe)
{
    return 0;
}
static void drop(void *fe, const uint8_t *p, size_t n) {}
static const struct chr_frontend_ops chr_ops = {.can_receive = takes_nothing, .receive = drop};

static int init(struct device *d, struct err *e)
{
    struct debugcon *c = container_of(d, struct debugcon, dev);
    if (c->chardev && !(c->fe = chr_attach(c->chardev, &chr_ops, c, e)))
        return -1;
    c->region = space_map_mmio(isa_bus_of(d)->ports, "isa-debugcon", c->iobase, 1, &ops, c,
                               device_guard(d), 1);
    return 0;
}

static void leave(struct device *d)
{
    struct debugcon *c = container_of(d, struct debugcon, dev);
    region_unmap(c->region);
    if (c->fe)
        chr_detach(c->fe);
}

static const struct field fields[] = {
    FIELD(struct debugcon, chardev, .kind = F_BACKEND_CHR, .use = FIELD_PROP,
          .help = "character back end"),
    FIELD(struct debugcon, iobase, .kind = F_U32, .use = FIELD_PROP, .init = 0xe9, .max = 0xffff),
    FIELD(struct debugcon, readback, .kind = F_U32, .use = FIELD_PROP, .init = 0xe9, .max = 0xff),
    {0},
};

const struct device_type isa_debugcon_type = {
    .name = "isa-debugcon",
    .desc = "debug console port of firmware",
    .bus = "ISA",
    .category = "Input devices",
    .size = sizeof(struct debugcon),
    .fields = fields,
    .user_creatable = true,
    .init = init,
    .exit = leave,
};
