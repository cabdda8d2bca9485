// Arm PrimeCell Real Time Clock (PL031), technical reference manual DDI 0224C. Counts seconds of
// the host's wall clock plus an offset, so that a paused machine's clock goes on. The counter is
// always enabled (CR reads as one).
#include "device/timer/pl031.h"

struct pl031 {
    struct sys_device sys;
    struct irq irq;
    uint64_t base;
    struct loop_timer alarm;
    int64_t offset; // seconds between the host's time and ours
    uint32_t mr, lr, imsc, ris;
};

static const int64_t second = 1000000000;

static int64_t wall_ns(const struct pl031 *s)
{
    return host_realtime_ns() + s->offset * second;
}

static void pl031_update(struct pl031 *s)
{
    irq_set(&s->irq, (s->ris & s->imsc) != 0);
}

// The next time the 32-bit counter meets MR; a match of the current second has passed.
static void alarm_set(struct pl031 *s)
{
    int64_t now = wall_ns(s);
    uint32_t seconds = s->mr - (uint32_t)(now / second);
    if (seconds == 0) {
        s->ris = 1;
        pl031_update(s);
        loop_timer_cancel(&s->alarm);
        return;
    }
    int64_t delay = (int64_t)seconds * second - now % second;
    loop_timer_set(&s->alarm, host_monotonic_ns() + delay);
}

static void alarm_fired(void *opaque)
{
    struct pl031 *s = opaque;
    device_lock(&s->sys.dev);
    if ((uint32_t)(wall_ns(s) / second) - s->mr < 0x80000000u) {
        s->ris = 1;
        pl031_update(s);
    } else {
        alarm_set(s);
    }
    device_unlock(&s->sys.dev);
}

static uint64_t dr_read(void *opaque, unsigned i)
{
    return (uint32_t)(wall_ns(opaque) / second);
}

static void lr_write(void *opaque, unsigned i, uint64_t v)
{
    struct pl031 *s = opaque;
    s->offset += (int32_t)((uint32_t)v - (uint32_t)(wall_ns(s) / second));
    alarm_set(s);
}

static void mr_changed(void *opaque, unsigned i, uint64_t v)
{
    alarm_set(opaque);
}

static void imsc_changed(void *opaque, unsigned i, uint64_t v)
{
    pl031_update(opaque);
}

static uint64_t mis_read(void *opaque, unsigned i)
{
    struct pl031 *s = opaque;
    return s->ris & s->imsc;
}

static void icr_write(void *opaque, unsigned i, uint64_t v)
{
    struct pl031 *s = opaque;
    s->ris &= ~(uint32_t)v;
    pl031_update(s);
}

static uint64_t cr_read(void *opaque, unsigned i)
{
    return 1;
}

static void cr_write(void *opaque, unsigned i, uint64_t v) {}

static const struct reg pl031_regs[] = {
    {0x000, "DR", 4, REG_RO, .read = dr_read},
    {0x004, "MR", 4, REG_RW, 0, offsetof(struct pl031, mr), 0xffffffff, .write = mr_changed},
    {0x008, "LR", 4, REG_RW, 0, offsetof(struct pl031, lr), 0xffffffff, .write = lr_write},
    {0x00c, "CR", 4, REG_RW, .read = cr_read, .write = cr_write},
    {0x010, "IMSC", 4, REG_RW, 0, offsetof(struct pl031, imsc), 1, .write = imsc_changed},
    {0x014, "RIS", 4, REG_RO, 0, offsetof(struct pl031, ris)},
    {0x018, "MIS", 4, REG_RO, .read = mis_read},
    {0x01c, "ICR", 4, REG_WO, .write = icr_write},
    REGS_PRIMECELL(0x031, 0),
};
static const struct regbank pl031_bank = REGBANK("pl031", pl031_regs);

static int pl031_init(struct device *d, struct err *e)
{
    struct pl031 *s = container_of(d, struct pl031, sys.dev);
    sys_add_bank(&s->sys, 0x1000, &pl031_bank);
    sys_add_irq(&s->sys, &s->irq);
    loop_timer_init(&s->alarm, d->env->loop, NULL, alarm_fired, s);
    if (s->base)
        s->offset = (int64_t)s->base - host_realtime_ns() / second;
    return 0;
}

static void pl031_reset(struct device *d)
{
    struct pl031 *s = container_of(d, struct pl031, sys.dev);
    loop_timer_cancel(&s->alarm);
    pl031_update(s);
}

static void pl031_exit(struct device *d)
{
    struct pl031 *s = container_of(d, struct pl031, sys.dev);
    loop_timer_cancel(&s->alarm);
}

static int pl031_post_load(struct device *d, struct err *e)
{
    struct pl031 *s = container_of(d, struct pl031, sys.dev);
    pl031_update(s);
    if (!s->ris)
        alarm_set(s);
    return 0;
}

#define STATE(member_) FIELD(struct pl031, member_, .kind = F_U32, .use = FIELD_STATE | FIELD_RESET)
static const struct field pl031_fields[] = {
    FIELD(struct pl031, base, .kind = F_U64, .use = FIELD_PROP, .max = UINT32_MAX,
          .help = "seconds since the epoch at the start (0: the host's time)"),
    FIELD(struct pl031, offset, .kind = F_U64, .use = FIELD_STATE),
    STATE(mr),
    STATE(lr),
    STATE(imsc),
    STATE(ris),
    {0},
};

const struct device_type pl031_type = {
    .name = "pl031",
    .desc = "Arm PrimeCell real-time clock (PL031)",
    .category = "Misc devices",
    .size = sizeof(struct pl031),
    .fields = pl031_fields,
    .base = &sys_device_base,
    .init = pl031_init,
    .reset = pl031_reset,
    .exit = pl031_exit,
    .post_load = pl031_post_load,
};
