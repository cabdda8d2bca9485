// Masks: comparisons that make them, operations on them, and what counts or numbers their bits. In
// the IR a mask is words of 64 bits; what comes from a comparison of vectors and is used by one of
// equal elements stays lanes (vbits of vmask).
#include "isa/riscv/rv/vector/body.h"

enum { WORDS = 4 };

static unsigned lane_of_words(const struct rvv_body *x)
{
    unsigned n = rvv_vl(x);
    return n <= 8 ? VL_8 : n == 16 ? VL_16 : n == 32 ? VL_32 : VL_64;
}

ir_ref rvv_mask_word(const struct rvv_body *x, unsigned reg, unsigned k)
{
    return ir_emit(x->b, IR_vgetu, IR_I64, lane_of_words(x) | VL_IMM(k % 2),
                   rvv_piece(x, reg, k / 2), IR_NONE, IR_NONE);
}

// The bits that count: below vl, and active.
static ir_ref live_word(const struct rvv_body *x, unsigned reg, unsigned k)
{
    ir_ref w = rvv_mask_word(x, reg, k);
    if (rvv_vl(x) < 8)
        w = ir_andi(x->b, w, mask_low(rvv_vl(x)));
    return rvv_masked(x) ? ir_and(x->b, w, rvv_mask_word(x, 0, k)) : w;
}

// Active bits of vd become those of w.
static void put_words(const struct rvv_body *x, ir_ref *w)
{
    struct ir_build *b = x->b;
    unsigned n = rvv_vl(x), vd = x->i->vd, lane = lane_of_words(x), s = rvv_slot(x, vd, 0);
    for (unsigned k = 0; rvv_masked(x) && k < rvv_mask_words(x); k++) {
        ir_ref m = rvv_mask_word(x, 0, k), old = rvv_mask_word(x, vd, k);
        w[k] = ir_or(b, ir_and(b, w[k], m), ir_andn(b, old, m));
    }
    if (n < 8) {
        ir_ref old = ir_emit(b, IR_vgetu, IR_I32, VL_8, ir_get(b, s), IR_NONE, IR_NONE);
        ir_put(b, s,
               ir_v2(b, IR_vset, VL_8, ir_get(b, s), ir_bfi(b, old, ir_trunc(b, w[0]), 0, n)));
    } else if (n <= 64) {
        ir_ref v = lane == VL_64 ? w[0] : ir_trunc(b, w[0]);
        ir_put(b, s, ir_v2(b, IR_vset, lane, ir_get(b, s), v));
    } else {
        for (unsigned k = 0; k < n / 64; k += 2)
            ir_put(b, rvv_slot(x, vd, k / 2),
                   ir_emit(b, IR_vpair, IR_V128, 0, w[k], w[k + 1], IR_NONE));
    }
}

// ---- comparisons ----

// Carries out of sums, borrows of differences, v0 being the carry that comes in.
static ir_ref carries(const struct rvv_body *x, ir_ref a, ir_ref s, unsigned k, bool borrow)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew;
    ir_ref sum = ir_v2(b, IR_vadd, size, a, s);
    ir_ref out = borrow ? ir_v2(b, IR_vcmphi, size, s, a) : ir_v2(b, IR_vcmphi, size, a, sum);
    if (rv_vm(x->i->raw))
        return out;
    // One more goes over only from the very last number.
    ir_ref last = borrow ? ir_v2(b, IR_vcmpeq, size, a, s)
                         : ir_v2(b, IR_vcmpeq, size, sum, rvv_splat(b, ~0ull, size));
    return ir_v2(b, IR_vor, VL_8, out, ir_v2(b, IR_vand, VL_8, last, rvv_chosen(x, size, k)));
}

// All ones in the lanes of piece k where it holds.
static ir_ref compared(const struct rvv_body *x, unsigned k)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew;
    if (rv_vops[x->i->id].flags & VF_FP)
        return rvv_fp_compare(x, k);
    ir_ref a = rvv_piece(x, x->i->vs2, k), s = rvv_second(x, k);
    switch (x->i->id) {
    case RV_VMSEQ_VV ... RV_VMSEQ_VI:
        return ir_v2(b, IR_vcmpeq, size, a, s);
    case RV_VMSNE_VV ... RV_VMSNE_VI:
        return ir_v1(b, IR_vnot, VL_8, ir_v2(b, IR_vcmpeq, size, a, s));
    case RV_VMSLTU_VV ... RV_VMSLTU_VX:
        return ir_v2(b, IR_vcmphi, size, s, a);
    case RV_VMSLT_VV ... RV_VMSLT_VX:
        return ir_v2(b, IR_vcmpgt, size, s, a);
    case RV_VMSLEU_VV ... RV_VMSLEU_VI:
        return ir_v2(b, IR_vcmphs, size, s, a);
    case RV_VMSLE_VV ... RV_VMSLE_VI:
        return ir_v2(b, IR_vcmpge, size, s, a);
    case RV_VMSGTU_VX ... RV_VMSGTU_VI:
        return ir_v2(b, IR_vcmphi, size, a, s);
    case RV_VMSGT_VX ... RV_VMSGT_VI:
        return ir_v2(b, IR_vcmpgt, size, a, s);
    case RV_VMADC_VVM ... RV_VMADC_VI:
        return carries(x, a, s, k, false);
    case RV_VMSBC_VVM ... RV_VMSBC_VX:
        return carries(x, a, s, k, true);
    default:
        return IR_NONE;
    }
}

bool rvv_compare(const struct rvv_body *x)
{
    unsigned lanes = (unsigned)RVV_PIECE >> x->v.sew;
    ir_ref w[WORDS] = {0};
    if (!x->b->sw.masks || !compared(x, 0))
        return false;
    for (unsigned k = 0; k < rvv_mask_words(x); k++)
        w[k] = ir_i64(x->b, 0);
    for (unsigned k = 0; k < x->n; k++) {
        unsigned first = k * lanes;
        w[first / 64] = ir_emit(x->b, IR_vmask, IR_I64, x->v.sew | VL_IMM(first % 64),
                                w[first / 64], compared(x, k), IR_NONE);
    }
    put_words(x, w);
    return true;
}

// ---- bits and bits ----

static bool logic(const struct rvv_body *x)
{
    struct ir_build *b = x->b;
    ir_ref w[WORDS];
    for (unsigned k = 0; k < rvv_mask_words(x); k++) {
        ir_ref m = rvv_mask_word(x, x->i->vs2, k), n = rvv_mask_word(x, x->i->vs1, k);
        switch (x->i->id) {
        case RV_VMANDN_MM:
            w[k] = ir_andn(b, m, n);
            break;
        case RV_VMAND_MM:
            w[k] = ir_and(b, m, n);
            break;
        case RV_VMOR_MM:
            w[k] = ir_or(b, m, n);
            break;
        case RV_VMXOR_MM:
            w[k] = ir_xor(b, m, n);
            break;
        case RV_VMORN_MM:
            w[k] = ir_or(b, m, ir_not(b, n));
            break;
        case RV_VMNAND_MM:
            w[k] = ir_not(b, ir_and(b, m, n));
            break;
        case RV_VMNOR_MM:
            w[k] = ir_not(b, ir_or(b, m, n));
            break;
        default:
            w[k] = ir_not(b, ir_xor(b, m, n));
            break;
        }
    }
    put_words(x, w);
    return true;
}

static bool population(const struct rvv_body *x)
{
    ir_ref sum = ir_i64(x->b, 0);
    for (unsigned k = 0; k < rvv_mask_words(x); k++)
        sum = ir_add(x->b, sum, ir_popcnt(x->b, live_word(x, x->i->vs2, k)));
    rv_set(x->l, x->i->rd, sum);
    return true;
}

static bool first(const struct rvv_body *x)
{
    struct ir_build *b = x->b;
    ir_ref at = ir_i64(b, ~0ull);
    for (unsigned k = rvv_mask_words(x); k-- > 0;) {
        ir_ref w = live_word(x, x->i->vs2, k);
        ir_ref here = ir_addi(b, ir_ctz(b, w), 64 * (int64_t)k);
        at = ir_select(b, ir_cmp(b, CMP_EQ, w, ir_i64(b, 0)), at, here);
    }
    rv_set(x->l, x->i->rd, at);
    return true;
}

// Bits before, up to, or only the first one.
static bool around_first(const struct rvv_body *x)
{
    struct ir_build *b = x->b;
    if (rvv_mask_words(x) > 1)
        return false;
    ir_ref w = live_word(x, x->i->vs2, 0), less = ir_addi(b, w, -1), r[WORDS];
    r[0] = x->i->id == RV_VMSBF_M   ? ir_andn(b, less, w)
           : x->i->id == RV_VMSIF_M ? ir_xor(b, less, w)
                                    : ir_andn(b, w, less);
    put_words(x, r);
    return true;
}

// ---- numbers of elements ----

static ir_ref numbers(const struct rvv_body *x, unsigned k)
{
    uint64_t half[2] = {0};
    unsigned size = x->v.sew, lanes = (unsigned)RVV_PIECE >> size;
    for (unsigned n = 0; n < lanes; n++)
        half[n >= lanes / 2] |= (uint64_t)(k * lanes + n) << ((n << (size + 3)) % 64);
    return rvv_constant(x->b, half[0], half[1]);
}

// Each element becomes the number of bits set before it: sums of pairs, of fours and so on, and
// what the pieces before had.
static bool iota(const struct rvv_body *x)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew, lanes = (unsigned)RVV_PIECE >> size;
    ir_ref v[RVV_MOST], before = rvv_zero(b);
    for (unsigned k = 0; k < x->n; k++) {
        unsigned at = k * lanes;
        ir_ref word = live_word(x, x->i->vs2, at / 64);
        ir_ref one = ir_v1(b, IR_vneg, size, ir_v1(b, IR_vbits, size | VL_IMM(at % 64), word));
        ir_ref sum = one;
        for (unsigned n = 1u << size; n < RVV_PIECE; n *= 2)
            sum = ir_v2(b, IR_vadd, size, sum,
                        ir_v2(b, IR_vext, VL_8 | VL_IMM(RVV_PIECE - n), rvv_zero(b), sum));
        v[k] = ir_v2(b, IR_vadd, size, before, ir_v2(b, IR_vsub, size, sum, one));
        if (k + 1 < x->n)
            before = ir_v2(b, IR_vadd, size, before,
                           ir_v1(b, IR_vduplane, size | VL_IMM(lanes - 1), sum));
    }
    rvv_put(x, size, v, x->n, x->bytes);
    return true;
}

static bool identity(const struct rvv_body *x)
{
    ir_ref v[RVV_MOST];
    for (unsigned k = 0; k < x->n; k++)
        v[k] = numbers(x, k);
    rvv_put(x, x->v.sew, v, x->n, x->bytes);
    return true;
}

bool rvv_mask_op(const struct rvv_body *x)
{
    if (!x->b->sw.masks)
        return false;
    switch (x->i->id) {
    case RV_VMANDN_MM ... RV_VMXNOR_MM:
        return logic(x);
    case RV_VCPOP_M:
        return population(x);
    case RV_VFIRST_M:
        return first(x);
    case RV_VMSBF_M:
    case RV_VMSIF_M:
    case RV_VMSOF_M:
        return around_first(x);
    case RV_VIOTA_M:
        return iota(x);
    case RV_VID_V:
        return identity(x);
    default:
        return false;
    }
}
