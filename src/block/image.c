// Creating images and working on them as a whole.

#include "block/image.h"
#include "base/buf.h"
#include "block/copy.h"
#include "block/protocol/file_lock.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct image_call {
    struct block_node *n, *made;
    const struct block_driver *drv;
    const struct block_create *create;
    struct block_check *check;
    struct block_extent *extent;
    const char *name, *format, *preallocation;
    uint64_t off, bytes;
    unsigned *depth;
    struct err *e;
    int result;
};

struct block_node *image_open(struct opts *o, unsigned flags, struct block_node *beside,
                              struct err *e)
{
    struct block_inherit in = {.for_check = flags & IMAGE_CHECK,
                               .no_backing = flags & IMAGE_NO_BACKING,
                               .read_only = flags & IMAGE_READ_ONLY,
                               .force_share = flags & IMAGE_SHARE};
    struct engine *eng = beside ? engine_ref(beside->eng) : engine_new(NULL);
    struct block_node *n = node_open_root(o, &in, NULL, eng, e);
    engine_unref(eng);
    return n;
}

// An empty file of that name, unless somebody uses the one that is there.
static int make_file(const char *path, struct err *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_errno(e, errno, "cannot create");
    int r = file_lock(fd, true, false, false, e);
    if (!r && ftruncate(fd, 0) && errno != EINVAL)
        r = err_errno(e, errno, "cannot empty the file");
    close(fd);
    return r;
}

int image_make_file(const char *path, uint64_t size, struct err *e)
{
    if (make_file(path, e) ||
        (size && truncate(path, (off_t)size) && err_errno(e, errno, "cannot set the size")))
        return err_prefix(e, "%s", path);
    return 0;
}

static struct block_node *open_file(struct engine *eng, const char *path, struct err *e)
{
    struct opts o = {0};
    opts_set(&o, "driver", "file");
    opts_set(&o, "filename", path);
    struct block_node *n = node_open_root(&o, NULL, NULL, eng, e);
    opts_free(&o);
    return n;
}

static int fill_with_zeros(struct block_node *n, struct err *e)
{
    size_t chunk = 1 << 20;
    void *zero = xalloc(chunk);
    int r = 0;
    for (uint64_t at = 0; !r && at < n->size; at += chunk)
        r = node_write_buf(n, at, zero, MIN(n->size - at, (uint64_t)chunk));
    free(zero);
    return r ? err_errno(e, -r, "cannot reserve the space") : 0;
}

// Maps every cluster of a fresh image, then lets the host reserve them as asked.
static int preallocate(struct image_call *c, const char *mode)
{
    struct opts o = {0};
    struct block_node *n = node_wrap(c->n, c->drv, &o, c->e);
    opts_free(&o);
    if (!n)
        return -1;
    int r = n->drv->image->preallocate ? n->drv->image->preallocate(n, c->e) : 0;
    if (!r && !strcmp(mode, "falloc"))
        r = c->n->drv->image->preallocate(c->n, c->e);
    if (!r && !strcmp(mode, "full"))
        r = fill_with_zeros(n, c->e);
    node_unref(n);
    return r;
}

static void create_entry(void *arg)
{
    struct image_call *c = arg;
    const char *mode = c->preallocation;
    c->result = c->drv->image->create(c->n, c->create, c->e);
    if (!c->result && mode && strcmp(mode, "off"))
        c->result = preallocate(c, mode);
    if (!c->result) {
        int r = node_flush(c->n);
        c->result = r ? err_errno(c->e, -r, "cannot write the image") : 0;
    }
}

static const struct block_driver *image_driver(const char *format, struct err *e)
{
    const struct block_driver *d = block_driver_find(format);
    if (d && d->image && d->image->create)
        return d;
    static const char *const known[] = {"qcow2", "raw", NULL};
    err_set(e, "Unknown file format '%s'", format);
    err_did_you_mean(e, format, known);
    return NULL;
}

static int create_data_file(const char *filename, const struct block_create *c, struct err *e)
{
    const char *data = opts_get(c->opts, "data_file");
    if (!data)
        return 0;
    char *path = node_resolve_name(filename, data);
    int r = make_file(path, e);
    if (!r && truncate(path, (off_t)c->size))
        r = err_errno(e, errno, "cannot size");
    if (r)
        err_prefix(e, "data file %s", path);
    free(path);
    return r;
}

static int check_preallocation(const struct block_driver *d, const struct block_create *c,
                               const char *mode, struct err *e)
{
    static const char *const all[] = {"metadata", "off", "falloc", "full", NULL};
    const char *const *modes = strcmp(d->name, "raw") ? all : all + 1; // raw images have none
    bool known = !mode;
    for (unsigned i = 0; modes[i] && mode; i++)
        known |= !strcmp(mode, modes[i]);
    if (!known) {
        err_set(e, "unknown preallocation mode '%s'", mode);
        return err_did_you_mean(e, mode, modes);
    }
    if (mode && strcmp(mode, "off") && c->backing_name)
        return err_set(e, "Backing file and preallocation can only be used at the same time if "
                          "extended_l2 is enabled, which this version does not do");
    return 0;
}

int image_create(const char *format, const char *filename, const struct block_create *c,
                 struct err *e)
{
    const struct block_driver *d = image_driver(format, e);
    const char *mode = opts_get(c->opts, "preallocation");
    if (!d || check_preallocation(d, c, mode, e) || make_file(filename, e) ||
        create_data_file(filename, c, e))
        return -1;
    struct engine *eng = engine_new(NULL);
    struct image_call call = {
        .n = open_file(eng, filename, e), .drv = d, .create = c, .preallocation = mode, .e = e};
    call.result = -1;
    if (call.n)
        engine_run(eng, create_entry, &call);
    block_unref(call.n);
    engine_unref(eng);
    return call.result;
}

int image_print_options(const char *format, struct buf *out, struct err *e)
{
    const struct block_driver *d = image_driver(format, e);
    if (!d)
        return -1;
    buf_printf(out, "Options of new %s images:\n", d->name);
    for (const struct block_create_option *o = d->image->create_options; o->name; o++)
        buf_printf(out, "  %s=%-*s %s\n", o->name, MAX(1, 23 - (int)strlen(o->name)), o->value,
                   o->meaning);
    return 0;
}

int image_measure(const char *format, const struct block_create *c, struct block_measure *m,
                  struct err *e)
{
    const struct block_driver *d = image_driver(format, e);
    if (!d)
        return -1;
    if (!d->image->measure)
        return err_set(e, "format %s cannot be measured", format);
    return d->image->measure(c, m, e);
}

static void check_entry(void *arg)
{
    struct image_call *c = arg;
    c->result = c->n->drv->image->check(c->n, c->check, c->e);
}

int image_check(struct block_node *n, struct block_check *check, struct err *e)
{
    struct image_call c = {.n = n, .check = check, .e = e};
    if (!n->drv->image || !n->drv->image->check)
        return err_set(e, "This image format does not support checks");
    engine_run(n->eng, check_entry, &c);
    return c.result;
}

static void backing_entry(void *arg)
{
    struct image_call *c = arg;
    c->result = c->n->drv->image->set_backing(c->n, c->name, c->format, c->e);
}

int image_set_backing(struct block_node *n, const char *name, const char *format, struct err *e)
{
    struct image_call c = {.n = n, .name = name, .format = format, .e = e};
    if (!n->drv->image || !n->drv->image->set_backing)
        return err_set(e, "format %s has no backing files", n->drv->name);
    engine_run(n->eng, backing_entry, &c);
    return c.result;
}

static void discard_entry(void *arg)
{
    struct image_call *c = arg;
    c->result = node_discard(c->n, 0, c->n->size) ?: node_flush(c->n);
}

int image_discard_all(struct block_node *n, struct err *e)
{
    struct image_call c = {.n = n};
    engine_run(n->eng, discard_entry, &c);
    return c.result ? err_errno(e, -c.result, "cannot empty the image") : 0;
}

void image_info(struct block_node *n, struct block_info_sink *s)
{
    if (n->drv->image && n->drv->image->info)
        n->drv->image->info(n, s);
}

void image_facts(struct block_node *n, struct block_facts *f)
{
    *f = (struct block_facts){0};
    if (n->drv->image && n->drv->image->facts)
        n->drv->image->facts(n, f);
}

static void status_entry(void *arg)
{
    struct image_call *c = arg;
    c->result = node_status_above(c->n, NULL, c->off, c->bytes, c->extent, c->depth);
}

int image_status(struct block_node *n, uint64_t off, uint64_t bytes, struct block_extent *x,
                 unsigned *depth)
{
    struct image_call c = {.n = n, .off = off, .bytes = bytes, .extent = x, .depth = depth};
    engine_run(n->eng, status_entry, &c);
    return c.result;
}
