// Linux on RISC-V by its own boot protocol (Documentation/arch/riscv/boot-image-header.rst): the
// 64-byte header says how far from a 2 MiB boundary the image goes and how much memory it needs.
#include "base/bits.h"
#include "board/boot/file.h"
#include "board/boot/kernel.h"

#include <elf.h>
#include <inttypes.h>

enum {
    HEADER_SIZE = 64,
    HEADER_TEXT_OFFSET = 8,
    HEADER_IMAGE_SIZE = 16,
    HEADER_MAGIC = 56,
};

static bool is_image(const struct boot_file *f)
{
    return f->len >= HEADER_SIZE && !memcmp(f->data + HEADER_MAGIC, "RSC\x05", 4);
}

// Does it at least look like something else that is commonly given by mistake?
static const char *foreign_kind(const struct boot_file *f)
{
    if (f->len >= 0x206 && !memcmp(f->data + 0x202, "HdrS", 4))
        return "an x86 Linux kernel (bzImage)";
    if (f->len >= HEADER_SIZE && !memcmp(f->data + HEADER_MAGIC, "ARM\x64", 4))
        return "an arm64 Linux kernel";
    return NULL;
}

static int place_image(struct machine *m, const char *path, gpa_t base, struct boot_file *f,
                       struct boot_kernel *k, struct err *e)
{
    uint64_t offset = 0, size = f->len, room = m->ram_base + ram_size(m->ram) - base;
    if (is_image(f)) {
        offset = ld_le64(f->data + HEADER_TEXT_OFFSET) & (2 * MiB - 1);
        size = MAX(ld_le64(f->data + HEADER_IMAGE_SIZE), size);
        k->linux_image = true;
    }
    if (base > m->ram_base + ram_size(m->ram) || offset > room || size > room - offset)
        return err_set(e,
                       "kernel %s: needs %" PRIu64 " MiB of RAM above 0x%" PRIx64
                       ", the machine has %" PRIu64 " MiB in all (-m)",
                       path, (size + MiB - 1) / MiB, base, ram_size(m->ram) / MiB);
    k->entry = k->low = base + offset;
    k->high = k->low + size;
    int r = machine_place(m, "kernel", k->low, f->data, f->len, e);
    *f = (struct boot_file){0};
    return r;
}

int boot_load_riscv64(struct machine *m, const char *path, gpa_t base, struct boot_kernel *k,
                      struct err *e)
{
    struct boot_file f;
    const uint64_t limit = ram_size(m->ram);
    if (boot_file_read("kernel", path, limit, &f, e))
        return -1;
    *k = (struct boot_kernel){0};
    int r = -1;
    const char *foreign = NULL;
    if (!f.len)
        err_set(e, "kernel %s: file is empty", path);
    else if (boot_file_unpack(path, limit, &f, e))
        r = -1;
    else if ((r = boot_load_elf(m, path, f.data, f.len, EM_RISCV, k, e)) != 1)
        ;
    else if ((foreign = foreign_kind(&f)))
        r = err_set(e, "kernel %s: this is %s, this machine is RISC-V", path, foreign);
    else
        r = place_image(m, path, base, &f, k, e);
    boot_file_free(&f);
    return r;
}
