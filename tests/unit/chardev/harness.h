// A front end that records what it is given.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "../base/pump.h"
#include "chardev/chardev.h"

struct recorder {
    struct chr_frontend *f;
    struct buf in;
    size_t room; // can_receive
    unsigned opened, closed, breaks, mux_in, mux_out, can_write;
};

static inline size_t rec_can_receive(void *fe)
{
    return ((struct recorder *)fe)->room;
}
static inline void rec_receive(void *fe, const uint8_t *p, size_t n)
{
    struct recorder *r = fe;
    assert_true(n <= r->room);
    r->room -= n;
    buf_put(&r->in, p, n);
}
static inline void rec_event(void *fe, enum chr_event ev)
{
    struct recorder *r = fe;
    r->opened += ev == CHR_OPENED;
    r->closed += ev == CHR_CLOSED;
    r->breaks += ev == CHR_BREAK;
    r->mux_in += ev == CHR_MUX_IN;
    r->mux_out += ev == CHR_MUX_OUT;
}
static inline void rec_can_write(void *fe)
{
    ((struct recorder *)fe)->can_write++;
}
static const struct chr_frontend_ops recorder_ops = {
    .can_receive = rec_can_receive,
    .receive = rec_receive,
    .event = rec_event,
    .can_write = rec_can_write,
};

static inline struct chardev *open_chardev(struct loop *l, const char *text)
{
    struct opts o = {0};
    struct err e = {0};
    assert_int_equal(opts_parse(&o, text, "backend", &e), 0);
    struct chardev *c = chardev_open(&o, l, &e);
    opts_free(&o);
    if (!c)
        fail_msg("%s: %s", text, e.msg);
    return c;
}

// The error of opening `text`, which must fail.
static inline const char *open_error(struct loop *l, const char *text)
{
    static struct err e;
    struct opts o = {0};
    e.msg[0] = 0;
    assert_int_equal(opts_parse(&o, text, "backend", &e), 0);
    assert_null(chardev_open(&o, l, &e));
    opts_free(&o);
    assert_true(e.msg[0]);
    assert_null(strchr(e.msg, '\n'));
    return e.msg;
}

static inline void attach(struct recorder *r, struct chardev *c)
{
    struct err e = {0};
    r->f = chr_attach(c, &recorder_ops, r, &e);
    if (!r->f)
        fail_msg("%s", e.msg);
}

static inline void detach(struct recorder *r)
{
    chr_detach(r->f);
    buf_free(&r->in);
}
