// Vector moves, permutations and logic, one function per operation of ops.def.
#include "ir/eval.h"
#include "ir/lanes.h"

EVAL(vzext)
{
    *result = (union ir_val){.u64 = {abc[0].u64[0], 0}};
}

EVAL(vlow)
{
    unsigned t = eval_result(types);
    *result =
        (union ir_val){.u64 = {t == IR_I32 || t == IR_F32 ? abc[0].u32[0] : abc[0].u64[0], 0}};
}

EVAL(vhalf)
{
    *result = (union ir_val){.u64 = {abc[0].u64[0], 0}};
}

EVAL(vpair)
{
    *result = (union ir_val){.u64 = {abc[0].u64[0], abc[1].u64[0]}};
}

static void fill(union ir_val *result, unsigned aux, uint64_t x)
{
    union ir_val r = {0};
    for (unsigned i = 0; i < lane_count(aux); i++)
        lane_set(&r, aux & VL_LANE, i, x);
    *result = r;
}

EVAL(vdup)
{
    fill(result, aux, abc[0].u64[0]);
}

EVAL(vduplane)
{
    fill(result, aux, lane_get(abc, aux & VL_LANE, VL_GET_IMM(aux)));
}

EVAL(vgetu)
{
    *result = (union ir_val){.u64 = {lane_get(abc, aux & VL_LANE, VL_GET_IMM(aux)), 0}};
}

EVAL(vgets)
{
    int64_t x = sign_extend(lane_get(abc, aux & VL_LANE, VL_GET_IMM(aux)), 8u << (aux & VL_LANE));
    *result = (union ir_val){.u64 = {eval_result(types) == IR_I32 ? (uint32_t)x : (uint64_t)x, 0}};
}

EVAL(vset)
{
    union ir_val r = abc[0];
    lane_set(&r, aux & VL_LANE, VL_GET_IMM(aux), abc[1].u64[0]);
    *result = r;
}

EVAL(vext)
{
    union ir_val r = {0};
    unsigned n = aux & VL_HALF ? 8 : 16;
    for (unsigned i = 0; i < n; i++) {
        unsigned from = i + VL_GET_IMM(aux);
        r.u8[i] = from < n ? abc[0].u8[from] : abc[1].u8[from - n];
    }
    *result = r;
}

// Lane `i` of the result is lane `from` of a, or of b where `second`.
#define PERMUTE(name, from_expr, second_expr)                                                      \
    EVAL(name)                                                                                     \
    {                                                                                              \
        union ir_val r = {0};                                                                      \
        unsigned n = lane_count(aux), size = aux & VL_LANE;                                        \
        for (unsigned i = 0; i < n; i++)                                                           \
            lane_set(&r, size, i, lane_get(&abc[second_expr], size, from_expr));                   \
        *result = r;                                                                               \
    }
PERMUTE(vzip1, i / 2, i & 1)
PERMUTE(vzip2, n / 2 + i / 2, i & 1)
PERMUTE(vuzp1, 2 * i % n, i >= n / 2)
PERMUTE(vuzp2, 2 * i % n + 1, i >= n / 2)
PERMUTE(vtrn1, i & ~1u, i & 1)
PERMUTE(vtrn2, i | 1, i & 1)
PERMUTE(vrev, i ^ ((1u << (VL_GET_IMM(aux) - size)) - 1), 0)
#undef PERMUTE

EVAL(vmask)
{
    uint64_t r = abc[0].u64[0];
    unsigned size = aux & VL_LANE, at = VL_GET_IMM(aux);
    for (unsigned i = 0; i < lane_count(aux) && at + i < 64; i++)
        r |= (lane_get(&abc[1], size, i) >> ((8u << size) - 1)) << (at + i);
    *result = (union ir_val){.u64 = {r, 0}};
}

EVAL(vbits)
{
    union ir_val r = {0};
    unsigned at = VL_GET_IMM(aux);
    for (unsigned i = 0; i < lane_count(aux) && at + i < 64; i++)
        lane_set(&r, aux & VL_LANE, i, -(abc[0].u64[0] >> (at + i) & 1));
    *result = r;
}

EVAL(vtbl)
{
    union ir_val r = {0};
    for (unsigned i = 0; i < (aux & VL_HALF ? 8 : 16); i++)
        r.u8[i] = abc[1].u8[i] < 16 ? abc[0].u8[abc[1].u8[i]] : 0;
    *result = r;
}

EVAL(vtbx)
{
    union ir_val r = {0};
    for (unsigned i = 0; i < (aux & VL_HALF ? 8 : 16); i++)
        r.u8[i] = abc[2].u8[i] < 16 ? abc[1].u8[abc[2].u8[i]] : abc[0].u8[i];
    *result = r;
}

#define LOGIC(name, expr)                                                                          \
    EVAL(name)                                                                                     \
    {                                                                                              \
        union ir_val r = {0};                                                                      \
        for (unsigned i = 0; i < (aux & (VL_HALF | VL_SCALAR) ? 1 : 2); i++) {                     \
            uint64_t x = abc[0].u64[i], y UNUSED = abc[1].u64[i], z UNUSED = abc[2].u64[i];        \
            r.u64[i] = expr;                                                                       \
        }                                                                                          \
        *result = r;                                                                               \
    }
LOGIC(vand, x &y)
LOGIC(vor, x | y)
LOGIC(vxor, x ^ y)
LOGIC(vandn, x & ~y)
LOGIC(vnot, ~x)
LOGIC(vbsl, (x & y) | (~x & z))
#undef LOGIC
