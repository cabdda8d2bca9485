// A PCI function: configuration space with write masks, BARs that follow it, reset. PCI Local Bus
// 3.0, chapter 6. Not modelled: parity and error reporting, power management, BIST.
#include "device/pci/pci.h"

#include "base/bits.h"
#include "base/thread.h"
#include "base/trace.h"
#include "device/pci/regs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static struct pci_device *of(struct device *d)
{
    return container_of(d, struct pci_device, dev);
}

static bool is_bridge(const struct pci_device *p)
{
    return (p->config[PCI_HEADER_TYPE] & 0x7f) == PCI_HEADER_BRIDGE;
}

// --- identity and capabilities ---

void pci_set_identity(struct pci_device *p, uint16_t vendor, uint16_t device, uint16_t class_code,
                      uint8_t prog, uint8_t revision)
{
    st_le16(p->config + PCI_VENDOR_ID, vendor);
    st_le16(p->config + PCI_DEVICE_ID, device);
    st_le16(p->config + PCI_CLASS, class_code);
    p->config[PCI_CLASS_PROG] = prog;
    p->config[PCI_REVISION] = revision;
}

void pci_set_subsystem(struct pci_device *p, uint16_t vendor, uint16_t device)
{
    st_le16(p->config + PCI_SUBSYSTEM_VENDOR, vendor);
    st_le16(p->config + PCI_SUBSYSTEM_ID, device);
}

unsigned pci_add_cap(struct pci_device *p, uint8_t id, unsigned size)
{
    unsigned at = p->cap_end;
    BUG_ON(at + size > PCI_CONVENTIONAL);
    uint8_t *link = &p->config[PCI_CAP_PTR];
    while (*link)
        link = &p->config[*link + 1];
    *link = at;
    p->config[at] = id;
    p->config[at + 1] = 0;
    p->config[PCI_STATUS] |= PCI_STS_CAPS;
    p->cap_end = align_up(at + size, 4);
    return at;
}

void pci_add_express(struct pci_device *p, unsigned port_type)
{
    unsigned at = pci_add_cap(p, PCI_CAP_EXPRESS, EXP_SIZE);
    uint8_t *c = p->config + at, *w = p->writable + at, *w1c = p->w1c + at;
    p->cap_exp = at;
    p->express = true;
    p->config_size = PCI_CONFIG;
    st_le16(c + EXP_FLAGS, 2 | port_type << 4);
    st_le32(c + EXP_DEVCAP, 1 << 15 | (port_type == EXP_ENDPOINT ? EXP_DEVCAP_FLR : 0));
    st_le16(w + EXP_DEVCTL, 0x78ff | (port_type == EXP_ENDPOINT ? EXP_DEVCTL_FLR : 0));
    st_le16(w1c + EXP_DEVSTA, 0xf);
    st_le32(c + EXP_LNKCAP, 4 | 32 << 4 | 3 << 10); // 16 GT/s, 32 lanes
    st_le16(w + EXP_LNKCTL, 0x40);
    st_le16(c + EXP_LNKSTA, 4 | 32 << 4);
    st_le32(c + EXP_LNKCAP2, 0x1e); // 2.5 to 16 GT/s
    st_le16(c + EXP_LNKCTL2, 4);
}

void pci_use_intx(struct pci_device *p)
{
    p->config[PCI_INT_PIN] = 1;
}

// --- BARs ---

void pci_add_bar(struct pci_device *p, unsigned n, enum pci_bar_kind kind, bool prefetchable,
                 uint64_t size, const char *name, const struct mmio_ops *ops, void *opaque,
                 struct mmio_guard *guard)
{
    BUG_ON(n >= PCI_BARS || p->bars[n].kind || !is_pow2(size));
    struct pci_bar *b = &p->bars[n];
    unsigned at = PCI_BAR0 + 4 * n;
    uint64_t mask = ~(size - 1);
    *b = (struct pci_bar){.kind = kind, .prefetchable = prefetchable, .size = size};
    if (kind == PCI_BAR_IO) {
        BUG_ON(size < 4);
        p->config[at] = 1;
        st_le32(p->writable + at, mask & ~3u);
    } else {
        BUG_ON(size < 16);
        p->config[at] = (kind == PCI_BAR_MEM64 ? 4 : 0) | (prefetchable ? 8 : 0);
        st_le32(p->writable + at, mask & ~15u);
        if (kind == PCI_BAR_MEM64)
            st_le32(p->writable + at + 4, mask >> 32);
    }
    struct space *s = kind == PCI_BAR_IO ? p->bus->root->io : p->bus->root->mem;
    // Made disabled: an address that no BAR can have meanwhile.
    b->region = space_map_mmio(s, name, 0, size, ops, opaque, guard, -1);
    region_enable(b->region, false);
}

static unsigned rom_offset(const struct pci_device *p)
{
    return is_bridge(p) ? PCI_BRIDGE_ROM : PCI_ROM;
}

// Where the BAR says it is; false when it does not decode.
static bool bar_decodes(const struct pci_device *p, unsigned n, uint64_t *base)
{
    const struct pci_bar *b = &p->bars[n];
    uint16_t cmd = ld_le16(p->config + PCI_COMMAND);
    unsigned at = n == PCI_ROM_SLOT ? rom_offset(p) : PCI_BAR0 + 4 * n;
    uint64_t v = ld_le32(p->config + at), last;
    if (!(cmd & (b->kind == PCI_BAR_IO ? PCI_CMD_IO : PCI_CMD_MEM)))
        return false;
    if (b->kind == PCI_BAR_ROM && !(v & 1))
        return false;
    if (b->kind == PCI_BAR_MEM64)
        v |= (uint64_t)ld_le32(p->config + at + 4) << 32;
    *base = v & ~(b->size - 1);
    // Nothing was assigned, or an operating system is sizing the BAR.
    uint64_t limit = b->kind == PCI_BAR_MEM64 ? UINT64_MAX
                     : b->kind == PCI_BAR_IO  ? 0xffff
                                              : UINT32_MAX;
    if (!*base || __builtin_add_overflow(*base, b->size - 1, &last) || last >= limit)
        return false;
    for (struct pci_bridge *up = p->bus->bridge; up; up = up->pci.bus->bridge)
        if (!pci_bridge_forwards(up, b->kind, *base, last))
            return false;
    return true;
}

void pci_update_mappings(struct pci_device *p)
{
    for (unsigned n = 0; n <= PCI_ROM_SLOT; n++) {
        struct pci_bar *b = &p->bars[n];
        uint64_t base = 0;
        if (!b->region)
            continue;
        bool on = bar_decodes(p, n, &base);
        if (on == b->mapped && (!on || base == b->base))
            continue;
        TRACE(pci_map_bar, "%s bar %u %s 0x%" PRIx64, p->dev.type->name, n, on ? "at" : "off",
              base);
        if (b->mapped)
            region_enable(b->region, false);
        if (on) {
            region_move(b->region, base);
            region_enable(b->region, true);
        }
        b->mapped = on;
        b->base = base;
    }
    if (is_bridge(p)) {
        struct pci_bridge *bridge = container_of(p, struct pci_bridge, pci);
        if (bridge->secondary)
            pci_update_bus(bridge->secondary, pci_update_mappings);
    }
}

bool pci_master_on_path(const struct pci_device *p)
{
    for (; p; p = p->bus->bridge ? &p->bus->bridge->pci : NULL)
        if (!(p->config[PCI_COMMAND] & PCI_CMD_MASTER))
            return false;
    return true;
}

void pci_update_master(struct pci_device *p)
{
    struct space *dma = pci_master_on_path(p) ? p->bus->root->dma : p->bus->root->no_dma;
    device_lock(&p->dev);
    bool changed = dma != p->dma;
    p->dma = dma;
    if (changed && p->master_changed)
        p->master_changed(p);
    device_unlock(&p->dev);
    if (is_bridge(p)) {
        struct pci_bridge *bridge = container_of(p, struct pci_bridge, pci);
        if (bridge->secondary)
            pci_update_bus(bridge->secondary, pci_update_master);
    }
}

// --- configuration accesses ---

uint32_t pci_config_read(struct pci_device *p, unsigned off, unsigned size)
{
    if (off + size > p->config_size)
        return mask_low(size * 8);
    device_lock(&p->dev);
    if (p->config_read)
        p->config_read(p, off, size);
    uint32_t v = ld_le16(p->config + off);
    if (size == 1)
        v &= 0xff;
    else if (size == 4)
        v = ld_le32(p->config + off);
    device_unlock(&p->dev);
    TRACE(pci_read_config, "%s +0x%03x/%u -> 0x%" PRIx32, p->dev.type->name, off, size, v);
    return v;
}

static bool touches(unsigned off, unsigned size, unsigned at, unsigned len)
{
    return off < at + len && at < off + size;
}

static void start_flr(struct pci_device *p)
{
    uint8_t *ctl = p->config + p->cap_exp + EXP_DEVCTL;
    if (!p->cap_exp || !(ld_le16(ctl) & EXP_DEVCTL_FLR))
        return;
    st_le16(ctl, ld_le16(ctl) & ~EXP_DEVCTL_FLR); // reads as zero
    loop_defer(&p->flr);
}

void pci_config_write(struct pci_device *p, unsigned off, unsigned size, uint32_t val)
{
    TRACE(pci_write_config, "%s +0x%03x/%u <- 0x%" PRIx32, p->dev.type->name, off, size, val);
    if (off + size > p->config_size)
        return;
    device_lock(&p->dev);
    uint8_t before = p->config[PCI_COMMAND];
    for (unsigned i = 0; i < size; i++, val >>= 8) {
        uint8_t w = p->writable[off + i], c = p->w1c[off + i], *at = &p->config[off + i];
        *at = ((*at & ~w) | (val & w)) & ~(val & c);
    }
    if (touches(off, size, PCI_COMMAND, 2))
        pci_intx_update(p);
    if (p->cap_msi && touches(off, size, p->cap_msi, MSI_SIZE))
        pci_msi_config_written(p);
    if (p->cap_msix && touches(off, size, p->cap_msix, 4))
        pci_msix_config_written(p);
    if (p->config_written)
        p->config_written(p, off, size);
    start_flr(p);
    bool master = (before ^ p->config[PCI_COMMAND]) & PCI_CMD_MASTER;
    device_unlock(&p->dev);
    if (master)
        pci_update_master(p);
    if (touches(off, size, PCI_COMMAND, 1) || touches(off, size, PCI_BAR0, 24) ||
        touches(off, size, rom_offset(p), 4) || is_bridge(p))
        pci_update_mappings(p);
}

// --- the family ---

static void run_flr(void *opaque)
{
    struct pci_device *p = opaque;
    struct device *host = p->bus->root->bus->bus.owner;
    device_lock(host);
    device_reset(&p->dev);
    device_unlock(host);
}

static int function_init(struct device *d, struct err *e)
{
    struct pci_device *p = of(d);
    p->config_size = PCI_CONVENTIONAL;
    p->writable = xcalloc(3, PCI_CONFIG);
    p->w1c = p->writable + PCI_CONFIG;
    p->cap_end = 0x40;
    p->dma = p->bus->root->no_dma;
    loop_work_init(&p->flr, d->env->loop, run_flr, p);
    st_le16(p->writable + PCI_COMMAND, PCI_CMD_IO | PCI_CMD_MEM | PCI_CMD_MASTER | PCI_CMD_PARITY |
                                           PCI_CMD_SERR | PCI_CMD_INTX_OFF);
    st_le16(p->w1c + PCI_STATUS, PCI_STS_W1C);
    p->writable[PCI_CACHE_LINE] = p->writable[PCI_INT_LINE] = 0xff;
    if (p->multifunction)
        p->config[PCI_HEADER_TYPE] |= PCI_HEADER_MULTI;
    pci_set_subsystem(p, 0x1af4, 0x1100);
    if (p->romfile && *p->romfile && pci_rom_load(p, e)) {
        free(p->writable);
        return -1;
    }
    return 0;
}

// The first reset, after init, keeps what configuration space holds then as the state to return to.
static void function_reset(struct device *d)
{
    struct pci_device *p = of(d);
    pci_set_intx(p, false);
    if (!p->at_reset) {
        p->at_reset = p->w1c + PCI_CONFIG;
        memcpy(p->at_reset, p->config, PCI_CONFIG);
    }
    memcpy(p->config, p->at_reset, PCI_CONFIG);
    memset(p->msix_pending, 0, sizeof p->msix_pending);
    memset(p->msix_table, 0, sizeof p->msix_table);
    for (unsigned i = 0; i < p->msix_n; i++)
        p->msix_table[16 * i + 12] = 1; // masked
    pci_update_master(p);
    pci_update_mappings(p);
}

static void function_hide(struct device *d)
{
    struct pci_device *p = of(d);
    struct device *host = p->bus->root->bus->bus.owner;
    device_lock(host); // no configuration access is inside from here on
    p->bus->functions[p->devfn] = NULL;
    device_unlock(host);
    for (unsigned n = 0; n <= PCI_ROM_SLOT; n++) {
        region_unmap(p->bars[n].region);
        p->bars[n].region = NULL;
    }
}

static void function_exit(struct device *d)
{
    struct pci_device *p = of(d);
    loop_work_cancel(&p->flr);
    device_lock(d);
    pci_set_intx(p, false);
    device_unlock(d);
    function_hide(d);
    pci_msix_wires_free(p);
    if (p->rom)
        ram_free(p->rom);
    free(p->writable);
    p->writable = NULL;
}

// Bytes that the device changes by itself.
static bool is_live(const struct pci_device *p, unsigned i)
{
    unsigned pending = p->cap_msi + MSI_PENDING;
    return i == PCI_STATUS || (p->cap_exp && i >= p->cap_exp && i - p->cap_exp < EXP_SIZE + 0u) ||
           (p->cap_msi && i >= pending && i < pending + 4);
}

static int function_post_load(struct device *d, struct err *e)
{
    struct pci_device *p = of(d);
    for (unsigned i = 0; i < PCI_CONFIG; i++) {
        uint8_t fixed = ~(p->writable[i] | p->w1c[i]);
        if (!is_live(p, i) && ((p->config[i] ^ p->at_reset[i]) & fixed))
            return err_set(e, "%s: saved configuration byte 0x%x is of another device",
                           d->type->name, i);
    }
    pci_intx_update(p);
    pci_update_master(p);
    pci_update_mappings(p);
    return 0;
}

static const struct field fields[] = {
    FIELD(struct pci_device, addr, .kind = F_STR, .use = FIELD_PROP,
          .help = "Slot and optional function number, example: 06.0 or 06"),
    FIELD(struct pci_device, multifunction, .kind = F_BOOL, .use = FIELD_PROP),
    FIELD(struct pci_device, romfile, .kind = F_STR, .use = FIELD_PROP),
    FIELD(struct pci_device, rombar, .kind = F_U32, .use = FIELD_PROP, .init = 1),
    FIELD(struct pci_device, config, .kind = F_BYTES, .use = FIELD_STATE, .len = PCI_CONFIG),
    FIELD(struct pci_device, msix_table, .kind = F_BYTES, .use = FIELD_STATE,
          .len = PCI_MSIX_MAX * 16),
    FIELD(struct pci_device, msix_pending, .kind = F_BYTES, .use = FIELD_STATE,
          .len = PCI_MSIX_MAX / 8),
    FIELD(struct pci_device, intx_level, .kind = F_BOOL, .use = FIELD_STATE),
    {0},
};

const struct device_type pci_device_base = {
    .name = "pci-device",
    .size = sizeof(struct pci_device),
    .fields = fields,
    .init = function_init,
    .reset = function_reset,
    .hide = function_hide,
    .exit = function_exit,
    .post_load = function_post_load,
};
