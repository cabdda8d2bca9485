// A64 loads and stores of general registers (DDI 0487, C4.1.94): literal, pair, immediate, register
// offset, unprivileged, authenticated.
//
// CONSTRAINED UNPREDICTABLE choices: where a load's destination is also the base that is written
// back, the loaded value stays; where a store's source is, the old value is stored; where the two
// destinations of a pair are the same, the second value stays.
#include "isa/arm/a64/lift.h"

// The value of a load as the instruction extends it: opc bit 1 is sign extension, bit 0 beside it
// to 32 bits only.
static void load(struct lift *l, unsigned rt, ir_ref addr, unsigned mo, unsigned opc)
{
    bool wide = opc & 2 ? !(opc & 1) : (mo & MO_SIZE) == MO_64;
    if (opc & 2)
        mo |= MO_SIGN;
    a64_set(l, rt, ir_load(l->b, a64_type(wide), addr, mo));
}

// Bytes stored at once come from the low part of a 32- or 64-bit value.
static ir_ref stored(struct lift *l, unsigned rt, unsigned size)
{
    return a64_reg(l, size == MO_64, rt);
}

static void load_store(struct lift *l, const struct a64_insn *i, ir_ref addr, unsigned mo)
{
    if (i->opc)
        load(l, i->Rt, addr, mo, i->opc);
    else
        ir_store(l->b, addr, stored(l, i->Rt, i->size), mo);
}

// ---- the stack pointer ----

// Is v a multiple of 16, the stack pointer having been one as the region began?
static bool keeps_alignment(const struct ir_build *b, ir_ref v)
{
    for (;;) {
        const struct ir_insn *n = &b->r->insns.data[v];
        uint64_t k = n->imm;
        switch (n->op) {
        case IR_const:
            return !(k & 15);
        case IR_get:
            return n->aux == ARM_SP;
        case IR_and:
            return ir_is_const(b, n->b, &k) && !(k & 15);
        case IR_add:
        case IR_sub:
            if (!ir_is_const(b, n->b, &k) || k & 15)
                return false;
            v = n->a;
            break;
        default:
            return false;
        }
    }
}

void a64_sp_written(struct lift *l)
{
    bool bad = l->mode & ARM_MODE_SP_BAD;
    ir_ref v = a64_xsp(l, 31);
    if (!bad && keeps_alignment(l->b, v))
        return;
    ir_ref off = ir_andi(l->b, v, 15);
    ir_exit_mode_if(l->b, ir_cmp(l->b, bad ? CMP_EQ : CMP_NE, off, ir_i64(l->b, 0)), l->pc + 4);
}

// ---- single registers ----

void a64_lift_ldst_imm12(struct lift *l, const struct a64_insn *i)
{
    ir_ref addr = ir_addi(l->b, a64_base(l, i->Rn), (int64_t)i->imm12 << i->size);
    load_store(l, i, addr, a64_mo(l, i->size));
}

enum { INDEX_NONE, INDEX_POST, INDEX_OTHER, INDEX_PRE }; // bits 11..10, or 24..23 of pairs

// Writes the base back after the access, unless it was just loaded.
static void write_back(struct lift *l, const struct a64_insn *i, ir_ref base, bool loaded)
{
    if (!loaded || i->Rn == 31)
        a64_set_sp(l, i->Rn, base);
}

void a64_lift_ldst_imm9(struct lift *l, const struct a64_insn *i)
{
    ir_ref base = a64_base(l, i->Rn), moved = ir_addi(l->b, base, i->simm);
    unsigned mo = a64_mo(l, i->size), el = a64_el(l);
    bool user = el == 1 || (el == 2 && (l->mode & ARM_MODE_E2H));
    if (i->idx == INDEX_OTHER && user)
        mo |= 1 << MO_MMU_SHIFT;
    load_store(l, i, i->idx == INDEX_POST ? base : moved, mo);
    if (i->idx & 1)
        write_back(l, i, moved, i->opc && i->Rt == i->Rn);
}

void a64_lift_ldst_reg(struct lift *l, const struct a64_insn *i)
{
    ir_ref index = a64_extend(l, i->Rm, i->option, i->S ? i->size : 0);
    load_store(l, i, ir_add(l->b, a64_base(l, i->Rn), index), a64_mo(l, i->size));
}

void a64_lift_literal(struct lift *l, const struct a64_insn *i)
{
    ir_ref addr = ir_pc(l->b, l->pc + (uint64_t)((int64_t)i->simm * 4));
    if (i->sz == 2)
        load(l, i->Rt, addr, a64_mo(l, MO_32), 2);
    else
        load(l, i->Rt, addr, a64_mo(l, i->sz ? MO_64 : MO_32), 1);
}

void a64_lift_prefetch(struct lift *l, const struct a64_insn *i) {}

// ---- pairs ----

// With LSE2 an aligned pair of 64-bit registers is accessed as one, where anyone could tell.
static bool pair_is_atomic(struct lift *l, unsigned size)
{
    return (l->parallel || !l->b->sw.plain_pairs) && size == MO_64 && a64_has(l, ARM_FEAT_LSE2) &&
           !(l->mode & ARM_MODE_BE);
}

static void pair_access(struct lift *l, const struct a64_insn *i, ir_ref addr)
{
    unsigned size = i->sz ? MO_64 : MO_32, type = a64_type(i->sz), mo = a64_mo(l, size);
    ir_ref next = ir_addi(l->b, addr, 1 << size), x, y;
    bool atomic = pair_is_atomic(l, size);
    unsigned whole = MO_128 | MO_ATOMIC | (mo & MO_ALIGN);
    if (!i->L && atomic) {
        ir_ref v = ir_emit(l->b, IR_vpair, IR_V128, 0, a64_x(l, i->Rt), a64_x(l, i->Rt2), IR_NONE);
        ir_store(l->b, addr, v, whole);
    } else if (!i->L) {
        ir_store(l->b, addr, stored(l, i->Rt, size), mo);
        ir_store(l->b, next, stored(l, i->Rt2, size), mo);
    } else {
        if (atomic) {
            ir_ref v = ir_load(l->b, IR_V128, addr, whole);
            x = ir_vlow(l->b, IR_I64, v);
            y = ir_emit(l->b, IR_vgetu, IR_I64, VL_64 | VL_IMM(1), v, IR_NONE, IR_NONE);
        } else {
            x = ir_load(l->b, type, addr, mo);
            y = ir_load(l->b, type, next, mo);
        }
        a64_set(l, i->Rt, x);
        a64_set(l, i->Rt2, y);
    }
}

void a64_lift_pair(struct lift *l, const struct a64_insn *i)
{
    ir_ref base = a64_base(l, i->Rn), moved = ir_addi(l->b, base, i->simm * (i->sz ? 8 : 4));
    pair_access(l, i, i->idx == INDEX_POST ? base : moved);
    if (i->idx & 1)
        write_back(l, i, moved, i->L && (i->Rt == i->Rn || i->Rt2 == i->Rn));
}

void a64_lift_pair_signed(struct lift *l, const struct a64_insn *i)
{
    ir_ref base = a64_base(l, i->Rn), moved = ir_addi(l->b, base, i->simm * 4);
    ir_ref addr = i->idx == INDEX_POST ? base : moved;
    unsigned mo = a64_mo(l, MO_32) | MO_SIGN;
    ir_ref x = ir_load(l->b, IR_I64, addr, mo);
    ir_ref y = ir_load(l->b, IR_I64, ir_addi(l->b, addr, 4), mo);
    a64_set(l, i->Rt, x);
    a64_set(l, i->Rt2, y);
    if (i->idx & 1)
        write_back(l, i, moved, i->Rt == i->Rn || i->Rt2 == i->Rn);
}

// ---- LDRAA, LDRAB ----

void a64_lift_ldra(struct lift *l, const struct a64_insn *i)
{
    if (!a64_has_pauth(l)) {
        arm_lift_undefined(l);
        return;
    }
    ir_ref base = a64_pac(l, true, PAC_DA + i->M, a64_base(l, i->Rn), ir_i64(l->b, 0));
    ir_ref addr = ir_addi(l->b, base, (int64_t)i->simm * 8);
    load(l, i->Rt, addr, a64_mo(l, MO_64), 1);
    if (i->W)
        write_back(l, i, addr, i->Rt == i->Rn);
}
