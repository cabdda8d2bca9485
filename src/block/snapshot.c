// Internal snapshots and VM state, for callers outside coroutines.

#include "block/node/node.h"
#include <errno.h>

struct snapshot_call {
    struct block_node *n;
    int (*run)(struct snapshot_call *c);
    struct block_snapshot **out;
    const struct block_snapshot *info;
    const char *id;
    uint64_t off;
    struct iovec iov;
    struct err *e;
    int result;
};

bool block_can_snapshot(const struct block_node *n)
{
    return n->drv->snapshots && !n->in.read_only;
}

static void entry(void *arg)
{
    struct snapshot_call *c = arg;
    c->result = c->run(c);
}

static int call(struct snapshot_call *c)
{
    if (!c->n->drv->snapshots)
        return c->e ? err_set(c->e, "format %s has no internal snapshots", c->n->drv->name)
                    : -ENOTSUP;
    engine_run(c->n->eng, entry, c);
    return c->result;
}

static int run_list(struct snapshot_call *c)
{
    return c->n->drv->snapshots->list(c->n, c->out, c->e);
}

static int run_create(struct snapshot_call *c)
{
    return c->n->drv->snapshots->create(c->n, c->info, c->e);
}

static int run_apply(struct snapshot_call *c)
{
    return c->n->drv->snapshots->apply(c->n, c->id, c->e);
}

static int run_delete(struct snapshot_call *c)
{
    return c->n->drv->snapshots->del(c->n, c->id, c->e);
}

static int run_read(struct snapshot_call *c)
{
    return c->n->drv->snapshots->vmstate_read(c->n, c->off, c->iov.iov_len,
                                              iov_view_of(&c->iov, 1));
}

static int run_write(struct snapshot_call *c)
{
    return c->n->drv->snapshots->vmstate_write(c->n, c->off, c->iov.iov_len,
                                               iov_view_of(&c->iov, 1));
}

static int changing(struct snapshot_call *c)
{
    if (c->n->in.read_only)
        return err_set(c->e, "the image is opened read-only");
    return call(c);
}

int block_snapshot_list(struct block_node *n, struct block_snapshot **out, struct err *e)
{
    return call(&(struct snapshot_call){.n = n, .run = run_list, .out = out, .e = e});
}

int block_snapshot_create(struct block_node *n, const struct block_snapshot *s, struct err *e)
{
    return changing(&(struct snapshot_call){.n = n, .run = run_create, .info = s, .e = e});
}

int block_snapshot_apply(struct block_node *n, const char *id, struct err *e)
{
    return changing(&(struct snapshot_call){.n = n, .run = run_apply, .id = id, .e = e});
}

int block_snapshot_delete(struct block_node *n, const char *id, struct err *e)
{
    return changing(&(struct snapshot_call){.n = n, .run = run_delete, .id = id, .e = e});
}

int block_vmstate_pread(struct block_node *n, uint64_t off, void *buf, size_t len)
{
    return call(&(struct snapshot_call){.n = n, .run = run_read, .off = off, .iov = {buf, len}});
}

int block_vmstate_pwrite(struct block_node *n, uint64_t off, const void *buf, size_t len)
{
    if (n->in.read_only)
        return -EPERM;
    return call(
        &(struct snapshot_call){.n = n, .run = run_write, .off = off, .iov = {(void *)buf, len}});
}
