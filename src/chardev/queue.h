// A byte queue that grows to a stated limit: what a character back end has yet to write, what a mux
// holds for a front end that is busy.
#pragma once

#include "base/base.h"

struct byte_queue {
    uint8_t *data;
    size_t head, len, cap; // cap is 0 or a power of two
    size_t limit;          // a power of two; len never exceeds it
};

size_t queue_put(struct byte_queue *q, const void *p, size_t n); // as much as fits; how much did
// All of it, the oldest bytes making room; returns how many were lost.
size_t queue_put_force(struct byte_queue *q, const void *p, size_t n);
size_t queue_peek(const struct byte_queue *q, const uint8_t **p); // the first contiguous bytes
void queue_drop(struct byte_queue *q, size_t n);
size_t queue_get(struct byte_queue *q, void *dst, size_t n);
void queue_clear(struct byte_queue *q); // empties it and gives the memory back
