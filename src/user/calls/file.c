// Files and descriptors: what the host's call of the same name does not do by itself.
#include "user/calls.h"
#include "user/abi/layout_host.h"
#include "user/path.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

// ---- flags of open ----

int open_flags_swap(struct thread *t, int flags, bool to_host)
{
    const struct flag_pair *p = t->u->abi->open_flags;
    unsigned in = (unsigned)flags, out = in;
    for (; p->guest; p++)
        out &= ~(to_host ? p->guest : p->host);
    for (p = t->u->abi->open_flags; p->guest; p++)
        if (in & (to_host ? p->guest : p->host))
            out |= to_host ? p->host : p->guest;
    return (int)out;
}

int64_t sys_pipe2(struct thread *t, const uint64_t *a)
{
    return CALL_HOST(t, pipe2, call_ptr(t, a[0]), (uint64_t)open_flags_swap(t, (int)a[1], true));
}

static int64_t lock_call(struct thread *t, const uint64_t *a, int cmd, enum layout_id id)
{
    struct host_flock f;
    if (layout_same(t, id))
        return CALL_HOST(t, fcntl, a[0], (uint64_t)cmd, call_ptr(t, a[2]));
    if (!layout_read(t, id, a[2], &f))
        return -EFAULT;
    int64_t r = CALL_HOST(t, fcntl, a[0], (uint64_t)cmd, (uint64_t)(uintptr_t)&f);
    bool asks = cmd == F_GETLK || cmd == F_OFD_GETLK;
    return !r && asks && !layout_write(t, id, a[2], &f) ? -EFAULT : r;
}

int64_t sys_fcntl(struct thread *t, const uint64_t *a)
{
    enum { LK64 = 12, SETLKW64 = 14 }; // commands of their own where a long is not enough
    enum { GETOWNER_UIDS = 17 };       // linux/fcntl.h
    uint64_t arg = a[2];
    int64_t r;
    switch ((int)a[1]) {
    case F_SETFL:
        arg = (uint64_t)open_flags_swap(t, (int)arg, true);
        break;
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
        return lock_call(t, a, (int)a[1], LAYOUT_flock);
    case LK64 ... SETLKW64:
        if (layout_size(t, LAYOUT_flock) == layout_size(t, LAYOUT_flock64))
            return -EINVAL;
        return lock_call(t, a, (int)a[1] - LK64 + F_GETLK, LAYOUT_flock64);
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return lock_call(t, a, (int)a[1], LAYOUT_flock64);
    case F_GETOWN_EX:
    case F_SETOWN_EX:
    case GETOWNER_UIDS:
    case F_GET_RW_HINT ... F_SET_FILE_RW_HINT:
        arg = call_ptr(t, arg);
        break;
    default:
        break;
    }
    r = CALL_HOST(t, fcntl, a[0], a[1], arg);
    return (int)a[1] == F_GETFL && r >= 0 ? open_flags_swap(t, (int)r, false) : r;
}

// ---- opening ----

static int64_t open_host(struct thread *t, int dirfd, const char *path, int flags, uint64_t mode)
{
    char found[4096];
    int fd = path_open_proc(t, path, flags);
    if (fd != PATH_NOT_OURS)
        return fd;
    bool creates = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE; // that is two bits
    if (creates)
        snprintf(found, sizeof found, "%s", path);
    else
        path_lookup(t->u, path, found, sizeof found, !(flags & O_NOFOLLOW));
    return CALL_HOST(t, openat, (uint64_t)dirfd, (uint64_t)(uintptr_t)found, (uint64_t)flags, mode);
}

int64_t sys_openat(struct thread *t, const uint64_t *a)
{
    char path[4096];
    int64_t r = guest_string(t, a[1], path, sizeof path);
    return r ? r : open_host(t, (int)a[0], path, open_flags_swap(t, (int)a[2], true), a[3]);
}

int64_t sys_openat2(struct thread *t, const uint64_t *a)
{
    struct open_how how = {0};
    char path[4096];
    if (a[3] < sizeof how)
        return -EINVAL;
    int64_t r = guest_string(t, a[1], path, sizeof path);
    if (r || !guest_read(t, a[2], &how, sizeof how))
        return r ? r : -EFAULT;
    if (a[3] > sizeof how)
        return -E2BIG;
    how.flags = (uint64_t)(uint32_t)open_flags_swap(t, (int)how.flags, true);
    if (!how.resolve)
        return open_host(t, (int)a[0], path, (int)how.flags, how.mode);
    return CALL_HOST(t, openat2, a[0], (uint64_t)(uintptr_t)path, (uint64_t)(uintptr_t)&how,
                     sizeof how);
}

int64_t sys_readlinkat(struct thread *t, const uint64_t *a)
{
    char path[4096], found[4096];
    int64_t r = guest_string(t, a[1], path, sizeof path);
    if (r)
        return r;
    if (path_is_own_exe(path)) {
        size_t n = MIN(strlen(t->u->exe), a[3]);
        if ((int64_t)a[3] <= 0)
            return -EINVAL;
        return guest_write(t, a[2], t->u->exe, n) ? (int64_t)n : -EFAULT;
    }
    path_lookup(t->u, path, found, sizeof found, false);
    return CALL_HOST(t, readlinkat, a[0], (uint64_t)(uintptr_t)found, call_ptr(t, a[2]), a[3]);
}

// ---- status ----

// /proc/self/exe is the program, however the path is asked about.
static int64_t find_path(struct thread *t, uint64_t addr, char *found, bool follow)
{
    char path[4096];
    if (!addr)
        return -EFAULT;
    int64_t r = guest_string(t, addr, path, sizeof path);
    if (!r && follow && path_is_own_exe(path))
        snprintf(found, 4096, "%s", t->u->exe);
    else if (!r)
        path_lookup(t->u, path, found, 4096, follow);
    return r;
}

int64_t sys_newfstatat(struct thread *t, const uint64_t *a)
{
    struct stat s;
    char found[4096];
    int64_t r = find_path(t, a[1], found, !(a[3] & AT_SYMLINK_NOFOLLOW));
    if (r)
        return r;
    r = CALL_HOST(t, newfstatat, a[0], HOST_PTR(found), HOST_PTR(&s), a[3]);
    if (r)
        return r;
    return layout_write(t, LAYOUT_stat, a[2], &s) ? 0 : -EFAULT;
}

// The root of a program under -L is the prefix laid over the host's: chroot("/") leaves it at that,
// any other folder becomes a root without a prefix.
int64_t sys_chroot(struct thread *t, const uint64_t *a)
{
    char found[4096];
    struct stat root, prefix;
    int64_t r = find_path(t, a[0], found, true);
    if (r)
        return r;
    int *fd = &t->fds->prefix;
    bool same = *fd >= 0 &&
                !HOST_DO(newfstatat, (uint64_t)AT_FDCWD, HOST_PTR(found), HOST_PTR(&root), 0) &&
                !HOST_DO(fstat, (uint64_t)*fd, HOST_PTR(&prefix)) && root.st_dev == prefix.st_dev &&
                root.st_ino == prefix.st_ino;
    r = CALL_HOST(t, chroot, HOST_PTR(same ? "/" : found));
    if (!r && !same && *fd >= 0) {
        CALL_HOST(t, close, (uint64_t)*fd);
        *fd = -1;
    }
    return r;
}

int64_t sys_statx(struct thread *t, const uint64_t *a)
{
    char found[4096];
    int64_t r = find_path(t, a[1], found, !(a[2] & AT_SYMLINK_NOFOLLOW));
    if (r)
        return r;
    return CALL_HOST(t, statx, a[0], (uint64_t)(uintptr_t)found, a[2], a[3], call_ptr(t, a[4]));
}

int64_t sys_statfs64(struct thread *t, const uint64_t *a)
{
    const uint64_t plain[CALL_ARGS] = {a[0], a[2]};
    return a[1] == layout_size(t, LAYOUT_statfs) ? call_pass(t, CALL_statfs, plain) : -EINVAL;
}

int64_t sys_fstatfs64(struct thread *t, const uint64_t *a)
{
    const uint64_t plain[CALL_ARGS] = {a[0], a[2]};
    return a[1] == layout_size(t, LAYOUT_statfs) ? call_pass(t, CALL_fstatfs, plain) : -EINVAL;
}

int64_t sys_llseek(struct thread *t, const uint64_t *a)
{
    int64_t r = CALL_HOST(t, lseek, a[0], a[1] << 32 | (uint32_t)a[2], a[4]);
    return r < 0 ? r : guest_write(t, a[3], &r, sizeof r) ? 0 : -EFAULT;
}

// ---- vectors ----

int64_t iov_read(struct thread *t, uint64_t addr, uint64_t n, struct iovec **out)
{
    *out = NULL;
    if (n > IOV_LIMIT)
        return -EINVAL;
    struct iovec *v = xcalloc(n, sizeof *v);
    size_t size = layout_size(t, LAYOUT_iovec);
    bool same = layout_same(t, LAYOUT_iovec);
    bool ok = !same || !n || guest_read(t, addr, v, n * sizeof *v);
    for (uint64_t i = 0; i < n && ok && !same; i++)
        ok = layout_read(t, LAYOUT_iovec, addr + i * size, &v[i]);
    if (!ok) {
        free(v);
        return -EFAULT;
    }
    for (uint64_t i = 0; i < n; i++) {
        uint64_t at = mm_untag(&t->u->mm, (uint64_t)(uintptr_t)v[i].iov_base);
        v[i].iov_base = mm_host(&t->u->mm, at);
        if (v[i].iov_len && !mm_inside(&t->u->mm, at, v[i].iov_len)) {
            if ((int64_t)v[i].iov_len < 0) {
                free(v);
                return -EINVAL;
            }
            v[i].iov_len = at < t->u->mm.size ? t->u->mm.size - at + 1 : 1; // it faults there
        }
    }
    *out = v;
    return 0;
}

static int64_t vector_call(struct thread *t, long nr, const uint64_t *a, uint64_t flags)
{
    struct iovec *v;
    int64_t r = iov_read(t, a[1], a[2], &v);
    if (!r) {
        const uint64_t args[6] = {a[0], (uint64_t)(uintptr_t)v, a[2], a[3], 0, flags};
        r = call_host(t, nr, args);
    }
    free(v);
    return r;
}

int64_t sys_readv(struct thread *t, const uint64_t *a)
{
    return vector_call(t, SYS_readv, a, 0);
}
int64_t sys_writev(struct thread *t, const uint64_t *a)
{
    return vector_call(t, SYS_writev, a, 0);
}
int64_t sys_preadv(struct thread *t, const uint64_t *a)
{
    return vector_call(t, SYS_preadv, a, 0);
}
int64_t sys_pwritev(struct thread *t, const uint64_t *a)
{
    return vector_call(t, SYS_pwritev, a, 0);
}
int64_t sys_preadv2(struct thread *t, const uint64_t *a)
{
    return vector_call(t, SYS_preadv2, a, a[4]);
}
int64_t sys_pwritev2(struct thread *t, const uint64_t *a)
{
    return vector_call(t, SYS_pwritev2, a, a[4]);
}
int64_t sys_vmsplice(struct thread *t, const uint64_t *a)
{
    return vector_call(t, SYS_vmsplice, a, 0);
}

// ---- waiting ----

// Puts the call's own signal mask in force. NULL address: none.
static int64_t call_mask(struct thread *t, uint64_t addr, uint64_t size, uint64_t *host,
                         uint64_t *arg)
{
    *arg = 0;
    if (!addr)
        return 0;
    uint64_t mask;
    if (size != 8)
        return -EINVAL;
    if (!guest_read(t, addr, &mask, sizeof mask))
        return -EFAULT;
    signal_mask_for_call(t, mask);
    *host = signal_host_mask(mask);
    *arg = (uint64_t)(uintptr_t)host;
    return 0;
}

int64_t sys_ppoll(struct thread *t, const uint64_t *a)
{
    uint64_t mask, arg;
    int64_t r = call_mask(t, a[3], a[4], &mask, &arg);
    return r ? r : CALL_HOST(t, ppoll, call_ptr(t, a[0]), a[1], call_ptr(t, a[2]), arg, 8);
}

// A set of descriptors is an array of longs, of which the kernel uses as many as it needs.
static int64_t fd_set_read(struct thread *t, uint64_t addr, size_t n, uint64_t *out)
{
    return addr && !guest_read(t, addr, out, n) ? -EFAULT : 0;
}

int64_t sys_pselect6(struct thread *t, const uint64_t *a)
{
    enum { MOST = 1 << 20 }; // fs.nr_open
    struct host_sigset_arg want = {0};
    uint64_t mask, arg;
    if (a[5] && !layout_read(t, LAYOUT_sigset_arg, a[5], &want))
        return -EFAULT;
    int n = MIN((int)a[0], MOST), word = 8 * t->u->abi->data.long_size;
    if (n < 0)
        return -EINVAL;
    size_t bytes = (size_t)(n + word - 1) / (size_t)word * (size_t)word / 8;
    uint64_t *sets = xcalloc(3, bytes + 8), *set[3], args[3] = {0};
    int64_t r = call_mask(t, want.set, want.size, &mask, &arg);
    for (unsigned i = 0; i < 3 && !r; i++) {
        set[i] = sets + i * (bytes / 8 + 1);
        args[i] = a[1 + i] ? (uint64_t)(uintptr_t)set[i] : 0;
        r = fd_set_read(t, a[1 + i], bytes, set[i]);
    }
    const uint64_t host[2] = {arg, 8};
    if (!r)
        r = CALL_HOST(t, pselect6, (uint64_t)n, args[0], args[1], args[2], call_ptr(t, a[4]),
                      (uint64_t)(uintptr_t)host);
    for (unsigned i = 0; i < 3 && r >= 0; i++)
        if (args[i] && !guest_write(t, a[1 + i], set[i], bytes))
            r = -EFAULT;
    free(sets);
    return r;
}

int64_t sys_epoll_ctl(struct thread *t, const uint64_t *a)
{
    struct epoll_event e = {0};
    if (a[1] != EPOLL_CTL_DEL && !layout_read(t, LAYOUT_epoll_event, a[3], &e))
        return -EFAULT;
    return CALL_HOST(t, epoll_ctl, a[0], a[1], a[2], (uint64_t)(uintptr_t)&e);
}

static int64_t epoll_wait_call(struct thread *t, long nr, const uint64_t *a, uint64_t timeout)
{
    enum { MOST = 65536 };
    uint64_t mask, arg, n = MIN(a[2], (uint64_t)MOST);
    if ((int)a[2] <= 0)
        return -EINVAL;
    int64_t r = call_mask(t, a[4], a[5], &mask, &arg);
    if (r)
        return r;
    struct epoll_event *e = xcalloc(n, sizeof *e);
    const uint64_t args[6] = {a[0], (uint64_t)(uintptr_t)e, n, timeout, arg, 8};
    r = call_host(t, nr, args);
    size_t size = layout_size(t, LAYOUT_epoll_event);
    for (int64_t i = 0; i < r; i++)
        if (!layout_write(t, LAYOUT_epoll_event, a[1] + (uint64_t)i * size, &e[i]))
            r = -EFAULT;
    free(e);
    return r;
}

int64_t sys_epoll_pwait(struct thread *t, const uint64_t *a)
{
    return epoll_wait_call(t, SYS_epoll_pwait, a, a[3]);
}

int64_t sys_epoll_pwait2(struct thread *t, const uint64_t *a)
{
    return epoll_wait_call(t, SYS_epoll_pwait2, a, call_ptr(t, a[3]));
}

int64_t sys_signalfd4(struct thread *t, const uint64_t *a)
{
    uint64_t mask;
    if (a[2] != 8)
        return -EINVAL;
    if (!guest_read(t, a[1], &mask, sizeof mask))
        return -EFAULT;
    return CALL_HOST(t, signalfd4, a[0], (uint64_t)(uintptr_t)&mask, 8, a[3]);
}
