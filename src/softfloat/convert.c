// Comparison, minimum and maximum, and conversions (IEEE 754-2019 sections 5.3, 5.4, 5.8, 5.11).
#include "softfloat/softfloat.h"
#include "base/bits.h"

static bool is_nan(const struct sf_parts *p)
{
    return p->kind >= SF_QNAN;
}

// ---- order ----

static enum sf_order order_of(const struct sf_parts *x, const struct sf_parts *y)
{
    if (x->kind == SF_ZERO && y->kind == SF_ZERO)
        return SF_EQUAL;
    bool negative = x->kind == SF_ZERO ? !y->sign : x->sign;
    if (x->kind != SF_ZERO && y->kind != SF_ZERO && x->sign == y->sign) {
        if (x->kind != y->kind) {
            negative = (x->kind < y->kind) ^ x->sign;
        } else {
            if (x->kind == SF_INFINITY || (x->exp == y->exp && x->sig == y->sig))
                return SF_EQUAL;
            negative = (x->exp != y->exp ? x->exp < y->exp : x->sig < y->sig) ^ x->sign;
        }
    }
    return negative ? SF_LESS : SF_GREATER;
}

enum sf_order sf_compare(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b,
                         bool signal)
{
    struct sf_parts x = sf_unpack(e, f, a), y = sf_unpack(e, f, b);
    if (is_nan(&x) || is_nan(&y)) {
        if (signal || x.kind == SF_SNAN || y.kind == SF_SNAN)
            e->flags |= SF_INVALID;
        return SF_UNORDERED;
    }
    return order_of(&x, &y);
}

static uint64_t pick(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b, bool max,
                     bool number)
{
    struct sf_parts x = sf_unpack(e, f, a), y = sf_unpack(e, f, b);
    if (is_nan(&x) || is_nan(&y)) {
        if (number && x.kind == SF_QNAN && !is_nan(&y))
            return y.kind == SF_ZERO ? sf_make_zero(f, y.sign) : b;
        if (number && y.kind == SF_QNAN && !is_nan(&x))
            return x.kind == SF_ZERO ? sf_make_zero(f, x.sign) : a;
        return sf_pick_nan(e, f, a, b);
    }
    enum sf_order order = order_of(&x, &y);
    if (x.kind == SF_ZERO && y.kind == SF_ZERO)
        return sf_make_zero(f, max ? x.sign && y.sign : x.sign || y.sign);
    bool first = max ? order == SF_GREATER : order == SF_LESS;
    const struct sf_parts *p = first ? &x : &y; // a flushed operand is returned as the zero it is
    return p->kind == SF_ZERO ? sf_make_zero(f, p->sign) : first ? a : b;
}

uint64_t sf_min(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b)
{
    return pick(e, f, a, b, false, false);
}

uint64_t sf_max(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b)
{
    return pick(e, f, a, b, true, false);
}

uint64_t sf_minnm(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b)
{
    return pick(e, f, a, b, false, true);
}

uint64_t sf_maxnm(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b)
{
    return pick(e, f, a, b, true, true);
}

// ---- between formats ----

// A NaN keeps the leading bits of its payload.
static uint64_t convert_nan(struct sf_env *e, const struct sf_format *f, const struct sf_parts *x)
{
    if (x->kind == SF_SNAN)
        e->flags |= SF_INVALID;
    if (f->alternative) {
        e->flags |= SF_INVALID;
        return sf_make_zero(f, x->sign);
    }
    if (e->nan == SF_NAN_DEFAULT)
        return sf_default_nan(e, f);
    return sf_make_infinity(f, x->sign) | 1ull << (f->frac_bits - 1) |
           x->sig >> (63 - f->frac_bits);
}

uint64_t sf_convert(struct sf_env *e, const struct sf_format *from, const struct sf_format *to,
                    uint64_t a)
{
    struct sf_parts x = sf_unpack(e, from, a);
    switch (x.kind) {
    case SF_ZERO:
        return sf_make_zero(to, x.sign);
    case SF_NORMAL:
        return sf_round(e, to, x.sign, x.exp, (unsigned __int128)x.sig << 64);
    case SF_INFINITY:
        if (to->alternative) {
            e->flags |= SF_INVALID;
            return sf_make_zero(to, x.sign) | mask_low(to->exp_bits + to->frac_bits);
        }
        return sf_make_infinity(to, x.sign);
    default:
        return convert_nan(e, to, &x);
    }
}

// ---- integers ----

// The magnitude rounded to an integer, at most 2^64; `inexact` set where it changed.
static unsigned __int128 to_integer(const struct sf_parts *x, int exp, enum sf_rounding mode,
                                    bool *inexact)
{
    if (exp > 63) {
        *inexact = false;
        return (unsigned __int128)1 << 127; // too large for any
    }
    unsigned down = (unsigned)(63 - exp); // bits behind the point of sig
    uint64_t whole = down > 63 ? 0 : x->sig >> down;
    // What is cut off, as a fraction of 2^64; below a quarter only that it is not zero counts.
    uint64_t rest = down > 65   ? 1
                    : down > 64 ? x->sig >> (down - 64)
                    : down == 0 ? 0
                                : x->sig << (64 - down);
    const uint64_t half = 1ull << 63;
    bool up = false;
    switch (mode) {
    case SF_RNE:
        up = rest > half || (rest == half && whole & 1);
        break;
    case SF_RMM:
        up = rest >= half;
        break;
    case SF_RDN:
        up = x->sign && rest;
        break;
    case SF_RUP:
        up = !x->sign && rest;
        break;
    case SF_RODD:
        up = rest && !(whole & 1);
        break;
    case SF_RTZ:
        break;
    }
    *inexact = rest;
    return (unsigned __int128)whole + up;
}

uint64_t sf_round_int(struct sf_env *e, const struct sf_format *f, uint64_t a, bool exact)
{
    struct sf_parts x = sf_unpack(e, f, a);
    bool inexact;
    if (is_nan(&x))
        return sf_pick_nan(e, f, a, a);
    if (x.kind == SF_ZERO)
        return sf_make_zero(f, x.sign);
    if (x.kind == SF_INFINITY || x.exp >= f->frac_bits)
        return a;
    unsigned __int128 whole = to_integer(&x, x.exp, e->rounding, &inexact);
    if (inexact && exact)
        e->flags |= SF_INEXACT;
    return whole ? sf_round(e, f, x.sign, 127, whole) : sf_make_zero(f, x.sign);
}

uint64_t sf_to_int(struct sf_env *e, const struct sf_format *f, uint64_t a, unsigned bits,
                   bool is_unsigned, unsigned fraction, bool nan_is_max)
{
    struct sf_parts x = sf_unpack(e, f, a);
    uint64_t max = mask_low(bits - !is_unsigned), min = is_unsigned ? 0 : ~max;
    bool inexact = false;
    if (is_nan(&x)) {
        e->flags |= SF_INVALID;
        return nan_is_max ? max : 0;
    }
    if (x.kind == SF_ZERO)
        return 0;
    unsigned __int128 whole = (unsigned __int128)1 << 127;
    if (x.kind == SF_NORMAL)
        whole = to_integer(&x, x.exp + (int)fraction, e->rounding, &inexact);
    if (x.sign ? whole > (unsigned __int128)(uint64_t)-min : whole > max) {
        e->flags |= SF_INVALID;
        return x.sign ? min : max;
    }
    if (inexact)
        e->flags |= SF_INEXACT;
    return x.sign ? -(uint64_t)whole : (uint64_t)whole;
}

uint64_t sf_from_int(struct sf_env *e, const struct sf_format *f, uint64_t a, bool is_unsigned,
                     unsigned fraction)
{
    bool sign = !is_unsigned && (int64_t)a < 0;
    uint64_t magnitude = sign ? -a : a;
    if (!magnitude)
        return 0;
    return sf_round(e, f, sign, 127 - (int)fraction, magnitude);
}
