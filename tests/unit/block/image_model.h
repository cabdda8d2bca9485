// Shared by the qcow2 tests: an image beside a flat model of what it must read as.
#pragma once

#include "block/image.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

struct model {
    char dir[64], path[96];
    uint8_t *data;
    size_t size;
    unsigned seed;
};

static inline unsigned model_random(struct model *m)
{
    m->seed = m->seed * 1103515245 + 12345;
    return m->seed >> 8;
}

static inline void model_init(struct model *m, size_t size, unsigned seed)
{
    strcpy(m->dir, "/tmp/myna-qcow2-XXXXXX");
    assert_non_null(mkdtemp(m->dir));
    snprintf(m->path, sizeof m->path, "%s/a.qcow2", m->dir);
    m->data = calloc(1, size);
    m->size = size;
    m->seed = seed;
}

static inline void model_free(struct model *m)
{
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", m->dir);
    assert_int_equal(system(cmd), 0);
    free(m->data);
}

// Options as "key=value,…".
static inline void make_image(const char *path, size_t size, const char *options,
                              const char *backing, const char *backing_format)
{
    struct err e = {0};
    struct opts o = {0};
    assert_int_equal(opts_parse(&o, options, NULL, &e), 0);
    struct block_create c = {
        .size = size, .opts = &o, .backing_name = backing, .backing_format = backing_format};
    if (image_create("qcow2", path, &c, &e))
        fail_msg("create %s: %s", options, e.msg);
    opts_free(&o);
}

static inline struct block_node *open_image(const char *path, const char *more, unsigned flags)
{
    struct err e = {0};
    struct opts o = {0};
    char text[512];
    snprintf(text, sizeof text, "driver=qcow2,filename=%s%s%s", path, *more ? "," : "", more);
    assert_int_equal(opts_parse(&o, text, NULL, &e), 0);
    struct block_node *n = image_open(&o, flags, NULL, &e);
    if (!n)
        fail_msg("open %s: %s", path, e.msg);
    opts_free(&o);
    return n;
}

static inline int image_io(struct block_node *n, enum block_op op, uint32_t flags, uint64_t off,
                           void *buf, size_t len);

struct io_wait {
    int result;
    bool done;
};

static inline void io_done(struct block_req *r, int result)
{
    struct io_wait *w = r->opaque;
    w->result = result;
    w->done = true;
}

static inline int image_io(struct block_node *n, enum block_op op, uint32_t flags, uint64_t off,
                           void *buf, size_t len)
{
    struct io_wait w = {0};
    struct iovec iov = {buf, len};
    struct block_req r = {.op = op,
                          .flags = flags,
                          .offset = off,
                          .bytes = len,
                          .iov = &iov,
                          .n_iov = 1,
                          .done = io_done,
                          .opaque = &w};
    block_submit(n, &r);
    block_drain(n);
    assert_true(w.done);
    return w.result;
}

static inline void expect_content(struct block_node *n, const uint8_t *want, size_t size)
{
    uint8_t *got = malloc(size);
    assert_int_equal(block_size(n), size);
    assert_int_equal(block_pread(n, 0, got, size), 0);
    for (size_t i = 0; i < size; i++)
        if (got[i] != want[i])
            fail_msg("byte 0x%zx is %02x, should be %02x", i, got[i], want[i]);
    free(got);
}

static inline void print_line(void *opaque, const char *line)
{
    fprintf(stderr, "  %s\n", line);
}

static inline void expect_sound(struct block_node *n, bool leaks_allowed)
{
    struct err e = {0};
    struct block_check c = {.report = print_line};
    if (leaks_allowed)
        c.report = NULL;
    assert_int_equal(image_check(n, &c, &e), 0);
    if (c.corruptions || c.check_errors || (c.leaks && !leaks_allowed))
        fail_msg("%s: %d corruptions, %d errors, %d leaks", block_filename(n), (int)c.corruptions,
                 (int)c.check_errors, (int)c.leaks);
}

// QEMU's own opinion, where its tools are installed.
static inline void expect_qemu_agrees(struct model *m)
{
    char raw[128], cmd[512];
    if (system("qemu-img --version >/dev/null 2>&1"))
        return;
    snprintf(raw, sizeof raw, "%s/model.raw", m->dir);
    FILE *f = fopen(raw, "w");
    assert_int_equal(fwrite(m->data, 1, m->size, f), m->size);
    fclose(f);
    snprintf(cmd, sizeof cmd,
             "qemu-img check -q -f qcow2 %s && qemu-img compare -q -f raw -F qcow2 %s %s", m->path,
             raw, m->path);
    if (system(cmd))
        fail_msg("qemu-img does not agree: %s", cmd);
}
