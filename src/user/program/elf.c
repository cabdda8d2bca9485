// Loading of ELF programs: static, static-PIE, and dynamic ones with their loader. System V ABI,
// "Object Files" and "Program Loading". What a native kernel would refuse is refused with a line
// that says why; a program cut short is refused too, where a kernel would let it start.
#include "base/bits.h"
#include "base/err.h"
#include "user/guest.h"
#include "user/path.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NOT_RUNNABLE = 126, NOT_FOUND = 127, MAX_HEADERS = 512 };

struct object {
    int fd;
    const char *path;
    uint64_t file_size;
    Elf64_Ehdr eh;
    Elf64_Phdr ph[MAX_HEADERS];
    char interp[4096];
    uint64_t low, high, align; // of the loadable segments
    uint64_t bias;
};

static const char *machine_name(unsigned m)
{
    static const struct {
        unsigned machine;
        const char *name;
    } names[] = {{EM_386, "i386"},      {EM_MIPS, "MIPS"},       {EM_PPC, "PowerPC"},
                 {EM_PPC64, "ppc64"},   {EM_S390, "s390x"},      {EM_ARM, "32-bit Arm"},
                 {EM_X86_64, "x86-64"}, {EM_AARCH64, "aarch64"}, {EM_RISCV, "RISC-V"},
                 {258, "LoongArch"}};
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        if (names[i].machine == m)
            return names[i].name;
    return "an unknown machine";
}

// Headers of 32-bit files in the form of 64-bit ones.
#define WIDEN(member) .member = n.member
static void widen_header(Elf64_Ehdr *w)
{
    Elf32_Ehdr n;
    memcpy(&n, w, sizeof n);
    *w = (Elf64_Ehdr){WIDEN(e_type),      WIDEN(e_machine), WIDEN(e_version),   WIDEN(e_entry),
                      WIDEN(e_phoff),     WIDEN(e_shoff),   WIDEN(e_flags),     WIDEN(e_ehsize),
                      WIDEN(e_phentsize), WIDEN(e_phnum),   WIDEN(e_shentsize), WIDEN(e_shnum),
                      WIDEN(e_shstrndx)};
    memcpy(w->e_ident, n.e_ident, sizeof n.e_ident);
}

static void widen_segments(Elf64_Phdr *w, unsigned count)
{
    for (unsigned i = count; i-- > 0;) { // they grow: the last one first
        Elf32_Phdr n;
        memcpy(&n, (const Elf32_Phdr *)(const void *)w + i, sizeof n);
        w[i] = (Elf64_Phdr){WIDEN(p_type),  WIDEN(p_flags),  WIDEN(p_offset), WIDEN(p_vaddr),
                            WIDEN(p_paddr), WIDEN(p_filesz), WIDEN(p_memsz),  WIDEN(p_align)};
    }
}
#undef WIDEN

static int bad(struct object *o, struct err *e, const char *why)
{
    return err_set(e, "%s: %s: Exec format error", o->path, why);
}

static int read_headers(struct user *u, struct object *o, struct err *e)
{
    struct stat st;
    ssize_t n = pread(o->fd, &o->eh, sizeof o->eh, 0);
    if (n < 4 || memcmp(o->eh.e_ident, ELFMAG, 4))
        return bad(o, e, "not an ELF program");
    bool wide = n > EI_CLASS && o->eh.e_ident[EI_CLASS] == ELFCLASS64;
    if (n < (ssize_t)(wide ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr)) || fstat(o->fd, &st))
        return bad(o, e, "truncated ELF header");
    o->file_size = (uint64_t)st.st_size;
    if (!wide)
        widen_header(&o->eh);
    if (o->eh.e_ident[EI_CLASS] != (u->isa->elf64 ? ELFCLASS64 : ELFCLASS32))
        return bad(o, e, u->isa->elf64 ? "a 32-bit program" : "a 64-bit program");
    if (o->eh.e_ident[EI_DATA] != (u->isa->big_endian ? ELFDATA2MSB : ELFDATA2LSB))
        return bad(o, e, "a program of the other byte order");
    if (o->eh.e_machine != u->isa->elf_machine)
        return err_set(e, "%s: a program for %s, not for %s: Exec format error", o->path,
                       machine_name(o->eh.e_machine), u->isa->name);
    if (o->eh.e_type != ET_EXEC && o->eh.e_type != ET_DYN)
        return bad(o, e, "an ELF file, but not a program");
    size_t entry = wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr), size = o->eh.e_phnum * entry;
    if (o->eh.e_phentsize != entry || !o->eh.e_phnum || o->eh.e_phnum > MAX_HEADERS)
        return bad(o, e, "malformed program headers");
    if (pread(o->fd, o->ph, size, (off_t)o->eh.e_phoff) != (ssize_t)size)
        return bad(o, e, "truncated program headers");
    if (!wide)
        widen_segments(o->ph, o->eh.e_phnum);
    return 0;
}

static int read_interp(struct object *o, const Elf64_Phdr *p, struct err *e)
{
    if (p->p_filesz < 2 || p->p_filesz >= sizeof o->interp)
        return bad(o, e, "malformed name of its loader");
    if (pread(o->fd, o->interp, p->p_filesz, (off_t)p->p_offset) != (ssize_t)p->p_filesz)
        return bad(o, e, "truncated");
    o->interp[p->p_filesz] = 0;
    return 0;
}

static int check_segments(struct user *u, struct object *o, struct err *e)
{
    o->low = UINT64_MAX;
    o->align = u->mm.page_size;
    for (unsigned i = 0; i < o->eh.e_phnum; i++) {
        const Elf64_Phdr *p = &o->ph[i];
        uint64_t end, file_end;
        if (p->p_type == PT_INTERP && read_interp(o, p, e))
            return -1;
        if (p->p_type != PT_LOAD)
            continue;
        if (__builtin_add_overflow(p->p_vaddr, p->p_memsz, &end) || end > u->mm.top ||
            __builtin_add_overflow(p->p_offset, p->p_filesz, &file_end) ||
            p->p_filesz > p->p_memsz || (p->p_vaddr - p->p_offset) & 4095)
            return bad(o, e, "malformed segment");
        if (p->p_filesz && file_end > o->file_size)
            return bad(o, e, "truncated");
        o->low = MIN(o->low, p->p_vaddr);
        o->high = MAX(o->high, end);
        if (is_pow2(p->p_align))
            o->align = MAX(o->align, MIN(p->p_align, 2 * MiB));
    }
    return o->low < o->high ? 0 : bad(o, e, "no loadable segments");
}

static int segment_prot(const Elf64_Phdr *p)
{
    return (p->p_flags & PF_R ? PROT_READ : 0) | (p->p_flags & PF_W ? PROT_WRITE : 0) |
           (p->p_flags & PF_X ? PROT_EXEC : 0);
}

static int map_segment(struct user *u, struct object *o, const Elf64_Phdr *p, struct err *e)
{
    uint64_t mask = u->mm.page_size - 1, at = o->bias + p->p_vaddr, lead = at & mask;
    uint64_t start = at - lead, file_end = at + p->p_filesz, end = at + p->p_memsz;
    uint64_t file_pages = (file_end + mask) & ~mask, all_pages = (end + mask) & ~mask;
    int prot = segment_prot(p);
    int64_t r = 0;
    if (p->p_filesz)
        r = mm_map(&u->mm, start, file_end - start, prot, MAP_PRIVATE | MAP_FIXED, o->fd,
                   p->p_offset - lead);
    else
        file_pages = start;
    if (r >= 0 && all_pages > file_pages)
        r = mm_map(&u->mm, file_pages, all_pages - file_pages, prot,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (r < 0)
        return err_errno(e, (int)-r, "%s: cannot map a segment at 0x%llx", o->path,
                         (unsigned long long)start);
    if (p->p_memsz > p->p_filesz && p->p_filesz && prot & PROT_WRITE)
        memset(mm_host(&u->mm, file_end), 0, file_pages - file_end); // the whole page, as Linux
    return 0;
}

static int map_object(struct user *u, struct object *o, uint64_t want, struct err *e)
{
    uint64_t span = o->high - (o->low & ~(o->align - 1));
    if (o->eh.e_type == ET_DYN) {
        uint64_t at = want ? want : mm_find_free(&u->mm, span, o->align);
        if (!at)
            return err_set(e, "%s: no room in the address space", o->path);
        o->bias = at - (o->low & ~(o->align - 1));
    }
    for (unsigned i = 0; i < o->eh.e_phnum; i++)
        if (o->ph[i].p_type == PT_LOAD && map_segment(u, o, &o->ph[i], e))
            return -1;
    return 0;
}

static int load_interp(struct user *u, struct object *main, struct image *out, int *status,
                       struct err *e)
{
    char path[4096];
    struct object *o = xalloc(sizeof *o);
    path_lookup(u, main->interp, path, sizeof path, true);
    o->path = path;
    o->fd = open(path, O_RDONLY | O_CLOEXEC);
    const char *package = u->abi->libc_package;
    int r = -1;
    if (o->fd < 0) {
        *status = NOT_FOUND;
        err_errno(e, errno,
                  "%s: its dynamic loader %s was not found (looked in %s%s); give -L with a "
                  "directory that has it%s%s",
                  main->path, main->interp, u->opt.prefix ? u->opt.prefix : "",
                  u->opt.prefix ? " and /" : "/", package ? ", or install " : "",
                  package ? package : "");
    } else if (!(r = read_headers(u, o, e)) && !(r = check_segments(u, o, e)) &&
               !(r = map_object(u, o, 0, e))) {
        out->interp_base = o->bias;
        out->entry = o->bias + o->eh.e_entry;
    }
    if (o->fd >= 0)
        close(o->fd);
    free(o);
    return r;
}

static uint64_t phdr_address(const struct object *o)
{
    for (unsigned i = 0; i < o->eh.e_phnum; i++)
        if (o->ph[i].p_type == PT_PHDR)
            return o->bias + o->ph[i].p_vaddr;
    for (unsigned i = 0; i < o->eh.e_phnum; i++) {
        const Elf64_Phdr *p = &o->ph[i];
        if (p->p_type == PT_LOAD && o->eh.e_phoff - p->p_offset < p->p_filesz)
            return o->bias + p->p_vaddr + (o->eh.e_phoff - p->p_offset);
    }
    return 0;
}

int elf_load(struct user *u, int fd, const char *path, struct image *out, int *status,
             struct err *e)
{
    struct object *o = xalloc(sizeof *o);
    o->fd = fd;
    o->path = path;
    *out = (struct image){0};
    *status = NOT_RUNNABLE;
    // A position-independent program lies at two thirds of the space, as Linux has it.
    uint64_t pie = (u->mm.size / 3 * 2) & ~(uint64_t)(2 * MiB - 1);
    int r = read_headers(u, o, e);
    if (!r)
        r = check_segments(u, o, e);
    if (!r)
        r = map_object(u, o, o->interp[0] ? pie : 0, e);
    if (!r) {
        out->load = o->bias;
        out->start = out->entry = o->bias + o->eh.e_entry;
        out->phdr = phdr_address(o);
        out->phnum = o->eh.e_phnum;
        uint64_t page = u->mm.page_size;
        u->mm.brk_start = u->mm.brk = o->eh.e_type == ET_DYN && !o->interp[0]
                                          ? pie
                                          : (o->bias + o->high + page - 1) & ~(page - 1);
        if (o->interp[0])
            r = load_interp(u, o, out, status, e);
    }
    free(o);
    return r;
}
