// Interrupts of in-kernel controllers: lines by KVM_IRQ_LINE, messages by KVM_SIGNAL_MSI, and
// descriptors whose signals become messages (irqfd) through the kernel's routing table.
#include "accel/kvm/kvm.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>

enum { FIRST_MSI_ROUTE = 64, MOST_ROUTES = 1024 };

void kvm_line_set(void *opaque, int gsi, int level)
{
    struct kvm *k = opaque;
    struct kvm_irq_level l = {.irq = (uint32_t)gsi, .level = level != 0};
    if (kvm_ioctl(k->vm, KVM_IRQ_LINE, &l))
        log_guest("kvm line", "kvm: interrupt line %d cannot be set: %s", gsi, strerror(errno));
}

void kvm_msi_send(void *opaque, uint64_t addr, uint32_t data, uint32_t rid)
{
    struct kvm *k = opaque;
    struct kvm_msi m = {
        .address_lo = (uint32_t)addr, .address_hi = (uint32_t)(addr >> 32), .data = data};
    if (kvm_has(k, KVM_CAP_MSI_DEVID)) {
        m.flags = KVM_MSI_VALID_DEVID;
        m.devid = rid;
    }
    if (kvm_ioctl(k->vm, KVM_SIGNAL_MSI, &m) < 0)
        log_guest("kvm msi", "kvm: message 0x%x to 0x%llx: %s", data, (unsigned long long)addr,
                  strerror(errno));
}

// ---- routes ----

void kvm_route_line(struct kvm *k, uint32_t gsi, uint32_t chip, uint32_t pin)
{
    vec_push(&k->routes,
             (struct kvm_irq_routing_entry){.gsi = gsi,
                                            .type = KVM_IRQ_ROUTING_IRQCHIP,
                                            .u.irqchip = {.irqchip = chip, .pin = pin}});
}

int kvm_routes_commit(struct kvm *k)
{
    size_t n = k->routes.len;
    struct kvm_irq_routing *r = xalloc(sizeof *r + n * sizeof r->entries[0]);
    r->nr = (uint32_t)n;
    memcpy(r->entries, k->routes.data, n * sizeof r->entries[0]);
    int result = kvm_ioctl(k->vm, KVM_SET_GSI_ROUTING, r);
    free(r);
    return result;
}

static void drop_route(struct kvm *k, uint32_t gsi)
{
    for (size_t i = k->routes.len; i--;)
        if (k->routes.data[i].gsi == gsi)
            vec_remove(&k->routes, i);
}

void kvm_route_msi(struct kvm *k, uint32_t gsi, uint64_t addr, uint32_t data)
{
    struct kvm_irq_routing_entry r = {
        .gsi = gsi,
        .type = KVM_IRQ_ROUTING_MSI,
        .u.msi = {.address_lo = (uint32_t)addr, .address_hi = (uint32_t)(addr >> 32), .data = data},
    };
    mutex_lock(&k->routes_lock);
    drop_route(k, gsi);
    vec_push(&k->routes, r);
    if (kvm_routes_commit(k))
        log_warn("-accel kvm: the kernel does not take a route for interrupt %u: %s", gsi,
                 strerror(errno));
    mutex_unlock(&k->routes_lock);
}

void kvm_routes_drop_below(struct kvm *k, uint32_t end)
{
    mutex_lock(&k->routes_lock);
    size_t before = k->routes.len;
    for (size_t i = before; i--;)
        if (k->routes.data[i].gsi < end)
            vec_remove(&k->routes, i);
    if (k->routes.len != before)
        kvm_routes_commit(k);
    mutex_unlock(&k->routes_lock);
}

static bool gsi_used(const struct kvm *k, uint32_t gsi)
{
    for (size_t i = 0; i < k->routes.len; i++)
        if (k->routes.data[i].gsi == gsi)
            return true;
    return false;
}

static int irqfd(struct kvm *k, int fd, uint32_t gsi, bool on)
{
    struct kvm_irqfd f = {
        .fd = (uint32_t)fd, .gsi = gsi, .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN};
    return kvm_ioctl(k->vm, KVM_IRQFD, &f);
}

int kvm_msi_bind(void *opaque, int fd, uint64_t addr, uint32_t data, uint32_t rid)
{
    struct kvm *k = opaque;
    uint32_t gsi = FIRST_MSI_ROUTE;
    if (!kvm_has(k, KVM_CAP_IRQFD))
        return -1;
    mutex_lock(&k->routes_lock);
    while (gsi < MOST_ROUTES && gsi_used(k, gsi))
        gsi++;
    struct kvm_irq_routing_entry r = {
        .gsi = gsi,
        .type = KVM_IRQ_ROUTING_MSI,
        .flags = kvm_has(k, KVM_CAP_MSI_DEVID) ? KVM_MSI_VALID_DEVID : 0,
        .u.msi = {.address_lo = (uint32_t)addr,
                  .address_hi = (uint32_t)(addr >> 32),
                  .data = data,
                  .devid = rid},
    };
    bool ok = gsi < MOST_ROUTES;
    if (ok) {
        vec_push(&k->routes, r);
        ok = !kvm_routes_commit(k) && !irqfd(k, fd, gsi, true);
        if (!ok)
            drop_route(k, gsi);
    }
    mutex_unlock(&k->routes_lock);
    return ok ? (int)gsi : -1;
}

void kvm_msi_unbind(void *opaque, int fd, int handle)
{
    struct kvm *k = opaque;
    mutex_lock(&k->routes_lock);
    irqfd(k, fd, (uint32_t)handle, false);
    drop_route(k, (uint32_t)handle);
    kvm_routes_commit(k);
    mutex_unlock(&k->routes_lock);
}
