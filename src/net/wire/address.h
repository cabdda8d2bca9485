// Socket addresses in options of the form PREFIX.type=inet,PREFIX.host=,PREFIX.port= (or unix and
// PREFIX.path=, fd and PREFIX.str=), as -netdev stream and dgram take them.
#pragma once

#include "base/opt.h"
#include "base/sock.h"

struct net_address {
    enum { NET_ADDR_NONE, NET_ADDR_INET, NET_ADDR_UNIX, NET_ADDR_FD } kind;
    struct sock_addr addr; // INET and UNIX
    const char *fd;        // FD
};

// kind is NET_ADDR_NONE when PREFIX.type is absent.
int net_read_address(struct net_address *a, struct opts *o, const char *prefix, int socket_type,
                     bool passive, struct err *e) MUST_CHECK;
bool net_is_multicast(const struct sock_addr *a); // IPv4
