// Dirty pages: one sparse bitmap per consumer. Bits are only ever set by writers and cleared by
// their consumer, all atomically, so no lock is needed beyond the one for enabling.
#include "base/log.h"
#include "memory/ram_internal.h"
#include "memory/space_internal.h"

#include <stdlib.h>

void dirty_enable(struct ram *r, enum dirty_user u, bool on)
{
    mutex_lock(&r->dirty_lock);
    bool was = r->dirty_on & 1u << u;
    if (on && !was) {
        struct err e;
        struct page_map *m = &r->dirty[u];
        if (!m->words && page_map_new(m, r->size, &e)) {
            log_error("%s", e.msg);
            exit(1);
        }
        for (uint64_t w = 0; w <= (r->size - 1) >> RAM_PAGE_BITS >> 6; w++)
            m->words[w] = ~0ull;
        atomic_fetch_or(&r->dirty_on, 1u << u);
    } else if (!on) {
        atomic_fetch_and(&r->dirty_on, ~(1u << u));
    }
    mutex_unlock(&r->dirty_lock);
}

void dirty_source(struct ram *r, void (*collect)(void *opaque, struct ram *r), void *opaque)
{
    mutex_lock(&r->source_lock);
    r->collect = collect;
    r->collect_opaque = opaque;
    mutex_unlock(&r->source_lock);
}

bool dirty_wanted(const struct ram *r)
{
    return atomic_load_explicit(&r->dirty_on, memory_order_acquire) != 0;
}

// The bits of word w that pages first..last cover.
static uint64_t word_mask(uint64_t w, uint64_t first, uint64_t last)
{
    uint64_t m = ~0ull;
    if (w == first / 64)
        m &= ~0ull << first % 64;
    if (w == last / 64)
        m &= ~0ull >> (63 - last % 64);
    return m;
}

void dirty_mark(struct ram *r, uint64_t off, uint64_t len)
{
    if (!len)
        return;
    BUG_ON(!ram_has(r, off, len));
    uint64_t first = off >> RAM_PAGE_BITS, last = (off + len - 1) >> RAM_PAGE_BITS;
    uint32_t on = atomic_load_explicit(&r->dirty_on, memory_order_acquire);
    for (int u = 0; u < DIRTY_USERS; u++) {
        if (!(on & 1u << u))
            continue;
        for (uint64_t w = first / 64; w <= last / 64; w++) {
            uint64_t m = word_mask(w, first, last);
            if ((r->dirty[u].words[w] & m) != m)
                atomic_fetch_or(&r->dirty[u].words[w], m);
        }
    }
}

bool dirty_needs_trap(const struct ram *r, uint64_t off)
{
    uint32_t on = atomic_load_explicit(&r->dirty_on, memory_order_acquire);
    for (int u = 0; u < DIRTY_USERS; u++)
        if (on & 1u << u && !page_map_get(&r->dirty[u], off >> RAM_PAGE_BITS))
            return true;
    return false;
}

// Takes and clears up to 64 bits from `page` on.
static uint64_t take(struct page_map *m, uint64_t page, unsigned n)
{
    uint64_t mask = ~0ull >> (64 - n), w = page / 64;
    unsigned shift = page % 64;
    uint64_t got = atomic_fetch_and(&m->words[w], ~(mask << shift)) >> shift & mask;
    if (shift && n > 64 - shift)
        got |= atomic_fetch_and(&m->words[w + 1], ~(mask >> (64 - shift))) << (64 - shift) & mask;
    return got;
}

uint64_t dirty_fetch(struct ram *r, enum dirty_user u, uint64_t off, uint64_t len, uint64_t *bitmap)
{
    BUG_ON(!ram_has(r, off, len) || off % DIRTY_PAGE_SIZE);
    uint64_t first = off >> RAM_PAGE_BITS, count = 0;
    uint64_t n = (len + DIRTY_PAGE_SIZE - 1) >> RAM_PAGE_BITS;
    bool on = r->dirty_on & 1u << u;
    mutex_lock(&r->source_lock);
    if (on && r->collect)
        r->collect(r->collect_opaque, r);
    mutex_unlock(&r->source_lock);
    for (uint64_t i = 0; i < n; i += 64) {
        bitmap[i / 64] = on ? take(&r->dirty[u], first + i, (unsigned)MIN(n - i, (uint64_t)64)) : 0;
        count += (unsigned)__builtin_popcountll(bitmap[i / 64]);
    }
    if (count)
        space_retrap(r);
    return count;
}
