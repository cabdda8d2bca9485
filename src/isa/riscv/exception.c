// Exceptions and memory as a user-level program has them: there is no privileged architecture here
// yet, so every exception is left to whoever runs the hart, and addresses are physical.
#include "isa/riscv/riscv.h"

#include "memory/space.h"

void rv_raise(struct rv_cpu *c, enum rv_cause cause, uint64_t tval)
{
    c->env.fault = (struct env_fault){
        .va = tval, .kind = RV_FAULT_EXCEPTION | (1 + cause), .info = {cause, tval}};
    c->env.exec->leave(&c->env, LEAVE_SIGNAL);
}

static int translate(struct env *e, gva_t va, enum env_access access, unsigned mmu,
                     struct env_xlat *out, struct env_fault *f)
{
    *out = (struct env_xlat){.pa = va,
                             .page_size = 1ull << 30,
                             .perms = ENV_READ | ENV_WRITE | ENV_EXEC,
                             .global = true,
                             .space = rv_cpu(e)->config.memory};
    return 0;
}

static void fill(gva_t va, enum env_access access, enum rv_cause cause, struct env_fault *f)
{
    *f = (struct env_fault){
        .va = va, .access = (uint8_t)access, .kind = 1 + cause, .info = {cause, va}};
}

static void bus_fault(struct env *e, gva_t va, enum env_access access, enum mem_result why,
                      struct env_fault *f)
{
    fill(va, access,
         access == ENV_EXEC    ? RV_CAUSE_FETCH_ACCESS
         : access == ENV_WRITE ? RV_CAUSE_STORE_ACCESS
                               : RV_CAUSE_LOAD_ACCESS,
         f);
}

static void align_fault(struct env *e, gva_t va, enum env_access access, unsigned mo,
                        struct env_fault *f)
{
    fill(va, access, access == ENV_WRITE ? RV_CAUSE_STORE_MISALIGNED : RV_CAUSE_LOAD_MISALIGNED, f);
}

static void take_fault(struct env *e, const struct env_fault *f)
{
    e->fault = *f;
    e->exec->leave(e, LEAVE_SIGNAL);
}

static int watch(struct env *e, gva_t va, unsigned size, enum env_access access,
                 struct env_fault *f)
{
    return 0;
}

static uint64_t mode(struct env *e)
{
    const struct rv_cpu *c = rv_cpu(e);
    return (c->frm > FP_RMM ? RV_MODE_RM_INVALID : 0) | (c->debug_step ? IR_MODE_SINGLE : 0);
}

static bool take_interrupt(struct env *e)
{
    return false;
}

static bool has_work(struct env *e)
{
    return e->interrupt;
}

const struct env_isa_ops rv_ops = {
    .translate = translate,
    .bus_fault = bus_fault,
    .align_fault = align_fault,
    .take_fault = take_fault,
    .watch = watch,
    .mode = mode,
    .take_interrupt = take_interrupt,
    .has_work = has_work,
};
