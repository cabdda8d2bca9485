// Jumps and branches (RISC-V Instruction Set Manual, volume I, 2.5). Which jumps are calls and
// returns follows the manual's hints on the link registers x1 and x5.
#include "isa/riscv/rv/lift.h"

static bool is_link(unsigned n)
{
    return n == 1 || n == 5;
}

// Without compressed instructions, a jump to what is no multiple of four is an exception of the
// jump.
static void help_target(struct env *e, uint64_t taken, uint64_t to)
{
    if (taken)
        rv_raise(rv_cpu(e), RV_CAUSE_FETCH_MISALIGNED, to);
}
static const struct ir_helper target_helper = {"target", (void *)help_target, HELPER_STATE, IR_VOID,
                                               2,        {IR_I64, IR_I64}};

static bool unaligned_allowed(struct lift *l)
{
    return rv_has(rv_cpu(l->env), RV_FEAT_C);
}

static uint64_t target(struct lift *l, const struct rv_insn *i)
{
    uint64_t to = l->pc + (uint64_t)(int64_t)i->imm;
    return rv_narrow(l) ? (uint32_t)to : to;
}

void rv_lift_jump(struct lift *l, const struct rv_insn *i)
{
    uint64_t next = l->pc + l->length;
    bool direct = i->id == RV_JAL;
    ir_ref to;
    if (direct)
        to = ir_pc(l->b, target(l, i));
    else
        to = rv_address(l, ir_andi(l->b, ir_addi(l->b, rv_x(l, i->rs1), i->imm), ~1ull));
    if (!unaligned_allowed(l) && (!direct || i->imm & 2))
        ir_callv(l->b, &target_helper, ir_andi(l->b, to, 2), to);
    rv_set(l, i->rd, ir_pc(l->b, next));
    if (is_link(i->rd))
        ir_callto(l->b, to, next);
    else if (direct)
        ir_goto(l->b, target(l, i));
    else if (is_link(i->rs1))
        ir_ret(l->b, to);
    else
        ir_indirect(l->b, to);
}

void rv_lift_branch(struct lift *l, const struct rv_insn *i)
{
    enum ir_cmp cc;
    switch (i->id) {
    case RV_BEQ:
        cc = CMP_EQ;
        break;
    case RV_BNE:
        cc = CMP_NE;
        break;
    case RV_BLT:
        cc = CMP_SLT;
        break;
    case RV_BGE:
        cc = CMP_SGE;
        break;
    case RV_BLTU:
        cc = CMP_ULT;
        break;
    default:
        cc = CMP_UGE;
        break;
    }
    uint64_t to = target(l, i);
    ir_ref taken = ir_cmp(l->b, cc, rv_x(l, i->rs1), rv_x(l, i->rs2));
    if (!unaligned_allowed(l) && i->imm & 2)
        ir_callv(l->b, &target_helper, ir_b2i(l->b, IR_I64, taken), ir_pc(l->b, to));
    ir_branch_if(l->b, taken, to, l->pc + l->length);
}
