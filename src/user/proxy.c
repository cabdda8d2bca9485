// The protocol of proxy.h. One word says whose turn it is; the kernel clears it when the proxy lets
// go of the memory, however that comes (CLONE_CHILD_CLEARTID), so an order is answered or its giver
// woken in any case. The proxy has the giver's thread-local data, for its handlers of signals, and
// so must not use errno or anything else of the C library's that a thread has. Linux sends nothing
// to a thread whose other process dies while it runs code: a timer reminds it to look.
#include "user/proxy.h"

#include "base/log.h"
#include "user/host_call.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum { STACK = 256 * 1024, SPINS = 200, REMIND_NS = 5000000 };

// Whose turn it is. ASLEEP: the other one is to be woken.
enum { GONE = 0, IDLE = 1, ORDERED = 2, ASLEEP = 4 };

struct proxy {
    _Atomic uint32_t state;
    void (*order)(struct proxy *p);
    // Of an order: a system call; a process to make.
    long nr;
    const uint64_t *args;
    _Atomic int *captured;
    int64_t result;
    struct proxy *child;
    uint64_t clone_flags;
    long (*fork)(const struct clone_request *r, int *pidfd);
    const struct clone_request *request;
    int *pidfd;

    struct proxy *outer; // its parent, or NULL: our own process
    int pid, parent, timer, death_signal;
    uint64_t mask;
    uint8_t *stack;
    struct own_fds fds;
    // Where a new process goes on.
    ucontext_t forked;
    stack_t signal_stack;
    volatile bool in_child;
};

static const char reminder;

static int64_t plain(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
    return host_call_plain(nr, (const uint64_t[6]){a, b, c, d, e});
}

// ---- turns ----

static void spin(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static bool wait_while(struct proxy *p, uint32_t turn)
{
    for (unsigned spins = 0;; spins++) {
        uint32_t s = atomic_load(&p->state);
        if ((s & ~(uint32_t)ASLEEP) != turn)
            return s != GONE;
        if (spins < SPINS) {
            spin();
            continue;
        }
        if (s & ASLEEP || atomic_compare_exchange_strong(&p->state, &s, s | ASLEEP))
            plain(SYS_futex, (uint64_t)(uintptr_t)&p->state, FUTEX_WAIT, turn | ASLEEP, 0, 0);
    }
}

// Whose turn it was must not be lost: the word may have been cleared.
static bool hand_over(struct proxy *p, uint32_t turn)
{
    uint32_t s = atomic_load(&p->state);
    while (s != GONE && !atomic_compare_exchange_weak(&p->state, &s, turn))
        ;
    if (s & ASLEEP)
        plain(SYS_futex, (uint64_t)(uintptr_t)&p->state, FUTEX_WAKE, 1, 0, 0);
    return s != GONE;
}

static bool give(struct proxy *p, void (*order)(struct proxy *p))
{
    p->order = order;
    return hand_over(p, ORDERED) && wait_while(p, ORDERED);
}

// ---- in the proxy ----

static int serve(void *arg)
{
    struct proxy *p = arg;
    plain(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (p->parent && plain(SYS_getppid, 0, 0, 0, 0, 0) != p->parent)
        plain(SYS_exit_group, 0, 0, 0, 0, 0); // it has died before
    plain(SYS_rt_sigprocmask, SIG_SETMASK, (uint64_t)(uintptr_t)&p->mask, 0, 8, 0);
    for (;;) {
        wait_while(p, IDLE);
        p->order(p);
        hand_over(p, IDLE);
    }
    return 0;
}

static void make_call(struct proxy *p)
{
    p->result =
        p->captured ? host_call(p->nr, p->args, p->captured) : host_call_plain(p->nr, p->args);
}

static void execute(struct proxy *p)
{
    plain(SYS_prctl, PR_SET_PDEATHSIG, (uint64_t)p->death_signal, 0, 0, 0);
    make_call(p);
    plain(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}

static void start_child(struct proxy *p)
{
    struct proxy *c = p->child;
    int pid = clone(serve, c->stack + STACK, (int)c->clone_flags, c, p->pidfd, NULL, &c->state);
    p->result = pid < 0 ? -errno : pid;
}

static void fork_child(struct proxy *p)
{
    long pid = p->fork(p->request, p->pidfd);
    if (!pid) {
        p->in_child = true;
        setcontext(&p->forked);
    }
    p->result = pid < 0 ? -errno : pid;
}

// ---- orders ----

int64_t proxy_call(struct proxy *p, long nr, const uint64_t a[6], _Atomic int *captured)
{
    p->nr = nr;
    p->args = a;
    p->captured = captured;
    return give(p, nr == SYS_execveat || nr == SYS_execve ? execute : make_call) ? p->result
                                                                                 : HOST_GONE;
}

// The C library's fork holds its locks for a moment. Linux, too, kills those that share memory with
// a process that it has to kill.
static _Noreturn void lost_in_fork(void)
{
    dprintf(STDERR_FILENO,
            "%s: a child of vfork was killed while it forked; its parent cannot go on\n",
            log_name());
    for (;;)
        kill(getpid(), SIGKILL);
}

int64_t proxy_fork(struct proxy *p, long (*fork)(const struct clone_request *r, int *pidfd),
                   const struct clone_request *r, int *pidfd)
{
    p->fork = fork;
    p->request = r;
    p->pidfd = pidfd;
    sigaltstack(NULL, &p->signal_stack);
    getcontext(&p->forked);
    if (p->in_child) {
        sigaltstack(&p->signal_stack, NULL);
        user_self->u->fds = p->fds;
        user_self->fds = &user_self->u->fds;
        user_self->proxy = NULL;
        return 0;
    }
    if (!give(p, fork_child))
        lost_in_fork();
    return p->result;
}

int64_t proxy_map_file(uint64_t len, int prot, int flags, int fd, uint64_t off, void **ready)
{
    if (!user_self || !user_self->proxy)
        return 0;
    void *p = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return -errno;
    int64_t r = HOST_DO(mmap, HOST_PTR(p), len, (uint64_t)prot, (uint64_t)flags, (uint64_t)fd, off);
    if (r == (int64_t)HOST_PTR(p)) {
        *ready = p;
        return 0;
    }
    munmap(p, len);
    return r;
}

// ---- beginning and end ----

static bool start_reminder(struct proxy *p)
{
    struct sigevent e = {.sigev_notify = SIGEV_THREAD_ID,
                         .sigev_signo = SIGSEGV,
                         .sigev_value.sival_ptr = (void *)(uintptr_t)&reminder};
    e._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    struct itimerspec every = {{.tv_nsec = REMIND_NS}, {.tv_nsec = REMIND_NS}};
    if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &e, &p->timer))
        return false;
    syscall(SYS_timer_settime, p->timer, 0, &every, NULL);
    return true;
}

struct proxy *proxy_start(struct thread *t, uint64_t flags, int exit_signal, uint64_t mask,
                          int *pidfd, int64_t *error)
{
    struct proxy *p = xalloc(sizeof *p);
    p->state = IDLE;
    p->outer = t->proxy;
    p->parent = flags & (CLONE_PARENT | CLONE_NEWPID) ? 0 : p->outer ? p->outer->pid : t->u->pid;
    p->mask = mask;
    p->fds = *t->fds;
    p->clone_flags = flags | CLONE_VM | CLONE_CHILD_CLEARTID | (uint64_t)exit_signal;
    p->stack =
        mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (p->stack == MAP_FAILED || !start_reminder(p)) {
        *error = p->stack == MAP_FAILED ? -ENOMEM : -EAGAIN;
        if (p->stack != MAP_FAILED)
            munmap(p->stack, STACK);
        free(p);
        return NULL;
    }
    struct proxy here, *by = p->outer ?: &here; // who makes the process
    by->child = p;
    by->pidfd = pidfd;
    if (!p->outer)
        start_child(by);
    else if (!give(by, start_child))
        by->result = HOST_GONE;
    p->pid = (int)by->result;
    if (by->result > 0)
        return p;
    *error = by->result;
    proxy_free(p);
    return NULL;
}

void proxy_free(struct proxy *p)
{
    syscall(SYS_timer_delete, p->timer);
    munmap(p->stack, STACK);
    free(p);
}

int proxy_pid(const struct proxy *p)
{
    return p->pid;
}

bool proxy_gone(struct proxy *p)
{
    return atomic_load(&p->state) == GONE;
}

struct own_fds *proxy_fds(struct proxy *p)
{
    return &p->fds;
}

int64_t proxy_set_death_signal(struct proxy *p, uint64_t sig)
{
    if (sig > GUEST_SIGNALS)
        return -EINVAL;
    p->death_signal = (int)sig;
    return 0;
}

int proxy_death_signal(const struct proxy *p)
{
    return p->death_signal;
}

bool proxy_reminds(const siginfo_t *info)
{
    if (info->si_code != SI_TIMER || info->si_value.sival_ptr != &reminder)
        return false;
    struct thread *t = user_self;
    if (t->proxy && proxy_gone(t->proxy))
        atomic_fetch_or(&t->env->interrupt, INTR_WORK);
    return true;
}
