// The options of -netdev user, with the addresses its users know: 10.0.2.0/24, the host at .2, the
// name server at .3, DHCP leases from .15; fec0::/64 for IPv6.
#include "net/user/user.h"

#include <stdlib.h>
#include <sys/stat.h>

int user_each_option(struct opts *o, const char *key,
                     int (*each)(void *, const char *, struct err *), void *opaque, struct err *e)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < o->len; i++) {
        struct opt *opt = &o->data[i];
        if (strncmp(opt->key, key, n) || (opt->key[n] && opt->key[n] != '.'))
            continue;
        opt->used = true;
        if (each(opaque, opt->val, e))
            return -1;
    }
    return 0;
}

static int get_v4(struct opts *o, const char *key, struct in_addr *a, struct err *e)
{
    const char *text = opts_get(o, key);
    if (text && inet_pton(AF_INET, text, a) != 1)
        return err_set(e, "%s=%s: expected an IPv4 address", key, text);
    return 0;
}

static int get_v6(struct opts *o, const char *key, struct in6_addr *a, struct err *e)
{
    const char *text = opts_get(o, key);
    if (text && inet_pton(AF_INET6, text, a) != 1)
        return err_set(e, "%s=%s: expected an IPv6 address", key, text);
    return 0;
}

// The mask of an address given without one.
static uint32_t class_mask(uint32_t addr)
{
    if (!(addr & 0x80000000))
        return 0xff000000;
    if ((addr & 0xfff00000) == 0xac100000)
        return 0xfff00000;
    return (addr & 0xc0000000) == 0x80000000 ? 0xffff0000 : 0xffffff00;
}

static int parse_net(const char *text, uint32_t *net, uint32_t *mask, struct err *e)
{
    char addr[64];
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    struct in_addr a, m;
    uint64_t len;
    if (n >= sizeof addr)
        goto bad;
    memcpy(addr, text, n);
    addr[n] = 0;
    if (inet_pton(AF_INET, addr, &a) != 1)
        goto bad;
    *net = ntohl(a.s_addr);
    if (!slash)
        *mask = class_mask(*net);
    else if (inet_pton(AF_INET, slash + 1, &m) == 1)
        *mask = ntohl(m.s_addr);
    else if (parse_u64(slash + 1, &len) || len < 1 || len > 32)
        goto bad;
    else
        *mask = (uint32_t)(~0ull << (32 - len));
    *net &= *mask;
    if (~*mask & (~*mask + 1))
        return err_set(e, "net=%s: the mask has holes", text);
    if (~*mask < 7)
        return err_set(e, "net=%s: no room for the host and a guest; use /29 or wider", text);
    return 0;
bad:
    return err_set(e, "net=%s: expected ADDRESS or ADDRESS/BITS", text);
}

static int check_inside(const char *what, struct in_addr a, uint32_t net, uint32_t mask,
                        struct err *e)
{
    if ((ntohl(a.s_addr) & mask) == net)
        return 0;
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &a, text, sizeof text);
    return err_set(e, "%s=%s: not inside the guest's network", what, text);
}

static int read_v4(SlirpConfig *c, struct opts *o, struct err *e)
{
    uint32_t net = 0x0a000200, mask = 0xffffff00;
    const char *text = opts_get(o, "net");
    if (text && parse_net(text, &net, &mask, e))
        return -1;
    c->vnetwork.s_addr = htonl(net);
    c->vnetmask.s_addr = htonl(mask);
    c->vhost.s_addr = htonl(net | (0x0202 & ~mask));
    c->vnameserver.s_addr = htonl(net | (0x0203 & ~mask));
    c->vdhcp_start.s_addr = htonl(net | (0x020f & ~mask));
    if (~mask < 15)
        c->vdhcp_start.s_addr = htonl(net | 4);
    if (get_v4(o, "host", &c->vhost, e) || get_v4(o, "dns", &c->vnameserver, e) ||
        get_v4(o, "dhcpstart", &c->vdhcp_start, e) ||
        check_inside("host", c->vhost, net, mask, e) ||
        check_inside("dns", c->vnameserver, net, mask, e) ||
        check_inside("dhcpstart", c->vdhcp_start, net, mask, e))
        return -1;
    if (c->vhost.s_addr == c->vnameserver.s_addr)
        return err_set(e, "host= and dns= must differ");
    if (c->vdhcp_start.s_addr == c->vhost.s_addr || c->vdhcp_start.s_addr == c->vnameserver.s_addr)
        return err_set(e, "dhcpstart= must not be the host's or the name server's address");
    return 0;
}

static int read_v6(SlirpConfig *c, struct opts *o, struct err *e)
{
    uint64_t bits = 64;
    char prefix[INET6_ADDRSTRLEN];
    const char *net = opts_get(o, "ipv6-net"), *slash = net ? strchr(net, '/') : NULL;
    inet_pton(AF_INET6, "fec0::", &c->vprefix_addr6);
    if (get_v6(o, "ipv6-prefix", &c->vprefix_addr6, e) ||
        opts_get_u64(o, "ipv6-prefixlen", &bits, e))
        return -1;
    if (net) {
        size_t n = slash ? (size_t)(slash - net) : strlen(net);
        memcpy(prefix, net, MIN(n, sizeof prefix - 1));
        prefix[MIN(n, sizeof prefix - 1)] = 0;
        if (inet_pton(AF_INET6, prefix, &c->vprefix_addr6) != 1 ||
            (slash && parse_u64(slash + 1, &bits)))
            return err_set(e, "ipv6-net=%s: expected PREFIX/BITS", net);
    }
    if (bits < 1 || bits > 126)
        return err_set(e, "the length of an IPv6 prefix must be 1 to 126");
    c->vprefix_len = (uint8_t)bits;
    c->vhost6 = c->vnameserver6 = c->vprefix_addr6;
    c->vhost6.s6_addr[15] |= 2;
    c->vnameserver6.s6_addr[15] |= 3;
    return get_v6(o, "ipv6-host", &c->vhost6, e) || get_v6(o, "ipv6-dns", &c->vnameserver6, e) ? -1
                                                                                               : 0;
}

// Labels of 1 to 63 bytes between dots (RFC 1035, section 2.3.4).
static bool is_domain(const char *name)
{
    if (!*name || strlen(name) > 253)
        return false;
    while (*name) {
        size_t n = strcspn(name, ".");
        if (!n || n > 63)
            return false;
        name += n + (name[n] == '.');
    }
    return true;
}

static int add_search(void *opaque, const char *name, struct err *e)
{
    struct user_config *u = opaque;
    if (!is_domain(name))
        return err_set(e, "dnssearch=%s: not a domain name", name);
    vec_push(&u->search, name);
    return 0;
}

static int read_names(struct user_config *u, struct opts *o, struct err *e)
{
    SlirpConfig *c = &u->slirp;
    struct stat st;
    c->vhostname = opts_get(o, "hostname");
    c->vdomainname = opts_get(o, "domainname");
    c->tftp_path = opts_get(o, "tftp");
    c->tftp_server_name = opts_get(o, "tftp-server-name");
    c->bootfile = opts_get(o, "bootfile");
    if (c->vhostname && strlen(c->vhostname) > 32)
        return err_set(e, "hostname=%s: longer than 32 characters", c->vhostname);
    if (c->vdomainname && !is_domain(c->vdomainname))
        return err_set(e, "domainname=%s: not a domain name", c->vdomainname);
    if (c->bootfile && strlen(c->bootfile) > 127)
        return err_set(e, "bootfile: longer than 127 characters");
    if (c->tftp_path && (stat(c->tftp_path, &st) || !S_ISDIR(st.st_mode)))
        return err_set(e, "tftp=%s: not a directory", c->tftp_path);
    if (user_each_option(o, "dnssearch", add_search, u, e))
        return -1;
    if (u->search.len) {
        vec_push(&u->search, NULL);
        c->vdnssearch = u->search.data;
    }
    return 0;
}

int user_read_config(struct user_config *u, struct opts *o, struct err *e)
{
    SlirpConfig *c = &u->slirp;
    bool restricted = false, v4 = true, v6 = true;
    *u = (struct user_config){.slirp.version = 4};
    if (opts_get_bool(o, "restrict", &restricted, e) || opts_get_bool(o, "ipv4", &v4, e) ||
        opts_get_bool(o, "ipv6", &v6, e))
        return -1;
    if (opts_has(o, "ipv4") && v4 && !opts_has(o, "ipv6"))
        v6 = false;
    if (opts_has(o, "ipv6") && v6 && !opts_has(o, "ipv4"))
        v4 = false;
    if (!v4 && !v6)
        return err_set(e, "ipv4=off and ipv6=off leave no network");
    if (opts_get(o, "smb") || opts_get(o, "smbserver"))
        return err_set(e, "smb= is not supported; forward a port with hostfwd= and copy over ssh");
    c->restricted = restricted;
    c->in_enabled = v4;
    c->in6_enabled = v6;
    return read_v4(c, o, e) || read_v6(c, o, e) || read_names(u, o, e) ? -1 : 0;
}

void user_free_config(struct user_config *u)
{
    vec_free(&u->search);
}
