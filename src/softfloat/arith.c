// Addition, multiplication, division, square root and fused multiply-add (IEEE 754-2019 section
// 5.4.1). Each computes a 128-bit significand that is exact but for a sticky last bit, and rounds
// once.
#include "softfloat/softfloat.h"

// v / 2^n with what is lost kept as a sticky bit.
static unsigned __int128 shift_sticky(unsigned __int128 v, unsigned n)
{
    if (n == 0)
        return v;
    if (n > 127)
        return v != 0;
    return v >> n | ((v & (((unsigned __int128)1 << n) - 1)) != 0);
}

static bool is_nan(const struct sf_parts *p)
{
    return p->kind >= SF_QNAN;
}

static uint64_t invalid(struct sf_env *e, const struct sf_format *f)
{
    e->flags |= SF_INVALID;
    return sf_default_nan(e, f);
}

// The significand of a number or zero with its leading bit in place 125: exp + 1 goes with it.
static unsigned __int128 addend_of(const struct sf_parts *p)
{
    return p->kind == SF_ZERO ? 0 : (unsigned __int128)p->sig << 62;
}

// Sum of two significands (below 2^127, value sig / 2^126 * 2^exp), one perhaps zero.
static uint64_t sum(struct sf_env *e, const struct sf_format *f, bool sx, int ex,
                    unsigned __int128 x, bool sy, int ey, unsigned __int128 y, int adjust)
{
    if (!x)
        ex = ey;
    if (!y)
        ey = ex;
    if (ex < ey) {
        x = shift_sticky(x, (unsigned)(ey - ex));
        ex = ey;
    } else {
        y = shift_sticky(y, (unsigned)(ex - ey));
    }
    unsigned __int128 s;
    if (sx == sy) {
        s = x + y;
    } else if (x >= y) {
        s = x - y;
    } else {
        s = y - x;
        sx = sy;
    }
    if (!s) // of two that cancel
        return sf_make_zero(f, e->rounding == SF_RDN);
    return sf_round(e, f, sx, ex + 1 + adjust, s);
}

static uint64_t add(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b,
                    bool negate)
{
    struct sf_parts x = sf_unpack(e, f, a), y = sf_unpack(e, f, b);
    if (is_nan(&x) || is_nan(&y))
        return sf_pick_nan(e, f, a, b);
    y.sign ^= negate;
    if (x.kind == SF_INFINITY || y.kind == SF_INFINITY) {
        if (x.kind == y.kind && x.sign != y.sign)
            return invalid(e, f);
        return sf_make_infinity(f, x.kind == SF_INFINITY ? x.sign : y.sign);
    }
    if (x.kind == SF_ZERO && y.kind == SF_ZERO)
        return sf_make_zero(f, x.sign == y.sign ? x.sign : e->rounding == SF_RDN);
    return sum(e, f, x.sign, x.exp + 1, addend_of(&x), y.sign, y.exp + 1, addend_of(&y), 0);
}

uint64_t sf_add(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b)
{
    return add(e, f, a, b, false);
}

uint64_t sf_sub(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b)
{
    return add(e, f, a, b, true);
}

uint64_t sf_mul(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b)
{
    struct sf_parts x = sf_unpack(e, f, a), y = sf_unpack(e, f, b);
    if (is_nan(&x) || is_nan(&y))
        return sf_pick_nan(e, f, a, b);
    bool sign = x.sign ^ y.sign;
    if (x.kind == SF_INFINITY || y.kind == SF_INFINITY) {
        if (x.kind == SF_ZERO || y.kind == SF_ZERO)
            return invalid(e, f);
        return sf_make_infinity(f, sign);
    }
    if (x.kind == SF_ZERO || y.kind == SF_ZERO)
        return sf_make_zero(f, sign);
    return sf_round(e, f, sign, x.exp + y.exp + 1, (unsigned __int128)x.sig * y.sig);
}

uint64_t sf_div(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b)
{
    struct sf_parts x = sf_unpack(e, f, a), y = sf_unpack(e, f, b);
    if (is_nan(&x) || is_nan(&y))
        return sf_pick_nan(e, f, a, b);
    bool sign = x.sign ^ y.sign;
    if (x.kind == y.kind && x.kind != SF_NORMAL)
        return invalid(e, f);
    if (x.kind == SF_INFINITY)
        return sf_make_infinity(f, sign);
    if (x.kind == SF_ZERO || y.kind == SF_INFINITY)
        return sf_make_zero(f, sign);
    if (y.kind == SF_ZERO) {
        e->flags |= SF_DIVZERO;
        return sf_make_infinity(f, sign);
    }
    unsigned __int128 n = (unsigned __int128)x.sig << 63, q = n / y.sig;
    bool rest = n % y.sig;
    return sf_round(e, f, sign, x.exp - y.exp + 63, q << 1 | rest);
}

uint64_t sf_sqrt(struct sf_env *e, const struct sf_format *f, uint64_t a)
{
    struct sf_parts x = sf_unpack(e, f, a);
    if (is_nan(&x))
        return sf_pick_nan(e, f, a, a);
    if (x.kind == SF_ZERO)
        return sf_make_zero(f, x.sign);
    if (x.sign)
        return invalid(e, f);
    if (x.kind == SF_INFINITY)
        return sf_make_infinity(f, false);
    // The radicand has an even exponent and lies in [2^126, 2^128): its root has 64 bits.
    unsigned __int128 n = (unsigned __int128)x.sig << (x.exp & 1 ? 64 : 63), root = 0;
    for (int i = 63; i >= 0; i--) {
        unsigned __int128 t = root | (unsigned __int128)1 << i;
        if (t * t <= n)
            root = t;
    }
    int exp = (x.exp - (x.exp & 1)) / 2;
    return sf_round(e, f, false, exp, root << 64 | (root * root != n));
}

static uint64_t pick_nan3(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b,
                          uint64_t c)
{
    const uint64_t arm[] = {c, a, b}, x86[] = {a, b, c}, ppc[] = {a, c, b};
    const uint64_t *order = e->nan == SF_NAN_ARM ? arm : e->nan == SF_NAN_PPC ? ppc : x86;
    uint64_t quiet = 0, signalling = 0; // the first of each
    for (unsigned i = 3; i-- > 0;) {
        if (sf_is_nan(f, order[i]))
            quiet = order[i];
        if (sf_is_snan(f, order[i]))
            signalling = order[i];
    }
    if (signalling)
        e->flags |= SF_INVALID;
    if (signalling && e->nan == SF_NAN_ARM)
        quiet = signalling;
    return sf_pick_nan(e, f, quiet, quiet);
}

uint64_t sf_fma(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b, uint64_t c,
                bool halve)
{
    struct sf_parts z = sf_unpack(e, f, c), x = sf_unpack(e, f, a), y = sf_unpack(e, f, b);
    bool sign = x.sign ^ y.sign;
    bool inf_zero = (x.kind == SF_INFINITY && y.kind == SF_ZERO) ||
                    (x.kind == SF_ZERO && y.kind == SF_INFINITY);
    if (is_nan(&x) || is_nan(&y) || is_nan(&z)) {
        if (inf_zero && e->nan == SF_NAN_ARM && z.kind == SF_QNAN)
            return invalid(e, f);
        if (inf_zero && e->nan != SF_NAN_X86)
            e->flags |= SF_INVALID;
        return pick_nan3(e, f, a, b, c);
    }
    bool inf_product = x.kind == SF_INFINITY || y.kind == SF_INFINITY;
    if (inf_zero || (inf_product && z.kind == SF_INFINITY && sign != z.sign))
        return invalid(e, f);
    if (inf_product || z.kind == SF_INFINITY)
        return sf_make_infinity(f, inf_product ? sign : z.sign);
    bool zero_product = x.kind == SF_ZERO || y.kind == SF_ZERO;
    if (zero_product && z.kind == SF_ZERO)
        return sf_make_zero(f, sign == z.sign ? sign : e->rounding == SF_RDN);
    // The product of two formats of up to 53 bits ends in zeros: nothing is lost by the shift.
    unsigned __int128 product = zero_product ? 0 : (unsigned __int128)x.sig * y.sig >> 1;
    return sum(e, f, sign, x.exp + y.exp + 1, product, z.sign, z.exp + 1, addend_of(&z),
               halve ? -1 : 0);
}
