// -netdev dgram: frames as UDP or UNIX datagrams.
#include "net/wire/address.h"
#include "net/wire/datagram.h"

#include <stdlib.h>

static struct packet_netdev *open_pair(struct net_address *local, struct net_address *remote,
                                       struct loop *loop, struct err *e)
{
    if (local->kind == NET_ADDR_FD) {
        int fd = sock_adopt_fd(local->fd, e);
        return fd < 0 ? NULL : packet_new(loop, fd, true, xasprintf("fd=%s", local->fd));
    }
    const struct sock_addr *own = local->kind ? &local->addr : NULL;
    const struct sock_addr *peer = remote->kind ? &remote->addr : NULL;
    if (peer && net_is_multicast(peer))
        return datagram_join(loop, peer, own, e);
    if (!peer && !own) {
        err_set(e, "give local.type=, remote.type= or both");
        return NULL;
    }
    if (peer && own && peer->sa.ss_family != own->sa.ss_family) {
        err_set(e, "local and remote must be of one kind");
        return NULL;
    }
    return datagram_open(loop, own, peer, e);
}

static struct netdev *dgram_open(struct opts *o, struct loop *loop, struct err *e)
{
    struct net_address local, remote;
    if (net_read_address(&local, o, "local", SOCK_DGRAM, true, e) ||
        net_read_address(&remote, o, "remote", SOCK_DGRAM, false, e))
        return NULL;
    struct packet_netdev *p = open_pair(&local, &remote, loop, e);
    return p ? &p->n : NULL;
}

static const char *const dgram_keys[] = {"local.host",  "local.path",  "local.port",  "local.str",
                                         "local.type",  "remote.host", "remote.path", "remote.port",
                                         "remote.type", NULL};

const struct netdev_ops netdev_dgram_ops = {
    .name = "dgram",
    .help = "local.type=inet,local.host=,local.port=,remote.type=inet,remote.host=,remote.port= "
            "(or unix and .path=; local.type=fd,local.str=; a multicast remote.host)",
    .keys = dgram_keys,
    .open = dgram_open,
    .send = packet_send,
    .rx_ready = packet_rx_ready,
    .print = packet_print,
    .close = packet_close,
};
