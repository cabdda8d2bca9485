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
    ir_ref v = ir_atomic(l->b, IR_ll, wide ? IR_I64 : IR_I32, rv_x(l, i->rs1), IR_NONE, IR_NONE,
                         order(i, wide ? MO_64 : MO_32));
    rv_set(l, i->rd, v);
}

void rv_lift_sc(struct lift *l, const struct rv_insn *i)
{
    bool wide = i->id == RV_SC_D;
    ir_ref v = wide ? rv_x(l, i->rs2) : rv_w(l, i->rs2);
    ir_ref stored = ir_atomic(l->b, IR_sc, IR_BOOL, rv_x(l, i->rs1), v, IR_NONE,
                              order(i, wide ? MO_64 : MO_32));
    rv_set(l, i->rd, ir_b2i(l->b, IR_I64, ir_bnot(l->b, stored)));
}

void rv_lift_amo(struct lift *l, const struct rv_insn *i)
{
    static const uint8_t ops[] = {IR_swap,    IR_amoadd,  IR_amoxor,  IR_amoand, IR_amoor,
                                  IR_amosmin, IR_amosmax, IR_amoumin, IR_amoumax};
    bool wide = i->id >= RV_AMOSWAP_D;
    unsigned op = ops[i->id - (wide ? RV_AMOSWAP_D : RV_AMOSWAP_W)];
    ir_ref v = wide ? rv_x(l, i->rs2) : rv_w(l, i->rs2);
    v = ir_atomic(l->b, op, wide ? IR_I64 : IR_I32, rv_x(l, i->rs1), v, IR_NONE,
                  order(i, wide ? MO_64 : MO_32));
    rv_set(l, i->rd, v);
}
