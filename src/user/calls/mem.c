// Memory: the guest's calls on its own address space (mm.c does the work).
#include "user/calls.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

int64_t sys_brk(struct thread *t, const uint64_t *a)
{
    return mm_brk(&t->u->mm, a[0]);
}

// For writing; anonymous memory only with processes that will be forked.
static void shares(struct user *u, bool anonymous)
{
    if (anonymous)
        u->would_share_memory = true;
    else
        robust_shares_memory(u);
}

int64_t sys_mmap(struct thread *t, const uint64_t *a)
{
    int type = (int)a[3] & MAP_TYPE;
    if (type != MAP_PRIVATE && type != MAP_SHARED && type != MAP_SHARED_VALIDATE)
        return -EINVAL;
    if (a[2] & ~7ull)
        return -EINVAL;
    int64_t r = mm_map(&t->u->mm, a[0], a[1], (int)a[2], (int)a[3], (int)a[4], a[5]);
    if (r > 0 && type != MAP_PRIVATE && a[2] & PROT_WRITE)
        shares(t->u, (a[3] & MAP_ANONYMOUS) != 0);
    return r;
}

// The offset in units of 4096 bytes.
int64_t sys_mmap2(struct thread *t, const uint64_t *a)
{
    return sys_mmap(t, (const uint64_t[]){a[0], a[1], a[2], a[3], a[4], a[5] * 4096});
}

int64_t sys_munmap(struct thread *t, const uint64_t *a)
{
    return mm_unmap(&t->u->mm, mm_untag(&t->u->mm, a[0]), a[1]);
}

static int64_t protect(struct thread *t, uint64_t addr, uint64_t len, int prot)
{
    struct mm *m = &t->u->mm;
    struct mm_area area;
    int64_t r = mm_protect(m, addr, len, prot);
    for (uint64_t at = addr; !r && prot & PROT_WRITE && at - addr < len && mm_area_at(m, at, &area);
         at = area.end)
        if (area.shared)
            shares(t->u, area.anonymous);
    return r;
}

int64_t sys_mprotect(struct thread *t, const uint64_t *a)
{
    return protect(t, mm_untag(&t->u->mm, a[0]), a[1], (int)a[2]);
}

int64_t sys_pkey_mprotect(struct thread *t, const uint64_t *a)
{
    return (int)a[3] == -1 ? protect(t, a[0], a[1], (int)a[2]) : -EINVAL;
}

int64_t sys_mremap(struct thread *t, const uint64_t *a)
{
    return mm_remap(&t->u->mm, a[0], a[1], a[2], (int)a[3], a[4]);
}

// Our reserve looks mapped to the host: what is not the program's is to fail as unmapped memory.
static bool is_mapped(struct thread *t, uint64_t addr, uint64_t len)
{
    uint64_t page = t->u->mm.page_size;
    addr = mm_untag(&t->u->mm, addr);
    return mm_covers(&t->u->mm, addr & ~(page - 1), (len + page - 1) & ~(page - 1), 0);
}

int64_t sys_madvise(struct thread *t, const uint64_t *a)
{
    if (a[0] & (t->u->mm.page_size - 1))
        return -EINVAL;
    if (a[1] && !is_mapped(t, a[0], a[1]))
        return -ENOMEM;
    return CALL_HOST(t, madvise, call_ptr(t, a[0]), a[1], a[2]);
}

int64_t sys_mincore(struct thread *t, const uint64_t *a)
{
    if (!(a[0] & 4095) && a[1] && !is_mapped(t, a[0], a[1]))
        return -ENOMEM;
    return CALL_HOST(t, mincore, call_ptr(t, a[0]), a[1], call_ptr(t, a[2]));
}

int64_t sys_msync(struct thread *t, const uint64_t *a)
{
    if (!(a[0] & 4095) && a[1] && !is_mapped(t, a[0], a[1]))
        return -ENOMEM;
    return CALL_HOST(t, msync, call_ptr(t, a[0]), a[1], a[2]);
}

// All of the emulator in memory is not what is meant, and often more than is allowed.
int64_t sys_mlockall(struct thread *t, const uint64_t *a)
{
    return a[0] && !(a[0] & ~(uint64_t)(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) ? 0 : -EINVAL;
}

// Another process's addresses are its own affair; only this one's are known here.
static int64_t process_vm(struct thread *t, long nr, const uint64_t *a)
{
    struct iovec *local, *remote;
    if ((pid_t)a[0] != (pid_t)HOST_DO(getpid, 0))
        return -EPERM;
    int64_t r = iov_read(t, a[1], a[2], &local);
    if (r)
        return r;
    r = iov_read(t, a[3], a[4], &remote);
    if (!r) {
        const uint64_t args[6] = {
            a[0], (uint64_t)(uintptr_t)local, a[2], (uint64_t)(uintptr_t)remote, a[4], a[5]};
        r = call_host(t, nr, args);
    }
    free(local);
    free(remote);
    return r;
}

int64_t sys_process_vm_readv(struct thread *t, const uint64_t *a)
{
    return process_vm(t, SYS_process_vm_readv, a);
}
int64_t sys_process_vm_writev(struct thread *t, const uint64_t *a)
{
    return process_vm(t, SYS_process_vm_writev, a);
}
