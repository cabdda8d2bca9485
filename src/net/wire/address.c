// Dotted socket address options.
#include "net/wire/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

static const char *get(struct opts *o, const char *prefix, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "%s.%s", prefix, name);
    return opts_get(o, key);
}

int net_read_address(struct net_address *a, struct opts *o, const char *prefix, int socket_type,
                     bool passive, struct err *e)
{
    const char *type = get(o, prefix, "type");
    a->kind = NET_ADDR_NONE;
    if (!type)
        return 0;
    if (!strcmp(type, "inet")) {
        const char *host = get(o, prefix, "host"), *port = get(o, prefix, "port");
        const char *v4 = get(o, prefix, "ipv4"), *v6 = get(o, prefix, "ipv6");
        bool only6 = (v4 && !strcmp(v4, "off")) || (v6 && !strcmp(v6, "on") && !v4);
        bool only4 = (v6 && !strcmp(v6, "off")) || (v4 && !strcmp(v4, "on") && !v6);
        if (!port)
            return err_set(e, "%s.port=N is missing", prefix);
        a->kind = NET_ADDR_INET;
        return sock_resolve(&a->addr, host, port,
                            only6   ? AF_INET6
                            : only4 ? AF_INET
                                    : AF_UNSPEC,
                            socket_type, passive, e);
    }
    if (!strcmp(type, "unix")) {
        const char *path = get(o, prefix, "path"), *abstract = get(o, prefix, "abstract");
        bool is_abstract = false;
        if (!path)
            return err_set(e, "%s.path=PATH is missing", prefix);
        if (abstract && parse_bool(abstract, &is_abstract))
            return err_set(e, "%s.abstract=%s: expected 'on' or 'off'", prefix, abstract);
        a->kind = NET_ADDR_UNIX;
        return sock_unix(&a->addr, path, is_abstract, e);
    }
    if (!strcmp(type, "fd")) {
        a->fd = get(o, prefix, "str");
        a->kind = NET_ADDR_FD;
        return a->fd ? 0 : err_set(e, "%s.str=FD is missing", prefix);
    }
    return err_set(e, "%s.type=%s: expected inet, unix or fd", prefix, type);
}

bool net_is_multicast(const struct sock_addr *a)
{
    return a->sa.ss_family == AF_INET &&
           IN_MULTICAST(ntohl(((const struct sockaddr_in *)&a->sa)->sin_addr.s_addr));
}
