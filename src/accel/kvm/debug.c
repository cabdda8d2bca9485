// The debugger's breakpoints and steps. A breakpoint replaces guest code by a trap instruction,
// which a debugger's reads do not show; where nothing is mapped yet, the address goes into one of
// the processor's own comparators.
#include "accel/kvm/kvm.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>

static bool patched(const struct kvm *k, uint64_t va)
{
    for (size_t i = 0; i < k->patches.len; i++)
        if (k->patches.data[i].va == va)
            return true;
    return false;
}

// Those that could not be patched in, as far as there are comparators.
static unsigned in_hardware(const struct kvm *k, uint64_t *points, unsigned max)
{
    unsigned n = 0;
    for (unsigned i = 0; i < k->accel->n_breakpoints && n < max; i++)
        if (!patched(k, k->accel->breakpoints[i]))
            points[n++] = k->accel->breakpoints[i];
    return n;
}

// Before a vCPU runs: what the kernel is to stop it for.
void kvm_debug_update(struct kvm_vcpu *v)
{
    struct kvm *k = v->kvm;
    struct kvm_guest_debug d = {0};
    bool step = kvm_arch_stepping(v);
    bool wanted = step || k->accel->n_breakpoints;
    if (!wanted && !v->debugging)
        return;
    if (wanted) {
        uint64_t points[16];
        unsigned most = MIN(kvm_arch_hw_points(k), (unsigned)ARRAY_SIZE(points));
        kvm_arch_debug_request(v, &d, step, points, in_hardware(k, points, most));
    }
    if (kvm_ioctl(v->fd, KVM_SET_GUEST_DEBUG, &d))
        log_warn("-accel kvm: the kernel does not take the debugger's requests: %s",
                 strerror(errno));
    v->debugging = wanted;
}

static void restore(struct kvm *k)
{
    for (size_t i = k->patches.len; i--;) {
        const struct kvm_patch *p = &k->patches.data[i];
        if (dma_write(k->accel->memory, p->pa, p->saved, kvm_arch_break_len))
            log_warn("-accel kvm: the breakpoint at 0x%" PRIx64 " cannot be taken out", p->va);
    }
    k->patches.len = 0;
}

static bool place(struct kvm *k, uint64_t va)
{
    struct kvm_translation t = {.linear_address = va};
    struct kvm_patch p = {.va = va};
    if (!k->vcpus.len || kvm_ioctl(k->vcpus.data[0]->fd, KVM_TRANSLATE, &t) || !t.valid)
        return false;
    p.pa = t.physical_address;
    if (dma_read(k->accel->memory, p.pa, p.saved, kvm_arch_break_len) ||
        dma_write(k->accel->memory, p.pa, kvm_arch_break_insn, kvm_arch_break_len))
        return false;
    vec_push(&k->patches, p);
    return true;
}

void kvm_debug_points(struct kvm *k)
{
    unsigned unplaced = 0;
    restore(k);
    for (unsigned i = 0; i < k->accel->n_breakpoints; i++)
        if (!place(k, k->accel->breakpoints[i]) && ++unplaced > kvm_arch_hw_points(k))
            log_warn("-accel kvm: no breakpoint at 0x%" PRIx64 ": nothing is mapped there now, and "
                     "all comparators are in use",
                     k->accel->breakpoints[i]);
}

bool kvm_debug_is_ours(struct kvm_vcpu *v, uint64_t pc)
{
    const struct accel *a = v->kvm->accel;
    for (unsigned i = 0; i < a->n_breakpoints; i++)
        if (a->breakpoints[i] == pc)
            return true;
    return false;
}

void kvm_debug_hide(struct kvm_vcpu *v, gpa_t pa, uint8_t *bytes, size_t n)
{
    struct kvm *k = v->kvm;
    for (size_t i = 0; i < k->patches.len; i++)
        for (unsigned b = 0; b < kvm_arch_break_len; b++) {
            gpa_t at = k->patches.data[i].pa + b;
            if (at >= pa && at - pa < n)
                bytes[at - pa] = k->patches.data[i].saved[b];
        }
}
