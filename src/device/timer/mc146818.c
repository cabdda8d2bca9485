// Motorola MC146818 real-time clock with 114 bytes of battery-backed memory, as PCs have it (data
// sheet ADI856R2; century in byte 0x32). Time is the host's wall clock plus an offset, so that it
// goes on while a machine is paused. Modelled: binary and BCD, 12 and 24 hours, setting, the update
// and alarm interrupts once a second. Not modelled: the periodic interrupt, the square wave,
// daylight saving, a divider that is held.
#include "device/timer/mc146818.h"

#include <time.h>

enum {
    SECONDS,
    SECONDS_ALARM,
    MINUTES,
    MINUTES_ALARM,
    HOURS,
    HOURS_ALARM,
    WEEKDAY,
    DAY,
    MONTH,
    YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    CENTURY = 0x32,
};
enum {
    B_24H = 1 << 1,
    B_BINARY = 1 << 2,
    B_UPDATE = 1 << 4,
    B_ALARM = 1 << 5,
    B_SET = 1 << 7,
    C_UPDATE = 1 << 4,
    C_ALARM = 1 << 5,
    C_IRQ = 1 << 7,
    D_VALID = 1 << 7,
};

struct mc146818 {
    struct sys_device sys;
    struct irq irq;
    uint64_t base;
    int64_t offset; // seconds between the host's time and ours
    struct loop_timer tick;
    uint8_t index;
    uint8_t cmos[128];
};

static struct mc146818 *of(struct device *d)
{
    return container_of(d, struct mc146818, sys.dev);
}

static const int64_t second = 1000000000;

static uint8_t encode(const struct mc146818 *s, int v)
{
    return (uint8_t)(s->cmos[REG_B] & B_BINARY ? v : v / 10 << 4 | v % 10);
}
static int decode(const struct mc146818 *s, uint8_t v)
{
    return s->cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

// The time registers as they read now.
static void refresh(struct mc146818 *s)
{
    time_t now = (time_t)(host_realtime_ns() / second + s->offset);
    struct tm t;
    if (s->cmos[REG_B] & B_SET)
        return;
    gmtime_r(&now, &t);
    int hour = t.tm_hour;
    uint8_t pm = 0;
    if (!(s->cmos[REG_B] & B_24H)) {
        pm = hour >= 12 ? 0x80 : 0;
        hour = hour % 12 ? hour % 12 : 12;
    }
    s->cmos[SECONDS] = encode(s, t.tm_sec);
    s->cmos[MINUTES] = encode(s, t.tm_min);
    s->cmos[HOURS] = encode(s, hour) | pm;
    s->cmos[WEEKDAY] = encode(s, t.tm_wday + 1);
    s->cmos[DAY] = encode(s, t.tm_mday);
    s->cmos[MONTH] = encode(s, t.tm_mon + 1);
    s->cmos[YEAR] = encode(s, t.tm_year % 100);
    s->cmos[CENTURY] = encode(s, 19 + t.tm_year / 100);
}

// The guest set the registers: from now on time runs from there.
static void take_time(struct mc146818 *s)
{
    uint8_t h = s->cmos[HOURS];
    int hour = decode(s, h & 0x7f);
    if (!(s->cmos[REG_B] & B_24H))
        hour = hour % 12 + (h & 0x80 ? 12 : 0);
    struct tm t = {
        .tm_sec = decode(s, s->cmos[SECONDS]),
        .tm_min = decode(s, s->cmos[MINUTES]),
        .tm_hour = hour,
        .tm_mday = decode(s, s->cmos[DAY]),
        .tm_mon = decode(s, s->cmos[MONTH]) - 1,
        .tm_year = decode(s, s->cmos[YEAR]) + (decode(s, s->cmos[CENTURY]) - 19) * 100,
    };
    s->offset = (int64_t)timegm(&t) - host_realtime_ns() / second;
}

static void update(struct mc146818 *s)
{
    bool due = s->cmos[REG_C] & s->cmos[REG_B] & (B_UPDATE | B_ALARM);
    s->cmos[REG_C] = (uint8_t)((s->cmos[REG_C] & ~C_IRQ) | (due ? C_IRQ : 0));
    irq_set(&s->irq, due);
}

static bool matches(const struct mc146818 *s, unsigned alarm, unsigned now)
{
    return s->cmos[alarm] >= 0xc0 || s->cmos[alarm] == s->cmos[now];
}

// The second's end, while someone waits for it.
static void arm(struct mc146818 *s)
{
    if (s->cmos[REG_B] & (B_UPDATE | B_ALARM))
        loop_timer_set(&s->tick, host_monotonic_ns() + second - host_realtime_ns() % second + 1000);
    else
        loop_timer_cancel(&s->tick);
}

static void ticked(void *opaque)
{
    struct mc146818 *s = opaque;
    device_lock(&s->sys.dev);
    refresh(s);
    s->cmos[REG_C] |= C_UPDATE;
    if (matches(s, SECONDS_ALARM, SECONDS) && matches(s, MINUTES_ALARM, MINUTES) &&
        matches(s, HOURS_ALARM, HOURS))
        s->cmos[REG_C] |= C_ALARM;
    update(s);
    arm(s);
    device_unlock(&s->sys.dev);
}

static uint8_t read_byte(struct mc146818 *s)
{
    uint8_t v;
    switch (s->index) {
    case SECONDS ... YEAR:
    case CENTURY:
        refresh(s);
        return s->cmos[s->index];
    case REG_C:
        v = s->cmos[REG_C];
        s->cmos[REG_C] = 0;
        update(s);
        return v;
    default:
        return s->cmos[s->index];
    }
}

static void write_byte(struct mc146818 *s, uint8_t v)
{
    bool was_set = s->cmos[REG_B] & B_SET;
    switch (s->index) {
    case SECONDS:
    case MINUTES:
    case HOURS:
    case WEEKDAY ... YEAR:
    case CENTURY:
        refresh(s);
        s->cmos[s->index] = v;
        if (!was_set)
            take_time(s);
        break;
    case REG_A:
        s->cmos[REG_A] = v & 0x7f;
        break;
    case REG_B:
        if (!was_set && v & B_SET)
            refresh(s);
        s->cmos[REG_B] = v;
        if (was_set && !(v & B_SET))
            take_time(s);
        update(s);
        arm(s);
        break;
    case REG_C:
    case REG_D:
        break;
    default:
        s->cmos[s->index] = v;
    }
}

static enum mem_result rtc_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                struct mem_attrs attrs)
{
    *val = off ? read_byte(opaque) : 0xff;
    return MEM_OK;
}

static enum mem_result rtc_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                 struct mem_attrs attrs)
{
    struct mc146818 *s = opaque;
    if (off)
        write_byte(s, (uint8_t)val);
    else
        s->index = val & 0x7f; // bit 7 is the PC's NMI gate
    return MEM_OK;
}

static const struct mmio_ops ops = {.read = rtc_read, .write = rtc_write, .max_size = 1};

static int init(struct device *d, struct err *e)
{
    struct mc146818 *s = of(d);
    sys_add_window(&s->sys, "mc146818", 2, &ops, s);
    sys_add_irq(&s->sys, &s->irq);
    loop_timer_init(&s->tick, d->env->loop, NULL, ticked, s);
    if (s->base)
        s->offset = (int64_t)s->base - host_realtime_ns() / second;
    s->cmos[REG_A] = 0x26; // 32.768 kHz, 1024 Hz
    s->cmos[REG_B] = B_24H;
    s->cmos[REG_D] = D_VALID;
    return 0;
}

static void reset(struct device *d)
{
    struct mc146818 *s = of(d);
    s->cmos[REG_B] &= B_24H | B_BINARY;
    s->cmos[REG_C] = 0;
    loop_timer_cancel(&s->tick);
    update(s);
}

static void leave(struct device *d)
{
    loop_timer_cancel(&of(d)->tick);
}

static int post_load(struct device *d, struct err *e)
{
    update(of(d));
    arm(of(d));
    return 0;
}

static const struct field fields[] = {
    FIELD(struct mc146818, base, .kind = F_U64, .use = FIELD_PROP, .max = UINT32_MAX,
          .help = "seconds since the epoch at the start (0: the host's time)"),
    FIELD(struct mc146818, offset, .kind = F_U64, .use = FIELD_STATE),
    FIELD(struct mc146818, index, .kind = F_U8, .use = FIELD_STATE | FIELD_RESET, .max = 127),
    FIELD(struct mc146818, cmos, .kind = F_BYTES, .use = FIELD_STATE, .len = 128),
    {0},
};

const struct device_type mc146818_type = {
    .name = "mc146818rtc",
    .desc = "real-time clock of PCs (MC146818)",
    .category = "Misc devices",
    .size = sizeof(struct mc146818),
    .fields = fields,
    .base = &sys_device_base,
    .init = init,
    .reset = reset,
    .exit = leave,
    .post_load = post_load,
};
