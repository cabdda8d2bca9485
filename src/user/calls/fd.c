// Descriptors of the emulator's own, which the program neither sees nor uses: they lie high, calls
// that name one find nothing there, and where the program wants the number for itself they move.
#include "user/calls.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/vfs.h>
#include <unistd.h>

static int *own(struct thread *t, int fd)
{
    int *const fds[] = {&t->fds->self, &t->fds->prefix, &t->fds->log};
    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
        if (fd >= 0 && *fds[i] == fd)
            return fds[i];
    return NULL;
}

bool fd_names_own(struct thread *t, const struct call *c, const uint64_t *a)
{
    for (unsigned i = 0; i < CALL_ARGS; i++)
        if ((c->kinds[i] == K_FD || c->kinds[i] == K_DIRFD) && unlikely(own(t, (int)a[i])))
            return true;
    return false;
}

int64_t sys_dup3(struct thread *t, const uint64_t *a)
{
    int *mine = own(t, (int)a[1]);
    int64_t fresh = mine ? HOST_DO(fcntl, (uint64_t)*mine, F_DUPFD_CLOEXEC, USER_OWN_FDS) : 0;
    if (fresh < 0)
        return fresh;
    if (mine)
        *mine = (int)fresh; // the old number is about to be replaced
    return CALL_HOST(t, dup3, a[0], a[1], (uint64_t)open_flags_swap(t, (int)a[2], true));
}

int64_t sys_close_range(struct thread *t, const uint64_t *a)
{
    uint32_t first = (uint32_t)a[0], last = (uint32_t)a[1];
    if (first > last)
        return -EINVAL;
    while (first <= last) {
        uint32_t mine = UINT32_MAX; // the lowest of ours in the rest of the range
        const int fds[] = {t->fds->self, t->fds->prefix, t->fds->log};
        for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
            if (fds[i] >= 0 && (uint32_t)fds[i] >= first && (uint32_t)fds[i] <= last)
                mine = MIN(mine, (uint32_t)fds[i]);
        if (mine != first) {
            int64_t r =
                CALL_HOST(t, close_range, first, mine == UINT32_MAX ? last : mine - 1, a[2]);
            if (r)
                return r;
        }
        if (mine == UINT32_MAX)
            break;
        first = mine + 1;
    }
    return 0;
}

// Is it this process's /proc/PID/fd or fdinfo, or a thread's?
static bool lists_descriptors(int fd)
{
    enum { PROC = 0x9fa0 }; // linux/magic.h
    struct statfs fs;
    char link[64], path[256];
    int pid, at = 0;
    if (HOST_DO(fstatfs, (uint64_t)fd, HOST_PTR(&fs)) || fs.f_type != PROC)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int64_t n =
        HOST_DO(readlinkat, (uint64_t)AT_FDCWD, HOST_PTR(link), HOST_PTR(path), sizeof path - 1);
    if (n <= 0)
        return false;
    path[n] = 0;
    if (sscanf(path, "/proc/%d/%n", &pid, &at) < 1 || !at || pid != (int)HOST_DO(getpid, 0))
        return false;
    const char *last = strrchr(path, '/');
    return !strcmp(last, "/fd") || !strcmp(last, "/fdinfo");
}

// Takes our entries out of n bytes of them; what remains.
static size_t drop_own(struct thread *t, char *list, size_t n)
{
    size_t kept = 0;
    for (size_t at = 0; at < n;) {
        const struct dirent64 *d = (const struct dirent64 *)(list + at);
        size_t size = d->d_reclen;
        char *end;
        unsigned long number = strtoul(d->d_name, &end, 10);
        if (end == d->d_name || *end || !own(t, (int)number)) {
            memmove(list + kept, list + at, size);
            kept += size;
        }
        at += size;
    }
    return kept;
}

int64_t sys_getdents64(struct thread *t, const uint64_t *a)
{
    int64_t r = CALL_HOST(t, getdents64, a[0], call_ptr(t, a[1]), a[2]);
    while (r > 0 && lists_descriptors((int)a[0])) {
        char *list = xalloc((size_t)r);
        bool ok = guest_read(t, a[1], list, (size_t)r);
        size_t kept = ok ? drop_own(t, list, (size_t)r) : 0;
        ok = ok && guest_write(t, a[1], list, kept);
        free(list);
        if (!ok)
            return -EFAULT;
        if (kept)
            return (int64_t)kept;
        r = CALL_HOST(t, getdents64, a[0], call_ptr(t, a[1]), a[2]); // nothing left: the next ones
    }
    return r;
}
