// Loops: a region that ends at its own start gives the same state with and without the pass; faults
// and interrupts inside find the slots as they should be; what cannot be a loop stays as it is.
#include "guest.h"
#include "base/buf.h"

#include <stdatomic.h>
#include <stdlib.h>

static struct ir_region region;
static struct ir_build build;
static struct ir_loop_pass pass;
static struct test_cpu cpu;
static uint64_t memory[16];
static jmp_buf left;

static uint64_t exec_load(struct env *e, gva_t va, unsigned mo)
{
    if (va >= sizeof memory)
        longjmp(left, 1);
    return memory[va / 8];
}
static void exec_store(struct env *e, gva_t va, uint64_t v, unsigned mo)
{
    if (va >= sizeof memory)
        longjmp(left, 1);
    memory[va / 8] = v;
}
static const struct env_exec_ops exec_ops = {.load = exec_load, .store = exec_store};

enum { PC = 0x1000, NEXT = 0x1010 };

// x1 += [x0]; [x0] = x2; x2 = x3; x3 = x1; x0 += 8; flags of x0 - x4; until x0 == x4
static void sum(void)
{
    struct ir_build *b = &build;
    ir_region_reset(&region, &test_guest, PC, 0);
    ir_build_begin(b, &region, &ir_switches_all);
    ir_build_insn(b, PC);
    ir_ref x0 = ir_get(b, S_X0), x2 = ir_get(b, S_X2), x4 = ir_get(b, S_X4);
    ir_ref x1 = ir_add(b, ir_get(b, S_X1), ir_load(b, IR_I64, x0, MO_64));
    ir_put(b, S_X1, x1);
    ir_build_insn(b, PC + 4);
    ir_store(b, x0, x2, MO_64);
    ir_build_insn(b, PC + 8);
    ir_put(b, S_X2, ir_get(b, S_X3));
    ir_put(b, S_X3, x1);
    ir_ref next = ir_addi(b, x0, 8), flags = ir_subf(b, next, x4);
    ir_put(b, S_X0, next);
    ir_put(b, S_FLAGS, flags);
    ir_build_insn(b, PC + 12);
    ir_branch_if(b, ir_fcond(b, COND_NE, flags), PC, NEXT);
}

static void check(void)
{
    struct err e;
    if (!ir_verify(&region, &e))
        return;
    struct buf out = {0};
    ir_print(&region, &out);
    fail_msg("%s\n%s", e.msg, buf_str(&out));
}

static unsigned count(unsigned op)
{
    unsigned n = 0;
    for (size_t i = 1; i < region.insns.len; i++)
        n += region.insns.data[i].op == op;
    return n;
}

static void begin(bool loop)
{
    memset(&cpu, 0, sizeof cpu);
    cpu.env.exec = &exec_ops;
    cpu.x[0] = 8;
    cpu.x[2] = 100;
    cpu.x[3] = 200;
    cpu.x[4] = sizeof memory;
    for (unsigned k = 0; k < ARRAY_SIZE(memory); k++)
        memory[k] = 3 * k + 1;
    sum();
    if (loop)
        ir_form_loop(&pass, &region);
    check();
}

static void rounds_add_up(void **state)
{
    struct test_cpu want;
    uint64_t want_memory[ARRAY_SIZE(memory)];
    begin(false);
    unsigned rounds = 0;
    do {
        assert_int_equal(ir_interp(&region, &cpu.env).kind, OUT_GOTO);
        rounds++;
    } while (cpu.pc == PC);
    assert_int_equal(rounds, ARRAY_SIZE(memory) - 1);
    want = cpu;
    memcpy(want_memory, memory, sizeof memory);
    begin(true);
    struct ir_outcome out = ir_interp(&region, &cpu.env);
    assert_int_equal(out.kind, OUT_GOTO);
    assert_int_equal(out.insns, 4 * rounds);
    assert_memory_equal(cpu.x, want.x, sizeof cpu - offsetof(struct test_cpu, x));
    assert_memory_equal(memory, want_memory, sizeof memory);
}

static void values_stay_in_phis(void **state)
{
    begin(true);
    assert_int_equal(count(IR_loop), 1);
    assert_int_equal(count(IR_again), 1);
    assert_int_equal(count(IR_phi), 4); // x0 to x3; x4 is only read, flags are of x0 and x4
    ir_ref loop = ir_loop_of(&region);
    for (size_t i = 1; i < region.insns.len; i++)
        if (region.insns.data[i].op == IR_get)
            assert_true(i < loop);
}

static void faults_find_the_state(void **state)
{
    begin(true);
    cpu.x[4] = 4096; // past the end of memory
    if (!setjmp(left)) {
        ir_interp(&region, &cpu.env);
        fail();
    }
    assert_int_equal(cpu.pc, PC);
    assert_int_equal(cpu.x[0], sizeof memory);
    assert_int_equal(cpu.x[1], cpu.x[3]);
    assert_int_equal(cpu.flags & PACK_MASK, flags_pack(true, false, false, false));
}

static void faults_of_the_first_round_too(void **state)
{
    begin(true);
    cpu.x[0] = 4096;
    cpu.flags = flags_pack(true, false, true, true);
    if (!setjmp(left)) {
        ir_interp(&region, &cpu.env);
        fail();
    }
    assert_int_equal(cpu.x[0], 4096);
    assert_int_equal(cpu.x[2], 100);
    assert_int_equal(cpu.flags & PACK_MASK, flags_pack(true, false, true, true));
}

static void interrupts_end_rounds(void **state)
{
    begin(true);
    atomic_store(&cpu.env.interrupt, INTR_LINE);
    struct ir_outcome out = ir_interp(&region, &cpu.env);
    assert_int_equal(out.kind, OUT_GOTO);
    assert_int_equal(cpu.pc, PC);
    assert_int_equal(out.insns, 8);
    assert_int_equal(cpu.x[0], 24); // two rounds: the first stands before the loop
    assert_int_equal(cpu.x[2], memory[1] == 100 ? 4 : 0);
}

static void help(struct env *e) {}
static const struct ir_helper look = {
    .name = "look", .fn = (void *)help, .flags = HELPER_READ, .ret = IR_VOID};

static void helpers_that_look_prevent_it(void **state)
{
    struct ir_build *b = &build;
    ir_region_reset(&region, &test_guest, PC, 0);
    ir_build_begin(b, &region, &ir_switches_all);
    ir_build_insn(b, PC);
    ir_call0(b, &look);
    ir_build_end(b, PC);
    ir_form_loop(&pass, &region);
    assert_int_equal(ir_loop_of(&region), IR_NONE);
    check();
}

// A region may go on in the function it calls, which may jump to the region's start.
static void calls_prevent_it(void **state)
{
    struct ir_build *b = &build;
    ir_region_reset(&region, &test_guest, PC, 0);
    ir_build_begin(b, &region, &ir_switches_all);
    b->calls_lo = PC;
    b->calls_hi = PC + 64;
    b->calls_left = 1;
    ir_build_insn(b, PC);
    ir_callto(b, ir_pc(b, PC + 64), PC + 4);
    assert_true(b->ended); // too far away
    ir_region_reset(&region, &test_guest, PC, 0);
    ir_build_begin(b, &region, &ir_switches_all);
    b->calls_left = 1;
    ir_build_insn(b, PC);
    ir_callto(b, ir_pc(b, PC + 32), PC + 4);
    assert_true(b->follow && b->follow_call && !b->ended);
    assert_int_equal(b->follow_pc, PC + 32);
    ir_build_insn(b, PC + 32);
    ir_build_end(b, PC);
    ir_form_loop(&pass, &region);
    assert_int_equal(count(IR_into), 1);
    assert_int_equal(ir_loop_of(&region), IR_NONE);
    check();
    assert_int_equal(ir_interp(&region, &cpu.env).kind, OUT_GOTO);
    assert_int_equal(cpu.pc, PC);
}

static void other_ends_are_left_alone(void **state)
{
    struct ir_build *b = &build;
    ir_region_reset(&region, &test_guest, PC, 0);
    ir_build_begin(b, &region, &ir_switches_all);
    ir_build_insn(b, PC);
    ir_put(b, S_X0, ir_i64(b, 1));
    ir_build_end(b, PC + 4);
    ir_form_loop(&pass, &region);
    assert_int_equal(ir_loop_of(&region), IR_NONE);
    check();
}

static int with_residents(void **state)
{
    region.n_resident = test_guest.n_resident;
    return 0;
}

static int without_residents(void **state)
{
    region.n_resident = 0;
    return 0;
}

int main(void)
{
#define BOTH(test)                                                                                 \
    cmocka_unit_test(test),                                                                        \
    {                                                                                              \
#test ", resident slots", test, with_residents, without_residents, NULL                    \
    }
    const struct CMUnitTest tests[] = {
        BOTH(rounds_add_up),
        BOTH(values_stay_in_phis),
        BOTH(faults_of_the_first_round_too),
        BOTH(calls_prevent_it),
        BOTH(faults_find_the_state),
        BOTH(interrupts_end_rounds),
        BOTH(helpers_that_look_prevent_it),
        BOTH(other_ends_are_left_alone),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ir_region_free(&region);
    ir_loop_pass_free(&pass);
    return failed;
}
