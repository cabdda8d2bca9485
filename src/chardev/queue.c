// Circular byte queue, grown by doubling up to its limit.
#include "chardev/queue.h"

#include <stdlib.h>

#define QUEUE_MIN 256

static void grow(struct byte_queue *q, size_t want)
{
    size_t cap = q->cap ? q->cap : QUEUE_MIN;
    while (cap < want)
        cap *= 2;
    cap = MIN(cap, q->limit);
    if (cap <= q->cap)
        return;
    uint8_t *data = xalloc(cap);
    size_t first = MIN(q->len, q->cap - q->head);
    if (q->len) {
        memcpy(data, q->data + q->head, first);
        memcpy(data + first, q->data, q->len - first);
    }
    free(q->data);
    q->data = data;
    q->head = 0;
    q->cap = cap;
}

size_t queue_put(struct byte_queue *q, const void *p, size_t n)
{
    n = MIN(n, q->limit - q->len);
    if (!n)
        return 0;
    if (q->len + n > q->cap)
        grow(q, q->len + n);
    size_t tail = (q->head + q->len) & (q->cap - 1), first = MIN(n, q->cap - tail);
    memcpy(q->data + tail, p, first);
    memcpy(q->data, (const uint8_t *)p + first, n - first);
    q->len += n;
    return n;
}

size_t queue_put_force(struct byte_queue *q, const void *p, size_t n)
{
    size_t lost = 0;
    if (n > q->limit) {
        lost = n - q->limit;
        p = (const uint8_t *)p + lost;
        n = q->limit;
    }
    if (n > q->limit - q->len) {
        size_t make = n - (q->limit - q->len);
        queue_drop(q, make);
        lost += make;
    }
    queue_put(q, p, n);
    return lost;
}

size_t queue_peek(const struct byte_queue *q, const uint8_t **p)
{
    *p = q->data + q->head;
    return MIN(q->len, q->cap - q->head);
}

void queue_drop(struct byte_queue *q, size_t n)
{
    BUG_ON(n > q->len);
    q->len -= n;
    q->head = q->len ? (q->head + n) & (q->cap - 1) : 0;
}

size_t queue_get(struct byte_queue *q, void *dst, size_t n)
{
    size_t done = 0;
    while (done < n && q->len) {
        const uint8_t *p;
        size_t k = MIN(queue_peek(q, &p), n - done);
        memcpy((uint8_t *)dst + done, p, k);
        queue_drop(q, k);
        done += k;
    }
    return done;
}

void queue_clear(struct byte_queue *q)
{
    free(q->data);
    q->data = NULL;
    q->head = q->len = q->cap = 0;
}
