// Descriptor sets over fcntl(2). A duplicate shares offset and status flags with the original, as
// everywhere in POSIX; users that care pass one descriptor per use.
#include "block/protocol/fdset.h"
#include "base/opt.h"
#include "base/vec.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct fdsets {
    VEC(struct fdset_fd) fds; // in order of their sets
};

struct fdsets *fdsets_new(void)
{
    return xalloc(sizeof(struct fdsets));
}

static void drop(struct fdsets *s, size_t i)
{
    close(s->fds.data[i].fd);
    free(s->fds.data[i].opaque);
    vec_remove(&s->fds, i);
}

void fdsets_free(struct fdsets *s)
{
    if (!s)
        return;
    while (s->fds.len)
        drop(s, s->fds.len - 1);
    vec_free(&s->fds);
    free(s);
}

static int64_t free_number(const struct fdsets *s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s->fds.len && s->fds.data[i].set <= n; i++)
        n = s->fds.data[i].set + 1;
    return n;
}

int64_t fdsets_add(struct fdsets *s, int64_t set, int fd, const char *opaque, struct err *e)
{
    if (set < -1) {
        close(fd);
        return err_set(e, "a set of descriptors has a number from 0 on");
    }
    set = set < 0 ? free_number(s) : set;
    struct fdset_fd entry = {set, fd, opaque ? xstrdup(opaque) : NULL};
    vec_push(&s->fds, entry);
    size_t at = s->fds.len - 1;
    for (; at && s->fds.data[at - 1].set > set; at--)
        s->fds.data[at] = s->fds.data[at - 1];
    s->fds.data[at] = entry;
    return set;
}

int fdsets_remove(struct fdsets *s, int64_t set, int fd, struct err *e)
{
    bool found = false;
    for (size_t i = s->fds.len; i-- > 0;) {
        if (s->fds.data[i].set != set || (fd >= 0 && s->fds.data[i].fd != fd))
            continue;
        drop(s, i);
        found = true;
    }
    if (found)
        return 0;
    return fd < 0 ? err_set(e, "File descriptor named 'fdset-id:%lld' not found", (long long)set)
                  : err_set(e, "File descriptor named 'fdset-id:%lld, fd:%d' not found",
                            (long long)set, fd);
}

const struct fdset_fd *fdsets_at(const struct fdsets *s, size_t i)
{
    return i < s->fds.len ? &s->fds.data[i] : NULL;
}

static int duplicate(int from, int flags)
{
    static const int status = O_APPEND | O_NONBLOCK | O_DIRECT;
    int fd = fcntl(from, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return -1;
    int have = fcntl(fd, F_GETFL);
    if (have >= 0 && ((have ^ flags) & status) &&
        fcntl(fd, F_SETFL, (have & ~status) | (flags & status)) < 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    if ((flags & O_TRUNC) && ftruncate(fd, 0) && errno != EINVAL) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

// The descriptor of the set with this access mode, else one that can both read and write; -1.
static int fitting(const struct fdsets *s, uint64_t set, int mode)
{
    int both = -1;
    errno = ENOENT;
    for (size_t i = 0; s && i < s->fds.len; i++) {
        const struct fdset_fd *f = &s->fds.data[i];
        if ((uint64_t)f->set != set)
            continue;
        errno = EBADF;
        int have = fcntl(f->fd, F_GETFL);
        if (have >= 0 && (have & O_ACCMODE) == mode)
            return f->fd;
        if (have >= 0 && (have & O_ACCMODE) == O_RDWR)
            both = f->fd;
    }
    return both;
}

int fdsets_open(const struct fdsets *s, const char *path, int flags, unsigned mode)
{
    static const char prefix[] = "/dev/fdset/";
    uint64_t set;
    if (strncmp(path, prefix, sizeof prefix - 1))
        return open(path, flags, mode);
    errno = ENOENT;
    if (parse_u64(path + sizeof prefix - 1, &set))
        return -1;
    int fd = fitting(s, set, flags & O_ACCMODE);
    return fd < 0 ? -1 : duplicate(fd, flags);
}
