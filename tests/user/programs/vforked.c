// What the debugger is told of a vfork: the child stores into its parent's memory, and executes
// this program again or ends.
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
    where += n;
}

int main(int argc, char **argv)
{
    int status;
    if (argc > 1) {
        in_child(atoi(argv[1]));
        return 21;
    }
    pid_t pid = vfork();
    if (!pid) {
        in_child(5);
        execl(argv[0], argv[0], "6", NULL);
        _exit(1);
    }
    in_parent(7);
    waitpid(pid, &status, 0);
    pid = vfork();
    if (!pid)
        _exit(30);
    in_parent(1);
    waitpid(pid, &argc, 0);
    printf("%d %d %d\n", where, WEXITSTATUS(status), WEXITSTATUS(argc));
    return 3;
}
