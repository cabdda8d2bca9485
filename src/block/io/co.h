// Coroutines for the block layer: a request that reads like straight-line code and gives way while
// the host works. Each has a stack of its own; exactly one runs at a time per engine, on the
// engine's thread, so what they share needs no locks except across a co_yield. Private to
// src/block.
#pragma once

#include "base/list.h"

struct co;
struct co_sched; // one per engine: the running coroutine, the ready queue, spare stacks

struct co_sched *co_sched_new(void);
void co_sched_free(struct co_sched *s); // no coroutine may be left
// Starts fn(arg) at once; returns when it first yields or ends.
void co_start(struct co_sched *s, void (*fn)(void *), void *arg);
bool co_inside(const struct co_sched *s); // is a coroutine running?
struct co *co_self(struct co_sched *s);
void co_yield (struct co_sched *s);              // until somebody wakes it
void co_wake(struct co_sched *s, struct co *co); // puts it on the ready queue
bool co_run_ready(struct co_sched *s);           // runs what is ready; was there anything?
bool co_any_ready(const struct co_sched *s);

// Where coroutines wait for a condition; FIFO.
struct co_queue {
    struct list waiters;
};
void co_queue_init(struct co_queue *q);
void co_queue_wait(struct co_sched *s, struct co_queue *q); // in a coroutine; look again after it
void co_queue_wake_all(struct co_sched *s, struct co_queue *q);
bool co_queue_wake_one(struct co_sched *s, struct co_queue *q); // was there one?

// May be held across a co_yield.
struct co_mutex {
    bool locked;
    struct co_queue q;
};
void co_mutex_init(struct co_mutex *m);
void co_mutex_lock(struct co_sched *s, struct co_mutex *m);
void co_mutex_unlock(struct co_sched *s, struct co_mutex *m);

// Many readers or one writer; a waiting writer holds back new readers.
struct co_rwlock {
    unsigned readers, writers_waiting;
    bool writer;
    struct co_queue q;
};
void co_rwlock_init(struct co_rwlock *l);
void co_rwlock_read(struct co_sched *s, struct co_rwlock *l);
void co_rwlock_write(struct co_sched *s, struct co_rwlock *l);
void co_rwlock_unlock(struct co_sched *s, struct co_rwlock *l);
