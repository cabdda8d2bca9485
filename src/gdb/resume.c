// Running: c s C S vCont, break and watchpoints Z z, and the stop replies.
#include "gdb/stub.h"

enum { SIGINT_NUMBER = 2, SIGTRAP_NUMBER = 5 };

static void put_process(struct gdb_stub *g)
{
    if (g->session.multiprocess)
        buf_printf(&g->out, ";process:%x", g->ops->pid(g->target));
}

void gdb_report_stop(struct gdb_stub *g)
{
    static const char *const watch[GDB_N_POINTS] = {
        [GDB_WRITE_WATCH] = "watch", [GDB_READ_WATCH] = "rwatch", [GDB_ACCESS_WATCH] = "awatch"};
    const struct gdb_stop *s = &g->last;
    g->report = false;
    gdb_reply_begin(g);
    if (g->state == GDB_EXITED && s->why == GDB_STOP_KILLED) {
        buf_printf(&g->out, "X%02x", s->signal);
        put_process(g);
    } else if (g->state == GDB_EXITED) {
        buf_printf(&g->out, "W%02x", s->exit_status);
        put_process(g);
    } else {
        unsigned signal = s->why == GDB_STOP_REQUEST  ? SIGINT_NUMBER
                          : s->why == GDB_STOP_SIGNAL ? s->signal
                                                      : SIGTRAP_NUMBER;
        buf_printf(&g->out, "T%02xthread:", signal);
        gdb_put_thread(g, s->cpu);
        buf_u8(&g->out, ';');
        if (s->why == GDB_STOP_FORK) {
            buf_printf(&g->out, "fork:p%x.01;", s->child);
        } else if (s->why == GDB_STOP_VFORK) {
            buf_printf(&g->out, "vfork:p%x.%x;", s->child, s->cpu + 1);
        } else if (s->why == GDB_STOP_VFORK_DONE) {
            buf_printf(&g->out, "vforkdone:;");
        } else if (s->why == GDB_STOP_EXEC) {
            buf_printf(&g->out, "exec:");
            gdb_put_hex(g, s->program, strlen(s->program));
            buf_u8(&g->out, ';');
        }
        if (s->why == GDB_STOP_WATCH && watch[s->watch])
            buf_printf(&g->out, "%s:%llx;", watch[s->watch], (unsigned long long)s->address);
    }
    gdb_reply_end(g);
}

void gdb_stub_stopped(struct gdb_stub *g, const struct gdb_stop *s)
{
    if (g->state == GDB_EXITED)
        return;
    bool ended = s->why == GDB_STOP_EXIT || s->why == GDB_STOP_KILLED;
    g->state = ended ? GDB_EXITED : GDB_STOPPED;
    g->last = *s;
    BUG_ON(s->cpu >= g->ops->n_cpus(g->target) || s->watch >= GDB_N_POINTS);
    if (!g->interrupted && s->why == GDB_STOP_REQUEST)
        g->last.why = GDB_STOP_TRAP; // stopped because gdb attached, or by the monitor
    g->interrupted = false;
    if (s->why == GDB_STOP_FORK || s->why == GDB_STOP_VFORK) {
        g->child = s->child;
        g->vforked = s->why == GDB_STOP_VFORK;
    }
    g->cpu_g = g->cpu_c = g->last.cpu;
    if (g->attached && g->report)
        gdb_report_stop(g);
}

void gdb_stub_started(struct gdb_stub *g)
{
    if (g->state == GDB_STOPPED)
        g->state = GDB_RUNNING;
}

static void run(struct gdb_stub *g, const enum gdb_action *actions, unsigned n)
{
    g->state = GDB_RUNNING;
    g->report = true;
    g->ops->resume(g->target, actions, n);
}

static unsigned count_cpus(struct gdb_stub *g)
{
    return MIN(g->ops->n_cpus(g->target), (unsigned)GDB_CPUS_MAX);
}

// c, s: the thread of Hc, which for c means all.
static void run_simple(struct gdb_stub *g, char *p, enum gdb_action action)
{
    enum gdb_action actions[GDB_CPUS_MAX] = {GDB_STAY};
    unsigned n = count_cpus(g);
    uint64_t pc;
    if (gdb_hex(&p, &pc))
        g->ops->set_pc(g->target, g->cpu_c, pc);
    for (unsigned i = 0; i < n; i++)
        actions[i] = action == GDB_CONTINUE ? GDB_CONTINUE : GDB_STAY;
    if (g->cpu_c < n)
        actions[g->cpu_c] = action;
    run(g, actions, n);
}

// One "action[:thread]" of vCont; the first that names a vCPU counts for it.
static bool vcont_action(struct gdb_stub *g, char **p, enum gdb_action *actions, bool *decided,
                         unsigned n, bool *stop)
{
    enum gdb_action action;
    uint64_t signal;
    char c = *(*p)++;
    switch (c) {
    case 'c':
    case 'C':
        action = GDB_CONTINUE;
        break;
    case 's':
    case 'S':
        action = GDB_STEP;
        break;
    case 't':
        action = GDB_STAY;
        *stop = true;
        break;
    default:
        return false;
    }
    if ((c == 'C' || c == 'S') && !gdb_hex(p, &signal))
        return false;
    unsigned first = 0, last = n, cpu = 0;
    if (gdb_expect(p, ':')) {
        switch (gdb_thread_id(g, p, &cpu)) {
        case GDB_THREAD_BAD:
        case GDB_THREAD_PARENT:
            return false;
        case GDB_THREAD_CHILD: // held until gdb decides for one of the two
            if (!g->vforked)
                return false;
            cpu = g->last.cpu;
            gdb_follow_vfork(g);
            first = cpu;
            last = MIN(cpu + 1, n);
            break;
        case GDB_THREAD_ALL:
            break;
        case GDB_THREAD_ANY:
            cpu = g->cpu_c;
            // fallthrough
        case GDB_THREAD_ONE:
            first = cpu;
            last = MIN(cpu + 1, n);
            break;
        }
    }
    for (unsigned i = first; i < last; i++) {
        if ((c == 'C' || c == 'S') && !decided[i] && g->ops->signal)
            g->ops->signal(g->target, i, (unsigned)signal);
        actions[i] = decided[i] ? actions[i] : action;
        decided[i] = true;
    }
    return **p == ';' || **p == 0;
}

static void vcont(struct gdb_stub *g, char *p)
{
    enum gdb_action actions[GDB_CPUS_MAX] = {GDB_STAY};
    bool decided[GDB_CPUS_MAX] = {false}, stop = false, any = false;
    unsigned n = count_cpus(g);
    while (gdb_expect(&p, ';'))
        if (!vcont_action(g, &p, actions, decided, n, &stop)) {
            gdb_reply(g, "E22");
            return;
        }
    for (unsigned i = 0; i < n; i++)
        any |= actions[i] != GDB_STAY;
    if (any)
        run(g, actions, n);
    else if (stop)
        gdb_report_stop(g);
    else
        gdb_reply(g, "E22");
}

static size_t find_point(struct gdb_stub *g, const struct gdb_inserted *p)
{
    size_t i = 0;
    for (; i < g->points.len; i++) {
        struct gdb_inserted *q = &g->points.data[i];
        if (q->kind == p->kind && q->addr == p->addr && q->len == p->len)
            break;
    }
    return i;
}

static const char *change_point(struct gdb_stub *g, char *p, bool insert)
{
    uint64_t kind;
    struct gdb_inserted new;
    if (!gdb_hex(&p, &kind) || !gdb_expect(&p, ',') || !gdb_hex(&p, &new.addr) ||
        !gdb_expect(&p, ',') || !gdb_hex(&p, &new.len))
        return "E22";
    if (kind >= GDB_N_POINTS)
        return "";
    if (g->child_g && !g->vforked)
        return "OK"; // it has none, and comes to this only when this process is let go
    new.kind = (enum gdb_point)kind;
    size_t at = find_point(g, &new);
    bool there = at < g->points.len;
    if (insert == there)
        return "OK"; // both are to be harmless when repeated
    if (insert && g->points.len == GDB_POINTS_MAX)
        return "E28";
    int r = insert ? g->ops->insert(g->target, new.kind, new.addr, new.len)
                   : g->ops->remove(g->target, new.kind, new.addr, new.len);
    if (!r && insert)
        vec_push(&g->points, new);
    else if (!insert)
        vec_remove(&g->points, at);
    return r == -2 ? "" : r ? "E22" : "OK";
}

bool gdb_handle_run(struct gdb_stub *g, char *p, size_t n)
{
    uint64_t signal;
    if (g->state == GDB_EXITED)
        return false;
    switch (p[0]) {
    case 'c':
        run_simple(g, p + 1, GDB_CONTINUE);
        return true;
    case 's':
        run_simple(g, p + 1, GDB_STEP);
        return true;
    case 'C':
    case 'S':
        p++;
        if (!gdb_hex(&p, &signal)) {
            gdb_reply(g, "E22");
            return true;
        }
        gdb_expect(&p, ';');
        if (g->ops->signal)
            g->ops->signal(g->target, g->cpu_c, (unsigned)signal);
        run_simple(g, p, g->in[0] == 'C' ? GDB_CONTINUE : GDB_STEP);
        return true;
    case 'Z':
    case 'z':
        gdb_reply(g, change_point(g, p + 1, p[0] == 'Z'));
        return true;
    case 'v':
        if (strncmp(p, "vCont;", 6))
            return false;
        vcont(g, p + 5);
        return true;
    }
    return false;
}
