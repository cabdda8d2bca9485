// Views into I/O vectors: a position in a caller's iovec array, so that requests can be split
// without copying the array. Private to src/block.
#pragma once

#include "base/base.h"
#include <sys/uio.h>

struct iov_view {
    const struct iovec *iov;
    unsigned n;
    size_t skip; // bytes of iov[0] that are before the view
};
static inline struct iov_view iov_view_of(const struct iovec *iov, unsigned n)
{
    return (struct iov_view){.iov = iov, .n = n};
}
struct iov_view iov_advance(struct iov_view v, size_t bytes);
// The first `bytes` as plain iovecs; the count, at most max (the rest is left out then).
unsigned iov_flatten(struct iov_view v, size_t bytes, struct iovec *out, unsigned max);
unsigned iov_count(struct iov_view v, size_t bytes); // entries that iov_flatten would need
void iov_copy_out(struct iov_view v, void *dst, size_t bytes);
void iov_copy_in(struct iov_view v, const void *src, size_t bytes);
void iov_zero(struct iov_view v, size_t bytes);
bool iov_all_zero(struct iov_view v, size_t bytes);
bool iov_aligned(struct iov_view v, size_t bytes, unsigned align); // every address and length
bool buffer_all_zero(const void *p, size_t len);
