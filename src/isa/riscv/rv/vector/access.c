// Loads and stores of vectors: whole registers and what lies together as accesses of pieces, a few
// elements elsewhere as one access each. A fault leaves vstart zero: the instruction is begun anew.
#include "isa/riscv/rv/vector/body.h"

static bool together(const struct rvv_body *x, unsigned bytes)
{
    struct ir_build *b = x->b;
    bool load = !bit(x->i->raw, 5);
    unsigned n = MAX(bytes / RVV_PIECE, 1u), part = MIN(bytes, (unsigned)RVV_PIECE), size = 0;
    ir_ref base = rv_x(x->l, x->i->rs1), v[8 * 2];
    if (n > ARRAY_SIZE(v))
        return false;
    while (1u << size < part)
        size++;
    unsigned type = size == 4 ? IR_V128 : size == 3 ? IR_I64 : IR_I32;
    unsigned reg = rv_vd(x->i->raw);
    for (unsigned k = 0; k < n; k++) {
        ir_ref at = rv_data_address(x->l, ir_addi(b, base, (int64_t)k * RVV_PIECE)), p;
        if (load) {
            p = ir_load(b, type, at, size);
            v[k] = size == 4 ? p : rvv_start_of(b, rvv_piece(x, reg, k), ir_vzext(b, p), part);
            continue;
        }
        p = rvv_piece(x, reg, k);
        if (size < 4)
            p = size >= 2 ? ir_vlow(b, type, p)
                          : ir_emit(b, IR_vgetu, IR_I32, size | VL_IMM(0), p, IR_NONE, IR_NONE);
        ir_store(b, at, p, size);
    }
    for (unsigned k = 0; load && k < n; k++)
        ir_put(b, rvv_slot(x, reg, k), v[k]);
    return true;
}

// ---- elements ----

struct elements {
    const struct rvv_body *x;
    bool load;
    unsigned n, fields;   // elements; of a segment each
    unsigned size, width; // log2 of bytes: of an element, of an index
    unsigned regs;        // of a field's group
    enum { SEGMENTS, INDEXED, STRIDED, INDEXED_ORDERED } mop;
};

// Lane n of a group, zero-extended.
static ir_ref lane_of(const struct rvv_body *x, unsigned reg, unsigned size, unsigned n)
{
    unsigned type = size == 3 ? IR_I64 : IR_I32, each = (unsigned)RVV_PIECE >> size;
    return ir_emit(x->b, IR_vgetu, type, size | VL_IMM(n % each), rvv_piece(x, reg, n / each),
                   IR_NONE, IR_NONE);
}

// Where element n is, `last` being where the one before is.
static ir_ref next_address(const struct elements *e, unsigned n, ir_ref last)
{
    const struct rvv_body *x = e->x;
    ir_ref base = rv_x(x->l, x->i->rs1);
    if (e->mop == SEGMENTS)
        return ir_addi(x->b, base, (int64_t)(n * e->fields) << e->size);
    if (e->mop == STRIDED)
        return n ? ir_add(x->b, last, rv_x(x->l, x->i->rs2)) : base;
    ir_ref offset = lane_of(x, rv_vs2(x->i->raw), e->width, n);
    return ir_add(x->b, base, e->width == 3 ? offset : ir_zext(x->b, IR_I64, offset, 32));
}

// Elements that were loaded into a field's group.
static void put_elements(const struct elements *e, unsigned reg, const ir_ref *v)
{
    const struct rvv_body *x = e->x;
    unsigned each = (unsigned)RVV_PIECE >> e->size;
    for (unsigned k = 0; k < e->n; k++) {
        unsigned s = rvv_slot(x, reg, k / each);
        if (e->size == 3 && k + 1 < e->n && k % 2 == 0) {
            ir_put(x->b, s, ir_emit(x->b, IR_vpair, IR_V128, 0, v[k], v[k + 1], IR_NONE));
            k++;
        } else {
            ir_put(x->b, s,
                   ir_v2(x->b, IR_vset, e->size | VL_IMM(k % each), ir_get(x->b, s), v[k]));
        }
    }
}

static bool one_by_one(const struct elements *e)
{
    enum { MOST = 16 };
    const struct rvv_body *x = e->x;
    struct ir_build *b = x->b;
    unsigned reg = rv_vd(x->i->raw);
    ir_ref at = IR_NONE, v[MOST];
    if (e->n * e->fields > MOST || !b->sw.scattered)
        return false;
    for (unsigned k = 0; k < e->n; k++) {
        at = next_address(e, k, at);
        for (unsigned f = 0; f < e->fields; f++) {
            ir_ref va = rv_data_address(x->l, ir_addi(b, at, (int64_t)f << e->size));
            if (e->load)
                v[f * e->n + k] = ir_load(b, e->size == 3 ? IR_I64 : IR_I32, va, e->size);
            else
                ir_store(b, va, lane_of(x, reg + f * e->regs, e->size, k), e->size);
        }
    }
    for (unsigned f = 0; e->load && f < e->fields; f++)
        put_elements(e, reg + f * e->regs, v + f * e->n);
    return true;
}

bool rvv_access(const struct rvv_body *x)
{
    static const uint8_t widths[8] = {0, 0, 0, 0, 0, 1, 2, 3};
    uint32_t raw = x->i->raw;
    unsigned whole = rv_vec_whole(x->i->id), vl = rvv_vl(x);
    struct elements e = {.x = x,
                         .load = !bit(raw, 5),
                         .n = vl,
                         .fields = 1 + (unsigned)bits(raw, 31, 29),
                         .width = widths[bits(raw, 14, 12)],
                         .mop = bits(raw, 27, 26)};
    if (whole)
        return together(x, whole * x->per_reg * RVV_PIECE);
    if (!vl || rvv_masked(x) || bit(raw, 28))
        return false;
    if (x->i->id == RV_VLM_V || x->i->id == RV_VSM_V)
        return together(x, (vl + 7) / 8);
    bool indexed = e.mop == INDEXED || e.mop == INDEXED_ORDERED;
    e.size = indexed ? x->v.sew : e.width;
    int emul = x->v.lmul + (indexed ? 0 : (int)e.width - (int)x->v.sew);
    e.regs = emul > 0 ? 1u << emul : 1;
    if (e.mop == SEGMENTS && bits(raw, 24, 20)) // only the first may fault
        return false;
    return e.mop == SEGMENTS && e.fields == 1 ? together(x, vl << e.width) : one_by_one(&e);
}
