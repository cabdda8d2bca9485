// Kernels for direct boot: what a file is, where it goes and where it starts.
#pragma once

#include "board/board.h"

struct boot_kernel {
    gpa_t entry;
    gpa_t low, high;  // the RAM it occupies, bss included
    bool linux_image; // speaks Linux's boot protocol (device tree in the first argument)
};
// Loads an ELF file for `machine` (EM_*, little-endian): its segments become images of m. 1: not an
// ELF file.
struct boot_file;
int boot_load_elf(struct machine *m, const char *path, const struct boot_file *f, unsigned machine,
                  struct boot_kernel *k, struct err *e) MUST_CHECK;
// The value of a symbol of an ELF file; 0: there is none, or it is no such file.
uint64_t boot_elf_symbol(const uint8_t *data, size_t len, const char *name);
// Loads a kernel: a Linux Image (plain or compressed), an ELF file, or else raw code.
struct boot_loading {
    unsigned machine;    // EM_*
    const char *cpu;     // as errors say it
    gpa_t base;          // an Image goes so far beyond this as its header says,
    uint64_t raw_offset; // raw code, and an Image that does not say, so far
    void (*look)(void *opaque, const struct boot_file *f); // or NULL: sees the file unpacked
    void *opaque;
};
int boot_load_linux(struct machine *m, const char *path, const struct boot_loading *l,
                    struct boot_kernel *k, struct err *e) MUST_CHECK;
