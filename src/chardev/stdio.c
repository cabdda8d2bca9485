// Standard input and output as a console. A terminal is put in raw mode; files, pipes and a closed
// stdin work too: at the end of the input, output goes on. The descriptors are reopened or copied,
// so that making them non-blocking does not change them for other processes.
#include "chardev/stream.h"
#include "chardev/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct stdio_chardev {
    struct chardev c;
    struct chr_stream s;
    bool claimed;
    int saved_flags[2]; // of a descriptor that could not be reopened, else -1
};

static atomic_flag stdio_taken = ATOMIC_FLAG_INIT; // the process has one

static struct stdio_chardev *of(struct chardev *c)
{
    return container_of(c, struct stdio_chardev, c);
}

// A non-blocking descriptor of our own for standard descriptor `std`, or -1 when that is closed.
static int take_side(struct stdio_chardev *d, int std, int mode)
{
    struct stat st;
    int fl = fcntl(std, F_GETFL), fd = -1;
    if (fl < 0 || fstat(std, &st))
        return -1;
    if (S_ISFIFO(st.st_mode) || isatty(std)) {
        char *path = xasprintf("/proc/self/fd/%d", std);
        fd = open(path, mode | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        free(path);
    }
    if (fd >= 0)
        return fd;
    fd = fcntl(std, F_DUPFD_CLOEXEC, 3);
    if (fd >= 0 && !S_ISREG(st.st_mode) && !(fl & O_NONBLOCK)) {
        d->saved_flags[std] = fl;
        fcntl(fd, F_SETFL, fl | O_NONBLOCK);
    }
    return fd;
}

static int stdio_open(struct chardev *c, struct opts *o, struct err *e)
{
    struct stdio_chardev *d = of(c);
    bool signals = true;
    d->saved_flags[0] = d->saved_flags[1] = -1;
    chr_stream_init(&d->s, c);
    if (opts_get_bool(o, "signal", &signals, e))
        return -1;
    if (atomic_flag_test_and_set(&stdio_taken))
        return err_set(e, "stdio is already used by another chardev; share it with mux=on");
    d->claimed = true;
    int in = take_side(d, STDIN_FILENO, O_RDONLY), out = take_side(d, STDOUT_FILENO, O_WRONLY);
    tty_enter(STDIN_FILENO, signals);
    chr_stream_start(&d->s, in, out);
    chr_be_set_open(c, true);
    return 0;
}

static void stdio_close(struct chardev *c)
{
    struct stdio_chardev *d = of(c);
    chr_stream_stop(&d->s);
    if (!d->claimed)
        return;
    for (int fd = 0; fd < 2; fd++)
        if (d->saved_flags[fd] >= 0)
            fcntl(fd, F_SETFL, d->saved_flags[fd]);
    tty_leave();
    atomic_flag_clear(&stdio_taken);
}

static ssize_t stdio_write(struct chardev *c, const uint8_t *p, size_t n)
{
    ssize_t r = chr_stream_write(&of(c)->s, p, n);
    return r < 0 ? (ssize_t)n : r; // a reader that left does not stop the machine
}

static void stdio_accept_input(struct chardev *c)
{
    chr_stream_accept_input(&of(c)->s);
}

static const char *const stdio_keys[] = {"signal", NULL};

const struct chardev_type chardev_stdio = {
    .name = "stdio",
    .help = "[signal=off][,mux=on]: standard input and output",
    .keys = stdio_keys,
    .size = sizeof(struct stdio_chardev),
    .open = stdio_open,
    .close = stdio_close,
    .write = stdio_write,
    .accept_input = stdio_accept_input,
};
