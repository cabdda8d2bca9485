// Interrupts: which are pending, which is taken next. RISC-V Instruction Set Manual, volume II,
// 3.1.9, 10.1.3 and 15.2.2 to 15.2.4.
#include "isa/riscv/system/system.h"

#include <stdatomic.h>

uint64_t rv_pending(struct rv_cpu *c)
{
    uint64_t lines = atomic_load_explicit(&c->lines, memory_order_acquire);
    uint64_t p = c->mip & ~(c->aia.mvien & 1ull << RV_INT_SEI); // SEIP is then mvip's
    p |= (lines & (RV_INTS_M | 1ull << RV_INT_SEI | 1ull << RV_INT_SSI | 1ull << RV_INT_LCOFI));
    if (c->menvcfg & RV_STCE) // the comparator's alone
        p = (p & ~(1ull << RV_INT_STI)) | (lines & 1ull << RV_INT_STI);
    if (!rv_has(c, RV_FEAT_H))
        return p;
    if (c->henvcfg & RV_STCE)
        p |= lines & 1ull << RV_INT_VSTI;
    uint64_t guests = lines >> RV_LINE_GUEST;
    if (guests >> bits(c->hstatus, 17, 12) & 1)
        p |= 1ull << RV_INT_VSEI;
    if (guests & c->hgeie)
        p |= 1ull << RV_INT_SGEI;
    return p;
}

void rv_set_pending(struct rv_cpu *c, uint64_t mask, uint64_t v)
{
    c->mip = (c->mip & ~mask) | (v & mask);
    if (mask >> RV_INT_SSI & 1) // an edge that came in by the line is now software's
        atomic_fetch_and(&c->lines, ~(1ull << RV_INT_SSI));
    if (mask >> RV_INT_LCOFI & 1)
        atomic_fetch_and(&c->lines, ~(1ull << RV_INT_LCOFI));
    rv_update_interrupts(c);
}

// The interrupt to take now, and at which level; false: none.
static bool pick(struct rv_cpu *c, struct rv_trap *t)
{
    bool m = c->priv < RV_M || (c->mstatus & RV_MIE);
    bool hs = c->priv < RV_S || c->virt || (c->priv == RV_S && (c->mstatus & RV_SIE));
    bool vs = c->virt && (c->priv < RV_S || (c->vsstatus & RV_SIE));
    const bool open[] = {[RV_AIA_M] = m, [RV_AIA_S] = c->priv < RV_M && hs, [RV_AIA_VS] = vs};
    for (unsigned level = 0; level < ARRAY_SIZE(open); level++) {
        int n = open[level] ? rv_first_interrupt(c, (enum rv_aia_level)level) : -1;
        if (n < 0)
            continue;
        *t = (struct rv_trap){.cause = (unsigned)n, .interrupt = true, .level = (uint8_t)level};
        return true;
    }
    return false;
}

// What can be pending at all; most calls end here.
static bool is_quiet(struct rv_cpu *c)
{
    return !(rv_pending(c) & c->mie) && !c->aia.sie && !(c->aia.hvictl & RV_HVICTL_VTI);
}

void rv_update_interrupts(struct rv_cpu *c)
{
    struct rv_trap t;
    if (!is_quiet(c) && pick(c, &t))
        atomic_fetch_or_explicit(&c->env.interrupt, INTR_LINE, memory_order_relaxed);
}

bool rv_take_interrupt(struct env *e)
{
    struct rv_cpu *c = rv_cpu(e);
    atomic_fetch_and_explicit(&e->interrupt, ~(uint32_t)INTR_LINE, memory_order_seq_cst);
    struct rv_trap t;
    if (is_quiet(c) || !pick(c, &t))
        return false;
    rv_trap_enter(c, &t);
    return true;
}

// WFI goes on when an interrupt is pending and enabled by itself, whatever the global masks say.
bool rv_has_work(struct env *e)
{
    struct rv_cpu *c = rv_cpu(e);
    if (c->config.user_mode)
        return atomic_load(&e->interrupt);
    if ((rv_pending(c) & c->mie) || (atomic_load(&e->interrupt) & INTR_WORK))
        return true;
    return !is_quiet(c) && ((rv_injected(c) & c->aia.sie) || rv_get_vstopi(c, 0));
}

static void wake(struct rv_cpu *c)
{
    if (c->config.platform && c->config.platform->kick)
        c->config.platform->kick(c->config.platform->opaque, &c->env);
}

void rv_kick(struct rv_cpu *c)
{
    atomic_fetch_or_explicit(&c->env.interrupt, INTR_LINE, memory_order_seq_cst);
    wake(c);
}

void rv_line_set(struct rv_cpu *c, unsigned n, bool level)
{
    uint64_t m = 1ull << n, old;
    if (!level) {
        atomic_fetch_and_explicit(&c->lines, ~m, memory_order_acq_rel);
        return;
    }
    old = atomic_fetch_or_explicit(&c->lines, m, memory_order_acq_rel);
    if (!(old & m))
        rv_kick(c);
    else // said again: a hart that naps while it looks at memory had better look now
        wake(c);
}

// A supervisor software interrupt is an edge: it stays until software clears SSIP.
static void line_set(void *opaque, int n, int level)
{
    if (n != RV_INT_SSI || level)
        rv_line_set(opaque, (unsigned)n, level);
}

struct irq rv_line(struct env *e, unsigned n)
{
    BUG_ON(n > RV_LINE_GUEST + RV_GUESTS);
    return (struct irq){.set = line_set, .opaque = rv_cpu(e), .n = (int)n};
}
