// A64 hints, barriers, system-register moves and exception-generating instructions (DDI 0487,
// C4.1.93). What they do to the system is in lift_system.c; this is their encoding.
#include "isa/arm/a64/lift.h"

void a64_lift_udf(struct lift *l, const struct a64_insn *i)
{
    arm_lift_undefined(l);
}

// Outside debug state DCPS and DRPS do not exist.
void a64_lift_dcps(struct lift *l, const struct a64_insn *i)
{
    arm_lift_undefined(l);
}

void a64_lift_drps(struct lift *l, const struct a64_insn *i)
{
    arm_lift_undefined(l);
}

void a64_lift_trap(struct lift *l, const struct a64_insn *i)
{
    static const enum arm_trap calls[4] = {TRAP_SVC, TRAP_SVC, TRAP_HVC, TRAP_SMC};
    enum arm_trap kind = i->opc == 0 ? calls[i->key] : i->opc == 1 ? TRAP_BRK : TRAP_HLT;
    arm_lift_trap(l, kind, i->imm16);
}

void a64_lift_eret(struct lift *l, const struct a64_insn *i)
{
    if (a64_el(l) == 0)
        arm_lift_undefined(l);
    else
        arm_lift_eret(l, IR_NONE);
}

void a64_lift_eret_auth(struct lift *l, const struct a64_insn *i)
{
    unsigned el = a64_el(l);
    if (el == 0 || !a64_has_pauth(l)) {
        arm_lift_undefined(l);
        return;
    }
    ir_ref elr = ir_ldenv(l->b, IR_I64, (unsigned)offsetof(struct arm_cpu, elr) + 8 * el);
    arm_lift_eret(l, a64_pac(l, true, PAC_IA + i->M, elr, a64_xsp(l, 31)));
}

// Hints that are not listed, and those that need no action here, do nothing.
void a64_lift_hint(struct lift *l, const struct a64_insn *i)
{
    switch (i->id) {
    case A64_YIELD:
        arm_lift_yield(l);
        break;
    case A64_WFE:
        arm_lift_wait(l, true);
        break;
    case A64_WFI:
        arm_lift_wait(l, false);
        break;
    case A64_SEV:
        arm_lift_sev(l, false);
        break;
    case A64_SEVL:
        arm_lift_sev(l, true);
        break;
    }
}

// A DSB also waits until other CPUs have done the TLB maintenance asked for before it.
static void finish_maintenance(struct env *e)
{
    if (e->exec->sync)
        e->exec->sync(e);
}
static const struct ir_helper helper_dsb = {"dsb", (void *)finish_maintenance, HELPER_READ,
                                            IR_VOID};

void a64_lift_barrier(struct lift *l, const struct a64_insn *i)
{
    static const uint16_t kinds[4] = {MO_SEQ, MO_ACQUIRE, MO_RELEASE, MO_SEQ};
    switch (i->id) {
    case A64_CLREX:
        ir_stenv(l->b, offsetof(struct env, monitor.addr), ir_i64(l->b, MONITOR_NONE), MO_64);
        break;
    case A64_DMB:
        ir_fence(l->b, kinds[i->CRm & 3]);
        break;
    case A64_DSB:
    case A64_DSB_nXS:
        ir_fence(l->b, MO_SEQ);
        if (a64_el(l) > 0)
            ir_call0(l->b, &helper_dsb);
        break;
    case A64_ISB: // code after it may have changed: it starts a region of its own
        ir_build_end(l->b, l->pc + 4);
        break;
    }
}

void a64_lift_msr_imm(struct lift *l, const struct a64_insn *i)
{
    arm_lift_msr_imm(l, i->op1, i->op2, i->CRm);
}

void a64_lift_sys(struct lift *l, const struct a64_insn *i)
{
    arm_lift_sysreg(l, i->L, ARM_SYSREG(1, i->op1, i->CRn, i->CRm, i->op2), i->Rt);
}

void a64_lift_sysreg(struct lift *l, const struct a64_insn *i)
{
    arm_lift_sysreg(l, i->L, ARM_SYSREG(2 + i->o0, i->op1, i->CRn, i->CRm, i->op2), i->Rt);
}
