// The core of network back ends: the type table, the tie between a NIC and its back end, link state
// and counters.
#include "net/net.h"

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

bool netdev_send(struct netdev *n, const struct iovec *iov, unsigned n_iov)
{
    size_t len = iov_length(iov, n_iov);
    if (!n->link_up || len < NET_FRAME_MIN || len > NET_FRAME_MAX) {
        n->dropped++;
        return true;
    }
    n->sending = true;
    bool taken = n->ops->send(n, iov, n_iov);
    n->sending = false;
    if (taken) {
        n->tx_frames++;
        n->tx_bytes += len;
    }
    return taken;
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
    if (n->nic_ops && n->nic_ops->can_send)
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
