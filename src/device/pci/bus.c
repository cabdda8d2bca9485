// PCI buses: who is in which slot, finding a function by number, and the way of INTx lines up to
// the host bridge (PCI-to-PCI Bridge 1.2, section 9.1, the usual rotation by slot).
#include "device/pci/pci.h"

#include "base/bits.h"
#include "base/thread.h"
#include "device/pci/regs.h"

#include <stdlib.h>

#define SLOT(devfn) ((devfn) >> 3)
#define FUNC(devfn) ((devfn)&7)

unsigned pci_bus_number(const struct pci_bus *b)
{
    return b->bridge ? b->bridge->pci.config[PCI_SECONDARY_BUS] : 0;
}

// PCI Express to PCI Bridge 1.0, section 2.3: secondary bus number, device and function 0. A
// conventional bridge is seen as itself.
uint16_t pci_rid(const struct pci_device *p)
{
    uint16_t rid = pci_bus_number(p->bus) << 8 | p->devfn;
    while (p->bus->bridge) {
        const struct pci_bridge *up = p->bus->bridge;
        if (!up->pci.cap_exp)
            rid = pci_bus_number(up->pci.bus) << 8 | up->pci.devfn;
        else if (!p->bus->express)
            rid = pci_bus_number(p->bus) << 8;
        p = &up->pci;
    }
    return rid;
}

// The function at devfn once it is complete; one that is being made is not there yet.
static struct pci_device *function_at(struct pci_bus *b, unsigned devfn)
{
    struct pci_device *p = b->functions[devfn];
    return p && __atomic_load_n(&p->dev.initialised, __ATOMIC_ACQUIRE) ? p : NULL;
}

void pci_update_bus(struct pci_bus *b, void (*update)(struct pci_device *p))
{
    for (unsigned i = 0; i < ARRAY_SIZE(b->functions); i++)
        if (function_at(b, i))
            update(b->functions[i]);
}

static struct pci_device *find_below(struct pci_bus *b, unsigned bus, unsigned devfn)
{
    if (pci_bus_number(b) == bus)
        return function_at(b, devfn);
    for (unsigned i = 0; i < ARRAY_SIZE(b->functions); i++) {
        struct pci_device *p = function_at(b, i);
        if (!p || (p->config[PCI_HEADER_TYPE] & 0x7f) != PCI_HEADER_BRIDGE)
            continue;
        struct pci_bridge *bridge = container_of(p, struct pci_bridge, pci);
        unsigned secondary = p->config[PCI_SECONDARY_BUS];
        if (!bridge->secondary || !secondary || bus < secondary ||
            bus > p->config[PCI_SUBORDINATE_BUS])
            continue;
        // Bus numbers must grow on the way down, so that a guest cannot make us walk in circles.
        if (secondary <= pci_bus_number(b))
            continue;
        return find_below(bridge->secondary, bus, devfn);
    }
    return NULL;
}

struct pci_device *pci_find(struct pci_root *root, unsigned bus, unsigned devfn)
{
    return find_below(root->bus, bus, devfn);
}

// --- slots ---

static int parse_addr(const char *s, unsigned *slot, unsigned *func, struct err *e)
{
    char *end;
    unsigned long v = strtoul(s, &end, 16), f = 0;
    bool bad = end == s;
    if (*end == '.') {
        const char *from = end + 1;
        f = strtoul(from, &end, 16);
        bad |= end == from;
    }
    if (bad || *end || v > 31 || f > 7)
        return err_set(e, "addr=%s is not a PCI slot: write SLOT or SLOT.FUNCTION, up to 1f.7", s);
    *slot = v;
    *func = f;
    return 0;
}

static int choose_devfn(struct pci_bus *b, struct pci_device *p, unsigned *devfn, struct err *e)
{
    unsigned slot, func = 0;
    if (p->addr && strcmp(p->addr, "-1")) {
        if (parse_addr(p->addr, &slot, &func, e))
            return -1;
        *devfn = slot << 3 | func;
        return 0;
    }
    for (slot = b->bridge ? 0 : 1; slot < (b->one_slot ? 1 : 32); slot++) {
        if (!b->functions[slot << 3]) {
            *devfn = slot << 3;
            return 0;
        }
    }
    return err_set(e, "PCI bus '%s' has no free slot; add a pcie-root-port or pci-bridge",
                   b->bus.name);
}

static int check_slot(struct pci_bus *b, struct pci_device *p, unsigned devfn, struct err *e)
{
    unsigned slot = SLOT(devfn), func = FUNC(devfn);
    if (b->functions[devfn])
        return err_set(e, "PCI slot %x.%x of bus '%s' is taken by '%s'", slot, func, b->bus.name,
                       b->functions[devfn]->dev.type->name);
    if (b->one_slot && slot)
        return err_set(e, "bus '%s' has only slot 0, not %x", b->bus.name, slot);
    struct pci_device *zero = b->functions[slot << 3];
    if (func && zero && !zero->multifunction)
        return err_set(e, "PCI slot %x of bus '%s': function 0 needs multifunction=on", slot,
                       b->bus.name);
    for (unsigned f = 1; !func && !p->multifunction && f < 8; f++)
        if (b->functions[slot << 3 | f])
            return err_set(e,
                           "PCI slot %x of bus '%s' has other functions: function 0 needs "
                           "multifunction=on",
                           slot, b->bus.name);
    return 0;
}

static int plug(struct bus *bus, struct device *d, struct err *e)
{
    struct pci_bus *b = container_of(bus, struct pci_bus, bus);
    struct pci_device *p = container_of(d, struct pci_device, dev);
    unsigned devfn = 0;
    if (choose_devfn(b, p, &devfn, e) || check_slot(b, p, devfn, e))
        return err_prefix(e, "device '%s'", d->type->name);
    p->bus = b;
    p->devfn = devfn;
    device_lock(b->root->bus->bus.owner);
    b->functions[devfn] = p;
    device_unlock(b->root->bus->bus.owner);
    if (b->bridge && b->bridge->child_changed)
        b->bridge->child_changed(b->bridge);
    return 0;
}

static void unplug(struct bus *bus, struct device *d)
{
    struct pci_bus *b = container_of(bus, struct pci_bus, bus);
    b->functions[container_of(d, struct pci_device, dev)->devfn] = NULL;
    if (b->bridge && b->bridge->child_changed)
        b->bridge->child_changed(b->bridge);
}

static bool ask(struct bus *bus, struct device *d)
{
    struct pci_bus *b = container_of(bus, struct pci_bus, bus);
    return b->bridge && b->bridge->ask && b->bridge->ask(b->bridge);
}

const struct bus_type pci_bus_type = {
    .name = "PCI",
    .size = sizeof(struct pci_bus),
    .plug = plug,
    .unplug = unplug,
    .ask = ask,
};

struct pci_bus *pci_bus_new(struct device *owner, const char *name, struct pci_root *root,
                            struct pci_bridge *bridge, bool express)
{
    struct bus *bus = bus_new(owner->tree, &pci_bus_type, name, owner);
    struct pci_bus *b = container_of(bus, struct pci_bus, bus);
    b->root = root;
    b->bridge = bridge;
    b->express = express;
    return b;
}

// --- INTx ---

static unsigned host_line(const struct pci_device *p)
{
    unsigned pin = p->config[PCI_INT_PIN] - 1;
    for (;; p = &p->bus->bridge->pci) {
        pin = (pin + SLOT(p->devfn)) % 4;
        if (!p->bus->bridge)
            return pin;
    }
}

void pci_intx_update(struct pci_device *p)
{
    bool masked = ld_le16(p->config + PCI_COMMAND) & PCI_CMD_INTX_OFF;
    bool drive = p->intx_level && !masked;
    uint8_t *status = &p->config[PCI_STATUS];
    *status = p->intx_level ? *status | PCI_STS_INTX : *status & ~PCI_STS_INTX;
    if (drive == p->intx_driven || !p->config[PCI_INT_PIN])
        return;
    p->intx_driven = drive;
    struct pci_root *root = p->bus->root;
    unsigned line = host_line(p);
    mutex_lock(&root->intx_lock);
    root->intx_count[line] += drive ? 1 : -1;
    irq_set(&root->intx[line], root->intx_count[line] > 0);
    mutex_unlock(&root->intx_lock);
}

void pci_set_intx(struct pci_device *p, bool level)
{
    p->intx_level = level;
    pci_intx_update(p);
}
