// A64 loads and stores of SIMD and floating-point registers (DDI 0487, C4.1.94): single registers,
// pairs, literals, and the structure loads and stores LD1-LD4, ST1-ST4, LD1R-LD4R.
#include "isa/arm/a64/lift.h"

// ---- whole registers of 1 << scale bytes ----

static ir_ref get_v(struct lift *l, unsigned n)
{
    return ir_get(l->b, ARM_V0 + (n & 31));
}

static void set_v(struct lift *l, unsigned n, ir_ref v)
{
    ir_put(l->b, ARM_V0 + (n & 31), v);
}

static unsigned scale_type(unsigned scale)
{
    static const uint8_t types[5] = {IR_I32, IR_I32, IR_F32, IR_F64, IR_V128};
    return types[scale];
}

static ir_ref load_value(struct lift *l, unsigned scale, ir_ref addr)
{
    ir_ref v = ir_load(l->b, scale_type(scale), addr, a64_mo(l, scale));
    return scale == 4 ? v : ir_vzext(l->b, v);
}

static void store_value(struct lift *l, unsigned scale, ir_ref addr, ir_ref v)
{
    if (scale < 4)
        v = ir_vlow(l->b, scale_type(scale), v);
    ir_store(l->b, addr, v, a64_mo(l, scale));
}

static void load_store(struct lift *l, bool load, unsigned scale, unsigned rt, ir_ref addr)
{
    if (load)
        set_v(l, rt, load_value(l, scale, addr));
    else
        store_value(l, scale, addr, get_v(l, rt));
}

void a64_lift_vec_imm12(struct lift *l, const struct a64_insn *i)
{
    if (!arm_lift_fp_check(l))
        return;
    ir_ref addr = ir_addi(l->b, a64_base(l, i->Rn), (int64_t)i->imm12 << i->scale);
    load_store(l, i->L, i->scale, i->Rt, addr);
}

enum { INDEX_POST = 1 }; // odd values write the base back

void a64_lift_vec_imm9(struct lift *l, const struct a64_insn *i)
{
    if (!arm_lift_fp_check(l))
        return;
    ir_ref base = a64_base(l, i->Rn), moved = ir_addi(l->b, base, i->simm);
    load_store(l, i->L, i->scale, i->Rt, i->idx == INDEX_POST ? base : moved);
    if (i->idx & 1)
        a64_set_sp(l, i->Rn, moved);
}

void a64_lift_vec_reg(struct lift *l, const struct a64_insn *i)
{
    if (!arm_lift_fp_check(l))
        return;
    ir_ref index = a64_extend(l, i->Rm, i->option, i->S ? i->scale : 0);
    load_store(l, i->L, i->scale, i->Rt, ir_add(l->b, a64_base(l, i->Rn), index));
}

void a64_lift_vec_literal(struct lift *l, const struct a64_insn *i)
{
    if (!arm_lift_fp_check(l))
        return;
    ir_ref addr = ir_pc(l->b, l->pc + (uint64_t)((int64_t)i->simm * 4));
    load_store(l, true, i->opc + 2u, i->Rt, addr);
}

void a64_lift_vec_pair(struct lift *l, const struct a64_insn *i)
{
    if (!arm_lift_fp_check(l))
        return;
    unsigned scale = i->opc + 2u;
    ir_ref base = a64_base(l, i->Rn), moved = ir_addi(l->b, base, i->simm * (1 << scale));
    ir_ref addr = i->idx == INDEX_POST ? base : moved, next = ir_addi(l->b, addr, 1 << scale);
    if (i->L) {
        ir_ref x = load_value(l, scale, addr), y = load_value(l, scale, next);
        set_v(l, i->Rt, x);
        set_v(l, i->Rt2, y);
    } else {
        store_value(l, scale, addr, get_v(l, i->Rt));
        store_value(l, scale, next, get_v(l, i->Rt2));
    }
    if (i->idx & 1)
        a64_set_sp(l, i->Rn, moved);
}

// ---- structures ----

// Base plus the immediate that stands for "as much as was accessed", or plus a register.
static void advance(struct lift *l, const struct a64_insn *i, unsigned bytes)
{
    ir_ref base = a64_xsp(l, i->Rn);
    a64_set_sp(l, i->Rn,
               i->Rm == 31 ? ir_addi(l->b, base, bytes) : ir_add(l->b, base, a64_x(l, i->Rm)));
}

static ir_ref load_lane(struct lift *l, unsigned size, ir_ref addr)
{
    return ir_load(l->b, a64_type(size == MO_64), addr, a64_mo(l, size));
}

static void store_lane(struct lift *l, unsigned size, ir_ref addr, ir_ref v, unsigned lane)
{
    ir_ref x =
        ir_emit(l->b, IR_vgetu, a64_type(size == MO_64), size | VL_IMM(lane), v, IR_NONE, IR_NONE);
    ir_store(l->b, addr, x, a64_mo(l, size));
}

static ir_ref set_lane(struct lift *l, unsigned size, ir_ref v, unsigned lane, ir_ref x)
{
    return ir_v2(l->b, IR_vset, size | VL_IMM(lane), v, x);
}

// One element after the other: what the manual says, for big-endian data and for three registers.
static void by_elements(struct lift *l, const struct a64_insn *i, unsigned repeat, unsigned selem)
{
    unsigned lanes = (8u << i->Q) >> i->size, at = 0;
    ir_ref base = a64_base(l, i->Rn), v[4];
    for (unsigned n = 0; n < repeat * selem; n++)
        v[n] = i->L ? ir_const(l->b, IR_V128, 0) : get_v(l, i->Rt + n);
    for (unsigned r = 0; r < repeat; r++)
        for (unsigned lane = 0; lane < lanes; lane++)
            for (unsigned s = 0; s < selem; s++, at += 1u << i->size) {
                ir_ref addr = ir_addi(l->b, base, at), *reg = &v[r + s];
                if (i->L)
                    *reg = set_lane(l, i->size, *reg, lane, load_lane(l, i->size, addr));
                else
                    store_lane(l, i->size, addr, *reg, lane);
            }
    for (unsigned n = 0; i->L && n < repeat * selem; n++)
        set_v(l, i->Rt + n, v[n]);
}

// Consecutive memory as full registers: each is one access.
static void by_registers(struct lift *l, const struct a64_insn *i, unsigned n, ir_ref *v)
{
    unsigned scale = i->Q ? 4 : 3;
    ir_ref base = a64_base(l, i->Rn);
    for (unsigned k = 0; k < n; k++) {
        ir_ref addr = ir_addi(l->b, base, k << scale);
        if (i->L)
            v[k] = load_value(l, scale, addr);
        else
            store_value(l, scale, addr, v[k]);
    }
}

static ir_ref zip(struct lift *l, unsigned op, unsigned size, ir_ref x, ir_ref y)
{
    return ir_v2(l->b, op, size, x, y);
}

// Two and four registers of structures in memory order, as 16-byte pieces. With Q = 0 the registers
// are half as long: their upper halves are zero and there are half as many pieces.
static void deinterleave(struct lift *l, unsigned size, bool q, unsigned selem, ir_ref *v)
{
    ir_ref zero = ir_const(l->b, IR_V128, 0);
    if (selem == 2) {
        ir_ref x = v[0], y = q ? v[1] : zero;
        v[0] = zip(l, IR_vuzp1, size, x, y);
        v[1] = zip(l, IR_vuzp2, size, x, y);
        return;
    }
    ir_ref e0 = zip(l, IR_vuzp1, size, v[0], v[1]), o0 = zip(l, IR_vuzp2, size, v[0], v[1]);
    ir_ref e1 = q ? zip(l, IR_vuzp1, size, v[2], v[3]) : zero;
    ir_ref o1 = q ? zip(l, IR_vuzp2, size, v[2], v[3]) : zero;
    v[0] = zip(l, IR_vuzp1, size, e0, e1);
    v[1] = zip(l, IR_vuzp1, size, o0, o1);
    v[2] = zip(l, IR_vuzp2, size, e0, e1);
    v[3] = zip(l, IR_vuzp2, size, o0, o1);
}

static void interleave(struct lift *l, unsigned size, unsigned selem, ir_ref *v)
{
    if (selem == 2) {
        ir_ref x = v[0], y = v[1];
        v[0] = zip(l, IR_vzip1, size, x, y);
        v[1] = zip(l, IR_vzip2, size, x, y);
        return;
    }
    ir_ref a0 = zip(l, IR_vzip1, size, v[0], v[2]), a1 = zip(l, IR_vzip2, size, v[0], v[2]);
    ir_ref b0 = zip(l, IR_vzip1, size, v[1], v[3]), b1 = zip(l, IR_vzip2, size, v[1], v[3]);
    v[0] = zip(l, IR_vzip1, size, a0, b0);
    v[1] = zip(l, IR_vzip2, size, a0, b0);
    v[2] = zip(l, IR_vzip1, size, a1, b1);
    v[3] = zip(l, IR_vzip2, size, a1, b1);
}

static void pieces(struct lift *l, const struct a64_insn *i, unsigned selem)
{
    unsigned n = i->Q ? selem : selem / 2;
    struct a64_insn whole = *i;
    ir_ref v[4] = {0};
    whole.Q = 1;
    if (i->L) {
        by_registers(l, &whole, n, v);
        deinterleave(l, i->size, i->Q, selem, v);
        for (unsigned k = 0; k < selem; k++)
            set_v(l, i->Rt + k, v[k]);
        return;
    }
    for (unsigned k = 0; k < selem; k++)
        v[k] = get_v(l, i->Rt + k);
    interleave(l, i->size, selem, v);
    by_registers(l, &whole, n, v);
}

void a64_lift_vec_multiple(struct lift *l, const struct a64_insn *i)
{
    static const uint8_t repeats[16] = {
        [0] = 1, [2] = 4, [4] = 1, [6] = 3, [7] = 1, [8] = 1, [10] = 2};
    static const uint8_t selems[16] = {
        [0] = 4, [2] = 1, [4] = 3, [6] = 1, [7] = 1, [8] = 2, [10] = 1};
    unsigned repeat = repeats[i->opcode], selem = selems[i->opcode];
    if (!arm_lift_fp_check(l))
        return;
    if ((l->mode & (ARM_MODE_BE | ARM_MODE_ALIGN)) || selem == 3) {
        by_elements(l, i, repeat, selem);
    } else if (selem > 1) {
        pieces(l, i, selem);
    } else {
        ir_ref v[4];
        for (unsigned n = 0; n < repeat && !i->L; n++)
            v[n] = get_v(l, i->Rt + n);
        by_registers(l, i, repeat, v);
        for (unsigned n = 0; n < repeat && i->L; n++)
            set_v(l, i->Rt + n, v[n]);
    }
    if (bit(i->raw, 23))
        advance(l, i, repeat * selem * (8u << i->Q));
}

void a64_lift_vec_single(struct lift *l, const struct a64_insn *i)
{
    static const uint8_t sizes[4] = {MO_8, MO_16, MO_32, MO_32};
    unsigned size = sizes[bits(i->raw, 15, 14)], n = i->selem + 1u;
    if (!arm_lift_fp_check(l))
        return;
    ir_ref base = a64_base(l, i->Rn), v[4];
    if (size == MO_32 && bit(i->raw, 10))
        size = MO_64;
    for (unsigned k = 0; k < n; k++) {
        ir_ref addr = ir_addi(l->b, base, k << size);
        v[k] = get_v(l, i->Rt + k);
        if (i->L)
            v[k] = set_lane(l, size, v[k], i->lane, load_lane(l, size, addr));
        else
            store_lane(l, size, addr, v[k], i->lane);
    }
    for (unsigned k = 0; k < n && i->L; k++)
        set_v(l, i->Rt + k, v[k]);
    if (bit(i->raw, 23))
        advance(l, i, n << size);
}

void a64_lift_vec_replicate(struct lift *l, const struct a64_insn *i)
{
    unsigned n = i->selem + 1u;
    if (!arm_lift_fp_check(l))
        return;
    ir_ref base = a64_base(l, i->Rn), v[4];
    for (unsigned k = 0; k < n; k++) {
        ir_ref x = load_lane(l, i->size, ir_addi(l->b, base, k << i->size));
        v[k] = ir_emit(l->b, IR_vdup, IR_V128, i->size | (i->Q ? 0 : VL_HALF), x, IR_NONE, IR_NONE);
    }
    for (unsigned k = 0; k < n; k++)
        set_v(l, i->Rt + k, v[k]);
    if (bit(i->raw, 23))
        advance(l, i, n << i->size);
}
