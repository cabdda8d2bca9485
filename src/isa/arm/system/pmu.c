// The performance monitor, PMUv3. DDI 0487, D11 (D13 in later issues). A cycle is a nanosecond of
// virtual time. Events: SW_INCR, INST_RETIRED and CPU_CYCLES. Instructions are counted by
// translated code itself, in a slot, and only while a counter wants them (ARM_MODE_COUNT).
// Not modelled: chained and 64-bit event counters, export, PMCR.DP and what EL3 may prohibit. The
// overflow interrupt of an instruction counter comes some microseconds late.
#include "isa/arm/system/pmu.h"
#include <stdlib.h>

enum {
    PMCR_E = 1 << 0,
    PMCR_P = 1 << 1,
    PMCR_C = 1 << 2,
    PMCR_LC = 1 << 6,
    PMCR_KEPT = 0x79, // E, D, X, DP, LC: what a write leaves behind
    CYCLE = 31,       // the cycle counter's bit
    LOOK_AGAIN_NS = 50000,
    COUNTER_BITS = (1 << ARM_PMU_COUNTERS) - 1,
    HPME = 1 << 7, // of MDCR_EL2
};
enum { EVENT_SW_INCR = 0x00, EVENT_INST_RETIRED = 0x08, EVENT_CPU_CYCLES = 0x11 };
#define VALID (1ull << CYCLE | COUNTER_BITS)

uint64_t arm_pmu_events(void)
{
    return 1ull << EVENT_SW_INCR | 1ull << EVENT_INST_RETIRED | 1ull << EVENT_CPU_CYCLES;
}

// Bits 31 to 26 of an event type or of PMCCFILTR: levels in which to count.
enum {
    FILTER_P = 31,
    FILTER_U = 30,
    FILTER_NSK = 29,
    FILTER_NSU = 28,
    FILTER_NSH = 27,
    FILTER_M = 26
};

static bool filter_counts(const struct arm_cpu *c, uint64_t filter, unsigned el)
{
    bool nonsecure = !c->has_el3 || (c->scr_el3 & SCR_NS);
    switch (el) {
    case 0:
        return !(bit(filter, FILTER_U) ^ (nonsecure && bit(filter, FILTER_NSU)));
    case 1:
        return !(bit(filter, FILTER_P) ^ (nonsecure && bit(filter, FILTER_NSK)));
    case 2:
        return bit(filter, FILTER_NSH);
    default:
        return !(bit(filter, FILTER_P) ^ bit(filter, FILTER_M));
    }
}

// Counters from HPMN up belong to EL2.
static unsigned guest_counters(const struct arm_cpu *c)
{
    return c->has_el2 ? MIN((unsigned)(c->mdcr_el2 & 0x1f), (unsigned)ARM_PMU_COUNTERS)
                      : ARM_PMU_COUNTERS;
}

static bool enabled(const struct arm_cpu *c, unsigned n)
{
    bool by = n != CYCLE && n >= guest_counters(c) ? c->mdcr_el2 & HPME : c->pmu.cr & PMCR_E;
    return by && bit(c->pmu.enabled, n);
}

static unsigned event_of(const struct arm_cpu *c, unsigned n)
{
    return n == CYCLE ? EVENT_CPU_CYCLES : (unsigned)(c->pmu.type[n] & 0xffff);
}

static uint64_t filter_of(const struct arm_cpu *c, unsigned n)
{
    return n == CYCLE ? c->pmu.cycle_filter : c->pmu.type[n];
}

static uint64_t now_cycles(const struct arm_cpu *c)
{
    return c->config.clock ? (uint64_t)clock_now(c->config.clock) : 0;
}

static uint64_t *value_of(struct arm_cpu *c, unsigned n)
{
    return n == CYCLE ? &c->pmu.cycles : &c->pmu.count[n];
}

// The value at which counter n overflows, less one.
static uint64_t top_of(const struct arm_cpu *c, unsigned n)
{
    return n == CYCLE && (c->pmu.cr & PMCR_LC) ? UINT64_MAX : UINT32_MAX;
}

static void add(struct arm_cpu *c, unsigned n, uint64_t by)
{
    uint64_t *v = value_of(c, n), top = top_of(c, n);
    if (by > top - (*v & top))
        c->pmu.overflowed |= 1ull << n;
    *v = n == CYCLE ? *v + by : (uint32_t)(*v + by);
}

// How much the source of an event went on since the counters were last brought up to date.
static uint64_t progress(const struct arm_cpu *c, unsigned event)
{
    switch (event) {
    case EVENT_CPU_CYCLES:
        return now_cycles(c) - c->pmu.seen_cycles;
    case EVENT_INST_RETIRED:
        return __atomic_load_n(&c->insns, __ATOMIC_RELAXED) - c->pmu.seen_insns;
    default:
        return 0;
    }
}

#define FOR_EACH_COUNTER(c, n)                                                                     \
    for (uint64_t left_ = (c)->pmu.enabled, n; left_ && (n = (uint64_t)__builtin_ctzll(left_), 1); \
         left_ &= left_ - 1)

// Brings the counters up to date with what ran at the level they last knew.
static void catch_up(struct arm_cpu *c)
{
    FOR_EACH_COUNTER(c, n)
    if (enabled(c, n) && filter_counts(c, filter_of(c, n), c->pmu.el))
        add(c, n, progress(c, event_of(c, n)));
    c->pmu.seen_cycles = now_cycles(c);
    c->pmu.seen_insns = c->insns;
}

static uint64_t interrupting(const struct arm_cpu *c)
{
    uint64_t mine = 1ull << CYCLE | ((1ull << guest_counters(c)) - 1);
    uint64_t on = (c->pmu.cr & PMCR_E ? mine : 0) | (c->mdcr_el2 & HPME ? ~mine : 0);
    return c->pmu.overflowed & c->pmu.interrupts & on;
}

// Nanoseconds to the first overflow that interrupts; INT64_MAX: none. An instruction counter is
// looked at again when it could be there at four instructions a nanosecond.
static int64_t next_overflow(struct arm_cpu *c)
{
    uint64_t first = INT64_MAX;
    FOR_EACH_COUNTER(c, n)
    {
        if (!enabled(c, n) || !bit(c->pmu.interrupts, n) ||
            !filter_counts(c, filter_of(c, n), c->pmu.el))
            continue;
        uint64_t left = top_of(c, n) - (*value_of(c, n) & top_of(c, n));
        if (event_of(c, n) == EVENT_CPU_CYCLES)
            first = MIN(first, left);
        else if (event_of(c, n) == EVENT_INST_RETIRED)
            first = MIN(first, MAX(left / 4, 20000ull));
    }
    return (int64_t)MIN(first, (uint64_t)INT64_MAX);
}

// On the vCPU's thread, with the counters up to date: line, timer, and what translated code counts.
static void update(struct arm_cpu *c)
{
    bool want_insns = false;
    FOR_EACH_COUNTER(c, n)
    want_insns |= enabled(c, n) && event_of(c, n) == EVENT_INST_RETIRED;
    if (want_insns != c->pmu.want_insns) {
        c->pmu.want_insns = want_insns;
        arm_state_changed(c);
    }
    irq_set(&c->config.out[ARM_OUT_PMU], interrupting(c) != 0);
    if (!c->pmu.timer.loop)
        return;
    int64_t in = next_overflow(c);
    if (in == INT64_MAX || interrupting(c))
        loop_timer_cancel(&c->pmu.timer);
    else
        loop_timer_set(&c->pmu.timer, (int64_t)c->pmu.seen_cycles + in + 1);
}

static bool overflow_due(const struct arm_cpu *c)
{
    FOR_EACH_COUNTER(c, n)
    {
        uint64_t v = n == CYCLE ? c->pmu.cycles : c->pmu.count[n], top = top_of(c, n);
        if (enabled(c, n) && bit(c->pmu.interrupts, n) &&
            progress(c, event_of(c, n)) > top - (v & top))
            return true;
    }
    return false;
}

// On the loop's thread: only raises the line. The guest's look at the overflow status brings the
// counters up to date, on the vCPU's thread, and every change there sets the line anew.
static void fire(void *opaque)
{
    struct arm_cpu *c = opaque;
    if (overflow_due(c)) {
        irq_set(&c->config.out[ARM_OUT_PMU], true);
    } else if (c->pmu.want_insns) {
        arm_kick(c); // a loop may count in a register until it is left
        loop_timer_set(&c->pmu.timer, (int64_t)now_cycles(c) + LOOK_AGAIN_NS);
    }
}

void arm_pmu_init(struct arm_cpu *c)
{
    if (c->config.loop && arm_pmu_present(c))
        loop_timer_init(&c->pmu.timer, c->config.loop, c->config.clock, fire, c);
}

void arm_pmu_exit(struct arm_cpu *c)
{
    if (c->pmu.timer.loop)
        loop_timer_cancel(&c->pmu.timer);
}

void arm_pmu_reset(struct arm_cpu *c)
{
    struct loop_timer timer = c->pmu.timer;
    if (!arm_pmu_present(c))
        return;
    c->pmu = (struct arm_pmu){.cr = PMCR_LC, .el = c->el, .timer = timer};
    c->mdcr_el2 |= ARM_PMU_COUNTERS; // HPMN
    update(c);
}

void arm_pmu_loaded(struct arm_cpu *c)
{
    c->pmu.seen_cycles = now_cycles(c);
    c->pmu.seen_insns = c->insns;
    c->pmu.el = c->el;
    if (arm_pmu_present(c))
        update(c);
}

void arm_pmu_saving(struct arm_cpu *c)
{
    if (c->pmu.enabled)
        catch_up(c);
}

bool arm_pmu_present(const struct arm_cpu *c)
{
    return bits(c->id_aa64dfr[0], 11, 8) != 0;
}

void arm_pmu_level_changed(struct arm_cpu *c)
{
    if (c->pmu.enabled)
        catch_up(c);
    c->pmu.el = c->el;
    if (c->pmu.enabled & c->pmu.interrupts)
        update(c);
}

// ---- registers ----

static uint64_t visible(const struct arm_cpu *c) // counters that this level sees
{
    return c->el < 2 ? 1ull << CYCLE | ((1ull << guest_counters(c)) - 1) : VALID;
}

uint64_t arm_pmu_get_cr(struct arm_cpu *c)
{
    unsigned n = c->el < 2 ? guest_counters(c) : ARM_PMU_COUNTERS;
    return (c->midr >> 24 << 24) | n << 11 | c->pmu.cr;
}

void arm_pmu_set_cr(struct arm_cpu *c, uint64_t v)
{
    catch_up(c);
    if (v & PMCR_C)
        c->pmu.cycles = 0;
    for (unsigned n = 0; v & PMCR_P && n < guest_counters(c); n++)
        c->pmu.count[n] = 0;
    c->pmu.cr = v & PMCR_KEPT;
    update(c);
}

// Sets of counters, each with a register that sets bits and one that clears them.
#define SET_REGISTER(name, field)                                                                  \
    uint64_t arm_pmu_get_##name(struct arm_cpu *c)                                                 \
    {                                                                                              \
        catch_up(c);                                                                               \
        return c->pmu.field & visible(c);                                                          \
    }                                                                                              \
    void arm_pmu_set_##name(struct arm_cpu *c, uint64_t v)                                         \
    {                                                                                              \
        catch_up(c);                                                                               \
        c->pmu.field |= v & visible(c);                                                            \
        update(c);                                                                                 \
    }                                                                                              \
    void arm_pmu_clear_##name(struct arm_cpu *c, uint64_t v)                                       \
    {                                                                                              \
        catch_up(c);                                                                               \
        c->pmu.field &= ~(v & visible(c));                                                         \
        update(c);                                                                                 \
    }
SET_REGISTER(enabled, enabled)
SET_REGISTER(overflowed, overflowed)
SET_REGISTER(interrupts, interrupts)

uint64_t arm_pmu_get_cycles(struct arm_cpu *c)
{
    catch_up(c);
    return c->pmu.cycles;
}
void arm_pmu_set_cycles(struct arm_cpu *c, uint64_t v)
{
    catch_up(c);
    c->pmu.cycles = v;
    update(c);
}

uint64_t arm_pmu_get_cycle_filter(struct arm_cpu *c)
{
    return c->pmu.cycle_filter;
}
void arm_pmu_set_cycle_filter(struct arm_cpu *c, uint64_t v)
{
    catch_up(c);
    c->pmu.cycle_filter = v & 0xfc000000;
    update(c);
}

void arm_pmu_increment(struct arm_cpu *c, uint64_t which)
{
    catch_up(c);
    FOR_EACH_COUNTER(c, n)
    if (bit(which & visible(c), n) && n != CYCLE && event_of(c, n) == EVENT_SW_INCR &&
        enabled(c, n) && filter_counts(c, filter_of(c, n), c->el))
        add(c, n, 1);
    update(c);
}

uint64_t arm_pmu_get_count(struct arm_cpu *c, unsigned n)
{
    catch_up(c);
    return n < ARM_PMU_COUNTERS && bit(visible(c), n) ? c->pmu.count[n] : 0;
}
void arm_pmu_set_count(struct arm_cpu *c, unsigned n, uint64_t v)
{
    catch_up(c);
    if (n < ARM_PMU_COUNTERS && bit(visible(c), n))
        c->pmu.count[n] = (uint32_t)v;
    update(c);
}

// PMSELR 31 selects the cycle counter's filter where an event type is meant.
uint64_t arm_pmu_get_type(struct arm_cpu *c, unsigned n)
{
    if (n == CYCLE)
        return c->pmu.cycle_filter;
    return n < ARM_PMU_COUNTERS && bit(visible(c), n) ? c->pmu.type[n] : 0;
}
void arm_pmu_set_type(struct arm_cpu *c, unsigned n, uint64_t v)
{
    if (n == CYCLE) {
        arm_pmu_set_cycle_filter(c, v);
        return;
    }
    catch_up(c);
    if (n < ARM_PMU_COUNTERS && bit(visible(c), n))
        c->pmu.type[n] = v & 0xfc00ffff;
    update(c);
}
