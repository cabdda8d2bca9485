// User mode's ELF loader on files made of broken programs: whatever the file says, the loader maps
// it or refuses it with one line, and the stack is still what it was.
#include "mutate.h"

#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "user/user.h"

enum { PAGE = 4096, SPACE = 1 << 30 };

static struct {
    Elf64_Ehdr head;
    Elf64_Phdr segments[4];
    char interp[32];
    uint8_t rest[2000];
} fixed, pie;

static void make_seed(void *out, uint16_t type, uint64_t base)
{
    __typeof__(fixed) p = {
        .head = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                 .e_type = type,
                 .e_machine = EM_AARCH64,
                 .e_version = EV_CURRENT,
                 .e_entry = base + 0x200,
                 .e_phoff = sizeof(Elf64_Ehdr),
                 .e_ehsize = sizeof(Elf64_Ehdr),
                 .e_phentsize = sizeof(Elf64_Phdr),
                 .e_phnum = 4},
        .segments = {{.p_type = PT_PHDR,
                      .p_offset = sizeof(Elf64_Ehdr),
                      .p_vaddr = base + sizeof(Elf64_Ehdr),
                      .p_filesz = 4 * sizeof(Elf64_Phdr)},
                     {.p_type = PT_LOAD,
                      .p_flags = PF_R | PF_X,
                      .p_vaddr = base,
                      .p_filesz = sizeof p,
                      .p_memsz = sizeof p,
                      .p_align = 65536},
                     {.p_type = PT_LOAD,
                      .p_flags = PF_R | PF_W,
                      .p_offset = 0x300,
                      .p_vaddr = base + 0x10300,
                      .p_filesz = 0x100,
                      .p_memsz = 0x5000,
                      .p_align = 65536},
                     {.p_type = type == ET_DYN ? PT_INTERP : PT_NOTE,
                      .p_offset = offsetof(__typeof__(fixed), interp),
                      .p_filesz = 16}},
        .interp = "/nonexistent/ld",
    };
    memcpy(out, &p, sizeof p);
}

static void run_elf(const uint8_t *p, size_t n)
{
    struct user u = {.abi = abis[0], .fds.prefix = -1, .opt.stack_size = 256 * KiB};
    struct image image;
    struct err e = {0};
    int status = 0, fd = memfd_create("program", MFD_CLOEXEC);
    u.isa = isa_find(u.abi->isa);
    if (fd < 0 || write(fd, p, n) != (ssize_t)n || mm_init(&u.mm, 0, false, SPACE, PAGE, &e) ||
        stack_map(&u, &e))
        abort();
    if (elf_load(&u, fd, "program", &image, &status, &e)) {
        if (!e.msg[0] || strchr(e.msg, '\n') || (status != 126 && status != 127))
            abort();
    } else if (!mm_covers(&u.mm, u.stack_low, u.stack_high - u.stack_low, PROT_READ | PROT_WRITE)) {
        abort();
    }
    memset(mm_host(&u.mm, u.stack_high - PAGE), 1, PAGE);
    munmap(u.mm.base, u.mm.size + PAGE);
    vec_free(&u.mm.areas);
    vec_free(&u.mm.stale);
    close(fd);
}

int main(int argc, char **argv)
{
    make_seed(&fixed, ET_EXEC, 0x400000);
    make_seed(&pie, ET_DYN, 0);
    const struct seed seeds[] = {{(char *)&fixed, sizeof fixed}, {(char *)&pie, sizeof pie}};
    const struct fuzz_target targets[] = {{"elf", seeds, ARRAY_SIZE(seeds), run_elf}};
    return fuzz_main(argc, argv, targets, ARRAY_SIZE(targets));
}
