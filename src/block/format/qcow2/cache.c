// Slices of L2 tables and refcount blocks in memory. A slice that is pinned or dirty stays; dirty
// ones are written by commit.c alone, in its order. The limit is soft: when everything is dirty the
// cache grows until the next commit, which qcow2_wants_commit asks for.

#include "block/format/qcow2/qcow2.h"
#include <errno.h>
#include <stdlib.h>

void qcow2_cache_init(struct qcow2_cache *c, struct block_node *n, size_t slice, size_t max_bytes)
{
    c->n = n;
    c->bytes = slice;
    c->max = MAX(max_bytes / slice, (size_t)64);
    list_init(&c->lru);
    list_init(&c->dirty);
}

static uint64_t key_of(const struct qcow2_cache *c, uint64_t off)
{
    return off / c->bytes + 1;
}

static void release(struct qcow2_slice *sl)
{
    free(sl->data);
    free(sl);
}

// Takes a slice out of the cache; one that is pinned lives on for its users.
static void drop(struct qcow2_cache *c, struct qcow2_slice *sl)
{
    map_del(&c->slices, key_of(c, sl->off));
    list_remove(&sl->lru);
    if (sl->dirty) {
        list_remove(&sl->dirty_link);
        sl->dirty = false;
        c->n_dirty--;
    }
    c->count--;
    sl->detached = true;
    if (!sl->pins)
        release(sl);
}

void qcow2_cache_forget_all(struct qcow2_cache *c)
{
    while (!list_empty(&c->lru))
        drop(c, list_entry(c->lru.next, struct qcow2_slice, lru));
}

void qcow2_cache_free(struct qcow2_cache *c)
{
    if (!c->bytes)
        return;
    qcow2_cache_forget_all(c);
    map_free(&c->slices);
}

void qcow2_cache_forget(struct qcow2_cache *c, uint64_t off, uint64_t bytes)
{
    for (uint64_t at = off; at < off + bytes; at += c->bytes) {
        struct qcow2_slice *sl = map_get(&c->slices, key_of(c, at));
        if (sl)
            drop(c, sl);
    }
}

static void make_room(struct qcow2_cache *c)
{
    struct qcow2_slice *sl, *next;
    unsigned tries = 16;
    if (c->count < c->max)
        return;
    list_for_each_safe(sl, next, &c->lru, lru)
    {
        if (!sl->pins && !sl->dirty) {
            drop(c, sl);
            return;
        }
        if (!tries--)
            return;
    }
}

static struct qcow2_slice *slice_new(struct qcow2_cache *c, uint64_t off)
{
    void *data;
    if (posix_memalign(&data, 4096, align_up(c->bytes, 4096)))
        return NULL;
    struct qcow2_slice *sl = xalloc(sizeof *sl);
    sl->off = off;
    sl->data = data;
    list_init(&sl->dirty_link);
    co_queue_init(&sl->loaded);
    list_append(&c->lru, &sl->lru);
    map_set(&c->slices, key_of(c, off), sl);
    c->count++;
    return sl;
}

static int load(struct qcow2_cache *c, struct qcow2_slice *sl)
{
    sl->loading = true;
    sl->load_error = node_read_buf(c->n->file, sl->off, sl->data, c->bytes);
    sl->loading = false;
    co_queue_wake_all(node_co(c->n), &sl->loaded);
    return sl->load_error;
}

int qcow2_slice_get(struct qcow2_cache *c, uint64_t off, struct qcow2_slice **out)
{
    struct qcow2_slice *sl = map_get(&c->slices, key_of(c, off));
    bool fresh = !sl;
    if (fresh) {
        make_room(c);
        if (!(sl = slice_new(c, off)))
            return -ENOMEM;
    }
    sl->pins++;
    if (fresh)
        load(c, sl);
    else if (sl->loading)
        co_queue_wait(node_co(c->n), &sl->loaded);
    if (sl->load_error) {
        int r = sl->load_error;
        if (!sl->detached)
            drop(c, sl);
        qcow2_slice_put(c, sl);
        return r;
    }
    if (c->lru.prev != &sl->lru) {
        list_remove(&sl->lru);
        list_append(&c->lru, &sl->lru);
    }
    *out = sl;
    return 0;
}

void qcow2_slice_put(struct qcow2_cache *c, struct qcow2_slice *sl)
{
    BUG_ON(!sl->pins);
    if (!--sl->pins && sl->detached)
        release(sl);
}

void qcow2_slice_dirty(struct qcow2_cache *c, struct qcow2_slice *sl)
{
    if (sl->dirty || sl->detached)
        return;
    sl->dirty = true;
    list_append(&c->dirty, &sl->dirty_link);
    c->n_dirty++;
}
