// IEEE 754-2019 binary arithmetic in software, for what the host cannot do exactly: every rounding
// mode (with round-to-odd), tininess before or after rounding, flushing of subnormals, the NaN
// rules of several CPUs. Values are bit patterns in the low bits of a uint64_t. Formats are data;
// intermediate results have 128 bits, so wider formats need only a wider carrier.
#pragma once

#include "base/base.h"

struct sf_format {
    uint8_t exp_bits, frac_bits; // of the encoding; the leading bit is implied
    bool alternative;            // Arm's alternative half: no infinities or NaNs
};
extern const struct sf_format sf_half, sf_half_alternative, sf_bfloat, sf_single, sf_double;

enum sf_rounding { SF_RNE, SF_RTZ, SF_RDN, SF_RUP, SF_RMM, SF_RODD };
enum sf_flag {
    SF_INVALID = 1,
    SF_DIVZERO = 2,
    SF_OVERFLOW = 4,
    SF_UNDERFLOW = 8,
    SF_INEXACT = 16,
    SF_DENORMAL = 32 // a subnormal operand was flushed
};
// Which NaN an operation returns. Signalling ones are always quieted and raise invalid.
enum sf_nan {
    SF_NAN_ARM,     // the first signalling operand, else the first quiet one; of a * b + c, c first
    SF_NAN_DEFAULT, // always the positive default NaN
    SF_NAN_X86,     // the first operand that is one; the default NaN is negative
    SF_NAN_PPC,     // likewise, a, c, b for a * b + c; positive
};
struct sf_env {
    enum sf_rounding rounding;
    enum sf_nan nan;
    bool flush_inputs;       // subnormal operands are zeros and raise denormal ...
    bool flush_inputs_quiet; // ... or raise nothing (Arm's half precision)
    bool flush_outputs;      // tiny results are zeros and raise underflow; with tininess after
                             // rounding inexact as well
    bool tiny_before;
    uint32_t flags; // accumulates
};
enum sf_order { SF_LESS, SF_EQUAL, SF_GREATER, SF_UNORDERED };

// Rounded once, as e->rounding says; exceptions are added to e's flags.
uint64_t sf_add(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b);
uint64_t sf_sub(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b);
uint64_t sf_mul(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b);
uint64_t sf_div(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b);
uint64_t sf_sqrt(struct sf_env *e, const struct sf_format *f, uint64_t a);
// a * b + c, rounded once. `halve` subtracts one from the result's exponent before rounding.
uint64_t sf_fma(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b, uint64_t c,
                bool halve);
// NaN if either operand is one; -0 < +0.
uint64_t sf_min(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b);
uint64_t sf_max(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b);
// The number if one operand is a quiet NaN (minNum and maxNum of IEEE 754-2008).
uint64_t sf_minnm(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b);
uint64_t sf_maxnm(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b);
// `signal`: quiet NaNs raise invalid too.
enum sf_order sf_compare(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b,
                         bool signal);
// To an integral value in the same format; `exact`: raise inexact where the value changes.
uint64_t sf_round_int(struct sf_env *e, const struct sf_format *f, uint64_t a, bool exact);
uint64_t sf_convert(struct sf_env *e, const struct sf_format *from, const struct sf_format *to,
                    uint64_t a);
// a * 2^fraction to an integer of `bits` bits, saturating with invalid. NaN gives 0, or the largest
// value. The result is sign-extended (or zero-extended when unsigned) to 64 bits.
uint64_t sf_to_int(struct sf_env *e, const struct sf_format *f, uint64_t a, unsigned bits,
                   bool is_unsigned, unsigned fraction, bool nan_is_max);
// The 64-bit integer a / 2^fraction.
uint64_t sf_from_int(struct sf_env *e, const struct sf_format *f, uint64_t a, bool is_unsigned,
                     unsigned fraction);

// ---- parts, for instructions that are not IEEE operations (estimates, dot products) ----

enum sf_kind { SF_ZERO, SF_NORMAL, SF_INFINITY, SF_QNAN, SF_SNAN };
struct sf_parts {
    enum sf_kind kind;
    bool sign;
    int exp;      // of SF_NORMAL: the value is sig / 2^63 * 2^exp
    uint64_t sig; // leading bit 63 set; NaNs: the fraction's bits, left-aligned below bit 63
};
// Flushes (and raises denormal) as `e` says.
struct sf_parts sf_unpack(struct sf_env *e, const struct sf_format *f, uint64_t a);
// Rounds sig / 2^127 * 2^exp, sig not zero and in any position, to the format.
uint64_t sf_round(struct sf_env *e, const struct sf_format *f, bool sign, int exp,
                  unsigned __int128 sig);
uint64_t sf_make_zero(const struct sf_format *f, bool sign);
uint64_t sf_make_infinity(const struct sf_format *f, bool sign);
uint64_t sf_default_nan(const struct sf_env *e, const struct sf_format *f);
// The result for operands of which at least one is a NaN: b may repeat a.
uint64_t sf_pick_nan(struct sf_env *e, const struct sf_format *f, uint64_t a, uint64_t b);

static inline uint64_t sf_sign_bit(const struct sf_format *f)
{
    return 1ull << (f->exp_bits + f->frac_bits);
}
static inline int sf_bias(const struct sf_format *f)
{
    return (1 << (f->exp_bits - 1)) - 1;
}
bool sf_is_nan(const struct sf_format *f, uint64_t a);
bool sf_is_snan(const struct sf_format *f, uint64_t a);
