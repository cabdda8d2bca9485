// The gate in front of a node's requests, dirty maps and exclusive ranges.

#include "block/node/gate.h"
#include "block/node/node.h"
#include "base/bits.h"
#include <errno.h>
#include <stdlib.h>

struct visitor { // a request outside a closed gate, on its own stack
    struct list link;
    struct co *co;
    struct block_req *r;
};

void gate_init(struct gate *g)
{
    list_init(&g->waiting);
    list_init(&g->maps);
    list_init(&g->guards);
    list_init(&g->ranges);
    co_queue_init(&g->vacant);
    co_queue_init(&g->range_free);
}

// ---- the gate ----

struct block_node *gate_enter(struct block_req *r)
{
    struct block_node *n = r->priv[3];
    while (n->gate.closed) {
        struct visitor v = {.co = co_self(node_co(n)), .r = r};
        list_append(&n->gate.waiting, &v.link);
        co_yield (node_co(n));
        n = r->priv[3];
    }
    n->gate.inside++;
    return n;
}

void gate_leave(struct block_node *n)
{
    if (!--n->gate.inside)
        co_queue_wake_all(node_co(n), &n->gate.vacant);
}

void gate_close(struct block_node *n)
{
    n->gate.closed++;
    while (n->gate.inside)
        co_queue_wait(node_co(n), &n->gate.vacant);
}

void gate_open(struct block_node *n)
{
    if (--n->gate.closed)
        return;
    while (!list_empty(&n->gate.waiting)) {
        struct visitor *v = list_entry(n->gate.waiting.next, struct visitor, link);
        list_remove(&v->link);
        co_wake(node_co(n), v->co);
    }
}

void gate_redirect(struct block_node *n, struct block_node *to)
{
    struct visitor *v;
    list_for_each(v, &n->gate.waiting, link)
    {
        v->r->priv[3] = to;
        n->in_flight--;
        to->in_flight++;
    }
    if (!n->in_flight)
        co_queue_wake_all(node_co(n), &n->idle);
}

// ---- what was written ----

int dirty_map_init(struct dirty_map *m, uint64_t bytes, unsigned shift)
{
    *m = (struct dirty_map){.shift = shift, .granules = (bytes + (1ull << shift) - 1) >> shift};
    list_init(&m->link);
    m->bits = calloc(m->granules / 64 + 1, 8);
    return m->bits ? 0 : -ENOMEM;
}

void dirty_map_free(struct dirty_map *m)
{
    if (m->bits)
        list_remove(&m->link);
    free(m->bits);
    m->bits = NULL;
}

void dirty_map_mark(struct dirty_map *m, uint64_t off, uint64_t bytes)
{
    if (!bytes)
        return;
    uint64_t last = MIN((off + bytes - 1) >> m->shift, m->granules - 1);
    for (uint64_t g = off >> m->shift; g <= last && g < m->granules; g++) {
        uint64_t bit = 1ull << (g & 63);
        m->set += !(m->bits[g >> 6] & bit);
        m->bits[g >> 6] |= bit;
    }
}

static bool is_dirty(const struct dirty_map *m, uint64_t g)
{
    return m->bits[g >> 6] >> (g & 63) & 1;
}

bool dirty_map_take(struct dirty_map *m, uint64_t from, uint64_t max, uint64_t *at, uint64_t *n)
{
    uint64_t g = from;
    while (g < m->granules && !is_dirty(m, g))
        g = m->bits[g >> 6] >> (g & 63) ? g + 1 : (g | 63) + 1;
    if (g >= m->granules)
        return false;
    *at = g;
    for (*n = 0; *n < max && g < m->granules && is_dirty(m, g); g++, ++*n)
        m->bits[g >> 6] &= ~(1ull << (g & 63));
    m->set -= *n;
    return true;
}

void gate_watch(struct block_node *n, struct dirty_map *m)
{
    list_append(&n->gate.maps, &m->link);
}

void gate_written(struct block_node *n, uint64_t off, uint64_t bytes)
{
    struct dirty_map *m;
    list_for_each(m, &n->gate.maps, link)
    {
        dirty_map_mark(m, off, bytes);
        if (m->wake)
            co_queue_wake_all(node_co(n), m->wake);
    }
}

void gate_guard(struct block_node *n, struct gate_guard *g)
{
    list_append(&n->gate.guards, &g->link);
}

void gate_before(struct block_node *n, uint64_t off, uint64_t bytes)
{
    struct gate_guard *g;
    if (!list_empty(&n->gate.guards)) { // one at most: its node is busy
        g = list_entry(n->gate.guards.next, struct gate_guard, link);
        g->before(g->opaque, off, bytes);
    }
}

// ---- flights ----

void flights_init(struct flights *f)
{
    list_init(&f->list);
    co_queue_init(&f->landed);
}

static bool overlaps(const struct flights *all, uint64_t at, uint64_t end)
{
    struct flight *f;
    list_for_each(f, &all->list, link)
    {
        if (f->at < end && at < f->end)
            return true;
    }
    return false;
}

bool flights_wait(struct co_sched *co, struct flights *all, uint64_t at, uint64_t n)
{
    if (!overlaps(all, at, at + n))
        return false;
    co_queue_wait(co, &all->landed);
    return true;
}

void flight_begin(struct co_sched *co, struct flights *all, struct flight *f, uint64_t at,
                  uint64_t n)
{
    while (flights_wait(co, all, at, n)) {
    }
    *f = (struct flight){.at = at, .end = at + n};
    list_append(&all->list, &f->link);
}

void flight_end(struct co_sched *co, struct flights *all, struct flight *f)
{
    list_remove(&f->link);
    co_queue_wake_all(co, &all->landed);
}

// ---- ranges ----

void gate_order(struct block_node *n)
{
    gate_close(n); // so that every write that runs from now on is entered
    n->gate.ordered++;
    gate_open(n);
}

void gate_unorder(struct block_node *n)
{
    n->gate.ordered--;
}

static bool in_the_way(const struct block_node *n, const struct gate_range *r)
{
    struct gate_range *o;
    list_for_each(o, &n->gate.ranges, link)
    {
        if ((o->exclusive || r->exclusive) && o->off < r->end && r->off < o->end)
            return true;
    }
    return false;
}

void gate_range_hold(struct block_node *n, struct gate_range *r, uint64_t off, uint64_t bytes,
                     bool exclusive)
{
    *r = (struct gate_range){.off = off, .end = off + bytes, .exclusive = exclusive};
    if (!n->gate.ordered)
        return;
    while (in_the_way(n, r))
        co_queue_wait(node_co(n), &n->gate.range_free);
    r->held = true;
    list_append(&n->gate.ranges, &r->link);
}

void gate_range_drop(struct block_node *n, struct gate_range *r)
{
    if (!r->held)
        return;
    list_remove(&r->link);
    co_queue_wake_all(node_co(n), &n->gate.range_free);
}
