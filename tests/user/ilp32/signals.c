// Signals, faults and threads of a 32-bit guest: what siginfo and the frame hold, what returns from
// it, threads by clone with futexes and robust lists.
#include "bare.h"

#include <linux/fcntl.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/signal.h>
#include <linux/time_types.h>

enum { EINTR = 4, EAGAIN = 11, SEGV_MAPERR_ = 1, SEGV_ACCERR_ = 2 };
typedef unsigned long long mask_t;
#define BIT(sig) (1ull << ((sig)-1))

struct action {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    mask_t mask;
};
_Static_assert(sizeof(struct action) == 16 && sizeof(siginfo_t) == 128 && sizeof(stack_t) == 12,
               "");

struct context { // struct ucontext, of which linux/signal.h has not all
    unsigned long flags;
    void *link;
    stack_t stack;
    mask_t mask;
    char rest[120];
    unsigned long pc __attribute__((aligned(16))), x[31];
    double f[32];
    unsigned fcsr;
} __attribute__((packed, aligned(16)));
_Static_assert(__builtin_offsetof(struct context, pc) == 160, "");

static void on(int sig, void (*fn)(int, siginfo_t *, void *), unsigned long flags)
{
    struct action a = {fn, flags | SA_SIGINFO, 0};
    CHECK(!SYS(rt_sigaction, sig, &a, NULL, 8));
}

static volatile int count;
static siginfo_t last;
static void note(int sig, siginfo_t *info, void *context)
{
    const struct context *c = context;
    count++;
    last = *info;
    CHECK(info->si_signo == sig && c->pc && c->x[1] > (unsigned long)&info - 65536);
}

static void sources(void)
{
    long me = SYS(getpid);
    struct action old;
    on(SIGUSR1, note, 0);
    CHECK(!SYS(rt_sigaction, SIGUSR1, NULL, &old, 8) && old.handler == note &&
          old.flags == SA_SIGINFO);
    SYS(kill, me, SIGUSR1);
    CHECK(count == 1 && last.si_code == SI_USER && last.si_pid == me &&
          (long)last.si_uid == SYS(getuid));
    siginfo_t q = {0};
    q.si_code = SI_QUEUE;
    q.si_pid = me;
    q.si_int = 0x12345678;
    CHECK(!SYS(rt_sigqueueinfo, me, SIGUSR1, &q) && count == 2 && last.si_code == SI_QUEUE &&
          last.si_int == 0x12345678);
    struct sigevent ev = {
        .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value = {.sival_int = 4711}};
    // Again and again, so that one comes while the call sleeps, whenever that begins.
    struct __kernel_itimerspec its = {{0, 20000000}, {0, 1000000}};
    int timer;
    struct __kernel_timespec second = {1, 0};
    CHECK(!SYS(timer_create, 1, &ev, &timer) && !SYS(timer_settime64, timer, 0, &its, NULL));
    CHECK(SYS(clock_nanosleep_time64, 1, 0, &second, NULL) == -EINTR && count >= 3 &&
          last.si_code == SI_TIMER);
    CHECK(last.si_int == 4711 && last.si_tid == timer && !SYS(timer_delete, timer));
    count = 3;
    on(SIGCHLD, note, 0);
    long child = SYS(clone, SIGCHLD);
    if (!child)
        SYS(exit_group, 5);
    siginfo_t w;
    CHECK(!SYS(waitid, 1, child, &w, 4, NULL) && w.si_signo == SIGCHLD && w.si_pid == child &&
          w.si_status == 5 && w.si_code == 1);
    CHECK(count == 4 && last.si_pid == child && last.si_status == 5);
    // Waited for, and read from a descriptor.
    mask_t two = BIT(SIGUSR2), before = 0, pending = 0;
    CHECK(!SYS(rt_sigprocmask, SIG_BLOCK, &two, &before, 8) && !(before & two));
    SYS(kill, me, SIGUSR2);
    CHECK(!SYS(rt_sigpending, &pending, 8) && pending & two);
    CHECK(SYS(rt_sigtimedwait_time64, &two, &w, &second, 8) == SIGUSR2 && w.si_pid == me);
    second.tv_sec = 0;
    CHECK(SYS(rt_sigtimedwait_time64, &two, &w, &second, 8) == -EAGAIN);
    long fd = SYS(signalfd4, -1, &two, 8, 0);
    unsigned s[32];
    SYS(kill, me, SIGUSR2);
    CHECK(SYS(read, fd, s, 128) == 128 && s[0] == SIGUSR2 && (long)s[3] == me);
    SYS(close, fd);
    on(SIGUSR2, note, 0);
    SYS(kill, me, SIGUSR2);
    mask_t none = 0;
    CHECK(count == 4 && SYS(rt_sigsuspend, &none, 8) == -EINTR && count == 5);
    SYS(rt_sigprocmask, SIG_SETMASK, &before, NULL, 8);
}

static unsigned long where;
static void skip(int sig, siginfo_t *info, void *context)
{
    struct context *c = context;
    last = *info;
    count++;
    where = c->pc;
    c->pc = c->x[4]; // t0: where to go on
    c->x[9] = 77;    // a0
    c->f[8] = 2.5;   // fs0
}

// Does what faults, and tells what the handler left behind.
static long provoke(int kind, unsigned long addr, double *f)
{
    register long a0 __asm__("a0") = kind, a1 __asm__("a1") = (long)addr;
    register double fs __asm__("fs0") = 1.0;
    __asm__ volatile("lla t0, 9f\n"
                     "beqz a0, 1f\n addi a0, a0, -1\n beqz a0, 2f\n addi a0, a0, -1\n beqz a0, 3f\n"
                     "ebreak\n j 9f\n"
                     "1: lw a0, 0(a1)\n j 9f\n"
                     "2: sw a0, 0(a1)\n j 9f\n"
                     "3: .word 0\n"
                     "9:\n"
                     : "+r"(a0), "+f"(fs)
                     : "r"(a1)
                     : "t0", "memory");
    *f = fs;
    return a0;
}

static void faults(void)
{
    double f;
    char *page = (char *)SYS(mmap2, NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    on(SIGSEGV, skip, 0);
    on(SIGILL, skip, 0);
    on(SIGTRAP, skip, 0);
    count = 0;
    CHECK(provoke(0, 0x10, &f) == 77 && f == 2.5 && last.si_code == SEGV_MAPERR_ &&
          last.si_addr == (void *)0x10);
    CHECK(provoke(0, 0xfffffffc, &f) == 77 && last.si_addr == (void *)0xfffffffc);
    CHECK(provoke(1, (unsigned long)page + 8, &f) == 77 && last.si_code == SEGV_ACCERR_ &&
          last.si_addr == page + 8);
    CHECK(provoke(2, 0, &f) == 77 && last.si_signo == SIGILL && last.si_addr == (void *)where);
    CHECK(provoke(3, 0, &f) == 77 && last.si_signo == SIGTRAP && count == 5);
    SYS(munmap, page, 4096);
}

static void on_stack(int sig, siginfo_t *info, void *context)
{
    const struct context *c = context;
    stack_t now;
    CHECK(!SYS(sigaltstack, NULL, &now) && now.ss_flags == SS_ONSTACK);
    CHECK((char *)&now > (char *)now.ss_sp && (char *)&now < (char *)now.ss_sp + now.ss_size);
    CHECK(c->stack.ss_sp == now.ss_sp && c->stack.ss_size == now.ss_size &&
          !((unsigned long)context & 15));
    count++;
}

static void stacks(void)
{
    static char room[16384] __attribute__((aligned(16)));
    stack_t s = {room, 0, sizeof room}, old;
    CHECK(!SYS(sigaltstack, &s, &old) && old.ss_flags == SS_DISABLE);
    on(SIGUSR1, on_stack, SA_ONSTACK);
    count = 0;
    long me = SYS(getpid);
    SYS(kill, me, SIGUSR1);
    CHECK(count == 1 && !SYS(sigaltstack, NULL, &old) && old.ss_flags == 0 && old.ss_sp == room &&
          old.ss_size == sizeof room);
}

static void restarts(void)
{
    int p[2];
    char c = 0;
    SYS(pipe2, p, 0);
    on(SIGCHLD, note, SA_RESTART);
    on(SIGUSR1, note, SA_RESTART);
    count = 0;
    long me = SYS(getpid), child = SYS(clone, SIGCHLD);
    const struct __kernel_timespec soon = {0, 20000000};
    if (!child) {
        SYS(clock_nanosleep_time64, 1, 0, &soon, NULL);
        SYS(kill, me, SIGUSR1);
        SYS(clock_nanosleep_time64, 1, 0, &soon, NULL);
        SYS(write, p[1], "r", 1);
        SYS(exit_group, 0);
    }
    CHECK(SYS(read, p[0], &c, 1) == 1 && c == 'r' && count >= 1);
    SYS(waitid, 1, child, &last, 4, NULL);
    for (int i = 0; i < 2; i++)
        SYS(close, p[i]);
}

// ---- threads ----

static int ready, sum;
static int tids[4];
struct node {
    struct robust_list list;
    int lock;
};
static struct node held;
static struct robust_list_head heads[4];

static void futex_wait(int *word, int val)
{
    const struct __kernel_timespec long_time = {10, 0};
    while (__atomic_load_n(word, __ATOMIC_SEQ_CST) == val)
        CHECK(SYS(futex_time64, word, FUTEX_WAIT, val, &long_time, NULL, 0) != -110);
}

static void futex_set(int *word, int val)
{
    __atomic_store_n(word, val, __ATOMIC_SEQ_CST);
    SYS(futex_time64, word, FUTEX_WAKE, 1 << 20, NULL, NULL, 0);
}

__attribute__((noreturn, used)) void thread(long n)
{
    unsigned long tp;
    __asm__("mv %0, tp" : "=r"(tp));
    CHECK(tp == 0x1000 + (unsigned long)n);
    futex_wait(&ready, 0);
    for (int i = 0; i < 20000; i++)
        __atomic_fetch_add(&sum, (int)n, __ATOMIC_RELAXED);
    if (n == 2) { // dies with a mutex held
        struct robust_list_head *h = &heads[n], *got;
        size_t size = 0;
        *h = (struct robust_list_head){
            {&held.list}, (long)__builtin_offsetof(struct node, lock), NULL};
        held.list.next = &h->list;
        held.lock = (int)SYS(gettid);
        CHECK(!SYS(set_robust_list, h, sizeof *h) && SYS(set_robust_list, h, 24) < 0);
        CHECK(!SYS(get_robust_list, 0, &got, &size) && got == h && size == 12);
    }
    SYS(exit, 0);
    __builtin_unreachable();
}

// clone with a stack of its own, whose top word is the thread's number.
static long start_thread(long n)
{
    static char stacks_[4][16384] __attribute__((aligned(16)));
    char *top = stacks_[n] + sizeof stacks_[n] - 16;
    *(long *)top = n;
    register long a0 __asm__("a0") = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
                                     CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
                                     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    register char *a1 __asm__("a1") = top;
    register int *a2 __asm__("a2") = &tids[n], *a4 __asm__("a4") = &tids[n];
    register long a3 __asm__("a3") = 0x1000 + n, a7 __asm__("a7") = __NR_clone;
    __asm__ volatile("ecall\n bnez a0, 1f\n lw a0, 0(sp)\n call thread\n1:"
                     : "+r"(a0)
                     : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a7)
                     : "ra", "memory");
    return a0;
}

static void threads(void)
{
    for (long n = 1; n < 4; n++)
        CHECK(start_thread(n) > 0 && tids[n]);
    futex_set(&ready, 1);
    for (int n = 1; n < 4; n++)
        for (int tid; (tid = __atomic_load_n(&tids[n], __ATOMIC_SEQ_CST));)
            futex_wait(&tids[n], tid);
    CHECK(sum == 6 * 20000 && held.lock == (int)FUTEX_OWNER_DIED);
}

int program(int argc, char **argv, char **env, unsigned long *auxv)
{
    if (argc == 2) // die of it: 128 + the signal for a shell
        return provoke(argv[1][0] == 's' ? 0 : 2, 0, &(double){0}) != 0;
    sources();
    faults();
    stacks();
    restarts();
    threads();
    put(failures ? "failed\n" : "signals, faults and threads as they should be\n");
    return failures != 0;
}
