// ELF executables as kernels (System V ABI, "Program Loading"; only what a loader without virtual
// memory needs: the file header and PT_LOAD segments, placed at their physical addresses).
#include "base/bits.h"
#include "board/boot/file.h"
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

static int place_segment(struct machine *m, const struct boot_file *f, const Elf64_Phdr *ph,
                         struct err *e)
{
    if (f->fd && !f->packed)
        return machine_place_file(m, "kernel segment", ph->p_paddr, f->fd, ph->p_offset,
                                  ph->p_filesz, ph->p_memsz, e);
    uint8_t *copy = xalloc(ph->p_memsz); // bss is zeroed with it at each reset
    memcpy(copy, f->data + ph->p_offset, ph->p_filesz);
    return machine_place(m, "kernel segment", ph->p_paddr, copy, ph->p_memsz, e);
}

static int load_segment(struct machine *m, const char *path, const struct boot_file *f,
                        const Elf64_Phdr *ph, struct boot_kernel *k, struct err *e)
{
    if (ph->p_offset > f->len || ph->p_filesz > f->len - ph->p_offset)
        return err_set(e, "kernel %s: ELF file is truncated", path);
    if (ph->p_memsz < ph->p_filesz || ph->p_memsz > ram_size(m->ram))
        return err_set(e, "kernel %s: ELF segment of 0x%" PRIx64 " bytes does not fit into RAM",
                       path, (uint64_t)ph->p_memsz);
    if (!ph->p_memsz)
        return 0;
    if (place_segment(m, f, ph, e))
        return err_prefix(e, "%s", path);
    k->low = MIN(k->low, (gpa_t)ph->p_paddr);
    k->high = MAX(k->high, (gpa_t)(ph->p_paddr + ph->p_memsz));
    // An entry point given as a virtual address is meant where its segment is loaded.
    if (k->entry - ph->p_vaddr < ph->p_memsz)
        k->entry = k->entry - ph->p_vaddr + ph->p_paddr;
    return 0;
}

// ---- 32-bit files, read as if they were 64-bit ones ----

static bool is_wide(const uint8_t *data)
{
    return data[EI_CLASS] == ELFCLASS64;
}

static size_t header_size(const uint8_t *data)
{
    return is_wide(data) ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr);
}

static Elf64_Ehdr read_header(const uint8_t *data)
{
    Elf64_Ehdr h;
    Elf32_Ehdr n;
    if (is_wide(data)) {
        memcpy(&h, data, sizeof h);
        return h;
    }
    memcpy(&n, data, sizeof n);
    h = (Elf64_Ehdr){.e_machine = n.e_machine,
                     .e_entry = n.e_entry,
                     .e_phoff = n.e_phoff,
                     .e_shoff = n.e_shoff,
                     .e_phentsize = n.e_phentsize,
                     .e_phnum = n.e_phnum,
                     .e_shentsize = n.e_shentsize,
                     .e_shnum = n.e_shnum};
    memcpy(h.e_ident, n.e_ident, sizeof h.e_ident);
    return h;
}

static size_t segment_size(const uint8_t *data)
{
    return is_wide(data) ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
}

static Elf64_Phdr read_segment(const uint8_t *data, uint64_t at)
{
    Elf64_Phdr ph;
    Elf32_Phdr n;
    if (is_wide(data)) {
        memcpy(&ph, data + at, sizeof ph);
        return ph;
    }
    memcpy(&n, data + at, sizeof n);
    return (Elf64_Phdr){.p_type = n.p_type,
                        .p_offset = n.p_offset,
                        .p_vaddr = n.p_vaddr,
                        .p_paddr = n.p_paddr,
                        .p_filesz = n.p_filesz,
                        .p_memsz = n.p_memsz};
}

static size_t section_size(const uint8_t *data)
{
    return is_wide(data) ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
}

static Elf64_Shdr read_section(const uint8_t *data, uint64_t at)
{
    Elf64_Shdr s;
    Elf32_Shdr n;
    if (is_wide(data)) {
        memcpy(&s, data + at, sizeof s);
        return s;
    }
    memcpy(&n, data + at, sizeof n);
    return (Elf64_Shdr){
        .sh_type = n.sh_type, .sh_offset = n.sh_offset, .sh_size = n.sh_size, .sh_link = n.sh_link};
}

static size_t symbol_size(const uint8_t *data)
{
    return is_wide(data) ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
}

static Elf64_Sym read_symbol(const uint8_t *data, uint64_t at)
{
    Elf64_Sym s;
    Elf32_Sym n;
    if (is_wide(data)) {
        memcpy(&s, data + at, sizeof s);
        return s;
    }
    memcpy(&n, data + at, sizeof n);
    return (Elf64_Sym){.st_name = n.st_name, .st_value = n.st_value};
}

// ---- kernels ----

int boot_load_elf(struct machine *m, const char *path, const struct boot_file *f, unsigned machine,
                  struct boot_kernel *k, struct err *e)
{
    const uint8_t *data = f->data;
    const size_t len = f->len;
    Elf64_Ehdr h;
    if (len < SELFMAG || memcmp(data, ELFMAG, SELFMAG))
        return 1;
    if (len <= EI_CLASS || len < header_size(data))
        return err_set(e, "kernel %s: ELF file is truncated", path);
    h = read_header(data);
    if (h.e_ident[EI_DATA] == ELFDATA2LSB && h.e_machine == machine &&
        is_wide(data) != m->isa->elf64)
        return err_set(e, "kernel %s: ELF file is for a %d-bit processor, this machine has %d bits",
                       path, is_wide(data) ? 64 : 32, m->isa->elf64 ? 64 : 32);
    if (h.e_ident[EI_DATA] != ELFDATA2LSB || h.e_machine != machine)
        return err_set(e, "kernel %s: ELF file is for %s, this machine is %s", path,
                       h.e_ident[EI_DATA] == ELFDATA2LSB ? machine_name(h.e_machine)
                                                         : "a big-endian machine",
                       machine_name(machine));
    const size_t each = segment_size(data);
    if (h.e_phentsize != each || h.e_phoff > len || (uint64_t)h.e_phnum * each > len - h.e_phoff)
        return err_set(e, "kernel %s: ELF program headers are damaged or truncated", path);
    *k = (struct boot_kernel){.entry = h.e_entry, .low = UINT64_MAX};
    for (unsigned i = 0; i < h.e_phnum; i++) {
        Elf64_Phdr ph = read_segment(data, h.e_phoff + i * each);
        if (ph.p_type == PT_LOAD && load_segment(m, path, f, &ph, k, e))
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
    const size_t each = section_size(data);
    if (n >= h->e_shnum || h->e_shentsize != each ||
        __builtin_add_overflow(h->e_shoff, (uint64_t)n * each, &at) || at > len || len - at < each)
        return false;
    *s = read_section(data, at);
    return s->sh_type == SHT_NOBITS || (s->sh_offset <= len && s->sh_size <= len - s->sh_offset);
}

uint64_t boot_elf_symbol(const uint8_t *data, size_t len, const char *name)
{
    Elf64_Ehdr h;
    Elf64_Shdr table, strings;
    if (len < sizeof(Elf32_Ehdr) || memcmp(data, ELFMAG, SELFMAG) || len < header_size(data) ||
        data[EI_DATA] != ELFDATA2LSB)
        return 0;
    h = read_header(data);
    for (unsigned n = 0; n < h.e_shnum; n++) {
        if (!section(data, len, &h, n, &table) || table.sh_type != SHT_SYMTAB ||
            !section(data, len, &h, table.sh_link, &strings) || strings.sh_type != SHT_STRTAB)
            continue;
        const size_t each = symbol_size(data);
        for (uint64_t at = 0; at + each <= table.sh_size; at += each) {
            Elf64_Sym sym = read_symbol(data, table.sh_offset + at);
            if (sym.st_name < strings.sh_size && strlen(name) < strings.sh_size - sym.st_name &&
                !memcmp(data + strings.sh_offset + sym.st_name, name, strlen(name) + 1))
                return sym.st_value;
        }
    }
    return 0;
}
