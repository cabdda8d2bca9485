// Verify mode: regions whose host code was made from something else than what the interpreter gets,
// or is altered afterwards, must be noticed, right ones must not, and what cannot be compared is
// left alone.
#include "toy.h"

#include "jit/state.h"

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
    assert_int_equal(s.unverified, 1);
    assert_int_equal(s.differences, 0);
}

// ---- host code altered behind the translator's back ----

enum { ADDEND = 0x12345678 };

static void make_sum(struct toy *t, struct ir_build *b, uint64_t pc)
{
    ir_put(b, S_X0, ir_addi(b, ir_get(b, S_X0), ADDEND));
    ir_leave(b, LEAVE_HALT, pc);
}

// The constant in the code of the first block.
static uint8_t *addend_of(struct jit *j)
{
    const struct block *b = arena_block(&j->arena[0], 0);
    uint8_t *code = jit_rw(j, b->code);
    const uint32_t addend = ADDEND;
    for (uint32_t n = 0; n + 4 <= b->code_size; n++)
        if (!memcmp(code + n, &addend, 4))
            return code + n;
    fail_msg("no constant in the code");
    return NULL;
}

static void altered_code_is_found(void **state)
{
    struct toy t = {.make = make_sum};
    struct jit_stats s;
    toy_open(&t, (struct jit_config){.verify = true});
    for (unsigned round = 0; round < 2; round++) {
        t.cpu->pc = TOY_CODE;
        assert_int_equal(jit_run(&t.cpu->env), LEAVE_HALT);
        jit_get_stats(t.jit, &s);
        assert_int_equal(s.verified, 1 + round);
        assert_int_equal(s.differences, round);
        if (!round)
            *addend_of(t.jit) ^= 1;
    }
    toy_close(&t);
}

// ---- more values in a loop than registers ----

// Slots that change each round, those that exits want of the round before, flags that only exits
// want, and as many values again that stay as they are.
static void make_crowded(struct toy *t, struct ir_build *b, uint64_t pc)
{
    ir_ref fixed[12];
    if (pc != TOY_CODE) {
        ir_leave(b, LEAVE_HALT, pc);
        return;
    }
    for (unsigned k = 0; k < ARRAY_SIZE(fixed); k++)
        fixed[k] = ir_emit(b, IR_vgetu, IR_I64, 8 * (k & 7), ir_get(b, S_V0 + k / 8), 0, 0);
    ir_ref left = ir_addi(b, ir_get(b, S_X3), -1);
    ir_put(b, S_X3, left);
    ir_exit_if(b, ir_cmp(b, CMP_EQ, left, ir_i64(b, 0)), TOY_CODE + 0x100);
    for (unsigned k = 0; k < ARRAY_SIZE(fixed); k++) {
        unsigned slot = S_X0 + k % 8;
        ir_ref sum = ir_add(b, ir_xor(b, ir_get(b, S_X0 + (k + 1) % 8), fixed[k]), fixed[11 - k]);
        if (slot != S_X3)
            ir_put(b, slot, ir_add(b, sum, left));
    }
    for (unsigned k = 0; k < ARRAY_SIZE(fixed); k++)
        ir_put(b, S_X0 + (k & 1), ir_add(b, ir_get(b, S_X0 + (k & 1)), fixed[k]));
    ir_put(b, S_FLAGS, ir_emit(b, IR_subf, IR_FLAGS, 0, ir_get(b, S_X5), fixed[2], 0));
    ir_branch_if(b, ir_cmp(b, CMP_NE, ir_get(b, S_X6), ir_i64(b, 0)), pc, TOY_CODE + 0x200);
}

static void crowded_loops_agree(void **state)
{
    struct toy t = {.make = make_crowded};
    struct jit_stats s;
    toy_open(&t, (struct jit_config){.verify = true});
    for (unsigned rounds = 1; rounds < 8; rounds++) {
        for (unsigned k = 0; k < 8; k++)
            t.cpu->x[k] = 0x1234567 * (k + 1);
        for (unsigned k = 0; k < 32; k++)
            ((uint8_t *)t.cpu->v)[k] = (uint8_t)(k * 37 + 1);
        t.cpu->x[3] = rounds;
        t.cpu->pc = TOY_CODE;
        assert_int_equal(jit_run(&t.cpu->env), LEAVE_HALT);
        assert_int_equal(t.cpu->x[3], 0);
    }
    jit_get_stats(t.jit, &s);
    assert_int_equal(s.verified, 2 * 7);
    assert_int_equal(s.differences, 0);
    toy_close(&t);
}

// ---- memory that something else changes between the two runs ----

// It is the second call that changes it, which host code makes. Both runs of the repetition see
// the first value.
static struct {
    unsigned calls;
    bool after; // what was stored is written over, else what is loaded changes before
    bool lies, told;
} others;

static uint64_t help_disturb(struct env *e, uint64_t va)
{
    struct toy *t = e->vcpu;
    if (++others.calls == 2)
        t->memory[va]++;
    return 0;
}
static const struct ir_helper disturb = {.name = "disturb",
                                         .fn = (void *)help_disturb,
                                         .flags = HELPER_FP,
                                         .ret = IR_I64,
                                         .n_args = 1,
                                         .args = {IR_I64}};

// [x2] += 5, as every CPU of a counter does that others count, too.
static void make_disturbed(struct toy *t, struct ir_build *b, uint64_t pc)
{
    ir_ref at = ir_get(b, S_X2);
    bool lie = others.lies && !others.told;
    others.told = true;
    if (!others.after)
        ir_put(b, S_X1, ir_call(b, &disturb, (ir_ref[]){at}));
    ir_ref v = ir_load(b, IR_I64, at, MO_64);
    ir_put(b, S_X0, v);
    ir_store(b, at, ir_addi(b, v, lie ? 3 : 5), MO_64);
    if (others.after)
        ir_put(b, S_X1, ir_call(b, &disturb, (ir_ref[]){at}));
    ir_leave(b, LEAVE_HALT, pc);
}

static struct jit_stats run_disturbed(bool after, bool lies)
{
    struct toy t = {.make = make_disturbed};
    struct jit_stats s;
    toy_open(&t, (struct jit_config){.verify = true});
    others.calls = 0;
    others.after = after;
    others.lies = lies;
    others.told = false;
    t.cpu->env.vcpu = &t;
    t.cpu->pc = TOY_CODE;
    t.cpu->x[2] = TOY_DATA;
    assert_int_equal(jit_run(&t.cpu->env), LEAVE_HALT);
    assert_int_equal(others.calls, 2);
    jit_get_stats(t.jit, &s);
    assert_int_equal(s.verified, 1);
    toy_close(&t);
    return s;
}

static void others_may_write(void **state)
{
    for (unsigned after = 0; after < 2; after++) {
        struct jit_stats s = run_disturbed(after, false);
        assert_int_equal(s.disturbed, 1);
        assert_int_equal(s.differences, 0);
    }
}

static void others_excuse_nothing(void **state)
{
    for (unsigned after = 0; after < 2; after++) {
        struct jit_stats s = run_disturbed(after, true);
        assert_int_equal(s.disturbed, 0);
        assert_int_equal(s.differences, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_code_passes),      cmocka_unit_test(wrong_values_are_found),
        cmocka_unit_test(wrong_stores_are_found), cmocka_unit_test(wrong_exits_are_found),
        cmocka_unit_test(wrong_loops_are_found),  cmocka_unit_test(helpers_are_not_run_twice),
        cmocka_unit_test(altered_code_is_found),  cmocka_unit_test(others_may_write),
        cmocka_unit_test(others_excuse_nothing),  cmocka_unit_test(crowded_loops_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
