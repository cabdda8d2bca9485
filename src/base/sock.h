// Sockets as operators name them: host and port, or a path, resolved, bound or connected with one
// line of error that names the address. Every fd returned is non-blocking and close-on-exec.
#pragma once

#include "base/base.h"
#include "base/err.h"
#include <sys/socket.h>

struct sock_addr {
    struct sockaddr_storage sa;
    socklen_t len;
};

// "host:port", ":port" or "[v6]:port". The two strings are the caller's to free. -1 with a line
// that quotes the text.
int sock_split_hostport(const char *text, char **host, char **port, struct err *e) MUST_CHECK;
// A numeric or named host and port to one address, IPv4 if there is one. An empty or NULL host is
// the wildcard when `passive`, else the loopback address. `family` is AF_UNSPEC, AF_INET or
// AF_INET6; `type` is SOCK_STREAM or SOCK_DGRAM.
int sock_resolve(struct sock_addr *a, const char *host, const char *port, int family, int type,
                 bool passive, struct err *e) MUST_CHECK;
// A path; `abstract` chooses Linux's abstract name space.
int sock_unix(struct sock_addr *a, const char *path, bool abstract, struct err *e) MUST_CHECK;

// A listening stream socket, or -1. For a path, a stale socket file is replaced, one that another
// process serves is an error.
int sock_listen(const struct sock_addr *a, struct err *e);
// A bound datagram socket, or -1.
int sock_bind_dgram(const struct sock_addr *a, struct err *e);
// Starts a connection; *pending tells whether it is still under way: wait for writability, then ask
// sock_connect_result. -1 when it failed at once.
int sock_connect(const struct sock_addr *a, bool *pending, struct err *e);
int sock_connect_result(int fd, const struct sock_addr *a, struct err *e) MUST_CHECK;
// The same, waiting for the outcome.
int sock_connect_wait(const struct sock_addr *a, struct err *e);
// Accepts one connection: the fd, or -1 with errno.
int sock_accept(int listen_fd);

// An fd number given by the operator (fd=N): taken over under a new number, or -1 when it is not
// open.
int sock_adopt_fd(const char *text, struct err *e);
int fd_set_nonblock(int fd); // 0 or -1 with errno

// "127.0.0.1:80", "[::1]:80", "/run/x", "@abstract". The caller frees it.
char *sock_format(const struct sock_addr *a);
char *sock_local_name(int fd);
char *sock_peer_name(int fd);
