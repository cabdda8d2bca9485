// What a drive's holder learns of a request that failed, by the drive's werror and rerror: the
// error, nothing (the request counts as done), or for now nothing at all: the machine is stopped,
// and the request is tried again when it goes on.

#include "block/drive.h"
#include <errno.h>

const char *const drive_err_names[] = {"auto", "report", "ignore", "enospc", "stop", NULL};

static enum drive_err policy_of(const struct drive *d, const struct block_req *r, int result)
{
    enum drive_err p = r->op == BLOCK_READ ? d->rerror : d->werror;
    if (p == DRIVE_ERR_AUTO)
        p = r->op == BLOCK_READ ? DRIVE_ERR_REPORT : DRIVE_ERR_ENOSPC;
    return p == DRIVE_ERR_ENOSPC ? result == -ENOSPC ? DRIVE_ERR_STOP : DRIVE_ERR_REPORT : p;
}

static void answer(struct block_req *r, int result)
{
    r->done = r->held.done;
    r->done(r, result);
}

static void policed_done(struct block_req *r, int result)
{
    struct drive *d = r->held.drive;
    // What the layer cannot do at all is an answer, not a failure.
    if (!result || result == -ENOTSUP) {
        answer(r, result);
        return;
    }
    enum drive_err action = policy_of(d, r, result);
    if (action == DRIVE_ERR_STOP && d->draining)
        action = DRIVE_ERR_REPORT;
    if (d->owner->failed)
        d->owner->failed(d->owner->opaque, d, r->op, action, result);
    if (action == DRIVE_ERR_STOP) {
        d->failure = result;
        r->held.result = result;
        list_append(&d->held, &r->held.link);
    } else {
        answer(r, action == DRIVE_ERR_IGNORE ? 0 : result);
    }
}

static void send(struct drive *d, struct block_req *r)
{
    r->done = policed_done;
    block_submit(d->node, r);
}

void drive_submit(struct drive *d, struct block_req *r)
{
    r->held.drive = d;
    r->held.done = r->done;
    send(d, r);
}

static struct block_req *take_held(struct list *from)
{
    if (list_empty(from))
        return NULL;
    struct block_req *r = list_entry(from->next, struct block_req, held.link);
    list_remove(&r->held.link);
    return r;
}

static void give_up(struct drive *d)
{
    d->failure = 0;
    for (struct block_req *r; (r = take_held(&d->held));)
        answer(r, r->held.result);
}

void drive_drain(struct drive *d)
{
    d->draining = true;
    give_up(d);
    if (d->node)
        block_drain(d->node);
    d->draining = false;
}

void drives_on_failure(struct drives *ds, drives_failed_fn *fn, void *opaque)
{
    ds->failed = fn;
    ds->opaque = opaque;
}

void drives_retry(struct drives *ds)
{
    struct drive *d;
    list_for_each(d, &ds->drives, link)
    {
        d->failure = 0;
        for (struct block_req *r; d->node && (r = take_held(&d->held));)
            send(d, r); // ends later, never in here
    }
}

void drives_give_up(struct drives *ds)
{
    struct drive *d;
    list_for_each(d, &ds->drives, link) give_up(d);
}
