// Options, numbers and the reader under random input: what is written must be read back, and what
// is broken must be refused with one line, never with a crash.
#include "base/bits.h"
#include "base/buf.h"
#include "base/opt.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <json-c/json.h>
#include <cmocka.h>

static unsigned below(unsigned n)
{
    return (unsigned)rand() % n;
}

static void random_text(char *s, size_t most, const char *from)
{
    size_t n = below((unsigned)most);
    for (size_t i = 0; i < n; i++)
        s[i] = from[below((unsigned)strlen(from))];
    s[n] = 0;
}

enum { PAIRS = 6 };

// Writes a list as an operator would, with commas doubled.
static void write_commas(struct buf *b, char keys[][8], char vals[][16], unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        buf_printf(b, "%s%s=", i ? "," : "", keys[i]);
        for (const char *p = vals[i]; *p; p++)
            buf_printf(b, *p == ',' ? ",," : "%c", *p);
    }
}

static void test_commas_round_trip(void **state)
{
    srand(11);
    for (int round = 0; round < 20000; round++) {
        char keys[PAIRS][8], vals[PAIRS][16];
        unsigned n = 1 + below(PAIRS);
        struct buf b = {0};
        struct opts o = {0};
        struct err e;
        for (unsigned i = 0; i < n; i++) {
            snprintf(keys[i], sizeof keys[i], "k%u", i);
            random_text(vals[i], sizeof vals[i], "ab,=.{\" 0");
        }
        write_commas(&b, keys, vals, n);
        if (opts_parse(&o, buf_str(&b), "implied", &e))
            fail_msg("%s: %s", buf_str(&b), e.msg);
        assert_int_equal(o.len, n);
        for (unsigned i = 0; i < n; i++)
            assert_string_equal(opts_get(&o, keys[i]), vals[i]);
        opts_free(&o);
        buf_free(&b);
    }
}

// A random JSON object and, beside it, the dotted list that it stands for.
static struct json_object *random_json(struct buf *flat, const char *path, int depth)
{
    char key[64], val[16];
    unsigned n = below(4);
    struct json_object *o = json_object_new_object();
    for (unsigned i = 0; i < n; i++) {
        snprintf(val, sizeof val, "m%u", i);
        snprintf(key, sizeof key, "%s%s%s", path, *path ? "." : "", val);
        struct json_object *member;
        char text[16];
        switch (below(depth ? 5 : 4)) {
        case 0:
            member = json_object_new_boolean(i & 1);
            buf_printf(flat, "%s=%s\n", key, i & 1 ? "on" : "off");
            break;
        case 1:
            member = json_object_new_int64(rand() - 1000000);
            buf_printf(flat, "%s=%s\n", key, json_object_get_string(member));
            break;
        case 2:
            random_text(text, sizeof text, "ab,=\"\\/.{}");
            member = json_object_new_string(text);
            buf_printf(flat, "%s=%s\n", key, text);
            break;
        case 3:
            member = NULL;
            buf_printf(flat, "%s=\n", key);
            break;
        default:
            member = random_json(flat, key, depth - 1);
        }
        json_object_object_add(o, val, member);
    }
    return o;
}

static void test_json_round_trip(void **state)
{
    srand(12);
    for (int round = 0; round < 10000; round++) {
        struct buf want = {0}, got = {0};
        struct opts o = {0};
        struct err e;
        struct json_object *j = random_json(&want, "", 3);
        if (opts_parse(&o, json_object_to_json_string(j), NULL, &e))
            fail_msg("%s: %s", json_object_to_json_string(j), e.msg);
        for (size_t i = 0; i < o.len; i++)
            buf_printf(&got, "%s=%s\n", o.data[i].key, o.data[i].val);
        assert_string_equal(buf_str(&got), buf_str(&want));
        json_object_put(j);
        opts_free(&o);
        buf_free(&want);
        buf_free(&got);
    }
}

static void mutate(char *s, size_t cap)
{
    for (unsigned n = 1 + below(4); n; n--) {
        size_t len = strlen(s), at = below((unsigned)len + 1);
        switch (below(3)) {
        case 0:
            if (len)
                s[at % len] = (char)(1 + below(255));
            break;
        case 1:
            memmove(s + at, s + at + (at < len), len - at + (at == len));
            break;
        default:
            if (len + 2 < cap) {
                memmove(s + at + 1, s + at, len - at + 1);
                s[at] = ",={}[]\":.\\0x1Gn"[below(15)];
            }
        }
    }
}

// 100,000 damaged option texts: taken or refused with one line; then asked every typed question.
static void test_mutations(void **state)
{
    static const char *const seeds[] = {
        "virtio-blk-pci,drive=hd0,addr=0x3,size=1.5G,share=on,noro",
        "file=disk,,1.qcow2,if=virtio,cache=none",
        "{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"x\"},\"n\":[1,2,true]}",
        "user,id=n0,hostfwd=tcp::2222-:22",
    };
    unsigned refused = 0;
    srand(13);
    for (int round = 0; round < 100000; round++) {
        char text[160];
        struct opts o = {0};
        struct err e = {0};
        bool b;
        uint64_t v;
        snprintf(text, sizeof text, "%s", seeds[below(ARRAY_SIZE(seeds))]);
        mutate(text, sizeof text);
        int rc = opts_parse(&o, text, "driver", &e);
        refused += rc != 0;
        for (size_t i = 0; !rc && i < o.len; i++) {
            rc |= opts_get_bool(&o, o.data[i].key, &b, &e);
            rc |= opts_get_u64(&o, o.data[i].key, &v, &e);
            rc |= opts_get_size(&o, o.data[i].key, &v, MiB, &e);
        }
        assert_true(!rc == !e.msg[0]);
        for (const char *p = e.msg; *p; p++)
            assert_false(iscntrl((unsigned char)*p));
        opts_free(&o);
    }
    assert_true(refused > 1000);
}

static void test_sizes_round_trip(void **state)
{
    static const char suffix[] = "BKMGTPE";
    srand(14);
    for (int round = 0; round < 100000; round++) {
        unsigned shift = below(7) * 10;
        uint64_t n = ((uint64_t)rand() << 32 ^ (uint64_t)rand()) >> below(64), v;
        char text[40];
        snprintf(text, sizeof text, "%llu%c", (unsigned long long)n, suffix[shift / 10]);
        bool fits = shift == 0 || n >> (64 - shift) == 0;
        assert_int_equal(parse_size(text, 1, &v), fits ? 0 : -1);
        assert_true(!fits || v == n << shift);
        snprintf(text, sizeof text, "0x%llx", (unsigned long long)n);
        assert_int_equal(parse_u64(text, &v), 0);
        assert_true(v == n);
        snprintf(text, sizeof text, "%llu.%03u%c", (unsigned long long)n % 1000, below(1000), 'G');
        assert_int_equal(parse_size(text, 1, &v), 0);
        double d = strtod(text, NULL) * (double)GiB; // exact: fewer than 53 bits
        assert_true(v == (uint64_t)d);
    }
}

// Every read against the plain array.
static void test_reader(void **state)
{
    srand(15);
    for (int round = 0; round < 20000; round++) {
        uint8_t data[64], out[32], zero[32] = {0};
        size_t n = below(64), at = 0;
        bool bad = false;
        struct reader r = reader_of(data, n);
        for (size_t i = 0; i < n; i++)
            data[i] = (uint8_t)rand();
        for (int i = 0; i < 12; i++) {
            size_t want = (size_t[]){1, 2, 4, 8, below(32)}[below(5)];
            bad |= want > n - at;
            const uint8_t *p = bad ? zero : data + at;
            if (want == 1)
                assert_int_equal(rd_u8(&r), *p);
            else if (want == 2)
                assert_int_equal(rd_be16(&r), ld_be16(p));
            else if (want == 4)
                assert_int_equal(rd_le32(&r), ld_le32(p));
            else if (want == 8)
                assert_true(rd_be64(&r) == ld_be64(p));
            else {
                memset(out, 0xee, sizeof out);
                rd_bytes(&r, out, want);
                assert_memory_equal(out, p, want);
            }
            at += bad ? 0 : want;
            assert_int_equal(r.bad, bad);
            assert_int_equal(reader_left(&r), bad ? 0 : n - at);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commas_round_trip),
        cmocka_unit_test(test_json_round_trip),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_sizes_round_trip),
        cmocka_unit_test(test_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
