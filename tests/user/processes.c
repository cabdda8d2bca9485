// Guest program: fork, vfork, exec of itself and of the host's programs, how children end.
#include "check.h"

#include <pthread.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void *nothing(void *arg)
{
    return arg;
}

static int status_of(pid_t pid)
{
    int status = -1;
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

int main(int argc, char **argv)
{
    if (argc == 2)
        return atoi(argv[1]);
    char *shell[] = {"sh", "-c", "exit 5", NULL}, *self[] = {argv[0], "23", NULL};
    struct rlimit none = {0};
    pthread_t t;
    pid_t pid = fork();
    if (!pid) {
        pthread_create(&t, NULL, nothing, NULL);
        _exit(pthread_join(t, NULL) ? 1 : 42);
    }
    CHECK(WEXITSTATUS(status_of(pid)) == 42);
    setrlimit(RLIMIT_CORE, &none);
    if (!(pid = fork()))
        *(volatile int *)(uintptr_t)16 = 0;
    CHECK(WTERMSIG(status_of(pid)) == SIGSEGV);
    if (!(pid = fork()))
        abort();
    CHECK(WTERMSIG(status_of(pid)) == SIGABRT);
    CHECK(posix_spawn(&pid, "/nonexistent", NULL, NULL, shell, environ) == ENOENT);
    CHECK(!posix_spawn(&pid, "/bin/sh", NULL, NULL, shell, environ));
    CHECK(WEXITSTATUS(status_of(pid)) == 5);
    CHECK(!posix_spawn(&pid, "/proc/self/exe", NULL, NULL, self, environ));
    CHECK(WEXITSTATUS(status_of(pid)) == 23);
    if (!(pid = fork())) {
        execv("/proc/self/exe", self);
        _exit(1);
    }
    CHECK(WEXITSTATUS(status_of(pid)) == 23);
    return failures != 0;
}
