// migrate: a machine's state goes away. While the guest runs, a thread sends its memory, and again
// what was written since, until what is left takes no longer than the guest may stand still; the
// rest, devices and CPUs follow on the main loop while it does. Told to wait, the machine stands
// still from the beginning.
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "control/saved/saved.h"
#include "control/saved/ways.h"
#include "memory/dirty.h"
#include "memory/ram.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PASSES_MAX = 40, LEAST_BYTES = 256 << 10, RAMS = 2 };

struct migration {
    struct vm *vm;
    struct way way;
    struct state_out out;
    struct err err;
    pthread_t thread;
    struct loop_work finish;
    struct ram *ram[RAMS]; // NULL: not there
    uint64_t *dirty[RAMS]; // pages to be sent: a bit for each
    bool ran;              // the guest was running
    int result;
};

// ---- what is known of it ----

void vm_migration_status(struct vm *vm, const char *status)
{
    char data[64];
    vm->migration.status = status;
    snprintf(data, sizeof data, "{\"status\": \"%s\"}", status);
    vm_event(vm, "MIGRATION", data);
}

int vm_migration_done(struct vm *vm, int result, const struct err *e)
{
    bool cancelled = result && vm->migration.cancelled;
    vm->migration.time_ms = (host_monotonic_ns() - vm->migration.began) / 1000000;
    snprintf(vm->migration.error, sizeof vm->migration.error, "%.250s",
             result && !cancelled ? e->msg : "");
    vm_migration_status(vm, cancelled ? "cancelled" : result ? "failed" : "completed");
    return result;
}

void vm_migration_begin(struct vm *vm)
{
    vm->migration.began = host_monotonic_ns();
    vm->migration.cancelled = false;
    vm->migration.error[0] = 0;
    atomic_store(&vm->migration.bytes, 0);
    atomic_store(&vm->migration.remaining, 0);
    atomic_store(&vm->migration.passes, 0);
    vm->migration.down_ms = 0;
    vm_migration_status(vm, "setup");
}

// ---- memory, beside the running guest ----

static uint64_t pages_of(const struct ram *r)
{
    return ram_size(r) / DIRTY_PAGE_SIZE;
}

// Adds what was written since the last time; how many pages there are to send.
static uint64_t collect(struct migration *g)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < RAMS && g->ram[i]; i++) {
        uint64_t words = pages_of(g->ram[i]) / 64 + 1;
        uint64_t *fresh = xcalloc(words, sizeof *fresh);
        dirty_fetch(g->ram[i], DIRTY_MIGRATION, 0, ram_size(g->ram[i]), fresh);
        for (uint64_t w = 0; w < words; w++) {
            g->dirty[i][w] |= fresh[w];
            n += (uint64_t)__builtin_popcountll(g->dirty[i][w]);
        }
        free(fresh);
    }
    return n;
}

static void send_pages(struct migration *g)
{
    bool again = atomic_fetch_add(&g->vm->migration.passes, 1);
    for (unsigned i = 0; i < RAMS && g->ram[i]; i++) {
        state_save_pages(&g->out, g->ram[i], g->dirty[i], again);
        memset(g->dirty[i], 0, (pages_of(g->ram[i]) / 64 + 1) * sizeof *g->dirty[i]);
    }
    atomic_store(&g->vm->migration.bytes, g->out.bytes);
}

// A rate that is not to be passed, over the whole.
static void keep_rate(struct migration *g)
{
    uint64_t rate = atomic_load(&g->vm->migration.max_bandwidth);
    while (rate && !atomic_load(&g->way.stop) && !g->out.error) {
        int64_t passed = host_monotonic_ns() - g->vm->migration.began;
        if ((double)g->out.bytes * 1e9 <= (double)rate * (double)passed)
            return;
        usleep(5000);
    }
}

static void tell_pass(struct migration *g)
{
    char data[40];
    snprintf(data, sizeof data, "{\"pass\": %u}", atomic_load(&g->vm->migration.passes));
    vm_event(g->vm, "MIGRATION_PASS", data);
}

static void send_rounds(void *opaque)
{
    struct migration *g = opaque;
    double rate = 0; // bytes of memory in a second
    for (unsigned pass = 0; pass < PASSES_MAX && !g->out.error; pass++) {
        uint64_t left = collect(g) * DIRTY_PAGE_SIZE;
        uint64_t allowed = (uint64_t)(rate * atomic_load(&g->vm->migration.downtime_ms) / 1e3);
        atomic_store(&g->vm->migration.remaining, left);
        if (pass && left <= MAX(allowed, (uint64_t)LEAST_BYTES))
            break;
        int64_t start = host_monotonic_ns();
        send_pages(g);
        keep_rate(g);
        tell_pass(g);
        rate = (double)left * 1e9 / (double)(host_monotonic_ns() - start + 1);
    }
    loop_defer(&g->finish);
}

// ---- the end, on the main loop ----

static int send_rest(struct migration *g, struct err *e)
{
    struct vm *vm = g->vm;
    int64_t start = host_monotonic_ns();
    vm_settle(vm);
    collect(g);
    send_pages(g);
    int r = vm_save_rest(vm, &g->out, e);
    if (!r && (r = way_flush(&g->way)))
        r = err_errno(e, -r, "cannot write the machine's state");
    atomic_store(&vm->migration.bytes, g->out.bytes);
    atomic_store(&vm->migration.remaining, 0);
    vm->migration.down_ms = (host_monotonic_ns() - start) / 1000000;
    return r;
}

static void free_it(struct migration *g)
{
    for (unsigned i = 0; i < RAMS && g->ram[i]; i++) {
        dirty_enable(g->ram[i], DIRTY_MIGRATION, false);
        free(g->dirty[i]);
    }
    g->vm->migration.out = NULL;
    free(g);
}

static int conclude(struct migration *g, struct err *e)
{
    struct vm *vm = g->vm;
    struct err late = {0};
    int r = 0;
    vm_hold_io(vm);
    if (g->out.error)
        r = err_errno(e, -g->out.error, "cannot write the machine's state");
    r = r ?: send_rest(g, e);
    if (way_close(&g->way, &late) && !r) {
        *e = late;
        r = -1;
    }
    if (!r)
        vm->state = RUN_POSTMIGRATE;
    else if (g->ran)
        vm_continue(vm);
    vm_release_io(vm);
    free_it(g);
    return vm_migration_done(vm, r, e);
}

static void finish(void *opaque)
{
    struct migration *g = opaque;
    struct err e = {0};
    pthread_join(g->thread, NULL);
    if (conclude(g, &e))
        log_warn("migrate: %s", e.msg);
}

static struct migration *prepare(struct vm *vm, bool wait)
{
    struct migration *g = xalloc(sizeof *g);
    struct machine *m = vm->machine;
    g->vm = vm;
    g->out = (struct state_out){.write = way_put, .opaque = &g->way};
    g->ran = vm->state == RUN_RUNNING;
    g->ram[0] = m->ram;
    g->ram[1] = m->secure_ram;
    for (unsigned i = 0; i < RAMS && g->ram[i]; i++) {
        size_t words = pages_of(g->ram[i]) / 64 + 1;
        g->dirty[i] = xcalloc(words, sizeof *g->dirty[i]);
        if (wait) // all of it, once
            memset(g->dirty[i], 0xff, words * sizeof *g->dirty[i]);
        else
            dirty_enable(g->ram[i], DIRTY_MIGRATION, true);
    }
    loop_work_init(&g->finish, vm->loop, finish, g);
    return g;
}

int vm_migrate(struct vm *vm, const char *uri, bool wait, struct err *e)
{
    struct err ignored = {0};
    if (vm->state == RUN_INMIGRATE)
        return err_set(e, "the machine waits for its own state");
    if (vm->migration.out)
        return err_set(e, "There's a migration process in progress");
    if (!vm->machine->ram)
        return err_set(e, "machine '%s' has nothing to save", vm->machine->board->name);
    vm_migration_begin(vm);
    struct migration *g = prepare(vm, wait);
    if (way_open(vm, &g->way, uri, true, e)) {
        if (way_close(&g->way, &ignored))
            err_prefix(e, "%s; and before", ignored.msg);
        free_it(g);
        return vm_migration_done(vm, -1, e);
    }
    vm->migration.out = g;
    vm_migration_status(vm, "active");
    vm_save_begin(vm, &g->out);
    if (wait)
        return conclude(g, e);
    g->thread = thread_start("migration", send_rounds, g);
    return 0;
}

void vm_migrate_cancel(struct vm *vm)
{
    if (!vm->migration.out)
        return;
    vm->migration.cancelled = true;
    atomic_store(&vm->migration.out->way.stop, true);
    vm_migration_status(vm, "cancelling");
}

void vm_migrate_end(struct vm *vm)
{
    struct migration *g = vm->migration.out;
    struct err ignored = {0};
    if (!g)
        return;
    atomic_store(&g->way.stop, true);
    pthread_join(g->thread, NULL);
    loop_work_cancel(&g->finish);
    if (way_close(&g->way, &ignored))
        log_debug("%s", ignored.msg);
    free_it(g);
}
