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

// Until it has run more often than that; false after ten seconds.
static bool runs_past(unsigned n)
{
    for (unsigned k = 0; k < 10000 && runs <= n; k++)
        sleep_ms(1);
    return runs > n;
}

static void sleeps_until_kicked(void **state)
{
    assert_true(runs_past(0));
    sleep_ms(20);
    unsigned before = runs;
    sleep_ms(50);
    assert_int_equal(runs, before);
    pending = true;
    vcpu_kick(vcpus->v[0], INTR_LINE);
    assert_true(runs_past(before));
}

static void naps_where_nobody_takes_the_interrupt(void **state)
{
    pending = true;
    vcpu_kick(vcpus->v[0], INTR_LINE);
    assert_true(runs_past(64));
    sleep_ms(500);
    assert_in_range(runs, 65, 120); // at once some 64 times, then ever more rarely
}

// Its naps are 100 ms long by then.
static void a_nap_ends_with_a_kick(void **state)
{
    pending = true;
    vcpu_kick(vcpus->v[0], INTR_LINE);
    sleep_ms(500);
    unsigned late = 0;
    for (unsigned k = 0; k < 20; k++) {
        unsigned before = runs;
        vcpu_kick(vcpus->v[0], 0);
        int64_t t = host_monotonic_ns();
        assert_true(runs_past(before));
        late += host_monotonic_ns() - t > 50000000;
    }
    assert_in_range(late, 0, 15); // on a busy host some; all, did the kick not end it
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
    unsigned before = runs;
    deliverable = true;
    vcpu_kick(vcpus->v[0], INTR_LINE);
    assert_true(runs_past(before + 64));
    assert_int_equal(taken, 1);
    sleep_ms(300);
    assert_in_range(runs - before, 65, 120);
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
