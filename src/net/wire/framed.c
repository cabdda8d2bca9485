// Length-prefixed frames over stream sockets. The peer is not trusted: a length that no frame has
// ends the connection.
#include "net/wire/framed.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/log.h"

#define HEADER         4
#define MAX_IOV        256
#define BAD_PEERS_TOLD 8

static struct framed_netdev *of(struct netdev *n)
{
    return container_of(n, struct framed_netdev, n);
}

static void update(struct framed_netdev *f)
{
    if (f->watch)
        loop_fd_set(f->watch,
                    (f->rx_paused ? 0 : LOOP_IN) | (f->want_out || f->tx_end ? LOOP_OUT : 0));
}

static void retry_later(struct framed_netdev *f)
{
    loop_timer_set(&f->retry, host_monotonic_ns() + f->reconnect_ns);
}

static void disconnect(struct framed_netdev *f)
{
    bool waiting = f->want_out;
    loop_fd_del(f->watch);
    close(f->fd);
    f->watch = NULL;
    f->fd = -1;
    f->rx_start = f->rx_end = f->tx_start = f->tx_end = 0;
    f->rx_paused = f->want_out = false;
    free(f->peer);
    f->peer = NULL;
    if (f->listen_watch)
        loop_fd_set(f->listen_watch, LOOP_IN);
    else if (f->reconnect_ns)
        retry_later(f);
    if (waiting) // without a peer frames are dropped, so the NIC can go on
        netdev_can_send(&f->n);
}

// Receiving.

// Delivers whole frames from the buffer; false when the peer broke the protocol.
static bool deliver_frames(struct framed_netdev *f)
{
    while (f->rx_end - f->rx_start >= HEADER) {
        size_t len = ld_be32(f->rx + f->rx_start);
        if (len > NET_FRAME_MAX)
            return false;
        if (f->rx_end - f->rx_start < HEADER + len)
            break;
        if (!netdev_deliver(&f->n, f->rx + f->rx_start + HEADER, len)) {
            f->rx_paused = true;
            return true;
        }
        f->rx_start += HEADER + len;
    }
    f->rx_paused = false;
    return true;
}

static void bad_peer(struct framed_netdev *f)
{
    if (f->bad_peers++ < BAD_PEERS_TOLD)
        log_warn("netdev '%s': %s sent a frame length of %u; connection closed", f->n.id, f->peer,
                 ld_be32(f->rx + f->rx_start));
    disconnect(f);
}

static void receive(struct framed_netdev *f)
{
    memmove(f->rx, f->rx + f->rx_start, f->rx_end - f->rx_start);
    f->rx_end -= f->rx_start;
    f->rx_start = 0;
    ssize_t n = recv(f->fd, f->rx + f->rx_end, FRAMED_READ - f->rx_end, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        disconnect(f);
        return;
    }
    f->rx_end += (size_t)n;
    if (!deliver_frames(f))
        bad_peer(f);
}

void framed_rx_ready(struct netdev *n)
{
    struct framed_netdev *f = of(n);
    if (!f->rx_paused)
        return;
    if (!deliver_frames(f))
        bad_peer(f);
    update(f);
}

// Sending.

static bool flush_tx(struct framed_netdev *f)
{
    while (f->tx_start < f->tx_end) {
        ssize_t r = send(f->fd, f->tx + f->tx_start, f->tx_end - f->tx_start, MSG_NOSIGNAL);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return errno == EAGAIN;
        f->tx_start += (size_t)r;
    }
    f->tx_start = f->tx_end = 0;
    return true;
}

// Keeps what the kernel did not take of a frame that it began to take.
static void keep_rest(struct framed_netdev *f, const struct iovec *iov, unsigned n_iov, size_t sent)
{
    for (unsigned i = 0; i < n_iov; i++) {
        size_t skip = MIN(sent, iov[i].iov_len), left = iov[i].iov_len - skip;
        sent -= skip;
        memcpy(f->tx + f->tx_end, (const uint8_t *)iov[i].iov_base + skip, left);
        f->tx_end += left;
    }
}

bool framed_send(struct netdev *n, const struct iovec *iov, unsigned n_iov)
{
    struct framed_netdev *f = of(n);
    struct iovec v[MAX_IOV + 1];
    uint8_t header[HEADER];
    size_t len = 0;
    if (f->fd < 0 || n_iov > MAX_IOV) {
        n->dropped++;
        return true;
    }
    if (f->tx_end) {
        f->want_out = true;
        update(f);
        return false;
    }
    for (unsigned i = 0; i < n_iov; i++)
        len += iov[i].iov_len;
    st_be32(header, (uint32_t)len);
    v[0] = (struct iovec){header, HEADER};
    memcpy(v + 1, iov, n_iov * sizeof *iov);
    struct msghdr m = {.msg_iov = v, .msg_iovlen = n_iov + 1};
    ssize_t r;
    do
        r = sendmsg(f->fd, &m, MSG_NOSIGNAL);
    while (r < 0 && errno == EINTR);
    if (r < 0 && errno == EAGAIN) {
        f->want_out = true;
        update(f);
        return false;
    }
    if (r >= 0 && (size_t)r < HEADER + len) {
        keep_rest(f, v, n_iov + 1, (size_t)r);
        update(f);
    }
    return true; // a broken connection shows when it is read
}

static void ready(void *opaque, unsigned events)
{
    struct framed_netdev *f = opaque;
    if (events & (LOOP_OUT | LOOP_ERR | LOOP_HUP)) {
        if (!flush_tx(f)) {
            disconnect(f);
            return;
        }
        if (!f->tx_end && f->want_out) {
            f->want_out = false;
            netdev_can_send(&f->n);
        }
    }
    if (!f->rx_paused && (events & (LOOP_IN | LOOP_ERR | LOOP_HUP)))
        receive(f);
    update(f);
}

// Connecting.

void framed_start(struct framed_netdev *f, int fd)
{
    f->fd = fd;
    f->peer = sock_peer_name(fd);
    f->watch = loop_fd_add(f->n.loop, fd, LOOP_IN, ready, f);
}

static void ready_listen(void *opaque, unsigned events)
{
    struct framed_netdev *f = opaque;
    int fd = sock_accept(f->listen_fd);
    if (fd < 0)
        return;
    loop_fd_set(f->listen_watch, 0);
    framed_start(f, fd);
}

void framed_listen_fd(struct framed_netdev *f, int fd)
{
    f->listen_fd = fd;
    f->listen_watch = loop_fd_add(f->n.loop, fd, LOOP_IN, ready_listen, f);
}

int framed_listen(struct framed_netdev *f, const struct sock_addr *a, struct err *e)
{
    int fd = sock_listen(a, e);
    if (fd < 0)
        return -1;
    f->server = true;
    f->addr = *a;
    f->bound_path = a->sa.ss_family == AF_UNIX && ((const struct sockaddr_un *)&a->sa)->sun_path[0];
    framed_listen_fd(f, fd);
    return 0;
}

static void ready_connect(void *opaque, unsigned events)
{
    struct framed_netdev *f = opaque;
    struct err why = {0};
    int fd = f->connect_fd;
    loop_fd_del(f->connect_watch);
    f->connect_watch = NULL;
    f->connect_fd = -1;
    if (!sock_connect_result(fd, &f->addr, &why)) {
        framed_start(f, fd);
        return;
    }
    close(fd);
    retry_later(f);
}

static void try_connect(void *opaque)
{
    struct framed_netdev *f = opaque;
    struct err why = {0};
    bool pending;
    int fd = sock_connect(&f->addr, &pending, &why);
    if (fd < 0) {
        retry_later(f);
    } else if (pending) {
        f->connect_fd = fd;
        f->connect_watch = loop_fd_add(f->n.loop, fd, LOOP_OUT, ready_connect, f);
    } else {
        framed_start(f, fd);
    }
}

int framed_connect(struct framed_netdev *f, const struct sock_addr *a, struct err *e)
{
    f->addr = *a;
    if (f->reconnect_ns) {
        try_connect(f);
        return 0;
    }
    int fd = sock_connect_wait(a, e);
    if (fd < 0)
        return -1;
    framed_start(f, fd);
    return 0;
}

struct framed_netdev *framed_new(struct loop *loop)
{
    struct framed_netdev *f = xalloc(sizeof *f);
    f->n.loop = loop;
    f->listen_fd = f->fd = f->connect_fd = -1;
    f->rx = xalloc(FRAMED_READ);
    f->tx = xalloc(HEADER + NET_FRAME_MAX);
    loop_timer_init(&f->retry, loop, NULL, try_connect, f);
    return f;
}

void framed_print(struct netdev *n, struct buf *out)
{
    struct framed_netdev *f = of(n);
    char *own = f->listen_fd >= 0 ? sock_local_name(f->listen_fd) : NULL;
    buf_printf(out, ",%s%s%s", own ? "listen=" : "", own ? own : "", own && f->peer ? "," : "");
    if (f->peer)
        buf_printf(out, "peer=%s", f->peer);
    else if (!own)
        buf_printf(out, "not connected");
    free(own);
}

void framed_close(struct netdev *n)
{
    struct framed_netdev *f = of(n);
    loop_fd_del(f->watch);
    loop_fd_del(f->listen_watch);
    loop_fd_del(f->connect_watch);
    loop_timer_cancel(&f->retry);
    if (f->fd >= 0)
        close(f->fd);
    if (f->connect_fd >= 0)
        close(f->connect_fd);
    if (f->listen_fd >= 0)
        close(f->listen_fd);
    if (f->bound_path)
        unlink(((struct sockaddr_un *)&f->addr.sa)->sun_path);
    free(f->peer);
    free(f->rx);
    free(f->tx);
}
