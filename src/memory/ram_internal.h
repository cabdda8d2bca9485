// A RAM block's state, for memory/ alone.
#pragma once

#include "base/hostmem.h"
#include "base/list.h"
#include "base/thread.h"
#include "memory/dirty.h"
#include "memory/ram.h"
#include "memory/ram_host.h"

#include <stdatomic.h>

enum { RAM_PAGE_BITS = 12 };

// A sparse bitmap of one bit per 4 KiB page.
struct page_map {
    struct hostmem mem;
    _Atomic uint64_t *words;
};
static inline bool page_map_get(const struct page_map *m, uint64_t page)
{
    return m->words[page / 64] >> page % 64 & 1;
}

struct ram {
    char *name;
    uint64_t size;
    struct hostmem mem;
    _Atomic uint32_t refs; // the owner's and one for each pinned span
    struct page_map code;
    _Atomic(ram_code_write_fn *) on_code_write;
    void *on_code_write_opaque;
    _Atomic uint32_t dirty_on;          // bit per enabled dirty_user
    struct page_map dirty[DIRTY_USERS]; // made at the first enable, kept until the end
    pthread_mutex_t dirty_lock;         // enabling
    pthread_mutex_t source_lock;        // dirty_source, and its calls
    void (*collect)(void *opaque, struct ram *r);
    void *collect_opaque;
    struct list regions; // mapping it; under the topology lock of space.c
};

// For `size` bytes of RAM, all clear; takes host memory only where bits are set.
int page_map_new(struct page_map *m, uint64_t size, struct err *e) MUST_CHECK;
void page_map_free(struct page_map *m);

void ram_ref(struct ram *r); // until ram_free
static inline bool ram_has(const struct ram *r, uint64_t off, uint64_t n)
{
    return off <= r->size && n <= r->size - off;
}
