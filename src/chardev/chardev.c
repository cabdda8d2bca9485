// The core of character back ends: the type table, front-end attachments, the bounded output queue
// and its flow control, logging. Types are in one file each (chardevs.def); the mux is in mux.c.
#include "chardev/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sock.h"

#define CLOSE_FLUSH_NS 1000000000ll // longest wait for a slow reader at the end

#define CHARDEV(name, sym) extern const struct chardev_type chardev_##sym;
#include "chardev/chardevs.def"
#undef CHARDEV

static const struct {
    const char *name;
    const struct chardev_type *type;
} types[] = {
#define CHARDEV(name, sym) {name, &chardev_##sym},
#include "chardev/chardevs.def"
#undef CHARDEV
};

static const char *const type_names[] = {
#define CHARDEV(name, sym) name,
#include "chardev/chardevs.def"
#undef CHARDEV
    NULL,
};

void chardev_print_help(struct buf *out)
{
    buf_printf(out, "Available chardev backend types:\n");
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        buf_printf(out, "  %-8s %s\n", types[i].name, types[i].type->help);
}

const char *chardev_type_at(unsigned i, const char *const **keys)
{
    if (i >= ARRAY_SIZE(types) || !types[i].name)
        return NULL;
    *keys = types[i].type->keys;
    return types[i].name;
}

// Output: queue, flush, log.

static void log_output(struct chardev *c, const uint8_t *p, size_t n)
{
    while (c->log_fd >= 0 && n) {
        ssize_t r = write(c->log_fd, p, n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0) {
            log_warn("chardev '%s': logfile: %s; logging stops", c->id, strerror(errno));
            close(c->log_fd);
            c->log_fd = -1;
            return;
        }
        p += r;
        n -= (size_t)r;
    }
}

// Writes what the type takes; false when its peer is gone. Lock held. With nothing queued the type
// is called all the same: it may hold encoded bytes of its own.
static bool flush_locked(struct chardev *c)
{
    if (c->open && !c->out.len)
        return c->type->write(c, NULL, 0) >= 0;
    while (c->open && c->out.len) {
        const uint8_t *p;
        size_t n = queue_peek(&c->out, &p);
        ssize_t r = c->type->write(c, p, n);
        if (r < 0) {
            queue_clear(&c->out);
            return false;
        }
        queue_drop(&c->out, (size_t)r);
        if ((size_t)r < n)
            break;
    }
    return true;
}

void chr_be_writable(struct chardev *c)
{
    bool wake[CHR_MAX_FRONTENDS] = {false};
    mutex_lock(&c->lock);
    bool alive = flush_locked(c);
    if (c->out.len <= CHR_OUT_SOFT / 2)
        for (unsigned i = 0; i < c->n_fe; i++) {
            wake[i] = c->fe[i]->blocked;
            c->fe[i]->blocked = false;
        }
    mutex_unlock(&c->lock);
    if (!alive && c->type->broken)
        c->type->broken(c);
    for (unsigned i = 0; i < c->n_fe; i++)
        if (wake[i] && c->fe[i]->ops->can_write)
            c->fe[i]->ops->can_write(c->fe[i]->opaque);
}

static void run_flush(void *opaque)
{
    chr_be_writable(opaque);
}

static size_t put(struct chardev *c, const uint8_t *p, size_t n)
{
    return c->mux ? chr_mux_write(c, p, n) : queue_put(&c->out, p, n);
}

// Lock held. Writes at once when on the loop's thread; what that leaves behind, a peer that is gone
// or a thread of another kind is the deferred flush's business.
static void start_flush(struct chardev *c)
{
    if (!loop_is_current(c->loop) || !flush_locked(c))
        loop_defer(&c->flush_work);
}

size_t chr_write(struct chr_frontend *f, const void *p, size_t n)
{
    struct chardev *c = f ? f->c : NULL;
    if (!c || !n)
        return n;
    mutex_lock(&c->lock);
    size_t took = n;
    if (c->open) {
        took = c->out.len < CHR_OUT_SOFT ? put(c, p, MIN(n, CHR_OUT_SOFT - c->out.len)) : 0;
        if (took < n) {
            f->blocked = true;
            loop_defer(&c->flush_work);
        } else {
            start_flush(c);
        }
    }
    log_output(c, p, took);
    mutex_unlock(&c->lock);
    return took;
}

void chr_write_all(struct chr_frontend *f, const void *p, size_t n)
{
    struct chardev *c = f ? f->c : NULL;
    if (!c || !n)
        return;
    mutex_lock(&c->lock);
    log_output(c, p, n);
    if (c->open) {
        c->lost += queue_put_force(&c->out, p, n);
        start_flush(c);
    }
    mutex_unlock(&c->lock);
}

// Input and events.

static struct chr_frontend *input_target(struct chardev *c)
{
    return c->n_fe ? c->fe[c->focus] : NULL;
}

// A little more than the front end itself can take is read, so that the end of the stream behind
// it and the mux's escape are seen while the front end is busy.
size_t chr_be_can_receive(struct chardev *c)
{
    struct chr_frontend *f = input_target(c);
    if (c->paused)
        return 0;
    if (!f)
        return c->mux ? CHR_INPUT_LIMIT : 0;
    return f->in.limit - f->in.len;
}

void chr_be_receive(struct chardev *c, const uint8_t *p, size_t n)
{
    if (c->mux)
        chr_mux_receive(c, p, n);
    else if (c->n_fe)
        chr_fe_feed(c->fe[0], p, n);
}

void chr_fe_feed(struct chr_frontend *f, const uint8_t *p, size_t n)
{
    while (!f->in.len && n) {
        size_t k = MIN(f->ops->can_receive(f->opaque), n);
        if (!k)
            break;
        f->ops->receive(f->opaque, p, k);
        p += k;
        n -= k;
    }
    if (n)
        queue_put(&f->in, p, n);
}

void chr_fe_drain(struct chr_frontend *f)
{
    while (f->in.len) {
        const uint8_t *p;
        uint8_t chunk[512];
        size_t n = MIN(queue_peek(&f->in, &p), f->ops->can_receive(f->opaque));
        if (!n)
            return;
        n = queue_get(&f->in, chunk, MIN(n, sizeof chunk));
        f->ops->receive(f->opaque, chunk, n);
    }
}

static void send_event(struct chr_frontend *f, enum chr_event ev)
{
    if (ev == CHR_OPENED || ev == CHR_CLOSED) {
        if (f->seen_open == (ev == CHR_OPENED))
            return;
        f->seen_open = ev == CHR_OPENED;
    }
    if (f->ops->event)
        f->ops->event(f->opaque, ev);
}

void chr_be_event(struct chardev *c, enum chr_event ev)
{
    for (unsigned i = 0; i < c->n_fe; i++)
        if (!c->mux || i == c->focus || ev != CHR_BREAK)
            send_event(c->fe[i], ev);
}

void chr_be_set_open(struct chardev *c, bool open)
{
    bool wake = false;
    mutex_lock(&c->lock);
    __atomic_store_n(&c->open, open, __ATOMIC_RELEASE);
    if (!open) {
        queue_clear(&c->out);
        for (unsigned i = 0; i < c->n_fe; i++)
            wake |= c->fe[i]->blocked;
    }
    mutex_unlock(&c->lock);
    if (wake) // nobody reads any more: writers go on, their bytes are dropped
        loop_defer(&c->flush_work);
    chr_be_event(c, open ? CHR_OPENED : CHR_CLOSED);
}

static void run_announce(void *opaque)
{
    struct chr_frontend *f = opaque;
    struct chardev *c = f->c;
    if (c->open)
        send_event(f, CHR_OPENED);
    loop_defer(&c->input_work);
}

static void run_accept_input(void *opaque)
{
    struct chardev *c = opaque;
    for (unsigned i = 0; i < c->n_fe; i++)
        chr_fe_drain(c->fe[i]);
    if (c->type->accept_input)
        c->type->accept_input(c);
}

void chr_accept_input(struct chr_frontend *f)
{
    if (f && f->c)
        loop_defer(&f->c->input_work);
}

struct chr_frontend *chr_attach(struct chardev *c, const struct chr_frontend_ops *ops, void *fe,
                                struct err *e)
{
    if (!c->mux && c->n_fe) {
        err_set(e, "chardev '%s' is already in use; give it mux=on to share it", c->id);
        return NULL;
    }
    if (c->n_fe == CHR_MAX_FRONTENDS) {
        err_set(e, "chardev '%s': a mux takes at most %d front ends", c->id, CHR_MAX_FRONTENDS);
        return NULL;
    }
    struct chr_frontend *f = xalloc(sizeof *f);
    f->c = c;
    f->ops = ops;
    f->opaque = fe;
    f->in.limit = CHR_INPUT_LIMIT;
    loop_work_init(&f->announce, c->loop, run_announce, f);
    mutex_lock(&c->lock);
    c->fe[c->n_fe++] = f;
    mutex_unlock(&c->lock);
    // Not before the caller holds its handle.
    loop_defer(&f->announce);
    return f;
}

static void release_frontend(struct chr_frontend *f)
{
    if (f->c)
        loop_work_cancel(&f->announce);
    queue_clear(&f->in);
    free(f);
}

void chr_detach(struct chr_frontend *f)
{
    if (!f)
        return;
    struct chardev *c = f->c;
    if (c) {
        unsigned i = 0;
        mutex_lock(&c->lock);
        while (c->fe[i] != f)
            BUG_ON(++i == c->n_fe);
        memmove(&c->fe[i], &c->fe[i + 1], (--c->n_fe - i) * sizeof c->fe[0]);
        mutex_unlock(&c->lock);
        if (c->mux)
            chr_mux_detached(c, i);
    }
    release_frontend(f);
}

bool chr_frontend_open(const struct chr_frontend *f)
{
    return f && f->c && chardev_is_open(f->c);
}

int chr_get_msgfd(struct chr_frontend *f)
{
    if (!f || !f->c || !f->c->type->get_msgfd)
        return -1;
    return f->c->type->get_msgfd(f->c);
}

// Opening and closing.

static const struct chardev_type *find_type(const char *name, struct err *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (!strcmp(types[i].name, name))
            return types[i].type;
    err_set(e, "'%s' is not a chardev backend ('-chardev help' lists them)", name);
    err_did_you_mean(e, name, type_names);
    return NULL;
}

static int open_common(struct chardev *c, struct opts *o, struct err *e)
{
    bool append = false, mux = false;
    const char *logfile = opts_get(o, "logfile"), *logfd = opts_get(o, "logfd");
    if (opts_get_bool(o, "logappend", &append, e) || opts_get_bool(o, "mux", &mux, e))
        return -1;
    if (logfile) {
        int how = O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC);
        c->log_fd = open(logfile, how, 0666);
        if (c->log_fd < 0)
            return err_errno(e, errno, "logfile %s", logfile);
    }
    if (logfd && (c->log_fd = sock_adopt_fd(logfd, e)) < 0)
        return err_prefix(e, "logfd");
    if (mux) {
        c->mux = xalloc(sizeof *c->mux);
        c->mux->escape = 1;
        c->mux->line_start = true;
    }
    return 0;
}

static void destroy(struct chardev *c)
{
    loop_work_cancel(&c->flush_work);
    loop_work_cancel(&c->input_work);
    if (c->log_fd >= 0)
        close(c->log_fd);
    queue_clear(&c->out);
    buf_free(&c->description);
    pthread_mutex_destroy(&c->lock);
    free(c->mux);
    free(c->id);
    free(c);
}

struct chardev *chardev_open(struct opts *o, struct loop *loop, struct err *e)
{
    const char *name = opts_get(o, "backend"), *id = opts_get(o, "id");
    if (!name) {
        err_set(e, "chardev: no backend given ('-chardev help' lists them)");
        return NULL;
    }
    if (!strcmp(name, "none"))
        return NULL;
    const struct chardev_type *type = find_type(name, e);
    if (!type)
        return NULL;
    struct chardev *c = xalloc(type->size);
    c->type = type;
    c->id = xstrdup(id ? id : name);
    c->loop = loop;
    c->log_fd = c->out_fd = -1;
    c->out.limit = CHR_OUT_LIMIT;
    pthread_mutex_init(&c->lock, NULL);
    loop_work_init(&c->flush_work, loop, run_flush, c);
    loop_work_init(&c->input_work, loop, run_accept_input, c);
    if (!open_common(c, o, e)) {
        if (!type->open(c, o, e) && !opts_check_unused(o, type->name, type->keys, e))
            return c;
        type->close(c);
    }
    err_prefix(e, "chardev '%s'", c->id);
    destroy(c);
    return NULL;
}

// The last words of a monitor or a guest still go out, if their reader is not stuck.
static void flush_at_close(struct chardev *c)
{
    int64_t deadline = host_monotonic_ns() + CLOSE_FLUSH_NS;
    mutex_lock(&c->lock);
    while (flush_locked(c) && c->open && c->out.len && c->out_fd >= 0) {
        int64_t left = deadline - host_monotonic_ns();
        struct pollfd p = {.fd = c->out_fd, .events = POLLOUT};
        if (left <= 0 || poll(&p, 1, (int)(left / 1000000) + 1) == 0)
            break;
    }
    mutex_unlock(&c->lock);
}

void chardev_close(struct chardev *c)
{
    if (!c)
        return;
    flush_at_close(c);
    for (unsigned i = 0; i < c->n_fe; i++) {
        loop_work_cancel(&c->fe[i]->announce);
        c->fe[i]->c = NULL;
    }
    c->n_fe = 0;
    c->type->close(c);
    destroy(c);
}

const char *chardev_id(const struct chardev *c)
{
    return c->id;
}

const char *chardev_describe(struct chardev *c)
{
    c->description.len = 0;
    if (c->type->describe)
        c->type->describe(c, &c->description);
    else
        buf_printf(&c->description, "%s", c->type->name);
    return buf_str(&c->description);
}

bool chardev_is_open(struct chardev *c)
{
    return __atomic_load_n(&c->open, __ATOMIC_ACQUIRE);
}

bool chardev_is_mux(struct chardev *c)
{
    return c->mux;
}

bool chardev_is_busy(const struct chardev *c)
{
    return c->n_fe;
}

void chardev_pause(struct chardev *c, bool on)
{
    c->paused = on;
    if (!on)
        loop_defer(&c->input_work);
}

int chardev_fd(const struct chardev *c)
{
    return c->out_fd;
}

void chardev_send_break(struct chardev *c)
{
    chr_be_event(c, CHR_BREAK);
}
