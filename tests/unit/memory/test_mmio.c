// The fitting of access sizes, against a model of 64 bytes of registers, and the guard that keeps a
// device from being entered twice.
#include "base/thread.h"
#include "memory/space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { WINDOW = 64 };

struct device {
    uint8_t regs[WINDOW];
    struct mmio_ops ops;
    struct mmio_guard guard;
    struct space *space;
    unsigned smallest, largest, calls;
    uint64_t seen;
    bool bad;
};

static void check_call(struct device *d, gpa_t off, unsigned size)
{
    d->calls++;
    d->bad |= off + size > WINDOW || off & (size - 1);
    d->smallest = MIN(d->smallest, size);
    d->largest = MAX(d->largest, size);
}

static enum mem_result dev_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                struct mem_attrs attrs)
{
    struct device *d = opaque;
    check_call(d, off, size);
    *val = ~0ull; // what is beyond the size must not get through
    memcpy(val, d->regs + off, size);
    return MEM_OK;
}

static enum mem_result dev_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                 struct mem_attrs attrs)
{
    struct device *d = opaque;
    check_call(d, off, size);
    d->bad |= size < 8 && val >> (size * 8);
    memcpy(d->regs + off, &val, size);
    return MEM_OK;
}

static void fresh(struct device *d, unsigned min, unsigned max, bool narrow)
{
    *d = (struct device){.smallest = 99};
    d->ops = (struct mmio_ops){dev_read, dev_write, (uint8_t)min, (uint8_t)max, narrow};
    d->space = space_new("s", 0xffff);
    mmio_guard_init(&d->guard);
    space_map_mmio(d->space, "dev", 0x1000, WINDOW, &d->ops, d, &d->guard, 0);
}

static void check_sizes(unsigned min, unsigned max, bool narrow)
{
    struct device d;
    uint8_t want[WINDOW];
    struct mem_attrs attrs = {0};
    fresh(&d, min, max, narrow);
    for (int i = 0; i < WINDOW; i++)
        want[i] = d.regs[i] = (uint8_t)rand();
    for (int i = 0; i < 20000; i++) {
        unsigned size = 1u << rand() % 4;
        uint64_t off = (uint64_t)rand() % (WINDOW - size + 1), v = 0, w = 0;
        if (rand() % 2) {
            v = (uint64_t)rand() << 40 ^ (uint64_t)rand() << 20 ^ (uint64_t)rand();
            v &= size == 8 ? ~0ull : (1ull << size * 8) - 1;
            memcpy(want + off, &v, size);
            assert_int_equal(space_write(d.space, 0x1000 + off, size, v, attrs), MEM_OK);
        } else {
            memcpy(&w, want + off, size);
            assert_int_equal(space_read(d.space, 0x1000 + off, size, &v, attrs), MEM_OK);
            assert_true(v == w);
        }
        assert_memory_equal(d.regs, want, WINDOW);
    }
    assert_false(d.bad);
    assert_int_equal(d.largest, max ? max : 8);
    assert_int_equal(d.smallest, narrow || !min ? 1 : min);
    space_free(d.space);
}

static void test_sizes(void **state)
{
    srand(7);
    for (unsigned max = 1; max <= 8; max *= 2)
        for (unsigned min = 1; min <= max; min *= 2) {
            check_sizes(min, max, false);
            check_sizes(min, max, true);
        }
    check_sizes(0, 0, false);
}

static void test_no_handlers(void **state)
{
    static const struct mmio_ops none;
    struct mem_attrs attrs = {0};
    struct space *s = space_new("s", 0xffff);
    uint64_t v = 5;
    space_map_mmio(s, "dev", 0, 16, &none, NULL, NULL, 0);
    assert_int_equal(space_read(s, 4, 4, &v, attrs), MEM_OK);
    assert_int_equal(v, 0);
    assert_int_equal(space_write(s, 4, 4, 1, attrs), MEM_OK);
    space_free(s);
}

static enum mem_result refuse(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                              struct mem_attrs attrs)
{
    *(uint32_t *)opaque = attrs.requester;
    return MEM_ERROR;
}

static void test_errors_and_attrs(void **state)
{
    static const struct mmio_ops ops = {.read = refuse, .max_size = 4};
    struct space *s = space_new("s", 0xffff);
    uint32_t who = 0;
    uint64_t v;
    space_map_mmio(s, "dev", 0, 16, &ops, &who, NULL, 0);
    assert_int_equal(space_read(s, 0, 8, &v, (struct mem_attrs){.requester = 7}), MEM_ERROR);
    assert_int_equal(who, 7);
    space_free(s);
}

// A device whose handler reaches for its own registers.
static enum mem_result reach_self(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                  struct mem_attrs attrs)
{
    struct device *d = opaque;
    uint64_t before = d->seen;
    enum mem_result res = space_read(d->space, 0x1000, 4, val, attrs);
    assert_true(*val == 0xffffffff);
    space_write(d->space, 0x1004, 4, 1, attrs);
    assert_true(d->seen == before); // the write went nowhere
    return res;
}

static enum mem_result note_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    ((struct device *)opaque)->seen += val;
    return MEM_OK;
}

static void test_no_reentry(void **state)
{
    struct device d;
    struct mem_attrs attrs = {0};
    uint64_t v = 0;
    fresh(&d, 4, 4, false);
    d.ops.read = reach_self;
    d.ops.write = note_write;
    assert_int_equal(space_read(d.space, 0x1008, 4, &v, attrs), MEM_OK);
    assert_int_equal(d.guard.refused, 2);
    assert_int_equal(space_write(d.space, 0x1004, 4, 1, attrs), MEM_OK); // from outside it goes
    assert_int_equal(d.seen, 1);
    mmio_guard_enter(&d.guard); // the device's own work counts as being on the stack
    mmio_guard_enter(&d.guard);
    space_write(d.space, 0x1004, 4, 1, attrs);
    mmio_guard_leave(&d.guard);
    mmio_guard_leave(&d.guard);
    assert_int_equal(d.seen, 1);
    assert_int_equal(d.guard.refused, 3);
    space_free(d.space);
}

static void test_dead_region(void **state)
{
    struct device d;
    struct mem_attrs attrs = {0};
    uint64_t v;
    fresh(&d, 4, 4, false);
    struct space_hit h = space_lookup(d.space, 0x1000);
    assert_int_equal(space_read_hit(&h, 4, &v, attrs), MEM_OK);
    region_unmap((struct region *)h.region);
    assert_int_equal(space_read_hit(&h, 4, &v, attrs), MEM_UNMAPPED); // a late result hits nothing
    assert_int_equal(d.calls, 1);
    space_free(d.space);
}

static void test_flash(void **state)
{
    struct device d;
    struct err e;
    struct mem_attrs attrs = {0};
    struct ram *r = ram_new("flash", 4096, false, &e);
    uint64_t v;
    fresh(&d, 1, 4, false);
    d.ops.write = note_write;
    ram_write(r, 0, "\x11\x22\x33\x44", 4);
    memset(d.regs, 0x99, sizeof d.regs);
    struct region *f = space_map_romd(d.space, "flash", 0x4000, r, WINDOW, &d.ops, &d, &d.guard, 0);
    space_read(d.space, 0x4000, 4, &v, attrs);
    assert_int_equal(v, 0x44332211);
    space_write(d.space, 0x4000, 4, 0x90, attrs);
    assert_int_equal(d.seen, 0x90);
    space_read(d.space, 0x4000, 4, &v, attrs);
    assert_int_equal(v, 0x44332211);
    region_set_romd(f, false);
    space_read(d.space, 0x4000, 4, &v, attrs);
    assert_int_equal(v, 0x99999999);
    space_free(d.space);
    ram_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_no_handlers),
        cmocka_unit_test(test_errors_and_attrs),
        cmocka_unit_test(test_no_reentry),
        cmocka_unit_test(test_dead_region),
        cmocka_unit_test(test_flash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
