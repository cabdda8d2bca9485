// The translator's run time in system mode, on a guest CPU of a dozen instructions (machine.h).
#include "machine.h"

#include <malloc.h>

static void loop(struct jit_config c)
{
    struct machine *m = m_open(1, c);
    LOAD(m, 0x1000, I(M_LI, 0, 0x10, 0x27), I(M_LI, 1, 0, 0), I(M_LI, 2, 0, 0), I(M_ADD, 2, 2, 1),
         I(M_ADDI, 1, 1, 1), I(M_BNE, 1, 0, -2), I(M_HALT, 0, 0, 0));
    assert_int_equal(m_run(m, 0, 0x1000), LEAVE_HALT);
    assert_int_equal(m->cpu[0]->x[2], 9999 * 5000);
    assert_int_equal(m->cpu[0]->pc, 0x1018);
    m_close(m);
}
static void loops(void **state)
{
    m_run_all(loop);
}

// fib(n) by recursion; the stack is at x5. Code on two pages, so that calls cross.
static void fib(struct machine *m)
{
    LOAD(m, 0x1ff0, I(M_ST, 7, 5, 0), I(M_ST, 0, 5, 1), I(M_ADDI, 5, 5, 24), I(M_LI, 1, 2, 0),
         // 0x2000
         I(M_BLT, 0, 1, 12), I(M_ADDI, 0, 0, -1), I(M_CALL, 0, -6, -1), I(M_ST, 0, 5, -1),
         I(M_LD, 0, 5, -2), I(M_ADDI, 0, 0, -2), I(M_CALL, 0, -10, -1), I(M_LD, 1, 5, -1),
         I(M_ADD, 0, 0, 1), I(M_ADDI, 5, 5, -24), I(M_LD, 7, 5, 0), I(M_RET, 0, 0, 0),
         // 0x2030
         I(M_ADDI, 5, 5, -24), I(M_LD, 7, 5, 0), I(M_RET, 0, 0, 0));
    LOAD(m, 0x3000, I(M_LI, 5, 0, 0x40), I(M_CALL, 0, -0x405, (-0x405) >> 8), I(M_HALT, 0, 0, 0));
}
static void recursion(struct jit_config c)
{
    struct machine *m = m_open(1, c);
    fib(m);
    m->cpu[0]->x[0] = 18;
    assert_int_equal(m_run(m, 0, 0x3000), LEAVE_HALT);
    assert_int_equal(m->cpu[0]->x[0], 2584);
    m_close(m);
}
static void recursions(void **state)
{
    m_run_all(recursion);
}

// Deeper than the stack of guest calls: sum 1..n, one frame each.
static void deep(struct jit_config c)
{
    struct machine *m = m_open(1, c);
    LOAD(m, 0x1000, I(M_BNE, 0, 1, 2), I(M_RET, 0, 0, 0), I(M_ST, 7, 5, 0), I(M_ADDI, 5, 5, 8),
         I(M_ADDI, 0, 0, -1), I(M_CALL, 0, -5, -1), I(M_ADDI, 5, 5, -8), I(M_LD, 7, 5, 0),
         I(M_ADDI, 2, 2, 1), I(M_RET, 0, 0, 0));
    LOAD(m, 0x2000, I(M_LI, 5, 0, 0x40), I(M_CALL, 0, -0x401, (-0x401) >> 8), I(M_HALT, 0, 0, 0));
    for (unsigned round = 0; round < 3; round++) {
        m->cpu[0]->x[0] = 100000;
        m->cpu[0]->x[1] = m->cpu[0]->x[2] = 0;
        assert_int_equal(m_run(m, 0, 0x2000), LEAVE_HALT);
        assert_int_equal(m->cpu[0]->x[2], 100000);
    }
    m_close(m);
}
static void deep_recursion(void **state)
{
    m_run_all(deep);
}

// Rewrites the instruction just ahead of it, in the same block, and one in a called function.
static void smc(struct jit_config c)
{
    struct machine *m = m_open(1, c);
    LOAD(m, 0x1000, I(M_LI, 0, 0, 0), I(M_LI, 4, 0, 0x20), I(M_LI, 5, 100, 0),
         // loop: x3 counts, the patched instruction adds its immediate to x2
         I(M_LD, 1, 4, 0), I(M_SHL, 6, 3, 24), I(M_ADD, 1, 1, 6), I(M_LI, 6, 0x28, 0x10),
         I(M_ST4, 1, 6, 0), I(M_ADDI, 0, 0, 1), I(M_ADDI, 3, 3, 1), I(M_ADDI, 2, 2, 0), // 0x1028
         I(M_BNE, 3, 5, -8), I(M_HALT, 0, 0, 0));
    LOAD(m, 0x2000, I(M_ADDI, 2, 2, 0), 0);
    assert_int_equal(m_run(m, 0, 0x1000), LEAVE_HALT);
    assert_int_equal(m->cpu[0]->x[0], 100);
    assert_int_equal(m->cpu[0]->x[2], 99 * 50);
    // from outside
    LOAD(m, 0x1000, I(M_LI, 0, 77, 0), I(M_HALT, 0, 0, 0));
    assert_int_equal(m_run(m, 0, 0x1000), LEAVE_HALT);
    assert_int_equal(m->cpu[0]->x[0], 77);
    m_close(m);
}
static void self_modifying(void **state)
{
    m_run_all(smc);
}

// A page is remapped while code on it is linked to from elsewhere.
static void remap(struct jit_config c)
{
    struct machine *m = m_open(1, c);
    LOAD(m, 0x5000, I(M_LI, 0, 1, 0), I(M_RET, 0, 0, 0));
    LOAD(m, 0x6000, I(M_LI, 0, 2, 0), I(M_RET, 0, 0, 0));
    LOAD(m, 0x4000, I(M_LI, 3, 0, 0x50), I(M_CALL, 0, 0x3ff, 3), I(M_ADD, 2, 2, 0),
         I(M_CALLR, 3, 0, 0), I(M_ADD, 2, 2, 0), I(M_HALT, 0, 0, 0), I(M_FLUSH, 3, 0, 0),
         I(M_HALT, 0, 0, 0));
    for (unsigned k = 0; k < 4; k++) {
        m->cpu[0]->x[2] = 0;
        assert_int_equal(m_run(m, 0, 0x4000), LEAVE_HALT);
        assert_int_equal(m->cpu[0]->x[2], k & 1 ? 4 : 2);
        m->map[0][5].page = k & 1 ? 5 : 6;
        m_run(m, 0, 0x4018);
    }
    m_close(m);
}
static void remapping(void **state)
{
    m_run_all(remap);
}

// Two address spaces with different pages at one address, a shared kernel that switches between.
static void spaces(struct jit_config c)
{
    struct machine *m = m_open(1, c);
    m->map[1][0x10].page = 0x20;
    m->map[1][0x11].page = 0x21;
    LOAD(m, 0x10000, I(M_LD, 1, 4, 0), I(M_ADDI, 1, 1, 1), I(M_JR, 3, 0, 0));
    LOAD(m, 0x20000, I(M_LD, 1, 4, 0), I(M_ADDI, 1, 1, 2), I(M_JR, 3, 0, 0));
    ram_write(m->ram, 0x11000, &(uint64_t){100}, 8);
    ram_write(m->ram, 0x21000, &(uint64_t){200}, 8);
    // 0x80000: for x0 = 0..99: ctx = x0 & 1; call user; x2 += x1
    LOAD(m, 0x80000, I(M_LI, 0, 0, 0), I(M_LI, 2, 0, 0), I(M_LI, 6, 0, 1), I(M_SHL, 6, 6, 8),
         I(M_ADDI, 4, 6, 0), I(M_LI, 5, 0, 0x10), I(M_ADD, 4, 4, 5), // x4 = 0x11000
         I(M_LI, 3, 0x40, 0), I(M_LI, 5, 8, 0), I(M_SHL, 5, 5, 16), I(M_ADD, 3, 3, 5),
         // 0x8002c: switch, go
         I(M_CTX, 7, 0, 0), I(M_LI, 5, 1, 0), I(M_SHL, 5, 5, 16), I(M_JR, 5, 0, 0), 0,
         // 0x80040: back
         I(M_ADD, 2, 2, 1), I(M_ADDI, 0, 0, 1), I(M_LI, 5, 1, 0), I(M_SUB, 7, 5, 7),
         I(M_LI, 5, 100, 0), I(M_BNE, 0, 5, -10), I(M_HALT, 0, 0, 0));
    m->cpu[0]->x[7] = 0;
    assert_int_equal(m_run(m, 0, 0x80000), LEAVE_HALT);
    assert_int_equal(m->cpu[0]->x[2], 50 * 101 + 50 * 202);
    m_close(m);
}
static void address_spaces(void **state)
{
    m_run_all(spaces);
}

static void fault(struct jit_config c)
{
    struct machine *m = m_open(1, c);
    m->map[0][9].perms = ENV_READ;
    m->map[0][10].perms = 0;
    m->handler = 0x2000;
    LOAD(m, 0x2000, I(M_HALT, 0, 0, 0));
    LOAD(m, 0x1000, I(M_LI, 0, 1, 0), I(M_LI, 1, 0, 0x90), I(M_LI, 2, 3, 0), I(M_LD, 3, 1, 0),
         I(M_LI, 2, 4, 0), I(M_ST, 2, 1, 0), I(M_LI, 2, 5, 0), I(M_HALT, 0, 0, 0));
    m_run(m, 0, 0x1000);
    assert_int_equal(m->cpu[0]->x[6], 0x1014);
    assert_int_equal(m->cpu[0]->x[2], 4);
    assert_int_equal(m->fault.va, 0x9000);
    assert_int_equal(m->fault.access, ENV_WRITE);
    LOAD(m, 0x1000, I(M_LI, 1, 0xfc, 0x9f), I(M_LI, 2, 6, 0), I(M_LD, 3, 1, 0), I(M_HALT, 0, 0, 0));
    m_run(m, 0, 0x1000); // crosses into a page that is not there
    assert_int_equal(m->cpu[0]->x[6], 0x1008);
    assert_int_equal(m->cpu[0]->x[2], 6);
    assert_int_equal(m->fault.va, 0xa000);
    // jump into nothing
    LOAD(m, 0x1000, I(M_LI, 1, 0, 0xa0), I(M_JR, 1, 0, 0));
    m_run(m, 0, 0x1000);
    assert_int_equal(m->cpu[0]->x[6], 0xa000);
    assert_int_equal(m->fault.access, ENV_EXEC);
    assert_int_equal(m->faults, 3);
    m_close(m);
}
static void faults(void **state)
{
    m_run_all(fault);
}

static void mmio(struct jit_config c)
{
    struct machine *m = m_open(1, c);
    LOAD(m, 0x1000, I(M_LI, 1, 0, 0x10), I(M_SHL, 1, 1, 16), I(M_LI, 2, 99, 0), I(M_ST, 2, 1, 0),
         I(M_LD, 3, 1, 0), I(M_HALT, 0, 0, 0));
    m_run(m, 0, 0x1000);
    assert_int_equal(m->mmio, 99);
    assert_int_equal(m->cpu[0]->x[3], 99);
    m_close(m);
}
static void registers(void **state)
{
    m_run_all(mmio);
}

// Several accesses off one base: within a page, across into another, into one that is not there.
static void off_one_base(struct jit_config c)
{
    struct machine *m = m_open(1, c);
    uint64_t *x = m->cpu[0]->x;
    LOAD(m, 0x1000, I(M_LD, 0, 5, 0), I(M_LD, 1, 5, 1), I(M_ST, 4, 5, 2), I(M_LD, 2, 5, 3),
         I(M_ST, 0, 5, 4), I(M_HALT, 0, 0, 0));
    for (uint64_t k = 0; k < 0x2000; k += 8)
        ram_write(m->ram, 0x5000 + k, &k, 8);
    for (uint64_t at = 0x5f00; at < 0x6040; at += 4) {
        uint64_t want[4], got[2];
        ram_read(m->ram, at, want, 32);
        x[4] = at;
        x[5] = at;
        assert_int_equal(m_run(m, 0, 0x1000), LEAVE_HALT);
        ram_read(m->ram, at + 16, &got[0], 8);
        ram_read(m->ram, at + 32, &got[1], 8);
        assert_int_equal(x[0], want[0]);
        assert_int_equal(x[1], want[1]);
        assert_int_equal(x[2], want[3]);
        assert_int_equal(got[0], at);
        assert_int_equal(got[1], want[0]);
    }
    m->map[0][7].perms = 0;
    m->handler = 0x1014;
    for (unsigned k = 1; k <= 4; k++) { // the k-th word is not there
        unsigned before = m->faults;
        x[0] = x[1] = x[2] = 77;
        x[5] = 0x7000 - 8 * k;
        assert_int_equal(m_run(m, 0, 0x1000), LEAVE_HALT);
        assert_int_equal(m->faults, before + 1);
        assert_int_equal(x[6], 0x1000 + 4 * k); // where it faulted
        assert_true((x[1] == 77) == (k < 2));
        assert_true((x[2] == 77) == (k < 4));
    }
    m_close(m);
}
static void accesses_off_one_base(void **state)
{
    m_run_all(off_one_base);
}

// ---- several CPUs ----

struct runner {
    struct machine *m;
    unsigned cpu;
    uint64_t pc;
};
static void runner_main(void *arg)
{
    struct runner *r = arg;
    m_run(r->m, r->cpu, r->pc);
}

static void two_cpus(struct jit_config c)
{
    struct machine *m = m_open(2, c);
    // both add to one counter, and flush a page now and then
    LOAD(m, 0x1000, I(M_LI, 0, 0, 0), I(M_LI, 1, 0, 0x40), I(M_LI, 2, 1, 0), I(M_LI, 5, 0, 0x20),
         I(M_LI, 4, 0, 0x50), I(M_AADD, 3, 1, 2), I(M_LD, 3, 4, 0), I(M_FLUSH, 4, 0, 0),
         I(M_ADDI, 0, 0, 1), I(M_BNE, 0, 5, -4), I(M_HALT, 0, 0, 0));
    struct runner r[2] = {{m, 0, 0x1000}, {m, 1, 0x1000}};
    pthread_t t[2];
    for (unsigned k = 0; k < 2; k++)
        t[k] = thread_start("cpu", runner_main, &r[k]);
    for (unsigned k = 0; k < 2; k++)
        pthread_join(t[k], NULL);
    uint64_t sum;
    ram_read(m->ram, 0x4000, &sum, 8);
    assert_int_equal(sum, 2 * 0x2000);
    m_close(m);
}
static void several_cpus(void **state)
{
    m_run_all(two_cpus);
}

// One CPU keeps rewriting a function that the other calls: every result is one of those written,
// and the last one written is seen after the writer says so.
static void cross_smc(struct jit_config c)
{
    struct machine *m = m_open(2, c);
    LOAD(m, 0x2000, I(M_LI, 0, 1, 0), I(M_RET, 0, 0, 0));
    LOAD(m, 0x1000, I(M_LI, 5, 0, 0x40), I(M_LI, 1, 3, 0), I(M_CALL, 0, 0x3fe, 3), I(M_LD, 6, 5, 0),
         I(M_BNE, 6, 1, -2), I(M_CALL, 0, 0x3fb, 3), I(M_HALT, 0, 0, 0));
    // writer: 2000 times x0 = 1, 2, …; then x0 = 9; then flag 3
    LOAD(m, 0x3000, I(M_LI, 0, 0, 0), I(M_LI, 1, 0x00, 0x08), I(M_LI, 2, 0, 0x20),
         I(M_LI, 3, M_LI, 0), I(M_LI, 5, 0, 0x40), // 0x3014:
         I(M_SHL, 4, 0, 16), I(M_ADD, 4, 4, 3), I(M_ST4, 4, 2, 0), I(M_ADDI, 0, 0, 1),
         I(M_BNE, 0, 1, -4), I(M_LI, 4, 9, 0), I(M_SHL, 4, 4, 16), I(M_ADD, 4, 4, 3),
         I(M_ST4, 4, 2, 0), I(M_LI, 4, 3, 0), I(M_ST, 4, 5, 0), I(M_HALT, 0, 0, 0));
    struct runner r[2] = {{m, 0, 0x1000}, {m, 1, 0x3000}};
    pthread_t t[2];
    for (unsigned k = 0; k < 2; k++)
        t[k] = thread_start("cpu", runner_main, &r[k]);
    for (unsigned k = 0; k < 2; k++)
        pthread_join(t[k], NULL);
    assert_int_equal(m->cpu[0]->x[0], 9);
    m_close(m);
}
static void cross_modifying(void **state)
{
    for (unsigned k = 0; k < 10; k++)
        m_run_all(cross_smc);
}

// One CPU goes round a loop for ever until the other one writes a stop into it.
static void stopped_loop(struct jit_config c)
{
    struct machine *m = m_open(2, c);
    LOAD(m, 0x1000, I(M_ADDI, 0, 0, 1), I(M_ST, 0, 5, 0), I(M_BNE, 1, 2, -2), I(M_HALT, 0, 0, 0));
    LOAD(m, 0x3000, I(M_LD, 6, 5, 0), I(M_BLT, 6, 1, -1), I(M_LI, 4, M_HALT, 0),
         I(M_LI, 2, 0, 0x10), I(M_ST4, 4, 2, 8), I(M_HALT, 0, 0, 0));
    m->cpu[0]->x[2] = 1;
    m->cpu[1]->x[1] = 1000;
    m->cpu[0]->x[5] = m->cpu[1]->x[5] = 0x4000;
    struct runner r[2] = {{m, 0, 0x1000}, {m, 1, 0x3000}};
    pthread_t t[2];
    for (unsigned k = 0; k < 2; k++)
        t[k] = thread_start("cpu", runner_main, &r[k]);
    for (unsigned k = 0; k < 2; k++)
        pthread_join(t[k], NULL);
    assert_true(m->cpu[0]->x[0] >= 1000);
    assert_int_equal(m->cpu[0]->pc, 0x1008);
    m_close(m);
}
static void stopping_a_loop(void **state)
{
    for (unsigned k = 0; k < 10; k++)
        m_run_all(stopped_loop);
}

// More code than the cache holds: arenas are reused.
static void much(struct jit_config c)
{
    c.cache_size = 8 * MiB;
    struct machine *m = m_open(1, c);
    uint64_t sum = 0;
    for (unsigned round = 0; round < 60; round++) {
        for (unsigned k = 0; k < 1000; k++) {
            uint64_t at = 0x10000 + k * 64;
            LOAD(m, at, I(M_ADDI, 0, 0, 1), I(M_LD, 1, 2, 0), I(M_LD, 1, 2, 1), I(M_LD, 1, 2, 2),
                 I(M_ADDI, 3, 3, (round + k) & 63), I(M_LD, 1, 2, 3),
                 k == 999 ? I(M_HALT, 0, 0, 0) : I(M_CALL, 0, 10, 0));
            sum += (round + k) & 63;
        }
        m->cpu[0]->x[2] = 0x8000;
        assert_int_equal(m_run(m, 0, 0x10000), LEAVE_HALT);
        assert_int_equal(m->cpu[0]->x[0], 1000 * (round + 1));
        assert_int_equal(m->cpu[0]->x[3], sum);
    }
    m_close(m);
}
static void much_code(void **state)
{
    for (unsigned k = 0; k < 2; k++) {
        m_next_mode = k ? IR_MODE_MOVABLE : 0;
        much((struct jit_config){0});
    }
}

static size_t allocated(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}
// A CPU that does not run is sent many flushes: it keeps few, and forgets what the first one named.
static void flushes_of_a_sleeper(void **state)
{
    struct machine *m = m_open(2, (struct jit_config){0});
    LOAD(m, 0x1000, I(M_LD, 0, 1, 0), I(M_HALT, 0, 0, 0));
    ram_write(m->ram, 0x10000, &(uint64_t){11}, 8);
    ram_write(m->ram, 0x11000, &(uint64_t){22}, 8);
    m->cpu[1]->x[1] = 0x10000;
    m_run(m, 1, 0x1000);
    assert_int_equal(m->cpu[1]->x[0], 11);

    struct env *e = &m->cpu[0]->env;
    m->map[0][0x10].page = 0x11;
    e->exec->flush(e, &(struct env_flush){.va = 0x10000, .len = 4096}, true);
    size_t before = allocated();
    for (unsigned k = 0; k < 100000; k++)
        e->exec->flush(e, &(struct env_flush){.va = 0x20000, .len = 4096}, true);
    assert_in_range(allocated() - before, 0, 64 * KiB);
    m_run(m, 1, 0x1000);
    assert_int_equal(m->cpu[1]->x[0], 22);
    m_close(m);
}
static void two_machines(void **state)
{
    struct machine *a = m_open(1, (struct jit_config){0}), *b = m_open(1, (struct jit_config){0});
    fib(a);
    fib(b);
    a->cpu[0]->x[0] = 10;
    b->cpu[0]->x[0] = 12;
    m_run(a, 0, 0x3000);
    m_run(b, 0, 0x3000);
    assert_int_equal(a->cpu[0]->x[0], 55);
    assert_int_equal(b->cpu[0]->x[0], 144);
    m_close(a);
    m_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops),
        cmocka_unit_test(recursions),
        cmocka_unit_test(deep_recursion),
        cmocka_unit_test(self_modifying),
        cmocka_unit_test(remapping),
        cmocka_unit_test(address_spaces),
        cmocka_unit_test(faults),
        cmocka_unit_test(registers),
        cmocka_unit_test(accesses_off_one_base),
        cmocka_unit_test(several_cpus),
        cmocka_unit_test(cross_modifying),
        cmocka_unit_test(stopping_a_loop),
        cmocka_unit_test(much_code),
        cmocka_unit_test(two_machines),
        cmocka_unit_test(flushes_of_a_sleeper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
