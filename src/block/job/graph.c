// Walking and changing the graph of nodes.

#include "block/image.h"
#include "block/job/graph.h"
#include "base/log.h"
#include "base/vec.h"
#include <stdlib.h>

typedef VEC(struct block_node *) node_list;

static void collect(node_list *l, struct block_node *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < l->len; i++)
        if (l->data[i] == n)
            return;
    vec_push(l, n);
    collect(l, n->file);
    collect(l, n->backing);
}

static node_list all_nodes(struct drives *ds)
{
    node_list l = {0};
    struct block_node *n;
    struct drive *d;
    list_for_each(n, &ds->nodes, link) collect(&l, n);
    list_for_each(d, &ds->drives, link) collect(&l, d->node);
    return l;
}

struct block_node *graph_find(struct drives *ds, const char *name)
{
    struct drive *d = drives_find(ds, name);
    if (d && !d->from_blockdev)
        return d->node;
    struct block_node *found = NULL;
    node_list l = all_nodes(ds);
    for (size_t i = 0; i < l.len && !found; i++)
        if (!strcmp(l.data[i]->node_name, name))
            found = l.data[i];
    vec_free(&l);
    return found;
}

struct block_node *graph_overlay(struct drives *ds, const struct block_node *n)
{
    struct block_node *found = NULL;
    node_list l = all_nodes(ds);
    for (size_t i = 0; i < l.len && !found; i++)
        if (l.data[i]->backing == n)
            found = l.data[i];
    vec_free(&l);
    return found;
}

bool drives_use_loop(struct drives *ds, const struct loop *loop)
{
    bool found = false;
    node_list l = all_nodes(ds);
    for (size_t i = 0; i < l.len; i++)
        found |= engine_loop(l.data[i]->eng) == loop;
    vec_free(&l);
    return found;
}

bool graph_is_below(const struct block_node *n, const struct block_node *top)
{
    while (top && top != n)
        top = top->backing;
    return top;
}

int graph_check_movable(struct drives *ds, const struct block_node *n, unsigned held, struct err *e)
{
    unsigned known = held + !list_empty(&n->link);
    struct drive *d;
    list_for_each(d, &ds->drives, link) known += d->node == n;
    node_list l = all_nodes(ds);
    for (size_t i = 0; i < l.len; i++)
        known += (l.data[i]->backing == n) + (l.data[i]->file == n);
    vec_free(&l);
    if (n->busy)
        return err_set(e, "Node '%s' is busy: block device is in use by block job: %s",
                       n->node_name, n->busy);
    return known == n->refs ? 0
                            : err_set(e,
                                      "node '%s' is held by something that cannot change over "
                                      "to another node (flash memory, an export)",
                                      n->node_name);
}

// By another drive than `holder`, or busy.
static bool used_elsewhere(struct drives *ds, const node_list *own, const struct drive *holder)
{
    bool elsewhere = false;
    struct drive *d;
    list_for_each(d, &ds->drives, link)
    {
        for (size_t i = 0; i < own->len; i++)
            elsewhere |= d != holder && d->node == own->data[i];
    }
    for (size_t i = 0; i < own->len; i++)
        elsewhere |= own->data[i]->in_flight || own->data[i]->busy;
    return elsewhere;
}

static void adopt(const node_list *own, struct engine *eng)
{
    for (size_t i = 0; i < own->len; i++) {
        engine_unref(own->data[i]->eng);
        own->data[i]->eng = engine_ref(eng);
    }
}

int graph_join(struct drives *ds, struct block_node *n, const struct block_node *at, struct err *e)
{
    if (n->eng == at->eng)
        return 0;
    node_list own = {0};
    collect(&own, n);
    int r = 0;
    if (used_elsewhere(ds, &own, NULL))
        r = err_set(e, "node '%s' is used by another device or job", n->node_name);
    if (!r)
        adopt(&own, at->eng);
    vec_free(&own);
    return r;
}

// A node outside `own` that stands above one of them, or NULL.
static const struct block_node *parent_outside(struct drives *ds, const node_list *own)
{
    const struct block_node *found = NULL;
    node_list l = all_nodes(ds);
    for (size_t i = 0; i < l.len; i++) {
        bool inside = false, above = false;
        for (size_t k = 0; k < own->len; k++) {
            inside |= own->data[k] == l.data[i];
            above |= l.data[i]->file == own->data[k] || l.data[i]->backing == own->data[k];
        }
        if (above && !inside)
            found = l.data[i];
    }
    vec_free(&l);
    return found;
}

int graph_move(struct drives *ds, struct block_node *n, struct loop *loop,
               const struct drive *holder, struct err *e)
{
    if (engine_loop(n->eng) == loop)
        return 0;
    node_list own = {0};
    collect(&own, n);
    const struct block_node *parent = parent_outside(ds, &own);
    int r = 0;
    block_drain(n);
    if (used_elsewhere(ds, &own, holder))
        r = err_set(e, "node '%s' is used by another device or job", n->node_name);
    else if (parent)
        r = err_set(e, "node '%s' shares an image with '%s'; one thread works on both",
                    n->node_name, parent->node_name);
    if (!r) {
        struct engine *eng = loop == ds->loop ? engine_ref(ds->eng) : engine_new(loop);
        adopt(&own, eng);
        engine_unref(eng);
    }
    vec_free(&own);
    return r;
}

static void move_drive(struct drive *d, struct block_node *to)
{
    struct block_node *from = d->node;
    d->node = block_ref(to);
    to->stats = from->stats; // the guest's disk goes on, and so do its counters and limits
    if (!to->throttle) {
        to->throttle = from->throttle;
        from->throttle = NULL;
    }
    node_unref(from);
    if (d->from_blockdev) { // such a drive goes by its node's name
        free(d->id);
        d->id = xstrdup(to->node_name);
    }
}

void graph_replace(struct drives *ds, struct block_node *from, struct block_node *to)
{
    block_ref(from);
    gate_redirect(from, to);
    node_list l = all_nodes(ds);
    struct drive *d;
    list_for_each(d, &ds->drives, link)
    {
        if (d->node == from)
            move_drive(d, to);
    }
    for (size_t i = 0; i < l.len; i++) {
        struct block_node *above = l.data[i];
        if (above->backing != from || above == to)
            continue;
        above->backing = block_ref(to);
        node_unref(from);
    }
    vec_free(&l);
    node_unref(from);
}

// ---- external snapshots ----

int graph_snapshot_check(struct drives *ds, struct block_node *n, struct block_node *overlay,
                         struct err *e)
{
    struct drive *d;
    list_for_each(d, &ds->drives, link)
    {
        if (d->node == overlay)
            return err_set(e, "The overlay '%s' is already in use", overlay->node_name);
    }
    if (overlay == n || overlay->busy)
        return err_set(e, "The overlay '%s' is already in use", overlay->node_name);
    if (overlay->backing)
        return err_set(e, "The overlay '%s' already has a backing image", overlay->node_name);
    if (!overlay->drv->image || !overlay->drv->image->set_backing)
        return err_set(e, "The overlay '%s' does not support backing images", overlay->node_name);
    if (overlay->in.read_only)
        return err_set(e, "The overlay '%s' is read-only", overlay->node_name);
    return graph_check_movable(ds, n, 0, e) || graph_join(ds, overlay, n, e) ? -1 : 0;
}

struct block_node *graph_open_image(struct drives *ds, struct block_node *at,
                                    const struct graph_image *i, struct err *e)
{
    struct opts none = {0}, o = {0};
    struct block_create c = {.size = i->size,
                             .backing_name = i->backing_name,
                             .backing_format = i->backing_format,
                             .opts = &none};
    struct block_node *n = NULL;
    opts_set(&o, "driver", i->format);
    opts_set(&o, "file.driver", "file");
    opts_set(&o, "file.filename", i->path);
    if (!i->open_backing && !strcmp(i->format, "qcow2"))
        opts_set(&o, "backing", "");
    if (i->node_name)
        opts_set(&o, "node-name", i->node_name);
    if (i->existing || !image_create(i->format, i->path, &c, e))
        n = node_open_root(&o, NULL, ds, at->eng, e);
    else
        err_prefix(e, "%s", i->path);
    if (n)
        n->in.discard_unmap = at->in.discard_unmap;
    if (n && i->node_name) {
        list_append(&ds->nodes, &n->link);
        block_ref(n);
    }
    opts_free(&none);
    opts_free(&o);
    return n;
}

struct snapshot_call {
    struct drives *ds;
    struct block_node *n, *overlay;
};

static void apply_snapshot(void *arg)
{
    struct snapshot_call *c = arg;
    struct err e = {0};
    gate_close(c->n);
    int r = node_flush(c->n);
    if (r)
        log_warn("%s: cannot flush before the snapshot: %s", c->n->filename, strerror(-r));
    graph_replace(c->ds, c->n, c->overlay);
    c->overlay->backing = block_ref(c->n);
    gate_open(c->n);
    if (node_set_read_only(c->n, true, &e))
        log_debug("%s", e.msg); // it stays open for writing, and nobody writes
}

void graph_snapshot_apply(struct drives *ds, struct block_node *n, struct block_node *overlay)
{
    struct snapshot_call c = {ds, n, overlay};
    block_ref(n);
    engine_run(n->eng, apply_snapshot, &c);
    block_unref(n);
}
