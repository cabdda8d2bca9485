// A64 branches (DDI 0487, C4.1.93) and pointer authentication (FEAT_PAuth), which most branches
// have a form with. Tagged branch targets (TBI) are left to instruction fetch.
#include "isa/arm/a64/lift.h"

static uint64_t target(const struct lift *l, const struct a64_insn *i)
{
    return l->pc + (uint64_t)((int64_t)i->simm * 4);
}

static ir_ref link_register(struct lift *l)
{
    ir_ref next = ir_pc(l->b, l->pc + 4);
    ir_put(l->b, ARM_X0 + 30, next);
    return next;
}

void a64_lift_branch(struct lift *l, const struct a64_insn *i)
{
    if (i->op) {
        link_register(l);
        ir_callto(l->b, ir_pc(l->b, target(l, i)), l->pc + 4);
    } else {
        ir_goto(l->b, target(l, i));
    }
}

void a64_lift_branch_cond(struct lift *l, const struct a64_insn *i)
{
    if (i->cond >= 14)
        ir_goto(l->b, target(l, i));
    else
        ir_branch_if(l->b, a64_cond(l, i->cond), target(l, i), l->pc + 4);
}

void a64_lift_compare_branch(struct lift *l, const struct a64_insn *i)
{
    ir_ref zero = ir_const(l->b, a64_type(i->sf), 0);
    ir_ref taken = ir_cmp(l->b, i->op ? CMP_NE : CMP_EQ, a64_reg(l, i->sf, i->Rt), zero);
    ir_branch_if(l->b, taken, target(l, i), l->pc + 4);
}

void a64_lift_test_branch(struct lift *l, const struct a64_insn *i)
{
    unsigned wide = i->bit >> 5;
    ir_ref set = ir_andi(l->b, a64_reg(l, wide, i->Rt), 1ull << i->bit);
    ir_ref zero = ir_const(l->b, a64_type(wide), 0);
    ir_ref taken = ir_cmp(l->b, i->op ? CMP_NE : CMP_EQ, set, zero);
    ir_branch_if(l->b, taken, target(l, i), l->pc + 4);
}

// BR, BLR or RET to a computed address.
static void jump(struct lift *l, unsigned kind, unsigned rn, ir_ref to)
{
    if (kind < 2)
        arm_lift_computed_branch(l, kind == 1, rn);
    if (kind == 0) {
        ir_indirect(l->b, to);
    } else if (kind == 1) {
        link_register(l);
        ir_callto(l->b, to, l->pc + 4);
    } else {
        ir_ret(l->b, to);
    }
}

void a64_lift_branch_reg(struct lift *l, const struct a64_insn *i)
{
    jump(l, i->opc, i->Rn, a64_x(l, i->Rn));
}

// ---- pointer authentication ----

static const struct ir_helper helper_add = {"pac_add", (void *)arm_pac_add,     HELPER_READ, IR_I64,
                                            3,         {IR_I64, IR_I64, IR_I32}};
static const struct ir_helper helper_auth = {
    "pac_auth", (void *)arm_pac_auth, HELPER_READ, IR_I64, 3, {IR_I64, IR_I64, IR_I32}};
static const struct ir_helper helper_strip = {
    "pac_strip", (void *)arm_pac_strip, HELPER_READ, IR_I64, 2, {IR_I64, IR_I32}};
static const struct ir_helper helper_generic = {
    "pac_generic", (void *)arm_pac_generic, HELPER_READ, IR_I64, 2, {IR_I64, IR_I64}};

ir_ref a64_pac(struct lift *l, bool check, unsigned key, ir_ref ptr, ir_ref modifier)
{
    unsigned enabled = (l->mode & ARM_MODE_PAUTH) >> ARM_MODE_PAUTH_SHIFT;
    if (!a64_has_pauth(l) || !(enabled >> key & 1))
        return ptr;
    const struct ir_helper *h = check ? &helper_auth : &helper_add;
    return ir_callv(l->b, h, ptr, modifier, ir_i32(l->b, key));
}

ir_ref a64_strip(struct lift *l, bool instruction, ir_ref ptr)
{
    return a64_has_pauth(l) ? ir_callv(l->b, &helper_strip, ptr, ir_i32(l->b, instruction)) : ptr;
}

void a64_lift_branch_auth(struct lift *l, const struct a64_insn *i)
{
    if (!a64_has_pauth(l)) {
        arm_lift_undefined(l);
        return;
    }
    ir_ref modifier = i->Z ? a64_xsp(l, i->Rm) : ir_i64(l->b, 0);
    jump(l, i->opc, i->Rn, a64_pac(l, true, PAC_IA + i->M, a64_x(l, i->Rn), modifier));
}

void a64_lift_ret_auth(struct lift *l, const struct a64_insn *i)
{
    if (!a64_has_pauth(l)) {
        arm_lift_undefined(l);
        return;
    }
    ir_ref sp = a64_xsp(l, 31);
    ir_ret(l->b, a64_pac(l, true, PAC_IA + i->M, a64_x(l, 30), sp));
}

void a64_lift_pauth(struct lift *l, const struct a64_insn *i)
{
    if (!a64_has_pauth(l)) {
        arm_lift_undefined(l);
        return;
    }
    ir_ref modifier = i->Z ? ir_i64(l->b, 0) : a64_xsp(l, i->Rn);
    a64_set(l, i->Rd, a64_pac(l, i->auth, i->key, a64_x(l, i->Rd), modifier));
}

void a64_lift_xpac(struct lift *l, const struct a64_insn *i)
{
    if (!a64_has_pauth(l))
        arm_lift_undefined(l);
    else
        a64_set(l, i->Rd, a64_strip(l, !i->op, a64_x(l, i->Rd)));
}

void a64_lift_pacga(struct lift *l, const struct a64_insn *i)
{
    ir_ref x = a64_x(l, i->Rn), modifier = a64_xsp(l, i->Rm);
    a64_set(l, i->Rd, ir_callv(l->b, &helper_generic, x, modifier));
}

// The forms in hint space: on X17 with modifier X16, or X30 with SP or zero.
void a64_lift_pauth_hint(struct lift *l, const struct a64_insn *i)
{
    unsigned rd = i->id == A64_PAC_1716 || i->id == A64_AUT_1716 ? 17 : 30;
    ir_ref modifier;
    if (i->id == A64_XPACLRI) {
        a64_set(l, 30, a64_strip(l, true, a64_x(l, 30)));
        return;
    }
    if (rd == 17)
        modifier = a64_x(l, 16);
    else if (i->id == A64_PAC_SP || i->id == A64_AUT_SP)
        modifier = a64_xsp(l, 31);
    else
        modifier = ir_i64(l->b, 0);
    a64_set(l, rd, a64_pac(l, i->auth, i->key, a64_x(l, rd), modifier));
}
