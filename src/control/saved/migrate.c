// migrate and -incoming: a machine's state to a file, a descriptor, a command or a socket, and from
// there. The machine stands still while its state is on the way, and the monitor waits; there is no
// copying beside a running guest.
#include "base/clock.h"
#include "base/log.h"
#include "base/sock.h"
#include "control/saved/saved.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BUFFER = 1 << 20 };
extern char **environ;

// ---- ways ----

struct way {
    int fd;
    pid_t child; // of exec:, or 0
    uint8_t *data;
    size_t len;
};

static int wait_fd(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    return poll(&p, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

static int write_out(struct way *w)
{
    for (size_t done = 0; done < w->len;) {
        ssize_t n = write(w->fd, w->data + done, w->len - done);
        if (n > 0)
            done += (size_t)n;
        else if (errno == EAGAIN && wait_fd(w->fd, POLLOUT) == 0)
            continue;
        else if (errno != EINTR)
            return -errno;
    }
    w->len = 0;
    return 0;
}

static int put(void *opaque, const void *p, size_t n)
{
    struct way *w = opaque;
    while (n) {
        size_t step = MIN(n, BUFFER - w->len);
        memcpy(w->data + w->len, p, step);
        w->len += step;
        p = (const char *)p + step;
        n -= step;
        int r = w->len == BUFFER ? write_out(w) : 0;
        if (r)
            return r;
    }
    return 0;
}

static int get(void *opaque, void *p, size_t n)
{
    struct way *w = opaque;
    while (n) {
        ssize_t got = read(w->fd, p, n);
        if (got == 0)
            return -EIO;
        if (got < 0 && errno == EAGAIN && wait_fd(w->fd, POLLIN) == 0)
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
    return r ? err_errno(e, r, "exec:%s", command) : 0;
}

static int resolve(struct sock_addr *a, const char *uri, bool passive, struct err *e)
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

static bool is_socket(const char *uri)
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

static int open_way(struct vm *vm, struct way *w, const char *uri, bool out, struct err *e)
{
    struct sock_addr a;
    w->fd = -1;
    w->data = xalloc(BUFFER);
    if (!strncmp(uri, "fd:", 3))
        return open_fd(vm, w, uri + 3, e);
    if (!strncmp(uri, "exec:", 5))
        return open_exec(w, uri + 5, out, e);
    if (!strncmp(uri, "file:", 5)) {
        w->fd = fdsets_open(vm->fds.sets, uri + 5,
                            O_CLOEXEC | (out ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY), 0600);
        return w->fd < 0 ? err_errno(e, errno, "%s", uri + 5) : 0;
    }
    if (is_socket(uri) && out) {
        if (resolve(&a, uri, false, e))
            return -1;
        w->fd = sock_connect_wait(&a, e);
        return w->fd < 0 ? -1 : 0;
    }
    return err_set(
        e, "unknown migration protocol: %s (there are file:, fd:, exec:, unix: and tcp:)", uri);
}

static int close_way(struct way *w, struct err *e)
{
    int status = 0;
    if (w->fd >= 0)
        close(w->fd);
    free(w->data);
    if (w->child && (waitpid(w->child, &status, 0) < 0 || status))
        return err_set(e, "the command of exec: failed");
    return 0;
}

// ---- what is known of it ----

static void set_status(struct vm *vm, const char *status)
{
    char data[64];
    vm->migration.status = status;
    snprintf(data, sizeof data, "{\"status\": \"%s\"}", status);
    vm_event(vm, "MIGRATION", data);
}

static int done(struct vm *vm, int result, const struct err *e)
{
    vm->migration.time_ms = (host_monotonic_ns() - vm->migration.began) / 1000000;
    snprintf(vm->migration.error, sizeof vm->migration.error, "%.250s", result ? e->msg : "");
    set_status(vm, result ? "failed" : "completed");
    return result;
}

static void begin(struct vm *vm)
{
    vm->migration.began = host_monotonic_ns();
    vm->migration.bytes = 0;
    set_status(vm, "setup");
}

// ---- out ----

static int send_state(struct vm *vm, struct way *w, struct err *e)
{
    struct state_out o = {.write = put, .opaque = w};
    int r = vm_save_state(vm, &o, e);
    vm->migration.bytes = o.bytes;
    if (!r && (r = write_out(w)))
        r = err_errno(e, -r, "cannot write the machine's state");
    return r;
}

int vm_migrate(struct vm *vm, const char *uri, struct err *e)
{
    struct way w = {0};
    struct err late = {0};
    bool ran = vm->state == RUN_RUNNING;
    if (vm->state == RUN_INMIGRATE)
        return err_set(e, "the machine waits for its own state");
    begin(vm);
    int r = open_way(vm, &w, uri, true, e);
    if (!r) {
        set_status(vm, "active");
        vm_settle(vm);
        r = send_state(vm, &w, e);
    }
    if (close_way(&w, &late) && !r) {
        *e = late;
        r = -1;
    }
    if (!r)
        vm->state = RUN_POSTMIGRATE;
    else if (ran)
        vm_continue(vm);
    return done(vm, r, e);
}

// ---- in ----

static int receive(struct vm *vm, struct way *w, struct err *e)
{
    struct state_in i = {.read = get, .opaque = w};
    set_status(vm, "active");
    int r = vm_load_state(vm, &i, e);
    struct err late = {0};
    if (close_way(w, &late) && !r) {
        *e = late;
        r = -1;
    }
    vm->state = r ? RUN_INMIGRATE : RUN_PRELAUNCH;
    done(vm, r, e);
    if (!r && vm->opt.start_paused)
        vm->state = RUN_PAUSED;
    else if (!r)
        vm_continue(vm);
    return r;
}

static void connected(void *opaque, unsigned events)
{
    struct vm *vm = opaque;
    struct way w = {.fd = sock_accept(vm->migration.listen_fd), .data = xalloc(BUFFER)};
    struct err e = {0};
    if (w.fd < 0) {
        free(w.data);
        return;
    }
    vm_incoming_end(vm);
    vm_hold_io(vm);
    int r = receive(vm, &w, &e);
    vm_release_io(vm);
    if (r) {
        log_error("-incoming: %s", e.msg);
        vm->exit_status = 1;
        loop_quit(vm->loop);
    }
}

void vm_incoming_end(struct vm *vm)
{
    if (!vm->migration.watch)
        return;
    loop_fd_del(vm->migration.watch);
    close(vm->migration.listen_fd);
    vm->migration.watch = NULL;
}

static int listen_on(struct vm *vm, const char *uri, struct err *e)
{
    struct sock_addr a;
    if (resolve(&a, uri, true, e) || (vm->migration.listen_fd = sock_listen(&a, e)) < 0)
        return -1;
    vm->migration.watch = loop_fd_add(vm->loop, vm->migration.listen_fd, LOOP_IN, connected, vm);
    return 0;
}

int vm_incoming(struct vm *vm, const char *uri, struct err *e)
{
    struct way w = {0};
    if (vm->state != RUN_INMIGRATE || vm->migration.watch)
        return err_set(e, "'-incoming' was not specified on the command line, or its machine is "
                          "there already");
    begin(vm);
    if (is_socket(uri))
        return listen_on(vm, uri, e);
    if (open_way(vm, &w, uri, false, e)) {
        struct err ignored = {0};
        if (close_way(&w, &ignored))
            err_prefix(e, "%s; and before", ignored.msg);
        return done(vm, -1, e);
    }
    return receive(vm, &w, e);
}
