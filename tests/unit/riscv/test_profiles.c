// The profile models name what the profile demands and no more: RISC-V Profiles (RVA22, section 5;
// RVA23, section 4, as ratified), mandatory extensions of the S64 profiles, which include those of
// the U64 ones.
#include "isa/riscv/riscv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// Versions of the privileged architecture (Ss1p12, Ss1p13) and Sv39, which a device tree names
// otherwise, are not in lists.
#define RVA22                                                                                      \
    "i", "m", "a", "f", "d", "c", "b", "zicsr", "zicntr", "ziccif", "ziccrse", "ziccamoa",         \
        "zicclsm", "za64rs", "zihpm", "zihintpause", "zic64b", "zicbom", "zicbop", "zicboz",       \
        "zfhmin", "zkt", "zifencei", "svbare", "svade", "ssccptr", "sstvecd", "sstvala",           \
        "sscounterenw", "svpbmt", "svinval"
// What these are made of, by name: B, C, A.
#define PARTS "zba", "zbb", "zbs", "zca", "zcd", "zaamo", "zalrsc"
static const char *const rva22[] = {RVA22, PARTS, NULL};
static const char *const rva23[] = {
    RVA22,       PARTS,          "v",         "zvfhmin", "zvbb",      "zvkt",     "zihintntl",
    "zicond",    "zimop",        "zcmop",     "zcb",     "zfa",       "zawrs",    "supm",
    "svnapot",   "sstc",         "sscofpmf",  "ssnpm",   "ssu64xl",   "sha",      "h",
    "ssstateen", "shcounterenw", "shvstvala", "shtvala", "shvstvecd", "shvsatpa", "shgatpa",
    "zvkb",      // part of Zvbb
    "smstateen", // machine level's side of Ssstateen
    NULL};

static bool listed(const char *const *list, const char *name)
{
    for (; *list; list++)
        if (!strcmp(*list, name))
            return true;
    return false;
}

static void check(const char *model, const char *const *wanted)
{
    struct rv_cpu *c = xalloc(sizeof *c);
    struct err e;
    char names[4096];
    assert_int_equal(rv_model_apply(c, model, NULL, &e), 0);
    const size_t len = rv_isa_extensions(c, names, sizeof names);
    size_t n = 0;
    for (const char *at = names; at < names + len; at += strlen(at) + 1, n++)
        if (!listed(wanted, at))
            fail_msg("%s: %s is not demanded", model, at);
    for (size_t k = 0; wanted[k]; k++) {
        bool there = false;
        for (const char *at = names; at < names + len; at += strlen(at) + 1)
            there |= !strcmp(at, wanted[k]);
        if (!there)
            fail_msg("%s: %s is missing", model, wanted[k]);
    }
    assert_true(rv_has(c, RV_FEAT_SV39));
    assert_false(rv_has(c, RV_FEAT_SV48));
    free(c);
}

static void profiles(void **state)
{
    check("rva22s64", rva22);
    check("rva22u64", rva22);
    check("rva23s64", rva23);
    check("rva23u64", rva23);
}

// Every model's string fits where boards put it.
static void string_length(void **state)
{
    struct rv_cpu *c = xalloc(sizeof *c);
    struct err e;
    char text[4096], names[4096];
    for (unsigned rv32 = 0; rv32 < 2; rv32++) {
        *c = (struct rv_cpu){.rv32 = rv32};
        assert_int_equal(rv_model_apply(c, "max", NULL, &e), 0);
        rv_isa_string(c, text, sizeof text);
        assert_true(strlen(text) < 512); // as U-Boot has it
        assert_true(rv_isa_extensions(c, names, sizeof names) < 1000);
        assert_memory_equal(text, rv32 ? "rv32imafdcbvh_zic64b" : "rv64imafdcbvh_zic64b", 20);
    }
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profiles),
        cmocka_unit_test(string_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
