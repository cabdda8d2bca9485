// Half precision (Zfh, Zfhmin) but for what lift_half.c has, and Zfa for every format, by
// softfloat/: seldom enough that a call is fast enough. RISC-V Instruction Set Manual, volume I,
// chapters 22 and 23.
#include "isa/riscv/rv/lift.h"
#include "softfloat/softfloat.h"

#include <math.h>

enum { DYNAMIC = 7, SPEC_RM_SHIFT = 16 };

static const struct sf_format *const formats[] = {&sf_single, &sf_double, &sf_half};
static unsigned bits_of(const struct sf_format *f)
{
    return 1 + f->exp_bits + f->frac_bits;
}

// The number in a register; NaN where it is not boxed.
static uint64_t unboxed(struct sf_env *e, const struct sf_format *f, uint64_t x)
{
    unsigned n = bits_of(f);
    if (n < 64 && ~x >> n)
        return sf_default_nan(e, f);
    return x & mask_low(n);
}
static uint64_t boxed(const struct sf_format *f, uint64_t x)
{
    return bits_of(f) < 64 ? x | ~mask_low(bits_of(f)) : x;
}

static uint64_t number_extreme(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b,
                               bool max)
{
    bool a_nan = sf_is_nan(f, a), b_nan = sf_is_nan(f, b);
    if (!a_nan && !b_nan)
        return max ? sf_max(e, f, a, b) : sf_min(e, f, a, b);
    if (sf_is_snan(f, a) || sf_is_snan(f, b))
        e->flags |= SF_INVALID;
    return a_nan && b_nan ? sf_default_nan(e, f) : a_nan ? b : a;
}

static uint64_t classify(const struct sf_format *f, uint64_t v)
{
    uint64_t exp = v >> f->frac_bits & mask_low(f->exp_bits), frac = v & mask_low(f->frac_bits);
    if (sf_is_nan(f, v))
        return sf_is_snan(f, v) ? 1 << 8 : 1 << 9;
    unsigned kind = exp == mask_low(f->exp_bits) ? 0 : exp ? 1 : frac ? 2 : 3;
    return 1u << (v & sf_sign_bit(f) ? kind : 7 - kind);
}

// fcvtmod.w.d: the integer modulo 2^32; invalid where it does not fit.
static uint64_t modular(struct sf_env *e, uint64_t v)
{
    struct sf_parts p = sf_unpack(e, &sf_double, v);
    if (p.kind != SF_NORMAL) {
        e->flags |= p.kind == SF_ZERO ? 0 : SF_INVALID;
        return 0;
    }
    int shift = p.exp - 63; // the value is sig * 2^shift
    uint64_t whole = shift <= -64 ? 0
                     : shift < 0  ? p.sig >> -shift
                     : shift < 64 ? p.sig << shift
                                  : 0;
    bool inexact = shift <= -64 || (shift < 0 && p.sig << (64 + shift));
    bool fits = p.exp < 31 || (p.sign && p.exp == 31 && whole == 1ull << 31);
    e->flags |= !fits ? SF_INVALID : inexact ? SF_INEXACT : 0;
    return (uint64_t)(int64_t)(int32_t)(p.sign ? -whole : whole);
}

static uint64_t compute(struct sf_env *e, unsigned id, uint64_t x, uint64_t y, uint64_t z)
{
    const struct sf_format *h = &sf_half, *f = h;
    uint64_t a = unboxed(e, h, x), b = unboxed(e, h, y), c = unboxed(e, h, z);
    switch (id) {
    case RV_FCVT_S_H:
        return boxed(&sf_single, sf_convert(e, h, &sf_single, a));
    case RV_FCVT_D_H:
        return sf_convert(e, h, &sf_double, a);
    case RV_FCVT_H_S:
        return boxed(h, sf_convert(e, &sf_single, h, unboxed(e, &sf_single, x)));
    case RV_FCVT_H_D:
        return boxed(h, sf_convert(e, &sf_double, h, x));
    case RV_FMADD_H:
    case RV_FMSUB_H:
    case RV_FNMSUB_H:
    case RV_FNMADD_H:
        a ^= id == RV_FNMSUB_H || id == RV_FNMADD_H ? sf_sign_bit(h) : 0;
        c ^= id == RV_FMSUB_H || id == RV_FNMADD_H ? sf_sign_bit(h) : 0;
        return boxed(h, sf_fma(e, h, a, b, c, false));
    case RV_FADD_H:
        return boxed(h, sf_add(e, h, a, b));
    case RV_FSUB_H:
        return boxed(h, sf_sub(e, h, a, b));
    case RV_FMUL_H:
        return boxed(h, sf_mul(e, h, a, b));
    case RV_FDIV_H:
        return boxed(h, sf_div(e, h, a, b));
    case RV_FSQRT_H:
        return boxed(h, sf_sqrt(e, h, a));
    case RV_FCVT_W_H:
    case RV_FCVT_WU_H:
        return (uint64_t)(int64_t)(int32_t)sf_to_int(e, h, a, 32, id == RV_FCVT_WU_H, 0, true);
    case RV_FCVT_L_H:
    case RV_FCVT_LU_H:
        return sf_to_int(e, h, a, 64, id == RV_FCVT_LU_H, 0, true);
    case RV_FCVT_H_W:
        return boxed(h, sf_from_int(e, h, (uint64_t)(int64_t)(int32_t)x, false, 0));
    case RV_FCVT_H_WU:
        return boxed(h, sf_from_int(e, h, (uint32_t)x, true, 0));
    case RV_FCVT_H_L:
    case RV_FCVT_H_LU:
        return boxed(h, sf_from_int(e, h, x, id == RV_FCVT_H_LU, 0));
    case RV_FSGNJ_H:
        return boxed(h, (a & ~sf_sign_bit(h)) | (b & sf_sign_bit(h)));
    case RV_FSGNJN_H:
        return boxed(h, (a & ~sf_sign_bit(h)) | (~b & sf_sign_bit(h)));
    case RV_FSGNJX_H:
        return boxed(h, a ^ (b & sf_sign_bit(h)));
    case RV_FMIN_H:
    case RV_FMAX_H:
        return boxed(h, number_extreme(e, h, a, b, id == RV_FMAX_H));
    case RV_FEQ_H:
        return sf_compare(e, h, a, b, false) == SF_EQUAL;
    case RV_FLT_H:
        return sf_compare(e, h, a, b, true) == SF_LESS;
    case RV_FLE_H: {
        enum sf_order o = sf_compare(e, h, a, b, true);
        return o == SF_LESS || o == SF_EQUAL;
    }
    case RV_FCLASS_H:
        return classify(f, a);
    default:
        BUG_ON("not one of these");
        return 0;
    }
}

static uint64_t compute_zfa(struct sf_env *e, unsigned id, unsigned fmt, uint64_t x, uint64_t y)
{
    const struct sf_format *f = formats[fmt];
    uint64_t a = unboxed(e, f, x), b = unboxed(e, f, y);
    enum sf_order o;
    switch (id) {
    case RV_FROUND_S:
    case RV_FROUND_D:
    case RV_FROUND_H:
        return boxed(f, sf_round_int(e, f, a, false));
    case RV_FROUNDNX_S:
    case RV_FROUNDNX_D:
    case RV_FROUNDNX_H:
        return boxed(f, sf_round_int(e, f, a, true));
    case RV_FMINM_S:
    case RV_FMINM_D:
    case RV_FMINM_H:
        return boxed(f, sf_min(e, f, a, b));
    case RV_FMAXM_S:
    case RV_FMAXM_D:
    case RV_FMAXM_H:
        return boxed(f, sf_max(e, f, a, b));
    case RV_FCVTMOD_W_D:
        return modular(e, x);
    default:
        o = sf_compare(e, f, a, b, false);
        bool equal = id == RV_FLEQ_S || id == RV_FLEQ_D || id == RV_FLEQ_H;
        return o == SF_LESS || (equal && o == SF_EQUAL);
    }
}

static bool is_zfa(unsigned id)
{
    return rv_info[id].feature == 1 + RV_FEAT_ZFA;
}

// `spec`: the instruction, its format and rounding mode.
static uint64_t help_soft(struct env *env, uint32_t spec, uint64_t x, uint64_t y, uint64_t z)
{
    struct sf_env e = {.nan = SF_NAN_DEFAULT};
    unsigned id = spec & 0xfff, fmt = spec >> 12 & 3, rm = spec >> SPEC_RM_SHIFT;
    e.rounding = (enum sf_rounding)(rm == DYNAMIC ? env->fp.rounding : rm);
    uint64_t r = is_zfa(id) ? compute_zfa(&e, id, fmt, x, y) : compute(&e, id, x, y, z);
    env->fp.flags |= e.flags;
    return r;
}
static const struct ir_helper soft_helper = {
    "soft_fp", (void *)help_soft, HELPER_FP, IR_I64, 4, {IR_I32, IR_I64, IR_I64, IR_I64}};
_Static_assert(RV_IDS <= 0x1000, "spec");

static ir_ref register_bits(struct lift *l, unsigned n)
{
    return ir_emit(l->b, IR_fbits, IR_I64, 0, ir_get(l->b, RV_F0 + n), IR_NONE, IR_NONE);
}

static bool to_integer(unsigned id)
{
    return (id >= RV_FCVT_W_H && id <= RV_FCVT_LU_H) || (id >= RV_FLE_H && id <= RV_FCLASS_H) ||
           id == RV_FLEQ_S || id == RV_FLTQ_S || id == RV_FLEQ_D || id == RV_FLTQ_D ||
           id == RV_FLEQ_H || id == RV_FLTQ_H || id == RV_FCVTMOD_W_D;
}

static void soft(struct lift *l, const struct rv_insn *i, unsigned rm)
{
    bool from_int = i->id >= RV_FCVT_H_W && i->id <= RV_FCVT_H_LU;
    if (rv_lift_fp_half(l, i, rm))
        return;
    ir_ref x = from_int ? rv_x(l, i->rs1) : register_bits(l, i->rs1);
    ir_ref v = ir_callv(l->b, &soft_helper,
                        ir_i32(l->b, i->id | (uint32_t)i->fmt << 12 | rm << SPEC_RM_SHIFT), x,
                        register_bits(l, i->rs2), register_bits(l, i->rs3));
    if (to_integer(i->id))
        rv_set(l, i->rd, v);
    else
        rv_fp_set_bits(l, i->rd, v);
}

void rv_lift_fp_soft(struct lift *l, const struct rv_insn *i)
{
    if (i->rm == DYNAMIC ? l->mode & RV_MODE_RM_INVALID : i->rm > FP_RMM)
        rv_lift_illegal(l, i);
    else
        soft(l, i, i->rm);
}

void rv_lift_fp_soft_exact(struct lift *l, const struct rv_insn *i)
{
    soft(l, i, FP_RTZ); // as fcvtmod.w.d; the others do not round
}

void rv_lift_fp_half_move(struct lift *l, const struct rv_insn *i)
{
    if (i->id == RV_FMV_X_H)
        rv_set(l, i->rd, ir_sext(l->b, IR_I64, register_bits(l, i->rs1), 16));
    else
        rv_fp_set_bits(l, i->rd, ir_or(l->b, rv_x(l, i->rs1), ir_i64(l->b, ~0xffffull)));
}

// fli: the constants of Zfa's table as doubles; entry 1 is the format's least normal number.
void rv_lift_fp_constant(struct lift *l, const struct rv_insn *i)
{
    static const double values[32] = {
        -1.0,   0,   0x1p-16, 0x1p-15, 0x1p-8, 0x1p-7, 0.0625,  0.125,   0.25,     0.3125, 0.375,
        0.4375, 0.5, 0.625,   0.75,    0.875,  1.0,    1.25,    1.5,     1.75,     2.0,    2.5,
        3.0,    4.0, 8.0,     16.0,    128.0,  256.0,  32768.0, 65536.0, INFINITY, NAN};
    const struct sf_format *f = formats[i->fmt];
    struct sf_env e = {.nan = SF_NAN_DEFAULT};
    uint64_t v;
    memcpy(&v, &values[i->rs1], 8);
    if (i->rs1 == 1)
        v = 1ull << f->frac_bits;
    else if (i->rs1 == 31)
        v = sf_default_nan(&e, f);
    else if (f != &sf_double)
        v = sf_convert(&e, &sf_double, f, v);
    rv_fp_set_bits(l, i->rd, ir_i64(l->b, boxed(f, v)));
}
