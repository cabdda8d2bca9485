// The small parts of base: errors, reader and writer, vector, map, clock.
#include "base/bits.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/map.h"
#include "base/vec.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

static void test_err_lines(void **state)
{
    struct err e;
    static const char *const names[] = {"virtio-blk-pci", "virtio-net-pci", "virtio-rng-pci", NULL};
    assert_int_equal(err_errno(&e, ENOENT, "%s", "disk"), -1);
    assert_string_equal(e.msg, "disk: No such file or directory");
    assert_int_equal(err_prefix(&e, "drive %d", 3), -1);
    assert_string_equal(e.msg, "drive 3: disk: No such file or directory");
    err_set(&e, "unknown '%s'", "virtio-ngt-pci");
    err_did_you_mean(&e, "virtio-ngt-pci", names);
    assert_string_equal(e.msg, "unknown 'virtio-ngt-pci'; did you mean 'virtio-net-pci'?");
    err_set(&e, "x");
    err_did_you_mean(&e, "quite-different", names);
    assert_string_equal(e.msg, "x");
    err_did_you_mean(&e, "VIRTIO-RGN-PCI", names); // case and a transposition
    assert_string_equal(e.msg, "x; did you mean 'virtio-rng-pci'?");
    err_set(&e, "a\nb\033c"); // never more than one line, never a terminal escape
    assert_string_equal(e.msg, "a?b?c");
    err_set(&e, "self %s", e.msg);
    assert_string_equal(e.msg, "self a?b?c");
    char big[3000];
    memset(big, 'y', sizeof big);
    big[sizeof big - 1] = 0;
    err_set(&e, "%s", big);
    err_prefix(&e, "%s", big);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
}

static void test_buf_round_trip(void **state)
{
    struct buf b = {0};
    buf_u8(&b, 0x12);
    buf_le16(&b, 0x3456);
    buf_be16(&b, 0x3456);
    buf_le32(&b, 0x789abcde);
    buf_be32(&b, 0x789abcde);
    buf_le64(&b, 0x0123456789abcdef);
    buf_be64(&b, 0x0123456789abcdef);
    static const uint8_t want[] = {0x12, 0x56, 0x34, 0x34, 0x56, 0xde, 0xbc, 0x9a, 0x78, 0x78,
                                   0x9a, 0xbc, 0xde, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23,
                                   0x01, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    assert_int_equal(b.len, sizeof want);
    assert_memory_equal(b.data, want, sizeof want);
    struct reader r = reader_of(b.data, b.len);
    assert_int_equal(rd_u8(&r), 0x12);
    assert_int_equal(rd_le16(&r), 0x3456);
    assert_int_equal(rd_be16(&r), 0x3456);
    assert_int_equal(rd_le32(&r), 0x789abcde);
    assert_int_equal(rd_be32(&r), 0x789abcde);
    assert_true(rd_le64(&r) == 0x0123456789abcdef);
    assert_int_equal(reader_left(&r), 8);
    assert_true(rd_be64(&r) == 0x0123456789abcdef);
    assert_false(r.bad);
    assert_int_equal(rd_u8(&r), 0);
    assert_true(r.bad);
    buf_free(&b);
}

static void test_reader_is_sticky(void **state)
{
    uint8_t in[8] = {1, 2, 3, 4, 5, 6, 7, 8}, out[16];
    struct reader r = reader_of(in, sizeof in);
    memset(out, 0xaa, sizeof out);
    rd_bytes(&r, out, 9);
    for (int i = 0; i < 9; i++)
        assert_int_equal(out[i], 0);
    assert_int_equal(out[9], 0xaa);
    assert_true(r.bad);
    assert_int_equal(rd_u8(&r), 0); // though bytes are left
    assert_int_equal(reader_left(&r), 0);
    assert_null(rd_skip(&r, 0));
    r = reader_of(in, sizeof in);
    assert_null(rd_skip(&r, SIZE_MAX)); // no wrap-around
}

static void test_buf_text(void **state)
{
    struct buf b = {0};
    assert_string_equal(buf_str(&b), "");
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "%d,", i);
    assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4);
    assert_int_equal(strlen(buf_str(&b)), b.len);
    assert_memory_equal(b.data + b.len - 8, "998,999,", 8);
    memset(buf_grow(&b, 100000), 'x', 100000);
    buf_printf(&b, "%0500d", 7);
    assert_int_equal(b.data[b.len - 1], '7');
    buf_free(&b);
    buf_json_string(&b, "a \"quoted\" C:\\path\nand \x01 \xc3\xa4");
    assert_string_equal(buf_str(&b), "\"a \\\"quoted\\\" C:\\\\path\\u000aand \\u0001 \xc3\xa4\"");
    buf_free(&b);
}

struct pair {
    int a, b;
};

static void test_vec(void **state)
{
    VEC(struct pair) v = {0};
    for (int i = 0; i < 1000; i++)
        vec_push(&v, (struct pair){i, -i});
    vec_remove(&v, 0);
    vec_remove(&v, 998);
    assert_int_equal(v.len, 998);
    assert_int_equal(v.data[0].a, 1);
    assert_int_equal(v.data[997].b, -998);
    vec_free(&v);
}

// Against a plain array over a small key range, so that clusters, wraps and deletions abound.
static void test_map_against_array(void **state)
{
    enum { KEYS = 512 };
    void *want[KEYS] = {0};
    struct map m = {0};
    size_t len = 0;
    srand(1);
    for (int i = 0; i < 200000; i++) {
        unsigned k = (unsigned)rand() % KEYS;
        uint64_t key = k * 0x9e3779b97f4a7c15u;
        if (rand() % 3) {
            len += !want[k];
            want[k] = &want[rand() % KEYS];
            map_set(&m, key, want[k]);
        } else {
            len -= !!want[k];
            assert_ptr_equal(map_del(&m, key), want[k]);
            want[k] = NULL;
        }
        k = (unsigned)rand() % KEYS;
        assert_ptr_equal(map_get(&m, k * 0x9e3779b97f4a7c15u), want[k]);
        assert_int_equal(m.len, len);
    }
    size_t seen = 0;
    map_for_each(&m, s) seen++;
    assert_int_equal(seen, len);
    map_free(&m);
    assert_null(map_get(&m, 0));
}

static void test_hash(void **state)
{
    char a[40] = "0123456789012345678901234567890123456";
    uint64_t h = hash_bytes(a, 37);
    for (int i = 0; i < 37 * 8; i++) { // every bit counts
        a[i / 8] ^= (char)(1 << i % 8);
        assert_true(hash_bytes(a, 37) != h);
        a[i / 8] ^= (char)(1 << i % 8);
    }
    assert_true(hash_bytes(a, 37) == h);
    assert_true(hash_bytes("\0", 1) != hash_bytes("\0\0", 2));
}

static void test_bits(void **state)
{
    assert_int_equal(bits(0xabcd1234, 15, 8), 0x12);
    assert_true(bits(~0ull, 63, 0) == ~0ull);
    assert_true(bits_set(0, 63, 60, 0xf) == 0xf000000000000000);
    assert_int_equal(sign_extend(0x80, 8), -128);
    assert_true(mask_low(64) == ~0ull && mask_low(0) == 0);
    assert_int_equal(align_up(4097, 4096), 8192);
    assert_int_equal(MAX(MIN(3, 5), MIN(7, 4)), 4);
}

static void test_clock(void **state)
{
    struct clock *c = clock_new();
    assert_int_equal(clock_now(c), 0);
    assert_true(clock_host_deadline(c, 5) == INT64_MAX);
    clock_set(c, 1000000000000);
    int64_t started = host_monotonic_ns();
    clock_start(c);
    int64_t before = host_monotonic_ns(), a = clock_now(c);
    assert_true(a >= 1000000000000 && a - 1000000000000 <= host_monotonic_ns() - started);
    int64_t d = clock_host_deadline(c, a + 500);
    assert_true(d >= before - 10000000000 && d <= host_monotonic_ns() + 500);
    assert_true(clock_host_deadline(c, INT64_MAX) > before);
    clock_stop(c);
    a = clock_now(c);
    struct timespec ms = {.tv_nsec = 2000000};
    nanosleep(&ms, NULL);
    assert_true(clock_now(c) == a);
    started = host_monotonic_ns();
    clock_start(c);
    int64_t b = clock_now(c);
    assert_true(b >= a && b - a <= host_monotonic_ns() - started);
    clock_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_lines),
        cmocka_unit_test(test_buf_round_trip),
        cmocka_unit_test(test_reader_is_sticky),
        cmocka_unit_test(test_buf_text),
        cmocka_unit_test(test_vec),
        cmocka_unit_test(test_map_against_array),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
