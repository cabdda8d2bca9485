// A pseudo-terminal (pty(7)). Its slave comes and goes: while nobody has it open, output is dropped
// and nothing is polled; inotify tells when somebody opens it, or a slow timer where inotify is not
// to be had.
#include "chardev/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"

#define POLL_NS 500000000ll

struct pty_chardev {
    struct chardev c;
    struct chr_stream s; // over a copy of master while a slave is open
    int master, notify;
    struct loop_fd *notify_watch;
    struct loop_timer poll;
    char slave[64];
    char *link; // path=, a symbolic link to the slave
};

static struct pty_chardev *of(struct chardev *c)
{
    return container_of(c, struct pty_chardev, c);
}

static void check_slave(struct pty_chardev *p)
{
    struct pollfd f = {.fd = p->master, .events = POLLIN};
    bool here = poll(&f, 1, 0) >= 0 && !(f.revents & POLLHUP);
    if (here && p->s.in_fd < 0) {
        int fd = fcntl(p->master, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return;
        chr_stream_start(&p->s, fd, fd);
        chr_be_set_open(&p->c, true);
    } else if (!here && p->notify < 0) {
        loop_timer_set(&p->poll, host_monotonic_ns() + POLL_NS);
    }
}

static void slave_gone(struct pty_chardev *p)
{
    if (p->s.in_fd < 0)
        return;
    chr_stream_stop(&p->s);
    chr_be_set_open(&p->c, false);
    check_slave(p);
}

static void stream_ended(struct chardev *c, int errnum)
{
    slave_gone(of(c));
}

static void pty_broken(struct chardev *c)
{
    slave_gone(of(c));
}

static void ready_notify(void *opaque, unsigned events)
{
    struct pty_chardev *p = opaque;
    char drop[1024];
    while (read(p->notify, drop, sizeof drop) > 0)
        continue;
    check_slave(p);
}

static void poll_fired(void *opaque)
{
    check_slave(opaque);
}

// Raw from the start; opening and closing it once also makes the master report that nobody is
// there.
static int prepare_slave(struct pty_chardev *p, struct err *e)
{
    struct termios t;
    int fd = open(p->slave, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, errno, "%s", p->slave);
    if (!tcgetattr(fd, &t)) {
        cfmakeraw(&t);
        tcsetattr(fd, TCSANOW, &t);
    }
    close(fd);
    return 0;
}

static void watch_slave(struct pty_chardev *p)
{
    p->notify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (p->notify >= 0 && inotify_add_watch(p->notify, p->slave, IN_OPEN) < 0) {
        close(p->notify);
        p->notify = -1;
    }
    if (p->notify >= 0)
        p->notify_watch = loop_fd_add(p->c.loop, p->notify, LOOP_IN, ready_notify, p);
}

static int pty_open(struct chardev *c, struct opts *o, struct err *e)
{
    struct pty_chardev *p = of(c);
    const char *link = opts_get(o, "path");
    p->notify = -1;
    chr_stream_init(&p->s, c);
    p->s.ended = stream_ended;
    loop_timer_init(&p->poll, c->loop, NULL, poll_fired, p);
    p->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (p->master < 0)
        return err_errno(e, errno, "cannot make a pseudo-terminal");
    if (grantpt(p->master) || unlockpt(p->master) ||
        ptsname_r(p->master, p->slave, sizeof p->slave))
        return err_errno(e, errno, "cannot make a pseudo-terminal");
    if (prepare_slave(p, e))
        return -1;
    if (link) {
        if (symlink(p->slave, link))
            return err_errno(e, errno, "path=%s", link);
        p->link = xstrdup(link);
    }
    watch_slave(p);
    check_slave(p);
    // Scripts read the name from this line.
    printf("char device redirected to %s (label %s)\n", p->slave, c->id);
    fflush(stdout);
    return 0;
}

static void pty_close(struct chardev *c)
{
    struct pty_chardev *p = of(c);
    chr_stream_stop(&p->s);
    loop_timer_cancel(&p->poll);
    loop_fd_del(p->notify_watch);
    if (p->notify >= 0)
        close(p->notify);
    if (p->master >= 0)
        close(p->master);
    if (p->link)
        unlink(p->link);
    free(p->link);
}

static ssize_t pty_write(struct chardev *c, const uint8_t *b, size_t n)
{
    return chr_stream_write(&of(c)->s, b, n);
}

static void pty_accept_input(struct chardev *c)
{
    chr_stream_accept_input(&of(c)->s);
}

static void pty_describe(struct chardev *c, struct buf *out)
{
    buf_printf(out, "pty:%s", of(c)->slave);
}

static const char *const pty_keys[] = {"path", NULL};

const struct chardev_type chardev_pty = {
    .name = "pty",
    .help = "[path=LINK]: a new pseudo-terminal, reported by name",
    .keys = pty_keys,
    .size = sizeof(struct pty_chardev),
    .open = pty_open,
    .close = pty_close,
    .write = pty_write,
    .broken = pty_broken,
    .accept_input = pty_accept_input,
    .describe = pty_describe,
};
