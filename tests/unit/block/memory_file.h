// A file in memory that remembers the order of what was written to it: the tests' disk whose power
// can be cut.
#pragma once

#include "block/image.h"
#include <errno.h>
#include <stdlib.h>

struct log_entry {
    enum { LOG_WRITE, LOG_ZERO, LOG_SIZE, LOG_FLUSH } kind;
    uint64_t off, len;
    uint8_t *data; // WRITE
};

struct memory_file {
    uint8_t *data;
    uint64_t len;
    bool logging;
    unsigned jitter; // not 0: requests give way at random, seeded with this
    struct log_entry *log;
    size_t n_log, cap_log;
};

static struct memory_file *memory_of(struct block_node *n)
{
    return n->s;
}

// Lets other requests run a random number of times, the same each time for the same seed.
static void memory_give_way(struct block_node *n)
{
    struct memory_file *m = memory_of(n);
    struct co_sched *co = engine_co(n->eng);
    if (!m->jitter)
        return;
    m->jitter = m->jitter * 1103515245 + 12345;
    for (unsigned i = m->jitter >> 16 & 7; i; i--) {
        co_wake(co, co_self(co));
        co_yield (co);
    }
}

static void memory_log(struct memory_file *m, struct log_entry x)
{
    if (!m->logging)
        return;
    if (m->n_log == m->cap_log)
        m->log = realloc(m->log, (m->cap_log = m->cap_log * 2 + 64) * sizeof *m->log);
    m->log[m->n_log++] = x;
}

static void memory_grow(struct memory_file *m, uint64_t len)
{
    if (len <= m->len)
        return;
    m->data = realloc(m->data, len);
    memset(m->data + m->len, 0, len - m->len);
    m->len = len;
}

static int memory_read(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v)
{
    struct memory_file *m = memory_of(n);
    memory_give_way(n);
    uint64_t have = off < m->len ? MIN(bytes, m->len - off) : 0;
    iov_copy_in(v, m->data + (have ? off : 0), have);
    iov_zero(iov_advance(v, have), bytes - have);
    return 0;
}

static int memory_write(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v,
                        uint32_t flags)
{
    struct memory_file *m = memory_of(n);
    memory_give_way(n);
    if (off + bytes > 64 * MiB)
        return -EFBIG;
    memory_grow(m, off + bytes);
    iov_copy_out(v, m->data + off, bytes);
    if (m->logging) {
        uint8_t *copy = malloc(bytes);
        memcpy(copy, m->data + off, bytes);
        memory_log(m, (struct log_entry){LOG_WRITE, off, bytes, copy});
    }
    n->size = m->len;
    return 0;
}

static int memory_zero(struct block_node *n, uint64_t off, uint64_t bytes, uint32_t flags)
{
    struct memory_file *m = memory_of(n);
    memory_give_way(n);
    if (off + bytes > 64 * MiB)
        return -EFBIG;
    memory_grow(m, off + bytes);
    memset(m->data + off, 0, bytes);
    memory_log(m, (struct log_entry){LOG_ZERO, off, bytes, NULL});
    n->size = m->len;
    return 0;
}

static int memory_discard(struct block_node *n, uint64_t off, uint64_t bytes)
{
    struct memory_file *m = memory_of(n);
    if (off >= m->len)
        return 0;
    return memory_zero(n, off, MIN(bytes, m->len - off), 0);
}

static int memory_flush(struct block_node *n)
{
    // What was written before the call is durable when it returns; no more is promised.
    memory_log(memory_of(n), (struct log_entry){.kind = LOG_FLUSH});
    memory_give_way(n);
    return 0;
}

static int memory_resize(struct block_node *n, uint64_t size, struct err *e)
{
    struct memory_file *m = memory_of(n);
    if (size > 64 * MiB)
        return err_set(e, "too large for the test");
    memory_grow(m, size);
    m->len = n->size = size;
    memory_log(m, (struct log_entry){LOG_SIZE, size, 0, NULL});
    return 0;
}

static void memory_close(struct block_node *n)
{
    struct memory_file *m = memory_of(n);
    for (size_t i = 0; i < m->n_log; i++)
        free(m->log[i].data);
    free(m->log);
    free(m->data);
}

static const struct block_image_ops memory_image_ops = {.resize = memory_resize};
static const struct block_driver memory_driver = {
    .name = "memory",
    .protocol = true,
    .state_size = sizeof(struct memory_file),
    .close = memory_close,
    .read = memory_read,
    .write = memory_write,
    .write_zeroes = memory_zero,
    .discard = memory_discard,
    .flush = memory_flush,
    .image = &memory_image_ops,
};

// Runs driver code where it belongs, in a coroutine.
struct memory_call {
    struct block_node *file, *made;
    const char *options;
    uint64_t size;
    struct err e;
    int result;
};

static void memory_create_entry(void *arg)
{
    struct memory_call *c = arg;
    struct opts o = {0};
    struct block_create create = {.size = c->size, .opts = &o};
    c->result = opts_parse(&o, c->options, NULL, &c->e) ||
                block_driver_find("qcow2")->image->create(c->file, &create, &c->e);
    opts_free(&o);
}

static void memory_open_entry(void *arg)
{
    struct memory_call *c = arg;
    struct opts o = {0};
    c->made = node_wrap(c->file, block_driver_find("qcow2"), &o, &c->e);
    opts_free(&o);
}

static struct block_node *memory_new(struct engine *eng, const void *data, uint64_t len)
{
    struct block_node *n = node_new_protocol(&memory_driver, eng, len);
    memory_grow(memory_of(n), len);
    if (len)
        memcpy(memory_of(n)->data, data, len);
    n->in.no_backing = true;
    n->in.discard_unmap = true;
    return n;
}
