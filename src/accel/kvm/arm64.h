// Between the AArch64 files of this folder.
#pragma once

#include "accel/kvm/kvm.h"
#include "isa/arm/arm.h"

struct kvm_arm {
    int gic;              // the in-kernel controller's descriptor, or -1
    unsigned gic_version; // 2 or 3
    bool gic_ready;       // set up for good; not before all vCPUs are there
};

// A register that the kernel names and we keep: in the CPU's state, or here.
struct kvm_arm_reg {
    uint64_t id, pulled, own;
    uint64_t *in_cpu; // NULL: own
};
// The core registers in the kernel's order of things, all 64 bits wide.
enum { KVM_ARM_CORE = 37 };
struct kvm_arm_vcpu {
    struct kvm_vcpu_init init;
    uint64_t core[KVM_ARM_CORE]; // as last read or written
    v128 vectors[32];
    uint32_t fpsr, fpcr;
    bool valid;
    VEC(struct kvm_arm_reg) regs;
};

static inline struct kvm_arm *kvm_arm(const struct kvm *k)
{
    return k->arch;
}
static inline struct kvm_arm_vcpu *kvm_arm_vcpu(struct kvm_vcpu *v)
{
    return v->arch;
}

// arm64_gic.c
int kvm_arm_gic_open(struct kvm *k, struct err *e);
void kvm_arm_gic_close(struct kvm *k);
// arm64_state.c: one register by its number; the list of those that there are.
int kvm_arm_one_reg(struct kvm_vcpu *v, bool set, uint64_t id, void *value);
int kvm_arm_regs_open(struct kvm_vcpu *v, struct err *e);
