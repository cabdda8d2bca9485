// Blocks that jump to one another directly: once they are linked no look-up is made any more,
// whenever the CPU came that runs them.
#include "toy.h"

enum { ROUNDS = 1000, FEW = 20 };

// Two blocks in turn until x3 is zero.
static void make(struct toy *t, struct ir_build *b, uint64_t pc)
{
    if (pc == TOY_CODE) {
        ir_ref left = ir_addi(b, ir_get(b, S_X3), -1);
        ir_put(b, S_X3, left);
        ir_exit_if(b, ir_cmp(b, CMP_EQ, left, ir_i64(b, 0)), TOY_CODE + 0x100);
        ir_build_end(b, TOY_CODE + 0x200);
    } else if (pc == TOY_CODE + 0x200) {
        ir_build_end(b, TOY_CODE);
    } else {
        ir_leave(b, LEAVE_HALT, pc);
    }
}

static uint64_t lookups(struct toy *t)
{
    struct jit_stats before, after;
    jit_get_stats(t->jit, &before);
    t->cpu->x[3] = ROUNDS;
    t->cpu->pc = TOY_CODE;
    assert_int_equal(jit_run(&t->cpu->env), LEAVE_HALT);
    assert_int_equal(t->cpu->x[3], 0);
    jit_get_stats(t->jit, &after);
    return after.lookups - before.lookups;
}

static void blocks_are_linked(void **state)
{
    struct toy t = {.make = make};
    toy_open(&t, (struct jit_config){0});
    assert_in_range(lookups(&t), 1, FEW);
    jit_flush_all(t.jit);
    assert_in_range(lookups(&t), 1, FEW);
    toy_close(&t);
}

// What was thrown out before a CPU came does not keep it from linking.
static void later_cpus_link_too(void **state)
{
    struct toy t = {.make = make};
    struct err err;
    toy_open(&t, (struct jit_config){0});
    jit_flush_all(t.jit);
    jit_thread_leave(&t.cpu->env);
    jit_vcpu_free(&t.cpu->env);
    t.cpu = (struct test_cpu *)jit_vcpu_new(t.jit, 0, &err);
    assert_non_null(t.cpu);
    t.cpu->env.isa = &toy_isa;
    jit_thread_enter(&t.cpu->env);
    assert_in_range(lookups(&t), 1, FEW);
    toy_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_linked),
        cmocka_unit_test(later_cpus_link_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
