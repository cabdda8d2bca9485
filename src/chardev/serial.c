// A serial port of the host, or any terminal device, in raw mode. Line parameters are left as they
// are set.
#include "chardev/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

struct serial_chardev {
    struct chardev c;
    struct chr_stream s;
};

static struct serial_chardev *of(struct chardev *c)
{
    return container_of(c, struct serial_chardev, c);
}

static int serial_open(struct chardev *c, struct opts *o, struct err *e)
{
    struct serial_chardev *s = of(c);
    const char *path = opts_get(o, "path");
    struct termios t;
    chr_stream_init(&s->s, c);
    if (!path)
        return err_set(e, "path=DEVICE is missing");
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return err_errno(e, errno, "%s", path);
    if (tcgetattr(fd, &t)) {
        close(fd);
        return err_set(e, "%s: not a serial port or terminal", path);
    }
    cfmakeraw(&t);
    tcsetattr(fd, TCSANOW, &t);
    chr_stream_start(&s->s, fd, fd);
    chr_be_set_open(c, true);
    return 0;
}

static void serial_close(struct chardev *c)
{
    chr_stream_stop(&of(c)->s);
}

static ssize_t serial_write(struct chardev *c, const uint8_t *p, size_t n)
{
    return chr_stream_write(&of(c)->s, p, n);
}

static void serial_accept_input(struct chardev *c)
{
    chr_stream_accept_input(&of(c)->s);
}

static const char *const serial_keys[] = {"path", NULL};

const struct chardev_type chardev_serial = {
    .name = "serial",
    .help = "path=DEVICE: a serial port of the host",
    .keys = serial_keys,
    .size = sizeof(struct serial_chardev),
    .open = serial_open,
    .close = serial_close,
    .write = serial_write,
    .accept_input = serial_accept_input,
};
