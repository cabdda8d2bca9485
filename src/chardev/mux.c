// One back end shared by several front ends. The escape character (Ctrl-A) and a letter act on the
// mux itself; other input goes to the front end that has the focus, held in a bounded queue while
// that one is busy so that the escape still works. Output of all front ends is mixed.
#include "chardev/backend.h"

#include <stdio.h>

#include "base/clock.h"

static struct chr_frontend *focused(struct chardev *c)
{
    return c->n_fe ? c->fe[c->focus] : NULL;
}

static void event(struct chr_frontend *f, enum chr_event ev)
{
    if (f && f->ops->event)
        f->ops->event(f->opaque, ev);
}

static void set_focus(struct chardev *c, unsigned index)
{
    if (index == c->focus)
        return;
    event(focused(c), CHR_MUX_OUT);
    c->focus = index;
    event(focused(c), CHR_MUX_IN);
    chr_fe_drain(focused(c));
}

void chr_mux_detached(struct chardev *c, unsigned index)
{
    if (index < c->focus || c->focus == c->n_fe)
        c->focus = c->focus ? c->focus - 1 : 0;
    else if (index > c->focus)
        return;
    if (c->n_fe)
        event(focused(c), CHR_MUX_IN);
}

void chr_take_focus(struct chr_frontend *f)
{
    struct chardev *c = f ? f->c : NULL;
    for (unsigned i = 0; c && c->mux && i < c->n_fe; i++)
        if (c->fe[i] == f)
            set_focus(c, i);
}

// Text of the mux itself.
static void say(struct chardev *c, const char *text)
{
    if (focused(c))
        chr_write_all(focused(c), text, strlen(text));
}

static void print_help(struct chardev *c)
{
    uint8_t ch = c->mux->escape;
    struct buf b = {0};
    char esc[16] = "";
    if (ch < 32)
        snprintf(esc, sizeof esc, "C-%c", ch + 'a' - 1);
    else
        snprintf(esc, sizeof esc, "%c", ch);
    buf_printf(&b,
               "\r\n%s h    print this help\r\n%s x    exit emulator\r\n"
               "%s s    save disk data back to file (if -snapshot)\r\n"
               "%s t    toggle console timestamps\r\n%s b    send break (magic sysrq)\r\n"
               "%s c    switch between console and monitor\r\n%s %s  sends %s\r\n",
               esc, esc, esc, esc, esc, esc, esc, esc, esc);
    say(c, buf_str(&b));
    buf_free(&b);
}

// The byte after the escape character. True when it is input after all.
static bool command(struct chardev *c, uint8_t ch)
{
    struct chr_mux *m = c->mux;
    if (ch == m->escape)
        return true;
    switch (ch) {
    case 'h':
    case '?':
        if (m->has_ops && m->ops.help)
            m->ops.help(m->ops.opaque, c);
        else
            print_help(c);
        break;
    case 'x':
        say(c, "\r\nTerminated\r\n");
        if (m->has_ops && m->ops.quit)
            m->ops.quit(m->ops.opaque);
        break;
    case 's':
        if (m->has_ops && m->ops.commit)
            m->ops.commit(m->ops.opaque);
        break;
    case 'b':
        event(focused(c), CHR_BREAK);
        break;
    case 'c':
        if (c->n_fe)
            set_focus(c, (c->focus + 1) % c->n_fe);
        break;
    case 't':
        mutex_lock(&c->lock); // writers on other threads look at these
        m->timestamps = !m->timestamps;
        m->start_ns = host_monotonic_ns();
        m->line_start = true;
        mutex_unlock(&c->lock);
        break;
    }
    return false;
}

void chr_mux_receive(struct chardev *c, const uint8_t *p, size_t n)
{
    struct chr_mux *m = c->mux;
    for (size_t i = 0; i < n; i++) {
        bool data = true;
        if (m->escaped) {
            m->escaped = false;
            data = command(c, p[i]);
        } else if (m->escape && p[i] == m->escape) {
            m->escaped = true;
            data = false;
        }
        if (data && focused(c))
            chr_fe_feed(focused(c), &p[i], 1);
    }
}

static void put_stamp(struct chardev *c)
{
    int64_t ms = (host_monotonic_ns() - c->mux->start_ns) / 1000000;
    char text[48];
    int n = snprintf(text, sizeof text, "[%02d:%02d:%02d.%03d] ", (int)(ms / 3600000),
                     (int)(ms / 60000 % 60), (int)(ms / 1000 % 60), (int)(ms % 1000));
    queue_put(&c->out, text, (size_t)n);
}

size_t chr_mux_write(struct chardev *c, const uint8_t *p, size_t n)
{
    struct chr_mux *m = c->mux;
    if (!m->timestamps)
        return queue_put(&c->out, p, n);
    size_t done = 0;
    while (done < n) {
        if (m->line_start)
            put_stamp(c);
        const uint8_t *nl = memchr(p + done, '\n', n - done);
        size_t k = nl ? (size_t)(nl - (p + done)) + 1 : n - done;
        size_t took = queue_put(&c->out, p + done, k);
        m->line_start = took && p[done + took - 1] == '\n';
        done += took;
        if (took < k)
            break;
    }
    return done;
}

void chardev_set_mux_ops(struct chardev *c, const struct chr_mux_ops *ops)
{
    if (!c->mux)
        return;
    c->mux->ops = *ops;
    c->mux->has_ops = true;
}

void chardev_set_escape(struct chardev *c, uint8_t ctrl_char)
{
    if (c->mux)
        c->mux->escape = ctrl_char;
}
