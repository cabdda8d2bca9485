// The A extension (RISC-V Instruction Set Manual, volume I, chapter 13): load-reserved,
// store-conditional, atomic memory operations. Both need natural alignment.
#include "isa/riscv/rv/lift.h"

static unsigned order(const struct rv_insn *i, unsigned size)
{
    return size | MO_ALIGN_TO(size) | (i->aq ? MO_ACQUIRE : 0) | (i->rl ? MO_RELEASE : 0);
}

void rv_lift_lr(struct lift *l, const struct rv_insn *i)
{
    bool wide = i->id == RV_LR_D;
    ir_ref v = ir_atomic(l->b, IR_ll, wide ? IR_I64 : IR_I32, rv_data_address(l, rv_x(l, i->rs1)),
                         IR_NONE, IR_NONE, order(i, wide ? MO_64 : MO_32));
    rv_set(l, i->rd, v);
}

void rv_lift_sc(struct lift *l, const struct rv_insn *i)
{
    bool wide = i->id == RV_SC_D;
    ir_ref v = wide ? rv_x(l, i->rs2) : rv_w(l, i->rs2);
    ir_ref stored = ir_atomic(l->b, IR_sc, IR_BOOL, rv_data_address(l, rv_x(l, i->rs1)), v, IR_NONE,
                              order(i, wide ? MO_64 : MO_32));
    rv_set(l, i->rd, ir_b2i(l->b, IR_I64, ir_bnot(l->b, stored)));
}

void rv_lift_amo(struct lift *l, const struct rv_insn *i)
{
    static const uint8_t ops[] = {IR_swap,    IR_amoadd,  IR_amoxor,  IR_amoand, IR_amoor,
                                  IR_amosmin, IR_amosmax, IR_amoumin, IR_amoumax};
    bool wide = i->id >= RV_AMOSWAP_D && i->id <= RV_AMOMAXU_D;
    if (i->id >= RV_AMOSWAP_B && i->id <= RV_AMOMAXU_H) {
        bool half = i->id >= RV_AMOSWAP_H;
        unsigned small = ops[i->id - (half ? RV_AMOSWAP_H : RV_AMOSWAP_B)];
        ir_ref old = ir_atomic(l->b, small, IR_I32, rv_data_address(l, rv_x(l, i->rs1)),
                               rv_w(l, i->rs2), IR_NONE, order(i, half ? MO_16 : MO_8));
        rv_set(l, i->rd, ir_sext(l->b, IR_I64, old, half ? 16 : 8));
        return;
    }
    unsigned op = ops[i->id - (wide ? RV_AMOSWAP_D : RV_AMOSWAP_W)];
    ir_ref v = wide ? rv_x(l, i->rs2) : rv_w(l, i->rs2);
    v = ir_atomic(l->b, op, wide ? IR_I64 : IR_I32, rv_data_address(l, rv_x(l, i->rs1)), v, IR_NONE,
                  order(i, wide ? MO_64 : MO_32));
    rv_set(l, i->rd, v);
}

// A pair of registers as one value; x0's is zero.
static ir_ref pair(struct lift *l, unsigned n)
{
    ir_ref hi = n ? rv_x(l, n + 1) : ir_i64(l->b, 0);
    return ir_emit(l->b, IR_vpair, IR_V128, 0, rv_x(l, n), hi, IR_NONE);
}

// A pair of 32-bit registers as one value.
static ir_ref word_pair(struct lift *l, unsigned n)
{
    ir_ref hi = n ? rv_x(l, n + 1) : ir_i64(l->b, 0);
    return ir_or(l->b, ir_zext(l->b, IR_I64, rv_x(l, n), 32), ir_shli(l->b, hi, 32));
}

static void cas_words(struct lift *l, const struct rv_insn *i)
{
    ir_ref v = ir_atomic(l->b, IR_cas, IR_I64, rv_data_address(l, rv_x(l, i->rs1)),
                         word_pair(l, i->rd), word_pair(l, i->rs2), order(i, MO_64));
    if (!i->rd)
        return;
    rv_set(l, i->rd, v);
    rv_set(l, i->rd + 1u, ir_shri(l->b, v, 32));
}

// Zacas: rd holds what memory is compared with, and gets what it held.
void rv_lift_cas(struct lift *l, const struct rv_insn *i)
{
    struct ir_build *b = l->b;
    unsigned size = i->id - RV_AMOCAS_B;
    if (i->id == RV_AMOCAS_D_32) {
        cas_words(l, i);
        return;
    }
    if (size == MO_128) {
        ir_ref v = ir_atomic(b, IR_cas, IR_V128, rv_data_address(l, rv_x(l, i->rs1)),
                             pair(l, i->rd), pair(l, i->rs2), order(i, size));
        if (i->rd) {
            rv_set(l, i->rd, ir_vlow(b, IR_I64, v));
            rv_set(l, i->rd + 1u,
                   ir_emit(b, IR_vgetu, IR_I64, VL_64 | VL_IMM(1), v, IR_NONE, IR_NONE));
        }
        return;
    }
    bool wide = size == MO_64;
    ir_ref v = ir_atomic(b, IR_cas, wide ? IR_I64 : IR_I32, rv_data_address(l, rv_x(l, i->rs1)),
                         wide ? rv_x(l, i->rd) : rv_w(l, i->rd),
                         wide ? rv_x(l, i->rs2) : rv_w(l, i->rs2), order(i, size));
    rv_set(l, i->rd, wide ? v : ir_sext(b, IR_I64, v, 8u << size));
}
