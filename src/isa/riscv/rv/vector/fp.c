// Floating point on vectors, element by element. What takes no part is made harmless first: it may
// raise nothing.
#include "isa/riscv/rv/vector/body.h"

// ---- one size ----

struct fp_form {
    uint8_t op;
    enum { FP_TWO, FP_SWAPPED, FP_ONE, FP_SIGN, FP_FUSED, FP_MOVE, FP_NONE } kind;
    uint16_t aux;
    bool by_vd, neg_product, neg_addend; // fused: vd is a factor
};

static struct fp_form fp_form(unsigned id)
{
    const uint16_t rtz = FPA_RM_FIXED(FP_RTZ), u = FPA_UNSIGNED, nan = FPA_NANMAX;
    switch (id) {
    case RV_VFADD_VV ... RV_VFADD_VF:
        return (struct fp_form){IR_vfadd, FP_TWO};
    case RV_VFSUB_VV ... RV_VFSUB_VF:
        return (struct fp_form){IR_vfsub, FP_TWO};
    case RV_VFRSUB_VF:
        return (struct fp_form){IR_vfsub, FP_SWAPPED};
    case RV_VFMUL_VV ... RV_VFMUL_VF:
        return (struct fp_form){IR_vfmul, FP_TWO};
    case RV_VFDIV_VV ... RV_VFDIV_VF:
        return (struct fp_form){IR_vfdiv, FP_TWO};
    case RV_VFRDIV_VF:
        return (struct fp_form){IR_vfdiv, FP_SWAPPED};
    case RV_VFSGNJ_VV ... RV_VFSGNJ_VF:
        return (struct fp_form){0, FP_SIGN};
    case RV_VFSGNJN_VV ... RV_VFSGNJN_VF:
        return (struct fp_form){1, FP_SIGN};
    case RV_VFSGNJX_VV ... RV_VFSGNJX_VF:
        return (struct fp_form){2, FP_SIGN};
    case RV_VFMADD_VV ... RV_VFNMSAC_VF: {
        unsigned n = (id - RV_VFMADD_VV) / 2, kind = n & 3; // madd, nmadd, msub, nmsub; macc ...
        return (struct fp_form){
            IR_vfma, FP_FUSED, 0, n < 4, kind == 1 || kind == 3, kind == 1 || kind == 2};
    }
    case RV_VFMIN_VV ... RV_VFMIN_VF:
        return (struct fp_form){IR_vfminnm, FP_TWO, nan};
    case RV_VFMAX_VV ... RV_VFMAX_VF:
        return (struct fp_form){IR_vfmaxnm, FP_TWO, nan};
    case RV_VFMV_V_F:
    case RV_VFMERGE_VFM:
        return (struct fp_form){0, FP_MOVE};
    case RV_VFSQRT_V:
        return (struct fp_form){IR_vfsqrt, FP_ONE};
    case RV_VFCVT_XU_F_V:
        return (struct fp_form){IR_vf2i, FP_ONE, (uint16_t)(u | nan)};
    case RV_VFCVT_X_F_V:
        return (struct fp_form){IR_vf2i, FP_ONE, nan};
    case RV_VFCVT_RTZ_XU_F_V:
        return (struct fp_form){IR_vf2i, FP_ONE, (uint16_t)(u | nan | rtz)};
    case RV_VFCVT_RTZ_X_F_V:
        return (struct fp_form){IR_vf2i, FP_ONE, (uint16_t)(nan | rtz)};
    case RV_VFCVT_F_XU_V:
        return (struct fp_form){IR_vi2f, FP_ONE, u};
    case RV_VFCVT_F_X_V:
        return (struct fp_form){IR_vi2f, FP_ONE};
    default:
        return (struct fp_form){0, FP_NONE};
    }
}

static ir_ref sign_of(const struct rvv_body *x, unsigned kind, ir_ref a, ir_ref s)
{
    struct ir_build *b = x->b;
    ir_ref sign = rvv_splat(b, 1ull << ((8u << x->v.sew) - 1), x->v.sew);
    if (kind == 1)
        s = ir_v1(b, IR_vnot, VL_8, s);
    if (kind == 2)
        return ir_v2(b, IR_vxor, VL_8, a, ir_v2(b, IR_vand, VL_8, s, sign));
    return ir_v3(b, IR_vbsl, VL_8, sign, s, a);
}

// 1.0 in elements of `size` that take no part, so that they raise nothing; 0 for integers.
static ir_ref harmless(const struct rvv_body *x, unsigned size, unsigned k, ir_ref v, bool number)
{
    uint64_t one = size == 3 ? 0x3ff0000000000000 : 0x3f800000;
    if (!rvv_partial(x))
        return v;
    return ir_v3(x->b, IR_vbsl, VL_8, rvv_active(x, size, k), v,
                 rvv_splat(x->b, number ? one : 0, size));
}

// How much of a vector of `bytes` takes part.
static unsigned extent(unsigned size, unsigned bytes)
{
    return bytes == RVV_PIECE ? 0 : bytes == 1u << size ? VL_SCALAR : VL_HALF;
}

static ir_ref fused(const struct rvv_body *x, struct fp_form f, unsigned aux, ir_ref a, ir_ref s,
                    ir_ref d)
{
    unsigned size = aux & VL_LANE;
    ir_ref factor = f.by_vd ? d : a, addend = f.by_vd ? a : d;
    if (f.neg_product)
        factor = ir_v1(x->b, IR_vfneg, size, factor);
    if (f.neg_addend)
        addend = ir_v1(x->b, IR_vfneg, size, addend);
    return ir_v3(x->b, IR_vfma, aux, factor, s, addend);
}

static ir_ref of_one_size(const struct rvv_body *x, struct fp_form f, unsigned k)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew;
    unsigned aux = size | FPA_NAN_MODE(FP_NAN_DEFAULT) | f.aux;
    if (f.op == IR_vf2i)
        aux = size | f.aux;
    aux |= extent(size, x->bytes);
    ir_ref a = rvv_piece(x, x->i->vs2, k);
    if (x->i->id == RV_VFMV_V_F)
        return rvv_second(x, k);
    if (f.kind == FP_MOVE)
        return ir_v3(b, IR_vbsl, VL_8, rvv_chosen(x, size, k), rvv_second(x, k), a);
    if (f.kind == FP_SIGN)
        return sign_of(x, f.op, a, rvv_second(x, k));
    a = harmless(x, size, k, a, f.op != IR_vi2f);
    if (f.kind == FP_ONE)
        return ir_v1(b, f.op, aux, a);
    ir_ref s = harmless(x, size, k, rvv_second(x, k), true);
    if (f.kind == FP_FUSED)
        return fused(x, f, aux, a, s, harmless(x, size, k, rvv_piece(x, x->i->vd, k), true));
    return f.kind == FP_TWO ? ir_v2(b, f.op, aux, a, s) : ir_v2(b, f.op, aux, s, a);
}

bool rvv_fp_same_size(const struct rvv_body *x)
{
    struct fp_form f = fp_form(x->i->id);
    ir_ref v[RVV_MOST];
    if (x->v.sew < 2 || f.kind == FP_NONE)
        return false;
    for (unsigned k = 0; k < x->n; k++)
        v[k] = of_one_size(x, f, k);
    rvv_put(x, x->v.sew, v, x->n, x->bytes);
    return true;
}

ir_ref rvv_fp_compare(const struct rvv_body *x, unsigned k)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew, aux = size | extent(size, x->bytes);
    if (size < 2)
        return IR_NONE;
    ir_ref a = harmless(x, size, k, rvv_piece(x, x->i->vs2, k), true);
    ir_ref s = harmless(x, size, k, rvv_second(x, k), true);
    switch (x->i->id) {
    case RV_VMFEQ_VV ... RV_VMFEQ_VF:
        return ir_v2(b, IR_vfcmpeq, aux, a, s);
    case RV_VMFNE_VV ... RV_VMFNE_VF:
        return ir_v1(b, IR_vnot, VL_8, ir_v2(b, IR_vfcmpeq, aux, a, s));
    case RV_VMFLT_VV ... RV_VMFLT_VF:
        return ir_v2(b, IR_vfcmpgt, aux, s, a);
    case RV_VMFLE_VV ... RV_VMFLE_VF:
        return ir_v2(b, IR_vfcmpge, aux, s, a);
    case RV_VMFGT_VF:
        return ir_v2(b, IR_vfcmpgt, aux, a, s);
    case RV_VMFGE_VF:
        return ir_v2(b, IR_vfcmpge, aux, a, s);
    default:
        return IR_NONE;
    }
}

// ---- from singles to doubles and back ----

enum {
    WIDEN = FPA_NAN_MODE(FP_NAN_DEFAULT) | VL_32,
    DOUBLE = FPA_NAN_MODE(FP_NAN_DEFAULT) | VL_64
};

// The half of singles that piece k of doubles is of, what takes no part made harmless.
static ir_ref half_of(const struct rvv_body *x, ir_ref v, unsigned k, bool number)
{
    v = harmless(x, 2, k / 2, v, number);
    ir_ref rest = rvv_splat(x->b, number ? 0x3f800000 : 0, 2);
    return x->bytes < RVV_PIECE / 2 ? rvv_start_of(x->b, rest, v, x->bytes) : v;
}
static ir_ref as_doubles(const struct rvv_body *x, ir_ref v, unsigned k)
{
    return ir_v1(x->b, IR_vfcvtl, WIDEN | (k & 1 ? VL_HIGH : 0), half_of(x, v, k, true));
}
static ir_ref doubles(const struct rvv_body *x, unsigned reg, unsigned k)
{
    return harmless(x, 3, k, rvv_piece(x, reg, k), true);
}

static struct fp_form wide_form(unsigned id)
{
    switch (id) {
    case RV_VFWADD_VV ... RV_VFWADD_VF:
    case RV_VFWADD_WV ... RV_VFWADD_WF:
        return (struct fp_form){IR_vfadd, FP_TWO};
    case RV_VFWSUB_VV ... RV_VFWSUB_VF:
    case RV_VFWSUB_WV ... RV_VFWSUB_WF:
        return (struct fp_form){IR_vfsub, FP_TWO};
    case RV_VFWMUL_VV ... RV_VFWMUL_VF:
        return (struct fp_form){IR_vfmul, FP_TWO};
    case RV_VFWMACC_VV ... RV_VFWMACC_VF:
        return (struct fp_form){IR_vfma, FP_FUSED};
    case RV_VFWNMACC_VV ... RV_VFWNMACC_VF:
        return (struct fp_form){IR_vfma, FP_FUSED, .neg_product = true, .neg_addend = true};
    case RV_VFWMSAC_VV ... RV_VFWMSAC_VF:
        return (struct fp_form){IR_vfma, FP_FUSED, .neg_addend = true};
    case RV_VFWNMSAC_VV ... RV_VFWNMSAC_VF:
        return (struct fp_form){IR_vfma, FP_FUSED, .neg_product = true};
    case RV_VFWCVT_F_F_V:
        return (struct fp_form){IR_vfcvtl, FP_ONE};
    case RV_VFWCVT_F_X_V:
    case RV_VFWCVT_F_XU_V:
        return (struct fp_form){IR_vi2f, FP_ONE};
    default:
        return (struct fp_form){0, FP_NONE};
    }
}

static ir_ref wide_result(const struct rvv_body *x, struct fp_form f, unsigned k)
{
    struct ir_build *b = x->b;
    bool in_wide = rv_vops[x->i->id].shape == VS_WIDEW, one = 2 * x->bytes == 8;
    unsigned aux = DOUBLE | (one ? VL_SCALAR : 0);
    ir_ref a = rvv_piece(x, x->i->vs2, in_wide ? k : k / 2);
    if (f.op == IR_vi2f) {
        unsigned widen = rv_vops[x->i->id].flags & VF_UNSIGNED ? IR_vuxtl : IR_vsxtl;
        a = ir_v1(b, widen, VL_32 | (k & 1 ? VL_HIGH : 0), half_of(x, a, k, false));
        return ir_v1(b, IR_vi2f, DOUBLE, a);
    }
    a = in_wide ? doubles(x, x->i->vs2, k) : as_doubles(x, a, k);
    if (f.kind == FP_ONE)
        return a;
    ir_ref s = as_doubles(x, rvv_second(x, k / 2), k);
    if (f.kind == FP_FUSED)
        return fused(x, f, aux, a, s, doubles(x, x->i->vd, k));
    return ir_v2(b, f.op, aux, a, s);
}

bool rvv_fp_widening(const struct rvv_body *x)
{
    unsigned total = 2 * x->v.vl_bytes, n = MAX(total / RVV_PIECE, 1u);
    struct fp_form f = wide_form(x->i->id);
    ir_ref v[RVV_MOST];
    if (x->v.sew != 2 || f.kind == FP_NONE)
        return false;
    for (unsigned k = 0; k < n; k++)
        v[k] = wide_result(x, f, k);
    rvv_put(x, 3, v, n, MIN(total, (unsigned)RVV_PIECE));
    return true;
}

// Doubles to singles.
bool rvv_fp_narrowing(const struct rvv_body *x)
{
    ir_ref v[RVV_MOST];
    if (x->v.sew != 2 || x->i->id != RV_VFNCVT_F_F_W)
        return false;
    for (unsigned k = 0; k < x->n; k++) {
        ir_ref lo = doubles(x, x->i->vs2, 2 * k);
        if (x->bytes < RVV_PIECE / 2)
            lo = rvv_start_of(x->b, rvv_splat(x->b, 0, 3), lo, 2 * x->bytes);
        v[k] = ir_v2(x->b, IR_vfcvtn, WIDEN, lo, lo);
        if (x->bytes == RVV_PIECE)
            v[k] = ir_v2(x->b, IR_vfcvtn, WIDEN | VL_HIGH, doubles(x, x->i->vs2, 2 * k + 1), v[k]);
    }
    rvv_put(x, 2, v, x->n, x->bytes);
    return true;
}

// ---- reductions: one element after another, as sums have to be ----

bool rvv_fp_reduction(const struct rvv_body *x)
{
    enum { MOST = 16 };
    struct ir_build *b = x->b;
    unsigned size = x->v.sew, each = (unsigned)RVV_PIECE >> size, id = x->i->id;
    bool sum = id == RV_VFREDUSUM_VS || id == RV_VFREDOSUM_VS;
    if (size < 2 || !sum || rvv_masked(x) || rvv_vl(x) > MOST)
        return false;
    ir_ref v = rvv_piece(x, x->i->vs1, 0);
    for (unsigned n = 0; n < rvv_vl(x); n++) {
        ir_ref all = rvv_piece(x, x->i->vs2, n / each);
        ir_ref one = n % each ? ir_v1(b, IR_vduplane, size | VL_IMM(n % each), all) : all;
        v = ir_v2(b, IR_vfadd, size | VL_SCALAR | FPA_NAN_MODE(FP_NAN_DEFAULT), v, one);
    }
    unsigned s = rvv_slot(x, x->i->vd, 0);
    ir_put(b, s, rvv_start_of(b, ir_get(b, s), v, 1u << size));
    return true;
}
