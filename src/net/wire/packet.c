// Frames over a descriptor that keeps packets apart.
#include "net/wire/packet.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

#define BUDGET 64 // frames per wake-up

static struct packet_netdev *of(struct netdev *n)
{
    return container_of(n, struct packet_netdev, n);
}

static void update(struct packet_netdev *p)
{
    loop_fd_set(p->watch, (p->held || p->dead ? 0 : LOOP_IN) | (p->want_out ? LOOP_OUT : 0));
}

static bool from_self(const struct packet_netdev *p, const struct sock_addr *from)
{
    return p->self.len && from->len == p->self.len && !memcmp(&from->sa, &p->self.sa, from->len);
}

// The next frame's length; 0: one to skip; -1: none.
static ssize_t read_frame(struct packet_netdev *p)
{
    struct sock_addr from = {.len = sizeof from.sa};
    ssize_t n = p->is_socket ? recvfrom(p->fd, p->frame, NET_FRAME_MAX, MSG_TRUNC,
                                        (struct sockaddr *)&from.sa, &from.len)
                             : read(p->fd, p->frame, NET_FRAME_MAX);
    if (n < 0 && errno != EAGAIN && errno != EINTR && !p->is_socket) {
        log_warn("netdev '%s': %s; no more frames", p->n.id, strerror(errno));
        p->dead = true;
    }
    if (n < 0) // a datagram that found nobody comes back as an error of the socket: passed over
        return errno == EAGAIN || p->dead ? -1 : 0;
    if (n < NET_FRAME_MIN || n > NET_FRAME_MAX || (p->is_socket && from_self(p, &from)))
        return 0;
    return n;
}

static void receive(struct packet_netdev *p)
{
    for (int i = 0; i < BUDGET && !p->held; i++) {
        ssize_t n = read_frame(p);
        if (n < 0)
            break;
        if (n && !netdev_deliver(&p->n, p->frame, (size_t)n))
            p->held = (size_t)n;
    }
}

static void ready(void *opaque, unsigned events)
{
    struct packet_netdev *p = opaque;
    if (p->want_out && (events & (LOOP_OUT | LOOP_ERR))) {
        p->want_out = false;
        netdev_can_send(&p->n);
    }
    if (events & (LOOP_IN | LOOP_ERR | LOOP_HUP))
        receive(p);
    update(p);
}

bool packet_send(struct netdev *n, const struct iovec *iov, unsigned n_iov)
{
    struct packet_netdev *p = of(n);
    struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = n_iov};
    if (p->has_dest) {
        m.msg_name = &p->dest.sa;
        m.msg_namelen = p->dest.len;
    }
    ssize_t r;
    do
        r = p->is_socket ? sendmsg(p->send_fd, &m, MSG_NOSIGNAL)
                         : writev(p->send_fd, iov, (int)n_iov);
    while (r < 0 && errno == EINTR);
    if (r < 0 && errno == EAGAIN && p->send_fd == p->fd) {
        p->want_out = true;
        update(p);
        return false;
    }
    if (r < 0)
        n->dropped++; // nobody there, or too long for the link: lost as on a wire
    return true;
}

void packet_rx_ready(struct netdev *n)
{
    struct packet_netdev *p = of(n);
    if (!p->held || !netdev_deliver(n, p->frame, p->held))
        return;
    p->held = 0;
    update(p);
}

void packet_print(struct netdev *n, struct buf *out)
{
    buf_printf(out, ",%s", of(n)->info);
}

void packet_close(struct netdev *n)
{
    struct packet_netdev *p = of(n);
    loop_fd_del(p->watch);
    if (p->at_close)
        p->at_close(p);
    if (p->send_fd != p->fd)
        close(p->send_fd);
    close(p->fd);
    if (p->unlink_path)
        unlink(p->unlink_path);
    free(p->unlink_path);
    free(p->info);
    free(p->frame);
}

struct packet_netdev *packet_new(struct loop *loop, int fd, bool is_socket, char *info)
{
    struct packet_netdev *p = xalloc(sizeof *p);
    p->n.loop = loop;
    p->fd = p->send_fd = fd;
    p->is_socket = is_socket;
    p->info = info;
    p->frame = xalloc(NET_FRAME_MAX);
    p->watch = loop_fd_add(loop, fd, LOOP_IN, ready, p);
    return p;
}
