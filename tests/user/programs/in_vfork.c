// Another program's main, named real_main, as a child of vfork: all that it does to its process is
// done to the child's, and nothing to its parent's.
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int real_main(int argc, char **argv);

int main(int argc, char **argv)
{
    char here[4096], now[4096];
    int status = -1, open_fds = 0, left = 0;
    sigset_t mask, mask_now;
    struct sigaction action, actions[32];
    if (argc > 1) // executed by itself
        return real_main(argc, argv);
    CHECK(getcwd(here, sizeof here) != NULL);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int sig = 1; sig < 32; sig++)
        CHECK(!sigaction(sig, NULL, &actions[sig]));
    pid_t me = getpid(), group = getpgrp();
    for (int fd = 0; fd < 1024; fd++)
        open_fds += fcntl(fd, F_GETFD) >= 0;
    pid_t pid = vfork();
    if (!pid) {
        if (getpid() == me || getppid() != me)
            _exit(99);
        status = real_main(argc, argv);
        fflush(stdout);
        _exit(status);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    if (status)
        printf("status %#x\n", status);
    CHECK(getpid() == me && getpgrp() == group);
    CHECK(getcwd(now, sizeof now) && !strcmp(here, now));
    sigprocmask(SIG_SETMASK, NULL, &mask_now);
    CHECK(!memcmp(&mask, &mask_now, sizeof mask));
    for (int sig = 1; sig < 32; sig++)
        CHECK(!sigaction(sig, NULL, &action) && action.sa_handler == actions[sig].sa_handler);
    for (int fd = 0; fd < 1024; fd++)
        left += fcntl(fd, F_GETFD) >= 0;
    CHECK(open_fds == left);
    return failures != 0;
}
