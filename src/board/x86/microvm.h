// The `microvm` board's own view, for its files: properties resolved and the slot table.
#pragma once

#include "accel/accel.h"
#include "board/x86/linux.h"
#include "board/boot/pcie.h"
#include "board/slot.h"

enum microvm_slot_id { MICROVM_POWER, MICROVM_RTC, MICROVM_UART, MICROVM_VIRTIO, MICROVM_SLOTS };

extern const struct board_slot microvm_slots[MICROVM_SLOTS];

enum {
    MICROVM_GSIS = 24,
    MICROVM_GSI_POWER = 9,
    MICROVM_GSI_PCIE = 12,      // INTA to INTD: 12 to 15
    MICROVM_GSI_VIRTIO_ISA = 5, // without ACPI, where only ISA's lines are known
};
#define MICROVM_LOW_RAM   0xc0000000ull // RAM beyond lies above 4 GiB
#define MICROVM_PCI_MMIO  0xc0000000ull
#define MICROVM_PCI_SIZE  0x20000000ull
#define MICROVM_ECAM      0xe0000000ull
#define MICROVM_ECAM_SIZE 0x10000000ull
#define MICROVM_IOAPIC    0xfec00000ull

struct microvm {
    struct machine *m;
    bool acpi, pcie, rtc, serial, auto_cmdline;
    struct space *ports;
    struct accel_irqchip chip;
    struct isa_bus *isa;
    unsigned virtio_gsi;
    struct boot_pcie bridge; // with pcie=on
    struct ram *firmware;
    struct region *rom[2]; // it ends at 4 GiB, and its end shows below 1 MiB
    struct x86_boot boot;
    char *cmdline;
};

// ACPI tables from the slot table, as an image at X86_BOOT_ACPI.
int microvm_place_acpi(const struct microvm *v, struct err *e) MUST_CHECK;
