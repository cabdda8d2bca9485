// Floating point, scalar and in lanes: each operation of ops.def through softfloat, in the
// environment of env.fp and what the instruction's aux says.
#include "ir/eval.h"
#include "ir/lanes.h"
#include "softfloat/softfloat.h"

_Static_assert((int)FP_RMM == SF_RMM && (int)FP_RODD == SF_RODD, "one numbering of roundings");
_Static_assert((int)FP_NAN_DEFAULT == SF_NAN_DEFAULT && (int)FP_NAN_PPC == SF_NAN_PPC,
               "one numbering of NaN rules");
_Static_assert((int)FP_DIVZERO == SF_DIVZERO && (int)FP_DENORMAL == SF_DENORMAL,
               "one numbering of flags");

static const struct sf_format *format_of(unsigned type)
{
    return type == IR_F32 ? &sf_single : &sf_double;
}

static const struct sf_format *lane_format(unsigned size)
{
    return size == VL_16 ? &sf_half : size == VL_32 ? &sf_single : &sf_double;
}

// The environment of one operation from format `in` to format `out`. Half precision has a flush
// mode of its own, which raises nothing for operands; conversions do not flush halves at all.
static struct sf_env begin(const struct env *e, unsigned aux, const struct sf_format *in,
                           const struct sf_format *out)
{
    unsigned rm = (aux & FPA_RM) >> FPA_RM_SHIFT;
    bool half_in = in->exp_bits == 5, half_out = out->exp_bits == 5, converts = in != out;
    return (struct sf_env){
        .rounding = rm ? rm - 1 : e->fp.rounding,
        .nan = (aux & FPA_NAN) >> FPA_NAN_SHIFT,
        .flush_inputs = half_in ? e->fp.flush_half && !converts : e->fp.flush_inputs,
        .flush_inputs_quiet = half_in,
        .flush_outputs = half_out ? e->fp.flush_half && !converts : e->fp.flush_outputs,
        .tiny_before = e->fp.tiny_before,
    };
}

static void end(struct env *e, const struct sf_env *s)
{
    e->fp.flags |= s->flags;
}

static void set(union ir_val *r, uint64_t v)
{
    *r = (union ir_val){.u64 = {v, 0}};
}

// Minimum or maximum number, aux as in ops.def.
static uint64_t
number(struct sf_env *s, const struct sf_format *f, uint64_t x, uint64_t y, unsigned aux,
       uint64_t (*fn)(struct sf_env *, const struct sf_format *, uint64_t, uint64_t))
{
    bool x_nan = sf_is_nan(f, x), y_nan = sf_is_nan(f, y);
    uint64_t r = fn(s, f, x, y);
    return !(aux & FPA_NANMAX) || x_nan == y_nan ? r : x_nan ? y : x;
}

// x, y, z: operands; s: the environment; f: the format of the result.
#define SCALAR(name, expr)                                                                         \
    EVAL(name)                                                                                     \
    {                                                                                              \
        const struct sf_format *f = format_of(eval_result(types));                                 \
        uint64_t x = abc[0].u64[0], y UNUSED = abc[1].u64[0], z UNUSED = abc[2].u64[0];            \
        struct sf_env s = begin(e, aux, f, f);                                                     \
        set(result, expr);                                                                         \
        end(e, &s);                                                                                \
    }
SCALAR(fadd, sf_add(&s, f, x, y))
SCALAR(fsub, sf_sub(&s, f, x, y))
SCALAR(fmul, sf_mul(&s, f, x, y))
SCALAR(fdiv, sf_div(&s, f, x, y))
SCALAR(fsqrt, sf_sqrt(&s, f, x))
SCALAR(fma, sf_fma(&s, f, x, y, z, false))
SCALAR(fmin, sf_min(&s, f, x, y))
SCALAR(fmax, sf_max(&s, f, x, y))
SCALAR(fminnm, number(&s, f, x, y, aux, sf_minnm))
SCALAR(fmaxnm, number(&s, f, x, y, aux, sf_maxnm))
SCALAR(frint, sf_round_int(&s, f, x, aux &FPA_SIGNAL))
#undef SCALAR

EVAL(fneg)
{
    set(result, abc[0].u64[0] ^ sf_sign_bit(format_of(eval_result(types))));
}

EVAL(fabs)
{
    set(result, abc[0].u64[0] & ~sf_sign_bit(format_of(eval_result(types))));
}

EVAL(fbits)
{
    set(result, abc[0].u64[0]);
}

EVAL(bitsf)
{
    set(result, abc[0].u64[0]);
}

EVAL(fbox)
{
    set(result, abc[0].u32[0] | 0xffffffffull << 32);
}

EVAL(funbox)
{
    set(result, abc[0].u32[1] == ~0u ? abc[0].u32[0] : 0x7fc00000);
}

EVAL(fcmp)
{
    static const uint32_t nzcv[] = {
        [SF_LESS] = 1u << PACK_N,
        [SF_EQUAL] = 1u << PACK_Z | 1u << PACK_C,
        [SF_GREATER] = 1u << PACK_C,
        [SF_UNORDERED] = 1u << PACK_C | 1u << PACK_V,
    };
    const struct sf_format *f = format_of(eval_operand(types));
    struct sf_env s = begin(e, aux, f, f);
    set(result, nzcv[sf_compare(&s, f, abc[0].u64[0], abc[1].u64[0], aux & FPA_SIGNAL)]);
    end(e, &s);
}

static void convert(struct env *e, unsigned aux, const struct sf_format *from,
                    const struct sf_format *to, uint64_t x, union ir_val *result)
{
    struct sf_env s = begin(e, aux, from, to);
    set(result, sf_convert(&s, from, to, x));
    end(e, &s);
}

EVAL(f2f)
{
    convert(e, aux, format_of(eval_operand(types)), format_of(eval_result(types)), abc[0].u64[0],
            result);
}

// Halves as conversions know them.
static const struct sf_format *half_of(const struct env *e)
{
    return e->fp.alternative_half ? &sf_half_alternative : &sf_half;
}

EVAL(f2h)
{
    convert(e, aux, format_of(eval_operand(types)), half_of(e), abc[0].u64[0], result);
}

EVAL(h2f)
{
    convert(e, aux, half_of(e), format_of(eval_result(types)), abc[0].u16[0], result);
}

EVAL(f2i)
{
    const struct sf_format *f = format_of(eval_operand(types));
    unsigned bits = eval_result(types) == IR_I32 ? 32 : 64;
    struct sf_env s = begin(e, aux, f, f);
    set(result,
        sf_to_int(&s, f, abc[0].u64[0], bits, aux & FPA_UNSIGNED, aux & 127, aux & FPA_NANMAX) &
            mask_low(bits));
    end(e, &s);
}

static uint64_t widen(uint64_t x, unsigned bits, bool is_unsigned)
{
    return is_unsigned ? x & mask_low(bits) : (uint64_t)sign_extend(x, bits);
}

EVAL(i2f)
{
    const struct sf_format *f = format_of(eval_result(types));
    unsigned bits = eval_operand(types) == IR_I32 ? 32 : 64;
    struct sf_env s = begin(e, aux, f, f);
    set(result, sf_from_int(&s, f, widen(abc[0].u64[0], bits, aux & FPA_UNSIGNED),
                            aux & FPA_UNSIGNED, aux & 127));
    end(e, &s);
}

// ---- lanes ----

#define LANES(name, expr)                                                                          \
    EVAL(name)                                                                                     \
    {                                                                                              \
        union ir_val r = {0};                                                                      \
        unsigned size = aux & VL_LANE;                                                             \
        const struct sf_format *f = lane_format(size);                                             \
        struct sf_env s = begin(e, aux, f, f);                                                     \
        for (unsigned i = 0; i < lane_count(aux); i++) {                                           \
            uint64_t x = lane_get(&abc[0], size, i), y UNUSED = lane_get(&abc[1], size, i),        \
                     z UNUSED = lane_get(&abc[2], size, i);                                        \
            lane_set(&r, size, i, expr);                                                           \
        }                                                                                          \
        *result = r;                                                                               \
        end(e, &s);                                                                                \
    }
LANES(vfadd, sf_add(&s, f, x, y))
LANES(vfsub, sf_sub(&s, f, x, y))
LANES(vfmul, sf_mul(&s, f, x, y))
LANES(vfdiv, sf_div(&s, f, x, y))
LANES(vfsqrt, sf_sqrt(&s, f, x))
LANES(vfma, sf_fma(&s, f, x, y, z, false))
LANES(vfmin, sf_min(&s, f, x, y))
LANES(vfmax, sf_max(&s, f, x, y))
LANES(vfminnm, number(&s, f, x, y, aux, sf_minnm))
LANES(vfmaxnm, number(&s, f, x, y, aux, sf_maxnm))
LANES(vfrint, sf_round_int(&s, f, x, aux &FPA_SIGNAL))
LANES(vfcmpeq, sf_compare(&s, f, x, y, false) == SF_EQUAL ? ~0ull : 0)
LANES(vfcmpgt, sf_compare(&s, f, x, y, true) == SF_GREATER ? ~0ull : 0)
static bool at_least(enum sf_order o)
{
    return o == SF_GREATER || o == SF_EQUAL;
}
LANES(vfcmpge, at_least(sf_compare(&s, f, x, y, true)) ? ~0ull : 0)
LANES(vf2i, sf_to_int(&s, f, x, 8u << size, aux &FPA_UNSIGNED, 0, aux &FPA_NANMAX))
LANES(vi2f, sf_from_int(&s, f, widen(x, 8u << size, aux &FPA_UNSIGNED), aux &FPA_UNSIGNED, 0))
#undef LANES

static void map_sign(union ir_val *result, unsigned aux, const union ir_val *a, bool clear)
{
    union ir_val r = {0};
    unsigned size = aux & VL_LANE;
    uint64_t sign = 1ull << ((8u << size) - 1);
    for (unsigned i = 0; i < lane_count(aux); i++) {
        uint64_t x = lane_get(a, size, i);
        lane_set(&r, size, i, clear ? x & ~sign : x ^ sign);
    }
    *result = r;
}

EVAL(vfneg)
{
    map_sign(result, aux, abc, false);
}

EVAL(vfabs)
{
    map_sign(result, aux, abc, true);
}

EVAL(vfaddp)
{
    union ir_val r = {0};
    unsigned size = aux & VL_LANE, n = lane_count(aux);
    const struct sf_format *f = lane_format(size);
    struct sf_env s = begin(e, aux, f, f);
    for (unsigned i = 0; i < n; i++) {
        const union ir_val *from = &abc[2 * i >= n];
        lane_set(
            &r, size, i,
            sf_add(&s, f, lane_get(from, size, 2 * i % n), lane_get(from, size, 2 * i % n + 1)));
    }
    *result = r;
    end(e, &s);
}

static const struct sf_format *convertible(const struct env *e, unsigned size)
{
    return size == VL_16 ? half_of(e) : lane_format(size);
}

EVAL(vfcvtl)
{
    union ir_val r = {0};
    unsigned size = aux & VL_LANE, n = 8u >> size, first = aux & VL_HIGH ? n : 0;
    const struct sf_format *from = convertible(e, size), *to = lane_format(size + 1);
    struct sf_env s = begin(e, aux, from, to);
    for (unsigned i = 0; i < (aux & VL_SCALAR ? 1 : n); i++)
        lane_set(&r, size + 1, i, sf_convert(&s, from, to, lane_get(&abc[0], size, first + i)));
    *result = r;
    end(e, &s);
}

EVAL(vfcvtn)
{
    union ir_val r = {0};
    unsigned size = aux & VL_LANE, n = 8u >> size, first = aux & VL_HIGH ? n : 0;
    const struct sf_format *from = lane_format(size + 1), *to = convertible(e, size);
    struct sf_env s = begin(e, aux, from, to);
    if (first)
        r.u64[0] = abc[1].u64[0];
    for (unsigned i = 0; i < (aux & VL_SCALAR ? 1 : n); i++)
        lane_set(&r, size, first + i, sf_convert(&s, from, to, lane_get(&abc[0], size + 1, i)));
    *result = r;
    end(e, &s);
}
