// Cache blocks (Zicbom, Zicboz), waiting on a reservation (Zawrs), and operations that may be
// defined one day (Zimop, Zcmop). Caches are coherent here: keeping them so is checking the
// address.
#include "isa/riscv/rv/lift.h"
#include "isa/riscv/system/system.h"

// The environment configuration of the levels above allows it by a field that is not zero.
static void check(struct rv_cpu *c, uint64_t field, uint64_t raw)
{
    if (c->priv == RV_M)
        return;
    if (!(c->menvcfg & field) || (c->priv == RV_U && !c->virt && !(c->senvcfg & field)))
        rv_raise(c, RV_CAUSE_ILLEGAL, raw);
    if (c->virt && (!(c->henvcfg & field) || (c->priv == RV_U && !(c->senvcfg & field))))
        rv_raise(c, RV_CAUSE_VIRTUAL, raw);
}
// Allowed where a load or a store is; where neither is, the exception is a store's.
static void help_touch(struct env *e, uint64_t va, uint64_t raw)
{
    struct env_xlat to;
    struct env_fault f;
    check(rv_cpu(e), bits(raw, 31, 20) ? RV_CBCFE : RV_CBIE, raw);
    if (rv_cpu(e)->config.user_mode) {
        e->exec->load(e, va, MO_8);
    } else if (rv_translate(e, va, ENV_READ, MMU_CURRENT, &to, &f) &&
               rv_translate(e, va, ENV_WRITE, MMU_CURRENT, &to, &f)) {
        rv_take_fault(e, &f);
        e->exec->leave(e, LEAVE_AGAIN);
    }
}
static void help_zero(struct env *e, uint64_t va, uint64_t raw)
{
    check(rv_cpu(e), RV_CBZE, raw);
    if (va & (RV_CACHE_BLOCK - 1)) // a fault is at the address that was given
        e->exec->store(e, va, 0, MO_8);
    e->exec->zero(e, va & -(uint64_t)RV_CACHE_BLOCK, RV_CACHE_BLOCK, MO_64);
}
static const struct ir_helper touch_helper = {"cbo", (void *)help_touch, HELPER_STATE, IR_VOID,
                                              2,     {IR_I64, IR_I64}};
static const struct ir_helper zero_helper = {"cbo_zero", (void *)help_zero, HELPER_STATE, IR_VOID,
                                             2,          {IR_I64, IR_I64}};

void rv_lift_cache_block(struct lift *l, const struct rv_insn *i)
{
    ir_callv(l->b, i->id == RV_CBO_ZERO ? &zero_helper : &touch_helper,
             rv_data_address(l, rv_x(l, i->rs1)), ir_i64(l->b, i->raw));
}

void rv_lift_reservation_wait(struct lift *l, const struct rv_insn *i)
{
    ir_leave(l->b, LEAVE_YIELD, l->pc + l->length);
}

void rv_lift_may_be(struct lift *l, const struct rv_insn *i)
{
    rv_set(l, i->rd, ir_i64(l->b, 0));
}
