// Copying a node's content to another while the guest writes, several pieces at a time: mirror, and
// commit, whose target is a layer below. A map of what is not copied yet, which writes add to; once
// it is empty the job is ready and keeps it so, until it is told to change over. What remains then
// is copied with the guest's requests held off. A commit from below the top has no writes to follow
// and ends alone.

#include "base/bits.h"
#include "block/copy.h"
#include "block/job/graph.h"
#include "block/job/job.h"
#include <errno.h>
#include <stdlib.h>

enum { GRANULE_SHIFT = 16, PIECE = 1 << 20, STATUS_MAX = 1 << 30, HANDS = 8 };

struct mirror {
    struct job j;
    struct block_node *source, *target, *base, *replaces;
    bool commit, none, top_only, active;
    bool target_was_read_only;
    char *backing_name;
    struct dirty_map dirty;
    uint64_t cursor; // granule after the last one taken
    struct flights flights;
};

static struct mirror *of(struct job *j)
{
    return container_of(j, struct mirror, j);
}

// ---- what there is to copy ----

static int mark_existing(struct mirror *m)
{
    uint64_t size = m->source->size;
    struct block_node *base = m->base ?: m->top_only ? m->source->backing : NULL;
    for (uint64_t off = 0; off < size && !m->none;) {
        struct block_extent x = {.bytes = size - off, .allocated = true};
        unsigned depth;
        int r = 0;
        if (base)
            r = node_status_above(m->source, base, off, MIN(size - off, (uint64_t)STATUS_MAX), &x,
                                  &depth);
        if (!r)
            r = job_pace(&m->j, 0);
        if (r)
            return r;
        if (x.allocated)
            dirty_map_mark(&m->dirty, off, x.bytes);
        off += x.bytes;
    }
    return 0;
}

static void count_work(struct mirror *m)
{
    m->j.total = m->j.progress + MIN(m->dirty.set << m->dirty.shift, m->source->size);
}

// ---- copying ----

static int copy_extent(struct mirror *m, char *buf, uint64_t off, uint64_t bytes,
                       const struct block_extent *x, bool *reading)
{
    if (m->base && !x->allocated)
        return 0; // what is below the base needs no copy
    if (x->zero || (!x->data && !x->allocated))
        return node_write_zeroes(m->target, off, bytes, BLOCK_MAY_UNMAP);
    *reading = true;
    int r = node_read_buf(m->source, off, buf, bytes);
    *reading = false;
    return r ?: node_write_buf(m->target, off, buf, bytes);
}

static int copy_range(struct mirror *m, char *buf, uint64_t off, uint64_t end, bool *reading)
{
    int r = 0;
    while (off < end && !r) {
        struct block_extent x;
        unsigned depth;
        *reading = true;
        r = node_status_above(m->source, m->base, off, end - off, &x, &depth);
        *reading = false;
        if (r)
            break;
        uint64_t bytes = MIN(x.bytes, end - off);
        r = copy_extent(m, buf, off, bytes, &x, reading);
        off += bytes;
    }
    return r;
}

// Copies the next dirty piece. 1: there was one; 0: all is clean; else -errno.
static int copy_next(struct mirror *m, char *buf, bool pace)
{
    struct co_sched *co = engine_co(m->j.eng);
    struct flight f;
    uint64_t at, n, max = MAX(PIECE >> m->dirty.shift, 1);
    bool reading = false;
    if (!m->dirty.set)
        return 0;
    if (!dirty_map_take(&m->dirty, m->cursor, max, &at, &n) &&
        !dirty_map_take(&m->dirty, 0, max, &at, &n))
        return 0;
    m->cursor = at + n;
    uint64_t off = at << m->dirty.shift;
    uint64_t end = MIN((at + n) << m->dirty.shift, m->source->size);
    flight_begin(co, &m->flights, &f, at, n); // what was written meanwhile comes after it
    int r = copy_range(m, buf, off, end, &reading);
    flight_end(co, &m->flights, &f);
    if (r) {
        dirty_map_mark(&m->dirty, off, end - off);
        if (!pace)
            return r;
        r = job_failed(&m->j, reading, r);
        if (r)
            return r;
        dirty_map_take(&m->dirty, at, n, &at, &n); // left out, as the operator wants it
    }
    job_advance(&m->j, end - off);
    return pace ? job_pace(&m->j, end - off) ?: 1 : 1;
}

static int copy_all(struct mirror *m, bool pace)
{
    char *buf;
    int r;
    if (posix_memalign((void **)&buf, 4096, MAX((size_t)PIECE, (size_t)1 << m->dirty.shift)))
        return -ENOMEM;
    do
        r = copy_next(m, buf, pace);
    while (r > 0);
    free(buf);
    return r;
}

static int copy_share(struct job *j)
{
    return copy_all(of(j), true);
}

// ---- the job ----

static int prepare_target(struct mirror *m)
{
    struct job *j = &m->j;
    if (m->target_was_read_only && node_set_read_only(m->target, false, &j->err))
        return -EACCES;
    if (m->target->size < m->source->size && node_resize(m->target, m->source->size, &j->err))
        return -ENOSPC;
    return dirty_map_init(&m->dirty, m->source->size, m->dirty.shift);
}

static int mirror_run(struct job *j)
{
    struct mirror *m = of(j);
    int r = prepare_target(m);
    if (r)
        return r;
    m->dirty.wake = &j->wake;
    if (m->active)
        gate_watch(m->source, &m->dirty);
    r = mark_existing(m);
    count_work(m);
    while (!r) {
        r = m->dirty.set ? job_share(j, MIN((uint64_t)HANDS, m->dirty.set), copy_share) : 0;
        if (r)
            break;
        count_work(m);
        if (!m->active)
            return node_flush(m->target);
        if (!j->ready) {
            r = node_flush(m->target);
            job_set_ready(j);
        } else if (j->completing || j->cancelled) {
            break; // job_pace has seen to it that this is no cancel by force
        } else if (!m->dirty.set) {
            job_wait(j);
        }
        r = r ?: job_pace(j, 0);
    }
    return r;
}

// The guest's disk becomes the target.
static int change_over(struct mirror *m, bool pivot)
{
    gate_close(m->source);
    int r = copy_all(m, false) ?: node_flush(m->target);
    if (!r && pivot)
        graph_replace(m->j.ds, m->replaces, m->target);
    gate_open(m->source);
    return r;
}

// The layer above the committed ones gets the base as its backing file.
static int relink_overlay(struct mirror *m)
{
    struct block_node *overlay = graph_overlay(m->j.ds, m->source);
    struct err *e = &m->j.err;
    if (!overlay)
        return -ENOENT;
    bool was_read_only = overlay->in.read_only;
    const char *name = m->backing_name ?: m->target->filename;
    if (node_set_read_only(overlay, false, e))
        return -EACCES;
    gate_close(overlay);
    int r = overlay->drv->image->set_backing(overlay, name, m->target->drv->name, e) ? -EIO : 0;
    if (!r)
        graph_replace(m->j.ds, m->source, m->target);
    gate_open(overlay);
    if (was_read_only && node_set_read_only(overlay, true, e) && !r)
        e->msg[0] = 0; // it stays open for writing, and nobody writes
    return r;
}

static int mirror_finish(struct job *j, bool good)
{
    struct mirror *m = of(j);
    int r = 0;
    if (good && m->active)
        r = change_over(m, j->completing);
    else if (good)
        r = relink_overlay(m);
    dirty_map_free(&m->dirty);
    bool below = !m->active || !good || r || !j->completing;
    struct err ignored = {0};
    if (m->target_was_read_only && below && node_set_read_only(m->target, true, &ignored))
        return r; // it stays open for writing, and nobody writes
    return r;
}

static void mirror_free(struct job *j)
{
    struct mirror *m = of(j);
    dirty_map_free(&m->dirty);
    free(m->backing_name);
}

static const struct job_type mirror_type = {.name = "mirror",
                                            .block = true,
                                            .size = sizeof(struct mirror),
                                            .run = mirror_run,
                                            .finish = mirror_finish,
                                            .free = mirror_free};
static const struct job_type commit_type = {.name = "commit",
                                            .block = true,
                                            .size = sizeof(struct mirror),
                                            .run = mirror_run,
                                            .finish = mirror_finish,
                                            .free = mirror_free};

static int hold_nodes(struct drives *ds, struct mirror *m, const struct mirror_options *o,
                      struct err *e)
{
    for (struct block_node *n = o->source; n && m->commit; n = n->backing) {
        if (n != o->target && job_add_node(&m->j, n, e))
            return -1;
        if (n == o->target)
            break;
    }
    return (m->commit ? 0 : job_add_node(&m->j, o->source, e)) || job_add_node(&m->j, o->target, e)
               ? -1
               : 0;
}

static int check(struct drives *ds, const struct mirror_options *o, struct err *e)
{
    if (o->source == o->target)
        return err_set(e, "Can't mirror node into itself");
    if (o->commit && !graph_is_below(o->target, o->source))
        return err_set(e, "'%s' is not in the backing chain of '%s'", o->target->node_name,
                       o->source->node_name);
    if (!o->commit && o->target->in.read_only && !o->target->in.auto_read_only)
        return err_set(e, "the target '%s' is read-only", o->target->node_name);
    if (!o->commit && o->target->size < o->source->size)
        return err_set(e, "the target '%s' is smaller than the source", o->target->node_name);
    bool active = !o->commit || !graph_overlay(ds, o->source);
    return (active && graph_check_movable(ds, o->replaces ?: o->source, 0, e)) ||
                   (!o->commit && graph_check_movable(ds, o->target, o->target_held, e)) ||
                   graph_join(ds, o->target, o->source, e)
               ? -1
               : 0;
}

struct job *job_mirror(struct drives *ds, const struct mirror_options *o, struct err *e)
{
    if (check(ds, o, e))
        return NULL;
    struct job *j = job_new(ds, o->commit ? &commit_type : &mirror_type, &o->job,
                            o->source->node_name, o->source->eng, e);
    if (!j)
        return NULL;
    struct mirror *m = of(j);
    m->source = o->source;
    m->target = o->target;
    m->base = o->commit ? o->target : NULL;
    m->replaces = o->replaces ?: o->source;
    m->commit = o->commit;
    m->none = o->none;
    m->top_only = o->top_only;
    m->active = !o->commit || !graph_overlay(ds, o->source);
    m->target_was_read_only = o->target->in.read_only;
    m->backing_name = o->backing_name ? xstrdup(o->backing_name) : NULL;
    flights_init(&m->flights);
    m->dirty.shift = GRANULE_SHIFT;
    if (o->granularity)
        m->dirty.shift = log2_floor(o->granularity);
    if (hold_nodes(ds, m, o, e)) {
        job_discard(j);
        return NULL;
    }
    return j;
}
