// Vector instructions as vector operations of the IR: where vstart is zero and vl is known to be a
// power of two of bytes, so that a group is whole pieces of 16 bytes, or the start of one. Of
// another vl, where the group is short: all of it, and lanes behind vl are as if masked. Such lanes
// keep what vd held; floating point does not see them, for they may raise no flags. Everything else
// is a call.
#include "isa/riscv/rv/vector/body.h"

// ---- pieces ----

ir_ref rvv_constant(struct ir_build *b, uint64_t lo, uint64_t hi)
{
    if (lo == hi)
        return ir_const(b, IR_V128, lo);
    return ir_emit(b, IR_vpair, IR_V128, 0, ir_i64(b, lo), ir_i64(b, hi), IR_NONE);
}

ir_ref rvv_start_of(struct ir_build *b, ir_ref old, ir_ref v, unsigned bytes)
{
    switch (bytes) {
    case 16:
        return v;
    case 8:
        return ir_v2(b, IR_vset, VL_64 | VL_IMM(0), old, ir_vlow(b, IR_I64, v));
    case 4:
        return ir_v2(b, IR_vset, VL_32 | VL_IMM(0), old, ir_vlow(b, IR_I32, v));
    default: {
        unsigned lane = bytes == 2 ? VL_16 : VL_8;
        ir_ref low = ir_emit(b, IR_vgetu, IR_I32, lane | VL_IMM(0), v, IR_NONE, IR_NONE);
        return ir_v2(b, IR_vset, lane | VL_IMM(0), old, low);
    }
    }
}

ir_ref rvv_chosen(const struct rvv_body *x, unsigned size, unsigned k)
{
    unsigned first = k * ((unsigned)RVV_PIECE >> size);
    return ir_v1(x->b, IR_vbits, size | VL_IMM(first % 64), rvv_mask_word(x, 0, first / 64));
}

// Lanes of piece k whose number is less than vl, which lane numbers of a byte can tell.
static ir_ref before_vl(const struct rvv_body *x, unsigned size, unsigned k)
{
    struct ir_build *b = x->b;
    unsigned lanes = (unsigned)RVV_PIECE >> size;
    uint64_t numbers[2] = {0};
    for (unsigned n = 0; n < lanes; n++)
        numbers[n * 2 / lanes] |= (uint64_t)(k * lanes + n) << (n * (8u << size) % 64);
    ir_ref vl = ir_ldenv(b, IR_I64, offsetof(struct rv_cpu, vl));
    return ir_v2(b, IR_vcmphi, size, ir_emit(b, IR_vdup, IR_V128, size, vl, IR_NONE, IR_NONE),
                 rvv_constant(b, numbers[0], numbers[1]));
}

ir_ref rvv_active(const struct rvv_body *x, unsigned size, unsigned k)
{
    if (!x->tail)
        return rvv_chosen(x, size, k);
    ir_ref before = before_vl(x, size, k);
    return rvv_masked(x) ? ir_v2(x->b, IR_vand, VL_8, before, rvv_chosen(x, size, k)) : before;
}

void rvv_put(const struct rvv_body *x, unsigned size, const ir_ref *v, unsigned n, unsigned bytes)
{
    for (unsigned k = 0; k < n; k++) {
        unsigned s = rvv_slot(x, x->i->vd, k);
        ir_ref old = ir_get(x->b, s), new = v[k];
        if (rvv_partial(x))
            new = ir_v3(x->b, IR_vbsl, VL_8, rvv_active(x, size, k), new, old);
        ir_put(x->b, s, rvv_start_of(x->b, old, new, bytes));
    }
}

// ---- operands ----

ir_ref rvv_scalar(const struct rvv_body *x)
{
    const struct rv_vop *op = &rv_vops[x->i->id];
    unsigned n = rv_vs1(x->i->raw);
    switch (op->source) {
    case VSRC_X:
        return rv_x(x->l, n);
    case VSRC_F: {
        ir_ref v = rv_fp_bits(x->l, x->v.sew == 3, n);
        return x->v.sew == 3 ? v : ir_zext(x->b, IR_I64, v, 32);
    }
    case VSRC_I:
        return ir_i64(x->b, (uint64_t)(int64_t)((int8_t)(n << 3) >> 3));
    case VSRC_U6:
        return ir_i64(x->b, n | (unsigned)bit(x->i->raw, 26) << 5);
    default:
        return ir_i64(x->b, n);
    }
}

ir_ref rvv_second(const struct rvv_body *x, unsigned k)
{
    uint64_t known;
    if (rv_vops[x->i->id].source == VSRC_V)
        return rvv_piece(x, x->i->vs1, k);
    ir_ref s = rvv_scalar(x);
    if (ir_is_const(x->b, s, &known))
        return rvv_splat(x->b, known, x->v.sew);
    return ir_emit(x->b, IR_vdup, IR_V128, x->v.sew, s, IR_NONE, IR_NONE);
}

// ---- all of them ----

static bool by_shape(const struct rvv_body *x)
{
    bool fp = rv_vops[x->i->id].flags & VF_FP;
    switch (rv_vops[x->i->id].shape) {
    case VS_SAME:
        return fp ? rvv_fp_same_size(x) : rvv_same_size(x) || rvv_fixed_point(x);
    case VS_WIDE:
    case VS_WIDEW:
        return fp ? rvv_fp_widening(x) : rvv_widening(x);
    case VS_NARROW:
        return fp ? rvv_fp_narrowing(x) : rvv_narrowing(x) || rvv_fixed_narrowing(x);
    case VS_EXT2:
    case VS_EXT4:
    case VS_EXT8:
        return rvv_extension(x);
    case VS_MASK:
        return rvv_compare(x);
    case VS_RED:
        return fp ? rvv_fp_reduction(x) : rvv_reduction(x);
    case VS_WRED:
        return !fp && rvv_wide_reduction(x);
    default:
        return false;
    }
}

static void take_part(struct rvv_body *x, unsigned vl_bytes)
{
    x->v.vl_bytes = vl_bytes;
    x->n = MAX(vl_bytes / RVV_PIECE, 1u);
    x->bytes = MIN(vl_bytes, (unsigned)RVV_PIECE);
}

// A vl that is not known: all of a short group, as far as the instruction goes lane by lane.
static bool in_tail(struct rvv_body *x, const struct rv_cpu *c)
{
    enum { MOST = 4 };
    unsigned shape = rv_vops[x->i->id].shape;
    bool by_lanes = shape >= VS_SAME && shape <= VS_EXT8;
    unsigned bytes =
        x->v.lmul < 0 ? (unsigned)c->vlenb >> -x->v.lmul : (unsigned)c->vlenb << x->v.lmul;
    if (!by_lanes || !x->b->sw.tails || bytes > MOST * RVV_PIECE)
        return false;
    x->tail = true;
    take_part(x, bytes);
    return true;
}

bool rv_lift_vec_inline(struct lift *l, const struct rv_insn *i)
{
    const struct rv_cpu *c = rv_cpu(l->env);
    struct rvv_body x = {.l = l, .b = l->b, .i = i, .v = rv_vconfig_of(l->b->mode)};
    if (c->vlenb > 32 || x.v.start)
        return false;
    x.per_reg = c->vlenb / RVV_PIECE;
    take_part(&x, x.v.vl_bytes);
    if (!strcmp(rv_info[i->id].cls, "vec_load") || !strcmp(rv_info[i->id].cls, "vec_store"))
        return rvv_access(&x);
    if (!strcmp(rv_info[i->id].cls, "vec_crypto"))
        return rvv_aes(&x);
    if (!rv_vops[i->id].shape)
        return rvv_move(&x) || (x.v.vl_bytes && rvv_mask_op(&x));
    if (!x.v.vl_bytes && !in_tail(&x, c))
        return false;
    return by_shape(&x);
}
