// Linux on arm64 by its own boot protocol (Documentation/arch/arm64/booting.rst, header version
// 3.17 and later): the 64-byte header says how far into a 2 MiB aligned area of RAM the image goes
// and how much memory it needs.
#include "base/bits.h"
#include "board/boot/file.h"
#include "board/boot/kernel.h"

#include <elf.h>
#include <inttypes.h>
#include <stdlib.h>

enum {
    HEADER_SIZE = 64,
    HEADER_TEXT_OFFSET = 8,
    HEADER_IMAGE_SIZE = 16,
    HEADER_FLAGS = 24,
    HEADER_MAGIC = 56,
    RAW_OFFSET = 0x80000, // of kernels before 3.17, which give no size, and of raw code
};

static bool is_image(const struct boot_file *f)
{
    return f->len >= HEADER_SIZE && !memcmp(f->data + HEADER_MAGIC, "ARM\x64", 4);
}

// Does it at least look like something else that is commonly given by mistake?
static const char *foreign_kind(const struct boot_file *f)
{
    if (f->len >= 0x206 && !memcmp(f->data + 0x202, "HdrS", 4))
        return "an x86 Linux kernel (bzImage)";
    if (f->len >= 0x40 && !memcmp(f->data + 0x38, "RSC\x05", 4))
        return "a RISC-V Linux kernel";
    if (f->len >= 0x40 && ld_le32(f->data + 0x24) == 0x016f2818)
        return "a 32-bit Arm Linux kernel (zImage)";
    return NULL;
}

// An Image with an EFI stub is a PE file too: do its sections end inside the file?
static bool is_truncated(const struct boot_file *f)
{
    if (f->len < 4096)
        return true;
    uint64_t pe = memcmp(f->data, "MZ", 2) ? f->len : ld_le32(f->data + 0x3c);
    if (pe > f->len - 24 || memcmp(f->data + pe, "PE\0\0", 4))
        return false;
    unsigned n = ld_le16(f->data + pe + 6);
    uint64_t section = pe + 24 + ld_le16(f->data + pe + 20);
    for (unsigned i = 0; i < n; i++, section += 40) {
        if (section + 40 > f->len)
            return true;
        const uint8_t *s = f->data + section;
        if ((uint64_t)ld_le32(s + 20) + ld_le32(s + 16) > f->len)
            return true;
    }
    return false;
}

static int place_image(struct machine *m, const char *path, struct boot_file *f,
                       struct boot_kernel *k, struct err *e)
{
    uint64_t offset = RAW_OFFSET, size = f->len;
    if (is_image(f)) {
        uint64_t flags = ld_le64(f->data + HEADER_FLAGS);
        if (flags & 1)
            return err_set(e, "kernel %s: big-endian arm64 kernels are not supported", path);
        if (ld_le64(f->data + HEADER_IMAGE_SIZE)) {
            offset = ld_le64(f->data + HEADER_TEXT_OFFSET);
            size = ld_le64(f->data + HEADER_IMAGE_SIZE);
        }
        k->linux_image = true;
    }
    uint64_t ram = ram_size(m->ram);
    if (offset > ram || size > ram - offset || f->len > ram - offset)
        return err_set(
            e, "kernel %s: needs %" PRIu64 " MiB of RAM, the machine has %" PRIu64 " MiB (-m)",
            path, (MAX(size, (uint64_t)f->len) + MiB - 1) / MiB, ram / MiB);
    k->entry = k->low = m->ram_base + offset;
    k->high = k->low + MAX(size, (uint64_t)f->len);
    int r = machine_place(m, "kernel", k->low, f->data, f->len, e);
    *f = (struct boot_file){0};
    return r;
}

int boot_load_arm64(struct machine *m, const char *path, struct boot_kernel *k, struct err *e)
{
    struct boot_file f;
    const uint64_t limit = ram_size(m->ram);
    if (boot_file_read("kernel", path, limit, &f, e))
        return -1;
    *k = (struct boot_kernel){0};
    int r = -1;
    const char *foreign = NULL;
    if (!f.len) {
        err_set(e, "kernel %s: file is empty", path);
    } else if (boot_file_unpack(path, limit, &f, e)) {
        r = -1;
    } else if ((r = boot_load_elf(m, path, f.data, f.len, -1, EM_AARCH64, k, e)) != 1) {
        boot_file_free(&f);
        return r;
    } else if ((foreign = foreign_kind(&f))) {
        r = err_set(e, "kernel %s: this is %s, this machine is AArch64", path, foreign);
    } else if (f.len >= 2 && !memcmp(f.data, "MZ", 2) && !is_image(&f)) {
        r = err_set(e,
                    "kernel %s: this EFI program has no arm64 Linux header; boot it through "
                    "firmware (-bios)",
                    path);
    } else if (is_image(&f) && is_truncated(&f)) {
        r = err_set(e, "kernel %s: file is truncated", path);
    } else {
        r = place_image(m, path, &f, k, e);
    }
    boot_file_free(&f);
    return r;
}
