// The generic timer: one physical count and five comparators per CPU. DDI 0487, D11 (D12 in later
// issues). The count follows the machine's virtual clock, so it stops when the machine does.
#include "isa/arm/arm_bits.h"

static enum arm_out out_of(enum arm_timer t)
{
    static const enum arm_out map[ARM_TIMERS] = {[ARM_TIMER_PHYS] = ARM_OUT_TIMER_PHYS,
                                                 [ARM_TIMER_VIRT] = ARM_OUT_TIMER_VIRT,
                                                 [ARM_TIMER_HYP] = ARM_OUT_TIMER_HYP,
                                                 [ARM_TIMER_SEC] = ARM_OUT_TIMER_SEC,
                                                 [ARM_TIMER_HYPVIRT] = ARM_OUT_TIMER_HYPVIRT};
    return map[t];
}

// Nanoseconds per tick is 16 at the usual 62.5 MHz; other rates take the 128-bit way.
static uint64_t ticks_of(uint64_t ns, uint64_t hz)
{
    return hz == 62500000 ? ns >> 4 : (uint64_t)((unsigned __int128)ns * hz / 1000000000);
}

static int64_t ns_of(uint64_t ticks, uint64_t hz)
{
    unsigned __int128 ns = ((unsigned __int128)ticks * 1000000000 + hz - 1) / hz;
    return ns > INT64_MAX ? INT64_MAX : (int64_t)ns;
}

static uint64_t rate(const struct arm_cpu *c)
{
    return c->config.user_mode ? 1000000000 : 62500000;
}

uint64_t arm_counter(struct arm_cpu *c)
{
    int64_t now = c->config.clock ? clock_now(c->config.clock) : host_monotonic_ns();
    return ticks_of((uint64_t)now, rate(c));
}

uint64_t arm_timer_count(struct arm_cpu *c, enum arm_timer t)
{
    return arm_counter(c) - (t == ARM_TIMER_VIRT ? c->cntvoff_el2 : 0);
}

static void set_level(struct arm_cpu *c, enum arm_timer t, bool level)
{
    c->timers[t].level = level;
    irq_set(&c->config.out[out_of(t)], level);
}

// On the vCPU's thread: recompute the line, and arm the host timer for the moment it changes by
// itself.
void arm_timer_update(struct arm_cpu *c, enum arm_timer n)
{
    struct arm_timer_state *t = &c->timers[n];
    if (!t->timer.loop)
        return;
    uint64_t count = arm_timer_count(c, n);
    bool due = (t->ctl & 1) && (int64_t)(count - t->cval) >= 0;
    set_level(c, n, due && !(t->ctl & 2));
    if (!(t->ctl & 1) || due) {
        loop_timer_cancel(&t->timer);
        return;
    }
    uint64_t at = t->cval + (n == ARM_TIMER_VIRT ? c->cntvoff_el2 : 0);
    loop_timer_set(&t->timer,
                   (int64_t)(t->cval - count) > (1ll << 62) / 16 ? INT64_MAX : ns_of(at, rate(c)));
}

static bool is_due(struct arm_cpu *c, enum arm_timer n)
{
    const struct arm_timer_state *t = &c->timers[n];
    uint64_t ctl = __atomic_load_n(&t->ctl, __ATOMIC_SEQ_CST);
    uint64_t cval = __atomic_load_n(&t->cval, __ATOMIC_SEQ_CST);
    return (ctl & 3) == 1 && (int64_t)(arm_timer_count(c, n) - cval) >= 0;
}

// On the loop's thread: the line goes up; the vCPU's later write of CTL or CVAL lowers it. Such a
// write may come between the look and the raise, so look again: a line left high by a comparator
// that is no longer due would interrupt for ever.
static void fire(void *opaque)
{
    struct arm_timer_state *t = opaque;
    struct arm_cpu *c = t->cpu;
    enum arm_timer n = (enum arm_timer)(t - c->timers);
    if (!is_due(c, n))
        return;
    set_level(c, n, true);
    if (!is_due(c, n))
        set_level(c, n, false);
}

void arm_timers_init(struct arm_cpu *c)
{
    c->cntfrq = rate(c);
    for (unsigned i = 0; i < ARM_TIMERS; i++) {
        c->timers[i].cpu = c;
        if (c->config.loop)
            loop_timer_init(&c->timers[i].timer, c->config.loop, c->config.clock, fire,
                            &c->timers[i]);
    }
}

void arm_timers_exit(struct arm_cpu *c)
{
    for (unsigned i = 0; i < ARM_TIMERS; i++)
        if (c->timers[i].timer.loop)
            loop_timer_cancel(&c->timers[i].timer);
}
