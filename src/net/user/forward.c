// Port forwarding of the user-mode network: hostfwd rules (a port of the host reaches the guest)
// and guestfwd rules (an address inside the guest's network reaches a command or a socket file).
#include "net/user/user.h"

#include <errno.h>
#include <stdlib.h>

struct rule {
    bool udp;
    struct sockaddr_storage host, guest;
    socklen_t host_len, guest_len;
};

static socklen_t set_addr(struct sockaddr_storage *ss, const void *addr, bool v6, unsigned port)
{
    memset(ss, 0, sizeof *ss);
    if (v6) {
        struct sockaddr_in6 *in = (struct sockaddr_in6 *)ss;
        in->sin6_family = AF_INET6;
        in->sin6_port = htons((uint16_t)port);
        memcpy(&in->sin6_addr, addr, 16);
        return sizeof *in;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)ss;
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)port);
    memcpy(&in->sin_addr, addr, 4);
    return sizeof *in;
}

// "[addr]:port" or "addr:port", either part of the address empty: the wildcard, or for the guest
// the first DHCP lease. False when malformed.
static bool parse_end(const char *p, size_t n, unsigned min_port, struct sockaddr_storage *ss,
                      socklen_t *len)
{
    char text[80];
    uint8_t addr[16] = {0};
    uint64_t port;
    if (n >= sizeof text)
        return false;
    memcpy(text, p, n);
    text[n] = 0;
    bool v6 = text[0] == '[';
    char *host = v6 ? text + 1 : text, *end = strchr(text, v6 ? ']' : ':');
    if (!end)
        return false;
    char *colon = v6 ? end + 1 : end;
    if (*colon != ':' || parse_u64(colon + 1, &port) || port < min_port || port > 65535)
        return false;
    *end = 0;
    if (*host && inet_pton(v6 ? AF_INET6 : AF_INET, host, addr) != 1)
        return false;
    *len = set_addr(ss, addr, v6, (unsigned)port);
    return true;
}

static const char *parse_protocol(const char *text, bool *udp)
{
    *udp = !strncmp(text, "udp:", 4);
    if (*udp || !strncmp(text, "tcp:", 4))
        return text + 4;
    return *text == ':' ? text + 1 : NULL;
}

static int bad_rule(struct err *e, const char *rule)
{
    return err_set(e, "hostfwd '%s': expected [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport",
                   rule);
}

static int parse_rule(const char *text, bool with_guest, struct rule *r, struct err *e)
{
    const char *host = parse_protocol(text, &r->udp);
    // A rule without protocol, ":2222-:22", begins at the host address.
    if (!host || (*text == ':' && !strchr(host, ':')))
        host = text;
    const char *dash = strrchr(host, '-');
    size_t n = dash ? (size_t)(dash - host) : strlen(host);
    if ((with_guest && !dash) || !parse_end(host, n, 0, &r->host, &r->host_len))
        return bad_rule(e, text);
    if (with_guest && !parse_end(dash + 1, strlen(dash + 1), 1, &r->guest, &r->guest_len))
        return bad_rule(e, text);
    return 0;
}

static bool guest_unset(const struct rule *r)
{
    return r->guest.ss_family == AF_INET &&
           !((const struct sockaddr_in *)&r->guest)->sin_addr.s_addr;
}

int user_hostfwd_add(struct user_netdev *u, const char *text, struct err *e)
{
    struct rule r;
    if (parse_rule(text, true, &r, e))
        return -1;
    int flags =
        (r.udp ? SLIRP_HOSTFWD_UDP : 0) | (r.host.ss_family == AF_INET6 ? SLIRP_HOSTFWD_V6ONLY : 0);
    // Without a guest address libslirp takes the first DHCP lease, but only in this older call.
    struct sockaddr_in *host = (struct sockaddr_in *)&r.host,
                       *guest = (struct sockaddr_in *)&r.guest;
    int failed = r.host.ss_family == AF_INET && guest_unset(&r)
                     ? slirp_add_hostfwd(u->slirp, r.udp, host->sin_addr, ntohs(host->sin_port),
                                         guest->sin_addr, ntohs(guest->sin_port))
                     : slirp_add_hostxfwd(u->slirp, (struct sockaddr *)&r.host, r.host_len,
                                          (struct sockaddr *)&r.guest, r.guest_len, flags);
    if (!failed)
        return 0;
    if (errno == EADDRINUSE)
        return err_set(e, "hostfwd '%s': the host port is already in use; choose another", text);
    return err_errno(e, errno, "hostfwd '%s'", text);
}

int user_hostfwd_remove(struct user_netdev *u, const char *text, struct err *e)
{
    struct rule r;
    if (parse_rule(text, false, &r, e))
        return -1;
    if (slirp_remove_hostxfwd(u->slirp, (struct sockaddr *)&r.host, r.host_len,
                              r.udp ? SLIRP_HOSTFWD_UDP : 0))
        return err_set(e, "host forwarding rule for %s not found", text);
    return 0;
}

// tcp:SERVER:PORT-cmd:COMMAND or -unix:PATH.
static int guestfwd_add(struct user_netdev *u, const char *text, struct err *e)
{
    bool udp;
    struct sockaddr_storage ss;
    socklen_t len;
    const char *server = parse_protocol(text, &udp), *dash = server ? strchr(server, '-') : NULL;
    if (!dash || udp || !parse_end(server, (size_t)(dash - server), 1, &ss, &len) ||
        ss.ss_family != AF_INET)
        return err_set(e, "guestfwd '%s': expected tcp:server:port-cmd:COMMAND or -unix:PATH",
                       text);
    struct sockaddr_in *in = (struct sockaddr_in *)&ss;
    int failed, port = ntohs(in->sin_port);
    if (!strncmp(dash + 1, "cmd:", 4))
        failed = slirp_add_exec(u->slirp, dash + 5, &in->sin_addr, port);
    else if (!strncmp(dash + 1, "unix:", 5))
        failed = slirp_add_unix(u->slirp, dash + 6, &in->sin_addr, port);
    else
        return err_set(e, "guestfwd '%s': only cmd:COMMAND (e.g. cmd:nc HOST PORT) and unix:PATH",
                       text);
    if (failed)
        return err_set(e,
                       "guestfwd '%s': the address must be inside the guest's network, not the "
                       "host's or a guest's, and not in use",
                       text);
    return 0;
}

static int each_hostfwd(void *opaque, const char *text, struct err *e)
{
    return user_hostfwd_add(opaque, text, e);
}

static int each_guestfwd(void *opaque, const char *text, struct err *e)
{
    return guestfwd_add(opaque, text, e);
}

int user_add_forwards(struct user_netdev *u, struct opts *o, struct err *e)
{
    return user_each_option(o, "hostfwd", each_hostfwd, u, e) ||
                   user_each_option(o, "guestfwd", each_guestfwd, u, e)
               ? -1
               : 0;
}
