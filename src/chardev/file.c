// Output to a file, optionally input from another (-chardev file). Named pipes work as files here.
#include "chardev/stream.h"

#include <errno.h>
#include <fcntl.h>

#include "base/sock.h"

struct file_chardev {
    struct chardev c;
    struct chr_stream s;
};

static struct file_chardev *of(struct chardev *c)
{
    return container_of(c, struct file_chardev, c);
}

static int open_output(const char *path, const char *fd, bool append, struct err *e)
{
    if (!path == !fd)
        return err_set(e, "give path=FILE, or fd=N of an open file");
    if (fd)
        return sock_adopt_fd(fd, e);
    int out = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0666);
    return out < 0 ? err_errno(e, errno, "%s", path) : out;
}

static int file_open(struct chardev *c, struct opts *o, struct err *e)
{
    struct file_chardev *f = of(c);
    const char *path = opts_get(o, "path"), *input = opts_get(o, "input-path");
    bool append = false;
    chr_stream_init(&f->s, c);
    if (opts_get_bool(o, "append", &append, e))
        return -1;
    int out = open_output(path, opts_get(o, "fd"), append, e);
    if (out < 0)
        return -1;
    fd_set_nonblock(out); // only now: opening a named pipe waits for its reader
    int in = input ? open(input, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    chr_stream_start(&f->s, in, out);
    if (input && in < 0)
        return err_errno(e, errno, "%s", input);
    chr_be_set_open(c, true);
    return 0;
}

static void file_close(struct chardev *c)
{
    chr_stream_stop(&of(c)->s);
}

static ssize_t file_write(struct chardev *c, const uint8_t *p, size_t n)
{
    ssize_t r = chr_stream_write(&of(c)->s, p, n);
    return r < 0 ? (ssize_t)n : r; // a full disk loses output, not the machine
}

static void file_accept_input(struct chardev *c)
{
    chr_stream_accept_input(&of(c)->s);
}

static const char *const file_keys[] = {"append", "fd", "input-path", "path", NULL};

const struct chardev_type chardev_file = {
    .name = "file",
    .help = "path=FILE[,append=on] | fd=N [,input-path=FILE]",
    .keys = file_keys,
    .size = sizeof(struct file_chardev),
    .open = file_open,
    .close = file_close,
    .write = file_write,
    .accept_input = file_accept_input,
};
