// The machine's virtual clock: host monotonic time plus an offset while it runs, a constant while
// it stands. Reading is lock-free (a sequence counter), because every guest read of a timer comes
// here.
#include "base/clock.h"
#include "base/thread.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

struct clock {
    pthread_mutex_t lock; // writers
    _Atomic uint32_t seq; // odd while a writer changes the two below
    _Atomic bool running;
    _Atomic int64_t base; // running: virtual minus host time; stopped: virtual time
};

static int64_t read_host(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t host_monotonic_ns(void)
{
    return read_host(CLOCK_MONOTONIC);
}

int64_t host_realtime_ns(void)
{
    return read_host(CLOCK_REALTIME);
}

struct clock *clock_new(void)
{
    struct clock *c = xalloc(sizeof *c);
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void clock_free(struct clock *c)
{
    if (!c)
        return;
    pthread_mutex_destroy(&c->lock);
    free(c);
}

// One consistent (running, base) pair.
static bool snapshot(struct clock *c, int64_t *base)
{
    for (;;) {
        uint32_t before = atomic_load_explicit(&c->seq, memory_order_acquire);
        bool running = atomic_load_explicit(&c->running, memory_order_acquire);
        *base = atomic_load_explicit(&c->base, memory_order_acquire);
        if (!(before & 1) && atomic_load_explicit(&c->seq, memory_order_relaxed) == before)
            return running;
    }
}

// Called with the lock held.
static void publish(struct clock *c, bool running, int64_t base)
{
    uint32_t seq = atomic_load_explicit(&c->seq, memory_order_relaxed);
    atomic_store_explicit(&c->seq, seq + 1, memory_order_relaxed);
    atomic_store_explicit(&c->running, running, memory_order_release);
    atomic_store_explicit(&c->base, base, memory_order_release);
    atomic_store_explicit(&c->seq, seq + 2, memory_order_release);
}

void clock_start(struct clock *c)
{
    mutex_lock(&c->lock);
    if (!c->running)
        publish(c, true, c->base - host_monotonic_ns());
    mutex_unlock(&c->lock);
}

void clock_stop(struct clock *c)
{
    mutex_lock(&c->lock);
    if (c->running)
        publish(c, false, c->base + host_monotonic_ns());
    mutex_unlock(&c->lock);
}

int64_t clock_now(struct clock *c)
{
    int64_t base;
    return snapshot(c, &base) ? base + host_monotonic_ns() : base;
}

void clock_set(struct clock *c, int64_t ns)
{
    mutex_lock(&c->lock);
    BUG_ON(c->running);
    publish(c, false, ns);
    mutex_unlock(&c->lock);
}

int64_t clock_host_deadline(struct clock *c, int64_t ns)
{
    int64_t base, host;
    if (!snapshot(c, &base))
        return INT64_MAX;
    // base is negative or small; a deadline out of range is never reached (or long past).
    if (__builtin_sub_overflow(ns, base, &host))
        return ns > 0 ? INT64_MAX : INT64_MIN;
    return host;
}
