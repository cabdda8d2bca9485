// Flat views: regions with priorities and windows onto other spaces become one sorted list of
// ranges. A view is published in one of two buffers, turn about; readers take no lock and write
// nothing: they search, copy the range out, and look again only if the buffer they read was reused
// meanwhile (a sequence counter per buffer). Buffers live as long as their space, so a slow reader
// reads stale numbers at worst, never freed memory.
#include "memory/space_internal.h"

#include <stdlib.h>

// Priority first, then age: what wins comes first.
static int by_precedence(const void *a, const void *b)
{
    const struct region *x = *(struct region *const *)a, *y = *(struct region *const *)b;
    if (x->prio != y->prio)
        return x->prio > y->prio ? -1 : 1;
    return x->age > y->age ? -1 : 1;
}

static struct range cut(struct range r, gpa_t start, gpa_t last)
{
    r.off += start - r.start;
    r.start = start;
    r.last = last;
    return r;
}

static void insert(struct flat *into, size_t at, struct range r)
{
    vec_reserve(into, into->len + 1);
    memmove(into->data + at + 1, into->data + at, (into->len++ - at) * sizeof r);
    into->data[at] = r;
}

// The first range that ends at or above `a`.
static size_t first_reaching(const struct flat *f, gpa_t a)
{
    size_t lo = 0, n = f->len;
    while (n) {
        size_t half = n / 2;
        if (f->data[lo + half].last < a) {
            lo += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return lo;
}

// Adds the parts of `r` that `into` does not cover yet. `into` stays sorted.
static void fill_gaps(struct flat *into, struct range r)
{
    gpa_t at = r.start;
    for (size_t i = first_reaching(into, at);; i++) {
        if (i == into->len || into->data[i].start > r.last) {
            insert(into, i, cut(r, at, r.last));
            return;
        }
        if (into->data[i].start > at) {
            insert(into, i, cut(r, at, into->data[i].start - 1));
            i++;
        }
        if (into->data[i].last >= r.last)
            return;
        at = into->data[i].last + 1;
    }
}

static void add_alias(struct flat *into, const struct region *a, gpa_t last)
{
    gpa_t to = a->other_base + (last - a->base); // the window's last address in the other space
    if (to < a->other_base)
        to = UINT64_MAX;
    for (size_t i = 0; i < a->other->flat.len; i++) {
        struct range r = a->other->flat.data[i];
        if (r.last < a->other_base || r.start > to)
            continue;
        r = cut(r, MAX(r.start, a->other_base), MIN(r.last, to));
        r.start += a->base - a->other_base;
        r.last += a->base - a->other_base;
        fill_gaps(into, r);
    }
}

static void add_region(struct flat *into, const struct space *s, const struct region *r)
{
    if (!r->enabled || r->base > s->last)
        return;
    gpa_t last = r->base + region_last(r);
    if (last < r->base || last > s->last)
        last = s->last;
    if (r->kind == REGION_ALIAS) {
        add_alias(into, r, last);
        return;
    }
    bool ram = r->kind == REGION_RAM || (r->kind == REGION_ROMD && r->rom_mode);
    fill_gaps(into, (struct range){
                        .start = r->base,
                        .last = last,
                        .ram = ram ? r->ram : NULL,
                        .off = ram ? r->ram_off : 0,
                        .region = r->kind == REGION_RAM ? NULL : r,
                        .readonly = ram && (r->readonly || r->kind == REGION_ROMD),
                    });
}

// Neighbours that continue each other become one.
static void merge(struct flat *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->len; i++) {
        struct range *prev = n ? &f->data[n - 1] : NULL, *r = &f->data[i];
        if (prev && prev->last + 1 == r->start && prev->ram == r->ram &&
            prev->region == r->region && prev->readonly == r->readonly &&
            prev->off + (r->start - prev->start) == r->off)
            prev->last = r->last;
        else
            f->data[n++] = *r;
    }
    f->len = n;
}

static bool same(const struct flat *a, const struct flat *b)
{
    if (a->len != b->len)
        return false;
    for (size_t i = 0; i < a->len; i++) {
        const struct range *x = &a->data[i], *y = &b->data[i];
        if (x->start != y->start || x->last != y->last || x->ram != y->ram || x->off != y->off ||
            x->region != y->region || x->readonly != y->readonly)
            return false;
    }
    return true;
}

static struct view *view_with_room(struct view *v, size_t n)
{
    if (v && v->cap >= n)
        return v;
    size_t cap = MAX(n * 2, (size_t)32);
    struct view *bigger = xalloc(sizeof *bigger + cap * sizeof bigger->ranges[0]);
    bigger->cap = cap;
    bigger->older = v;
    return bigger;
}

static void publish(struct space *s)
{
    unsigned next = !s->current;
    struct view *v = view_with_room(s->view[next], s->flat.len);
    uint32_t seq = v->seq;
    atomic_store_explicit(&v->seq, seq + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&v->len, s->flat.len, memory_order_relaxed);
    for (size_t i = 0; i < s->flat.len; i++) {
        const struct range *from = &s->flat.data[i];
        struct view_range *to = &v->ranges[i];
        atomic_store_explicit(&to->start, from->start, memory_order_relaxed);
        atomic_store_explicit(&to->last, from->last, memory_order_relaxed);
        atomic_store_explicit(&to->ram, (uintptr_t)from->ram, memory_order_relaxed);
        atomic_store_explicit(&to->off, from->off, memory_order_relaxed);
        atomic_store_explicit(&to->region, (uintptr_t)from->region, memory_order_relaxed);
        atomic_store_explicit(&to->readonly, from->readonly, memory_order_relaxed);
    }
    atomic_store_explicit(&v->seq, seq + 2, memory_order_release);
    atomic_store(&s->view[next], v);
    atomic_store(&s->current, next);
    atomic_fetch_add(&s->generation, 1);
}

bool space_reflatten(struct space *s)
{
    VEC(struct region *) order = {0};
    struct region *r;
    struct flat f = {0};
    list_for_each(r, &s->regions, link) vec_push(&order, r);
    if (order.len)
        qsort(order.data, order.len, sizeof(struct region *), by_precedence);
    for (size_t i = 0; i < order.len; i++)
        add_region(&f, s, order.data[i]);
    vec_free(&order);
    merge(&f);
    if (same(&f, &s->flat) && s->view[s->current]) {
        vec_free(&f);
        return false;
    }
    vec_free(&s->flat);
    s->flat = f;
    publish(s);
    return true;
}

void space_views_free(struct space *s)
{
    for (int i = 0; i < 2; i++) {
        struct view *v = s->view[i], *older;
        for (; v; v = older) {
            older = v->older;
            free(v);
        }
    }
    vec_free(&s->flat);
}

static uint64_t get(const _Atomic uint64_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

// The number of ranges that start at or below `a`.
static size_t search(const struct view *v, size_t n, gpa_t a)
{
    size_t lo = 0;
    while (n) {
        size_t half = n / 2;
        if (get(&v->ranges[lo + half].start) <= a) {
            lo += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return lo;
}

struct space_hit space_lookup(struct space *s, gpa_t a)
{
    for (;;) {
        const struct view *v =
            atomic_load_explicit(&s->view[atomic_load_explicit(&s->current, memory_order_acquire)],
                                 memory_order_acquire);
        uint32_t seq = atomic_load_explicit(&v->seq, memory_order_acquire);
        size_t n = MIN(atomic_load_explicit(&v->len, memory_order_relaxed), v->cap);
        size_t at = search(v, n, a);
        gpa_t gap_end = at < n ? get(&v->ranges[at].start) - 1 : s->last;
        struct space_hit h = {.kind = SPACE_NOTHING, .len = gap_end - a + 1};
        if (at) {
            const struct view_range *r = &v->ranges[at - 1];
            gpa_t start = get(&r->start), last = get(&r->last);
            if (a <= last) {
                h.ram = (struct ram *)(uintptr_t)get(&r->ram);
                h.kind = h.ram ? SPACE_RAM : SPACE_MMIO;
                h.off = get(&r->off) + (a - start);
                h.len = last - a + 1;
                h.before = a - start;
                h.region = (const struct region *)(uintptr_t)get(&r->region);
                h.readonly = get(&r->readonly);
            }
        }
        if (!h.len) // 2^64 from address 0
            h.len = UINT64_MAX;
        atomic_thread_fence(memory_order_acquire);
        if (!(seq & 1) && atomic_load_explicit(&v->seq, memory_order_relaxed) == seq)
            return h;
    }
}

void space_near_find(struct space_near *n, struct space *s, gpa_t a)
{
    uint32_t generation = space_generation(s); // before the look-up: what changes later is noticed
    struct space_hit h = space_lookup(s, a);
    *n = (struct space_near){.space = s,
                             .generation = generation,
                             .start = a - h.before,
                             .hit = space_hit_at(h, -(int64_t)h.before)};
}
