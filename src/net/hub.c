// Hubs: what one port sends, all others get. A port is a back end for a NIC, or has another back
// end plugged in (netdev=ID). Ports of one number meet in one hub when their owner joins them; no
// hub outlives its ports.
#include "net/frames.h"
#include "net/net.h"

#include <stdlib.h>

#define PORT_QUEUE (256 * KiB)

struct hub {
    struct list ports;
};

struct hub_port {
    struct netdev n;
    uint64_t number;
    char *peer_id;
    struct netdev *peer; // plugged in, or NULL
    struct hub *hub;     // NULL until joined
    struct list in_hub;
    struct frame_queue rx; // for a NIC that is busy
    struct frame_queue tx; // for a peer that is
    uint8_t gather[NET_FRAME_MAX];
};

extern const struct netdev_ops netdev_hubport_ops;

static struct hub_port *of(struct netdev *n)
{
    return container_of(n, struct hub_port, n);
}

static void drain_rx(struct hub_port *p)
{
    const uint8_t *frame;
    size_t len;
    while ((frame = frames_peek(&p->rx, &len)) && netdev_deliver(&p->n, frame, len))
        frames_pop(&p->rx);
}

static void drain_tx(struct hub_port *p)
{
    const uint8_t *frame;
    size_t len;
    while ((frame = frames_peek(&p->tx, &len))) {
        struct iovec iov = {(void *)frame, len};
        if (p->peer && !netdev_send(p->peer, &iov, 1))
            return;
        frames_pop(&p->tx);
    }
}

static void to_port(struct hub_port *p, const uint8_t *frame, size_t len)
{
    if (p->peer) {
        if (!frames_put(&p->tx, frame, len))
            p->n.dropped++;
        drain_tx(p);
    } else if (p->n.nic_ops) {
        if (!frames_put(&p->rx, frame, len))
            p->n.dropped++;
        drain_rx(p);
    }
}

static void to_others(struct hub_port *from, const uint8_t *frame, size_t len)
{
    struct hub_port *p;
    if (!from->hub)
        return;
    list_for_each(p, &from->hub->ports, in_hub) if (p != from) to_port(p, frame, len);
}

// From the NIC of this port.
static bool port_send(struct netdev *n, const struct iovec *iov, unsigned n_iov)
{
    struct hub_port *p = of(n);
    size_t len = 0;
    for (unsigned i = 0; i < n_iov; i++) {
        memcpy(p->gather + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    to_others(p, p->gather, len);
    return true;
}

static void port_rx_ready(struct netdev *n)
{
    drain_rx(of(n));
}

// To the plugged-in back end the port is a NIC.
static bool peer_receive(void *nic, const uint8_t *frame, size_t len)
{
    to_others(nic, frame, len);
    return true;
}

static void peer_can_send(void *nic)
{
    drain_tx(nic);
}

static void peer_gone(void *nic)
{
    ((struct hub_port *)nic)->peer = NULL;
}

static const struct nic_ops peer_ops = {
    .receive = peer_receive, .can_send = peer_can_send, .gone = peer_gone};

static int plug_in(struct hub_port *p, struct list *all, struct err *e)
{
    struct netdev *n;
    list_for_each(n, all, link)
    {
        if (n == &p->n || strcmp(n->id, p->peer_id))
            continue;
        if (netdev_attach(n, &peer_ops, p, e))
            return -1;
        p->peer = n;
        return 0;
    }
    return err_set(e, "netdev '%s': there is no netdev '%s' to plug in", p->n.id, p->peer_id);
}

int netdev_join_hub(struct netdev *n, struct list *all, struct err *e)
{
    if (n->ops != &netdev_hubport_ops || of(n)->hub)
        return 0;
    struct hub_port *p = of(n);
    if (p->peer_id && plug_in(p, all, e))
        return -1;
    struct netdev *other;
    list_for_each(other, all, link)
    {
        bool same = other != n && other->ops == n->ops && of(other)->number == p->number;
        if (same && of(other)->hub)
            p->hub = of(other)->hub;
    }
    if (!p->hub) {
        p->hub = xalloc(sizeof *p->hub);
        list_init(&p->hub->ports);
    }
    list_append(&p->hub->ports, &p->in_hub);
    return 0;
}

static struct netdev *port_open(struct opts *o, struct loop *loop, struct err *e)
{
    uint64_t number = 0;
    const char *peer = opts_get(o, "netdev");
    if (!opts_has(o, "hubid")) {
        err_set(e, "hubid=N is missing");
        return NULL;
    }
    if (opts_get_u64(o, "hubid", &number, e))
        return NULL;
    struct hub_port *p = xalloc(sizeof *p);
    p->number = number;
    p->peer_id = peer ? xstrdup(peer) : NULL;
    list_init(&p->in_hub);
    frames_init(&p->rx, PORT_QUEUE);
    frames_init(&p->tx, PORT_QUEUE);
    return &p->n;
}

static void port_print(struct netdev *n, struct buf *out)
{
    struct hub_port *p = of(n);
    buf_printf(out, ",hubid=%llu", (unsigned long long)p->number);
    if (p->peer)
        buf_printf(out, ",netdev=%s", p->peer->id);
}

static void port_close(struct netdev *n)
{
    struct hub_port *p = of(n);
    list_remove(&p->in_hub);
    if (p->hub && list_empty(&p->hub->ports))
        free(p->hub);
    if (p->peer)
        netdev_detach(p->peer);
    frames_free(&p->rx);
    frames_free(&p->tx);
    free(p->peer_id);
}

static const char *const port_keys[] = {"hubid", "netdev", NULL};

const struct netdev_ops netdev_hubport_ops = {
    .name = "hubport",
    .help = "hubid=N[,netdev=ID]: a port of hub N, for a NIC or with another netdev plugged in",
    .keys = port_keys,
    .open = port_open,
    .send = port_send,
    .rx_ready = port_rx_ready,
    .print = port_print,
    .close = port_close,
};
