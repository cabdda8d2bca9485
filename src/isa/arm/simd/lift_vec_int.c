// A64 Advanced SIMD, integer arithmetic (DDI 0487, C4.1.96): three same, two-register miscellany,
// long, wide and narrow forms, by element, shifts by immediate, across lanes, dot products. One
// function per encoding class; `U` and `opcode` choose the operation as in the manual's tables.
#include "isa/arm/simd/simd.h"

static ir_ref v2(struct lift *l, unsigned op, unsigned aux, ir_ref x, ir_ref y)
{
    return ir_v2(l->b, op, aux, x, y);
}

static ir_ref v1(struct lift *l, unsigned op, unsigned aux, ir_ref x)
{
    return ir_v1(l->b, op, aux, x);
}

uint64_t a64_splat(uint64_t x, unsigned size)
{
    for (unsigned w = 8u << size; w < 64; w *= 2)
        x |= x << w;
    return x;
}

ir_ref a64_splat_const(struct lift *l, uint64_t x, unsigned size)
{
    return ir_const(l->b, IR_V128, a64_splat(x, size));
}

static ir_ref zero(struct lift *l)
{
    return ir_const(l->b, IR_V128, 0);
}

// ---- three registers of the same shape ----

enum { OP_QADD = 1, OP_QSUB = 5, OP_QSHL = 9, OP_QRSHL = 11, OP_ABA = 15, OP_MLA = 18, OP_MUL };
enum { OP_QDMULH = 22 };

static const uint8_t same_ops[2][32] = {
    {[0] = IR_vshadd, IR_vsqadd, IR_vsrhadd, 0,         IR_vshsub,   IR_vsqsub,
     IR_vcmpgt,       IR_vcmpge, IR_vsshl,   IR_vsqshl, IR_vsrshl,   IR_vsqrshl,
     IR_vsmax,        IR_vsmin,  IR_vsabd,   IR_vsabd,  IR_vadd,     IR_vcmptst,
     IR_vadd,         IR_vmul,   IR_vsmaxp,  IR_vsminp, IR_vsqdmulh, IR_vaddp},
    {[0] = IR_vuhadd, IR_vuqadd, IR_vurhadd, 0,         IR_vuhsub,   IR_vuqsub,
     IR_vcmphi,       IR_vcmphs, IR_vushl,   IR_vuqshl, IR_vurshl,   IR_vuqrshl,
     IR_vumax,        IR_vumin,  IR_vuabd,   IR_vuabd,  IR_vsub,     IR_vcmpeq,
     IR_vsub,         IR_vpmul,  IR_vumaxp,  IR_vuminp, IR_vsqrdmulh},
};

// Saturation of a doubling multiply that returns the high half: only of the least value squared.
static void check_doubling(struct lift *l, unsigned shape, ir_ref n, ir_ref m)
{
    unsigned size = shape & VL_LANE;
    ir_ref least = a64_splat_const(l, 1ull << ((8u << size) - 1), size);
    a64_saturated(
        l, v2(l, IR_vand, 0, v2(l, IR_vcmpeq, shape, n, least), v2(l, IR_vcmpeq, shape, m, least)));
}

static ir_ref three_same(struct lift *l, unsigned u, unsigned opcode, unsigned shape, ir_ref d,
                         ir_ref n, ir_ref m)
{
    unsigned op = same_ops[u][opcode];
    switch (opcode) {
    case OP_QADD:
        return a64_check_saturation(l, v2(l, op, shape, n, m), v2(l, IR_vadd, shape, n, m));
    case OP_QSUB:
        return a64_check_saturation(l, v2(l, op, shape, n, m), v2(l, IR_vsub, shape, n, m));
    case OP_QSHL:
    case OP_QRSHL: {
        ir_ref r = v2(l, op, shape, n, m);
        unsigned plain = opcode == OP_QSHL ? IR_vushl : IR_vurshl;
        if (u)
            return a64_check_saturation(l, r, v2(l, plain, shape, n, m));
        a64_saturated(l, a64_lanes(l, &arm_helper_int_lanes, LANES_SQSHL, shape, n, m, n));
        return r;
    }
    case OP_ABA:
        return v2(l, IR_vadd, shape, d, v2(l, op, shape, n, m));
    case OP_MLA:
        return v2(l, op, shape, d, v2(l, IR_vmul, shape, n, m));
    case OP_QDMULH:
        check_doubling(l, shape, n, m);
        return v2(l, op, shape, n, m);
    default:
        return v2(l, op, shape, n, m);
    }
}

void a64_lift_three_same(struct lift *l, const struct a64_insn *i)
{
    if (a64_simd_ready(l))
        a64_set_v(l, i->Rd,
                  three_same(l, i->U, i->opcode, a64_shape(i, i->size), a64_v(l, i->Rd),
                             a64_v(l, i->Rn), a64_v(l, i->Rm)));
}

static void rdm(struct lift *l, const struct a64_insn *i, ir_ref m)
{
    unsigned shape = a64_shape(i, i->size);
    unsigned kind = i->op ? LANES_SQRDMLSH : LANES_SQRDMLAH;
    unsigned mask = i->op ? LANES_SQRDMLSH_MASK : LANES_SQRDMLAH_MASK;
    ir_ref d = a64_v(l, i->Rd), n = a64_v(l, i->Rn);
    a64_saturated(l, a64_lanes(l, &arm_helper_int_lanes, mask, shape, n, m, d));
    a64_set_v(l, i->Rd, a64_lanes(l, &arm_helper_int_lanes, kind, shape, n, m, d));
}

void a64_lift_rdm(struct lift *l, const struct a64_insn *i)
{
    if (a64_simd_ready(l))
        rdm(l, i, a64_v(l, i->Rm));
}

// ---- two registers ----

void a64_lift_two_misc(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    unsigned shape = a64_shape(i, i->size);
    ir_ref n = a64_v(l, i->Rn), z = zero(l), r;
    switch (i->U << 5 | i->opcode) {
    case 0x03: // SUQADD
        r = a64_lanes(l, &arm_helper_int_lanes, LANES_SUQADD, shape, n, n, a64_v(l, i->Rd));
        a64_check_saturation(l, r, v2(l, IR_vadd, shape, a64_v(l, i->Rd), n));
        break;
    case 0x23: // USQADD
        r = a64_lanes(l, &arm_helper_int_lanes, LANES_USQADD, shape, n, n, a64_v(l, i->Rd));
        a64_check_saturation(l, r, v2(l, IR_vadd, shape, a64_v(l, i->Rd), n));
        break;
    case 0x04:
        r = v1(l, IR_vcls, shape, n);
        break;
    case 0x24:
        r = v1(l, IR_vclz, shape, n);
        break;
    case 0x05:
        r = v1(l, IR_vcnt, shape, n);
        break;
    case 0x25: // by size, NOT and RBIT of bytes
        r = v1(l, i->size ? IR_vrbit : IR_vnot, shape & ~(unsigned)VL_LANE, n);
        break;
    case 0x07: // SQABS: the larger of n and its saturated negation
        r = v2(l, IR_vsmax, shape, n, v2(l, IR_vsqsub, shape, z, n));
        a64_check_saturation(l, r, v1(l, IR_vabs, shape, n));
        break;
    case 0x27: // SQNEG
        r = v2(l, IR_vsqsub, shape, z, n);
        a64_check_saturation(l, r, v1(l, IR_vneg, shape, n));
        break;
    case 0x08:
        r = v2(l, IR_vcmpgt, shape, n, z);
        break;
    case 0x28:
        r = v2(l, IR_vcmpge, shape, n, z);
        break;
    case 0x09:
        r = v2(l, IR_vcmpeq, shape, n, z);
        break;
    case 0x29:
        r = v2(l, IR_vcmpge, shape, z, n);
        break;
    case 0x0a:
        r = v2(l, IR_vcmpgt, shape, z, n);
        break;
    case 0x0b:
        r = v1(l, IR_vabs, shape, n);
        break;
    default:
        r = v1(l, IR_vneg, shape, n);
    }
    a64_set_v(l, i->Rd, r);
}

void a64_lift_reverse_lanes(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    unsigned group = i->U ? 2 : i->opcode ? 1 : 3; // log2 of its bytes
    a64_set_v(l, i->Rd, v1(l, IR_vrev, a64_shape(i, i->size) | VL_IMM(group), a64_v(l, i->Rn)));
}

void a64_lift_pairwise_long(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    unsigned shape = a64_shape(i, i->size);
    ir_ref r = v1(l, i->U ? IR_vuaddlp : IR_vsaddlp, shape, a64_v(l, i->Rn));
    if (i->opcode & 4)
        r = v2(l, IR_vadd, shape + 1, a64_v(l, i->Rd), r);
    a64_set_v(l, i->Rd, r);
}

// A 64-bit narrowed result into the half of Rd that Q names.
static void set_narrow(struct lift *l, const struct a64_insn *i, ir_ref v)
{
    bool high = !(i->raw >> 28 & 1) && i->Q;
    a64_set_v(l, i->Rd, high ? v2(l, IR_vzip1, VL_64, a64_v(l, i->Rd), v) : v);
}

// Narrowing of `n` by IR op `op`, saturating unless it is plain; QC where widening it again
// differs.
static ir_ref narrow(struct lift *l, unsigned op, unsigned size, ir_ref n)
{
    ir_ref r = v2(l, op, size, n, n);
    if (op != IR_vxtn)
        a64_check_saturation(l, v1(l, op == IR_vsqxtn ? IR_vsxtl : IR_vuxtl, size, r), n);
    return r;
}

void a64_lift_narrow(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    unsigned op = i->opcode == 0x14 ? (i->U ? IR_vuqxtn : IR_vsqxtn) : i->U ? IR_vsqxtun : IR_vxtn;
    ir_ref n = a64_v(l, i->Rn);
    bool scalar = i->raw >> 28 & 1;
    if (scalar && i->size < 2) // only the lowest lane counts
        n = v2(l, IR_vand, 0, n,
               ir_v2(l->b, IR_vpair, 0, ir_i64(l->b, mask_low(16u << i->size)), ir_i64(l->b, 0)));
    else if (scalar)
        n = v1(l, IR_vhalf, 0, n);
    set_narrow(l, i, narrow(l, op, i->size, n));
}

void a64_lift_shll(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    ir_ref r = v1(l, IR_vuxtl, i->size | (i->Q ? VL_HIGH : 0), a64_v(l, i->Rn));
    a64_set_v(l, i->Rd, v1(l, IR_vshli, (i->size + 1u) | VL_IMM(8u << i->size), r));
}

void a64_lift_estimate_int(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    ir_ref n = a64_v(l, i->Rn);
    a64_set_v(l, i->Rd,
              a64_lanes(l, &arm_helper_int_lanes, i->U ? LANES_URSQRTE : LANES_URECPE,
                        a64_shape(i, VL_32), n, n, n));
}

// ---- long, wide, high-half narrowing ----

enum { LONG_ADD, LONG_SUB = 2, LONG_ABAL = 5, LONG_ABDL = 7, LONG_MLAL, LONG_QDMLAL, LONG_MLSL };
enum { LONG_QDMLSL = 11, LONG_MULL, LONG_QDMULL };

static ir_ref long_op(struct lift *l, const struct a64_insn *i, unsigned opcode, ir_ref m)
{
    bool scalar = i->raw >> 28 & 1;
    unsigned aux = i->size | (scalar ? VL_SCALAR : i->Q ? VL_HIGH : 0);
    unsigned wide = (i->size + 1u) | (scalar ? VL_SCALAR : 0);
    ir_ref d = a64_v(l, i->Rd), n = a64_v(l, i->Rn), p;
    switch (opcode) {
    case LONG_MLAL:
    case LONG_MLSL:
    case LONG_MULL:
        p = v2(l, i->U ? IR_vumull : IR_vsmull, aux, n, m);
        return opcode == LONG_MULL ? p : v2(l, opcode == LONG_MLAL ? IR_vadd : IR_vsub, wide, d, p);
    case LONG_QDMLAL:
    case LONG_QDMLSL:
    case LONG_QDMULL:
        p = v2(l, IR_vsmull, aux, n, m);
        p = a64_check_saturation(l, v2(l, IR_vsqadd, wide, p, p), v2(l, IR_vadd, wide, p, p));
        if (opcode == LONG_QDMLAL)
            return a64_check_saturation(l, v2(l, IR_vsqadd, wide, d, p),
                                        v2(l, IR_vadd, wide, d, p));
        if (opcode == LONG_QDMLSL)
            return a64_check_saturation(l, v2(l, IR_vsqsub, wide, d, p),
                                        v2(l, IR_vsub, wide, d, p));
        return p;
    default:
        n = v1(l, i->U ? IR_vuxtl : IR_vsxtl, aux, n);
        m = v1(l, i->U ? IR_vuxtl : IR_vsxtl, aux, m);
        if (opcode == LONG_ADD || opcode == LONG_SUB)
            return v2(l, opcode ? IR_vsub : IR_vadd, wide, n, m);
        p = v2(l, i->U ? IR_vuabd : IR_vsabd, wide, n, m);
        return opcode == LONG_ABAL ? v2(l, IR_vadd, wide, d, p) : p;
    }
}

void a64_lift_long(struct lift *l, const struct a64_insn *i)
{
    if (a64_simd_ready(l))
        a64_set_v(l, i->Rd, long_op(l, i, i->opcode, a64_v(l, i->Rm)));
}

void a64_lift_wide(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    ir_ref m = v1(l, i->U ? IR_vuxtl : IR_vsxtl, i->size | (i->Q ? VL_HIGH : 0), a64_v(l, i->Rm));
    a64_set_v(l, i->Rd,
              v2(l, i->opcode == 1 ? IR_vadd : IR_vsub, i->size + 1u, a64_v(l, i->Rn), m));
}

void a64_lift_high_narrow(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    unsigned wide = i->size + 1u, w = 8u << i->size;
    ir_ref s = v2(l, i->opcode == 4 ? IR_vadd : IR_vsub, wide, a64_v(l, i->Rn), a64_v(l, i->Rm));
    if (i->U)
        s = v2(l, IR_vadd, wide, s, a64_splat_const(l, 1ull << (w - 1), wide));
    s = v1(l, IR_vshri, wide | VL_IMM(w), s);
    set_narrow(l, i, narrow(l, IR_vxtn, i->size, s));
}

void a64_lift_pmull(struct lift *l, const struct a64_insn *i)
{
    if (a64_simd_ready(l))
        a64_set_v(
            l, i->Rd,
            v2(l, IR_vpmull, i->size | (i->Q ? VL_HIGH : 0), a64_v(l, i->Rn), a64_v(l, i->Rm)));
}

// ---- by element ----

// The element in every lane. Halfwords come from V0..V15, with M the lowest bit of the index.
static ir_ref element(struct lift *l, const struct a64_insn *i, unsigned size)
{
    unsigned m = size == VL_16 ? i->Rm4 : i->Rm4 | (unsigned)i->M << 4;
    unsigned index = size == VL_16   ? (unsigned)i->H << 2 | i->L << 1 | i->M
                     : size == VL_32 ? (unsigned)i->H << 1 | i->L
                                     : i->H;
    return v1(l, IR_vduplane, size | VL_IMM(index), a64_v(l, m));
}

void a64_lift_element(struct lift *l, const struct a64_insn *i)
{
    static const uint8_t as_same[16] = {
        [0] = OP_MLA, [4] = OP_MLA, [8] = OP_MUL, [12] = OP_QDMULH, [13] = OP_QDMULH};
    if (!a64_simd_ready(l))
        return;
    unsigned u = i->opcode == 4 || i->opcode == 13; // MLS and the rounding SQRDMULH
    a64_set_v(l, i->Rd,
              three_same(l, u, as_same[i->opcode], a64_shape(i, i->size), a64_v(l, i->Rd),
                         a64_v(l, i->Rn), element(l, i, i->size)));
}

void a64_lift_element_rdm(struct lift *l, const struct a64_insn *i)
{
    if (a64_simd_ready(l))
        rdm(l, i, element(l, i, i->size));
}

void a64_lift_element_long(struct lift *l, const struct a64_insn *i)
{
    static const uint8_t as_long[16] = {[2] = LONG_MLAL,   [3] = LONG_QDMLAL, [6] = LONG_MLSL,
                                        [7] = LONG_QDMLSL, [10] = LONG_MULL,  [11] = LONG_QDMULL};
    if (a64_simd_ready(l))
        a64_set_v(l, i->Rd, long_op(l, i, as_long[i->opcode], element(l, i, i->size)));
}

// ---- dot products and matrices ----

static void dot(struct lift *l, const struct a64_insn *i, unsigned op, ir_ref x, ir_ref y)
{
    a64_set_v(l, i->Rd, ir_v3(l->b, op, a64_shape(i, VL_32), a64_v(l, i->Rd), x, y));
}

void a64_lift_dot(struct lift *l, const struct a64_insn *i)
{
    if (a64_simd_ready(l))
        dot(l, i, i->a ? IR_vusdot : i->U ? IR_vudot : IR_vsdot, a64_v(l, i->Rn), a64_v(l, i->Rm));
}

void a64_lift_element_dot(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    ir_ref n = a64_v(l, i->Rn), m = element(l, i, VL_32);
    if (i->id == A64_SUDOT_e)
        dot(l, i, IR_vusdot, m, n);
    else
        dot(l, i, i->id == A64_USDOT_e ? IR_vusdot : i->U ? IR_vudot : IR_vsdot, n, m);
}

void a64_lift_mmla(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    ir_ref d = a64_v(l, i->Rd), n = a64_v(l, i->Rn), m = a64_v(l, i->Rm);
    if (i->id == A64_BFMMLA)
        a64_set_v(l, i->Rd, a64_lanes(l, &arm_helper_fp_lanes, LANES_BFMMLA, VL_32, n, m, d));
    else
        a64_set_v(l, i->Rd,
                  a64_lanes(l, &arm_helper_int_lanes,
                            i->a   ? LANES_USMMLA
                            : i->U ? LANES_UMMLA
                                   : LANES_SMMLA,
                            VL_32, n, m, d));
}

// ---- shifts by immediate: immh's leading bit is the lane size ----

static unsigned shift_size(const struct a64_insn *i)
{
    return log2_floor(i->immh);
}

static unsigned right_amount(const struct a64_insn *i)
{
    return (16u << shift_size(i)) - (i->immh << 3 | i->immb);
}

static unsigned left_amount(const struct a64_insn *i)
{
    return (unsigned)(i->immh << 3 | i->immb) - (8u << shift_size(i));
}

void a64_lift_shift_right(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    unsigned size = shift_size(i), shape = a64_shape(i, size), n = right_amount(i);
    bool rounding = i->opcode & 4 && i->opcode != 8, accumulate = i->opcode & 2;
    ir_ref d = a64_v(l, i->Rd), r;
    if (i->opcode == 8) { // SRI keeps the bits above
        uint64_t keep = ~mask_low((8u << size) - n) & mask_low(8u << size);
        ir_ref shifted = v1(l, IR_vshri, shape | VL_IMM(n), a64_v(l, i->Rn));
        r = v2(l, IR_vor, shape, v2(l, IR_vand, 0, d, a64_splat_const(l, keep, size)), shifted);
        a64_set_v(l, i->Rd, r);
        return;
    }
    unsigned op = rounding ? (i->U ? IR_vrshri : IR_vrsari) : i->U ? IR_vshri : IR_vsari;
    r = v1(l, op, shape | VL_IMM(n), a64_v(l, i->Rn));
    a64_set_v(l, i->Rd, accumulate ? v2(l, IR_vadd, shape, d, r) : r);
}

void a64_lift_shift_left(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    unsigned size = shift_size(i), shape = a64_shape(i, size), n = left_amount(i);
    ir_ref x = a64_v(l, i->Rn), by = a64_splat_const(l, n, size), r;
    switch (i->U << 5 | i->opcode) {
    case 0x0a: // SHL
        r = v1(l, IR_vshli, shape | VL_IMM(n), x);
        break;
    case 0x2a: // SLI keeps the bits below
        r = v2(l, IR_vor, shape,
               v2(l, IR_vand, 0, a64_v(l, i->Rd), a64_splat_const(l, mask_low(n), size)),
               v1(l, IR_vshli, shape | VL_IMM(n), x));
        break;
    case 0x2c: // SQSHLU: what does not come back when shifted right has saturated
        r = a64_lanes(l, &arm_helper_int_lanes, LANES_SQSHLU, shape, x, by, x);
        a64_saturated(l, v2(l, IR_vsub, shape, n ? v1(l, IR_vshri, shape | VL_IMM(n), r) : r, x));
        break;
    default: // SQSHL, UQSHL
        r = v2(l, i->U ? IR_vuqshl : IR_vsqshl, shape, x, by);
        a64_saturated(l, v2(l, IR_vsub, shape,
                            n ? v1(l, i->U ? IR_vshri : IR_vsari, shape | VL_IMM(n), r) : r, x));
    }
    a64_set_v(l, i->Rd, r);
}

void a64_lift_shift_narrow(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    bool rounding = i->opcode & 1, scalar = i->raw >> 28 & 1;
    unsigned size = shift_size(i), op;
    bool is_unsigned = i->U && i->opcode >= 0x12;
    op = i->opcode >= 0x12 ? (i->U ? IR_vuqxtn : IR_vsqxtn) : i->U ? IR_vsqxtun : IR_vxtn;
    unsigned shift =
        is_unsigned ? (rounding ? IR_vrshri : IR_vshri) : (rounding ? IR_vrsari : IR_vsari);
    unsigned wide = (size + 1) | (scalar ? VL_SCALAR : 0);
    ir_ref n = v1(l, shift, wide | VL_IMM(right_amount(i)), a64_v(l, i->Rn));
    set_narrow(l, i, narrow(l, op, size, n));
}

void a64_lift_shift_long(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    unsigned size = shift_size(i), n = left_amount(i);
    ir_ref r = v1(l, i->U ? IR_vuxtl : IR_vsxtl, size | (i->Q ? VL_HIGH : 0), a64_v(l, i->Rn));
    a64_set_v(l, i->Rd, n ? v1(l, IR_vshli, (size + 1) | VL_IMM(n), r) : r);
}

// ---- across lanes ----

void a64_lift_across(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    unsigned shape = a64_shape(i, i->size);
    ir_ref n = a64_v(l, i->Rn), r;
    switch (i->opcode) {
    case 0x03: // into a lane twice as wide
        r = v1(l, i->U ? IR_vuaddlp : IR_vsaddlp, shape, n);
        r = v1(l, IR_vaddv, shape + 1, r);
        break;
    case 0x0a:
        r = v1(l, i->U ? IR_vumaxv : IR_vsmaxv, shape, n);
        break;
    case 0x1a:
        r = v1(l, i->U ? IR_vuminv : IR_vsminv, shape, n);
        break;
    default:
        r = v1(l, IR_vaddv, shape, n);
    }
    a64_set_v(l, i->Rd, r);
}
