// The `time` counter and the comparators of the supervisor and of a virtual machine's supervisor
// (Sstc). The count follows the machine's virtual clock, so it stops when the machine does. The
// machine level's comparator is a device of the board.
#include "isa/riscv/system/system.h"

enum { NS_PER_TICK = 1000000000 / RV_TIMEBASE_HZ };

uint64_t rv_time(struct rv_cpu *c)
{
    uint64_t now = (uint64_t)(c->config.clock ? clock_now(c->config.clock) : host_monotonic_ns());
    return c->config.user_mode ? now : now / NS_PER_TICK;
}

static uint64_t compare_value(struct rv_cpu *c, unsigned n)
{
    return __atomic_load_n(n == RV_TIMER_S ? &c->s.timecmp : &c->vs.timecmp, __ATOMIC_SEQ_CST);
}

static uint64_t count(struct rv_cpu *c, unsigned n)
{
    uint64_t delta = n == RV_TIMER_VS ? __atomic_load_n(&c->htimedelta, __ATOMIC_SEQ_CST) : 0;
    return rv_time(c) + delta;
}

static bool is_due(struct rv_cpu *c, unsigned n)
{
    return count(c, n) >= compare_value(c, n);
}

static void set_line(struct rv_cpu *c, unsigned n, bool level)
{
    rv_line_set(c, n == RV_TIMER_S ? RV_INT_STI : RV_INT_VSTI, level);
}

// On the hart's thread: recompute the line, and arm the host timer for the moment it changes by
// itself.
void rv_timer_update(struct rv_cpu *c, unsigned n)
{
    struct loop_timer *t = &c->timers[n].timer;
    if (!t->loop)
        return;
    uint64_t now = count(c, n), at = compare_value(c, n), left = at - now;
    bool due = now >= at;
    set_line(c, n, due);
    if (due || left > (uint64_t)INT64_MAX / NS_PER_TICK / 2)
        loop_timer_cancel(t);
    else
        loop_timer_set(t, (int64_t)((rv_time(c) + left) * NS_PER_TICK));
    rv_update_interrupts(c);
}

// On the loop's thread: the line goes up; the hart's later write of the comparator lowers it. Such
// a write may come between a look and what is said by it, so look again until both agree: a line
// left high by a comparator that is no longer due would interrupt for ever, one left low by one
// that was written twice never again.
static void fire(void *opaque)
{
    struct rv_timer *t = opaque;
    unsigned n = (unsigned)(t - t->cpu->timers);
    if (!is_due(t->cpu, n))
        return;
    for (bool due = true, said = false; due != said; due = is_due(t->cpu, n))
        set_line(t->cpu, n, said = due);
}

void rv_timers_init(struct rv_cpu *c)
{
    for (unsigned n = 0; n < ARRAY_SIZE(c->timers); n++) {
        c->timers[n].cpu = c;
        if (c->config.loop && rv_has(c, RV_FEAT_SSTC))
            loop_timer_init(&c->timers[n].timer, c->config.loop, c->config.clock, fire,
                            &c->timers[n]);
    }
}

void rv_timers_exit(struct rv_cpu *c)
{
    for (unsigned n = 0; n < ARRAY_SIZE(c->timers); n++)
        if (c->timers[n].timer.loop)
            loop_timer_cancel(&c->timers[n].timer);
}
