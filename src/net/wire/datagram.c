// Datagram sockets as Ethernet segments: point to point, or an IPv4 multicast group that several
// machines share.
#include "net/wire/datagram.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

static char *describe(int fd, const struct sock_addr *remote, const char *what)
{
    char *own = sock_local_name(fd), *to = remote ? sock_format(remote) : NULL;
    char *info = to ? xasprintf("%s=%s/%s", what, own, to) : xasprintf("%s=%s", what, own);
    free(own);
    free(to);
    return info;
}

struct packet_netdev *datagram_open(struct loop *loop, const struct sock_addr *local,
                                    const struct sock_addr *remote, struct err *e)
{
    struct sock_addr any = {.len = sizeof(sa_family_t)}; // a UNIX socket without a name
    any.sa.ss_family = AF_UNIX;
    if (!local && remote->sa.ss_family != AF_UNIX &&
        sock_resolve(&any, NULL, "0", remote->sa.ss_family, SOCK_DGRAM, true, e))
        return NULL;
    int fd = sock_bind_dgram(local ? local : &any, e);
    if (fd < 0)
        return NULL;
    struct packet_netdev *p = packet_new(loop, fd, true, describe(fd, remote, "udp"));
    if (remote) {
        p->dest = *remote;
        p->has_dest = true;
    }
    const struct sockaddr_un *un = local ? (const struct sockaddr_un *)&local->sa : NULL;
    if (un && un->sun_family == AF_UNIX && un->sun_path[0])
        p->unlink_path = xstrdup(un->sun_path);
    return p;
}

// A second socket sends, so that our own frames are known by its address when they come back.
static int open_sender(struct packet_netdev *p, struct in_addr ifaddr, struct err *e)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = ifaddr};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(e, errno, "cannot make a socket");
    p->send_fd = fd;
    if (bind(fd, (struct sockaddr *)&any, sizeof any) ||
        setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &ifaddr, sizeof ifaddr) ||
        connect(fd, (struct sockaddr *)&p->dest.sa, p->dest.len))
        return err_errno(e, errno, "multicast");
    p->self.len = sizeof p->self.sa;
    if (getsockname(fd, (struct sockaddr *)&p->self.sa, &p->self.len))
        return err_errno(e, errno, "multicast");
    return 0;
}

struct packet_netdev *datagram_join(struct loop *loop, const struct sock_addr *group,
                                    const struct sock_addr *local, struct err *e)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&group->sa;
    struct in_addr ifaddr = {0};
    if (local)
        ifaddr = ((const struct sockaddr_in *)&local->sa)->sin_addr;
    int fd = sock_bind_dgram(group, e);
    if (fd < 0)
        return NULL;
    struct packet_netdev *p = packet_new(loop, fd, true, describe(fd, NULL, "mcast"));
    p->dest = *group;
    struct ip_mreq join = {.imr_multiaddr = in->sin_addr, .imr_interface = ifaddr};
    if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof join))
        err_errno(e, errno,
                  "cannot join the multicast group (no route? name an interface's "
                  "address with localaddr=)");
    else if (!open_sender(p, ifaddr, e))
        return p;
    packet_close(&p->n);
    free(p);
    return NULL;
}
