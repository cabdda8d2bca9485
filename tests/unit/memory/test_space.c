// Flat views against an oracle that resolves every address by walking the regions: random trees of
// spaces with windows, priorities, switches and moves. Then look-ups, accesses and DMA across
// mappings, and the listeners.
#include "base/buf.h"
#include "memory/dma.h"
#include "memory/space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <cmocka.h>

enum { SPACES = 4, PER_SPACE = 7, LAST = 0x3ff, RAM_SIZE = 8192 };

static const struct mmio_ops no_ops;

// What the test knows of a region.
struct model {
    struct region *r;
    bool live, enabled, rom_mode;
    int kind; // 0 RAM, 1 ROM, 2 registers, 3 flash, 4 window
    uint64_t base, size, ram_off;
    int prio;
    unsigned age;
    int other; // space
    uint64_t other_base;
};
struct world {
    struct space *space[SPACES];
    struct model m[SPACES][PER_SPACE];
    struct ram *ram;
    unsigned age;
};
struct answer {
    int kind; // SPACE_*
    bool readonly;
    uint64_t off;
    const struct region *region;
};

// Who answers at `a` of space `s`: the best of the live regions that do.
static struct answer resolve(const struct world *w, int s, uint64_t a)
{
    struct answer best = {.kind = SPACE_NOTHING};
    const struct model *win = NULL;
    for (int i = 0; a <= LAST && i < PER_SPACE; i++) {
        const struct model *m = &w->m[s][i];
        if (!m->live || !m->enabled || a < m->base || a - m->base >= m->size)
            continue;
        if (win && (win->prio > m->prio || (win->prio == m->prio && win->age > m->age)))
            continue;
        uint64_t off = a - m->base;
        struct answer x = {.kind = SPACE_RAM, .off = m->ram_off + off};
        if (m->kind == 4)
            x = resolve(w, m->other, m->other_base + off);
        else if (m->kind == 2 || (m->kind == 3 && !m->rom_mode))
            x = (struct answer){.kind = SPACE_MMIO, .off = off, .region = m->r};
        else if (m->kind == 3)
            x = (struct answer){SPACE_RAM, true, off, m->r};
        else
            x.readonly = m->kind == 1;
        if (x.kind == SPACE_NOTHING)
            continue;
        best = x;
        win = m;
    }
    return best;
}

static bool continues(struct answer a, struct answer b, uint64_t by)
{
    return a.kind == b.kind &&
           (a.kind == SPACE_NOTHING ||
            (a.readonly == b.readonly && a.region == b.region && a.off + by == b.off));
}

static void compare(struct world *w, int s)
{
    for (uint64_t a = 0; a <= LAST;) {
        struct space_hit h = space_lookup(w->space[s], a);
        struct answer first = resolve(w, s, a);
        assert_int_equal(h.kind, first.kind);
        if (h.kind != SPACE_NOTHING) {
            assert_int_equal(h.off, first.off);
            assert_ptr_equal(h.region, first.region);
            assert_int_equal(h.readonly, first.readonly);
            assert_ptr_equal(h.ram, h.kind == SPACE_RAM ? w->ram : NULL);
        }
        assert_true(h.len > 0 && h.len <= LAST + 1 - a);
        for (uint64_t i = 1; i < h.len; i++)
            assert_true(continues(first, resolve(w, s, a + i), i));
        if (a + h.len <= LAST) // and no longer
            assert_false(continues(first, resolve(w, s, a + h.len), h.len));
        uint64_t step = 1 + (uint64_t)rand() % h.len; // from the middle too
        struct space_hit mid = space_lookup(w->space[s], a + step - 1);
        assert_int_equal(mid.len, h.len - (step - 1));
        a += rand() % 2 ? step : h.len;
    }
}

static void map_one(struct world *w, int s, struct model *m)
{
    *m = (struct model){.live = true,
                        .enabled = true,
                        .rom_mode = true,
                        .kind = rand() % (s ? 5 : 4),
                        .base = (uint64_t)rand() % (LAST + 64),
                        .size = 1 + (uint64_t)rand() % (rand() % 2 ? 16 : 600),
                        .prio = rand() % 3 - 1,
                        .age = ++w->age};
    struct space *sp = w->space[s];
    switch (m->kind) {
    case 0:
    case 1:
        m->ram_off = (uint64_t)rand() % 4 * 1024;
        m->r = space_map_ram(sp, "ram", m->base, w->ram, m->ram_off, m->size, m->kind, m->prio);
        break;
    case 2:
        m->r = space_map_mmio(sp, "io", m->base, m->size, &no_ops, NULL, NULL, m->prio);
        break;
    case 3:
        m->r = space_map_romd(sp, "rom", m->base, w->ram, m->size, &no_ops, NULL, NULL, m->prio);
        break;
    default: // windows look at lower spaces only, so that there are no cycles
        m->other = rand() % s;
        m->other_base = (uint64_t)rand() % LAST;
        m->r = space_map_alias(sp, "win", m->base, w->space[m->other], m->other_base, m->size,
                               m->prio);
    }
}

static void change_one(struct world *w)
{
    int s = rand() % SPACES;
    struct model *m = &w->m[s][rand() % PER_SPACE];
    if (!m->live) {
        map_one(w, s, m);
        return;
    }
    switch (rand() % 4) {
    case 0:
        region_unmap(m->r);
        m->live = false;
        break;
    case 1:
        region_enable(m->r, m->enabled = !m->enabled);
        break;
    case 2:
        region_move(m->r, m->base = (uint64_t)rand() % LAST);
        break;
    default:
        if (m->kind == 3)
            region_set_romd(m->r, m->rom_mode = !m->rom_mode);
    }
}

static void test_random_trees(void **state)
{
    struct err e;
    struct world w = {.ram = ram_new("r", RAM_SIZE, false, &e)};
    srand(42);
    for (int i = 0; i < SPACES; i++)
        w.space[i] = space_new("s", LAST);
    for (int i = 0; i < 3000; i++) {
        uint32_t gen[SPACES];
        struct answer before[SPACES];
        uint64_t probe = (uint64_t)rand() % LAST;
        for (int s = 0; s < SPACES; s++) {
            gen[s] = space_generation(w.space[s]);
            before[s] = resolve(&w, s, probe);
        }
        change_one(&w);
        for (int s = 0; s < SPACES; s++) {
            struct answer now = resolve(&w, s, probe);
            if (!continues(now, before[s], 0))
                assert_true(space_generation(w.space[s]) != gen[s]);
            compare(&w, s);
        }
    }
    for (int i = SPACES; i--;)
        space_free(w.space[i]);
    ram_free(w.ram);
}

static void test_whole_space(void **state)
{
    struct space *low = space_new("low", UINT64_MAX), *cpu = space_new("cpu", UINT64_MAX);
    struct space_hit h = space_lookup(cpu, 0);
    assert_int_equal(h.kind, SPACE_NOTHING);
    assert_true(h.len == UINT64_MAX);
    space_map_alias(cpu, "all", 0, low, 0, 0, 0);
    struct region *top = space_map_mmio(low, "top", UINT64_MAX - 0xf, 0x10, &no_ops, NULL, NULL, 0);
    struct region *over = // wraps: cut at the end
        space_map_mmio(cpu, "over", UINT64_MAX - 3, 0x1000, &no_ops, NULL, NULL, 1);
    h = space_lookup(cpu, UINT64_MAX - 0xf);
    assert_ptr_equal(h.region, top);
    assert_int_equal(h.len, 12);
    h = space_lookup(cpu, UINT64_MAX);
    assert_ptr_equal(h.region, over);
    assert_int_equal(h.len, 1);
    assert_int_equal(space_lookup(cpu, 0x1000).kind, SPACE_NOTHING);
    space_free(low); // the window falls away with it
    assert_int_equal(space_lookup(cpu, UINT64_MAX - 0xf).kind, SPACE_NOTHING);
    space_free(cpu);
}

static const struct mem_attrs attrs;

static void test_access_across_mappings(void **state)
{
    struct err e;
    struct ram *a = ram_new("a", 4096, false, &e), *b = ram_new("b", 4096, false, &e);
    struct space *s = space_new("s", 0xffff);
    space_map_ram(s, "a", 0, a, 0, 0x7d, false, 0);
    space_map_ram(s, "b", 0x7d, b, 0x100, 0x83, false, 0);
    uint64_t v;
    assert_int_equal(space_write(s, 0x7a, 8, 0x8877665544332211, attrs), MEM_OK);
    assert_int_equal(space_read(s, 0x7a, 8, &v, attrs), MEM_OK);
    assert_true(v == 0x8877665544332211);
    uint8_t got[8];
    ram_read(a, 0x7a, got, 3);
    ram_read(b, 0x100, got + 3, 5);
    assert_memory_equal(got, "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
    assert_int_equal(space_read(s, 0xfe, 4, &v, attrs), MEM_UNMAPPED);
    assert_int_equal(space_read(s, 0x8000, 4, &v, attrs), MEM_UNMAPPED);
    assert_int_equal(space_write(s, 0x8000, 4, 0, attrs), MEM_UNMAPPED);
    struct space_hit h = space_lookup(s, 0x7c);
    assert_int_equal(space_read_hit(&h, 4, &v, attrs), MEM_ERROR); // beyond the hit
    space_free(s);
    ram_free(a);
    ram_free(b);
}

static void test_rom_ignores_stores(void **state)
{
    struct err e;
    struct ram *r = ram_new("rom", 4096, false, &e);
    struct space *s = space_new("s", 0xffff);
    uint64_t v;
    ram_write(r, 0, "\xaa\xbb", 2);
    space_map_ram(s, "rom", 0, r, 0, 4096, true, 0);
    assert_int_equal(space_write(s, 0, 2, 0, attrs), MEM_OK);
    assert_int_equal(space_read(s, 0, 2, &v, attrs), MEM_OK);
    assert_int_equal(v, 0xbbaa);
    assert_int_equal(dma_write(s, 0, "x", 1), -1);
    assert_int_equal(dma_read(s, 0, &v, 1), 0);
    space_free(s);
    ram_free(r);
}

static void test_dma(void **state)
{
    struct err e;
    struct ram *r = ram_new("r", 16384, false, &e);
    struct space *s = space_new("s", UINT64_MAX);
    uint8_t in[9000], out[9000];
    uint16_t h;
    uint32_t w;
    space_map_ram(s, "high half first", 0, r, 8192, 8192, false, 0);
    space_map_ram(s, "low half", 8192, r, 0, 8192, false, 0);
    space_map_mmio(s, "registers", 16384, 4096, &no_ops, NULL, NULL, 0);
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 7);
    assert_int_equal(dma_write(s, 5000, in, sizeof in), 0);
    assert_int_equal(dma_read(s, 5000, out, sizeof out), 0);
    assert_memory_equal(in, out, sizeof in);
    ram_read(r, 0, out, 100);
    assert_memory_equal(out, in + 3192, 100);
    assert_int_equal(dma_write(s, 16383, in, 2), -1); // into registers
    assert_int_equal(dma_read(s, 16384, out, 1), -1);
    assert_int_equal(dma_read(s, UINT64_MAX, out, 2), -1); // wraps
    assert_int_equal(dma_read(s, 2, out, SIZE_MAX), -1);
    assert_int_equal(dma_read(s, 1ull << 40, out, 0), 0);
    assert_int_equal(dma_store32(s, 8192, 0x12345678), 0);
    assert_int_equal(dma_load16(s, 8194, &h), 0);
    assert_int_equal(h, 0x1234);
    assert_int_equal(dma_store16(s, 8192, 0xabcd), 0);
    assert_int_equal(dma_load32(s, 8192, &w), 0);
    assert_int_equal(w, 0x1234abcd);
    assert_int_equal(dma_load32(s, 8194, &w), -1); // not aligned
    assert_int_equal(dma_load16(s, 16384, &h), -1);
    assert_int_equal(dma_fill(s, 8190, 0x5a, 4), 0);
    assert_int_equal(dma_load32(s, 8188, &w), 0);
    assert_int_equal(w >> 16, 0x5a5a);
    space_free(s);
    ram_free(r);
}

static void test_pins(void **state)
{
    struct err e;
    struct ram *r = ram_new("r", 8192, false, &e);
    struct space *s = space_new("s", 0xffff);
    struct region *lo = space_map_ram(s, "hi", 0, r, 4096, 4096, false, 0);
    space_map_ram(s, "lo", 4096, r, 0, 4096, false, 0);
    struct iovec iov[4];
    struct dma_span spans[4];
    unsigned n = 0;
    assert_int_equal(dma_pin(s, 4000, 200, true, iov, spans, &n, 4), 0);
    assert_int_equal(n, 2);
    assert_int_equal(iov[0].iov_len, 96);
    assert_int_equal(iov[1].iov_len, 104);
    assert_int_equal(dma_pin(s, 8000, 1000, true, iov, spans, &n, 4), -1); // runs off RAM
    assert_int_equal(n, 2);
    assert_int_equal(dma_pin(s, 4000, 200, true, iov, spans, &n, 3), -1); // out of vectors
    assert_int_equal(n, 2);
    region_unmap(lo);
    space_free(s);
    ram_free(r); // pinned: the bytes are still there
    memset(iov[0].iov_base, 1, iov[0].iov_len);
    memset(iov[1].iov_base, 1, iov[1].iov_len);
    dma_unpin(spans, n, true);
}

static void count(void *opaque)
{
    ++*(int *)opaque;
}

static void test_listeners(void **state)
{
    struct err e;
    struct ram *r = ram_new("r", 4096, false, &e);
    struct space *bus = space_new("bus", 0xffff), *cpu = space_new("cpu", 0xffff);
    int n = 0;
    space_map_alias(cpu, "low", 0, bus, 0, 0x8000, 0);
    space_listen(cpu, count, &n);
    struct region *reg = space_map_ram(bus, "r", 0x1000, r, 0, 4096, false, 0);
    assert_int_equal(n, 1);
    uint32_t gen = space_generation(cpu);
    region_move(reg, 0x9000); // out of the window: gone from the CPU's view
    assert_int_equal(n, 2);
    assert_true(space_generation(cpu) != gen);
    gen = space_generation(cpu);
    region_move(reg, 0xa000); // still outside: the CPU's view stays
    assert_int_equal(n, 2);
    assert_true(space_generation(cpu) == gen);
    space_listen(bus, count, &n);
    region_move(reg, 0); // both spaces change; each listener is called once
    assert_int_equal(n, 3);
    space_unlisten(cpu, count, &n);
    space_unlisten(bus, count, &n);
    region_enable(reg, false);
    assert_int_equal(n, 3);
    space_free(cpu);
    space_free(bus);
    ram_free(r);
}

static void test_print(void **state)
{
    struct err e;
    struct ram *r = ram_new("ram0", 8192, false, &e);
    struct space *s = space_new("memory", 0xffff);
    struct buf b = {0};
    space_map_ram(s, "ram0", 0x1000, r, 0, 8192, false, 0);
    space_map_mmio(s, "uart", 0x2000, 0x100, &no_ops, NULL, NULL, 1);
    space_print(s, &b);
    assert_string_equal(buf_str(&b),
                        "address-space: memory\n"
                        "  0000000000000000-000000000000ffff (prio 0, i/o): memory\n"
                        "  0000000000001000-0000000000002fff (prio 0, ram): ram0\n"
                        "  0000000000002000-00000000000020ff (prio 1, i/o): uart\n"
                        "flat view:\n"
                        "  0000000000001000-0000000000001fff (ram): ram0 @0000000000000000\n"
                        "  0000000000002000-00000000000020ff (i/o): uart @0000000000000000\n"
                        "  0000000000002100-0000000000002fff (ram): ram0 @0000000000001100\n");
    buf_free(&b);
    space_free(s);
    ram_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_trees),
        cmocka_unit_test(test_whole_space),
        cmocka_unit_test(test_access_across_mappings),
        cmocka_unit_test(test_rom_ignores_stores),
        cmocka_unit_test(test_dma),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
