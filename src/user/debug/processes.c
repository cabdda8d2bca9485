// The connection's way through forks and programs. One process of it is debugged: after a fork the
// child waits until the debugger has let one of the two go; with the child the connection goes,
// too. A program that is executed is handed the connection by its number. A child of vfork is run
// by our own thread: either gdb lets it run by itself and is told when it has gone, or it is what
// is debugged until then.
#include "user/debug/state.h"

#include "accel/dbt.h"
#include "base/err.h"
#include "user/host_call.h"
#include "user/proxy.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void leave(void *opaque)
{
    struct debug *d = opaque;
    gdb_stub_leave(d->stub);
    mutex_lock(&d->lock);
    mutex_lock(&d->u->threads_lock);
    for (unsigned i = 0; i < d->u->max_threads; i++)
        if (d->u->threads[i])
            d->u->threads[i]->debug_held = d->u->threads[i]->debug_step = false;
    mutex_unlock(&d->u->threads_lock);
    d->attached = d->stopped = d->told = false;
    d->left = true;
    pthread_cond_broadcast(&d->changed);
    mutex_unlock(&d->lock);
}

static struct debug *debug_new(struct user *u)
{
    struct debug *d = xalloc(sizeof *d);
    d->u = u;
    d->stopped = true;
    d->child = -1;
    d->pid = getpid();
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
    d->loop = loop_new("gdb");
    loop_work_init(&d->announced, d->loop, debug_tell, d);
    loop_work_init(&d->leaving, d->loop, leave, d);
    return d;
}

void debug_decide(int link, int pid)
{
    ssize_t n = write(link, &pid, sizeof pid);
    (void)n; // it is there no more
    close(link);
}

static bool follows(struct debug *d)
{
    return d->attached && gdb_stub_session(d->stub)->fork_events;
}

void debug_fork_prepare(struct user *u, const struct clone_request *r, int link[2])
{
    link[0] = link[1] = -1;
    if (u->debug && !user_self->proxy && follows(u->debug) && !(r->flags & CLONE_FILES) &&
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link))
        link[0] = link[1] = -1;
}

void debug_fork_parent(struct thread *t, int pid, int link[2])
{
    struct debug *d = t->u->debug;
    if (link[1] >= 0)
        close(link[1]);
    if (link[0] < 0)
        return;
    mutex_lock(&d->lock);
    debug_wait(d, t);
    if (pid > 0 && follows(d) && d->child < 0) {
        d->child = link[0];
        d->child_pid = pid;
        debug_announce(
            d, &(struct gdb_stop){.cpu = t->index, .why = GDB_STOP_FORK, .child = (unsigned)pid});
    } else {
        debug_decide(link[0], 0);
    }
    mutex_unlock(&d->lock);
}

// What the program is to find is not changed by our having a socket: its thread takes no signals.
static void restore_sigpipe(const struct sigaction *before)
{
    sigaction(SIGPIPE, before, NULL);
}

// Takes over a connection: of the parent, or of the program before.
static struct debug *adopt(struct user *u, int fd, int pid, const struct gdb_session *s,
                           const struct gdb_stop *stop, struct err *e)
{
    struct debug *d = debug_new(u);
    struct sigaction before;
    d->pid = pid;
    d->attached = true;
    sigaction(SIGPIPE, NULL, &before);
    d->stub = gdb_stub_adopt(fd, s, stop, d->loop, &debug_target, d, e);
    restore_sigpipe(&before);
    if (!d->stub) {
        loop_free(d->loop);
        free(d);
        return NULL;
    }
    loop_start_thread(d->loop);
    return d;
}

void debug_fork_child(struct thread *t, int link[2])
{
    struct accel *a = t->u->accel;
    struct debug *parents = t->u->debug;
    int pid = 0;
    struct err e = {0};
    if (link[0] >= 0) {
        close(link[0]);
        if (read(link[1], &pid, sizeof pid) != sizeof pid)
            pid = 0; // the parent has ended
        close(link[1]);
    }
    t->env->n_watchpoints = 0;
    t->u->debug = NULL;
    t->debug_held = t->debug_step = false;
    t->u->isa->debug_step(t->env, false);
    a->n_breakpoints = 0;
    a->ops->notice(a, ACCEL_CODE);
    if (!pid)
        signal_defaults(t);
    else
        t->u->debug =
            adopt(t->u, gdb_stub_fd(parents->stub), pid, gdb_stub_session(parents->stub), NULL, &e);
}

// ---- vfork ----

void debug_vfork_begin(struct thread *t, int pid)
{
    struct debug *d = t->u->debug;
    mutex_lock(&d->lock);
    debug_wait(d, t);
    t->debug_free = true;
    if (d->attached && d->vfork == VFORK_NONE && gdb_stub_session(d->stub)->vfork_events) {
        d->vfork = VFORK_ASKED;
        d->vfork_pid = pid;
        debug_announce(
            d, &(struct gdb_stop){.cpu = t->index, .why = GDB_STOP_VFORK, .child = (unsigned)pid});
        debug_wait(d, t);
        t->debug_free = d->vfork != VFORK_FOLLOWED;
    }
    mutex_unlock(&d->lock);
    if (t->debug_free)
        t->env->n_watchpoints = 0;
}

// The child that is debugged has gone, to another program or for ever.
static void followed_end(struct debug *d)
{
    bool handed_on = d->handed_on;
    if (!handed_on && !d->told)
        debug_end(d->u, 0, SIGKILL);
    mutex_lock(&d->lock);
    d->handed_on = d->left = false;
    loop_defer(&d->leaving);
    while (!d->left)
        pthread_cond_wait(&d->changed, &d->lock);
    d->pid = d->parent_pid;
    d->vfork = VFORK_NONE;
    mutex_unlock(&d->lock);
}

void debug_vfork_end(struct thread *t, int pid)
{
    struct debug *d = t->u->debug;
    bool followed = !t->debug_free;
    t->debug_free = false;
    if (followed) {
        followed_end(d);
        return;
    }
    mutex_lock(&d->lock);
    bool ours = d->vfork == VFORK_ALONE && d->vfork_pid == pid;
    debug_watch(t);
    debug_wait(d, t);
    if (ours && d->attached)
        debug_announce(d, &(struct gdb_stop){.cpu = t->index, .why = GDB_STOP_VFORK_DONE});
    if (ours)
        d->vfork = VFORK_NONE;
    mutex_unlock(&d->lock);
}

// ---- another program ----

char *debug_exec(struct thread *t)
{
    struct debug *d = t->debug_free ? NULL : t->u->debug;
    const struct gdb_session *s = d ? gdb_stub_session(d->stub) : NULL;
    int fd = d && d->attached && s->exec_events ? gdb_stub_fd(d->stub) : -1;
    if (fd < 0)
        return NULL;
    gdb_stub_pause(d->stub, true);
    HOST_DO(fcntl, (uint64_t)fd, F_SETFD, 0);
    d->handed_on = true;
    return xasprintf("fd:%d:%d:%d:%d:%d", fd, d->pid, s->no_ack, s->fork_events, s->vfork_events);
}

void debug_exec_failed(struct user *u)
{
    struct debug *d = u->debug;
    d->handed_on = false;
    HOST_DO(fcntl, (uint64_t)gdb_stub_fd(d->stub), F_SETFD, FD_CLOEXEC);
    gdb_stub_pause(d->stub, false);
}

int debug_open(struct user *u, const char *spec, struct err *e)
{
    struct gdb_session s = {.multiprocess = true, .exec_events = true};
    struct gdb_stop stop = {.why = GDB_STOP_EXEC, .program = u->exe};
    int fd, pid, no_ack, forks, vforks;
    if (sscanf(spec, "fd:%d:%d:%d:%d:%d", &fd, &pid, &no_ack, &forks, &vforks) ==
        5) { // from debug_exec
        s.no_ack = no_ack;
        s.fork_events = forks;
        s.vfork_events = vforks;
        u->debug = adopt(u, fd, pid, &s, &stop, e);
        return u->debug ? 0 : err_prefix(e, "-g %s", spec);
    }
    struct debug *d = debug_new(u);
    uint64_t port;
    char *where = parse_u64(spec, &port) ? xasprintf("unix:%s", spec) : xasprintf("tcp::%s", spec);
    struct sigaction before;
    sigaction(SIGPIPE, NULL, &before);
    d->stub = gdb_stub_open(where, d->loop, &debug_target, d, e);
    restore_sigpipe(&before);
    free(where);
    if (!d->stub) {
        loop_free(d->loop);
        free(d);
        return err_prefix(e, "-g %s", spec);
    }
    u->debug = d;
    loop_start_thread(d->loop);
    return 0;
}
