// The loop's state, shared by loop.c and timer.c alone.
#pragma once

#include "base/loop.h"
#include "base/os/os.h"
#include "base/thread.h"
#include "base/vec.h"

// Timers of one clock: a binary heap by deadline. One heap per clock, so that a change of the clock
// leaves the order as it is.
struct timer_heap {
    struct clock *clock;
    VEC(struct loop_timer *) heap;
};

struct loop {
    char name[16];
    struct os_poll *poll;
    _Atomic pthread_t owner; // the loop's thread; the creator until someone runs it
    pthread_t thread;        // of loop_start_thread
    _Atomic bool quit;
    int thread_id;
    unsigned held; // by the owner: holds that nest

    // The loop's thread only.
    struct list fds;   // struct loop_fd
    struct list dead;  // removed ones, freed when no round is on the stack
    unsigned depth;    // rounds on the stack
    unsigned n_always; // descriptors that are always ready and wanted

    pthread_mutex_t lock; // guards what follows
    pthread_cond_t called;
    struct list works; // deferred
    struct list batch; // being run in this round
    bool sleeping;     // a wake-up is needed
    bool wanted;       // someone holds the loop, or is about to
    bool still;        // its thread stands aside
    VEC(struct timer_heap *) heaps;
    int64_t armed; // what the OS timer is set to
};

// The host time of the earliest timer; INT64_MAX: none. With the lock held.
int64_t loop_timers_next(struct loop *l);
// Fires what is due, each timer at most once. Without the lock.
void loop_timers_fire(struct loop *l);
void loop_timers_free(struct loop *l);
