// An event loop: file descriptors, timers and deferred work, run by one thread. A machine has a
// main loop (monitors, back ends by default) and may have more (I/O threads). Everything but the
// functions marked "any thread" is called on the loop's own thread.
#pragma once

#include "base/base.h"
#include "base/clock.h"
#include "base/list.h"

struct loop;

// The creator counts as the loop's thread until another runs it. `name` is what host tools show.
struct loop *loop_new(const char *name);
void loop_free(struct loop *l); // stopped; descriptors, timers and work still there are forgotten
void loop_run(struct loop *l);  // until loop_quit; the caller becomes the loop's thread
void loop_run_once(struct loop *l, int timeout_ms); // one round (tests, draining); -1 waits
void loop_quit(struct loop *l);                     // any thread
void loop_start_thread(struct loop *l);             // run it on a thread of its own
void loop_stop_thread(struct loop *l);              // quit and join
bool loop_is_current(const struct loop *l);         // any thread
int loop_thread_id(const struct loop *l);           // the host's number of a started thread
// Holds a loop that has a thread of its own: that thread stands still between two rounds, and the
// caller counts as the loop's thread, until the matching release. Nests; nothing happens to a loop
// that is the caller's already. One thread (the main one) holds loops; with no lock taken that
// their handlers take.
void loop_hold(struct loop *l);
void loop_release(struct loop *l);

// File descriptors. `events` are LOOP_IN | LOOP_OUT; the callback gets those that are ready,
// LOOP_HUP and LOOP_ERR included. With LOOP_EDGE it is told when they become ready, not while they
// are: of an event descriptor nothing then needs to be read.
enum { LOOP_IN = 1, LOOP_OUT = 2, LOOP_HUP = 4, LOOP_ERR = 8, LOOP_EDGE = 16 };
struct loop_fd;
struct loop_fd *loop_fd_add(struct loop *l, int fd, unsigned events,
                            void (*ready)(void *opaque, unsigned events), void *opaque);
void loop_fd_set(struct loop_fd *f, unsigned events);
void loop_fd_del(struct loop_fd *f); // does not close the fd; safe inside its own callback

// Deferred work: `run` is called once on the loop's thread after each loop_defer, however often it
// was deferred in between.
struct loop_work {
    struct loop *loop;
    void (*run)(void *opaque);
    void *opaque;
    struct list link; // owned by the loop
    _Atomic bool queued;
};
// `w` is the caller's and stays where it is while queued.
void loop_work_init(struct loop_work *w, struct loop *l, void (*run)(void *), void *opaque);
void loop_defer(struct loop_work *w); // any thread
void loop_work_cancel(
    struct loop_work *w); // on the loop's thread: it will not run after this returns
// Run a function on the loop's thread and wait for it (any thread; direct when already there).
void loop_call(struct loop *l, void (*fn)(void *), void *arg);

// One-shot timers on a clock (NULL: the host's monotonic clock).
struct loop_timer {
    struct loop *loop;
    struct clock *clock;
    void (*fire)(void *opaque);
    void *opaque;
    int64_t deadline; // INT64_MAX: not armed
    size_t heap_pos;  // owned by the loop
};
void loop_timer_init(struct loop_timer *t, struct loop *l, struct clock *c, void (*fire)(void *),
                     void *opaque);
void loop_timer_set(struct loop_timer *t,
                    int64_t deadline_ns); // any thread; replaces the earlier deadline
void loop_timer_cancel(
    struct loop_timer *t); // any thread; may still be firing unless on the loop's thread
void loop_clock_changed(struct loop *l); // any thread: a clock was started, stopped or set
