// Integers on vectors, element by element: of one size, widening, narrowing, extended.
#include "isa/riscv/rv/vector/body.h"

static unsigned bits_of(unsigned size)
{
    return 8u << size;
}

// Half k of the piece v, each lane made twice as wide.
static ir_ref widened(const struct rvv_body *x, ir_ref v, unsigned k, bool zero)
{
    return ir_v1(x->b, zero ? IR_vuxtl : IR_vsxtl, x->v.sew | (k & 1 ? VL_HIGH : 0), v);
}

// ---- shifts ----

// By what is in the lanes of n, which is less than their width.
static ir_ref shift_by(struct ir_build *b, unsigned size, ir_ref a, ir_ref n,
                       enum rvv_shift_kind kind)
{
    if (kind != RVV_LEFT)
        n = ir_v1(b, IR_vneg, size, n);
    return ir_v2(b, kind == RVV_ARITHMETIC ? IR_vsshl : IR_vushl, size, a, n);
}

ir_ref rvv_shift(const struct rvv_body *x, unsigned size, ir_ref a, unsigned k, unsigned half,
                 enum rvv_shift_kind kind)
{
    struct ir_build *b = x->b;
    static const uint8_t by_imm[] = {IR_vshli, IR_vshri, IR_vsari};
    uint64_t known, mask = bits_of(size) - 1;
    if (rv_vops[x->i->id].source == VSRC_V) {
        ir_ref n = rvv_piece(x, x->i->vs1, k);
        n = size > x->v.sew ? widened(x, n, half, true) : n;
        return shift_by(b, size, a, ir_v2(b, IR_vand, VL_8, n, rvv_splat(b, mask, size)), kind);
    }
    ir_ref n = ir_andi(b, rvv_scalar(x), mask);
    if (ir_is_const(b, n, &known))
        return known ? ir_v1(b, by_imm[kind], size | VL_IMM((unsigned)known), a) : a;
    return shift_by(b, size, a, ir_emit(b, IR_vdup, IR_V128, size, n, IR_NONE, IR_NONE), kind);
}

static ir_ref rotate(const struct rvv_body *x, ir_ref a, unsigned k, bool left)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew;
    ir_ref width = rvv_splat(b, bits_of(size), size), mask = rvv_splat(b, bits_of(size) - 1, size);
    ir_ref n = ir_v2(b, IR_vand, VL_8, rvv_second(x, k), mask);
    ir_ref rest = ir_v2(b, IR_vsub, size, width, n); // a shift by all bits gives nothing
    return ir_v2(b, IR_vor, VL_8, shift_by(b, size, a, left ? n : rest, RVV_LEFT),
                 shift_by(b, size, a, left ? rest : n, RVV_RIGHT));
}

// ---- one size ----

// The upper half of a product, by way of products twice as wide.
static ir_ref high_product(const struct rvv_body *x, ir_ref a, ir_ref s, bool sign)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew, mul = sign ? IR_vsmull : IR_vumull,
             down = (size + 1) | VL_IMM(bits_of(size));
    if (size == 3)
        return IR_NONE;
    ir_ref lo = ir_v1(b, IR_vshri, down, ir_v2(b, mul, size, a, s));
    ir_ref hi = ir_v1(b, IR_vshri, down, ir_v2(b, mul, size | VL_HIGH, a, s));
    return ir_v2(b, IR_vxtn, size | VL_HIGH, hi, ir_v2(b, IR_vxtn, size, lo, lo));
}

// a is signed: less b where it is negative.
static ir_ref high_mixed_product(const struct rvv_body *x, ir_ref a, ir_ref s)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew;
    ir_ref product = high_product(x, a, s, false);
    if (!product)
        return IR_NONE;
    ir_ref negative = ir_v2(b, IR_vcmpgt, size, rvv_zero(b), a);
    return ir_v2(b, IR_vsub, size, product, ir_v2(b, IR_vand, VL_8, negative, s));
}

static ir_ref count_bits(const struct rvv_body *x, ir_ref a)
{
    a = ir_v1(x->b, IR_vcnt, VL_8, a);
    for (unsigned size = 0; size < x->v.sew; size++)
        a = ir_v1(x->b, IR_vuaddlp, size, a);
    return a;
}

static ir_ref reversed(const struct rvv_body *x, ir_ref a, bool bits, bool bytes)
{
    a = bits ? ir_v1(x->b, IR_vrbit, VL_8, a) : a;
    return bytes && x->v.sew ? ir_v1(x->b, IR_vrev, VL_8 | VL_IMM(x->v.sew), a) : a;
}

// Piece k of the result; IR_NONE: no operation for this.
static ir_ref of_one_size(const struct rvv_body *x, unsigned k)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew;
    ir_ref a = rvv_piece(x, x->i->vs2, k);
#define TWO(op) ir_v2(b, op, size, a, rvv_second(x, k))
#define OLD     rvv_piece(x, x->i->vd, k)
    switch (x->i->id) {
    case RV_VADD_VV ... RV_VADD_VI:
        return TWO(IR_vadd);
    case RV_VSUB_VV ... RV_VSUB_VX:
        return TWO(IR_vsub);
    case RV_VRSUB_VX ... RV_VRSUB_VI:
        return ir_v2(b, IR_vsub, size, rvv_second(x, k), a);
    case RV_VADC_VVM ... RV_VADC_VIM: // all ones are -1
        return ir_v2(b, IR_vsub, size, TWO(IR_vadd), rvv_chosen(x, size, k));
    case RV_VSBC_VVM ... RV_VSBC_VXM:
        return ir_v2(b, IR_vadd, size, TWO(IR_vsub), rvv_chosen(x, size, k));
    case RV_VMINU_VV ... RV_VMINU_VX:
        return TWO(IR_vumin);
    case RV_VMIN_VV ... RV_VMIN_VX:
        return TWO(IR_vsmin);
    case RV_VMAXU_VV ... RV_VMAXU_VX:
        return TWO(IR_vumax);
    case RV_VMAX_VV ... RV_VMAX_VX:
        return TWO(IR_vsmax);
    case RV_VAND_VV ... RV_VAND_VI:
        return TWO(IR_vand);
    case RV_VANDN_VV ... RV_VANDN_VX:
        return TWO(IR_vandn);
    case RV_VOR_VV ... RV_VOR_VI:
        return TWO(IR_vor);
    case RV_VXOR_VV ... RV_VXOR_VI:
        return TWO(IR_vxor);
    case RV_VSLL_VV ... RV_VSLL_VI:
        return rvv_shift(x, size, a, k, 0, RVV_LEFT);
    case RV_VSRL_VV ... RV_VSRL_VI:
        return rvv_shift(x, size, a, k, 0, RVV_RIGHT);
    case RV_VSRA_VV ... RV_VSRA_VI:
        return rvv_shift(x, size, a, k, 0, RVV_ARITHMETIC);
    case RV_VROL_VV ... RV_VROL_VX:
        return rotate(x, a, k, true);
    case RV_VROR_VV ... RV_VROR_VI:
        return rotate(x, a, k, false);
    case RV_VMUL_VV ... RV_VMUL_VX:
        return TWO(IR_vmul);
    case RV_VMULH_VV ... RV_VMULH_VX:
        return high_product(x, a, rvv_second(x, k), true);
    case RV_VMULHU_VV ... RV_VMULHU_VX:
        return high_product(x, a, rvv_second(x, k), false);
    case RV_VMULHSU_VV ... RV_VMULHSU_VX:
        return high_mixed_product(x, a, rvv_second(x, k));
    case RV_VMACC_VV ... RV_VMACC_VX:
        return ir_v2(b, IR_vadd, size, OLD, TWO(IR_vmul));
    case RV_VNMSAC_VV ... RV_VNMSAC_VX:
        return ir_v2(b, IR_vsub, size, OLD, TWO(IR_vmul));
    case RV_VMADD_VV ... RV_VMADD_VX:
        return ir_v2(b, IR_vadd, size, a, ir_v2(b, IR_vmul, size, OLD, rvv_second(x, k)));
    case RV_VNMSUB_VV ... RV_VNMSUB_VX:
        return ir_v2(b, IR_vsub, size, a, ir_v2(b, IR_vmul, size, OLD, rvv_second(x, k)));
    case RV_VMV_V_V:
    case RV_VMV_V_X:
    case RV_VMV_V_I:
        return rvv_second(x, k);
    case RV_VMERGE_VVM ... RV_VMERGE_VIM:
        return ir_v3(b, IR_vbsl, VL_8, rvv_chosen(x, size, k), rvv_second(x, k), a);
    case RV_VCPOP_V:
        return count_bits(x, a);
    case RV_VBREV8_V:
        return reversed(x, a, true, false);
    case RV_VREV8_V:
        return reversed(x, a, false, true);
    case RV_VBREV_V:
        return reversed(x, a, true, true);
    default:
        return IR_NONE;
    }
#undef TWO
#undef OLD
}

bool rvv_same_size(const struct rvv_body *x)
{
    ir_ref v[RVV_MOST];
    if (!of_one_size(x, 0))
        return false;
    for (unsigned k = 0; k < x->n; k++)
        v[k] = of_one_size(x, k);
    rvv_put(x, x->v.sew, v, x->n, x->bytes);
    return true;
}

// ---- twice as wide ----

static ir_ref wide_result(const struct rvv_body *x, unsigned k)
{
    struct ir_build *b = x->b;
    unsigned id = x->i->id, size = x->v.sew, half = k & 1 ? VL_HIGH : 0;
    bool zero = rv_vops[id].flags & VF_UNSIGNED;
    bool in_wide = rv_vops[id].shape == VS_WIDEW;
    ir_ref a = rvv_piece(x, x->i->vs2, in_wide ? k : k / 2), s = rvv_second(x, k / 2);
    unsigned mul = zero ? IR_vumull : IR_vsmull;
#define MIXED(a_zero)                                                                              \
    ir_v2(b, IR_vmul, size + 1, widened(x, a, k, a_zero), widened(x, s, k, !(a_zero)))
#define OLD rvv_piece(x, x->i->vd, k)
    switch (id) {
    case RV_VWADDU_VV ... RV_VWADD_VX:
    case RV_VWADDU_WV ... RV_VWADD_WX:
        return ir_v2(b, IR_vadd, size + 1, in_wide ? a : widened(x, a, k, zero),
                     widened(x, s, k, zero));
    case RV_VWSUBU_VV ... RV_VWSUB_VX:
    case RV_VWSUBU_WV ... RV_VWSUB_WX:
        return ir_v2(b, IR_vsub, size + 1, in_wide ? a : widened(x, a, k, zero),
                     widened(x, s, k, zero));
    case RV_VWMULU_VV ... RV_VWMULU_VX:
    case RV_VWMUL_VV ... RV_VWMUL_VX:
        return ir_v2(b, mul, size | half, a, s);
    case RV_VWMULSU_VV ... RV_VWMULSU_VX:
        return MIXED(false);
    case RV_VWMACCU_VV ... RV_VWMACC_VX:
        return ir_v2(b, IR_vadd, size + 1, OLD, ir_v2(b, mul, size | half, a, s));
    case RV_VWMACCSU_VV ... RV_VWMACCSU_VX:
        return ir_v2(b, IR_vadd, size + 1, OLD, MIXED(true));
    case RV_VWMACCUS_VX:
        return ir_v2(b, IR_vadd, size + 1, OLD, MIXED(false));
    case RV_VWSLL_VV ... RV_VWSLL_VI:
        return rvv_shift(x, size + 1, widened(x, a, k, true), k / 2, k, RVV_LEFT);
    default:
        return IR_NONE;
    }
#undef MIXED
#undef OLD
}

bool rvv_widening(const struct rvv_body *x)
{
    unsigned total = 2 * x->v.vl_bytes, n = MAX(total / RVV_PIECE, 1u);
    ir_ref v[RVV_MOST];
    if (!wide_result(x, 0))
        return false;
    for (unsigned k = 0; k < n; k++)
        v[k] = wide_result(x, k);
    rvv_put(x, x->v.sew + 1, v, n, MIN(total, (unsigned)RVV_PIECE));
    return true;
}

// vzext and vsext by two, four and eight.
bool rvv_extension(const struct rvv_body *x)
{
    unsigned times = rv_vops[x->i->id].shape - VS_EXT2 + 1, size = x->v.sew - times;
    bool zero = rv_vops[x->i->id].flags & VF_UNSIGNED;
    ir_ref v[RVV_MOST];
    for (unsigned k = 0; k < x->n; k++) {
        v[k] = rvv_piece(x, x->i->vs2, k >> times);
        for (unsigned t = 0; t < times; t++)
            v[k] = ir_v1(x->b, zero ? IR_vuxtl : IR_vsxtl,
                         (size + t) | (k >> (times - 1 - t) & 1 ? VL_HIGH : 0), v[k]);
    }
    rvv_put(x, x->v.sew, v, x->n, x->bytes);
    return true;
}

// ---- half as wide ----

bool rvv_narrowing(const struct rvv_body *x)
{
    struct ir_build *b = x->b;
    unsigned id = x->i->id, size = x->v.sew;
    bool right = id >= RV_VNSRL_WV && id <= RV_VNSRL_WI,
         sign = id >= RV_VNSRA_WV && id <= RV_VNSRA_WI;
    enum rvv_shift_kind kind = right ? RVV_RIGHT : RVV_ARITHMETIC;
    ir_ref v[RVV_MOST];
    if (!right && !sign)
        return false;
    for (unsigned k = 0; k < x->n; k++) {
        ir_ref lo = rvv_shift(x, size + 1, rvv_piece(x, x->i->vs2, 2 * k), k, 0, kind);
        v[k] = ir_v2(b, IR_vxtn, size, lo, lo);
        if (x->bytes == RVV_PIECE) {
            ir_ref hi = rvv_shift(x, size + 1, rvv_piece(x, x->i->vs2, 2 * k + 1), k, 1, kind);
            v[k] = ir_v2(b, IR_vxtn, size | VL_HIGH, hi, v[k]);
        }
    }
    rvv_put(x, size, v, x->n, x->bytes);
    return true;
}
