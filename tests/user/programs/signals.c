// Guest program: nesting, masks, real-time queues, registers over a handler, restarted and
// interrupted calls.
#include "check.h"
#include "cpu.h"

#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int order[16], n_order, alarms, tell = -1;

static void nested(int sig, siginfo_t *i, void *context)
{
    order[n_order++] = sig;
    if (sig == SIGUSR1) {
        raise(SIGUSR2);
        order[n_order++] = 100;
    }
}

static void clobber(int sig, siginfo_t *i, void *context)
{
    clobber_fp();
}

static void tick(int sig, siginfo_t *i, void *context)
{
    if (++alarms == 5 && tell >= 0)
        CHECK(write(tell, "x", 1) == 1);
}

static void delivery(void)
{
    sigset_t set, old, pending;
    union sigval v = {.sival_int = 5};
    siginfo_t info;
    on_signal(SIGUSR1, nested, 0);
    on_signal(SIGUSR2, nested, 0);
    on_signal(SIGRTMIN + 1, nested, 0);
    raise(SIGUSR1);
    CHECK(n_order == 3 && order[0] == SIGUSR1 && order[1] == SIGUSR2 && order[2] == 100);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGRTMIN + 1);
    n_order = 0;
    sigprocmask(SIG_BLOCK, &set, &old);
    raise(SIGUSR2);
    for (int i = 0; i < 3; i++)
        CHECK(!sigqueue(getpid(), SIGRTMIN + 1, v));
    CHECK(n_order == 0 && !sigpending(&pending) && sigismember(&pending, SIGUSR2));
    sigprocmask(SIG_SETMASK, &old, NULL);
    CHECK(n_order == 4);
    sigprocmask(SIG_BLOCK, &set, &old);
    raise(SIGUSR2);
    CHECK(sigwaitinfo(&set, &info) == SIGUSR2 && info.si_pid == getpid());
    sigprocmask(SIG_SETMASK, &old, NULL);
    on_signal(SIGUSR1, clobber, 0);
    double a = 1.5, b = 2.5;
    CHECK(!kill_with_fp(getpid(), SIGUSR1, &a, &b));
    CHECK(a == 1.5 && b == 2.5);
}

static void calls(void)
{
    // Often enough that one comes while the call waits, whenever that begins.
    struct itimerval once = {.it_value.tv_usec = 50000}, often = {{0, 20000}, {0, 20000}},
                     off = {0};
    int fd[2];
    char c;
    sigset_t all_but;
    CHECK(!pipe(fd));
    on_signal(SIGALRM, tick, 0);
    setitimer(ITIMER_REAL, &often, NULL);
    CHECK(read(fd[0], &c, 1) == -1 && errno == EINTR && alarms);
    setitimer(ITIMER_REAL, &off, NULL);
    on_signal(SIGALRM, tick, SA_RESTART);
    alarms = 0;
    setitimer(ITIMER_REAL, &often, NULL);
    tell = fd[1];
    CHECK(read(fd[0], &c, 1) == 1 && alarms >= 5);
    setitimer(ITIMER_REAL, &off, NULL);
    alarms = 0;
    setitimer(ITIMER_REAL, &once, NULL);
    while (!alarms) // no call at all: a loop is interrupted too
        ;
    sigfillset(&all_but);
    sigdelset(&all_but, SIGALRM);
    alarms = 0;
    setitimer(ITIMER_REAL, &often, NULL);
    CHECK(sigsuspend(&all_but) == -1 && errno == EINTR && alarms);
    setitimer(ITIMER_REAL, &off, NULL);
}

static volatile int depth, deepest, faults, sent_twice;

static void fault_sent(int sig, siginfo_t *i, void *context)
{
    faults++;
    depth++;
    deepest = depth > deepest ? depth : deepest;
    if (!sent_twice) {
        sent_twice = 1;
        raise(sig); // blocked while it is handled
    }
    depth--;
}

// The signals of faults, sent by somebody, are blocked like any other.
static void sent_faults(void)
{
    static const int sigs[] = {SIGSEGV, SIGBUS, SIGFPE};
    sigset_t all, before;
    sigemptyset(&all);
    for (int i = 0; i < 3; i++)
        sigaddset(&all, sigs[i]);
    for (int i = 0; i < 3; i++) {
        on_signal(sigs[i], fault_sent, 0);
        faults = deepest = sent_twice = 0;
        raise(sigs[i]);
        CHECK(faults == 2 && deepest == 1);
    }
    sigprocmask(SIG_BLOCK, &all, &before);
    faults = 0;
    for (int i = 0; i < 3; i++) {
        raise(sigs[i]);
        raise(sigs[i]);
    }
    CHECK(faults == 0);
    if (!fork())
        _exit(sigprocmask(SIG_SETMASK, &before, NULL) || faults != 0); // pending is not inherited
    int status = -1;
    wait(&status);
    CHECK(status == 0);
    sigprocmask(SIG_SETMASK, &before, NULL);
    CHECK(faults == 3);
    for (int i = 0; i < 3; i++)
        signal(sigs[i], SIG_DFL);
}

int main(void)
{
    delivery();
    sent_faults();
    calls();
    return failures != 0;
}
