// Look-ups and accesses while another thread changes the map: every answer must be one that was
// true, handlers must not run after region_unmap, and code marks must never be missed.
#include "base/clock.h"
#include "base/thread.h"
#include "memory/ram_host.h"
#include "memory/space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { READERS = 3, ROUNDS = 3000, SLOTS = 64 };

struct shared {
    struct space *bus, *cpu;
    struct ram *ram;
    _Atomic bool stop;
    _Atomic uint64_t wrong, looked;
    struct gone {
        _Atomic bool alive;
    } dev;
};

// Slot i of the bus maps RAM offset i * 64 or nothing; whatever is there must fit the address.
static void look(void *opaque)
{
    struct shared *sh = opaque;
    unsigned seed = (unsigned)(uintptr_t)&seed >> 4;
    uint64_t n = 0;
    do {
        gpa_t a = (gpa_t)rand_r(&seed) % (SLOTS * 64), v;
        struct space_hit h = space_lookup(sh->cpu, a + 0x10000);
        bool ok = h.kind == SPACE_NOTHING || (h.kind == SPACE_RAM && h.ram == sh->ram &&
                                              h.off == a && h.len && h.off + h.len <= SLOTS * 64);
        if (h.kind == SPACE_NOTHING)
            ok = h.len > 0;
        space_read(sh->cpu, 0x8000, 4, &v, (struct mem_attrs){0});
        if (!ok)
            atomic_fetch_add(&sh->wrong, 1);
        n++;
    } while (!atomic_load(&sh->stop));
    atomic_fetch_add(&sh->looked, n);
}

static enum mem_result dev_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                struct mem_attrs attrs)
{
    struct shared *sh = opaque;
    if (!atomic_load(&sh->dev.alive))
        atomic_fetch_add(&sh->wrong, 1);
    *val = 0;
    return MEM_OK;
}

static void test_lookups_while_changing(void **state)
{
    static const struct mmio_ops ops = {.read = dev_read};
    struct err e;
    struct shared sh = {.bus = space_new("bus", UINT64_MAX), .cpu = space_new("cpu", UINT64_MAX)};
    struct region *slot[SLOTS] = {0};
    pthread_t th[READERS];
    sh.ram = ram_new("r", SLOTS * 64, false, &e);
    space_map_alias(sh.cpu, "window", 0x10000, sh.bus, 0, 1 << 20, 0);
    for (int i = 0; i < READERS; i++)
        th[i] = thread_start("look", look, &sh);
    srand(9);
    for (int i = 0; i < ROUNDS; i++) {
        int k = rand() % SLOTS;
        if (!slot[k])
            slot[k] = space_map_ram(sh.bus, "slot", (gpa_t)k * 64, sh.ram, (uint64_t)k * 64, 64,
                                    false, 0);
        else if (rand() % 4)
            region_enable(slot[k], rand() % 2);
        else
            region_unmap(slot[k]), slot[k] = NULL;
        if (i % 8 == 0) {
            atomic_store(&sh.dev.alive, true);
            struct mmio_guard g;
            mmio_guard_init(&g);
            struct region *d = space_map_mmio(sh.cpu, "dev", 0x8000, 64, &ops, &sh, &g, 0);
            sched_yield();
            region_unmap(d);
            atomic_store(&sh.dev.alive, false); // from here on no handler runs
            pthread_mutex_destroy(&g.lock);
            memset(&g, 0xee, sizeof g);
        }
    }
    atomic_store(&sh.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(th[i], NULL);
    assert_true(sh.wrong == 0);
    assert_true(sh.looked > 0);
    space_free(sh.cpu);
    space_free(sh.bus);
    ram_free(sh.ram);
}

// A translator marks and reads; a writer writes and reports. Either the translator has read the new
// byte or the writer's report came (and invalidates).
struct race {
    struct ram *ram;
    struct space *space;
    _Atomic int phase;
    _Atomic bool reported;
};
static void on_code(void *opaque, struct ram *r, uint64_t off, uint64_t len)
{
    atomic_store(&((struct race *)opaque)->reported, true);
}
static void writer(void *opaque)
{
    struct race *x = opaque;
    for (int i = 1;; i++) {
        int now;
        while ((now = atomic_load(&x->phase)) != 2 * i - 1) {
            if (now < 0)
                return;
            sched_yield();
        }
        space_write(x->space, 100, 1, (uint8_t)i, (struct mem_attrs){0});
        atomic_store(&x->phase, 2 * i);
    }
}

static void test_code_mark_race(void **state)
{
    struct err e;
    struct race x = {.ram = ram_new("r", 4096, false, &e), .space = space_new("s", 0xffff)};
    space_map_ram(x.space, "r", 0, x.ram, 0, 4096, false, 0);
    ram_code_listen(x.ram, on_code, &x);
    pthread_t th = thread_start("writer", writer, &x);
    // As often as the host lets two threads take turns in that time.
    int64_t end = host_monotonic_ns() + 10000000000;
    for (int i = 1; i <= 20000 && host_monotonic_ns() < end; i++) {
        ram_code_unmark(x.ram, 0);
        atomic_store(&x.reported, false);
        atomic_store(&x.phase, 2 * i - 1);
        ram_code_mark(x.ram, 0);
        uint8_t seen = __atomic_load_n(ram_host(x.ram) + 100, __ATOMIC_RELAXED);
        while (atomic_load(&x.phase) != 2 * i)
            sched_yield();
        assert_true(seen == (uint8_t)i || atomic_load(&x.reported));
    }
    atomic_store(&x.phase, -1);
    pthread_join(th, NULL);
    space_free(x.space);
    ram_free(x.ram);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lookups_while_changing),
        cmocka_unit_test(test_code_mark_race),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
