// The event loop: descriptors, deferred work, calls and timers, also across threads.
#include "base/loop.h"
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "pump.h"

struct tally {
    struct loop *l;
    struct loop_fd *fd, *other;
    struct loop_work work;
    struct loop_timer timer;
    int n;
    unsigned events;
    int64_t at;
};

static void ready(void *opaque, unsigned events)
{
    struct tally *t = opaque;
    t->n++;
    t->events = events;
}

static void test_fd_events(void **state)
{
    struct tally t = {.l = loop_new("t")};
    int s[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
    t.fd = loop_fd_add(t.l, s[0], LOOP_IN, ready, &t);
    loop_run_once(t.l, 0);
    assert_int_equal(t.n, 0);
    assert_int_equal(write(s[1], "x", 1), 1);
    loop_run_once(t.l, -1);
    assert_int_equal(t.events, LOOP_IN);
    loop_fd_set(t.fd, LOOP_IN | LOOP_OUT);
    loop_run_once(t.l, -1);
    assert_int_equal(t.events, LOOP_IN | LOOP_OUT);
    close(s[1]);
    loop_fd_set(t.fd, 0); // a hang-up must not spin while nobody asks
    t.n = 0;
    loop_run_once(t.l, 0);
    assert_int_equal(t.n, 0);
    loop_fd_set(t.fd, LOOP_IN);
    loop_run_once(t.l, -1);
    assert_true(t.events & LOOP_HUP);
    loop_fd_del(t.fd);
    close(s[0]);
    loop_free(t.l);
}

static void test_regular_file_is_ready(void **state)
{
    struct tally t = {.l = loop_new("t")};
    FILE *f = tmpfile();
    t.fd = loop_fd_add(t.l, fileno(f), LOOP_IN, ready, &t);
    loop_run_once(t.l, -1);
    assert_int_equal(t.n, 1);
    assert_int_equal(t.events, LOOP_IN);
    loop_fd_set(t.fd, 0);
    loop_run_once(t.l, 0);
    assert_int_equal(t.n, 1);
    loop_fd_set(t.fd, LOOP_IN);
    loop_fd_del(t.fd);
    loop_run_once(t.l, 0);
    assert_int_equal(t.n, 1);
    fclose(f);
    loop_free(t.l);
}

static void delete_both(void *opaque, unsigned events)
{
    struct tally *t = opaque;
    t->n++;
    loop_fd_del(t->fd);
    loop_fd_del(t->other);
}

static void test_delete_in_callback(void **state)
{
    struct tally t = {.l = loop_new("t")};
    int s[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
    t.fd = loop_fd_add(t.l, s[0], LOOP_OUT, delete_both, &t);
    t.other = loop_fd_add(t.l, s[1], LOOP_OUT, delete_both, &t);
    loop_run_once(t.l, -1); // both are ready: the second is gone before its turn
    assert_int_equal(t.n, 1);
    close(s[0]);
    close(s[1]);
    loop_free(t.l);
}

static void count(void *opaque)
{
    struct tally *t = opaque;
    t->at = host_monotonic_ns();
    __atomic_add_fetch(&t->n, 1, __ATOMIC_RELEASE);
}

static void count_and_defer(void *opaque)
{
    struct tally *t = opaque;
    t->n++;
    loop_defer(&t->work);
}

static void test_work(void **state)
{
    struct tally t = {.l = loop_new("t")};
    loop_work_init(&t.work, t.l, count, &t);
    loop_defer(&t.work);
    loop_defer(&t.work);
    loop_run_once(t.l, -1);
    loop_run_once(t.l, 0);
    assert_int_equal(t.n, 1);
    loop_defer(&t.work);
    loop_work_cancel(&t.work);
    loop_run_once(t.l, 0);
    assert_int_equal(t.n, 1);
    loop_defer(&t.work);
    loop_run_once(t.l, 0);
    assert_int_equal(t.n, 2);
    struct tally again = {.l = t.l};
    loop_work_init(&again.work, t.l, count_and_defer, &again);
    loop_defer(&again.work);
    loop_run_once(t.l, 0); // one run a round, however often it re-queues itself
    assert_int_equal(again.n, 1);
    loop_work_cancel(&again.work);
    loop_free(t.l);
}

static void note_owner(void *opaque)
{
    struct tally *t = opaque;
    t->n += loop_is_current(t->l);
}

static void test_call(void **state)
{
    struct tally t = {.l = loop_new("t")};
    assert_true(loop_is_current(t.l)); // the creator's until someone runs it
    loop_call(t.l, note_owner, &t);
    assert_int_equal(t.n, 1);
    loop_start_thread(t.l);
    assert_false(loop_is_current(t.l));
    for (int i = 0; i < 1000; i++)
        loop_call(t.l, note_owner, &t);
    assert_int_equal(t.n, 1001);
    loop_stop_thread(t.l);
    assert_true(loop_is_current(t.l));
    loop_free(t.l);
}

struct hammer {
    struct loop_work work;
    _Atomic uint64_t asked, seen;
};
static void take(void *opaque)
{
    struct hammer *h = opaque;
    atomic_store(&h->seen, atomic_load(&h->asked));
}
static void hammer(void *opaque)
{
    struct hammer *h = opaque;
    for (int i = 0; i < 20000; i++) {
        atomic_fetch_add(&h->asked, 1);
        loop_defer(&h->work);
    }
}
static void nothing(void *opaque) {}

// No deferral is lost: after the last one the work has seen everything asked before it.
static void test_defer_from_threads(void **state)
{
    struct loop *l = loop_new("t");
    struct hammer h = {0};
    pthread_t th[3];
    loop_work_init(&h.work, l, take, &h);
    loop_start_thread(l);
    for (int i = 0; i < 3; i++)
        th[i] = thread_start("hammer", hammer, &h);
    for (int i = 0; i < 3; i++)
        pthread_join(th[i], NULL);
    loop_call(l, nothing, NULL); // queued behind the last
    assert_true(atomic_load(&h.seen) == 60000);
    loop_stop_thread(l);
    loop_free(l);
}

static int order[8], n_order;
static void note(void *opaque)
{
    order[n_order++] = (int)(intptr_t)opaque;
}

static void test_timers_in_order(void **state)
{
    struct loop *l = loop_new("t");
    struct loop_timer t[8];
    int64_t now = host_monotonic_ns();
    static const int at[8] = {5, 3, 7, 1, 6, 2, 8, 4}; // 3 is cancelled, 8 moved before 1
    for (int i = 0; i < 8; i++) {
        loop_timer_init(&t[i], l, NULL, note, (void *)(intptr_t)at[i]);
        loop_timer_set(&t[i], now + at[i] * 100000);
    }
    loop_timer_cancel(&t[1]);
    loop_timer_set(&t[6], now);
    n_order = 0;
    while (n_order < 7)
        loop_run_once(l, -1);
    static const int want[] = {8, 1, 2, 4, 5, 6, 7};
    assert_memory_equal(order, want, sizeof want);
    assert_true(host_monotonic_ns() >= now + 700000);
    assert_true(t[0].deadline == INT64_MAX);
    loop_free(l);
}

static void rearm_in_past(void *opaque)
{
    struct tally *t = opaque;
    t->n++;
    loop_timer_set(&t->timer, 0);
}

static void test_timer_cannot_starve(void **state)
{
    struct tally t = {.l = loop_new("t")};
    loop_timer_init(&t.timer, t.l, NULL, rearm_in_past, &t);
    loop_timer_set(&t.timer, 0);
    loop_run_once(t.l, -1);
    assert_int_equal(t.n, 1);
    loop_run_once(t.l, -1);
    assert_int_equal(t.n, 2);
    loop_free(t.l);
}

static void test_stopped_clock(void **state)
{
    struct clock *c = clock_new();
    struct tally t = {.l = loop_new("t")};
    loop_timer_init(&t.timer, t.l, c, count, &t);
    loop_timer_set(&t.timer, 0); // already due, but the clock stands
    loop_run_once(t.l, 1);
    assert_int_equal(t.n, 0);
    clock_start(c);
    loop_clock_changed(t.l);
    loop_run_once(t.l, -1);
    assert_int_equal(t.n, 1);
    loop_timer_set(&t.timer, clock_now(c) + 1000000);
    clock_stop(c);
    loop_run_once(t.l, 3);
    assert_int_equal(t.n, 1);
    loop_free(t.l);
    clock_free(c);
}

// A sleeping loop wakes for a timer that another thread sets, or that a clock's start makes due.
static void test_timers_across_threads(void **state)
{
    struct clock *c = clock_new();
    struct tally t = {.l = loop_new("t")}, far = {.l = t.l};
    loop_timer_init(&t.timer, t.l, c, count, &t);
    loop_timer_init(&far.timer, t.l, NULL, count, &far);
    loop_timer_set(&far.timer, host_monotonic_ns() + 3600000000000);
    loop_start_thread(t.l);
    struct timespec ms = {.tv_nsec = 5000000};
    nanosleep(&ms, NULL); // asleep by now, whatever the order
    loop_timer_set(&t.timer, 2000000);
    int64_t start = host_monotonic_ns();
    clock_start(c);
    loop_clock_changed(t.l);
    while (!__atomic_load_n(&t.n, __ATOMIC_ACQUIRE) && host_monotonic_ns() - start < PATIENCE_NS)
        nanosleep(&ms, NULL);
    loop_stop_thread(t.l);
    assert_int_equal(t.n, 1);
    assert_int_equal(far.n, 0);
    assert_true(t.at - start >= 2000000);
    loop_free(t.l);
    clock_free(c);
}

static void quit(void *opaque)
{
    loop_quit(opaque);
}

static void test_quit(void **state)
{
    struct loop *l = loop_new("t");
    loop_quit(l); // before it runs: it runs not at all
    loop_run(l);
    struct loop_timer t;
    loop_timer_init(&t, l, NULL, quit, l);
    loop_timer_set(&t, host_monotonic_ns() + 1000000);
    loop_run(l);
    loop_free(l);
}

// A quit at any moment of the loop's round ends it.
static void test_quit_is_never_lost(void **state)
{
    for (int i = 0; i < 2000; i++) {
        struct loop *l = loop_new("t");
        loop_start_thread(l);
        for (int spin = 0; spin < i % 50 * 100; spin++)
            __asm__ volatile("");
        loop_stop_thread(l);
        loop_free(l);
    }
}

struct counted {
    struct loop_work work;
    unsigned n;
};

static void count_on(void *opaque)
{
    struct counted *c = opaque;
    c->n++; // no atomics: whoever holds the loop is alone
    loop_defer(&c->work);
}

static void test_hold(void **state)
{
    struct loop *l = loop_new("held");
    struct counted c = {0};
    loop_start_thread(l);
    assert_true(loop_thread_id(l) > 0);
    assert_int_not_equal(loop_thread_id(l), thread_host_id());
    loop_work_init(&c.work, l, count_on, &c);
    loop_defer(&c.work);
    unsigned before = 0;
    for (int i = 0; i < 300; i++) {
        loop_hold(l);
        assert_true(loop_is_current(l));
        if (i)
            assert_true(c.n > before + 1); // the loop had a round since it was let go
        before = c.n;
        loop_hold(l);
        loop_release(l);
        struct timespec ts = {.tv_nsec = 20000};
        nanosleep(&ts, NULL);
        assert_int_equal(c.n, before);
        c.n++;
        loop_release(l);
        assert_false(loop_is_current(l));
    }
    loop_hold(l);
    loop_work_cancel(&c.work);
    loop_stop_thread(l); // lets go of it
    loop_hold(l);        // now the caller's own
    loop_release(l);
    assert_true(loop_is_current(l));
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fd_events),
        cmocka_unit_test(test_regular_file_is_ready),
        cmocka_unit_test(test_delete_in_callback),
        cmocka_unit_test(test_work),
        cmocka_unit_test(test_call),
        cmocka_unit_test(test_defer_from_threads),
        cmocka_unit_test(test_timers_in_order),
        cmocka_unit_test(test_timer_cannot_starve),
        cmocka_unit_test(test_stopped_clock),
        cmocka_unit_test(test_timers_across_threads),
        cmocka_unit_test(test_hold),
        cmocka_unit_test(test_quit),
        cmocka_unit_test(test_quit_is_never_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
