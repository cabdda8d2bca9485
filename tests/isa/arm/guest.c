// The A64 side of the differential test. One function per kind of operand hazard makes a draw safe:
// addresses are set up in front of the access, branches only go forward, and encodings whose effect
// is CONSTRAINED UNPREDICTABLE are redrawn.
#include "../generate.h"
#include "state.h"

#include <signal.h>

#include "base/bits.h"
#include "isa/arm/a64_decode.h"
#include "isa/arm/arm_bits.h"

// ---- what to draw from ----

// Instructions a program cannot use, that wait, or that depend on the machine (keys, identities).
static bool drawn(struct env *e, unsigned id)
{
    const struct decode_info *i = &a64_info[id];
    static const char *const classes[] = {"udf",       "trap", "dcps",  "drps",   "eret",
                                          "eret_auth", "sys",  "pacga", "msr_imm"};
    static const char *const names[] = {"WFE", "WFI", "DSB_nXS"};
    for (unsigned n = 0; n < ARRAY_SIZE(classes); n++)
        if (!strcmp(i->cls, classes[n]))
            return false;
    for (unsigned n = 0; n < ARRAY_SIZE(names); n++)
        if (!strcmp(i->name, names[n]))
            return false;
    return true;
}

static bool is(const struct a64_insn *i, const char *cls)
{
    return !strcmp(a64_info[i->id].cls, cls);
}

// ---- making a draw safe ----

static void add(struct unit *u, uint32_t word)
{
    unit_add(u, word, 4);
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
    set_register(u, t, v & ~15u);     // the reference does not check its alignment
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

static bool make_unit(struct env *e, struct sequence *s, struct unit *u, unsigned id, struct rng *r)
{
    struct a64_insn i = {0};
    const struct decode_info *info = &a64_info[id];
    uint32_t w = ((uint32_t)rng_next(r) & ~(info->mask | info->zeros)) | info->value | info->ones;
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
        u->pointing = 1;
        add(u, 0x10000000 | i.Rn);
    } else if (is(&i, "branch") || is(&i, "branch_cond") || is(&i, "compare_branch") ||
               is(&i, "test_branch")) {
        u->pointing = 1;
    }
    if (is(&i, "literal") || is(&i, "vec_literal")) {
        u->pointing = 1;
        u->literal = 4 * (1 + rng_below(r, WINDOW_SIZE / 4 - 5));
    }
    if (is(&i, "hint") && id == A64_HINT)
        w = 0xd503201f | 0x7f0 << 1; // only hints that can never mean anything
    if (is(&i, "prefetch"))
        w |= 31;
    add(u, w);
    return true;
}

static void begin(struct env *e, struct sequence *s, struct rng *r)
{
    uint64_t *x = s->start.r;
    for (unsigned n = 0; n < 31; n++)
        x[STATE_X + n] = rng_interesting(r);
    x[STATE_SP] = WINDOW_VA + WINDOW_SIZE / 2;
    x[STATE_NZCV] = (uint64_t)rng_below(r, 16) << 28;
    for (unsigned n = 0; n < 64; n++)
        x[STATE_V + n] = rng_packed_fp(r);
    x[STATE_FPSR] = rng_below(r, 4) ? 0 : rng_next(r) & 0x0800009f;
    x[STATE_FPCR] = rng_below(r, 2) ? 0 : rng_next(r) & 0x07c80000;
}

static uint32_t point(uint32_t w, int32_t distance)
{
    struct a64_insn i;
    if (!a64_decode32(w, &i))
        return w;
    uint32_t d = (uint32_t)distance / 4;
    if (i.id == A64_ADR)
        return (w & 0x9f00001f) | (d & 0x7ffff) << 5;
    if (is(&i, "branch"))
        return (w & 0xfc000000) | (d & 0x3ffffff);
    if (is(&i, "test_branch"))
        return (w & 0xfff8001f) | (d & 0x3fff) << 5;
    return (w & 0xff00001f) | (d & 0x7ffff) << 5;
}

// ---- the CPU ----

static uint32_t signal_of(const struct env *e)
{
    if (e->fault.kind != ARM_FAULT_EXCEPTION)
        return SIGSEGV;
    return bits(e->fault.info[0], 31, 26) == EC_BRK ? SIGTRAP : SIGILL;
}

// One block of a gigabyte, normal memory.
static void map(struct env *e, struct ram *ram, uint64_t base, uint64_t table)
{
    struct arm_cpu *c = arm_cpu(e);
    const uint64_t gib = base >> 30;
    uint64_t block = gib << 30 | 1 | 1 << 10 | 3 << 8 | 1 << 6, next = (base + table + 4096) | 3;
    ram_write(ram, table, &next, sizeof next);
    ram_write(ram, table + 4096 + 8 * gib, &block, sizeof block);
    c->mair[1] = 0xff;
    c->tcr[1] = 16 | 16 << 16 | 1ull << 23 | 1 << 8 | 1 << 10 | 3 << 12 | 1ull << 37;
    c->ttbr0[1] = base + table;
    c->sctlr[1] |= 1;
    arm_state_changed(c);
}

static const struct state_part parts[] = {
    {"x", 0, 31, STATE_X, 0},
    {"sp", 31, 1, STATE_SP, 0},
    {"nzcv", 33, 1, STATE_NZCV, 0xf0000000},
    {"fpcr", 67, 1, STATE_FPCR, 0},
    {"fpsr", 66, 1, STATE_FPSR, 0},
    {"v", 34, 32, STATE_V, 0},
    {.name = NULL},
};

const struct diff_guest diff_arm = {
    .isa = &isa_aarch64,
    .model = "max",
    .reference_cpu = "max,sve=off,sme=off",
    .parts = parts,
    .info = a64_info,
    .ids = A64_IDS,
    .end = 0xd4200000, // brk #0
    .nop = 0xd503201f,
    .nop_bytes = 4,
    .drawn = drawn,
    .begin = begin,
    .unit = make_unit,
    .point = point,
    .signal = signal_of,
    .map = map,
};
