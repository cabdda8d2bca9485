// Code that may move: one translation of a page serves every address and every address space it is
// mapped in, on the guest CPU of machine.h.
#include "machine.h"

// Pages of RAM that the tests put at several virtual pages.
enum { P_CODE = 0x40, P_NEXT1 = 0x50, P_NEXT2 = 0x51, V_A = 0x10, V_B = 0x21 };
enum { VA_A = V_A << 12, VA_B = V_B << 12 };

static uint64_t translations(struct machine *m)
{
    struct jit_stats s;
    jit_get_stats(m->jit, &s);
    return s.regions;
}

static struct machine *open_shared(unsigned cpus, struct jit_config c)
{
    struct machine *m = m_open(cpus, c);
    for (unsigned s = 0; s < 4; s++) {
        m->map[s][V_A].page = m->map[s][V_B].page = P_CODE;
        m->map[s][V_A + 1].page = P_NEXT1;
        m->map[s][V_B + 1].page = P_NEXT2;
    }
    return m;
}

static void set_space(struct machine *m, unsigned space)
{
    struct env *e = &m->cpu[0]->env;
    m->cpu[0]->w = space;
    e->exec->set_context(e, 0, space);
}

static void forget_page(struct machine *m, uint64_t va)
{
    struct env *e = &m->cpu[0]->env;
    e->exec->flush(e, &(struct env_flush){.va = va, .len = 4096}, true);
}

// A loop with a call, so that there are links, landings and addresses in registers.
static void load_loop(struct machine *m)
{
    LOAD(m, P_CODE << 12, I(M_LI, 0, 0, 0), I(M_LI, 1, 50, 0), I(M_CALL, 0, 4, 0),
         I(M_ADDI, 0, 0, 1), I(M_BNE, 0, 1, -2), I(M_HALT, 0, 0, 0), // 0x18:
         I(M_ADR, 2, 0, 0), I(M_ADD, 3, 3, 2), I(M_RET, 0, 0, 0));
}

static void one_space(struct jit_config c)
{
    struct machine *m = open_shared(1, c);
    load_loop(m);
    m->cpu[0]->x[3] = 0;
    m_run(m, 0, VA_A);
    assert_int_equal(m->cpu[0]->pc, VA_A + 0x14);
    assert_int_equal(m->cpu[0]->x[3], 50 * (VA_A + 0x18));
    uint64_t made = translations(m);
    m_run(m, 0, VA_B);
    assert_int_equal(m->cpu[0]->pc, VA_B + 0x14);
    assert_int_equal(m->cpu[0]->x[7], VA_B + 12);
    assert_int_equal(m->cpu[0]->x[3], 50 * (VA_A + 0x18) + 50 * (VA_B + 0x18));
    if (m->mode && !c.interpret)
        assert_int_equal(translations(m), made);
    m_close(m);
}
static void two_places(void **state)
{
    m_run_all(one_space);
}

static void two_spaces(struct jit_config c)
{
    struct machine *m = open_shared(1, c);
    uint64_t made = 0, sum = 0;
    load_loop(m);
    m->map[1][V_A].page = 0x60; // not the code there: only at its own place
    m->map[2][V_B].page = 0x60;
    LOAD(m, 0x60000, I(M_LI, 3, 0, 0), I(M_HALT, 0, 0, 0));
    m->cpu[0]->x[3] = 0;
    for (unsigned k = 0; k < 20; k++) {
        uint64_t va = k & 1 ? VA_B : VA_A;
        set_space(m, k & 1 ? 1 : 2);
        m_run(m, 0, va);
        sum += 50 * (va + 0x18);
        assert_int_equal(m->cpu[0]->x[3], sum);
        if (!k)
            made = translations(m);
    }
    if (m->mode && !c.interpret)
        assert_int_equal(translations(m), made);
    set_space(m, 1);
    m_run(m, 0, VA_A);
    assert_int_equal(m->cpu[0]->x[3], 0);
    m_close(m);
}
static void several_spaces(void **state)
{
    m_run_all(two_spaces);
}

// The page falls through, jumps and calls into what comes after it, which differs.
static void neighbours(struct jit_config c)
{
    struct machine *m = open_shared(1, c);
    LOAD(m, P_CODE << 12, I(M_CALL, 0, 0x400, 4), I(M_ADD, 3, 3, 0), I(M_ADDI, 4, 4, 0),
         I(M_HALT, 0, 0, 0));
    LOAD(m, (P_CODE << 12) + 0xff8, I(M_LI, 0, 100, 0), I(M_ADDI, 0, 0, 1));
    LOAD(m, P_NEXT1 << 12, I(M_LI, 0, 1, 0), I(M_RET, 0, 0, 0));
    LOAD(m, P_NEXT2 << 12, I(M_LI, 0, 2, 0), I(M_RET, 0, 0, 0));
    for (unsigned k = 0; k < 40; k++) {
        bool b = k % 3 == 1;
        unsigned space = k & 3;
        set_space(m, space);
        bool second = b ^ (space == 3);
        m->map[3][V_A + 1].page = P_NEXT2;
        m->map[3][V_B + 1].page = P_NEXT1;
        m->cpu[0]->x[3] = 0;
        m_run(m, 0, b ? VA_B : VA_A);
        assert_int_equal(m->cpu[0]->x[3], second ? 2 : 1);
        assert_int_equal(m->cpu[0]->pc, (b ? VA_B : VA_A) + 12);
        // falling through the page's end, the return goes to the halt
        m->cpu[0]->x[7] = (b ? VA_B : VA_A) + 12;
        m->cpu[0]->x[0] = 0;
        m_run(m, 0, (b ? VA_B : VA_A) + 0xff8);
        assert_int_equal(m->cpu[0]->x[0], second ? 2 : 1);
    }
    m_close(m);
}
static void other_neighbours(void **state)
{
    m_run_all(neighbours);
}

// A function returns to another mapping of its caller than it was called from.
static void elsewhere(struct jit_config c)
{
    struct machine *m = open_shared(1, c);
    LOAD(m, P_CODE << 12, I(M_CALL, 0, 4, 0), I(M_ADR, 2, 0, 0), I(M_CALL, 0, 2, 0),
         I(M_HALT, 0, 0, 0), // 0x10: x7 += x4
         I(M_ADD, 7, 7, 4), I(M_RET, 0, 0, 0));
    for (unsigned k = 0; k < 8; k++) {
        m->cpu[0]->x[4] = k & 1 ? VA_B - VA_A : 0;
        m_run(m, 0, VA_A);
        assert_int_equal(m->cpu[0]->x[2], (k & 1 ? VA_B : VA_A) + 4);
        assert_int_equal(m->cpu[0]->pc, (k & 1 ? VA_B + (VA_B - VA_A) : VA_A) + 12);
    }
    m_close(m);
}
static void return_elsewhere(void **state)
{
    m_run_all(elsewhere);
}

// Faults in the middle of a block: of a load, after a call, and of the fetch of the next page.
static void faulting(struct jit_config c)
{
    struct machine *m = open_shared(1, c);
    m->handler = 0x2000;
    m->map[0][9].perms = 0;
    m->map[0][0x30].page = P_CODE;
    m->map[0][0x31].perms = 0;
    LOAD(m, 0x2000, I(M_HALT, 0, 0, 0));
    LOAD(m, P_CODE << 12, I(M_LI, 1, 0, 0x90), I(M_CALL, 0, 4, 0), I(M_ADR, 2, 0, 0),
         I(M_LD, 3, 1, 0), I(M_HALT, 0, 0, 0), // 0x14
         I(M_RET, 0, 0, 0));
    LOAD(m, (P_CODE << 12) + 0xff8, I(M_ADR, 2, 0, 0), I(M_ADDI, 0, 0, 1));
    LOAD(m, P_NEXT1 << 12, I(M_HALT, 0, 0, 0));
    LOAD(m, P_NEXT2 << 12, I(M_HALT, 0, 0, 0));
    for (unsigned k = 0; k < 6; k++) {
        uint64_t va = k & 1 ? VA_B : VA_A;
        m_run(m, 0, va);
        assert_int_equal(m->cpu[0]->x[6], va + 12);
        assert_int_equal(m->cpu[0]->x[2], va + 8);
        assert_int_equal(m->fault.va, 0x9000);
        m_run(m, 0, va + 0xff8);
        assert_int_equal(m->cpu[0]->pc, va + 0x1000);
        m_run(m, 0, 0x30ff8);
        assert_int_equal(m->cpu[0]->x[6], 0x31000);
        assert_int_equal(m->cpu[0]->x[2], 0x30ff8);
    }
    m_close(m);
}
static void faults(void **state)
{
    m_run_all(faulting);
}

// What is written by one address is run by the other, also where a table of jump targets or a
// link knew the way; and a block that writes into itself goes on with what it wrote.
static void written(struct jit_config c)
{
    struct machine *m = open_shared(1, c);
    // 0x80000: 50 rounds: call both places, rewrite by the other one
    LOAD(m, P_CODE << 12, I(M_LI, 0, 0, 0), I(M_RET, 0, 0, 0));
    LOAD(m, 0x3000, I(M_LI, 5, 0, 0), I(M_LI, 6, 50, 0), // 0x3008: x0 = what is there
         I(M_CALLR, 1, 0, 0), I(M_ADD, 3, 3, 0), I(M_CALLR, 2, 0, 0), I(M_ADD, 3, 3, 0),
         I(M_ADDI, 5, 5, 1), I(M_SHL, 4, 5, 16), I(M_ADDI, 4, 4, M_LI), I(M_ST4, 4, 2, 0),
         I(M_BNE, 5, 6, -8), I(M_HALT, 0, 0, 0));
    m->cpu[0]->x[1] = VA_A;
    m->cpu[0]->x[2] = VA_B;
    m_run(m, 0, 0x3000);
    assert_int_equal(m->cpu[0]->x[3], 2 * (49 * 50 / 2));
    // itself, by the other address: x1 = 0, patched to x1 = 9 just ahead
    LOAD(m, P_CODE << 12, I(M_LI, 4, 9, 0), I(M_SHL, 4, 4, 16), I(M_ADDI, 4, 4, M_LI),
         I(M_ST4, 4, 2, 16), I(M_LI, 0, 1, 0), I(M_HALT, 0, 0, 0));
    for (unsigned k = 0; k < 2; k++) {
        m_run(m, 0, VA_A);
        assert_int_equal(m->cpu[0]->x[0], 9);
        assert_int_equal(m->cpu[0]->pc, VA_A + 20);
    }
    m_close(m);
}
static void written_elsewhere(void **state)
{
    m_run_all(written);
}

// The neighbour is remapped again and again, more often than there are generations and keys.
static void remapped(struct jit_config c)
{
    struct machine *m = open_shared(1, c);
    LOAD(m, P_CODE << 12, I(M_CALL, 0, 0x400, 4), I(M_HALT, 0, 0, 0));
    LOAD(m, P_NEXT1 << 12, I(M_LI, 0, 1, 0), I(M_RET, 0, 0, 0));
    LOAD(m, P_NEXT2 << 12, I(M_LI, 0, 2, 0), I(M_RET, 0, 0, 0));
    for (unsigned k = 0; k < 6000; k++) {
        bool second = k & 1;
        m->map[0][V_A + 1].page = second ? P_NEXT2 : P_NEXT1;
        forget_page(m, (V_A + 1) << 12);
        m->cpu[0]->x[0] = 0;
        m_run(m, 0, VA_A);
        assert_int_equal(m->cpu[0]->x[0], second ? 2 : 1);
    }
    // What lies elsewhere may be flushed without losing anything.
    struct jit_stats before, after;
    jit_get_stats(m->jit, &before);
    for (unsigned k = 0; k < 100; k++) {
        forget_page(m, 0x90000 + k * 4096);
        m_run(m, 0, VA_A);
    }
    jit_get_stats(m->jit, &after);
    if (m->mode && !c.interpret && !c.no_chain && !c.verify)
        assert_in_range(after.lookups - before.lookups, 100, 110);
    m_close(m);
}
static void remapping(void **state)
{
    m_run_all(remapped);
}

// Several CPUs in different address spaces over the same code, which one of them keeps rewriting.
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
static void crowd(struct jit_config c)
{
    if (c.interpret)
        return;
    struct machine *m = open_shared(3, c);
    LOAD(m, P_CODE << 12, I(M_LI, 0, 0, 0), I(M_LI, 1, 0, 0x20), I(M_CALL, 0, 0x3fe, 3),
         I(M_ADDI, 0, 0, 1), I(M_BNE, 0, 1, -2), I(M_HALT, 0, 0, 0));
    LOAD(m, P_NEXT1 << 12, I(M_ADDI, 2, 2, 1), I(M_ADDI, 4, 4, 0), I(M_RET, 0, 0, 0));
    LOAD(m, P_NEXT2 << 12, I(M_ADDI, 2, 2, 2), I(M_ADDI, 4, 4, 0), I(M_RET, 0, 0, 0));
    // the writer changes an instruction of P_NEXT1 that the others run: x4 += x0 & 127
    LOAD(m, 0x3000, I(M_LI, 0, 0, 0), I(M_LI, 1, 0, 4), I(M_SHL, 4, 0, 24), I(M_ADD, 4, 4, 3),
         I(M_ST4, 4, 5, 4), I(M_ADDI, 0, 0, 1), I(M_BNE, 0, 1, -4), I(M_HALT, 0, 0, 0));
    m->cpu[2]->x[5] = P_NEXT1 << 12;
    m->cpu[2]->x[3] = I(M_ADDI, 4, 4, 0);
    struct runner r[3] = {{m, 0, VA_A}, {m, 1, VA_B}, {m, 2, 0x3000}};
    pthread_t t[3];
    for (unsigned k = 0; k < 3; k++)
        t[k] = thread_start("cpu", runner_main, &r[k]);
    for (unsigned k = 0; k < 3; k++)
        pthread_join(t[k], NULL);
    assert_int_equal(m->cpu[0]->x[2], 0x2000);
    assert_int_equal(m->cpu[1]->x[2], 2 * 0x2000);
    assert_int_equal(m->cpu[0]->pc, VA_A + 20);
    assert_int_equal(m->cpu[1]->pc, VA_B + 20);
    m_close(m);
}
static void several_cpus(void **state)
{
    m_run_all(crowd);
}

// Deeper than the stack of guest calls, from two places in turn.
static void deep(struct jit_config c)
{
    struct machine *m = open_shared(1, c);
    LOAD(m, P_CODE << 12, I(M_LI, 5, 0, 0x90), I(M_SHL, 5, 5, 4), I(M_CALL, 0, 2, 0),
         I(M_HALT, 0, 0, 0), // 0x10
         I(M_BNE, 0, 1, 2), I(M_RET, 0, 0, 0), I(M_ST, 7, 5, 0), I(M_ADDI, 5, 5, 8),
         I(M_ADDI, 0, 0, -1), I(M_CALL, 0, -5, -1), I(M_ADDI, 5, 5, -8), I(M_LD, 7, 5, 0),
         I(M_ADDI, 2, 2, 1), I(M_RET, 0, 0, 0));
    for (unsigned k = 0; k < 4; k++) {
        m->cpu[0]->x[0] = 20000;
        m->cpu[0]->x[1] = m->cpu[0]->x[2] = 0;
        m_run(m, 0, k & 1 ? VA_B : VA_A);
        assert_int_equal(m->cpu[0]->x[2], 20000);
        assert_int_equal(m->cpu[0]->pc, (k & 1 ? VA_B : VA_A) + 12);
    }
    m_close(m);
}
static void deep_recursion(void **state)
{
    m_run_all(deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_places),       cmocka_unit_test(several_spaces),
        cmocka_unit_test(other_neighbours), cmocka_unit_test(return_elsewhere),
        cmocka_unit_test(faults),           cmocka_unit_test(written_elsewhere),
        cmocka_unit_test(remapping),        cmocka_unit_test(several_cpus),
        cmocka_unit_test(deep_recursion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
