// Claims on guest clusters: while one request changes the mapping of a range, others that would
// change it too wait here. Requests that only use a mapping do not claim.

#include "block/format/qcow2/qcow2.h"

static struct qcow2_claim *overlapping(struct qcow2 *s, uint64_t first, uint64_t end)
{
    struct qcow2_claim *c;
    list_for_each(c, &s->claims, link) if (c->first < end && first < c->end) return c;
    return NULL;
}

void qcow2_claim(struct block_node *n, struct qcow2_claim *c, uint64_t first, uint64_t end)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_claim *other;
    while ((other = overlapping(s, first, end)))
        co_queue_wait(node_co(n), &other->waiters);
    c->first = first;
    c->end = end;
    co_queue_init(&c->waiters);
    list_append(&s->claims, &c->link);
}

void qcow2_claim_shrink(struct block_node *n, struct qcow2_claim *c, uint64_t end)
{
    if (end >= c->end)
        return;
    c->end = end;
    co_queue_wake_all(node_co(n), &c->waiters); // they look again
}

void qcow2_claim_end(struct block_node *n, struct qcow2_claim *c)
{
    list_remove(&c->link);
    co_queue_wake_all(node_co(n), &c->waiters);
}
