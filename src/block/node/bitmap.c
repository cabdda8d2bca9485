// Dirty bitmaps on their nodes.

#include "block/node/bitmap.h"
#include "base/bits.h"
#include "block/node/node.h"
#include <stdlib.h>

enum { SHIFT_DEFAULT_MIN = 12, SHIFT_DEFAULT_MAX = 16 };

struct bitmap *bitmap_next(const struct block_node *n, struct bitmap *prev)
{
    struct list *at = prev ? prev->link.next : n->bitmaps.next;
    return at == &n->bitmaps ? NULL : list_entry(at, struct bitmap, link);
}

struct bitmap *bitmap_find(const struct block_node *n, const char *name)
{
    struct bitmap *b = bitmap_next(n, NULL);
    while (b && strcmp(b->name, name))
        b = bitmap_next(n, b);
    return b;
}

static unsigned default_shift(struct block_node *n)
{
    struct block_facts f = {0};
    if (n->drv->image && n->drv->image->facts)
        n->drv->image->facts(n, &f);
    unsigned shift = f.cluster_size ? log2_floor(f.cluster_size) : SHIFT_DEFAULT_MAX;
    return MAX(MIN(shift, (unsigned)SHIFT_DEFAULT_MAX), (unsigned)SHIFT_DEFAULT_MIN);
}

struct bitmap *bitmap_new(struct block_node *n, const char *name, unsigned shift, bool persistent,
                          struct err *e)
{
    if (!*name || strlen(name) > BITMAP_NAME_MAX) {
        err_set(e, "a bitmap's name has 1 to %d bytes", BITMAP_NAME_MAX);
        return NULL;
    }
    if (bitmap_find(n, name)) {
        err_set(e, "Bitmap already exists: %s", name);
        return NULL;
    }
    shift = shift ?: default_shift(n);
    if (shift < BITMAP_SHIFT_MIN || shift > BITMAP_SHIFT_MAX) {
        err_set(e, "granules go from 512 bytes to 2 GiB");
        return NULL;
    }
    if (persistent && (!n->drv->image || !n->drv->image->check_bitmap)) {
        err_set(e, "Driver '%s' does not support persistent bitmaps", n->drv->name);
        return NULL;
    }
    if (persistent && (n->in.read_only || n->drv->image->check_bitmap(n, e))) {
        if (n->in.read_only)
            err_set(e, "node '%s' is read-only", n->node_name);
        return NULL;
    }
    struct bitmap *b = xalloc(sizeof *b);
    if (dirty_map_init(&b->map, n->size, shift)) {
        err_set(e, "there is not enough memory for a bitmap of such granules");
        free(b);
        return NULL;
    }
    b->n = n;
    b->name = xstrdup(name);
    b->persistent = persistent;
    list_append(&n->bitmaps, &b->link);
    bitmap_enable(b, true);
    return b;
}

void bitmap_free(struct bitmap *b)
{
    list_remove(&b->link);
    dirty_map_free(&b->map);
    free(b->name);
    free(b);
}

void bitmaps_free(struct block_node *n)
{
    struct bitmap *b;
    while ((b = bitmap_next(n, NULL)))
        bitmap_free(b);
}

void bitmap_enable(struct bitmap *b, bool on)
{
    if (on == b->enabled)
        return;
    b->enabled = on;
    if (on)
        gate_watch(b->n, &b->map);
    else
        list_remove(&b->map.link);
}

int bitmap_check(const struct bitmap *b, bool change, struct err *e)
{
    if (b->busy)
        return err_set(e, "Bitmap '%s' is currently in use by another operation and cannot be used",
                       b->name);
    if (b->inconsistent)
        return err_set(e, "Bitmap '%s' is inconsistent and cannot be used; remove it", b->name);
    if (change && b->persistent && b->n->in.read_only)
        return err_set(e, "Bitmap '%s' is readonly and cannot be modified", b->name);
    return 0;
}

static size_t words_of(const struct dirty_map *m)
{
    return m->granules / 64 + 1;
}

static uint64_t count_bits(const struct dirty_map *m)
{
    uint64_t set = 0;
    for (size_t i = 0; i < words_of(m); i++)
        set += (uint64_t)__builtin_popcountll(m->bits[i]);
    return set;
}

uint64_t *bitmap_take_bits(struct bitmap *b)
{
    uint64_t *bits = b->map.bits;
    b->map.bits = xcalloc(words_of(&b->map), 8);
    b->map.set = 0;
    return bits;
}

void bitmap_put_bits(struct bitmap *b, uint64_t *bits)
{
    free(b->map.bits);
    b->map.bits = bits;
    b->map.set = count_bits(&b->map);
}

void bitmap_add_bits(struct bitmap *b, const uint64_t *bits)
{
    for (size_t i = 0; i < words_of(&b->map); i++)
        b->map.bits[i] |= bits[i];
    b->map.set = count_bits(&b->map);
}

void bitmap_merge(struct bitmap *b, const struct bitmap *from)
{
    const struct dirty_map *m = &from->map;
    for (uint64_t g = 0; g < m->granules; g++)
        if (m->bits[g >> 6] >> (g & 63) & 1)
            dirty_map_mark(&b->map, g << m->shift, 1ull << m->shift);
        else if (!(m->bits[g >> 6] >> (g & 63)))
            g |= 63; // no more in this word
}

// What is new is clean: it reads as zeros, and no backup lacks it.
void bitmaps_resize(struct block_node *n)
{
    for (struct bitmap *b = bitmap_next(n, NULL); b; b = bitmap_next(n, b)) {
        struct dirty_map *m = &b->map;
        size_t had = words_of(m);
        m->granules = (n->size + (1ull << m->shift) - 1) >> m->shift;
        uint64_t *bits = xcalloc(words_of(m), 8);
        memcpy(bits, m->bits, MIN(had, words_of(m)) * 8);
        if (m->granules & 63)
            bits[m->granules >> 6] &= mask_low(m->granules & 63);
        else
            bits[m->granules >> 6] = 0;
        bitmap_put_bits(b, bits);
    }
}
