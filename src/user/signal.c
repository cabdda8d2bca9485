// Signals. The guest's mask is the host thread's mask, its default and ignored actions are the
// host's, so that the kernel itself chooses threads, keeps what is pending, stops, continues and
// kills. Where the guest has a handler, ours captures the signal (one per thread: all others stay
// blocked until it is delivered), makes translated code leave at its next poll, and the frame is
// built between two guest instructions. The signals of translated code's own faults are never
// blocked or ignored in the host.
#include "base/bits.h"
#include "user/debug/debug.h"
#include "user/guest.h"
#include "user/calls.h"
#include "user/proxy.h"
#include "user/abi/layout_host.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

_Thread_local struct thread *user_self;

#define FAULTS        (SIG_BIT(SIGSEGV) | SIG_BIT(SIGBUS) | SIG_BIT(SIGFPE))
#define NEVER_BLOCKED (SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP))

// Linux's own structure: libc would not let us have its private signals.
struct kernel_action {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

#if defined(__x86_64__)
void user_sigreturn(void);
__asm__(".text\n"
        "user_sigreturn:\n"
        "    mov $15, %rax\n"
        "    syscall\n");
#define RESTORER user_sigreturn
#else
#define RESTORER NULL
#endif

static int host_action(int sig, const struct kernel_action *set, struct kernel_action *old)
{
    return (int)HOST_DO(rt_sigaction, (uint64_t)sig, HOST_PTR(set), HOST_PTR(old), 8);
}

static void host_mask(uint64_t mask)
{
    HOST_DO(rt_sigprocmask, SIG_SETMASK, HOST_PTR(&mask), 0, 8);
}

uint64_t signal_host_mask(uint64_t guest_mask)
{
    return guest_mask & ~(FAULTS | NEVER_BLOCKED);
}

void signal_block_all(uint64_t *old)
{
    uint64_t all = ~FAULTS;
    HOST_DO(rt_sigprocmask, SIG_SETMASK, HOST_PTR(&all), HOST_PTR(old), 8);
}

void signal_block_every(uint64_t *old)
{
    uint64_t all = ~0ull;
    HOST_DO(rt_sigprocmask, SIG_SETMASK, HOST_PTR(&all), HOST_PTR(old), 8);
}

void signal_restore(uint64_t old)
{
    host_mask(old);
}

// ---- in the host's handlers ----

// Whatever it interrupts: the thread sanitizer's own functions, too.
UNSANITIZED static void capture(int sig, siginfo_t *info, void *context)
{
    struct thread *t = user_self;
    ucontext_t *uc = context;
    uint64_t all = ~FAULTS;
    t->captured_info = *info;
    atomic_store(&t->captured, sig);
    memcpy(&uc->uc_sigmask, &all, sizeof all);
    atomic_fetch_or(&t->env->interrupt, INTR_WORK);
    host_call_interrupt(uc);
}

static struct sigaction translator[GUEST_SIGNALS + 1]; // the accelerator's handlers of faults

// A fault of translated code is the accelerator's; the same signal sent by someone is not.
static void fault_handler(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    if (proxy_reminds(info))
        return;
    if (info->si_code <= 0) {
        capture(sig, info, context);
        return;
    }
#if defined(__x86_64__)
    greg_t *g = uc->uc_mcontext.gregs, pc = g[REG_RIP], sp = g[REG_RSP];
    if (translator[sig].sa_sigaction)
        translator[sig].sa_sigaction(sig, info, context);
    bool resolved = g[REG_RIP] != pc || g[REG_RSP] != sp;
#else
    bool resolved = true;
    if (translator[sig].sa_sigaction)
        translator[sig].sa_sigaction(sig, info, context);
#endif
    if (!resolved) // our own bug: die of it
        host_action(sig, &(struct kernel_action){0}, NULL);
    (void)uc;
}

void signal_take_faults(void)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE};
    for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
        struct sigaction sa = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER}, old;
        sigaction(faults[i], NULL, &old);
        if (old.sa_flags & SA_SIGINFO && old.sa_sigaction != fault_handler)
            translator[faults[i]] = old;
        sa.sa_sigaction = fault_handler;
        sigaction(faults[i], &sa, NULL);
    }
}

// ---- actions ----

static bool is_fault(int sig)
{
    return FAULTS >> (sig - 1) & 1;
}

static bool fatal_by_default(int sig)
{
    const uint64_t others = SIG_BIT(SIGCHLD) | SIG_BIT(SIGCONT) | SIG_BIT(SIGURG) |
                            SIG_BIT(SIGWINCH) | SIG_BIT(SIGSTOP) | SIG_BIT(SIGTSTP) |
                            SIG_BIT(SIGTTIN) | SIG_BIT(SIGTTOU);
    return !(others & SIG_BIT(sig));
}

// Of this signal the host is not to kill the program: a debugger is told before.
static bool dies_by_us(const struct thread *t, int sig)
{
    return t->u->debug && fatal_by_default(sig);
}

// What the host is to do.
static struct kernel_action host_view(int sig, const struct guest_action *a)
{
    struct kernel_action k = {.restorer = RESTORER, .mask = ~FAULTS};
    bool caught = !a->handler && dies_by_us(user_self, sig);
    if (a->handler <= 1 && !caught) // SIG_DFL, SIG_IGN
        k.handler = (void (*)(int, siginfo_t *, void *))(uintptr_t)a->handler;
    else
        k.handler = capture;
    k.flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | GUEST_SA_RESTORER |
              (a->flags & (SA_NOCLDSTOP | SA_NOCLDWAIT));
    return k;
}

static int install(int sig, const struct guest_action *a)
{
    struct kernel_action k = host_view(sig, a);
    return is_fault(sig) ? 0 : host_action(sig, &k, NULL);
}

// For the host, many a change is none: C libraries set every signal's default in a child.
static bool same_view(int sig, const struct guest_action *a, const struct guest_action *b)
{
    struct kernel_action x = host_view(sig, a), y = host_view(sig, b);
    return x.handler == y.handler && x.flags == y.flags;
}

int64_t signal_action(struct thread *t, int sig, const struct guest_action *set,
                      struct guest_action *old)
{
    if (sig < 1 || sig > GUEST_SIGNALS || (set && (sig == SIGKILL || sig == SIGSTOP)))
        return -EINVAL;
    int64_t r = 0;
    mutex_lock(&t->sighand->lock);
    struct guest_action before = t->sighand->action[sig];
    if (set && !same_view(sig, set, &before))
        r = install(sig, set);
    if (set && !r)
        t->sighand->action[sig] = *set;
    mutex_unlock(&t->sighand->lock);
    if (old)
        *old = before;
    return r;
}

void signal_defaults(struct thread *t)
{
    for (int sig = 1; sig <= GUEST_SIGNALS; sig++)
        if (!t->sighand->action[sig].handler && sig != SIGKILL)
            install(sig, &t->sighand->action[sig]);
}

void signal_reclaim(struct thread *t)
{
    enum { CANCEL = 32, SETXID = 33 };
    mutex_lock(&t->sighand->lock);
    for (int sig = CANCEL; sig <= SETXID; sig++)
        install(sig, &t->sighand->action[sig]);
    mutex_unlock(&t->sighand->lock);
}

void signal_init(struct user *u, struct thread *t)
{
    pthread_mutex_init(&t->sighand->lock, NULL);
    for (int sig = 1; sig <= GUEST_SIGNALS; sig++) {
        struct kernel_action k;
        if (!host_action(sig, NULL, &k) && (uintptr_t)k.handler == (uintptr_t)SIG_IGN)
            t->sighand->action[sig].handler = (uint64_t)(uintptr_t)SIG_IGN;
        if (u->debug && sig != SIGKILL && sig != SIGSTOP)
            install(sig, &t->sighand->action[sig]);
    }
    HOST_DO(rt_sigprocmask, SIG_SETMASK, 0, HOST_PTR(&t->blocked), 8);
    host_mask(signal_host_mask(t->blocked));
}

void signal_set_mask(struct thread *t, uint64_t mask)
{
    t->blocked = mask & ~NEVER_BLOCKED;
    // Once a signal has been captured all stay blocked until it has been delivered.
    mask = signal_host_mask(t->blocked);
    CALL_HOST(t, rt_sigprocmask, SIG_SETMASK, HOST_PTR(&mask), 0, 8);
}

void signal_mask_for_call(struct thread *t, uint64_t mask)
{
    t->saved_mask = t->blocked;
    t->saved_mask_valid = true;
    t->blocked = mask & ~NEVER_BLOCKED;
}

// ---- delivery ----

static int64_t send_self(int sig, siginfo_t *info)
{
    uint64_t pid = (uint64_t)HOST_DO(getpid, 0), tid = (uint64_t)HOST_DO(gettid, 0);
    return info ? HOST_DO(rt_tgsigqueueinfo, pid, tid, (uint64_t)sig, HOST_PTR(info))
                : HOST_DO(tgkill, pid, tid, (uint64_t)sig);
}

void signal_die(struct thread *t, int sig)
{
    if (t->u->debug && !t->debug_free)
        debug_end(t->u, 0, sig);
    robust_process_ends(t);
    struct rlimit none = {0};
    uint64_t one = SIG_BIT(sig);
    HOST_DO(prlimit64, 0, RLIMIT_CORE, HOST_PTR(&none)); // it would be a core of the emulator
    host_action(sig, &(struct kernel_action){0}, NULL);
    HOST_DO(rt_sigprocmask, SIG_UNBLOCK, HOST_PTR(&one), 0, 8);
    send_self(sig, NULL);
    HOST_DO(exit_group, (uint64_t)(128 + sig));
}

static bool on_altstack(const struct thread *t, uint64_t sp)
{
    return sp > t->alt_sp && sp - t->alt_sp <= t->alt_size;
}

enum { ALT_DISABLE = 2, ALT_ONSTACK = 1 };
#define ALT_AUTODISARM (1u << 31)

static int alt_flags(const struct thread *t)
{
    if (!t->alt_size)
        return ALT_DISABLE;
    return (on_altstack(t, t->u->abi->sp(t->env)) ? ALT_ONSTACK : 0) |
           (t->alt_flags & (int)ALT_AUTODISARM);
}

// Takes the action's own view: mask and one-shot. Returns the handler, or SIG_DFL, SIG_IGN.
static struct guest_action take_action(struct thread *t, int sig)
{
    mutex_lock(&t->sighand->lock);
    struct guest_action a = t->sighand->action[sig];
    if (a.flags & SA_RESETHAND && a.handler > 1) {
        t->sighand->action[sig] = (struct guest_action){.flags = a.flags};
        install(sig, &t->sighand->action[sig]);
    }
    mutex_unlock(&t->sighand->lock);
    return a;
}

// What becomes of the interrupted system call is known now.
static void settle_call(struct thread *t, const struct guest_action *a)
{
    if (!t->restart)
        return;
    bool repeat = t->restart == RESTART_ALWAYS || !a || a->flags & SA_RESTART;
    t->restart = RESTART_NOT;
    if (repeat)
        t->u->abi->rewind(t->env, t->call_nr, t->call_arg0);
    else
        t->u->abi->set_result(t->env, -EINTR);
}

static void handle(struct thread *t, int sig, const siginfo_t *info, const struct guest_action *a)
{
    settle_call(t, a);
    struct signal_frame f = {.sig = sig,
                             .info = *info,
                             .handler = a->handler,
                             .flags = a->flags,
                             .restorer =
                                 a->flags & GUEST_SA_RESTORER ? a->restorer : t->u->sigreturn_code,
                             .mask = t->saved_mask_valid ? t->saved_mask : t->blocked,
                             .sp = t->u->abi->sp(t->env),
                             .alt_sp = t->alt_sp,
                             .alt_size = t->alt_size,
                             .alt_flags = alt_flags(t)};
    t->saved_mask_valid = false;
    if (a->flags & SA_ONSTACK && t->alt_size && !on_altstack(t, f.sp))
        f.sp = t->alt_sp + t->alt_size;
    if (t->alt_flags & (int)ALT_AUTODISARM)
        t->alt_size = 0;
    if (!t->u->abi->frame_write(t, &f)) { // no room on the stack: as Linux does
        signal_action(t, SIGSEGV, &(struct guest_action){0}, NULL);
        signal_die(t, SIGSEGV);
        return;
    }
    t->blocked |= a->mask | (a->flags & SA_NODEFER ? 0 : SIG_BIT(sig));
    t->blocked &= ~NEVER_BLOCKED;
    t->fault_addr = t->fault_esr = 0;
}

void signal_force(struct thread *t, int sig, int code, uint64_t addr)
{
    siginfo_t info = {0};
    info.si_signo = sig;
    info.si_code = code;
    info.si_addr = (void *)(uintptr_t)addr;
    uint64_t mask;
    if (t->u->debug && !t->debug_free && !(sig = debug_signal(t, sig)))
        return;
    signal_block_all(&mask);
    struct guest_action a = take_action(t, sig);
    if (a.handler <= 1 || t->blocked & SIG_BIT(sig)) {
        signal_die(t, sig);
        return;
    }
    handle(t, sig, &info, &a);
    host_mask(atomic_load(&t->captured) ? ~FAULTS : signal_host_mask(t->blocked));
}

// By its default action, or later: the kernel's business again.
static void send_again(struct thread *t, int sig, siginfo_t *info)
{
    if (send_self(sig, info))
        send_self(sig, NULL);
}

// The host does not block the signals of faults: what somebody else has sent waits here.
static void hold(struct thread *t, int sig, const siginfo_t *info)
{
    if (!(t->held & SIG_BIT(sig)))
        t->held_info[sig % ARRAY_SIZE(t->held_info)] = *info;
    t->held |= SIG_BIT(sig);
}

static void deliver_one(struct thread *t, int sig, siginfo_t info)
{
    if (t->blocked & SIG_BIT(sig)) {
        if (is_fault(sig))
            hold(t, sig, &info);
        else
            send_again(t, sig, &info);
        return;
    }
    if (t->u->debug && !t->debug_free && !(sig = debug_signal(t, sig)))
        return;
    info.si_signo = sig;
    struct guest_action a = take_action(t, sig);
    if (a.handler > 1)
        handle(t, sig, &info, &a);
    else if (a.handler == 0 && (is_fault(sig) || dies_by_us(t, sig)))
        signal_die(t, sig);
    else if (a.handler == 0)
        send_again(t, sig, &info);
}

void signal_deliver(struct thread *t)
{
    for (;;) {
        int sig = atomic_load(&t->captured);
        if (sig) { // all signals are blocked here
            siginfo_t info = t->captured_info;
            atomic_store(&t->captured, 0);
            deliver_one(t, sig, info);
        }
        if (t->saved_mask_valid) {
            t->blocked = t->saved_mask;
            t->saved_mask_valid = false;
        }
        uint64_t free = t->held & ~t->blocked;
        if (free) {
            sig = __builtin_ctzll(free) + 1;
            t->held &= ~SIG_BIT(sig);
            deliver_one(t, sig, t->held_info[sig % ARRAY_SIZE(t->held_info)]);
            continue;
        }
        host_mask(signal_host_mask(t->blocked)); // what was pending comes now
        if (!atomic_load(&t->captured))
            break;
    }
    settle_call(t, NULL);
}

int64_t signal_altstack(struct thread *t, uint64_t set, uint64_t old)
{
    struct host_stack s = {t->alt_sp, alt_flags(t), t->alt_size}, fresh;
    if (set) {
        if (!layout_read(t, LAYOUT_stack, set, &fresh))
            return -EFAULT;
        if (s.flags & ALT_ONSTACK && !(s.flags & (int)ALT_AUTODISARM))
            return -EPERM;
        int mode = fresh.flags & ~(int)ALT_AUTODISARM;
        if (mode != 0 && mode != ALT_DISABLE && mode != ALT_ONSTACK)
            return -EINVAL;
        if (mode != ALT_DISABLE && fresh.size < 2048)
            return -ENOMEM;
    }
    if (old && !layout_write(t, LAYOUT_stack, old, &s))
        return -EFAULT;
    if (set) {
        bool off = (fresh.flags & ~(int)ALT_AUTODISARM) == ALT_DISABLE;
        t->alt_sp = off ? 0 : fresh.sp;
        t->alt_size = off ? 0 : fresh.size;
        t->alt_flags = fresh.flags & (int)ALT_AUTODISARM;
    }
    return 0;
}

int64_t signal_return(struct thread *t)
{
    uint64_t mask, stack_addr;
    struct host_stack s;
    if (!t->u->abi->frame_read(t, &mask, &stack_addr) ||
        !layout_read(t, LAYOUT_stack, stack_addr, &s)) {
        signal_force(t, SIGSEGV, SI_KERNEL, 0);
        return 0;
    }
    bool off = s.flags & ALT_DISABLE;
    t->alt_sp = off ? 0 : s.sp;
    t->alt_size = off ? 0 : s.size;
    t->alt_flags = s.flags & (int)ALT_AUTODISARM;
    signal_set_mask(t, mask);
    return 0;
}
