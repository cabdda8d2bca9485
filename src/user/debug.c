// The program behind the gdb stub (gdb/gdb.h). The stub runs on a thread of its own; guest threads
// pass a gate around every run of guest code. To stop the program is to close the gate and to wait
// until none is inside; a thread in a system call of the host does not count, and waits at the gate
// when it is back. While something is watched the program is interpreted.
//
// One process of a connection is debugged. After a fork the child waits until the debugger has let
// one of the two go; with the child the connection goes, too. A program that is executed is handed
// the connection by its number. A vfork is a fork here.
#include "user/debug.h"

#include "accel/dbt.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "gdb/gdb.h"
#include "user/guest.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct debug {
    struct user *u;
    struct loop *loop;
    struct gdb_stub *stub;
    struct loop_work announced;
    pthread_mutex_t lock; // of what follows; threads_lock may be taken inside
    pthread_cond_t changed;
    bool stopped; // the gate is closed
    bool attached;
    bool pending; // event has not been told yet
    bool told;    // the debugger knows that the process has ended
    int pid;      // as the debugger knows it
    int child;    // the connection to a forked process that waits for us, or -1
    int child_pid;
    unsigned running;
    struct gdb_stop event; // what closed the gate
    VEC(struct env_watchpoint) watchpoints;
};

// ---- signals by gdb's numbers (GDB, include/gdb/signals.def) ----

enum { GDB_SIGNAL_UNKNOWN = 143, GDB_RT_33 = 45, GDB_RT_32 = 77, GDB_RT_64 = 78 };
static const uint8_t signal_numbers[] = {
    [SIGHUP] = 1,     [SIGINT] = 2,    [SIGQUIT] = 3,  [SIGILL] = 4,   [SIGTRAP] = 5,
    [SIGABRT] = 6,    [SIGFPE] = 8,    [SIGKILL] = 9,  [SIGBUS] = 10,  [SIGSEGV] = 11,
    [SIGSYS] = 12,    [SIGPIPE] = 13,  [SIGALRM] = 14, [SIGTERM] = 15, [SIGURG] = 16,
    [SIGSTOP] = 17,   [SIGTSTP] = 18,  [SIGCONT] = 19, [SIGCHLD] = 20, [SIGTTIN] = 21,
    [SIGTTOU] = 22,   [SIGIO] = 23,    [SIGXCPU] = 24, [SIGXFSZ] = 25, [SIGPROF] = 27,
    [SIGVTALRM] = 26, [SIGWINCH] = 28, [SIGUSR1] = 30, [SIGUSR2] = 31, [SIGPWR] = 32,
};

static uint8_t to_gdb(int sig)
{
    if (sig == 32 || sig == 64)
        return sig == 32 ? GDB_RT_32 : GDB_RT_64;
    if (sig > 32)
        return (uint8_t)(GDB_RT_33 + sig - 33);
    bool known = sig < (int)ARRAY_SIZE(signal_numbers) && signal_numbers[sig];
    return known ? signal_numbers[sig] : GDB_SIGNAL_UNKNOWN;
}

static int from_gdb(unsigned number)
{
    for (int sig = 1; number && sig <= GUEST_SIGNALS; sig++)
        if (to_gdb(sig) == number)
            return sig;
    return 0;
}

// ---- the gate ----

static void wait_for_gate(struct debug *d, struct thread *t)
{
    while (d->stopped || t->debug_held)
        pthread_cond_wait(&d->changed, &d->lock);
}

void debug_enter(struct thread *t)
{
    struct debug *d = t->u->debug;
    mutex_lock(&d->lock);
    wait_for_gate(d, t);
    d->running++;
    mutex_unlock(&d->lock);
}

void debug_leave(struct thread *t)
{
    struct debug *d = t->u->debug;
    mutex_lock(&d->lock);
    d->running--;
    if (d->stopped)
        pthread_cond_broadcast(&d->changed);
    mutex_unlock(&d->lock);
}

// Closes the gate and waits until nobody is inside. Lock held.
static void quiesce(struct debug *d)
{
    d->stopped = true;
    mutex_lock(&d->u->threads_lock);
    for (unsigned i = 0; i < d->u->max_threads; i++)
        if (d->u->threads[i])
            atomic_fetch_or(&d->u->threads[i]->env->interrupt, INTR_WORK);
    mutex_unlock(&d->u->threads_lock);
    while (d->running)
        pthread_cond_wait(&d->changed, &d->lock);
}

// On the program's threads: something for the debugger to know. Lock held.
static void announce(struct debug *d, const struct gdb_stop *event)
{
    d->stopped = d->pending = true;
    d->event = *event;
    loop_defer(&d->announced);
}

static void step_none(struct debug *d)
{
    mutex_lock(&d->u->threads_lock);
    for (unsigned i = 0; i < d->u->max_threads; i++)
        if (d->u->threads[i] && d->u->threads[i]->debug_step) {
            d->u->threads[i]->debug_step = false;
            d->u->isa->debug_step(d->u->threads[i]->env, false);
        }
    mutex_unlock(&d->u->threads_lock);
}

// On the stub's thread: everything stands still; why is what was announced, or else `otherwise`.
static void stop_for(struct debug *d, const struct gdb_stop *otherwise)
{
    mutex_lock(&d->lock);
    quiesce(d);
    step_none(d);
    struct gdb_stop event = d->pending ? d->event : *otherwise;
    d->pending = false;
    mutex_unlock(&d->lock);
    gdb_stub_stopped(d->stub, &event);
    mutex_lock(&d->lock);
    d->told = event.why == GDB_STOP_EXIT || event.why == GDB_STOP_KILLED;
    pthread_cond_broadcast(&d->changed);
    mutex_unlock(&d->lock);
}

static void tell(void *opaque)
{
    struct debug *d = opaque;
    mutex_lock(&d->lock);
    bool pending = d->pending; // a request may have told it
    mutex_unlock(&d->lock);
    if (pending)
        stop_for(d, &d->event);
}

// The access that met a watchpoint, where the debugger wants to stop behind it. One that faults is
// met again.
static void pass_watchpoint(struct thread *t)
{
    struct env *e = t->env;
    unsigned n = e->n_watchpoints;
    e->n_watchpoints = 0;
    t->u->isa->debug_step(e, true);
    t->u->accel->ops->run(t->u->accel, e);
    t->u->isa->debug_step(e, t->debug_step);
    atomic_fetch_and(&e->interrupt, ~(uint32_t)INTR_STEP);
    e->n_watchpoints = n;
}

static void watch_trap(struct thread *t, const struct env_watchpoint *w)
{
    struct debug *d = t->u->debug;
    t->env->watch_hit = NULL;
    struct gdb_stop stop = {.cpu = t->index,
                            .why = GDB_STOP_WATCH,
                            .address = w->va,
                            .watch = w->access == ENV_WRITE  ? GDB_WRITE_WATCH
                                     : w->access == ENV_READ ? GDB_READ_WATCH
                                                             : GDB_ACCESS_WATCH};
    mutex_lock(&d->lock);
    bool first = !d->stopped; // else it is met again
    if (first && !t->u->abi->watch_before)
        pass_watchpoint(t);
    if (first)
        announce(d, &stop);
    mutex_unlock(&d->lock);
}

void debug_trap(struct thread *t, bool breakpoint)
{
    struct debug *d = t->u->debug;
    if (breakpoint && t->env->watch_hit) {
        watch_trap(t, t->env->watch_hit);
        return;
    }
    bool stepped = atomic_fetch_and(&t->env->interrupt, ~(uint32_t)INTR_STEP) & INTR_STEP;
    if (!breakpoint && !(stepped && t->debug_step))
        return;
    mutex_lock(&d->lock);
    if (!d->stopped) // else a breakpoint is met again when the thread goes on
        announce(d, &(struct gdb_stop){.cpu = t->index, .why = GDB_STOP_TRAP});
    mutex_unlock(&d->lock);
}

int debug_signal(struct thread *t, int sig)
{
    struct debug *d = t->u->debug;
    mutex_lock(&d->lock);
    wait_for_gate(d, t);
    if (d->attached) {
        t->debug_signal = 0;
        announce(
            d, &(struct gdb_stop){.cpu = t->index, .why = GDB_STOP_SIGNAL, .signal = to_gdb(sig)});
        wait_for_gate(d, t);
        sig = d->attached ? t->debug_signal : sig;
    }
    mutex_unlock(&d->lock);
    return sig;
}

void debug_end(struct user *u, int status, int sig)
{
    struct debug *d = u->debug;
    mutex_lock(&d->lock);
    while (d->stopped)
        pthread_cond_wait(&d->changed, &d->lock);
    if (d->attached) {
        announce(d, &(struct gdb_stop){.why = sig ? GDB_STOP_KILLED : GDB_STOP_EXIT,
                                       .signal = sig ? to_gdb(sig) : 0,
                                       .exit_status = (uint8_t)status});
        while (!d->told)
            pthread_cond_wait(&d->changed, &d->lock);
    }
    mutex_unlock(&d->lock);
}

void debug_watch(struct thread *t)
{
    struct debug *d = t->u->debug;
    t->env->watchpoints = d->watchpoints.data;
    t->env->n_watchpoints = (unsigned)d->watchpoints.len;
    t->env->watch_hit = NULL;
}

// ---- what the stub asks; the program is stopped ----

// The thread, which stays as long as threads_lock is held. NULL: it has ended.
static struct thread *thread_at(struct debug *d, unsigned cpu)
{
    return cpu < d->u->max_threads ? d->u->threads[cpu] : NULL;
}

static unsigned target_n_cpus(void *opaque)
{
    struct debug *d = opaque;
    unsigned n = 1;
    mutex_lock(&d->u->threads_lock);
    for (unsigned i = 0; i < d->u->max_threads; i++)
        if (d->u->threads[i])
            n = i + 1;
    mutex_unlock(&d->u->threads_lock);
    return n;
}

static bool target_alive(void *opaque, unsigned cpu)
{
    struct debug *d = opaque;
    mutex_lock(&d->u->threads_lock);
    bool there = thread_at(d, cpu) != NULL;
    mutex_unlock(&d->u->threads_lock);
    return there;
}

static void target_cpu_text(void *opaque, unsigned cpu, struct buf *out)
{
    struct debug *d = opaque;
    mutex_lock(&d->u->threads_lock);
    struct thread *t = thread_at(d, cpu);
    if (t)
        buf_printf(out, "thread %d", t->tid);
    mutex_unlock(&d->u->threads_lock);
}

static const struct isa_reg *reg_of(const struct isa *isa, unsigned n)
{
    for (unsigned i = 0; i < isa->n_regs; i++)
        if (isa->regs[i].gdb == (int)n)
            return &isa->regs[i];
    return NULL;
}

static unsigned target_n_regs(void *opaque)
{
    const struct isa *isa = ((struct debug *)opaque)->u->isa;
    int n = 0;
    for (unsigned i = 0; i < isa->n_regs; i++)
        n = MAX(n, isa->regs[i].gdb + 1);
    return (unsigned)n;
}

static size_t access_reg(struct debug *d, unsigned cpu, unsigned n, uint8_t *out, const uint8_t *in,
                         size_t len)
{
    const struct isa_reg *r = reg_of(d->u->isa, n);
    size_t size = r ? (r->bits + 7u) / 8 : 0;
    mutex_lock(&d->u->threads_lock);
    struct thread *t = thread_at(d, cpu);
    if (!t || size > len)
        size = 0;
    else if (size && in)
        r->set(t->env, r, in);
    else if (size)
        r->get(t->env, r, out);
    mutex_unlock(&d->u->threads_lock);
    return size;
}

static size_t target_read_reg(void *opaque, unsigned cpu, unsigned n, uint8_t *out)
{
    return access_reg(opaque, cpu, n, out, NULL, GDB_REG_MAX);
}

static size_t target_write_reg(void *opaque, unsigned cpu, unsigned n, const uint8_t *in,
                               size_t len)
{
    return access_reg(opaque, cpu, n, NULL, in, len);
}

static void target_set_pc(void *opaque, unsigned cpu, uint64_t pc)
{
    struct debug *d = opaque;
    mutex_lock(&d->u->threads_lock);
    struct thread *t = thread_at(d, cpu);
    if (t)
        d->u->isa->set_pc(t->env, pc);
    mutex_unlock(&d->u->threads_lock);
}

// By the kernel, which says where memory ends instead of faulting: page by page, for what comes
// before the end.
static size_t access_mem(struct debug *d, uint64_t addr, void *buf, size_t n, bool write)
{
    size_t done = 0;
    while (done < n && mm_inside(&d->u->mm, addr + done, 1)) {
        size_t k = MIN(n - done, (size_t)(4096 - ((addr + done) & 4095)));
        struct iovec ours = {(uint8_t *)buf + done, k};
        struct iovec guest = {mm_host(&d->u->mm, addr + done), k};
        ssize_t got = write ? process_vm_writev(getpid(), &ours, 1, &guest, 1, 0)
                            : process_vm_readv(getpid(), &ours, 1, &guest, 1, 0);
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    if (write && done)
        d->u->accel->ops->notice(d->u->accel, ACCEL_CODE);
    return done;
}

static size_t target_read_mem(void *opaque, unsigned cpu, enum gdb_memory m, uint64_t addr,
                              void *dst, size_t n)
{
    return access_mem(opaque, addr, dst, n, false);
}

static size_t target_write_mem(void *opaque, unsigned cpu, enum gdb_memory m, uint64_t addr,
                               const void *src, size_t n)
{
    return access_mem(opaque, addr, (void *)(uintptr_t)src, n, true);
}

static int change_point(struct debug *d, uint64_t addr, bool insert)
{
    if (accel_breakpoint(d->u->accel, addr, insert))
        return -1;
    d->u->accel->ops->notice(d->u->accel, ACCEL_CODE);
    return 0;
}

static int change_watchpoint(struct debug *d, enum gdb_point kind, uint64_t addr, uint64_t len,
                             bool insert)
{
    static const unsigned accesses[GDB_N_POINTS] = {[GDB_WRITE_WATCH] = ENV_WRITE,
                                                    [GDB_READ_WATCH] = ENV_READ,
                                                    [GDB_ACCESS_WATCH] = ENV_READ | ENV_WRITE};
    size_t at = 0;
    while (at < d->watchpoints.len &&
           (d->watchpoints.data[at].va != addr || d->watchpoints.data[at].len != len ||
            d->watchpoints.data[at].access != accesses[kind]))
        at++;
    if (insert == (at < d->watchpoints.len))
        return -1;
    if (insert)
        vec_push(&d->watchpoints, (struct env_watchpoint){addr, len, accesses[kind]});
    else
        vec_remove(&d->watchpoints, at);
    mutex_lock(&d->u->threads_lock);
    for (unsigned i = 0; i < d->u->max_threads; i++)
        if (d->u->threads[i])
            debug_watch(d->u->threads[i]);
    mutex_unlock(&d->u->threads_lock);
    return 0;
}

static int target_insert(void *opaque, enum gdb_point kind, uint64_t addr, uint64_t len)
{
    return kind > GDB_HARDWARE_BREAK ? change_watchpoint(opaque, kind, addr, len, true)
                                     : change_point(opaque, addr, true);
}

static int target_remove(void *opaque, enum gdb_point kind, uint64_t addr, uint64_t len)
{
    return kind > GDB_HARDWARE_BREAK ? change_watchpoint(opaque, kind, addr, len, false)
                                     : change_point(opaque, addr, false);
}

static void target_signal(void *opaque, unsigned cpu, unsigned number)
{
    struct debug *d = opaque;
    mutex_lock(&d->u->threads_lock);
    struct thread *t = thread_at(d, cpu);
    if (t)
        t->debug_signal = from_gdb(number);
    mutex_unlock(&d->u->threads_lock);
}

static void target_resume(void *opaque, const enum gdb_action *actions, unsigned n)
{
    struct debug *d = opaque;
    mutex_lock(&d->lock);
    d->attached = gdb_stub_attached(d->stub);
    mutex_lock(&d->u->threads_lock);
    for (unsigned i = 0; i < d->u->max_threads; i++) {
        struct thread *t = d->u->threads[i];
        enum gdb_action a = i < n ? actions[i] : GDB_CONTINUE;
        if (!t)
            continue;
        t->debug_held = a == GDB_STAY;
        t->debug_step = a == GDB_STEP;
        atomic_fetch_and(&t->env->interrupt, ~(uint32_t)INTR_STEP);
        d->u->isa->debug_step(t->env, t->debug_step);
    }
    mutex_unlock(&d->u->threads_lock);
    d->stopped = false;
    pthread_cond_broadcast(&d->changed);
    mutex_unlock(&d->lock);
}

static void target_stop(void *opaque)
{
    struct debug *d = opaque;
    mutex_lock(&d->lock);
    d->attached = true;
    mutex_unlock(&d->lock);
    stop_for(d, &(struct gdb_stop){.why = GDB_STOP_REQUEST});
}

static const char *target_xml(void *opaque, const char *annex)
{
    struct debug *d = opaque;
    const struct isa *isa = d->u->isa;
    mutex_lock(&d->u->threads_lock);
    struct thread *t = NULL;
    for (unsigned i = 0; i < d->u->max_threads && !t; i++)
        t = d->u->threads[i];
    const char *text = t && isa->gdb_xml ? isa->gdb_xml(t->env, annex) : NULL;
    mutex_unlock(&d->u->threads_lock);
    return text;
}

static void target_auxv(void *opaque, struct buf *out)
{
    struct debug *d = opaque;
    void *p = buf_grow(out, d->u->auxv_size);
    size_t got = access_mem(d, d->u->auxv, p, d->u->auxv_size, false);
    memset((uint8_t *)p + got, 0, d->u->auxv_size - got);
}

static unsigned target_pid(void *opaque)
{
    return (unsigned)((struct debug *)opaque)->pid;
}

// What the child reads: its process id, as we know it, or 0 if it is not debugged.
static void decide(int link, int pid)
{
    ssize_t n = write(link, &pid, sizeof pid);
    (void)n; // it is there no more
    close(link);
}

static void target_follow(void *opaque, bool child)
{
    struct debug *d = opaque;
    mutex_lock(&d->lock);
    if (d->child >= 0)
        decide(d->child, child ? d->child_pid : 0);
    d->child = -1;
    mutex_unlock(&d->lock);
}

static void target_kill(void *opaque)
{
    _exit(128 + SIGKILL);
}

static const struct gdb_target_ops target = {
    .n_cpus = target_n_cpus,
    .alive = target_alive,
    .cpu_text = target_cpu_text,
    .n_regs = target_n_regs,
    .read_reg = target_read_reg,
    .write_reg = target_write_reg,
    .set_pc = target_set_pc,
    .read_mem = target_read_mem,
    .write_mem = target_write_mem,
    .insert = target_insert,
    .remove = target_remove,
    .signal = target_signal,
    .resume = target_resume,
    .stop = target_stop,
    .xml = target_xml,
    .auxv = target_auxv,
    .kill = target_kill,
    .pid = target_pid,
    .follow = target_follow,
};

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
    loop_work_init(&d->announced, d->loop, tell, d);
    return d;
}

// ---- processes and programs ----

static bool follows(struct debug *d)
{
    return d->attached && gdb_stub_session(d->stub)->fork_events;
}

void debug_fork_prepare(struct user *u, const struct clone_request *r, int link[2])
{
    link[0] = link[1] = -1;
    if (u->debug && follows(u->debug) && !(r->flags & CLONE_FILES) &&
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
    wait_for_gate(d, t);
    if (pid > 0 && follows(d) && d->child < 0) {
        d->child = link[0];
        d->child_pid = pid;
        announce(d,
                 &(struct gdb_stop){.cpu = t->index, .why = GDB_STOP_FORK, .child = (unsigned)pid});
    } else {
        decide(link[0], 0);
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
    d->stub = gdb_stub_adopt(fd, s, stop, d->loop, &target, d, e);
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

char *debug_exec(struct user *u)
{
    struct debug *d = u->debug;
    const struct gdb_session *s = d ? gdb_stub_session(d->stub) : NULL;
    int fd = d && d->attached && s->exec_events ? gdb_stub_fd(d->stub) : -1;
    if (fd < 0)
        return NULL;
    gdb_stub_pause(d->stub, true);
    fcntl(fd, F_SETFD, 0);
    return xasprintf("fd:%d:%d:%d:%d", fd, d->pid, s->no_ack, s->fork_events);
}

void debug_exec_failed(struct user *u)
{
    struct debug *d = u->debug;
    fcntl(gdb_stub_fd(d->stub), F_SETFD, FD_CLOEXEC);
    gdb_stub_pause(d->stub, false);
}

int debug_open(struct user *u, const char *spec, struct err *e)
{
    struct gdb_session s = {.multiprocess = true, .exec_events = true};
    struct gdb_stop stop = {.why = GDB_STOP_EXEC, .program = u->exe};
    int fd, pid, no_ack, forks;
    if (sscanf(spec, "fd:%d:%d:%d:%d", &fd, &pid, &no_ack, &forks) == 4) { // from debug_exec
        s.no_ack = no_ack;
        s.fork_events = forks;
        u->debug = adopt(u, fd, pid, &s, &stop, e);
        return u->debug ? 0 : err_prefix(e, "-g %s", spec);
    }
    struct debug *d = debug_new(u);
    uint64_t port;
    char *where = parse_u64(spec, &port) ? xasprintf("unix:%s", spec) : xasprintf("tcp::%s", spec);
    struct sigaction before;
    sigaction(SIGPIPE, NULL, &before);
    d->stub = gdb_stub_open(where, d->loop, &target, d, e);
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
