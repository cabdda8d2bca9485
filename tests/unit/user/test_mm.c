// The guest's address space against a model of one entry per page, with random calls: what is
// mapped, with which protection, what it holds, and that the host's own protection agrees.
#include "guest.h"

enum { FIRST = 0x200, PAGES = 64, ROUNDS = 40000 };

static struct mm m;
static struct {
    bool mapped;
    int prot;
    uint8_t byte;
} model[PAGES];
static uint64_t seed = 88172645463325252u;

static unsigned rnd(unsigned below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % below;
}

static uint64_t address(unsigned page)
{
    return (uint64_t)(FIRST + page) * PAGE;
}

static void set(unsigned from, unsigned n, bool mapped, int prot)
{
    for (unsigned i = from; i < from + n; i++) {
        model[i].mapped = mapped;
        model[i].prot = prot;
        model[i].byte = 0;
    }
}

static bool all_mapped(unsigned from, unsigned n)
{
    for (unsigned i = from; i < from + n; i++)
        if (!model[i].mapped)
            return false;
    return true;
}

// What the host allows, from its own list.
static void read_host(char out[PAGES][5])
{
    FILE *f = fopen("/proc/self/maps", "re");
    char line[512], prot[5];
    unsigned long lo, hi;
    assert_non_null(f);
    for (unsigned i = 0; i < PAGES; i++)
        strcpy(out[i], "????");
    while (fgets(line, sizeof line, f)) {
        assert_int_equal(sscanf(line, "%lx-%lx %4s", &lo, &hi, prot), 3);
        for (unsigned i = 0; i < PAGES; i++) {
            unsigned long at = (unsigned long)(uintptr_t)m.base + address(i);
            if (at >= lo && at < hi)
                strcpy(out[i], prot);
        }
    }
    fclose(f);
}

static void check_all(void)
{
    static char host[PAGES][5];
    read_host(host);
    for (unsigned i = 0; i < PAGES; i++) {
        struct mm_area a;
        bool there = mm_area_at(&m, address(i), &a);
        assert_int_equal(there, model[i].mapped);
        int prot = there ? model[i].prot : 0;
        assert_int_equal(host[i][0] == 'r', (prot & (PROT_READ | PROT_EXEC)) != 0);
        assert_int_equal(host[i][1] == 'w', (prot & PROT_WRITE) != 0);
        assert_int_equal(host[i][2], '-'); // guest code is never the host's
        if (!there)
            continue;
        assert_int_equal(a.prot, model[i].prot);
        if (model[i].prot & PROT_READ)
            assert_int_equal(*(uint8_t *)mm_host(&m, address(i) + 77), model[i].byte);
    }
    for (size_t i = 1; i < m.areas.len; i++)
        assert_true(m.areas.data[i - 1].end <= m.areas.data[i].start);
}

static void one_call(void)
{
    unsigned from = rnd(PAGES), n = 1 + rnd(MIN(8u, PAGES - from)), to = rnd(PAGES - n + 1);
    int prot = (int)rnd(8);
    uint64_t at = address(from), len = n * (uint64_t)PAGE;
    switch (rnd(6)) {
    case 0:
        assert_int_equal(mm_map(&m, at, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                         at);
        set(from, n, true, prot);
        break;
    case 1:
        assert_int_equal(mm_unmap(&m, at, len), 0);
        set(from, n, false, 0);
        break;
    case 2: {
        int64_t r = mm_protect(&m, at, len, prot);
        assert_int_equal(r, all_mapped(from, n) ? 0 : -ENOMEM);
        for (unsigned i = from; !r && i < from + n; i++)
            model[i].prot = prot;
        break;
    }
    case 3: {
        if ((to < from + n && from < to + n) || !all_mapped(from, n))
            break;
        struct mm_area a;
        assert_true(mm_area_at(&m, at, &a));
        if (a.end < at + len) // one area at a time, as Linux wants it
            break;
        assert_int_equal(mm_remap(&m, at, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, address(to)),
                         address(to));
        for (unsigned i = 0; i < n; i++) {
            model[to + i] = model[from + i];
            model[from + i].mapped = false;
        }
        break;
    }
    case 4: {
        bool taken = false;
        for (unsigned i = from; i < from + n; i++)
            taken |= model[i].mapped;
        int64_t r =
            mm_map(&m, at, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        assert_int_equal(r, taken ? -EEXIST : (int64_t)at);
        if (!taken)
            set(from, n, true, prot);
        break;
    }
    default:
        for (unsigned i = from; i < from + n; i++)
            if (model[i].mapped && model[i].prot & PROT_WRITE) {
                model[i].byte = (uint8_t)rnd(256);
                *(uint8_t *)mm_host(&m, address(i) + 77) = model[i].byte;
            }
    }
}

static void test_random(void **state)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        one_call();
        if (i % 50 == 0)
            check_all();
    }
    check_all();
}

static void test_refused(void **state)
{
    const int anon = MAP_PRIVATE | MAP_ANONYMOUS;
    assert_int_equal(mm_map(&m, 0, 0, PROT_READ, anon, -1, 0), -EINVAL);
    assert_int_equal(mm_map(&m, 0x200001, PAGE, PROT_READ, anon | MAP_FIXED, -1, 0), -EINVAL);
    assert_int_equal(mm_map(&m, 0x1000, PAGE, PROT_READ, anon | MAP_FIXED, -1, 0), -EPERM);
    assert_int_equal(mm_map(&m, m.size, PAGE, PROT_READ, anon | MAP_FIXED, -1, 0), -ENOMEM);
    assert_int_equal(mm_map(&m, UINT64_MAX & ~4095ull, PAGE, PROT_READ, anon | MAP_FIXED, -1, 0),
                     -ENOMEM);
    assert_int_equal(mm_map(&m, 0, UINT64_MAX, PROT_READ, anon, -1, 0), -ENOMEM);
    assert_int_equal(mm_unmap(&m, 0x200000, UINT64_MAX), -EINVAL);
    assert_int_equal(mm_unmap(&m, 1, PAGE), -EINVAL);
    assert_int_equal(mm_protect(&m, m.size - PAGE, 2 * PAGE, 0), -ENOMEM);
    assert_int_equal(mm_remap(&m, m.size, PAGE, PAGE, 0, 0), -EFAULT);
    assert_int_equal(mm_remap(&m, 0x200000, PAGE, UINT64_MAX, MREMAP_MAYMOVE, 0), -ENOMEM);
    assert_false(mm_covers(&m, UINT64_MAX, 2, 0));
}

static void test_brk(void **state)
{
    m.brk_start = m.brk = address(PAGES + 100);
    uint64_t end = m.brk + 10 * PAGE + 5;
    assert_int_equal(mm_brk(&m, 0), m.brk_start);
    assert_int_equal(mm_brk(&m, end), end);
    *(uint8_t *)mm_host(&m, end - 1) = 7;
    assert_int_equal(mm_brk(&m, end - 20), end - 20);
    assert_int_equal(mm_brk(&m, m.size), end - 20);          // no room
    assert_int_equal(mm_brk(&m, m.brk_start - 1), end - 20); // below the start
    assert_int_equal(mm_brk(&m, m.brk_start), m.brk_start);
    assert_false(mm_covers(&m, m.brk_start, 1, 0));
}

// Guest pages of 64 KiB over a file that ends in the first of the host's.
static void test_large_pages(void **state)
{
    struct mm big = {0};
    struct err e = {0};
    char name[] = "/tmp/mm-XXXXXX";
    int fd = mkstemp(name);
    unlink(name);
    assert_int_equal(write(fd, "tail", 4), 4);
    assert_int_equal(mm_init(&big, 0, false, GUEST_SIZE, 65536, &e), 0);
    int64_t at = mm_map(&big, 0, 4, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    assert_true(at > 0);
    assert_int_equal(at & 65535, 0);
    uint8_t *p = mm_host(&big, (uint64_t)at);
    assert_memory_equal(p, "tail", 4);
    for (unsigned i = 4; i < 65536; i++)
        assert_int_equal(p[i], 0);
    p[65535] = 1;
    assert_int_equal(mm_unmap(&big, (uint64_t)at + 4096, 4096), -EINVAL);
    vec_free(&big.areas);
    munmap(big.base, big.size + 4096);
    close(fd);
}

static int setup(void **state)
{
    struct err e = {0};
    return mm_init(&m, 0, false, GUEST_SIZE, PAGE, &e);
}
static int teardown(void **state)
{
    vec_free(&m.areas);
    return munmap(m.base, m.size + PAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_brk),
        cmocka_unit_test(test_large_pages),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
