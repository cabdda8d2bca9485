// A64 data processing, immediate and register (DDI 0487, C4.1.92 and C4.1.95): one function per
// encoding class, in the order of a64.decode.
#include "isa/arm/a64/lift.h"

void a64_lift_pcrel(struct lift *l, const struct a64_insn *i)
{
    uint64_t offset = (uint64_t)(int64_t)i->simm;
    uint64_t base = i->op ? (l->pc & ~0xfffull) + (offset << 12) : l->pc + offset;
    a64_set(l, i->Rd, ir_pc(l->b, base));
}

// x + y or x - y, with flags or without; register 31 as destination is SP only where `sp`.
static void add_sub(struct lift *l, const struct a64_insn *i, ir_ref x, ir_ref y, bool sp)
{
    ir_ref v = i->op ? ir_sub(l->b, x, y) : ir_add(l->b, x, y);
    if (i->S)
        a64_set_flags(l, i->op ? ir_subf(l->b, x, y) : ir_addf(l->b, x, y));
    if (sp && !i->S)
        a64_set_sp(l, i->Rd, v);
    else
        a64_set(l, i->Rd, v);
}

void a64_lift_addsub_imm(struct lift *l, const struct a64_insn *i)
{
    ir_ref imm = ir_const(l->b, a64_type(i->sf), (uint64_t)i->imm12 << (i->sh ? 12 : 0));
    add_sub(l, i, a64_regsp(l, i->sf, i->Rn), imm, true);
}

// AND, ORR, EOR, ANDS by opc.
static ir_ref logic(struct lift *l, unsigned opc, ir_ref x, ir_ref y)
{
    ir_ref v = opc == 1 ? ir_or(l->b, x, y) : opc == 2 ? ir_xor(l->b, x, y) : ir_and(l->b, x, y);
    if (opc == 3)
        a64_set_flags(l, ir_testf(l->b, v));
    return v;
}

void a64_lift_logic_imm(struct lift *l, const struct a64_insn *i)
{
    ir_ref imm = ir_const(l->b, a64_type(i->sf), a64_bitmask(i->sf, i->N, i->immr, i->imms));
    ir_ref v = logic(l, i->opc, a64_reg(l, i->sf, i->Rn), imm);
    if (i->opc == 3)
        a64_set(l, i->Rd, v);
    else
        a64_set_sp(l, i->Rd, v);
}

void a64_lift_move_wide(struct lift *l, const struct a64_insn *i)
{
    unsigned shift = 16 * i->hw, type = a64_type(i->sf);
    uint64_t imm = (uint64_t)i->imm16 << shift;
    ir_ref v;
    if (i->opc == 3) {
        v = ir_andi(l->b, a64_reg(l, i->sf, i->Rd), ~(0xffffull << shift) & (i->sf ? ~0ull : ~0u));
        v = ir_or(l->b, v, ir_const(l->b, type, imm));
    } else {
        imm = i->opc ? imm : ~imm;
        v = ir_const(l->b, type, i->sf ? imm : (uint32_t)imm);
    }
    a64_set(l, i->Rd, v);
}

void a64_lift_bitfield(struct lift *l, const struct a64_insn *i)
{
    unsigned width = i->sf ? 64 : 32, type = a64_type(i->sf);
    bool extract = i->imms >= i->immr;
    unsigned n = extract ? i->imms - i->immr + 1u : i->imms + 1u; // bits of the field
    unsigned to = extract ? 0 : width - i->immr;
    ir_ref src = a64_reg(l, i->sf, i->Rn), v;
    if (extract && i->immr)
        src = i->opc == 0 ? ir_sari(l->b, src, i->immr) : ir_shri(l->b, src, i->immr);
    if (i->opc == 1) {
        v = n == width ? src : ir_bfi(l->b, a64_reg(l, i->sf, i->Rd), src, to, n);
    } else {
        // After the shift a field that reached the top is extended already.
        bool whole = extract && i->imms == width - 1;
        v = whole ? src : i->opc == 0 ? ir_sext(l->b, type, src, n) : ir_zext(l->b, type, src, n);
        if (to)
            v = ir_shli(l->b, v, to);
    }
    a64_set(l, i->Rd, v);
}

void a64_lift_extract(struct lift *l, const struct a64_insn *i)
{
    ir_ref hi = a64_reg(l, i->sf, i->Rn), lo = a64_reg(l, i->sf, i->Rm);
    a64_set(l, i->Rd, i->imms ? ir_extr(l->b, hi, lo, i->imms) : lo);
}

// ---- two sources, one source ----

void a64_lift_div(struct lift *l, const struct a64_insn *i)
{
    ir_ref x = a64_reg(l, i->sf, i->Rn), y = a64_reg(l, i->sf, i->Rm);
    a64_set(l, i->Rd, i->op ? ir_sdiv(l->b, x, y) : ir_udiv(l->b, x, y));
}

static ir_ref shift_by(struct lift *l, unsigned kind, ir_ref x, ir_ref amount)
{
    switch (kind) {
    case 0:
        return ir_shl(l->b, x, amount);
    case 1:
        return ir_shr(l->b, x, amount);
    case 2:
        return ir_sar(l->b, x, amount);
    default:
        return ir_rotr(l->b, x, amount);
    }
}

void a64_lift_shift_reg(struct lift *l, const struct a64_insn *i)
{
    ir_ref x = a64_reg(l, i->sf, i->Rn), amount = a64_reg(l, i->sf, i->Rm);
    a64_set(l, i->Rd, shift_by(l, i->shift, x, amount));
}

void a64_lift_crc32(struct lift *l, const struct a64_insn *i)
{
    ir_ref crc = a64_reg(l, 0, i->Rn), data = a64_x(l, i->Rm);
    a64_set(l, i->Rd, ir_emit(l->b, IR_crc32, IR_I32, i->sz | i->op << 2, crc, data, IR_NONE));
}

static ir_ref reverse_halfwords(struct lift *l, unsigned sf, ir_ref x)
{
    uint64_t low = sf ? 0x00ff00ff00ff00ff : 0x00ff00ff;
    ir_ref up = ir_shli(l->b, ir_andi(l->b, x, low), 8);
    return ir_or(l->b, up, ir_andi(l->b, ir_shri(l->b, x, 8), low));
}

void a64_lift_reverse(struct lift *l, const struct a64_insn *i)
{
    ir_ref x = a64_reg(l, i->sf, i->Rn), v;
    if (i->opc == 0)
        v = ir_bitrev(l->b, x);
    else if (i->opc == 1)
        v = reverse_halfwords(l, i->sf, x);
    else if (i->opc == 2 && i->sf)
        v = ir_rotr(l->b, ir_bswap(l->b, x), ir_i64(l->b, 32));
    else
        v = ir_bswap(l->b, x);
    a64_set(l, i->Rd, v);
}

void a64_lift_count(struct lift *l, const struct a64_insn *i)
{
    ir_ref x = a64_reg(l, i->sf, i->Rn);
    if (i->op) // sign bits below the sign: the top bit of x ^ x >> 1 is always clear
        x = ir_addi(l->b, ir_clz(l->b, ir_xor(l->b, x, ir_sari(l->b, x, 1))), -1);
    else
        x = ir_clz(l->b, x);
    a64_set(l, i->Rd, x);
}

// ---- logical, add and subtract: shifted and extended registers, carry ----

static ir_ref shifted(struct lift *l, const struct a64_insn *i)
{
    ir_ref v = a64_reg(l, i->sf, i->Rm);
    return i->imm6 ? shift_by(l, i->shift, v, ir_const(l->b, a64_type(i->sf), i->imm6)) : v;
}

void a64_lift_logic_reg(struct lift *l, const struct a64_insn *i)
{
    ir_ref y = shifted(l, i);
    if (i->N)
        y = ir_not(l->b, y);
    a64_set(l, i->Rd, logic(l, i->opc, a64_reg(l, i->sf, i->Rn), y));
}

void a64_lift_addsub_reg(struct lift *l, const struct a64_insn *i)
{
    add_sub(l, i, a64_reg(l, i->sf, i->Rn), shifted(l, i), false);
}

ir_ref a64_extend(struct lift *l, unsigned rm, unsigned option, unsigned amount)
{
    unsigned from = 8u << (option & 3);
    ir_ref v = a64_x(l, rm);
    if (from < 64)
        v = option & 4 ? ir_sext(l->b, IR_I64, v, from) : ir_zext(l->b, IR_I64, v, from);
    return amount ? ir_shli(l->b, v, amount) : v;
}

void a64_lift_addsub_ext(struct lift *l, const struct a64_insn *i)
{
    ir_ref y = a64_extend(l, i->Rm, i->option, i->imm3);
    if (!i->sf)
        y = ir_trunc(l->b, y);
    add_sub(l, i, a64_regsp(l, i->sf, i->Rn), y, true);
}

void a64_lift_adc(struct lift *l, const struct a64_insn *i)
{
    ir_ref x = a64_reg(l, i->sf, i->Rn), y = a64_reg(l, i->sf, i->Rm), f = a64_flags(l);
    if (i->op)
        y = ir_not(l->b, y);
    a64_set(l, i->Rd, ir_adc(l->b, x, y, f));
    if (i->S)
        a64_set_flags(l, ir_adcf(l->b, x, y, f));
}

// ---- flags ----

// NZCV as an integer in bits 31..28, some of them replaced.
static void replace_flags(struct lift *l, uint32_t which, ir_ref by)
{
    ir_ref old = ir_andi(l->b, ir_packf(l->b, a64_flags(l)), ~which);
    a64_set_flags(l, ir_unpackf(l->b, ir_or(l->b, old, ir_andi(l->b, by, which))));
}

void a64_lift_rmif(struct lift *l, const struct a64_insn *i)
{
    ir_ref v = ir_rotr(l->b, a64_x(l, i->Rn), ir_i64(l->b, i->imm6));
    replace_flags(l, (uint32_t)i->mask << 28, ir_shli(l->b, ir_trunc(l->b, v), 28));
}

void a64_lift_setf(struct lift *l, const struct a64_insn *i)
{
    unsigned top = i->op ? 15 : 7;
    ir_ref x = a64_reg(l, 0, i->Rn);
    ir_ref n = ir_andi(l->b, ir_shli(l->b, x, 31 - top), 1u << 31);
    ir_ref v = ir_shri(l->b, ir_xor(l->b, x, ir_shri(l->b, x, 1)), top);
    v = ir_shli(l->b, ir_andi(l->b, v, 1), 28);
    ir_ref zero = ir_cmp(l->b, CMP_EQ, ir_zext(l->b, IR_I32, x, top + 1), ir_i32(l->b, 0));
    ir_ref z = ir_shli(l->b, ir_b2i(l->b, IR_I32, zero), 30);
    replace_flags(l, 0xd0000000, ir_or(l->b, ir_or(l->b, n, v), z));
}

void a64_lift_flag_format(struct lift *l, const struct a64_insn *i)
{
    ir_ref f = ir_packf(l->b, a64_flags(l)), v;
    ir_ref up1 = ir_shli(l->b, f, 1);
    const uint32_t Z = 1u << 30, C = 1u << 29, V = 1u << 28;
    if (i->op2 == 0) { // CFINV
        v = ir_xor(l->b, f, ir_i32(l->b, C));
    } else if (i->op2 == 1) { // XAFLAG: N = !C & !Z, Z = Z & C, C = C | Z, V = !C & Z
        ir_ref c = up1, z = ir_andi(l->b, f, Z); // both at bit 30
        ir_ref either = ir_andi(l->b, ir_or(l->b, z, c), Z);
        ir_ref n = ir_shli(l->b, ir_xor(l->b, either, ir_i32(l->b, Z)), 1);
        ir_ref o = ir_shri(l->b, ir_andn(l->b, z, c), 2);
        v = ir_or(l->b, ir_and(l->b, z, c), ir_shri(l->b, either, 1));
        v = ir_or(l->b, v, ir_or(l->b, n, o));
    } else { // AXFLAG: N = 0, Z = Z | V, C = C & !V, V = 0
        ir_ref z = ir_andi(l->b, ir_or(l->b, f, ir_shli(l->b, f, 2)), Z);
        ir_ref c = ir_andn(l->b, ir_andi(l->b, f, C), ir_shli(l->b, ir_andi(l->b, f, V), 1));
        v = ir_or(l->b, z, c);
    }
    a64_set_flags(l, ir_unpackf(l->b, v));
}

// ---- conditional compare and select ----

void a64_lift_cond_compare(struct lift *l, const struct a64_insn *i)
{
    ir_ref x = a64_reg(l, i->sf, i->Rn);
    ir_ref y = i->sh ? ir_const(l->b, a64_type(i->sf), i->imm5) : a64_reg(l, i->sf, i->Rm);
    ir_ref f = i->op ? ir_subf(l->b, x, y) : ir_addf(l->b, x, y);
    if (i->cond < 14) {
        uint32_t other = flags_pack(i->nzcv & 8, i->nzcv & 4, i->nzcv & 2, i->nzcv & 1);
        f = ir_select(l->b, a64_cond(l, i->cond), f, ir_const(l->b, IR_FLAGS, other));
    }
    a64_set_flags(l, f);
}

void a64_lift_cond_select(struct lift *l, const struct a64_insn *i)
{
    if (i->cond >= 14) {
        a64_set(l, i->Rd, a64_reg(l, i->sf, i->Rn));
        return;
    }
    if (i->Rn == 31 && i->Rm == 31 && i->op != i->o0) { // CSET, CSETM
        ir_ref one = ir_b2i(l->b, a64_type(i->sf), a64_cond(l, i->cond ^ 1u));
        a64_set(l, i->Rd, i->op ? ir_neg(l->b, one) : one);
        return;
    }
    ir_ref x = a64_reg(l, i->sf, i->Rn), y = a64_reg(l, i->sf, i->Rm);
    if (i->op)
        y = i->o0 ? ir_neg(l->b, y) : ir_not(l->b, y);
    else if (i->o0)
        y = ir_addi(l->b, y, 1);
    a64_set(l, i->Rd, ir_select(l->b, a64_cond(l, i->cond), x, y));
}

// ---- multiplication ----

static void accumulate(struct lift *l, const struct a64_insn *i, unsigned sf, ir_ref product)
{
    ir_ref a = a64_reg(l, sf, i->Ra);
    a64_set(l, i->Rd, i->o0 ? ir_sub(l->b, a, product) : ir_add(l->b, a, product));
}

void a64_lift_mul_add(struct lift *l, const struct a64_insn *i)
{
    ir_ref x = a64_reg(l, i->sf, i->Rn), y = a64_reg(l, i->sf, i->Rm);
    accumulate(l, i, i->sf, ir_mul(l->b, x, y));
}

void a64_lift_mul_add_long(struct lift *l, const struct a64_insn *i)
{
    ir_ref x = a64_x(l, i->Rn), y = a64_x(l, i->Rm);
    x = i->op ? ir_zext(l->b, IR_I64, x, 32) : ir_sext(l->b, IR_I64, x, 32);
    y = i->op ? ir_zext(l->b, IR_I64, y, 32) : ir_sext(l->b, IR_I64, y, 32);
    accumulate(l, i, 1, ir_mul(l->b, x, y));
}

void a64_lift_mul_high(struct lift *l, const struct a64_insn *i)
{
    ir_ref x = a64_x(l, i->Rn), y = a64_x(l, i->Rm);
    a64_set(l, i->Rd, i->op ? ir_mulhu(l->b, x, y) : ir_mulhs(l->b, x, y));
}
