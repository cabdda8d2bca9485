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

static struct kvm_slot *find(struct kvm *k, const struct kvm_slot *like)
{
    for (size_t i = 0; i < k->slots.len; i++)
        if (k->slots.data[i].used && same(&k->slots.data[i], like))
            return &k->slots.data[i];
    return NULL;
}

static struct kvm_slot *free_slot(struct kvm *k)
{
    for (size_t i = 0; i < k->slots.len; i++)
        if (!k->slots.data[i].used)
            return &k->slots.data[i];
    if (k->slots.len >= (size_t)k->facts.caps[KVM_CAP_NR_MEMSLOTS])
        return NULL;
    uint32_t id = (uint32_t)k->slots.len; // its place: what dirty rings name it by
    vec_push(&k->slots, (struct kvm_slot){.id = id});
    return &k->slots.data[k->slots.len - 1];
}

static void put_in(struct kvm *k, const struct kvm_slot *w)
{
    struct kvm_slot *s = free_slot(k);
    if (!s) {
        if (!k->slots_exhausted)
            log_warn("-accel kvm: all %d memory slots of the kernel are in use: guest memory at "
                     "0x%" PRIx64 " (%s) will be slow, and no code can run there",
                     k->facts.caps[KVM_CAP_NR_MEMSLOTS], w->base, ram_name(w->ram));
        k->slots_exhausted = true;
        return;
    }
    uint32_t id = s->id;
    *s = *w;
    s->id = id;
    if (!set(k, s, s->size))
        return;
    log_warn("-accel kvm: guest memory at 0x%" PRIx64 ", %" PRIu64 " KiB (%s): %s", w->base,
             w->size / KiB, ram_name(w->ram), strerror(errno));
    s->used = false;
}

static bool any_gone(const struct kvm *k, const struct wanted *w)
{
    for (size_t i = 0; i < k->slots.len; i++) {
        bool keep = !k->slots.data[i].used;
        for (size_t j = 0; j < w->len && !keep; j++)
            keep = same(&k->slots.data[i], &w->data[j]);
        if (!keep)
            return true;
    }
    return false;
}

void kvm_slots_update(struct kvm *k)
{
    struct wanted w = {0};
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
        bool keep = false;
        for (size_t j = 0; s->used && j < w.len && !keep; j++) {
            keep = same(s, &w.data[j]);
            if (keep && s->logging != w.data[j].logging) {
                if (s->logging)
                    kvm_dirty_collect_slot(k, s);
                s->logging = w.data[j].logging;
                set(k, s, s->size);
            }
        }
        if (s->used && !keep)
            take_out(k, s);
    }
    for (size_t j = 0; j < w.len; j++)
        if (!find(k, &w.data[j]))
            put_in(k, &w.data[j]);
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
