// The GIC in an Arm host's kernel (Linux Documentation/virt/kvm/devices/arm-vgic*.rst): version 3
// where the host has one, else 2; shared interrupts as lines. Not yet: its ITS, and saving it. None
// of this has run so far: it compiles against the kernel's headers.
#include "accel/kvm/arm64.h"
#include "base/log.h"

#include <errno.h>
#include <unistd.h>

enum { SPIS = 64, FIRST_SPI = 32 };

static int set_attr(struct kvm *k, uint32_t group, uint64_t attr, const void *value)
{
    struct kvm_device_attr a = {.group = group, .attr = attr, .addr = (uintptr_t)value};
    return kvm_ioctl(kvm_arm(k)->gic, KVM_SET_DEVICE_ATTR, &a);
}

int kvm_arm_gic_open(struct kvm *k, struct err *e)
{
    static const uint32_t types[] = {KVM_DEV_TYPE_ARM_VGIC_V3, KVM_DEV_TYPE_ARM_VGIC_V2};
    static const unsigned versions[] = {3, 2};
    struct kvm_arm *a = kvm_arm(k);
    a->gic = -1;
    for (unsigned i = 0; i < ARRAY_SIZE(types) && k->irqchip != KVM_IRQCHIP_OFF; i++) {
        struct kvm_create_device d = {.type = types[i]};
        if (kvm_ioctl(k->vm, KVM_CREATE_DEVICE, &d))
            continue;
        a->gic = (int)d.fd;
        a->gic_version = versions[i];
        return 0;
    }
    return k->irqchip == KVM_IRQCHIP_OFF
               ? 0
               : err_errno(e, errno, "the kernel makes no interrupt controller (GIC)");
}

void kvm_arm_gic_close(struct kvm *k)
{
    if (kvm_arm(k)->gic >= 0)
        close(kvm_arm(k)->gic);
}

static int place(struct kvm *k, const gpa_t at[2], struct err *e)
{
    bool v3 = kvm_arm(k)->gic_version == 3;
    const uint64_t types[2] = {
        v3 ? KVM_VGIC_V3_ADDR_TYPE_DIST : KVM_VGIC_V2_ADDR_TYPE_DIST,
        v3 ? KVM_VGIC_V3_ADDR_TYPE_REDIST : KVM_VGIC_V2_ADDR_TYPE_CPU,
    };
    uint32_t interrupts = FIRST_SPI + SPIS;
    for (unsigned i = 0; i < 2; i++) {
        uint64_t address = at[i];
        if (set_attr(k, KVM_DEV_ARM_VGIC_GRP_ADDR, types[i], &address))
            return err_errno(e, errno, "the GIC's place at 0x%llx", (unsigned long long)address);
    }
    return set_attr(k, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &interrupts)
               ? err_errno(e, errno, "a GIC of %u interrupts", interrupts)
               : 0;
}

static void spi_set(void *opaque, int n, int level)
{
    kvm_line_set(opaque, KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | (FIRST_SPI + n), level);
}

int kvm_arch_lines(struct kvm *k, struct accel_irqchip *out, struct err *e)
{
    if (kvm_arm(k)->gic < 0)
        return err_set(e, "kernel-irqchip=off: there is no interrupt controller in the kernel");
    if (place(k, out->at, e))
        return -1;
    out->version = kvm_arm(k)->gic_version;
    out->n_lines = SPIS;
    out->msi = (struct msi_target){
        .send = kvm_msi_send, .opaque = k, .bind = kvm_msi_bind, .unbind = kvm_msi_unbind};
    for (int i = 0; i < SPIS; i++)
        out->line[i] = (struct irq){spi_set, k, i};
    return 0;
}

// All vCPUs are there now: so many redistributors there will be.
void kvm_arch_resumed(struct kvm *k)
{
    struct kvm_arm *a = kvm_arm(k);
    if (a->gic < 0 || a->gic_ready)
        return;
    if (set_attr(k, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL))
        log_error("-accel kvm: the kernel does not start its interrupt controller: %s",
                  strerror(errno));
    a->gic_ready = true;
}

void kvm_arch_reset(struct kvm *k) {} // the distributor forgets when its guest's kernel starts

int kvm_arch_save(struct kvm *k, struct buf *out, struct err *e)
{
    return err_set(e, "the state of the kernel's GIC cannot be saved yet");
}

int kvm_arch_load(struct kvm *k, struct reader *r, struct err *e)
{
    return err_set(e, "the state of the kernel's GIC cannot be loaded yet");
}
