// Softfloat against the host's SSE unit (x86 NaN rules, tininess after rounding): all operations,
// rounding modes, flush modes and flags over every pair of special values and many random ones.
// What the host has not (ties away, round to odd, Arm's rules) is checked against its definition.
#include "softfloat/softfloat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <stdint.h>
#include <cmocka.h>

#if defined(__x86_64__)
#include <immintrin.h>

enum { FTZ = 0x8000, DAZ = 0x40 };
static const unsigned host_rounding[] = {[SF_RNE] = 0, [SF_RTZ] = 3, [SF_RDN] = 1, [SF_RUP] = 2};

static uint64_t seed = 88172645463325252u;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1du;
}

static const uint64_t special64[] = {
    0x0000000000000000, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000,
    0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000001234,
    0x7ff0000000000001, 0xfff4000000000000, 0x0000000000000001, 0x800fffffffffffff,
    0x000fffffffffffff, 0x0010000000000000, 0x8010000000000001, 0x7fefffffffffffff,
    0xffefffffffffffff, 0x3fe0000000000000, 0x4000000000000000, 0x3fefffffffffffff,
    0x3ff0000000000001, 0x43e0000000000000, 0xc3e0000000000000, 0x41dfffffffc00000,
    0x4340000000000001, 0x0008000000000000, 0x1ff0000000000000, 0x5fe0000000000001,
};
static const uint32_t special32[] = {
    0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000,
    0xffc01234, 0x7f800001, 0xffa00000, 0x00000001, 0x807fffff, 0x007fffff, 0x00800000,
    0x80800001, 0x7f7fffff, 0xff7fffff, 0x3f000000, 0x40000000, 0x3f7fffff, 0x3f800001,
    0x4f000000, 0xcf000000, 0x5f000000, 0x4b800001, 0x00400000, 0x20000000, 0x5f7fffff,
};
enum { SPECIALS = ARRAY_SIZE(special64) };

// Values that meet: exponents near each other or near the limits.
static uint64_t value(const struct sf_format *f, unsigned i)
{
    if (i < SPECIALS)
        return f == &sf_double ? special64[i] : special32[i];
    uint64_t r = rnd(), max = (1ull << f->exp_bits) - 1, exp;
    switch (rnd() % 4) {
    case 0:
        exp = rnd() % 4;
        break;
    case 1:
        exp = max - rnd() % 4;
        break;
    case 2:
        exp = max / 2 - 30 + rnd() % 60;
        break;
    default:
        exp = rnd() & max;
    }
    uint64_t frac = r & ((1ull << f->frac_bits) - 1);
    if (rnd() % 3 == 0)
        frac &= ~0ull << rnd() % f->frac_bits; // few digits: exact results and ties
    return (rnd() & 1) << (f->exp_bits + f->frac_bits) | exp << f->frac_bits | frac;
}

enum op {
    ADD,
    SUB,
    MUL,
    DIV,
    SQRT,
    FMA,
    TO_OTHER,
    TO_I32,
    TO_I64,
    FROM_I64,
    FROM_I32,
    TO_HALF,
    OPS
};

__attribute__((target("fma,f16c"), noinline)) static uint64_t host64(enum op op, uint64_t a,
                                                                     uint64_t b, uint64_t c)
{
    __m128d x = _mm_castsi128_pd(_mm_cvtsi64_si128((long long)a)),
            y = _mm_castsi128_pd(_mm_cvtsi64_si128((long long)b)),
            z = _mm_castsi128_pd(_mm_cvtsi64_si128((long long)c)), r = x;
    switch (op) {
    case ADD:
        r = _mm_add_sd(x, y);
        break;
    case SUB:
        r = _mm_sub_sd(x, y);
        break;
    case MUL:
        r = _mm_mul_sd(x, y);
        break;
    case DIV:
        r = _mm_div_sd(x, y);
        break;
    case SQRT:
        r = _mm_sqrt_sd(x, x);
        break;
    case FMA:
        r = _mm_fmadd_sd(x, y, z);
        break;
    case TO_OTHER:
        return (uint32_t)_mm_cvtsi128_si32(_mm_castps_si128(_mm_cvtsd_ss(_mm_setzero_ps(), x)));
    case TO_I32:
        return (uint32_t)_mm_cvtsd_si32(x);
    case TO_I64:
        return (uint64_t)_mm_cvtsd_si64(x);
    case FROM_I64:
        r = _mm_cvtsi64_sd(_mm_setzero_pd(), (long long)a);
        break;
    case FROM_I32:
        r = _mm_cvtsi32_sd(_mm_setzero_pd(), (int)a);
        break;
    default:
        break;
    }
    return (uint64_t)_mm_cvtsi128_si64(_mm_castpd_si128(r));
}

__attribute__((target("fma,f16c"), noinline)) static uint64_t host32(enum op op, uint64_t a,
                                                                     uint64_t b, uint64_t c)
{
    __m128 x = _mm_castsi128_ps(_mm_cvtsi32_si128((int)a)),
           y = _mm_castsi128_ps(_mm_cvtsi32_si128((int)b)),
           z = _mm_castsi128_ps(_mm_cvtsi32_si128((int)c)), r = x;
    switch (op) {
    case ADD:
        r = _mm_add_ss(x, y);
        break;
    case SUB:
        r = _mm_sub_ss(x, y);
        break;
    case MUL:
        r = _mm_mul_ss(x, y);
        break;
    case DIV:
        r = _mm_div_ss(x, y);
        break;
    case SQRT:
        r = _mm_sqrt_ss(x);
        break;
    case FMA:
        r = _mm_fmadd_ss(x, y, z);
        break;
    case TO_OTHER:
        return (uint64_t)_mm_cvtsi128_si64(_mm_castpd_si128(_mm_cvtss_sd(_mm_setzero_pd(), x)));
    case TO_I32:
        return (uint32_t)_mm_cvtss_si32(x);
    case TO_I64:
        return (uint64_t)_mm_cvtss_si64(x);
    case FROM_I64:
        r = _mm_cvtsi64_ss(_mm_setzero_ps(), (long long)a);
        break;
    case FROM_I32:
        r = _mm_cvtsi32_ss(_mm_setzero_ps(), (int)a);
        break;
    case TO_HALF:
        return _mm_cvtsi128_si32(_mm_cvtps_ph(x, 4)) & 0xffff;
    default:
        break;
    }
    return (uint32_t)_mm_cvtsi128_si32(_mm_castps_si128(r));
}

static uint64_t soft(struct sf_env *e, enum op op, const struct sf_format *f, uint64_t a,
                     uint64_t b, uint64_t c)
{
    switch (op) {
    case ADD:
        return sf_add(e, f, a, b);
    case SUB:
        return sf_sub(e, f, a, b);
    case MUL:
        return sf_mul(e, f, a, b);
    case DIV:
        return sf_div(e, f, a, b);
    case SQRT:
        return sf_sqrt(e, f, a);
    case FMA:
        return sf_fma(e, f, a, b, c, false);
    case TO_OTHER:
        return sf_convert(e, f, f == &sf_double ? &sf_single : &sf_double, a);
    case TO_I32:
        return (uint32_t)sf_to_int(e, f, a, 32, false, 0, false);
    case TO_I64:
        return sf_to_int(e, f, a, 64, false, 0, false);
    case FROM_I64:
        return sf_from_int(e, f, a, false, 0);
    case FROM_I32:
        return sf_from_int(e, f, (uint64_t)(int32_t)a, false, 0);
    default:
        return sf_convert(e, f, &sf_half, a);
    }
}

static uint32_t flags_of(unsigned mxcsr)
{
    return (mxcsr & 1 ? SF_INVALID : 0) | (mxcsr & 4 ? SF_DIVZERO : 0) |
           (mxcsr & 8 ? SF_OVERFLOW : 0) | (mxcsr & 16 ? SF_UNDERFLOW : 0) |
           (mxcsr & 32 ? SF_INEXACT : 0);
}

static void compare_one(enum op op, const struct sf_format *f, unsigned mode, bool flush,
                        uint64_t a, uint64_t b, uint64_t c)
{
    struct sf_env e = {.rounding = mode,
                       .nan = SF_NAN_X86,
                       .flush_inputs = flush,
                       .flush_inputs_quiet = true,
                       .flush_outputs = flush && op != TO_HALF};
    unsigned saved = _mm_getcsr();
    _mm_setcsr(0x1f80 | host_rounding[mode] << 13 | (flush ? FTZ | DAZ : 0));
    uint64_t expected = f == &sf_double ? host64(op, a, b, c) : host32(op, a, b, c);
    uint32_t flags = flags_of(_mm_getcsr());
    _mm_setcsr(saved);
    uint64_t got = soft(&e, op, f, a, b, c);
    const struct sf_format *to = op == TO_OTHER ? (f == &sf_double ? &sf_single : &sf_double) : f;
    bool same = got == expected;
    if (op == FMA && sf_is_nan(f, expected)) // which operand depends on the encoding
        same = sf_is_nan(f, got);
    if ((op == TO_I32 || op == TO_I64) && flags & SF_INVALID)
        same = true; // the host's integer indefinite
    if (op == FMA && sf_is_nan(to, c))
        flags = e.flags; // infinity times zero plus NaN differs between hosts
    if (!same || flags != e.flags)
        fail_msg("op %d, mode %u, flush %d, format %u: %#lx, %#lx, %#lx: host %#lx flags %x, "
                 "soft %#lx flags %x",
                 op, mode, flush, f->frac_bits, a, b, c, expected, flags, got, e.flags);
}

static void agrees_with_host(void **state)
{
    const struct sf_format *formats[] = {&sf_single, &sf_double};
    for (unsigned fi = 0; fi < 2; fi++)
        for (unsigned mode = 0; mode < 4; mode++)
            for (unsigned flush = 0; flush < 2; flush++)
                for (unsigned op = 0; op < OPS; op++) {
                    const struct sf_format *f = formats[fi];
                    if (op == TO_HALF && f == &sf_double)
                        continue;
                    for (unsigned i = 0; i < SPECIALS; i++)
                        for (unsigned k = 0; k < SPECIALS; k++)
                            compare_one(op, f, mode, flush, value(f, i), value(f, k),
                                        value(f, (i * 7 + k) % SPECIALS));
                    for (unsigned i = 0; i < 20000; i++)
                        compare_one(op, f, mode, flush, value(f, SPECIALS), value(f, SPECIALS),
                                    value(f, rnd() % (2 * SPECIALS)));
                }
}

static void compares_like_host(void **state)
{
    for (unsigned i = 0; i < 200000; i++) {
        uint64_t a = value(&sf_double, rnd() % (2 * SPECIALS)),
                 b = value(&sf_double, rnd() % (2 * SPECIALS));
        double x, y;
        memcpy(&x, &a, 8);
        memcpy(&y, &b, 8);
        enum sf_order expected = x < y    ? SF_LESS
                                 : x == y ? SF_EQUAL
                                 : x > y  ? SF_GREATER
                                          : SF_UNORDERED;
        struct sf_env e = {0};
        assert_int_equal(sf_compare(&e, &sf_double, a, b, false), expected);
        bool snan = sf_is_snan(&sf_double, a) || sf_is_snan(&sf_double, b);
        assert_int_equal(e.flags, snan ? SF_INVALID : 0);
        assert_int_equal(sf_compare(&e, &sf_double, a, b, true), expected);
        assert_int_equal(e.flags, expected == SF_UNORDERED ? SF_INVALID : 0);
    }
}

// A single-precision product is exact in double: where the two other roundings are as near, ties
// away takes the larger magnitude; round to odd is truncation with the last bit set if inexact.
static void ties_away_and_odd(void **state)
{
    for (unsigned i = 0; i < 200000; i++) {
        uint64_t a = value(&sf_single, SPECIALS), b = value(&sf_single, SPECIALS);
        struct sf_env z = {.rounding = SF_RTZ}, m = {.rounding = SF_RMM}, o = {.rounding = SF_RODD};
        uint64_t low = sf_mul(&z, &sf_single, a, b), got = sf_mul(&m, &sf_single, a, b);
        uint64_t odd = sf_mul(&o, &sf_single, a, b);
        if (sf_is_nan(&sf_single, low) || z.flags & (SF_INVALID | SF_OVERFLOW))
            continue;
        assert_int_equal(odd, z.flags & SF_INEXACT ? low | 1 : low);
        float fa, fb, f0, f1;
        uint32_t a32 = (uint32_t)a, b32 = (uint32_t)b, w0 = (uint32_t)low, w1 = w0 + 1;
        memcpy(&fa, &a32, 4);
        memcpy(&fb, &b32, 4);
        memcpy(&f0, &w0, 4);
        memcpy(&f1, &w1, 4);
        double p = (double)fa * fb, below = p - f0, above = (double)f1 - p;
        if (w1 << 1 >= 0xff000000)
            continue;
        uint64_t expected =
            z.flags & SF_INEXACT && __builtin_fabs(below) >= __builtin_fabs(above) ? w1 : w0;
        assert_int_equal(got, expected);
    }
}

static uint64_t arm(uint64_t (*fn)(struct sf_env *, const struct sf_format *, uint64_t, uint64_t),
                    uint64_t a, uint64_t b, bool flush, uint32_t *flags)
{
    struct sf_env e = {
        .nan = SF_NAN_ARM, .tiny_before = true, .flush_inputs = flush, .flush_outputs = flush};
    uint64_t r = fn(&e, &sf_single, a, b);
    *flags = e.flags;
    return r;
}

static void arm_rules(void **state)
{
    uint32_t flags;
    // The first signalling NaN wins over an earlier quiet one.
    assert_int_equal(arm(sf_add, 0x7fc00001, 0xff800002, false, &flags), 0xffc00002);
    assert_int_equal(flags, SF_INVALID);
    assert_int_equal(arm(sf_add, 0xffc00003, 0x7fc00002, false, &flags), 0xffc00003);
    assert_int_equal(flags, 0);
    assert_int_equal(arm(sf_sub, 0x7f800000, 0x7f800000, false, &flags), 0x7fc00000);
    // Just below the smallest normal number, rounding up to it: tiny all the same.
    assert_int_equal(arm(sf_mul, 0x3f7fffff, 0x00800000, false, &flags), 0x00800000);
    assert_int_equal(flags, SF_UNDERFLOW | SF_INEXACT);
    // Flushing: a subnormal operand raises denormal alone, a tiny result underflow alone.
    assert_int_equal(arm(sf_add, 0x80000001, 0x3f800000, true, &flags), 0x3f800000);
    assert_int_equal(flags, SF_DENORMAL);
    assert_int_equal(arm(sf_mul, 0x80800000, 0x3f000000, true, &flags), 0x80000000);
    assert_int_equal(flags, SF_UNDERFLOW);
    assert_int_equal(arm(sf_minnm, 0x7fc00000, 0x3f800000, false, &flags), 0x3f800000);
    assert_int_equal(arm(sf_min, 0x00000000, 0x80000000, false, &flags), 0x80000000);
    assert_int_equal(arm(sf_maxnm, 0x80000000, 0x00000000, false, &flags), 0);
    // The alternative half has neither infinity nor NaN.
    struct sf_env e = {.nan = SF_NAN_ARM};
    assert_int_equal(sf_convert(&e, &sf_single, &sf_half_alternative, 0x47800000), 0x7c00);
    assert_int_equal(e.flags, 0);
    assert_int_equal(sf_convert(&e, &sf_single, &sf_half_alternative, 0xff800000), 0xffff);
    assert_int_equal(e.flags, SF_INVALID);
    assert_int_equal(sf_convert(&e, &sf_half_alternative, &sf_single, 0x7fff), 0x47ffe000);
}
#endif

int main(void)
{
#if defined(__x86_64__)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_host),
        cmocka_unit_test(compares_like_host),
        cmocka_unit_test(ties_away_and_odd),
        cmocka_unit_test(arm_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
#else
    return 77;
#endif
}
