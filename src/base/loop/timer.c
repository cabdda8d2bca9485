// The loop's timers. Setting one from another thread re-arms the OS timer directly when the loop
// sleeps; a loop that is awake arms it itself before it sleeps. Moving a deadline away leaves the
// OS timer alone: one early wake-up is cheaper than a system call per cancel.
#include "base/loop/internal.h"

#include <stdlib.h>

static struct timer_heap *heap_of(struct loop *l, struct clock *c)
{
    for (size_t i = 0; i < l->heaps.len; i++)
        if (l->heaps.data[i]->clock == c)
            return l->heaps.data[i];
    struct timer_heap *h = xalloc(sizeof *h);
    h->clock = c;
    vec_push(&l->heaps, h);
    return h;
}

static int64_t host_deadline(const struct timer_heap *h)
{
    int64_t d = h->heap.data[0]->deadline;
    return h->clock ? clock_host_deadline(h->clock, d) : d;
}

static void put(struct timer_heap *h, size_t i, struct loop_timer *t)
{
    h->heap.data[i] = t;
    t->heap_pos = i;
}

static void sift_up(struct timer_heap *h, size_t i)
{
    struct loop_timer *t = h->heap.data[i];
    for (; i && h->heap.data[(i - 1) / 2]->deadline > t->deadline; i = (i - 1) / 2)
        put(h, i, h->heap.data[(i - 1) / 2]);
    put(h, i, t);
}

static void sift_down(struct timer_heap *h, size_t i)
{
    struct loop_timer *t = h->heap.data[i];
    for (;;) {
        size_t kid = 2 * i + 1;
        if (kid >= h->heap.len)
            break;
        if (kid + 1 < h->heap.len && h->heap.data[kid + 1]->deadline < h->heap.data[kid]->deadline)
            kid++;
        if (h->heap.data[kid]->deadline >= t->deadline)
            break;
        put(h, i, h->heap.data[kid]);
        i = kid;
    }
    put(h, i, t);
}

// Takes an armed timer out.
static void disarm(struct timer_heap *h, struct loop_timer *t)
{
    size_t i = t->heap_pos;
    BUG_ON(i >= h->heap.len || h->heap.data[i] != t);
    struct loop_timer *last = h->heap.data[--h->heap.len];
    t->deadline = INT64_MAX;
    if (last == t)
        return;
    put(h, i, last);
    sift_up(h, i);
    sift_down(h, last->heap_pos);
}

int64_t loop_timers_next(struct loop *l)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < l->heaps.len; i++)
        if (l->heaps.data[i]->heap.len)
            next = MIN(next, host_deadline(l->heaps.data[i]));
    return next;
}

// With the lock held: a loop that sleeps must wake for a deadline that came nearer.
static void hasten(struct loop *l)
{
    if (!l->sleeping)
        return;
    int64_t next = loop_timers_next(l);
    if (next < l->armed) {
        l->armed = next;
        os_poll_arm(l->poll, next);
    }
}

void loop_timer_init(struct loop_timer *t, struct loop *l, struct clock *c, void (*fire)(void *),
                     void *opaque)
{
    *t = (struct loop_timer){
        .loop = l, .clock = c, .fire = fire, .opaque = opaque, .deadline = INT64_MAX};
}

void loop_timer_set(struct loop_timer *t, int64_t deadline_ns)
{
    struct loop *l = t->loop;
    mutex_lock(&l->lock);
    struct timer_heap *h = heap_of(l, t->clock);
    if (t->deadline != INT64_MAX)
        disarm(h, t);
    if (deadline_ns != INT64_MAX) {
        t->deadline = deadline_ns;
        vec_push(&h->heap, t);
        sift_up(h, h->heap.len - 1);
        hasten(l);
    }
    mutex_unlock(&l->lock);
}

void loop_timer_cancel(struct loop_timer *t)
{
    loop_timer_set(t, INT64_MAX);
}

void loop_clock_changed(struct loop *l)
{
    mutex_lock(&l->lock);
    hasten(l);
    mutex_unlock(&l->lock);
}

void loop_timers_fire(struct loop *l)
{
    mutex_lock(&l->lock);
    for (size_t i = 0; i < l->heaps.len; i++) {
        struct timer_heap *h = l->heaps.data[i];
        // A timer that sets itself anew in the past waits for the next round.
        for (size_t bound = h->heap.len; bound && h->heap.len; bound--) {
            if (host_deadline(h) > host_monotonic_ns())
                break;
            struct loop_timer *t = h->heap.data[0];
            disarm(h, t);
            mutex_unlock(&l->lock);
            t->fire(t->opaque);
            mutex_lock(&l->lock);
        }
    }
    mutex_unlock(&l->lock);
}

void loop_timers_free(struct loop *l)
{
    for (size_t i = 0; i < l->heaps.len; i++) {
        vec_free(&l->heaps.data[i]->heap);
        free(l->heaps.data[i]);
    }
    vec_free(&l->heaps);
}
