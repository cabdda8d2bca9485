// Socket addresses and connections over the host's BSD socket interface (POSIX.1-2017
// <sys/socket.h>, unix(7) for the abstract name space). Name resolution is getaddrinfo and blocks;
// callers do it once, before a machine runs.
#include "base/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/opt.h"

int sock_split_hostport(const char *text, char **host, char **port, struct err *e)
{
    const char *colon = strrchr(text, ':');
    const char *host_start = text, *host_end = colon;
    if (text[0] == '[') {
        const char *close = strchr(text, ']');
        if (!close || close[1] != ':')
            return err_set(e, "'%s': expected [ipv6-address]:port", text);
        colon = close + 1;
        host_start = text + 1;
        host_end = close;
    }
    if (!colon || !colon[1])
        return err_set(e, "'%s': expected host:port", text);
    *host = xasprintf("%.*s", (int)(host_end - host_start), host_start);
    *port = xstrdup(colon + 1);
    return 0;
}

int sock_resolve(struct sock_addr *a, const char *host, const char *port, int family, int type,
                 bool passive, struct err *e)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = type};
    bool any = !host || !*host;
    uint64_t port_number;
    if (!parse_u64(port, &port_number) && port_number > 65535)
        return err_set(e, "port %s: must be 0 to 65535", port);
    if (any) {
        // Without a name, the IPv4 wildcard or loopback, as clients of "tcp::4444" expect.
        host = passive ? "0.0.0.0" : "127.0.0.1";
        if (family == AF_INET6)
            host = passive ? "::" : "::1";
    }
    struct addrinfo *list;
    int r = getaddrinfo(host, port, &hints, &list);
    if (r)
        return err_set(e, "address %s:%s: %s", host, port, gai_strerror(r));
    // "localhost" names both loopback addresses; the one address used is the one more peers try.
    struct addrinfo *best = list;
    while (best->ai_next && best->ai_family != AF_INET)
        best = best->ai_next;
    if (best->ai_family != AF_INET)
        best = list;
    memset(a, 0, sizeof *a);
    memcpy(&a->sa, best->ai_addr, best->ai_addrlen);
    a->len = best->ai_addrlen;
    freeaddrinfo(list);
    return 0;
}

int sock_unix(struct sock_addr *a, const char *path, bool abstract, struct err *e)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&a->sa;
    size_t len = strlen(path), at = abstract ? 1 : 0;
    memset(a, 0, sizeof *a);
    if (!len)
        return err_set(e, "empty socket path");
    if (len + 1 > sizeof un->sun_path)
        return err_set(e, "socket path '%s' is longer than %zu bytes; use a shorter one", path,
                       sizeof un->sun_path - 1);
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path + at, path, len);
    a->len = offsetof(struct sockaddr_un, sun_path) + len + 1;
    return 0;
}

static bool is_path(const struct sock_addr *a)
{
    return a->sa.ss_family == AF_UNIX && ((const struct sockaddr_un *)&a->sa)->sun_path[0];
}

char *sock_format(const struct sock_addr *a)
{
    char host[INET6_ADDRSTRLEN] = "";
    switch (a->sa.ss_family) {
    case AF_INET: {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&a->sa;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        return xasprintf("%s:%u", host, ntohs(in->sin_port));
    }
    case AF_INET6: {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)&a->sa;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        return xasprintf("[%s]:%u", host, ntohs(in->sin6_port));
    }
    case AF_UNIX: {
        const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sa;
        size_t at = offsetof(struct sockaddr_un, sun_path);
        if (a->len <= at)
            return xstrdup("");
        int n = (int)(a->len - at);
        if (un->sun_path[0])
            return xasprintf("%.*s", n, un->sun_path);
        return xasprintf("@%.*s", n - 1, un->sun_path + 1);
    }
    default:
        return xstrdup("?");
    }
}

char *sock_local_name(int fd)
{
    struct sock_addr a = {.len = sizeof a.sa};
    return getsockname(fd, (struct sockaddr *)&a.sa, &a.len) ? xstrdup("?") : sock_format(&a);
}

char *sock_peer_name(int fd)
{
    struct sock_addr a = {.len = sizeof a.sa};
    return getpeername(fd, (struct sockaddr *)&a.sa, &a.len) ? xstrdup("?") : sock_format(&a);
}

int fd_set_nonblock(int fd)
{
    int fl = fcntl(fd, F_GETFL);
    return fl < 0 ? -1 : fcntl(fd, F_SETFL, fl | O_NONBLOCK);
}

static int fail_addr(struct err *e, const struct sock_addr *a, const char *verb, int errnum)
{
    char *name = sock_format(a);
    if (errnum == EADDRINUSE)
        err_set(e, "cannot %s %s: already in use; stop the other program or choose another address",
                verb, name);
    else
        err_errno(e, errnum, "cannot %s %s", verb, name);
    free(name);
    return -1;
}

static int new_socket(const struct sock_addr *a, int type, struct err *e)
{
    int fd = socket(a->sa.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        err_errno(e, errno, "cannot make a socket");
    return fd;
}

// A socket file that nobody serves any more is left over from a process that died.
static int remove_stale(const struct sock_addr *a, struct err *e)
{
    const char *path = ((const struct sockaddr_un *)&a->sa)->sun_path;
    struct stat st;
    if (lstat(path, &st))
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return err_set(e, "cannot listen on %s: a file that is not a socket is there", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool served = fd >= 0 && (!connect(fd, (const struct sockaddr *)&a->sa, a->len) ||
                              errno == EAGAIN || errno == EPROTOTYPE);
    if (fd >= 0)
        close(fd);
    if (served)
        return fail_addr(e, a, "listen on", EADDRINUSE);
    unlink(path);
    return 0;
}

int sock_listen(const struct sock_addr *a, struct err *e)
{
    if (is_path(a) && remove_stale(a, e))
        return -1;
    int fd = new_socket(a, SOCK_STREAM, e), on = 1;
    if (fd < 0)
        return -1;
    if (a->sa.ss_family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&a->sa, a->len) || listen(fd, 8)) {
        fail_addr(e, a, "listen on", errno);
        close(fd);
        return -1;
    }
    return fd;
}

int sock_bind_dgram(const struct sock_addr *a, struct err *e)
{
    int fd = new_socket(a, SOCK_DGRAM, e), on = 1;
    if (fd < 0)
        return -1;
    if (is_path(a))
        unlink(((const struct sockaddr_un *)&a->sa)->sun_path);
    else if (a->sa.ss_family == AF_INET &&
             IN_MULTICAST(ntohl(((const struct sockaddr_in *)&a->sa)->sin_addr.s_addr)))
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&a->sa, a->len)) {
        fail_addr(e, a, "bind to", errno);
        close(fd);
        return -1;
    }
    return fd;
}

int sock_connect(const struct sock_addr *a, bool *pending, struct err *e)
{
    int fd = new_socket(a, SOCK_STREAM, e), on = 1;
    if (fd < 0)
        return -1;
    if (a->sa.ss_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *pending = false;
    if (!connect(fd, (const struct sockaddr *)&a->sa, a->len))
        return fd;
    if (errno == EINPROGRESS) {
        *pending = true;
        return fd;
    }
    fail_addr(e, a, "connect to", errno);
    close(fd);
    return -1;
}

int sock_connect_result(int fd, const struct sock_addr *a, struct err *e)
{
    int result = 0;
    socklen_t len = sizeof result;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &result, &len))
        result = errno;
    return result ? fail_addr(e, a, "connect to", result) : 0;
}

int sock_connect_wait(const struct sock_addr *a, struct err *e)
{
    bool pending;
    int fd = sock_connect(a, &pending, e);
    if (fd < 0 || !pending)
        return fd;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    while (poll(&p, 1, -1) < 0 && errno == EINTR)
        continue;
    if (sock_connect_result(fd, a, e)) {
        close(fd);
        return -1;
    }
    return fd;
}

int sock_accept(int listen_fd)
{
    int fd, on = 1;
    do
        fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (fd >= 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); // refused for a path: no harm
    return fd;
}

int sock_adopt_fd(const char *text, struct err *e)
{
    uint64_t n;
    if (parse_u64(text, &n) || n > 1 << 20)
        return err_set(e, "fd=%s: not a file descriptor number", text);
    int given = (int)n;
    if (fcntl(given, F_GETFD) < 0)
        return err_set(e, "fd=%d: not open in this process", given);
    int fd = fcntl(given, F_DUPFD_CLOEXEC, 3);
    if (fd < 0 || fd_set_nonblock(fd))
        return err_errno(e, errno, "fd=%d", given);
    if (given > STDERR_FILENO)
        close(given); // naming it a second time is an error, not two users of one descriptor
    return fd;
}
