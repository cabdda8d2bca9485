// Linux: mappings without reservation, so that a guest's RAM costs what it touches. Private blocks
// ask for transparent huge pages and are left out of core dumps.
#include "base/hostmem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
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

int hostmem_map(struct hostmem *m, const char *name, uint64_t size, bool shared, struct err *e)
{
    *m = (struct hostmem){.fd = -1};
    uint64_t page = hostmem_page_size(), align = size >= HUGE_PAGE ? HUGE_PAGE : page;
    uint64_t rounded = (size + page - 1) & ~(page - 1), total;
    if (!size || rounded < size || __builtin_add_overflow(rounded, 2 * FENCE + align, &total) ||
        (off_t)rounded < 0)
        return refuse(m, name, size, ENOMEM, e);
    void *at = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return refuse(m, name, size, errno, e);
    m->reserved = at;
    m->reserved_size = total;
    if (shared) {
        m->fd = memfd_create(name, MFD_CLOEXEC);
        if (m->fd < 0 || ftruncate(m->fd, (off_t)rounded))
            return refuse(m, name, size, errno, e);
    }
    uintptr_t base = ((uintptr_t)at + FENCE + align - 1) & ~(uintptr_t)(align - 1);
    int flags = MAP_FIXED | MAP_NORESERVE | (shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS);
    at = mmap((void *)base, rounded, PROT_READ | PROT_WRITE, flags, m->fd, 0);
    if (at == MAP_FAILED)
        return refuse(m, name, size, errno, e);
    m->base = at;
    m->size = rounded;
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
    if (m->fd >= 0)
        return !fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)n);
    return !madvise(m->base + off, n, MADV_DONTNEED);
}
