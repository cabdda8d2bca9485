// The generic PCI Express host bridge, for boards: configuration space as a memory window (ECAM),
// windows for memory and I/O, four INTx lines and MSI. Its root bus is "pcie.0".
#pragma once

#include "device/pci/pci.h"

struct pci_ecam_board {
    gpa_t ecam_base; // 1 MiB for each bus
    unsigned n_buses;
    gpa_t mmio_base, mmio_size;     // below 4 GiB; PCI address = CPU address
    gpa_t mmio64_base, mmio64_size; // size 0: none
    gpa_t pio_base, pio_size;       // I/O ports from 0; size 0: none
    struct irq intx[4];             // device in slot s, pin p: intx[(s + p) % 4]
    struct msi_target msi;
};
// Makes, maps into env->memory and starts the bridge; NULL and *e.
struct device *pci_ecam_create(struct device_tree *t, const struct pci_ecam_board *b,
                               struct err *e);
struct pci_root *pci_ecam_root(struct device *d);
