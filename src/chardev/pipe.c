// Named pipes: PATH.in and PATH.out when they exist, else PATH both ways. Opened for reading and
// writing, so that neither side waits for the other to come.
#include "chardev/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct pipe_chardev {
    struct chardev c;
    struct chr_stream s;
};

static struct pipe_chardev *of(struct chardev *c)
{
    return container_of(c, struct pipe_chardev, c);
}

static int open_side(const char *path, const char *suffix)
{
    char *name = xasprintf("%s%s", path, suffix);
    int fd = open(name, O_RDWR | O_CLOEXEC | O_NONBLOCK), errnum = errno;
    free(name);
    errno = errnum;
    return fd;
}

static int pipe_open(struct chardev *c, struct opts *o, struct err *e)
{
    struct pipe_chardev *p = of(c);
    const char *path = opts_get(o, "path");
    chr_stream_init(&p->s, c);
    if (!path)
        return err_set(e, "path=PIPE is missing");
    int in = open_side(path, ".in"), out = open_side(path, ".out");
    if (in < 0 || out < 0) {
        if (in >= 0)
            close(in);
        if (out >= 0)
            close(out);
        in = out = open_side(path, "");
        if (in < 0)
            return err_errno(e, errno, "%s (make it with mkfifo %s.in %s.out)", path, path, path);
    }
    chr_stream_start(&p->s, in, out);
    chr_be_set_open(c, true);
    return 0;
}

static void pipe_close(struct chardev *c)
{
    chr_stream_stop(&of(c)->s);
}

static ssize_t pipe_write(struct chardev *c, const uint8_t *p, size_t n)
{
    return chr_stream_write(&of(c)->s, p, n);
}

static void pipe_accept_input(struct chardev *c)
{
    chr_stream_accept_input(&of(c)->s);
}

static const char *const pipe_keys[] = {"path", NULL};

const struct chardev_type chardev_pipe = {
    .name = "pipe",
    .help = "path=PIPE: named pipes PIPE.in and PIPE.out, or PIPE both ways",
    .keys = pipe_keys,
    .size = sizeof(struct pipe_chardev),
    .open = pipe_open,
    .close = pipe_close,
    .write = pipe_write,
    .accept_input = pipe_accept_input,
};
