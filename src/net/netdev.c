// The core of network back ends: the type table, the tie between a NIC and its back end, link
// state, counters, and the work that drivers leave to their device.
#include "net/segment.h"

#include <stdlib.h>

#define NETDEV(sym) extern const struct netdev_ops netdev_##sym##_ops;
#include "net/netdevs.def"
#undef NETDEV

static const struct netdev_ops *const types[] = {
#define NETDEV(sym) &netdev_##sym##_ops,
#include "net/netdevs.def"
#undef NETDEV
};

void netdev_print_help(struct buf *out)
{
    buf_printf(out, "Available netdev backend types:\n");
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        buf_printf(out, "  %-8s %s\n", types[i]->name, types[i]->help);
}

const struct netdev_ops *netdev_type_at(unsigned i)
{
    return i < ARRAY_SIZE(types) ? types[i] : NULL;
}

// A copy of the driver's frame to finish, and the cutting of a large one that is under way.
struct net_segments {
    uint8_t frame[NET_FRAME_MAX];
    struct net_cut cut;
    bool cutting;
};

static const struct netdev_ops *find_type(const char *name, struct err *e)
{
    const char *names[ARRAY_SIZE(types) + 1] = {0};
    if (!strcmp(name, "none"))
        name = "null";
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        names[i] = types[i]->name;
        if (!strcmp(types[i]->name, name))
            return types[i];
    }
    err_set(e, "'%s' is not a network back end ('-netdev help' lists them)", name);
    err_did_you_mean(e, name, names);
    return NULL;
}

struct netdev *netdev_open(struct opts *o, struct loop *loop, struct err *e)
{
    const char *name = opts_get(o, "type"), *id = opts_get(o, "id");
    if (!name) {
        err_set(e, "netdev: no type given ('-netdev help' lists them)");
        return NULL;
    }
    if (!id) {
        err_set(e, "netdev %s: id=NAME is missing", name);
        return NULL;
    }
    const struct netdev_ops *ops = find_type(name, e);
    struct netdev *n = ops ? ops->open(o, loop, e) : NULL;
    if (!n) {
        if (ops)
            err_prefix(e, "netdev '%s'", id);
        return NULL;
    }
    if (!n->ops)
        n->ops = ops;
    n->id = xstrdup(id);
    n->loop = loop;
    n->link_up = true;
    list_init(&n->link);
    if (opts_check_unused(o, ops->name, ops->keys, e)) {
        err_prefix(e, "netdev '%s'", id);
        netdev_close(n);
        return NULL;
    }
    return n;
}

void netdev_close(struct netdev *n)
{
    if (!n)
        return;
    char *id = n->id;
    list_remove(&n->link);
    if (n->nic_ops && n->nic_ops->gone)
        n->nic_ops->gone(n->nic);
    n->ops->close(n);
    free(n->segments);
    free(id);
    free(n);
}

int netdev_attach(struct netdev *n, const struct nic_ops *ops, void *nic, struct err *e)
{
    if (n->nic_ops)
        return err_set(e, "netdev '%s' is already used by another network device", n->id);
    n->nic_ops = ops;
    n->nic = nic;
    netdev_rx_ready(n); // what waited for a NIC
    return 0;
}

void netdev_detach(struct netdev *n)
{
    n->nic_ops = NULL;
    n->nic = NULL;
    netdev_rx_ready(n); // nobody to wait for: what is held is dropped
}

static size_t iov_length(const struct iovec *iov, unsigned n_iov)
{
    size_t len = 0;
    for (unsigned i = 0; i < n_iov; i++)
        len += iov[i].iov_len;
    return len;
}

static bool send_frame(struct netdev *n, const struct iovec *iov, unsigned n_iov, size_t len)
{
    n->sending = true;
    bool taken = n->ops->send(n, iov, n_iov);
    n->sending = false;
    if (taken) {
        n->tx_frames++;
        n->tx_bytes += len;
    }
    return taken;
}

// Sends what is left of a large frame; false when the back end took not all of it.
static bool send_segments(struct netdev *n)
{
    struct net_segments *s = n->segments;
    struct iovec iov[2];
    while (s && s->cutting && net_cut_peek(&s->cut, iov)) {
        if (!send_frame(n, iov, 2, iov[0].iov_len + iov[1].iov_len))
            return false;
        net_cut_next(&s->cut);
    }
    if (s)
        s->cutting = false;
    return true;
}

static bool drop(struct netdev *n)
{
    n->dropped++;
    return true;
}

bool netdev_send(struct netdev *n, const struct iovec *iov, unsigned n_iov)
{
    size_t len = iov_length(iov, n_iov);
    if (!n->link_up || len < NET_FRAME_MIN || len > NET_FRAME_MAX)
        return drop(n);
    return send_segments(n) && send_frame(n, iov, n_iov, len);
}

bool netdev_send_offload(struct netdev *n, const struct net_offload *o, const struct iovec *iov,
                         unsigned n_iov)
{
    size_t len = iov_length(iov, n_iov), at = 0;
    if (!o->csum && !o->segment)
        return netdev_send(n, iov, n_iov);
    if (!n->link_up || len < NET_FRAME_MIN || len > NET_FRAME_MAX)
        return drop(n);
    if (!send_segments(n))
        return false;
    if (!n->segments)
        n->segments = xalloc(sizeof *n->segments);
    struct net_segments *s = n->segments;
    for (unsigned i = 0; i < n_iov; i++) {
        memcpy(s->frame + at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    if (o->segment && !n->ops->large) {
        if (!net_cut_begin(&s->cut, s->frame, len, o->segment))
            return drop(n);
        s->cutting = true;
        send_segments(n); // what is left now goes before the next frame
        return true;
    }
    if (o->csum && !net_complete_checksum(s->frame, len, o))
        return drop(n);
    struct iovec whole = {s->frame, len};
    return send_frame(n, &whole, 1, len);
}

void netdev_rx_ready(struct netdev *n)
{
    if (n->ops->rx_ready)
        n->ops->rx_ready(n);
}

bool netdev_deliver(struct netdev *n, const uint8_t *frame, size_t len)
{
    BUG_ON(n->sending);
    if (!n->nic_ops || !n->link_up || len < NET_FRAME_MIN || len > NET_FRAME_MAX) {
        n->dropped++;
        return true;
    }
    if (!n->nic_ops->receive(n->nic, frame, len))
        return false;
    n->rx_frames++;
    n->rx_bytes += len;
    return true;
}

size_t netdev_largest(const struct netdev *n, bool v6)
{
    return n->nic_ops && n->nic_ops->largest ? n->nic_ops->largest(n->nic, v6) : 0;
}

bool netdev_deliver_large(struct netdev *n, const uint8_t *frame, size_t len,
                          const struct net_offload *o, bool v6)
{
    BUG_ON(n->sending);
    if (len > netdev_largest(n, v6) || !n->link_up)
        return drop(n);
    if (!n->nic_ops->receive_large(n->nic, frame, len, o, v6))
        return false;
    n->rx_frames++;
    n->rx_bytes += len;
    return true;
}

void netdev_set_link(struct netdev *n, bool up)
{
    if (n->link_up == up)
        return;
    n->link_up = up;
    if (n->nic_ops && n->nic_ops->link_changed)
        n->nic_ops->link_changed(n->nic, up);
    netdev_rx_ready(n);
}

void netdev_can_send(struct netdev *n)
{
    if (send_segments(n) && n->nic_ops && n->nic_ops->can_send)
        n->nic_ops->can_send(n->nic);
}

int netdev_command(struct netdev *n, const char *verb, const char *arg, struct buf *out,
                   struct err *e)
{
    if (!n->ops->command)
        return err_set(e, "netdev '%s' (%s) has no command '%s'", n->id, n->ops->name, verb);
    return n->ops->command(n, verb, arg, out, e);
}

void netdev_print(struct netdev *n, struct buf *out)
{
    buf_printf(out, "%s: index=0,type=%s", n->id, n->ops->name);
    if (n->ops->print)
        n->ops->print(n, out);
    if (!n->link_up)
        buf_printf(out, ",link=off");
}
