// Tap interfaces of the host (Linux tun/tap, without packet information and virtio headers): opened
// here, inherited as a descriptor, or made by the bridge helper, a privileged program that passes
// one over a socket.
#include "net/wire/packet.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

#define UP_SCRIPT      "/etc/qemu-ifup"
#define DOWN_SCRIPT    "/etc/qemu-ifdown"
#define BRIDGE_HELPER  "/usr/lib/qemu/qemu-bridge-helper"
#define DEFAULT_BRIDGE "br0"

extern char **environ;

struct tap_script { // to run when the interface goes
    char *path, *ifname;
};

static int wait_for(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -1;
}

static int run_script(const char *path, const char *ifname, struct err *e)
{
    char *argv[] = {(char *)path, (char *)ifname, NULL};
    pid_t pid;
    int r = posix_spawn(&pid, path, NULL, NULL, argv, environ);
    if (r)
        return err_errno(e, r, "network script %s (script=no does without)", path);
    return wait_for(pid) ? err_set(e, "network script %s failed", path) : 0;
}

static void run_down_script(struct packet_netdev *p)
{
    struct tap_script *s = p->opaque;
    struct err e = {0};
    if (run_script(s->path, s->ifname, &e))
        log_warn("%s", e.msg);
    free(s->path);
    free(s->ifname);
    free(s);
}

// A tap interface by name or pattern; `name` gets what the kernel chose.
static int open_tun(const char *want, char name[IFNAMSIZ], struct err *e)
{
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    if (strlen(want) >= IFNAMSIZ)
        return err_set(e, "ifname=%s: longer than %d characters", want, IFNAMSIZ - 1);
    strcpy(ifr.ifr_name, want);
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_errno(e, errno, "/dev/net/tun (use -netdev user, or ask for the tun module)");
    if (ioctl(fd, TUNSETIFF, &ifr)) {
        int errnum = errno;
        close(fd);
        if (errnum == EPERM)
            return err_set(e,
                           "interface %s: not permitted; make it for this user with 'ip tuntap add "
                           "dev %s mode tap user $USER', or use -netdev user",
                           want, want);
        return err_errno(e, errnum, "interface %s", want);
    }
    memcpy(name, ifr.ifr_name, IFNAMSIZ);
    return fd;
}

// Receives the descriptor that the helper sends.
static int receive_fd(int sock)
{
    union {
        struct cmsghdr h;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    ssize_t r;
    do
        r = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    while (r < 0 && errno == EINTR);
    struct cmsghdr *h = r > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (!h || h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS ||
        h->cmsg_len != CMSG_LEN(sizeof(int)))
        return -1;
    int fd;
    memcpy(&fd, CMSG_DATA(h), sizeof fd);
    return fd;
}

static int run_helper(const char *helper, const char *bridge, struct err *e)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        return err_errno(e, errno, "cannot make a socket");
    fcntl(pair[0], F_SETFD, FD_CLOEXEC);
    char *fd_arg = xasprintf("--fd=%d", pair[1]), *br_arg = xasprintf("--br=%s", bridge);
    char *argv[] = {(char *)helper, fd_arg, br_arg, NULL};
    pid_t pid;
    int r = posix_spawn(&pid, helper, NULL, NULL, argv, environ), fd = -1;
    close(pair[1]);
    free(fd_arg);
    free(br_arg);
    if (r) {
        err_errno(e, r, "bridge helper %s (helper=PATH names another)", helper);
    } else {
        fd = receive_fd(pair[0]);
        if (wait_for(pid) || fd < 0) {
            err_set(e, "bridge helper %s failed for bridge %s (see /etc/qemu/bridge.conf)", helper,
                    bridge);
            if (fd >= 0)
                close(fd);
            fd = -1;
        }
    }
    close(pair[0]);
    return fd;
}

static struct netdev *finish(struct loop *loop, int fd, char *info)
{
    fd_set_nonblock(fd);
    return &packet_new(loop, fd, false, info)->n;
}

// Options that ask for what the kernel's vhost would do; without it frames go through us.
static int accept_ignored(struct opts *o, struct err *e)
{
    static const char *const off_only[] = {"vnet_hdr", "vhostforce"};
    bool ignored = false;
    uint64_t queues = 1, size;
    if (opts_get_u64(o, "queues", &queues, e) || opts_get_size(o, "sndbuf", &size, 1, e) ||
        opts_get_bool(o, "vhost", &ignored, e) || opts_get_u64(o, "poll-us", &size, e))
        return -1;
    if (queues != 1)
        return err_set(e, "queues=%llu: only one queue", (unsigned long long)queues);
    if (opts_get(o, "fds") || opts_get(o, "vhostfds"))
        return err_set(e, "fds=: only one queue; use fd=");
    const char *vhostfd = opts_get(o, "vhostfd");
    if (vhostfd) {
        int fd = sock_adopt_fd(vhostfd, e);
        if (fd < 0)
            return -1;
        close(fd);
    }
    for (size_t i = 0; i < ARRAY_SIZE(off_only); i++)
        if (opts_get_bool(o, off_only[i], &ignored, e))
            return -1;
    return 0;
}

static struct netdev *open_interface(struct opts *o, struct loop *loop, struct err *e)
{
    const char *ifname = opts_get(o, "ifname");
    const char *script = opts_get(o, "script"), *down = opts_get(o, "downscript");
    char name[IFNAMSIZ];
    script = !script ? UP_SCRIPT : strcmp(script, "no") ? script : NULL;
    down = !down ? DOWN_SCRIPT : strcmp(down, "no") ? down : NULL;
    // The traditional script is run where it exists; only one that was asked for must.
    if (script && !opts_has(o, "script") && access(script, X_OK))
        script = NULL;
    if (down && !opts_has(o, "downscript") && access(down, X_OK))
        down = NULL;
    int fd = open_tun(ifname ? ifname : "tap%d", name, e);
    if (fd < 0)
        return NULL;
    if (script && *script && run_script(script, name, e)) {
        close(fd);
        return NULL;
    }
    struct netdev *n = finish(loop, fd, xasprintf("ifname=%s", name));
    if (down && *down) {
        struct packet_netdev *p = container_of(n, struct packet_netdev, n);
        struct tap_script *s = xalloc(sizeof *s);
        *s = (struct tap_script){xstrdup(down), xstrdup(name)};
        p->at_close = run_down_script;
        p->opaque = s;
    }
    return n;
}

static struct netdev *open_bridged(struct opts *o, const char *helper, struct loop *loop,
                                   struct err *e)
{
    const char *br = opts_get(o, "br");
    br = br ? br : DEFAULT_BRIDGE;
    int fd = run_helper(helper, br, e);
    return fd < 0 ? NULL : finish(loop, fd, xasprintf("helper=%s,br=%s", helper, br));
}

static struct netdev *tap_open(struct opts *o, struct loop *loop, struct err *e)
{
    const char *fd_text = opts_get(o, "fd"), *helper = opts_get(o, "helper");
    if (accept_ignored(o, e))
        return NULL;
    if (fd_text) {
        int fd = sock_adopt_fd(fd_text, e);
        return fd < 0 ? NULL : finish(loop, fd, xasprintf("fd=%s", fd_text));
    }
    if (helper)
        return open_bridged(o, helper, loop, e);
    return open_interface(o, loop, e);
}

static struct netdev *bridge_open(struct opts *o, struct loop *loop, struct err *e)
{
    const char *helper = opts_get(o, "helper");
    return open_bridged(o, helper ? helper : BRIDGE_HELPER, loop, e);
}

static const char *const tap_keys[] = {"br",         "downscript", "fd",      "helper", "ifname",
                                       "queues",     "script",     "sndbuf",  "vhost",  "vhostfd",
                                       "vhostforce", "vnet_hdr",   "poll-us", NULL};

const struct netdev_ops netdev_tap_ops = {
    .name = "tap",
    .help = "[ifname=N][,script=PATH|no][,downscript=PATH|no] | fd=N | helper=PATH[,br=BRIDGE]",
    .keys = tap_keys,
    .open = tap_open,
    .send = packet_send,
    .rx_ready = packet_rx_ready,
    .print = packet_print,
    .close = packet_close,
};

static const char *const bridge_keys[] = {"br", "helper", NULL};

const struct netdev_ops netdev_bridge_ops = {
    .name = "bridge",
    .help = "[br=BRIDGE][,helper=PATH]: a port of a bridge of the host, by its setuid helper",
    .keys = bridge_keys,
    .open = bridge_open,
    .send = packet_send,
    .rx_ready = packet_rx_ready,
    .print = packet_print,
    .close = packet_close,
};
