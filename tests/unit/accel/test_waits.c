// How a vCPU's thread waits for interrupts, with an accelerator that executes nothing but waits: it
// sleeps while there is nothing, comes back for what others ask, and does not burn the host where
// its interrupt is pending and nobody takes it (firmware's secondary CPUs wait like that for the
// first one's word, in memory).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "accel/accel.h"
#include "accel/vcpu.h"
#include "base/clock.h"

#include "../base/pump.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

static _Atomic unsigned runs, taken;
static _Atomic bool pending, deliverable;

static bool has_work(struct env *e)
{
    return pending;
}

static bool take_interrupt(struct env *e)
{
    atomic_fetch_and(&e->interrupt, ~(uint32_t)INTR_LINE);
    taken += deliverable;
    return deliverable;
}

static const struct env_isa_ops isa_ops = {.take_interrupt = take_interrupt, .has_work = has_work};
static const struct isa isa = {.name = "none", .ops = &isa_ops};

static struct env *cpu_new(struct accel *a, const struct isa_config *c, struct err *e)
{
    struct env *env = calloc(1, sizeof *env);
    env->isa = &isa_ops;
    return env;
}

static void cpu_free(struct accel *a, struct env *e)
{
    free(e);
}

static enum env_leave run(struct accel *a, struct env *e)
{
    runs++;
    return atomic_load(&e->interrupt) ? LEAVE_INTERRUPT : LEAVE_HALT;
}

static const struct accel_ops ops = {
    .name = "waits", .cpu_new = cpu_new, .cpu_free = cpu_free, .run = run};

static void config(void *opaque, unsigned i, struct isa_config *c) {}

static struct accel accel;
static struct vcpus *vcpus;

static void sleep_ms(int64_t ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static int begin(void **state)
{
    struct err e = {0};
    runs = taken = 0;
    pending = deliverable = false;
    accel = (struct accel){
        .ops = &ops, .isa = &isa, .max_vcpus = 1, .memory = space_new("memory", UINT64_MAX)};
    vcpus = vcpus_new(&accel, &isa, 1, config, NULL, &e);
    vcpu_set_power(vcpus->v[0], true);
    assert_int_equal(vcpus_start_threads(vcpus, &e), 0);
    vcpus_resume(vcpus);
    return 0;
}

static int end(void **state)
{
    vcpus_free(vcpus);
    space_free(accel.memory);
    return 0;
}

// Until it has run more often than that; false when patience is over.
static bool runs_past(unsigned n)
{
    int64_t end = host_monotonic_ns() + PATIENCE_NS;
    while (runs <= n && host_monotonic_ns() < end)
        sleep_ms(1);
    return runs > n;
}

// Until it has not run for a while.
static void comes_to_rest(void)
{
    int64_t end = host_monotonic_ns() + PATIENCE_NS;
    for (unsigned before = runs + 1; before != runs; sleep_ms(50)) {
        assert_true(host_monotonic_ns() < end);
        before = runs;
    }
}

// How often it may have run since then: at once some 64 times, then ever more rarely, and every
// 102 ms in the end. The host may be slow on either side of the clock.
static unsigned naps_since(int64_t start)
{
    return 80 + (unsigned)((host_monotonic_ns() - start) / 50000000);
}

static void sleeps_until_kicked(void **state)
{
    assert_true(runs_past(0));
    comes_to_rest();
    unsigned before = runs;
    assert_in_range(before, 1, 3);
    pending = true;
    vcpu_kick(vcpus->v[0], INTR_LINE);
    assert_true(runs_past(before));
}

static void naps_where_nobody_takes_the_interrupt(void **state)
{
    pending = true;
    int64_t start = host_monotonic_ns();
    vcpu_kick(vcpus->v[0], INTR_LINE);
    assert_true(runs_past(64));
    sleep_ms(500);
    unsigned n = runs;
    assert_in_range(n, 65, naps_since(start));
}

// Its naps are 100 ms long by then. Where the kick does not end them all are late; on a busy host
// some may be.
static void a_nap_ends_with_a_kick(void **state)
{
    pending = true;
    vcpu_kick(vcpus->v[0], INTR_LINE);
    sleep_ms(500);
    int64_t end = host_monotonic_ns() + PATIENCE_NS;
    for (unsigned soon = 0; soon < 5;) {
        unsigned before = runs;
        int64_t t = host_monotonic_ns();
        vcpu_kick(vcpus->v[0], 0);
        assert_true(runs_past(before));
        soon += host_monotonic_ns() - t < 50000000;
        assert_true(host_monotonic_ns() < end);
    }
}

static void noop(struct vcpu *v, void *arg)
{
    *(bool *)arg = true;
}

static void a_nap_ends_with_work_and_pauses(void **state)
{
    pending = true;
    vcpu_kick(vcpus->v[0], INTR_LINE);
    sleep_ms(300);
    for (unsigned k = 0; k < 20; k++) {
        bool called = false;
        vcpu_call(vcpus->v[0], noop, &called);
        assert_true(called);
        vcpus_pause(vcpus);
        vcpus_resume(vcpus);
    }
}

// An interrupt that is taken is progress: the waits after it end at once again.
static void taking_one_begins_anew(void **state)
{
    pending = true;
    vcpu_kick(vcpus->v[0], INTR_LINE);
    sleep_ms(500);
    assert_true(runs_past(64));
    unsigned before = runs;
    int64_t start = host_monotonic_ns();
    deliverable = true;
    vcpu_kick(vcpus->v[0], INTR_LINE);
    assert_true(runs_past(before + 64));
    assert_int_equal(taken, 1);
    sleep_ms(300);
    unsigned n = runs - before;
    assert_in_range(n, 65, naps_since(start));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sleeps_until_kicked, begin, end),
        cmocka_unit_test_setup_teardown(naps_where_nobody_takes_the_interrupt, begin, end),
        cmocka_unit_test_setup_teardown(a_nap_ends_with_a_kick, begin, end),
        cmocka_unit_test_setup_teardown(a_nap_ends_with_work_and_pauses, begin, end),
        cmocka_unit_test_setup_teardown(taking_one_begins_anew, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
