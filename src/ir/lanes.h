// Lanes of a vector by number, for the eval_*.c files.
#pragma once

#include "ir/ir.h"

// log2 of lane bytes; results are zero-extended.
static inline uint64_t lane_get(const union ir_val *v, unsigned size, unsigned i)
{
    switch (size) {
    case VL_8:
        return v->u8[i];
    case VL_16:
        return v->u16[i];
    case VL_32:
        return v->u32[i];
    default:
        return v->u64[i];
    }
}

static inline void lane_set(union ir_val *v, unsigned size, unsigned i, uint64_t x)
{
    switch (size) {
    case VL_8:
        v->u8[i] = (uint8_t)x;
        break;
    case VL_16:
        v->u16[i] = (uint16_t)x;
        break;
    case VL_32:
        v->u32[i] = (uint32_t)x;
        break;
    default:
        v->u64[i] = x;
        break;
    }
}

// How many lanes take part.
static inline unsigned lane_count(unsigned aux)
{
    return aux & VL_SCALAR ? 1 : (aux & VL_HALF ? 8u : 16u) >> (aux & VL_LANE);
}
