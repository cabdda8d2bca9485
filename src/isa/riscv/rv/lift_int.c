// RV64I and RV32I, M, Zba, Zbb, Zbc, Zbs and Zicond: integer computation (RISC-V Instruction Set
// Manual, volume I).
#include "isa/riscv/rv/lift.h"

void rv_lift_upper(struct lift *l, const struct rv_insn *i)
{
    uint64_t imm = (uint64_t)(int64_t)i->imm;
    rv_set(l, i->rd, i->id == RV_AUIPC ? ir_pc(l->b, l->pc + imm) : ir_i64(l->b, imm));
}

static ir_ref less(struct ir_build *b, enum ir_cmp cc, ir_ref x, ir_ref y)
{
    return ir_b2i(b, IR_I64, ir_cmp(b, cc, x, y));
}

static ir_ref least(struct ir_build *b, enum ir_cmp cc, ir_ref x, ir_ref y)
{
    return ir_select(b, ir_cmp(b, cc, x, y), x, y);
}

// Division by zero gives all ones; the remainder is then the dividend, as in the IR.
static ir_ref divide(struct ir_build *b, ir_ref x, ir_ref y, bool is_signed)
{
    unsigned type = ir_type_of(b, x);
    ir_ref q = is_signed ? ir_sdiv(b, x, y) : ir_udiv(b, x, y);
    return ir_select(b, ir_cmp(b, CMP_EQ, y, ir_const(b, type, 0)), ir_const(b, type, ~0ull), q);
}

static ir_ref carry_less(struct ir_build *b, unsigned id, ir_ref x, ir_ref y)
{
    if (ir_type_of(b, x) == IR_I32) {
        ir_ref wide = ir_vlow(b, IR_I64,
                              ir_v2(b, IR_vpmull, VL_64, ir_vzext(b, ir_zext(b, IR_I64, x, 32)),
                                    ir_vzext(b, ir_zext(b, IR_I64, y, 32))));
        return ir_trunc(b, ir_shri(b, wide, id == RV_CLMUL ? 0 : id == RV_CLMULH ? 32 : 31));
    }
    ir_ref v = ir_v2(b, IR_vpmull, VL_64, ir_vzext(b, x), ir_vzext(b, y));
    ir_ref lo = ir_vlow(b, IR_I64, v);
    ir_ref hi = ir_emit(b, IR_vgetu, IR_I64, VL_64 | VL_IMM(1), v, IR_NONE, IR_NONE);
    return id == RV_CLMUL ? lo : id == RV_CLMULH ? hi : ir_extr(b, hi, lo, 63);
}

static ir_ref one_bit(struct ir_build *b, ir_ref n)
{
    return ir_shl(b, ir_const(b, ir_type_of(b, n), 1), n);
}

static ir_ref rotate_left(struct ir_build *b, ir_ref x, ir_ref n)
{
    return ir_rotr(b, x, ir_neg(b, n));
}

static ir_ref low_word(struct ir_build *b, ir_ref x)
{
    return ir_zext(b, IR_I64, x, 32);
}

static ir_ref shift_add(struct ir_build *b, ir_ref x, unsigned n, ir_ref y)
{
    return ir_add(b, ir_shli(b, x, n), y);
}

// Zba, Zbb, Zbc, Zbs, Zicond.
static ir_ref compute_bits(struct ir_build *b, unsigned id, ir_ref x, ir_ref y)
{
    ir_ref zero = ir_const(b, ir_type_of(b, x), 0);
    switch (id) {
    case RV_SH1ADD:
        return shift_add(b, x, 1, y);
    case RV_SH2ADD:
        return shift_add(b, x, 2, y);
    case RV_SH3ADD:
        return shift_add(b, x, 3, y);
    case RV_ADD_UW:
        return ir_add(b, low_word(b, x), y);
    case RV_SH1ADD_UW:
        return shift_add(b, low_word(b, x), 1, y);
    case RV_SH2ADD_UW:
        return shift_add(b, low_word(b, x), 2, y);
    case RV_SH3ADD_UW:
        return shift_add(b, low_word(b, x), 3, y);
    case RV_SLLI_UW:
        return ir_shl(b, low_word(b, x), y);
    case RV_ANDN:
        return ir_andn(b, x, y);
    case RV_ORN:
        return ir_or(b, x, ir_not(b, y));
    case RV_XNOR:
        return ir_not(b, ir_xor(b, x, y));
    case RV_MAX:
        return least(b, CMP_SGT, x, y);
    case RV_MAXU:
        return least(b, CMP_UGT, x, y);
    case RV_MIN:
        return least(b, CMP_SLT, x, y);
    case RV_MINU:
        return least(b, CMP_ULT, x, y);
    case RV_ROL:
    case RV_ROLW:
        return rotate_left(b, x, y);
    case RV_ROR:
    case RV_RORI:
    case RV_RORW:
    case RV_RORIW:
        return ir_rotr(b, x, y);
    case RV_BCLR:
    case RV_BCLRI:
        return ir_andn(b, x, one_bit(b, y));
    case RV_BEXT:
    case RV_BEXTI:
        return ir_andi(b, ir_shr(b, x, y), 1);
    case RV_BINV:
    case RV_BINVI:
        return ir_xor(b, x, one_bit(b, y));
    case RV_BSET:
    case RV_BSETI:
        return ir_or(b, x, one_bit(b, y));
    case RV_CZERO_EQZ:
        return ir_select(b, ir_cmp(b, CMP_EQ, y, zero), zero, x);
    case RV_CZERO_NEZ:
        return ir_select(b, ir_cmp(b, CMP_EQ, y, zero), x, zero);
    default:
        return carry_less(b, id, x, y);
    }
}

// The high half of a product of words.
static ir_ref high_word(struct ir_build *b, ir_ref x, bool x_signed, ir_ref y, bool y_signed)
{
    x = x_signed ? ir_sext(b, IR_I64, x, 32) : ir_zext(b, IR_I64, x, 32);
    y = y_signed ? ir_sext(b, IR_I64, y, 32) : ir_zext(b, IR_I64, y, 32);
    return ir_trunc(b, ir_shri(b, ir_mul(b, x, y), 32));
}

// M. The word forms have 32-bit operands.
static ir_ref compute_product(struct ir_build *b, unsigned id, ir_ref x, ir_ref y)
{
    bool word = ir_type_of(b, x) == IR_I32;
    switch (id) {
    case RV_MUL:
    case RV_MULW:
        return ir_mul(b, x, y);
    case RV_MULH:
        return word ? high_word(b, x, true, y, true) : ir_mulhs(b, x, y);
    case RV_MULHU:
        return word ? high_word(b, x, false, y, false) : ir_mulhu(b, x, y);
    case RV_MULHSU:
        if (word)
            return high_word(b, x, true, y, false);
        return ir_sub(b, ir_mulhu(b, x, y), ir_and(b, ir_sari(b, x, 63), y));
    case RV_DIV:
    case RV_DIVW:
        return divide(b, x, y, true);
    case RV_DIVU:
    case RV_DIVUW:
        return divide(b, x, y, false);
    case RV_REM:
    case RV_REMW:
        return ir_srem(b, x, y);
    case RV_REMU:
    case RV_REMUW:
        return ir_urem(b, x, y);
    default:
        return compute_bits(b, id, x, y);
    }
}

// Register and immediate forms alike; IR shifts take the amount modulo the width, as RISC-V does.
static ir_ref compute(struct ir_build *b, unsigned id, ir_ref x, ir_ref y)
{
    switch (id) {
    case RV_ADD:
    case RV_ADDI:
    case RV_ADDW:
    case RV_ADDIW:
        return ir_add(b, x, y);
    case RV_SUB:
    case RV_SUBW:
        return ir_sub(b, x, y);
    case RV_SLL:
    case RV_SLLI:
    case RV_SLLW:
    case RV_SLLIW:
        return ir_shl(b, x, y);
    case RV_SRL:
    case RV_SRLI:
    case RV_SRLW:
    case RV_SRLIW:
        return ir_shr(b, x, y);
    case RV_SRA:
    case RV_SRAI:
    case RV_SRAW:
    case RV_SRAIW:
        return ir_sar(b, x, y);
    case RV_SLT:
    case RV_SLTI:
        return less(b, CMP_SLT, x, y);
    case RV_SLTU:
    case RV_SLTIU:
        return less(b, CMP_ULT, x, y);
    case RV_XOR:
    case RV_XORI:
        return ir_xor(b, x, y);
    case RV_OR:
    case RV_ORI:
        return ir_or(b, x, y);
    case RV_AND:
    case RV_ANDI:
        return ir_and(b, x, y);
    default:
        return compute_product(b, id, x, y);
    }
}

void rv_lift_alu(struct lift *l, const struct rv_insn *i)
{
    if (rv_narrow(l))
        rv_lift_alu_w(l, i);
    else
        rv_set(l, i->rd, compute(l->b, i->id, rv_x(l, i->rs1), rv_x(l, i->rs2)));
}

void rv_lift_alu_imm(struct lift *l, const struct rv_insn *i)
{
    if (rv_narrow(l)) {
        rv_lift_alu_w_imm(l, i);
        return;
    }
    ir_ref imm = ir_i64(l->b, (uint64_t)(int64_t)i->imm);
    rv_set(l, i->rd, compute(l->b, i->id, rv_x(l, i->rs1), imm));
}

void rv_lift_alu_shift(struct lift *l, const struct rv_insn *i)
{
    ir_ref x = rv_narrow(l) ? rv_w(l, i->rs1) : rv_x(l, i->rs1);
    rv_set(l, i->rd, compute(l->b, i->id, x, ir_const(l->b, ir_type_of(l->b, x), i->shamt)));
}

void rv_lift_alu_w(struct lift *l, const struct rv_insn *i)
{
    rv_set(l, i->rd, compute(l->b, i->id, rv_w(l, i->rs1), rv_w(l, i->rs2)));
}

void rv_lift_alu_w_imm(struct lift *l, const struct rv_insn *i)
{
    rv_set(l, i->rd, compute(l->b, i->id, rv_w(l, i->rs1), ir_i32(l->b, (uint32_t)i->imm)));
}

void rv_lift_alu_w_shift(struct lift *l, const struct rv_insn *i)
{
    rv_set(l, i->rd, compute(l->b, i->id, rv_w(l, i->rs1), ir_i32(l->b, i->shamt5)));
}

// Every byte that has a bit set becomes all ones: bit 7 of each is spread over it.
static ir_ref or_combine(struct ir_build *b, ir_ref x)
{
    const uint64_t low7 = 0x7f7f7f7f7f7f7f7f;
    ir_ref carried = ir_add(b, ir_andi(b, x, low7), ir_i64(b, low7));
    ir_ref set = ir_andi(b, ir_or(b, carried, x), ~low7);
    return ir_sub(b, ir_shli(b, set, 1), ir_shri(b, set, 7));
}

void rv_lift_alu_one(struct lift *l, const struct rv_insn *i)
{
    ir_ref x = rv_x(l, i->rs1), own = rv_narrow(l) ? rv_w(l, i->rs1) : x, v;
    switch (i->id) {
    case RV_CLZ:
        v = ir_clz(l->b, own);
        break;
    case RV_CTZ:
        v = ir_ctz(l->b, own);
        break;
    case RV_CPOP:
        v = ir_popcnt(l->b, own);
        break;
    case RV_CLZW:
        v = ir_clz(l->b, rv_w(l, i->rs1));
        break;
    case RV_CTZW:
        v = ir_ctz(l->b, rv_w(l, i->rs1));
        break;
    case RV_CPOPW:
        v = ir_popcnt(l->b, rv_w(l, i->rs1));
        break;
    case RV_SEXT_B:
        v = ir_sext(l->b, IR_I64, x, 8);
        break;
    case RV_SEXT_H:
        v = ir_sext(l->b, IR_I64, x, 16);
        break;
    case RV_ZEXT_H:
        v = ir_zext(l->b, IR_I64, x, 16);
        break;
    case RV_ORC_B:
        v = or_combine(l->b, x);
        break;
    default: // REV8
        v = ir_bswap(l->b, own);
        break;
    }
    rv_set(l, i->rd, v);
}
