// A64 Advanced SIMD, floating point (DDI 0487, C4.1.96): arithmetic on lanes, comparisons,
// conversions, estimates, reductions, complex numbers, widening multiply-add, BFloat16. Half
// precision shares every function; its encodings differ in fixed bits only.
#include "isa/arm/simd/simd.h"

static ir_ref v2(struct lift *l, unsigned op, unsigned aux, ir_ref x, ir_ref y)
{
    return ir_v2(l->b, op, aux, x, y);
}

static ir_ref v1(struct lift *l, unsigned op, unsigned aux, ir_ref x)
{
    return ir_v1(l->b, op, aux, x);
}

static ir_ref lanes(struct lift *l, unsigned kind, unsigned shape, ir_ref a, ir_ref b, ir_ref c)
{
    return a64_lanes(l, &arm_helper_fp_lanes, kind, shape, a, b, c);
}

// ---- three registers ----

static ir_ref absolute(struct lift *l, unsigned shape, ir_ref x)
{
    return v1(l, IR_vfabs, shape, x);
}

// `select`: U << 4 | a << 3 | the low three bits of opcode.
static ir_ref three(struct lift *l, unsigned select, unsigned shape, ir_ref d, ir_ref n, ir_ref m)
{
    static const uint8_t plain[32] = {
        [0x00] = IR_vfmaxnm, [0x02] = IR_vfadd,   [0x04] = IR_vfcmpeq, [0x06] = IR_vfmax,
        [0x08] = IR_vfminnm, [0x0a] = IR_vfsub,   [0x0e] = IR_vfmin,   [0x10] = IR_vfmaxnm,
        [0x12] = IR_vfaddp,  [0x13] = IR_vfmul,   [0x14] = IR_vfcmpge, [0x16] = IR_vfmax,
        [0x17] = IR_vfdiv,   [0x18] = IR_vfminnm, [0x1c] = IR_vfcmpgt, [0x1e] = IR_vfmin,
    };
    unsigned aux = shape | a64_nan(l);
    switch (select) {
    case 0x09: // FMLS
        n = v1(l, IR_vfneg, shape, n);
        // fall through
    case 0x01: // FMLA
        return ir_v3(l->b, IR_vfma, aux, n, m, d);
    case 0x03:
        return lanes(l, LANES_MULX, shape, n, m, n);
    case 0x07:
        return lanes(l, LANES_RECPS, shape, n, m, n);
    case 0x0f:
        return lanes(l, LANES_RSQRTS, shape, n, m, n);
    case 0x15: // FACGE, FACGT
        return v2(l, IR_vfcmpge, aux, absolute(l, shape, n), absolute(l, shape, m));
    case 0x1d:
        return v2(l, IR_vfcmpgt, aux, absolute(l, shape, n), absolute(l, shape, m));
    case 0x1a: // FABD
        return absolute(l, shape, v2(l, IR_vfsub, aux, n, m));
    case 0x10: // pairwise FMAXNMP, FMAXP, FMINNMP, FMINP
    case 0x16:
    case 0x18:
    case 0x1e:
        return v2(l, plain[select], aux, v2(l, IR_vuzp1, shape, n, m),
                  v2(l, IR_vuzp2, shape, n, m));
    default:
        return v2(l, plain[select], aux, n, m);
    }
}

void a64_lift_three_fp(struct lift *l, const struct a64_insn *i)
{
    unsigned size = i->raw >> 21 & 1 ? VL_32 + i->sz : VL_16;
    if (a64_fp_ready(l, size))
        a64_set_v(l, i->Rd,
                  three(l, i->U << 4 | i->a << 3 | i->opc, a64_shape(i, size), a64_v(l, i->Rd),
                        a64_v(l, i->Rn), a64_v(l, i->Rm)));
}

// The element of a by-element form in every lane.
static ir_ref element(struct lift *l, const struct a64_insn *i, unsigned size)
{
    unsigned m = size == VL_16 ? i->Rm4 : i->Rm4 | (unsigned)i->M << 4;
    unsigned index = size == VL_16   ? (unsigned)i->H << 2 | i->L << 1 | i->M
                     : size == VL_32 ? (unsigned)i->H << 1 | i->L
                                     : i->H;
    return v1(l, IR_vduplane, size | VL_IMM(index), a64_v(l, m));
}

void a64_lift_element_fp(struct lift *l, const struct a64_insn *i)
{
    unsigned size = i->raw >> 23 & 1 ? VL_32 + i->sz : VL_16;
    unsigned select = i->opcode == 1 ? 0x01 : i->opcode == 5 ? 0x09 : i->U ? 0x03 : 0x13;
    if (a64_fp_ready(l, size))
        a64_set_v(l, i->Rd,
                  three(l, select, a64_shape(i, size), a64_v(l, i->Rd), a64_v(l, i->Rn),
                        element(l, i, size)));
}

// ---- two registers ----

static ir_ref spec(struct lift *l, unsigned v)
{
    return ir_vzext(l->b, ir_i32(l->b, v));
}

static ir_ref compare_zero(struct lift *l, unsigned select, unsigned aux, ir_ref n)
{
    ir_ref z = ir_const(l->b, IR_V128, 0);
    switch (select) {
    case 0x2c:
        return v2(l, IR_vfcmpgt, aux, n, z);
    case 0x2d:
        return v2(l, IR_vfcmpeq, aux, n, z);
    case 0x2e:
        return v2(l, IR_vfcmpgt, aux, z, n);
    case 0x6c:
        return v2(l, IR_vfcmpge, aux, n, z);
    default:
        return v2(l, IR_vfcmpge, aux, z, n);
    }
}

// `select`: U << 6 | a << 5 | opcode.
static ir_ref two(struct lift *l, unsigned select, unsigned shape, ir_ref n)
{
    unsigned aux = shape | a64_nan(l), is_unsigned = select & 0x40 ? FPA_UNSIGNED : 0;
    switch (select) {
    case 0x2c: // FCMGT, FCMEQ, FCMLT, FCMGE, FCMLE with zero
    case 0x2d:
    case 0x2e:
    case 0x6c:
    case 0x6d:
        return compare_zero(l, select, aux, n);
    case 0x2f:
        return v1(l, IR_vfabs, shape, n);
    case 0x6f:
        return v1(l, IR_vfneg, shape, n);
    case 0x7f:
        return v1(l, IR_vfsqrt, aux, n);
    case 0x3f:
        return lanes(l, LANES_RECPX, shape, n, n, n);
    case 0x3d:
        return lanes(l, LANES_RECPE, shape, n, n, n);
    case 0x7d:
        return lanes(l, LANES_RSQRTE, shape, n, n, n);
    case 0x18: // FRINTN, P, M, Z, A, X, I
        return v1(l, IR_vfrint, aux | FPA_RM_FIXED(FP_RNE), n);
    case 0x38:
        return v1(l, IR_vfrint, aux | FPA_RM_FIXED(FP_RUP), n);
    case 0x19:
        return v1(l, IR_vfrint, aux | FPA_RM_FIXED(FP_RDN), n);
    case 0x39:
        return v1(l, IR_vfrint, aux | FPA_RM_FIXED(FP_RTZ), n);
    case 0x58:
        return v1(l, IR_vfrint, aux | FPA_RM_FIXED(FP_RMM), n);
    case 0x59:
        return v1(l, IR_vfrint, aux | FPA_SIGNAL, n);
    case 0x79:
        return v1(l, IR_vfrint, aux, n);
    case 0x1d:
    case 0x5d:
        return v1(l, IR_vi2f, aux | is_unsigned, n);
    case 0x1a: // to integer: N, P, M, Z, A
    case 0x5a:
        return v1(l, IR_vf2i, aux | is_unsigned | FPA_RM_FIXED(FP_RNE), n);
    case 0x3a:
    case 0x7a:
        return v1(l, IR_vf2i, aux | is_unsigned | FPA_RM_FIXED(FP_RUP), n);
    case 0x1b:
    case 0x5b:
        return v1(l, IR_vf2i, aux | is_unsigned | FPA_RM_FIXED(FP_RDN), n);
    case 0x3b:
    case 0x7b:
        return v1(l, IR_vf2i, aux | is_unsigned | FPA_RM_FIXED(FP_RTZ), n);
    default:
        return v1(l, IR_vf2i, aux | is_unsigned | FPA_RM_FIXED(FP_RMM), n);
    }
}

void a64_lift_two_fp(struct lift *l, const struct a64_insn *i)
{
    unsigned size = (i->raw >> 19 & 3) == 3 ? VL_16 : VL_32 + i->sz;
    if (a64_fp_ready(l, size))
        a64_set_v(l, i->Rd,
                  two(l, i->U << 6 | i->a << 5 | i->opcode, a64_shape(i, size), a64_v(l, i->Rn)));
}

void a64_lift_round_ts(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    unsigned size = VL_32 + i->sz;
    ir_ref n = a64_v(l, i->Rn);
    unsigned how = size | (i->opcode & 1u) << 4 | (unsigned)i->U << 5 | (i->U ^ 1u) << 6;
    a64_set_v(l, i->Rd, lanes(l, LANES_ROUND_TS, a64_shape(i, size), n, spec(l, how), n));
}

// Between fixed point and floating point: the fraction bits are encoded as a right shift.
void a64_lift_fixed_vec(struct lift *l, const struct a64_insn *i)
{
    unsigned size = log2_floor(i->immh);
    if (!a64_fp_ready(l, size))
        return;
    unsigned fraction = (16u << size) - (i->immh << 3 | i->immb);
    unsigned how = size | (i->U ? CONVERT_UNSIGNED : 0) | fraction << CONVERT_FRACTION_SHIFT |
                   (FP_RTZ + 1) << CONVERT_RM_SHIFT;
    bool to_int = i->opcode & 1;
    if (!to_int)
        how &= ~(7u << CONVERT_RM_SHIFT);
    ir_ref n = a64_v(l, i->Rn);
    a64_set_v(
        l, i->Rd,
        lanes(l, to_int ? LANES_TO_INT : LANES_FROM_INT, a64_shape(i, size), n, spec(l, how), n));
}

// ---- between formats ----

void a64_lift_fcvtl(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    ir_ref n = a64_v(l, i->Rn);
    unsigned size = i->sz ? VL_32 : VL_16;
    a64_set_v(l, i->Rd, v1(l, IR_vfcvtl, size | (i->Q ? VL_HIGH : 0) | a64_nan(l), n));
}

void a64_lift_fcvtn(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    ir_ref n = a64_v(l, i->Rn), r;
    bool scalar = i->raw >> 28 & 1;
    if (i->id == A64_FCVTXN || i->id == A64_FCVTXN_s)
        r = lanes(l, LANES_NARROW_ODD, VL_32 | (scalar ? VL_SCALAR : 0), n, n, n);
    else if (i->id == A64_BFCVTN)
        r = lanes(l, LANES_NARROW_BF16, VL_16, n, n, n);
    else
        r = v2(l, IR_vfcvtn, (i->sz ? VL_32 : VL_16) | a64_nan(l), n, n);
    bool high = !scalar && i->Q;
    a64_set_v(l, i->Rd, high ? v2(l, IR_vzip1, VL_64, a64_v(l, i->Rd), r) : r);
}

// ---- reductions ----

// Pairs of adjacent lanes, then pairs of those, as FPReduce does.
void a64_lift_across_fp(struct lift *l, const struct a64_insn *i)
{
    unsigned size = i->U ? VL_32 : VL_16;
    if (!a64_fp_ready(l, size))
        return;
    unsigned op =
        i->opcode == 0xc ? (i->a ? IR_vfminnm : IR_vfmaxnm) : (i->a ? IR_vfmin : IR_vfmax);
    unsigned count = (i->Q ? 16u : 8u) >> size;
    ir_ref r = a64_v(l, i->Rn);
    for (; count > 1; count /= 2) {
        unsigned shape = size | (count == 8 ? 0 : VL_HALF), sum = count == 2 ? VL_SCALAR : VL_HALF;
        if (count << size == 16)
            shape = size;
        r = v2(l, op, size | sum | a64_nan(l), v2(l, IR_vuzp1, shape, r, r),
               v2(l, IR_vuzp2, shape, r, r));
    }
    a64_set_v(l, i->Rd, r);
}

void a64_lift_pairwise_scalar(struct lift *l, const struct a64_insn *i)
{
    bool integer = i->id == A64_ADDP_s;
    unsigned size = integer ? VL_64 : i->U ? VL_32 + i->sz : VL_16;
    if (!(integer ? a64_simd_ready(l) : a64_fp_ready(l, size)))
        return;
    ir_ref n = a64_v(l, i->Rn), second = v1(l, IR_vduplane, size | VL_IMM(1), n);
    unsigned op, aux = size | VL_SCALAR | (integer ? 0 : a64_nan(l));
    if (integer)
        op = IR_vadd;
    else if (i->opcode == 0xd)
        op = IR_vfadd;
    else if (i->opcode == 0xc)
        op = i->a ? IR_vfminnm : IR_vfmaxnm;
    else
        op = i->a ? IR_vfmin : IR_vfmax;
    a64_set_v(l, i->Rd, v2(l, op, aux, n, second));
}

// ---- complex numbers: even lanes are real parts ----

static ir_ref sign_of(struct lift *l, unsigned size, bool odd)
{
    uint64_t sign = 1ull << ((8u << size) - 1);
    if (size == VL_64)
        return ir_emit(l->b, IR_vpair, IR_V128, 0, ir_i64(l->b, odd ? 0 : sign),
                       ir_i64(l->b, odd ? sign : 0), IR_NONE);
    return a64_splat_const(l, sign << (odd ? 8u << size : 0), size + 1);
}

static ir_ref swap_parts(struct lift *l, unsigned size, ir_ref x)
{
    if (size == VL_64)
        return v2(l, IR_vext, VL_IMM(8), x, x);
    return v1(l, IR_vrev, size | VL_IMM(size + 1), x);
}

void a64_lift_fcadd(struct lift *l, const struct a64_insn *i)
{
    if (!a64_fp_ready(l, i->size))
        return;
    unsigned shape = a64_shape(i, i->size);
    ir_ref m = swap_parts(l, i->size, a64_v(l, i->Rm));
    m = v2(l, IR_vxor, 0, m, sign_of(l, i->size, i->rot));
    a64_set_v(l, i->Rd, v2(l, IR_vfadd, shape | a64_nan(l), a64_v(l, i->Rn), m));
}

static void fcmla(struct lift *l, const struct a64_insn *i, ir_ref m)
{
    unsigned size = i->size, shape = a64_shape(i, size);
    ir_ref n = a64_v(l, i->Rn);
    n = v2(l, i->rot & 1 ? IR_vtrn2 : IR_vtrn1, size, n, n);
    if (i->rot & 1)
        m = swap_parts(l, size, m);
    if (i->rot == 1 || i->rot == 2)
        m = v2(l, IR_vxor, 0, m, sign_of(l, size, false));
    if (i->rot >= 2)
        m = v2(l, IR_vxor, 0, m, sign_of(l, size, true));
    a64_set_v(l, i->Rd, ir_v3(l->b, IR_vfma, shape | a64_nan(l), n, m, a64_v(l, i->Rd)));
}

void a64_lift_fcmla(struct lift *l, const struct a64_insn *i)
{
    if (a64_fp_ready(l, i->size))
        fcmla(l, i, a64_v(l, i->Rm));
}

void a64_lift_element_fcmla(struct lift *l, const struct a64_insn *i)
{
    if (!a64_fp_ready(l, i->size))
        return;
    unsigned index = i->size == VL_16 ? (unsigned)i->H << 1 | i->L : i->H; // of a pair
    ir_ref m = a64_v(l, i->Rm4 | (unsigned)i->M << 4);
    fcmla(l, i, v1(l, IR_vduplane, (i->size + 1u) | VL_IMM(index), m));
}

// ---- multiply-add into wider lanes ----

static void fmlal(struct lift *l, const struct a64_insn *i, ir_ref m, bool by_element)
{
    ir_ref n = a64_v(l, i->Rn);
    if (i->U) { // the upper half of the source's lanes
        n = v2(l, IR_vext, VL_IMM(i->Q ? 8u : 4u), n, n);
        if (!by_element)
            m = v2(l, IR_vext, VL_IMM(i->Q ? 8u : 4u), m, m);
    }
    if (i->a)
        n = v1(l, IR_vfneg, VL_16, n);
    a64_set_v(l, i->Rd, lanes(l, LANES_FMLAL, a64_shape(i, VL_32), n, m, a64_v(l, i->Rd)));
}

void a64_lift_fmlal(struct lift *l, const struct a64_insn *i)
{
    if (a64_simd_ready(l))
        fmlal(l, i, a64_v(l, i->Rm), false);
}

void a64_lift_element_fmlal(struct lift *l, const struct a64_insn *i)
{
    if (a64_simd_ready(l))
        fmlal(l, i, element(l, i, VL_16), true);
}

static void bfdot(struct lift *l, const struct a64_insn *i, ir_ref m)
{
    a64_set_v(l, i->Rd,
              lanes(l, LANES_BFDOT, a64_shape(i, VL_32), a64_v(l, i->Rn), m, a64_v(l, i->Rd)));
}

// The even (Q clear) or odd BF16 lanes as single precision.
static ir_ref widen_bf16(struct lift *l, const struct a64_insn *i, ir_ref x)
{
    if (i->Q)
        return v2(l, IR_vand, 0, x, a64_splat_const(l, 0xffff0000, VL_32));
    return v1(l, IR_vshli, VL_32 | VL_IMM(16), x);
}

static void bfmlal(struct lift *l, const struct a64_insn *i, ir_ref m)
{
    a64_set_v(l, i->Rd,
              ir_v3(l->b, IR_vfma, VL_32 | a64_nan(l), widen_bf16(l, i, a64_v(l, i->Rn)), m,
                    a64_v(l, i->Rd)));
}

void a64_lift_bfdot(struct lift *l, const struct a64_insn *i)
{
    if (a64_simd_ready(l))
        bfdot(l, i, a64_v(l, i->Rm));
}

void a64_lift_bfmlal(struct lift *l, const struct a64_insn *i)
{
    if (a64_simd_ready(l))
        bfmlal(l, i, widen_bf16(l, i, a64_v(l, i->Rm)));
}

void a64_lift_element_bf(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    if (i->id == A64_BFDOT_e)
        bfdot(l, i, element(l, i, VL_32));
    else
        bfmlal(l, i, v1(l, IR_vshli, VL_32 | VL_IMM(16), element(l, i, VL_16)));
}
