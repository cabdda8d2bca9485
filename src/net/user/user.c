// The user-mode network: a TCP/IP stack in this process (libslirp 4.7) that turns the guest's
// frames into ordinary sockets of the user who runs us. libslirp is built around poll(2): here its
// descriptors become watches of our loop, brought up to date at most once per round.
#include "net/user/user.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

#define RX_QUEUE (1 * MiB)

enum { TCP_CHECKSUM = 16 }; // where it is in the header

static void drain(void *opaque);

static struct user_netdev *of(struct netdev *n)
{
    return container_of(n, struct user_netdev, n);
}

// Descriptors.

static void ready(void *opaque, unsigned events)
{
    struct user_poll *p = opaque;
    p->ready |= events;
    loop_defer(&p->u->serve);
}

// The index of a descriptor's entry, made when there is none. A refill names them in the same order
// as the one before.
static size_t entry_of(struct user_netdev *u, int fd)
{
    size_t n = u->polls.len, spare = n;
    for (size_t i = 0, at = u->hint; i < n; i++, at++) {
        at = at < n ? at : 0;
        if (u->polls.data[at]->fd == fd)
            return at;
        if (u->polls.data[at]->fd < 0)
            spare = at;
    }
    if (spare == n)
        vec_push(&u->polls, xalloc(sizeof(struct user_poll)));
    *u->polls.data[spare] = (struct user_poll){.u = u, .fd = fd};
    return spare;
}

static int add_poll(int fd, int events, void *opaque)
{
    struct user_netdev *u = opaque;
    size_t i = entry_of(u, fd);
    struct user_poll *p = u->polls.data[i];
    u->hint = i + 1;
    if (p->round != u->round)
        p->want = 0;
    p->round = u->round;
    if ((events & SLIRP_POLL_IN) && !u->rx_full)
        p->want |= LOOP_IN;
    if (events & SLIRP_POLL_OUT)
        p->want |= LOOP_OUT;
    return (int)i;
}

static void forget(struct user_poll *p)
{
    loop_fd_del(p->watch);
    p->watch = NULL;
    p->fd = -1;
    p->ready = p->want = 0;
}

// Asks libslirp what it waits for, and waits for that.
static void refill(void *opaque)
{
    struct user_netdev *u = opaque;
    uint32_t timeout = UINT32_MAX;
    u->round++;
    u->hint = 0;
    slirp_pollfds_fill(u->slirp, &timeout, add_poll, u);
    for (size_t i = 0; i < u->polls.len; i++) {
        struct user_poll *p = u->polls.data[i];
        if (p->fd < 0)
            continue;
        if (p->round != u->round)
            forget(p);
        else if (p->watch)
            loop_fd_set(p->watch, p->want);
        else if (p->want)
            p->watch = loop_fd_add(u->n.loop, p->fd, p->want, ready, p);
    }
    if (timeout == UINT32_MAX)
        loop_timer_cancel(&u->timeout);
    else
        loop_timer_set(&u->timeout, host_monotonic_ns() + (int64_t)timeout * 1000000);
}

static int get_revents(int index, void *opaque)
{
    struct user_netdev *u = opaque;
    if (index < 0 || (size_t)index >= u->polls.len)
        return 0;
    unsigned got = u->polls.data[index]->ready;
    return (got & LOOP_IN ? SLIRP_POLL_IN : 0) | (got & LOOP_OUT ? SLIRP_POLL_OUT : 0) |
           (got & LOOP_HUP ? SLIRP_POLL_HUP : 0) | (got & LOOP_ERR ? SLIRP_POLL_ERR : 0);
}

static void serve(void *opaque)
{
    struct user_netdev *u = opaque;
    u->serving = true;
    slirp_pollfds_poll(u->slirp, 0, get_revents, u);
    u->serving = false;
    drain(u);
    for (size_t i = 0; i < u->polls.len; i++)
        u->polls.data[i]->ready = 0;
    refill(u);
}

// libslirp calls this before it closes a descriptor, whose number may soon mean another one.
static void unregister_fd(int fd, void *opaque)
{
    struct user_netdev *u = opaque;
    for (size_t i = 0; i < u->polls.len; i++)
        if (u->polls.data[i]->fd == fd)
            forget(u->polls.data[i]);
}

static void register_fd(int fd, void *opaque)
{
    // Watched from the next refill on.
}

// Frames.

// What has been put together, if anything. False: no room for it now.
static bool deliver_joined(struct user_netdev *u)
{
    struct net_join *j = &u->join;
    const struct net_offload o = {.csum = true,
                                  .csum_start = (uint16_t)j->tcp,
                                  .csum_offset = TCP_CHECKSUM,
                                  .segment = j->segment};
    if (!j->segment)
        return true;
    if (j->count > 1 ? !netdev_deliver_large(&u->n, j->frame, j->len, &o, j->v6)
                     : !netdev_deliver(&u->n, j->frame, j->len))
        return false;
    j->segment = 0;
    return true;
}

// Takes the oldest frame, and those that follow it in its connection, to `join`. False: it is none
// of those that can be joined, or the NIC does not want them.
static bool join(struct user_netdev *u, const uint8_t *frame, size_t len)
{
    if (!netdev_largest(&u->n, false) || !net_join_begin(&u->join, frame, len))
        return false;
    size_t most = netdev_largest(&u->n, u->join.v6);
    do
        frames_pop(&u->rx);
    while ((frame = frames_peek(&u->rx, &len)) && net_join_add(&u->join, frame, len, most));
    net_join_end(&u->join);
    return true;
}

static void drain(void *opaque)
{
    struct user_netdev *u = opaque;
    const uint8_t *frame;
    size_t len;
    while (deliver_joined(u) && (frame = frames_peek(&u->rx, &len)))
        if (!join(u, frame, len)) {
            if (!netdev_deliver(&u->n, frame, len))
                break;
            frames_pop(&u->rx);
        }
    if (u->rx_full && u->rx.used < u->rx.cap / 4) {
        u->rx_full = false;
        loop_defer(&u->refill);
    }
}

// Frames are handed over in runs, since those of one connection then become one.
static ssize_t frame_for_guest(const void *frame, size_t len, void *opaque)
{
    struct user_netdev *u = opaque;
    if (!frames_put(&u->rx, frame, len))
        u->n.dropped++; // TCP sends it again
    u->rx_full |= u->rx.used > u->rx.cap / 2;
    if (!u->serving)
        loop_defer(&u->drain);
    return (ssize_t)len;
}

static bool user_send(struct netdev *n, const struct iovec *iov, unsigned n_iov)
{
    struct user_netdev *u = of(n);
    const uint8_t *frame = iov[0].iov_base;
    size_t len = iov[0].iov_len;
    if (n_iov > 1) {
        len = 0;
        for (unsigned i = 0; i < n_iov; i++) {
            memcpy(u->gather + len, iov[i].iov_base, iov[i].iov_len);
            len += iov[i].iov_len;
        }
        frame = u->gather;
    }
    if (fragment_is(frame, len))
        frame = fragment_take(&u->fragments, frame, len, host_monotonic_ns(), &len);
    if (frame)
        slirp_input(u->slirp, frame, (int)len);
    loop_defer(&u->refill);
    return true;
}

static void user_rx_ready(struct netdev *n)
{
    drain(of(n));
}

// What libslirp asks of its surroundings.

struct user_timer {
    struct loop_timer t;
    struct user_netdev *u;
    SlirpTimerId id;
    void *opaque;
};

static void timer_fired(void *opaque)
{
    struct user_timer *t = opaque;
    slirp_handle_timer(t->u->slirp, t->id, t->opaque);
    loop_defer(&t->u->refill);
}

static void *timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
    struct user_timer *t = xalloc(sizeof *t);
    *t = (struct user_timer){.u = opaque, .id = id, .opaque = cb_opaque};
    loop_timer_init(&t->t, t->u->n.loop, NULL, timer_fired, t);
    return t;
}

static void timer_free(void *timer, void *opaque)
{
    struct user_timer *t = timer;
    loop_timer_cancel(&t->t);
    free(t);
}

static void timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
    loop_timer_set(&((struct user_timer *)timer)->t, expire_ms * 1000000);
}

static int64_t clock_ns(void *opaque)
{
    return host_monotonic_ns();
}

static void guest_error(const char *msg, void *opaque)
{
    log_guest("user network", "%s", msg);
}

static void notify(void *opaque)
{
    struct user_netdev *u = opaque;
    loop_defer(&u->refill);
}

static const SlirpCb callbacks = {
    .send_packet = frame_for_guest,
    .guest_error = guest_error,
    .clock_get_ns = clock_ns,
    .timer_new_opaque = timer_new,
    .timer_free = timer_free,
    .timer_mod = timer_mod,
    .register_poll_fd = register_fd,
    .unregister_poll_fd = unregister_fd,
    .notify = notify,
};

// The back end.

static void user_print(struct netdev *n, struct buf *out)
{
    char net[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &of(n)->net, net, sizeof net);
    buf_printf(out, ",net=%s,restrict=%s", net, of(n)->restricted ? "on" : "off");
}

static int user_command(struct netdev *n, const char *verb, const char *arg, struct buf *out,
                        struct err *e)
{
    struct user_netdev *u = of(n);
    int r = 0;
    if (!strcmp(verb, "hostfwd_add")) {
        r = user_hostfwd_add(u, arg, e);
    } else if (!strcmp(verb, "hostfwd_remove")) {
        r = user_hostfwd_remove(u, arg, e);
        if (!r)
            buf_printf(out, "host forwarding rule for %s removed\n", arg);
    } else if (!strcmp(verb, "usernet")) {
        char *text = slirp_connection_info(u->slirp);
        buf_printf(out, "Hub -1 (%s):\n%s", n->id, text);
        free(text);
    } else {
        return err_set(e, "netdev '%s' (user) has no command '%s'", n->id, verb);
    }
    loop_defer(&u->refill);
    return r;
}

static void user_close(struct netdev *n)
{
    struct user_netdev *u = of(n);
    if (u->slirp)
        slirp_cleanup(u->slirp);
    loop_work_cancel(&u->serve);
    loop_work_cancel(&u->refill);
    loop_work_cancel(&u->drain);
    loop_timer_cancel(&u->timeout);
    for (size_t i = 0; i < u->polls.len; i++) {
        forget(u->polls.data[i]);
        free(u->polls.data[i]);
    }
    vec_free(&u->polls);
    frames_free(&u->rx);
    fragment_free(&u->fragments);
}

static struct netdev *user_open(struct opts *o, struct loop *loop, struct err *e)
{
    struct user_config config;
    if (user_read_config(&config, o, e)) {
        user_free_config(&config);
        return NULL;
    }
    struct user_netdev *u = xalloc(sizeof *u);
    u->n.loop = loop;
    u->n.rx_checked = true;
    u->net = config.slirp.vnetwork;
    u->mask = config.slirp.vnetmask;
    u->restricted = config.slirp.restricted;
    frames_init(&u->rx, RX_QUEUE);
    loop_work_init(&u->serve, loop, serve, u);
    loop_work_init(&u->refill, loop, refill, u);
    loop_work_init(&u->drain, loop, drain, u);
    loop_timer_init(&u->timeout, loop, NULL, serve, u);
    u->slirp = slirp_new(&config.slirp, &callbacks, u);
    user_free_config(&config);
    if (!u->slirp || user_add_forwards(u, o, e)) {
        if (!u->slirp)
            err_set(e, "the user-mode network could not start");
        user_close(&u->n);
        free(u);
        return NULL;
    }
    loop_defer(&u->refill);
    return &u->n;
}

static const char *const user_keys[] = {
    "bootfile",  "dhcpstart",        "dns",         "dnssearch", "domainname", "guestfwd",
    "host",      "hostfwd",          "hostname",    "ipv4",      "ipv6",       "ipv6-dns",
    "ipv6-host", "ipv6-net",         "ipv6-prefix", "net",       "restrict",   "ipv6-prefixlen",
    "tftp",      "tftp-server-name", NULL};

const struct netdev_ops netdev_user_ops = {
    .name = "user",
    .help = "[net=N/BITS][,hostfwd=tcp::PORT-:PORT][,guestfwd=][,restrict=on][,dns=][,host=]"
            "[,dhcpstart=][,hostname=][,domainname=][,dnssearch=][,tftp=DIR][,bootfile=]"
            "[,ipv6=off]: needs no privileges",
    .keys = user_keys,
    .open = user_open,
    .send = user_send,
    .large = true,
    .rx_ready = user_rx_ready,
    .print = user_print,
    .command = user_command,
    .close = user_close,
};
