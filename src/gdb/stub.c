// The stub as a front end: attaching and leaving, and the choice of who handles a packet. What gdb
// may ask depends on the state: while the machine runs, only to interrupt it or to leave.
#include "gdb/stub.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

void gdb_interrupt(struct gdb_stub *g)
{
    if (g->state != GDB_RUNNING)
        return;
    g->interrupted = true;
    g->ops->stop(g->target);
}

void gdb_forget_child(struct gdb_stub *g, bool follow)
{
    if (g->child)
        g->ops->follow(g->target, follow);
    g->child = 0;
    g->child_g = false;
}

void gdb_follow_vfork(struct gdb_stub *g)
{
    g->parent = g->ops->pid(g->target);
    g->vfork_cpu = g->last.cpu;
    gdb_forget_child(g, true);
}

void gdb_release(struct gdb_stub *g)
{
    gdb_forget_child(g, false);
    g->parent = 0;
    for (size_t i = 0; i < g->points.len; i++) {
        struct gdb_inserted *p = &g->points.data[i];
        g->ops->remove(g->target, p->kind, p->addr, p->len);
    }
    g->points.len = 0;
    g->attached = g->report = g->interrupted = false;
    if (g->state != GDB_STOPPED)
        return;
    g->state = GDB_RUNNING;
    enum gdb_action all[GDB_CPUS_MAX];
    unsigned n = MIN(g->ops->n_cpus(g->target), (unsigned)GDB_CPUS_MAX);
    for (unsigned i = 0; i < n; i++)
        all[i] = GDB_CONTINUE;
    g->ops->resume(g->target, all, n);
}

void gdb_stub_leave(struct gdb_stub *g)
{
    gdb_release(g);
    g->state = GDB_RUNNING;
}

// "D", or "D;PID": the forked child, or this process, with gdb staying at the child. Any other is
// what a vfork child has left behind.
static void detach(struct gdb_stub *g, char *p)
{
    uint64_t pid;
    bool named = gdb_expect(&p, ';') && gdb_hex(&p, &pid);
    if (named && g->ops->pid && pid != g->child && pid != g->ops->pid(g->target)) {
        g->parent = 0;
    } else if (named && g->child && pid == g->child) {
        gdb_forget_child(g, false);
    } else if (named && g->child) {
        chardev_pause(g->chardev, true); // what comes is the child's
        gdb_forget_child(g, true);
        gdb_release(g);
        return;
    } else {
        gdb_release(g);
    }
    gdb_reply(g, "OK");
}

void gdb_handle(struct gdb_stub *g, char *p, size_t n)
{
    switch (p[0]) {
    case '?':
        if (g->state == GDB_RUNNING)
            g->report = true; // answered when it has stopped
        else
            gdb_report_stop(g);
        return;
    case 'D':
        detach(g, p + 1);
        return;
    case 'k':
        g->ops->kill(g->target);
        return;
    }
    if (gdb_handle_query(g, p, n))
        return;
    if (g->state == GDB_RUNNING) {
        gdb_reply(g, "E01");
        return;
    }
    if (!gdb_handle_data(g, p, n) && !gdb_handle_run(g, p, n))
        gdb_reply(g, ""); // not supported
}

static void attach(struct gdb_stub *g)
{
    g->attached = true;
    if (g->adopted) {
        g->adopted = false;
        if (g->report)
            gdb_report_stop(g);
        else
            gdb_reply(g, "OK");
        return;
    }
    g->session = (struct gdb_session){0};
    g->report = g->interrupted = false;
    g->rx = GDB_IDLE;
    g->out.len = 0;
    g->cpu_g = g->cpu_c = 0;
    g->memory = GDB_VIRTUAL;
    if (g->state == GDB_RUNNING)
        g->ops->stop(g->target);
}

static size_t can_receive(void *opaque)
{
    return GDB_PACKET_MAX;
}

static void receive(void *opaque, const uint8_t *p, size_t n)
{
    gdb_receive(opaque, p, n);
}

static void event(void *opaque, enum chr_event ev)
{
    struct gdb_stub *g = opaque;
    if (ev == CHR_OPENED)
        attach(g);
    else if (ev == CHR_CLOSED && g->attached)
        gdb_release(g);
}

static const struct chr_frontend_ops frontend = {
    .can_receive = can_receive,
    .receive = receive,
    .event = event,
};

struct gdb_stub *gdb_stub_new(struct chardev *c, const struct gdb_target_ops *ops, void *target,
                              struct err *e)
{
    struct gdb_stub *g = xalloc(sizeof *g);
    g->chardev = c;
    g->ops = ops;
    g->target = target;
    g->f = chr_attach(c, &frontend, g, e);
    if (!g->f) {
        free(g);
        return NULL;
    }
    return g;
}

struct gdb_stub *gdb_stub_open(const char *spec, struct loop *loop,
                               const struct gdb_target_ops *ops, void *target, struct err *e)
{
    struct opts o = {0};
    struct gdb_stub *g = NULL;
    bool mux;
    if (chardev_opts_from_legacy(spec, &o, &mux, e)) {
        err_prefix(e, "-gdb");
        goto out;
    }
    const char *backend = opts_get(&o, "backend");
    if (backend && !strcmp(backend, "socket")) {
        if (!opts_has(&o, "server"))
            opts_set(&o, "server", "on");
        if (!opts_has(&o, "wait"))
            opts_set(&o, "wait", "off");
    }
    if (!opts_has(&o, "id"))
        opts_set(&o, "id", "gdb");
    struct chardev *c = chardev_open(&o, loop, e);
    if (!c) {
        if (!e->msg[0])
            err_set(e, "-gdb %s: nothing to talk over", spec);
        goto out;
    }
    g = gdb_stub_new(c, ops, target, e);
    if (!g)
        chardev_close(c);
out:
    opts_free(&o);
    return g;
}

struct gdb_stub *gdb_stub_adopt(int fd, const struct gdb_session *s, const struct gdb_stop *stop,
                                struct loop *loop, const struct gdb_target_ops *ops, void *target,
                                struct err *e)
{
    struct opts o = {0};
    char number[16];
    snprintf(number, sizeof number, "%d", fd);
    opts_set(&o, "backend", "socket");
    opts_set(&o, "id", "gdb");
    opts_set(&o, "fd", number);
    struct chardev *c = chardev_open(&o, loop, e);
    opts_free(&o);
    struct gdb_stub *g = c ? gdb_stub_new(c, ops, target, e) : NULL;
    if (g) {
        g->adopted = g->attached = true;
        g->session = *s;
        g->state = GDB_STOPPED;
        g->report = stop != NULL;
        g->last = stop ? *stop : (struct gdb_stop){.why = GDB_STOP_TRAP};
    } else if (c) {
        chardev_close(c);
    }
    return g;
}

const struct gdb_session *gdb_stub_session(const struct gdb_stub *g)
{
    return &g->session;
}

int gdb_stub_fd(const struct gdb_stub *g)
{
    return chardev_fd(g->chardev);
}

void gdb_stub_pause(struct gdb_stub *g, bool on)
{
    chardev_pause(g->chardev, on);
}

void gdb_stub_close(struct gdb_stub *g)
{
    if (!g)
        return;
    chr_detach(g->f);
    chardev_close(g->chardev);
    vec_free(&g->points);
    buf_free(&g->out);
    free(g);
}

bool gdb_stub_attached(const struct gdb_stub *g)
{
    return g->attached;
}
