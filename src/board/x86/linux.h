// Kernels for x86-64 without firmware: bzImage and vmlinux by Linux's 64-bit boot protocol, ELF
// files with a PVH note by the PVH protocol. A board fills what is in memory; the loader places
// kernel, initial RAM disk, command line and what the protocol wants beside them.
#pragma once

#include "board/board.h"

// Low memory as the loader lays it out; all below what kernels use.
enum {
    X86_BOOT_START_INFO = 0x6000, // PVH
    X86_BOOT_PARAMS = 0x7000,     // "zero page"
    X86_BOOT_CMDLINE = 0x20000,
    X86_BOOT_CMDLINE_MAX = 0x10000,
    X86_BOOT_LOW_END = 0x9fc00, // conventional memory ends here
    X86_BOOT_ACPI = 0xe0000,
    X86_BOOT_MPTABLE = 0xf0000,
};
enum x86_e820 { X86_E820_RAM = 1, X86_E820_RESERVED = 2 };
struct x86_e820_range {
    uint64_t base, size;
    uint32_t type;
};
struct x86_boot {
    const char *cmdline; // as the guest shall see it
    const struct x86_e820_range *e820;
    unsigned n_e820;
    uint64_t low_ram; // RAM from 0 to here is contiguous
    uint64_t rsdp;    // 0: no ACPI
    // Out: how the boot CPU starts.
    gpa_t entry, arg;
    unsigned level; // enum x86_start
};
int boot_load_x86(struct machine *m, const char *kernel, const char *initrd, struct x86_boot *b,
                  struct err *e) MUST_CHECK;
// Intel MultiProcessor Specification 1.4 table for CPUs, one IOAPIC and ISA lines: placed at
// X86_BOOT_MPTABLE, for kernels without ACPI.
int boot_place_mptable(struct machine *m, unsigned n_cpus, unsigned cores, unsigned threads,
                       struct err *e) MUST_CHECK;
