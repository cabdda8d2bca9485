// The F and D extensions (RISC-V Instruction Set Manual, volume I, chapters 20 and 21). A register
// holds a double; a single lies in its low half and the high half is all ones (NaN-boxing): one
// that is not boxed so reads as the default NaN.
#include "isa/riscv/rv/lift.h"

static unsigned type_of(const struct rv_insn *i)
{
    return i->dbl ? IR_F64 : IR_F32;
}

static ir_ref cast(struct lift *l, unsigned op, unsigned type, ir_ref v)
{
    return ir_emit(l->b, op, type, 0, v, IR_NONE, IR_NONE);
}

static ir_ref register_bits(struct lift *l, unsigned n)
{
    return cast(l, IR_fbits, IR_I64, ir_get(l->b, RV_F0 + n));
}

static ir_ref read(struct lift *l, bool dbl, unsigned n)
{
    ir_ref v = ir_get(l->b, RV_F0 + n);
    return dbl ? v : cast(l, IR_funbox, IR_F32, v);
}

ir_ref rv_fp_bits(struct lift *l, bool dbl, unsigned n)
{
    return cast(l, IR_fbits, dbl ? IR_I64 : IR_I32, read(l, dbl, n));
}

void rv_fp_set(struct lift *l, unsigned n, ir_ref v)
{
    if (ir_type_of(l->b, v) == IR_F32)
        v = cast(l, IR_fbox, IR_F64, v);
    ir_put(l->b, RV_F0 + n, v);
}

void rv_fp_set_bits(struct lift *l, unsigned n, ir_ref v)
{
    rv_fp_set(l, n, cast(l, IR_bitsf, ir_type_of(l->b, v) == IR_I32 ? IR_F32 : IR_F64, v));
}

// The aux bits of the instruction's rounding mode; false: it is reserved, and the exception has
// been emitted.
static bool rounding(struct lift *l, const struct rv_insn *i, unsigned *aux)
{
    *aux = FPA_NAN_MODE(FP_NAN_DEFAULT);
    if (i->rm == 7 ? l->mode & RV_MODE_RM_INVALID : i->rm > FP_RMM) {
        rv_lift_illegal(l, i);
        return false;
    }
    if (i->rm != 7)
        *aux |= FPA_RM_FIXED((unsigned)i->rm);
    return true;
}

// ---- arithmetic ----

void rv_lift_fp_two(struct lift *l, const struct rv_insn *i)
{
    static const uint8_t ops[] = {IR_fadd, IR_fsub, IR_fmul, IR_fdiv};
    unsigned aux, op = ops[i->id - (i->dbl ? RV_FADD_D : RV_FADD_S)];
    if (!rounding(l, i, &aux))
        return;
    ir_ref x = read(l, i->dbl, i->rs1), y = read(l, i->dbl, i->rs2);
    rv_fp_set(l, i->rd, ir_f2(l->b, op, aux, x, y));
}

void rv_lift_fp_sqrt(struct lift *l, const struct rv_insn *i)
{
    unsigned aux;
    if (rounding(l, i, &aux))
        rv_fp_set(l, i->rd, ir_f1(l->b, IR_fsqrt, aux, read(l, i->dbl, i->rs1)));
}

// FMADD, FMSUB (addend negated), FNMSUB (product negated), FNMADD (both).
void rv_lift_fp_three(struct lift *l, const struct rv_insn *i)
{
    unsigned aux, kind = i->id - (i->dbl ? RV_FMADD_D : RV_FMADD_S);
    if (!rounding(l, i, &aux))
        return;
    ir_ref x = read(l, i->dbl, i->rs1), y = read(l, i->dbl, i->rs2), z = read(l, i->dbl, i->rs3);
    if (kind & 2)
        x = ir_f1(l->b, IR_fneg, 0, x);
    if (kind == 1 || kind == 3)
        z = ir_f1(l->b, IR_fneg, 0, z);
    rv_fp_set(l, i->rd, ir_emit(l->b, IR_fma, type_of(i), aux, x, y, z));
}

void rv_lift_fp_sign(struct lift *l, const struct rv_insn *i)
{
    unsigned kind = i->id - (i->dbl ? RV_FSGNJ_D : RV_FSGNJ_S);
    unsigned type = i->dbl ? IR_I64 : IR_I32;
    if (i->rs1 == i->rs2) { // FMV, FNEG and FABS
        ir_ref v = read(l, i->dbl, i->rs1);
        rv_fp_set(l, i->rd, kind ? ir_f1(l->b, kind == 1 ? IR_fneg : IR_fabs, 0, v) : v);
        return;
    }
    ir_ref sign = ir_const(l->b, type, i->dbl ? 1ull << 63 : 1u << 31);
    ir_ref x = rv_fp_bits(l, i->dbl, i->rs1), y = rv_fp_bits(l, i->dbl, i->rs2);
    if (kind == 2) {
        rv_fp_set_bits(l, i->rd, ir_xor(l->b, x, ir_and(l->b, y, sign)));
        return;
    }
    if (kind == 1)
        y = ir_not(l->b, y);
    rv_fp_set_bits(l, i->rd, ir_or(l->b, ir_andn(l->b, x, sign), ir_and(l->b, y, sign)));
}

void rv_lift_fp_minmax(struct lift *l, const struct rv_insn *i)
{
    unsigned aux = FPA_NAN_MODE(FP_NAN_DEFAULT) | FPA_NANMAX;
    bool least = i->id == RV_FMIN_S || i->id == RV_FMIN_D;
    ir_ref x = read(l, i->dbl, i->rs1), y = read(l, i->dbl, i->rs2);
    rv_fp_set(l, i->rd, ir_f2(l->b, least ? IR_fminnm : IR_fmaxnm, aux, x, y));
}

void rv_lift_fp_compare(struct lift *l, const struct rv_insn *i)
{
    bool equal = i->id == RV_FEQ_S || i->id == RV_FEQ_D;
    bool less = i->id == RV_FLT_S || i->id == RV_FLT_D;
    unsigned aux = FPA_NAN_MODE(FP_NAN_DEFAULT) | (equal ? 0 : FPA_SIGNAL);
    ir_ref x = read(l, i->dbl, i->rs1), y = read(l, i->dbl, i->rs2);
    ir_ref flags = ir_emit(l->b, IR_fcmp, IR_FLAGS, aux, x, y, IR_NONE);
    enum ir_cond cond = equal ? COND_EQ : less ? COND_MI : COND_LS;
    rv_set(l, i->rd, ir_b2i(l->b, IR_I64, ir_fcond(l->b, cond, flags)));
}

// ---- classification and moves ----

// From bit 0: -inf, -normal, -subnormal, -0, +0, +subnormal, +normal, +inf, signalling, quiet NaN.
static uint64_t classify(uint64_t v, unsigned exp_bits, unsigned frac_bits)
{
    uint64_t exp = v >> frac_bits & mask_low(exp_bits), frac = v & mask_low(frac_bits);
    bool negative = v >> (exp_bits + frac_bits) & 1;
    if (exp == mask_low(exp_bits) && frac)
        return frac >> (frac_bits - 1) ? 1 << 9 : 1 << 8;
    unsigned kind = exp == mask_low(exp_bits) ? 0 : exp ? 1 : frac ? 2 : 3;
    return 1u << (negative ? kind : 7 - kind);
}
static uint64_t classify_single(uint32_t v)
{
    return classify(v, 8, 23);
}
static uint64_t classify_double(uint64_t v)
{
    return classify(v, 11, 52);
}
static const struct ir_helper class_single = {
    "class_single", (void *)classify_single, HELPER_PURE, IR_I64, 1, {IR_I32}};
static const struct ir_helper class_double = {
    "class_double", (void *)classify_double, HELPER_PURE, IR_I64, 1, {IR_I64}};

void rv_lift_fp_class(struct lift *l, const struct rv_insn *i)
{
    ir_ref v = rv_fp_bits(l, i->dbl, i->rs1);
    rv_set(l, i->rd, ir_callv(l->b, i->dbl ? &class_double : &class_single, v));
}

void rv_lift_fp_move(struct lift *l, const struct rv_insn *i)
{
    switch (i->id) {
    case RV_FMV_X_W: // as it lies there, boxed or not
        rv_set(l, i->rd, ir_trunc(l->b, register_bits(l, i->rs1)));
        break;
    case RV_FMV_X_D:
        rv_set(l, i->rd, register_bits(l, i->rs1));
        break;
    case RV_FMVH_X_D:
        rv_set(l, i->rd, ir_shri(l->b, register_bits(l, i->rs1), 32));
        break;
    case RV_FMVP_D_X:
        rv_fp_set_bits(l, i->rd,
                       ir_or(l->b, ir_zext(l->b, IR_I64, rv_x(l, i->rs1), 32),
                             ir_shli(l->b, rv_x(l, i->rs2), 32)));
        break;
    case RV_FMV_W_X:
        rv_fp_set_bits(l, i->rd, rv_w(l, i->rs1));
        break;
    default:
        rv_fp_set_bits(l, i->rd, rv_x(l, i->rs1));
        break;
    }
}

// ---- conversions ----

void rv_lift_fp_convert(struct lift *l, const struct rv_insn *i)
{
    unsigned aux;
    bool widens = i->id == RV_FCVT_D_S;
    if (!rounding(l, i, &aux))
        return;
    ir_ref v = read(l, !widens, i->rs1);
    rv_fp_set(l, i->rd, ir_emit(l->b, IR_f2f, widens ? IR_F64 : IR_F32, aux, v, IR_NONE, IR_NONE));
}

void rv_lift_fp_to_int(struct lift *l, const struct rv_insn *i)
{
    unsigned aux;
    if (!rounding(l, i, &aux))
        return;
    aux = (aux & FPA_RM) | FPA_NANMAX | (i->uns ? FPA_UNSIGNED : 0);
    rv_set(l, i->rd,
           ir_emit(l->b, IR_f2i, i->wide ? IR_I64 : IR_I32, aux, read(l, i->dbl, i->rs1), IR_NONE,
                   IR_NONE));
}

void rv_lift_fp_from_int(struct lift *l, const struct rv_insn *i)
{
    unsigned aux;
    if (!rounding(l, i, &aux))
        return;
    aux |= i->uns ? FPA_UNSIGNED : 0;
    ir_ref v = i->wide ? rv_x(l, i->rs1) : rv_w(l, i->rs1);
    rv_fp_set(l, i->rd, ir_emit(l->b, IR_i2f, type_of(i), aux, v, IR_NONE, IR_NONE));
}
