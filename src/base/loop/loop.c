// The event loop: descriptors, deferred work, and calls from other threads. One round waits once,
// then fires timers, serves ready descriptors and runs the work deferred before it began; work
// deferred meanwhile waits for the next round, so that nothing starves. Rounds nest (draining).
// Another thread may hold the loop between two rounds and then act as its thread.
#include "base/loop/internal.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct loop_fd {
    struct loop *loop;
    int fd;
    unsigned events;
    bool always; // the OS cannot wait for it: it is always ready
    bool dead;
    void (*ready)(void *opaque, unsigned events);
    void *opaque;
    struct list link;
};

struct loop *loop_new(const char *name)
{
    struct loop *l = xalloc(sizeof *l);
    snprintf(l->name, sizeof l->name, "%s", name);
    l->poll = os_poll_new();
    l->owner = pthread_self();
    l->armed = INT64_MAX;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->called, NULL);
    list_init(&l->fds);
    list_init(&l->dead);
    list_init(&l->works);
    list_init(&l->batch);
    return l;
}

static void free_fds(struct list *fds)
{
    struct loop_fd *f, *next;
    list_for_each_safe(f, next, fds, link)
    {
        list_remove(&f->link);
        free(f);
    }
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    free_fds(&l->fds);
    free_fds(&l->dead);
    loop_timers_free(l);
    os_poll_free(l->poll);
    pthread_cond_destroy(&l->called);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

bool loop_is_current(const struct loop *l)
{
    return pthread_equal(atomic_load(&l->owner), pthread_self());
}

struct loop_fd *loop_fd_add(struct loop *l, int fd, unsigned events,
                            void (*ready)(void *opaque, unsigned events), void *opaque)
{
    struct loop_fd *f = xalloc(sizeof *f);
    *f = (struct loop_fd){.loop = l, .fd = fd, .ready = ready, .opaque = opaque};
    list_append(&l->fds, &f->link);
    loop_fd_set(f, events);
    return f;
}

void loop_fd_set(struct loop_fd *f, unsigned events)
{
    struct loop *l = f->loop;
    if (f->dead || f->events == events)
        return;
    if (f->always && f->events)
        l->n_always--;
    else if (!f->always)
        f->always = !os_poll_set(l->poll, f->fd, f->events, events, f);
    if (f->always && events)
        l->n_always++;
    f->events = events;
}

void loop_fd_del(struct loop_fd *f)
{
    if (!f)
        return;
    loop_fd_set(f, 0);
    f->dead = true;
    list_remove(&f->link);
    if (f->loop->depth)
        list_append(&f->loop->dead, &f->link);
    else
        free(f);
}

// Regular files and the like. A callback may remove any descriptor, so the walk starts afresh
// from a list of its own.
static void serve_always(struct loop *l)
{
    VEC(struct loop_fd *) ready = {0};
    struct loop_fd *f;
    list_for_each(f, &l->fds, link) if (f->always && f->events) vec_push(&ready, f);
    for (size_t i = 0; i < ready.len; i++)
        if (!ready.data[i]->dead && ready.data[i]->events)
            ready.data[i]->ready(ready.data[i]->opaque, ready.data[i]->events);
    vec_free(&ready);
}

void loop_work_init(struct loop_work *w, struct loop *l, void (*run)(void *), void *opaque)
{
    w->loop = l;
    w->run = run;
    w->opaque = opaque;
    w->queued = false;
    list_init(&w->link);
}

void loop_defer(struct loop_work *w)
{
    struct loop *l = w->loop;
    if (atomic_exchange(&w->queued, true))
        return;
    mutex_lock(&l->lock);
    // A cancel may have come between; another thread may have been faster.
    if (w->queued && list_empty(&w->link))
        list_append(&l->works, &w->link);
    bool wake = l->sleeping;
    l->sleeping = false;
    mutex_unlock(&l->lock);
    if (wake)
        os_poll_wake(l->poll);
}

void loop_work_cancel(struct loop_work *w)
{
    mutex_lock(&w->loop->lock);
    w->queued = false;
    list_remove(&w->link);
    mutex_unlock(&w->loop->lock);
}

static void run_works(struct loop *l)
{
    mutex_lock(&l->lock);
    while (!list_empty(&l->works)) {
        struct list *n = l->works.next;
        list_remove(n);
        list_append(&l->batch, n);
    }
    while (!list_empty(&l->batch)) {
        struct loop_work *w = list_entry(l->batch.next, struct loop_work, link);
        list_remove(&w->link);
        atomic_store(&w->queued, false); // from here on a defer queues it again
        mutex_unlock(&l->lock);
        w->run(w->opaque);
        mutex_lock(&l->lock);
    }
    mutex_unlock(&l->lock);
}

struct call {
    struct loop_work work;
    void (*fn)(void *);
    void *arg;
    bool done; // under the loop's lock
};

static void run_call(void *opaque)
{
    struct call *c = opaque;
    struct loop *l = c->work.loop;
    c->fn(c->arg);
    mutex_lock(&l->lock);
    c->done = true; // the caller may return, and its stack frame go, once we let go of the lock
    pthread_cond_broadcast(&l->called);
    mutex_unlock(&l->lock);
}

void loop_call(struct loop *l, void (*fn)(void *), void *arg)
{
    if (loop_is_current(l)) {
        fn(arg);
        return;
    }
    struct call c = {.fn = fn, .arg = arg};
    loop_work_init(&c.work, l, run_call, &c);
    loop_defer(&c.work);
    mutex_lock(&l->lock);
    while (!c.done)
        pthread_cond_wait(&l->called, &l->lock);
    mutex_unlock(&l->lock);
}

// Waits for at most timeout_ms, less when something is due; the OS timer covers the timers.
static int wait(struct loop *l, struct os_event *ev, int max, int timeout_ms)
{
    bool timer;
    mutex_lock(&l->lock);
    int64_t next = loop_timers_next(l);
    if (!list_empty(&l->works) || l->n_always || next <= host_monotonic_ns() || l->wanted ||
        atomic_load(&l->quit))
        timeout_ms = 0;
    if (timeout_ms && next != l->armed) {
        l->armed = next;
        os_poll_arm(l->poll, next);
    }
    l->sleeping = timeout_ms != 0;
    mutex_unlock(&l->lock);
    int n = os_poll_wait(l->poll, ev, max, timeout_ms, &timer);
    mutex_lock(&l->lock);
    l->sleeping = false;
    if (timer)
        l->armed = INT64_MAX;
    mutex_unlock(&l->lock);
    return n;
}

// Lets one holder have the loop, until it lets go. The next one waits for the next round, so that
// a thread that holds again and again cannot starve what the loop serves. What was ready before
// the hold may be gone after: it is asked for again then.
static bool stand_aside(struct loop *l)
{
    mutex_lock(&l->lock);
    bool was = l->wanted;
    if (was) {
        l->still = true;
        pthread_cond_broadcast(&l->called);
        while (l->still)
            pthread_cond_wait(&l->called, &l->lock);
    }
    mutex_unlock(&l->lock);
    return was;
}

void loop_hold(struct loop *l)
{
    if (loop_is_current(l)) {
        l->held += l->held != 0;
        return;
    }
    mutex_lock(&l->lock);
    BUG_ON(l->wanted);
    l->wanted = true;
    bool wake = l->sleeping;
    l->sleeping = false;
    if (wake)
        os_poll_wake(l->poll);
    while (!l->still)
        pthread_cond_wait(&l->called, &l->lock);
    l->held = 1;
    atomic_store(&l->owner, pthread_self());
    mutex_unlock(&l->lock);
}

void loop_release(struct loop *l)
{
    if (!loop_is_current(l) || !l->held || --l->held)
        return;
    mutex_lock(&l->lock);
    atomic_store(&l->owner, l->thread);
    l->wanted = l->still = false;
    pthread_cond_broadcast(&l->called);
    mutex_unlock(&l->lock);
}

void loop_run_once(struct loop *l, int timeout_ms)
{
    struct os_event ev[64];
    int n = wait(l, ev, ARRAY_SIZE(ev), timeout_ms);
    if (!l->depth && stand_aside(l))
        n = 0;
    l->depth++;
    loop_timers_fire(l);
    for (int i = 0; i < n; i++) {
        struct loop_fd *f = ev[i].tag;
        unsigned got = ev[i].events & (f->events | LOOP_HUP | LOOP_ERR);
        if (!f->dead && f->events && got)
            f->ready(f->opaque, got);
    }
    if (l->n_always)
        serve_always(l);
    run_works(l);
    if (!--l->depth)
        free_fds(&l->dead);
}

void loop_run(struct loop *l)
{
    atomic_store(&l->owner, pthread_self());
    while (!atomic_exchange(&l->quit, false))
        loop_run_once(l, -1);
    loop_run_once(l, 0); // what was deferred or called before the quit still runs
}

void loop_quit(struct loop *l)
{
    atomic_store(&l->quit, true);
    mutex_lock(&l->lock);
    bool wake = l->sleeping;
    l->sleeping = false;
    mutex_unlock(&l->lock);
    if (wake)
        os_poll_wake(l->poll);
}

static void thread_main(void *opaque)
{
    struct loop *l = opaque;
    mutex_lock(&l->lock);
    l->thread_id = thread_host_id();
    pthread_cond_broadcast(&l->called);
    mutex_unlock(&l->lock);
    loop_run(l);
}

void loop_start_thread(struct loop *l)
{
    l->thread = thread_start(l->name, thread_main, l);
    mutex_lock(&l->lock);
    while (!l->thread_id)
        pthread_cond_wait(&l->called, &l->lock);
    atomic_store(&l->owner, l->thread);
    mutex_unlock(&l->lock);
}

int loop_thread_id(const struct loop *l)
{
    return l->thread_id;
}

void loop_stop_thread(struct loop *l)
{
    while (loop_is_current(l) && l->held)
        loop_release(l);
    loop_quit(l);
    pthread_join(l->thread, NULL);
    atomic_store(&l->owner, pthread_self());
}
