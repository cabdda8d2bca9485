// Nodes: the drivers there are, making, names, lifetimes, and change between reading and writing.

#include "block/node/node.h"
#include "base/vec.h"
#include "block/node/bitmap.h"
#include "block/node/throttle.h"
#include <stdio.h>
#include <stdlib.h>

#define DRIVER(name) extern const struct block_driver block_driver_##name;
#include "block/drivers.def"
#undef DRIVER

static const struct block_driver *const drivers[] = {
#define DRIVER(name) &block_driver_##name,
#include "block/drivers.def"
#undef DRIVER
    NULL};

const struct block_driver *block_driver_at(unsigned i)
{
    return drivers[i];
}

const struct block_driver *block_driver_find(const char *name)
{
    for (unsigned i = 0; drivers[i]; i++)
        if (!strcmp(drivers[i]->name, name))
            return drivers[i];
    return NULL;
}

char *node_resolve_name(const char *base, const char *name)
{
    const char *slash = base ? strrchr(base, '/') : NULL;
    const char *colon = strchr(name, ':');
    if (*name == '/' || !slash || (colon && !memchr(name, '/', (size_t)(colon - name))))
        return xstrdup(name);
    return xasprintf("%.*s/%s", (int)(slash - base), base, name);
}

int node_start(struct block_node *n, struct opts *o, struct err *e)
{
    n->s = xalloc(n->drv->state_size ?: 1);
    if (n->drv->open(n, o, e)) {
        free(n->s);
        n->s = NULL;
        return -1;
    }
    return 0;
}

void node_free(struct block_node *n)
{
    if (n->s)
        n->drv->close(n);
    bitmaps_free(n);
    free(n->s);
    if (n->file)
        node_unref(n->file);
    if (n->backing)
        node_unref(n->backing);
    throttle_free(n->throttle);
    free(n->node_name);
    free(n->filename);
    engine_unref(n->eng);
    free(n);
}

struct block_node *node_new(const struct block_inherit *in, struct drives *nodes,
                            struct engine *eng)
{
    struct block_node *n = xalloc(sizeof *n);
    n->refs = 1;
    n->eng = engine_ref(eng);
    n->nodes = nodes;
    n->in = *in;
    n->align = 1;
    co_queue_init(&n->idle);
    gate_init(&n->gate);
    list_init(&n->bitmaps);
    list_init(&n->link);
    return n;
}

struct block_node *node_new_protocol(const struct block_driver *drv, struct engine *eng,
                                     uint64_t size)
{
    struct block_node *n = node_new(&(struct block_inherit){0}, NULL, eng);
    n->drv = drv;
    n->node_name = xasprintf("#block%p", (void *)n);
    n->filename = xasprintf("%s://", drv->name);
    n->s = xalloc(drv->state_size ?: 1);
    n->size = size;
    return n;
}

struct block_node *node_wrap(struct block_node *file, const struct block_driver *drv,
                             struct opts *o, struct err *e)
{
    struct block_node *n = node_new(&file->in, file->nodes, file->eng);
    n->drv = drv;
    n->file = block_ref(file);
    n->node_name = xasprintf("#block%p", (void *)n);
    n->filename = xstrdup(file->filename);
    if (node_start(n, o, e)) {
        node_free(n);
        return NULL;
    }
    return n;
}

void node_unref(struct block_node *n)
{
    BUG_ON(!n->refs);
    if (--n->refs)
        return;
    if (!n->in.read_only && !n->in.for_check)
        node_flush(n);
    node_free(n);
}

int node_set_read_only(struct block_node *n, bool read_only, struct err *e)
{
    if (n->in.read_only == read_only)
        return 0;
    if (!n->drv->reopen && n->drv->protocol)
        return err_set(e, "node '%s' (%s) cannot change between reading and writing", n->node_name,
                       n->drv->name);
    if (!read_only && n->file && node_set_read_only(n->file, false, e))
        return -1;
    if (n->drv->reopen && n->drv->reopen(n, read_only, e))
        return err_prefix(e, "%s", n->filename);
    n->in.read_only = read_only;
    if (read_only && n->file && n->file->refs == 1u + !list_empty(&n->file->link))
        return node_set_read_only(n->file, true, e);
    return 0;
}

struct block_node *block_ref(struct block_node *n)
{
    n->refs++;
    return n;
}

static void unref_entry(void *arg)
{
    node_unref(arg);
}

void block_unref(struct block_node *n)
{
    if (!n)
        return;
    struct engine *eng = engine_ref(n->eng);
    if (n->refs == 1)
        block_drain(n);
    engine_run(eng, unref_entry, n);
    engine_unref(eng);
}

void block_set_loop(struct block_node *n, struct loop *loop)
{
    block_drain(n);
    engine_set_loop(n->eng, loop);
}

uint64_t block_size(const struct block_node *n)
{
    return n->size;
}

bool block_readonly(const struct block_node *n)
{
    return n->in.read_only;
}

bool block_writethrough(const struct block_node *n)
{
    return n->writethrough;
}

const char *block_node_name(const struct block_node *n)
{
    return n->node_name;
}

const char *block_driver_name(const struct block_node *n)
{
    return n->drv->name;
}

const char *block_filename(const struct block_node *n)
{
    return n->filename;
}

struct block_node *block_file(struct block_node *n)
{
    return n->file;
}

struct block_node *block_backing(struct block_node *n)
{
    return n->backing;
}

unsigned block_alignment(const struct block_node *n)
{
    return n->align;
}
