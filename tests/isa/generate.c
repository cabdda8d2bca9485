// See generate.h. Instructions are drawn evenly from the rows of the decode table; one function per
// kind of operand hazard then makes the draw safe: addresses are set up in front of the access,
// branches only go forward, and encodings whose effect is CONSTRAINED UNPREDICTABLE are redrawn.
#include "generate.h"

#include "base/bits.h"
#include "isa/arm/a64_decode.h"

uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->s += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

// Values that matter are drawn as often as arbitrary ones.
static uint64_t interesting(struct rng *r)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     ~0ull,
                                     0x7fffffffffffffff,
                                     0x8000000000000000,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     0x100000000,
                                     0xff,
                                     0x8000,
                                     0x3ff0000000000000,
                                     0x7ff0000000000000,
                                     0x7ff8000000000001,
                                     0x7ff0000000000001,
                                     0x3f8000007f800000,
                                     0x7fc000017f800001,
                                     0x0000000100000001,
                                     0x7c003c007e017c01};
    switch (rng_below(r, 4)) {
    case 0:
        return edges[rng_below(r, ARRAY_SIZE(edges))];
    case 1:
        return rng_next(r) >> rng_below(r, 64);
    default:
        return rng_next(r);
    }
}

// A floating-point number of 16, 32 or 64 bits: special ones, exponents near the limits or near
// each other, fractions of few digits.
static uint64_t fp_number(struct rng *r, unsigned bits)
{
    unsigned exp_bits = bits == 16 ? 5 : bits == 32 ? 8 : 11, frac_bits = bits - 1 - exp_bits;
    uint64_t max = mask_low(exp_bits), exp = rng_next(r) & max, frac = rng_next(r);
    switch (rng_below(r, 5)) {
    case 0:
        exp = rng_below(r, 2) ? rng_below(r, 3) : max - rng_below(r, 3);
        break;
    case 1:
    case 2:
        exp = max / 2 + rng_below(r, bits == 16 ? 10 : 70) - 5;
        break;
    default:
        break;
    }
    if (rng_below(r, 2))
        frac = rng_below(r, 2) ? ~0ull << rng_below(r, frac_bits + 1) : rng_below(r, 4);
    return (rng_next(r) & 1) << (bits - 1) | (exp & max) << frac_bits |
           (frac & mask_low(frac_bits));
}

static uint64_t vector_half(struct rng *r)
{
    unsigned bits = 16u << rng_below(r, 4);
    uint64_t v = 0;
    if (bits > 64)
        return interesting(r);
    for (unsigned at = 0; at < 64; at += bits)
        v |= fp_number(r, bits) << at;
    return v;
}

void generate_window(uint8_t *window, struct rng *r)
{
    for (unsigned n = 0; n < WINDOW_SIZE; n += 8) {
        uint64_t v = interesting(r);
        memcpy(window + n, &v, 8);
    }
}

// ---- what to draw from ----

// Instructions a program cannot use, that wait, or that depend on the machine (keys, identities).
static bool excluded(const struct decode_info *i)
{
    static const char *const classes[] = {"udf",       "trap", "dcps",  "drps",   "eret",
                                          "eret_auth", "sys",  "pacga", "msr_imm"};
    static const char *const names[] = {"WFE", "WFI", "DSB_nXS"};
    for (unsigned n = 0; n < ARRAY_SIZE(classes); n++)
        if (!strcmp(i->cls, classes[n]))
            return true;
    for (unsigned n = 0; n < ARRAY_SIZE(names); n++)
        if (!strcmp(i->name, names[n]))
            return true;
    return false;
}

void pool_fill(struct pool *p, const char *only)
{
    p->n = 0;
    for (unsigned id = 1; id < A64_IDS; id++) {
        const struct decode_info *i = &a64_info[id];
        bool wanted =
            !only || strstr(i->name, only) || strstr(i->cls, only) || strstr(i->group, only);
        if (wanted && !excluded(i))
            p->ids[p->n++] = (uint16_t)id;
    }
}

static bool is(const struct a64_insn *i, const char *cls)
{
    return !strcmp(a64_info[i->id].cls, cls);
}

// ---- making a draw safe ----

static void add(struct unit *u, uint32_t word)
{
    u->words[u->n++] = word;
}

// MOVZ and MOVK of a 32-bit value.
static void set_register(struct unit *u, unsigned n, uint32_t v)
{
    add(u, 0xd2800000 | (v & 0xffff) << 5 | n);
    add(u, 0xf2a00000 | (v >> 16) << 5 | n);
}

static void set_base(struct unit *u, unsigned n, uint32_t v, struct rng *r, uint32_t avoid)
{
    if (n != 31) {
        set_register(u, n, v);
        return;
    }
    unsigned t;
    do
        t = rng_below(r, 31);
    while (avoid >> t & 1);
    set_register(u, t, v);
    add(u, 0x91000000 | t << 5 | 31); // mov sp, xt
}

struct access {
    bool any;     // is a memory access at all
    bool aligned; // must be
    bool loads;   // writes Rt (and Rt2)
    bool pair;    // has Rt2
    bool writes_base;
    bool status; // Rs is a status register
    bool index;  // Rm is an index
};

static struct access access_of(const struct a64_insn *i)
{
    static const char *const plain[] = {"pair",     "pair_signed",  "ldst_imm12", "ldst_imm9",
                                        "ldst_reg", "vec_pair",     "vec_imm12",  "vec_imm9",
                                        "vec_reg",  "vec_multiple", "vec_single", "vec_replicate"};
    static const char *const ordered[] = {"exclusive", "exclusive_pair", "ordered", "cas",
                                          "casp",      "ldapr",          "atomic",  "rcpc_imm"};
    struct access a = {0};
    const char *name = a64_info[i->id].name;
    for (unsigned n = 0; n < ARRAY_SIZE(plain); n++)
        a.any |= is(i, plain[n]);
    for (unsigned n = 0; n < ARRAY_SIZE(ordered); n++)
        a.aligned |= is(i, ordered[n]);
    a.any |= a.aligned;
    bool vector = !strncmp(a64_info[i->id].cls, "vec_", 4);
    a.pair = is(i, "pair") || is(i, "pair_signed") || is(i, "exclusive_pair") || is(i, "vec_pair");
    a.loads = vector ? i->L : name[0] == 'L';
    a.writes_base = strstr(name, "_post") || strstr(name, "_pre");
    a.status = !strncmp(name, "STX", 3);
    a.index =
        is(i, "ldst_reg") || is(i, "vec_reg") ||
        ((is(i, "vec_multiple") || is(i, "vec_single") || is(i, "vec_replicate")) && a.writes_base);
    return a;
}

static bool unpredictable(const struct a64_insn *i, const struct access *a)
{
    bool vector = !strncmp(a64_info[i->id].cls, "vec_", 4);
    if (a->writes_base && !vector && i->Rn != 31 &&
        (i->Rt == i->Rn || (a->pair && i->Rt2 == i->Rn)))
        return true;
    if (a->pair && a->loads && i->Rt == i->Rt2)
        return true;
    if (a->status &&
        (i->Rs == i->Rt || (i->Rs == i->Rn && i->Rn != 31) || (a->pair && i->Rs == i->Rt2)))
        return true;
    // X30 and XZR as a pair: the reference writes SP.
    if (is(i, "casp") && (i->Rs == 30 || i->Rt == 30))
        return true;
    return a->index && i->Rm != 31 && i->Rm == i->Rn;
}

// Fills what comes before an access; returns the instruction, perhaps with a smaller offset.
static uint32_t prepare_access(struct unit *u, const struct a64_insn *i, const struct access *a,
                               struct rng *r)
{
    uint32_t w = i->raw, base = WINDOW_VA + WINDOW_SIZE / 2 - 512;
    base += a->aligned ? rng_below(r, 64) * 16 : rng_below(r, 1024);
    if (is(i, "rcpc_imm"))
        w &= ~(0xfu << 12) & ~(1u << 20); // aligned, not negative
    if (is(i, "ldst_imm12") || is(i, "vec_imm12"))
        w &= ~(0xf80u << 10); // offsets below 128 accesses
    uint32_t avoid = 1u << i->Rt | (a->pair ? 1u << i->Rt2 : 0) | 1u << i->Rs | 1u << i->Rm;
    set_base(u, i->Rn, base, r, avoid);
    if (a->index && i->Rm != 31) {
        bool negative = rng_below(r, 2) && i->option != 2;
        uint32_t v = rng_below(r, 200);
        if (negative)
            add(u, 0x92800000 | v << 5 | i->Rm); // movn
        else
            add(u, 0xd2800000 | v << 5 | i->Rm);
    }
    return w;
}

// A load-exclusive from the same address in front of a store-exclusive, that it may succeed.
static void add_load_exclusive(struct unit *u, uint32_t store, struct rng *r)
{
    unsigned t, t2, rn = store >> 5 & 31, rt = store & 31, rs = store >> 16 & 31;
    unsigned rt2 = store >> 10 & 31;
    uint32_t taken = 1u << rn | 1u << rt | 1u << rs | 1u << rt2 | 1u << 31;
    do {
        t = rng_below(r, 31);
        t2 = rng_below(r, 31);
    } while ((taken >> t & 1) || (taken >> t2 & 1) || t == t2);
    uint32_t load = (store & ~(0x1fu << 16 | 0x1fu << 10 | 0x1fu)) | 1u << 22 | 0x1fu << 16 | t;
    add(u, load | (store >> 21 & 1 ? t2 : 31) << 10);
}

// Keys differ between machines, so a signature never outlives its unit: a pointer is signed and at
// once checked again. False: not one of these classes, or to be redrawn.
static bool make_signed(struct unit *u, const struct a64_insn *i, struct rng *r)
{
    uint32_t w = i->raw, pointer = (uint32_t)rng_next(r);
    unsigned rd = i->Rd;
    if (is(i, "pauth")) {
        const uint32_t check = 1u << 12;
        if (rd == 31 || (!i->Z && i->Rn == rd))
            return false;
        set_register(u, rd, pointer);
        add(u, w & ~check);
        add(u, w | check);
    } else if (is(i, "pauth_hint")) {
        const uint32_t check = 1u << 7;
        if (i->id == A64_XPACLRI) {
            add(u, w);
            return true;
        }
        set_register(u, i->id == A64_PAC_1716 || i->id == A64_AUT_1716 ? 17 : 30, pointer);
        add(u, w & ~check);
        add(u, w | check);
    } else if (is(i, "branch_auth") || is(i, "ret_auth")) {
        bool ret = is(i, "ret_auth"), zero = !ret && !i->Z;
        unsigned rn = ret ? 30 : i->Rn, rm = ret ? 31 : i->Rm;
        if (rn == 31 || rn == rm)
            return false;
        add(u, 0x10000060 | rn); // adr: behind the branch
        add(u, 0xdac10000 | (zero ? 1u << 13 | 31 << 5 : rm << 5) | (unsigned)i->M << 10 | rn);
        add(u, w);
        add(u, 0xdac143e0 | rn); // xpaci
    } else if (is(i, "ldra")) {
        if (i->Rn == 31 || i->Rn == i->Rt)
            return false;
        set_register(u, i->Rn, WINDOW_VA + 1024);
        add(u, 0xdac10000 | 1u << 13 | 31 << 5 | (2u + i->M) << 10 | i->Rn);
        add(u, w & ~(1u << 22 | 1u << 20)); // offsets from 0 to 2040
        add(u, 0xdac147e0 | i->Rn);         // xpacd
    } else {
        return false;
    }
    return true;
}

// The registers of user level that are the same everywhere, with values they can hold.
static void make_sysreg(struct unit *u, const struct a64_insn *i, struct rng *r)
{
    static const struct {
        uint32_t bits, writable;
    } regs[] = {{0x1b4200, 0xf0000000}, {0x1b4400, 0x07c80000}, {0x1b4420, 0x0800009f}};
    unsigned n = rng_below(r, ARRAY_SIZE(regs));
    if (!i->L && i->Rt != 31)
        set_register(u, i->Rt, (uint32_t)rng_next(r) & regs[n].writable);
    add(u, 0xd5000000 | (unsigned)i->L << 21 | regs[n].bits | i->Rt);
}

// Where the reference departs from the manual: it gives the scalar half-precision FCVTZS with
// fraction bits 32 bits of result.
static bool reference_errs(const struct a64_insn *i)
{
    return i->id == A64_FCVTZS_fs && i->immh < 4;
}

static bool make_unit(struct unit *u, unsigned id, struct rng *r)
{
    struct a64_insn i = {0};
    const struct decode_info *info = &a64_info[id];
    uint32_t w = ((uint32_t)rng_next(r) & ~(info->mask | info->zeros)) | info->value | info->ones;
    *u = (struct unit){.id = id};
    if (!a64_decode32(w, &i) || i.id != id || reference_errs(&i))
        return false;
    bool keyed = is(&i, "pauth") || is(&i, "pauth_hint") || is(&i, "branch_auth") ||
                 is(&i, "ret_auth") || is(&i, "ldra");
    if (keyed)
        return make_signed(u, &i, r);
    if (is(&i, "sysreg")) {
        make_sysreg(u, &i, r);
        return true;
    }
    struct access a = access_of(&i);
    if (a.any) {
        if (unpredictable(&i, &a))
            return false;
        w = prepare_access(u, &i, &a, r);
        if (a.status && rng_below(r, 4))
            add_load_exclusive(u, w, r);
    }
    if (is(&i, "branch_reg")) {
        // The address of the target goes into the register: ADR, patched when placed.
        if (i.Rn == 31)
            return false;
        u->branch = 1;
        add(u, 0x10000000 | i.Rn);
    } else if (is(&i, "branch") || is(&i, "branch_cond") || is(&i, "compare_branch") ||
               is(&i, "test_branch")) {
        u->branch = 1;
    }
    if (is(&i, "literal") || is(&i, "vec_literal"))
        u->literal = 1 + rng_below(r, WINDOW_SIZE / 4 - 4);
    if (is(&i, "hint") && id == A64_HINT)
        w = 0xd503201f | 0x7f0 << 1; // only hints that can never mean anything
    if (is(&i, "prefetch"))
        w |= 31;
    add(u, w);
    return true;
}

void generate(struct sequence *s, const struct pool *p, struct rng *r, unsigned units)
{
    memset(s, 0, sizeof *s);
    s->n = MIN(units, (unsigned)MAX_UNITS);
    for (unsigned n = 0; n < s->n; n++) {
        while (!make_unit(&s->units[n], p->ids[rng_below(r, p->n)], r))
            ;
        s->units[n].target = n + 1 + rng_below(r, MIN(3u, s->n - n));
    }
    for (unsigned n = 0; n < 31; n++)
        s->start.x[n] = interesting(r);
    s->start.sp = WINDOW_VA + WINDOW_SIZE / 2;
    s->start.nzcv = (uint64_t)rng_below(r, 16) << 28;
    for (unsigned n = 0; n < 32; n++) {
        s->start.v[n][0] = vector_half(r);
        s->start.v[n][1] = vector_half(r);
    }
    s->start.fpsr = rng_below(r, 4) ? 0 : (uint32_t)rng_next(r) & 0x0800009f;
    s->start.fpcr = rng_below(r, 2) ? 0 : (uint32_t)rng_next(r) & 0x07c80000;
}

// ---- placing ----

static uint32_t branch_to(uint32_t w, int32_t words)
{
    struct a64_insn i;
    if (!a64_decode32(w, &i))
        return w;
    uint32_t d = (uint32_t)words;
    if (i.id == A64_ADR)
        return (w & 0x9f00001f) | (d & 0x7ffff) << 5;
    if (is(&i, "branch"))
        return (w & 0xfc000000) | (d & 0x3ffffff);
    if (is(&i, "test_branch"))
        return (w & 0xfff8001f) | (d & 0x3fff) << 5;
    return (w & 0xff00001f) | (d & 0x7ffff) << 5;
}

void sequence_place(const struct sequence *s, uint64_t va, uint32_t drop, uint32_t *code)
{
    unsigned start[MAX_UNITS + 1] = {0};
    for (unsigned n = 0; n < s->n; n++)
        start[n + 1] = start[n] + s->units[n].n;
    for (unsigned n = 0; n < s->n; n++) {
        const struct unit *u = &s->units[n];
        for (unsigned k = 0; k < u->n; k++) {
            uint32_t w = u->words[k];
            if (u->branch == k + 1)
                w = branch_to(w, (int32_t)start[u->target] - (int32_t)(start[n] + k));
            if (u->literal)
                w = branch_to(w, (int32_t)((WINDOW_VA - (int64_t)va) / 4 + u->literal - 1) -
                                     (int32_t)(start[n] + k));
            code[start[n] + k] = drop >> n & 1 ? 0xd503201f : w;
        }
    }
    code[start[s->n]] = 0xd4200000; // brk #0
}
