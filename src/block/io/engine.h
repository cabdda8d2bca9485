// The engine under a graph of block nodes: it owns the coroutines and does the host's work for them
// (io_uring, or a pool of threads), on the thread of one event loop. Private to src/block.
#pragma once

#include "base/loop.h"
#include "block/io/co.h"
#include <sys/uio.h>

struct block_req;
struct engine;

struct engine *engine_new(struct loop *loop); // loop may be NULL: synchronous use only
struct engine *engine_ref(struct engine *e);
void engine_unref(struct engine *e); // at the last one nothing may be in flight
void engine_set_loop(struct engine *e, struct loop *loop); // nothing in flight
// loop_hold and loop_release of its loop. An engine on another thread's loop is used while held.
void engine_hold(struct engine *e);
void engine_release(struct engine *e);
struct loop *engine_loop(const struct engine *e); // or NULL
struct co_sched *engine_co(struct engine *e);
bool engine_has_uring(struct engine *e); // makes the ring at the first call

// In a coroutine: wait for one host operation. `threads` avoids the ring. Bytes done, or -errno.
int engine_preadv(struct engine *e, bool threads, int fd, const struct iovec *iov, unsigned n,
                  uint64_t off);
int engine_pwritev(struct engine *e, bool threads, int fd, const struct iovec *iov, unsigned n,
                   uint64_t off, bool fua);
int engine_fdatasync(struct engine *e, bool threads, int fd);
int engine_fallocate(struct engine *e, bool threads, int fd, int mode, uint64_t off, uint64_t len);
// Runs fn(arg) on a worker thread.
void engine_offload(struct engine *e, void (*fn)(void *), void *arg);
void engine_sleep_until(struct engine *e, int64_t monotonic_ns);

// Runs fn(arg) in a coroutine and waits for its end; direct when already in one.
void engine_run(struct engine *e, void (*fn)(void *), void *arg);
// One round outside coroutines: submit, collect, resume. `wait` blocks until something happened.
void engine_poll(struct engine *e, bool wait);
void engine_plug(struct engine *e);
void engine_unplug(struct engine *e);
void engine_submit(struct engine *e); // hands collected operations to the host unless plugged
void engine_kick(struct engine *e);   // a round soon, from the loop
// Queues a finished guest request; its done() runs from the loop or engine_deliver.
void engine_complete(struct engine *e, struct block_req *r, int result);
void engine_deliver(struct engine *e);
