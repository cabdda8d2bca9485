// Goldfish real-time clock (Android's virtual platform, "Goldfish virtual hardware: timer"; Linux
// drivers/rtc/rtc-goldfish.c): nanoseconds since the epoch in two 32-bit halves, and one alarm. It
// follows the host's wall clock plus an offset, so that a paused machine's clock goes on.
#include "device/timer/goldfish_rtc.h"

struct goldfish_rtc {
    struct sys_device sys;
    struct irq irq;
    uint64_t base;
    struct loop_timer alarm;
    int64_t offset; // nanoseconds between the host's time and ours
    uint32_t time_high, alarm_low, alarm_high, alarm_running, irq_pending, irq_enabled;
};

static uint64_t now_ns(const struct goldfish_rtc *s)
{
    return (uint64_t)(host_realtime_ns() + s->offset);
}

static void update(struct goldfish_rtc *s)
{
    irq_set(&s->irq, s->irq_pending && s->irq_enabled);
}

static uint64_t alarm_ns(const struct goldfish_rtc *s)
{
    return (uint64_t)s->alarm_high << 32 | s->alarm_low;
}

static void alarm_set(struct goldfish_rtc *s)
{
    uint64_t now = now_ns(s), at = alarm_ns(s);
    if (at <= now) {
        s->alarm_running = 0;
        s->irq_pending = 1;
        update(s);
        return;
    }
    s->alarm_running = 1;
    uint64_t delay = MIN(at - now, (uint64_t)INT64_MAX / 2);
    loop_timer_set(&s->alarm, host_monotonic_ns() + (int64_t)delay);
}

static void alarm_fired(void *opaque)
{
    struct goldfish_rtc *s = opaque;
    device_lock(&s->sys.dev);
    if (s->alarm_running)
        alarm_set(s);
    device_unlock(&s->sys.dev);
}

// Reading the low half latches the high one.
static uint64_t time_low_read(void *opaque, unsigned i)
{
    struct goldfish_rtc *s = opaque;
    uint64_t now = now_ns(s);
    s->time_high = (uint32_t)(now >> 32);
    return (uint32_t)now;
}

// The high half is written first, and takes effect with the low one.
static void time_low_write(void *opaque, unsigned i, uint64_t v)
{
    struct goldfish_rtc *s = opaque;
    uint64_t want = (uint64_t)s->time_high << 32 | (uint32_t)v;
    s->offset = (int64_t)(want - (uint64_t)host_realtime_ns());
    if (s->alarm_running)
        alarm_set(s);
}

static void alarm_low_write(void *opaque, unsigned i, uint64_t v)
{
    alarm_set(opaque);
}

static void irq_enabled_write(void *opaque, unsigned i, uint64_t v)
{
    update(opaque);
}

static void clear_alarm_write(void *opaque, unsigned i, uint64_t v)
{
    struct goldfish_rtc *s = opaque;
    s->alarm_running = 0;
    loop_timer_cancel(&s->alarm);
}

static void clear_interrupt_write(void *opaque, unsigned i, uint64_t v)
{
    struct goldfish_rtc *s = opaque;
    s->irq_pending = 0;
    update(s);
}

#define AT(member) offsetof(struct goldfish_rtc, member)
static const struct reg goldfish_regs[] = {
    {0x00, "TIME_LOW", 4, REG_RW, .read = time_low_read, .write = time_low_write},
    {0x04, "TIME_HIGH", 4, REG_RW, 0, AT(time_high), 0xffffffff},
    {0x08, "ALARM_LOW", 4, REG_RW, 0, AT(alarm_low), 0xffffffff, .write = alarm_low_write},
    {0x0c, "ALARM_HIGH", 4, REG_RW, 0, AT(alarm_high), 0xffffffff},
    {0x10, "IRQ_ENABLED", 4, REG_RW, 0, AT(irq_enabled), 1, .write = irq_enabled_write},
    {0x14, "CLEAR_ALARM", 4, REG_WO, .write = clear_alarm_write},
    {0x18, "ALARM_STATUS", 4, REG_RO, 0, AT(alarm_running)},
    {0x1c, "CLEAR_INTERRUPT", 4, REG_WO, .write = clear_interrupt_write},
};
static const struct regbank goldfish_bank = REGBANK("goldfish-rtc", goldfish_regs);

static int rtc_init(struct device *d, struct err *e)
{
    struct goldfish_rtc *s = container_of(d, struct goldfish_rtc, sys.dev);
    sys_add_bank(&s->sys, 0x24, &goldfish_bank);
    sys_add_irq(&s->sys, &s->irq);
    loop_timer_init(&s->alarm, d->env->loop, NULL, alarm_fired, s);
    if (s->base)
        s->offset = (int64_t)(s->base * 1000000000 - (uint64_t)host_realtime_ns());
    return 0;
}

static void rtc_reset(struct device *d)
{
    struct goldfish_rtc *s = container_of(d, struct goldfish_rtc, sys.dev);
    loop_timer_cancel(&s->alarm);
    update(s);
}

static void rtc_exit(struct device *d)
{
    struct goldfish_rtc *s = container_of(d, struct goldfish_rtc, sys.dev);
    loop_timer_cancel(&s->alarm);
}

static int rtc_post_load(struct device *d, struct err *e)
{
    struct goldfish_rtc *s = container_of(d, struct goldfish_rtc, sys.dev);
    update(s);
    if (s->alarm_running)
        alarm_set(s);
    return 0;
}

#define STATE(member_)                                                                             \
    FIELD(struct goldfish_rtc, member_, .kind = F_U32, .use = FIELD_STATE | FIELD_RESET)
static const struct field rtc_fields[] = {
    FIELD(struct goldfish_rtc, base, .kind = F_U64, .use = FIELD_PROP, .max = UINT32_MAX,
          .help = "seconds since the epoch at the start (0: the host's time)"),
    FIELD(struct goldfish_rtc, offset, .kind = F_U64, .use = FIELD_STATE),
    STATE(time_high),
    STATE(alarm_low),
    STATE(alarm_high),
    STATE(alarm_running),
    STATE(irq_pending),
    STATE(irq_enabled),
    {0},
};

const struct device_type goldfish_rtc_type = {
    .name = "goldfish_rtc",
    .desc = "goldfish real-time clock",
    .category = "Misc devices",
    .size = sizeof(struct goldfish_rtc),
    .fields = rtc_fields,
    .base = &sys_device_base,
    .init = rtc_init,
    .reset = rtc_reset,
    .exit = rtc_exit,
    .post_load = rtc_post_load,
};
