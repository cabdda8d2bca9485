// null-co: a disk of a given size that takes writes and forgets them, and reads as zeros whatever
// read-zeroes= says, so that nothing uninitialised reaches a guest.

#include "block/node/node.h"
#include "base/clock.h"

struct null_disk {
    uint64_t latency_ns;
};

static const char *const null_options[] = {"size", "latency-ns", "read-zeroes", NULL};

static int null_open(struct block_node *n, struct opts *o, struct err *e)
{
    struct null_disk *s = n->s;
    bool zeroes;
    n->size = GiB;
    return opts_get_size(o, "size", &n->size, 1, e) ||
                   opts_get_u64(o, "latency-ns", &s->latency_ns, e) ||
                   opts_get_bool(o, "read-zeroes", &zeroes, e)
               ? -1
               : 0;
}

static void null_close(struct block_node *n) {}

static void wait_latency(struct block_node *n)
{
    struct null_disk *s = n->s;
    if (s->latency_ns)
        engine_sleep_until(n->eng, host_monotonic_ns() + (int64_t)s->latency_ns);
}

static int null_read(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v)
{
    wait_latency(n);
    iov_zero(v, bytes);
    return 0;
}

static int null_write(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v,
                      uint32_t flags)
{
    wait_latency(n);
    return 0;
}

static int null_flush(struct block_node *n)
{
    wait_latency(n);
    return 0;
}

static int null_status(struct block_node *n, uint64_t off, uint64_t bytes, struct block_extent *x)
{
    x->zero = true;
    x->data = false;
    return 0;
}

const struct block_driver block_driver_null_co = {
    .name = "null-co",
    .protocol = true,
    .state_size = sizeof(struct null_disk),
    .options = null_options,
    .open = null_open,
    .close = null_close,
    .read = null_read,
    .write = null_write,
    .flush = null_flush,
    .status = null_status,
};
