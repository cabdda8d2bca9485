// Vector floating point, one element at a time, exact by softfloat/. NaN results are the default
// NaN.
#include "isa/riscv/vec/fp.h"

#include <math.h>

#define ELEM(name) uint64_t rv_vf_##name(struct rv_vec *v, uint64_t a, uint64_t b, uint64_t d)
#define M(x)       ((x)&mask_low(v->bits))
#define MW(x)      ((x)&mask_low(2 * v->bits))

static uint64_t sign(const struct rv_vec *v)
{
    return sf_sign_bit(v->f);
}

uint64_t rv_vf_scalar(const struct rv_vec *v, unsigned n)
{
    uint64_t x = v->c->f[n];
    if (v->sew == 3)
        return x;
    return ~x >> v->bits ? sf_default_nan(&v->sf, v->f) : x;
}

ELEM(add)
{
    return sf_add(&v->sf, v->f, M(a), M(b));
}
ELEM(sub)
{
    return sf_sub(&v->sf, v->f, M(a), M(b));
}
ELEM(rsub)
{
    return sf_sub(&v->sf, v->f, M(b), M(a));
}
ELEM(mul)
{
    return sf_mul(&v->sf, v->f, M(a), M(b));
}
ELEM(div)
{
    return sf_div(&v->sf, v->f, M(a), M(b));
}
ELEM(rdiv)
{
    return sf_div(&v->sf, v->f, M(b), M(a));
}

// minimumNumber and maximumNumber of IEEE 754-2019: a number wins over any NaN.
static uint64_t extreme(struct rv_vec *v, uint64_t a, uint64_t b, bool max)
{
    bool a_nan = sf_is_nan(v->f, a), b_nan = sf_is_nan(v->f, b);
    if (!a_nan && !b_nan)
        return max ? sf_max(&v->sf, v->f, a, b) : sf_min(&v->sf, v->f, a, b);
    if (sf_is_snan(v->f, a) || sf_is_snan(v->f, b))
        v->sf.flags |= SF_INVALID;
    return a_nan && b_nan ? sf_default_nan(&v->sf, v->f) : a_nan ? b : a;
}
ELEM(min)
{
    return extreme(v, M(a), M(b), false);
}
ELEM(max)
{
    return extreme(v, M(a), M(b), true);
}
ELEM(sgnj)
{
    return (a & ~sign(v)) | (b & sign(v));
}
ELEM(sgnjn)
{
    return (a & ~sign(v)) | (~b & sign(v));
}
ELEM(sgnjx)
{
    return a ^ (b & sign(v));
}

static enum sf_order order(struct rv_vec *v, uint64_t a, uint64_t b, bool signal)
{
    return sf_compare(&v->sf, v->f, M(a), M(b), signal);
}
ELEM(eq)
{
    return order(v, a, b, false) == SF_EQUAL;
}
ELEM(ne)
{
    return order(v, a, b, false) != SF_EQUAL;
}
ELEM(lt)
{
    return order(v, a, b, true) == SF_LESS;
}
ELEM(le)
{
    enum sf_order o = order(v, a, b, true);
    return o == SF_LESS || o == SF_EQUAL;
}
ELEM(gt)
{
    return order(v, a, b, true) == SF_GREATER;
}
ELEM(ge)
{
    enum sf_order o = order(v, a, b, true);
    return o == SF_GREATER || o == SF_EQUAL;
}

// ---- fused ----

static uint64_t fused(struct rv_vec *v, uint64_t x, uint64_t y, uint64_t z, bool neg_product,
                      bool neg_addend)
{
    x ^= neg_product ? sign(v) : 0;
    z ^= neg_addend ? sign(v) : 0;
    return sf_fma(&v->sf, v->f, M(x), M(y), M(z), false);
}
ELEM(madd)
{
    return fused(v, d, b, a, false, false);
}
ELEM(nmadd)
{
    return fused(v, d, b, a, true, true);
}
ELEM(msub)
{
    return fused(v, d, b, a, false, true);
}
ELEM(nmsub)
{
    return fused(v, d, b, a, true, false);
}
ELEM(macc)
{
    return fused(v, a, b, d, false, false);
}
ELEM(nmacc)
{
    return fused(v, a, b, d, true, true);
}
ELEM(msac)
{
    return fused(v, a, b, d, false, true);
}
ELEM(nmsac)
{
    return fused(v, a, b, d, true, false);
}

// ---- twice as wide ----

ELEM(widen)
{
    return sf_convert(&v->sf, v->f, v->wide, M(a));
}
static uint64_t wide(struct rv_vec *v, uint64_t a)
{
    return rv_vf_widen(v, a, 0, 0);
}
ELEM(wadd)
{
    return sf_add(&v->sf, v->wide, wide(v, a), wide(v, b));
}
ELEM(wsub)
{
    return sf_sub(&v->sf, v->wide, wide(v, a), wide(v, b));
}
ELEM(wmul)
{
    return sf_mul(&v->sf, v->wide, wide(v, a), wide(v, b));
}
ELEM(waddw)
{
    return sf_add(&v->sf, v->wide, MW(a), wide(v, b));
}
ELEM(wsubw)
{
    return sf_sub(&v->sf, v->wide, MW(a), wide(v, b));
}
ELEM(wsum)
{
    return sf_add(&v->sf, v->wide, MW(b), wide(v, a));
}
static uint64_t wide_fused(struct rv_vec *v, uint64_t x, uint64_t y, uint64_t z, bool neg_product,
                           bool neg_addend)
{
    uint64_t s = sf_sign_bit(v->wide);
    x = wide(v, x) ^ (neg_product ? s : 0);
    z = MW(z) ^ (neg_addend ? s : 0);
    return sf_fma(&v->sf, v->wide, x, wide(v, y), z, false);
}
ELEM(wmacc)
{
    return wide_fused(v, a, b, d, false, false);
}
ELEM(wnmacc)
{
    return wide_fused(v, a, b, d, true, true);
}
ELEM(wmsac)
{
    return wide_fused(v, a, b, d, false, true);
}
ELEM(wnmsac)
{
    return wide_fused(v, a, b, d, true, false);
}
ELEM(narrow)
{
    return sf_convert(&v->sf, v->wide, v->f, MW(a));
}
ELEM(narrow_odd)
{
    enum sf_rounding was = v->sf.rounding;
    v->sf.rounding = SF_RODD;
    uint64_t r = rv_vf_narrow(v, a, b, d);
    v->sf.rounding = was;
    return r;
}

// ---- integers ----

static uint64_t to_int(struct rv_vec *v, const struct sf_format *f, uint64_t a, unsigned n,
                       bool is_unsigned, bool rtz)
{
    enum sf_rounding was = v->sf.rounding;
    if (rtz)
        v->sf.rounding = SF_RTZ;
    uint64_t r = sf_to_int(&v->sf, f, a, n, is_unsigned, 0, true);
    v->sf.rounding = was;
    return r;
}
#define TO_INT(prefix, fmt, mask, n)                                                               \
    ELEM(prefix##to_u)                                                                             \
    {                                                                                              \
        return to_int(v, fmt, mask(a), n, true, false);                                            \
    }                                                                                              \
    ELEM(prefix##to_x)                                                                             \
    {                                                                                              \
        return to_int(v, fmt, mask(a), n, false, false);                                           \
    }                                                                                              \
    ELEM(prefix##to_u_rtz)                                                                         \
    {                                                                                              \
        return to_int(v, fmt, mask(a), n, true, true);                                             \
    }                                                                                              \
    ELEM(prefix##to_x_rtz)                                                                         \
    {                                                                                              \
        return to_int(v, fmt, mask(a), n, false, true);                                            \
    }
TO_INT(, v->f, M, v->bits)
TO_INT(w_, v->f, M, 2 * v->bits)
TO_INT(n_, v->wide, MW, v->bits)
#define FROM_INT(prefix, fmt)                                                                      \
    ELEM(prefix##from_u)                                                                           \
    {                                                                                              \
        return sf_from_int(&v->sf, fmt, a, true, 0);                                               \
    }                                                                                              \
    ELEM(prefix##from_x)                                                                           \
    {                                                                                              \
        return sf_from_int(&v->sf, fmt, a, false, 0);                                              \
    }
FROM_INT(, v->f)
FROM_INT(w_, v->wide)
FROM_INT(n_, v->f)

ELEM(sqrt)
{
    return sf_sqrt(&v->sf, v->f, M(a));
}
ELEM(merge)
{
    return v->carry ? b : a;
}
ELEM(move)
{
    return b;
}

// ---- class and estimates ----

struct number {
    bool negative;
    int exp;            // biased
    uint64_t frac, top; // top: the exponent of infinities
};

static struct number split(const struct rv_vec *v, uint64_t a)
{
    return (struct number){a & sign(v), (int)(a >> v->f->frac_bits & mask_low(v->f->exp_bits)),
                           a & mask_low(v->f->frac_bits), mask_low(v->f->exp_bits)};
}

ELEM(classify)
{
    struct number n = split(v, a);
    if (n.exp == (int)n.top && n.frac)
        return sf_is_snan(v->f, M(a)) ? 1 << 8 : 1 << 9;
    unsigned kind = n.exp == (int)n.top ? 0 : n.exp ? 1 : n.frac ? 2 : 3;
    return 1u << (n.negative ? kind : 7 - kind);
}

// A subnormal as a number with a leading bit that is left out: its exponent goes below 1.
static void normalize(const struct rv_vec *v, struct number *n)
{
    if (n->exp || !n->frac)
        return;
    while (!(n->frac >> (v->f->frac_bits - 1) & 1)) {
        n->exp--;
        n->frac <<= 1;
    }
    n->frac = n->frac << 1 & mask_low(v->f->frac_bits);
}

static uint64_t join(const struct rv_vec *v, bool negative, int exp, uint64_t frac)
{
    return (negative ? sign(v) : 0) | (uint64_t)exp << v->f->frac_bits | frac;
}

// The special cases that both estimates share: NaN, zero, infinity. False: none of them.
static bool estimate_special(struct rv_vec *v, uint64_t a, const struct number *n, uint64_t *r)
{
    if (n->exp == (int)n->top && n->frac) {
        v->sf.flags |= sf_is_snan(v->f, a) ? SF_INVALID : 0;
        *r = sf_default_nan(&v->sf, v->f);
    } else if (!n->exp && !n->frac) {
        v->sf.flags |= SF_DIVZERO;
        *r = sf_make_infinity(v->f, n->negative);
    } else if (n->exp == (int)n->top) {
        *r = sf_make_zero(v->f, n->negative);
    } else {
        return false;
    }
    return true;
}

// The manual's table of 7 bits: the square root's reciprocal at the middle of the interval.
ELEM(rsqrt7)
{
    struct number n = split(v, a);
    uint64_t r;
    bool nan = n.exp == (int)n.top && n.frac;
    if (n.negative && !nan && (n.exp || n.frac)) {
        v->sf.flags |= SF_INVALID;
        return sf_default_nan(&v->sf, v->f);
    }
    if (estimate_special(v, M(a), &n, &r))
        return r;
    normalize(v, &n);
    double x = 1 + ((double)(n.frac >> (v->f->frac_bits - 6)) + 0.5) / 64;
    uint64_t frac = (uint64_t)lround(256 / sqrt(n.exp & 1 ? x : 2 * x)) - 128;
    return join(v, n.negative, (3 * sf_bias(v->f) - 1 - n.exp) / 2, frac << (v->f->frac_bits - 7));
}

ELEM(rec7)
{
    struct number n = split(v, a);
    uint64_t r;
    if (estimate_special(v, M(a), &n, &r))
        return r;
    normalize(v, &n);
    if (n.exp < -1) { // the reciprocal is too large
        v->sf.flags |= SF_OVERFLOW | SF_INEXACT;
        bool toward_zero = v->sf.rounding == SF_RTZ || (v->sf.rounding == SF_RDN && !n.negative) ||
                           (v->sf.rounding == SF_RUP && n.negative);
        return sf_make_infinity(v->f, n.negative) - toward_zero;
    }
    uint64_t i = n.frac >> (v->f->frac_bits - 7);
    uint64_t frac = ((65536 * 2 / (257 + 2 * i) + 1) / 2 - 128) << (v->f->frac_bits - 7);
    int exp = 2 * sf_bias(v->f) - 1 - n.exp;
    if (exp <= 0) { // subnormal
        frac = (frac >> 1 | 1ull << (v->f->frac_bits - 1)) >> -exp;
        exp = 0;
    }
    return join(v, n.negative, exp, frac);
}
