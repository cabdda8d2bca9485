// The RISC-V `virt` board's own view: properties resolved, the slot table, and the addresses that
// depend on the amount of RAM. Its device tree (virt_fdt.c) is written from this structure
// alone.
#pragma once

#include "board/boot/fdt_out.h"
#include "board/riscv/boot.h"
#include "board/slot.h"
#include "device/pci/host_ecam.h"

enum rvirt_slot_id {
    RVIRT_ROM,
    RVIRT_TEST,
    RVIRT_RTC,
    RVIRT_CLINT,
    RVIRT_SSWI,
    RVIRT_PCIE_PIO,
    RVIRT_PLIC,
    RVIRT_APLIC_M,
    RVIRT_APLIC_S,
    RVIRT_UART,
    RVIRT_VIRTIO,
    RVIRT_FW_CFG,
    RVIRT_FLASH,
    RVIRT_IMSIC_M,
    RVIRT_IMSIC_S,
    RVIRT_PCIE_ECAM,
    RVIRT_PCIE_MMIO,
    RVIRT_RAM,
    RVIRT_SLOTS,
};

extern const struct board_slot rvirt_slots[RVIRT_SLOTS];

enum {
    RVIRT_SOURCES = 96, // of the PLIC, source 0 included; of the APLIC without it
    RVIRT_MSI_IDS = 255,
    RVIRT_IRQ_PCIE = 32,
    RVIRT_TIMEBASE = 10000000,
    RVIRT_UART_CLOCK = 3686400,
};

enum rvirt_aia { AIA_NONE, AIA_APLIC, AIA_IMSIC };

struct rvirt {
    struct machine *m;
    // -machine
    bool aclint, acpi;
    enum rvirt_aia aia;
    uint64_t aia_guests; // guest interrupt files of each hart
    const char *dumpdtb;

    gpa_t high_mmio;
    uint64_t high_mmio_size;
    struct device *plic, *aplic, *imsic[2]; // by -machine aia; machine and supervisor level
    struct space **sysregs;                 // one for each hart, with IMSICs
    struct device *fw_cfg;
    struct riscv_boot boot;
};

// ---- virt_irq.c: the interrupt controllers that -machine aia asks for ----

int rvirt_make_imsics(struct rvirt *v, struct err *e) MUST_CHECK; // before the harts
int rvirt_make_irqchip(struct rvirt *v, struct err *e) MUST_CHECK;
void rvirt_free_irqchip(struct rvirt *v);
struct irq rvirt_source(struct rvirt *v, unsigned n);      // a device's wired interrupt n
struct msi_target rvirt_msi_target(struct rvirt *v);       // nothing without IMSICs
enum { RVIRT_PH_IRQ = 0x8001, RVIRT_PH_IMSIC_S = 0x8004 }; // phandles
void rvirt_fdt_irqchip(const struct rvirt *v, struct fdt_out *o);
// The words that name source n in a device tree, at `cells`; how many there are.
unsigned rvirt_fdt_source(const struct rvirt *v, unsigned n, uint32_t cells[2]);

// Addresses of the PCIe host bridge; without its lines and message target.
struct pci_ecam_board rvirt_pcie_windows(const struct rvirt *v);
// ACPI tables for firmware, into the firmware configuration device.
int rvirt_build_acpi(const struct rvirt *v, struct err *e) MUST_CHECK;
// The device tree as a malloc'ed blob.
int rvirt_build_fdt(const struct rvirt *v, uint8_t **blob, size_t *len, struct err *e) MUST_CHECK;
