// Backup: a copy of a node as it was when the job began. What has not been copied yet is copied
// before a guest's write gets there; the rest at its own pace, several pieces at a time. A bitmap
// may say what to copy; what it says is then as if used up, and comes back where the job fails.

#include "block/copy.h"
#include "block/node/bitmap.h"
#include "block/job/graph.h"
#include "block/job/job.h"
#include "base/bits.h"
#include <errno.h>
#include <stdlib.h>

enum { GRANULE_SHIFT = 16, PIECE = 1 << 20, STATUS_MAX = 1 << 30, HANDS = 8 };

struct backup {
    struct job j;
    struct backup_options o;
    struct dirty_map todo;
    struct flights flights;
    struct gate_guard guard;
    uint64_t *used; // the bitmap's bits when the job began
    uint64_t cursor;
    bool started;
    int guest_error; // of a copy that a guest's write waited for
};

static struct backup *of(struct job *j)
{
    return container_of(j, struct backup, j);
}

// ---- copying ----

static int copy_extent(struct backup *b, char *buf, uint64_t off, uint64_t n, bool zero,
                       bool *reading)
{
    struct iovec iov = {buf, n};
    if (zero)
        return node_write_zeroes(b->o.target, off, n, BLOCK_MAY_UNMAP);
    *reading = true;
    int r = node_read_buf(b->o.source, off, buf, n);
    *reading = r;
    return r
               ?: node_write(b->o.target, off, n, iov_view_of(&iov, 1),
                             b->o.compress ? BLOCK_COMPRESSED : 0);
}

static int copy_granules(struct backup *b, char *buf, uint64_t at, uint64_t n, bool *reading)
{
    uint64_t off = at << b->todo.shift, end = MIN((at + n) << b->todo.shift, b->o.source->size);
    int r = 0;
    while (off < end && !r) {
        struct block_extent x;
        unsigned depth;
        *reading = true;
        r = node_status_above(b->o.source, NULL, off, end - off, &x, &depth);
        if (r)
            break;
        uint64_t bytes = MIN(x.bytes, end - off);
        r = copy_extent(b, buf, off, bytes, x.zero || !x.data, reading);
        off += bytes;
    }
    if (!r)
        job_advance(&b->j, end - (at << b->todo.shift));
    return r;
}

static void *piece_new(const struct backup *b)
{
    void *buf;
    size_t n = MAX((size_t)PIECE, (size_t)1 << b->todo.shift);
    return posix_memalign(&buf, 4096, n) ? NULL : buf;
}

// Takes and copies what is to be copied in the guest's way. Its write waits, and goes on even when
// the copy fails: that ends the job.
static void before_write(void *opaque, uint64_t off, uint64_t bytes)
{
    struct backup *b = opaque;
    struct co_sched *co = engine_co(b->j.eng);
    if (!bytes)
        return;
    uint64_t first = off >> b->todo.shift, end = ((off + bytes - 1) >> b->todo.shift) + 1, at, n;
    uint64_t max = MAX(PIECE >> b->todo.shift, 1);
    while (first < end && dirty_map_take(&b->todo, first, MIN(max, end - first), &at, &n)) {
        struct flight f;
        bool reading;
        if (at >= end) { // beyond the write: not now
            dirty_map_mark(&b->todo, at << b->todo.shift, n << b->todo.shift);
            break;
        }
        void *buf = piece_new(b);
        flight_begin(co, &b->flights, &f, at, n);
        int r = buf ? copy_granules(b, buf, at, n, &reading) : -ENOMEM;
        flight_end(co, &b->flights, &f);
        free(buf);
        if (r) {
            b->guest_error = r;
            dirty_map_mark(&b->todo, at << b->todo.shift, n << b->todo.shift);
            list_remove(&b->guard.link);
            list_init(&b->guard.link);
            co_queue_wake_all(co, &b->j.wake);
            return;
        }
        first = at + n;
    }
    first = off >> b->todo.shift;
    while (flights_wait(co, &b->flights, first, end - first)) {
    }
}

// ---- the job ----

static int copy_next(struct backup *b, char *buf)
{
    uint64_t at, n, max = MAX(PIECE >> b->todo.shift, 1);
    struct co_sched *co = engine_co(b->j.eng);
    struct flight f;
    bool reading = false;
    if (b->guest_error)
        return b->guest_error;
    if (!dirty_map_take(&b->todo, b->cursor, max, &at, &n) &&
        !dirty_map_take(&b->todo, 0, max, &at, &n))
        return 0;
    b->cursor = at + n;
    flight_begin(co, &b->flights, &f, at, n);
    int r = copy_granules(b, buf, at, n, &reading), again = 0;
    if (r) // a guest's write must not pass while this waits for the operator
        dirty_map_mark(&b->todo, at << b->todo.shift, n << b->todo.shift);
    flight_end(co, &b->flights, &f);
    if (r && (again = job_failed(&b->j, reading, r)) < 0)
        return again;
    if (r && !again)
        dirty_map_take(&b->todo, at, n, &at, &n); // left out, as the operator wants it
    return job_pace(&b->j, n << b->todo.shift) ?: 1;
}

static int copy_share(struct job *j)
{
    struct backup *b = of(j);
    char *buf = piece_new(b);
    int r = buf ? 1 : -ENOMEM;
    while (r > 0)
        r = copy_next(b, buf);
    free(buf);
    return r;
}

static int backup_run(struct job *j)
{
    struct backup *b = of(j);
    int r = 0;
    while (!r && !b->o.none && (b->todo.set || !list_empty(&b->flights.list)))
        r = b->todo.set ? job_share(j, MIN((uint64_t)HANDS, b->todo.set), copy_share)
                        : (flights_wait(engine_co(j->eng), &b->flights, 0, b->todo.granules), 0);
    while (!r && b->o.none) {
        r = b->guest_error ?: job_pace(j, 0);
        if (!r)
            job_wait(j);
    }
    return r ?: b->guest_error ?: node_flush(b->o.target);
}

// What the bitmap is to say from now on.
static void settle_bitmap(struct backup *b, bool good)
{
    struct bitmap *m = b->o.bitmap;
    if (!m || !b->used)
        return;
    bool keep = b->o.mode == BACKUP_NEVER || (!good && b->o.mode == BACKUP_ON_SUCCESS);
    if (keep)
        bitmap_add_bits(m, b->used);
    for (uint64_t at = 0, n; !good && b->o.mode == BACKUP_ALWAYS &&
                             dirty_map_take(&b->todo, at, b->todo.granules, &at, &n);
         at += n)
        dirty_map_mark(&m->map, at << b->todo.shift, n << b->todo.shift);
    m->busy = NULL;
    free(b->used);
    b->used = NULL;
}

static int backup_finish(struct job *j, bool good)
{
    struct backup *b = of(j);
    list_remove(&b->guard.link);
    list_init(&b->guard.link);
    while (flights_wait(engine_co(j->eng), &b->flights, 0, b->todo.granules)) {
    }
    settle_bitmap(b, good);
    return 0;
}

static void backup_free(struct job *j)
{
    struct backup *b = of(j);
    list_remove(&b->guard.link);
    settle_bitmap(b, false);
    dirty_map_free(&b->todo);
}

static const struct job_type backup_type = {.name = "backup",
                                            .block = true,
                                            .size = sizeof(struct backup),
                                            .run = backup_run,
                                            .finish = backup_finish,
                                            .free = backup_free};

// ---- making one ----

static int check(struct drives *ds, const struct backup_options *o, struct err *e)
{
    struct block_facts f = {0};
    if (o->source == o->target)
        return err_set(e, "Source and target cannot be the same");
    if (o->target->in.read_only && !o->target->in.auto_read_only)
        return err_set(e, "the target '%s' is read-only", o->target->node_name);
    if (o->target->size != o->source->size)
        return err_set(e, "Source and target image have different sizes");
    if (o->compress && strcmp(o->target->drv->name, "qcow2"))
        return err_set(e, "Compression is not supported for this drive %s", o->target->node_name);
    if (o->bitmap && bitmap_check(o->bitmap, true, e))
        return -1;
    if (o->target->drv->image && o->target->drv->image->facts)
        o->target->drv->image->facts(o->target, &f);
    if (o->compress && f.cluster_size > 1 << GRANULE_SHIFT)
        return err_set(e, "compression needs a target with clusters of at most 64 KiB");
    return graph_join(ds, o->target, o->source, e);
}

struct mark_call {
    struct backup *b;
    int result;
};

// In a coroutine: the granules that this layer alone decides.
static void mark_top(void *arg)
{
    struct mark_call *c = arg;
    struct block_node *n = c->b->o.source;
    for (uint64_t off = 0; off < n->size && !c->result;) {
        struct block_extent x;
        unsigned depth;
        c->result = node_status_above(n, n->backing, off, MIN(n->size - off, (uint64_t)STATUS_MAX),
                                      &x, &depth);
        if (!c->result && x.allocated)
            dirty_map_mark(&c->b->todo, off, x.bytes);
        off += x.bytes;
    }
    if (!c->result)
        c->result = node_set_read_only(c->b->o.target, false, &c->b->j.err) ? -EACCES : 0;
}

static void want_target(void *arg)
{
    struct mark_call *c = arg;
    c->result = node_set_read_only(c->b->o.target, false, &c->b->j.err) ? -EACCES : 0;
}

static int choose_work(struct backup *b, struct err *e)
{
    struct mark_call c = {.b = b};
    bool by_bitmap = b->o.bitmap && !b->o.use_bitmap_as_well;
    if (dirty_map_init(&b->todo, b->o.source->size, GRANULE_SHIFT))
        return err_set(e, "not enough memory");
    engine_run(b->j.eng, b->o.top_only && b->o.source->backing ? mark_top : want_target, &c);
    if (c.result)
        return b->j.err.msg[0] ? err_set(e, "%s", b->j.err.msg)
                               : err_errno(e, -c.result, "cannot begin the backup");
    const struct dirty_map *m = b->o.bitmap ? &b->o.bitmap->map : NULL;
    for (uint64_t g = 0; by_bitmap && g < m->granules; g++)
        if (m->bits[g >> 6] >> (g & 63) & 1)
            dirty_map_mark(&b->todo, g << m->shift, 1ull << m->shift);
    if (!by_bitmap && !(b->o.top_only && b->o.source->backing))
        dirty_map_mark(&b->todo, 0, b->o.source->size);
    b->j.total = b->o.none ? 0 : MIN(b->todo.set << b->todo.shift, b->o.source->size);
    return 0;
}

struct job *job_backup(struct drives *ds, const struct backup_options *o, struct err *e)
{
    if (check(ds, o, e))
        return NULL;
    struct job *j = job_new(ds, &backup_type, &o->job, o->source->node_name, o->source->eng, e);
    if (!j)
        return NULL;
    struct backup *b = of(j);
    b->o = *o;
    flights_init(&b->flights);
    b->guard = (struct gate_guard){.before = before_write, .opaque = b};
    list_init(&b->guard.link);
    list_init(&b->todo.link);
    if (job_add_node(j, o->source, e) || job_add_node(j, o->target, e) || choose_work(b, e)) {
        job_discard(j);
        return NULL;
    }
    if (o->bitmap) {
        b->used = bitmap_take_bits(o->bitmap);
        o->bitmap->busy = j->id;
    }
    gate_guard(o->source, &b->guard);
    return j;
}
