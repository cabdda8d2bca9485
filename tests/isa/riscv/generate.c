// See generate.h. Instructions are drawn evenly from the rows of the decode table; what could leave
// the window or loop is then given a harmless address.
#include "generate.h"

#include "isa/riscv/vec/vec.h"
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

static bool is_access(unsigned id)
{
    return !strcmp(rv_info[id].cls, "vec_load") || !strcmp(rv_info[id].cls, "vec_store");
}

static bool is(const struct rv_insn *i, const char *cls)
{
    return !strcmp(rv_info[i->id].cls, cls);
}

// ---- vectors ----

// The configuration that a sequence is in, and a hart to ask what is defined in it.
struct vector {
    unsigned vtype;
    struct rv_cpu hart;
};

static bool is_vector(unsigned id)
{
    return !strncmp(rv_info[id].cls, "vec_", 4);
}

static void emit_window(struct out *o, unsigned reg, uint32_t va)
{
    emit(o, ((va + 0x800) & 0xfffff000) | reg << 7 | 0x37, 4);    // lui
    emit(o, (va & 0xfff) << 20 | reg << 15 | reg << 7 | 0x13, 4); // addi
}

// All vector registers from the end of the window or to it, by x31.
static void emit_registers(struct out *o, const struct vector *v, bool load)
{
    emit_window(o, 31, VECTOR_VA);
    for (uint32_t n = 0; n < 32; n += 8) {
        emit(o, 7u << 29 | 1 << 25 | 8 << 20 | 31 << 15 | n << 7 | (load ? 0x07 : 0x27), 4);
        emit(o, (8u * v->hart.vlenb) << 20 | 31 << 15 | 31 << 7 | 0x13, 4);
    }
}

static void emit_vector_end(struct out *o, const struct vector *v)
{
    static const uint16_t csrs[] = {RV_CSR_VL, RV_CSR_VTYPE, RV_CSR_VCSR, RV_CSR_VSTART};
    for (unsigned n = 0; n < ARRAY_SIZE(csrs); n++)
        emit(o, (uint32_t)csrs[n] << 20 | 2 << 12 | (27 + n) << 7 | 0x73, 4);
    emit_registers(o, v, false);
}

static void emit_vsetvli(struct out *o, unsigned rd, unsigned rs1, unsigned vtype)
{
    emit(o, vtype << 20 | rs1 << 15 | 7 << 12 | rd << 7 | 0x57, 4);
}

static void emit_config(struct out *o, struct rng *r, struct vector *v)
{
    static const uint8_t lmuls[] = {0, 0, 0, 1, 2, 3, 5, 6, 7};
    do
        v->vtype = lmuls[below(r, ARRAY_SIZE(lmuls))] | below(r, 4) << 3 | below(r, 4) << 6;
    while (!rv_vtype_ok(&v->hart, v->vtype) && below(r, 50));
    unsigned rd = below(r, 32);
    switch (below(r, 4)) {
    case 0:
        emit_vsetvli(o, rd ? rd : 5, 0, v->vtype);
        break;
    case 1:
        emit(o, below(r, 70) << 20 | 6 << 7 | 0x13, 4); // addi x6, x0, ..
        emit_vsetvli(o, rd, 6, v->vtype);
        break;
    default:
        emit(o, 3u << 30 | v->vtype << 20 | below(r, 32) << 15 | 7 << 12 | rd << 7 | 0x57, 4);
        break;
    }
}

// Offsets of an indexed access made small: index & 1016, in the index's own configuration.
static bool emit_small_index(struct out *o, const struct vector *v, uint32_t w)
{
    static const uint8_t widths[8] = {0, 0, 0, 0, 0, 1, 2, 3};
    unsigned width = widths[w >> 12 & 7], sew = v->vtype >> 3 & 3;
    unsigned vtype = ((v->vtype & 7) + width - sew) & 7;
    unsigned lmul = v->vtype & 7;
    int emul = (lmul < 4 ? (int)lmul : (int)lmul - 8) + (int)width - (int)sew;
    if (!width)
        return true;
    if (emul < -3 || emul > 3 || !rv_vtype_ok(&v->hart, vtype | width << 3))
        return false;
    emit_vsetvli(o, 6, 0, vtype | width << 3);
    emit(o, 1016u << 20 | 5 << 7 | 0x13, 4); // addi x5, x0, 1016
    emit(o, 9u << 26 | 1 << 25 | (w & 0x1f00000) | 5 << 15 | 4 << 12 | rv_vs2(w) << 7 | 0x57, 4);
    emit_vsetvli(o, 6, 0, v->vtype);
    return true;
}

static bool emit_vector(struct out *o, struct rng *r, struct vector *v, unsigned id)
{
    const struct decode_info *info = &rv_info[id];
    bool access = is_access(id);
    if (!strcmp(info->cls, "vec_set") || below(r, 3))
        emit_config(o, r, v);
    if (!strcmp(info->cls, "vec_set"))
        return true;
    for (unsigned tries = 0; tries < 300; tries++) {
        uint32_t w = ((uint32_t)rng_next(r) & ~info->mask) | info->value;
        struct rv_insn i = {0};
        struct rv_vconfig config = rv_vconfig_of(rv_vmode_with(0, v->vtype, 0));
        if (!rv_decode32(w, &i) || i.id != id)
            return false;
        if (!rv_vec_defined(&v->hart, &i, &config) && below(r, 3000))
            continue;
        unsigned base = rv_vs1(w), mop = w >> 26 & 3;
        if (access && (!base || (mop == 2 && rv_vs2(w) == base)))
            continue;
        if (access && mop & 1 && !emit_small_index(o, v, w))
            return false;
        if (access)
            emit_window(o, base, WINDOW_VA + 3072 + below(r, 1000));
        if (access && mop == 2)
            emit(o, ((below(r, 17) - 8) & 0xfff) << 20 | rv_vs2(w) << 7 | 0x13, 4);
        emit(o, w, 4);
        return true;
    }
    return false;
}

static bool is_old(unsigned feature)
{
    static const uint8_t old[] = {RV_FEAT_M,   RV_FEAT_A,     RV_FEAT_F,       RV_FEAT_D,
                                  RV_FEAT_C,   RV_FEAT_ZBA,   RV_FEAT_ZBB,     RV_FEAT_ZBC,
                                  RV_FEAT_ZBS, RV_FEAT_ZICSR, RV_FEAT_ZIFENCEI};
    for (unsigned n = 0; n < ARRAY_SIZE(old); n++)
        if (feature == 1u + old[n])
            return true;
    return !feature;
}

// Older references count on into the high word in CTZW; what is privileged ends a program, and so
// do cache-block operations with the reference.
static bool drawn(unsigned id, const char *only, bool vectors, bool newest)
{
    const struct decode_info *i = &rv_info[id];
    if (!strcmp(i->cls, "trap") || id == RV_C_EBREAK || id == RV_CTZW ||
        !strcmp(i->group, "Privileged") || !strcmp(i->cls, "reservation_wait") ||
        !strcmp(i->cls, "cache_block"))
        return false;
    if (!newest && !is_old(i->feature))
        return false;
    if (is_vector(id) && !vectors)
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
    bool atomic = is(i, "lr") || is(i, "sc") || is(i, "amo") || is(i, "cas");
    uint32_t base = (uint32_t)i->rs1, offset = below(r, 1000);
    if (!base || (is(i, "sc") && i->rs2 == base))
        return false;
    if (is(i, "cas") && !i->rd) // the reference then reads x0 as what memory held
        return false;
    offset &= atomic ? ~15u : ~0u;
    emit(o, (WINDOW_VA + 4096) | base << 7 | 0x37, 4);        // lui base
    emit(o, offset << 20 | base << 15 | base << 7 | 0x13, 4); // addi base, base, offset
    if (is(i, "sc")) { // always after an lr: the reference keeps reservations between cases
        uint32_t to = base == 7 ? 6 : 7;
        emit(o, 0x1000002f | (w & 0x7000) | base << 15 | to << 7, 4);
    }
    emit(o, w, bytes);
    return true;
}

static bool emit_unit(struct out *o, struct rng *r, struct vector *v, unsigned id)
{
    static const uint16_t csrs[] = {RV_CSR_FFLAGS, RV_CSR_FRM,  RV_CSR_FCSR,
                                    RV_CSR_VXSAT,  RV_CSR_VXRM, RV_CSR_VCSR};
    const struct decode_info *info = &rv_info[id];
    unsigned bytes = info->width / 8;
    uint32_t w = ((uint32_t)rng_next(r) & ~info->mask) | info->value;
    struct rv_insn i = {0};
    if (is_vector(id))
        return emit_vector(o, r, v, id);
    if (bytes == 2)
        w &= 0xffff;
    if (!(bytes == 2 ? rv_decode16(w, &i) : rv_decode32(w, &i)) || i.id != id)
        return false;
    if (bytes == 2)
        i = rv_expand(&i);
    if (is(&i, "jump") || is(&i, "branch"))
        return emit_jump(o, &i, w, bytes);
    if (is(&i, "load") || is(&i, "store") || is(&i, "fp_load") || is(&i, "fp_store") ||
        is(&i, "lr") || is(&i, "sc") || is(&i, "amo") || is(&i, "cas"))
        return emit_access(o, r, &i, w, bytes);
    if (is(&i, "csr"))
        w = (w & 0xfffff) | (uint32_t)csrs[below(r, v->hart.vlenb ? 6 : 3)] << 20;
    if (i.rm > FP_RMM && below(r, 50)) // reserved rounding modes only now and then
        w |= 7 << 12;
    emit(o, w, bytes);
    return true;
}

void generate(struct rng *r, const char *only, unsigned units, unsigned vlen, bool newest,
              struct diff_state *start, uint8_t *code)
{
    struct out o = {.code = code};
    struct vector v = {.hart = {.vlenb = (uint16_t)(vlen / 8)}};
    memset(v.hart.features, 0xff, sizeof v.hart.features);
    *start = (struct diff_state){.fcsr = (uint32_t)below(r, 5) << 5 | below(r, 32)};
    for (unsigned n = 1; n < 32; n++)
        start->x[n] = interesting(r);
    for (unsigned n = 0; n < 32; n++)
        start->f[n] = fp_number(r);
    if (vlen) {
        emit_registers(&o, &v, true);
        emit(&o, (uint32_t)RV_CSR_VCSR << 20 | below(r, 8) << 15 | 5 << 12 | 0x73, 4); // csrwi
        emit(&o, (uint32_t)RV_CSR_VSTART << 20 | 5 << 12 | 0x73, 4);
        emit_config(&o, r, &v);
    }
    for (unsigned n = 0; n < units;) {
        unsigned id = 1 + below(r, RV_IDS - 1);
        n += drawn(id, only, vlen, newest) && emit_unit(&o, r, &v, id);
    }
    if (vlen)
        emit_vector_end(&o, &v);
    emit(&o, 0x00100073, 4); // ebreak
}
