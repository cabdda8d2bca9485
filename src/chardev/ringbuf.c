// Keeps the newest output in memory for the monitor's ringbuf-read; older bytes are overwritten.
#include "chardev/backend.h"

#include "base/bits.h"

#define RINGBUF_DEFAULT (64 * KiB)
#define RINGBUF_MAX     (64 * MiB)

struct ringbuf {
    struct chardev c;
    struct byte_queue q;
};

static struct ringbuf *of(struct chardev *c)
{
    return container_of(c, struct ringbuf, c);
}

static int ringbuf_open(struct chardev *c, struct opts *o, struct err *e)
{
    uint64_t size = RINGBUF_DEFAULT;
    if (opts_get_size(o, "size", &size, 1, e))
        return -1;
    if (!is_pow2(size) || size > RINGBUF_MAX)
        return err_set(e, "size: must be a power of two, at most 64M");
    of(c)->q.limit = size;
    chr_be_set_open(c, true);
    return 0;
}

static void ringbuf_close(struct chardev *c)
{
    queue_clear(&of(c)->q);
}

static ssize_t ringbuf_write(struct chardev *c, const uint8_t *p, size_t n)
{
    queue_put_force(&of(c)->q, p, n);
    return (ssize_t)n;
}

static const char *const ringbuf_keys[] = {"size", NULL};

const struct chardev_type chardev_ringbuf = {
    .name = "ringbuf",
    .help = "size=N (power of two): keeps the newest output in memory",
    .keys = ringbuf_keys,
    .size = sizeof(struct ringbuf),
    .open = ringbuf_open,
    .close = ringbuf_close,
    .write = ringbuf_write,
};

size_t chardev_ringbuf_read(struct chardev *c, uint8_t *dst, size_t n)
{
    if (c->type != &chardev_ringbuf)
        return 0;
    mutex_lock(&c->lock);
    n = queue_get(&of(c)->q, dst, n);
    mutex_unlock(&c->lock);
    return n;
}
