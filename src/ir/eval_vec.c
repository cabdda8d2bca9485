// Integer arithmetic on vector lanes, one function per operation of ops.def. Lanes are computed in
// 128 bits, where nothing overflows, and cut or saturated at the end.
#include "ir/eval.h"
#include "ir/lanes.h"

struct lane { // what an expression sees of one lane of a and b
    unsigned __int128 x, y;
    __int128 sx, sy;
    unsigned w, imm;
};

static struct lane lane_of(const union ir_val *abc, unsigned size, unsigned i, unsigned k,
                           unsigned aux)
{
    unsigned w = 8u << size;
    uint64_t x = lane_get(&abc[0], size, i), y = lane_get(&abc[1], size, k);
    return (struct lane){.x = x,
                         .y = y,
                         .sx = sign_extend(x, w),
                         .sy = sign_extend(y, w),
                         .w = w,
                         .imm = VL_GET_IMM(aux)};
}

static uint64_t clamp(__int128 v, __int128 low, __int128 high)
{
    return (uint64_t)(v < low ? low : v > high ? high : v);
}

static uint64_t saturate(__int128 v, unsigned w)
{
    return clamp(v, -((__int128)1 << (w - 1)), ((__int128)1 << (w - 1)) - 1);
}

static uint64_t saturate_unsigned(__int128 v, unsigned w)
{
    return clamp(v, 0, ((__int128)1 << w) - 1);
}

// Shift by a register: left by n >= 0, right by -n.
static uint64_t shift(__int128 v, int n, unsigned w, bool is_signed, bool rounding, bool saturating)
{
    if (n < 0) {
        if (rounding)
            return -n > (int)w ? 0 : (uint64_t)((v + ((__int128)1 << (-n - 1))) >> -n);
        return -n >= (int)w ? (v < 0 ? ~0ull : 0) : (uint64_t)(v >> -n);
    }
    if (!saturating)
        return n >= (int)w ? 0 : (uint64_t)(v << n);
    if (n > (int)w)
        n = (int)w; // saturates anything but zero, without overflow of the intermediate ...
    if (w == 64 && n == 64)
        n = 63, v = v ? v < 0 ? -((__int128)1 << 63) : (__int128)1 << 63 : 0; // ... 128 bits wide
    return is_signed ? saturate(v << n, w) : saturate_unsigned(v << n, w);
}

static unsigned leading_zeros(uint64_t x, unsigned w)
{
    return x ? (unsigned)__builtin_clzll(x) - (64 - w) : w;
}

static unsigned __int128 carryless(uint64_t x, uint64_t y, unsigned w)
{
    unsigned __int128 r = 0;
    for (unsigned i = 0; i < w; i++)
        if (y >> i & 1)
            r ^= (unsigned __int128)x << i;
    return r;
}

#define LANES(name, expr)                                                                          \
    EVAL(name)                                                                                     \
    {                                                                                              \
        union ir_val r = {0};                                                                      \
        unsigned size = aux & VL_LANE;                                                             \
        for (unsigned i = 0; i < lane_count(aux); i++) {                                           \
            struct lane l = lane_of(abc, size, i, i, aux);                                         \
            lane_set(&r, size, i, (uint64_t)(expr));                                               \
        }                                                                                          \
        *result = r;                                                                               \
    }
#define TRUE_IF(cond) (cond) ? ~0ull : 0
LANES(vadd, l.x + l.y)
LANES(vsub, l.x - l.y)
LANES(vmul, l.x *l.y)
LANES(vneg, -l.x)
LANES(vabs, l.sx < 0 ? -l.sx : l.sx)
LANES(vshli, l.x << l.imm)
LANES(vshri, l.x >> l.imm)
LANES(vsari, l.sx >> l.imm)
LANES(vrshri, (l.x + ((__int128)1 << (l.imm - 1))) >> l.imm)
LANES(vrsari, (l.sx + ((__int128)1 << (l.imm - 1))) >> l.imm)
LANES(vushl, shift((__int128)l.x, (int8_t)l.y, l.w, false, false, false))
LANES(vsshl, shift(l.sx, (int8_t)l.y, l.w, true, false, false))
LANES(vurshl, shift((__int128)l.x, (int8_t)l.y, l.w, false, true, false))
LANES(vsrshl, shift(l.sx, (int8_t)l.y, l.w, true, true, false))
LANES(vuqshl, shift((__int128)l.x, (int8_t)l.y, l.w, false, false, true))
LANES(vsqshl, shift(l.sx, (int8_t)l.y, l.w, true, false, true))
LANES(vuqrshl, shift((__int128)l.x, (int8_t)l.y, l.w, false, true, true))
LANES(vsqrshl, shift(l.sx, (int8_t)l.y, l.w, true, true, true))
LANES(vcmpeq, TRUE_IF(l.x == l.y))
LANES(vcmpgt, TRUE_IF(l.sx > l.sy))
LANES(vcmpge, TRUE_IF(l.sx >= l.sy))
LANES(vcmphi, TRUE_IF(l.x > l.y))
LANES(vcmphs, TRUE_IF(l.x >= l.y))
LANES(vcmptst, TRUE_IF(l.x &l.y))
LANES(vsmin, l.sx < l.sy ? l.sx : l.sy)
LANES(vsmax, l.sx > l.sy ? l.sx : l.sy)
LANES(vumin, l.x < l.y ? l.x : l.y)
LANES(vumax, l.x > l.y ? l.x : l.y)
LANES(vsqadd, saturate(l.sx + l.sy, l.w))
LANES(vuqadd, saturate_unsigned((__int128)(l.x + l.y), l.w))
LANES(vsqsub, saturate(l.sx - l.sy, l.w))
LANES(vuqsub, saturate_unsigned((__int128)(l.x - l.y), l.w))
LANES(vshadd, (l.sx + l.sy) >> 1)
LANES(vuhadd, (l.x + l.y) >> 1)
LANES(vsrhadd, (l.sx + l.sy + 1) >> 1)
LANES(vurhadd, (l.x + l.y + 1) >> 1)
LANES(vshsub, (l.sx - l.sy) >> 1)
LANES(vuhsub, (l.x - l.y) >> 1)
LANES(vsabd, l.sx > l.sy ? l.sx - l.sy : l.sy - l.sx)
LANES(vuabd, l.x > l.y ? l.x - l.y : l.y - l.x)
LANES(vsqdmulh, saturate(2 * l.sx * l.sy >> l.w, l.w))
LANES(vsqrdmulh, saturate((2 * l.sx * l.sy + ((__int128)1 << (l.w - 1))) >> l.w, l.w))
LANES(vcnt, __builtin_popcountll((uint64_t)l.x))
LANES(vclz, leading_zeros((uint64_t)l.x, l.w))
LANES(vcls, leading_zeros((uint64_t)(l.sx < 0 ? ~l.sx : l.sx), l.w) - 1)
LANES(vpmul, carryless((uint64_t)l.x, (uint64_t)l.y, 8))
#undef LANES

EVAL(vrbit)
{
    union ir_val r = {0};
    for (unsigned i = 0; i < (aux & VL_HALF ? 8 : 16); i++)
        for (unsigned k = 0; k < 8; k++)
            r.u8[i] |= (uint8_t)((abc[0].u8[i] >> k & 1) << (7 - k));
    *result = r;
}

// Lane pairs of a, then of b.
#define PAIRS(name, expr)                                                                          \
    EVAL(name)                                                                                     \
    {                                                                                              \
        union ir_val r = {0};                                                                      \
        unsigned size = aux & VL_LANE, n = lane_count(aux);                                        \
        for (unsigned i = 0; i < n; i++) {                                                         \
            const union ir_val *from = &abc[2 * i >= n];                                           \
            struct lane l = lane_of((const union ir_val[2]){*from, *from}, size, 2 * i % n,        \
                                    2 * i % n + 1, aux);                                           \
            lane_set(&r, size, i, (uint64_t)(expr));                                               \
        }                                                                                          \
        *result = r;                                                                               \
    }
PAIRS(vaddp, l.x + l.y)
PAIRS(vsmaxp, l.sx > l.sy ? l.sx : l.sy)
PAIRS(vsminp, l.sx < l.sy ? l.sx : l.sy)
PAIRS(vumaxp, l.x > l.y ? l.x : l.y)
PAIRS(vuminp, l.x < l.y ? l.x : l.y)
#undef PAIRS

// All lanes into one.
#define ACROSS(name, expr)                                                                         \
    EVAL(name)                                                                                     \
    {                                                                                              \
        union ir_val in[2] = {abc[0], abc[0]};                                                     \
        unsigned size = aux & VL_LANE;                                                             \
        for (unsigned i = 1; i < lane_count(aux); i++) {                                           \
            struct lane l = lane_of(in, size, 0, i, aux);                                          \
            lane_set(&in[0], size, 0, (uint64_t)(expr));                                           \
        }                                                                                          \
        *result = (union ir_val){.u64 = {lane_get(&in[0], size, 0), 0}};                           \
    }
ACROSS(vaddv, l.x + l.y)
ACROSS(vsmaxv, l.sx > l.sy ? l.sx : l.sy)
ACROSS(vsminv, l.sx < l.sy ? l.sx : l.sy)
ACROSS(vumaxv, l.x > l.y ? l.x : l.y)
ACROSS(vuminv, l.x < l.y ? l.x : l.y)
#undef ACROSS

// ---- widening and narrowing: `size` is the narrow one ----

#define WIDEN(name, expr)                                                                          \
    EVAL(name)                                                                                     \
    {                                                                                              \
        union ir_val r = {0};                                                                      \
        unsigned size = aux & VL_LANE, n = aux & VL_SCALAR ? 1 : 8u >> size;                       \
        unsigned first = aux & VL_HIGH ? 8u >> size : 0;                                           \
        for (unsigned i = 0; i < n; i++) {                                                         \
            struct lane l = lane_of(abc, size, first + i, first + i, aux);                         \
            lane_set(&r, size + 1, i, (uint64_t)(expr));                                           \
        }                                                                                          \
        *result = r;                                                                               \
    }
WIDEN(vsxtl, l.sx)
WIDEN(vuxtl, l.x)
WIDEN(vsmull, l.sx *l.sy)
WIDEN(vumull, l.x *l.y)
#undef WIDEN

EVAL(vpmull)
{
    union ir_val r = {0};
    if ((aux & VL_LANE) == VL_64) {
        unsigned i = aux & VL_HIGH ? 1 : 0;
        unsigned __int128 p = carryless(abc[0].u64[i], abc[1].u64[i], 64);
        r.u64[0] = (uint64_t)p;
        r.u64[1] = (uint64_t)(p >> 64);
    } else {
        unsigned first = aux & VL_HIGH ? 8 : 0;
        for (unsigned i = 0; i < 8; i++)
            r.u16[i] = (uint16_t)carryless(abc[0].u8[first + i], abc[1].u8[first + i], 8);
    }
    *result = r;
}

#define NARROW(name, expr)                                                                         \
    EVAL(name)                                                                                     \
    {                                                                                              \
        union ir_val r = {0};                                                                      \
        unsigned size = aux & VL_LANE, n = 8u >> size, first = 0;                                  \
        if (aux & VL_HIGH) {                                                                       \
            r.u64[0] = abc[1].u64[0];                                                              \
            first = n;                                                                             \
        }                                                                                          \
        for (unsigned i = 0; i < (aux & VL_SCALAR ? 1 : n); i++) {                                 \
            struct lane l = lane_of(abc, size + 1, i, i, aux);                                     \
            unsigned w = l.w / 2;                                                                  \
            (void)w;                                                                               \
            lane_set(&r, size, first + i, (uint64_t)(expr));                                       \
        }                                                                                          \
        *result = r;                                                                               \
    }
NARROW(vxtn, l.x)
NARROW(vsqxtn, saturate(l.sx, w))
NARROW(vuqxtn, saturate_unsigned((__int128)l.x, w))
NARROW(vsqxtun, saturate_unsigned(l.sx, w))
#undef NARROW

#define PAIRWISE_LONG(name, expr)                                                                  \
    EVAL(name)                                                                                     \
    {                                                                                              \
        union ir_val r = {0};                                                                      \
        const union ir_val in[2] = {abc[0], abc[0]};                                               \
        unsigned size = aux & VL_LANE;                                                             \
        for (unsigned i = 0; i < lane_count(aux) / 2; i++) {                                       \
            struct lane l = lane_of(in, size, 2 * i, 2 * i + 1, aux);                              \
            lane_set(&r, size + 1, i, (uint64_t)(expr));                                           \
        }                                                                                          \
        *result = r;                                                                               \
    }
PAIRWISE_LONG(vsaddlp, l.sx + l.sy)
PAIRWISE_LONG(vuaddlp, l.x + l.y)
#undef PAIRWISE_LONG

// Four products of bytes into each 32-bit lane; abc: accumulator, two factors.
#define DOT(name, x_type, y_type)                                                                  \
    EVAL(name)                                                                                     \
    {                                                                                              \
        union ir_val r = {0};                                                                      \
        for (unsigned i = 0; i < (aux & VL_HALF ? 8 : 16); i++) {                                  \
            if (i % 4 == 0)                                                                        \
                r.u32[i / 4] = abc[0].u32[i / 4];                                                  \
            r.u32[i / 4] += (uint32_t)((x_type)abc[1].u8[i] * (y_type)abc[2].u8[i]);               \
        }                                                                                          \
        *result = r;                                                                               \
    }
DOT(vsdot, int8_t, int8_t)
DOT(vudot, uint8_t, uint8_t)
DOT(vusdot, uint8_t, int8_t)
#undef DOT
