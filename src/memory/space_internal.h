// Regions, spaces and their flat views, for memory/ alone.
#pragma once

#include "base/list.h"
#include "base/vec.h"
#include "memory/space.h"

#include <stdatomic.h>

enum region_kind { REGION_RAM, REGION_MMIO, REGION_ROMD, REGION_ALIAS };

// Regions are never freed before their space: a look-up result may name one that was unmapped
// meanwhile, and finds it dead (region_enter).
struct region {
    struct space *space;
    char *name;
    enum region_kind kind;
    gpa_t base;
    uint64_t size; // 0: 2^64
    int prio;
    uint64_t age; // the later wins among equals
    bool enabled;
    struct ram *ram;
    uint64_t ram_off;
    bool readonly, rom_mode;
    const struct mmio_ops *ops;
    void *opaque;
    struct mmio_guard *guard;
    struct space *other; // alias
    gpa_t other_base;
    struct list link;       // in space->regions or space->dead
    struct list ram_link;   // in ram->regions
    struct list alias_link; // in other->aliases
    struct list doorbells;
    _Atomic uint32_t users; // accesses under way
    _Atomic bool dead;
};

// One piece of a flat view: [start, last] inclusive.
struct range {
    gpa_t start, last;
    struct ram *ram;             // NULL: registers
    uint64_t off;                // into ram or the region's window
    const struct region *region; // registers, or a ROM's register side
    bool readonly;
};
struct flat {
    struct range *data;
    size_t len, cap;
};

// A published view. Look-ups copy ranges out and check `seq` afterwards; views are overwritten only
// after they were replaced, and freed only with their space.
struct view {
    _Atomic uint32_t seq; // odd while being written
    _Atomic size_t len;
    size_t cap;
    struct view *older; // outgrown
    struct view_range {
        _Atomic uint64_t start, last, ram, off, region, readonly;
    } ranges[];
};

struct space_listener {
    void (*changed)(void *opaque);
    void *opaque;
};

struct space {
    char *name;
    gpa_t last;
    struct list regions, dead;
    struct list aliases; // regions of other spaces that look at this one
    struct flat flat;    // what is published
    _Atomic(struct view *) view[2];
    _Atomic unsigned current; // which of the two
    _Atomic uint32_t generation;
    VEC(struct space_listener) listeners;
};

// view.c: with the topology lock held. Recomputes; true when it differs from what was published,
// which it then has replaced.
bool space_reflatten(struct space *s);
void space_views_free(struct space *s);

// space.c: the lock over all topologies.
void space_topology_lock(void);
void space_topology_unlock(void);
// space.c: with the lock held; tells the listeners of this space and of all that see it, and lets
// go of the lock.
void space_touch_unlock(struct space *s);
// space.c: pages of `r` must trap again; bumps generations and tells listeners.
void space_retrap(struct ram *r);

// mmio.c: one access of 1 to 8 bytes inside the region's window.
enum mem_result mmio_read(struct region *r, uint64_t off, unsigned size, uint64_t *val,
                          struct mem_attrs attrs);
enum mem_result mmio_write(struct region *r, uint64_t off, unsigned size, uint64_t val,
                           struct mem_attrs attrs);
static inline uint64_t region_last(const struct region *r) // offset of the last byte
{
    return r->size - 1;
}
