// The way of a request: checks at the top (range, read-only, zero detection, accounting), then the
// driver, and between nodes the same calls again without the accounting.

#include "block/node/node.h"
#include "block/node/bitmap.h"
#include "base/bits.h"
#include "base/clock.h"
#include "block/node/throttle.h"
#include <errno.h>
#include <stdlib.h>

enum { ZERO_CHUNK = 1 << 20 };

int node_read(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v)
{
    return bytes ? n->drv->read(n, off, bytes, v) : 0;
}

int node_write(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v,
               uint32_t flags)
{
    if (n->in.read_only)
        return -EPERM;
    int r = bytes ? n->drv->write(n, off, bytes, v, flags) : 0;
    gate_written(n, off, bytes);
    return r;
}

int node_read_buf(struct block_node *n, uint64_t off, void *buf, size_t len)
{
    struct iovec iov = {buf, len};
    return node_read(n, off, len, iov_view_of(&iov, 1));
}

int node_write_buf(struct block_node *n, uint64_t off, const void *buf, size_t len)
{
    struct iovec iov = {(void *)buf, len};
    return node_write(n, off, len, iov_view_of(&iov, 1), 0);
}

static int write_plain_zeroes(struct block_node *n, uint64_t off, uint64_t bytes, uint32_t flags)
{
    size_t chunk = MIN(bytes, (uint64_t)ZERO_CHUNK);
    void *zero;
    if (posix_memalign(&zero, 4096, align_up(chunk, 4096)))
        return -ENOMEM;
    memset(zero, 0, chunk);
    int r = 0;
    while (bytes && !r) {
        struct iovec iov = {zero, MIN(bytes, (uint64_t)chunk)};
        r = node_write(n, off, iov.iov_len, iov_view_of(&iov, 1), flags);
        off += iov.iov_len;
        bytes -= iov.iov_len;
    }
    free(zero);
    return r;
}

int node_write_zeroes(struct block_node *n, uint64_t off, uint64_t bytes, uint32_t flags)
{
    if (n->in.read_only)
        return -EPERM;
    int r = -ENOTSUP;
    if (bytes && n->drv->write_zeroes)
        r = n->drv->write_zeroes(n, off, bytes, flags);
    if (r == -ENOTSUP)
        r = write_plain_zeroes(n, off, bytes, flags);
    gate_written(n, off, bytes);
    return r;
}

int node_discard(struct block_node *n, uint64_t off, uint64_t bytes)
{
    if (n->in.read_only)
        return -EPERM;
    int r = bytes && n->drv->discard ? n->drv->discard(n, off, bytes) : 0;
    gate_written(n, off, bytes);
    return r;
}

int node_flush(struct block_node *n)
{
    return n->drv->flush && !n->in.read_only ? n->drv->flush(n) : 0;
}

int node_status(struct block_node *n, uint64_t off, uint64_t bytes, struct block_extent *x)
{
    *x = (struct block_extent){.bytes = bytes, .data = true, .allocated = true};
    return n->drv->status ? n->drv->status(n, off, bytes, x) : 0;
}

int node_resize(struct block_node *n, uint64_t size, struct err *e)
{
    if (n->in.read_only)
        return err_set(e, "the image is opened read-only");
    if (!n->drv->image || !n->drv->image->resize)
        return err_set(e, "format %s cannot be resized", n->drv->name);
    if (n->drv->image->resize(n, size, e))
        return -1;
    bitmaps_resize(n);
    return 0;
}

// A raw image whose format nobody stated must not become something else by what the guest writes
// to its first sector.
static int check_guessed_raw(struct block_node *n, struct block_req *r)
{
    uint8_t head[512] = {0};
    if (r->op != BLOCK_WRITE || r->offset >= sizeof head)
        return 0;
    size_t len = MIN((uint64_t)sizeof head - r->offset, r->bytes);
    int ret = node_read_buf(n, 0, head, MIN((uint64_t)sizeof head, n->size));
    if (ret)
        return ret;
    iov_copy_out(iov_view_of(r->iov, r->n_iov), head + r->offset, len);
    const struct block_driver *d;
    for (unsigned i = 0; (d = block_driver_at(i)); i++)
        if (d->image && d->image->probe && d->image->probe(head, sizeof head))
            return -EPERM;
    return 0;
}

static int run_write(struct block_node *n, struct block_req *r)
{
    struct iov_view v = iov_view_of(r->iov, r->n_iov);
    if (n->guessed_raw) {
        int ret = check_guessed_raw(n, r);
        if (ret)
            return ret;
    }
    if (n->detect_zeroes != DETECT_OFF && iov_all_zero(v, r->bytes))
        return node_write_zeroes(n, r->offset, r->bytes,
                                 r->flags |
                                     (n->detect_zeroes == DETECT_UNMAP ? BLOCK_MAY_UNMAP : 0));
    return node_write(n, r->offset, r->bytes, v, r->flags);
}

static int run_checked(struct block_node *n, struct block_req *r)
{
    uint64_t end;
    if (r->op != BLOCK_FLUSH &&
        (__builtin_add_overflow(r->offset, r->bytes, &end) || end > n->size))
        return -EINVAL;
    int ret = 0;
    switch (r->op) {
    case BLOCK_READ:
        return node_read(n, r->offset, r->bytes, iov_view_of(r->iov, r->n_iov));
    case BLOCK_FLUSH:
        return node_flush(n);
    case BLOCK_DISCARD:
        if (n->in.read_only)
            return -EPERM;
        return n->in.discard_unmap ? node_discard(n, r->offset, r->bytes) : 0;
    case BLOCK_WRITE:
        ret = run_write(n, r);
        break;
    case BLOCK_WRITE_ZEROES:
        ret = node_write_zeroes(n, r->offset, r->bytes,
                                n->in.discard_unmap ? r->flags : r->flags & ~BLOCK_MAY_UNMAP);
        break;
    }
    if (!ret && (n->writethrough || (r->flags & BLOCK_FUA)))
        ret = node_flush(n);
    return ret;
}

static int run_apart(struct block_node *n, struct block_req *r)
{
    struct gate_range range;
    bool writes = r->op != BLOCK_READ && r->op != BLOCK_FLUSH;
    if (writes)
        gate_before(n, r->offset, r->bytes);
    if (!writes || !n->gate.ordered)
        return run_checked(n, r);
    gate_range_hold(n, &range, r->offset, r->bytes, false);
    int ret = run_checked(n, r);
    gate_range_drop(n, &range);
    return ret;
}

static void request_entry(void *arg)
{
    struct block_req *r = arg;
    struct block_node *n = r->priv[3];
    int64_t start = host_monotonic_ns();
    if (n->throttle)
        throttle_wait(n->throttle, n->eng, r->op, r->bytes);
    n = gate_enter(r);
    int ret = run_apart(n, r);
    gate_leave(n);
    n->stats.ops[r->op]++;
    n->stats.bytes[r->op] += ret ? 0 : r->bytes;
    n->stats.failed[r->op] += ret != 0;
    n->stats.time_ns[r->op] += (uint64_t)(host_monotonic_ns() - start);
    engine_complete(n->eng, r, ret);
    if (!--n->in_flight)
        co_queue_wake_all(node_co(n), &n->idle);
}

void block_submit(struct block_node *n, struct block_req *r)
{
    r->priv[3] = n;
    n->in_flight++;
    co_start(node_co(n), request_entry, r);
    engine_submit(n->eng);
}

void block_plug(struct block_node *n)
{
    engine_plug(n->eng);
}

void block_unplug(struct block_node *n)
{
    engine_unplug(n->eng);
}

void block_drain(struct block_node *n)
{
    do {
        while (n->in_flight)
            engine_poll(n->eng, true);
        engine_deliver(n->eng);
    } while (n->in_flight);
}

void block_get_stats(const struct block_node *n, struct block_stats *s)
{
    *s = n->stats;
}

// The synchronous forms: one descriptor on the caller's stack, run to its end.
struct sync_call {
    struct block_node *n;
    struct block_req req;
    uint64_t size;
    struct err *e;
    int result;
};

static void sync_request(void *arg)
{
    struct sync_call *c = arg;
    c->result = run_checked(c->n, &c->req);
}

static int sync_io(struct block_node *n, enum block_op op, uint64_t off, void *buf, size_t len)
{
    struct iovec iov = {buf, len};
    struct sync_call c = {.n = n,
                          .req = {.op = op, .offset = off, .bytes = len, .iov = &iov, .n_iov = 1}};
    engine_run(n->eng, sync_request, &c);
    return c.result;
}

int block_pread(struct block_node *n, uint64_t off, void *buf, size_t len)
{
    return sync_io(n, BLOCK_READ, off, buf, len);
}

int block_pwrite(struct block_node *n, uint64_t off, const void *buf, size_t len)
{
    return sync_io(n, BLOCK_WRITE, off, (void *)buf, len);
}

int block_flush(struct block_node *n)
{
    return sync_io(n, BLOCK_FLUSH, 0, NULL, 0);
}

static void sync_resize(void *arg)
{
    struct sync_call *c = arg;
    c->result = node_resize(c->n, c->size, c->e);
}

int block_resize(struct block_node *n, uint64_t size, struct err *e)
{
    struct sync_call c = {.n = n, .size = size, .e = e};
    engine_run(n->eng, sync_resize, &c);
    if (c.result)
        return err_prefix(e, "%s", n->filename ?: n->node_name);
    return 0;
}
