// What the debugger follows: a fork, whose child makes a thread and executes this program again,
// and a child that dies of a signal.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

volatile int where;

__attribute__((noinline)) void in_child(int n)
{
    where = n;
}

__attribute__((noinline)) void in_parent(int n)
{
    where = n;
}

static void *idle(void *arg)
{
    pause();
    return arg;
}

int main(int argc, char **argv)
{
    pthread_t t;
    int status;
    if (signal(SIGPIPE, SIG_DFL) != SIG_DFL) // the debugger's connection is not ours
        return 4;
    if (argc > 1) {
        in_child(atoi(argv[1]));
        return 21;
    }
    pid_t pid = fork();
    if (!pid) {
        in_child(5);
        pthread_create(&t, NULL, idle, NULL);
        execl(argv[0], argv[0], "6", NULL);
        _exit(1);
    }
    in_parent(7);
    waitpid(pid, &status, 0);
    printf("%d", WEXITSTATUS(status));
    fflush(stdout);
    pid = fork();
    if (!pid)
        raise(SIGTERM);
    waitpid(pid, &status, 0);
    printf(" %d\n", WTERMSIG(status));
    return 3;
}
