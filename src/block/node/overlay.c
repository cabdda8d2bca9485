// What -snapshot writes to: a qcow2 image over another, in a file without a name.

#include "block/node/node.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct overlay_call {
    struct block_node *file, *made;
    uint64_t size;
    struct err *e;
};

static void make_overlay(void *arg)
{
    struct overlay_call *c = arg;
    const struct block_driver *qcow2 = block_driver_find("qcow2");
    struct opts o = {0};
    struct block_create create = {.size = c->size, .opts = &o};
    if (!qcow2->image->create(c->file, &create, c->e))
        c->made = node_wrap(c->file, qcow2, &o, c->e);
    opts_free(&o);
}

static struct block_node *open_unnamed(struct engine *eng, struct err *e)
{
    const char *dir = getenv("TMPDIR");
    char *path = xasprintf("%s/myna-snapshot-XXXXXX", dir ?: "/var/tmp");
    struct block_node *n = NULL;
    int fd = mkstemp(path);
    if (fd < 0) {
        err_errno(e, errno, "snapshot=on: cannot create a temporary file in %s", dir ?: "/var/tmp");
    } else {
        struct opts o = {0};
        close(fd);
        opts_set(&o, "driver", "file");
        opts_set(&o, "filename", path);
        n = node_open_root(&o, NULL, NULL, eng, e);
        opts_free(&o);
        unlink(path);
    }
    free(path);
    return n;
}

struct block_node *node_temp_overlay(struct block_node *base, struct err *e)
{
    struct overlay_call c = {.file = open_unnamed(base->eng, e), .size = base->size, .e = e};
    if (c.file) {
        c.file->in.no_flush = true; // nobody will look at it after a crash
        engine_run(base->eng, make_overlay, &c);
    }
    block_unref(c.file);
    if (!c.made) {
        block_unref(base);
        return NULL;
    }
    c.made->backing = base;
    free(c.made->filename);
    c.made->filename = base->filename ? xstrdup(base->filename) : NULL;
    c.made->in.discard_unmap = true;
    return c.made;
}
