// Integer SIMD instructions the IR has no operation for (DDI 0487, C7): mixed-sign saturation,
// rounding doubling multiply-accumulate, reciprocal estimates, matrix products. Lane by lane in 128
// bits.
#include "ir/lanes.h"
#include "isa/arm/simd/estimate.h"
#include "isa/arm/simd/simd.h"

static __int128 clamp(__int128 v, __int128 low, __int128 high)
{
    return v < low ? low : v > high ? high : v;
}

static __int128 least(unsigned w)
{
    return -((__int128)1 << (w - 1));
}

static uint64_t rounding_doubling(unsigned kind, __int128 a, __int128 b, __int128 c, unsigned w)
{
    bool subtract = kind == LANES_SQRDMLSH || kind == LANES_SQRDMLSH_MASK;
    __int128 product = 2 * a * b, sum = (c << w) + ((__int128)1 << (w - 1));
    __int128 full = (subtract ? sum - product : sum + product) >> w;
    __int128 r = clamp(full, least(w), -least(w) - 1);
    bool mask = kind == LANES_SQRDMLAH_MASK || kind == LANES_SQRDMLSH_MASK;
    return (uint64_t)(mask ? r != full : r);
}

// SQSHL and SQRSHL saturate alike: on left shifts of what does not fit.
static bool shift_saturates(int64_t a, int8_t n, unsigned w)
{
    if (n <= 0 || !a)
        return false;
    return n >= (int)w || (__int128)a << n > -least(w) - 1 || (__int128)a << n < least(w);
}

static uint64_t shift_to_unsigned(int64_t a, unsigned n, unsigned w)
{
    return (uint64_t)clamp((__int128)a << n, 0, ((__int128)1 << w) - 1);
}

static uint64_t one_lane(unsigned kind, uint64_t a, uint64_t b, uint64_t c, unsigned w)
{
    int64_t sa = sign_extend(a, w), sb = sign_extend(b, w), sc = sign_extend(c, w);
    switch (kind) {
    case LANES_SUQADD:
        return (uint64_t)clamp((__int128)sc + a, least(w), -least(w) - 1);
    case LANES_USQADD:
        return (uint64_t)clamp((__int128)c + sa, 0, ((__int128)1 << w) - 1);
    case LANES_SQSHL:
        return shift_saturates(sa, (int8_t)b, w) ? ~0ull : 0;
    case LANES_SQSHLU:
        return shift_to_unsigned(sa, (unsigned)b, w);
    case LANES_URECPE:
        return a >> 31 ? (uint64_t)estimate_reciprocal((unsigned)(a >> 23)) << 23 : 0xffffffff;
    case LANES_URSQRTE:
        return a >> 30 ? (uint64_t)estimate_root((unsigned)(a >> 23)) << 23 : 0xffffffff;
    default:
        return rounding_doubling(kind, sa, sb, sc, w);
    }
}

// Each 2x2 result element is the product of a row of a and a row of b, eight bytes each.
static v128 matrix(unsigned kind, const union ir_val *a, const union ir_val *b, union ir_val c)
{
    for (unsigned e = 0; e < 4; e++)
        for (unsigned k = 0; k < 8; k++) {
            uint8_t x = a->u8[(e >> 1) * 8 + k], y = b->u8[(e & 1) * 8 + k];
            int sx = kind == LANES_SMMLA ? (int8_t)x : x, sy = kind == LANES_UMMLA ? y : (int8_t)y;
            c.u32[e] += (uint32_t)(sx * sy);
        }
    return c.v;
}

static v128 int_lanes(v128 va, v128 vb, v128 vc, uint32_t spec)
{
    union ir_val a = {.v = va}, b = {.v = vb}, c = {.v = vc}, r = {0};
    unsigned kind = spec >> 8, size = spec & VL_LANE;
    if (kind >= LANES_SMMLA)
        return matrix(kind, &a, &b, c);
    for (unsigned i = 0; i < lane_count(spec); i++)
        lane_set(&r, size, i,
                 one_lane(kind, lane_get(&a, size, i), lane_get(&b, size, i), lane_get(&c, size, i),
                          8u << size));
    return r.v;
}

const struct ir_helper arm_helper_int_lanes = {"arm_int_lanes",
                                               (void *)int_lanes,
                                               HELPER_PURE,
                                               IR_V128,
                                               4,
                                               {IR_V128, IR_V128, IR_V128, IR_I32}};
