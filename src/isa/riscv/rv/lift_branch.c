// Jumps and branches (RISC-V Instruction Set Manual, volume I, 2.5). Which jumps are calls and
// returns follows the manual's hints on the link registers x1 and x5.
#include "isa/riscv/rv/lift.h"

static bool is_link(unsigned n)
{
    return n == 1 || n == 5;
}

void rv_lift_jump(struct lift *l, const struct rv_insn *i)
{
    uint64_t next = l->pc + l->length;
    bool direct = i->id == RV_JAL;
    ir_ref to;
    if (direct)
        to = ir_pc(l->b, l->pc + (uint64_t)(int64_t)i->imm);
    else
        to = ir_andi(l->b, ir_addi(l->b, rv_x(l, i->rs1), i->imm), ~1ull);
    rv_set(l, i->rd, ir_pc(l->b, next));
    if (is_link(i->rd))
        ir_callto(l->b, to, next);
    else if (direct)
        ir_goto(l->b, l->pc + (uint64_t)(int64_t)i->imm);
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
    ir_branch_if(l->b, ir_cmp(l->b, cc, rv_x(l, i->rs1), rv_x(l, i->rs2)),
                 l->pc + (uint64_t)(int64_t)i->imm, l->pc + l->length);
}
