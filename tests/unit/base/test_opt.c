// Option strings in both notations, numbers and sizes.
#include "base/opt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void parse(struct opts *o, const char *text, const char *implied)
{
    struct err e = {0};
    *o = (struct opts){0};
    if (opts_parse(o, text, implied, &e))
        fail_msg("%s: %s", text, e.msg);
}

static void expect(struct opts *o, const char *key, const char *val)
{
    const char *got = opts_get(o, key);
    if (!got)
        fail_msg("%s is absent", key);
    assert_string_equal(got, val);
}

static void test_commas(void **state)
{
    struct opts o;
    struct err e;
    parse(&o, "virtio-blk-pci,drive=a,,b,,,serial=x=y,noro,share,a=,a=2", "driver");
    expect(&o, "driver", "virtio-blk-pci");
    expect(&o, "drive", "a,b,");
    expect(&o, "serial", "x=y");
    expect(&o, "ro", "off");
    expect(&o, "share", "on");
    expect(&o, "a", "2");
    assert_int_equal(opts_check_unused(&o, "t", NULL, &e), 0);
    assert_null(opts_get(&o, "b"));
    assert_false(opts_has(&o, "b"));
    opts_set(&o, "a", "3");
    expect(&o, "a", "3");
    opts_free(&o);
    parse(&o, "file=a.img", "driver");
    assert_null(opts_get(&o, "driver"));
    expect(&o, "file", "a.img");
    opts_free(&o);
    parse(&o, "we,,ird,k=v", "file");
    expect(&o, "file", "we,ird");
    opts_free(&o);
    parse(&o, "notify=1,note", NULL); // begins with "no", means itself
    expect(&o, "notify", "1");
    expect(&o, "note", "on");
    opts_free(&o);
    parse(&o, "", NULL);
    assert_int_equal(o.len, 0);
}

static void test_bad_commas(void **state)
{
    static const char *const bad[] = {"=x", "a=1,=2", ",a=1", "a=1,b,,c"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct opts o = {0};
        struct err e = {0};
        assert_int_equal(opts_parse(&o, bad[i], NULL, &e), -1);
        assert_true(e.msg[0]);
        opts_free(&o);
    }
}

static void test_unused(void **state)
{
    static const char *const known[] = {"serial", "drive", NULL};
    struct opts o;
    struct err e;
    parse(&o, "drive=x,serail=5", NULL);
    expect(&o, "drive", "x");
    assert_int_equal(opts_check_unused(&o, "virtio-blk-pci", known, &e), -1);
    assert_string_equal(e.msg, "virtio-blk-pci: unknown option 'serail'; did you mean 'serial'?");
    opts_free(&o);
}

static void test_typed(void **state)
{
    struct opts o;
    struct err e;
    bool b = false;
    uint64_t v = 7;
    parse(&o, "b=yes,n=0x10,s=1.5G,m=512,bad=12q,badb=maybe", NULL);
    assert_int_equal(opts_get_bool(&o, "b", &b, &e), 0);
    assert_true(b);
    assert_int_equal(opts_get_u64(&o, "absent", &v, &e), 0);
    assert_int_equal(v, 7);
    assert_int_equal(opts_get_u64(&o, "n", &v, &e), 0);
    assert_int_equal(v, 16);
    assert_int_equal(opts_get_size(&o, "s", &v, 1, &e), 0);
    assert_true(v == 3 * GiB / 2);
    assert_int_equal(opts_get_size(&o, "m", &v, MiB, &e), 0);
    assert_true(v == 512 * MiB);
    assert_int_equal(opts_get_u64(&o, "bad", &v, &e), -1);
    assert_string_equal(e.msg, "bad=12q: expected a number");
    assert_int_equal(opts_get_bool(&o, "badb", &b, &e), -1);
    assert_string_equal(e.msg, "badb=maybe: expected 'on' or 'off'");
    assert_true(v == 512 * MiB && b);
    opts_free(&o);
}

static void test_sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t want;
    } good[] = {{"0", 0},
                {"1", 1},
                {"1b", 1},
                {"1k", 1024},
                {"64K", 65536},
                {"0.5k", 512},
                {"1.25M", 1310720},
                {"3t", 3ull << 40},
                {"15E", 15ull << 60},
                {"0x1000", 4096},
                {"16777215.99999999999999999999T", 18446744073709550516u},
                {"18446744073709551615", UINT64_MAX}};
    static const char *const bad[] = {"",   "G",   "1.",   "-1",  "+1", " 1",
                                      "1 ", "1GG", "1.5x", "16E", ".5", "18446744073709551616"};
    uint64_t v;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_int_equal(parse_size(good[i].text, 1, &v), 0);
        if (v != good[i].want)
            fail_msg("%s gave %llu", good[i].text, (unsigned long long)v);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (!parse_size(bad[i], 1, &v))
            fail_msg("'%s' was taken", bad[i]);
    assert_int_equal(parse_u64("0777", &v), 0);
    assert_int_equal(v, 511);
    assert_int_equal(parse_u64("0", &v), 0);
    assert_int_equal(parse_u64("0xffffffffffffffff", &v), 0);
    assert_true(v == UINT64_MAX);
    assert_int_equal(parse_u64("0x10000000000000000", &v), -1);
    assert_int_equal(parse_u64("0x", &v), -1);
    assert_int_equal(parse_u64("089", &v), -1);
}

static void test_json(void **state)
{
    struct opts o;
    parse(&o,
          "{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"a,b.img\"},"
          "\"ro\":true,\"rw\":false,\"n\":-12,\"backing\":null,\"l\":[\"x\",{\"y\":3}], \"e\":{}}",
          NULL);
    expect(&o, "driver", "qcow2");
    expect(&o, "file.driver", "file");
    expect(&o, "file.filename", "a,b.img");
    expect(&o, "ro", "on");
    expect(&o, "rw", "off");
    expect(&o, "n", "-12");
    expect(&o, "backing", "");
    expect(&o, "l.0", "x");
    expect(&o, "l.1.y", "3");
    assert_int_equal(o.len, 9);
    opts_free(&o);
}

static void test_bad_json(void **state)
{
    static const char *const bad[] = {"{",
                                      "{}x",
                                      "{\"a\":}",
                                      "{\"a\" 1}",
                                      "{\"a\":\"\xff\"}",
                                      "{\"a\":\"x\\u0000y\"}",
                                      "{\"\":1}",
                                      "{\"a\":1,}"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct opts o = {0};
        struct err e = {0};
        if (!opts_parse(&o, bad[i], NULL, &e))
            fail_msg("'%s' was taken", bad[i]);
        assert_memory_equal(e.msg, "JSON", 4);
        opts_free(&o);
    }
    char deep[4001];
    for (int i = 0; i < 500; i++)
        memcpy(deep + 5 * i, "{\"a\":", 6);
    struct opts o = {0};
    struct err e;
    assert_int_equal(opts_parse(&o, deep, NULL, &e), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commas),   cmocka_unit_test(test_bad_commas),
        cmocka_unit_test(test_unused),   cmocka_unit_test(test_typed),
        cmocka_unit_test(test_sizes),    cmocka_unit_test(test_json),
        cmocka_unit_test(test_bad_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
