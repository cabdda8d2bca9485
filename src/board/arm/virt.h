// The `virt` board's own view: properties resolved, the slot table, and the addresses that depend
// on the amount of RAM. Device tree (virt_fdt.c) and tables (virt_acpi.c) are written from
// this structure alone.
#pragma once

#include "board/boot/kernel.h"
#include "board/slot.h"
#include "device/pci/host_ecam.h"

enum virt_slot_id {
    VIRT_FLASH,
    VIRT_GIC_DIST,
    VIRT_GIC_CPU,
    VIRT_GIC_V2M,
    VIRT_GIC_HYP,
    VIRT_GIC_VCPU,
    VIRT_GIC_ITS,
    VIRT_GIC_REDIST,
    VIRT_UART,
    VIRT_RTC,
    VIRT_FW_CFG,
    VIRT_GPIO,
    VIRT_SECURE_UART,
    VIRT_SECURE_GPIO,
    VIRT_VIRTIO,
    VIRT_SECURE_RAM,
    VIRT_PCIE_MMIO,
    VIRT_PCIE_PIO,
    VIRT_PCIE_ECAM,
    VIRT_RAM,
    VIRT_SLOTS,
};

extern const struct board_slot virt_slots[VIRT_SLOTS];

// Interrupts beside the slots' own.
enum {
    VIRT_SPIS = 256,
    VIRT_SPI_PCIE = 3, // INTA to INTD: 3 to 6
    VIRT_SPI_V2M = 48, // 64 message interrupts
    VIRT_N_V2M = 64,
    VIRT_PPI_PMU = 7, // PPIs as numbered in the device tree (INTID - 16)
    VIRT_PPI_MAINTENANCE = 9,
    VIRT_PPI_TIMER_HYP = 10,
    VIRT_PPI_TIMER_VIRT = 11,
    VIRT_PPI_TIMER_SECURE = 13,
    VIRT_PPI_TIMER_PHYS = 14,
    VIRT_REDISTS_LOW = 123, // redistributors that fit below the UART
    VIRT_GPIO_POWER_PIN = 3,
};

struct virt {
    struct machine *m;
    // -machine
    unsigned gic_version; // 2 or 3
    bool secure, virtualization, its, acpi, highmem, highmem_ecam, highmem_mmio, highmem_redists;
    const char *dumpdtb;

    bool has_pmu;
    gpa_t redist2, ecam, high_mmio; // 0: not there
    uint64_t redist2_size, ecam_size, high_mmio_size;

    struct device *gic, *msi; // msi: ITS or v2m frame, or NULL
    struct msi_target msi_target;
    struct device *fw_cfg;
    struct ram *secure_ram;
    struct space **sysregs; // one per vCPU
    struct irq gpio_power;
    struct loop_timer power_key; // lets go of the power button

    // Boot
    struct boot_kernel kernel;
    bool firmware; // starts in flash
    gpa_t initrd, dtb;
    uint64_t initrd_len;
    gpa_t entry, entry_arg;
    unsigned entry_level;
};

// Affinity bits of vCPU i: clusters of 8 with GICv2 and 16 with GICv3, as far as an SGI reaches.
uint64_t virt_affinity(const struct virt *v, unsigned i);
// By which call the guest reaches PSCI (CONDUIT_*): none where firmware of its own starts at EL3.
int virt_conduit(const struct virt *v);
// Addresses of the PCIe host bridge; without its lines and message target.
struct pci_ecam_board virt_pcie_windows(const struct virt *v);
// ACPI tables for firmware, into the firmware configuration device.
int virt_build_acpi(const struct virt *v, struct err *e) MUST_CHECK;
// The device tree as a malloc'ed blob.
int virt_build_fdt(const struct virt *v, uint8_t **blob, size_t *len, struct err *e) MUST_CHECK;
