// Linux and PVH kernels on x86-64 (Linux Documentation/arch/x86/boot.rst, protocol 2.12 and later,
// and xen/include/public/arch-x86/hvm/start_info.h for PVH). The 64-bit entry is used wherever the
// kernel has it: no real-mode code runs. Not supported: 32-bit kernels, and bzImages before 2.12.
#include "board/x86/linux.h"
#include "base/bits.h"
#include "board/boot/file.h"
#include "board/boot/kernel.h"
#include "isa/x86/x86.h"

#include <elf.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

// Offsets in the boot parameters, which begin with those of the setup header's place in the file.
enum {
    BP_ACPI_RSDP = 0x070,
    BP_E820_ENTRIES = 0x1e8,
    BP_SETUP_SECTS = 0x1f1,
    BP_BOOT_FLAG = 0x1fe,
    BP_JUMP = 0x200,
    BP_MAGIC = 0x202,
    BP_VERSION = 0x206,
    BP_LOADER = 0x210,
    BP_LOADFLAGS = 0x211,
    BP_RAMDISK = 0x218,
    BP_RAMDISK_SIZE = 0x21c,
    BP_CMDLINE = 0x228,
    BP_INITRD_MAX = 0x22c,
    BP_ALIGNMENT = 0x230,
    BP_RELOCATABLE = 0x234,
    BP_XLOADFLAGS = 0x236,
    BP_CMDLINE_SIZE = 0x238,
    BP_PREF_ADDRESS = 0x258,
    BP_INIT_SIZE = 0x260,
    BP_E820 = 0x2d0,
    E820_MAX = 128,
    XLF_KERNEL_64 = 1,
    ENTRY_64 = 0x200,
    ELF_NOTE_PVH_ENTRY = 18,
};

static int place(struct machine *m, const char *name, gpa_t at, const void *data, size_t len,
                 struct err *e)
{
    uint8_t *copy = xalloc(len);
    memcpy(copy, data, len);
    return machine_place(m, name, at, copy, len, e);
}

// ---- what every protocol here wants ----

// A GDT with flat code and data, and page tables that map the first 4 GiB to themselves.
static int place_long_mode(struct machine *m, struct err *e)
{
    static const uint64_t gdt[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff,
                                   0x008f8b000000ffff};
    enum { TABLES = 6, PRESENT_WRITABLE = 3, LARGE = 0x80 };
    uint8_t *t = xalloc(TABLES * 4096);
    st_le64(t, (X86_BOOT_TABLES + 0x1000) | PRESENT_WRITABLE);
    for (unsigned i = 0; i < 4; i++)
        st_le64(t + 0x1000 + 8 * i, (X86_BOOT_TABLES + 0x2000 + 0x1000 * i) | PRESENT_WRITABLE);
    for (uint64_t i = 0; i < 2048; i++)
        st_le64(t + 0x2000 + 8 * i, i << 21 | PRESENT_WRITABLE | LARGE);
    return place(m, "boot GDT", X86_BOOT_GDT, gdt, sizeof gdt, e) ||
                   machine_place(m, "boot page tables", X86_BOOT_TABLES, t, TABLES * 4096, e)
               ? -1
               : 0;
}

static int place_cmdline(struct machine *m, const struct x86_boot *b, size_t max, struct err *e)
{
    size_t n = strlen(b->cmdline) + 1;
    if (n > max)
        return err_set(e, "-append: %zu bytes are more than the %zu this kernel takes", n - 1,
                       max - 1);
    return place(m, "kernel command line", X86_BOOT_CMDLINE, b->cmdline, n, e);
}

// At the top of low memory, below `max`, above the kernel.
static int place_initrd(struct machine *m, const char *path, const struct x86_boot *b,
                        uint64_t above, uint64_t max, gpa_t *at, uint64_t *len, struct err *e)
{
    uint64_t size, top = MIN(b->low_ram, max);
    *at = *len = 0;
    if (!path)
        return 0;
    int fd = boot_file_open("initrd", path, UINT32_MAX, &size, e), r;
    if (fd < 0)
        return -1;
    if (size > top || align_down(top - size, 4096) < above) {
        r = err_set(e, "initrd %s: does not fit above the kernel; give the machine -m %" PRIu64,
                    path, (above + size + MiB) / MiB);
    } else {
        *at = align_down(top - size, 4096);
        *len = size;
        r = machine_place_file(m, "initrd", *at, fd, 0, size, size, e);
    }
    close(fd);
    return r;
}

static void fill_e820(uint8_t *bp, const struct x86_boot *b)
{
    unsigned n = MIN(b->n_e820, (unsigned)E820_MAX);
    bp[BP_E820_ENTRIES] = (uint8_t)n;
    for (unsigned i = 0; i < n; i++) {
        st_le64(bp + BP_E820 + 20 * i, b->e820[i].base);
        st_le64(bp + BP_E820 + 20 * i + 8, b->e820[i].size);
        st_le32(bp + BP_E820 + 20 * i + 16, b->e820[i].type);
    }
}

// Boot parameters for a 64-bit entry; `header` is the kernel's own setup header or NULL.
static int place_params(struct machine *m, const struct x86_boot *b, const uint8_t *header,
                        size_t header_len, gpa_t initrd, uint64_t initrd_len, struct err *e)
{
    uint8_t *bp = xalloc(4096);
    if (header) {
        memcpy(bp + BP_SETUP_SECTS, header, header_len);
    } else {
        st_le16(bp + BP_BOOT_FLAG, 0xaa55);
        memcpy(bp + BP_MAGIC, "HdrS", 4);
        st_le16(bp + BP_VERSION, 0x020c);
        st_le32(bp + BP_ALIGNMENT, 0x1000000);
    }
    bp[BP_LOADER] = 0xff;
    bp[BP_LOADFLAGS] |= 1;
    st_le32(bp + BP_CMDLINE, X86_BOOT_CMDLINE);
    st_le32(bp + BP_RAMDISK, (uint32_t)initrd);
    st_le32(bp + BP_RAMDISK_SIZE, (uint32_t)initrd_len);
    st_le64(bp + BP_ACPI_RSDP, b->rsdp);
    fill_e820(bp, b);
    return machine_place(m, "boot parameters", X86_BOOT_PARAMS, bp, 4096, e);
}

// ---- bzImage ----

// `d` is the file's first page.
static int load_bzimage(struct machine *m, const char *path, const char *initrd, const uint8_t *d,
                        int fd, uint64_t len, struct x86_boot *b, struct err *e)
{
    unsigned version = ld_le16(d + BP_VERSION);
    size_t setup = ((d[BP_SETUP_SECTS] ?: 4) + 1u) * 512,
           header = 0x202 + d[0x201] - BP_SETUP_SECTS;
    if (version < 0x020c || !(ld_le16(d + BP_XLOADFLAGS) & XLF_KERNEL_64))
        return err_set(e, "kernel %s: has no 64-bit entry (boot protocol %u.%02u)", path,
                       version >> 8, version & 0xff);
    if (setup >= len || header > 0x100)
        return err_set(e, "kernel %s: file is truncated", path);
    uint64_t need = MAX((uint64_t)ld_le32(d + BP_INIT_SIZE), len - setup);
    uint64_t align = MAX((uint64_t)ld_le32(d + BP_ALIGNMENT), 4096u);
    gpa_t at = ld_le64(d + BP_PREF_ADDRESS), initrd_at;
    uint64_t initrd_len;
    if (!is_pow2(align))
        return err_set(e, "kernel %s: setup header is damaged", path);
    if (d[BP_RELOCATABLE] && (at > b->low_ram || need > b->low_ram - at))
        at = align_up(MiB, align);
    if (at < MiB || at > b->low_ram || need > b->low_ram - at)
        return err_set(e, "kernel %s: needs %" PRIu64 " MiB of RAM (-m)", path,
                       (MAX(at, MiB) + need) / MiB + 1);
    // Bits above 4 GiB need fields that we leave at zero.
    uint64_t max = MIN((uint64_t)ld_le32(d + BP_INITRD_MAX) + 1, 4 * GiB);
    size_t cmdline = MIN(ld_le32(d + BP_CMDLINE_SIZE) + (size_t)1, (size_t)X86_BOOT_CMDLINE_MAX);
    if (place_initrd(m, initrd, b, at + need, max, &initrd_at, &initrd_len, e) ||
        place_cmdline(m, b, cmdline, e) || place_long_mode(m, e) ||
        place_params(m, b, d + BP_SETUP_SECTS, header, initrd_at, initrd_len, e))
        return -1;
    b->entry = at + ENTRY_64;
    b->arg = X86_BOOT_PARAMS;
    b->level = X86_START_LINUX64;
    return machine_place_file(m, "kernel", at, fd, setup, len - setup, len - setup, e);
}

// ---- ELF ----

// The 32-bit entry named by a PVH note; 0: there is none.
static uint32_t pvh_entry(const uint8_t *d, size_t len)
{
    Elf64_Ehdr h;
    memcpy(&h, d, sizeof h);
    for (unsigned i = 0; i < h.e_phnum; i++) {
        Elf64_Phdr p;
        memcpy(&p, d + h.e_phoff + i * sizeof p, sizeof p); // checked by boot_load_elf
        if (p.p_type != PT_NOTE || p.p_offset > len || p.p_filesz > len - p.p_offset)
            continue;
        const uint8_t *n = d + p.p_offset;
        for (uint64_t at = 0; at + 12 <= p.p_filesz;) {
            uint64_t name = align_up(ld_le32(n + at), 4), desc = align_up(ld_le32(n + at + 4), 4);
            if (name > p.p_filesz || desc > p.p_filesz || at + 12 + name + desc > p.p_filesz)
                break;
            if (ld_le32(n + at + 8) == ELF_NOTE_PVH_ENTRY && ld_le32(n + at) == 4 &&
                !memcmp(n + at + 12, "Xen", 4) && desc >= 4)
                return ld_le32(n + at + 12 + name);
            at += 12 + name + desc;
        }
    }
    return 0;
}

static int place_start_info(struct machine *m, const struct x86_boot *b, gpa_t initrd,
                            uint64_t initrd_len, struct err *e)
{
    enum { MODULES = 0x40, MEMMAP = 0x80, SIZE = 0x1000 };
    uint8_t *s = xalloc(SIZE);
    st_le32(s, 0x336ec578);
    st_le32(s + 4, 1);
    st_le32(s + 12, initrd_len ? 1 : 0);
    st_le64(s + 16, X86_BOOT_START_INFO + MODULES);
    st_le64(s + 24, X86_BOOT_CMDLINE);
    st_le64(s + 32, b->rsdp);
    st_le64(s + 40, X86_BOOT_START_INFO + MEMMAP);
    st_le32(s + 48, b->n_e820);
    st_le64(s + MODULES, initrd);
    st_le64(s + MODULES + 8, initrd_len);
    for (unsigned i = 0; i < b->n_e820; i++) {
        st_le64(s + MEMMAP + 24 * i, b->e820[i].base);
        st_le64(s + MEMMAP + 24 * i + 8, b->e820[i].size);
        st_le32(s + MEMMAP + 24 * i + 16, b->e820[i].type);
    }
    return machine_place(m, "PVH start info", X86_BOOT_START_INFO, s, SIZE, e);
}

static int finish_elf(struct machine *m, const char *initrd, uint32_t pvh,
                      const struct boot_kernel *k, struct x86_boot *b, struct err *e)
{
    gpa_t initrd_at;
    uint64_t initrd_len;
    if (place_initrd(m, initrd, b, k->high, 4 * GiB, &initrd_at, &initrd_len, e) ||
        place_cmdline(m, b, X86_BOOT_CMDLINE_MAX, e) || place_long_mode(m, e))
        return -1;
    if (pvh) {
        b->entry = pvh;
        b->arg = X86_BOOT_START_INFO;
        b->level = X86_START_PVH;
        return place_start_info(m, b, initrd_at, initrd_len, e);
    }
    b->entry = k->entry;
    b->arg = X86_BOOT_PARAMS;
    b->level = X86_START_LINUX64;
    return place_params(m, b, NULL, 0, initrd_at, initrd_len, e);
}

// Packed or not. Only of what was packed a copy is kept.
static int load_elf(struct machine *m, const char *path, const char *initrd, struct x86_boot *b,
                    struct err *e)
{
    struct boot_file f;
    struct boot_kernel k;
    if (boot_file_read_open("kernel", path, b->low_ram, &f, e))
        return -1;
    int r = boot_file_unpack(path, b->low_ram, &f, e);
    if (!r)
        r = boot_load_elf(m, path, &f, EM_X86_64, &k, e);
    if (!r)
        r = finish_elf(m, initrd, pvh_entry(f.data, f.len), &k, b, e);
    else if (r == 1)
        r = err_set(e, "kernel %s: neither a bzImage nor an x86-64 ELF file", path);
    boot_file_free(&f);
    return r;
}

// ---- which is it? ----

int boot_load_x86(struct machine *m, const char *kernel, const char *initrd, struct x86_boot *b,
                  struct err *e)
{
    uint8_t head[4096];
    uint64_t len;
    int fd = boot_file_open("kernel", kernel, b->low_ram, &len, e);
    if (fd < 0)
        return -1;
    ssize_t n = pread(fd, head, sizeof head, 0);
    int r = n >= 0x268 && !memcmp(head + BP_MAGIC, "HdrS", 4)
                ? load_bzimage(m, kernel, initrd, head, fd, len, b, e)
                : load_elf(m, kernel, initrd, b, e);
    close(fd);
    return r;
}
