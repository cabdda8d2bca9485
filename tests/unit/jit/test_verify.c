// Verify mode: regions whose host code was made from something else than what the interpreter gets
// must be noticed, right ones must not, and regions with helpers that look at the state are left
// alone.
#include "toy.h"

enum lie { NONE, WRONG_VALUE, WRONG_STORE, WRONG_EXIT, WRONG_ROUNDS };
static struct {
    enum lie lie;
    bool told; // only the first translation, which host code is made from, is wrong
    bool helper;
} plan;

static void help(struct env *e) {}
static const struct ir_helper look = {
    .name = "look", .fn = (void *)help, .flags = HELPER_READ, .ret = IR_VOID};

// x0 += x1; [x2] = x0; stop at one of two places. Or x3 goes down to zero first.
static void make(struct toy *t, struct ir_build *b, uint64_t pc)
{
    if (pc != TOY_CODE) {
        ir_leave(b, LEAVE_HALT, pc);
        return;
    }
    enum lie lie = plan.told ? NONE : plan.lie;
    plan.told = true;
    ir_ref x0 = ir_get(b, S_X0), x1 = ir_get(b, S_X1);
    ir_ref sum = lie == WRONG_VALUE ? ir_sub(b, x0, x1) : ir_add(b, x0, x1);
    ir_put(b, S_X0, sum);
    ir_store(b, ir_get(b, S_X2), lie == WRONG_STORE ? x1 : sum, MO_64);
    if (plan.helper)
        ir_call0(b, &look);
    if (plan.lie == WRONG_ROUNDS) {
        ir_ref left = ir_addi(b, ir_get(b, S_X3), lie == NONE ? -1 : -2);
        ir_put(b, S_X3, left);
        ir_branch_if(b, ir_cmp(b, CMP_NE, left, ir_i64(b, 0)), pc, TOY_CODE + 0x100);
        return;
    }
    ir_exit_if(b, ir_cmp(b, lie == WRONG_EXIT ? CMP_NE : CMP_EQ, x1, ir_i64(b, 5)),
               TOY_CODE + 0x100);
    ir_build_end(b, TOY_CODE + 0x200);
}

static struct jit_stats run(enum lie lie, bool helper)
{
    struct toy t = {.make = make};
    struct jit_stats s;
    plan.lie = lie;
    plan.told = false;
    plan.helper = helper;
    toy_open(&t, (struct jit_config){.verify = true});
    t.cpu->x[0] = 7;
    t.cpu->x[1] = 5;
    t.cpu->x[2] = TOY_DATA;
    t.cpu->x[3] = 20;
    t.cpu->pc = TOY_CODE;
    assert_int_equal(jit_run(&t.cpu->env), LEAVE_HALT);
    jit_get_stats(t.jit, &s);
    toy_close(&t);
    return s;
}

static void right_code_passes(void **state)
{
    struct jit_stats s = run(NONE, false);
    assert_int_equal(s.verified, 2); // the region and the stop
    assert_int_equal(s.differences, 0);
}

static void wrong_values_are_found(void **state)
{
    assert_int_equal(run(WRONG_VALUE, false).differences, 1);
}

static void wrong_stores_are_found(void **state)
{
    assert_int_equal(run(WRONG_STORE, false).differences, 1);
}

static void wrong_exits_are_found(void **state)
{
    assert_int_equal(run(WRONG_EXIT, false).differences, 1);
}

static void wrong_loops_are_found(void **state)
{
    assert_int_equal(run(WRONG_ROUNDS, false).differences, 1);
}

static void helpers_are_not_run_twice(void **state)
{
    struct jit_stats s = run(WRONG_VALUE, true);
    assert_int_equal(s.verified, 1); // the stop
    assert_int_equal(s.differences, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_code_passes),      cmocka_unit_test(wrong_values_are_found),
        cmocka_unit_test(wrong_stores_are_found), cmocka_unit_test(wrong_exits_are_found),
        cmocka_unit_test(wrong_loops_are_found),  cmocka_unit_test(helpers_are_not_run_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
