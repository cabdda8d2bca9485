// Scalar cryptography and its bit manipulation: Zbkb, Zbkx, Zknd, Zkne, Zknh, Zksed, Zksh (RISC-V
// Instruction Set Manual, volume I, chapters 29 and 30). AES works on the halves of a block as the
// IR's AES operations see the whole; the S-boxes of key schedules are functions.
#include "isa/riscv/rv/lift.h"

static uint64_t permute(uint64_t x, uint64_t y, unsigned bits_each)
{
    uint64_t r = 0, mask = mask_low(bits_each);
    for (unsigned n = 0; n < 64; n += bits_each) {
        uint64_t k = y >> n & mask;
        r |= (k < 64 / bits_each ? x >> k * bits_each & mask : 0) << n;
    }
    return r;
}
static uint64_t permute4(uint64_t x, uint64_t y)
{
    return permute(x, y, 4);
}
static uint64_t permute8(uint64_t x, uint64_t y)
{
    return permute(x, y, 8);
}

static uint8_t rotl8(uint8_t x, unsigned n)
{
    return (uint8_t)(x << n | x >> (8 - n));
}

// Multiplication of two bytes modulo `poly` (its low eight bits).
static uint8_t field_mul(uint8_t x, uint8_t y, uint8_t poly)
{
    uint8_t r = 0;
    for (; y; y >>= 1, x = (uint8_t)(x << 1 ^ (x & 0x80 ? poly : 0)))
        r ^= y & 1 ? x : 0;
    return r;
}
static uint8_t field_inverse(uint8_t x, uint8_t poly) // x^254
{
    uint8_t r = 1;
    for (unsigned n = 0; n < 7; n++) {
        x = field_mul(x, x, poly);
        r = field_mul(r, x, poly);
    }
    return r;
}
static uint8_t aes_sbox(uint8_t x)
{
    uint8_t v = field_inverse(x, 0x1b);
    return v ^ rotl8(v, 1) ^ rotl8(v, 2) ^ rotl8(v, 3) ^ rotl8(v, 4) ^ 0x63;
}
const uint8_t rv_sm4_sbox[256] = {
    // GB/T 32907-2016
    0xd6, 0x90, 0xe9, 0xfe, 0xcc, 0xe1, 0x3d, 0xb7, 0x16, 0xb6, 0x14, 0xc2, 0x28, 0xfb, 0x2c, 0x05,
    0x2b, 0x67, 0x9a, 0x76, 0x2a, 0xbe, 0x04, 0xc3, 0xaa, 0x44, 0x13, 0x26, 0x49, 0x86, 0x06, 0x99,
    0x9c, 0x42, 0x50, 0xf4, 0x91, 0xef, 0x98, 0x7a, 0x33, 0x54, 0x0b, 0x43, 0xed, 0xcf, 0xac, 0x62,
    0xe4, 0xb3, 0x1c, 0xa9, 0xc9, 0x08, 0xe8, 0x95, 0x80, 0xdf, 0x94, 0xfa, 0x75, 0x8f, 0x3f, 0xa6,
    0x47, 0x07, 0xa7, 0xfc, 0xf3, 0x73, 0x17, 0xba, 0x83, 0x59, 0x3c, 0x19, 0xe6, 0x85, 0x4f, 0xa8,
    0x68, 0x6b, 0x81, 0xb2, 0x71, 0x64, 0xda, 0x8b, 0xf8, 0xeb, 0x0f, 0x4b, 0x70, 0x56, 0x9d, 0x35,
    0x1e, 0x24, 0x0e, 0x5e, 0x63, 0x58, 0xd1, 0xa2, 0x25, 0x22, 0x7c, 0x3b, 0x01, 0x21, 0x78, 0x87,
    0xd4, 0x00, 0x46, 0x57, 0x9f, 0xd3, 0x27, 0x52, 0x4c, 0x36, 0x02, 0xe7, 0xa0, 0xc4, 0xc8, 0x9e,
    0xea, 0xbf, 0x8a, 0xd2, 0x40, 0xc7, 0x38, 0xb5, 0xa3, 0xf7, 0xf2, 0xce, 0xf9, 0x61, 0x15, 0xa1,
    0xe0, 0xae, 0x5d, 0xa4, 0x9b, 0x34, 0x1a, 0x55, 0xad, 0x93, 0x32, 0x30, 0xf5, 0x8c, 0xb1, 0xe3,
    0x1d, 0xf6, 0xe2, 0x2e, 0x82, 0x66, 0xca, 0x60, 0xc0, 0x29, 0x23, 0xab, 0x0d, 0x53, 0x4e, 0x6f,
    0xd5, 0xdb, 0x37, 0x45, 0xde, 0xfd, 0x8e, 0x2f, 0x03, 0xff, 0x6a, 0x72, 0x6d, 0x6c, 0x5b, 0x51,
    0x8d, 0x1b, 0xaf, 0x92, 0xbb, 0xdd, 0xbc, 0x7f, 0x11, 0xd9, 0x5c, 0x41, 0x1f, 0x10, 0x5a, 0xd8,
    0x0a, 0xc1, 0x31, 0x88, 0xa5, 0xcd, 0x7b, 0xbd, 0x2d, 0x74, 0xd0, 0x12, 0xb8, 0xe5, 0xb4, 0xb0,
    0x89, 0x69, 0x97, 0x4a, 0x0c, 0x96, 0x77, 0x7e, 0x65, 0xb9, 0xf1, 0x09, 0xc5, 0x6e, 0xc6, 0x84,
    0x18, 0xf0, 0x7d, 0xec, 0x3a, 0xdc, 0x4d, 0x20, 0x79, 0xee, 0x5f, 0x3e, 0xd7, 0xcb, 0x39, 0x48,
};

static uint64_t key_sub(uint64_t x, uint32_t round)
{
    uint32_t w = (uint32_t)(x >> 32), r = 0;
    if (round < 10)
        w = w >> 8 | w << 24;
    for (unsigned n = 0; n < 32; n += 8)
        r |= (uint32_t)aes_sbox((uint8_t)(w >> n)) << n;
    uint8_t constant = 1;
    for (unsigned n = 0; n < round; n++)
        constant = field_mul(constant, 2, 0x1b);
    r ^= round < 10 ? constant : 0;
    return (uint64_t)r << 32 | r;
}

static uint32_t rotl32(uint32_t x, unsigned n)
{
    return n ? x << n | x >> (32 - n) : x;
}
static uint32_t sm4(uint32_t x, uint32_t y, uint32_t bs_key)
{
    unsigned at = 8 * (bs_key & 3);
    uint32_t s = rv_sm4_sbox[(uint8_t)(y >> at)], t;
    if (bs_key & 4)
        t = s ^ (s & 7) << 29 ^ (s & 0xfe) << 7 ^ (s & 1) << 23 ^ (s & 0xf8) << 13;
    else
        t = s ^ s << 8 ^ s << 2 ^ s << 18 ^ (s & 0x3f) << 26 ^ (s & 0xc0) << 10;
    return x ^ rotl32(t, at);
}

static uint8_t aes_inverse_sbox(uint8_t x)
{
    x = rotl8(x, 1) ^ rotl8(x, 3) ^ rotl8(x, 6) ^ 0x05;
    return field_inverse(x, 0x1b);
}
// aes32*: one byte of rs2 through the S-box, and its column where columns are mixed, into rs1.
enum { AES32_INVERSE = 4, AES32_MIX = 8 };
static uint32_t aes32(uint32_t x, uint32_t y, uint32_t bs_how)
{
    static const uint8_t mix[2][4] = {{2, 1, 1, 3}, {14, 9, 13, 11}};
    unsigned at = 8 * (bs_how & 3);
    bool inverse = bs_how & AES32_INVERSE;
    uint8_t s = (uint8_t)(y >> at);
    s = inverse ? aes_inverse_sbox(s) : aes_sbox(s);
    uint32_t v = s;
    for (unsigned n = 0; n < 4 && bs_how & AES32_MIX; n++)
        v = (n ? v : 0) | (uint32_t)field_mul(s, mix[inverse][n], 0x1b) << 8 * n;
    return x ^ rotl32(v, at);
}
// Bits of the halves alternate.
static uint32_t zip(uint32_t x)
{
    uint32_t r = 0;
    for (unsigned n = 0; n < 16; n++)
        r |= (x >> n & 1) << 2 * n | (x >> (n + 16) & 1) << (2 * n + 1);
    return r;
}
static uint32_t unzip(uint32_t x)
{
    uint32_t r = 0;
    for (unsigned n = 0; n < 16; n++)
        r |= (x >> 2 * n & 1) << n | (x >> (2 * n + 1) & 1) << (n + 16);
    return r;
}

static const struct ir_helper aes32_helper = {"aes32", (void *)aes32,           HELPER_PURE, IR_I32,
                                              3,       {IR_I32, IR_I32, IR_I32}};
static const struct ir_helper zip_helper = {"zip", (void *)zip, HELPER_PURE, IR_I32, 1, {IR_I32}};
static const struct ir_helper unzip_helper = {"unzip", (void *)unzip, HELPER_PURE, IR_I32,
                                              1,       {IR_I32}};
static const struct ir_helper permute4_helper = {"xperm4", (void *)permute4, HELPER_PURE, IR_I64,
                                                 2,        {IR_I64, IR_I64}};
static const struct ir_helper permute8_helper = {"xperm8", (void *)permute8, HELPER_PURE, IR_I64,
                                                 2,        {IR_I64, IR_I64}};
static const struct ir_helper key_helper = {"aes64ks1i", (void *)key_sub, HELPER_PURE, IR_I64,
                                            2,           {IR_I64, IR_I32}};
static const struct ir_helper sm4_helper = {"sm4",  (void *)sm4, HELPER_PURE,
                                            IR_I32, 3,           {IR_I32, IR_I32, IR_I32}};

// Half of a round on the block rs2:rs1.
static ir_ref aes_round(struct lift *l, const struct rv_insn *i, unsigned sub, unsigned mix)
{
    struct ir_build *b = l->b;
    ir_ref v = ir_emit(b, IR_vpair, IR_V128, 0, rv_x(l, i->rs1), rv_x(l, i->rs2), IR_NONE);
    v = ir_v2(b, sub, 0, v, ir_const(b, IR_V128, 0));
    return ir_vlow(b, IR_I64, mix ? ir_v1(b, mix, 0, v) : v);
}

static ir_ref key_mix(struct lift *l, const struct rv_insn *i) // aes64ks2
{
    struct ir_build *b = l->b;
    ir_ref x = ir_shri(b, rv_x(l, i->rs1), 32), y = rv_x(l, i->rs2);
    ir_ref lo = ir_xor(b, x, ir_zext(b, IR_I64, y, 32));
    ir_ref hi = ir_xor(b, lo, ir_shri(b, y, 32));
    return ir_or(b, ir_zext(b, IR_I64, lo, 32), ir_shli(b, hi, 32));
}

// XOR of two rotations and a third, or a shift.
static ir_ref sigma(struct ir_build *b, ir_ref x, unsigned r1, unsigned r2, unsigned n, bool shift)
{
    unsigned type = ir_type_of(b, x);
    ir_ref last = shift ? ir_shri(b, x, n) : ir_rotr(b, x, ir_const(b, type, n));
    ir_ref v = ir_rotr(b, x, ir_const(b, type, r1));
    return ir_xor(b, ir_xor(b, v, ir_rotr(b, x, ir_const(b, type, r2))), last);
}

static ir_ref hash(struct lift *l, const struct rv_insn *i)
{
    struct ir_build *b = l->b;
    ir_ref w = rv_w(l, i->rs1), x = rv_x(l, i->rs1);
    switch (i->id) {
    case RV_SHA256SUM0:
        return sigma(b, w, 2, 13, 22, false);
    case RV_SHA256SUM1:
        return sigma(b, w, 6, 11, 25, false);
    case RV_SHA256SIG0:
        return sigma(b, w, 7, 18, 3, true);
    case RV_SHA256SIG1:
        return sigma(b, w, 17, 19, 10, true);
    case RV_SHA512SUM0:
        return sigma(b, x, 28, 34, 39, false);
    case RV_SHA512SUM1:
        return sigma(b, x, 14, 18, 41, false);
    case RV_SHA512SIG0:
        return sigma(b, x, 1, 8, 7, true);
    case RV_SHA512SIG1:
        return sigma(b, x, 19, 61, 6, true);
    case RV_SM3P0:
        return ir_xor(b, w, ir_xor(b, ir_rotr(b, w, ir_i32(b, 23)), ir_rotr(b, w, ir_i32(b, 15))));
    default: // SM3P1
        return ir_xor(b, w, ir_xor(b, ir_rotr(b, w, ir_i32(b, 17)), ir_rotr(b, w, ir_i32(b, 9))));
    }
}

// A word of SHA-512's functions out of the halves of their operand: rs1 is the half that the word
// asked for is, rs2 the other.
static ir_ref hash_halves(struct lift *l, const struct rv_insn *i)
{
    struct ir_build *b = l->b;
    static const struct {
        uint8_t r1, r2, r3; // r3: 0, or of a shift, which for the high word has nothing to take in
        bool shift;
    } f[] = {[RV_SHA512SUM0R - RV_SHA512SUM0R] = {28, 34, 39, false},
             [RV_SHA512SUM1R - RV_SHA512SUM0R] = {14, 18, 41, false},
             [RV_SHA512SIG0L - RV_SHA512SUM0R] = {1, 8, 7, false},
             [RV_SHA512SIG0H - RV_SHA512SUM0R] = {1, 8, 7, true},
             [RV_SHA512SIG1L - RV_SHA512SUM0R] = {19, 61, 6, false},
             [RV_SHA512SIG1H - RV_SHA512SUM0R] = {19, 61, 6, true}};
    unsigned n = i->id - RV_SHA512SUM0R;
    ir_ref lo = ir_zext(b, IR_I64, rv_x(l, i->rs1), 32);
    ir_ref x = ir_or(b, lo, ir_shli(b, rv_x(l, i->rs2), 32));
    ir_ref last = f[n].shift ? ir_shri(b, lo, f[n].r3) : ir_rotr(b, x, ir_i64(b, f[n].r3));
    ir_ref v = ir_xor(b, ir_rotr(b, x, ir_i64(b, f[n].r1)), ir_rotr(b, x, ir_i64(b, f[n].r2)));
    return ir_trunc(b, ir_xor(b, v, last));
}

static ir_ref packed(struct lift *l, const struct rv_insn *i, unsigned half)
{
    struct ir_build *b = l->b;
    ir_ref lo = ir_zext(b, IR_I64, rv_x(l, i->rs1), half);
    ir_ref hi = ir_zext(b, IR_I64, rv_x(l, i->rs2), half);
    return ir_or(b, lo, ir_shli(b, hi, half));
}

void rv_lift_alu_crypto(struct lift *l, const struct rv_insn *i)
{
    struct ir_build *b = l->b;
    ir_ref v;
    switch (i->id) {
    case RV_PACK:
        v = rv_narrow(l) ? packed(l, i, 16) : packed(l, i, 32);
        break;
    case RV_PACKH:
        v = packed(l, i, 8);
        break;
    case RV_PACKW:
        v = ir_trunc(b, packed(l, i, 16));
        break;
    case RV_BREV8:
        v = ir_bswap(b, ir_bitrev(b, rv_x(l, i->rs1)));
        break;
    case RV_XPERM4:
    case RV_XPERM8:
        v = ir_callv(b, i->id == RV_XPERM4 ? &permute4_helper : &permute8_helper,
                     rv_address(l, rv_x(l, i->rs1)), rv_x(l, i->rs2));
        break;
    case RV_AES64DS:
        v = aes_round(l, i, IR_aesd, 0);
        break;
    case RV_AES64DSM:
        v = aes_round(l, i, IR_aesd, IR_aesimc);
        break;
    case RV_AES64ES:
        v = aes_round(l, i, IR_aese, 0);
        break;
    case RV_AES64ESM:
        v = aes_round(l, i, IR_aese, IR_aesmc);
        break;
    case RV_AES64IM:
        v = ir_vlow(b, IR_I64, ir_v1(b, IR_aesimc, 0, ir_vzext(b, rv_x(l, i->rs1))));
        break;
    case RV_AES64KS1I:
        v = ir_callv(b, &key_helper, rv_x(l, i->rs1), ir_i32(b, i->rnum));
        break;
    case RV_AES64KS2:
        v = key_mix(l, i);
        break;
    case RV_SM4ED:
    case RV_SM4KS:
        v = ir_callv(b, &sm4_helper, rv_w(l, i->rs1), rv_w(l, i->rs2),
                     ir_i32(b, i->bs | (i->id == RV_SM4KS ? 4u : 0)));
        break;
    case RV_AES32DSI:
    case RV_AES32DSMI:
    case RV_AES32ESI:
    case RV_AES32ESMI: {
        bool inverse = i->id == RV_AES32DSI || i->id == RV_AES32DSMI;
        bool mixed = i->id == RV_AES32DSMI || i->id == RV_AES32ESMI;
        uint32_t how = i->bs | (inverse ? AES32_INVERSE : 0) | (mixed ? AES32_MIX : 0);
        v = ir_callv(b, &aes32_helper, rv_w(l, i->rs1), rv_w(l, i->rs2), ir_i32(b, how));
        break;
    }
    case RV_ZIP:
    case RV_UNZIP:
        v = ir_callv(b, i->id == RV_ZIP ? &zip_helper : &unzip_helper, rv_w(l, i->rs1));
        break;
    case RV_SHA512SUM0R ... RV_SHA512SIG1H:
        v = hash_halves(l, i);
        break;
    default:
        v = hash(l, i);
        break;
    }
    rv_set(l, i->rd, v);
}
