// Spaces and regions: the topology and its changes. All topologies of the process share one lock,
// since windows tie spaces together; it is held while views are recomputed, never while anyone is
// called.
#include "memory/space_internal.h"
#include "base/thread.h"
#include "memory/ram_internal.h"

#include <stdlib.h>
#include <time.h>

static pthread_mutex_t topology = PTHREAD_MUTEX_INITIALIZER;

void space_topology_lock(void)
{
    mutex_lock(&topology);
}

void space_topology_unlock(void)
{
    mutex_unlock(&topology);
}

struct changes {
    VEC(struct space_listener) calls;
};

static void changed(struct space *s, struct changes *c)
{
    for (size_t i = 0; i < s->listeners.len; i++)
        vec_push(&c->calls, s->listeners.data[i]);
}

// Recomputes a space and everything that looks at it through a window.
static void refresh(struct space *s, struct changes *c)
{
    struct region *a;
    if (!space_reflatten(s))
        return;
    changed(s, c);
    list_for_each(a, &s->aliases, alias_link) refresh(a->space, c);
}

// Ends a change: lets go of the lock and calls the listeners, each once.
static void finish(struct changes *c)
{
    mutex_unlock(&topology);
    for (size_t i = 0; i < c->calls.len; i++) {
        struct space_listener *l = &c->calls.data[i];
        bool before = false;
        for (size_t j = 0; j < i && !before; j++)
            before = c->calls.data[j].changed == l->changed && c->calls.data[j].opaque == l->opaque;
        if (!before)
            l->changed(l->opaque);
    }
    vec_free(&c->calls);
}

struct space *space_new(const char *name, uint64_t size_minus_1)
{
    struct space *s = xalloc(sizeof *s);
    s->name = xstrdup(name);
    s->last = size_minus_1;
    list_init(&s->regions);
    list_init(&s->dead);
    list_init(&s->aliases);
    space_reflatten(s); // publishes the empty view
    return s;
}

static void free_regions(struct list *l)
{
    struct region *r, *next;
    list_for_each_safe(r, next, l, link)
    {
        list_remove(&r->link);
        list_remove(&r->ram_link);
        list_remove(&r->alias_link);
        free(r->name);
        free(r);
    }
}

void space_free(struct space *s)
{
    if (!s)
        return;
    struct changes c = {0};
    struct region *a, *next;
    mutex_lock(&topology);
    list_for_each_safe(a, next, &s->aliases, alias_link)
    {
        list_remove(&a->alias_link);
        a->enabled = false;
        a->dead = true;
        refresh(a->space, &c);
    }
    free_regions(&s->regions);
    free_regions(&s->dead);
    space_views_free(s);
    vec_free(&s->listeners);
    finish(&c);
    free(s->name);
    free(s);
}

// Whether `from` sees `to` through windows, itself included.
static bool reaches(const struct space *from, const struct space *to)
{
    struct region *r;
    if (from == to)
        return true;
    list_for_each(r, &from->regions, link) if (r->kind == REGION_ALIAS && !r->dead &&
                                               reaches(r->other, to)) return true;
    return false;
}

static struct region *add(struct space *s, const char *name, struct region init)
{
    struct region *r = xalloc(sizeof *r), *other;
    struct changes c = {0};
    *r = init;
    r->space = s;
    r->name = xstrdup(name);
    r->enabled = true;
    list_init(&r->ram_link);
    list_init(&r->alias_link);
    list_init(&r->doorbells);
    mutex_lock(&topology);
    list_for_each(other, &s->regions, link) r->age = MAX(r->age, other->age + 1);
    list_append(&s->regions, &r->link);
    if (r->ram)
        list_append(&r->ram->regions, &r->ram_link);
    if (r->other) {
        BUG_ON(reaches(r->other, s));
        list_append(&r->other->aliases, &r->alias_link);
    }
    refresh(s, &c);
    finish(&c);
    return r;
}

struct region *space_map_ram(struct space *s, const char *name, gpa_t base, struct ram *r,
                             uint64_t ram_off, uint64_t size, bool readonly, int prio)
{
    BUG_ON(!size || !ram_has(r, ram_off, size));
    return add(s, name,
               (struct region){.kind = REGION_RAM,
                               .base = base,
                               .size = size,
                               .prio = prio,
                               .ram = r,
                               .ram_off = ram_off,
                               .readonly = readonly});
}

struct region *space_map_mmio(struct space *s, const char *name, gpa_t base, uint64_t size,
                              const struct mmio_ops *ops, void *opaque, struct mmio_guard *guard,
                              int prio)
{
    BUG_ON(!size);
    return add(s, name,
               (struct region){.kind = REGION_MMIO,
                               .base = base,
                               .size = size,
                               .prio = prio,
                               .ops = ops,
                               .opaque = opaque,
                               .guard = guard});
}

struct region *space_map_romd(struct space *s, const char *name, gpa_t base, struct ram *r,
                              uint64_t size, const struct mmio_ops *ops, void *opaque,
                              struct mmio_guard *guard, int prio)
{
    BUG_ON(!size || !ram_has(r, 0, size));
    return add(s, name,
               (struct region){.kind = REGION_ROMD,
                               .base = base,
                               .size = size,
                               .prio = prio,
                               .ram = r,
                               .rom_mode = true,
                               .ops = ops,
                               .opaque = opaque,
                               .guard = guard});
}

struct region *space_map_alias(struct space *s, const char *name, gpa_t base, struct space *other,
                               gpa_t other_base, uint64_t size, int prio)
{
    return add(s, name,
               (struct region){.kind = REGION_ALIAS,
                               .base = base,
                               .size = size,
                               .prio = prio,
                               .other = other,
                               .other_base = other_base});
}

void region_set_romd(struct region *r, bool rom_mode)
{
    struct changes c = {0};
    mutex_lock(&topology);
    r->rom_mode = rom_mode;
    refresh(r->space, &c);
    finish(&c);
}

void region_move(struct region *r, gpa_t base)
{
    struct changes c = {0};
    mutex_lock(&topology);
    r->base = base;
    refresh(r->space, &c);
    finish(&c);
}

void region_enable(struct region *r, bool on)
{
    struct changes c = {0};
    mutex_lock(&topology);
    r->enabled = on && !r->dead;
    refresh(r->space, &c);
    finish(&c);
}

void region_unmap(struct region *r)
{
    struct changes c = {0};
    if (!r)
        return;
    mutex_lock(&topology);
    r->enabled = false;
    atomic_store(&r->dead, true);
    list_remove(&r->link);
    list_append(&r->space->dead, &r->link);
    list_remove(&r->ram_link);
    list_remove(&r->alias_link);
    refresh(r->space, &c);
    finish(&c);
    // Unplugging is rare and handlers are short: looking now and then is enough.
    while (atomic_load(&r->users))
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

uint32_t space_generation(const struct space *s)
{
    return atomic_load_explicit(&s->generation, memory_order_acquire);
}

void space_listen(struct space *s, void (*fn)(void *opaque), void *opaque)
{
    mutex_lock(&topology);
    vec_push(&s->listeners, (struct space_listener){fn, opaque});
    mutex_unlock(&topology);
}

void space_unlisten(struct space *s, void (*fn)(void *opaque), void *opaque)
{
    mutex_lock(&topology);
    for (size_t i = s->listeners.len; i--;)
        if (s->listeners.data[i].changed == fn && s->listeners.data[i].opaque == opaque)
            vec_remove(&s->listeners, i);
    mutex_unlock(&topology);
}

// The space and all that see it: a new generation, the same view.
static void touch(struct space *s, struct changes *c)
{
    struct region *a;
    atomic_fetch_add(&s->generation, 1);
    changed(s, c);
    list_for_each(a, &s->aliases, alias_link) touch(a->space, c);
}

void space_touch_unlock(struct space *s)
{
    struct changes c = {0};
    touch(s, &c);
    finish(&c);
}

void space_retrap(struct ram *ram)
{
    struct changes c = {0};
    struct region *r;
    mutex_lock(&topology);
    list_for_each(r, &ram->regions, ram_link) touch(r->space, &c);
    finish(&c);
}
