// Elements that change their place: registers moved, elements to and from scalar registers, slides,
// gathers.
#include "isa/riscv/rv/vector/body.h"

static bool whole_registers(const struct rvv_body *x)
{
    unsigned n = x->per_reg << (x->i->id - RV_VMV1R_V);
    ir_ref v[RVV_MOST];
    for (unsigned k = 0; k < n; k++)
        v[k] = rvv_piece(x, x->i->vs2, k);
    for (unsigned k = 0; k < n; k++)
        ir_put(x->b, rvv_slot(x, x->i->vd, k), v[k]);
    return true;
}

// ---- element 0 ----

static bool to_scalar(const struct rvv_body *x)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew, type = size == 3 ? IR_I64 : IR_I32;
    ir_ref v = rvv_piece(x, x->i->vs2, 0);
    if (x->i->id == RV_VMV_X_S)
        rv_set(x->l, x->i->rd, ir_emit(b, IR_vgets, type, size | VL_IMM(0), v, IR_NONE, IR_NONE));
    else if (size >= 2)
        rv_fp_set_bits(x->l, x->i->rd, ir_vlow(b, type, v));
    return x->i->id == RV_VMV_X_S || size >= 2;
}

// The scalar operand of a move, as wide as an element; IR_NONE: half precision.
static ir_ref scalar(const struct rvv_body *x, bool fp)
{
    bool wide = x->v.sew == 3;
    if (fp)
        return x->v.sew < 2 ? IR_NONE : rv_fp_bits(x->l, wide, x->i->rs1);
    return wide ? rv_x(x->l, x->i->rs1) : rv_w(x->l, x->i->rs1);
}

static bool from_scalar(const struct rvv_body *x)
{
    unsigned s = rvv_slot(x, x->i->vd, 0);
    ir_ref v = scalar(x, x->i->id == RV_VFMV_S_F);
    if (!v || !x->v.vl_bytes) // perhaps zero
        return false;
    ir_put(x->b, s, ir_v2(x->b, IR_vset, x->v.sew | VL_IMM(0), ir_get(x->b, s), v));
    return true;
}

// ---- slides ----

// Bytes from `at` on of all pieces of vs2, of which there are n; behind them there are zeros.
static ir_ref window(const struct rvv_body *x, unsigned n, unsigned at)
{
    unsigned k = at / RVV_PIECE, by = at % RVV_PIECE;
    ir_ref zero = rvv_zero(x->b);
    ir_ref lo = k < n ? rvv_piece(x, x->i->vs2, k) : zero;
    ir_ref hi = k + 1 < n ? rvv_piece(x, x->i->vs2, k + 1) : zero;
    return by ? ir_v2(x->b, IR_vext, VL_8 | VL_IMM(by), lo, hi) : lo;
}

// Bytes of the whole group.
static unsigned group_bytes(const struct rvv_body *x)
{
    unsigned reg = x->per_reg * RVV_PIECE;
    return x->v.lmul < 0 ? reg >> -x->v.lmul : reg << x->v.lmul;
}

// All ones from byte `from` on.
static ir_ref bytes_from(struct ir_build *b, unsigned from)
{
    uint64_t lo = from < 8 ? ~0ull << (8 * from) : 0,
             hi = from <= 8 ? ~0ull : ~0ull << (8 * from - 64);
    return rvv_constant(b, lo, hi);
}

static bool slide_up(const struct rvv_body *x, uint64_t elements)
{
    struct ir_build *b = x->b;
    unsigned bytes = (unsigned)MIN(elements, 256u) << x->v.sew, first = bytes / RVV_PIECE,
             rest = bytes % RVV_PIECE;
    ir_ref v[RVV_MOST];
    for (unsigned k = 0; k < x->n; k++) {
        ir_ref old = rvv_piece(x, x->i->vd, k);
        if (k < first) {
            v[k] = old;
        } else if (k > first || !rest) {
            v[k] = window(x, x->n, k * RVV_PIECE - bytes);
        } else {
            ir_ref up = ir_v2(b, IR_vext, VL_8 | VL_IMM(RVV_PIECE - rest), rvv_zero(b),
                              rvv_piece(x, x->i->vs2, 0));
            v[k] = ir_v3(b, IR_vbsl, VL_8, bytes_from(b, rest), up, old);
        }
    }
    rvv_put(x, x->v.sew, v, x->n, x->bytes);
    return true;
}

static bool slide_down(const struct rvv_body *x, uint64_t elements)
{
    unsigned all = group_bytes(x), bytes = (unsigned)MIN(elements, 256u) << x->v.sew;
    ir_ref v[RVV_MOST];
    if (all < RVV_PIECE)
        return false;
    for (unsigned k = 0; k < x->n; k++)
        v[k] = window(x, all / RVV_PIECE, k * RVV_PIECE + bytes);
    rvv_put(x, x->v.sew, v, x->n, x->bytes);
    return true;
}

// By one element, the place that comes free being the scalar's.
static bool slide_one(const struct rvv_body *x, bool up, ir_ref in)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew, bytes = 1u << size, last = x->v.vl_bytes - bytes;
    ir_ref v[RVV_MOST];
    if (!in)
        return false;
    for (unsigned k = 0; k < x->n; k++)
        v[k] = !up ? window(x, x->n, k * RVV_PIECE + bytes)
               : k ? window(x, x->n, k * RVV_PIECE - bytes)
                   : ir_v2(b, IR_vext, VL_8 | VL_IMM(RVV_PIECE - bytes), rvv_zero(b),
                           rvv_piece(x, x->i->vs2, 0));
    unsigned at = up ? 0 : last / RVV_PIECE, lane = up ? 0 : last % RVV_PIECE / bytes;
    v[at] = ir_v2(b, IR_vset, size | VL_IMM(lane), v[at], in);
    rvv_put(x, size, v, x->n, x->bytes);
    return true;
}

// ---- gathers ----

static bool gather_one(const struct rvv_body *x, uint64_t element)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew, each = (unsigned)RVV_PIECE >> size;
    ir_ref v[RVV_MOST], one = rvv_zero(b);
    if (element < group_bytes(x) >> size)
        one = ir_v1(b, IR_vduplane, size | VL_IMM((unsigned)element % each),
                    rvv_piece(x, x->i->vs2, (unsigned)element / each));
    for (unsigned k = 0; k < x->n; k++)
        v[k] = one;
    rvv_put(x, size, v, x->n, x->bytes);
    return true;
}

// Of one piece: the numbers of elements become those of their bytes.
static bool gather(const struct rvv_body *x)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew, all = group_bytes(x);
    ir_ref index = rvv_piece(x, x->i->vs1, 0);
    if (all > RVV_PIECE)
        return false;
    if (size) {
        uint64_t lanes[2] = {0};
        for (unsigned n = 0; n < RVV_PIECE; n++) // the lowest byte of its lane
            lanes[n / 8] |= (uint64_t)(n & -(1u << size)) << (n % 8 * 8);
        index = ir_v2(b, IR_vumin, size, index, rvv_splat(b, (unsigned)RVV_PIECE >> size, size));
        index = ir_v1(b, IR_vshli, size | VL_IMM(size), index);
        index = ir_v2(b, IR_vtbl, VL_8, index, rvv_constant(b, lanes[0], lanes[1]));
        index = ir_v2(b, IR_vadd, VL_8, index, rvv_splat(b, 0x0706050403020100, size));
    }
    ir_ref from = rvv_start_of(b, rvv_zero(b), rvv_piece(x, x->i->vs2, 0), all);
    ir_ref v = ir_v2(b, IR_vtbl, VL_8, from, index);
    rvv_put(x, size, &v, 1, x->bytes);
    return true;
}

static bool known_scalar(const struct rvv_body *x, uint64_t *val)
{
    bool immediate =
        x->i->id == RV_VSLIDEUP_VI || x->i->id == RV_VSLIDEDOWN_VI || x->i->id == RV_VRGATHER_VI;
    *val = rv_vs1(x->i->raw);
    return immediate || ir_is_const(x->b, rv_x(x->l, (unsigned)*val), val);
}

bool rvv_move(const struct rvv_body *x)
{
    uint64_t known;
    unsigned id = x->i->id;
    switch (id) {
    case RV_VMV1R_V ... RV_VMV8R_V:
        return whole_registers(x);
    case RV_VMV_X_S:
    case RV_VFMV_F_S:
        return to_scalar(x);
    case RV_VMV_S_X:
    case RV_VFMV_S_F:
        return from_scalar(x);
    default:
        break;
    }
    if (!x->v.vl_bytes)
        return false;
    switch (id) {
    case RV_VSLIDEUP_VX ... RV_VSLIDEUP_VI:
        return known_scalar(x, &known) && slide_up(x, known);
    case RV_VSLIDEDOWN_VX ... RV_VSLIDEDOWN_VI:
        return known_scalar(x, &known) && slide_down(x, known);
    case RV_VSLIDE1UP_VX:
    case RV_VSLIDE1DOWN_VX:
        return slide_one(x, id == RV_VSLIDE1UP_VX, scalar(x, false));
    case RV_VFSLIDE1UP_VF:
    case RV_VFSLIDE1DOWN_VF:
        return slide_one(x, id == RV_VFSLIDE1UP_VF, scalar(x, true));
    case RV_VRGATHER_VX ... RV_VRGATHER_VI:
        return known_scalar(x, &known) && gather_one(x, known);
    case RV_VRGATHER_VV:
        return gather(x);
    default:
        return false;
    }
}
