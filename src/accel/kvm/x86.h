// Between the x86 files of this folder.
#pragma once

#include "accel/kvm/kvm.h"
#include "isa/x86/x86.h"

// Two 8259s and the I/O APIC; the 8254.
struct kvm_x86_chips {
    struct kvm_irqchip chip[3];
    struct kvm_pit_state2 pit;
};
enum { KVM_IOAPIC_PINS = 24 };

struct kvm_x86 {
    struct x86_host host;        // KVM_GET_SUPPORTED_CPUID
    uint32_t msrs[X86_MSRS_MAX]; // that are kept: the kernel's list less what it refused
    unsigned n_msrs;
    bool warned_get, warned_set;
    struct kvm_x86_chips chips; // as a reset puts them back
    bool chips_known;
    struct kvm_ioapic *ioapic; // kernel-irqchip=split, or NULL
};
struct kvm_x86_vcpu {
    struct x86_state pulled; // as it was in the kernel when last read or written
    bool valid;              // pulled holds something
};
static inline struct kvm_x86 *kvm_x86(const struct kvm *k)
{
    return k->arch;
}
static inline struct x86_cpu *kvm_x86_cpu(struct kvm_vcpu *v)
{
    return x86_cpu(kvm_env(v));
}
// x86_chip.c: keeps what the kernel has just made.
void kvm_x86_chips_made(struct kvm *k);
// x86_ioapic.c: the I/O APIC when it is ours.
struct kvm_ioapic_saved {
    uint32_t select, id, lines;
    uint64_t entry[KVM_IOAPIC_PINS];
};
void kvm_ioapic_save(struct kvm_ioapic *io, struct kvm_ioapic_saved *to);
void kvm_ioapic_load(struct kvm_ioapic *io, const struct kvm_ioapic_saved *from);
struct kvm_ioapic *kvm_ioapic_new(struct kvm *k); // mapped where the machine's guests look for it
void kvm_ioapic_free(struct kvm_ioapic *io);      // NULL is fine
void kvm_ioapic_reset(struct kvm_ioapic *io);
struct irq kvm_ioapic_line(struct kvm_ioapic *io, unsigned pin); // any thread
void kvm_ioapic_eoi(struct kvm_ioapic *io, uint8_t vector);      // the kernel's APIC ended it
// x86_msr.c: lists the kernel's MSRs; reads and writes those that are kept, dropping (with one
// warning) what it refuses.
void kvm_x86_msrs_open(struct kvm *k);
void kvm_x86_msrs_init(struct kvm_vcpu *v);
void kvm_x86_msrs_pull(struct kvm_vcpu *v);
void kvm_x86_msrs_push(struct kvm_vcpu *v, const struct x86_state *old); // old NULL: all
// The one that the local APIC takes only when its timer stands right: after that was written.
void kvm_x86_deadline_push(struct kvm_vcpu *v);
