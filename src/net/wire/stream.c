// -netdev stream: frames over a TCP or UNIX stream socket (the protocol of passt and socket_vmnet).
#include "net/wire/address.h"
#include "net/wire/framed.h"

#include <stdlib.h>

static int open_address(struct framed_netdev *f, struct net_address *a, struct err *e)
{
    if (a->kind == NET_ADDR_NONE)
        return err_set(e, "addr.type=inet|unix|fd is missing");
    if (a->kind == NET_ADDR_FD) {
        int fd = sock_adopt_fd(a->fd, e);
        if (fd < 0)
            return -1;
        if (f->server)
            framed_listen_fd(f, fd);
        else
            framed_start(f, fd);
        return 0;
    }
    return f->server ? framed_listen(f, &a->addr, e) : framed_connect(f, &a->addr, e);
}

static struct netdev *stream_open(struct opts *o, struct loop *loop, struct err *e)
{
    struct framed_netdev *f = framed_new(loop);
    struct net_address a;
    uint64_t seconds = 0, ms = 0;
    if (opts_get_bool(o, "server", &f->server, e) || opts_get_u64(o, "reconnect", &seconds, e) ||
        opts_get_u64(o, "reconnect-ms", &ms, e) ||
        net_read_address(&a, o, "addr", SOCK_STREAM, f->server, e))
        goto fail;
    if (seconds > 86400 || ms > 86400000 || (f->server && (seconds || ms))) {
        err_set(e, "reconnect: at most a day, and for clients only");
        goto fail;
    }
    f->reconnect_ns = (int64_t)(seconds * 1000 + ms) * 1000000;
    if (open_address(f, &a, e))
        goto fail;
    return &f->n;
fail:
    framed_close(&f->n);
    free(f);
    return NULL;
}

static const char *const stream_keys[] = {"addr.host", "addr.ipv4", "addr.ipv6",    "addr.path",
                                          "addr.port", "addr.str",  "addr.type",    "addr.abstract",
                                          "reconnect", "server",    "reconnect-ms", NULL};

const struct netdev_ops netdev_stream_ops = {
    .name = "stream",
    .help = "addr.type=inet,addr.host=,addr.port= | addr.type=unix,addr.path= | "
            "addr.type=fd,addr.str= [,server=on][,reconnect-ms=N]",
    .keys = stream_keys,
    .open = stream_open,
    .send = framed_send,
    .rx_ready = framed_rx_ready,
    .print = framed_print,
    .close = framed_close,
};
