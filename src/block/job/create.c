// Making images as a job: a file, or a format on an open node (blockdev-create).

#include "block/image.h"
#include "block/job/graph.h"
#include "block/job/job.h"
#include <errno.h>
#include <stdlib.h>

struct create {
    struct job j;
    struct create_options o;
};

static struct create *of(struct job *j)
{
    return container_of(j, struct create, j);
}

static int create_file(struct create *c)
{
    return image_make_file(c->o.filename, c->o.size, &c->j.err) ? -EIO : 0;
}

static int create_format(struct create *c)
{
    struct err *e = &c->j.err;
    const struct block_driver *d = block_driver_find(c->o.driver);
    struct block_create b = {.size = c->o.size,
                             .backing_name = c->o.backing_name,
                             .backing_format = c->o.backing_format,
                             .opts = &c->o.format};
    bool empty = c->o.file->size && c->o.file->drv->image && c->o.file->drv->image->resize &&
                 strcmp(c->o.file->drv->name, "host_device");
    if (node_set_read_only(c->o.file, false, e) || (empty && node_resize(c->o.file, 0, e)) ||
        d->image->create(c->o.file, &b, e))
        return -EIO;
    return opts_check_unused(&c->o.format, d->name, NULL, e) ? -EINVAL : node_flush(c->o.file);
}

static int create_run(struct job *j)
{
    struct create *c = of(j);
    j->total = 1;
    int r = c->o.file ? create_format(c) : create_file(c);
    j->progress = 1;
    return r;
}

static void free_options(struct create_options *o)
{
    free(o->filename);
    free(o->backing_name);
    free(o->backing_format);
    opts_free(&o->format);
}

static void create_free(struct job *j)
{
    free_options(&of(j)->o);
}

static const struct job_type create_type = {
    .name = "create", .size = sizeof(struct create), .run = create_run, .free = create_free};

static int check(const struct create_options *o, struct err *e)
{
    const struct block_driver *d = block_driver_find(o->driver);
    if (o->filename ? strcmp(o->driver, "file") : !d || !d->image || !d->image->create)
        return err_set(e, "Block driver '%s' does not support blockdev-create", o->driver);
    if (!o->filename && !o->file)
        return err_set(e, "the image needs a node to go to (file)");
    return o->file && o->file->in.read_only && !o->file->in.auto_read_only
               ? err_set(e, "node '%s' is read-only", o->file->node_name)
               : 0;
}

struct job *job_create(struct drives *ds, struct create_options *o, struct err *e)
{
    struct job *j = NULL;
    struct job_options jo = o->job;
    jo.manual_dismiss = true; // its result is to be asked for
    if (!check(o, e))
        j = job_new(ds, &create_type, &jo, NULL, o->file ? o->file->eng : ds->eng, e);
    if (!j) {
        free_options(o);
        return NULL;
    }
    of(j)->o = *o;
    if (o->file && job_add_node(j, o->file, e)) {
        job_discard(j);
        return NULL;
    }
    return j;
}
