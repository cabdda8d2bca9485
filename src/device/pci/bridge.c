// PCI-to-PCI bridges (PCI-to-PCI Bridge 1.2): bus numbers, windows, secondary bus reset. The
// windows are not mapped themselves: a BAR below decodes if every bridge above forwards its range.
// Not modelled: VGA and ISA modes, subtractive decode, error reporting on the secondary side.
#include "device/pci/bridge.h"

#include "base/bits.h"
#include "device/pci/regs.h"

#include <stdio.h>
#include <stdlib.h>

static struct pci_bridge *of(struct device *d)
{
    return container_of(d, struct pci_bridge, pci.dev);
}

static bool in_window(uint64_t base, uint64_t last, uint64_t from, uint64_t to)
{
    return from <= to && base >= from && last <= to;
}

bool pci_bridge_forwards(const struct pci_bridge *b, enum pci_bar_kind kind, uint64_t base,
                         uint64_t last)
{
    const uint8_t *c = b->pci.config;
    if (kind == PCI_BAR_IO) {
        uint64_t from = (c[PCI_IO_BASE] & 0xf0) << 8, to = (c[PCI_IO_LIMIT] & 0xf0) << 8 | 0xfff;
        return (c[PCI_COMMAND] & PCI_CMD_IO) && in_window(base, last, from, to);
    }
    if (!(c[PCI_COMMAND] & PCI_CMD_MEM))
        return false;
    uint64_t from = (uint64_t)(ld_le16(c + PCI_MEM_BASE) & 0xfff0) << 16;
    uint64_t to = (uint64_t)(ld_le16(c + PCI_MEM_LIMIT) & 0xfff0) << 16 | 0xfffff;
    uint64_t pref_from = (uint64_t)ld_le32(c + PCI_PREF_BASE_HIGH) << 32 |
                         (uint64_t)(ld_le16(c + PCI_PREF_BASE) & 0xfff0) << 16;
    uint64_t pref_to = (uint64_t)ld_le32(c + PCI_PREF_LIMIT_HIGH) << 32 |
                       (uint64_t)(ld_le16(c + PCI_PREF_LIMIT) & 0xfff0) << 16 | 0xfffff;
    return in_window(base, last, from, to) || in_window(base, last, pref_from, pref_to);
}

static void reset_secondary(void *opaque)
{
    struct pci_bridge *b = opaque;
    struct device *host = b->pci.bus->root->bus->bus.owner;
    device_lock(host);
    for (unsigned i = 0; i < ARRAY_SIZE(b->secondary->functions); i++)
        if (b->secondary->functions[i])
            device_reset(&b->secondary->functions[i]->dev);
    device_unlock(host);
}

void pci_bridge_config_written(struct pci_bridge *b, unsigned off, unsigned len)
{
    if (off <= PCI_BRIDGE_CONTROL && off + len > PCI_BRIDGE_CONTROL &&
        (b->pci.config[PCI_BRIDGE_CONTROL] & PCI_BRIDGE_RESET))
        loop_defer(&b->reset_work);
}

static void config_written(struct pci_device *p, unsigned off, unsigned len)
{
    pci_bridge_config_written(container_of(p, struct pci_bridge, pci), off, len);
}

void pci_bridge_add_bus(struct pci_bridge *b, bool express)
{
    struct device *d = &b->pci.dev;
    char *made = d->id ? NULL : xasprintf("pci.%u.%x", pci_bus_number(b->pci.bus), b->pci.devfn);
    b->secondary = pci_bus_new(d, d->id ? d->id : made, b->pci.bus->root, b, express);
    free(made);
}

static int bridge_init(struct device *d, struct err *e)
{
    struct pci_bridge *b = of(d);
    uint8_t *c = b->pci.config, *w = b->pci.writable;
    c[PCI_HEADER_TYPE] |= PCI_HEADER_BRIDGE;
    memset(c + PCI_SUBSYSTEM_VENDOR, 0, 4); // the prefetchable limit lives there
    w[PCI_PRIMARY_BUS] = w[PCI_SECONDARY_BUS] = w[PCI_SUBORDINATE_BUS] = 0xff;
    w[PCI_IO_BASE] = w[PCI_IO_LIMIT] = 0xf0;
    st_le16(b->pci.w1c + PCI_SEC_STATUS, 0xf900);
    st_le16(w + PCI_MEM_BASE, 0xfff0);
    st_le16(w + PCI_MEM_LIMIT, 0xfff0);
    st_le16(w + PCI_PREF_BASE, 0xfff0);
    st_le16(w + PCI_PREF_LIMIT, 0xfff0);
    c[PCI_PREF_BASE] = c[PCI_PREF_LIMIT] = 1; // 64-bit
    st_le32(w + PCI_PREF_BASE_HIGH, ~0u);
    st_le32(w + PCI_PREF_LIMIT_HIGH, ~0u);
    st_le16(w + PCI_BRIDGE_CONTROL, 0x0043);
    b->pci.config_written = config_written;
    loop_work_init(&b->reset_work, d->env->loop, reset_secondary, b);
    return 0;
}

static void bridge_exit(struct device *d)
{
    loop_work_cancel(&of(d)->reset_work);
}

const struct device_type pci_bridge_base = {
    .name = "pci-bridge-function",
    .size = sizeof(struct pci_bridge),
    .base = &pci_device_base,
    .init = bridge_init,
    .exit = bridge_exit,
};

// --- pci-bridge: conventional to conventional ---

struct pci_pci_bridge {
    struct pci_bridge bridge;
    uint8_t chassis_nr;
    bool shpc;
};

static int pci_bridge_init(struct device *d, struct err *e)
{
    struct pci_bridge *b = of(d);
    struct pci_pci_bridge *pb = container_of(b, struct pci_pci_bridge, bridge);
    if (pb->shpc)
        return err_set(e, "pci-bridge: shpc=on is not supported; leave it out");
    pci_set_identity(&b->pci, 0x1b36, 0x0001, 0x0604, 0, 0);
    pci_add_msi(&b->pci, 0);
    pci_bridge_add_bus(b, false);
    return 0;
}

static const struct field pci_bridge_fields[] = {
    FIELD(struct pci_pci_bridge, chassis_nr, .kind = F_U8, .use = FIELD_PROP),
    FIELD(struct pci_pci_bridge, shpc, .kind = F_BOOL, .use = FIELD_PROP),
    {0},
};

const struct device_type pci_bridge_type = {
    .name = "pci-bridge",
    .desc = "Standard PCI Bridge",
    .bus = "PCI",
    .category = "Controller/Bridge/Hub",
    .size = sizeof(struct pci_pci_bridge),
    .fields = pci_bridge_fields,
    .base = &pci_bridge_base,
    .user_creatable = true,
    .init = pci_bridge_init,
};

// --- pcie-pci-bridge: express to conventional ---

static int pcie_pci_bridge_init(struct device *d, struct err *e)
{
    struct pci_bridge *b = of(d);
    if (!b->pci.bus->express)
        return err_set(e, "pcie-pci-bridge goes on a PCI Express bus; use pci-bridge here");
    pci_set_identity(&b->pci, 0x1b36, 0x000e, 0x0604, 0, 0);
    pci_add_express(&b->pci, EXP_TO_PCI);
    pci_add_msi(&b->pci, 0);
    pci_bridge_add_bus(b, false);
    return 0;
}

const struct device_type pcie_pci_bridge_type = {
    .name = "pcie-pci-bridge",
    .bus = "PCI",
    .category = "Controller/Bridge/Hub",
    .size = sizeof(struct pci_bridge),
    .base = &pci_bridge_base,
    .user_creatable = true,
    .init = pcie_pci_bridge_init,
};
