// A64 scalar floating point (DDI 0487, C4.1.96). Single and double precision are F32 and F64
// values; half precision is lane 0 of a vector, or goes through a helper where the IR has no half.
#include "isa/arm/simd/simd.h"

bool a64_fp_ready(struct lift *l, unsigned size)
{
    if (size == VL_16 && !a64_has(l, ARM_FEAT_FP16)) {
        arm_lift_undefined(l);
        return false;
    }
    return arm_lift_fp_check(l);
}

static bool ready(struct lift *l, const struct a64_insn *i)
{
    return a64_fp_ready(l, a64_fp_size(i->ftype));
}

static unsigned type_of(const struct a64_insn *i)
{
    return i->ftype == 1 ? IR_F64 : IR_F32;
}

static bool half(const struct a64_insn *i)
{
    return i->ftype == 3;
}

static ir_ref read(struct lift *l, const struct a64_insn *i, unsigned n)
{
    return ir_vlow(l->b, type_of(i), a64_v(l, n));
}

// Bits of a register's low lane as an integer of 64 bits.
static ir_ref read_bits(struct lift *l, unsigned n, unsigned size)
{
    ir_ref v = a64_v(l, n);
    if (size == VL_64)
        return ir_vlow(l->b, IR_I64, v);
    return ir_emit(l->b, IR_vgetu, IR_I64, size, v, IR_NONE, IR_NONE);
}

static void write_bits(struct lift *l, unsigned n, ir_ref x)
{
    a64_set_scalar(l, n, x);
}

uint64_t a64_fp_imm(unsigned imm8, unsigned size)
{
    unsigned exp_bits = size == VL_16 ? 5 : size == VL_32 ? 8 : 11, width = 8u << size;
    uint64_t b6 = imm8 >> 6 & 1;
    uint64_t exp =
        (b6 ^ 1) << (exp_bits - 1) | (b6 ? mask_low(exp_bits - 3) << 2 : 0) | (imm8 >> 4 & 3);
    unsigned frac_bits = width - 1 - exp_bits;
    return (uint64_t)(imm8 >> 7) << (width - 1) | exp << frac_bits |
           (uint64_t)(imm8 & 15) << (frac_bits - 4);
}

// ---- moves ----

void a64_lift_fp_move(struct lift *l, const struct a64_insn *i)
{
    if (!(half(i) ? ready(l, i) : arm_lift_fp_check(l)))
        return;
    switch (i->id) {
    case A64_FMOV_to_w:
        a64_set(l, i->Rd, ir_vlow(l->b, IR_I32, a64_v(l, i->Rn)));
        break;
    case A64_FMOV_to_x:
        a64_set(l, i->Rd, ir_vlow(l->b, IR_I64, a64_v(l, i->Rn)));
        break;
    case A64_FMOV_to_h:
        a64_set(l, i->Rd, read_bits(l, i->Rn, VL_16));
        break;
    case A64_FMOV_to_hi:
        a64_set(
            l, i->Rd,
            ir_emit(l->b, IR_vgetu, IR_I64, VL_64 | VL_IMM(1), a64_v(l, i->Rn), IR_NONE, IR_NONE));
        break;
    case A64_FMOV_from_hi:
        a64_set_v(l, i->Rd,
                  ir_v2(l->b, IR_vset, VL_64 | VL_IMM(1), a64_v(l, i->Rd), a64_x(l, i->Rn)));
        break;
    case A64_FMOV_from_h:
        write_bits(l, i->Rd, ir_andi(l->b, a64_x(l, i->Rn), 0xffff));
        break;
    default:
        write_bits(l, i->Rd, a64_reg(l, i->sf, i->Rn));
    }
}

void a64_lift_fp_imm(struct lift *l, const struct a64_insn *i)
{
    if (ready(l, i))
        write_bits(l, i->Rd, ir_i64(l->b, a64_fp_imm(i->imm8, a64_fp_size(i->ftype))));
}

void a64_lift_fp_select(struct lift *l, const struct a64_insn *i)
{
    if (!ready(l, i))
        return;
    if (half(i)) {
        ir_ref x = read_bits(l, i->Rn, VL_16), y = read_bits(l, i->Rm, VL_16);
        write_bits(l, i->Rd, i->cond >= 14 ? x : ir_select(l->b, a64_cond(l, i->cond), x, y));
        return;
    }
    ir_ref x = read(l, i, i->Rn), y = read(l, i, i->Rm);
    a64_set_scalar(l, i->Rd, i->cond >= 14 ? x : ir_select(l->b, a64_cond(l, i->cond), x, y));
}

// ---- arithmetic ----

// `scalar` on F32 and F64, `lanes` on half precision.
static ir_ref unary(struct lift *l, const struct a64_insn *i, unsigned scalar, unsigned lanes,
                    unsigned aux)
{
    if (half(i))
        return ir_v1(l->b, lanes, VL_16 | VL_SCALAR | aux, a64_v(l, i->Rn));
    return ir_vzext(l->b, ir_f1(l->b, scalar, aux, read(l, i, i->Rn)));
}

void a64_lift_fp_one(struct lift *l, const struct a64_insn *i)
{
    if (!ready(l, i))
        return;
    switch (i->id) {
    case A64_FMOV_reg:
        write_bits(l, i->Rd, read_bits(l, i->Rn, a64_fp_size(i->ftype)));
        break;
    case A64_FABS:
        a64_set_v(l, i->Rd, unary(l, i, IR_fabs, IR_vfabs, 0));
        break;
    case A64_FNEG:
        a64_set_v(l, i->Rd, unary(l, i, IR_fneg, IR_vfneg, 0));
        break;
    default:
        a64_set_v(l, i->Rd, unary(l, i, IR_fsqrt, IR_vfsqrt, a64_nan(l)));
    }
}

void a64_lift_fp_two(struct lift *l, const struct a64_insn *i)
{
    static const uint8_t scalar[] = {IR_fmul, IR_fdiv,   IR_fadd,   IR_fsub, IR_fmax,
                                     IR_fmin, IR_fmaxnm, IR_fminnm, IR_fmul};
    static const uint8_t lanes[] = {IR_vfmul, IR_vfdiv,   IR_vfadd,   IR_vfsub, IR_vfmax,
                                    IR_vfmin, IR_vfmaxnm, IR_vfminnm, IR_vfmul};
    if (!ready(l, i))
        return;
    bool negate = i->id == A64_FNMUL;
    if (half(i)) {
        unsigned shape = VL_16 | VL_SCALAR;
        ir_ref v =
            ir_v2(l->b, lanes[i->opcode], shape | a64_nan(l), a64_v(l, i->Rn), a64_v(l, i->Rm));
        a64_set_v(l, i->Rd, negate ? ir_v1(l->b, IR_vfneg, shape, v) : v);
        return;
    }
    ir_ref x = ir_f2(l->b, scalar[i->opcode], a64_nan(l), read(l, i, i->Rn), read(l, i, i->Rm));
    a64_set_scalar(l, i->Rd, negate ? ir_f1(l->b, IR_fneg, 0, x) : x);
}

// FMADD, FMSUB (n negated), FNMADD (both negated), FNMSUB (a negated).
void a64_lift_fp_three(struct lift *l, const struct a64_insn *i)
{
    if (!ready(l, i))
        return;
    bool negate_a = i->op, negate_n = i->op ^ i->o0;
    if (half(i)) {
        unsigned shape = VL_16 | VL_SCALAR;
        ir_ref n = a64_v(l, i->Rn), a = a64_v(l, i->Ra);
        n = negate_n ? ir_v1(l->b, IR_vfneg, shape, n) : n;
        a = negate_a ? ir_v1(l->b, IR_vfneg, shape, a) : a;
        a64_set_v(l, i->Rd, ir_v3(l->b, IR_vfma, shape | a64_nan(l), n, a64_v(l, i->Rm), a));
        return;
    }
    ir_ref n = read(l, i, i->Rn), a = read(l, i, i->Ra);
    n = negate_n ? ir_f1(l->b, IR_fneg, 0, n) : n;
    a = negate_a ? ir_f1(l->b, IR_fneg, 0, a) : a;
    a64_set_scalar(l, i->Rd,
                   ir_emit(l->b, IR_fma, type_of(i), a64_nan(l), n, read(l, i, i->Rm), a));
}

void a64_lift_fp_round(struct lift *l, const struct a64_insn *i)
{
    static const uint8_t modes[8] = {FP_RNE, FP_RUP, FP_RDN, FP_RTZ, FP_RMM};
    if (!ready(l, i))
        return;
    unsigned aux = a64_nan(l);
    if (i->op1 < 5)
        aux |= FPA_RM_FIXED((unsigned)modes[i->op1]);
    else if (i->id == A64_FRINTX)
        aux |= FPA_SIGNAL;
    a64_set_v(l, i->Rd, unary(l, i, IR_frint, IR_vfrint, aux));
}

void a64_lift_fp_round_ts(struct lift *l, const struct a64_insn *i)
{
    if (!ready(l, i))
        return;
    unsigned size = a64_fp_size(i->ftype), spec = size | (i->op1 & 2) << 3 | (i->op1 & 1) << 5;
    spec |= i->op1 & 1 ? 0 : 1 << 6;
    write_bits(l, i->Rd,
               ir_callv(l->b, &arm_helper_round_ts, read_bits(l, i->Rn, size), ir_i32(l->b, spec)));
}

// ---- conversions ----

void a64_lift_fp_convert(struct lift *l, const struct a64_insn *i)
{
    if (!arm_lift_fp_check(l))
        return;
    if (i->ftype != 3 && i->id != A64_FCVT_to_h) {
        unsigned to = i->id == A64_FCVT_to_d ? IR_F64 : IR_F32;
        a64_set_scalar(l, i->Rd,
                       ir_emit(l->b, IR_f2f, to, a64_nan(l), read(l, i, i->Rn), IR_NONE, IR_NONE));
        return;
    }
    if (half(i)) {
        ir_ref h = ir_emit(l->b, IR_vgetu, IR_I32, VL_16, a64_v(l, i->Rn), IR_NONE, IR_NONE);
        unsigned to = i->id == A64_FCVT_to_d ? IR_F64 : IR_F32;
        a64_set_scalar(l, i->Rd, ir_emit(l->b, IR_h2f, to, a64_nan(l), h, IR_NONE, IR_NONE));
        return;
    }
    ir_ref v = ir_emit(l->b, IR_f2h, IR_I32, a64_nan(l), read(l, i, i->Rn), IR_NONE, IR_NONE);
    a64_set_scalar(l, i->Rd, v);
}

void a64_lift_bfcvt(struct lift *l, const struct a64_insn *i)
{
    if (arm_lift_fp_check(l))
        a64_set_scalar(l, i->Rd,
                       ir_callv(l->b, &arm_helper_bfcvt, ir_vlow(l->b, IR_I32, a64_v(l, i->Rn))));
}

static void to_int(struct lift *l, const struct a64_insn *i, enum fp_rounding rm, unsigned fraction)
{
    bool is_unsigned = i->op1 & 1;
    if (half(i)) {
        unsigned spec = VL_16 | (is_unsigned ? CONVERT_UNSIGNED : 0) | (i->sf ? CONVERT_64 : 0) |
                        (rm + 1) << CONVERT_RM_SHIFT | fraction << CONVERT_FRACTION_SHIFT;
        ir_ref x =
            ir_callv(l->b, &arm_helper_to_int, read_bits(l, i->Rn, VL_16), ir_i32(l->b, spec));
        a64_set(l, i->Rd, i->sf ? x : ir_zext(l->b, IR_I64, x, 32));
        return;
    }
    unsigned aux = FPA_RM_FIXED((unsigned)rm) | (is_unsigned ? FPA_UNSIGNED : 0) | fraction;
    a64_set(l, i->Rd,
            ir_emit(l->b, IR_f2i, a64_type(i->sf), aux, read(l, i, i->Rn), IR_NONE, IR_NONE));
}

void a64_lift_fp_to_int(struct lift *l, const struct a64_insn *i)
{
    static const uint8_t modes[4] = {FP_RNE, FP_RUP, FP_RDN, FP_RTZ};
    if (ready(l, i))
        to_int(l, i, i->op1 & 4 ? FP_RMM : modes[i->rmode], 0);
}

void a64_lift_fp_to_fixed(struct lift *l, const struct a64_insn *i)
{
    if (ready(l, i))
        to_int(l, i, FP_RTZ, 64 - i->scale);
}

static void from_int(struct lift *l, const struct a64_insn *i, unsigned fraction)
{
    bool is_unsigned = i->op1 & 1;
    ir_ref x = a64_reg(l, i->sf, i->Rn);
    if (half(i)) {
        unsigned spec = VL_16 | (is_unsigned ? CONVERT_UNSIGNED : 0) | CONVERT_64 |
                        fraction << CONVERT_FRACTION_SHIFT;
        if (!i->sf)
            x = is_unsigned ? ir_zext(l->b, IR_I64, x, 32) : ir_sext(l->b, IR_I64, x, 32);
        write_bits(l, i->Rd, ir_callv(l->b, &arm_helper_from_int, x, ir_i32(l->b, spec)));
        return;
    }
    unsigned aux = (is_unsigned ? FPA_UNSIGNED : 0) | fraction;
    a64_set_scalar(l, i->Rd, ir_emit(l->b, IR_i2f, type_of(i), aux, x, IR_NONE, IR_NONE));
}

void a64_lift_int_to_fp(struct lift *l, const struct a64_insn *i)
{
    if (ready(l, i))
        from_int(l, i, 0);
}

void a64_lift_fixed_to_fp(struct lift *l, const struct a64_insn *i)
{
    if (ready(l, i))
        from_int(l, i, 64 - i->scale);
}

// Z: the value is exactly the 32-bit integer; N, C and V are clear.
void a64_lift_fjcvtzs(struct lift *l, const struct a64_insn *i)
{
    if (!arm_lift_fp_check(l))
        return;
    ir_ref x = ir_callv(l->b, &arm_helper_fjcvtzs, ir_vlow(l->b, IR_I64, a64_v(l, i->Rn)));
    a64_set(l, i->Rd, ir_zext(l->b, IR_I64, x, 32));
    ir_ref z = ir_shli(l->b, ir_trunc(l->b, ir_shri(l->b, x, 32)), 30);
    a64_set_flags(l, ir_unpackf(l->b, z));
}

// ---- comparisons ----

static ir_ref compare(struct lift *l, const struct a64_insn *i, ir_ref x, ir_ref y)
{
    if (half(i))
        return ir_unpackf(l->b, ir_callv(l->b, &arm_helper_compare_h, ir_trunc(l->b, x),
                                         ir_trunc(l->b, y), ir_i32(l->b, i->op)));
    return ir_emit(l->b, IR_fcmp, IR_FLAGS, i->op ? FPA_SIGNAL : 0, x, y, IR_NONE);
}

static ir_ref operand(struct lift *l, const struct a64_insn *i, unsigned n)
{
    return half(i) ? read_bits(l, n, VL_16) : read(l, i, n);
}

static ir_ref zero(struct lift *l, const struct a64_insn *i)
{
    return ir_const(l->b, half(i) ? IR_I64 : type_of(i), 0);
}

void a64_lift_fp_compare(struct lift *l, const struct a64_insn *i)
{
    if (ready(l, i))
        a64_set_flags(
            l, compare(l, i, operand(l, i, i->Rn), i->Z ? zero(l, i) : operand(l, i, i->Rm)));
}

// Where the condition fails nothing is compared: zeros take the place of the operands, so that no
// exception is raised.
void a64_lift_fp_cond_compare(struct lift *l, const struct a64_insn *i)
{
    if (!ready(l, i))
        return;
    ir_ref x = operand(l, i, i->Rn), y = operand(l, i, i->Rm);
    if (i->cond >= 14) {
        a64_set_flags(l, compare(l, i, x, y));
        return;
    }
    ir_ref holds = a64_cond(l, i->cond);
    x = ir_select(l->b, holds, x, zero(l, i));
    y = ir_select(l->b, holds, y, zero(l, i));
    ir_ref other = ir_unpackf(l->b, ir_i32(l->b, (uint32_t)i->nzcv << 28));
    a64_set_flags(l, ir_select(l->b, holds, compare(l, i, x, y), other));
}
