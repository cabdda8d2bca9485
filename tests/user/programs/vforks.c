// Children of vfork that are killed while they run on their parent's memory: in a system call, in a
// loop, by signals at any moment, and by SIGKILL while their code is being seen for the first time.
// The parent goes on, or is killed, too; it never hangs.
#include "check.h"

#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static _Atomic int child_pid;
static struct order {
    int sig, delay_us;
} order;

static void *killer(void *arg)
{
    struct order o = order;
    int pid;
    while (!(pid = child_pid))
        usleep(100);
    usleep((useconds_t)o.delay_us);
    kill(pid, o.sig);
    return NULL;
}

__attribute__((noinline, aligned(64))) static int leaf(int x)
{
    return x * 3 + 1;
}

// Code that nobody has run before, again and again.
static void fresh_code(char *room, size_t size)
{
    for (;;)
        for (size_t at = 0; at + 64 <= size; at += 64) {
            memcpy(room + at, (const void *)leaf, 64);
            __builtin___clear_cache(room + at, room + at + 64);
            if (((int (*)(int))(room + at))(5) != 16)
                _exit(3);
        }
}

enum what { SLEEPS, LOOPS, WRITES_CODE };

// Status of a child of vfork that is sent `sig` after a while.
static int killed_child(enum what what, int sig, int delay_us, char *room)
{
    pthread_t t;
    int status;
    child_pid = 0;
    order = (struct order){sig, delay_us};
    if (pthread_create(&t, NULL, killer, NULL))
        return -1;
    pid_t pid = vfork();
    if (!pid) {
        child_pid = getpid();
        if (what == WRITES_CODE)
            fresh_code(room, 65536);
        for (;;)
            if (what == SLEEPS)
                pause();
    }
    pthread_join(t, NULL);
    return waitpid(pid, &status, 0) == pid ? status : -1;
}

// The same in a process of its own, which may be killed, but must not hang.
static void kill_for_good(int delay_us, char *room)
{
    pid_t pid = fork();
    if (!pid) {
        for (int i = 0; i < 4; i++)
            if (!WIFSIGNALED(killed_child(WRITES_CODE, SIGKILL, delay_us + 37 * i, room)))
                _exit(1);
        _exit(0);
    }
    int status = 0;
    for (int i = 0; i < 2000; i++) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            CHECK(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
            return;
        }
        usleep(10000);
    }
    CHECK(!"the parent hangs");
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
}

// After this long the child sleeps or loops, and is in none of the emulator's own work.
enum { SETTLED_US = 100000 };

// With an argument: also children killed in the midst of the emulator's work.
int main(int argc, char **argv)
{
    char *room =
        mmap(NULL, 65536, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *words[] = {"true", NULL};
    struct rlimit none = {0};
    pid_t pid;
    int status;
    setrlimit(RLIMIT_CORE, &none);
    CHECK(room != MAP_FAILED);
    for (int i = 0; i < 3; i++) {
        CHECK(WTERMSIG(killed_child(SLEEPS, SIGKILL, SETTLED_US, room)) == SIGKILL);
        CHECK(WTERMSIG(killed_child(LOOPS, SIGKILL, SETTLED_US, room)) == SIGKILL);
        CHECK(WTERMSIG(killed_child(SLEEPS, SIGTERM, 1000, room)) == SIGTERM);
    }
    for (int i = 0; i < 30; i++)
        CHECK(WTERMSIG(killed_child(WRITES_CODE, i & 1 ? SIGTERM : SIGUSR1, 61 * i, room)) ==
              (i & 1 ? SIGTERM : SIGUSR1));
    for (int i = 0; argc > 1 && i < 10; i++)
        kill_for_good(101 * i, room);
    // And the ordinary use of it.
    for (int i = 0; i < 10; i++) {
        CHECK(!posix_spawn(&pid, "/bin/true", NULL, NULL, words, environ));
        CHECK(waitpid(pid, &status, 0) == pid && !status);
    }
    return failures != 0;
}
