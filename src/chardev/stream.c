// The descriptor pair behind stdio, files, pipes, ptys, serial ports and sockets.
#include "chardev/stream.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#define READ_CHUNK 4096

static void ready_in(void *opaque, unsigned events);
static void ready_out(void *opaque, unsigned events);

static void watch(struct chr_stream *s, struct loop_fd **w, int fd, unsigned events,
                  void (*ready)(void *, unsigned))
{
    if (*w)
        loop_fd_set(*w, events);
    else if (events)
        *w = loop_fd_add(s->c->loop, fd, events, ready, s);
}

static void apply(struct chr_stream *s)
{
    unsigned in = s->reading ? LOOP_IN : 0, out = s->want_out ? LOOP_OUT : 0;
    if (s->in_fd == s->out_fd) {
        watch(s, &s->in_watch, s->in_fd, in | out, ready_in);
        return;
    }
    watch(s, &s->in_watch, s->in_fd, in, ready_in);
    watch(s, &s->out_watch, s->out_fd, out, ready_out);
}

static void update(struct chr_stream *s)
{
    s->reading = s->in_fd >= 0 && !s->eof && chr_be_can_receive(s->c);
    apply(s);
}

static void read_some(struct chr_stream *s)
{
    uint8_t chunk[READ_CHUNK];
    size_t room = MIN(chr_be_can_receive(s->c), sizeof chunk);
    if (room) {
        ssize_t n = s->read ? s->read(s->c, chunk, room) : read(s->in_fd, chunk, room);
        if (n > 0) {
            chr_be_receive(s->c, chunk, (size_t)n);
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            s->eof = true;
            update(s);
            if (s->ended)
                s->ended(s->c, n ? errno : 0);
            return;
        }
    }
    update(s);
}

static void ready_in(void *opaque, unsigned events)
{
    struct chr_stream *s = opaque;
    if (s->want_out && (events & (LOOP_OUT | LOOP_HUP | LOOP_ERR)))
        ready_out(s, events);
    // Writing may have found the peer gone and stopped the stream.
    if (s->in_fd >= 0 && !s->eof && (events & (LOOP_IN | LOOP_HUP | LOOP_ERR)))
        read_some(s);
}

static void ready_out(void *opaque, unsigned events)
{
    struct chr_stream *s = opaque;
    s->want_out = false;
    apply(s);
    chr_be_writable(s->c);
}

void chr_stream_init(struct chr_stream *s, struct chardev *c)
{
    s->c = c;
    s->in_fd = s->out_fd = -1;
    // A reader that goes away is a failed write, not the end of the process.
    struct sigaction sa;
    if (!sigaction(SIGPIPE, NULL, &sa) && sa.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

void chr_stream_start(struct chr_stream *s, int in_fd, int out_fd)
{
    s->in_fd = in_fd;
    s->out_fd = out_fd;
    s->eof = s->want_out = false;
    s->c->out_fd = out_fd;
    update(s);
}

void chr_stream_stop(struct chr_stream *s)
{
    if (!s->c)
        return;
    int in = s->in_fd, out = s->out_fd;
    loop_fd_del(s->in_watch);
    loop_fd_del(s->out_watch);
    s->in_watch = s->out_watch = NULL;
    s->in_fd = s->out_fd = s->c->out_fd = -1;
    s->want_out = s->reading = false;
    if (in >= 0)
        close(in);
    if (out >= 0 && out != in)
        close(out);
}

void chr_stream_accept_input(struct chr_stream *s)
{
    if (s->in_fd >= 0)
        update(s);
}

void chr_stream_want_out(struct chr_stream *s)
{
    s->want_out = true;
    apply(s); // the output lock may be held: no question to the front end here
}

ssize_t chr_stream_write(struct chr_stream *s, const uint8_t *p, size_t n)
{
    if (s->out_fd < 0 || !n)
        return (ssize_t)n;
    ssize_t r;
    do
        r = write(s->out_fd, p, n);
    while (r < 0 && errno == EINTR);
    if (r < 0) {
        if (errno != EAGAIN)
            return -1;
        r = 0;
    }
    if ((size_t)r < n)
        chr_stream_want_out(s);
    return r;
}
