// The raw format: the bytes of the file as they are, or the part of them that offset= and size=
// choose. A size that is no multiple of 512 is shown rounded up; what lies beyond the end of the
// file reads as zeros.

#include "block/node/node.h"
#include "base/bits.h"
#include <errno.h>

struct raw {
    uint64_t offset;
    bool windowed;
};

static const char *const raw_options[] = {"offset", "size", NULL};

static int raw_open(struct block_node *n, struct opts *o, struct err *e)
{
    struct raw *s = n->s;
    uint64_t file = n->file->size, size = UINT64_MAX;
    s->windowed = opts_has(o, "offset") || opts_has(o, "size");
    if (opts_get_size(o, "offset", &s->offset, 1, e) || opts_get_size(o, "size", &size, 1, e))
        return -1;
    if (s->offset > file)
        return err_set(e, "offset=%llu is beyond the end of the file (%llu bytes)",
                       (unsigned long long)s->offset, (unsigned long long)file);
    if (size == UINT64_MAX)
        size = file - s->offset;
    else if (size > file - s->offset)
        return err_set(e, "size=%llu does not fit: the file has %llu bytes after the offset",
                       (unsigned long long)size, (unsigned long long)(file - s->offset));
    n->size = s->windowed ? size : align_up(size, 512);
    n->align = n->file->align;
    return 0;
}

static void raw_close(struct block_node *n) {}

static int raw_read(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v)
{
    struct raw *s = n->s;
    return node_read(n->file, s->offset + off, bytes, v);
}

static int raw_write(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v,
                     uint32_t flags)
{
    struct raw *s = n->s;
    return node_write(n->file, s->offset + off, bytes, v, flags);
}

static int raw_write_zeroes(struct block_node *n, uint64_t off, uint64_t bytes, uint32_t flags)
{
    struct raw *s = n->s;
    return node_write_zeroes(n->file, s->offset + off, bytes, flags);
}

static int raw_discard(struct block_node *n, uint64_t off, uint64_t bytes)
{
    struct raw *s = n->s;
    return node_discard(n->file, s->offset + off, bytes);
}

static int raw_flush(struct block_node *n)
{
    return node_flush(n->file);
}

static int raw_status(struct block_node *n, uint64_t off, uint64_t bytes, struct block_extent *x)
{
    struct raw *s = n->s;
    int r = node_status(n->file, s->offset + off, bytes, x);
    x->allocated = true;
    return r;
}

static int raw_resize(struct block_node *n, uint64_t size, struct err *e)
{
    struct raw *s = n->s;
    if (s->windowed)
        return err_set(e, "a raw image opened with offset= or size= cannot be resized");
    if (node_resize(n->file, size, e))
        return -1;
    n->size = align_up(size, 512);
    return 0;
}

static const struct block_create_option raw_create_options[] = {
    {"preallocation", "MODE", "off, falloc or full"}, {"size", "SIZE", "what the guest sees"}, {0}};

static int raw_create(struct block_node *file, const struct block_create *c, struct err *e)
{
    static const char *const known[] = {"preallocation", "size", NULL};
    if (c->backing_name)
        return err_set(e, "raw images have no backing file");
    if (opts_check_unused(c->opts, "raw", known, e))
        return -1;
    return node_resize(file, c->size, e);
}

static int raw_measure(const struct block_create *c, struct block_measure *m, struct err *e)
{
    m->required = m->fully_allocated = c->size;
    return 0;
}

static const struct block_image_ops raw_image_ops = {
    .create_options = raw_create_options,
    .create = raw_create,
    .resize = raw_resize,
    .measure = raw_measure,
};

const struct block_driver block_driver_raw = {
    .name = "raw",
    .state_size = sizeof(struct raw),
    .options = raw_options,
    .open = raw_open,
    .close = raw_close,
    .read = raw_read,
    .write = raw_write,
    .write_zeroes = raw_write_zeroes,
    .discard = raw_discard,
    .flush = raw_flush,
    .status = raw_status,
    .image = &raw_image_ops,
};
