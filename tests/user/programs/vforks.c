// Children of vfork, which run on their parent's memory, and are killed: while they sleep, loop,
// make system calls, change the address space, run code that nobody has run before, at any moment
// of it; with the parent alone and with others of its threads at work. The parent goes on as if
// nothing had been. An argument says how many are killed at random moments.
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
enum { ROOM = 65536, STUCK = 60 };

// What a child does until it is killed, and other threads of its parent beside it.
enum what { SLEEPS, LOOPS, WRITES_CODE, CALLS, MAPS, EXECUTES, WHATS };

struct place {
    enum what what;
    char *room; // for code
};

__attribute__((noinline, aligned(64))) static int leaf(int x)
{
    return x * 3 + 1;
}

// Code that nobody has run before: what is wrong with it.
static int fresh_code(char *room)
{
    for (size_t at = 0; at + 64 <= ROOM; at += 64) {
        memcpy(room + at, (const void *)leaf, 64);
        __builtin___clear_cache(room + at, room + at + 64);
        if (((int (*)(int))(room + at))(5) != 16)
            return 1;
    }
    return 0;
}

static int calls(void)
{
    int fd = open("/proc/self/exe", O_RDONLY), copy = dup(fd);
    char c;
    int wrong = fd < 0 || copy < 0 || read(copy, &c, 1) != 1 || close(fd) || close(copy);
    return wrong || getppid() <= 0 || open("/nonexistent", O_RDONLY) >= 0;
}

static int maps(void)
{
    int fd = open("/proc/self/exe", O_RDONLY), wrong = 0;
    char *file = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
    char *plain = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    wrong = fd < 0 || file == MAP_FAILED || plain == MAP_FAILED || memcmp(file, "\177ELF", 4);
    plain[5] = 1;
    wrong |= mprotect(plain + 4096, 4096, PROT_READ) || munmap(plain, ROOM) || munmap(file, 8192);
    return wrong | close(fd);
}

static int executes(void)
{
    char *words[] = {"nothing", NULL};
    return execve("/nonexistent", words, environ) != -1 || execve("/", words, environ) != -1;
}

static int work(const struct place *p)
{
    switch (p->what) {
    case SLEEPS:
        return usleep(1000);
    case LOOPS:
        for (volatile int i = 0; i < 100000; i++)
            ;
        return 0;
    case WRITES_CODE:
        return fresh_code(p->room);
    case CALLS:
        return calls();
    case MAPS:
        return maps();
    default:
        return executes();
    }
}

// ---- who kills ----

static struct order {
    _Atomic int pid; // 0: not yet known
    int sig, spins, delay_us;
} order;

static void *killer(void *arg)
{
    while (!order.pid)
        sched_yield();
    if (order.delay_us)
        usleep((useconds_t)order.delay_us);
    for (volatile int i = 0; i < order.spins; i++)
        ;
    kill(order.pid, order.sig);
    return NULL;
}

// Status of a child that is sent `sig`; 0: it has found something wrong.
static int killed_child(const struct place *p, int sig, int delay_us, int spins)
{
    pthread_t t;
    int status;
    order.pid = 0;
    order.sig = sig;
    order.delay_us = delay_us;
    order.spins = spins;
    if (pthread_create(&t, NULL, killer, NULL))
        return -1;
    pid_t pid = vfork();
    if (!pid) {
        order.pid = getpid();
        while (!work(p))
            ;
        _exit(0);
    }
    pthread_join(t, NULL);
    return waitpid(pid, &status, 0) == pid ? status : -1;
}

// ---- the parent's other threads ----

static _Atomic int stop, wrong_beside;

static void *beside(void *arg)
{
    const struct place *p = arg;
    while (!stop)
        wrong_beside += work(p);
    return NULL;
}

static char *new_room(void)
{
    return mmap(NULL, ROOM, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void at_random(unsigned kills, unsigned threads)
{
    static const enum what others[] = {MAPS, WRITES_CODE, CALLS};
    struct place places[3], mine = {.room = new_room()}, check = {WRITES_CODE, new_room()};
    pthread_t t[3];
    unsigned seed = kills + threads, wrong = 0;
    stop = 0;
    for (unsigned i = 0; i < threads; i++) {
        places[i] = (struct place){others[i], new_room()};
        CHECK(!pthread_create(&t[i], NULL, beside, &places[i]));
    }
    for (unsigned i = 0; i < kills; i++) {
        alarm(STUCK);
        mine.what = i % WHATS;
        int status = killed_child(&mine, SIGKILL, 0, 1 << rand_r(&seed) % 20);
        wrong += !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL;
        if (i % 16 == 0)
            wrong += work(&check) || calls() || maps();
    }
    stop = 1;
    for (unsigned i = 0; i < threads; i++)
        pthread_join(t[i], NULL);
    CHECK(wrong == 0);
    CHECK(wrong_beside == 0);
}

// ---- what else a child does ----

static volatile sig_atomic_t handled;

static void handler(int sig)
{
    handled++;
}

// Of a child's doings its parent sees those in memory.
static void seen(void)
{
    static volatile int stored;
    char *volatile mapped = NULL;
    int status;
    pid_t pid = vfork(), grandchild;
    if (!pid) {
        stored = 17;
        mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mapped[1] = 18;
        signal(SIGUSR1, handler);
        raise(SIGUSR1);
        close(0);
        prctl(PR_SET_NAME, "child");
        grandchild = vfork();
        if (!grandchild) {
            stored++;
            _exit(getppid() == getpid() ? 1 : 7);
        }
        if (waitpid(grandchild, &status, 0) != grandchild || WEXITSTATUS(status) != 7)
            _exit(1);
        grandchild = fork();
        if (!grandchild) {
            stored = 0; // its own
            _exit(9);
        }
        if (waitpid(grandchild, &status, 0) != grandchild || WEXITSTATUS(status) != 9)
            _exit(2);
        _exit(3);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3);
    CHECK(stored == 18 && mapped[1] == 18 && handled == 1);
    CHECK(signal(SIGUSR1, SIG_DFL) == SIG_DFL);
    CHECK(fcntl(0, F_GETFD) >= 0);
    CHECK(waitpid(-1, NULL, __WALL) == -1);
}

// A fault of the child's is the child's.
static void faults(void)
{
    int status;
    pid_t pid = vfork();
    if (!pid)
        *(volatile int *)(uintptr_t)16 = 0;
    CHECK(waitpid(pid, &status, 0) == pid && WTERMSIG(status) == SIGSEGV);
    if (!(pid = vfork()))
        abort();
    CHECK(waitpid(pid, &status, 0) == pid && WTERMSIG(status) == SIGABRT);
}

// The child's parent is killed: nobody stays.
static void orphaned(void)
{
    int fds[2];
    char c;
    CHECK(!pipe(fds));
    pid_t pid = fork();
    if (!pid) {
        close(fds[0]);
        if (!vfork())
            for (;;)
                write(fds[1], "x", 1), pause();
        _exit(0);
    }
    close(fds[1]);
    CHECK(read(fds[0], &c, 1) == 1);
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, NULL, 0) == pid);
    CHECK(!strcmp(getenv("NATIVE") ?: "", "1") || read(fds[0], &c, 1) == 0);
    close(fds[0]);
}

int main(int argc, char **argv)
{
    static const int sigs[] = {SIGKILL, SIGTERM, SIGUSR1, SIGSEGV};
    unsigned kills = argc > 1 ? (unsigned)atoi(argv[1]) : 120;
    struct place p = {.room = new_room()};
    char *words[] = {"true", NULL};
    struct rlimit none = {0};
    pid_t pid;
    int status;
    setrlimit(RLIMIT_CORE, &none);
    setvbuf(stdout, NULL, _IOLBF, 0);
    CHECK(p.room != MAP_FAILED);
    alarm(STUCK);
    seen();
    faults();
    orphaned();
    for (unsigned i = 0; i < 4 * WHATS; i++) {
        p.what = i / 4;
        CHECK(WTERMSIG(killed_child(&p, sigs[i % 4], 5000, 0)) == sigs[i % 4]);
    }
    at_random(kills, 0);
    at_random(kills, 3);
    // And the ordinary use of it.
    for (int i = 0; i < 10; i++) {
        CHECK(!posix_spawn(&pid, "/bin/true", NULL, NULL, words, environ));
        CHECK(waitpid(pid, &status, 0) == pid && !status);
    }
    return failures != 0;
}
