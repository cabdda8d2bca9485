// Host I/O for coroutines. Operations are collected in an io_uring submission queue and handed over
// once per batch; the ring's own file descriptor tells the event loop of completions. Where
// io_uring is missing (old kernel, seccomp, aio=threads) each operation is a job of the thread
// pool. Completions of guest requests are delivered from the loop only, never from within a submit
// or a synchronous call (safety rule R5).

#include "block/io/engine.h"
#include "block/block.h"
#include "block/io/pool.h"
#include "base/clock.h"
#include "base/thread.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef HAVE_URING
#include <liburing.h>
#endif

enum { RING_ENTRIES = 256 };

struct sleeper {
    struct list link;
    struct co *co;
    int64_t deadline;
};

struct engine {
    unsigned refs;
    struct loop *loop;
    struct co_sched *co;
    struct pool *pool;
    unsigned pool_jobs, plugged;
    struct loop_fd *pool_watch;
    struct loop_work kick;
    struct loop_timer alarm;
    struct list completed; // struct block_req by its priv
    struct list sleepers;
    bool in_event; // deliveries follow anyway
    enum { RING_UNKNOWN, RING_OFF, RING_ON } ring_state;
#ifdef HAVE_URING
    struct io_uring ring;
    unsigned ring_queued, ring_flying;
    struct loop_fd *ring_watch;
#endif
};

// What the layer keeps in a request's priv after its coroutine ended.
struct req_done {
    struct list link;
    int64_t result;
};
_Static_assert(sizeof(struct req_done) <= sizeof((struct block_req *)0)->priv, "priv is too small");

static struct req_done *req_done(struct block_req *r)
{
    return (struct req_done *)r->priv;
}

static void on_event(void *opaque)
{
    struct engine *e = opaque;
    engine_ref(e);
    e->in_event = true;
    engine_poll(e, false);
    e->in_event = false;
    engine_deliver(e);
    engine_unref(e);
}

static void on_fd(void *opaque, unsigned events)
{
    on_event(opaque);
}

static void watch_pool(struct engine *e)
{
    if (e->loop && e->pool && !e->pool_watch)
        e->pool_watch = loop_fd_add(e->loop, pool_fd(e->pool), LOOP_IN, on_fd, e);
}

static void watch_ring(struct engine *e)
{
#ifdef HAVE_URING
    if (e->loop && e->ring_state == RING_ON && !e->ring_watch)
        e->ring_watch = loop_fd_add(e->loop, e->ring.ring_fd, LOOP_IN, on_fd, e);
#endif
}

static void unwatch(struct engine *e)
{
    if (!e->loop)
        return;
    loop_work_cancel(&e->kick);
    loop_timer_cancel(&e->alarm);
    if (e->pool_watch)
        loop_fd_del(e->pool_watch);
    e->pool_watch = NULL;
#ifdef HAVE_URING
    if (e->ring_watch)
        loop_fd_del(e->ring_watch);
    e->ring_watch = NULL;
#endif
}

static void watch(struct engine *e)
{
    if (!e->loop)
        return;
    loop_work_init(&e->kick, e->loop, on_event, e);
    loop_timer_init(&e->alarm, e->loop, NULL, on_event, e);
    watch_pool(e);
    watch_ring(e);
}

struct engine *engine_new(struct loop *loop)
{
    struct engine *e = xalloc(sizeof *e);
    e->refs = 1;
    e->loop = loop;
    e->co = co_sched_new();
    list_init(&e->completed);
    list_init(&e->sleepers);
    watch(e);
    return e;
}

struct engine *engine_ref(struct engine *e)
{
    e->refs++;
    return e;
}

void engine_unref(struct engine *e)
{
    if (--e->refs)
        return;
    unwatch(e);
    if (e->pool)
        pool_free(e->pool);
#ifdef HAVE_URING
    if (e->ring_state == RING_ON)
        io_uring_queue_exit(&e->ring);
#endif
    co_sched_free(e->co);
    free(e);
}

void engine_set_loop(struct engine *e, struct loop *loop)
{
    if (e->loop == loop)
        return;
    unwatch(e);
    e->loop = loop;
    watch(e);
}

struct loop *engine_loop(const struct engine *e)
{
    return e->loop;
}

void engine_hold(struct engine *e)
{
    if (e->loop)
        loop_hold(e->loop);
}

void engine_release(struct engine *e)
{
    if (e->loop)
        loop_release(e->loop);
}

struct co_sched *engine_co(struct engine *e)
{
    return e->co;
}

bool engine_has_uring(struct engine *e)
{
    if (e->ring_state == RING_UNKNOWN) {
        e->ring_state = RING_OFF;
#ifdef HAVE_URING
        if (!io_uring_queue_init(RING_ENTRIES, &e->ring, 0)) {
            fcntl(e->ring.ring_fd, F_SETFD, FD_CLOEXEC);
            e->ring_state = RING_ON;
            watch_ring(e);
        }
#endif
    }
    return e->ring_state == RING_ON;
}

// One host operation, on its coroutine's stack.
struct host_op {
    enum { OP_READ, OP_WRITE, OP_SYNC, OP_FALLOCATE } kind;
    int fd, mode;
    const struct iovec *iov;
    unsigned n;
    uint64_t off, len;
    bool fua;
    struct co *co;
    int result;
};

static void op_run(void *arg)
{
    struct host_op *op = arg;
    ssize_t r = 0;
    do {
        switch (op->kind) {
        case OP_READ:
            r = preadv(op->fd, op->iov, (int)op->n, (off_t)op->off);
            break;
        case OP_WRITE:
            r = pwritev2(op->fd, op->iov, (int)op->n, (off_t)op->off, op->fua ? RWF_DSYNC : 0);
            break;
        case OP_SYNC:
            r = fdatasync(op->fd);
            break;
        case OP_FALLOCATE:
            r = fallocate(op->fd, op->mode, (off_t)op->off, (off_t)op->len);
            break;
        }
    } while (r < 0 && errno == EINTR);
    op->result = r < 0 ? -errno : (int)r;
}

#ifdef HAVE_URING
static void ring_submit(struct engine *e)
{
    while (e->ring_queued) {
        int r = io_uring_submit(&e->ring);
        if (r <= 0)
            break; // the kernel is short of memory or its queue full: again at the next round
        e->ring_queued -= MIN(e->ring_queued, (unsigned)r);
        e->ring_flying += (unsigned)r;
    }
}

static void ring_queue(struct engine *e, struct host_op *op)
{
    struct io_uring_sqe *sqe;
    while (!(sqe = io_uring_get_sqe(&e->ring)))
        ring_submit(e);
    switch (op->kind) {
    case OP_READ:
        io_uring_prep_readv(sqe, op->fd, op->iov, op->n, op->off);
        break;
    case OP_WRITE:
        io_uring_prep_writev2(sqe, op->fd, op->iov, op->n, op->off, op->fua ? RWF_DSYNC : 0);
        break;
    case OP_SYNC:
        io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
        break;
    case OP_FALLOCATE:
        io_uring_prep_fallocate(sqe, op->fd, op->mode, op->off, op->len);
        break;
    }
    io_uring_sqe_set_data(sqe, op);
    e->ring_queued++;
}

static bool ring_reap(struct engine *e)
{
    bool any = false;
    struct io_uring_cqe *cqe;
    while (e->ring_flying && !io_uring_peek_cqe(&e->ring, &cqe)) {
        struct host_op *op = io_uring_cqe_get_data(cqe);
        op->result = cqe->res;
        io_uring_cqe_seen(&e->ring, cqe);
        e->ring_flying--;
        co_wake(e->co, op->co);
        any = true;
    }
    return any;
}
#endif

void engine_offload(struct engine *e, void (*fn)(void *), void *arg)
{
    if (!e->pool) {
        e->pool = pool_new();
        watch_pool(e);
    }
    struct pool_job j = {.run = fn, .arg = arg, .owner = co_self(e->co)};
    list_init(&j.link);
    e->pool_jobs++;
    pool_submit(e->pool, &j);
    co_yield (e->co);
}

static int op_wait(struct engine *e, bool threads, struct host_op *op)
{
    do {
#ifdef HAVE_URING
        if (!threads && engine_has_uring(e)) {
            op->co = co_self(e->co);
            ring_queue(e, op);
            co_yield (e->co);
            continue;
        }
#endif
        engine_offload(e, op_run, op);
    } while (op->result == -EINTR || op->result == -EAGAIN);
    return op->result;
}

int engine_preadv(struct engine *e, bool threads, int fd, const struct iovec *iov, unsigned n,
                  uint64_t off)
{
    struct host_op op = {.kind = OP_READ, .fd = fd, .iov = iov, .n = n, .off = off};
    return op_wait(e, threads, &op);
}

int engine_pwritev(struct engine *e, bool threads, int fd, const struct iovec *iov, unsigned n,
                   uint64_t off, bool fua)
{
    struct host_op op = {.kind = OP_WRITE, .fd = fd, .iov = iov, .n = n, .off = off, .fua = fua};
    return op_wait(e, threads, &op);
}

int engine_fdatasync(struct engine *e, bool threads, int fd)
{
    struct host_op op = {.kind = OP_SYNC, .fd = fd};
    return op_wait(e, threads, &op);
}

int engine_fallocate(struct engine *e, bool threads, int fd, int mode, uint64_t off, uint64_t len)
{
    struct host_op op = {.kind = OP_FALLOCATE, .fd = fd, .mode = mode, .off = off, .len = len};
    return op_wait(e, threads, &op);
}

static int64_t next_alarm(struct engine *e)
{
    int64_t first = INT64_MAX;
    struct sleeper *s;
    list_for_each(s, &e->sleepers, link) first = MIN(first, s->deadline);
    return first;
}

void engine_sleep_until(struct engine *e, int64_t monotonic_ns)
{
    struct sleeper s = {.co = co_self(e->co), .deadline = monotonic_ns};
    list_append(&e->sleepers, &s.link);
    if (e->loop)
        loop_timer_set(&e->alarm, next_alarm(e));
    co_yield (e->co);
}

static bool wake_sleepers(struct engine *e)
{
    if (list_empty(&e->sleepers))
        return false;
    bool any = false;
    int64_t now = host_monotonic_ns();
    struct sleeper *s, *tmp;
    list_for_each_safe(s, tmp, &e->sleepers, link)
    {
        if (s->deadline > now)
            continue;
        list_remove(&s->link);
        co_wake(e->co, s->co);
        any = true;
    }
    if (e->loop && !list_empty(&e->sleepers))
        loop_timer_set(&e->alarm, next_alarm(e));
    return any;
}

static bool reap(struct engine *e)
{
    bool any = wake_sleepers(e);
    if (e->pool_jobs) {
        struct pool_job *j;
        while ((j = pool_reap(e->pool))) {
            e->pool_jobs--;
            co_wake(e->co, j->owner);
            any = true;
        }
    }
#ifdef HAVE_URING
    any |= ring_reap(e);
#endif
    return any;
}

// Blocks until a completion may be there.
static void wait_host(struct engine *e)
{
    struct pollfd fds[2];
    nfds_t n = 0;
#ifdef HAVE_URING
    if (e->ring_queued && !e->ring_flying) {
        usleep(100); // the kernel refused to take more just now
        return;
    }
    if (e->ring_flying && !e->pool_jobs && list_empty(&e->sleepers)) {
        struct io_uring_cqe *cqe;
        io_uring_wait_cqe(&e->ring, &cqe);
        return;
    }
    if (e->ring_flying)
        fds[n++] = (struct pollfd){.fd = e->ring.ring_fd, .events = POLLIN};
#endif
    if (e->pool_jobs)
        fds[n++] = (struct pollfd){.fd = pool_fd(e->pool), .events = POLLIN};
    int64_t alarm = next_alarm(e);
    BUG_ON(!n && alarm == INT64_MAX); // nobody would ever wake us
    int ms = -1;
    if (alarm != INT64_MAX)
        ms = (int)MIN((uint64_t)MAX(alarm - host_monotonic_ns(), 0) / 1000000 + 1, 60000u);
    poll(fds, n, ms);
}

void engine_submit(struct engine *e)
{
#ifdef HAVE_URING
    if (!e->plugged && e->ring_queued)
        ring_submit(e);
#endif
}

void engine_poll(struct engine *e, bool wait)
{
    unsigned plugged = e->plugged;
    e->plugged = 0; // a synchronous wait inside a batch must not wait for its own submission
    bool any = co_run_ready(e->co);
    for (;;) {
        engine_submit(e);
        if (reap(e) | co_run_ready(e->co)) {
            any = true;
            continue;
        }
        if (any || !wait)
            break;
        wait_host(e);
    }
    e->plugged = plugged;
}

void engine_plug(struct engine *e)
{
    e->plugged++;
}

void engine_unplug(struct engine *e)
{
    BUG_ON(!e->plugged);
    e->plugged--;
    engine_submit(e);
}

struct run {
    void (*fn)(void *);
    void *arg;
    bool done;
};

static void run_entry(void *arg)
{
    struct run *r = arg;
    r->fn(r->arg);
    r->done = true;
}

void engine_run(struct engine *e, void (*fn)(void *), void *arg)
{
    if (co_inside(e->co)) {
        fn(arg);
        return;
    }
    struct run r = {.fn = fn, .arg = arg};
    co_start(e->co, run_entry, &r);
    while (!r.done)
        engine_poll(e, true);
}

void engine_kick(struct engine *e)
{
    if (e->loop && !e->in_event)
        loop_defer(&e->kick);
}

void engine_complete(struct engine *e, struct block_req *r, int result)
{
    struct req_done *d = req_done(r);
    d->result = result;
    list_append(&e->completed, &d->link);
    engine_kick(e);
}

void engine_deliver(struct engine *e)
{
    while (!list_empty(&e->completed)) {
        struct req_done *d = list_entry(e->completed.next, struct req_done, link);
        list_remove(&d->link);
        struct block_req *r = container_of((void *)d, struct block_req, priv);
        r->done(r, (int)d->result);
    }
}
