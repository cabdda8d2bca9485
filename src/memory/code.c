// Marks on pages that hold translated code, and the one report every writer makes.
//
// Order: a translator marks the page and then reads its bytes; a writer writes and then looks for
// the mark. With a full barrier between the two steps on both sides, at least one sees the other:
// either the translator reads the new bytes or the writer reports.
#include "memory/ram_internal.h"

void ram_code_mark(struct ram *r, uint64_t page_off)
{
    BUG_ON(page_off >= r->size);
    uint64_t page = page_off >> RAM_PAGE_BITS;
    atomic_fetch_or(&r->code.words[page / 64], 1ull << page % 64);
    atomic_thread_fence(memory_order_seq_cst);
}

void ram_code_unmark(struct ram *r, uint64_t page_off)
{
    BUG_ON(page_off >= r->size);
    uint64_t page = page_off >> RAM_PAGE_BITS;
    atomic_fetch_and(&r->code.words[page / 64], ~(1ull << page % 64));
}

bool ram_code_marked(const struct ram *r, uint64_t page_off)
{
    return page_map_get(&r->code, page_off >> RAM_PAGE_BITS);
}

void ram_code_listen(struct ram *r, ram_code_write_fn *fn, void *opaque)
{
    r->on_code_write_opaque = opaque;
    atomic_store(&r->on_code_write, fn);
}

// Any marked page in [first, last]?
static bool any_marked(const struct ram *r, uint64_t first, uint64_t last)
{
    for (uint64_t w = first / 64; w <= last / 64; w++) {
        uint64_t set = r->code.words[w];
        if (!set)
            continue;
        if (w == first / 64)
            set &= ~0ull << first % 64;
        if (w == last / 64)
            set &= ~0ull >> (63 - last % 64);
        if (set)
            return true;
    }
    return false;
}

void ram_wrote(struct ram *r, uint64_t off, uint64_t len)
{
    if (!len)
        return;
    BUG_ON(!ram_has(r, off, len));
    if (dirty_wanted(r))
        dirty_mark(r, off, len);
    ram_code_write_fn *fn = atomic_load_explicit(&r->on_code_write, memory_order_acquire);
    if (!fn)
        return;
    atomic_thread_fence(memory_order_seq_cst);
    if (any_marked(r, off >> RAM_PAGE_BITS, (off + len - 1) >> RAM_PAGE_BITS))
        fn(r->on_code_write_opaque, r, off, len);
}
