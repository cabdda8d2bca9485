// Stream sockets as character back ends: TCP and UNIX, server or client, optionally with telnet on
// top. A server talks to one client at a time; others wait in the listen queue. Descriptors that
// come with the data (SCM_RIGHTS) are kept for the front end. No TLS, no WebSocket.
#include "chardev/stream.h"
#include "chardev/telnet.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sock.h"

#define MSGFD_MAX 16

struct socket_chardev {
    struct chardev c;
    struct chr_stream s;
    struct sock_addr addr; // where to listen or connect; len 0 with fd=
    bool server, wait, telnet, bound_path;
    int64_t reconnect_ns; // 0: a client that lost its server stays closed

    int listen_fd;
    struct loop_fd *listen_watch;
    int connect_fd; // under way
    struct loop_fd *connect_watch;
    struct loop_timer retry;

    struct telnet t;
    uint8_t pend[2048 + TELNET_REPLY_MAX]; // encoded telnet output that the kernel did not take
    size_t pend_len;
    int msgfd[MSGFD_MAX];
    unsigned n_msgfd;
    char *ends; // "local,server=on <-> peer" while connected
};

static struct socket_chardev *of(struct chardev *c)
{
    return container_of(c, struct socket_chardev, c);
}

static const char *prefix(const struct socket_chardev *s)
{
    return s->telnet ? "telnet" : s->addr.sa.ss_family == AF_UNIX ? "unix" : "tcp";
}

// Connection state.

static void drop_msgfds(struct socket_chardev *s)
{
    while (s->n_msgfd)
        close(s->msgfd[--s->n_msgfd]);
}

static void connected(struct socket_chardev *s, int fd)
{
    char *local = sock_local_name(fd), *peer = sock_peer_name(fd);
    free(s->ends);
    s->ends = s->addr.sa.ss_family == AF_UNIX
                  ? xasprintf("%s%s", *local ? local : peer, s->server ? ",server=on" : "")
                  : xasprintf("%s%s <-> %s", local, s->server ? ",server=on" : "", peer);
    free(local);
    free(peer);
    s->pend_len = 0;
    if (s->telnet) {
        telnet_start(&s->t);
        memcpy(s->pend, s->t.reply, s->t.reply_len);
        s->pend_len = s->t.reply_len;
        s->t.reply_len = 0;
    }
    chr_stream_start(&s->s, fd, fd);
    if (s->pend_len)
        chr_stream_want_out(&s->s);
    chr_be_set_open(&s->c, true);
}

static void disconnected(struct socket_chardev *s)
{
    if (s->s.in_fd < 0)
        return;
    chr_stream_stop(&s->s);
    drop_msgfds(s);
    free(s->ends);
    s->ends = NULL;
    if (s->listen_watch)
        loop_fd_set(s->listen_watch, LOOP_IN);
    else if (s->reconnect_ns)
        loop_timer_set(&s->retry, host_monotonic_ns() + s->reconnect_ns);
    chr_be_set_open(&s->c, false);
}

static void stream_ended(struct chardev *c, int errnum)
{
    disconnected(of(c));
}

static void socket_broken(struct chardev *c)
{
    disconnected(of(c));
}

static void ready_listen(void *opaque, unsigned events)
{
    struct socket_chardev *s = opaque;
    int fd = sock_accept(s->listen_fd);
    if (fd < 0)
        return;
    loop_fd_set(s->listen_watch, 0);
    connected(s, fd);
}

static void connect_failed(struct socket_chardev *s)
{
    loop_timer_set(&s->retry, host_monotonic_ns() + s->reconnect_ns);
}

static void ready_connect(void *opaque, unsigned events)
{
    struct socket_chardev *s = opaque;
    struct err why = {0};
    int fd = s->connect_fd;
    loop_fd_del(s->connect_watch);
    s->connect_watch = NULL;
    s->connect_fd = -1;
    if (sock_connect_result(fd, &s->addr, &why)) {
        close(fd);
        connect_failed(s);
        return;
    }
    connected(s, fd);
}

static void start_connect(struct socket_chardev *s)
{
    struct err why = {0};
    bool pending;
    int fd = sock_connect(&s->addr, &pending, &why);
    if (fd < 0) {
        connect_failed(s);
    } else if (pending) {
        s->connect_fd = fd;
        s->connect_watch = loop_fd_add(s->c.loop, fd, LOOP_OUT, ready_connect, s);
    } else {
        connected(s, fd);
    }
}

static void retry_fired(void *opaque)
{
    start_connect(opaque);
}

// Data.

static bool flush_pend(struct socket_chardev *s)
{
    while (s->pend_len) {
        ssize_t r = send(s->s.out_fd, s->pend, s->pend_len, MSG_NOSIGNAL);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return errno == EAGAIN;
        s->pend_len -= (size_t)r;
        memmove(s->pend, s->pend + r, s->pend_len);
    }
    return true;
}

static ssize_t telnet_write(struct socket_chardev *s, const uint8_t *p, size_t n)
{
    size_t done = 0;
    for (;;) {
        if (!flush_pend(s))
            return -1;
        if (s->pend_len) {
            chr_stream_want_out(&s->s);
            return (ssize_t)done;
        }
        if (done == n)
            return (ssize_t)done;
        size_t take = n - done;
        s->pend_len = telnet_encode(p + done, &take, s->pend, sizeof s->pend - TELNET_REPLY_MAX);
        done += take;
    }
}

static ssize_t socket_write(struct chardev *c, const uint8_t *p, size_t n)
{
    struct socket_chardev *s = of(c);
    return s->telnet ? telnet_write(s, p, n) : chr_stream_write(&s->s, p, n);
}

static void send_telnet_reply(struct socket_chardev *s)
{
    size_t n = MIN(s->t.reply_len, sizeof s->pend - s->pend_len);
    mutex_lock(&s->c.lock);
    memcpy(s->pend + s->pend_len, s->t.reply, n);
    s->pend_len += n;
    s->t.reply_len = 0;
    flush_pend(s); // a failure shows when something is read or written next
    bool more = s->pend_len;
    mutex_unlock(&s->c.lock);
    if (more)
        chr_stream_want_out(&s->s);
}

static void keep_fds(struct socket_chardev *s, struct msghdr *m)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        int fd;
        for (size_t at = CMSG_LEN(0); at + sizeof fd <= h->cmsg_len; at += sizeof fd) {
            memcpy(&fd, (char *)h + at, sizeof fd);
            if (s->n_msgfd == MSGFD_MAX)
                close(fd);
            else
                s->msgfd[s->n_msgfd++] = fd;
        }
    }
}

static ssize_t socket_read(struct chardev *c, uint8_t *p, size_t n)
{
    struct socket_chardev *s = of(c);
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * MSGFD_MAX)];
    } control;
    struct iovec iov = {.iov_base = p, .iov_len = n};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.space,
                       .msg_controllen = sizeof control.space};
    ssize_t r = recvmsg(s->s.in_fd, &m, MSG_CMSG_CLOEXEC);
    if (r <= 0)
        return r;
    keep_fds(s, &m);
    if (!s->telnet)
        return r;
    size_t len = telnet_decode(&s->t, p, (size_t)r);
    if (s->t.reply_len)
        send_telnet_reply(s);
    for (; s->t.breaks; s->t.breaks--)
        chr_be_event(c, CHR_BREAK);
    if (len)
        return (ssize_t)len;
    errno = EAGAIN; // all of it was protocol
    return -1;
}

static int socket_get_msgfd(struct chardev *c)
{
    struct socket_chardev *s = of(c);
    if (!s->n_msgfd)
        return -1;
    int fd = s->msgfd[0];
    memmove(&s->msgfd[0], &s->msgfd[1], --s->n_msgfd * sizeof s->msgfd[0]);
    return fd;
}

static void socket_accept_input(struct chardev *c)
{
    chr_stream_accept_input(&of(c)->s);
}

static void socket_describe(struct chardev *c, struct buf *out)
{
    struct socket_chardev *s = of(c);
    if (s->ends) {
        buf_printf(out, "%s:%s", prefix(s), s->ends);
        return;
    }
    char *name = s->listen_fd >= 0 ? sock_local_name(s->listen_fd) : sock_format(&s->addr);
    buf_printf(out, "disconnected:%s:%s%s", prefix(s), name, s->server ? ",server=on" : "");
    free(name);
}

// Opening.

static int refuse_unsupported(struct opts *o, struct err *e)
{
    static const char *const absent[] = {"tls-creds", "tls-authz", "websocket", "tn3270"};
    for (size_t i = 0; i < ARRAY_SIZE(absent); i++) {
        const char *v = opts_get(o, absent[i]);
        if (v && strcmp(v, "off"))
            return err_set(e, "%s is not supported; use an ssh tunnel or a plain socket",
                           absent[i]);
    }
    return 0;
}

static int read_reconnect(struct socket_chardev *s, struct opts *o, struct err *e)
{
    uint64_t seconds = 0, ms = 0;
    if (opts_get_u64(o, "reconnect", &seconds, e) || opts_get_u64(o, "reconnect-ms", &ms, e))
        return -1;
    if (seconds > 86400 || ms > 86400000)
        return err_set(e, "reconnect: at most a day");
    s->reconnect_ns = (int64_t)(seconds * 1000 + ms) * 1000000;
    if (s->reconnect_ns && s->server)
        return err_set(e, "reconnect is for clients; a server waits for the next one anyway");
    return 0;
}

static int read_address(struct socket_chardev *s, struct opts *o, struct err *e)
{
    const char *path = opts_get(o, "path"), *port = opts_get(o, "port");
    const char *host = opts_get(o, "host");
    bool abstract = false, v4 = false, v6 = false;
    if (opts_get_bool(o, "abstract", &abstract, e) || opts_get_bool(o, "ipv4", &v4, e) ||
        opts_get_bool(o, "ipv6", &v6, e))
        return -1;
    if (path && port)
        return err_set(e, "path= and port= exclude each other");
    if (path) {
        s->bound_path = s->server && !abstract;
        return sock_unix(&s->addr, path, abstract, e);
    }
    if (!port)
        return err_set(e, "give path=, host= and port=, or fd=");
    int family = v4 == v6 ? AF_UNSPEC : v4 ? AF_INET : AF_INET6;
    return sock_resolve(&s->addr, host, port, family, SOCK_STREAM, s->server, e);
}

static int listen_in_range(struct socket_chardev *s, struct opts *o, struct err *e)
{
    uint64_t to = 0;
    if (opts_get_u64(o, "to", &to, e))
        return -1;
    // The port is at the same place in both families.
    struct sockaddr_in *in = (struct sockaddr_in *)&s->addr.sa;
    for (;;) {
        s->listen_fd = sock_listen(&s->addr, e);
        if (s->listen_fd >= 0 || s->addr.sa.ss_family == AF_UNIX || ntohs(in->sin_port) >= to)
            break;
        in->sin_port = htons(ntohs(in->sin_port) + 1);
    }
    return s->listen_fd < 0 ? -1 : 0;
}

static void start_server(struct socket_chardev *s)
{
    s->listen_watch = loop_fd_add(s->c.loop, s->listen_fd, LOOP_IN, ready_listen, s);
    if (!s->wait)
        return;
    log_info("waiting for connection on: %s", chardev_describe(&s->c));
    while (!s->ends) {
        struct pollfd p = {.fd = s->listen_fd, .events = POLLIN};
        if (poll(&p, 1, -1) > 0)
            ready_listen(s, LOOP_IN);
    }
}

static int open_given_fd(struct socket_chardev *s, const char *text, struct err *e)
{
    int listening = 0;
    socklen_t len = sizeof listening;
    int fd = sock_adopt_fd(text, e);
    if (fd < 0)
        return -1;
    s->addr.len = sizeof s->addr.sa;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) ||
        getsockname(fd, (struct sockaddr *)&s->addr.sa, &s->addr.len)) {
        close(fd);
        return err_set(e, "fd=%s: not a socket", text);
    }
    if (s->server != (bool)listening) {
        close(fd);
        return err_set(e, "fd=%s: %s", text,
                       listening ? "the socket listens; add server=on"
                                 : "the socket does not listen; remove server=on");
    }
    if (!s->server) {
        connected(s, fd);
        return 0;
    }
    s->listen_fd = fd;
    start_server(s);
    return 0;
}

static int open_client(struct socket_chardev *s, struct err *e)
{
    if (s->reconnect_ns) {
        start_connect(s);
        return 0;
    }
    int fd = sock_connect_wait(&s->addr, e);
    if (fd < 0)
        return -1;
    connected(s, fd);
    return 0;
}

static int socket_open(struct chardev *c, struct opts *o, struct err *e)
{
    struct socket_chardev *s = of(c);
    bool ignored;
    s->listen_fd = s->connect_fd = -1;
    s->wait = true;
    chr_stream_init(&s->s, c);
    s->s.read = socket_read;
    s->s.ended = stream_ended;
    loop_timer_init(&s->retry, c->loop, NULL, retry_fired, s);
    if (opts_get_bool(o, "server", &s->server, e) || opts_get_bool(o, "telnet", &s->telnet, e) ||
        opts_get_bool(o, "wait", &s->wait, e) || opts_get_bool(o, "delay", &ignored, e) ||
        opts_get_bool(o, "nodelay", &ignored, e) || refuse_unsupported(o, e) ||
        read_reconnect(s, o, e))
        return -1;
    const char *fd = opts_get(o, "fd");
    if (fd)
        return open_given_fd(s, fd, e);
    if (read_address(s, o, e))
        return -1;
    if (!s->server)
        return open_client(s, e);
    if (listen_in_range(s, o, e))
        return -1;
    start_server(s);
    return 0;
}

static void socket_close(struct chardev *c)
{
    struct socket_chardev *s = of(c);
    chr_stream_stop(&s->s);
    drop_msgfds(s);
    loop_timer_cancel(&s->retry);
    loop_fd_del(s->connect_watch);
    loop_fd_del(s->listen_watch);
    if (s->connect_fd >= 0)
        close(s->connect_fd);
    if (s->listen_fd >= 0) {
        close(s->listen_fd);
        if (s->bound_path)
            unlink(((struct sockaddr_un *)&s->addr.sa)->sun_path);
    }
    free(s->ends);
}

static const char *const socket_keys[] = {
    "abstract", "delay",     "fd",           "host",   "ipv4",   "ipv6", "nodelay", "path",
    "port",     "reconnect", "reconnect-ms", "server", "telnet", "to",   "wait",    NULL};

const struct chardev_type chardev_socket = {
    .name = "socket",
    .help = "path=P | host=H,port=N[,to=N] | fd=N [,server=on][,wait=off][,telnet=on]"
            "[,reconnect-ms=N][,abstract=on]",
    .keys = socket_keys,
    .size = sizeof(struct socket_chardev),
    .open = socket_open,
    .close = socket_close,
    .write = socket_write,
    .broken = socket_broken,
    .accept_input = socket_accept_input,
    .describe = socket_describe,
    .get_msgfd = socket_get_msgfd,
};
