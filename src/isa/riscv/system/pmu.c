// Hardware performance counters (Zihpm) with overflow and filters by level (Sscofpmf; RISC-V
// Instruction Set Manual, volume II, 3.1.10 and chapter 19). Counters 3 to 18 count one of two
// events, by the numbers the SBI specification gives its general hardware events: 1, cycles, a
// nanosecond of the machine's clock each, and 2, instructions retired. Not modelled: other events,
// which never happen. The interrupt of an instruction counter comes some microseconds late.
#include "isa/riscv/csr.h"
#include "isa/riscv/system/system.h"

enum { EVENT_CYCLES = 1, EVENT_INSNS = 2, FIRST = 3, LOOK_AGAIN_NS = 50000 };
#define HPM_OF    (1ull << 63)
#define HPM_MINH  (1ull << 62)
#define HPM_SINH  (1ull << 61)
#define HPM_UINH  (1ull << 60)
#define HPM_VSINH (1ull << 59)
#define HPM_VUINH (1ull << 58)
#define HPM_EVENT mask_low(32)

static bool running(const struct rv_cpu *c, unsigned k)
{
    uint64_t event = c->pmu.event[k] & HPM_EVENT;
    return (event == EVENT_CYCLES || event == EVENT_INSNS) &&
           !(c->mcountinhibit >> (FIRST + k) & 1);
}

static bool counts_at(uint64_t event, unsigned priv, bool virt)
{
    uint64_t off = priv == RV_M   ? HPM_MINH
                   : priv == RV_S ? (virt ? HPM_VSINH : HPM_SINH)
                                  : (virt ? HPM_VUINH : HPM_UINH);
    return !(event & off);
}

static uint64_t clock_of(const struct rv_cpu *c)
{
    return c->config.clock ? (uint64_t)clock_now(c->config.clock) : 0;
}

static uint64_t progress(const struct rv_cpu *c, unsigned k)
{
    if ((c->pmu.event[k] & HPM_EVENT) == EVENT_CYCLES)
        return clock_of(c) - c->pmu.seen_cycles;
    return __atomic_load_n(&c->insns, __ATOMIC_RELAXED) - c->pmu.seen_insns;
}

static void add(struct rv_cpu *c, unsigned k, uint64_t by)
{
    bool over = by > UINT64_MAX - c->pmu.count[k];
    c->pmu.count[k] += by;
    if (!over || !rv_has(c, RV_FEAT_SSCOFPMF) || c->pmu.event[k] & HPM_OF)
        return;
    c->pmu.event[k] |= HPM_OF;
    rv_line_set(c, RV_INT_LCOFI, true);
}

void rv_pmu_catch_up(struct rv_cpu *c)
{
    if (!c->pmu.active)
        return;
    for (unsigned k = 0; k < RV_HPM_COUNTERS; k++)
        if (running(c, k) && counts_at(c->pmu.event[k], c->pmu.priv, c->pmu.virt))
            add(c, k, progress(c, k));
    c->pmu.seen_cycles = clock_of(c);
    c->pmu.seen_insns = c->insns;
    c->pmu.priv = c->priv;
    c->pmu.virt = c->virt;
}

// The first overflow that is to be told of; INT64_MAX: none. Four instructions in a nanosecond are
// the most there can be.
static int64_t next_overflow(const struct rv_cpu *c)
{
    uint64_t first = INT64_MAX;
    for (unsigned k = 0; k < RV_HPM_COUNTERS; k++) {
        if (!running(c, k) || c->pmu.event[k] & HPM_OF)
            continue;
        uint64_t left = UINT64_MAX - c->pmu.count[k];
        bool cycles = (c->pmu.event[k] & HPM_EVENT) == EVENT_CYCLES;
        first = MIN(first, cycles ? left : MAX(left / 4, (uint64_t)LOOK_AGAIN_NS));
    }
    return (int64_t)first;
}

// After a change of what counts.
static void changed(struct rv_cpu *c)
{
    c->pmu.active = c->pmu.wants_insns = false;
    for (unsigned k = 0; k < RV_HPM_COUNTERS; k++) {
        c->pmu.active |= running(c, k);
        c->pmu.wants_insns |= running(c, k) && (c->pmu.event[k] & HPM_EVENT) == EVENT_INSNS;
    }
    c->pmu.seen_cycles = clock_of(c);
    c->pmu.seen_insns = c->insns;
    c->pmu.priv = c->priv;
    c->pmu.virt = c->virt;
    rv_state_changed(c);
    if (!c->pmu_timer.loop)
        return;
    int64_t in = next_overflow(c), now = (int64_t)clock_of(c);
    if (in > INT64_MAX - now - 1)
        loop_timer_cancel(&c->pmu_timer);
    else
        loop_timer_set(&c->pmu_timer, now + in + 1);
}

void rv_pmu_loaded(struct rv_cpu *c)
{
    c->pmu.seen_cycles = clock_of(c);
    c->pmu.seen_insns = c->insns;
    c->pmu.priv = c->priv;
    c->pmu.virt = c->virt;
    changed(c);
}

void rv_pmu_inhibit(struct rv_cpu *c, uint64_t mcountinhibit)
{
    rv_pmu_catch_up(c);
    c->mcountinhibit = mcountinhibit;
    changed(c);
}

// On the loop's thread: only raises the line, on which the hart looks for itself.
static void fire(void *opaque)
{
    struct rv_cpu *c = opaque;
    bool again = false;
    for (unsigned k = 0; k < RV_HPM_COUNTERS; k++) {
        if (!running(c, k) || c->pmu.event[k] & HPM_OF)
            continue;
        if (progress(c, k) > UINT64_MAX - c->pmu.count[k])
            rv_line_set(c, RV_INT_LCOFI, true);
        else
            again = true;
    }
    if (!again)
        return;
    if (c->pmu.wants_insns) // a loop may count in a register until it is left
        rv_kick(c);
    loop_timer_set(&c->pmu_timer, (int64_t)clock_of(c) + LOOK_AGAIN_NS);
}

void rv_pmu_init(struct rv_cpu *c)
{
    if (c->config.loop && rv_has(c, RV_FEAT_SSCOFPMF))
        loop_timer_init(&c->pmu_timer, c->config.loop, c->config.clock, fire, c);
}

void rv_pmu_exit(struct rv_cpu *c)
{
    if (c->pmu_timer.loop)
        loop_timer_cancel(&c->pmu_timer);
}

// ---- registers ----

static bool exists(const struct rv_cpu *c, unsigned n)
{
    return rv_has(c, RV_FEAT_ZIHPM) && n < RV_HPM_COUNTERS;
}

RV_GET(mhpmcounter)
{
    rv_pmu_catch_up(c);
    return exists(c, n) ? c->pmu.count[n] : 0;
}

RV_SET(mhpmcounter)
{
    if (!exists(c, n))
        return;
    rv_pmu_catch_up(c);
    c->pmu.count[n] = v;
    changed(c);
}

RV_GET(mhpmevent)
{
    rv_pmu_catch_up(c);
    return exists(c, n) ? c->pmu.event[n] : 0;
}

RV_SET(mhpmevent)
{
    uint64_t mask = HPM_EVENT;
    if (rv_has(c, RV_FEAT_SSCOFPMF))
        mask |= HPM_OF | HPM_MINH | HPM_SINH | HPM_UINH;
    if (rv_has(c, RV_FEAT_SSCOFPMF) && rv_has(c, RV_FEAT_H))
        mask |= HPM_VSINH | HPM_VUINH;
    if (!exists(c, n))
        return;
    rv_pmu_catch_up(c);
    c->pmu.event[n] = v & mask;
    changed(c);
}

// Bit n: counter n has overflowed, for those that the levels above open.
RV_GET(scountovf)
{
    uint64_t v = 0;
    rv_pmu_catch_up(c);
    for (unsigned k = 0; k < RV_HPM_COUNTERS; k++)
        v |= (uint64_t)(c->pmu.event[k] >> 63) << (FIRST + k);
    if (c->priv < RV_M)
        v &= c->mcounteren;
    return c->virt ? v & c->hcounteren : v;
}
