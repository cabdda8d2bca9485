// Kernels of machines without a legacy: Linux by the protocols of arm64 and RISC-V, which are two
// of a kind (Documentation/arch/arm64/booting.rst, header version 3.17 and later;
// Documentation/arch/riscv/boot-image-header.rst). A 64-byte header says how far into a 2 MiB
// aligned area of RAM the image goes and how much memory it needs. ELF files and raw code are
// taken too.
#include "base/bits.h"
#include "board/boot/file.h"
#include "board/boot/kernel.h"

#include <elf.h>
#include <inttypes.h>

enum {
    HEADER_SIZE = 64,
    HEADER_TEXT_OFFSET = 8,
    HEADER_IMAGE_SIZE = 16,
    HEADER_FLAGS = 24,
    BIG_ENDIAN_IMAGE = 1,
};

// What kernels carry, by which they are told from those given by mistake.
static const struct kind {
    uint16_t machine, at;
    char magic[5];
    const char *what;
} kinds[] = {
    {EM_AARCH64, 0x38, "ARM\x64", "an arm64 Linux kernel"},
    {EM_ARM, 0x24, "\x18\x28\x6f\x01", "a 32-bit Arm Linux kernel (zImage)"},
    {EM_RISCV, 0x38, "RSC\x05", "a RISC-V Linux kernel"},
    {EM_X86_64, 0x202, "HdrS", "an x86 Linux kernel (bzImage)"},
};

static const struct kind *kind_of(const struct boot_file *f)
{
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
        if (f->len >= MAX(kinds[i].at + 4u, (unsigned)HEADER_SIZE) &&
            !memcmp(f->data + kinds[i].at, kinds[i].magic, 4))
            return &kinds[i];
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

static int place(struct machine *m, const char *path, const struct boot_loading *l,
                 struct boot_file *f, struct boot_kernel *k, struct err *e)
{
    uint64_t offset = l->raw_offset, size = 0, end = m->ram_base + ram_size(m->ram);
    if (k->linux_image && ld_le64(f->data + HEADER_IMAGE_SIZE)) {
        offset = ld_le64(f->data + HEADER_TEXT_OFFSET);
        size = ld_le64(f->data + HEADER_IMAGE_SIZE);
    }
    size = MAX(size, (uint64_t)f->len);
    if (l->base > end || offset > end - l->base || size > end - l->base - offset)
        return err_set(e,
                       "kernel %s: needs %" PRIu64 " MiB of RAM above 0x%" PRIx64
                       ", the machine has %" PRIu64 " MiB in all (-m)",
                       path, (size + MiB - 1) / MiB, l->base, ram_size(m->ram) / MiB);
    k->entry = k->low = l->base + offset;
    k->high = k->low + size;
    return boot_file_place(m, "kernel", k->low, f, e);
}

// It is no ELF file.
static int load_image(struct machine *m, const char *path, const struct boot_loading *l,
                      struct boot_file *f, struct boot_kernel *k, struct err *e)
{
    const struct kind *kind = kind_of(f);
    k->linux_image = kind && kind->machine == l->machine;
    if (kind && !k->linux_image)
        return err_set(e, "kernel %s: this is %s, this machine is %s", path, kind->what, l->cpu);
    if (f->len >= 2 && !memcmp(f->data, "MZ", 2) && !k->linux_image)
        return err_set(e,
                       "kernel %s: this EFI program has no %s Linux header; boot it through "
                       "firmware",
                       path, l->cpu);
    if (k->linux_image && is_truncated(f))
        return err_set(e, "kernel %s: file is truncated", path);
    if (k->linux_image && ld_le64(f->data + HEADER_FLAGS) & BIG_ENDIAN_IMAGE)
        return err_set(e, "kernel %s: big-endian kernels are not supported", path);
    return place(m, path, l, f, k, e);
}

int boot_load_linux(struct machine *m, const char *path, const struct boot_loading *l,
                    struct boot_kernel *k, struct err *e)
{
    struct boot_file f;
    const uint64_t limit = ram_size(m->ram);
    *k = (struct boot_kernel){0};
    if (boot_file_read_open("kernel", path, limit, &f, e))
        return -1;
    int r =
        f.len ? boot_file_unpack(path, limit, &f, e) : err_set(e, "kernel %s: file is empty", path);
    if (!r && l->look)
        l->look(l->opaque, &f);
    if (!r)
        r = boot_load_elf(m, path, &f, l->machine, k, e);
    if (r == 1)
        r = load_image(m, path, l, &f, k, e);
    boot_file_free(&f);
    return r;
}
