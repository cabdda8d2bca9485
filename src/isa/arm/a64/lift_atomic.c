// A64 exclusives, ordered accesses and atomic read-modify-write (DDI 0487, C4.1.94; FEAT_LSE,
// FEAT_LRCPC, FEAT_LRCPC2). Load-acquire (LDAR, LDAXR) and store-release are sequentially
// consistent among themselves, so both carry MO_SEQ; LDAPR only acquires. LORegions (FEAT_LOR came
// with LSE) are none: LDLAR and STLLR are LDAR and STLR.
#include "isa/arm/a64/lift.h"

// A register as a value of the type an access of this size has.
static ir_ref operand(struct lift *l, unsigned size, unsigned n)
{
    return a64_reg(l, size == MO_64, n);
}

static void set_status(struct lift *l, const struct a64_insn *i, ir_ref stored)
{
    a64_set(l, i->Rs, ir_b2i(l->b, IR_I32, ir_bnot(l->b, stored)));
}

void a64_lift_exclusive(struct lift *l, const struct a64_insn *i)
{
    ir_ref addr = a64_base(l, i->Rn);
    unsigned type = a64_type(i->size == MO_64);
    unsigned mo = i->size | MO_ALIGN_TO(i->size) | (l->mode & ARM_MODE_BE ? MO_BE : 0);
    mo |= i->o0 ? MO_SEQ : 0;
    if (i->L) {
        a64_set(l, i->Rt, ir_atomic(l->b, IR_ll, type, addr, IR_NONE, IR_NONE, mo));
    } else {
        ir_ref v = operand(l, i->size, i->Rt);
        set_status(l, i, ir_atomic(l->b, IR_sc, IR_BOOL, addr, v, IR_NONE, mo));
    }
}

// Two registers as the value of one access of twice their size: the first is at the lower address.
static ir_ref join(struct lift *l, unsigned sz, ir_ref first, ir_ref second)
{
    bool be = l->mode & ARM_MODE_BE;
    ir_ref lo = be ? second : first, hi = be ? first : second;
    if (sz)
        return ir_emit(l->b, IR_vpair, IR_V128, 0, lo, hi, IR_NONE);
    lo = ir_zext(l->b, IR_I64, lo, 32);
    return ir_or(l->b, lo, ir_shli(l->b, ir_zext(l->b, IR_I64, hi, 32), 32));
}

static void split(struct lift *l, unsigned sz, ir_ref v, unsigned first, unsigned second)
{
    bool be = l->mode & ARM_MODE_BE;
    ir_ref lo, hi;
    if (sz) {
        lo = ir_vlow(l->b, IR_I64, v);
        hi = ir_emit(l->b, IR_vgetu, IR_I64, VL_64 | VL_IMM(1), v, IR_NONE, IR_NONE);
    } else {
        lo = ir_trunc(l->b, v);
        hi = ir_shri(l->b, v, 32);
    }
    a64_set(l, first, be ? hi : lo);
    a64_set(l, second, be ? lo : hi);
}

void a64_lift_exclusive_pair(struct lift *l, const struct a64_insn *i)
{
    ir_ref addr = a64_base(l, i->Rn);
    unsigned size = i->sz ? MO_128 : MO_64, type = i->sz ? IR_V128 : IR_I64;
    unsigned mo = size | MO_ALIGN_TO(size) | (l->mode & ARM_MODE_BE ? MO_BE : 0);
    mo |= i->o0 ? MO_SEQ : 0;
    if (i->L) {
        ir_ref v = ir_atomic(l->b, IR_ll, type, addr, IR_NONE, IR_NONE, mo);
        split(l, i->sz, v, i->Rt, i->Rt2);
    } else {
        ir_ref v = join(l, i->sz, a64_reg(l, i->sz, i->Rt), a64_reg(l, i->sz, i->Rt2));
        set_status(l, i, ir_atomic(l->b, IR_sc, IR_BOOL, addr, v, IR_NONE, mo));
    }
}

void a64_lift_ordered(struct lift *l, const struct a64_insn *i)
{
    if (!i->o0 && !a64_has(l, ARM_FEAT_LSE)) {
        arm_lift_undefined(l);
        return;
    }
    ir_ref addr = a64_base(l, i->Rn);
    unsigned mo = a64_mo_atomic(l, i->size) | MO_SEQ;
    if (i->L)
        a64_set(l, i->Rt, ir_load(l->b, a64_type(i->size == MO_64), addr, mo));
    else
        ir_store(l->b, addr, operand(l, i->size, i->Rt), mo);
}

void a64_lift_ldapr(struct lift *l, const struct a64_insn *i)
{
    unsigned mo = a64_mo_atomic(l, i->size) | MO_ACQUIRE;
    ir_ref addr = a64_base(l, i->Rn);
    a64_set(l, i->Rt, ir_load(l->b, a64_type(i->size == MO_64), addr, mo));
}

void a64_lift_rcpc_imm(struct lift *l, const struct a64_insn *i)
{
    ir_ref addr = ir_addi(l->b, a64_base(l, i->Rn), i->simm);
    unsigned mo = a64_mo_atomic(l, i->size);
    if (i->opc == 0) {
        ir_store(l->b, addr, operand(l, i->size, i->Rt), mo | MO_SEQ);
        return;
    }
    bool wide = i->opc & 2 ? i->opc == 2 : i->size == MO_64;
    mo |= MO_ACQUIRE | (i->opc & 2 ? MO_SIGN : 0);
    a64_set(l, i->Rt, ir_load(l->b, a64_type(wide), addr, mo));
}

// ---- read-modify-write ----

static unsigned order(bool acquire, bool release)
{
    return (acquire ? MO_ACQUIRE : 0) | (release ? MO_RELEASE : 0);
}

void a64_lift_cas(struct lift *l, const struct a64_insn *i)
{
    ir_ref addr = a64_base(l, i->Rn);
    unsigned mo = a64_mo_atomic(l, i->size) | order(i->L, i->o0);
    ir_ref expected = operand(l, i->size, i->Rs), v = operand(l, i->size, i->Rt);
    unsigned type = a64_type(i->size == MO_64);
    a64_set(l, i->Rs, ir_atomic(l->b, IR_cas, type, addr, expected, v, mo));
}

void a64_lift_casp(struct lift *l, const struct a64_insn *i)
{
    unsigned size = i->sz ? MO_128 : MO_64, type = i->sz ? IR_V128 : IR_I64;
    unsigned mo = size | MO_ALIGN_TO(size) | (l->mode & ARM_MODE_BE ? MO_BE : 0);
    ir_ref expected = join(l, i->sz, a64_reg(l, i->sz, i->Rs), a64_reg(l, i->sz, i->Rs + 1u));
    ir_ref v = join(l, i->sz, a64_reg(l, i->sz, i->Rt), a64_reg(l, i->sz, i->Rt + 1u));
    ir_ref old =
        ir_atomic(l->b, IR_cas, type, a64_base(l, i->Rn), expected, v, mo | order(i->L, i->o0));
    split(l, i->sz, old, i->Rs, i->Rs + 1u);
}

void a64_lift_atomic(struct lift *l, const struct a64_insn *i)
{
    static const uint8_t ops[9] = {IR_amoadd,  IR_amoand,  IR_amoxor,  IR_amoor, IR_amosmax,
                                   IR_amosmin, IR_amoumax, IR_amoumin, IR_swap};
    ir_ref addr = a64_base(l, i->Rn), v = operand(l, i->size, i->Rs);
    unsigned mo = a64_mo_atomic(l, i->size) | order(i->A, i->R);
    if (i->opc == 1) // LDCLR
        v = ir_not(l->b, v);
    v = ir_atomic(l->b, ops[i->opc], a64_type(i->size == MO_64), addr, v, IR_NONE, mo);
    a64_set(l, i->Rt, v);
}
