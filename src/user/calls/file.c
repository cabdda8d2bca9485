// Files and descriptors: what the host's call of the same name does not do by itself. struct stat
// is Linux's generic one (asm-generic/stat.h).
#include "user/calls.h"
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

int64_t sys_fcntl(struct thread *t, const uint64_t *a)
{
    uint64_t arg = a[2];
    int64_t r;
    switch ((int)a[1]) {
    case F_SETFL:
        arg = (uint64_t)open_flags_swap(t, (int)arg, true);
        break;
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
    case F_GETOWN_EX:
    case F_SETOWN_EX:
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
    bool creates = (flags & (O_CREAT | O_TMPFILE)) != 0;
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

struct guest_stat {
    uint64_t dev, ino;
    uint32_t mode, nlink, uid, gid;
    uint64_t rdev, pad1;
    int64_t size;
    int32_t blksize, pad2;
    int64_t blocks;
    int64_t atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns;
    uint32_t unused[2];
};
_Static_assert(sizeof(struct guest_stat) == 128, "asm-generic/stat.h");

static int64_t put_stat(struct thread *t, uint64_t addr, const struct stat *s)
{
    struct guest_stat g = {.dev = s->st_dev,
                           .ino = s->st_ino,
                           .mode = s->st_mode,
                           .nlink = (uint32_t)s->st_nlink,
                           .uid = s->st_uid,
                           .gid = s->st_gid,
                           .rdev = s->st_rdev,
                           .size = s->st_size,
                           .blksize = (int32_t)s->st_blksize,
                           .blocks = s->st_blocks,
                           .atime = s->st_atim.tv_sec,
                           .atime_ns = s->st_atim.tv_nsec,
                           .mtime = s->st_mtim.tv_sec,
                           .mtime_ns = s->st_mtim.tv_nsec,
                           .ctime = s->st_ctim.tv_sec,
                           .ctime_ns = s->st_ctim.tv_nsec};
    return guest_write(t, addr, &g, sizeof g) ? 0 : -EFAULT;
}

int64_t sys_fstat(struct thread *t, const uint64_t *a)
{
    struct stat s;
    return fstat((int)a[0], &s) ? -errno : put_stat(t, a[1], &s);
}

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
    return fstatat((int)a[0], found, &s, (int)a[3]) ? -errno : put_stat(t, a[2], &s);
}

int64_t sys_statx(struct thread *t, const uint64_t *a)
{
    char found[4096];
    int64_t r = find_path(t, a[1], found, !(a[2] & AT_SYMLINK_NOFOLLOW));
    if (r)
        return r;
    return CALL_HOST(t, statx, a[0], (uint64_t)(uintptr_t)found, a[2], a[3], call_ptr(t, a[4]));
}

// ---- vectors ----

int64_t iov_read(struct thread *t, uint64_t addr, uint64_t n, struct iovec **out)
{
    *out = NULL;
    if (n > IOV_LIMIT)
        return -EINVAL;
    struct iovec *v = xcalloc(n, sizeof *v);
    if (n && !guest_read(t, addr, v, n * sizeof *v)) {
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

static int64_t vector_call(struct thread *t, long nr, const uint64_t *a)
{
    struct iovec *v;
    int64_t r = iov_read(t, a[1], a[2], &v);
    if (!r) {
        const uint64_t args[6] = {a[0], (uint64_t)(uintptr_t)v, a[2], a[3], a[4], a[5]};
        r = host_call(nr, args, &t->captured);
    }
    free(v);
    return r;
}

int64_t sys_readv(struct thread *t, const uint64_t *a)
{
    return vector_call(t, SYS_readv, a);
}
int64_t sys_writev(struct thread *t, const uint64_t *a)
{
    return vector_call(t, SYS_writev, a);
}
int64_t sys_preadv(struct thread *t, const uint64_t *a)
{
    return vector_call(t, SYS_preadv, a);
}
int64_t sys_pwritev(struct thread *t, const uint64_t *a)
{
    return vector_call(t, SYS_pwritev, a);
}
int64_t sys_preadv2(struct thread *t, const uint64_t *a)
{
    return vector_call(t, SYS_preadv2, a);
}
int64_t sys_pwritev2(struct thread *t, const uint64_t *a)
{
    return vector_call(t, SYS_pwritev2, a);
}
int64_t sys_vmsplice(struct thread *t, const uint64_t *a)
{
    return vector_call(t, SYS_vmsplice, a);
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
    if (!guest_read_u64(t, addr, &mask))
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

int64_t sys_pselect6(struct thread *t, const uint64_t *a)
{
    uint64_t pair[2] = {0}, host[2] = {0, 8}, mask, arg;
    if (a[5] && !guest_read(t, a[5], pair, sizeof pair))
        return -EFAULT;
    int64_t r = call_mask(t, pair[0], pair[1], &mask, &arg);
    host[0] = arg;
    return r ? r
             : CALL_HOST(t, pselect6, a[0], call_ptr(t, a[1]), call_ptr(t, a[2]), call_ptr(t, a[3]),
                         call_ptr(t, a[4]), (uint64_t)(uintptr_t)host);
}

// The host's struct epoll_event may be packed; the guest's is not.
struct guest_epoll_event {
    uint32_t events, pad;
    uint64_t data;
};

int64_t sys_epoll_ctl(struct thread *t, const uint64_t *a)
{
    struct guest_epoll_event g = {0};
    if (a[1] != EPOLL_CTL_DEL && !guest_read(t, a[3], &g, sizeof g))
        return -EFAULT;
    struct epoll_event e = {.events = g.events, .data.u64 = g.data};
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
    r = host_call(nr, args, &t->captured);
    for (int64_t i = 0; i < r; i++) {
        struct guest_epoll_event g = {.events = e[i].events, .data = e[i].data.u64};
        if (!guest_write(t, a[1] + (uint64_t)i * sizeof g, &g, sizeof g))
            r = -EFAULT;
    }
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
    if (!guest_read_u64(t, a[1], &mask))
        return -EFAULT;
    return CALL_HOST(t, signalfd4, a[0], (uint64_t)(uintptr_t)&mask, 8, a[3]);
}
