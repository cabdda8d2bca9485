// -netdev socket: the older spelling of stream and dgram, in use by network labs.
#include "net/wire/address.h"
#include "net/wire/datagram.h"
#include "net/wire/framed.h"

#include <stdlib.h>
#include <unistd.h>

static const struct netdev_ops framed_ops, packet_ops;

static int resolve(struct sock_addr *a, const char *text, int type, bool passive, struct err *e)
{
    char *host, *port;
    if (sock_split_hostport(text, &host, &port, e))
        return -1;
    int r = sock_resolve(a, host, port, AF_UNSPEC, type, passive, e);
    free(host);
    free(port);
    return r;
}

static struct netdev *as_packet(struct packet_netdev *p)
{
    if (!p)
        return NULL;
    p->n.ops = &packet_ops;
    return &p->n;
}

static struct netdev *as_framed(struct framed_netdev *f, int failed)
{
    if (failed) {
        framed_close(&f->n);
        free(f);
        return NULL;
    }
    f->n.ops = &framed_ops;
    return &f->n;
}

static struct netdev *open_fd(const char *text, struct loop *loop, struct err *e)
{
    int fd = sock_adopt_fd(text, e), type = 0, listening = 0;
    socklen_t len = sizeof type;
    if (fd < 0)
        return NULL;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len)) {
        close(fd);
        err_set(e, "fd=%s: not a socket", text);
        return NULL;
    }
    if (type == SOCK_DGRAM)
        return as_packet(packet_new(loop, fd, true, xasprintf("fd=%s", text)));
    struct framed_netdev *f = framed_new(loop);
    len = sizeof listening;
    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len);
    if (listening)
        framed_listen_fd(f, fd);
    else
        framed_start(f, fd);
    return as_framed(f, 0);
}

static struct netdev *open_udp(struct opts *o, const char *udp, struct loop *loop, struct err *e)
{
    const char *localaddr = opts_get(o, "localaddr");
    struct sock_addr local, remote;
    if (!localaddr) {
        err_set(e, "udp= needs localaddr=HOST:PORT");
        return NULL;
    }
    if (resolve(&local, localaddr, SOCK_DGRAM, true, e) ||
        resolve(&remote, udp, SOCK_DGRAM, false, e))
        return NULL;
    return as_packet(datagram_open(loop, &local, &remote, e));
}

static struct netdev *open_mcast(struct opts *o, const char *mcast, struct loop *loop,
                                 struct err *e)
{
    const char *localaddr = opts_get(o, "localaddr");
    struct sock_addr local, group;
    if (resolve(&group, mcast, SOCK_DGRAM, false, e) ||
        (localaddr && sock_resolve(&local, localaddr, "0", AF_INET, SOCK_DGRAM, true, e)))
        return NULL;
    if (!net_is_multicast(&group)) {
        err_set(e, "mcast=%s: not an IPv4 multicast address (224.0.0.0 to 239.255.255.255)", mcast);
        return NULL;
    }
    return as_packet(datagram_join(loop, &group, localaddr ? &local : NULL, e));
}

static struct netdev *socket_open(struct opts *o, struct loop *loop, struct err *e)
{
    static const char *const forms[] = {"fd", "listen", "connect", "mcast", "udp"};
    const char *val[ARRAY_SIZE(forms)];
    unsigned given = 0, which = 0;
    struct sock_addr a;
    for (unsigned i = 0; i < ARRAY_SIZE(forms); i++) {
        val[i] = opts_get(o, forms[i]);
        which = val[i] ? i : which;
        given += val[i] != NULL;
    }
    if (given != 1) {
        err_set(e, "give one of listen=, connect=, mcast=, udp= and fd=");
        return NULL;
    }
    if (which == 0)
        return open_fd(val[0], loop, e);
    if (which == 3)
        return open_mcast(o, val[3], loop, e);
    if (which == 4)
        return open_udp(o, val[4], loop, e);
    if (resolve(&a, val[which], SOCK_STREAM, which == 1, e))
        return NULL;
    struct framed_netdev *f = framed_new(loop);
    return as_framed(f, which == 1 ? framed_listen(f, &a, e) : framed_connect(f, &a, e));
}

static const char *const socket_keys[] = {"connect", "fd",  "listen", "localaddr",
                                          "mcast",   "udp", NULL};

// A socket back end goes on as one of the two kinds below.
const struct netdev_ops netdev_socket_ops = {
    .name = "socket",
    .help = "listen=[H]:P | connect=H:P | mcast=G:P[,localaddr=A] | udp=H:P,localaddr=H:P | fd=N",
    .keys = socket_keys,
    .open = socket_open,
};
static const struct netdev_ops framed_ops = {
    .name = "socket",
    .send = framed_send,
    .rx_ready = framed_rx_ready,
    .print = framed_print,
    .close = framed_close,
};
static const struct netdev_ops packet_ops = {
    .name = "socket",
    .send = packet_send,
    .rx_ready = packet_rx_ready,
    .print = packet_print,
    .close = packet_close,
};
