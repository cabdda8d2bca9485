// Starting a RISC-V machine: firmware, kernel, initial RAM disk, device tree and boot ROM.
#pragma once

#include "board/boot/file.h"
#include "board/boot/kernel.h"

enum riscv_symbol {
    SYM_TOHOST,
    SYM_FROMHOST,
    SYM_BEGIN_SIGNATURE,
    SYM_END_SIGNATURE,
    RISCV_SYMBOLS
};

struct riscv_boot {
    struct machine *m;
    struct boot_kernel kernel, firmware;
    bool has_firmware; // in RAM, at machine level, before the kernel
    gpa_t initrd, dtb;
    uint64_t initrd_len;
    gpa_t entry, next;              // where harts start; where firmware goes on
    uint64_t symbol[RISCV_SYMBOLS]; // of the ELF files that were loaded; 0: not defined there
    struct ram *rom;
    struct region *rom_region;
};

// The ROM harts are reset into.
int riscv_boot_make_rom(struct riscv_boot *b, struct machine *m, gpa_t base, uint64_t size,
                        struct err *e) MUST_CHECK;
// -bios (none, FILE, or default: OpenSBI), -kernel (a Linux Image, plain or compressed, an ELF file
// at its own addresses, or else raw code) and -initrd. Unless `flash` is 0, that is where firmware
// goes on, and no kernel is placed: what is in flash loads it.
int riscv_boot_load(struct riscv_boot *b, gpa_t flash, struct err *e) MUST_CHECK;
// Takes over the device tree's bytes, and completes the ROM; or dumps them (boot/offer.h).
int riscv_boot_place_dtb(struct riscv_boot *b, struct boot_file *f, const char *dump,
                         struct err *e) MUST_CHECK;
void riscv_boot_free(struct riscv_boot *b);
