// Takes everything and gives nothing.
#include "chardev/backend.h"

static int null_open(struct chardev *c, struct opts *o, struct err *e)
{
    chr_be_set_open(c, true);
    return 0;
}

static void null_close(struct chardev *c) {}

static ssize_t null_write(struct chardev *c, const uint8_t *p, size_t n)
{
    return (ssize_t)n;
}

const struct chardev_type chardev_null = {
    .name = "null",
    .help = "(no options): drops output, has no input",
    .size = sizeof(struct chardev),
    .open = null_open,
    .close = null_close,
    .write = null_write,
};
