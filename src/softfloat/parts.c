// Taking values apart and putting them together: encodings, flushing of operands, rounding with
// overflow and underflow (IEEE 754-2019 sections 3.4, 4.3 and 7), NaN selection (section 6.2).
#include "softfloat/softfloat.h"
#include "base/bits.h"

const struct sf_format sf_half = {5, 10, false};
const struct sf_format sf_half_alternative = {5, 10, true};
const struct sf_format sf_bfloat = {8, 7, false};
const struct sf_format sf_single = {8, 23, false};
const struct sf_format sf_double = {11, 52, false};

static uint64_t exp_field(const struct sf_format *f, uint64_t a)
{
    return a >> f->frac_bits & mask_low(f->exp_bits);
}

static uint64_t frac_field(const struct sf_format *f, uint64_t a)
{
    return a & mask_low(f->frac_bits);
}

uint64_t sf_make_zero(const struct sf_format *f, bool sign)
{
    return sign ? sf_sign_bit(f) : 0;
}

uint64_t sf_make_infinity(const struct sf_format *f, bool sign)
{
    return sf_make_zero(f, sign) | mask_low(f->exp_bits) << f->frac_bits;
}

uint64_t sf_default_nan(const struct sf_env *e, const struct sf_format *f)
{
    return sf_make_infinity(f, e->nan == SF_NAN_X86) | 1ull << (f->frac_bits - 1);
}

bool sf_is_nan(const struct sf_format *f, uint64_t a)
{
    return !f->alternative && exp_field(f, a) == mask_low(f->exp_bits) && frac_field(f, a);
}

bool sf_is_snan(const struct sf_format *f, uint64_t a)
{
    return sf_is_nan(f, a) && !(a >> (f->frac_bits - 1) & 1);
}

struct sf_parts sf_unpack(struct sf_env *e, const struct sf_format *f, uint64_t a)
{
    uint64_t exp = exp_field(f, a), frac = frac_field(f, a);
    struct sf_parts p = {.kind = SF_NORMAL, .sign = a >> (f->exp_bits + f->frac_bits) & 1};
    if (exp == mask_low(f->exp_bits) && !f->alternative) {
        p.kind = !frac ? SF_INFINITY : frac >> (f->frac_bits - 1) ? SF_QNAN : SF_SNAN;
        p.sig = frac << (63 - f->frac_bits);
    } else if (exp) {
        p.exp = (int)exp - sf_bias(f);
        p.sig = (frac | 1ull << f->frac_bits) << (63 - f->frac_bits);
    } else if (!frac || e->flush_inputs) {
        p.kind = SF_ZERO;
        if (frac && !e->flush_inputs_quiet)
            e->flags |= SF_DENORMAL;
    } else {
        unsigned up = (unsigned)__builtin_clzll(frac);
        p.exp = 1 - sf_bias(f) - ((int)up - (63 - f->frac_bits));
        p.sig = frac << up;
    }
    return p;
}

// Whether a magnitude whose kept part is odd or even, with the cut-off part compared to half a
// unit, is rounded away from zero.
static bool round_up(enum sf_rounding mode, bool sign, bool odd, unsigned __int128 rest,
                     unsigned __int128 half)
{
    switch (mode) {
    case SF_RNE:
        return rest > half || (rest == half && odd);
    case SF_RMM:
        return rest >= half;
    case SF_RDN:
        return sign && rest;
    case SF_RUP:
        return !sign && rest;
    case SF_RODD:
        return rest && !odd;
    default:
        return false;
    }
}

static uint64_t overflow(struct sf_env *e, const struct sf_format *f, bool sign)
{
    if (f->alternative) {
        e->flags |= SF_INVALID;
        return sf_make_zero(f, sign) | mask_low(f->exp_bits + f->frac_bits);
    }
    e->flags |= SF_OVERFLOW | SF_INEXACT;
    bool to_infinity =
        e->rounding == SF_RNE || e->rounding == SF_RMM || e->rounding == (sign ? SF_RDN : SF_RUP);
    return sf_make_infinity(f, sign) - !to_infinity;
}

uint64_t sf_round(struct sf_env *e, const struct sf_format *f, bool sign, int exp,
                  unsigned __int128 sig)
{
    const unsigned __int128 one = 1;
    uint64_t high = (uint64_t)(sig >> 64);
    int up = high ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)sig);
    sig <<= up;
    exp -= up;

    int cut = 127 - f->frac_bits, min = 1 - sf_bias(f);
    bool tiny = exp < min;
    if (tiny && e->flush_outputs && e->tiny_before) {
        e->flags |= SF_UNDERFLOW;
        return sf_make_zero(f, sign);
    }
    if (tiny && !e->tiny_before && exp == min - 1) {
        // Not tiny if rounding with an unbounded exponent reaches the smallest normal number.
        unsigned __int128 kept = sig >> cut;
        if (kept + 1 == one << (f->frac_bits + 1) &&
            round_up(e->rounding, sign, true, sig & ((one << cut) - 1), one << (cut - 1)))
            tiny = false;
    }
    if (exp < min) {
        cut += min - exp;
        if (cut > 127) { // less than one unit, of which 128 leaves half or more
            sig = cut == 128 ? sig >> 1 | (sig & 1) : 1;
            cut = 127;
        }
        exp = min;
    }
    uint64_t kept = (uint64_t)(sig >> cut);
    unsigned __int128 rest = sig & ((one << cut) - 1);
    kept += round_up(e->rounding, sign, kept & 1, rest, one << (cut - 1));
    // A subnormal has no leading bit in `kept`, so the exponent field comes out as zero; a carry
    // out of the fraction moves into it.
    uint64_t biased = (uint64_t)(exp + sf_bias(f) - 1);
    uint64_t bits_limit = mask_low(f->exp_bits) + f->alternative;
    if (biased + (kept >> f->frac_bits) >= bits_limit)
        return overflow(e, f, sign);
    if (rest) {
        e->flags |= SF_INEXACT;
        if (tiny)
            e->flags |= SF_UNDERFLOW;
    }
    if (tiny && e->flush_outputs) {
        e->flags |= SF_UNDERFLOW | SF_INEXACT;
        return sf_make_zero(f, sign);
    }
    return sf_make_zero(f, sign) | ((biased << f->frac_bits) + kept);
}

static uint64_t quiet(const struct sf_format *f, uint64_t a)
{
    return a | 1ull << (f->frac_bits - 1);
}

uint64_t sf_pick_nan(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b)
{
    bool sa = sf_is_snan(f, a), sb = sf_is_snan(f, b);
    if (sa || sb)
        e->flags |= SF_INVALID;
    switch (e->nan) {
    case SF_NAN_DEFAULT:
        return sf_default_nan(e, f);
    case SF_NAN_ARM:
        if (sa || sb)
            return quiet(f, sa ? a : b);
        return sf_is_nan(f, a) ? a : b;
    default:
        return quiet(f, sf_is_nan(f, a) ? a : b);
    }
}
