// Fixed point on vectors (RISC-V Instruction Set Manual, volume I, 31.12), element by element: sums
// and differences that saturate or are averages, shifts that round, fractional products, clips.
// What vxrm says is known here. Whether a result was cut short is found by looking at it, and noted
// in vxsat. Not here: shifts and clips that round to even or to odd.
#include "isa/riscv/rv/vector/body.h"

// vxsat is set if a lane of piece k that takes part is all ones.
static void note(const struct rvv_body *x, unsigned k, ir_ref cut)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew;
    if (rvv_partial(x))
        cut = ir_v2(b, IR_vand, VL_8, cut, rvv_active(x, size, k));
    cut = rvv_start_of(b, rvv_zero(b), cut, x->bytes);
    ir_ref lanes = ir_emit(b, IR_vmask, IR_I64, size | VL_IMM(0), ir_i64(b, 0), cut, IR_NONE);
    ir_ref any = ir_b2i(b, IR_I32, ir_cmp(b, CMP_NE, lanes, ir_i64(b, 0)));
    ir_ref old = ir_ldenv(b, IR_I32, offsetof(struct rv_cpu, vxsat)); // and what lies behind it
    ir_stenv(b, offsetof(struct rv_cpu, vxsat), ir_or(b, old, any), MO_8);
}

static ir_ref differs(const struct rvv_body *x, unsigned size, ir_ref a, ir_ref s)
{
    return ir_v1(x->b, IR_vnot, VL_8, ir_v2(x->b, IR_vcmpeq, size, a, s));
}

// ---- one size ----

// Sums and differences of words and wider, where hosts have no operation of their own: signed ones
// go over where the result has the sign that it cannot have.
static ir_ref saturated_wide(const struct rvv_body *x, ir_ref a, ir_ref s, bool sub, bool sign,
                             ir_ref *cut)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew, top = (8u << size) - 1;
    ir_ref v = ir_v2(b, sub ? IR_vsub : IR_vadd, size, a, s);
    if (!sign) {
        *cut = sub ? ir_v2(b, IR_vcmphi, size, s, a) : ir_v2(b, IR_vcmphi, size, a, v);
        return ir_v2(b, sub ? IR_vandn : IR_vor, VL_8, v, *cut);
    }
    ir_ref turned = ir_v2(b, IR_vxor, VL_8, a, sub ? s : v);
    ir_ref other = ir_v2(b, IR_vxor, VL_8, sub ? a : s, v);
    *cut = ir_v2(b, IR_vcmpgt, size, rvv_zero(b), ir_v2(b, IR_vand, VL_8, turned, other));
    ir_ref most = ir_v2(b, IR_vxor, VL_8, ir_v2(b, IR_vcmpgt, size, rvv_zero(b), a),
                        rvv_splat(b, mask_low(top), size));
    return ir_v3(b, IR_vbsl, VL_8, *cut, most, v);
}

static ir_ref saturated(const struct rvv_body *x, unsigned k, bool sub, bool sign, ir_ref *cut)
{
    static const uint8_t ops[2][2] = {{IR_vuqadd, IR_vsqadd}, {IR_vuqsub, IR_vsqsub}};
    ir_ref a = rvv_piece(x, x->i->vs2, k), s = rvv_second(x, k);
    if (x->v.sew >= 2)
        return saturated_wide(x, a, s, sub, sign, cut);
    ir_ref v = ir_v2(x->b, ops[sub][sign], x->v.sew, a, s);
    *cut = differs(x, x->v.sew, v, ir_v2(x->b, sub ? IR_vsub : IR_vadd, x->v.sew, a, s));
    return v;
}

// Of bytes, by the average that rounds up, of numbers moved to where none is negative. A difference
// is a sum with the complement, which is one less than the negative number.
static ir_ref halved_bytes(const struct rvv_body *x, ir_ref a, ir_ref s, bool sub, bool sign)
{
    struct ir_build *b = x->b;
    ir_ref middle = rvv_splat(b, 0x80, 0), lowest = ir_v2(b, IR_vxor, VL_8, a, s);
    if (sign) {
        a = ir_v2(b, IR_vxor, VL_8, a, middle);
        s = ir_v2(b, IR_vxor, VL_8, s, middle);
    }
    ir_ref v = ir_v2(b, IR_vurhadd, VL_8, a, sub ? ir_v1(b, IR_vnot, VL_8, s) : s);
    if (!sub)
        v = ir_v2(b, IR_vsub, VL_8, v, ir_v2(b, IR_vand, VL_8, lowest, rvv_splat(b, 1, 0)));
    return sub || sign ? ir_v2(b, IR_vxor, VL_8, v, middle) : v;
}

// Rounded down first. Half a unit is left over where the operands' lowest bits differ.
static ir_ref average(const struct rvv_body *x, unsigned k, bool sub, bool sign)
{
    static const uint8_t ops[2][2] = {{IR_vuhadd, IR_vshadd}, {IR_vuhsub, IR_vshsub}};
    struct ir_build *b = x->b;
    unsigned size = x->v.sew;
    if (size == 3)
        return IR_NONE;
    ir_ref a = rvv_piece(x, x->i->vs2, k), s = rvv_second(x, k);
    ir_ref v = size ? ir_v2(b, ops[sub][sign], size, a, s) : halved_bytes(x, a, s, sub, sign);
    ir_ref left = ir_v2(b, IR_vxor, VL_8, a, s);
    if (x->v.rounding == RV_VXRM_DOWN)
        return v;
    if (x->v.rounding == RV_VXRM_NEAREST_EVEN)
        left = ir_v2(b, IR_vand, VL_8, left, v);
    else if (x->v.rounding == RV_VXRM_ODD)
        left = ir_v2(b, IR_vandn, VL_8, left, v);
    left = ir_v2(b, IR_vand, VL_8, left, rvv_splat(b, 1, size));
    return ir_v2(b, IR_vadd, size, v, left);
}

// The one product that is too large is that of the least number with itself.
static ir_ref product(const struct rvv_body *x, unsigned k, ir_ref *cut)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew, rounding = x->v.rounding;
    bool up = rounding == RV_VXRM_NEAREST_UP;
    if ((size != 1 && size != 2) || (!up && rounding != RV_VXRM_DOWN))
        return IR_NONE;
    ir_ref a = rvv_piece(x, x->i->vs2, k), s = rvv_second(x, k);
    ir_ref least = rvv_splat(b, 1ull << ((8u << size) - 1), size);
    *cut = ir_v2(b, IR_vand, VL_8, ir_v2(b, IR_vcmpeq, size, a, least),
                 ir_v2(b, IR_vcmpeq, size, s, least));
    return ir_v2(b, up ? IR_vsqrdmulh : IR_vsqdmulh, size, a, s);
}

// A piece of `reg` by the instruction's second operand, as `rvv_shift` has it. Up, where what is
// left out is half a unit or more.
static ir_ref rounded_shift(const struct rvv_body *x, unsigned size, unsigned reg, unsigned piece,
                            unsigned k, unsigned half, enum rvv_shift_kind kind)
{
    struct ir_build *b = x->b;
    ir_ref a = rvv_piece(x, reg, piece), v = rvv_shift(x, size, a, k, half, kind);
    if (x->v.rounding == RV_VXRM_DOWN)
        return v;
    uint64_t by;
    if (ir_is_const(b, ir_andi(b, rvv_scalar(x), (8u << size) - 1), &by) &&
        rv_vops[x->i->id].source != VSRC_V)
        return by ? ir_v1(b, kind == RVV_RIGHT ? IR_vrshri : IR_vrsari, size | VL_IMM((unsigned)by),
                          a)
                  : a;
    ir_ref one = rvv_splat(b, 1, size), unit = rvv_shift(x, size, one, k, half, RVV_LEFT);
    ir_ref rest = ir_v2(b, IR_vand, VL_8, a, ir_v2(b, IR_vsub, size, unit, one));
    ir_ref most = ir_v1(b, IR_vshri, size | VL_IMM(1), ir_v2(b, IR_vsub, size, unit, one));
    return ir_v2(b, IR_vsub, size, v, ir_v2(b, IR_vcmphi, size, rest, most)); // all ones are -1
}

static bool rounds_simply(const struct rvv_body *x)
{
    return x->v.rounding == RV_VXRM_NEAREST_UP || x->v.rounding == RV_VXRM_DOWN;
}

// Piece k of the result; IR_NONE: no operation for this. *cut: lanes that were cut short.
static ir_ref of_one_size(const struct rvv_body *x, unsigned k, ir_ref *cut)
{
    unsigned vs2 = x->i->vs2, size = x->v.sew;
    switch (x->i->id) {
    case RV_VSADDU_VV ... RV_VSADDU_VI:
        return saturated(x, k, false, false, cut);
    case RV_VSADD_VV ... RV_VSADD_VI:
        return saturated(x, k, false, true, cut);
    case RV_VSSUBU_VV ... RV_VSSUBU_VX:
        return saturated(x, k, true, false, cut);
    case RV_VSSUB_VV ... RV_VSSUB_VX:
        return saturated(x, k, true, true, cut);
    case RV_VAADDU_VV ... RV_VAADDU_VX:
        return average(x, k, false, false);
    case RV_VAADD_VV ... RV_VAADD_VX:
        return average(x, k, false, true);
    case RV_VASUBU_VV ... RV_VASUBU_VX:
        return average(x, k, true, false);
    case RV_VASUB_VV ... RV_VASUB_VX:
        return average(x, k, true, true);
    case RV_VSMUL_VV ... RV_VSMUL_VX:
        return product(x, k, cut);
    case RV_VSSRL_VV ... RV_VSSRL_VI:
        return rounds_simply(x) ? rounded_shift(x, size, vs2, k, k, 0, RVV_RIGHT) : IR_NONE;
    case RV_VSSRA_VV ... RV_VSSRA_VI:
        return rounds_simply(x) ? rounded_shift(x, size, vs2, k, k, 0, RVV_ARITHMETIC) : IR_NONE;
    default:
        return IR_NONE;
    }
}

bool rvv_fixed_point(const struct rvv_body *x)
{
    ir_ref v[RVV_MOST], cut[RVV_MOST] = {0};
    if (!x->b->sw.fixed_point || !(v[0] = of_one_size(x, 0, &cut[0])))
        return false;
    for (unsigned k = 1; k < x->n; k++)
        v[k] = of_one_size(x, k, &cut[k]);
    for (unsigned k = 0; k < x->n && cut[0]; k++)
        note(x, k, cut[k]);
    rvv_put(x, x->v.sew, v, x->n, x->bytes);
    return true;
}

// ---- half as wide ----

// vnclip and vnclipu.
bool rvv_fixed_narrowing(const struct rvv_body *x)
{
    struct ir_build *b = x->b;
    unsigned id = x->i->id, size = x->v.sew;
    bool zero = id >= RV_VNCLIPU_WV && id <= RV_VNCLIPU_WI;
    unsigned narrow = zero ? IR_vuqxtn : IR_vsqxtn, widen = zero ? IR_vuxtl : IR_vsxtl;
    enum rvv_shift_kind kind = zero ? RVV_RIGHT : RVV_ARITHMETIC;
    ir_ref v[RVV_MOST];
    if (!(zero || (id >= RV_VNCLIP_WV && id <= RV_VNCLIP_WI)) || !b->sw.fixed_point ||
        !rounds_simply(x))
        return false;
    for (unsigned k = 0; k < x->n; k++) {
        ir_ref wide[2], cut[2];
        unsigned halves = x->bytes == RVV_PIECE ? 2 : 1;
        for (unsigned h = 0; h < halves; h++) {
            wide[h] = rounded_shift(x, size + 1, x->i->vs2, 2 * k + h, k, h, kind);
            v[k] = ir_v2(b, narrow, size | (h ? VL_HIGH : 0), wide[h], h ? v[k] : wide[h]);
        }
        for (unsigned h = 0; h < halves; h++)
            cut[h] = differs(x, size + 1, wide[h], ir_v1(b, widen, size | (h ? VL_HIGH : 0), v[k]));
        ir_ref lanes = ir_v2(b, IR_vxtn, size, cut[0], cut[0]);
        if (halves == 2)
            lanes = ir_v2(b, IR_vxtn, size | VL_HIGH, cut[1], lanes);
        note(x, k, lanes);
    }
    rvv_put(x, size, v, x->n, x->bytes);
    return true;
}
