// The RISC-V side of the differential test: what could leave the window or loop is given a harmless
// address. Vector registers come from the end of the window and go back there, since the contexts
// of signal handlers may not have them.
#include "../generate.h"
#include "state.h"

#include <signal.h>

#include "isa/riscv/rv/lift.h"
#include "isa/riscv/vec/vec.h"

#define VECTOR_VA (WINDOW_VA + 7168)

static bool is_access(unsigned id)
{
    return !strcmp(rv_info[id].cls, "vec_load") || !strcmp(rv_info[id].cls, "vec_store");
}

static bool is(const struct rv_insn *i, const char *cls)
{
    return !strcmp(rv_info[i->id].cls, cls);
}

static unsigned xlen(const struct rv_cpu *c)
{
    return c->rv32 ? 32 : 64;
}

// An address of the window, which no LUI of a 64-bit hart reaches: half of it, shifted.
static void emit_window(struct unit *u, unsigned reg, uint32_t va)
{
    uint32_t half = va / 2;
    unit_add(u, ((half + 0x800) & 0xfffff000) | reg << 7 | 0x37, 4);    // lui
    unit_add(u, (half & 0xfff) << 20 | reg << 15 | reg << 7 | 0x13, 4); // addi
    unit_add(u, 1 << 20 | reg << 15 | 1 << 12 | reg << 7 | 0x13, 4);    // slli
    if (va & 1)
        unit_add(u, 1 << 20 | reg << 15 | reg << 7 | 0x13, 4); // addi
}

// ---- vectors: a sequence's config is vtype ----

static bool is_vector(unsigned id)
{
    return !strncmp(rv_info[id].cls, "vec_", 4);
}

// All vector registers from the end of the window or to it, by x31.
static void emit_registers(struct unit *u, const struct rv_cpu *c, bool load)
{
    emit_window(u, 31, VECTOR_VA);
    for (uint32_t n = 0; n < 32; n += 8) {
        unit_add(u, 7u << 29 | 1 << 25 | 8 << 20 | 31 << 15 | n << 7 | (load ? 0x07 : 0x27), 4);
        unit_add(u, (8u * c->vlenb) << 20 | 31 << 15 | 31 << 7 | 0x13, 4);
    }
}

static void end_with(struct env *e, struct sequence *s)
{
    static const uint16_t csrs[] = {RV_CSR_VL, RV_CSR_VTYPE, RV_CSR_VCSR, RV_CSR_VSTART};
    if (!rv_has(rv_cpu(e), RV_FEAT_V))
        return;
    for (unsigned n = 0; n < ARRAY_SIZE(csrs); n++)
        unit_add(&s->after, (uint32_t)csrs[n] << 20 | 2 << 12 | (27 + n) << 7 | 0x73, 4);
    emit_registers(&s->after, rv_cpu(e), false);
}

static void emit_vsetvli(struct unit *u, unsigned rd, unsigned rs1, unsigned vtype)
{
    unit_add(u, vtype << 20 | rs1 << 15 | 7 << 12 | rd << 7 | 0x57, 4);
}

// Sets vtype, which is returned.
static unsigned emit_config(struct unit *u, struct rng *r, const struct rv_cpu *c)
{
    static const uint8_t lmuls[] = {0, 0, 0, 1, 2, 3, 5, 6, 7};
    unsigned vtype;
    do
        vtype =
            lmuls[rng_below(r, ARRAY_SIZE(lmuls))] | rng_below(r, 4) << 3 | rng_below(r, 4) << 6;
    while (!rv_vtype_ok(c, vtype) && rng_below(r, 50));
    unsigned rd = rng_below(r, 32);
    switch (rng_below(r, 4)) {
    case 0:
        emit_vsetvli(u, rd ? rd : 5, 0, vtype);
        break;
    case 1:
        unit_add(u, rng_below(r, 70) << 20 | 6 << 7 | 0x13, 4); // addi x6, x0, ..
        emit_vsetvli(u, rd, 6, vtype);
        break;
    default:
        unit_add(u, 3u << 30 | vtype << 20 | rng_below(r, 32) << 15 | 7 << 12 | rd << 7 | 0x57, 4);
        break;
    }
    return vtype;
}

// Offsets of an indexed access made small: index & 1016, in the index's own configuration.
static bool emit_small_index(struct unit *u, const struct rv_cpu *c, unsigned set, uint32_t w)
{
    static const uint8_t widths[8] = {0, 0, 0, 0, 0, 1, 2, 3};
    unsigned width = widths[w >> 12 & 7], sew = set >> 3 & 3;
    unsigned vtype = ((set & 7) + width - sew) & 7;
    unsigned lmul = set & 7;
    int emul = (lmul < 4 ? (int)lmul : (int)lmul - 8) + (int)width - (int)sew;
    if (!width)
        return true;
    if (emul < -3 || emul > 3 || !rv_vtype_ok(c, vtype | width << 3))
        return false;
    emit_vsetvli(u, 6, 0, vtype | width << 3);
    unit_add(u, 1016u << 20 | 5 << 7 | 0x13, 4); // addi x5, x0, 1016
    unit_add(u, 9u << 26 | 1 << 25 | (w & 0x1f00000) | 5 << 15 | 4 << 12 | rv_vs2(w) << 7 | 0x57,
             4);
    emit_vsetvli(u, 6, 0, set);
    return true;
}

static bool emit_vector(const struct rv_cpu *c, struct sequence *s, struct unit *u, unsigned id,
                        struct rng *r)
{
    const struct decode_info *info = &rv_info[id];
    bool access = is_access(id);
    if (!strcmp(info->cls, "vec_set") || rng_below(r, 3))
        s->config = emit_config(u, r, c);
    if (!strcmp(info->cls, "vec_set"))
        return true;
    for (unsigned tries = 0; tries < 300; tries++) {
        uint32_t w = ((uint32_t)rng_next(r) & ~info->mask) | info->value;
        struct rv_insn i = {0};
        struct rv_vconfig config =
            rv_vconfig_of(rv_vmode_with(c->rv32 ? RV_MODE_32 : 0, (unsigned)s->config, 0));
        if (!rv_decode32(w, xlen(c), &i) || i.id != id)
            return false;
        bool defined = rv_vec_defined(c, &i, &config) && (s->reserved || rv_vtype_ok(c, s->config));
        if (!defined && (!s->reserved || rng_below(r, 3000)))
            continue;
        unsigned base = rv_vs1(w), mop = w >> 26 & 3;
        if (access && (!base || (mop == 2 && rv_vs2(w) == base)))
            continue;
        if (access && mop & 1 && !emit_small_index(u, c, (unsigned)s->config, w))
            return false;
        if (access)
            emit_window(u, base, WINDOW_VA + 3072 + rng_below(r, 1000));
        if (access && mop == 2)
            unit_add(u, ((rng_below(r, 17) - 8) & 0xfff) << 20 | rv_vs2(w) << 7 | 0x13, 4);
        unit_add(u, w, 4);
        return true;
    }
    return false;
}

// ---- drawing ----

// What is privileged ends a program, and so do cache-block operations with the reference.
static bool drawn(struct env *e, unsigned id)
{
    const struct decode_info *i = &rv_info[id];
    static const char *const classes[] = {"trap", "reservation_wait", "cache_block"};
    for (unsigned n = 0; n < ARRAY_SIZE(classes); n++)
        if (!strcmp(i->cls, classes[n]))
            return false;
    if (rv_cpu(e)->rv32 && strstr(i->name, "EI64")) // such indexes are reserved there
        return false;
    return id != RV_C_EBREAK && strcmp(i->group, "Privileged") &&
           (!i->variant || i->variant == xlen(rv_cpu(e))) &&
           (!i->feature || rv_has(rv_cpu(e), i->feature - 1));
}

// A forward jump over one instruction; w is the jump with its displacement replaced.
static bool emit_jump(struct unit *u, const struct rv_insn *i, uint32_t w, unsigned bytes)
{
    const uint32_t skipped = 0x00150513; // addi a0, a0, 1
    if (i->id == RV_JALR) {
        if (!i->rs1)
            return false;
        unit_add(u, 0x00000017 | (uint32_t)i->rs1 << 7, 4); // auipc rs1, 0
        if (bytes == 2)                                     // addi rs1, rs1, 14
            unit_add(u, 14u << 20 | (uint32_t)i->rs1 << 15 | (uint32_t)i->rs1 << 7 | 0x13, 4);
        else
            w = (w & 0xfffff) | 12u << 20;
    } else if (i->id == RV_JAL) {
        w = bytes == 2 ? (w & 0xe003) | 3 << 3 : (w & 0xfff) | 4 << 21;
    } else {
        w = bytes == 2 ? (w & 0xe383) | 3 << 3 : (w & 0x01fff07f) | 4 << 8;
    }
    unit_add(u, w, bytes);
    unit_add(u, skipped, 4);
    return true;
}

// An access with its base set to the middle of the window; the base is aligned where it must be.
static bool emit_access(struct unit *u, struct rng *r, const struct rv_insn *i, uint32_t w,
                        unsigned bytes)
{
    bool atomic = is(i, "lr") || is(i, "sc") || is(i, "amo") || is(i, "cas");
    uint32_t base = (uint32_t)i->rs1, offset = rng_below(r, 1000);
    if (!base || (is(i, "sc") && i->rs2 == base))
        return false;
    if (is(i, "cas") && !i->rd) // the reference then reads x0 as what memory held
        return false;
    offset &= atomic ? ~15u : ~0u;
    emit_window(u, base, WINDOW_VA + 4096 + offset);
    if (is(i, "sc")) { // always after an lr: the reference keeps reservations between cases
        uint32_t to = base == 7 ? 6 : 7;
        unit_add(u, 0x1000002f | (w & 0x7000) | base << 15 | to << 7, 4);
    }
    unit_add(u, w, bytes);
    return true;
}

static bool make_unit(struct env *e, struct sequence *s, struct unit *u, unsigned id, struct rng *r)
{
    static const uint16_t csrs[] = {RV_CSR_FFLAGS, RV_CSR_FRM,   RV_CSR_FCSR,
                                    RV_CSR_VCSR,   RV_CSR_VXSAT, RV_CSR_VXRM};
    const struct decode_info *info = &rv_info[id];
    unsigned n_csrs = !rv_has(rv_cpu(e), RV_FEAT_V) ? 3 : s->reserved ? 6 : 4; // of any value
    unsigned bytes = info->width / 8;
    uint32_t w = ((uint32_t)rng_next(r) & ~info->mask) | info->value;
    struct rv_insn i = {0};
    if (is_vector(id))
        return emit_vector(rv_cpu(e), s, u, id, r);
    if (bytes == 2)
        w &= 0xffff;
    const unsigned bits = xlen(rv_cpu(e));
    if (!(bytes == 2 ? rv_decode16(w, bits, &i) : rv_decode32(w, bits, &i)) || i.id != id)
        return false;
    if (i.shamt >= bits && rng_below(r, 50)) // reserved
        return false;
    if (bytes == 2)
        i = rv_expand(&i);
    if (is(&i, "jump") || is(&i, "branch"))
        return emit_jump(u, &i, w, bytes);
    if (is(&i, "load") || is(&i, "store") || is(&i, "fp_load") || is(&i, "fp_store") ||
        is(&i, "lr") || is(&i, "sc") || is(&i, "amo") || is(&i, "cas"))
        return emit_access(u, r, &i, w, bytes);
    if (is(&i, "csr"))
        w = (w & 0xfffff) | (uint32_t)csrs[rng_below(r, n_csrs)] << 20;
    if (i.rm > FP_RMM && rng_below(r, 50)) // reserved rounding modes only now and then
        w |= 7 << 12;
    unit_add(u, w, bytes);
    return true;
}

// A double, or a narrower number in its box.
static uint64_t fp_register(struct rng *r)
{
    unsigned bits = 16u << rng_below(r, 4);
    if (bits > 64)
        return rng_interesting(r);
    return rng_fp(r, bits) | (bits == 64 ? 0 : ~0ull << bits);
}

static void begin(struct env *e, struct sequence *s, struct rng *r)
{
    const struct rv_cpu *c = rv_cpu(e);
    for (unsigned n = 1; n < 32; n++)
        s->start.r[STATE_X + n] = rng_interesting(r);
    for (unsigned n = 0; n < 32; n++)
        s->start.r[STATE_F + n] = fp_register(r);
    s->start.r[STATE_FCSR] = rng_below(r, 5) << 5 | rng_below(r, 32);
    if (!rv_has(c, RV_FEAT_V))
        return;
    emit_registers(&s->before, c, true);
    unit_add(&s->before, (uint32_t)RV_CSR_VCSR << 20 | rng_below(r, 8) << 15 | 5 << 12 | 0x73, 4);
    unit_add(&s->before, (uint32_t)RV_CSR_VSTART << 20 | 5 << 12 | 0x73, 4); // csrwi
    s->config = emit_config(&s->before, r, c);
}

// ---- the CPU ----

static uint32_t signal_of(const struct env *e)
{
    if (!(e->fault.kind & RV_FAULT_EXCEPTION))
        return SIGSEGV;
    return e->fault.info[0] == RV_CAUSE_BREAKPOINT ? SIGTRAP : SIGILL;
}

static const struct state_part parts[] = {
    {"x", 0, 32, STATE_X, 0},
    {"f", 33, 32, STATE_F, 0},
    {"fcsr", 68, 1, STATE_FCSR, 0},
    {.name = NULL},
};

#define DIFF_GUEST(bits)                                                                           \
    const struct diff_guest diff_riscv##bits = {                                                   \
        .isa = &isa_riscv##bits,                                                                   \
        .model = "rv" #bits,                                                                       \
        .reference_cpu = "rv" #bits,                                                               \
        .parts = parts,                                                                            \
        .info = rv_info,                                                                           \
        .ids = RV_IDS,                                                                             \
        .end = 0x00100073, /* ebreak */                                                            \
        .nop = 0x0001,     /* c.nop */                                                             \
        .nop_bytes = 2,                                                                            \
        .drawn = drawn,                                                                            \
        .begin = begin,                                                                            \
        .end_with = end_with,                                                                      \
        .unit = make_unit,                                                                         \
        .signal = signal_of,                                                                       \
    };
DIFF_GUEST(32)
DIFF_GUEST(64)
