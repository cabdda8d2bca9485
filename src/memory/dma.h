// How devices reach guest memory: by copy, or through a checked span. Never a raw pointer
// (SECURITY.md, R1); RAM only, so a device cannot be made to reach registers, its own included
// (R5). Errors are the guest's: the device goes to its error state.
#pragma once

#include "memory/space.h"

// Copy between guest memory and ours. -1 when any byte is not RAM (or read-only for writes):
// nothing or a prefix was copied.
int dma_read(struct space *s, gpa_t a, void *dst, size_t n) MUST_CHECK;
int dma_write(struct space *s, gpa_t a, const void *src, size_t n) MUST_CHECK;
int dma_fill(struct space *s, gpa_t a, uint8_t byte, size_t n) MUST_CHECK;
// Atomic little-endian accesses for rings (2- and 4-byte aligned), with acquire on loads and
// release on stores.
int dma_load16(struct space *s, gpa_t a, uint16_t *v) MUST_CHECK;
int dma_store16(struct space *s, gpa_t a, uint16_t v) MUST_CHECK;
int dma_load32(struct space *s, gpa_t a, uint32_t *v) MUST_CHECK;
int dma_store32(struct space *s, gpa_t a, uint32_t v) MUST_CHECK;
// The same with a look-up that is remembered: for rings, whose accesses lie close to each other.
int dma_near_read(struct space_near *n, struct space *s, gpa_t a, void *dst, size_t len) MUST_CHECK;
int dma_near_write(struct space_near *n, struct space *s, gpa_t a, const void *src,
                   size_t len) MUST_CHECK;
int dma_near_load16(struct space_near *n, struct space *s, gpa_t a, uint16_t *v) MUST_CHECK;
int dma_near_store16(struct space_near *n, struct space *s, gpa_t a, uint16_t v) MUST_CHECK;

// A pinned range, for back ends that read or write guest memory directly (preadv into RAM). It
// stays valid, though perhaps no longer mapped in the guest, until unpinned; unpinning after a
// device-to-memory transfer marks the bytes written. The iovecs may be handed to the kernel and to
// back ends, not be dereferenced in device/ (lint).
struct iovec;
struct dma_span {
    struct ram *ram;
    uint64_t off, len;
};
// Appends the host pieces of [a, a+n) to iov[*n_iov..max); -1 when not RAM or out of iovecs.
int dma_pin(struct space *s, gpa_t a, uint64_t n, bool to_memory, struct iovec *iov,
            struct dma_span *spans, unsigned *n_iov, unsigned max) MUST_CHECK;
void dma_unpin(const struct dma_span *spans, unsigned n, bool to_memory);
