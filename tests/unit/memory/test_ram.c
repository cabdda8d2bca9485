// RAM blocks: sizes, sharing, code marks and dirty pages, against plain arrays.
#include "memory/dirty.h"
#include "memory/dma.h"
#include "memory/ram_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <cmocka.h>

static void test_sizes(void **state)
{
    struct err e = {0};
    assert_null(ram_new("odd", 4097, false, &e));
    assert_non_null(strstr(e.msg, "odd: "));
    assert_null(ram_new("none", 0, false, &e));
    assert_null(ram_new("huge", 255ull << 40, false, &e)); // more than any host can address
    assert_non_null(strstr(e.msg, "huge: 267386880 MiB are larger than the host allows"));
    assert_null(ram_new("huge", 255ull << 40, true, &e));
    assert_null(ram_new("huge", UINT64_MAX & ~4095ull, false, &e));
    struct ram *r = ram_new("sparse", 255 * GiB, false, &e); // but more than it has is fine
    assert_non_null(r);
    assert_true(ram_size(r) == 255 * GiB);
    ram_write(r, 255 * GiB - 4, "last", 4);
    char got[4];
    ram_read(r, 255 * GiB - 4, got, 4);
    assert_memory_equal(got, "last", 4);
    assert_int_equal(ram_fd(r), -1);
    ram_free(r);
}

static void test_shared(void **state)
{
    struct err e;
    struct ram *r = ram_new("shared", 4 * MiB, true, &e);
    char *other = mmap(NULL, 4 * MiB, PROT_READ, MAP_SHARED, ram_fd(r), 0);
    ram_write(r, 5000, "hello", 5);
    assert_memory_equal(other + 5000, "hello", 5);
    ram_zero(r, 0, 4 * MiB);
    assert_int_equal(other[5000], 0);
    munmap(other, 4 * MiB);
    ram_free(r);
}

static void test_zero(void **state)
{
    static const uint32_t at[][2] = {{0, 16384}, {1, 16383}, {4095, 2},    {4096, 4096},
                                     {100, 50},  {5000, 0},  {8191, 8193}, {16384, 0}};
    for (int shared = 0; shared < 2; shared++)
        for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
            struct err e;
            struct ram *r = ram_new("r", 16384, shared, &e);
            memset(ram_host(r), 0x5a, 16384);
            ram_zero(r, at[i][0], at[i][1]);
            for (uint32_t p = 0; p < 16384; p++)
                assert_int_equal(ram_host(r)[p], p - at[i][0] < at[i][1] ? 0 : 0x5a);
            ram_free(r);
        }
}

struct report {
    int n;
    uint64_t off, len;
};
static void on_code(void *opaque, struct ram *r, uint64_t off, uint64_t len)
{
    struct report *p = opaque;
    *p = (struct report){p->n + 1, off, len};
}

static void test_code_marks(void **state)
{
    enum { PAGES = 200 };
    struct err e;
    struct ram *r = ram_new("r", PAGES * 4096, false, &e);
    struct report rep = {0};
    bool marked[PAGES] = {0};
    ram_code_listen(r, on_code, &rep);
    srand(3);
    for (int i = 0; i < 20000; i++) {
        unsigned page = (unsigned)rand() % PAGES;
        if (rand() % 4 == 0) {
            marked[page] = rand() % 8 == 0;
            (marked[page] ? ram_code_mark : ram_code_unmark)(r, page * 4096ull + 4);
        }
        assert_int_equal(ram_code_marked(r, page * 4096ull + 4095), marked[page]);
        uint64_t off = (uint64_t)rand() % (PAGES * 4096);
        uint64_t len = (uint64_t)rand() % (rand() % 2 ? 16 : PAGES * 4096);
        len = MIN(len, PAGES * 4096 - off);
        bool want = false;
        for (uint64_t p = off / 4096; len && p <= (off + len - 1) / 4096; p++)
            want |= marked[p];
        rep.n = 0;
        ram_wrote(r, off, len);
        assert_int_equal(rep.n, want);
        assert_true(!want || (rep.off == off && rep.len == len));
    }
    ram_code_mark(r, 0);
    rep.n = 0;
    ram_write(r, 4095, "ab", 2); // every kind of writer reports
    ram_zero(r, 0, 8192);
    assert_int_equal(rep.n, 2);
    struct space *s = space_new("s", 0xfffff);
    space_map_ram(s, "r", 0, r, 0, PAGES * 4096, false, 0);
    struct iovec iov;
    struct dma_span span;
    unsigned n = 0;
    assert_int_equal(dma_write(s, 8, "x", 1), 0);
    assert_int_equal(dma_fill(s, 8, 1, 1), 0);
    assert_int_equal(dma_store16(s, 8, 1), 0);
    assert_int_equal(dma_store32(s, 8, 1), 0);
    assert_int_equal(space_write(s, 8, 4, 1, (struct mem_attrs){0}), MEM_OK);
    assert_int_equal(rep.n, 7);
    assert_int_equal(dma_pin(s, 0, 10, true, &iov, &span, &n, 1), 0);
    assert_int_equal(rep.n, 7);
    dma_unpin(&span, 1, true);
    assert_int_equal(rep.n, 8);
    ram_code_listen(r, NULL, NULL);
    ram_wrote(r, 0, 1);
    assert_int_equal(rep.n, 8);
    space_free(s);
    ram_free(r);
}

static void count(void *opaque)
{
    ++*(int *)opaque;
}

static void test_dirty_against_array(void **state)
{
    enum { PAGES = 300 };
    struct err e;
    struct ram *r = ram_new("r", PAGES * 4096, false, &e);
    struct space *s = space_new("s", UINT64_MAX);
    bool want[DIRTY_USERS][PAGES];
    uint64_t got[PAGES / 64 + 1];
    int calls = 0;
    space_map_ram(s, "r", 0, r, 0, PAGES * 4096, false, 0);
    space_listen(s, count, &calls);
    assert_false(dirty_wanted(r));
    assert_false(dirty_needs_trap(r, 0));
    assert_int_equal(dirty_fetch(r, DIRTY_DISPLAY, 0, PAGES * 4096, got), 0);
    for (int u = 0; u < DIRTY_USERS; u++)
        dirty_enable(r, u, true);
    assert_true(dirty_wanted(r));
    memset(want, true, sizeof want);
    srand(5);
    for (int i = 0; i < 20000; i++) {
        uint64_t page = (uint64_t)rand() % PAGES, n = 1 + (uint64_t)rand() % (PAGES - page);
        unsigned u = (unsigned)rand() % DIRTY_USERS;
        if (rand() % 3) {
            n = MIN(n, (uint64_t)(rand() % 2 ? 2 : 70));
            ram_wrote(r, page * 4096 + 4095, (n - 1) * 4096 + 1);
            for (unsigned v = 0; v < DIRTY_USERS; v++)
                memset(&want[v][page], true, n);
        } else {
            uint64_t sum = 0, count_got;
            int before = calls;
            count_got = dirty_fetch(r, u, page * 4096, n * 4096, got);
            for (uint64_t p = 0; p < n; p++) {
                assert_int_equal(got[p / 64] >> p % 64 & 1, want[u][page + p]);
                sum += want[u][page + p];
                want[u][page + p] = false;
            }
            assert_int_equal(count_got, sum);
            assert_int_equal(calls, before + (sum > 0));
        }
        bool trap = false;
        for (unsigned v = 0; v < DIRTY_USERS; v++)
            trap |= !want[v][page];
        assert_int_equal(dirty_needs_trap(r, page * 4096 + 8), trap);
    }
    for (int u = 0; u < DIRTY_USERS; u++)
        dirty_enable(r, u, false);
    assert_false(dirty_wanted(r));
    space_free(s);
    ram_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_zero),
        cmocka_unit_test(test_code_marks),
        cmocka_unit_test(test_dirty_against_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
