// Exceptions: taking them, returning from them, interrupts and their masks, PSTATE. DDI 0487, D1
// "The AArch64 System Level Programmers' Model". AArch32 is not modelled: a return to it is an
// illegal exception return.
#include "isa/arm/arm.h"
#include "isa/arm/arm_bits.h"
#include "base/log.h"

static bool el2_enabled(const struct arm_cpu *c)
{
    return c->has_el2 && arm_nonsecure(c);
}

bool arm_el2_enabled(const struct arm_cpu *c)
{
    return el2_enabled(c);
}

uint64_t arm_hcr(const struct arm_cpu *c)
{
    return el2_enabled(c) ? c->hcr_el2 : 0;
}

bool arm_nonsecure(const struct arm_cpu *c)
{
    if (!c->has_el3)
        return true;
    return c->el != 3 && (c->scr_el3 & SCR_NS);
}

uint64_t arm_pstate(const struct arm_cpu *c)
{
    uint64_t s = (uint64_t)c->el << 2 | (c->el ? c->spsel : 0);
    s |= (uint64_t)(c->nzcv >> PACK_N & 1) << 31 | (uint64_t)(c->nzcv >> PACK_Z & 1) << 30 |
         (uint64_t)(c->nzcv >> PACK_C & 1) << 29 | (uint64_t)(c->nzcv >> PACK_V & 1) << 28;
    s |= (uint64_t)c->daif_d << 9 | (uint64_t)c->daif_a << 8 | (uint64_t)c->daif_i << 7 |
         (uint64_t)c->daif_f << 6;
    s |= (uint64_t)c->pan << 22 | (uint64_t)c->uao << 23 | (uint64_t)c->dit << 24 |
         (uint64_t)c->ssbs << 12 | (uint64_t)c->il << 20 | (uint64_t)c->ss << 21 |
         (uint64_t)(c->btype & 3) << 10;
    return s;
}

static uint64_t *sp_bank(struct arm_cpu *c)
{
    return c->el == 0 || !c->spsel ? &c->sp_el0 : &c->sp_el[c->el];
}

// Change level and stack selection; the current SP goes back to its bank first.
static void switch_level(struct arm_cpu *c, unsigned el, unsigned spsel)
{
    *sp_bank(c) = c->sp;
    c->el = el;
    c->spsel = el ? spsel : 0;
    c->sp = *sp_bank(c);
}

static void set_flags_and_masks(struct arm_cpu *c, uint64_t spsr)
{
    c->nzcv = flags_pack(bit(spsr, 31), bit(spsr, 30), bit(spsr, 29), bit(spsr, 28));
    c->daif_d = bit(spsr, 9);
    c->daif_a = bit(spsr, 8);
    c->daif_i = bit(spsr, 7);
    c->daif_f = bit(spsr, 6);
    c->pan = bit(spsr, 22) && arm_has(c, ARM_FEAT_PAN);
    c->uao = bit(spsr, 23) && arm_has(c, ARM_FEAT_UAO);
    c->dit = bit(spsr, 24) && arm_has(c, ARM_FEAT_DIT);
    c->ssbs = bit(spsr, 12) && arm_has(c, ARM_FEAT_SSBS);
    c->btype = arm_has(c, ARM_FEAT_BTI) ? bits(spsr, 11, 10) : 0;
    c->ss = bit(spsr, 21);
    c->il = bit(spsr, 20);
}

void arm_set_pstate(struct arm_cpu *c, uint64_t spsr)
{
    set_flags_and_masks(c, spsr);
    switch_level(c, bits(spsr, 3, 2), spsr & 1);
    arm_state_changed(c);
}

void arm_set_spsel(struct arm_cpu *c, unsigned spsel)
{
    switch_level(c, c->el, spsel);
}

enum { VECTOR_SYNC = 0, VECTOR_IRQ = 0x80, VECTOR_FIQ = 0x100, VECTOR_SERROR = 0x180 };

static void enter(struct arm_cpu *c, unsigned el, unsigned vector, uint64_t return_pc)
{
    uint64_t offset = c->el < el ? 0x400 : c->spsel ? 0x200 : 0;
    bool host = el == 2 && (c->hcr_el2 & (HCR_E2H | HCR_TGE)) == (HCR_E2H | HCR_TGE);
    c->stepped = false;
    c->spsr[el] = arm_pstate(c);
    c->elr[el] = return_pc;
    switch_level(c, el, 1);
    c->daif_d = c->daif_a = c->daif_i = c->daif_f = true;
    if (arm_has(c, ARM_FEAT_PAN) && (el == 1 || host) && !(c->sctlr[el] & SCTLR_SPAN))
        c->pan = true;
    c->uao = c->il = c->ss = false;
    c->btype = 0;
    c->ssbs = arm_has(c, ARM_FEAT_SSBS) && (c->sctlr[el] & SCTLR_DSSBS);
    c->pc = (c->vbar[el] & ~0x7ffull) + offset + vector;
    c->env.monitor.addr = MONITOR_NONE;
    arm_state_changed(c);
}

void arm_take_exception(struct arm_cpu *c, unsigned target_el, uint64_t esr, const uint64_t *far,
                        uint64_t return_pc)
{
    unsigned el = MAX(target_el, c->el);
    if (c->config.user_mode) { // for the operating system, which is not in here
        c->pc = return_pc;
        c->env.fault = (struct env_fault){
            .va = far ? *far : return_pc, .kind = ARM_FAULT_EXCEPTION, .info = {esr}};
        c->env.exec->leave(&c->env, LEAVE_SIGNAL);
    }
    if (log_on(LOG_INT))
        log_debug(
            "cpu %u: exception EL%u -> EL%u, EC 0x%02x, ESR 0x%08llx, ELR 0x%016llx, FAR 0x%016llx",
            c->env.cpu_index, c->el, el, (unsigned)bits(esr, 31, 26), (unsigned long long)esr,
            (unsigned long long)return_pc, (unsigned long long)(far ? *far : 0));
    c->esr[el] = esr;
    if (far)
        c->far[el] = *far;
    if ((c->mode_cache & ARM_MODE_COUNT) && return_pc == c->pc)
        c->insns--; // begun, but never to be retired
    enter(c, el, VECTOR_SYNC, return_pc);
}

unsigned arm_sync_target(const struct arm_cpu *c)
{
    if (c->el > 1)
        return c->el;
    if (c->el == 0 && (arm_hcr(c) & HCR_TGE))
        return 2;
    return 1;
}

void arm_exception_return(struct arm_cpu *c, uint64_t new_pc)
{
    uint64_t spsr = c->spsr[c->el];
    unsigned el = bits(spsr, 3, 2);
    bool illegal =
        bit(spsr, 4) || bit(spsr, 1) || el > c->el || (el == 0 && (spsr & 1)) ||
        (el == 3 && !c->has_el3) ||
        (el == 2 && (!c->has_el2 || (c->has_el3 && !(c->scr_el3 & SCR_NS)))) ||
        (el == 1 && c->has_el2 && (c->hcr_el2 & HCR_TGE) && (!c->has_el3 || (c->scr_el3 & SCR_NS)));
    c->env.monitor.addr = MONITOR_NONE;
    c->event = true;
    if (illegal) {
        set_flags_and_masks(c, spsr);
        c->il = true;
        c->pc = new_pc;
        arm_state_changed(c);
        return;
    }
    bool stepping = c->mdscr_el1 & 1;
    if (log_on(LOG_INT))
        log_debug("cpu %u: return EL%u -> EL%u, PC 0x%016llx", c->env.cpu_index, c->el, el,
                  (unsigned long long)new_pc);
    c->pc = new_pc;
    bool ss = bit(spsr, 21) && stepping;
    set_flags_and_masks(c, spsr);
    c->ss = ss;
    switch_level(c, el, spsr & 1);
    arm_state_changed(c);
}

// ---- what depends on state ----

static bool fp_traps(const struct arm_cpu *c)
{
    return arm_fp_trap_level(c) != 0;
}

unsigned arm_fp_trap_level(const struct arm_cpu *c)
{
    uint64_t hcr = arm_hcr(c);
    bool host = (hcr & (HCR_E2H | HCR_TGE)) == (HCR_E2H | HCR_TGE);
    if (c->el <= 1 && !host) {
        unsigned fpen = bits(c->cpacr_el1, 21, 20);
        if (fpen == 0 || fpen == 2 || (fpen == 1 && c->el == 0))
            return arm_sync_target(c);
    }
    if (c->el <= 2 && el2_enabled(c)) {
        if (hcr & HCR_E2H) {
            unsigned fpen = bits(c->cptr_el2, 21, 20);
            if (fpen == 0 || fpen == 2 || (fpen == 1 && c->el == 0 && (hcr & HCR_TGE)))
                return 2;
        } else if (bit(c->cptr_el2, 10)) {
            return 2;
        }
    }
    if (c->has_el3 && bit(c->cptr_el3, 10))
        return 3;
    return 0;
}

// Does software step apply at the current level? D2.12.
static bool step_active(const struct arm_cpu *c)
{
    if (!(c->mdscr_el1 & 1) || (c->oslsr_el1 & 2))
        return false;
    bool to_el2 = el2_enabled(c) && ((c->mdcr_el2 & MDCR_TDE) || (c->hcr_el2 & HCR_TGE));
    unsigned target = to_el2 ? 2 : 1;
    if (c->el > target)
        return false;
    return c->el < target || ((c->mdscr_el1 & MDSCR_KDE) && !c->daif_d);
}

unsigned arm_debug_target(const struct arm_cpu *c)
{
    return el2_enabled(c) && ((c->mdcr_el2 & MDCR_TDE) || (c->hcr_el2 & HCR_TGE)) ? 2 : 1;
}

static bool breakpoints_active(const struct arm_cpu *c)
{
    if (!(c->mdscr_el1 & MDSCR_MDE))
        return false;
    for (unsigned i = 0; i < ARRAY_SIZE(c->dbgbcr); i++)
        if (c->dbgbcr[i] & 1)
            return true;
    return false;
}

// Bits of HCR_EL2 that trap EL1's use of system registers or instructions we would otherwise
// inline.
#define HCR_TRAPS                                                                                  \
    (HCR_TVM | HCR_TRVM | HCR_TID1 | HCR_TID2 | HCR_TID3 | HCR_TACR | HCR_TIDCP | HCR_TSW |        \
     HCR_TPCP | HCR_TPU | HCR_TTLB | HCR_TDZ | HCR_TID0)

static uint64_t compute_mode(const struct arm_cpu *c)
{
    unsigned r = arm_regime_el(c);
    uint64_t sctlr = c->sctlr[r], m = c->el;
    if (fp_traps(c))
        m |= ARM_MODE_FP_TRAP;
    if (c->fpcr & FPCR_DN)
        m |= ARM_MODE_DN;
    if (c->fpcr & FPCR_FZ16)
        m |= ARM_MODE_FZ16;
    if (sctlr & (c->el == 0 ? SCTLR_E0E : SCTLR_EE))
        m |= ARM_MODE_BE;
    if (sctlr & SCTLR_A)
        m |= ARM_MODE_ALIGN;
    if (sctlr & (c->el == 0 ? SCTLR_SA0 : SCTLR_SA))
        m |= ARM_MODE_SP_ALIGN;
    if (c->el && !c->spsel)
        m |= ARM_MODE_SP_ZERO;
    if (c->il)
        m |= ARM_MODE_IL;
    if (c->el == 2 && (c->hcr_el2 & HCR_E2H))
        m |= ARM_MODE_E2H;
    m |= (bit(sctlr, 31) | bit(sctlr, 30) << 1 | bit(sctlr, 27) << 2 | bit(sctlr, 13) << 3)
         << ARM_MODE_PAUTH_SHIFT;
    if (bit(sctlr, c->el == 0 ? 35 : 36))
        m |= ARM_MODE_BT;
    if (breakpoints_active(c))
        m |= ARM_MODE_HW_BREAK;
    if (c->guarded)
        m |= ARM_MODE_GUARDED;
    if (c->tagged)
        m |= IR_MODE_TAGGED;
    if (c->pmu.want_insns)
        m |= ARM_MODE_COUNT;
    if (step_active(c))
        m |= ARM_MODE_STEP_ACTIVE | IR_MODE_SINGLE | (c->ss ? ARM_MODE_SS : 0);
    if (c->debug_step)
        m |= IR_MODE_SINGLE;
    if (c->el < 2 &&
        (el2_enabled(c) && ((c->hcr_el2 & HCR_TRAPS) || (c->mdcr_el2 & MDCR_TRAPS) || c->hstr_el2)))
        m |= ARM_MODE_TRAPS;
    if (c->el < 3 && c->has_el3 && (c->mdcr_el3 & ~0x8000ull))
        m |= ARM_MODE_TRAPS;
    // Programs and their libraries are mapped at many places; kernels are not. Breakpoints are at
    // addresses, and one mapping of a page may be guarded where another is not.
    if (c->el == 0 && !(m & (ARM_MODE_HW_BREAK | ARM_MODE_GUARDED | IR_MODE_SINGLE)))
        m |= IR_MODE_MOVABLE;
    return m;
}

uint64_t arm_mode(struct env *e)
{
    struct arm_cpu *c = arm_cpu(e);
    bool sp_bad = c->mode_cache & ARM_MODE_SP_ALIGN && c->sp & 15;
    return c->mode_cache | (arm_landing_pending(c) ? ARM_MODE_LANDING : 0) |
           (sp_bad ? ARM_MODE_SP_BAD : 0);
}

static void report_world(struct arm_cpu *c)
{
    uint8_t world = c->el == 3 ? 2 : arm_nonsecure(c) ? 0 : 1;
    if (world == c->world)
        return;
    c->world = world;
    irq_set(&c->config.out[ARM_OUT_WORLD], world);
}

void arm_state_changed(struct arm_cpu *c)
{
    if (c->el != c->pmu.el)
        arm_pmu_level_changed(c);
    c->mode_cache = compute_mode(c);
    if (c->has_el3)
        report_world(c);
    arm_mmu_set_contexts(c);
    arm_update_interrupts(c);
}

// ---- interrupts ----

// Exception level an asserted line would be taken to now; 0 when masked or not for this level.
// D1.13.
static unsigned irq_target(const struct arm_cpu *c, bool fiq)
{
    bool masked = fiq ? c->daif_f : c->daif_i;
    uint64_t hcr = arm_hcr(c);
    if (c->has_el3 && (c->scr_el3 & (fiq ? SCR_FIQ : SCR_IRQ)))
        return c->el < 3 || !masked ? 3 : 0;
    if (el2_enabled(c) && (hcr & ((fiq ? HCR_FMO : HCR_IMO) | HCR_TGE))) {
        if (c->el < 2)
            return 2;
        return c->el == 2 && !masked ? 2 : 0;
    }
    // With E2H and no IMO, or without EL2 routing: to EL1, which a higher level never sees.
    return c->el <= 1 && !masked ? 1 : 0;
}

static bool virq_deliverable(const struct arm_cpu *c, bool fiq)
{
    uint64_t hcr = arm_hcr(c);
    return c->el <= 1 && (hcr & (fiq ? HCR_FMO : HCR_IMO)) && !(hcr & HCR_TGE) &&
           !(fiq ? c->daif_f : c->daif_i);
}

// The vector offset of the interrupt to take now and its level; 0 level: none.
static unsigned pick_interrupt(const struct arm_cpu *c, unsigned *vector)
{
    uint32_t lines = atomic_load_explicit(&c->lines, memory_order_acquire);
    uint64_t hcr = arm_hcr(c);
    unsigned el;
    if (hcr & HCR_VF)
        lines |= 1u << ARM_LINE_VFIQ;
    if (hcr & HCR_VI)
        lines |= 1u << ARM_LINE_VIRQ;
    if ((lines & 1u << ARM_LINE_FIQ) && (el = irq_target(c, true))) {
        *vector = VECTOR_FIQ;
        return el;
    }
    if ((lines & 1u << ARM_LINE_IRQ) && (el = irq_target(c, false))) {
        *vector = VECTOR_IRQ;
        return el;
    }
    if ((lines & 1u << ARM_LINE_VFIQ) && virq_deliverable(c, true)) {
        *vector = VECTOR_FIQ;
        return 1;
    }
    if ((lines & 1u << ARM_LINE_VIRQ) && virq_deliverable(c, false)) {
        *vector = VECTOR_IRQ;
        return 1;
    }
    if ((hcr & HCR_VSE) && (hcr & HCR_AMO) && !(hcr & HCR_TGE) && c->el <= 1 && !c->daif_a) {
        *vector = VECTOR_SERROR;
        return 1;
    }
    return 0;
}

void arm_update_interrupts(struct arm_cpu *c)
{
    unsigned vector;
    if (pick_interrupt(c, &vector))
        atomic_fetch_or_explicit(&c->env.interrupt, INTR_LINE, memory_order_relaxed);
}

bool arm_take_interrupt(struct env *e)
{
    struct arm_cpu *c = arm_cpu(e);
    unsigned vector, el;
    atomic_fetch_and_explicit(&e->interrupt, ~(uint32_t)INTR_LINE, memory_order_seq_cst);
    if (!(el = pick_interrupt(c, &vector)))
        return false;
    if (log_on(LOG_INT))
        log_debug("cpu %u: %s EL%u -> EL%u at PC 0x%016llx", e->cpu_index,
                  vector == VECTOR_IRQ   ? "IRQ"
                  : vector == VECTOR_FIQ ? "FIQ"
                                         : "SError",
                  c->el, el, (unsigned long long)c->pc);
    if (vector == VECTOR_SERROR) {
        c->hcr_el2 &= ~HCR_VSE;
        c->esr[1] = ESR_MAKE(EC_SERROR, c->vsesr_el2 & 0x1ffffff);
    }
    enter(c, el, vector, c->pc);
    return true;
}

bool arm_has_work(struct env *e)
{
    struct arm_cpu *c = arm_cpu(e);
    uint64_t hcr = arm_hcr(c);
    return atomic_load_explicit(&c->lines, memory_order_acquire) ||
           (hcr & (HCR_VF | HCR_VI | HCR_VSE)) || (atomic_load(&e->interrupt) & INTR_WORK);
}

void arm_kick(struct arm_cpu *c)
{
    atomic_fetch_or_explicit(&c->env.interrupt, INTR_LINE, memory_order_seq_cst);
    if (c->config.platform && c->config.platform->kick)
        c->config.platform->kick(c->config.platform->opaque, &c->env);
}

static void line_set(void *opaque, int n, int level)
{
    struct arm_cpu *c = opaque;
    uint32_t m = 1u << n, old;
    if (level)
        old = atomic_fetch_or_explicit(&c->lines, m, memory_order_acq_rel);
    else
        old = atomic_fetch_and_explicit(&c->lines, ~m, memory_order_acq_rel);
    if (level && !(old & m))
        arm_kick(c);
}

struct irq arm_line(struct env *e, unsigned n)
{
    BUG_ON(n >= ARM_LINES);
    return (struct irq){.set = line_set, .opaque = arm_cpu(e), .n = (int)n};
}
