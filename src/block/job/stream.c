// Pulling data up: what a node reads from the layers below (down to a base that stays) is copied
// into the node itself, after which it needs them no more. A guest's write must not be overwritten
// by older data that was read just before it: each piece is held exclusively while it is copied.

#include "block/copy.h"
#include "block/job/graph.h"
#include "block/job/job.h"
#include <errno.h>
#include <stdlib.h>

enum { PIECE = 1 << 20, STATUS_MAX = 1 << 30 };

struct stream {
    struct job j;
    struct block_node *node, *base;
    char *backing_name;
    bool ordered;
    char *buf;
};

static struct stream *of(struct job *j)
{
    return container_of(j, struct stream, j);
}

// How the next bytes from `off` on stand: *copy when a layer between node and base decides them.
static int look(struct stream *s, uint64_t off, uint64_t bytes, struct block_extent *x, bool *copy)
{
    unsigned depth;
    int r = node_status_above(s->node, s->base, off, bytes, x, &depth);
    bool zero = x->zero || !x->data;
    *copy = !r && depth && (x->allocated || !s->base) && (s->base || !zero);
    return r;
}

static int copy_piece(struct stream *s, uint64_t off, uint64_t bytes, bool *reading)
{
    struct gate_range range;
    gate_range_hold(s->node, &range, off, bytes, true);
    int r = 0;
    for (uint64_t end = off + bytes; off < end && !r;) {
        struct block_extent x;
        bool copy;
        *reading = true;
        r = look(s, off, end - off, &x, &copy); // again: a write may have come in between
        uint64_t n = MIN(x.bytes, end - off);
        bool zero = x.zero || !x.data;
        if (!r && copy && !zero)
            r = node_read_buf(s->node, off, s->buf, n);
        *reading = r;
        if (!r && copy)
            r = zero ? node_write_zeroes(s->node, off, n, 0)
                     : node_write_buf(s->node, off, s->buf, n);
        off += n;
    }
    gate_range_drop(s->node, &range);
    return r;
}

static int stream_run(struct job *j)
{
    struct stream *s = of(j);
    if (posix_memalign((void **)&s->buf, 4096, PIECE))
        return -ENOMEM;
    gate_order(s->node);
    s->ordered = true;
    j->total = s->node->size;
    int r = 0;
    while (!r && j->progress < j->total) {
        struct block_extent x;
        bool copy, reading = true;
        uint64_t off = j->progress, left = j->total - off;
        r = look(s, off, MIN(left, (uint64_t)STATUS_MAX), &x, &copy);
        uint64_t n = MIN(x.bytes, copy ? (uint64_t)PIECE : x.bytes);
        if (!r && copy)
            r = copy_piece(s, off, n, &reading);
        int again = r ? job_failed(j, reading, r) : 0;
        r = again < 0 ? again : 0;
        if (!again)
            job_advance(j, n);
        r = r ?: job_pace(j, copy ? n : 0);
    }
    return r ?: node_flush(s->node);
}

static int stream_finish(struct job *j, bool good)
{
    struct stream *s = of(j);
    struct block_node *n = s->node, *base = s->base;
    int r = 0;
    if (s->ordered)
        gate_unorder(n);
    if (!good)
        return 0;
    gate_close(n);
    const char *name = !base ? NULL : s->backing_name ?: base->filename;
    if (n->drv->image->set_backing(n, name, base ? base->drv->name : NULL, &j->err))
        r = -EIO;
    if (!r) {
        struct block_node *old = n->backing;
        n->backing = base ? block_ref(base) : NULL;
        node_unref(old);
    }
    gate_open(n);
    return r;
}

static void stream_free(struct job *j)
{
    free(of(j)->buf);
    free(of(j)->backing_name);
}

static const struct job_type stream_type = {.name = "stream",
                                            .block = true,
                                            .size = sizeof(struct stream),
                                            .run = stream_run,
                                            .finish = stream_finish,
                                            .free = stream_free};

struct job *job_stream(struct drives *ds, const struct stream_options *o, struct err *e)
{
    struct block_node *n = o->node;
    if (n->in.read_only) {
        err_set(e, "node '%s' is read-only", n->node_name);
        return NULL;
    }
    if (!n->backing || (o->base && (o->base == n || !graph_is_below(o->base, n)))) {
        err_set(e, "node '%s' has no %s", n->node_name,
                n->backing ? "such layer below" : "backing file");
        return NULL;
    }
    struct job *j = job_new(ds, &stream_type, &o->job, n->node_name, n->eng, e);
    if (!j)
        return NULL;
    struct stream *s = of(j);
    s->node = n;
    s->base = o->base;
    s->backing_name = o->backing_name ? xstrdup(o->backing_name) : NULL;
    for (; n && n != o->base; n = n->backing) {
        if (job_add_node(j, n, e)) {
            job_discard(j);
            return NULL;
        }
    }
    return j;
}
