// Questions that do not touch the machine's state: features, threads, the target description, and
// the monitor's passage (qRcmd).
#include "gdb/stub.h"

#include <stdlib.h>

#define MONITOR_CHUNK 1024

static char *after(char *p, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(p, prefix, n) ? NULL : p + n;
}

static void select_thread(struct gdb_stub *g, char *p)
{
    char which = *p++;
    unsigned cpu = 0;
    enum gdb_thread t = gdb_thread_id(g, &p, &cpu);
    if (t == GDB_THREAD_BAD || (which != 'g' && which != 'c')) {
        gdb_reply(g, "E22");
        return;
    }
    if (which == 'g')
        g->child_g = t == GDB_THREAD_CHILD;
    if (t == GDB_THREAD_ONE && which == 'g')
        g->cpu_g = cpu;
    if (t == GDB_THREAD_ONE && which == 'c')
        g->cpu_c = cpu;
    gdb_reply(g, "OK");
}

static void thread_alive(struct gdb_stub *g, char *p)
{
    unsigned cpu;
    enum gdb_thread t = gdb_thread_id(g, &p, &cpu);
    gdb_reply(g, t == GDB_THREAD_ONE || t == GDB_THREAD_CHILD || t == GDB_THREAD_PARENT ? "OK"
                                                                                        : "E22");
}

static void list_threads(struct gdb_stub *g, bool first)
{
    unsigned n = g->ops->n_cpus(g->target);
    if (first)
        g->next_thread = 0;
    if (g->next_thread >= n) {
        gdb_reply(g, "l");
        return;
    }
    gdb_reply_begin(g);
    char sep = 'm';
    for (; g->next_thread < n && g->out.len < GDB_PACKET_MAX - 64; g->next_thread++) {
        bool ours = !g->parent || g->next_thread == g->vfork_cpu;
        if (!gdb_alive(g, g->next_thread))
            continue;
        buf_u8(&g->out, (uint8_t)sep);
        if (g->parent)
            buf_printf(&g->out, "p%x.%x%s", g->parent, g->next_thread + 1, ours ? "," : "");
        if (ours)
            gdb_put_thread(g, g->next_thread);
        sep = ',';
    }
    gdb_reply_end(g);
}

static void thread_text(struct gdb_stub *g, char *p)
{
    unsigned cpu;
    struct buf text = {0};
    enum gdb_thread t = gdb_thread_id(g, &p, &cpu);
    if (t != GDB_THREAD_ONE) { // nothing to say of a process that stands still
        gdb_reply(g, t == GDB_THREAD_CHILD || t == GDB_THREAD_PARENT ? "" : "E22");
        return;
    }
    g->ops->cpu_text(g->target, cpu, &text);
    gdb_reply_hex(g, text.data, MIN(text.len, (size_t)256));
    buf_free(&text);
}

// The part of an object that "OFFSET,LENGTH" names.
static void reply_part(struct gdb_stub *g, char *p, const char *object, size_t size)
{
    uint64_t off, len;
    if (!gdb_hex(&p, &off) || !gdb_expect(&p, ',') || !gdb_hex(&p, &len)) {
        gdb_reply(g, "E00");
        return;
    }
    off = MIN(off, size);
    len = MIN(MIN(len, size - off), (size_t)GDB_PACKET_MAX / 2 - 8);
    gdb_reply_begin(g);
    buf_u8(&g->out, off + len < size ? 'm' : 'l');
    gdb_put_binary(g, object + off, len);
    gdb_reply_end(g);
}

// "ANNEX:OFFSET,LENGTH"
static void read_features(struct gdb_stub *g, char *p)
{
    char *colon = strchr(p, ':');
    if (colon)
        *colon = 0;
    const char *xml = colon ? g->ops->xml(g->target, p) : NULL;
    if (xml)
        reply_part(g, colon + 1, xml, strlen(xml));
    else
        gdb_reply(g, "E00");
}

static void read_auxv(struct gdb_stub *g, char *p)
{
    struct buf v = {0};
    if (!g->ops->auxv) {
        gdb_reply(g, "");
        return;
    }
    g->ops->auxv(g->target, &v);
    reply_part(g, p, (const char *)v.data, v.len);
    buf_free(&v);
}

static void run_monitor(struct gdb_stub *g, const char *hex)
{
    char command[1024];
    struct buf out = {0};
    size_t n = gdb_unhex(hex, (uint8_t *)command, sizeof command - 1);
    command[n] = 0;
    if (!g->ops->monitor) {
        gdb_reply(g, "");
        return;
    }
    g->ops->monitor(g->target, command, &out);
    for (size_t at = 0; at < out.len; at += MONITOR_CHUNK) {
        gdb_reply_begin(g);
        buf_u8(&g->out, 'O');
        gdb_put_hex(g, out.data + at, MIN(out.len - at, (size_t)MONITOR_CHUNK));
        gdb_reply_end(g);
    }
    buf_free(&out);
    gdb_reply(g, "OK");
}

static void supported(struct gdb_stub *g, const char *theirs)
{
    struct gdb_session *s = &g->session;
    s->multiprocess = g->ops->pid && strstr(theirs, "multiprocess+");
    s->fork_events = s->multiprocess && strstr(theirs, ";fork-events+");
    s->vfork_events = s->multiprocess && strstr(theirs, "vfork-events+");
    s->exec_events = s->multiprocess && strstr(theirs, "exec-events+");
    gdb_reply_begin(g);
    buf_printf(&g->out, "PacketSize=%x;QStartNoAckMode+;vContSupported+%s%s%s%s%s%s",
               GDB_PACKET_MAX, s->multiprocess ? ";multiprocess+" : "",
               s->fork_events ? ";fork-events+" : "", s->vfork_events ? ";vfork-events+" : "",
               s->exec_events ? ";exec-events+" : "",
               g->ops->xml(g->target, "target.xml") ? ";qXfer:features:read+" : "",
               g->ops->auxv ? ";qXfer:auxv:read+" : "");
    gdb_reply_end(g);
}

static bool handle_q(struct gdb_stub *g, char *p)
{
    char *arg;
    if ((arg = after(p, "qSupported")))
        supported(g, arg);
    else if ((arg = after(p, "qXfer:features:read:")))
        read_features(g, arg);
    else if ((arg = after(p, "qXfer:auxv:read::")))
        read_auxv(g, arg);
    else if (!strcmp(p, "qfThreadInfo") || !strcmp(p, "qsThreadInfo"))
        list_threads(g, p[1] == 'f');
    else if ((arg = after(p, "qThreadExtraInfo,")))
        thread_text(g, arg);
    else if ((arg = after(p, "qRcmd,")))
        run_monitor(g, arg);
    else if (after(p, "qAttached"))
        gdb_reply(g, "1");
    else if (!strcmp(p, "qqemu.PhyMemMode"))
        gdb_reply(g, g->memory == GDB_PHYSICAL ? "1" : "0");
    else if (!strcmp(p, "qC")) {
        gdb_reply_begin(g);
        buf_printf(&g->out, "QC");
        gdb_put_thread(g, g->cpu_g);
        gdb_reply_end(g);
    } else {
        return false;
    }
    return true;
}

static bool handle_set(struct gdb_stub *g, char *p)
{
    char *arg;
    if (!strcmp(p, "QStartNoAckMode")) {
        gdb_reply(g, "OK");
        g->session.no_ack = true;
    } else if ((arg = after(p, "Qqemu.PhyMemMode:"))) {
        g->memory = *arg == '1' ? GDB_PHYSICAL : GDB_VIRTUAL;
        gdb_reply(g, "OK");
    } else {
        return false;
    }
    return true;
}

bool gdb_handle_query(struct gdb_stub *g, char *p, size_t n)
{
    switch (p[0]) {
    case 'q':
        return handle_q(g, p);
    case 'Q':
        return handle_set(g, p);
    case 'H':
        select_thread(g, p + 1);
        return true;
    case 'T':
        thread_alive(g, p + 1);
        return true;
    case 'v':
        if (!strcmp(p, "vCont?")) {
            gdb_reply(g, "vCont;c;C;s;S;t");
            return true;
        }
        if (after(p, "vKill")) {
            gdb_reply(g, "OK");
            g->ops->kill(g->target);
            return true;
        }
    }
    return false;
}
