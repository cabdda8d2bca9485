// blkdebug: passes requests on to `image` and lets chosen ones fail, to see what happens above when
// a disk does. Rules are inject-error.N.*: iotype (read, write, write-zeroes, discard, flush; any
// when absent), sector (the request must touch it), after (matching requests that still succeed
// first), errno (5, EIO, when absent) and once. Not offered: events of a format, states, set-state
// rules, limits and alignment.

#include "base/vec.h"
#include "block/node/node.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { ANY_OP = -1, SECTOR = 512, RULES_MAX = 64 };

struct rule {
    int op; // enum block_op, or ANY_OP
    bool anywhere, once, spent;
    uint64_t at; // byte
    uint64_t after;
    int error;
};

struct blkdebug {
    VEC(struct rule) rules;
};

static const char *const blkdebug_options[] = {"image", "inject-error.0.iotype", NULL};

// One rule's options; which of them exist is for opts_check_unused to say.
static int read_rule(struct opts *o, unsigned i, struct rule *r, struct err *e)
{
    static const char *const ops[] = {"read", "write", "flush", "discard", "write-zeroes", NULL};
    char key[48];
    uint64_t sector = UINT64_MAX, error = EIO;
    const char *op;
    int prefix = snprintf(key, sizeof key, "inject-error.%u.", i);
#define KEY(name) (snprintf(key + prefix, sizeof key - (size_t)prefix, "%s", name), key)
    *r = (struct rule){.op = ANY_OP};
    if ((op = opts_get(o, KEY("iotype")))) {
        for (r->op = 0; ops[r->op] && strcmp(op, ops[r->op]); r->op++)
            ;
        if (!ops[r->op]) {
            err_set(e, "%s: unknown kind of request '%s'", key, op);
            return err_did_you_mean(e, op, ops);
        }
    }
    if (opts_get_u64(o, KEY("sector"), &sector, e) || opts_get_u64(o, KEY("errno"), &error, e) ||
        opts_get_u64(o, KEY("after"), &r->after, e) || opts_get_bool(o, KEY("once"), &r->once, e))
        return -1;
    if (!error || error > 4095)
        return err_set(e, "%s: error numbers go from 1 to 4095", KEY("errno"));
#undef KEY
    r->anywhere = sector == UINT64_MAX;
    r->at = sector * SECTOR;
    r->error = (int)error;
    return 0;
}

static bool has_rule(const struct opts *o, unsigned i)
{
    char key[32];
    int n = snprintf(key, sizeof key, "inject-error.%u.", i);
    for (size_t k = 0; k < o->len; k++)
        if (!strncmp(o->data[k].key, key, (size_t)n))
            return true;
    return false;
}

static int blkdebug_open(struct block_node *n, struct opts *o, struct err *e)
{
    struct blkdebug *s = n->s;
    for (unsigned i = 0; i < RULES_MAX && has_rule(o, i); i++) {
        struct rule r;
        if (read_rule(o, i, &r, e)) {
            vec_free(&s->rules);
            return -1;
        }
        vec_push(&s->rules, r);
    }
    bool found;
    n->file = node_open_child(n, o, "image", &n->in, &found, e);
    if (!n->file) {
        vec_free(&s->rules);
        return found ? -1 : err_set(e, "blkdebug: no image= to pass requests on to");
    }
    n->size = n->file->size;
    n->align = n->file->align;
    return 0;
}

static void blkdebug_close(struct block_node *n)
{
    struct blkdebug *s = n->s;
    vec_free(&s->rules);
}

// 0, or the -errno that a rule wants.
static int injected(struct block_node *n, enum block_op op, uint64_t off, uint64_t bytes)
{
    struct blkdebug *s = n->s;
    for (size_t i = 0; i < s->rules.len; i++) {
        struct rule *r = &s->rules.data[i];
        if (r->spent || (r->op != ANY_OP && r->op != (int)op) ||
            (!r->anywhere && (r->at < off || r->at - off >= bytes)))
            continue;
        if (r->after) {
            r->after--;
            continue;
        }
        r->spent = r->once;
        return -r->error;
    }
    return 0;
}

static int blkdebug_read(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v)
{
    return injected(n, BLOCK_READ, off, bytes) ?: node_read(n->file, off, bytes, v);
}

static int blkdebug_write(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v,
                          uint32_t flags)
{
    return injected(n, BLOCK_WRITE, off, bytes) ?: node_write(n->file, off, bytes, v, flags);
}

static int blkdebug_write_zeroes(struct block_node *n, uint64_t off, uint64_t bytes, uint32_t flags)
{
    return injected(n, BLOCK_WRITE_ZEROES, off, bytes)
               ?: node_write_zeroes(n->file, off, bytes, flags);
}

static int blkdebug_discard(struct block_node *n, uint64_t off, uint64_t bytes)
{
    return injected(n, BLOCK_DISCARD, off, bytes) ?: node_discard(n->file, off, bytes);
}

static int blkdebug_flush(struct block_node *n)
{
    return injected(n, BLOCK_FLUSH, 0, 0) ?: node_flush(n->file);
}

static int blkdebug_status(struct block_node *n, uint64_t off, uint64_t bytes,
                           struct block_extent *x)
{
    return node_status(n->file, off, bytes, x);
}

static int blkdebug_resize(struct block_node *n, uint64_t size, struct err *e)
{
    if (node_resize(n->file, size, e))
        return -1;
    n->size = n->file->size;
    return 0;
}

static const struct block_image_ops blkdebug_image_ops = {
    .resize = blkdebug_resize,
};

const struct block_driver block_driver_blkdebug = {
    .name = "blkdebug",
    .protocol = true,
    .state_size = sizeof(struct blkdebug),
    .options = blkdebug_options,
    .open = blkdebug_open,
    .close = blkdebug_close,
    .read = blkdebug_read,
    .write = blkdebug_write,
    .write_zeroes = blkdebug_write_zeroes,
    .discard = blkdebug_discard,
    .flush = blkdebug_flush,
    .status = blkdebug_status,
    .image = &blkdebug_image_ops,
};
