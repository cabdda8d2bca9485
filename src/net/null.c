// A cable that ends nowhere: frames of the guest are dropped, none arrive.
#include "net/net.h"

static struct netdev *null_open(struct opts *o, struct loop *loop, struct err *e)
{
    return xalloc(sizeof(struct netdev));
}

static bool null_send(struct netdev *n, const struct iovec *iov, unsigned n_iov)
{
    return true;
}

static void null_close(struct netdev *n) {}

const struct netdev_ops netdev_null_ops = {
    .name = "null",
    .help = "drops everything",
    .open = null_open,
    .send = null_send,
    .close = null_close,
};
