// vfork: the child has its parent's memory, and its parent sleeps until it executes another program
// or ends. The parent's thread is the child meanwhile: it has the child's registers, signal actions
// and descriptors, and what the child asks of the kernel is done by a process that is the child's
// (proxy.h). Then it gets its own back.
#include "base/log.h"
#include "user/debug/debug.h"
#include "user/guest.h"
#include "user/host_call.h"
#include "user/proxy.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

// What the parent gets back.
struct before {
    struct thread thread;
    struct env_monitor monitor;
    struct env_fp fp;
    struct user_limit limits[ARRAY_SIZE(((struct user *)0)->limits)];
    uint32_t personality;
    size_t cpu_size;
    uint8_t *cpu;
};

// The CPU's own state lies behind what every CPU has.
static uint8_t *cpu_at(struct thread *t)
{
    return (uint8_t *)t->env + sizeof(struct env);
}

static void keep(struct thread *t, struct before *b)
{
    struct user *u = t->u;
    b->thread = *t;
    b->monitor = t->env->monitor;
    b->fp = t->env->fp;
    memcpy(b->limits, u->limits, sizeof b->limits);
    b->personality = u->personality;
    b->cpu_size = u->isa->cpu_size - sizeof(struct env);
    b->cpu = xalloc(b->cpu_size);
    memcpy(b->cpu, cpu_at(t), b->cpu_size);
}

static void give_back(struct thread *t, struct before *b)
{
    struct user *u = t->u;
    *t = b->thread;
    memcpy(cpu_at(t), b->cpu, b->cpu_size);
    free(b->cpu);
    t->env->monitor = b->monitor;
    t->env->fp = b->fp;
    t->env->exec->fp_changed(t->env);
    memcpy(u->limits, b->limits, sizeof b->limits);
    u->personality = b->personality;
}

static void become_child(struct thread *t, const struct clone_request *r, struct sighand *own,
                         struct proxy *p)
{
    struct user *u = t->u;
    t->sighand = own;
    t->proxy = p;
    t->fds = proxy_fds(p);
    t->tid = proxy_pid(p);
    t->is_main = true;
    atomic_store(&t->captured, 0);
    t->restart = RESTART_NOT;
    t->clear_tid = r->flags & CLONE_CHILD_CLEARTID ? r->child_tid : 0;
    t->robust_list = t->held = 0;
    u->abi->child(t->env, t->env, r->stack, r->flags & CLONE_SETTLS ? &r->tls : NULL);
    if (r->flags & CLONE_CHILD_SETTID && !guest_write_u32(t, r->child_tid, (uint32_t)t->tid))
        log_debug("clone: bad child_tid");
}

int64_t vfork_clone(struct thread *t, const struct clone_request *r)
{
    struct sighand own = *t->sighand;
    struct before before;
    uint64_t mask;
    int64_t pid;
    int pidfd = -1;
    signal_block_all(&mask);
    struct proxy *p = proxy_start(t, r->flags & CLONE_PASSED, r->exit_signal,
                                  signal_host_mask(t->blocked), &pidfd, &pid);
    if (p) {
        pid = proxy_pid(p);
        thread_tell_parent(t, r, (int)pid, pidfd);
        pthread_mutex_init(&own.lock, NULL);
        if (t->u->debug)
            debug_vfork_begin(t, (int)pid);
        keep(t, &before);
        become_child(t, r, &own, p);
        thread_run_proxied(t);
        thread_leave_memory(t);
        bool free = t->debug_free;
        give_back(t, &before);
        t->debug_free = free;
        if (t->u->debug)
            debug_vfork_end(t, (int)pid);
        proxy_free(p);
    }
    signal_restore(mask);
    return pid;
}
