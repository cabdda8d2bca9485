// RAM blocks: allocation, contents, life. Blocks are sparse; a guest may be given more than the
// host has, with a warning, as long as the host's address space and limits allow the mapping.
#include "base/log.h"
#include "memory/ram_internal.h"

#include <stdlib.h>

int page_map_new(struct page_map *m, uint64_t size, struct err *e)
{
    uint64_t pages = (size >> RAM_PAGE_BITS) + 1;
    if (hostmem_map(&m->mem, "page bitmap", (pages + 63) / 64 * 8, false, e))
        return -1;
    m->words = (_Atomic uint64_t *)m->mem.base;
    return 0;
}

void page_map_free(struct page_map *m)
{
    hostmem_unmap(&m->mem);
    m->words = NULL;
}

struct ram *ram_new(const char *name, uint64_t size, bool shared, struct err *e)
{
    return ram_new_from(name, size, &(struct hostmem_source){.shared = shared}, e);
}

struct ram *ram_new_from(const char *name, uint64_t size, const struct hostmem_source *s,
                         struct err *e)
{
    if (!size || size & (DIRTY_PAGE_SIZE - 1)) {
        err_set(e, "%s: its size, %llu bytes, is not a multiple of 4 KiB", name,
                (unsigned long long)size);
        return NULL;
    }
    struct ram *r = xalloc(sizeof *r);
    if (hostmem_map_from(&r->mem, name, size, s, e) || page_map_new(&r->code, size, e)) {
        hostmem_unmap(&r->mem);
        free(r);
        return NULL;
    }
    uint64_t installed = hostmem_installed();
    if (installed && size > installed)
        log_warn("%s: %llu MiB are more than the host's %llu MiB of memory and swap; the host will "
                 "end the machine if the guest uses them all",
                 name, (unsigned long long)(size >> 20), (unsigned long long)(installed >> 20));
    r->name = xstrdup(name);
    r->size = size;
    r->refs = 1;
    pthread_mutex_init(&r->dirty_lock, NULL);
    pthread_mutex_init(&r->source_lock, NULL);
    list_init(&r->regions);
    return r;
}

void ram_ref(struct ram *r)
{
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
}

void ram_free(struct ram *r)
{
    if (!r || atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    BUG_ON(!list_empty(&r->regions));
    hostmem_unmap(&r->mem);
    page_map_free(&r->code);
    for (int u = 0; u < DIRTY_USERS; u++)
        page_map_free(&r->dirty[u]);
    pthread_mutex_destroy(&r->dirty_lock);
    pthread_mutex_destroy(&r->source_lock);
    free(r->name);
    free(r);
}

uint64_t ram_size(const struct ram *r)
{
    return r->size;
}

const char *ram_name(const struct ram *r)
{
    return r->name;
}

int ram_fd(const struct ram *r)
{
    return r->mem.fd;
}

uint8_t *ram_host(struct ram *r)
{
    return r->mem.base;
}

void ram_write(struct ram *r, uint64_t off, const void *src, size_t n)
{
    BUG_ON(!ram_has(r, off, n));
    if (!n)
        return;
    memcpy(r->mem.base + off, src, n);
    ram_wrote(r, off, n);
}

void ram_read(const struct ram *r, uint64_t off, void *dst, size_t n)
{
    BUG_ON(!ram_has(r, off, n));
    if (n)
        memcpy(dst, r->mem.base + off, n);
}

void ram_zero(struct ram *r, uint64_t off, uint64_t n)
{
    BUG_ON(!ram_has(r, off, n));
    uint64_t page = hostmem_page_size();
    uint64_t from = (off + page - 1) & ~(page - 1), to = (off + n) & ~(page - 1);
    if (from >= to || !hostmem_discard(&r->mem, from, to - from)) {
        memset(r->mem.base + off, 0, n);
    } else {
        memset(r->mem.base + off, 0, from - off);
        memset(r->mem.base + to, 0, off + n - to);
    }
    ram_wrote(r, off, n);
}
