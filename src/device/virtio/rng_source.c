// Random bytes from the host.
#include "device/virtio/rng_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

struct rng_source {
    int fd; // -1: getrandom
};

struct rng_source *rng_source_open(const char *path, struct err *e)
{
    struct rng_source *s = xalloc(sizeof *s);
    s->fd = path ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
    if (path && s->fd < 0) {
        err_errno(e, errno, "rng-random: %s", path);
        free(s);
        return NULL;
    }
    return s;
}

void rng_source_close(struct rng_source *s)
{
    if (s && s->fd >= 0)
        close(s->fd);
    free(s);
}

size_t rng_source_read(struct rng_source *s, void *dst, size_t n)
{
    ssize_t got = s && s->fd >= 0 ? read(s->fd, dst, n) : getrandom(dst, n, GRND_NONBLOCK);
    return got > 0 ? (size_t)got : 0;
}
