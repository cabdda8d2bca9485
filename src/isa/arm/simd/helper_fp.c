// Floating-point instructions the IR has no operation for (DDI 0487, shared pseudocode J1.3):
// estimates and steps, FRINT32/64, FJCVTZS, widening multiply-add, BFloat16. All arithmetic is
// softfloat's.
#include "ir/lanes.h"
#include "isa/arm/arm_bits.h"
#include "isa/arm/simd/estimate.h"
#include "isa/arm/simd/simd.h"
#include "softfloat/softfloat.h"

static const struct sf_format *ieee(unsigned size)
{
    return size == VL_16 ? &sf_half : size == VL_32 ? &sf_single : &sf_double;
}

// The environment of an operation within one format; half precision flushes by FPCR.FZ16, silently
// for operands.
static struct sf_env env_of(const struct env *e, unsigned size)
{
    return (struct sf_env){
        .rounding = e->fp.rounding,
        .nan = e->fp.nan,
        .flush_inputs = size == VL_16 ? e->fp.flush_half : e->fp.flush_inputs,
        .flush_inputs_quiet = size == VL_16,
        .flush_outputs = size == VL_16 ? e->fp.flush_half : e->fp.flush_outputs,
        .tiny_before = true,
    };
}

static void done(struct env *e, const struct sf_env *s)
{
    e->fp.flags |= s->flags;
}

// ---- conversions ----

static void set_rounding(struct sf_env *s, unsigned spec)
{
    unsigned rm = spec >> CONVERT_RM_SHIFT & 7;
    if (rm)
        s->rounding = rm - 1;
}

static uint64_t to_int_of(struct sf_env *s, uint64_t x, unsigned spec, unsigned bits)
{
    set_rounding(s, spec);
    return sf_to_int(s, ieee(spec & CONVERT_SIZE), x, bits, spec & CONVERT_UNSIGNED,
                     spec >> CONVERT_FRACTION_SHIFT, false) &
           mask_low(bits);
}

static uint64_t to_int(struct env *e, uint64_t x, uint32_t spec)
{
    struct sf_env s = env_of(e, spec & CONVERT_SIZE);
    x = to_int_of(&s, x, spec, spec & CONVERT_64 ? 64 : 32);
    done(e, &s);
    return x;
}

static uint64_t from_int(struct env *e, uint64_t x, uint32_t spec)
{
    struct sf_env s = env_of(e, spec & CONVERT_SIZE);
    x = sf_from_int(&s, ieee(spec & CONVERT_SIZE), x, spec & CONVERT_UNSIGNED,
                    spec >> CONVERT_FRACTION_SHIFT);
    done(e, &s);
    return x;
}

static uint32_t bfcvt(struct env *e, uint32_t x)
{
    struct sf_env s = env_of(e, VL_32);
    x = (uint32_t)sf_convert(&s, &sf_single, &sf_bfloat, x);
    done(e, &s);
    return x;
}

static uint32_t compare_h(struct env *e, uint32_t x, uint32_t y, uint32_t signal)
{
    static const uint32_t nzcv[] = {
        [SF_LESS] = 8, [SF_EQUAL] = 6, [SF_GREATER] = 2, [SF_UNORDERED] = 3};
    struct sf_env s = env_of(e, VL_16);
    enum sf_order o = sf_compare(&s, &sf_half, x, y, signal);
    done(e, &s);
    return nzcv[o] << 28;
}

// FRINT32X and its kin: out of range gives the least integer.
static uint64_t round_ts_one(struct sf_env *s, uint64_t x, unsigned spec)
{
    const struct sf_format *f = ieee(spec & 15);
    unsigned bits = spec & 1 << 4 ? 64 : 32;
    if (spec & 1 << 6)
        s->rounding = SF_RTZ;
    uint32_t before = s->flags;
    s->flags = 0;
    uint64_t n = sf_to_int(s, f, x, bits, false, 0, false);
    if (s->flags & SF_INVALID)
        n = ~mask_low(bits - 1);
    uint32_t raised = s->flags;
    uint64_t r = n ? sf_from_int(s, f, n, false, 0) : sf_make_zero(f, x & sf_sign_bit(f));
    s->flags = before | raised;
    return r;
}

static uint64_t round_ts(struct env *e, uint64_t x, uint32_t spec)
{
    struct sf_env s = env_of(e, spec & 15);
    x = round_ts_one(&s, x, spec);
    done(e, &s);
    return x;
}

// FPToFixedJS: the integer modulo 2^32; Z only where nothing was lost, not for -0 and not for a
// subnormal that counts as zero.
static uint64_t fjcvtzs(struct env *e, uint64_t x)
{
    struct sf_env s = env_of(e, VL_64);
    struct sf_parts p = sf_unpack(&s, &sf_double, x);
    uint64_t whole = 0;
    bool lost = false, out = p.kind > SF_NORMAL, z = !x;
    if (p.kind == SF_NORMAL) {
        if (p.exp < 0) {
            lost = true;
        } else if (p.exp <= 63) {
            whole = p.sig >> (63 - p.exp);
            lost = p.exp < 63 && p.sig << (p.exp + 1);
            out = whole > (1ull << 31) - !p.sign;
        } else {
            whole = p.exp < 127 ? p.sig << (p.exp - 63) : 0;
            out = true;
        }
        z = !lost && !out;
    }
    if (out)
        s.flags |= SF_INVALID;
    else if (lost)
        s.flags |= SF_INEXACT;
    done(e, &s);
    return (uint32_t)(p.sign ? -whole : whole) | (uint64_t)z << 32;
}

// ---- estimates and steps ----

static uint64_t mulx(struct sf_env *s, const struct sf_format *f, uint64_t a, uint64_t b)
{
    struct sf_env quiet = *s;
    struct sf_parts x = sf_unpack(&quiet, f, a), y = sf_unpack(&quiet, f, b);
    if ((x.kind == SF_ZERO && y.kind == SF_INFINITY) ||
        (x.kind == SF_INFINITY && y.kind == SF_ZERO)) {
        s->flags |= quiet.flags;
        return sf_make_zero(f, x.sign ^ y.sign) | (uint64_t)(sf_bias(f) + 1) << f->frac_bits;
    }
    return sf_mul(s, f, a, b);
}

// 2 - a * b, or (3 - a * b) / 2; infinity times zero gives 2 or 1.5.
static uint64_t step(struct sf_env *s, const struct sf_format *f, uint64_t a, uint64_t b, bool root)
{
    uint64_t two = (uint64_t)(sf_bias(f) + 1) << f->frac_bits;
    uint64_t half_unit = 1ull << (f->frac_bits - 1); // of the fraction
    struct sf_env quiet = *s;
    struct sf_parts x = sf_unpack(&quiet, f, a), y = sf_unpack(&quiet, f, b);
    if ((x.kind == SF_ZERO && y.kind == SF_INFINITY) ||
        (x.kind == SF_INFINITY && y.kind == SF_ZERO)) {
        s->flags |= quiet.flags;
        return root ? two - half_unit : two;
    }
    return sf_fma(s, f, a ^ sf_sign_bit(f), b, root ? two | half_unit : two, root);
}

static uint64_t recip_overflow(struct sf_env *s, const struct sf_format *f, bool sign)
{
    s->flags |= SF_OVERFLOW | SF_INEXACT;
    bool to_infinity = s->rounding == SF_RNE || s->rounding == (sign ? SF_RDN : SF_RUP);
    return sf_make_infinity(f, sign) - !to_infinity;
}

static uint64_t recip_estimate(struct sf_env *s, const struct sf_format *f, uint64_t a)
{
    struct sf_parts p = sf_unpack(s, f, a);
    switch (p.kind) {
    case SF_QNAN:
    case SF_SNAN:
        return sf_pick_nan(s, f, a, a);
    case SF_INFINITY:
        return sf_make_zero(f, p.sign);
    case SF_ZERO:
        s->flags |= SF_DIVZERO;
        return sf_make_infinity(f, p.sign);
    default:
        break;
    }
    int bias = sf_bias(f);
    if (p.exp < -bias - 1)
        return recip_overflow(s, f, p.sign);
    if (s->flush_outputs && p.exp >= bias - 1) {
        s->flags |= SF_UNDERFLOW;
        return sf_make_zero(f, p.sign);
    }
    uint64_t fraction = (uint64_t)(estimate_reciprocal((unsigned)(p.sig >> 55)) & 255) << 44;
    int exp = 2 * bias - 1 - (p.exp + bias);
    if (exp == 0) {
        fraction = 1ull << 51 | fraction >> 1;
    } else if (exp == -1) {
        fraction = 1ull << 50 | fraction >> 2;
        exp = 0;
    }
    return sf_make_zero(f, p.sign) | (uint64_t)exp << f->frac_bits |
           fraction >> (52 - f->frac_bits);
}

static uint64_t root_estimate(struct sf_env *s, const struct sf_format *f, uint64_t a)
{
    struct sf_parts p = sf_unpack(s, f, a);
    if (p.kind >= SF_QNAN)
        return sf_pick_nan(s, f, a, a);
    if (p.kind == SF_ZERO) {
        s->flags |= SF_DIVZERO;
        return sf_make_infinity(f, p.sign);
    }
    if (p.sign) {
        s->flags |= SF_INVALID;
        return sf_default_nan(s, f);
    }
    if (p.kind == SF_INFINITY)
        return 0;
    int bias = sf_bias(f), exp = p.exp + bias; // as encoded, below 1 for subnormals
    unsigned scaled = (unsigned)(p.sig >> (exp & 1 ? 56 : 55));
    int result = (3 * bias - 1 - exp) >> 1;
    uint64_t fraction = (uint64_t)(estimate_root(scaled) & 255) << 44;
    return (uint64_t)result << f->frac_bits | fraction >> (52 - f->frac_bits);
}

static uint64_t recip_exponent(struct sf_env *s, const struct sf_format *f, uint64_t a)
{
    struct sf_parts p = sf_unpack(s, f, a);
    if (p.kind >= SF_QNAN)
        return sf_pick_nan(s, f, a, a);
    uint64_t max = mask_low(f->exp_bits), exp = a >> f->frac_bits & max;
    return sf_make_zero(f, p.sign) | (exp ? ~exp & max : max - 1) << f->frac_bits;
}

// ---- widening multiply-add and BFloat16 ----

// A half as a single without raising anything: signalling NaNs stay so.
static uint64_t widen_half(const struct env *e, uint64_t h)
{
    struct sf_env quiet = {
        .nan = SF_NAN_ARM, .flush_inputs = e->fp.flush_half, .flush_inputs_quiet = true};
    if (sf_is_snan(&sf_half, h))
        return (h & 0x8000) << 16 | 0x7f800000 | (h & 0x3ff) << 13;
    return sf_convert(&quiet, &sf_half, &sf_single, h);
}

// The arithmetic of BFDOT: round to odd with overflow to infinity, subnormals flushed, default NaN,
// no flags.
static uint64_t bf_limit(struct sf_env *s, uint64_t v)
{
    bool over = s->flags & SF_OVERFLOW;
    s->flags = 0;
    return over ? sf_make_infinity(&sf_single, v >> 31) : v;
}

static uint32_t bf_dot(uint32_t acc, uint32_t x, uint32_t y)
{
    struct sf_env s = {.rounding = SF_RODD,
                       .nan = SF_NAN_DEFAULT,
                       .flush_inputs = true,
                       .flush_inputs_quiet = true,
                       .flush_outputs = true,
                       .tiny_before = true};
    const struct sf_format *f = &sf_single;
    uint64_t p =
        bf_limit(&s, sf_mul(&s, f, (uint64_t)x << 16 & 0xffffffff, (uint64_t)y << 16 & 0xffffffff));
    uint64_t q = bf_limit(&s, sf_mul(&s, f, x & 0xffff0000, y & 0xffff0000));
    uint64_t sum = bf_limit(&s, sf_add(&s, f, p, q));
    return (uint32_t)bf_limit(&s, sf_add(&s, f, acc, sum));
}

static v128 bf_matrix(const union ir_val *a, const union ir_val *b, union ir_val c)
{
    for (unsigned e = 0; e < 4; e++)
        for (unsigned k = 0; k < 2; k++)
            c.u32[e] = bf_dot(c.u32[e], a->u32[(e >> 1) * 2 + k], b->u32[(e & 1) * 2 + k]);
    return c.v;
}

// ---- lanes ----

// From lanes of one size to lanes of another, in the low half of the narrow side.
static v128 convert_lanes(struct env *e, struct sf_env *s, const union ir_val *a, unsigned kind,
                          unsigned shape)
{
    union ir_val r = {0};
    unsigned narrow = shape & VL_LANE, n = shape & VL_SCALAR ? 1 : 8u >> narrow;
    for (unsigned i = 0; i < n; i++) {
        uint64_t x = lane_get(a, narrow + 1, i);
        switch (kind) {
        case LANES_NARROW_BF16:
            lane_set(&r, VL_16, i, sf_convert(s, &sf_single, &sf_bfloat, x));
            break;
        default:
            s->rounding = SF_RODD;
            lane_set(&r, VL_32, i, sf_convert(s, &sf_double, &sf_single, x));
        }
    }
    return r.v;
}

static uint64_t one_lane(struct sf_env *s, unsigned kind, unsigned size, uint64_t a, uint64_t b,
                         uint32_t spec)
{
    const struct sf_format *f = ieee(size);
    switch (kind) {
    case LANES_MULX:
        return mulx(s, f, a, b);
    case LANES_RECPS:
    case LANES_RSQRTS:
        return step(s, f, a, b, kind == LANES_RSQRTS);
    case LANES_RECPE:
        return recip_estimate(s, f, a);
    case LANES_RSQRTE:
        return root_estimate(s, f, a);
    case LANES_RECPX:
        return recip_exponent(s, f, a);
    case LANES_ROUND_TS:
        return round_ts_one(s, a, spec);
    case LANES_TO_INT:
        return to_int_of(s, a, spec, 8u << size);
    default: // LANES_FROM_INT
        if (!(spec & CONVERT_UNSIGNED))
            a = (uint64_t)sign_extend(a, 8u << size);
        return sf_from_int(s, f, a, spec & CONVERT_UNSIGNED, spec >> CONVERT_FRACTION_SHIFT);
    }
}

static v128 fp_lanes(struct env *e, v128 va, v128 vb, v128 vc, uint32_t shape)
{
    union ir_val a = {.v = va}, b = {.v = vb}, c = {.v = vc}, r = {0};
    unsigned kind = shape >> 8, size = shape & VL_LANE;
    struct sf_env s = env_of(e, size);
    switch (kind) {
    case LANES_NARROW_BF16:
    case LANES_NARROW_ODD:
        s = env_of(e, VL_32);
        r.v = convert_lanes(e, &s, &a, kind, shape);
        break;
    case LANES_BFMMLA:
        return bf_matrix(&a, &b, c);
    case LANES_BFDOT:
        for (unsigned i = 0; i < lane_count(shape); i++)
            r.u32[i] = bf_dot(c.u32[i], a.u32[i], b.u32[i]);
        break;
    case LANES_FMLAL:
        for (unsigned i = 0; i < lane_count(shape); i++) {
            uint64_t x = widen_half(e, a.u16[i]), y = widen_half(e, b.u16[i]);
            r.u32[i] = (uint32_t)sf_fma(&s, &sf_single, x, y, c.u32[i], false);
        }
        break;
    default:
        for (unsigned i = 0; i < lane_count(shape); i++)
            lane_set(
                &r, size, i,
                one_lane(&s, kind, size, lane_get(&a, size, i), lane_get(&b, size, i), b.u32[0]));
    }
    done(e, &s);
    return r.v;
}

#define HELPER(name, ret, n, ...)                                                                  \
    const struct ir_helper arm_helper_##name = {"arm_" #name, (void *)name, HELPER_FP, ret, n,     \
                                                {__VA_ARGS__}};
HELPER(to_int, IR_I64, 2, IR_I64, IR_I32)
HELPER(from_int, IR_I64, 2, IR_I64, IR_I32)
HELPER(bfcvt, IR_I32, 1, IR_I32)
HELPER(compare_h, IR_I32, 3, IR_I32, IR_I32, IR_I32)
HELPER(round_ts, IR_I64, 2, IR_I64, IR_I32)
HELPER(fjcvtzs, IR_I64, 1, IR_I64)
HELPER(fp_lanes, IR_V128, 4, IR_V128, IR_V128, IR_V128, IR_I32)
