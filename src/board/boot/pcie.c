// A generic PCI Express host bridge in a device tree (Linux documentation, pci-host-ecam-generic;
// IEEE 1275 PCI bus binding) and in ACPI (PCI Firmware Specification 3.2).
#include "board/boot/pcie.h"

#include <stdio.h>
#include <string.h>

// ---- device tree ----

// INTA to INTD of a device rotate with its slot number over the four lines.
static void put_fdt_interrupts(const struct boot_pcie *p, struct fdt_out *o)
{
    uint32_t map[16 * 16];
    size_t n = 0;
    for (uint32_t slot = 0; slot < 4; slot++)
        for (uint32_t pin = 0; pin < 4; pin++) {
            const uint32_t child[5] = {slot << 11, 0, 0, pin + 1, p->intc};
            memcpy(map + n, child, sizeof child);
            n += 5;
            for (unsigned i = 0; i < p->intc_address; i++)
                map[n++] = 0;
            for (unsigned i = 0; i < p->irq_cells; i++)
                map[n++] = p->irq[(slot + pin) % 4][i];
        }
    fdt_out_cells(o, "#interrupt-cells", 1);
    fdt_out_cells_n(o, "interrupt-map", map, n);
    fdt_out_cells(o, "interrupt-map-mask", 0x1800, 0, 0, 7);
}

enum { SPACE_IO = 0x1000000, SPACE_MEM32 = 0x2000000, SPACE_MEM64 = 0x3000000 };

static size_t put_range(uint32_t *at, uint32_t kind, uint64_t pci, uint64_t cpu, uint64_t size)
{
    const uint32_t range[7] = {
        kind,          (uint32_t)(pci >> 32),  (uint32_t)pci,  (uint32_t)(cpu >> 32),
        (uint32_t)cpu, (uint32_t)(size >> 32), (uint32_t)size,
    };
    memcpy(at, range, sizeof range);
    return ARRAY_SIZE(range);
}

void boot_pcie_fdt(const struct boot_pcie *p, struct fdt_out *o)
{
    const struct pci_ecam_board *b = &p->bridge;
    uint32_t ranges[21];
    size_t n = put_range(ranges, SPACE_IO, 0, b->pio_base, b->pio_size);
    n += put_range(ranges + n, SPACE_MEM32, b->mmio_base, b->mmio_base, b->mmio_size);
    if (b->mmio64_size)
        n += put_range(ranges + n, SPACE_MEM64, b->mmio64_base, b->mmio64_base, b->mmio64_size);
    fdt_out_node(o, "%s@%llx", p->node, (unsigned long long)p->at);
    fdt_out_str(o, "compatible", "pci-host-ecam-generic");
    fdt_out_str(o, "device_type", "pci");
    fdt_out_cells(o, "#address-cells", 3);
    fdt_out_cells(o, "#size-cells", 2);
    fdt_out_cells(o, "linux,pci-domain", 0);
    fdt_out_cells(o, "bus-range", 0, b->n_buses - 1);
    fdt_out_empty(o, "dma-coherent");
    if (p->msi && p->msi_by_requester)
        fdt_out_cells(o, "msi-map", 0, p->msi, 0, 0x10000);
    else if (p->msi)
        fdt_out_cells(o, "msi-parent", p->msi);
    fdt_out_reg(o, b->ecam_base, (uint64_t)b->n_buses << 20);
    fdt_out_cells_n(o, "ranges", ranges, n);
    put_fdt_interrupts(p, o);
    fdt_out_end(o);
}

// ---- ACPI ----

// INTx: four lines, described as link devices outside the bridge, so that they are there before it;
// and which of them each pin of 32 slots is on.
static void put_links(const struct boot_pcie *p, struct aml *a)
{
    char name[8];
    for (unsigned i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "GSI%u", i);
        aml_device(a, name);
        aml_hid(a, "_HID", "PNP0C0F");
        aml_name_int(a, "_UID", i);
        for (unsigned k = 0; k < 2; k++) {
            aml_crs(a, k ? "_CRS" : "_PRS");
            aml_crs_irq(a, p->gsi + i, false);
            aml_crs_close(a);
        }
        aml_method(a, "_SRS", 1);
        aml_close(a);
        aml_close(a);
    }
}

static void put_routes(const struct boot_pcie *p, struct aml *a)
{
    char name[8];
    aml_name(a, "_PRT");
    aml_package(a, 128);
    for (unsigned slot = 0; slot < 32; slot++)
        for (unsigned pin = 0; pin < 4; pin++) {
            snprintf(name, sizeof name, "GSI%u", (slot + pin) % 4);
            aml_package(a, 4);
            aml_int(a, slot << 16 | 0xffff);
            aml_int(a, pin);
            if (p->gsi_fixed)
                aml_int(a, 0);
            else
                aml_path(a, name);
            aml_int(a, p->gsi_fixed ? p->gsi + (slot + pin) % 4 : 0);
            aml_close(a);
        }
    aml_close(a);
}

// _OSC (PCI Firmware Specification 3.2, 4.5.1): the system may have all it asks for, and the answer
// is the capabilities buffer that it passed.
static void put_osc(struct aml *a)
{
    static const uint8_t pci_host[16] = {0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40,
                                         0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66};
    static const uint8_t unknown_uuid[4] = {4, 0, 0, 0};
    aml_method(a, "_OSC", 4);
    aml_if_equal_buffer(a, 0, pci_host, sizeof pci_host);
    aml_return(a);
    aml_arg(a, 3);
    aml_close(a);
    aml_return(a);
    aml_buffer(a, unknown_uuid, sizeof unknown_uuid);
    aml_close(a);
}

void boot_pcie_aml(const struct boot_pcie *p, struct aml *a)
{
    const struct pci_ecam_board *b = &p->bridge;
    const uint64_t ecam_end = b->ecam_base + ((uint64_t)b->n_buses << 20) - 1;
    if (!p->gsi_fixed)
        put_links(p, a);
    aml_device(a, "PCI0");
    aml_hid(a, "_HID", "PNP0A08");
    aml_hid(a, "_CID", "PNP0A03");
    aml_name_int(a, "_SEG", 0);
    aml_name_int(a, "_BBN", 0);
    aml_name_int(a, "_UID", 0);
    aml_name_int(a, "_CCA", 1);
    aml_name_int(a, "_CBA", b->ecam_base);
    aml_crs(a, "_CRS");
    aml_crs_window(a, AML_BUS, 0, b->n_buses - 1, 0);
    aml_crs_window(a, AML_MEMORY, b->mmio_base, b->mmio_base + b->mmio_size - 1, 0);
    if (b->pio_size)
        aml_crs_window(a, AML_IO, 0, b->pio_size - 1, b->pio_base);
    if (b->mmio64_size)
        aml_crs_window(a, AML_MEMORY, b->mmio64_base, b->mmio64_base + b->mmio64_size - 1, 0);
    aml_crs_close(a);
    put_routes(p, a);
    put_osc(a);
    // Configuration space is claimed here, so that nobody else takes the addresses.
    aml_device(a, "RES0");
    aml_hid(a, "_HID", "PNP0C02");
    aml_crs(a, "_CRS");
    aml_crs_window(a, AML_MEMORY, b->ecam_base, ecam_end, 0);
    aml_crs_close(a);
    aml_close(a);
    aml_close(a);
}
