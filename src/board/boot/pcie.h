// How guests are told of a generic PCI Express host bridge: its device tree node, and its device in
// ACPI's name space. Both follow from the windows the bridge itself was made with.
#pragma once

#include "board/boot/aml.h"
#include "board/boot/fdt_out.h"
#include "device/pci/host_ecam.h"

struct boot_pcie {
    struct pci_ecam_board bridge;
    // Device tree
    const char *node; // name and unit address
    gpa_t at;
    uint32_t msi;          // phandle of the message controller, 0: none
    bool msi_by_requester; // ... to which the sender's requester id means something
    uint32_t intc;         // phandle of the INTx lines' controller
    unsigned intc_address; // its #address-cells
    unsigned irq_cells;    // its #interrupt-cells
    uint32_t irq[4][3];    // specifiers of the four lines
    // ACPI
    uint32_t gsi;   // of INTA, the others follow
    bool gsi_fixed; // named in the routes themselves, as a PC does: no link devices
};
void boot_pcie_fdt(const struct boot_pcie *p, struct fdt_out *o);
void boot_pcie_aml(const struct boot_pcie *p, struct aml *a);
