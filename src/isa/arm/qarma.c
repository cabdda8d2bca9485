// QARMA-64, sigma 2, five rounds each way, as pointer authentication uses it (R. Avanzi, "The QARMA
// Block Cipher Family", 2017; DDI 0487, ComputePACQARMA5). A 64-bit block is sixteen cells of four
// bits, cell 0 the most significant.
#include "isa/arm/qarma.h"

static unsigned cell(uint64_t block, unsigned n)
{
    return block >> (60 - 4 * n) & 15;
}

static uint64_t permute(uint64_t block, const uint8_t order[16])
{
    uint64_t out = 0;
    for (unsigned n = 0; n < 16; n++)
        out = out << 4 | cell(block, order[n]);
    return out;
}

static uint64_t substitute(uint64_t block, const uint8_t box[16])
{
    uint64_t out = 0;
    for (unsigned n = 0; n < 16; n++)
        out = out << 4 | box[cell(block, n)];
    return out;
}

static const uint8_t shuffle[16] = {0, 11, 6, 13, 10, 1, 12, 7, 5, 14, 3, 8, 15, 4, 9, 2};
static const uint8_t unshuffle[16] = {0, 5, 15, 10, 13, 8, 2, 7, 11, 14, 4, 1, 6, 3, 9, 12};
static const uint8_t sbox[16] = {11, 6, 8, 15, 12, 0, 9, 14, 3, 7, 4, 5, 13, 2, 1, 10};
static const uint8_t unsbox[16] = {5, 14, 13, 8, 10, 11, 1, 9, 2, 6, 15, 0, 4, 12, 7, 3};
static const uint8_t tweak_order[16] = {6, 5, 14, 15, 0, 1, 2, 3, 7, 12, 13, 4, 8, 9, 10, 11};
static const uint8_t tweak_unorder[16] = {4, 5, 6, 7, 11, 1, 0, 8, 12, 13, 14, 15, 9, 10, 2, 3};
// Cells whose bits are also stepped when the tweak is updated.
static const uint64_t tweak_stepped = 0xff0ff000f00f0f00;

// The matrix circ(0, r, r^2, r) over the four cells of each column; r rotates a cell left. Its own
// inverse. A row is 16 bits, so that rows rotate as halfwords of the block.
static uint64_t mix(uint64_t x)
{
    uint64_t once = (x << 1 & 0xeeeeeeeeeeeeeeee) | (x >> 3 & 0x1111111111111111);
    uint64_t twice = (x << 2 & 0xcccccccccccccccc) | (x >> 2 & 0x3333333333333333);
    return (once << 16 | once >> 48) ^ (twice << 32 | twice >> 32) ^ (once << 48 | once >> 16);
}

static uint64_t tweak_forward(uint64_t t)
{
    t = permute(t, tweak_order);
    uint64_t top = (t ^ t >> 1) & 0x1111111111111111;
    uint64_t stepped = top << 3 | (t >> 1 & 0x7777777777777777);
    return (t & ~tweak_stepped) | (stepped & tweak_stepped);
}

static uint64_t tweak_backward(uint64_t t)
{
    uint64_t low = (t >> 3 ^ t) & 0x1111111111111111;
    uint64_t stepped = low | (t << 1 & 0xeeeeeeeeeeeeeeee);
    return permute((t & ~tweak_stepped) | (stepped & tweak_stepped), tweak_unorder);
}

uint64_t arm_qarma5(uint64_t block, uint64_t tweak, uint64_t w0, uint64_t k0)
{
    static const uint64_t round_constants[5] = {0, 0x13198a2e03707344, 0xa4093822299f31d0,
                                                0x082efa98ec4e6c89, 0x452821e638d01377};
    const uint64_t alpha = 0xc0ac29b7c97c50dd;
    uint64_t w1 = (w0 >> 1 | w0 << 63) ^ w0 >> 63;
    uint64_t x = block ^ w0;
    for (unsigned n = 0; n < 5; n++) {
        x ^= k0 ^ tweak ^ round_constants[n];
        if (n)
            x = mix(permute(x, shuffle));
        x = substitute(x, sbox);
        tweak = tweak_forward(tweak);
    }
    x = substitute(mix(permute(x ^ w1 ^ tweak, shuffle)), sbox);
    x = mix(permute(x, shuffle)) ^ k0;
    x = permute(mix(substitute(permute(x, unshuffle), unsbox)), unshuffle);
    x ^= w0 ^ tweak;
    for (unsigned n = 5; n-- > 0;) {
        x = substitute(x, unsbox);
        if (n)
            x = permute(mix(x), unshuffle);
        tweak = tweak_backward(tweak);
        x ^= k0 ^ tweak ^ round_constants[n] ^ alpha;
    }
    return x ^ w1;
}
