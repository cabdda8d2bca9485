// Loads and stores of integer and floating-point registers (RISC-V Instruction Set Manual, volume
// I). Misaligned accesses work.
#include "isa/riscv/rv/lift.h"

static ir_ref address(struct lift *l, const struct rv_insn *i)
{
    return rv_data_address(l, ir_addi(l->b, rv_x(l, i->rs1), i->imm));
}

void rv_lift_load(struct lift *l, const struct rv_insn *i)
{
    static const uint8_t mo[] = {
        MO_8 | MO_SIGN, MO_16 | MO_SIGN, MO_32 | MO_SIGN, MO_64, MO_8, MO_16, MO_32};
    rv_set(l, i->rd, ir_load(l->b, IR_I64, address(l, i), mo[i->id - RV_LB]));
}

void rv_lift_store(struct lift *l, const struct rv_insn *i)
{
    unsigned mo = i->id - RV_SB;
    ir_store(l->b, address(l, i), mo == MO_64 ? rv_x(l, i->rs2) : rv_w(l, i->rs2), mo);
}

void rv_lift_fp_load(struct lift *l, const struct rv_insn *i)
{
    ir_ref v;
    if (i->id == RV_FLH) {
        v = ir_load(l->b, IR_I64, address(l, i), MO_16);
        rv_fp_set_bits(l, i->rd, ir_or(l->b, v, ir_i64(l->b, ~0xffffull)));
        return;
    }
    if (i->id == RV_FLD)
        v = ir_load(l->b, IR_F64, address(l, i), MO_64);
    else
        v = ir_load(l->b, IR_F32, address(l, i), MO_32);
    rv_fp_set(l, i->rd, v);
}

// A single is stored as it lies in the register, boxed or not.
void rv_lift_fp_store(struct lift *l, const struct rv_insn *i)
{
    ir_ref v = ir_get(l->b, RV_F0 + i->rs2);
    if (i->id != RV_FSD)
        v = ir_trunc(l->b, ir_emit(l->b, IR_fbits, IR_I64, 0, v, IR_NONE, IR_NONE));
    ir_store(l->b, address(l, i), v, i->id == RV_FSW ? MO_32 : i->id == RV_FSH ? MO_16 : MO_64);
}
