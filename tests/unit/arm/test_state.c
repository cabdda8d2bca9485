// What is saved of an AArch64 CPU: the table names every byte between the first register and the
// performance counters, whose own parts are named too, and no byte twice.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "isa/arm/arm.h"

enum { FROM = offsetof(struct arm_cpu, x), TO = offsetof(struct arm_cpu, pmu) };

// Padding, and NZCV in the host's form (saved_nzcv stands for it).
static bool is_free(size_t at)
{
    static const struct {
        size_t from, to;
    } gaps[] = {
#define AFTER(f) offsetof(struct arm_cpu, f) + sizeof((struct arm_cpu *)0)->f
        {offsetof(struct arm_cpu, nzcv), AFTER(nzcv)},
        {AFTER(tpidr_el1), offsetof(struct arm_cpu, qc)},
        {AFTER(insns), offsetof(struct arm_cpu, el)},
        {AFTER(ss), offsetof(struct arm_cpu, fpcr)},
        {AFTER(fpcr), offsetof(struct arm_cpu, sp_el)},
        {AFTER(pmuserenr), TO},
#undef AFTER
    };
    for (size_t i = 0; i < ARRAY_SIZE(gaps); i++)
        if (at >= gaps[i].from && at < gaps[i].to)
            return true;
    return false;
}

static void test_every_register_once(void **state)
{
    static uint8_t named[sizeof(struct arm_cpu)];
    for (const struct isa_state *s = isa_aarch64.state; s->name; s++) {
        assert_true(s->bytes && s->offset + s->bytes <= sizeof named);
        for (uint32_t i = 0; i < s->bytes; i++)
            if (named[s->offset + i]++)
                fail_msg("%s overlaps another entry", s->name);
    }
    for (size_t at = FROM; at < TO; at++)
        if (!named[at] && !is_free(at))
            fail_msg("byte %zu of the registers is not saved", at - FROM);
    for (size_t n = 0; n < ARM_TIMERS; n++)
        assert_true(named[offsetof(struct arm_cpu, timers[n].cval)] &&
                    named[offsetof(struct arm_cpu, timers[n].ctl)]);
}

static void test_names_differ(void **state)
{
    for (const struct isa_state *a = isa_aarch64.state; a->name; a++)
        for (const struct isa_state *b = a + 1; b->name; b++)
            assert_string_not_equal(a->name, b->name);
}

// Where an accelerator finds the registers that it moves whole: by the instruction's encoding.
static void test_storage(void **state)
{
    struct arm_cpu *c = xalloc(sizeof *c);
    c->env.isa = isa_aarch64.ops;
    const struct {
        uint32_t key;
        uint64_t *at;
    } kept[] = {
        {ARM_SYSREG(3, 0, 1, 0, 0), &c->sctlr[1]},     {ARM_SYSREG(3, 0, 1, 0, 2), &c->cpacr_el1},
        {ARM_SYSREG(3, 0, 2, 0, 0), &c->ttbr0[1]},     {ARM_SYSREG(3, 0, 2, 0, 1), &c->ttbr1[1]},
        {ARM_SYSREG(3, 0, 2, 0, 2), &c->tcr[1]},       {ARM_SYSREG(3, 0, 5, 2, 0), &c->esr[1]},
        {ARM_SYSREG(3, 0, 6, 0, 0), &c->far[1]},       {ARM_SYSREG(3, 0, 10, 2, 0), &c->mair[1]},
        {ARM_SYSREG(3, 0, 12, 0, 0), &c->vbar[1]},     {ARM_SYSREG(3, 3, 13, 0, 2), &c->tpidr_el0},
        {ARM_SYSREG(3, 3, 13, 0, 3), &c->tpidrro_el0}, {ARM_SYSREG(3, 0, 13, 0, 4), &c->tpidr_el1},
        {ARM_SYSREG(3, 0, 2, 1, 0), &c->keys[0][0]},   {ARM_SYSREG(2, 0, 0, 2, 2), &c->mdscr_el1},
    };
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        assert_ptr_equal(arm_sysreg_storage(c, kept[i].key), kept[i].at);
    assert_null(arm_sysreg_storage(c, ARM_SYSREG(3, 3, 14, 0, 2))); // the counter is computed
    assert_null(arm_sysreg_storage(c, ARM_SYSREG(3, 0, 0, 0, 5)));  // so is the affinity
    assert_null(arm_sysreg_storage(c, ARM_SYSREG(3, 7, 15, 7, 7))); // no such register
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_register_once),
                                       cmocka_unit_test(test_names_differ),
                                       cmocka_unit_test(test_storage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
