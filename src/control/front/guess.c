// What kind of file the operator named: a kernel (arm64 and RISC-V Image, Documentation/arch/*/
// booting; x86 bzImage; EFI zboot; ELF), a disk image (qcow2, else raw with a partition table), a
// CD-ROM (ISO 9660).
#include "control/front/front.h"
#include "base/bits.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { HEAD = 4096, ISO_MAGIC = 32769 };

static const char *elf_arch(const uint8_t *p)
{
    switch (ld_le16(p + 18)) {
    case EM_AARCH64:
        return "aarch64";
    case EM_RISCV:
        return "riscv64";
    case EM_X86_64:
        return "x86_64";
    default:
        return NULL;
    }
}

static struct guess classify(const uint8_t *p, size_t n, bool iso)
{
    bool pe = p[0] == 'M' && p[1] == 'Z';
    if (n > 64 && !memcmp(p + 56, "ARM\x64", 4))
        return (struct guess){GUESS_KERNEL, "aarch64", NULL, "arm64 Linux kernel"};
    if (n > 64 && !memcmp(p + 56, "RSC\x05", 4))
        return (struct guess){GUESS_KERNEL, "riscv64", NULL, "RISC-V Linux kernel"};
    if (n > 0x206 && !memcmp(p + 0x202, "HdrS", 4))
        return (struct guess){GUESS_KERNEL, "x86_64", NULL, "x86 Linux kernel"};
    if (pe && n > 8 && !memcmp(p + 4, "zimg", 4))
        return (struct guess){GUESS_KERNEL, NULL, NULL, "compressed Linux kernel (EFI zboot)"};
    if (!memcmp(p, ELFMAG, SELFMAG))
        return (struct guess){GUESS_KERNEL, elf_arch(p), NULL, "ELF program for the bare machine"};
    if (!memcmp(p, "QFI\xfb", 4))
        return (struct guess){GUESS_DISK, NULL, "qcow2", "qcow2 disk image"};
    if (iso)
        return (struct guess){GUESS_CDROM, NULL, "raw", "CD-ROM image"};
    if (n >= 512 && p[510] == 0x55 && p[511] == 0xaa)
        return (struct guess){GUESS_DISK, NULL, "raw", "raw disk image"};
    return (struct guess){0};
}

int guess_file(const char *path, struct guess *g, struct err *e)
{
    uint8_t head[HEAD] = {0}, iso[5] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof head, 0);
    if (n < 0) {
        int r = err_set(e, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return r;
    }
    bool is_iso = pread(fd, iso, sizeof iso, ISO_MAGIC) == sizeof iso && !memcmp(iso, "CD001", 5);
    close(fd);
    *g = classify(head, (size_t)n, is_iso);
    if (g->kind == GUESS_UNKNOWN)
        return err_set(e,
                       "%s: neither a kernel, a bootable disk nor a CD-ROM; use 'myna system' and "
                       "say what it is",
                       path);
    return 0;
}
