// An access to a system register as an instruction makes it: traps to EL1, EL2 and EL3 (DDI 0487,
// D1, "Traps"), registers that this CPU does not have, and what a read or a write does. What
// belongs to another device (the interrupt controller's CPU interface) is found in the vCPU's
// system-register space.
#include "isa/arm/system/sysreg.h"

#include "base/log.h"

void arm_sysreg_undefined(struct arm_cpu *c)
{
    arm_take_exception(c, arm_sync_target(c), ESR_MAKE(EC_UNKNOWN, 0), NULL, c->pc);
}

void arm_sysreg_trap(struct arm_cpu *c, unsigned el, bool read, uint32_t key, unsigned rt)
{
    uint64_t iss = (uint64_t)bits(key, 15, 14) << 20 | (uint64_t)(key & 7) << 17 |
                   (uint64_t)bits(key, 13, 11) << 14 | (uint64_t)bits(key, 10, 7) << 10 |
                   (uint64_t)rt << 5 | (uint64_t)bits(key, 6, 3) << 1 | read;
    arm_take_exception(c, el, ESR_MAKE(EC_SYSREG, iss), NULL, c->pc);
}

// EL that an EL0 access which EL1 (or EL2 as host) does not permit goes to; 0 when permitted.
static unsigned el0_trap(const struct arm_cpu *c, bool read, uint32_t key)
{
    uint64_t sctlr = c->sctlr[arm_regime_el(c)];
    bool host = arm_regime_el(c) == 2;
    uint64_t cnt = host ? c->cnthctl_el2 : c->cntkctl_el1;
    bool deny = false;
    switch (key) {
    case KEY_CTR_EL0:
        deny = !(sctlr & SCTLR_UCT);
        break;
    case KEY_DAIF:
        deny = !(sctlr & SCTLR_UMA);
        break;
    case KEY_CNTPCT_EL0:
        deny = !(cnt & 1);
        break;
    case KEY_CNTVCT_EL0:
        deny = !(cnt & 2);
        break;
    case KEY_CNTFRQ_EL0:
        deny = !(cnt & 3);
        break;
    case KEY_CNTV_TVAL_EL0 ... KEY_CNTV_CVAL_EL0:
        deny = !(cnt & 1 << 8);
        break;
    case KEY_CNTP_TVAL_EL0 ... KEY_CNTP_CVAL_EL0:
        deny = !(cnt & 1 << 9);
        break;
    case KEY_PMUSERENR_EL0:
        deny = !read;
        break;
    case KEY_PMCCNTR_EL0:
        deny = !(c->pmuserenr & (read ? 5 : 1));
        break;
    case KEY_PMSWINC_EL0:
        deny = !(c->pmuserenr & 3);
        break;
    case KEY_PMXEVCNTR_EL0:
    case KEY_PMEVCNTR0_EL0 ... KEY_PMEVCNTR5_EL0:
        deny = !(c->pmuserenr & (read ? 9 : 1));
        break;
    case KEY_PMXEVTYPER_EL0:
    case KEY_PMEVTYPER0_EL0 ... KEY_PMEVTYPER5_EL0:
    case KEY_PMCR_EL0 ... KEY_PMOVSCLR_EL0:
    case KEY_PMSELR_EL0:
    case KEY_PMCEID0_EL0:
    case KEY_PMCEID1_EL0:
    case KEY_PMOVSSET_EL0:
    case KEY_PMCCFILTR_EL0:
        deny = !(c->pmuserenr & 1);
        break;
    default:
        break;
    }
    return deny ? arm_sync_target(c) : 0;
}

// The performance monitor's block of encodings.
static bool is_pmu(uint32_t key)
{
    unsigned op0 = bits(key, 15, 14), crn = bits(key, 10, 7), crm = bits(key, 6, 3);
    return op0 == 3 && ((crn == 9 && crm >= 12) || (crn == 14 && crm >= 8));
}

static bool is_vm_control(uint32_t key)
{
    switch (key) {
    case KEY_SCTLR_EL1:
    case KEY_TTBR0_EL1:
    case KEY_TTBR1_EL1:
    case KEY_TCR_EL1:
    case KEY_ESR_EL1:
    case KEY_FAR_EL1:
    case KEY_AFSR0_EL1:
    case KEY_AFSR1_EL1:
    case KEY_MAIR_EL1:
    case KEY_AMAIR_EL1:
    case KEY_CONTEXTIDR_EL1:
        return true;
    default:
        return false;
    }
}

// EL2's traps of EL0 and EL1 accesses. D1, "Trapping to EL2".
static bool el2_traps(const struct arm_cpu *c, bool read, uint32_t key)
{
    if (c->el >= 2 || !arm_el2_enabled(c))
        return false;
    uint64_t h = c->hcr_el2;
    unsigned op0 = bits(key, 15, 14), op1 = bits(key, 13, 11), crn = bits(key, 10, 7),
             crm = bits(key, 6, 3);
    if (is_vm_control(key) && (h & (read ? HCR_TRVM : HCR_TVM)) && c->el == 1)
        return true;
    if ((h & HCR_TID3) && op0 == 3 && op1 == 0 && crn == 0 && crm >= 2 && c->el == 1)
        return true;
    if ((h & HCR_TID2) && (key == KEY_CTR_EL0 || key == KEY_CCSIDR_EL1 || key == KEY_CLIDR_EL1 ||
                           key == KEY_CSSELR_EL1))
        return true;
    if ((h & HCR_TID1) && (key == KEY_REVIDR_EL1 || key == KEY_AIDR_EL1))
        return true;
    if ((h & HCR_TACR) && key == KEY_ACTLR_EL1)
        return true;
    if ((h & HCR_TIDCP) && op0 == 3 && (crn == 11 || crn == 15))
        return true;
    if ((key == KEY_CPACR_EL1) && !(h & HCR_E2H) && bit(c->cptr_el2, 31))
        return true;
    if (is_pmu(key) && ((c->mdcr_el2 & 1 << 6) || ((c->mdcr_el2 & 1 << 5) && key == KEY_PMCR_EL0)))
        return true;
    if (op0 == 2 && (c->mdcr_el2 & ((crn == 1 ? 1 << 10 : 1 << 9) | 1 << 8)))
        return true;
    bool timer = key >= KEY_CNTP_TVAL_EL0 && key <= KEY_CNTP_CVAL_EL0;
    if (timer && !(h & HCR_E2H) && !(c->cnthctl_el2 & 2))
        return true;
    if (timer && (h & HCR_E2H) && !(h & HCR_TGE) && !(c->cnthctl_el2 & 1 << 11))
        return true;
    if (key == KEY_CNTPCT_EL0 &&
        !((h & HCR_E2H) ? (h & HCR_TGE) || (c->cnthctl_el2 & 1 << 10) : c->cnthctl_el2 & 1))
        return true;
    return false;
}

// Registers that belong to another device.
static bool space_access(struct arm_cpu *c, bool read, uint32_t key, unsigned rt, uint64_t *v,
                         bool *done)
{
    uint64_t h = arm_hcr(c);
    struct mem_attrs a = {.requester = c->env.cpu_index,
                          .level = c->el,
                          .secure = c->has_el3 && !(c->scr_el3 & SCR_NS),
                          .virt_irq = (h & HCR_IMO) != 0,
                          .virt_fiq = (h & HCR_FMO) != 0,
                          .el3_irq = c->has_el3 && (c->scr_el3 & SCR_IRQ),
                          .el3_fiq = c->has_el3 && (c->scr_el3 & SCR_FIQ)};
    *done = false;
    if (!c->config.sysregs || c->el == 0)
        return true;
    gpa_t at = (gpa_t)(key & 0xffff) << 3;
    struct space_hit hit = space_lookup(c->config.sysregs, at);
    if (hit.kind != SPACE_MMIO)
        return true;
    enum mem_result r = read ? space_read_hit(&hit, 8, v, a) : space_write_hit(&hit, 8, *v, a);
    *done = true;
    if (r == MEM_OK)
        return true;
    if (r == MEM_TRAP_EL2 || r == MEM_TRAP_EL3)
        arm_sysreg_trap(c, r == MEM_TRAP_EL2 ? 2 : 3, read, key, rt);
    else
        arm_sysreg_undefined(c);
    return false;
}

// A breakpoint or watchpoint, or the control of both, was changed: what was translated or looked up
// before did not know it. Breakpoints are part of the code they lie on.
static void debug_changed(struct arm_cpu *c)
{
    const struct env_flush all = {0};
    for (unsigned n = 0; n < ARRAY_SIZE(c->dbgbvr); n++)
        if (c->dbgbvr[n])
            c->env.exec->code_flush(&c->env, c->dbgbvr[n] & ~3ull, 4);
    c->env.exec->flush(&c->env, &all, false);
}

// An access to what the table has no row for: another device's, a reserved identification register
// (zero), or undefined.
static bool access_absent(struct arm_cpu *c, bool read, uint32_t key, unsigned rt, uint64_t *v)
{
    bool done;
    if (!space_access(c, read, key, rt, v, &done))
        return false;
    if (done)
        return true;
    unsigned op0 = bits(key, 15, 14), crn = bits(key, 10, 7), crm = bits(key, 6, 3);
    bool id_space = op0 == 3 && bits(key, 13, 11) == 0 && crn == 0 && crm >= 1 && read && c->el;
    bool impl_defined = op0 == 3 && (crn == 11 || crn == 15) && c->el;
    if (id_space || impl_defined) {
        if (read)
            *v = 0;
        return true;
    }
    if (log_on(LOG_UNIMP))
        log_debug("cpu %u: %s of system register S%u_%u_C%u_C%u_%u at 0x%016llx is undefined",
                  c->env.cpu_index, read ? "read" : "write", op0, (unsigned)bits(key, 13, 11), crn,
                  crm, key & 7, (unsigned long long)c->pc);
    arm_sysreg_undefined(c);
    return false;
}

// Does this CPU have the register, for this level?
static bool is_there(const struct arm_cpu *c, const struct arm_sysreg *r, bool read)
{
    unsigned min = read ? r->read_el : r->write_el;
    if (c->el < min || (min == 2 && !c->has_el2) || (is_pmu(r->key) && !arm_pmu_present(c)))
        return false;
    switch (r->key) {
    case KEY_SP_EL0:
        return c->spsel || !c->el;
    case KEY_RNDR:
    case KEY_RNDRRS:
        return arm_has(c, ARM_FEAT_RNG);
    case KEY_PAN:
        return arm_has(c, ARM_FEAT_PAN);
    case KEY_UAO:
        return arm_has(c, ARM_FEAT_UAO);
    case KEY_DIT:
        return arm_has(c, ARM_FEAT_DIT);
    case KEY_SSBS:
        return arm_has(c, ARM_FEAT_SSBS);
    default:
        return true;
    }
}

static void store(struct arm_cpu *c, const struct arm_sysreg *r, uint32_t key, uint64_t *field,
                  uint64_t v)
{
    uint64_t old = *field;
    *field = r->kind == SR_SLOT ? v : (*field & ~r->mask) | (v & r->mask);
    if (bits(key, 15, 14) == 2 && *field != old)
        debug_changed(c);
    if (r->kind == SR_STATE)
        arm_state_changed(c);
}

bool arm_sysreg_access(struct arm_cpu *c, bool read, uint32_t key, unsigned rt, uint64_t *v)
{
    const struct arm_sysreg *r = arm_sysreg_find(key, c->el, arm_hcr(c) & HCR_E2H);
    unsigned trap;
    if (el2_traps(c, read, key)) {
        arm_sysreg_trap(c, 2, read, key, rt);
        return false;
    }
    if (!r)
        return access_absent(c, read, key, rt, v);
    if (!is_there(c, r, read)) {
        arm_sysreg_undefined(c);
        return false;
    }
    if (c->el == 0 && (trap = el0_trap(c, read, r->key))) {
        arm_sysreg_trap(c, trap, read, key, rt);
        return false;
    }
    if ((r->key == KEY_FPCR || r->key == KEY_FPSR) && (trap = arm_fp_trap_level(c))) {
        arm_take_exception(c, trap, ESR_MAKE(EC_FP, 0xe << 20 | 1 << 24), NULL, c->pc);
        return false;
    }
    bool stored = r->kind == SR_PLAIN || r->kind == SR_STATE || r->kind == SR_SLOT;
    size_t offset = r->kind == SR_SLOT ? arm_guest.slots[r->offset].offset : r->offset;
    uint64_t *field = (uint64_t *)((char *)c + offset);
    if (read)
        *v = stored ? *field : r->get(c);
    else if (stored)
        store(c, r, key, field, *v);
    else
        r->set(c, *v);
    return true;
}
