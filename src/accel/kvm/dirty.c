// Pages that the guest wrote, as the kernel logs them: by a bitmap for each slot, or by a ring of
// page numbers for each vCPU (dirty-ring-size=N). Either way they are marked in memory/dirty when a
// consumer asks, or when a ring is full. Lock order: a block's source lock, then k->lock.
#include "accel/kvm/kvm.h"
#include "base/bits.h"
#include "base/hostmem.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

// ---- bitmaps ----

static void collect_bitmap(struct kvm *k, struct kvm_slot *s)
{
    uint64_t page = hostmem_page_size(), n = s->size / page;
    uint64_t *bits_ = xcalloc((n + 63) / 64, 8);
    struct kvm_dirty_log log = {.slot = s->id, .dirty_bitmap = bits_};
    if (!kvm_ioctl(k->vm, KVM_GET_DIRTY_LOG, &log))
        for (uint64_t w = 0; w < (n + 63) / 64; w++)
            for (uint64_t m = bits_[w]; m; m &= m - 1)
                dirty_mark(s->ram, s->off + (w * 64 + (uint64_t)__builtin_ctzll(m)) * page, page);
    free(bits_);
}

// ---- rings ----

static void mark_ring_page(struct kvm *k, uint32_t slot, uint64_t page_number)
{
    uint64_t page = hostmem_page_size();
    if (slot >= k->slots.len || !k->slots.data[slot].used)
        return;
    struct kvm_slot *s = &k->slots.data[slot];
    if (page_number < s->size / page)
        dirty_mark(s->ram, s->off + page_number * page, page);
}

// Takes what is in a vCPU's ring. k->lock held.
static unsigned harvest(struct kvm *k, struct kvm_vcpu *v)
{
    unsigned n = 0;
    while (v->ring && n < k->ring_entries) {
        struct kvm_dirty_gfn *g = &v->ring[v->ring_at % k->ring_entries];
        if (__atomic_load_n(&g->flags, __ATOMIC_ACQUIRE) != KVM_DIRTY_GFN_F_DIRTY)
            break;
        mark_ring_page(k, g->slot & 0xffff, g->offset);
        __atomic_store_n(&g->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
        v->ring_at++;
        n++;
    }
    return n;
}

static void harvest_all(struct kvm *k)
{
    unsigned n = 0;
    for (size_t i = 0; i < k->vcpus.len; i++)
        n += harvest(k, k->vcpus.data[i]);
    if (n)
        kvm_ioctl_n(k->vm, KVM_RESET_DIRTY_RINGS, 0);
}

void kvm_dirty_ring_full(struct kvm *k)
{
    mutex_lock(&k->lock);
    harvest_all(k);
    mutex_unlock(&k->lock);
}

// ---- both ----

void kvm_dirty_collect_slot(struct kvm *k, struct kvm_slot *s)
{
    if (k->ring_entries)
        harvest_all(k);
    else
        collect_bitmap(k, s);
}

static void collect(void *opaque, struct ram *r)
{
    struct kvm *k = opaque;
    mutex_lock(&k->lock);
    for (size_t i = 0; i < k->slots.len; i++) {
        struct kvm_slot *s = &k->slots.data[i];
        if (s->used && s->logging && s->ram == r)
            kvm_dirty_collect_slot(k, s);
    }
    mutex_unlock(&k->lock);
}

void kvm_dirty_watch(struct kvm *k, struct ram *r, bool on)
{
    dirty_source(r, on ? collect : NULL, k);
}

int kvm_dirty_open(struct kvm *k, struct opts *o, struct err *e)
{
    uint64_t n = 0;
    if (opts_get_u64(o, "dirty-ring-size", &n, e))
        return -1;
    if (!n)
        return 0;
    int cap = kvm_has(k, KVM_CAP_DIRTY_LOG_RING_ACQ_REL) ? KVM_CAP_DIRTY_LOG_RING_ACQ_REL
                                                         : KVM_CAP_DIRTY_LOG_RING;
    uint64_t most =
        kvm_has(k, (unsigned)cap) ? (uint64_t)k->facts.caps[cap] / sizeof(struct kvm_dirty_gfn) : 0;
    if (!most)
        return err_set(e, "dirty-ring-size: this kernel has no dirty rings; leave it out");
    if (!is_pow2(n) || n < 1024 || n > most)
        return err_set(e, "dirty-ring-size=%llu: must be a power of two from 1024 to %llu",
                       (unsigned long long)n, (unsigned long long)most);
    if (kvm_enable(k, (unsigned)cap, n * sizeof(struct kvm_dirty_gfn), 0))
        return err_errno(e, errno, "dirty-ring-size=%llu", (unsigned long long)n);
    k->ring_entries = (uint32_t)n;
    return 0;
}

void kvm_dirty_vcpu_new(struct kvm_vcpu *v)
{
    struct kvm *k = v->kvm;
    if (!k->ring_entries)
        return;
    void *p = mmap(NULL, k->ring_entries * sizeof *v->ring, PROT_READ | PROT_WRITE, MAP_SHARED,
                   v->fd, KVM_DIRTY_LOG_PAGE_OFFSET * (off_t)hostmem_page_size());
    if (p == MAP_FAILED)
        log_warn("-accel kvm: a vCPU's dirty ring cannot be mapped: %s", strerror(errno));
    else
        v->ring = p;
}

void kvm_dirty_vcpu_free(struct kvm_vcpu *v)
{
    if (v->ring)
        munmap(v->ring, v->kvm->ring_entries * sizeof *v->ring);
}
