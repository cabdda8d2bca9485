// Immediates that A64 instructions encode: DecodeBitMasks and its relatives (DDI 0487, J1.3 shared
// pseudocode), used by the decoder's conditions, the disassembler and the lifter.
#pragma once

#include "base/bits.h"

// log2 of the element size, or -1 when N:imms is reserved.
static inline int a64_bitmask_element(unsigned sf, unsigned n, unsigned imms)
{
    unsigned v = n << 6 | (~imms & 63);
    if (v < 2 || (n && !sf))
        return -1;
    int len = (int)log2_floor(v);
    unsigned levels = (1u << len) - 1;
    return (imms & levels) == levels ? -1 : len;
}

static inline bool a64_bitmask_valid(unsigned sf, unsigned n, unsigned imms)
{
    return a64_bitmask_element(sf, n, imms) >= 0;
}

// The mask a logical immediate stands for; N:imms must be valid.
static inline uint64_t a64_bitmask(unsigned sf, unsigned n, unsigned immr, unsigned imms)
{
    unsigned len = (unsigned)a64_bitmask_element(sf, n, imms) & 7, size = 1u << len;
    unsigned ones = (imms & (size - 1)) + 1, rotate = immr & (size - 1);
    uint64_t v = mask_low(ones);
    if (rotate)
        v = (v >> rotate | v << (size - rotate)) & mask_low(size);
    for (unsigned w = size; w < 64; w *= 2)
        v |= v << w;
    return sf ? v : (uint32_t)v;
}

// Whether assemblers write this ORR immediate as a move wide (MoveWidePreferred).
static inline bool a64_move_wide_preferred(unsigned sf, unsigned n, unsigned immr, unsigned imms)
{
    unsigned width = sf ? 64 : 32;
    if (sf ? !n : n || (imms & 32))
        return false;
    if (imms < 16)
        return (-immr & 15) <= 15 - imms;
    if (imms >= width - 15)
        return (immr & 15) <= imms - (width - 15);
    return false;
}
