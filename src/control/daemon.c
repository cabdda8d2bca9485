// Going to the background: whoever started the program gets its exit status only when everything a
// client may want to connect to exists, and sees on stderr why it does not.
#include "control/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int daemon_begin(struct daemon *d, struct err *e)
{
    int fds[2];
    char ok;
    if (pipe2(fds, O_CLOEXEC))
        return err_errno(e, errno, "-daemonize: pipe");
    pid_t child = fork();
    if (child < 0)
        return err_errno(e, errno, "-daemonize: fork");
    if (child) {
        close(fds[1]);
        ssize_t n;
        do
            n = read(fds[0], &ok, 1);
        while (n < 0 && errno == EINTR);
        _exit(n == 1 ? 0 : 1);
    }
    close(fds[0]);
    d->ready = fds[1];
    d->null = open("/dev/null", O_RDWR | O_CLOEXEC); // later there may be another root
    return setsid() < 0 ? err_errno(e, errno, "-daemonize: setsid") : 0;
}

int daemon_write_pid(struct daemon *d, const char *path, struct err *e)
{
    FILE *f = fopen(path, "we");
    if (!f)
        return err_errno(e, errno, "-pidfile %s", path);
    bool bad = fprintf(f, "%d\n", (int)getpid()) < 0;
    if (fclose(f) || bad)
        return err_errno(e, errno, "-pidfile %s", path);
    d->pidfile = realpath(path, NULL);
    return 0;
}

int daemon_finish(struct daemon *d, struct err *e)
{
    if (d->ready < 0)
        return 0;
    if (d->null < 0 || chdir("/"))
        return err_errno(e, errno, "-daemonize");
    for (int fd = 0; fd < 3; fd++)
        dup2(d->null, fd);
    close(d->null);
    if (write(d->ready, "", 1) != 1)
        return err_errno(e, errno, "-daemonize: the starting process is gone");
    close(d->ready);
    d->ready = -1;
    return 0;
}

void daemon_end(struct daemon *d)
{
    if (d->pidfile)
        unlink(d->pidfile);
    free(d->pidfile);
}
