// KVM on AArch64 hosts: vCPU creation with the power interface that the kernel offers (PSCI 0.2),
// an in-kernel GICv3, registers by number (KVM_GET_ONE_REG) into the Arm CPU's state. Not yet:
// system registers beyond those that a kernel's entry needs, SVE, and in-kernel ITS tables.
#include "accel/kvm/kvm.h"
#include "base/log.h"
#include "isa/arm/arm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

const char kvm_arch_isa[] = "aarch64";
const unsigned kvm_arch_needs[] = {KVM_CAP_ONE_REG, KVM_CAP_ARM_PSCI_0_2, KVM_CAP_DEVICE_CTRL,
                                   KVM_FACTS_END};
const uint8_t kvm_arch_break_insn[4] = {0x00, 0x00, 0x20, 0xd4}; // brk #0
const unsigned kvm_arch_break_len = 4;
enum { SPIS = 64, FIRST_SPI = 32 };

struct kvm_arm {
    int gic; // the in-kernel GICv3's descriptor
};
struct kvm_arm_vcpu {
    struct kvm_vcpu_init init;
};

// ---- the machine ----

int kvm_arch_open(struct kvm *k, struct opts *o, struct err *e)
{
    struct kvm_arm *a = xalloc(sizeof *a);
    struct kvm_create_device d = {.type = KVM_DEV_TYPE_ARM_VGIC_V3};
    k->arch = a;
    a->gic = -1;
    if (k->irqchip == KVM_IRQCHIP_OFF)
        return 0;
    if (kvm_ioctl(k->vm, KVM_CREATE_DEVICE, &d))
        return err_errno(e, errno, "an interrupt controller (GICv3) in the kernel");
    a->gic = (int)d.fd;
    return 0;
}

void kvm_arch_close(struct kvm *k)
{
    struct kvm_arm *a = k->arch;
    if (a && a->gic >= 0)
        close(a->gic);
    free(a);
}

static void spi_set(void *opaque, int n, int level)
{
    kvm_line_set(opaque, KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | (FIRST_SPI + n), level);
}

int kvm_arch_lines(struct kvm *k, struct accel_irqchip *out, struct err *e)
{
    if (k->irqchip == KVM_IRQCHIP_OFF)
        return err_set(e, "kernel-irqchip=off: there is no interrupt controller in the kernel");
    *out = (struct accel_irqchip){
        .n_lines = SPIS,
        .msi = {.send = kvm_msi_send, .opaque = k, .bind = kvm_msi_bind, .unbind = kvm_msi_unbind},
    };
    for (int i = 0; i < SPIS; i++)
        out->line[i] = (struct irq){spi_set, k, i};
    return 0;
}

void kvm_arch_resumed(struct kvm *k) {}
void kvm_arch_reset(struct kvm *k) {}

// ---- vCPUs ----

int kvm_arch_vcpu_config(struct kvm_vcpu *v, struct isa_config *c, struct err *e)
{
    struct kvm_arm_vcpu *a = xalloc(sizeof *a);
    v->arch = a;
    v->id = c->index; // the kernel derives the affinity
    if (kvm_ioctl(v->kvm->vm, KVM_ARM_PREFERRED_TARGET, &a->init))
        return err_errno(e, errno, "KVM_ARM_PREFERRED_TARGET");
    a->init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2;
    if (c->index)
        a->init.features[0] |= 1u << KVM_ARM_VCPU_POWER_OFF;
    return 0;
}

int kvm_arch_vcpu_new(struct kvm_vcpu *v, struct err *e)
{
    struct kvm_arm_vcpu *a = v->arch;
    if (kvm_ioctl(v->fd, KVM_ARM_VCPU_INIT, &a->init))
        return err_errno(e, errno, "KVM_ARM_VCPU_INIT");
    return 0;
}

void kvm_arch_vcpu_free(struct kvm_vcpu *v)
{
    free(v->arch);
}

// ---- state ----

#define CORE_REG(member)                                                                           \
    (KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(member))

static int one_reg(struct kvm_vcpu *v, bool set, uint64_t id, void *value)
{
    struct kvm_one_reg r = {.id = id, .addr = (uintptr_t)value};
    return kvm_ioctl(v->fd, set ? KVM_SET_ONE_REG : KVM_GET_ONE_REG, &r);
}

// The core registers; the one that fails, by its place.
static int move_core(struct kvm_vcpu *v, bool set)
{
    struct arm_cpu *c = arm_cpu(kvm_env(v));
    for (unsigned i = 0; i < 31; i++)
        if (one_reg(v, set, CORE_REG(regs.regs[0]) + 2 * i, &c->x[i]))
            return -1;
    return one_reg(v, set, CORE_REG(regs.pc), &c->pc);
}

void kvm_arch_pull(struct kvm_vcpu *v)
{
    if (move_core(v, false))
        log_warn("-accel kvm: a vCPU's registers cannot be read: %s", strerror(errno));
}

int kvm_arch_push(struct kvm_vcpu *v, struct err *e)
{
    return move_core(v, true) ? err_errno(e, errno, "the kernel does not take a vCPU's registers")
                              : 0;
}

void kvm_arch_describe(struct kvm_vcpu *v, struct buf *out)
{
    uint64_t pc = 0, state = 0;
    one_reg(v, false, CORE_REG(regs.pc), &pc);
    one_reg(v, false, CORE_REG(regs.pstate), &state);
    buf_printf(out, "pc %016" PRIx64 " pstate %" PRIx64, pc, state);
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

bool kvm_arch_at_breakpoint(struct kvm_vcpu *v)
{
    uint64_t pc = 0;
    return !one_reg(v, false, CORE_REG(regs.pc), &pc) && kvm_debug_is_ours(v, pc);
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

bool kvm_arch_debug_exit(struct kvm_vcpu *v)
{
    return true;
}
