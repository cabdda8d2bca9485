// SHA-512 instructions (FIPS 180-4 through DDI 0487's shared pseudocode, J1.3): two rounds, or a
// step of the message schedule, on 128-bit registers.
#include "isa/arm/simd/simd.h"

static uint64_t ror64(uint64_t x, unsigned n)
{
    return x >> n | x << (64 - n);
}

static void sha512_hash(union ir_val *d, const union ir_val *n, const union ir_val *m)
{
    const uint64_t *x = n->u64, *y = m->u64;
    uint64_t high = (y[1] & x[0]) ^ (~y[1] & x[1]);
    high += (ror64(y[1], 14) ^ ror64(y[1], 18) ^ ror64(y[1], 41)) + d->u64[1];
    uint64_t t = high + y[0];
    uint64_t low = (t & y[1]) ^ (~t & x[0]);
    low += (ror64(t, 14) ^ ror64(t, 18) ^ ror64(t, 41)) + d->u64[0];
    d->u64[0] = low;
    d->u64[1] = high;
}

static uint64_t sigma0(uint64_t x)
{
    return ror64(x, 28) ^ ror64(x, 34) ^ ror64(x, 39);
}

static void sha512_hash2(union ir_val *d, const union ir_val *n, const union ir_val *m)
{
    uint64_t x = n->u64[0], y0 = m->u64[0], y1 = m->u64[1];
    uint64_t high = ((x & y1) ^ (x & y0) ^ (y1 & y0)) + sigma0(y0) + d->u64[1];
    uint64_t low = ((high & y0) ^ (high & y1) ^ (y1 & y0)) + sigma0(high) + d->u64[0];
    d->u64[0] = low;
    d->u64[1] = high;
}

static void sha512_schedule(union ir_val *d, const union ir_val *n, const union ir_val *m,
                            bool second)
{
    const uint64_t in[2] = {second ? n->u64[0] : d->u64[1], second ? n->u64[1] : n->u64[0]};
    for (unsigned e = 0; e < 2; e++) {
        uint64_t x = in[e];
        d->u64[e] += second ? (ror64(x, 19) ^ ror64(x, 61) ^ x >> 6) + m->u64[e]
                            : ror64(x, 1) ^ ror64(x, 8) ^ x >> 7;
    }
}

static v128 crypto(v128 vd, v128 vn, v128 vm, uint32_t spec)
{
    union ir_val d = {.v = vd}, n = {.v = vn}, m = {.v = vm};
    unsigned kind = spec >> 8;
    switch (kind) {
    case CRYPTO_SHA512H:
        sha512_hash(&d, &n, &m);
        break;
    case CRYPTO_SHA512H2:
        sha512_hash2(&d, &n, &m);
        break;
    default:
        sha512_schedule(&d, &n, &m, kind == CRYPTO_SHA512SU1);
    }
    return d.v;
}

const struct ir_helper arm_helper_crypto = {
    "arm_crypto", (void *)crypto, HELPER_PURE, IR_V128, 4, {IR_V128, IR_V128, IR_V128, IR_I32}};
