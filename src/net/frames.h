// A bounded queue of frames in one block of memory, for back ends that cannot make their source
// wait. Frames are contiguous; nothing is allocated per frame.
#pragma once

#include "base/base.h"

struct frame_queue {
    uint8_t *data;
    size_t cap; // a multiple of 8
    size_t head, tail;
    size_t used; // bytes, headers and padding included
};

void frames_init(struct frame_queue *q, size_t cap); // bytes, for frames and their headers
void frames_free(struct frame_queue *q);             // with the frames in it
static inline bool frames_empty(const struct frame_queue *q)
{
    return !q->used;
}
bool frames_put(struct frame_queue *q, const uint8_t *frame, size_t len); // false: no room
const uint8_t *frames_peek(const struct frame_queue *q, size_t *len);     // the oldest; NULL: empty
void frames_pop(struct frame_queue *q);   // the oldest, which is there
void frames_clear(struct frame_queue *q); // all of them
