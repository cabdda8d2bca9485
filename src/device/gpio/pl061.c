// Arm PrimeCell General Purpose Input/Output (PL061), technical reference manual DDI 0190B: eight
// pins with masked data access, level and edge interrupts. Mode control (AFSEL) is stored only.
#include "device/gpio/pl061.h"
#include "base/bits.h"

struct pl061 {
    struct sys_device sys;
    struct irq irq, pins[8];
    uint32_t data; // output latch for pins that are out, level for those that are in
    uint32_t dir, is, ibe, iev, ie, edges, afsel;
    uint32_t driven; // what the outside puts on the pins
    uint32_t shown;  // the output levels last told to the outside
};

// Level interrupts follow the pin; edge interrupts are latched until cleared.
static uint32_t raw_status(const struct pl061 *s)
{
    uint32_t level = ~(s->data ^ s->iev) & s->is & ~s->dir & 0xff;
    return level | (s->edges & ~s->is);
}

static void pl061_update(struct pl061 *s)
{
    uint32_t inputs = (s->data & s->dir) | (s->driven & ~s->dir);
    uint32_t changed = (inputs ^ s->data) & ~s->dir;
    s->data = inputs & 0xff;
    uint32_t wanted = s->ibe | ~(s->data ^ s->iev); // both edges, or the one IEV names
    s->edges |= changed & wanted & ~s->is & 0xff;

    uint32_t out = s->data & s->dir, flipped = out ^ s->shown;
    s->shown = out;
    for (unsigned i = 0; i < 8; i++)
        if (bit(flipped, i))
            irq_set(&s->pins[i], (int)bit(out, i));
    irq_set(&s->irq, (raw_status(s) & s->ie) != 0);
}

static void pin_set(void *opaque, int n, int level)
{
    struct pl061 *s = opaque;
    device_lock(&s->sys.dev);
    s->driven = (uint32_t)bits_set(s->driven, (unsigned)n, (unsigned)n, level != 0);
    pl061_update(s);
    device_unlock(&s->sys.dev);
}

struct irq pl061_pin(struct device *d, unsigned n)
{
    BUG_ON(n > 7);
    return (struct irq){pin_set, container_of(d, struct pl061, sys.dev), (int)n};
}

static void changed(void *opaque, unsigned i, uint64_t v)
{
    pl061_update(opaque);
}

static uint64_t ris_read(void *opaque, unsigned i)
{
    return raw_status(opaque);
}

static uint64_t mis_read(void *opaque, unsigned i)
{
    struct pl061 *s = opaque;
    return raw_status(s) & s->ie;
}

static void ic_write(void *opaque, unsigned i, uint64_t v)
{
    struct pl061 *s = opaque;
    s->edges &= ~(uint32_t)v;
    pl061_update(s);
}

static const struct reg pl061_regs[] = {
    {0x400, "DIR", 4, REG_RW, 0, offsetof(struct pl061, dir), 0xff, .write = changed},
    {0x404, "IS", 4, REG_RW, 0, offsetof(struct pl061, is), 0xff, .write = changed},
    {0x408, "IBE", 4, REG_RW, 0, offsetof(struct pl061, ibe), 0xff, .write = changed},
    {0x40c, "IEV", 4, REG_RW, 0, offsetof(struct pl061, iev), 0xff, .write = changed},
    {0x410, "IE", 4, REG_RW, 0, offsetof(struct pl061, ie), 0xff, .write = changed},
    {0x414, "RIS", 4, REG_RO, .read = ris_read},
    {0x418, "MIS", 4, REG_RO, .read = mis_read},
    {0x41c, "IC", 4, REG_WO, .write = ic_write},
    {0x420, "AFSEL", 4, REG_RW, 0, offsetof(struct pl061, afsel), 0xff},
    REGS_PRIMECELL(0x061, 0),
};
static const struct regbank pl061_bank = REGBANK("pl061", pl061_regs);

// GPIODATA: address bits [9:2] choose which pins an access sees (2.2.1).
static enum mem_result pl061_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                  struct mem_attrs attrs)
{
    struct pl061 *s = opaque;
    if (off >= 0x400)
        return regbank_read(&pl061_bank, s, off, size, val);
    *val = s->data & (off >> 2);
    return MEM_OK;
}

static enum mem_result pl061_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                   struct mem_attrs attrs)
{
    struct pl061 *s = opaque;
    if (off >= 0x400)
        return regbank_write(&pl061_bank, s, off, size, val);
    uint32_t mask = (uint32_t)(off >> 2) & s->dir;
    s->data = (s->data & ~mask) | ((uint32_t)val & mask);
    pl061_update(s);
    return MEM_OK;
}

static const struct mmio_ops pl061_ops = {
    .read = pl061_read, .write = pl061_write, .min_size = 4, .max_size = 4};

static int pl061_init(struct device *d, struct err *e)
{
    struct pl061 *s = container_of(d, struct pl061, sys.dev);
    sys_add_window(&s->sys, "pl061", 0x1000, &pl061_ops, s);
    sys_add_irq(&s->sys, &s->irq);
    for (unsigned i = 0; i < 8; i++)
        sys_add_irq(&s->sys, &s->pins[i]);
    return 0;
}

static void pl061_reset(struct device *d)
{
    pl061_update(container_of(d, struct pl061, sys.dev));
}

static int pl061_post_load(struct device *d, struct err *e)
{
    pl061_update(container_of(d, struct pl061, sys.dev));
    return 0;
}

#define STATE(member_)                                                                             \
    FIELD(struct pl061, member_, .kind = F_U32, .use = FIELD_STATE | FIELD_RESET, .max = 0xff)
static const struct field pl061_fields[] = {
    STATE(data),
    STATE(dir),
    STATE(is),
    STATE(ibe),
    STATE(iev),
    STATE(ie),
    STATE(edges),
    STATE(afsel),
    FIELD(struct pl061, driven, .kind = F_U32, .use = FIELD_STATE, .max = 0xff),
    {0},
};

const struct device_type pl061_type = {
    .name = "pl061",
    .desc = "Arm PrimeCell GPIO (PL061)",
    .category = "Misc devices",
    .size = sizeof(struct pl061),
    .fields = pl061_fields,
    .base = &sys_device_base,
    .init = pl061_init,
    .reset = pl061_reset,
    .post_load = pl061_post_load,
};
