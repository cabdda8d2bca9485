// Guest program: fork, vfork, exec of itself and of the host's programs, how children end.
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
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

// How many descriptors there are, by the kernel's own list and by trying; the list's own is left
// out.
static void descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    struct rlimit limit;
    unsigned listed = 0, found = 0, above = 0;
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.' && atoi(e->d_name) != dirfd(d))
            listed++;
    closedir(d);
    getrlimit(RLIMIT_NOFILE, &limit);
    int most = limit.rlim_cur < 4096 ? (int)limit.rlim_cur : 4096;
    for (int fd = 0; fd < most; fd++)
        found += fcntl(fd, F_GETFD) >= 0;
    CHECK(listed == found);
    for (int fd = 900; fd < most && fd < 1020; fd++)
        above += dup2(0, fd) == fd && !close(fd);
    uid_t ids[2];
    unsigned slot[3] = {0, 0, 0};                 // struct kcmp_epoll_slot
    CHECK(!fcntl(0, 17, ids) || errno != EFAULT); // F_GETOWNER_UIDS
    CHECK(!syscall(SYS_kcmp, getpid(), getpid(), 7, 0, slot) || errno != EFAULT);
    CHECK(above == (most < 1020 ? most > 900 ? most - 900 : 0 : 120));
}

// A mutex in shared memory whose owner is killed goes to the next, as does one whose owner just
// ends.
static void robust_mutexes(int prot)
{
    struct shared {
        pthread_mutex_t m[2];
        volatile int ready;
    } *s = mmap(NULL, sizeof *s, prot, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t a;
    CHECK(!mprotect(s, sizeof *s, PROT_READ | PROT_WRITE));
    // Memory is shared, and nobody is beside this process for that.
    CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    for (int how = 0; how < 2; how++) {
        s->ready = 0;
        pthread_mutex_init(&s->m[0], &a);
        pthread_mutex_init(&s->m[1], &a);
        pid_t pid = fork();
        if (!pid) {
            pthread_mutex_lock(&s->m[0]);
            pthread_mutex_lock(&s->m[1]);
            s->ready = 1;
            if (how)
                _exit(0);
            pause();
        }
        while (!s->ready)
            usleep(1000);
        struct timespec soon = {time(NULL) + 20};
        if (!how)
            kill(pid, SIGKILL);
        CHECK(pthread_mutex_timedlock(&s->m[1], &soon) == EOWNERDEAD);
        CHECK(pthread_mutex_timedlock(&s->m[0], &soon) == EOWNERDEAD);
        CHECK(WIFEXITED(status_of(pid)) == how);
    }
    CHECK(wait(NULL) == -1 && errno == ECHILD);
    CHECK(!kill(0, 0));
    munmap(s, sizeof *s);
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
    // In a process of its own, since sharing once is sharing for ever.
    if (!(pid = fork())) {
        robust_mutexes(PROT_READ | PROT_WRITE);
        _exit(failures != 0);
    }
    CHECK(WEXITSTATUS(status_of(pid)) == 0);
    robust_mutexes(PROT_READ);
    descriptors();
    CHECK(!posix_spawn(&pid, "/proc/self/exe", NULL, NULL, self,
                       environ)); // the emulator finds itself still
    CHECK(WEXITSTATUS(status_of(pid)) == 23);
    return failures != 0;
}
