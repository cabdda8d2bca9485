// Doorbells: a list on each region, walked through the flat view of whoever looks at it.
#include "memory/doorbell.h"
#include "memory/space_internal.h"

#include <stdlib.h>

struct doorbell_entry {
    struct list link; // in region->doorbells
    struct region *region;
    struct doorbell d;
};

struct doorbell_entry *doorbell_add(struct region *r, const struct doorbell *d)
{
    struct doorbell_entry *n = xalloc(sizeof *n);
    n->region = r;
    n->d = *d;
    space_topology_lock();
    list_append(&r->doorbells, &n->link);
    space_touch_unlock(r->space);
    return n;
}

void doorbell_remove(struct doorbell_entry *n)
{
    if (!n)
        return;
    space_topology_lock();
    list_remove(&n->link);
    space_touch_unlock(n->region->space);
    free(n);
}

void doorbell_each(struct space *s, void (*fn)(void *opaque, gpa_t at, const struct doorbell *d),
                   void *opaque)
{
    space_topology_lock();
    for (size_t i = 0; i < s->flat.len; i++) {
        const struct range *r = &s->flat.data[i];
        struct doorbell_entry *n;
        if (r->ram || !r->region)
            continue;
        list_for_each(n, &r->region->doorbells,
                      link) if (n->d.off >= r->off && n->d.off - r->off <= r->last - r->start)
            fn(opaque, r->start + (n->d.off - r->off), &n->d);
    }
    space_topology_unlock();
}
