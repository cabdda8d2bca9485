// Register writes that the kernel gathers instead of coming out with each: those of which nothing
// is seen until another register is used. All vCPUs share one ring, which whoever comes out next
// empties before anything else is served, so that the order of accesses stays as it was.
#include "accel/kvm/kvm.h"
#include "base/hostmem.h"

void kvm_coalesce(struct kvm *k, gpa_t at, uint32_t size)
{
    struct kvm_coalesced_mmio_zone z = {.addr = at, .size = size};
    if (kvm_has(k, KVM_CAP_COALESCED_MMIO))
        k->coalesces |= !kvm_ioctl(k->vm, KVM_REGISTER_COALESCED_MMIO, &z);
}

void kvm_coalesced_vcpu_new(struct kvm_vcpu *v)
{
    size_t page = hostmem_page_size(), at = (size_t)v->kvm->facts.caps[KVM_CAP_COALESCED_MMIO];
    if (v->kvm->coalesces && !v->kvm->gathered && (at + 1) * page <= (size_t)v->kvm->facts.run_size)
        v->kvm->gathered = (void *)((char *)v->run + at * page);
}

void kvm_coalesced_serve(struct kvm_vcpu *v)
{
    struct kvm *k = v->kvm;
    struct kvm_coalesced_mmio_ring *r = k->gathered;
    uint32_t slots = (uint32_t)((hostmem_page_size() - sizeof *r) / sizeof r->coalesced_mmio[0]);
    struct space_near near = {0};
    mutex_lock(&k->gathered_lock);
    while (r->first != __atomic_load_n(&r->last, __ATOMIC_ACQUIRE)) {
        struct kvm_coalesced_mmio one = r->coalesced_mmio[r->first % slots];
        kvm_count(v, KVM_COUNT_GATHERED);
        kvm_access(v, &near, k->accel->memory, one.phys_addr, one.data, MIN(one.len, 8u), true);
        __atomic_store_n(&r->first, (r->first + 1) % slots, __ATOMIC_RELEASE);
    }
    mutex_unlock(&k->gathered_lock);
}
