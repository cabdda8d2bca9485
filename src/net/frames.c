// Circular frame store: an 8-byte header with the length, then the frame, padded to 8. A frame that
// does not fit before the end of the block starts over at its beginning, behind a WRAP header.
#include "net/frames.h"

#include <stdlib.h>

#include "base/bits.h"

#define HEADER 8
#define WRAP   UINT32_MAX

void frames_init(struct frame_queue *q, size_t cap)
{
    *q = (struct frame_queue){.data = xalloc(cap), .cap = cap};
}

void frames_free(struct frame_queue *q)
{
    free(q->data);
    *q = (struct frame_queue){0};
}

static size_t record_size(size_t len)
{
    return HEADER + align_up(len, 8);
}

bool frames_put(struct frame_queue *q, const uint8_t *frame, size_t len)
{
    size_t need = record_size(len), at_end = q->cap - q->tail;
    size_t skip = need > at_end ? at_end : 0;
    if (need + skip > q->cap - q->used)
        return false;
    if (skip) {
        st_le32(q->data + q->tail, WRAP); // at_end is a multiple of 8 and not 0
        q->used += skip;
        q->tail = 0;
    }
    st_le32(q->data + q->tail, (uint32_t)len);
    memcpy(q->data + q->tail + HEADER, frame, len);
    q->used += need;
    q->tail = (q->tail + need) % q->cap;
    return true;
}

// Where the oldest record is, past a WRAP header.
static size_t first_record(const struct frame_queue *q)
{
    return ld_le32(q->data + q->head) == WRAP ? 0 : q->head;
}

const uint8_t *frames_peek(const struct frame_queue *q, size_t *len)
{
    if (!q->used)
        return NULL;
    size_t at = first_record(q);
    *len = ld_le32(q->data + at);
    return q->data + at + HEADER;
}

void frames_pop(struct frame_queue *q)
{
    size_t at = first_record(q), need = record_size(ld_le32(q->data + at));
    if (at != q->head)
        q->used -= q->cap - q->head;
    q->used -= need;
    q->head = (at + need) % q->cap;
    if (!q->used)
        q->head = q->tail = 0;
}

void frames_clear(struct frame_queue *q)
{
    q->head = q->tail = q->used = 0;
}
