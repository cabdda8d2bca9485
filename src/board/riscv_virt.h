// The RISC-V `virt` board's own view: properties resolved, the slot table, and the addresses that
// depend on the amount of RAM. Its device tree (riscv_virt_fdt.c) is written from this structure
// alone.
#pragma once

#include "board/board.h"
#include "board/boot/riscv.h"

enum rvirt_slot_id {
    RVIRT_ROM,
    RVIRT_TEST,
    RVIRT_RTC,
    RVIRT_CLINT,
    RVIRT_SSWI,
    RVIRT_PCIE_PIO,
    RVIRT_PLIC,
    RVIRT_UART,
    RVIRT_VIRTIO,
    RVIRT_FW_CFG,
    RVIRT_FLASH,
    RVIRT_PCIE_ECAM,
    RVIRT_PCIE_MMIO,
    RVIRT_RAM,
    RVIRT_SLOTS,
};

struct rvirt_slot {
    const char *name; // of the region, and of the device tree node
    gpa_t base;
    uint64_t size;
    unsigned irq;                   // first interrupt source, 0: none
    unsigned count;                 // how many side by side, each with the next interrupt; 0: 1
    const struct device_type *type; // a system device made here; NULL: the board does it
    const char *compatible; // device tree; several strings with \0 between, or NULL: no plain node
    size_t compatible_len;
};
extern const struct rvirt_slot rvirt_slots[RVIRT_SLOTS];

enum {
    RVIRT_SOURCES = 96, // of the PLIC, source 0 included
    RVIRT_IRQ_PCIE = 32,
    RVIRT_TIMEBASE = 10000000,
    RVIRT_UART_CLOCK = 3686400,
};

struct rvirt {
    struct machine *m;
    // -machine
    bool aclint, acpi;
    const char *dumpdtb;

    gpa_t high_mmio;
    uint64_t high_mmio_size;
    struct device *plic, *aclint_dev, *fw_cfg;
    struct riscv_boot boot;
};

// The device tree as a malloc'ed blob.
int rvirt_build_fdt(const struct rvirt *v, uint8_t **blob, size_t *len, struct err *e) MUST_CHECK;
