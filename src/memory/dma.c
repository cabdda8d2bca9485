// Device access to guest memory. RAM only: everything else is an error for the device to report.
#include "memory/dma.h"
#include "memory/ram_internal.h"

#include <sys/uio.h>

// The host bytes at `a`: *part of the n wanted ones are contiguous. NULL when not RAM, or not
// writable.
static uint8_t *piece(struct space_near *near, struct space *s, gpa_t a, uint64_t n, bool write,
                      struct space_hit *h, uint64_t *part)
{
    gpa_t last;
    *part = 0;
    if (__builtin_add_overflow(a, n - 1, &last))
        return NULL;
    *h = space_lookup_near(near, s, a);
    if (h->kind != SPACE_RAM || (write && h->readonly))
        return NULL;
    *part = MIN(n, h->len);
    return h->ram->mem.base + h->off;
}

int dma_near_read(struct space_near *near, struct space *s, gpa_t a, void *dst, size_t n)
{
    struct space_hit h;
    for (uint64_t part = 0; n; a += part, dst = (char *)dst + part, n -= part) {
        const uint8_t *p = piece(near, s, a, n, false, &h, &part);
        if (!p)
            return -1;
        memcpy(dst, p, part);
    }
    return 0;
}

int dma_near_write(struct space_near *near, struct space *s, gpa_t a, const void *src, size_t n)
{
    struct space_hit h;
    for (uint64_t part = 0; n; a += part, src = (const char *)src + part, n -= part) {
        uint8_t *p = piece(near, s, a, n, true, &h, &part);
        if (!p)
            return -1;
        memcpy(p, src, part);
        ram_wrote(h.ram, h.off, part);
    }
    return 0;
}

int dma_read(struct space *s, gpa_t a, void *dst, size_t n)
{
    return dma_near_read(&(struct space_near){0}, s, a, dst, n);
}

int dma_write(struct space *s, gpa_t a, const void *src, size_t n)
{
    return dma_near_write(&(struct space_near){0}, s, a, src, n);
}

int dma_fill(struct space *s, gpa_t a, uint8_t byte, size_t n)
{
    struct space_near near = {0};
    struct space_hit h;
    for (uint64_t part = 0; n; a += part, n -= part) {
        uint8_t *p = piece(&near, s, a, n, true, &h, &part);
        if (!p)
            return -1;
        memset(p, byte, part);
        ram_wrote(h.ram, h.off, part);
    }
    return 0;
}

// An aligned cell of `size` bytes, which then never spans two mappings' pages.
static void *cell(struct space_near *near, struct space *s, gpa_t a, uint64_t size, bool write,
                  struct space_hit *h)
{
    uint64_t part = 0;
    uint8_t *p = a & (size - 1) ? NULL : piece(near, s, a, size, write, h, &part);
    return p && part == size && !((uintptr_t)p & (size - 1)) ? p : NULL;
}

#define CELL(width, linkage)                                                                       \
    linkage int dma_near_load##width(struct space_near *near, struct space *s, gpa_t a,            \
                                     uint##width##_t *v)                                           \
    {                                                                                              \
        struct space_hit h;                                                                        \
        const uint##width##_t *p = cell(near, s, a, width / 8, false, &h);                         \
        if (!p)                                                                                    \
            return -1;                                                                             \
        *v = __atomic_load_n(p, __ATOMIC_ACQUIRE);                                                 \
        return 0;                                                                                  \
    }                                                                                              \
    linkage int dma_near_store##width(struct space_near *near, struct space *s, gpa_t a,           \
                                      uint##width##_t v)                                           \
    {                                                                                              \
        struct space_hit h;                                                                        \
        uint##width##_t *p = cell(near, s, a, width / 8, true, &h);                                \
        if (!p)                                                                                    \
            return -1;                                                                             \
        __atomic_store_n(p, v, __ATOMIC_RELEASE);                                                  \
        ram_wrote(h.ram, h.off, width / 8);                                                        \
        return 0;                                                                                  \
    }                                                                                              \
    int dma_load##width(struct space *s, gpa_t a, uint##width##_t *v)                              \
    {                                                                                              \
        return dma_near_load##width(&(struct space_near){0}, s, a, v);                             \
    }                                                                                              \
    int dma_store##width(struct space *s, gpa_t a, uint##width##_t v)                              \
    {                                                                                              \
        return dma_near_store##width(&(struct space_near){0}, s, a, v);                            \
    }
CELL(16, )
CELL(32, static)
#undef CELL

int dma_pin(struct space *s, gpa_t a, uint64_t n, bool to_memory, struct iovec *iov,
            struct dma_span *spans, unsigned *n_iov, unsigned max)
{
    unsigned had = *n_iov;
    struct space_near near = {0};
    struct space_hit h;
    for (uint64_t part = 0; n; a += part, n -= part) {
        uint8_t *p = *n_iov < max ? piece(&near, s, a, n, to_memory, &h, &part) : NULL;
        if (!p) {
            dma_unpin(spans + had, *n_iov - had, false);
            *n_iov = had;
            return -1;
        }
        ram_ref(h.ram);
        iov[*n_iov] = (struct iovec){.iov_base = p, .iov_len = part};
        spans[(*n_iov)++] = (struct dma_span){.ram = h.ram, .off = h.off, .len = part};
    }
    return 0;
}

void dma_unpin(const struct dma_span *spans, unsigned n, bool to_memory)
{
    for (unsigned i = 0; i < n; i++) {
        if (to_memory)
            ram_wrote(spans[i].ram, spans[i].off, spans[i].len);
        ram_free(spans[i].ram);
    }
}
