// UDP as a byte stream: each write is a datagram, each datagram is read as bytes. Nothing is
// retransmitted.
#include "chardev/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/sock.h"

struct udp_chardev {
    struct chardev c;
    struct chr_stream s;
};

static struct udp_chardev *of(struct chardev *c)
{
    return container_of(c, struct udp_chardev, c);
}

static ssize_t udp_read(struct chardev *c, uint8_t *p, size_t n)
{
    ssize_t r = recv(of(c)->s.in_fd, p, n, 0);
    if (r == 0 || (r < 0 && errno == ECONNREFUSED)) {
        errno = EAGAIN; // an empty datagram, or nobody there yet
        return -1;
    }
    return r;
}

static int udp_open(struct chardev *c, struct opts *o, struct err *e)
{
    struct udp_chardev *u = of(c);
    const char *host = opts_get(o, "host"), *port = opts_get(o, "port");
    const char *localaddr = opts_get(o, "localaddr"), *localport = opts_get(o, "localport");
    struct sock_addr local, remote;
    chr_stream_init(&u->s, c);
    u->s.read = udp_read;
    if (!port)
        return err_set(e, "port=N is missing");
    if (sock_resolve(&remote, host, port, AF_UNSPEC, SOCK_DGRAM, false, e) ||
        sock_resolve(&local, localaddr, localport ? localport : "0", remote.sa.ss_family,
                     SOCK_DGRAM, true, e))
        return -1;
    int fd = sock_bind_dgram(&local, e);
    if (fd < 0)
        return -1;
    chr_stream_start(&u->s, fd, fd);
    if (connect(fd, (struct sockaddr *)&remote.sa, remote.len))
        return err_errno(e, errno, "%s:%s", host ? host : "", port);
    chr_be_set_open(c, true);
    return 0;
}

static void udp_close(struct chardev *c)
{
    chr_stream_stop(&of(c)->s);
}

static ssize_t udp_write(struct chardev *c, const uint8_t *p, size_t n)
{
    if (!n)
        return 0; // not an empty datagram
    ssize_t r = send(of(c)->s.out_fd, p, MIN(n, (size_t)1400), MSG_NOSIGNAL);
    if (r >= 0 && (size_t)r < n)
        chr_stream_want_out(&of(c)->s);
    return r < 0 ? (ssize_t)n : r; // as lossy as the wire
}

static void udp_accept_input(struct chardev *c)
{
    chr_stream_accept_input(&of(c)->s);
}

static void udp_describe(struct chardev *c, struct buf *out)
{
    char *local = sock_local_name(of(c)->s.in_fd), *peer = sock_peer_name(of(c)->s.in_fd);
    buf_printf(out, "udp:%s <-> %s", local, peer);
    free(local);
    free(peer);
}

static const char *const udp_keys[] = {"host", "localaddr", "localport", "port", NULL};

const struct chardev_type chardev_udp = {
    .name = "udp",
    .help = "port=N[,host=H][,localaddr=A][,localport=N]",
    .keys = udp_keys,
    .size = sizeof(struct udp_chardev),
    .open = udp_open,
    .close = udp_close,
    .write = udp_write,
    .accept_input = udp_accept_input,
    .describe = udp_describe,
};
