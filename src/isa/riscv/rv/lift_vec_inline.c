// Vector instructions as vector operations of the IR: where vstart is zero and vl is known to be a
// power of two of bytes, so that a group is whole pieces of 16 bytes, or the start of one. Masked
// lanes and lanes behind vl keep what vd held; floating point does not see them, for they may raise
// no flags. Everything else is a call.
#include "isa/riscv/rv/lift_vec.h"

enum { PIECE = 16 };

struct body {
    struct lift *l;
    struct ir_build *b;
    const struct rv_insn *i;
    struct rv_vconfig v;
    unsigned per_reg; // pieces of a register
    unsigned n;       // pieces that vl reaches into
    unsigned bytes;   // of the piece: 16 or less
};

// ---- pieces ----

static unsigned slot(const struct body *x, unsigned reg, unsigned k)
{
    return RV_V0 + reg * x->per_reg + k;
}
static ir_ref piece(const struct body *x, unsigned reg, unsigned k)
{
    return ir_get(x->b, slot(x, reg, k));
}
static ir_ref constant(struct ir_build *b, uint64_t lo, uint64_t hi)
{
    if (lo == hi)
        return ir_const(b, IR_V128, lo);
    return ir_emit(b, IR_vpair, IR_V128, 0, ir_i64(b, lo), ir_i64(b, hi), IR_NONE);
}
static uint64_t repeat(uint64_t val, unsigned size)
{
    val &= size == 3 ? ~0ull : mask_low(8u << size);
    for (unsigned n = 8u << size; n < 64; n *= 2)
        val |= val << n;
    return val;
}
static ir_ref splat(struct ir_build *b, uint64_t val, unsigned size)
{
    return ir_const(b, IR_V128, repeat(val, size));
}

// The low `bytes` of v over old.
static ir_ref start_of(struct ir_build *b, ir_ref old, ir_ref v, unsigned bytes)
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

// All ones in the active lanes of piece k of elements of `size`.
static ir_ref mask_of(const struct body *x, unsigned size, unsigned k)
{
    struct ir_build *b = x->b;
    unsigned first = k * ((unsigned)PIECE >> size), byte = first / 8 % PIECE;
    ir_ref v0 = piece(x, 0, first / 8 / PIECE), index, select;
    if (size == 0) {
        index = constant(b, repeat(byte, 0), repeat(byte + 1, 0));
        select = constant(b, 0x8040201008040201, 0x8040201008040201);
    } else {
        uint64_t one = byte | (repeat(0xff, 0) & mask_low(8u << size) & ~0xffull), bits[2] = {0};
        for (unsigned n = 0; n < (unsigned)PIECE >> size; n++)
            bits[n << size >> 3] |= 1ull << (first + n) % 8 << (8 * (n << size) % 64);
        index = splat(b, one, size);
        select = constant(b, bits[0], bits[1]);
    }
    return ir_v2(b, IR_vcmptst, size, ir_v2(b, IR_vtbl, VL_8, v0, index), select);
}

static bool masked(const struct body *x)
{
    return !rv_vm(x->i->raw);
}

// Piece k of vd, of elements of `size`, becomes v where elements are active.
static void put(const struct body *x, unsigned size, unsigned k, unsigned bytes, ir_ref v)
{
    unsigned s = slot(x, x->i->vd, k);
    ir_ref old = ir_get(x->b, s);
    if (masked(x))
        v = ir_v3(x->b, IR_vbsl, VL_8, mask_of(x, size, k), v, old);
    ir_put(x->b, s, start_of(x->b, old, v, bytes));
}

// ---- operands ----

static ir_ref scalar(const struct body *x)
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
    default:
        return ir_i64(x->b, n);
    }
}

// Piece k of the second operand.
static ir_ref second(const struct body *x, unsigned k)
{
    uint64_t known;
    if (rv_vops[x->i->id].source == VSRC_V)
        return piece(x, x->i->vs1, k);
    ir_ref s = scalar(x);
    if (ir_is_const(x->b, s, &known))
        return splat(x->b, known, x->v.sew);
    return ir_emit(x->b, IR_vdup, IR_V128, x->v.sew, s, IR_NONE, IR_NONE);
}

// ---- integers of one size ----

static ir_ref shift(const struct body *x, unsigned size, ir_ref a, unsigned k, int kind)
{
    struct ir_build *b = x->b;
    static const uint8_t by_imm[] = {IR_vshli, IR_vshri, IR_vsari};
    uint64_t known, mask = (8u << size) - 1;
    unsigned by = kind == 2 ? IR_vsshl : IR_vushl;
    if (rv_vops[x->i->id].source == VSRC_V) {
        ir_ref n = ir_v2(b, IR_vand, VL_8, piece(x, x->i->vs1, k), splat(b, mask, size));
        return ir_v2(b, by, size, a, kind ? ir_v1(b, IR_vneg, size, n) : n);
    }
    ir_ref n = ir_andi(b, scalar(x), mask);
    if (ir_is_const(b, n, &known))
        return known ? ir_v1(b, by_imm[kind], size | VL_IMM((unsigned)known), a) : a;
    n = ir_emit(b, IR_vdup, IR_V128, size, kind ? ir_neg(b, n) : n, IR_NONE, IR_NONE);
    return ir_v2(b, by, size, a, n);
}

// IR_NONE: no operation for this.
static ir_ref same_size(const struct body *x, unsigned k)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew, id = x->i->id;
    ir_ref a = piece(x, x->i->vs2, k), d;
#define TWO(op) ir_v2(b, op, size, a, second(x, k))
    switch (id) {
    case RV_VADD_VV ... RV_VADD_VI:
        return TWO(IR_vadd);
    case RV_VSUB_VV ... RV_VSUB_VX:
        return TWO(IR_vsub);
    case RV_VRSUB_VX ... RV_VRSUB_VI:
        return ir_v2(b, IR_vsub, size, second(x, k), a);
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
    case RV_VOR_VV ... RV_VOR_VI:
        return TWO(IR_vor);
    case RV_VXOR_VV ... RV_VXOR_VI:
        return TWO(IR_vxor);
    case RV_VSLL_VV ... RV_VSLL_VI:
        return shift(x, size, a, k, 0);
    case RV_VSRL_VV ... RV_VSRL_VI:
        return shift(x, size, a, k, 1);
    case RV_VSRA_VV ... RV_VSRA_VI:
        return shift(x, size, a, k, 2);
    case RV_VMUL_VV ... RV_VMUL_VX:
        return TWO(IR_vmul);
    case RV_VMACC_VV ... RV_VMACC_VX:
        return ir_v2(b, IR_vadd, size, piece(x, x->i->vd, k), TWO(IR_vmul));
    case RV_VNMSAC_VV ... RV_VNMSAC_VX:
        return ir_v2(b, IR_vsub, size, piece(x, x->i->vd, k), TWO(IR_vmul));
    case RV_VMADD_VV ... RV_VMADD_VX:
        d = ir_v2(b, IR_vmul, size, piece(x, x->i->vd, k), second(x, k));
        return ir_v2(b, IR_vadd, size, a, d);
    case RV_VNMSUB_VV ... RV_VNMSUB_VX:
        d = ir_v2(b, IR_vmul, size, piece(x, x->i->vd, k), second(x, k));
        return ir_v2(b, IR_vsub, size, a, d);
    case RV_VMV_V_V:
    case RV_VMV_V_X:
    case RV_VMV_V_I:
    case RV_VFMV_V_F:
        return second(x, k);
    case RV_VMERGE_VVM ... RV_VMERGE_VIM:
        return ir_v3(b, IR_vbsl, VL_8, mask_of(x, size, k), second(x, k), a);
    case RV_VFMERGE_VFM:
        return ir_v3(b, IR_vbsl, VL_8, mask_of(x, size, k), second(x, k), a);
    default:
        return IR_NONE;
    }
#undef TWO
}

// ---- floating point of one size ----

struct fp_form {
    uint8_t op;
    enum { FP_TWO, FP_SWAPPED, FP_ONE, FP_SIGN, FP_FUSED, FP_NONE } kind;
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

static ir_ref sign_of(const struct body *x, unsigned kind, ir_ref a, ir_ref s)
{
    struct ir_build *b = x->b;
    ir_ref sign = splat(b, 1ull << ((8u << x->v.sew) - 1), x->v.sew);
    if (kind == 1)
        s = ir_v1(b, IR_vnot, VL_8, s);
    if (kind == 2)
        return ir_v2(b, IR_vxor, VL_8, a, ir_v2(b, IR_vand, VL_8, s, sign));
    return ir_v3(b, IR_vbsl, VL_8, sign, s, a);
}

// 1.0 in lanes that are masked off, so that they raise nothing; 0 for integers.
static ir_ref harmless(const struct body *x, unsigned k, ir_ref v, bool number)
{
    uint64_t one = x->v.sew == 3 ? 0x3ff0000000000000 : 0x3f800000;
    if (!masked(x))
        return v;
    return ir_v3(x->b, IR_vbsl, VL_8, mask_of(x, x->v.sew, k), v,
                 splat(x->b, number ? one : 0, x->v.sew));
}

static ir_ref fp_same_size(const struct body *x, unsigned k)
{
    struct ir_build *b = x->b;
    struct fp_form f = fp_form(x->i->id);
    unsigned lane_bytes = 1u << x->v.sew;
    unsigned aux = x->v.sew | FPA_NAN_MODE(FP_NAN_DEFAULT) | f.aux;
    if (f.op == IR_vf2i)
        aux = x->v.sew | f.aux;
    if (x->bytes < PIECE)
        aux |= x->bytes == lane_bytes ? VL_SCALAR : VL_HALF;
    ir_ref a = piece(x, x->i->vs2, k), s;
    if (f.kind == FP_SIGN)
        return sign_of(x, f.op, a, second(x, k));
    a = harmless(x, k, a, f.op != IR_vi2f);
    if (f.kind == FP_ONE)
        return ir_v1(b, f.op, aux, a);
    s = harmless(x, k, second(x, k), true);
    if (f.kind == FP_TWO)
        return ir_v2(b, f.op, aux, a, s);
    if (f.kind == FP_SWAPPED)
        return ir_v2(b, f.op, aux, s, a);
    ir_ref d = harmless(x, k, piece(x, x->i->vd, k), true);
    ir_ref factor = f.by_vd ? d : a, addend = f.by_vd ? a : d;
    if (f.neg_product)
        factor = ir_v1(b, IR_vfneg, x->v.sew, factor);
    if (f.neg_addend)
        addend = ir_v1(b, IR_vfneg, x->v.sew, addend);
    return ir_v3(b, IR_vfma, aux, factor, s, addend);
}

static bool inline_same_size(struct body *x)
{
    bool fp = rv_vops[x->i->id].flags & VF_FP;
    bool moves = x->i->id == RV_VFMV_V_F || x->i->id == RV_VFMERGE_VFM;
    if (fp && x->v.sew < 2)
        return false;
    if (fp && !moves && fp_form(x->i->id).kind == FP_NONE)
        return false;
    if ((!fp || moves) && !same_size(x, 0))
        return false;
    bool carry = rv_vops[x->i->id].flags & VF_CARRY; // v0 is no mask of the result
    ir_ref v[PIECE];
    for (unsigned k = 0; k < x->n; k++)
        v[k] = fp && !moves ? fp_same_size(x, k) : same_size(x, k);
    for (unsigned k = 0; k < x->n; k++) {
        ir_ref old = piece(x, x->i->vd, k);
        if (masked(x) && !carry)
            v[k] = ir_v3(x->b, IR_vbsl, VL_8, mask_of(x, x->v.sew, k), v[k], old);
        v[k] = start_of(x->b, old, v[k], x->bytes);
    }
    for (unsigned k = 0; k < x->n; k++)
        ir_put(x->b, slot(x, x->i->vd, k), v[k]);
    return true;
}

// ---- widening and narrowing ----

// Half k of the source's pieces, each lane made twice as wide.
static ir_ref widened(const struct body *x, ir_ref v, unsigned k, bool zero)
{
    return ir_v1(x->b, zero ? IR_vuxtl : IR_vsxtl, x->v.sew | (k & 1 ? VL_HIGH : 0), v);
}

static ir_ref wide_result(const struct body *x, unsigned k)
{
    struct ir_build *b = x->b;
    unsigned id = x->i->id, size = x->v.sew, half = k & 1 ? VL_HIGH : 0;
    bool zero = rv_vops[id].flags & VF_UNSIGNED;
    bool in_wide = rv_vops[id].shape == VS_WIDEW;
    ir_ref a = piece(x, x->i->vs2, in_wide ? k : k / 2), s = second(x, k / 2);
    unsigned mul = zero ? IR_vumull : IR_vsmull;
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
    case RV_VWMACCU_VV ... RV_VWMACC_VX:
        return ir_v2(b, IR_vadd, size + 1, piece(x, x->i->vd, k), ir_v2(b, mul, size | half, a, s));
    default:
        return IR_NONE;
    }
}

static void put_wide(const struct body *x, unsigned size, const ir_ref *v, unsigned n,
                     unsigned bytes)
{
    for (unsigned k = 0; k < n; k++)
        put(x, size, k, bytes, v[k]);
}

static bool inline_widening(struct body *x)
{
    unsigned total = 2 * x->v.vl_bytes, n = MAX(total / PIECE, 1u);
    ir_ref v[PIECE];
    if (!wide_result(x, 0))
        return false;
    for (unsigned k = 0; k < n; k++)
        v[k] = wide_result(x, k);
    put_wide(x, x->v.sew + 1, v, n, MIN(total, (unsigned)PIECE));
    return true;
}

// vzext and vsext by two and four.
static bool inline_extension(struct body *x)
{
    unsigned times = rv_vops[x->i->id].shape - VS_EXT2 + 1, size = x->v.sew - times;
    bool zero = rv_vops[x->i->id].flags & VF_UNSIGNED;
    ir_ref v[PIECE];
    if (times > 2)
        return false;
    for (unsigned k = 0; k < x->n; k++) {
        v[k] = piece(x, x->i->vs2, k >> times);
        for (unsigned t = 0; t < times; t++)
            v[k] = ir_v1(x->b, zero ? IR_vuxtl : IR_vsxtl,
                         (size + t) | (k >> (times - 1 - t) & 1 ? VL_HIGH : 0), v[k]);
    }
    put_wide(x, x->v.sew, v, x->n, x->bytes);
    return true;
}

static bool inline_narrowing(struct body *x)
{
    struct ir_build *b = x->b;
    unsigned id = x->i->id, size = x->v.sew;
    bool right = id >= RV_VNSRL_WX && id <= RV_VNSRL_WI,
         sign = id >= RV_VNSRA_WX && id <= RV_VNSRA_WI;
    ir_ref v[PIECE];
    if ((!right && !sign) || x->v.vl_bytes < 8)
        return false;
    for (unsigned k = 0; k < x->n; k++) {
        ir_ref lo = shift(x, size + 1, piece(x, x->i->vs2, 2 * k), k, right ? 1 : 2);
        v[k] = ir_v2(b, IR_vxtn, size, lo, lo);
        if (x->bytes == PIECE) {
            ir_ref hi = shift(x, size + 1, piece(x, x->i->vs2, 2 * k + 1), k, right ? 1 : 2);
            v[k] = ir_v2(b, IR_vxtn, size | VL_HIGH, hi, v[k]);
        }
    }
    put_wide(x, size, v, x->n, x->bytes);
    return true;
}

// ---- reductions ----

static bool inline_reduction(struct body *x)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew, two, across;
    switch (x->i->id) {
    case RV_VREDSUM_VS:
        two = IR_vadd;
        across = IR_vaddv;
        break;
    case RV_VREDMIN_VS:
        two = IR_vsmin;
        across = IR_vsminv;
        break;
    case RV_VREDMAX_VS:
        two = IR_vsmax;
        across = IR_vsmaxv;
        break;
    case RV_VREDMINU_VS:
        two = IR_vumin;
        across = IR_vuminv;
        break;
    case RV_VREDMAXU_VS:
        two = IR_vumax;
        across = IR_vumaxv;
        break;
    default:
        return false;
    }
    if (masked(x) || x->bytes < PIECE || size == 3)
        return false;
    ir_ref v = piece(x, x->i->vs2, 0);
    for (unsigned k = 1; k < x->n; k++)
        v = ir_v2(b, two, size, v, piece(x, x->i->vs2, k));
    v = ir_v2(b, two, size, ir_v1(b, across, size, v), piece(x, x->i->vs1, 0));
    unsigned s = slot(x, x->i->vd, 0);
    ir_put(b, s, start_of(b, ir_get(b, s), v, 1u << size));
    return true;
}

// ---- moves between element 0 and scalar registers ----

static bool inline_scalar(struct body *x)
{
    struct ir_build *b = x->b;
    const struct rv_insn *i = x->i;
    unsigned size = x->v.sew, type = size == 3 ? IR_I64 : IR_I32;
    unsigned s = slot(x, i->vd, 0);
    ir_ref v;
    switch (i->id) {
    case RV_VMV_X_S:
        v = ir_emit(b, IR_vgets, type, size | VL_IMM(0), piece(x, i->vs2, 0), IR_NONE, IR_NONE);
        rv_set(x->l, i->rd, v);
        return true;
    case RV_VFMV_F_S:
        if (size < 2)
            return false;
        rv_fp_set_bits(x->l, i->rd, ir_vlow(b, type, piece(x, i->vs2, 0)));
        return true;
    case RV_VMV_S_X:
        v = size == 3 ? rv_x(x->l, i->rs1) : rv_w(x->l, i->rs1);
        break;
    case RV_VFMV_S_F:
        if (size < 2)
            return false;
        v = rv_fp_bits(x->l, size == 3, i->rs1);
        break;
    default:
        return false;
    }
    if (!x->v.vl_bytes) // perhaps zero
        return false;
    ir_put(b, s, ir_v2(b, IR_vset, size | VL_IMM(0), ir_get(b, s), v));
    return true;
}

// ---- memory ----

static bool inline_access(struct body *x, unsigned bytes)
{
    struct ir_build *b = x->b;
    bool load = !bit(x->i->raw, 5);
    unsigned n = MAX(bytes / PIECE, 1u), part = MIN(bytes, (unsigned)PIECE), size = 0;
    ir_ref base = rv_x(x->l, x->i->rs1), v[8 * 2];
    if (n > ARRAY_SIZE(v))
        return false;
    while (1u << size < part)
        size++;
    unsigned type = size == 4 ? IR_V128 : size == 3 ? IR_I64 : IR_I32;
    unsigned reg = rv_vd(x->i->raw);
    for (unsigned k = 0; k < n; k++) {
        ir_ref at = rv_data_address(x->l, ir_addi(b, base, (int64_t)k * PIECE)), p;
        if (load) {
            p = ir_load(b, type, at, size);
            v[k] = size == 4 ? p : start_of(b, piece(x, reg, k), ir_vzext(b, p), part);
            continue;
        }
        p = piece(x, reg, k);
        if (size < 4)
            p = size >= 2 ? ir_vlow(b, type, p)
                          : ir_emit(b, IR_vgetu, IR_I32, size | VL_IMM(0), p, IR_NONE, IR_NONE);
        ir_store(b, at, p, size);
    }
    for (unsigned k = 0; load && k < n; k++)
        ir_put(b, slot(x, reg, k), v[k]);
    return true;
}

// Lane n of a group, zero-extended.
static ir_ref lane_of(struct body *x, unsigned reg, unsigned size, unsigned n)
{
    unsigned type = size == 3 ? IR_I64 : IR_I32, each = (unsigned)PIECE >> size;
    return ir_emit(x->b, IR_vgetu, type, size | VL_IMM(n % each), piece(x, reg, n / each), IR_NONE,
                   IR_NONE);
}

// Where the elements are, one after another: at a stride, or at offsets of `width`.
static ir_ref next_address(struct body *x, bool indexed, unsigned width, unsigned n, ir_ref last)
{
    struct ir_build *b = x->b;
    ir_ref base = rv_x(x->l, x->i->rs1);
    if (!indexed)
        return n ? ir_add(b, last, rv_x(x->l, x->i->rs2)) : base;
    ir_ref offset = lane_of(x, rv_vs2(x->i->raw), width, n);
    return ir_add(b, base, width == 3 ? offset : ir_zext(b, IR_I64, offset, 32));
}

// A few elements with a stride or indices: one access each.
static bool inline_scattered(struct body *x, bool indexed, unsigned width, unsigned n)
{
    enum { MOST = 16 };
    struct ir_build *b = x->b;
    bool load = !bit(x->i->raw, 5);
    unsigned size = indexed ? x->v.sew : width, each = (unsigned)PIECE >> size,
             reg = rv_vd(x->i->raw);
    ir_ref at = IR_NONE, v[MOST];
    if (n > MOST || !b->sw.scattered)
        return false;
    for (unsigned k = 0; k < n; k++) {
        at = next_address(x, indexed, width, k, at);
        ir_ref va = rv_data_address(x->l, at);
        if (load)
            v[k] = ir_load(b, size == 3 ? IR_I64 : IR_I32, va, size);
        else
            ir_store(b, va, lane_of(x, reg, size, k), size);
    }
    for (unsigned k = 0; load && k < n; k++) {
        unsigned s = slot(x, reg, k / each);
        if (size == 3 && k + 1 < n && k % 2 == 0) {
            ir_put(b, s, ir_emit(b, IR_vpair, IR_V128, 0, v[k], v[k + 1], IR_NONE));
            k++;
        } else {
            ir_put(b, s, ir_v2(b, IR_vset, size | VL_IMM(k % each), ir_get(b, s), v[k]));
        }
    }
    return true;
}

static bool try_access(struct body *x)
{
    static const uint8_t widths[8] = {0, 0, 0, 0, 0, 1, 2, 3};
    uint32_t raw = x->i->raw;
    unsigned whole = rv_vec_whole(x->i->id), width = widths[bits(raw, 14, 12)],
             mop = (unsigned)bits(raw, 27, 26);
    if (whole)
        return inline_access(x, whole * x->per_reg * PIECE);
    unsigned vl = x->v.vl_bytes >> x->v.sew;
    if (!vl || masked(x) || bits(raw, 31, 28))
        return false;
    if (mop)
        return inline_scattered(x, mop & 1, width, vl);
    return !bits(raw, 24, 20) && inline_access(x, vl << width);
}

// ---- AES: a group is a piece ----

static ir_ref aes_round(struct ir_build *b, unsigned id, ir_ref state, ir_ref key)
{
    ir_ref none = ir_const(b, IR_V128, 0);
    switch (id) {
    case RV_VAESEM_VV:
    case RV_VAESEM_VS:
        state = ir_v1(b, IR_aesmc, 0, ir_v2(b, IR_aese, 0, state, none));
        break;
    case RV_VAESEF_VV:
    case RV_VAESEF_VS:
        state = ir_v2(b, IR_aese, 0, state, none);
        break;
    case RV_VAESDM_VV:
    case RV_VAESDM_VS:
        state = ir_v2(b, IR_vxor, 0, ir_v2(b, IR_aesd, 0, state, none), key);
        return ir_v1(b, IR_aesimc, 0, state);
    case RV_VAESDF_VV:
    case RV_VAESDF_VS:
        state = ir_v2(b, IR_aesd, 0, state, none);
        break;
    default: // VAESZ
        break;
    }
    return ir_v2(b, IR_vxor, 0, state, key);
}

static bool inline_aes(struct body *x)
{
    unsigned id = x->i->id;
    if (id < RV_VAESDM_VV || id > RV_VAESZ_VS || x->v.vl_bytes < PIECE)
        return false;
    bool one_key = id >= RV_VAESDM_VS;
    for (unsigned k = 0; k < x->n; k++) {
        ir_ref key = piece(x, x->i->vs2, one_key ? 0 : k);
        ir_put(x->b, slot(x, x->i->vd, k), aes_round(x->b, id, piece(x, x->i->vd, k), key));
    }
    return true;
}

bool rv_lift_vec_inline(struct lift *l, const struct rv_insn *i)
{
    const struct rv_cpu *c = rv_cpu(l->env);
    struct body x = {.l = l, .b = l->b, .i = i, .v = rv_vconfig_of(l->b->mode)};
    uint8_t shape = rv_vops[i->id].shape;
    if (c->vlenb > 32 || x.v.start)
        return false;
    x.per_reg = c->vlenb / PIECE;
    x.n = MAX(x.v.vl_bytes / PIECE, 1u);
    x.bytes = MIN(x.v.vl_bytes, (unsigned)PIECE);
    if (!strcmp(rv_info[i->id].cls, "vec_load") || !strcmp(rv_info[i->id].cls, "vec_store"))
        return try_access(&x);
    if (!strcmp(rv_info[i->id].cls, "vec_crypto"))
        return inline_aes(&x);
    if (!shape)
        return inline_scalar(&x);
    if (!x.v.vl_bytes)
        return false;
    switch (shape) {
    case VS_SAME:
        return inline_same_size(&x);
    case VS_WIDE:
    case VS_WIDEW:
        return !(rv_vops[i->id].flags & VF_FP) && inline_widening(&x);
    case VS_NARROW:
        return !(rv_vops[i->id].flags & VF_FP) && inline_narrowing(&x);
    case VS_EXT2:
    case VS_EXT4:
        return inline_extension(&x);
    case VS_RED:
        return inline_reduction(&x);
    default:
        return false;
    }
}
