// See generate.h. Instructions are drawn evenly from the rows of the decode table; what could leave
// the window or loop is then given a harmless address.
#include "generate.h"

#include "isa/riscv/rv/lift.h"

uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->s += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static unsigned below(struct rng *r, unsigned n)
{
    return (unsigned)((rng_next(r) >> 32) * n >> 32);
}

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
                                     0x3ff0000000000000,
                                     0x7ff0000000000000,
                                     0x7ff8000000000001,
                                     0x7ff0000000000001,
                                     0x3f8000007f800000,
                                     0x43e0000000000000,
                                     0x41dfffffffc00000};
    switch (below(r, 4)) {
    case 0:
        return edges[below(r, ARRAY_SIZE(edges))];
    case 1:
        return rng_next(r) >> below(r, 64);
    default:
        return rng_next(r);
    }
}

// A double, or a boxed single: special ones, and exponents near each other.
static uint64_t fp_number(struct rng *r)
{
    static const uint32_t singles[] = {0x00000000, 0x80000000, 0x3f800000, 0x7f800000,
                                       0xff800000, 0x7fc00001, 0x7f800001, 0x00000001,
                                       0x00800000, 0x7f7fffff, 0x4f000000, 0x5f000000};
    switch (below(r, 5)) {
    case 0:
        return interesting(r);
    case 1:
        return 0xffffffffull << 32 | singles[below(r, ARRAY_SIZE(singles))];
    case 2:
        return 0xffffffffull << 32 | (rng_next(r) & 0x807fffff) | (100 + below(r, 60)) << 23;
    default:
        return (rng_next(r) & ~(0x7ffull << 52)) | (uint64_t)(990 + below(r, 70)) << 52;
    }
}

void generate_window(struct rng *r, uint8_t *window)
{
    for (unsigned n = 0; n < WINDOW_SIZE; n += 8) {
        uint64_t v = below(r, 2) ? interesting(r) : fp_number(r);
        memcpy(window + n, &v, 8);
    }
}

struct out {
    uint8_t *code;
    unsigned used;
};

static void emit(struct out *o, uint32_t w, unsigned bytes)
{
    memcpy(o->code + o->used, &w, bytes);
    o->used += bytes;
}

static bool is(const struct rv_insn *i, const char *cls)
{
    return !strcmp(rv_info[i->id].cls, cls);
}

// Zicond is younger than the reference, which also counts on into the high word in CTZW; what is
// privileged ends a program.
static bool drawn(unsigned id, const char *only)
{
    const struct decode_info *i = &rv_info[id];
    if (!strcmp(i->cls, "trap") || id == RV_C_EBREAK || id == RV_CTZW ||
        !strcmp(i->group, "Privileged") || i->feature == 1 + RV_FEAT_ZICOND)
        return false;
    return !only || strstr(i->name, only) || strstr(i->cls, only) || strstr(i->group, only);
}

// A forward jump over one instruction; w is the jump with its displacement replaced.
static bool emit_jump(struct out *o, const struct rv_insn *i, uint32_t w, unsigned bytes)
{
    const uint32_t skipped = 0x00150513; // addi a0, a0, 1
    if (i->id == RV_JALR) {
        if (!i->rs1)
            return false;
        emit(o, 0x00000017 | (uint32_t)i->rs1 << 7, 4); // auipc rs1, 0
        if (bytes == 2)                                 // addi rs1, rs1, 14
            emit(o, 14u << 20 | (uint32_t)i->rs1 << 15 | (uint32_t)i->rs1 << 7 | 0x13, 4);
        else
            w = (w & 0xfffff) | 12u << 20;
    } else if (i->id == RV_JAL) {
        w = bytes == 2 ? (w & 0xe003) | 3 << 3 : (w & 0xfff) | 4 << 21;
    } else {
        w = bytes == 2 ? (w & 0xe383) | 3 << 3 : (w & 0x01fff07f) | 4 << 8;
    }
    emit(o, w, bytes);
    emit(o, skipped, 4);
    return true;
}

// An access with its base set to the middle of the window; the base is aligned where it must be.
static bool emit_access(struct out *o, struct rng *r, const struct rv_insn *i, uint32_t w,
                        unsigned bytes)
{
    bool atomic = is(i, "lr") || is(i, "sc") || is(i, "amo");
    uint32_t base = (uint32_t)i->rs1, offset = below(r, 1000);
    if (!base || (is(i, "sc") && i->rs2 == base))
        return false;
    offset &= atomic ? ~7u : ~0u;
    emit(o, (WINDOW_VA + 4096) | base << 7 | 0x37, 4);        // lui base
    emit(o, offset << 20 | base << 15 | base << 7 | 0x13, 4); // addi base, base, offset
    if (is(i, "sc")) { // always after an lr: the reference keeps reservations between cases
        uint32_t to = base == 7 ? 6 : 7;
        emit(o, 0x1000002f | (w & 0x7000) | base << 15 | to << 7, 4);
    }
    emit(o, w, bytes);
    return true;
}

static bool emit_unit(struct out *o, struct rng *r, unsigned id)
{
    const struct decode_info *info = &rv_info[id];
    unsigned bytes = info->width / 8;
    uint32_t w = ((uint32_t)rng_next(r) & ~info->mask) | info->value;
    struct rv_insn i = {0};
    if (bytes == 2)
        w &= 0xffff;
    if (!(bytes == 2 ? rv_decode16(w, &i) : rv_decode32(w, &i)) || i.id != id)
        return false;
    if (bytes == 2)
        i = rv_expand(&i);
    if (is(&i, "jump") || is(&i, "branch"))
        return emit_jump(o, &i, w, bytes);
    if (is(&i, "load") || is(&i, "store") || is(&i, "fp_load") || is(&i, "fp_store") ||
        is(&i, "lr") || is(&i, "sc") || is(&i, "amo"))
        return emit_access(o, r, &i, w, bytes);
    if (is(&i, "csr"))
        w = (w & 0xfffff) | (1 + below(r, 3)) << 20;
    if (i.rm > FP_RMM && below(r, 50)) // reserved rounding modes only now and then
        w |= 7 << 12;
    emit(o, w, bytes);
    return true;
}

void generate(struct rng *r, const char *only, unsigned units, struct diff_state *start,
              uint8_t *code)
{
    struct out o = {.code = code};
    *start = (struct diff_state){.fcsr = (uint32_t)below(r, 5) << 5 | below(r, 32)};
    for (unsigned n = 1; n < 32; n++)
        start->x[n] = interesting(r);
    for (unsigned n = 0; n < 32; n++)
        start->f[n] = fp_number(r);
    for (unsigned n = 0; n < units;) {
        unsigned id = 1 + below(r, RV_IDS - 1);
        n += drawn(id, only) && emit_unit(&o, r, id);
    }
    emit(&o, 0x00100073, 4); // ebreak
}
