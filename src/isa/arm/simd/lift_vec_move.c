// A64 Advanced SIMD moves (DDI 0487, C4.1.96): bitwise logic, copies between lanes and general
// registers, permutations, table look-up, immediates.
#include "isa/arm/simd/simd.h"

static unsigned whole(const struct a64_insn *i)
{
    return i->Q ? 0 : VL_HALF;
}

void a64_lift_logic(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    struct ir_build *b = l->b;
    unsigned aux = whole(i);
    ir_ref n = a64_v(l, i->Rn), m = a64_v(l, i->Rm), r;
    switch (i->U << 2 | i->size) {
    case 0:
        r = ir_v2(b, IR_vand, aux, n, m);
        break;
    case 1:
        r = ir_v2(b, IR_vandn, aux, n, m);
        break;
    case 2:
        r = ir_v2(b, IR_vor, aux, n, m);
        if (i->Rn == i->Rm && !i->Q)
            r = ir_v1(b, IR_vhalf, 0, n);
        break;
    case 3:
        r = ir_v2(b, IR_vor, aux, n, ir_v1(b, IR_vnot, 0, m));
        break;
    case 4:
        r = ir_v2(b, IR_vxor, aux, n, m);
        break;
    case 5: // BSL: where Rd is set Rn, else Rm
        r = ir_v3(b, IR_vbsl, aux, a64_v(l, i->Rd), n, m);
        break;
    case 6: // BIT: insert Rn where Rm is set
        r = ir_v3(b, IR_vbsl, aux, m, n, a64_v(l, i->Rd));
        break;
    default: // BIF: insert Rn where Rm is clear
        r = ir_v3(b, IR_vbsl, aux, m, a64_v(l, i->Rd), n);
    }
    a64_set_v(l, i->Rd, r);
}

// ---- copies: the lowest set bit of imm5 is the lane size, above it stands the lane ----

static ir_ref get_lane(struct lift *l, unsigned op, unsigned type, unsigned size, unsigned lane,
                       unsigned n)
{
    return ir_emit(l->b, op, type, size | VL_IMM(lane), a64_v(l, n), IR_NONE, IR_NONE);
}

void a64_lift_copy(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    struct ir_build *b = l->b;
    unsigned size = (unsigned)__builtin_ctz(i->imm5), lane = i->imm5 >> (size + 1);
    unsigned type = size == 3 ? IR_I64 : IR_I32;
    ir_ref x;
    switch (i->id) {
    case A64_DUP_e:
        a64_set_v(l, i->Rd, ir_v1(b, IR_vduplane, size | whole(i) | VL_IMM(lane), a64_v(l, i->Rn)));
        break;
    case A64_DUP_s:
        a64_set_scalar(l, i->Rd, get_lane(l, IR_vgetu, type, size, lane, i->Rn));
        break;
    case A64_DUP_g:
        a64_set_v(l, i->Rd, ir_v1(b, IR_vdup, size | whole(i), a64_reg(l, size == 3, i->Rn)));
        break;
    case A64_SMOV:
        a64_set(l, i->Rd, get_lane(l, IR_vgets, a64_type(i->Q), size, lane, i->Rn));
        break;
    case A64_UMOV:
        a64_set(l, i->Rd, get_lane(l, IR_vgetu, type, size, lane, i->Rn));
        break;
    default: // INS
        x = i->id == A64_INS_g
                ? a64_reg(l, size == 3, i->Rn)
                : get_lane(l, IR_vgetu, type, size, (unsigned)i->imm4 >> size, i->Rn);
        a64_set_v(l, i->Rd, ir_v2(b, IR_vset, size | VL_IMM(lane), a64_v(l, i->Rd), x));
    }
}

// ---- permutations ----

void a64_lift_permute(struct lift *l, const struct a64_insn *i)
{
    static const uint8_t ops[8] = {
        [1] = IR_vuzp1, IR_vtrn1, IR_vzip1, [5] = IR_vuzp2, IR_vtrn2, IR_vzip2};
    if (a64_simd_ready(l))
        a64_set_v(l, i->Rd,
                  ir_v2(l->b, ops[i->opc], i->size | whole(i), a64_v(l, i->Rn), a64_v(l, i->Rm)));
}

void a64_lift_extract_vec(struct lift *l, const struct a64_insn *i)
{
    if (a64_simd_ready(l))
        a64_set_v(l, i->Rd,
                  ir_v2(l->b, IR_vext, whole(i) | VL_IMM((unsigned)i->imm4), a64_v(l, i->Rn),
                        a64_v(l, i->Rm)));
}

// One look-up per table register, each with the index moved down by 16 more; TBX and later
// registers keep what is there where the index is out of reach.
void a64_lift_table(struct lift *l, const struct a64_insn *i)
{
    if (!a64_simd_ready(l))
        return;
    struct ir_build *b = l->b;
    unsigned aux = whole(i);
    ir_ref index = a64_v(l, i->Rm), r = i->op ? a64_v(l, i->Rd) : IR_NONE;
    for (unsigned k = 0; k <= i->len; k++) {
        ir_ref table = a64_v(l, (i->Rn + k) & 31), at = index;
        if (k)
            at = ir_v2(b, IR_vsub, VL_8, index, a64_splat_const(l, 16 * k, VL_8));
        r = r ? ir_v3(b, IR_vtbx, aux, r, table, at) : ir_v2(b, IR_vtbl, aux, table, at);
    }
    a64_set_v(l, i->Rd, r);
}

// ---- immediates (AdvSIMDExpandImm) ----

static uint64_t expand(const struct a64_insn *i)
{
    uint64_t imm8 = (uint64_t)(i->abc << 5 | i->defgh), r = 0;
    switch (i->cmode >> 1) {
    case 4:
    case 5:
        return a64_splat(imm8 << 8 * (i->cmode >> 1 & 1), VL_16);
    case 6:
        return a64_splat(i->cmode & 1 ? imm8 << 16 | 0xffff : imm8 << 8 | 0xff, VL_32);
    case 7:
        if (i->cmode & 1)
            break;
        if (!i->op)
            return a64_splat(imm8, VL_8);
        for (unsigned k = 0; k < 8; k++)
            r |= imm8 >> k & 1 ? 0xffull << 8 * k : 0;
        return r;
    default:
        return a64_splat(imm8 << 8 * (i->cmode >> 1), VL_32);
    }
    unsigned size = i->id == A64_FMOV_vh ? VL_16 : i->op ? VL_64 : VL_32;
    return a64_splat(a64_fp_imm((unsigned)imm8, size), size);
}

void a64_lift_modified_imm(struct lift *l, const struct a64_insn *i)
{
    if (!(i->id == A64_FMOV_vh ? a64_fp_ready(l, VL_16) : a64_simd_ready(l)))
        return;
    uint64_t imm = expand(i);
    bool modify = i->cmode & 1 && i->cmode < 12, invert = i->op && i->cmode < 14;
    ir_ref v = ir_const(l->b, IR_V128, invert ? ~imm : imm);
    if (modify)
        v = ir_v2(l->b, i->op ? IR_vand : IR_vor, whole(i), a64_v(l, i->Rd), v);
    else if (!i->Q)
        v = ir_vzext(l->b, ir_i64(l->b, invert ? ~imm : imm));
    a64_set_v(l, i->Rd, v);
}
