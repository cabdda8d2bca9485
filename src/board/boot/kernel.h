// Kernels for direct boot: what a file is, where it goes and where it starts.
#pragma once

#include "board/board.h"

struct boot_kernel {
    gpa_t entry;
    gpa_t low, high;  // the RAM it occupies, bss included
    bool linux_image; // speaks Linux's boot protocol (device tree in the first argument)
};
// Loads an ELF file for `machine` (EM_*, 64-bit little-endian): its segments become images of m.
// `fd`: the open file that the bytes are those of, so that no copy need be kept, or -1. 1: not an
// ELF file.
int boot_load_elf(struct machine *m, const char *path, const uint8_t *data, size_t len, int fd,
                  unsigned machine, struct boot_kernel *k, struct err *e) MUST_CHECK;
// The value of a symbol of an ELF file; 0: there is none, or it is no such file.
uint64_t boot_elf_symbol(const uint8_t *data, size_t len, const char *name);
// Loads an arm64 kernel: a Linux Image (plain or compressed), an ELF file, or else raw code that is
// placed 512 KiB into RAM.
int boot_load_arm64(struct machine *m, const char *path, struct boot_kernel *k,
                    struct err *e) MUST_CHECK;
