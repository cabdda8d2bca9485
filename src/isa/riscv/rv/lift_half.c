// Half precision (Zfh) as operations of the IR, where there are some: sums, products, quotients,
// roots and conversions on vectors of one lane, the rest by way of single precision, which holds
// every half. RISC-V Instruction Set Manual, volume I, chapter 22.
#include "isa/riscv/rv/lift.h"

enum { DYNAMIC = 7, DEFAULT_NAN = 0x7e00, NANS = FPA_NAN_MODE(FP_NAN_DEFAULT) };

static ir_ref register_bits(struct lift *l, unsigned n)
{
    return ir_emit(l->b, IR_fbits, IR_I64, 0, ir_get(l->b, RV_F0 + n), IR_NONE, IR_NONE);
}

// The number in a register, an I32; NaN where it is not boxed.
static ir_ref read(struct lift *l, unsigned n)
{
    struct ir_build *b = l->b;
    ir_ref v = register_bits(l, n);
    ir_ref boxed = ir_cmp(b, CMP_UGE, v, ir_i64(b, ~0xffffull));
    return ir_select(b, boxed, ir_zext(b, IR_I32, ir_trunc(b, v), 16), ir_i32(b, DEFAULT_NAN));
}

static void put(struct lift *l, unsigned n, ir_ref v)
{
    rv_fp_set_bits(l, n, ir_or(l->b, ir_zext(l->b, IR_I64, v, 32), ir_i64(l->b, ~0xffffull)));
}

static ir_ref single(struct lift *l, unsigned n)
{
    return ir_emit(l->b, IR_h2f, IR_F32, NANS, read(l, n), IR_NONE, IR_NONE);
}

static void arithmetic(struct lift *l, const struct rv_insn *i, unsigned op, unsigned aux)
{
    struct ir_build *b = l->b;
    ir_ref x = ir_vzext(b, read(l, i->rs1));
    ir_ref y = op == IR_vfsqrt ? IR_NONE : ir_vzext(b, read(l, i->rs2));
    x = ir_v2(b, op, aux | VL_16 | VL_SCALAR, x, y);
    put(l, i->rd, ir_emit(b, IR_vgetu, IR_I32, VL_16 | VL_IMM(0), x, IR_NONE, IR_NONE));
}

static void compare(struct lift *l, const struct rv_insn *i, enum ir_cond cond, bool quiet)
{
    ir_ref x = single(l, i->rs1), y = single(l, i->rs2);
    ir_ref flags = ir_emit(l->b, IR_fcmp, IR_FLAGS, NANS | (quiet ? 0 : FPA_SIGNAL), x, y, IR_NONE);
    rv_set(l, i->rd, ir_b2i(l->b, IR_I64, ir_fcond(l->b, cond, flags)));
}

static void extreme(struct lift *l, const struct rv_insn *i, unsigned op)
{
    ir_ref v = ir_f2(l->b, op, NANS | FPA_NANMAX, single(l, i->rs1), single(l, i->rs2));
    put(l, i->rd, ir_emit(l->b, IR_f2h, IR_I32, NANS, v, IR_NONE, IR_NONE)); // exact
}

static void to_integer(struct lift *l, const struct rv_insn *i, unsigned type, unsigned aux)
{
    aux = (aux & FPA_RM) | FPA_NANMAX;
    if (i->id == RV_FCVT_WU_H || i->id == RV_FCVT_LU_H)
        aux |= FPA_UNSIGNED;
    rv_set(l, i->rd, ir_emit(l->b, IR_f2i, type, aux, single(l, i->rs1), IR_NONE, IR_NONE));
}

bool rv_lift_fp_half(struct lift *l, const struct rv_insn *i, unsigned rm)
{
    struct ir_build *b = l->b;
    unsigned aux = NANS | (rm == DYNAMIC ? 0 : FPA_RM_FIXED(rm));
    switch (i->id) {
    case RV_FADD_H:
        arithmetic(l, i, IR_vfadd, aux);
        return true;
    case RV_FSUB_H:
        arithmetic(l, i, IR_vfsub, aux);
        return true;
    case RV_FMUL_H:
        arithmetic(l, i, IR_vfmul, aux);
        return true;
    case RV_FDIV_H:
        arithmetic(l, i, IR_vfdiv, aux);
        return true;
    case RV_FSQRT_H:
        arithmetic(l, i, IR_vfsqrt, aux);
        return true;
    case RV_FMIN_H:
        extreme(l, i, IR_fminnm);
        return true;
    case RV_FMAX_H:
        extreme(l, i, IR_fmaxnm);
        return true;
    case RV_FEQ_H:
        compare(l, i, COND_EQ, true);
        return true;
    case RV_FLT_H:
        compare(l, i, COND_MI, false);
        return true;
    case RV_FLE_H:
        compare(l, i, COND_LS, false);
        return true;
    case RV_FCVT_W_H:
    case RV_FCVT_WU_H:
        to_integer(l, i, IR_I32, aux);
        return true;
    case RV_FCVT_L_H:
    case RV_FCVT_LU_H:
        to_integer(l, i, IR_I64, aux);
        return true;
    case RV_FCVT_S_H:
        rv_fp_set(l, i->rd, single(l, i->rs1));
        return true;
    case RV_FCVT_D_H:
        rv_fp_set(l, i->rd, ir_emit(b, IR_h2f, IR_F64, NANS, read(l, i->rs1), IR_NONE, IR_NONE));
        return true;
    case RV_FCVT_H_S: {
        ir_ref v = ir_emit(b, IR_funbox, IR_F32, 0, ir_get(b, RV_F0 + i->rs1), IR_NONE, IR_NONE);
        put(l, i->rd, ir_emit(b, IR_f2h, IR_I32, aux, v, IR_NONE, IR_NONE));
        return true;
    }
    default:
        return false;
    }
}
