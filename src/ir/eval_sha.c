// The SHA-1 and SHA-256 operations (FIPS 180-4, sections 6.1 and 6.2): rounds, and steps of the
// message schedule, on vectors of 32-bit words.
#include "ir/eval.h"

static uint32_t rol(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static uint32_t ror(uint32_t x, unsigned n)
{
    return rol(x, 32 - n);
}

static uint32_t choose(uint32_t x, uint32_t y, uint32_t z)
{
    return (x & y) | (~x & z);
}

static uint32_t majority(uint32_t x, uint32_t y, uint32_t z)
{
    return (x & y) | (x & z) | (y & z);
}

EVAL(sha1r4)
{
    static const uint32_t k[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    unsigned quarter = VL_GET_IMM(aux) & 3;
    uint32_t x[5] = {abc[0].u32[3], abc[0].u32[2], abc[0].u32[1], abc[0].u32[0]}; // A to E
    for (unsigned i = 4; i-- > 0;) {
        uint32_t f = quarter == 0   ? choose(x[1], x[2], x[3])
                     : quarter == 2 ? majority(x[1], x[2], x[3])
                                    : x[1] ^ x[2] ^ x[3];
        uint32_t top = rol(x[0], 5) + f + x[4] + k[quarter] + abc[1].u32[i];
        x[1] = rol(x[1], 30);
        memmove(x + 1, x, 16);
        x[0] = top;
    }
    *result = (union ir_val){.u32 = {x[3], x[2], x[1], x[0]}};
}

EVAL(sha256r2)
{
    uint32_t x[8]; // A to H
    for (unsigned i = 0; i < 4; i++) {
        x[(i & 1) + (i & 2) * 2] = abc[1].u32[3 - i];
        x[(i & 1) + (i & 2) * 2 + 2] = abc[0].u32[3 - i];
    }
    for (unsigned i = 0; i < 2; i++) {
        uint32_t t = x[7] + (ror(x[4], 6) ^ ror(x[4], 11) ^ ror(x[4], 25)) +
                     choose(x[4], x[5], x[6]) + abc[2].u32[i];
        uint32_t top =
            t + (ror(x[0], 2) ^ ror(x[0], 13) ^ ror(x[0], 22)) + majority(x[0], x[1], x[2]);
        memmove(x + 1, x, 28);
        x[4] += t;
        x[0] = top;
    }
    *result = (union ir_val){.u32 = {x[5], x[4], x[1], x[0]}};
}

EVAL(sha256m1)
{
    union ir_val r;
    for (unsigned i = 0; i < 4; i++) {
        uint32_t x = i < 3 ? abc[0].u32[i + 1] : abc[1].u32[0];
        r.u32[i] = abc[0].u32[i] + (ror(x, 7) ^ ror(x, 18) ^ x >> 3);
    }
    *result = r;
}

EVAL(sha256m2)
{
    union ir_val r;
    for (unsigned i = 0; i < 4; i++) {
        uint32_t x = i < 2 ? abc[1].u32[i + 2] : r.u32[i - 2];
        r.u32[i] = abc[0].u32[i] + (ror(x, 17) ^ ror(x, 19) ^ x >> 10);
    }
    *result = r;
}
