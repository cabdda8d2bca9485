// Vector cryptography: Zvkned, Zvknha, Zvknhb, Zvksed, Zvksh and Zvkg (RISC-V Cryptography
// Extensions Volume II, 1.0). Operands are element groups of 128 or 256 bits, of which vl and
// vstart count the elements. AES is here by the IR's operations; the rounds that translated code
// has inline (rv/vector/) come here only when vl is not known.
#include "isa/riscv/vec/vec.h"

#include "ir/eval.h"

union group { // of at most 256 bits
    uint32_t w[8];
    uint64_t d[4];
    uint8_t b[32];
};

// ---- which configurations are defined ----

static unsigned group_bytes(unsigned id, unsigned sew)
{
    bool wide = id == RV_VSM3ME_VV || id == RV_VSM3C_VI;
    return wide ? 32 : 4u << sew;
}

static bool sew_defined(const struct rv_cpu *c, unsigned id, unsigned sew)
{
    if (id < RV_VSHA2MS_VV || id > RV_VSHA2CL_VV)
        return sew == 2;
    return sew == 2 || (sew == 3 && rv_has(c, RV_FEAT_ZVKNHB));
}

static bool overlap(unsigned a, unsigned an, unsigned b, unsigned bn)
{
    return a < b + bn && b < a + an;
}

bool rv_vec_crypto_defined(const struct rv_cpu *c, const struct rv_insn *i,
                           const struct rv_vconfig *v)
{
    unsigned vd = rv_vd(i->raw), vs2 = rv_vs2(i->raw), vs1 = rv_vs1(i->raw);
    unsigned regs = v->lmul > 0 ? 1u << v->lmul : 1, low = regs - 1;
    unsigned bytes = v->lmul >= 0 ? (unsigned)c->vlenb << v->lmul : (unsigned)c->vlenb >> -v->lmul;
    unsigned key_regs = MAX(group_bytes(i->id, v->sew) / c->vlenb, 1u);
    if (v->vill || !sew_defined(c, i->id, v->sew) || bytes < group_bytes(i->id, v->sew) || vd & low)
        return false;
    switch (i->id) {
    case RV_VAESDM_VS ... RV_VAESZ_VS:
    case RV_VSM4R_VS:
        return !(vs2 & (key_regs - 1)) && !overlap(vd, regs, vs2, key_regs);
    case RV_VSHA2MS_VV ... RV_VSHA2CL_VV:
        return !((vs1 | vs2) & low) && vd != vs1 && vd != vs2;
    case RV_VSM3ME_VV:
        return !((vs1 | vs2) & low) && vd != vs2;
    case RV_VSM3C_VI:
        return !(vs2 & low) && vd != vs2;
    case RV_VGHSH_VV:
        return !((vs1 | vs2) & low);
    default:
        return !(vs2 & low);
    }
}

// ---- AES (FIPS 197) ----

static void aes_step(union group *state, unsigned op)
{
    union ir_val abc[3] = {0}, r = {0};
    memcpy(&abc[0], state, 16);
    ir_eval[op](NULL, 0, 0, &r, abc);
    memcpy(state, &r, 16);
}

static void add_key(union group *state, const union group *key)
{
    state->d[0] ^= key->d[0];
    state->d[1] ^= key->d[1];
}

static void aes_round(unsigned id, union group *state, const union group *key)
{
    bool last =
        id == RV_VAESEF_VV || id == RV_VAESEF_VS || id == RV_VAESDF_VV || id == RV_VAESDF_VS;
    bool decrypts =
        id == RV_VAESDM_VV || id == RV_VAESDM_VS || id == RV_VAESDF_VV || id == RV_VAESDF_VS;
    if (id != RV_VAESZ_VS)
        aes_step(state, decrypts ? IR_aesd : IR_aese);
    if (decrypts || last || id == RV_VAESZ_VS) {
        add_key(state, key);
        if (!last && id != RV_VAESZ_VS)
            aes_step(state, IR_aesimc);
        return;
    }
    aes_step(state, IR_aesmc);
    add_key(state, key);
}

static uint32_t rotl(uint32_t x, unsigned n)
{
    return n % 32 ? x << n % 32 | x >> (32 - n % 32) : x;
}

// The S-box on each byte of a word: rows are not moved where all columns are alike.
static uint32_t sub_word(uint32_t w)
{
    union group g = {.w = {w, w, w, w}};
    aes_step(&g, IR_aese);
    return g.w[0];
}

static uint32_t round_constant(unsigned n)
{
    static const uint8_t constants[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36};
    return constants[n];
}

// vaeskf1: AES-128. vaeskf2: AES-256, `from` the round key before last.
static void aes_key(bool longer, unsigned round, union group *d, const union group *current)
{
    round &= 15;
    if (longer ? round < 2 || round > 14 : !round || round > 10)
        round ^= 8;
    const union group from = longer ? *d : *current;
    uint32_t last = current->w[3], w;
    if (!longer)
        w = sub_word(rotl(last, 24)) ^ round_constant(round - 1);
    else if (round & 1)
        w = sub_word(last);
    else
        w = sub_word(rotl(last, 24)) ^ round_constant(round / 2 - 1);
    for (unsigned n = 0; n < 4; n++)
        d->w[n] = w ^= from.w[n];
}

// ---- SHA-2 (FIPS 180-4): words of 32 or 64 bits ----

struct sha {
    unsigned bits;
    uint8_t sum0[3], sum1[3], sig0[3], sig1[3]; // the last of sig is a shift
};
static const struct sha sha256 = {32, {2, 13, 22}, {6, 11, 25}, {7, 18, 3}, {17, 19, 10}},
                        sha512 = {64, {28, 34, 39}, {14, 18, 41}, {1, 8, 7}, {19, 61, 6}};

static uint64_t rotr(const struct sha *s, uint64_t x, unsigned n)
{
    return (x >> n | x << (s->bits - n)) & mask_low(s->bits);
}
static uint64_t sum(const struct sha *s, const uint8_t r[3], uint64_t x)
{
    return rotr(s, x, r[0]) ^ rotr(s, x, r[1]) ^ rotr(s, x, r[2]);
}
static uint64_t sigma(const struct sha *s, const uint8_t r[3], uint64_t x)
{
    return rotr(s, x, r[0]) ^ rotr(s, x, r[1]) ^ x >> r[2];
}

// d: words 3 to 0 of the schedule; a: 11, 10, 9, 4; b: 15, 14, -, 12. Result: 19 to 16.
static void sha_schedule(const struct sha *s, uint64_t d[4], const uint64_t a[4],
                         const uint64_t b[4])
{
    const uint64_t m = mask_low(s->bits);
    uint64_t w16 = sigma(s, s->sig1, b[2]) + a[1] + sigma(s, s->sig0, d[1]) + d[0];
    uint64_t w17 = sigma(s, s->sig1, b[3]) + a[2] + sigma(s, s->sig0, d[2]) + d[1];
    w16 &= m, w17 &= m;
    uint64_t w18 = sigma(s, s->sig1, w16) + a[3] + sigma(s, s->sig0, d[3]) + d[2];
    uint64_t w19 = sigma(s, s->sig1, w17) + b[0] + sigma(s, s->sig0, a[0]) + d[3];
    d[0] = w16, d[1] = w17, d[2] = w18 & m, d[3] = w19 & m;
}

// d: c, d, g, h from the top; a: a, b, e, f; b: schedule plus constants. Two rounds.
static void sha_compress(const struct sha *s, uint64_t d[4], const uint64_t in[4],
                         const uint64_t w[2])
{
    uint64_t a = in[3], b = in[2], e = in[1], f = in[0], c = d[3], dd = d[2], g = d[1], h = d[0];
    for (unsigned n = 0; n < 2; n++) {
        uint64_t t1 = h + sum(s, s->sum1, e) + ((e & f) ^ (~e & g)) + w[n];
        uint64_t t2 = sum(s, s->sum0, a) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = (dd + t1) & mask_low(s->bits);
        dd = c, c = b, b = a, a = (t1 + t2) & mask_low(s->bits);
    }
    d[3] = a, d[2] = b, d[1] = e, d[0] = f;
}

static void sha(struct rv_vec *v, unsigned id, uint64_t g)
{
    uint64_t d[4], a[4], b[4];
    uint8_t *to = rv_vreg(v->c, rv_vd(v->raw));
    for (unsigned n = 0; n < 4; n++) {
        d[n] = rv_vget(to, v->sew, 4 * g + n);
        a[n] = rv_vget(rv_vreg(v->c, rv_vs2(v->raw)), v->sew, 4 * g + n);
        b[n] = rv_vget(rv_vreg(v->c, rv_vs1(v->raw)), v->sew, 4 * g + n);
    }
    const struct sha *s = v->sew == 2 ? &sha256 : &sha512;
    if (id == RV_VSHA2MS_VV)
        sha_schedule(s, d, a, b);
    else
        sha_compress(s, d, a, id == RV_VSHA2CH_VV ? b + 2 : b);
    for (unsigned n = 0; n < 4; n++)
        rv_vput(to, v->sew, 4 * g + n, d[n]);
}

// ---- SM4 (GB/T 32907-2016) ----

static uint32_t sm4_sub(uint32_t x)
{
    uint32_t r = 0;
    for (unsigned n = 0; n < 32; n += 8)
        r |= (uint32_t)rv_sm4_sbox[x >> n & 0xff] << n;
    return r;
}

static uint32_t sm4_constant(unsigned n)
{
    uint32_t r = 0;
    for (unsigned k = 0; k < 4; k++)
        r = r << 8 | ((4 * n + k) * 7 & 0xff);
    return r;
}

static void sm4_keys(union group *d, const union group *from, unsigned round)
{
    uint32_t k[8];
    memcpy(k, from, 16);
    for (unsigned n = 0; n < 4; n++) {
        uint32_t s = sm4_sub(k[n + 1] ^ k[n + 2] ^ k[n + 3] ^ sm4_constant(4 * (round & 7) + n));
        k[n + 4] = k[n] ^ s ^ rotl(s, 13) ^ rotl(s, 23);
    }
    memcpy(d, k + 4, 16);
}

static void sm4_rounds(union group *d, const union group *keys)
{
    uint32_t x[8];
    memcpy(x, d, 16);
    for (unsigned n = 0; n < 4; n++) {
        uint32_t s = sm4_sub(x[n + 1] ^ x[n + 2] ^ x[n + 3] ^ keys->w[n]);
        x[n + 4] = x[n] ^ s ^ rotl(s, 2) ^ rotl(s, 10) ^ rotl(s, 18) ^ rotl(s, 24);
    }
    memcpy(d, x + 4, 16);
}

// ---- SM3 (GB/T 32905-2016): words lie big-endian in the registers ----

static void swap_words(uint32_t w[8])
{
    for (unsigned n = 0; n < 8; n++)
        w[n] = __builtin_bswap32(w[n]);
}

static void sm3_expand(union group *d, const union group *high, const union group *low)
{
    uint32_t w[24];
    memcpy(w, low, 32);
    memcpy(w + 8, high, 32);
    swap_words(w);
    swap_words(w + 8);
    for (unsigned n = 16; n < 24; n++) {
        uint32_t x = w[n - 16] ^ w[n - 9] ^ rotl(w[n - 3], 15);
        w[n] = x ^ rotl(x, 15) ^ rotl(x, 23) ^ rotl(w[n - 13], 7) ^ w[n - 6];
    }
    swap_words(w + 16);
    memcpy(d, w + 16, 32);
}

// s: A to H in s[0] to s[7].
static void sm3_round(uint32_t s[8], unsigned j, uint32_t w, uint32_t x)
{
    uint32_t t = j < 16 ? 0x79cc4519 : 0x7a879d8a, a12 = rotl(s[0], 12);
    uint32_t ss1 = rotl(a12 + s[4] + rotl(t, j), 7), ss2 = ss1 ^ a12;
    uint32_t ff = j < 16 ? s[0] ^ s[1] ^ s[2] : (s[0] & s[1]) | (s[0] & s[2]) | (s[1] & s[2]);
    uint32_t gg = j < 16 ? s[4] ^ s[5] ^ s[6] : (s[4] & s[5]) | (~s[4] & s[6]);
    uint32_t t1 = ff + s[3] + ss2 + x, t2 = gg + s[7] + ss1 + w;
    s[3] = s[2], s[2] = rotl(s[1], 9), s[1] = s[0], s[0] = t1;
    s[7] = s[6], s[6] = rotl(s[5], 19), s[5] = s[4], s[4] = t2 ^ rotl(t2, 9) ^ rotl(t2, 17);
}

static void sm3_compress(union group *d, const union group *words, unsigned round)
{
    uint32_t w[8], s[8];
    memcpy(w, words, 32);
    swap_words(w);
    // From element 0: A, B, C, D and so on.
    memcpy(s, d, 32);
    swap_words(s);
    sm3_round(s, 2 * round, w[0], w[0] ^ w[4]);
    sm3_round(s, 2 * round + 1, w[1], w[1] ^ w[5]);
    swap_words(s);
    memcpy(d, s, 32);
}

// ---- GHASH (NIST SP 800-38D): the first bit is each byte's highest ----

static void reverse_bits(union group *g)
{
    for (unsigned n = 0; n < 16; n++) {
        unsigned x = g->b[n];
        x = (x & 0x55) << 1 | (x & 0xaa) >> 1;
        x = (x & 0x33) << 2 | (x & 0xcc) >> 2;
        g->b[n] = (uint8_t)((x & 0x0f) << 4 | x >> 4);
    }
}

static void ghash(union group *d, const union group *factor)
{
    union group y = *d, h = *factor;
    uint64_t lo = 0, hi = 0;
    reverse_bits(&y);
    reverse_bits(&h);
    for (unsigned n = 0; n < 128; n++) {
        if (y.d[n / 64] >> n % 64 & 1)
            lo ^= h.d[0], hi ^= h.d[1];
        bool reduce = h.d[1] >> 63;
        h.d[1] = h.d[1] << 1 | h.d[0] >> 63;
        h.d[0] = h.d[0] << 1 ^ (reduce ? 0x87 : 0);
    }
    d->d[0] = lo;
    d->d[1] = hi;
    reverse_bits(d);
}

// ---- all of them ----

static void one_group(struct rv_vec *v, unsigned id, uint64_t g, unsigned size)
{
    union group d = {0}, a = {0}, b = {0};
    uint8_t *to = rv_vreg(v->c, rv_vd(v->raw)) + g * size;
    bool one_key = (id >= RV_VAESDM_VS && id <= RV_VAESZ_VS) || id == RV_VSM4R_VS;
    unsigned imm = rv_vs1(v->raw); // where the instruction has an immediate
    memcpy(&d, to, size);
    memcpy(&a, rv_vreg(v->c, rv_vs2(v->raw)) + (one_key ? 0 : g * size), size);
    if (id == RV_VSM3ME_VV || id == RV_VGHSH_VV)
        memcpy(&b, rv_vreg(v->c, rv_vs1(v->raw)) + g * size, size);
    switch (id) {
    case RV_VAESKF1_VI:
    case RV_VAESKF2_VI:
        aes_key(id == RV_VAESKF2_VI, imm, &d, &a);
        break;
    case RV_VSM4R_VV:
    case RV_VSM4R_VS:
        sm4_rounds(&d, &a);
        break;
    case RV_VSM4K_VI:
        sm4_keys(&d, &a, imm);
        break;
    case RV_VSM3ME_VV:
        sm3_expand(&d, &a, &b);
        break;
    case RV_VSM3C_VI:
        sm3_compress(&d, &a, imm);
        break;
    case RV_VGHSH_VV:
        add_key(&d, &b);
        ghash(&d, &a);
        break;
    case RV_VGMUL_VV:
        ghash(&d, &a);
        break;
    default:
        aes_round(id, &d, &a);
        break;
    }
    memcpy(to, &d, size);
}

void rv_vec_crypto(struct env *e, uint32_t id, uint32_t raw)
{
    struct rv_vec v;
    struct rv_cpu *c = rv_cpu(e);
    rv_vec_begin(&v, c, raw);
    unsigned size = group_bytes(id, v.sew), elements = size >> v.sew;
    if (v.vl % elements || c->vstart % elements)
        rv_raise(c, RV_CAUSE_ILLEGAL, raw);
    for (uint64_t g = c->vstart / elements; g < v.vl / elements; g++)
        if (id >= RV_VSHA2MS_VV && id <= RV_VSHA2CL_VV)
            sha(&v, id, g);
        else
            one_group(&v, id, g, size);
    rv_vec_end(&v);
}
