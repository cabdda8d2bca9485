// Traps: entering the handler at the level they are delegated to, returning from it, and what the
// meaning of code depends on. RISC-V Instruction Set Manual, volume II, 3.1.6 to 3.1.8, 3.3.2,
// 10.1 and 15.6.
#include "isa/riscv/csr.h"
#include "isa/riscv/system/system.h"
#include "base/log.h"

// ---- what depends on state ----

static uint64_t extension_mode(const struct rv_cpu *c, uint64_t field, uint64_t off, uint64_t clean)
{
    bool none = !(c->mstatus & field) || (c->virt && !(c->vsstatus & field));
    bool dirty = (c->mstatus & field) == field && (!c->virt || (c->vsstatus & field) == field);
    return none ? off : dirty ? 0 : clean;
}

// What the state of a unit that is off matters to is illegal whatever it is: that no code is made
// for each.
uint64_t rv_mode(struct env *e)
{
    const struct rv_cpu *c = rv_cpu(e);
    uint64_t mode = c->mode_cache | (c->debug_step ? IR_MODE_SINGLE : 0) |
                    (rv_counts_insns(c) ? RV_MODE_COUNT : 0);
    if (!(mode & RV_MODE_VS_OFF))
        mode |= rv_vmode(c);
    if (!(mode & RV_MODE_FS_OFF))
        mode |= c->frm > FP_RMM ? RV_MODE_RM_INVALID : c->frm == FP_RMM ? RV_MODE_RM_AWAY : 0;
    return mode;
}

// Pointer masking of the level whose memory data accesses see: not with MXR.
static uint64_t pointer_mode(const struct rv_cpu *c)
{
    bool elsewhere = c->priv == RV_M && (c->mstatus & RV_MPRV);
    unsigned priv = elsewhere ? (unsigned)bits(c->mstatus, 12, 11) : c->priv;
    bool virt = elsewhere ? (c->mstatus & RV_MPV) && priv != RV_M : c->virt;
    uint64_t by = priv == RV_M   ? c->mseccfg
                  : priv == RV_U ? c->senvcfg
                  : virt         ? c->henvcfg
                                 : c->menvcfg;
    uint64_t pmm = bits(by, 33, 32);
    bool mxr = c->mstatus & RV_MXR || (virt && c->vsstatus & RV_MXR);
    if (!pmm || c->narrow || (priv != RV_M && mxr))
        return 0;
    bool bare = priv == RV_M || RV_ATP_MODE(virt ? c->vs.atp : c->s.atp) == RV_BARE;
    return pmm << RV_MODE_PMM_SHIFT | (bare ? RV_MODE_PMM_ZERO : 0);
}

void rv_state_changed(struct rv_cpu *c)
{
    rv_pmu_catch_up(c);
    uint64_t uxl = bits(c->virt ? c->vsstatus : c->mstatus, 33, 32);
    c->narrow = c->rv32 || (c->priv == RV_U && uxl == 1 && !c->config.user_mode);
    // Programs and their libraries are mapped at many places; kernels and firmware are not.
    bool movable = c->priv == RV_U && !c->narrow;
    c->mode_cache = (movable ? IR_MODE_MOVABLE : 0) | (c->narrow ? RV_MODE_32 : 0) |
                    pointer_mode(c) | (uint64_t)c->priv << RV_MODE_PRIV_SHIFT |
                    (c->virt ? RV_MODE_VIRT : 0) |
                    extension_mode(c, RV_FS, RV_MODE_FS_OFF, RV_MODE_FS_CLEAN) |
                    extension_mode(c, RV_VS, RV_MODE_VS_OFF, RV_MODE_VS_CLEAN);
    rv_mmu_set_contexts(c);
    rv_update_interrupts(c);
}

static void set_dirty(struct rv_cpu *c, uint64_t field)
{
    uint64_t *second = c->virt ? &c->vsstatus : &c->mstatus;
    if ((c->mstatus & field) == field && (*second & field) == field)
        return;
    c->mstatus |= field;
    *second |= field;
    rv_state_changed(c);
}

void rv_fp_dirty(struct rv_cpu *c)
{
    set_dirty(c, RV_FS);
}

void rv_vec_dirty(struct rv_cpu *c)
{
    set_dirty(c, RV_VS);
}

void rv_flush_all(struct rv_cpu *c)
{
    struct env_flush all = {0};
    c->env.exec->flush(&c->env, &all, false);
}

// ---- entry ----

static uint64_t vector(uint64_t tvec, bool interrupt, unsigned cause)
{
    return (tvec & ~3ull) + (interrupt && (tvec & 1) ? 4ull * cause : 0);
}

static uint64_t cause_value(const struct rv_trap *t, unsigned cause)
{
    return (uint64_t)t->interrupt << 63 | cause;
}

static uint64_t push_super(uint64_t status, unsigned priv)
{
    uint64_t v = status & ~(RV_SPIE | RV_SIE | RV_SPP);
    return v | (status & RV_SIE ? RV_SPIE : 0) | (priv & 1 ? RV_SPP : 0);
}

static void set_super(struct rv_super *s, struct rv_cpu *c, const struct rv_trap *t, unsigned cause)
{
    s->epc = c->pc;
    s->cause = cause_value(t, cause);
    s->tval = t->tval;
    c->pc = vector(s->tvec, t->interrupt, cause);
}

static void enter_vs(struct rv_cpu *c, const struct rv_trap *t)
{
    c->vsstatus = push_super(c->vsstatus, c->priv);
    set_super(&c->vs, c, t, t->cause);
    c->priv = RV_S;
}

static void enter_hs(struct rv_cpu *c, const struct rv_trap *t)
{
    if (rv_has(c, RV_FEAT_H)) {
        c->hstatus &= ~(RV_HSPV | RV_HGVA);
        c->hstatus |= (c->virt ? RV_HSPV : 0) | (t->gva ? RV_HGVA : 0);
        if (c->virt)
            c->hstatus = (c->hstatus & ~RV_HSPVP) | (c->priv ? RV_HSPVP : 0);
        c->htval = t->gpa >> 2;
        c->htinst = t->tinst;
    }
    c->mstatus = push_super(c->mstatus, c->priv);
    c->virt = false;
    set_super(&c->s, c, t, t->cause);
    c->priv = RV_S;
}

static void enter_m(struct rv_cpu *c, const struct rv_trap *t)
{
    uint64_t v = c->mstatus & ~(RV_MPP | RV_MPIE | RV_MIE | RV_MPV | RV_GVA);
    v |= (uint64_t)c->priv << RV_MPP_SHIFT | (c->mstatus & RV_MIE ? RV_MPIE : 0);
    v |= (c->virt ? RV_MPV : 0) | (t->gva ? RV_GVA : 0);
    c->mstatus = v;
    c->virt = false;
    c->mepc = c->pc;
    c->mcause = cause_value(t, t->cause);
    c->mtval = t->tval;
    c->mtval2 = t->gpa >> 2;
    c->mtinst = t->tinst;
    c->priv = RV_M;
    c->pc = vector(c->mtvec, t->interrupt, t->cause);
}

void rv_trap_enter(struct rv_cpu *c, const struct rv_trap *t)
{
    const uint64_t bit = 1ull << t->cause;
    bool super = t->interrupt ? t->level != RV_AIA_M : c->priv < RV_M && (c->medeleg & bit);
    bool virt = t->interrupt ? t->level == RV_AIA_VS : super && c->virt && (c->hedeleg & bit);
    if (log_on(LOG_INT))
        log_debug("hart %u: %s %u at 0x%016llx, %s%c -> %s, tval 0x%llx", c->env.cpu_index,
                  t->interrupt ? "interrupt" : "exception", t->cause, (unsigned long long)c->pc,
                  c->virt ? "V" : "", "US?M"[c->priv],
                  virt    ? "VS"
                  : super ? "S"
                          : "M",
                  (unsigned long long)t->tval);
    if (virt)
        enter_vs(c, t);
    else if (super)
        enter_hs(c, t);
    else
        enter_m(c, t);
    if (!t->interrupt)
        rv_insn_undone(c);
    c->env.monitor.addr = MONITOR_NONE;
    c->for_guest = false;
    rv_state_changed(c);
}

void rv_raise(struct rv_cpu *c, enum rv_cause cause, uint64_t tval)
{
    c->env.fault = (struct env_fault){
        .va = tval, .kind = RV_FAULT_EXCEPTION | (1 + cause), .info = {cause, tval}};
    if (c->config.user_mode) // for the operating system, which is not in here
        c->env.exec->leave(&c->env, LEAVE_SIGNAL);
    struct rv_trap t = {.cause = cause, .tval = tval};
    t.gva = c->virt && (cause == RV_CAUSE_BREAKPOINT || cause == RV_CAUSE_FETCH_MISALIGNED);
    rv_trap_enter(c, &t);
    c->env.exec->leave(&c->env, LEAVE_AGAIN);
}

// ---- return ----

static uint64_t pop_super(uint64_t status)
{
    uint64_t v = status & ~(RV_SIE | RV_SPP);
    return v | RV_SPIE | (status & RV_SPIE ? RV_SIE : 0);
}

void rv_mret(struct rv_cpu *c)
{
    unsigned priv = (unsigned)bits(c->mstatus, 12, 11);
    bool virt = (c->mstatus & RV_MPV) && priv != RV_M;
    uint64_t v = c->mstatus & ~(RV_MIE | RV_MPP | RV_MPV);
    v |= RV_MPIE | (c->mstatus & RV_MPIE ? RV_MIE : 0);
    if (!rv_has(c, RV_FEAT_U))
        v |= RV_MPP;
    c->mstatus = priv == RV_M ? v : v & ~RV_MPRV;
    c->priv = (uint8_t)priv;
    c->virt = virt;
    c->pc = c->mepc;
    rv_state_changed(c);
}

void rv_sret(struct rv_cpu *c)
{
    if (c->virt) {
        c->priv = c->vsstatus & RV_SPP ? RV_S : RV_U;
        c->vsstatus = pop_super(c->vsstatus);
        c->pc = c->vs.epc;
    } else {
        c->priv = c->mstatus & RV_SPP ? RV_S : RV_U;
        c->mstatus = pop_super(c->mstatus) & ~RV_MPRV;
        c->virt = c->hstatus & RV_HSPV;
        c->hstatus &= ~RV_HSPV;
        c->pc = c->s.epc;
    }
    rv_state_changed(c);
}
