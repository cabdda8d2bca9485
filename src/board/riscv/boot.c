// Starting a RISC-V machine: OpenSBI or other firmware, a kernel behind it, the initial RAM disk,
// the device tree, and the boot ROM in machine code that leads to them (the structure in it is
// OpenSBI's fw_dynamic information, docs/firmware/fw_dynamic.md, version 2).
#include "board/riscv/boot.h"

#include "base/bits.h"
#include "board/boot/offer.h"

#include <elf.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

// ---- the boot ROM ----

enum { ROM_WORDS = 24, CODE_WORDS = 8, DATA_ENTRY = 8, DATA_DTB = 10, DATA_INFO = 12 };

static void put64(uint32_t *at, uint64_t v)
{
    at[0] = (uint32_t)v;
    at[1] = (uint32_t)(v >> 32);
}

// Everything but the code is in words of the hart's own width.
static void fill_rom(uint32_t rom[ROM_WORDS], bool wide, uint64_t entry, uint64_t dtb,
                     uint64_t next)
{
    const uint32_t load = wide ? 0x3003 : 0x2003; // ld or lw
    const uint32_t code[CODE_WORDS] = {
        0x00000297,                                // auipc t0, 0
        0x00028613 | DATA_INFO * 4u << 20,         // addi  a2, t0, info
        0xf1402573,                                // csrr  a0, mhartid
        load | 0x00028580 | DATA_DTB * 4u << 20,   // a1 from dtb(t0)
        load | 0x00028280 | DATA_ENTRY * 4u << 20, // t0 from entry(t0)
        0x00028067,                                // jr    t0
        0x00000013,                                // nop
        0x00000013,
    };
    const uint64_t info[6] = {
        0x4942534f, // "OSBI"
        2,          // version
        next,
        1, // supervisor mode
        0, // options
        0, // preferred boot hart
    };
    memcpy(rom, code, sizeof code);
    put64(rom + DATA_ENTRY, entry);
    put64(rom + DATA_DTB, dtb);
    for (unsigned i = 0; i < ARRAY_SIZE(info); i++)
        if (wide)
            put64(rom + DATA_INFO + 2 * i, info[i]);
        else
            rom[DATA_INFO + i] = (uint32_t)info[i];
}

int riscv_boot_make_rom(struct riscv_boot *b, struct machine *m, gpa_t base, uint64_t size,
                        struct err *e)
{
    b->m = m;
    b->rom = ram_new("rom", size, false, e);
    if (!b->rom)
        return -1;
    b->rom_region = space_map_ram(m->memory, "rom", base, b->rom, 0, size, true, 0);
    return 0;
}

void riscv_boot_free(struct riscv_boot *b)
{
    if (!b->rom)
        return;
    region_unmap(b->rom_region);
    ram_free(b->rom);
}

// ---- images ----

static void note_symbols(struct riscv_boot *b, const struct boot_file *f)
{
    for (unsigned i = 0; i < RISCV_SYMBOLS; i++) {
        static const char *const names[RISCV_SYMBOLS] = {"tohost", "fromhost", "begin_signature",
                                                         "end_signature"};
        if (!b->symbol[i])
            b->symbol[i] = boot_elf_symbol(f->data, f->len, names[i]);
    }
}

static const char *const opensbi_paths[] = {
    "/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin",
    "/usr/share/opensbi/lp64/generic/firmware/fw_dynamic.bin",
    "/usr/share/qemu/opensbi-riscv64-generic-fw_dynamic.bin",
};

static const char *const opensbi32_paths[ARRAY_SIZE(opensbi_paths)] = {
    "/usr/lib/riscv32-linux-gnu/opensbi/generic/fw_dynamic.bin",
    "/usr/share/opensbi/ilp32/generic/firmware/fw_dynamic.bin",
    "/usr/share/qemu/opensbi-riscv32-generic-fw_dynamic.bin",
};

static const char *find_opensbi(bool wide)
{
    const char *const *paths = wide ? opensbi_paths : opensbi32_paths;
    for (unsigned i = 0; i < ARRAY_SIZE(opensbi_paths); i++)
        if (!access(paths[i], R_OK))
            return paths[i];
    return NULL;
}

// -bios none, FILE, or default: OpenSBI. It goes to the start of RAM unless it is an ELF file.
static int load_firmware(struct riscv_boot *b, struct err *e)
{
    struct machine *m = b->m;
    const char *path = m->config.bios;
    struct boot_file f;
    if (path && !strcmp(path, "none"))
        return 0;
    if (!path || !strcmp(path, "default"))
        path = find_opensbi(m->isa->elf64);
    if (!path && !m->isa->elf64) // Debian's package is for 64 bits alone
        return err_set(e, "-bios default: there is no OpenSBI for riscv32 here; give -bios FILE or "
                          "-bios none");
    if (!path)
        return err_set(e,
                       "-bios default: %s is missing; install the package opensbi, or give "
                       "-bios FILE or -bios none",
                       opensbi_paths[0]);
    if (boot_file_read_open("firmware", path, ram_size(m->ram), &f, e))
        return -1;
    b->has_firmware = true;
    note_symbols(b, &f);
    int r = boot_load_elf(m, path, &f, EM_RISCV, &b->firmware, e);
    if (r != 1) {
        boot_file_free(&f);
        return r;
    }
    b->firmware =
        (struct boot_kernel){.entry = m->ram_base, .low = m->ram_base, .high = m->ram_base + f.len};
    return boot_file_place(m, "firmware", m->ram_base, &f, e);
}

static void look_at_kernel(void *opaque, const struct boot_file *f)
{
    note_symbols(opaque, f);
}

static int load_kernel(struct riscv_boot *b, const char *path, gpa_t base, struct err *e)
{
    const struct boot_loading l = {
        .machine = EM_RISCV, .cpu = "RISC-V", .base = base, .look = look_at_kernel, .opaque = b};
    return boot_load_linux(b->m, path, &l, &b->kernel, e);
}

int riscv_boot_load(struct riscv_boot *b, gpa_t flash, struct err *e)
{
    struct machine *m = b->m;
    const struct machine_config *c = &m->config;
    if (!c->kernel && (c->initrd || c->append))
        return err_set(e, "-initrd and -append need -kernel");
    if (load_firmware(b, e))
        return -1;
    gpa_t base = b->has_firmware ? align_up(b->firmware.high, 2 * MiB) : m->ram_base;
    // Firmware in flash finds a kernel in the firmware configuration device.
    bool direct = c->kernel && !flash;
    if (direct &&
        (load_kernel(b, c->kernel, base, e) ||
         (c->initrd && boot_place_initrd(m, b->kernel.high, &b->initrd, &b->initrd_len, e))))
        return -1;
    m->nothing_to_run = !direct && !flash && !b->has_firmware;
    b->next = direct ? b->kernel.entry : flash;
    b->entry = b->has_firmware ? b->firmware.entry : b->next ? b->next : m->ram_base;
    return 0;
}

// At the end of RAM, below 3 GiB; firmware adds to it, so the end of a 2 MiB block is kept free.
int riscv_boot_place_dtb(struct riscv_boot *b, struct boot_file *f, const char *dump, struct err *e)
{
    struct machine *m = b->m;
    if (dump) {
        int r = boot_dump_dtb(m, dump, f, e);
        boot_file_free(f);
        return r;
    }
    gpa_t end = MIN(m->ram_base + m->config.ram_size, (gpa_t)3 * GiB);
    b->dtb = align_down(end - MIN(2 * MiB, m->config.ram_size / 4), 4096);
    if (end >= m->ram_base + 8 * MiB)
        b->dtb = align_down(b->dtb, 2 * MiB);
    if (machine_place(m, "device tree", b->dtb, f->data, f->len, e))
        return -1;
    uint32_t rom[ROM_WORDS];
    fill_rom(rom, m->isa->elf64, b->entry, b->dtb, b->next);
    ram_write(b->rom, 0, rom, sizeof rom);
    return 0;
}
