// Guest threads and processes. A guest thread is a host thread with a CPU; a fork is a host fork
// that keeps the calling thread.
#include "base/log.h"
#include "user/debug/debug.h"
#include "user/guest.h"
#include "user/host_call.h"
#include "user/proxy.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREAD_STACK = 256 * 1024 };

// ---- life of a CPU ----

struct thread *thread_new(struct user *u, struct err *e)
{
    mutex_lock(&u->threads_lock);
    unsigned i = 0;
    while (i < u->max_threads && u->threads[i])
        i++;
    if (i == u->max_threads) {
        mutex_unlock(&u->threads_lock);
        err_set(e, "too many threads");
        return NULL;
    }
    struct thread *t = xalloc(sizeof *t);
    t->u = u;
    t->index = i;
    t->fds = &u->fds;
    struct opts features = {0};
    char model[64];
    snprintf(model, sizeof model, "%s", u->isa->default_model);
    struct isa_config c = {.model = model, .index = i, .user_mode = true, .features = &features};
    bool ok = true;
    if (u->opt.cpu) {
        ok = !opts_parse(&features, u->opt.cpu, "model", e);
        const char *name = ok ? opts_get(&features, "model") : NULL;
        if (name)
            snprintf(model, sizeof model, "%s", name);
    }
    t->env = ok ? u->accel->ops->cpu_new(u->accel, &c, e) : NULL;
    opts_free(&features);
    if (t->env) {
        u->isa->reset(t->env);
        u->isa->start(t->env, 0, 0, 0);
        u->threads[i] = t;
    }
    mutex_unlock(&u->threads_lock);
    if (t->env)
        return t;
    free(t);
    return NULL;
}

void thread_free(struct thread *t)
{
    struct user *u = t->u;
    mutex_lock(&u->threads_lock);
    u->threads[t->index] = NULL;
    u->accel->ops->cpu_free(u->accel, t->env);
    mutex_unlock(&u->threads_lock);
    free(t);
}

// ---- running ----

static void fault(struct thread *t)
{
    struct guest_fault f = {0};
    t->u->abi->fault(t, &f);
    if (log_on(LOG_INT) && !f.handled)
        log_debug("signal %d, code %d, address 0x%llx, pc 0x%llx", f.sig, f.code,
                  (unsigned long long)f.addr, (unsigned long long)t->u->isa->get_pc(t->env));
    if (!f.handled)
        signal_force(t, f.sig, f.code, f.addr);
}

// Until its proxy has gone, if it has one.
static void run(struct thread *t)
{
    const struct accel_ops *ops = t->u->accel->ops;
    struct env *e = t->env;
    while (!t->proxy || likely(!proxy_gone(t->proxy))) {
        if (unlikely(t->u->debug))
            debug_enter(t);
        enum env_leave why = ops->run(t->u->accel, e);
        if (unlikely(t->u->debug))
            debug_leave(t);
        switch (why) {
        case LEAVE_SYSCALL:
            call_guest(t);
            break;
        case LEAVE_SIGNAL:
            fault(t);
            break;
        case LEAVE_INTERRUPT:
            atomic_fetch_and(&e->interrupt, ~(uint32_t)INTR_WORK);
            if (t->fetch_fault) {
                t->fetch_fault = false;
                fault(t);
            }
            break;
        case LEAVE_YIELD:
            sched_yield();
            break;
        default:
            break;
        }
        if (unlikely(atomic_load_explicit(&t->captured, memory_order_relaxed) || t->restart ||
                     t->saved_mask_valid || t->held & ~t->blocked))
            signal_deliver(t);
        if (unlikely(t->u->debug) && !t->debug_free)
            debug_trap(t, why == LEAVE_DEBUG);
    }
}

void thread_run(struct thread *t)
{
    run(t);
    BUG_ON("the process has gone");
    __builtin_unreachable();
}

void thread_run_proxied(struct thread *t)
{
    run(t);
}

// ---- the end of a thread ----

void thread_leave_memory(struct thread *t)
{
    robust_thread_ends(t);
    if (t->clear_tid && guest_write_u32(t, t->clear_tid, 0))
        syscall(SYS_futex, guest_ptr(t, t->clear_tid), FUTEX_WAKE, 1, NULL, NULL, 0);
}

void thread_end(struct thread *t, int status)
{
    uint64_t old;
    bool is_main = t->is_main;
    if (t->proxy) {
        HOST_DO(exit, (uint64_t)status);
        return;
    }
    signal_block_all(&old);
    thread_leave_memory(t);
    if (is_main) // its host thread is the process's own, and stays as a zombie like Linux's
        syscall(SYS_exit, status);
    signal_block_every(&old); // its state goes
    t->u->accel->ops->thread_leave(t->u->accel, t->env);
    user_self = NULL;
    thread_free(t);
    pthread_exit(NULL);
}

// ---- clone ----

struct start {
    struct thread *t;
    struct thread *parent;
    const struct clone_request *r;
    uint64_t blocked;
    sem_t ready;
    int64_t tid;
};

static void *thread_main(void *arg)
{
    struct start *s = arg;
    struct thread *t = s->t;
    uint32_t tid = (uint32_t)syscall(SYS_gettid);
    uint64_t mask;
    t->tid = (int)tid;
    user_self = t;
    t->u->accel->ops->thread_enter(t->u->accel, t->env);
    signal_block_all(&mask); // from here on it can take a fault, and one that somebody sends
    if (s->r->flags & CLONE_PARENT_SETTID && !guest_write_u32(t, s->r->parent_tid, tid))
        log_debug("clone: bad parent_tid");
    if (s->r->flags & CLONE_CHILD_SETTID && !guest_write_u32(t, s->r->child_tid, tid))
        log_debug("clone: bad child_tid");
    s->tid = tid;
    sem_post(&s->ready); // s is gone from here
    signal_set_mask(t, t->blocked);
    thread_run(t);
}

static int64_t clone_thread(struct thread *t, const struct clone_request *r)
{
    const uint64_t needed = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
    if (t->proxy) // which has no other threads
        return -EAGAIN;
    if ((r->flags & needed) != needed || !(r->flags & CLONE_FS) || !(r->flags & CLONE_FILES))
        return -EINVAL;
    struct err e = {0};
    struct thread *n = thread_new(t->u, &e);
    if (!n)
        return -EAGAIN;
    n->sighand = t->sighand;
    n->blocked = t->blocked;
    if (r->flags & CLONE_CHILD_CLEARTID)
        n->clear_tid = r->child_tid;
    t->u->abi->child(n->env, t->env, r->stack, r->flags & CLONE_SETTLS ? &r->tls : NULL);
    if (t->u->debug)
        debug_watch(n);
    struct start s = {.t = n, .parent = t, .r = r};
    sem_init(&s.ready, 0, 0);
    pthread_attr_t attr;
    pthread_t id;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, THREAD_STACK);
    uint64_t mask;
    signal_block_every(&mask); // the new thread's state is not there yet
    int why = pthread_create(&id, &attr, thread_main, &s);
    pthread_attr_destroy(&attr);
    if (!why)
        while (sem_wait(&s.ready))
            ;
    signal_reclaim(t);
    signal_restore(mask);
    sem_destroy(&s.ready);
    if (!why)
        return s.tid;
    thread_free(n);
    return -EAGAIN;
}

// ---- fork ----

static void child_of_fork(struct thread *t, const struct clone_request *r, int link[2])
{
    struct user *u = t->u;
    dbt_fork_child(u->accel, t->env);
    t->tid = u->pid = getpid();
    pthread_mutex_init(&u->threads_lock, NULL);
    pthread_mutex_init(&u->mm.lock, NULL);
    pthread_mutex_init(&t->sighand->lock, NULL);
    for (unsigned i = 0; i < u->max_threads; i++)
        if (u->threads[i] && u->threads[i] != t) {
            free(u->threads[i]);
            u->threads[i] = NULL;
        }
    t->robust_list = t->held = 0;
    u->undertaker = 0; // the parent's
    u->has_robust_list = false;
    t->is_main = true;
    t->clear_tid = r->flags & CLONE_CHILD_CLEARTID ? r->child_tid : 0;
    u->abi->child(t->env, t->env, r->stack, r->flags & CLONE_SETTLS ? &r->tls : NULL);
    if (r->flags & CLONE_CHILD_SETTID && !guest_write_u32(t, r->child_tid, (uint32_t)t->tid))
        log_debug("clone: bad child_tid");
    if (u->debug)
        debug_fork_child(t, link);
}

void thread_tell_parent(struct thread *t, const struct clone_request *r, int pid, int pidfd)
{
    if (r->flags & CLONE_PARENT_SETTID && !guest_write_u32(t, r->parent_tid, (uint32_t)pid))
        log_debug("clone: bad parent_tid");
    if (r->flags & CLONE_PIDFD && !guest_write_u32(t, r->pidfd, (uint32_t)pidfd))
        log_debug("clone: bad pidfd");
}

static long host_fork(const struct clone_request *r, int *pidfd)
{
    if (!(r->flags & CLONE_PASSED) && r->exit_signal == SIGCHLD)
        return fork();
    // Past the C library: its own state of a child matters little here, but for the thread id.
    return syscall(SYS_clone, (r->flags & CLONE_PASSED) | (uint64_t)r->exit_signal, NULL,
                   r->flags & CLONE_PIDFD ? pidfd : NULL, NULL, NULL);
}

static int64_t clone_fork(struct thread *t, const struct clone_request *r)
{
    struct user *u = t->u;
    struct err e = {0};
    uint64_t mask;
    int pidfd = -1, link[2];
    debug_fork_prepare(u, r, link);
    if (u->would_share_memory)
        robust_shares_memory(u);
    signal_block_all(&mask);
    mutex_lock(&u->threads_lock);
    bool prepared = !dbt_fork_prepare(u->accel, &e); // before mm.lock, as translating threads do
    mutex_lock(&u->mm.lock);
    mutex_lock(&t->sighand->lock);
    int64_t pid = -ENOMEM;
    if (prepared && t->proxy)
        pid = proxy_fork(t->proxy, host_fork, r, &pidfd);
    else if (prepared && (pid = host_fork(r, &pidfd)) < 0)
        pid = -errno;
    if (pid == 0) {
        child_of_fork(t, r, link);
        signal_restore(mask);
        return 0;
    }
    mutex_unlock(&t->sighand->lock);
    mutex_unlock(&u->mm.lock);
    if (prepared)
        dbt_fork_parent(u->accel);
    mutex_unlock(&u->threads_lock);
    if (u->debug)
        debug_fork_parent(t, (int)pid, link);
    signal_restore(mask);
    if (pid > 0)
        thread_tell_parent(t, r, (int)pid, pidfd);
    return pid;
}

int64_t thread_clone(struct thread *t, const struct clone_request *r)
{
    if (r->flags & CLONE_THREAD)
        return clone_thread(t, r);
    if (r->flags & CLONE_SIGHAND || (r->flags & CLONE_VM && !(r->flags & CLONE_VFORK)))
        return -EINVAL; // processes that share memory and go on beside each other
    if (r->flags & CLONE_VFORK && r->flags & CLONE_VM)
        return vfork_clone(t, r);
    return clone_fork(t, r);
}
