// The copier: workers take the next piece that has something to copy, read it, and write what is
// not zero. Holes are found from the mapping first, from the data second.

#include "block/copy.h"
#include <errno.h>
#include <stdlib.h>

enum { WORKERS_DEFAULT = 8, CHUNK_DEFAULT = 1 << 20, ZERO_MAX = 1 << 30 };

struct run {
    struct block_copy *c;
    struct engine *eng;
    uint64_t next, done; // relative to the start
    unsigned live;
    int result;
    struct co_mutex pick;
    struct co_queue finished;
};

int node_status_above(struct block_node *n, struct block_node *base, uint64_t off, uint64_t bytes,
                      struct block_extent *x, unsigned *depth)
{
    *depth = 0;
    for (struct block_node *layer = n; layer && layer != base; layer = layer->backing, ++*depth) {
        if (off >= layer->size) { // beyond a short backing file: zeros
            *x = (struct block_extent){.bytes = bytes, .zero = true, .allocated = true};
            return 0;
        }
        uint64_t len = MIN(bytes, layer->size - off);
        int r = node_status(layer, off, len, x);
        if (r || x->allocated || !layer->backing)
            return r;
        bytes = x->bytes;
    }
    *x = (struct block_extent){.bytes = bytes};
    return 0;
}

// The next piece to copy: its start and length, or 0 at the end. Holes are dealt with on the way.
static uint64_t next_piece(struct run *k, uint64_t *at)
{
    struct block_copy *c = k->c;
    while (!k->result && k->next < c->bytes) {
        struct block_extent x;
        unsigned depth;
        uint64_t off = k->next, left = c->bytes - off;
        int r = node_status_above(c->src, c->base, c->src_offset + off,
                                  MIN(left, (uint64_t)ZERO_MAX), &x, &depth);
        if (r && !c->salvage) {
            k->result = r;
            return 0;
        }
        if (r)
            x = (struct block_extent){.bytes = MIN(left, c->chunk), .data = true};
        bool skip = c->allocated_only && !x.allocated;
        bool zero = x.zero || (!x.data && !x.allocated);
        if (!skip && (!zero || (!c->sparse && c->dst_reads_zero))) {
            // Pieces begin where compressed clusters do.
            *at = off;
            uint64_t len = c->compress ? MIN(left, c->chunk)
                                       : MIN(x.bytes, c->chunk - (c->dst_offset + off) % c->chunk);
            k->next = off + len;
            return len;
        }
        uint64_t len = x.bytes;
        if (c->compress && off + len < c->bytes) {
            len = len / c->chunk * c->chunk;
            if (!len) { // the hole ends inside a cluster
                *at = off;
                k->next = off + MIN(left, c->chunk);
                return k->next - off;
            }
        }
        if (!skip && !c->dst_reads_zero)
            r = node_write_zeroes(c->dst, c->dst_offset + off, len, BLOCK_MAY_UNMAP);
        if (r && !skip) {
            k->result = r;
            return 0;
        }
        k->next = off + len;
        k->done += len;
    }
    return 0;
}

static int write_run(struct run *k, uint64_t at, char *data, uint64_t len, bool zero)
{
    struct block_copy *c = k->c;
    if (zero && c->dst_reads_zero)
        return 0;
    if (zero)
        return node_write_zeroes(c->dst, c->dst_offset + at, len, BLOCK_MAY_UNMAP);
    struct iovec iov = {data, len};
    return node_write(c->dst, c->dst_offset + at, len, iov_view_of(&iov, 1),
                      c->compress ? BLOCK_COMPRESSED : 0);
}

// Writes the piece without its zeros.
static int write_piece(struct run *k, uint64_t at, char *data, uint64_t len)
{
    struct block_copy *c = k->c;
    uint64_t step = c->compress ? c->chunk : c->sparse;
    if (!step)
        return write_run(k, at, data, len, false);
    for (uint64_t i = 0; i < len;) {
        uint64_t n = MIN(step - (c->dst_offset + at + i) % step, len - i);
        bool zero = buffer_all_zero(data + i, n);
        uint64_t end = i + n;
        while (end < len && !c->compress &&
               buffer_all_zero(data + end, MIN(step, len - end)) == zero)
            end += MIN(step, len - end);
        int r = write_run(k, at + i, data + i, end - i, zero);
        if (r)
            return r;
        i = end;
    }
    return 0;
}

static int copy_piece(struct run *k, uint64_t at, char *data, uint64_t len)
{
    struct block_copy *c = k->c;
    int r = node_read_buf(c->src, c->src_offset + at, data, len);
    if (r && c->salvage) {
        memset(data, 0, len);
        r = 0;
    }
    return r ?: write_piece(k, at, data, len);
}

static void worker(void *arg)
{
    struct run *k = arg;
    struct co_sched *co = engine_co(k->eng);
    void *data = NULL;
    if (posix_memalign(&data, 4096, k->c->chunk))
        k->result = -ENOMEM;
    while (data) {
        uint64_t at = 0;
        co_mutex_lock(co, &k->pick);
        uint64_t len = next_piece(k, &at);
        co_mutex_unlock(co, &k->pick);
        if (!len)
            break;
        int r = copy_piece(k, at, data, len);
        k->done += len;
        if (r && !k->result)
            k->result = r;
        if (k->c->progress && !k->result && !k->c->progress(k->c->opaque, k->done))
            k->result = -ECANCELED;
    }
    free(data);
    if (!--k->live)
        co_queue_wake_all(co, &k->finished);
}

int block_copy_run(struct block_copy *c)
{
    struct run k = {.c = c, .eng = c->src->eng};
    co_mutex_init(&k.pick);
    co_queue_init(&k.finished);
    c->workers = c->workers ?: WORKERS_DEFAULT;
    c->chunk = c->chunk ?: CHUNK_DEFAULT;
    k.live = c->workers;
    for (unsigned i = 0; i < c->workers; i++)
        co_start(engine_co(k.eng), worker, &k);
    while (k.live)
        co_queue_wait(engine_co(k.eng), &k.finished);
    return k.result;
}

struct call {
    struct block_copy *c;
    int result;
};

static void call_entry(void *arg)
{
    struct call *call = arg;
    call->result = block_copy_run(call->c);
}

int block_copy(struct block_copy *c)
{
    struct call call = {.c = c};
    engine_run(c->src->eng, call_entry, &call);
    return call.result;
}
