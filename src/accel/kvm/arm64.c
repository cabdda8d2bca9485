// KVM on AArch64 hosts: what the machine needs before its vCPUs, creation of vCPUs with the power
// interface that the kernel offers (PSCI) and its virtual timer, exits of this architecture's own,
// debugging. None of this has run so far: it compiles against the kernel's headers. Not yet: boards
// that take the kernel's GIC, and secondary CPUs in the kernel while they are off.
#include "accel/kvm/arm64.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

const char kvm_arch_isa[] = "aarch64";
const unsigned kvm_arch_needs[] = {KVM_CAP_ONE_REG, KVM_CAP_ARM_PSCI_0_2, KVM_CAP_DEVICE_CTRL,
                                   KVM_FACTS_END};
const uint8_t kvm_arch_break_insn[4] = {0x00, 0x00, 0x20, 0xd4}; // brk #0
const unsigned kvm_arch_break_len = 4;

// ---- the machine ----

int kvm_arch_open(struct kvm *k, struct opts *o, struct err *e)
{
    if (k->irqchip == KVM_IRQCHIP_SPLIT)
        return err_set(e, "kernel-irqchip=split: this is for the PC; use on or off");
    k->arch = xalloc(sizeof(struct kvm_arm));
    return kvm_arm_gic_open(k, e);
}

void kvm_arch_close(struct kvm *k)
{
    if (k->arch)
        kvm_arm_gic_close(k);
    free(k->arch);
}

// ---- vCPUs ----

int kvm_arch_vcpu_config(struct kvm_vcpu *v, struct isa_config *c, struct err *e)
{
    struct kvm_arm_vcpu *a = xalloc(sizeof *a);
    v->arch = a;
    v->id = c->index;
    if (kvm_ioctl(v->kvm->vm, KVM_ARM_PREFERRED_TARGET, &a->init))
        return err_errno(e, errno, "KVM_ARM_PREFERRED_TARGET");
    uint32_t *features = &a->init.features[0];
    *features |= 1u << KVM_ARM_VCPU_PSCI_0_2;
    if (c->index)
        *features |= 1u << KVM_ARM_VCPU_POWER_OFF;
    if (kvm_has(v->kvm, KVM_CAP_ARM_PTRAUTH_ADDRESS) &&
        kvm_has(v->kvm, KVM_CAP_ARM_PTRAUTH_GENERIC))
        *features |= 1u << KVM_ARM_VCPU_PTRAUTH_ADDRESS | 1u << KVM_ARM_VCPU_PTRAUTH_GENERIC;
    return 0;
}

// The affinity that the machine's tables name this CPU by.
static int set_affinity(struct kvm_vcpu *v, struct err *e)
{
    uint64_t mpidr = 1ull << 31 | v->config.hw_id;
    if (kvm_arm_one_reg(v, true, ARM64_SYS_REG(3, 0, 0, 0, 5), &mpidr))
        return err_errno(e, errno, "affinity 0x%" PRIx64 " of CPU %u", mpidr, v->config.index);
    return 0;
}

int kvm_arch_vcpu_new(struct kvm_vcpu *v, struct err *e)
{
    if (kvm_ioctl(v->fd, KVM_ARM_VCPU_INIT, &kvm_arm_vcpu(v)->init))
        return err_errno(e, errno, "KVM_ARM_VCPU_INIT");
    if (set_affinity(v, e) || kvm_arm_regs_open(v, e))
        return -1;
    kvm_arch_pull(v);
    return 0;
}

void kvm_arch_vcpu_free(struct kvm_vcpu *v)
{
    if (v->arch)
        vec_free(&kvm_arm_vcpu(v)->regs);
    free(v->arch);
}

// ---- exits and debugging ----

bool kvm_arch_exit(struct kvm_vcpu *v, enum env_leave *why)
{
    if (v->run->exit_reason != KVM_EXIT_ARM_NISV)
        return false;
    *why = kvm_vcpu_failed(v, false,
                           "an access to a device by an instruction that the processor does not "
                           "describe, at 0x%llx",
                           (unsigned long long)v->run->arm_nisv.fault_ipa);
    return true;
}

bool kvm_arch_stepping(struct kvm_vcpu *v)
{
    return arm_cpu(kvm_env(v))->debug_step;
}

static uint64_t next_pc(struct kvm_vcpu *v)
{
    uint64_t pc = 0;
    kvm_arm_one_reg(
        v, false,
        KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(regs.pc), &pc);
    return pc;
}

bool kvm_arch_at_breakpoint(struct kvm_vcpu *v)
{
    return kvm_debug_is_ours(v, next_pc(v));
}

unsigned kvm_arch_hw_points(const struct kvm *k)
{
    return MIN((unsigned)k->facts.caps[KVM_CAP_GUEST_DEBUG_HW_BPS], (unsigned)KVM_ARM_MAX_DBG_REGS);
}

void kvm_arch_debug_request(struct kvm_vcpu *v, struct kvm_guest_debug *d, bool step,
                            const uint64_t *points, unsigned n)
{
    enum { ENABLE = 1, EL1_EL0 = 3 << 1, WHOLE_WORD = 0xf << 5 };
    d->control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
    if (step)
        d->control |= KVM_GUESTDBG_SINGLESTEP;
    if (n)
        d->control |= KVM_GUESTDBG_USE_HW;
    for (unsigned i = 0; i < n; i++) {
        d->arch.dbg_bvr[i] = points[i];
        d->arch.dbg_bcr[i] = ENABLE | EL1_EL0 | WHOLE_WORD;
    }
}

// A BRK that is none of the debugger's is the guest's own: its kernel gets it.
bool kvm_arch_debug_exit(struct kvm_vcpu *v)
{
    enum { EC_SHIFT = 26 };
    struct arm_cpu *c = arm_cpu(kvm_env(v));
    struct err e = {0};
    uint32_t syndrome = v->run->debug.arch.hsr;
    if (syndrome >> EC_SHIFT != EC_BRK || kvm_debug_is_ours(v, next_pc(v)))
        return true;
    kvm_arch_pull(v);
    arm_take_exception(c, 1, syndrome, NULL, c->pc);
    if (kvm_arch_push(v, &e))
        kvm_vcpu_failed(v, true, "%s", e.msg);
    return false;
}
