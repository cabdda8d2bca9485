// The PC's interrupt controllers and timer chip in the kernel: what a reset puts back, and what is
// saved of them. The I/O APIC of kernel-irqchip=split is ours (x86_ioapic.c).
#include "accel/kvm/x86.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>

static int get_chips(struct kvm *k, struct kvm_x86_chips *c)
{
    int r = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(c->chip); i++) {
        c->chip[i].chip_id = i;
        r |= kvm_ioctl(k->vm, KVM_GET_IRQCHIP, &c->chip[i]);
    }
    if (kvm_has(k, KVM_CAP_PIT_STATE2))
        r |= kvm_ioctl(k->vm, KVM_GET_PIT2, &c->pit);
    return r;
}

static int set_chips(struct kvm *k, struct kvm_x86_chips *c)
{
    int r = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(c->chip); i++) {
        c->chip[i].chip_id = i;
        r |= kvm_ioctl(k->vm, KVM_SET_IRQCHIP, &c->chip[i]);
    }
    if (kvm_has(k, KVM_CAP_PIT_STATE2))
        r |= kvm_ioctl(k->vm, KVM_SET_PIT2, &c->pit);
    return r;
}

void kvm_x86_chips_made(struct kvm *k)
{
    kvm_x86(k)->chips_known = !get_chips(k, &kvm_x86(k)->chips);
}

void kvm_arch_reset(struct kvm *k)
{
    struct kvm_x86 *x = kvm_x86(k);
    if (x->ioapic)
        kvm_ioapic_reset(x->ioapic);
    if (k->irqchip == KVM_IRQCHIP_ON && x->chips_known && set_chips(k, &x->chips))
        log_warn("-accel kvm: the interrupt controllers cannot be reset: %s", strerror(errno));
}

// ---- saving ----

struct saved {
    uint8_t place; // enum kvm_chip_place
    struct kvm_x86_chips chips;
    struct kvm_ioapic_saved ioapic;
};
#define PART(name_, member)                                                                        \
    {                                                                                              \
        name_, offsetof(struct saved, member), sizeof(((struct saved *)NULL)->member)              \
    }
static const struct isa_state parts[] = {
    PART("ioapic", ioapic),
    PART("irqchips", chips.chip),
    PART("pit", chips.pit),
    PART("place", place),
    {0},
};

int kvm_arch_save(struct kvm *k, struct buf *out, struct err *e)
{
    struct saved s = {.place = k->irqchip};
    if (k->irqchip == KVM_IRQCHIP_ON && get_chips(k, &s.chips))
        return err_errno(e, errno, "the kernel does not give the interrupt controllers' state");
    if (kvm_x86(k)->ioapic)
        kvm_ioapic_save(kvm_x86(k)->ioapic, &s.ioapic);
    accel_parts_save(parts, &s, out);
    return 0;
}

int kvm_arch_load(struct kvm *k, struct reader *r, struct err *e)
{
    static const char *const places[] = {
        [KVM_IRQCHIP_ON] = "on", [KVM_IRQCHIP_SPLIT] = "split", [KVM_IRQCHIP_OFF] = "off"};
    struct saved s = {0};
    if (accel_parts_load(parts, &s, r, e))
        return -1;
    if (s.place != k->irqchip)
        return err_set(e, "the saved machine has kernel-irqchip=%s; give -accel kvm the same",
                       s.place < ARRAY_SIZE(places) ? places[s.place] : "?");
    if (kvm_x86(k)->ioapic)
        kvm_ioapic_load(kvm_x86(k)->ioapic, &s.ioapic);
    if (k->irqchip == KVM_IRQCHIP_ON && set_chips(k, &s.chips))
        return err_errno(e, errno, "the kernel does not take the interrupt controllers' state");
    return 0;
}
