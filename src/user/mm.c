// The guest's address space (mm.h). Unmapped guest memory is host memory without any access, so a
// stray access faults and the host's own allocations never land in it. A new mapping is placed by
// our own table, top down as Linux does, and made with MAP_FIXED over that reserve.
#include "user/mm.h"

#include "base/err.h"
#include "user/host_call.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { HOST_PAGE = 4096 };
#define PROT_ALL   (PROT_READ | PROT_WRITE | PROT_EXEC)
#define LOWEST_MAP 0x10000u // vm.mmap_min_addr

// ---- the table ----

// Index of the first area that ends above addr.
static size_t find(const struct mm *m, uint64_t addr)
{
    size_t lo = 0, hi = m->areas.len;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (m->areas.data[mid].end <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void insert(struct mm *m, size_t at, struct mm_area a)
{
    vec_push(&m->areas, a);
    memmove(m->areas.data + at + 1, m->areas.data + at, (m->areas.len - 1 - at) * sizeof a);
    m->areas.data[at] = a;
}

static void split(struct mm *m, uint64_t addr)
{
    size_t i = find(m, addr);
    if (i == m->areas.len || m->areas.data[i].start >= addr)
        return;
    struct mm_area left = m->areas.data[i];
    left.end = addr;
    m->areas.data[i].start = addr;
    insert(m, i, left);
}

static bool same_kind(const struct mm_area *a, const struct mm_area *b)
{
    return a->end == b->start && a->prot == b->prot && a->shared == b->shared &&
           a->anonymous == b->anonymous;
}

static void merge(struct mm *m, size_t i)
{
    if (i == 0 || i >= m->areas.len || !same_kind(&m->areas.data[i - 1], &m->areas.data[i]))
        return;
    m->areas.data[i - 1].end = m->areas.data[i].end;
    vec_remove(&m->areas, i);
}

static void forget(struct mm *m, uint64_t start, uint64_t end)
{
    split(m, start);
    split(m, end);
    size_t i = find(m, start), n = i;
    while (n < m->areas.len && m->areas.data[n].start < end)
        n++;
    if (n == i)
        return;
    memmove(m->areas.data + i, m->areas.data + n, (m->areas.len - n) * sizeof *m->areas.data);
    m->areas.len -= n - i;
}

static void record(struct mm *m, struct mm_area a)
{
    forget(m, a.start, a.end);
    size_t i = find(m, a.start);
    insert(m, i, a);
    merge(m, i + 1);
    merge(m, i);
}

static bool is_free(const struct mm *m, uint64_t start, uint64_t end)
{
    size_t i = find(m, start);
    return i == m->areas.len || m->areas.data[i].start >= end;
}

static bool covers(const struct mm *m, uint64_t start, uint64_t end, int prot)
{
    for (size_t i = find(m, start); start < end; i++) {
        if (i == m->areas.len || m->areas.data[i].start > start ||
            (m->areas.data[i].prot & prot) != prot)
            return false;
        start = m->areas.data[i].end;
    }
    return true;
}

static uint64_t free_below(const struct mm *m, uint64_t top, uint64_t len, uint64_t align)
{
    size_t i = find(m, top);
    for (;;) {
        uint64_t low = i ? m->areas.data[i - 1].end : LOWEST_MAP;
        uint64_t high = i < m->areas.len ? MIN(m->areas.data[i].start, top) : top;
        low = MAX(low, (uint64_t)LOWEST_MAP);
        if (high > low && high - low >= len && ((high - len) & ~(align - 1)) >= low)
            return (high - len) & ~(align - 1);
        if (!i--)
            return 0;
    }
}

// ---- the host's side ----

static int host_prot(int prot)
{
    return (prot & (PROT_READ | PROT_WRITE)) | (prot & PROT_EXEC ? PROT_READ : 0);
}

static int reserve(struct mm *m, uint64_t addr, uint64_t len, int extra)
{
    void *p = mmap(m->base + addr, len, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | extra, -1, 0);
    return p == MAP_FAILED ? -errno : 0;
}

// The end of every change: report what code it concerned.
static void unlock(struct mm *m)
{
    struct mm_range *r = m->stale.data;
    size_t n = m->stale.len;
    m->stale.data = NULL;
    m->stale.len = m->stale.cap = 0;
    mutex_unlock(&m->lock);
    for (size_t i = 0; i < n; i++)
        if (m->code_changed)
            m->code_changed(m->opaque, r[i].addr, r[i].len);
    free(r);
}

// Code may have been in any executable part of the range.
static void code_gone(struct mm *m, uint64_t start, uint64_t end)
{
    for (size_t i = find(m, start); i < m->areas.len && m->areas.data[i].start < end; i++) {
        const struct mm_area *a = &m->areas.data[i];
        uint64_t lo = MAX(a->start, start), hi = MIN(a->end, end);
        if (a->prot & PROT_EXEC)
            vec_push(&m->stale, (struct mm_range){lo, hi - lo});
    }
}

int mm_init(struct mm *m, uint64_t base, bool fixed, uint64_t size, uint64_t page_size,
            struct err *e)
{
    pthread_mutex_init(&m->lock, NULL);
    m->page_size = page_size;
    void *want = fixed ? (void *)(uintptr_t)base : NULL;
    uint64_t sizes[] = {1ull << 46, 1ull << 44, 1ull << 40, 1ull << 38, 1ull << 36, 1ull << 33};
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        m->size = size ? size : sizes[i];
        uint64_t span = m->size + HOST_PAGE; // one page behind the end that always faults
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        void *p = mmap(want, span, PROT_NONE, flags | (fixed ? MAP_FIXED_NOREPLACE : 0), -1, 0);
        if (p != MAP_FAILED) {
            m->base = p;
            m->top = m->size;
            return 0;
        }
        if (size)
            break;
    }
    return err_errno(e, errno, "no room for the program's address space (%llu GiB at 0x%llx)",
                     (unsigned long long)(m->size / GiB), (unsigned long long)base);
}

// ---- system calls ----

static uint64_t round_up(const struct mm *m, uint64_t n)
{
    return (n + m->page_size - 1) & ~(m->page_size - 1);
}

static bool aligned(const struct mm *m, uint64_t n)
{
    return !(n & (m->page_size - 1));
}

// Where a mapping goes, or a negative errno. Lock held.
static int64_t place(struct mm *m, uint64_t addr, uint64_t len, int flags)
{
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        if (!aligned(m, addr))
            return -EINVAL;
        if (!mm_inside(m, addr, len))
            return -ENOMEM;
        if (addr < LOWEST_MAP)
            return -EPERM;
        if (flags & MAP_FIXED_NOREPLACE && !is_free(m, addr, addr + len))
            return -EEXIST;
        return (int64_t)addr;
    }
    addr &= ~(m->page_size - 1);
    if (addr >= LOWEST_MAP && mm_inside(m, addr, len) && is_free(m, addr, addr + len))
        return (int64_t)addr;
    uint64_t at = free_below(m, m->top, len, m->page_size);
    return at ? (int64_t)at : -ENOMEM;
}

// The file ends within a guest page: what follows in that page reads as zeros, where the host,
// whose pages are smaller, would fault.
static void fill_last_page(struct mm *m, uint64_t at, uint64_t len, int prot, int fd, uint64_t off)
{
    struct stat st;
    if (HOST_DO(fstat, (uint64_t)fd, HOST_PTR(&st)) || !S_ISREG(st.st_mode) ||
        (uint64_t)st.st_size <= off)
        return;
    uint64_t have = (uint64_t)st.st_size - off, from = (have + HOST_PAGE - 1) & ~(HOST_PAGE - 1ull);
    uint64_t to = MIN(len, (have + m->page_size - 1) & ~(m->page_size - 1));
    if (from < to && mmap(m->base + at + from, to - from, host_prot(prot),
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
        return; // it faults there, as it would have
}

static int host_flags(int flags)
{
    return (flags & ~(MAP_FIXED_NOREPLACE | MAP_GROWSDOWN)) | MAP_FIXED;
}

// `ready`: a mapping of it elsewhere, or NULL.
static int64_t map_locked(struct mm *m, uint64_t addr, uint64_t len, int prot, int flags, int fd,
                          uint64_t off, void *ready)
{
    int64_t at = place(m, addr, len, flags);
    if (at < 0)
        return at;
    code_gone(m, (uint64_t)at, (uint64_t)at + len);
    void *p = ready ? mremap(ready, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, m->base + at)
                    : mmap(m->base + at, len, host_prot(prot), host_flags(flags), fd, (off_t)off);
    if (p == MAP_FAILED) {
        int why = errno;
        reserve(m, (uint64_t)at, len, MAP_FIXED_NOREPLACE); // a failed MAP_FIXED may leave a hole
        return -why;
    }
    if (m->page_size > HOST_PAGE && !(flags & MAP_ANONYMOUS))
        fill_last_page(m, (uint64_t)at, len, prot, fd, off);
    record(m, (struct mm_area){.start = (uint64_t)at,
                               .end = (uint64_t)at + len,
                               .prot = prot & PROT_ALL,
                               .shared = (flags & MAP_TYPE) != MAP_PRIVATE,
                               .anonymous = (flags & MAP_ANONYMOUS) != 0});
    return at;
}

int64_t mm_map(struct mm *m, uint64_t addr, uint64_t len, int prot, int flags, int fd, uint64_t off)
{
    if (!len || !aligned(m, off))
        return -EINVAL;
    if (len > m->size)
        return -ENOMEM;
    void *ready = NULL;
    len = round_up(m, len);
    int64_t r = m->map_file && !(flags & MAP_ANONYMOUS)
                    ? m->map_file(len, host_prot(prot), host_flags(flags), fd, off, &ready)
                    : 0;
    if (r)
        return r;
    mutex_lock(&m->lock);
    r = map_locked(m, addr, len, prot, flags, fd, off, ready);
    unlock(m);
    if (r < 0 && ready)
        munmap(ready, len);
    return r;
}

static int64_t unmap_locked(struct mm *m, uint64_t addr, uint64_t len)
{
    code_gone(m, addr, addr + len);
    int r = reserve(m, addr, len, MAP_FIXED);
    if (!r)
        forget(m, addr, addr + len);
    return r;
}

int64_t mm_unmap(struct mm *m, uint64_t addr, uint64_t len)
{
    if (!aligned(m, addr) || !len || !mm_inside(m, addr, len))
        return -EINVAL;
    mutex_lock(&m->lock);
    int64_t r = unmap_locked(m, addr, round_up(m, len));
    unlock(m);
    return r;
}

int64_t mm_protect(struct mm *m, uint64_t addr, uint64_t len, int prot)
{
    len = round_up(m, len);
    prot &= ~(PROT_GROWSDOWN | PROT_GROWSUP);
    if (!aligned(m, addr) || prot & ~PROT_ALL)
        return -EINVAL;
    if (!len)
        return 0;
    if (!mm_inside(m, addr, len))
        return -ENOMEM;
    int64_t r = -ENOMEM;
    mutex_lock(&m->lock);
    if (covers(m, addr, addr + len, 0)) {
        r = mprotect(m->base + addr, len, host_prot(prot)) ? -errno : 0;
        if (!r) {
            code_gone(m, addr, addr + len);
            split(m, addr);
            split(m, addr + len);
            for (size_t i = find(m, addr); i < m->areas.len && m->areas.data[i].start < addr + len;
                 i++)
                m->areas.data[i].prot = prot;
            size_t last = find(m, addr + len);
            for (size_t i = MIN(last + 1, m->areas.len); i-- > 0 && m->areas.data[i].end >= addr;)
                merge(m, i);
        }
    }
    unlock(m);
    return r;
}

// ---- mremap ----

static int64_t move(struct mm *m, uint64_t old, uint64_t old_len, uint64_t new_len, uint64_t to,
                    struct mm_area a)
{
    code_gone(m, old, old + old_len);
    code_gone(m, to, to + new_len);
    void *p = mremap(m->base + old, old_len, new_len, MREMAP_MAYMOVE | MREMAP_FIXED, m->base + to);
    if (p == MAP_FAILED) {
        int why = errno;
        reserve(m, to, new_len, MAP_FIXED_NOREPLACE);
        return -why;
    }
    forget(m, old, old + old_len);
    reserve(m, old, old_len, MAP_FIXED_NOREPLACE);
    a.start = to;
    a.end = to + new_len;
    record(m, a);
    return (int64_t)to;
}

// More of a private anonymous area is the same as a new one behind it.
static bool grow_in_place(struct mm *m, uint64_t old, uint64_t old_len, uint64_t new_len,
                          struct mm_area a)
{
    uint64_t from = old + old_len, more = new_len - old_len;
    if (a.shared || !a.anonymous || !mm_inside(m, from, more) || !is_free(m, from, from + more))
        return false;
    return map_locked(m, from, more, a.prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0,
                      NULL) >= 0;
}

static int64_t remap_locked(struct mm *m, uint64_t old, uint64_t old_len, uint64_t new_len,
                            int flags, uint64_t new_addr)
{
    size_t i = find(m, old);
    if (i == m->areas.len || m->areas.data[i].start > old || !covers(m, old, old + old_len, 0))
        return -EFAULT;
    struct mm_area a = m->areas.data[i];
    if (flags & MREMAP_FIXED) {
        if (!aligned(m, new_addr) || !mm_inside(m, new_addr, new_len) || new_addr < LOWEST_MAP ||
            (new_addr < old + old_len && old < new_addr + new_len))
            return -EINVAL;
        if (new_len < old_len) {
            unmap_locked(m, old + new_len, old_len - new_len);
            old_len = new_len;
        }
        return move(m, old, old_len, new_len, new_addr, a);
    }
    if (new_len <= old_len) {
        if (new_len < old_len)
            unmap_locked(m, old + new_len, old_len - new_len);
        return (int64_t)old;
    }
    if (grow_in_place(m, old, old_len, new_len, a))
        return (int64_t)old;
    if (!(flags & MREMAP_MAYMOVE))
        return -ENOMEM;
    uint64_t to = free_below(m, m->top, new_len, m->page_size);
    return to ? move(m, old, old_len, new_len, to, a) : -ENOMEM;
}

int64_t mm_remap(struct mm *m, uint64_t old, uint64_t old_len, uint64_t new_len, int flags,
                 uint64_t new_addr)
{
    if (!aligned(m, old) || !new_len || !old_len || flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED) ||
        (flags & MREMAP_FIXED && !(flags & MREMAP_MAYMOVE)))
        return -EINVAL;
    if (new_len > m->size)
        return -ENOMEM;
    if (!mm_inside(m, old, old_len))
        return -EFAULT;
    mutex_lock(&m->lock);
    int64_t r = remap_locked(m, old, round_up(m, old_len), round_up(m, new_len), flags, new_addr);
    unlock(m);
    return r;
}

int64_t mm_brk(struct mm *m, uint64_t addr)
{
    mutex_lock(&m->lock);
    uint64_t old_end = round_up(m, m->brk), new_end = round_up(m, addr);
    if (addr >= m->brk_start && mm_inside(m, addr, m->page_size)) {
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
        if (new_end <= old_end) {
            if (new_end < old_end)
                unmap_locked(m, new_end, old_end - new_end);
            m->brk = addr;
        } else if (is_free(m, old_end, new_end + m->page_size) &&
                   map_locked(m, old_end, new_end - old_end, PROT_READ | PROT_WRITE, flags, -1, 0,
                              NULL) >= 0) {
            m->brk = addr;
        }
    }
    int64_t r = (int64_t)m->brk;
    unlock(m);
    return r;
}

// ---- System V shared memory ----

int64_t mm_shm_attach(struct mm *m, int id, uint64_t addr, int flags)
{
    struct shmid_ds ds;
    if (shmctl(id, IPC_STAT, &ds))
        return -errno;
    uint64_t len = round_up(m, ds.shm_segsz);
    if (flags & SHM_RND)
        addr &= ~(m->page_size - 1);
    mutex_lock(&m->lock);
    int64_t at =
        place(m, addr, len, addr ? (flags & SHM_REMAP ? MAP_FIXED : MAP_FIXED_NOREPLACE) : 0);
    if (at == -EEXIST || at == -EPERM)
        at = -EINVAL;
    if (at > 0) {
        code_gone(m, (uint64_t)at, (uint64_t)at + len);
        void *p = shmat(id, m->base + at, (flags & ~SHM_RND & ~SHM_EXEC) | SHM_REMAP);
        if (p == (void *)-1)
            at = -errno;
        else
            record(m,
                   (struct mm_area){.start = (uint64_t)at,
                                    .end = (uint64_t)at + len,
                                    .prot = flags & SHM_RDONLY ? PROT_READ : PROT_READ | PROT_WRITE,
                                    .shared = true});
    }
    unlock(m);
    return at;
}

int64_t mm_shm_detach(struct mm *m, uint64_t addr)
{
    struct mm_area a;
    if (!mm_area_at(m, addr, &a))
        return -EINVAL;
    mutex_lock(&m->lock);
    int64_t r = shmdt(m->base + addr) ? -errno : 0;
    if (!r) {
        forget(m, addr, a.end);
        reserve(m, addr, a.end - addr, MAP_FIXED_NOREPLACE);
    }
    unlock(m);
    return r;
}

// ---- questions ----

uint64_t mm_find_free(struct mm *m, uint64_t len, uint64_t align)
{
    mutex_lock(&m->lock);
    uint64_t r = free_below(m, m->top, round_up(m, len), MAX(align, m->page_size));
    unlock(m);
    return r;
}

bool mm_covers(struct mm *m, uint64_t addr, uint64_t len, int prot)
{
    if (!mm_inside(m, addr, len))
        return false;
    mutex_lock(&m->lock);
    bool r = covers(m, addr, addr + len, prot);
    unlock(m);
    return r;
}

bool mm_area_at(struct mm *m, uint64_t addr, struct mm_area *out)
{
    mutex_lock(&m->lock);
    size_t i = find(m, addr);
    bool r = i < m->areas.len && m->areas.data[i].start <= addr;
    if (r)
        *out = m->areas.data[i];
    unlock(m);
    return r;
}
