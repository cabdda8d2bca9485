// Self-modifying code. A page is marked before its bytes are read for translation; from then on no
// TLB holds it for writing, so every store to it comes by the slow path, and other writers report
// through the RAM block's listener. A store that another CPU has checked already but not yet made
// would slip through, so the first reader waits until every CPU has left translated code. Blocks
// die only when the 64-byte chunks they cover are written.
#include "jit/state.h"

#include <stdlib.h>

static struct code_page *mark(struct jit *j, const struct code_fetch *f)
{
    uint64_t n = (uintptr_t)f->host >> PAGE_BITS;
    struct code_page *p = map_get(&j->pages, n);
    if (p)
        return p;
    p = xalloc(sizeof *p);
    p->ram = f->ram;
    p->off = f->off;
    list_init(&p->blocks[0]);
    list_init(&p->blocks[1]);
    map_set(&j->pages, n, p);
    p->settled = !f->ram; // user mode: programs say when they wrote code
    if (!f->ram)
        return p;
    if (!map_get(&j->rams, (uintptr_t)f->ram)) {
        map_set(&j->rams, (uintptr_t)f->ram, f->ram);
        ram_code_listen(f->ram, jit_code_written, j);
    }
    ram_code_mark(f->ram, f->off);
    jit_tlb_drop_writes(j, f->host);
    return p;
}

void jit_code_page_pin(struct jit *j, const struct code_fetch *f)
{
    struct code_page *p = mark(j, f);
    p->pins++;
    if (p->settled)
        return;
    jit_wait_outside(j);
    p->settled = true;
}

void jit_code_page_unpin(struct jit *j, const struct code_fetch *f)
{
    struct code_page *p = map_get(&j->pages, (uintptr_t)f->host >> PAGE_BITS);
    BUG_ON(!p || !p->pins);
    p->pins--;
}

static uint64_t chunk_mask(uint64_t first, uint64_t last) // offsets in the page, inclusive
{
    unsigned lo = (unsigned)(first * CODE_CHUNKS / PAGE_SIZE),
             hi = (unsigned)(last * CODE_CHUNKS / PAGE_SIZE);
    return (~0ull >> (63 - (hi - lo))) << lo;
}

// Kills the blocks of p that cover any of these chunks, and says anew what the others cover.
static void kill_covering(struct jit *j, struct code_page *p, uint64_t chunks)
{
    p->chunks = 0;
    for (unsigned k = 0; k < 2; k++) {
        struct block *b, *next;
        list_for_each_safe(b, next, &p->blocks[k], page_in[k])
        {
            if (b->chunks[k] & chunks) {
                jit_block_kill(j, b);
                j->killed++;
            } else {
                p->chunks |= b->chunks[k];
            }
        }
    }
}

static void page_written(struct jit *j, uintptr_t page, uint64_t chunks)
{
    struct code_page *p = map_get(&j->pages, page >> PAGE_BITS);
    if (!p)
        return;
    if (j->c.no_chunks)
        chunks = ~0ull;
    if (p->chunks & chunks)
        kill_covering(j, p, chunks);
    if (!list_empty(&p->blocks[0]) || !list_empty(&p->blocks[1]) || p->pins)
        return;
    if (p->ram)
        ram_code_unmark(p->ram, p->off);
    map_del(&j->pages, page >> PAGE_BITS);
    free(p);
}

void jit_code_written(void *opaque, struct ram *r, uint64_t off, uint64_t len)
{
    struct jit *j = opaque;
    jit_lock(j);
    for (uint64_t at = off, end = off + len; at < end;) {
        uint64_t stop = MIN((at & PAGE_MASK) + PAGE_SIZE, end);
        page_written(j, (uintptr_t)ram_host(r) + (at & PAGE_MASK),
                     chunk_mask(at & ~PAGE_MASK, (stop - 1) & ~PAGE_MASK));
        at = stop;
    }
    jit_unlock(j);
}

bool jit_code_overlaps(struct jit *j, const uint8_t *host, size_t n)
{
    uintptr_t at = (uintptr_t)host;
    jit_lock(j);
    const struct code_page *p = map_get(&j->pages, at >> PAGE_BITS);
    bool hit =
        p && p->chunks & chunk_mask(at & ~PAGE_MASK, MIN((at & ~PAGE_MASK) + n, PAGE_SIZE) - 1);
    jit_unlock(j);
    return hit;
}

static void flush_code_page(struct jit_vcpu *v, uint64_t at, uint64_t first, uint64_t last)
{
    struct jit *j = v->jit;
    uintptr_t page = (uintptr_t)j->c.user_base + at;
    if (!j->c.user_mode) {
        struct code_fetch f;
        struct env_fault fault;
        if (jit_resolve_code(v, at, &f, &fault))
            return;
        page = (uintptr_t)f.host;
    }
    jit_lock(j);
    page_written(j, page, chunk_mask(first & ~PAGE_MASK, last & ~PAGE_MASK));
    jit_unlock(j);
}

// Code at these addresses of the current context is no longer what it was, though nobody saw a
// store: breakpoints, maintenance by the guest (harmless where stores were seen), user-mode maps.
void jit_code_flush(struct env *e, gva_t va, uint64_t len)
{
    struct jit_vcpu *v = jit_vcpu_of(e);
    if (!len)
        return;
    uint64_t last = va + len - 1 < va ? ~0ull : va + len - 1;
    for (uint64_t at = va & PAGE_MASK;; at += PAGE_SIZE) {
        flush_code_page(v, at, MAX(at, va), MIN(at | ~PAGE_MASK, last));
        if (at >= (last & PAGE_MASK))
            break;
    }
}
