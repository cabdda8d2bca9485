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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_register_once),
                                       cmocka_unit_test(test_names_differ)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
