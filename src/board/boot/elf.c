// ELF executables as kernels (System V ABI, "Program Loading"; only what a loader without virtual
// memory needs: the file header and PT_LOAD segments, placed at their physical addresses).
#include "base/bits.h"
#include "board/boot/kernel.h"

#include <elf.h>
#include <inttypes.h>

static const char *machine_name(unsigned em)
{
    switch (em) {
    case EM_386:
        return "i386";
    case EM_ARM:
        return "32-bit Arm";
    case EM_AARCH64:
        return "AArch64";
    case EM_X86_64:
        return "x86-64";
    case EM_RISCV:
        return "RISC-V";
    case EM_PPC64:
        return "64-bit PowerPC";
    case EM_S390:
        return "S/390";
    default:
        return "another machine";
    }
}

static int place_segment(struct machine *m, const uint8_t *data, int fd, const Elf64_Phdr *ph,
                         struct err *e)
{
    if (fd >= 0)
        return machine_place_file(m, "kernel segment", ph->p_paddr, fd, ph->p_offset, ph->p_filesz,
                                  ph->p_memsz, e);
    uint8_t *copy = xalloc(ph->p_memsz); // bss is zeroed with it at each reset
    memcpy(copy, data + ph->p_offset, ph->p_filesz);
    return machine_place(m, "kernel segment", ph->p_paddr, copy, ph->p_memsz, e);
}

static int load_segment(struct machine *m, const char *path, const uint8_t *data, size_t len,
                        int fd, const Elf64_Phdr *ph, struct boot_kernel *k, struct err *e)
{
    if (ph->p_offset > len || ph->p_filesz > len - ph->p_offset)
        return err_set(e, "kernel %s: ELF file is truncated", path);
    if (ph->p_memsz < ph->p_filesz || ph->p_memsz > ram_size(m->ram))
        return err_set(e, "kernel %s: ELF segment of 0x%" PRIx64 " bytes does not fit into RAM",
                       path, (uint64_t)ph->p_memsz);
    if (!ph->p_memsz)
        return 0;
    if (place_segment(m, data, fd, ph, e))
        return err_prefix(e, "%s", path);
    k->low = MIN(k->low, (gpa_t)ph->p_paddr);
    k->high = MAX(k->high, (gpa_t)(ph->p_paddr + ph->p_memsz));
    // An entry point given as a virtual address is meant where its segment is loaded.
    if (k->entry - ph->p_vaddr < ph->p_memsz)
        k->entry = k->entry - ph->p_vaddr + ph->p_paddr;
    return 0;
}

int boot_load_elf(struct machine *m, const char *path, const uint8_t *data, size_t len, int fd,
                  unsigned machine, struct boot_kernel *k, struct err *e)
{
    Elf64_Ehdr h;
    if (len < SELFMAG || memcmp(data, ELFMAG, SELFMAG))
        return 1;
    if (len < sizeof h)
        return err_set(e, "kernel %s: ELF file is truncated", path);
    memcpy(&h, data, sizeof h);
    if (h.e_ident[EI_DATA] != ELFDATA2LSB || h.e_machine != machine ||
        h.e_ident[EI_CLASS] != ELFCLASS64)
        return err_set(e, "kernel %s: ELF file is for %s, this machine is %s", path,
                       h.e_ident[EI_DATA] == ELFDATA2LSB ? machine_name(h.e_machine)
                                                         : "a big-endian machine",
                       machine_name(machine));
    if (h.e_phentsize != sizeof(Elf64_Phdr) || h.e_phoff > len ||
        (uint64_t)h.e_phnum * sizeof(Elf64_Phdr) > len - h.e_phoff)
        return err_set(e, "kernel %s: ELF program headers are damaged or truncated", path);
    *k = (struct boot_kernel){.entry = h.e_entry, .low = UINT64_MAX};
    for (unsigned i = 0; i < h.e_phnum; i++) {
        Elf64_Phdr ph;
        memcpy(&ph, data + h.e_phoff + i * sizeof ph, sizeof ph);
        if (ph.p_type == PT_LOAD && load_segment(m, path, data, len, fd, &ph, k, e))
            return -1;
    }
    if (!k->high)
        return err_set(e, "kernel %s: ELF file has nothing to load", path);
    return 0;
}

// Section header n, or false when it or what it describes lies outside the file.
static bool section(const uint8_t *data, size_t len, const Elf64_Ehdr *h, unsigned n, Elf64_Shdr *s)
{
    uint64_t at;
    if (n >= h->e_shnum || h->e_shentsize != sizeof *s ||
        __builtin_add_overflow(h->e_shoff, (uint64_t)n * sizeof *s, &at) || at > len ||
        len - at < sizeof *s)
        return false;
    memcpy(s, data + at, sizeof *s);
    return s->sh_type == SHT_NOBITS || (s->sh_offset <= len && s->sh_size <= len - s->sh_offset);
}

uint64_t boot_elf_symbol(const uint8_t *data, size_t len, const char *name)
{
    Elf64_Ehdr h;
    Elf64_Shdr table, strings;
    if (len < sizeof h || memcmp(data, ELFMAG, SELFMAG) || data[EI_CLASS] != ELFCLASS64 ||
        data[EI_DATA] != ELFDATA2LSB)
        return 0;
    memcpy(&h, data, sizeof h);
    for (unsigned n = 0; n < h.e_shnum; n++) {
        if (!section(data, len, &h, n, &table) || table.sh_type != SHT_SYMTAB ||
            !section(data, len, &h, table.sh_link, &strings) || strings.sh_type != SHT_STRTAB)
            continue;
        for (uint64_t at = 0; at + sizeof(Elf64_Sym) <= table.sh_size; at += sizeof(Elf64_Sym)) {
            Elf64_Sym sym;
            memcpy(&sym, data + table.sh_offset + at, sizeof sym);
            if (sym.st_name < strings.sh_size && strlen(name) < strings.sh_size - sym.st_name &&
                !memcmp(data + strings.sh_offset + sym.st_name, name, strlen(name) + 1))
                return sym.st_value;
        }
    }
    return 0;
}
