// Interrupts: which are pending, which is taken next. RISC-V Instruction Set Manual, volume II,
// 3.1.9, 10.1.3 and 15.2.2 to 15.2.4.
#include "isa/riscv/system/system.h"

#include <stdatomic.h>

uint64_t rv_pending(struct rv_cpu *c)
{
    uint64_t lines = atomic_load_explicit(&c->lines, memory_order_acquire);
    uint64_t p = c->mip | (lines & (RV_INTS_M | 1ull << RV_INT_SEI | 1ull << RV_INT_SSI));
    if (c->menvcfg & RV_STCE)
        p |= lines & 1ull << RV_INT_STI;
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
    rv_update_interrupts(c);
}

// Highest first.
static int first_of(uint64_t set)
{
    static const uint8_t order[] = {RV_INT_MEI, RV_INT_MSI,  RV_INT_MTI,  RV_INT_SEI,  RV_INT_SSI,
                                    RV_INT_STI, RV_INT_SGEI, RV_INT_VSEI, RV_INT_VSSI, RV_INT_VSTI};
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
        if (set >> order[i] & 1)
            return order[i];
    return -1;
}

// The interrupt to take now, or -1.
static int pick(struct rv_cpu *c)
{
    uint64_t on = rv_pending(c) & c->mie;
    if (!on)
        return -1;
    uint64_t super = c->mideleg, guest = c->hideleg;
    bool m = c->priv < RV_M || (c->mstatus & RV_MIE);
    bool hs = c->priv < RV_S || c->virt || (c->priv == RV_S && (c->mstatus & RV_SIE));
    bool vs = c->virt && (c->priv < RV_S || (c->vsstatus & RV_SIE));
    uint64_t set = m ? on & ~super : 0;
    if (!set && c->priv < RV_M && hs)
        set = on & super & ~guest;
    if (!set && c->priv < RV_M && vs)
        set = on & super & guest;
    return first_of(set);
}

void rv_update_interrupts(struct rv_cpu *c)
{
    if (pick(c) >= 0)
        atomic_fetch_or_explicit(&c->env.interrupt, INTR_LINE, memory_order_relaxed);
}

bool rv_take_interrupt(struct env *e)
{
    struct rv_cpu *c = rv_cpu(e);
    atomic_fetch_and_explicit(&e->interrupt, ~(uint32_t)INTR_LINE, memory_order_seq_cst);
    int n = pick(c);
    if (n < 0)
        return false;
    struct rv_trap t = {.cause = (unsigned)n, .interrupt = true};
    rv_trap_enter(c, &t);
    return true;
}

// WFI goes on when an interrupt is pending and enabled by itself, whatever the global masks say.
bool rv_has_work(struct env *e)
{
    struct rv_cpu *c = rv_cpu(e);
    if (c->config.user_mode)
        return atomic_load(&e->interrupt);
    return (rv_pending(c) & c->mie) || (atomic_load(&e->interrupt) & INTR_WORK);
}

void rv_line_set(struct rv_cpu *c, unsigned n, bool level)
{
    uint64_t m = 1ull << n, old;
    if (!level) {
        atomic_fetch_and_explicit(&c->lines, ~m, memory_order_acq_rel);
        return;
    }
    old = atomic_fetch_or_explicit(&c->lines, m, memory_order_acq_rel);
    if (old & m)
        return;
    atomic_fetch_or_explicit(&c->env.interrupt, INTR_LINE, memory_order_seq_cst);
    if (c->config.platform && c->config.platform->kick)
        c->config.platform->kick(c->config.platform->opaque, &c->env);
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
