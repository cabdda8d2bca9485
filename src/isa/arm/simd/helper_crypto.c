// SHA-1, SHA-256 and SHA-512 instructions (FIPS 180-4 through DDI 0487's shared pseudocode,
// J1.3): four rounds, or a step of the message schedule, on 128-bit registers.
#include "isa/arm/simd/simd.h"

static uint32_t rol(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static uint32_t ror(uint32_t x, unsigned n)
{
    return rol(x, 32 - n);
}

static uint64_t ror64(uint64_t x, unsigned n)
{
    return x >> n | x << (64 - n);
}

static uint32_t choose(uint32_t x, uint32_t y, uint32_t z)
{
    return (x & y) | (~x & z);
}

static uint32_t majority(uint32_t x, uint32_t y, uint32_t z)
{
    return (x & y) | (x & z) | (y & z);
}

static void sha1_rounds(uint32_t *x, uint32_t y, const uint32_t *w, unsigned kind)
{
    for (unsigned e = 0; e < 4; e++) {
        uint32_t t = kind == CRYPTO_SHA1C   ? choose(x[1], x[2], x[3])
                     : kind == CRYPTO_SHA1M ? majority(x[1], x[2], x[3])
                                            : x[1] ^ x[2] ^ x[3];
        y += rol(x[0], 5) + t + w[e];
        uint32_t top = x[3];
        x[3] = x[2];
        x[2] = rol(x[1], 30);
        x[1] = x[0];
        x[0] = y;
        y = top;
    }
}

// x: a..d, y: e..h; one of them is the result.
static void sha256_rounds(uint32_t *x, uint32_t *y, const uint32_t *w)
{
    for (unsigned e = 0; e < 4; e++) {
        uint32_t t =
            y[3] + (ror(y[0], 6) ^ ror(y[0], 11) ^ ror(y[0], 25)) + choose(y[0], y[1], y[2]) + w[e];
        uint32_t d = x[3] + t;
        uint32_t a =
            t + (ror(x[0], 2) ^ ror(x[0], 13) ^ ror(x[0], 22)) + majority(x[0], x[1], x[2]);
        memmove(x + 1, x, 12);
        memmove(y + 1, y, 12);
        x[0] = a;
        y[0] = d;
    }
}

static void sha256_schedule1(union ir_val *d, const union ir_val *n, const union ir_val *m)
{
    const uint32_t t0[4] = {n->u32[1], n->u32[2], n->u32[3], m->u32[0]};
    uint32_t t1[4] = {m->u32[2], m->u32[3]};
    for (unsigned e = 0; e < 4; e++) {
        uint32_t s = ror(t1[e], 17) ^ ror(t1[e], 19) ^ t1[e] >> 10;
        d->u32[e] += s + t0[e];
        if (e < 2)
            t1[e + 2] = d->u32[e];
    }
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

static void schedule(union ir_val *d, const union ir_val *n, const union ir_val *m, unsigned kind)
{
    union ir_val r = {0};
    switch (kind) {
    case CRYPTO_SHA1SU0:
        r.u64[0] = d->u64[1] ^ d->u64[0] ^ m->u64[0];
        r.u64[1] = n->u64[0] ^ d->u64[1] ^ m->u64[1];
        break;
    case CRYPTO_SHA1H:
        r.u32[0] = rol(n->u32[0], 30);
        break;
    case CRYPTO_SHA1SU1:
        for (unsigned e = 0; e < 4; e++)
            r.u32[e] = rol(d->u32[e] ^ (e < 3 ? n->u32[e + 1] : 0), 1);
        r.u32[3] ^= rol(r.u32[0], 1);
        break;
    default: // CRYPTO_SHA256SU0
        for (unsigned e = 0; e < 4; e++) {
            uint32_t t = e < 3 ? d->u32[e + 1] : n->u32[0];
            r.u32[e] = d->u32[e] + (ror(t, 7) ^ ror(t, 18) ^ t >> 3);
        }
    }
    *d = r;
}

static v128 crypto(v128 vd, v128 vn, v128 vm, uint32_t spec)
{
    union ir_val d = {.v = vd}, n = {.v = vn}, m = {.v = vm};
    unsigned kind = spec >> 8;
    switch (kind) {
    case CRYPTO_SHA1C:
    case CRYPTO_SHA1P:
    case CRYPTO_SHA1M:
        sha1_rounds(d.u32, n.u32[0], m.u32, kind);
        break;
    case CRYPTO_SHA256H:
        sha256_rounds(d.u32, n.u32, m.u32);
        break;
    case CRYPTO_SHA256H2:
        sha256_rounds(n.u32, d.u32, m.u32);
        break;
    case CRYPTO_SHA256SU1:
        sha256_schedule1(&d, &n, &m);
        break;
    case CRYPTO_SHA512H:
        sha512_hash(&d, &n, &m);
        break;
    case CRYPTO_SHA512H2:
        sha512_hash2(&d, &n, &m);
        break;
    case CRYPTO_SHA512SU0:
    case CRYPTO_SHA512SU1:
        sha512_schedule(&d, &n, &m, kind == CRYPTO_SHA512SU1);
        break;
    default:
        schedule(&d, &n, &m, kind);
    }
    return d.v;
}

const struct ir_helper arm_helper_crypto = {
    "arm_crypto", (void *)crypto, HELPER_PURE, IR_V128, 4, {IR_V128, IR_V128, IR_V128, IR_I32}};
