// The order in which metadata reaches the disk, so that an image cut off at any moment is whole:
// nothing on disk ever refers to a cluster whose content or reference count is not there yet.
//
//   1. data of finished writes is with the host already; changed refcount blocks are written
//   2. barrier; then the refcount table, if it changed, and a barrier
//   3. L2 slices and L1 sectors as they were when the commit began; barrier
//   4. only now do clusters that lost their last reference become free (at worst they leak)
//
// What is changed while a commit runs belongs to the next one, so requests go on meanwhile.

#include "block/format/qcow2/qcow2.h"
#include <errno.h>
#include <stdlib.h>

enum { RUN_MAX = 64, FREED_MAX = 4096 };

// One stretch of the file to be written: a copy, taken when the commit began.
struct piece {
    uint64_t off;
    void *data;
    size_t len;
    struct qcow2_slice *slice; // or:
    struct qcow2_table *table;
    size_t sector;
};
struct pieces {
    struct piece *data;
    size_t len, cap;
};
struct commit {
    struct pieces refblocks, reftable, mapping;
    struct qcow2_free *freed;
    size_t n_freed;
};

static int collect_slices(struct qcow2_cache *c, struct pieces *out)
{
    while (!list_empty(&c->dirty)) {
        struct qcow2_slice *sl = list_entry(c->dirty.next, struct qcow2_slice, dirty_link);
        void *copy;
        if (posix_memalign(&copy, 4096, align_up(c->bytes, 4096)))
            return -ENOMEM;
        memcpy(copy, sl->data, c->bytes);
        vec_push(out, (struct piece){.off = sl->off, .data = copy, .len = c->bytes, .slice = sl});
        list_remove(&sl->dirty_link);
        sl->dirty = false;
        sl->pins++;
        c->n_dirty--;
    }
    return 0;
}

static int collect_table(struct qcow2_table *t, struct pieces *out)
{
    if (!t->any_dirty)
        return 0;
    for (size_t sector = 0; sector * 64 < t->len; sector++) {
        if (!t->dirty[sector])
            continue;
        uint64_t *copy = malloc(512);
        if (!copy)
            return -ENOMEM;
        for (size_t i = 0; i < 64; i++)
            st_be64(&copy[i], t->entry[sector * 64 + i]);
        vec_push(out, (struct piece){.off = t->off + sector * 512,
                                     .data = copy,
                                     .len = 512,
                                     .table = t,
                                     .sector = sector});
        t->dirty[sector] = 0;
    }
    t->any_dirty = false;
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    return x->off < y->off ? -1 : x->off > y->off;
}

static int write_all(struct block_node *n, struct pieces *p)
{
    if (p->len)
        qsort(p->data, p->len, sizeof *p->data, by_offset);
    for (size_t i = 0; i < p->len;) {
        struct iovec iov[RUN_MAX];
        unsigned cnt = 0;
        uint64_t bytes = 0;
        size_t first = i;
        while (i < p->len && cnt < RUN_MAX && p->data[i].off == p->data[first].off + bytes) {
            iov[cnt++] = (struct iovec){p->data[i].data, p->data[i].len};
            bytes += p->data[i++].len;
        }
        int r = node_write(n->file, p->data[first].off, bytes, iov_view_of(iov, cnt), 0);
        if (r)
            return r;
    }
    return 0;
}

static void release(struct qcow2_cache *c, struct pieces *p, bool failed)
{
    for (size_t i = 0; i < p->len; i++) {
        struct piece *x = &p->data[i];
        free(x->data);
        if (x->slice) {
            if (failed)
                qcow2_slice_dirty(c, x->slice);
            qcow2_slice_put(c, x->slice);
        } else if (failed) {
            x->table->dirty[x->sector] = 1;
            x->table->any_dirty = true;
        }
    }
    vec_free(p);
}

static int barrier(struct block_node *n)
{
    struct qcow2 *s = qcow2_of(n);
    int r = s->data_is_external ? node_flush(s->data) : 0;
    return r ?: node_flush(n->file);
}

static int collect(struct qcow2 *s, struct commit *c)
{
    c->freed = s->freed.data;
    c->n_freed = s->freed.len;
    s->freed.data = NULL;
    s->freed.len = s->freed.cap = 0;
    // The mapping first: a reference is never collected without its count.
    return collect_slices(&s->l2, &c->mapping) ?: collect_table(&s->l1, &c->mapping)
           ?: collect_slices(&s->refblocks, &c->refblocks)
           ?: collect_table(&s->reftable, &c->reftable);
}

static int write_in_order(struct block_node *n, struct commit *c)
{
    int r = write_all(n, &c->refblocks);
    if (!r && c->reftable.len)
        r = barrier(n) ?: write_all(n, &c->reftable);
    if (!r && c->mapping.len)
        r = barrier(n) ?: write_all(n, &c->mapping);
    return r ?: barrier(n);
}

static void finish(struct qcow2 *s, struct commit *c, bool failed)
{
    for (size_t i = 0; i < c->n_freed; i++) {
        c->freed[i].seq = s->flight_seq;
        if (failed)
            vec_push(&s->freed, c->freed[i]);
        else
            vec_push(&s->ripe, c->freed[i]);
    }
    free(c->freed);
    release(&s->refblocks, &c->refblocks, failed);
    release(&s->refblocks, &c->reftable, failed);
    release(&s->l2, &c->mapping, failed);
}

int qcow2_commit(struct block_node *n)
{
    struct qcow2 *s = qcow2_of(n);
    if (n->in.read_only)
        return 0;
    if (s->corrupt)
        return -EIO;
    uint64_t before = s->commits_begun;
    int r = 0;
    co_mutex_lock(node_co(n), &s->commit_lock);
    if (s->commits_done <= before) { // else one that began after this call has done the work
        uint64_t number = ++s->commits_begun;
        struct commit c = {0};
        r = collect(s, &c) ?: write_in_order(n, &c);
        finish(s, &c, r);
        if (!r)
            s->commits_done = number;
    }
    co_mutex_unlock(node_co(n), &s->commit_lock);
    return r ?: qcow2_free_ripe(n);
}

bool qcow2_wants_commit(const struct qcow2 *s)
{
    return s->l2.n_dirty > s->l2.max / 2 || s->refblocks.n_dirty > s->refblocks.max / 2 ||
           s->freed.len > FREED_MAX;
}

// Gives one range back: the host may forget it, then it counts as free.
static int free_range(struct block_node *n, const struct qcow2_free *f)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t refs = 0;
    s->unpacked.entry = 0; // it may have been in there
    bool whole = !((f->off | f->bytes) & (s->cluster_size - 1));
    for (uint64_t at = f->off; whole && n->in.discard_unmap && at < f->off + f->bytes;
         at += s->cluster_size) {
        int r = qcow2_refcount_get(n, at >> s->cluster_bits, &refs);
        if (!r && refs == 1)
            r = node_discard(n->file, at, s->cluster_size);
        if (r)
            return r;
    }
    return qcow2_refcount_add(n, f->off, f->bytes, -1);
}

int qcow2_free_ripe(struct block_node *n)
{
    struct qcow2 *s = qcow2_of(n);
    if (s->freeing)
        return 0;
    s->freeing = true;
    size_t done = 0;
    int r = 0;
    while (!r && done < s->ripe.len) {
        struct qcow2_free f = s->ripe.data[done];
        if (!list_empty(&s->flights) &&
            list_entry(s->flights.next, struct qcow2_flight, link)->seq <= f.seq)
            break;
        done++;
        r = free_range(n, &f);
    }
    s->ripe.len -= done;
    if (done)
        memmove(s->ripe.data, s->ripe.data + done, s->ripe.len * sizeof *s->ripe.data);
    s->freeing = false;
    return r;
}

void qcow2_flight_begin(struct qcow2 *s, struct qcow2_flight *f)
{
    f->seq = ++s->flight_seq;
    list_append(&s->flights, &f->link);
}

void qcow2_flight_end(struct block_node *n, struct qcow2_flight *f)
{
    struct qcow2 *s = qcow2_of(n);
    list_remove(&f->link);
    if (s->ripe.len)
        qcow2_free_ripe(n);
}
