// Ways of a machine's state: opened by a name like "tcp:HOST:PORT".
#include "control/saved/ways.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { LOOK_MS = 100 }; // how often a wait looks whether it is to be given up

// Until it is ready, or the wait is given up.
static int wait_fd(struct way *w, short events)
{
    for (;;) {
        struct pollfd p = {.fd = w->fd, .events = events};
        if (atomic_load(&w->stop))
            return -ECANCELED;
        int n = poll(&p, 1, LOOK_MS);
        if (n > 0 || (n < 0 && errno != EINTR))
            return n > 0 ? 0 : -errno;
    }
}

int way_flush(struct way *w)
{
    for (size_t done = 0; done < w->len;) {
        int waited = wait_fd(w, POLLOUT);
        if (waited)
            return waited;
        ssize_t n = write(w->fd, w->data + done, w->len - done);
        if (n > 0)
            done += (size_t)n;
        else if (errno == EAGAIN && wait_fd(w, POLLOUT) == 0)
            continue;
        else if (errno != EINTR)
            return -errno;
    }
    w->len = 0;
    return 0;
}

int way_put(void *opaque, const void *p, size_t n)
{
    struct way *w = opaque;
    while (n) {
        size_t step = MIN(n, WAY_BUFFER - w->len);
        memcpy(w->data + w->len, p, step);
        w->len += step;
        p = (const char *)p + step;
        n -= step;
        int r = w->len == WAY_BUFFER ? way_flush(w) : 0;
        if (r)
            return r;
    }
    return 0;
}

int way_get(void *opaque, void *p, size_t n)
{
    struct way *w = opaque;
    while (n) {
        int waited = w->patient ? wait_fd(w, POLLIN) : 0;
        if (waited)
            return waited;
        ssize_t got = read(w->fd, p, n);
        if (got == 0)
            return -EIO;
        if (got < 0 && errno == EAGAIN && wait_fd(w, POLLIN) == 0)
            continue;
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got > 0) {
            p = (char *)p + got;
            n -= (size_t)got;
        }
    }
    return 0;
}

static int open_exec(struct way *w, const char *command, bool out, struct err *e)
{
    int pair[2];
    if (pipe2(pair, O_CLOEXEC))
        return err_errno(e, errno, "cannot make a pipe");
    char *argv[] = {"/bin/sh", "-c", (char *)command, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pair[out ? 0 : 1], out ? 0 : 1);
    int r = posix_spawn(&w->child, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(pair[out ? 0 : 1]);
    w->fd = pair[out ? 1 : 0];
    if (out) // so that a command that does not read can be given up
        fcntl(w->fd, F_SETFL, O_NONBLOCK);
    return r ? err_errno(e, r, "exec:%s", command) : 0;
}

int way_resolve(struct sock_addr *a, const char *uri, bool passive, struct err *e)
{
    char *host, *port;
    if (!strncmp(uri, "unix:", 5))
        return sock_unix(a, uri + 5, false, e);
    if (sock_split_hostport(uri + 4, &host, &port, e))
        return -1;
    int r = sock_resolve(a, host, port, AF_UNSPEC, SOCK_STREAM, passive, e);
    free(host);
    free(port);
    return r;
}

bool way_is_socket(const char *uri)
{
    return !strncmp(uri, "unix:", 5) || !strncmp(uri, "tcp:", 4);
}

static int open_fd(struct vm *vm, struct way *w, const char *name, struct err *e)
{
    w->fd = *name >= '0' && *name <= '9' ? sock_adopt_fd(name, e) : fd_store_take(&vm->fds, name);
    if (w->fd < 0 && !e->msg[0])
        err_set(e, "File descriptor named '%s' has not been found", name);
    return w->fd < 0 ? -1 : 0;
}

int way_open(struct vm *vm, struct way *w, const char *uri, bool out, struct err *e)
{
    struct sock_addr a;
    w->fd = -1;
    w->data = xalloc(WAY_BUFFER);
    if (!strncmp(uri, "fd:", 3))
        return open_fd(vm, w, uri + 3, e);
    if (!strncmp(uri, "exec:", 5))
        return open_exec(w, uri + 5, out, e);
    if (!strncmp(uri, "file:", 5)) {
        w->fd = fdsets_open(vm->fds.sets, uri + 5,
                            O_CLOEXEC | (out ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY), 0600);
        return w->fd < 0 ? err_errno(e, errno, "%s", uri + 5) : 0;
    }
    if (way_is_socket(uri) && out) {
        if (way_resolve(&a, uri, false, e))
            return -1;
        w->fd = sock_connect_wait(&a, e);
        return w->fd < 0 ? -1 : 0;
    }
    return err_set(
        e, "unknown migration protocol: %s (there are file:, fd:, exec:, unix: and tcp:)", uri);
}

int way_close(struct way *w, struct err *e)
{
    int status = 0;
    if (w->fd >= 0)
        close(w->fd);
    free(w->data);
    if (w->child && (waitpid(w->child, &status, 0) < 0 || status))
        return err_set(e, "the command of exec: failed");
    return 0;
}
