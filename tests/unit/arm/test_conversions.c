// FJCVTZS against the Arm ARM's FPToFixedJS (DDI 0487, shared pseudocode): the integer modulo 2^32,
// and Z, which says that the double was that integer.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "isa/arm/arm.h"
#include "isa/arm/simd/simd.h"

static void to_javascript(void **state)
{
    static const struct {
        uint64_t bits;
        bool flush, exact;
        uint32_t result;
    } cases[] = {
        {0x3ff0000000000000, false, true, 1},           // 1
        {0xbff0000000000000, false, true, 0xffffffff},  // -1
        {0x3fe0000000000000, false, false, 0},          // 0.5
        {0, false, true, 0},                            // 0
        {0, true, true, 0},                             // 0
        {1ull << 63, false, false, 0},                  // -0
        {0x41e0000000000000, false, false, 0x80000000}, // 2^31
        {0xc1e0000000000000, false, true, 0x80000000},  // -2^31
        {0x41f0000000500000, false, false, 5},          // 2^32 + 5
        {0x7ff0000000000000, false, false, 0},          // infinity
        {0x7ff8000000000000, false, false, 0},          // NaN
        {0x0009e755c52aca1a, false, false, 0},          // a subnormal is not exact ...
        {0x0009e755c52aca1a, true, false, 0},           // ... nor is one that counts as zero
        {0x8009e755c52aca1a, true, false, 0},
    };
    uint64_t (*convert)(struct env *, uint64_t) =
        (uint64_t(*)(struct env *, uint64_t))arm_helper_fjcvtzs.fn;
    for (unsigned n = 0; n < ARRAY_SIZE(cases); n++) {
        struct env e = {.fp.flush_inputs = cases[n].flush};
        assert_int_equal(convert(&e, cases[n].bits),
                         cases[n].result | (uint64_t)cases[n].exact << 32);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(to_javascript)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
