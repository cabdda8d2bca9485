// MSI and MSI-X (PCI Local Bus 3.0, section 6.8): vectors with masks and pending bits. A message
// is a write to memory, so it needs bus mastering.
#include "device/pci/pci.h"

#include "base/bits.h"
#include "device/pci/regs.h"

#include <stdio.h>

static void send(struct pci_device *p, uint64_t addr, uint32_t data)
{
    struct msi_target *t = &p->bus->root->msi;
    if (pci_master_on_path(p) && t->send)
        t->send(t->opaque, addr, data, pci_rid(p));
}

// --- MSI ---

void pci_add_msi(struct pci_device *p, unsigned vectors_log2)
{
    unsigned at = pci_add_cap(p, PCI_CAP_MSI, MSI_SIZE);
    p->cap_msi = at;
    st_le16(p->config + at + MSI_FLAGS, vectors_log2 << 1 | MSI_64BIT | MSI_MASKABLE);
    st_le16(p->writable + at + MSI_FLAGS, MSI_ENABLE | 7 << 4);
    st_le32(p->writable + at + MSI_ADDR, ~3u);
    st_le32(p->writable + at + MSI_ADDR + 4, ~0u);
    st_le16(p->writable + at + MSI_DATA, 0xffff);
    st_le32(p->writable + at + MSI_MASK, mask_low(1u << vectors_log2));
}

bool pci_msi_on(const struct pci_device *p)
{
    return p->cap_msi && (p->config[p->cap_msi + MSI_FLAGS] & MSI_ENABLE);
}

static unsigned msi_vectors(const struct pci_device *p)
{
    uint16_t flags = ld_le16(p->config + p->cap_msi + MSI_FLAGS);
    return 1u << MIN(bits(flags, 6, 4), bits(flags, 3, 1));
}

void pci_msi_notify(struct pci_device *p, unsigned vector)
{
    if (!pci_msi_on(p))
        return;
    uint8_t *c = p->config + p->cap_msi;
    unsigned n = msi_vectors(p);
    vector &= n - 1;
    if (ld_le32(c + MSI_MASK) >> vector & 1) {
        st_le32(c + MSI_PENDING, ld_le32(c + MSI_PENDING) | 1u << vector);
        return;
    }
    send(p, ld_le64(c + MSI_ADDR), (ld_le16(c + MSI_DATA) & ~(n - 1)) | vector);
}

void pci_msi_config_written(struct pci_device *p)
{
    uint8_t *c = p->config + p->cap_msi;
    uint32_t due = ld_le32(c + MSI_PENDING) & ~ld_le32(c + MSI_MASK);
    if (!pci_msi_on(p) || !due)
        return;
    st_le32(c + MSI_PENDING, ld_le32(c + MSI_PENDING) & ~due);
    for (unsigned i = 0; i < 32; i++)
        if (due >> i & 1)
            pci_msi_notify(p, i);
}

// --- MSI-X ---

#define PENDING_AT 0x800 // in the BAR; the table is at 0

bool pci_msix_on(const struct pci_device *p)
{
    return p->cap_msix && (ld_le16(p->config + p->cap_msix + MSIX_FLAGS) & MSIX_ENABLE);
}

static bool msix_masked(const struct pci_device *p, unsigned vector)
{
    return (ld_le16(p->config + p->cap_msix + MSIX_FLAGS) & MSIX_MASK_ALL) ||
           (p->msix_table[16 * vector + 12] & 1);
}

void pci_msix_notify(struct pci_device *p, unsigned vector)
{
    if (vector >= p->msix_n || !pci_msix_on(p))
        return;
    if (msix_masked(p, vector)) {
        p->msix_pending[vector / 8] |= 1u << vector % 8;
        return;
    }
    const uint8_t *e = p->msix_table + 16 * vector;
    uint64_t addr = ld_le64(e) & ~3ull;
    if (!pci_master_on_path(p) || !pci_msix_wire_send(p, vector, addr, ld_le32(e + 8)))
        send(p, addr, ld_le32(e + 8));
}

static void send_pending(struct pci_device *p)
{
    if (!pci_msix_on(p))
        return;
    for (unsigned i = 0; i < p->msix_n; i++) {
        if (!(p->msix_pending[i / 8] >> i % 8 & 1) || msix_masked(p, i))
            continue;
        p->msix_pending[i / 8] &= ~(1u << i % 8);
        pci_msix_notify(p, i);
    }
}

void pci_msix_config_written(struct pci_device *p)
{
    send_pending(p);
    if (p->msix_changed)
        p->msix_changed(p);
}

static enum mem_result table_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                  struct mem_attrs attrs)
{
    struct pci_device *p = opaque;
    uint8_t le[8] = {0};
    if (off + size <= p->msix_n * 16u)
        memcpy(le, p->msix_table + off, size);
    else if (off >= PENDING_AT && off + size <= PENDING_AT + sizeof p->msix_pending)
        memcpy(le, p->msix_pending + (off - PENDING_AT), size);
    *val = ld_le64(le);
    return MEM_OK;
}

static enum mem_result table_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                   struct mem_attrs attrs)
{
    struct pci_device *p = opaque;
    uint8_t le[8];
    st_le64(le, val);
    if (size < 4 || off + size > p->msix_n * 16u) {
        log_guest("msi-x", "%s: %u-byte write at 0x%x of the MSI-X table", p->dev.type->name, size,
                  (unsigned)off);
        return MEM_OK;
    }
    memcpy(p->msix_table + off, le, size);
    p->msix_table[(off & ~15u) + 12] &= 1; // the rest of vector control is reserved
    memset(p->msix_table + (off & ~15u) + 13, 0, 3);
    send_pending(p);
    if (p->msix_changed)
        p->msix_changed(p);
    return MEM_OK;
}

static const struct mmio_ops table_ops = {
    .read = table_read,
    .write = table_write,
    .max_size = 8,
};

void pci_add_msix(struct pci_device *p, unsigned n, unsigned bar)
{
    BUG_ON(!n || n > PCI_MSIX_MAX);
    unsigned at = pci_add_cap(p, PCI_CAP_MSIX, MSIX_SIZE);
    p->cap_msix = at;
    p->msix_n = n;
    st_le16(p->config + at + MSIX_FLAGS, n - 1);
    st_le16(p->writable + at + MSIX_FLAGS, MSIX_ENABLE | MSIX_MASK_ALL);
    st_le32(p->config + at + MSIX_TABLE, bar);
    st_le32(p->config + at + MSIX_PBA, PENDING_AT | bar);
    pci_add_bar(p, bar, PCI_BAR_MEM32, false, 4 * KiB, "msix", &table_ops, p,
                device_guard(&p->dev));
}
