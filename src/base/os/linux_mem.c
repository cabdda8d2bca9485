// Linux: mappings without reservation, so that a guest's RAM costs what it touches. Private blocks
// ask for transparent huge pages and are left out of core dumps.
#include "base/hostmem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20, FENCE = 1 << 16 };

uint64_t hostmem_page_size(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t hostmem_installed(void)
{
    struct sysinfo s;
    return sysinfo(&s) ? 0 : ((uint64_t)s.totalram + s.totalswap) * s.mem_unit;
}

static int refuse(struct hostmem *m, const char *name, uint64_t size, int why, struct err *e)
{
    if (m->fd >= 0)
        close(m->fd);
    if (m->reserved)
        munmap(m->reserved, m->reserved_size);
    *m = (struct hostmem){.fd = -1};
    if (why == ENOMEM || why == EFBIG || why == EINVAL || why == EOVERFLOW)
        return err_set(e,
                       "%s: %llu MiB are larger than the host allows (it has %llu MiB of memory "
                       "and swap; see also ulimit -v and vm.overcommit_memory)",
                       name, (unsigned long long)(size >> 20),
                       (unsigned long long)(hostmem_installed() >> 20));
    return err_errno(e, why, "%s: cannot map %llu MiB of host memory", name,
                     (unsigned long long)(size >> 20));
}

// A file for the memory; in a folder one that has no name. The page size of its file system counts.
static int open_file(const char *path, uint64_t *page, struct err *e)
{
    struct stat st;
    struct statfs fs;
    bool folder = !stat(path, &st) && S_ISDIR(st.st_mode);
    int fd = open(path, O_RDWR | O_CLOEXEC | (folder ? O_TMPFILE : O_CREAT), 0600);
    if (fd < 0 || fstatfs(fd, &fs)) {
        err_errno(e, errno, "memory in %s", path);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    if (fs.f_type == HUGETLBFS_MAGIC)
        *page = (uint64_t)fs.f_bsize;
    return fd;
}

static int size_file(int fd, uint64_t size)
{
    struct stat st;
    if (fstat(fd, &st))
        return -1;
    return (uint64_t)st.st_size >= size ? 0 : ftruncate(fd, (off_t)size);
}

static int fill(void *at, uint64_t size)
{
    if (!madvise(at, size, MADV_POPULATE_WRITE))
        return 0;
    if (errno != EINVAL) // else: the kernel is older than the advice
        return errno;
    for (volatile uint8_t *p = at, *end = p + size; p < end; p += 4096)
        *p = *p;
    return 0;
}

int hostmem_map(struct hostmem *m, const char *name, uint64_t size, bool shared, struct err *e)
{
    return hostmem_map_from(m, name, size, &(struct hostmem_source){.shared = shared}, e);
}

int hostmem_map_from(struct hostmem *m, const char *name, uint64_t size,
                     const struct hostmem_source *s, struct err *e)
{
    *m = (struct hostmem){.fd = -1};
    uint64_t page = hostmem_page_size();
    int fd = s->path ? open_file(s->path, &page, e) : -1;
    if (s->path && fd < 0)
        return -1;
    m->fd = fd;
    uint64_t align = MAX(size >= HUGE_PAGE ? (uint64_t)HUGE_PAGE : page, page);
    uint64_t rounded = (size + page - 1) & ~(page - 1), total;
    if (!size || rounded < size || __builtin_add_overflow(rounded, 2 * FENCE + align, &total) ||
        (off_t)rounded < 0)
        return refuse(m, name, size, ENOMEM, e);
    void *at = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return refuse(m, name, size, errno, e);
    m->reserved = at;
    m->reserved_size = total;
    if (s->shared && !s->path)
        m->fd = memfd_create(name, MFD_CLOEXEC);
    if ((s->shared && m->fd < 0) || (m->fd >= 0 && size_file(m->fd, rounded)))
        return refuse(m, name, size, errno, e);
    uintptr_t base = ((uintptr_t)at + FENCE + align - 1) & ~(uintptr_t)(align - 1);
    int flags = MAP_FIXED | MAP_NORESERVE | (s->shared ? MAP_SHARED : MAP_PRIVATE) |
                (m->fd < 0 ? MAP_ANONYMOUS : 0);
    at = mmap((void *)base, rounded, PROT_READ | PROT_WRITE, flags, m->fd, 0);
    if (at == MAP_FAILED)
        return refuse(m, name, size, errno, e);
    int short_of = s->fill ? fill(at, rounded) : 0;
    if (short_of)
        return refuse(m, name, size, short_of, e);
    m->base = at;
    m->size = rounded;
    m->keeps = m->fd >= 0 && !s->shared;
    if (m->keeps) {
        close(m->fd);
        m->fd = -1;
    }
    madvise(at, rounded, MADV_DONTDUMP); // advice: a refusal is no error
    if (align == HUGE_PAGE)
        madvise(at, rounded, MADV_HUGEPAGE);
    return 0;
}

void hostmem_unmap(struct hostmem *m)
{
    if (!m->base)
        return;
    munmap(m->reserved, m->reserved_size);
    if (m->fd >= 0)
        close(m->fd);
    *m = (struct hostmem){.fd = -1};
}

bool hostmem_discard(struct hostmem *m, uint64_t off, uint64_t n)
{
    if (m->keeps)
        return false;
    if (m->fd >= 0)
        return !fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)n);
    return !madvise(m->base + off, n, MADV_DONTNEED);
}
