// Decoding and text of A64 instructions whose encodings are easily confused; the words are an
// assembler's.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/bits.h"
#include "isa/arm/a64_decode.h"
#include "isa/arm/arm.h"

static void text(void **state)
{
    static const struct {
        uint32_t word;
        const char *text;
    } cases[] = {
        {0x91000420, "add     x0, x1, #0x1"},
        {0x910003fd, "mov     x29, sp"},
        {0xaa0103e0, "mov     x0, x1"},
        {0xb2400fe0, "orr     x0, xzr, #0xf"},
        {0x9240f420, "and     x0, x1, #0x3fffffffffffffff"},
        {0x12800000, "mov     w0, #0xffffffff"},
        {0xd3401c20, "ubfx    x0, x1, #0, #8"},
        {0x53003c20, "uxth    w0, w1"},
        {0x9a9f17e0, "cset    x0, eq"},
        {0xb840843f, "ldr     wzr, [x1], #8"},
        {0xf8626820, "ldr     x0, [x1, x2]"},
        {0xb8225820, "str     w0, [x1, w2, uxtw #2]"},
        {0xa9bf7bfd, "stp     x29, x30, [sp, #-16]!"},
        {0x885f7c20, "ldxr    w0, [x1]"},
        {0xc8207c82, "stxp    w0, x2, xzr, [x4]"},
        {0xb821003f, "stadd   w1, [x1]"},
        {0xd65f03c0, "ret"},
        {0xd503201f, "nop"},
        {0xd5033bbf, "dmb     ish"},
        {0xd50342df, "msr     daifset, #0x2"},
        {0x00000000, "udf     #0"},
        {0xffffffff, ".inst   0xffffffff"},
    };
    for (unsigned n = 0; n < ARRAY_SIZE(cases); n++) {
        uint8_t code[4];
        char out[80];
        st_le32(code, cases[n].word);
        assert_int_equal(arm_disas(code, 4, 0x1000, out, sizeof out), 4);
        assert_string_equal(out, cases[n].text);
    }
}

// Every row of the table is found by its own fixed bits, unless its condition forbids zeros.
static void rows_are_found(void **state)
{
    for (unsigned id = 1; id < A64_IDS; id++) {
        const struct decode_info *info = &a64_info[id];
        struct a64_insn i;
        bool found = a64_decode32(info->value | info->ones, &i);
        if (!info->conditional && (!found || i.id != id))
            assert_true(found && i.id < id); // a more special row comes first
    }
}

static void text_is_cut(void **state)
{
    const uint8_t code[4] = {0x20, 0x04, 0x00, 0x91};
    char out[8] = "zzzzzzz";
    assert_int_equal(arm_disas(code, 4, 0, out, 5), 4);
    assert_string_equal(out, "add ");
    assert_int_equal(arm_disas(code, 3, 0, out, 5), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(text), cmocka_unit_test(rows_are_found),
                                       cmocka_unit_test(text_is_cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
