// Other options for an open node.

#include "block/job/graph.h"
#include <stdlib.h>

struct reopen {
    struct drives *ds;
    struct block_node *n, *backing;
    struct opts *o;
    struct err *e;
    bool read_only, auto_read_only, discard, change_backing;
    enum detect_zeroes detect;
    int result;
};

static int same(struct reopen *r, const char *key, const char *now)
{
    const char *v = opts_get(r->o, key);
    return !v || !strcmp(v, now)
               ? 0
               : err_set(r->e, "Cannot change the option '%s' (from '%s' to '%s')", key, now, v);
}

// "file" by name, or described: the same file then.
static int same_file(struct reopen *r)
{
    const struct block_node *f = r->n->file;
    if (!f)
        return same(r, "filename", r->n->filename);
    return same(r, "file", f->node_name) || same(r, "file.filename", f->filename) ||
                   same(r, "file.driver", f->drv->name) || same(r, "file.node-name", f->node_name)
               ? -1
               : 0;
}

static int read_words(struct reopen *r)
{
    const char *discard = opts_get(r->o, "discard"), *detect = opts_get(r->o, "detect-zeroes");
    r->discard = discard && strcmp(discard, "ignore") && strcmp(discard, "off");
    r->detect = !detect || !strcmp(detect, "off") ? DETECT_OFF
                : !strcmp(detect, "on")           ? DETECT_ON
                                                  : DETECT_UNMAP;
    return opts_get_bool(r->o, "read-only", &r->read_only, r->e) ||
                   opts_get_bool(r->o, "auto-read-only", &r->auto_read_only, r->e)
               ? -1
               : 0;
}

static int read_backing(struct reopen *r)
{
    const char *name = opts_has(r->o, "backing") ? opts_get(r->o, "backing") : NULL;
    if (!name)
        return 0;
    r->backing = *name ? graph_find(r->ds, name) : NULL;
    r->change_backing = r->backing != r->n->backing;
    if (*name && !r->backing)
        return err_set(r->e, "Cannot find node '%s'", name);
    if (!r->change_backing)
        return 0;
    if (!r->n->drv->image || !r->n->drv->image->set_backing)
        return err_set(r->e, "Driver '%s' of node '%s' has no backing file", r->n->drv->name,
                       r->n->node_name);
    if (r->n->busy || (r->backing && graph_is_below(r->n, r->backing)))
        return err_set(r->e, "the backing file of node '%s' cannot change to '%s' now",
                       r->n->node_name, name);
    return r->backing ? graph_join(r->ds, r->backing, r->n, r->e) : 0;
}

static void apply(void *arg)
{
    struct reopen *r = arg;
    struct block_node *n = r->n, *old = n->backing;
    bool read_only = r->read_only || (r->auto_read_only && n->in.read_only);
    r->result = node_set_read_only(n, read_only, r->e);
    if (r->result)
        return;
    n->in.auto_read_only = r->auto_read_only;
    n->in.discard_unmap = r->discard;
    n->detect_zeroes = r->detect;
    if (!r->change_backing)
        return;
    gate_close(n);
    n->backing = r->backing ? block_ref(r->backing) : NULL;
    n->backing_set = true;
    if (old)
        node_unref(old);
    gate_open(n);
}

int graph_reopen(struct drives *ds, struct block_node *n, struct opts *o, struct err *e)
{
    struct reopen r = {.ds = ds, .n = n, .o = o, .e = e};
    static const char *const unchanging[] = {"node-name",      "aio",         "cache.direct",
                                             "cache.no-flush", "force-share", "locking",
                                             "cache.writeback"};
    if (same(&r, "driver", n->drv->name) || same_file(&r) || read_words(&r) || read_backing(&r))
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(unchanging); i++)
        opts_get(o, unchanging[i]); // as clients repeat them
    for (const char *const *k = n->drv->options; k && *k; k++)
        opts_get(o, *k);
    if (opts_check_unused(o, n->node_name, NULL, e))
        return -1;
    engine_run(n->eng, apply, &r);
    return r.result;
}
