// Memory slots: which host memory the kernel shows at which guest address. Whenever the address
// space changes, its RAM is compared with the slots there are; what is gone is taken out first. ROM
// is a read-only slot whose writes come out as accesses. What is not aligned to pages, or finds no
// slot free, stays without one: the guest's accesses to it come out one by one, slow but right.
#include "accel/kvm/kvm.h"
#include "base/bits.h"
#include "base/hostmem.h"
#include "base/log.h"
#include "memory/ram_host.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

enum { BIGGEST = 1 << 30 }; // pages: the kernel takes less than 2^31 at once

static int set(struct kvm *k, const struct kvm_slot *s, uint64_t size)
{
    struct kvm_userspace_memory_region m = {
        .slot = s->id,
        .flags = (s->readonly ? KVM_MEM_READONLY : 0) |
                 (s->logging && size ? KVM_MEM_LOG_DIRTY_PAGES : 0),
        .guest_phys_addr = s->base,
        .memory_size = size,
        .userspace_addr = (uintptr_t)ram_host(s->ram) + s->off,
    };
    return kvm_ioctl(k->vm, KVM_SET_USER_MEMORY_REGION, &m);
}

static void take_out(struct kvm *k, struct kvm_slot *s)
{
    if (s->logging)
        kvm_dirty_collect_slot(k, s);
    set(k, s, 0);
    s->used = false;
}

static bool same(const struct kvm_slot *a, const struct kvm_slot *b)
{
    return a->base == b->base && a->size == b->size && a->ram == b->ram && a->off == b->off &&
           a->readonly == b->readonly;
}

struct wanted {
    struct kvm_slot *data;
    size_t len, cap;
};

// The RAM of the space as slots would show it.
static void collect(struct kvm *k, struct wanted *w)
{
    uint64_t page = hostmem_page_size();
    gpa_t at = 0;
    do {
        struct space_hit h = space_lookup(k->accel->memory, at);
        if (h.kind == SPACE_RAM) {
            gpa_t start = align_up(at, page), end = align_down(at + h.len, page);
            uint64_t off = h.off + (start - at);
            for (; start < end && !(off % page);) {
                uint64_t n = MIN(end - start, (uint64_t)BIGGEST * page / 2);
                vec_push(w, (struct kvm_slot){.used = true,
                                              .logging = dirty_wanted(h.ram),
                                              .base = start,
                                              .size = n,
                                              .ram = h.ram,
                                              .off = off,
                                              .readonly = h.readonly});
                start += n;
                off += n;
            }
        }
        at += h.len;
    } while (at && at != UINT64_MAX); // a space of 2^64 ends where addresses begin again
}

// The wanted piece that this slot shows; NULL: none any more.
static struct kvm_slot *match(const struct wanted *w, const struct kvm_slot *s)
{
    size_t from = 0, to = w->len; // by address, as collect found them
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (w->data[mid].base < s->base)
            from = mid + 1;
        else
            to = mid;
    }
    return from < w->len && same(&w->data[from], s) ? &w->data[from] : NULL;
}

// `*from`: no slot before it is free.
static struct kvm_slot *free_slot(struct kvm *k, size_t *from)
{
    for (; *from < k->slots.len; ++*from)
        if (!k->slots.data[*from].used)
            return &k->slots.data[*from];
    if (k->slots.len >= k->most_slots)
        return NULL;
    uint32_t id = (uint32_t)k->slots.len; // its place: what dirty rings name it by
    vec_push(&k->slots, (struct kvm_slot){.id = id});
    return &k->slots.data[k->slots.len - 1];
}

static void exhausted(struct kvm *k, const struct kvm_slot *w)
{
    if (!k->slots_exhausted)
        log_warn("-accel kvm: all %u memory slots of the kernel are in use: guest memory at "
                 "0x%" PRIx64 " (%s) will be slow, and no code can run there",
                 k->most_slots, w->base, ram_name(w->ram));
    k->slots_exhausted = true;
}

// A number that the kernel does not have: there are as many as came before it.
static bool kernel_has_no_more(struct kvm *k, const struct kvm_slot *s)
{
    if (errno != EINVAL || s->id + 1 != k->slots.len ||
        (int)s->id < k->facts.caps[KVM_CAP_NR_MEMSLOTS])
        return false;
    k->most_slots = s->id;
    k->slots.len--;
    return true;
}

static void put_in(struct kvm *k, const struct kvm_slot *w, size_t *from)
{
    struct kvm_slot *s = free_slot(k, from);
    if (!s) {
        exhausted(k, w);
        return;
    }
    uint32_t id = s->id;
    *s = *w;
    s->id = id;
    if (!set(k, s, s->size))
        return;
    if (kernel_has_no_more(k, s)) {
        exhausted(k, w);
        return;
    }
    log_warn("-accel kvm: guest memory at 0x%" PRIx64 ", %" PRIu64 " KiB (%s): %s", w->base,
             w->size / KiB, ram_name(w->ram), strerror(errno));
    s->used = false;
}

static bool any_gone(const struct kvm *k, const struct wanted *w)
{
    for (size_t i = 0; i < k->slots.len; i++)
        if (k->slots.data[i].used && !match(w, &k->slots.data[i]))
            return true;
    return false;
}

static void log_as_wanted(struct kvm *k, struct kvm_slot *s, bool logging)
{
    if (s->logging == logging)
        return;
    if (s->logging)
        kvm_dirty_collect_slot(k, s);
    s->logging = logging;
    set(k, s, s->size);
}

void kvm_slots_update(struct kvm *k)
{
    struct wanted w = {0};
    size_t from = 0;
    if (!k->vcpus.len)
        return;
    mutex_lock(&k->lock);
    collect(k, &w);
    // A guest must not look while what it runs from is out.
    bool held = any_gone(k, &w);
    if (held)
        kvm_hold(k);
    for (size_t i = 0; i < k->slots.len; i++) {
        struct kvm_slot *s = &k->slots.data[i];
        struct kvm_slot *same_piece = s->used ? match(&w, s) : NULL;
        if (same_piece) {
            log_as_wanted(k, s, same_piece->logging);
            same_piece->used = false; // it is there
        } else if (s->used) {
            take_out(k, s);
        }
    }
    for (size_t j = 0; j < w.len; j++)
        if (w.data[j].used)
            put_in(k, &w.data[j], &from);
    if (held)
        kvm_release(k);
    mutex_unlock(&k->lock);
    for (size_t j = 0; j < w.len; j++)
        kvm_dirty_watch(k, w.data[j].ram, true);
    vec_free(&w);
}

void kvm_slots_free(struct kvm *k)
{
    for (size_t i = 0; i < k->slots.len; i++)
        if (k->slots.data[i].used) {
            kvm_dirty_watch(k, k->slots.data[i].ram, false);
            take_out(k, &k->slots.data[i]);
        }
    vec_free(&k->slots);
}
