// Branch target identification, FEAT_BTI. DDI 0487, D8.4.6 and A64's BTI instruction. A computed
// branch notes its kind in PSTATE.BTYPE; where it lands, an instruction of a guarded page must be
// one that accepts that kind. Nothing of this is translated until a CPU first fetches from a
// guarded page (ARM_MODE_GUARDED): most guests never do. Whether a branch's own page is guarded is
// taken as it was at translation.
#include "isa/arm/a64/lift.h"
#include "isa/arm/arm_bits.h"

enum { BTYPE_JUMP_CALL = 1, BTYPE_CALL = 2, BTYPE_JUMP = 3 };

// In the slot beside BTYPE: the landing has to be looked at with the state exact.
enum { LANDING_CHECK = 4 };

// A bit for each BTYPE that the instruction takes.
static unsigned accepts(const struct lift *l, const struct a64_insn *i)
{
    const unsigned none = 1 << 0, pad = none | 1 << BTYPE_JUMP_CALL;
    switch (i->id) {
    case A64_BTI:
        return i->key == 0   ? none
               : i->key == 1 ? pad | 1 << BTYPE_CALL
               : i->key == 2 ? pad | 1 << BTYPE_JUMP
                             : pad | 1 << BTYPE_CALL | 1 << BTYPE_JUMP;
    case A64_PAC_SP:
        if (i->auth)
            return none;
        return pad | 1 << BTYPE_CALL | (l->mode & ARM_MODE_BT ? 0 : 1 << BTYPE_JUMP);
    default:
        return none;
    }
}

static void check_landing(struct env *e, uint32_t accepted)
{
    struct arm_cpu *c = arm_cpu(e);
    c->btype &= 3;
    if (!(accepted >> c->btype & 1) && arm_page_guarded(c, c->pc))
        arm_take_exception(c, arm_sync_target(c), ESR_MAKE(EC_BTI, c->btype), NULL, c->pc);
    else
        c->btype = 0;
    e->exec->leave(e, LEAVE_AGAIN);
}
static const struct ir_helper helper_check_landing = {
    "check_landing", (void *)check_landing, HELPER_STATE, IR_VOID, 1, {IR_I32}};

bool arm_lift_landing(struct lift *l, const struct a64_insn *i)
{
    struct ir_build *b = l->b;
    bool trap = i->id == A64_BRK || i->id == A64_HLT; // accept all, and save BTYPE with the rest
    if (!(l->mode & (ARM_MODE_GUARDED | ARM_MODE_LANDING)) || l->pc != b->r->pc || trap)
        return false;
    unsigned accepted = accepts(l, i);
    if (l->mode & ARM_MODE_LANDING) {
        ir_callv(b, &helper_check_landing, ir_i32(b, accepted));
        ir_leave(b, LEAVE_AGAIN, l->pc);
        return true;
    }
    ir_ref type = ir_get(b, ARM_BTYPE), zero = ir_i32(b, 0);
    ir_ref fits = ir_andi(b, ir_shr(b, ir_i32(b, accepted), type), 1);
    ir_ref bad = ir_cmp(b, CMP_EQ, fits, zero);
    ir_put(b, ARM_BTYPE, ir_or(b, type, ir_i32(b, LANDING_CHECK)));
    ir_exit_mode_if(b, bad, l->pc);
    ir_put(b, ARM_BTYPE, zero);
    return false;
}

void arm_lift_computed_branch(struct lift *l, bool call, unsigned rn)
{
    if (!(l->mode & ARM_MODE_GUARDED))
        return;
    bool any = rn == 16 || rn == 17 || !arm_page_guarded(arm_cpu(l->env), l->pc);
    ir_put(l->b, ARM_BTYPE, ir_i32(l->b, call ? BTYPE_CALL : any ? BTYPE_JUMP_CALL : BTYPE_JUMP));
}

bool arm_landing_pending(const struct arm_cpu *c)
{
    return c->btype & LANDING_CHECK;
}
