// Back ends that reach other machines, back to back or against a plain socket of the test: stream
// framing and its hostile forms, datagrams, multicast, descriptors, the bridge helper, hubs.
#include "../base/ports.h"
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/un.h>
#include <sys/wait.h>

static struct loop *loop;
static char dir[64];
static const char *self_path;

static int setup(void **state)
{
    loop = loop_new("test");
    snprintf(dir, sizeof dir, "/tmp/wires-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}
static int teardown(void **state)
{
    loop_free(loop);
    return rmdir(dir); // all socket files are gone
}

static void make_frame(struct guest *g, uint8_t *f, size_t len, unsigned seed)
{
    static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};
    put_eth(f, all, g->mac, 0x88b5);
    for (size_t i = 14; i < len; i++)
        f[i] = (uint8_t)(seed + i);
}

static void expect_frame(struct guest *g, struct guest *from, size_t len, unsigned seed)
{
    uint8_t want[1600];
    make_frame(from, want, len, seed);
    pump_until(loop, g->count);
    assert_int_equal(guest_peek(g)->len, len);
    assert_memory_equal(guest_peek(g)->data, want, len);
    guest_pop(g);
}

static void both_ways(struct guest *a, struct guest *b)
{
    uint8_t f[1600];
    for (unsigned i = 0; i < 50; i++) {
        size_t len = 14 + i * 31;
        make_frame(a, f, len, i);
        assert_true(guest_send(a, f, len));
        make_frame(b, f, len + 1, i * 2);
        assert_true(guest_send(b, f, len + 1));
        expect_frame(b, a, len, i);
        expect_frame(a, b, len + 1, i * 2);
    }
}

static unsigned port_after(struct netdev *n, const char *what)
{
    struct buf b = {0};
    netdev_print(n, &b);
    const char *p = strstr(buf_str(&b), what);
    assert_non_null(p);
    p = strchr(p, ':');
    assert_non_null(p);
    unsigned port = (unsigned)atoi(p + 1);
    buf_free(&b);
    return port;
}

static int connect_port(unsigned port)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
    return fd;
}

// On a stream: it has its other end.
static bool linked(struct guest *g)
{
    struct buf b = {0};
    netdev_print(g->dev, &b);
    bool yes = strstr(buf_str(&b), "peer=");
    buf_free(&b);
    return yes;
}

static void socket_listen_and_connect(void **state)
{
    char text[128];
    struct guest *a = guest_new(loop, "socket,id=a,listen=127.0.0.1:0", 1);
    // Nobody there yet: frames are lost, not kept.
    uint8_t f[64];
    make_frame(a, f, 64, 0);
    assert_true(guest_send(a, f, 64));
    snprintf(text, sizeof text, "socket,id=b,connect=127.0.0.1:%u", port_after(a->dev, "listen="));
    struct guest *b = guest_new(loop, text, 2);
    pump_until(loop, linked(a) && linked(b));
    both_ways(a, b);
    guest_free(b);
    pump_until(loop, !linked(a));
    b = guest_new(loop, text, 2); // the server takes the next one
    pump_until(loop, linked(a) && linked(b));
    both_ways(a, b);
    guest_free(a);
    guest_free(b);
}

static void stream_unix_reconnects(void **state)
{
    char server[200], client[200];
    snprintf(server, sizeof server, "stream,id=s,server=on,addr.type=unix,addr.path=%s/st", dir);
    snprintf(client, sizeof client, "stream,id=c,addr.type=unix,addr.path=%s/st,reconnect-ms=10",
             dir);
    struct guest *c = guest_new(loop, client, 2); // before its server
    for (int round = 0; round < 2; round++) {
        struct guest *s = guest_new(loop, server, 1);
        pump_until(loop, linked(s) && linked(c));
        both_ways(s, c);
        guest_free(s);
        pump_until(loop, !linked(c));
    }
    guest_free(c);
}

// The NIC has no room: nothing is lost, the sender is held back, and all arrives in order.
static void stream_flow_control(void **state)
{
    int pair[2];
    char text[64];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    snprintf(text, sizeof text, "socket,id=a,fd=%d", pair[0]);
    struct guest *a = guest_new(loop, text, 1);
    snprintf(text, sizeof text, "stream,id=b,addr.type=fd,addr.str=%d", pair[1]);
    struct guest *b = guest_new(loop, text, 2);
    uint8_t f[1514];
    unsigned sent = 0, got = 0;
    b->closed = true;
    for (;; sent++) {
        make_frame(a, f, sizeof f, sent);
        if (!guest_send(a, f, sizeof f))
            break;
        loop_run_once(loop, 0);
        assert_true(sent < 100000);
    }
    assert_int_equal(a->writable, 0);
    b->closed = b->refused = false;
    netdev_rx_ready(b->dev);
    while (got < sent)
        expect_frame(b, a, sizeof f, got++);
    pump_until(loop, a->writable == 1);
    assert_int_equal(b->count, 0);
    guest_free(a);
    guest_free(b);
}

// A large segment goes out as frames, held back and continued when the wire is full.
static void large_segments_are_cut(void **state)
{
    int pair[2];
    char text[64];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    snprintf(text, sizeof text, "socket,id=a,fd=%d", pair[0]);
    struct guest *a = guest_new(loop, text, 1);
    snprintf(text, sizeof text, "socket,id=b,fd=%d", pair[1]);
    struct guest *b = guest_new(loop, text, 2);
    static uint8_t f[54 + 60000], got[54 + 60000];
    st_be16(f + 12, ETH_IP);
    f[14] = 0x45;
    f[23] = 6;
    f[46] = 0x50;
    for (size_t i = 54; i < sizeof f; i++)
        f[i] = (uint8_t)(i ^ i >> 8);
    struct net_offload o = {.csum = true, .csum_start = 34, .csum_offset = 16, .segment = 1000};
    struct iovec iov = {f, sizeof f};
    unsigned sent = 0, segments = 0;
    b->closed = true;
    for (; netdev_send_offload(a->dev, &o, &iov, 1); sent++) {
        loop_run_once(loop, 0);
        assert_true(sent < 1000);
    }
    assert_true(sent > 1);
    b->closed = b->refused = false;
    netdev_rx_ready(b->dev);
    for (; segments < 60 * sent; segments++) {
        pump_until(loop, b->count);
        assert_int_equal(guest_peek(b)->len, 1054);
        memcpy(got + 54 + segments % 60 * 1000, guest_peek(b)->data + 54, 1000);
        if (segments % 60 == 59)
            assert_memory_equal(got + 54, f + 54, 60000);
        guest_pop(b);
    }
    pump_until(loop, a->writable == 1);
    assert_true(netdev_send_offload(a->dev, &o, &iov, 1));
    guest_free(a);
    guest_free(b);
}

static void stream_reassembles(void **state)
{
    int pair[2];
    char text[64];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    snprintf(text, sizeof text, "socket,id=a,fd=%d", pair[0]);
    struct guest *a = guest_new(loop, text, 1);
    uint8_t wire[3 * (4 + 100)];
    for (unsigned i = 0; i < 3; i++) {
        st_be32(wire + i * 104, 100);
        make_frame(a, wire + i * 104 + 4, 100, i);
    }
    for (size_t i = 0; i < sizeof wire; i++) {
        assert_int_equal(write(pair[1], wire + i, 1), 1);
        loop_run_once(loop, 10);
    }
    assert_int_equal(write(pair[1], wire, sizeof wire), sizeof wire);
    for (unsigned i = 0; i < 6; i++)
        expect_frame(a, a, 100, i % 3);
    guest_free(a);
    close(pair[1]);
}

static void hostile_lengths(void **state)
{
    struct guest *a = guest_new(loop, "socket,id=a,listen=127.0.0.1:0", 1);
    unsigned port = port_after(a->dev, "listen=");
    static const uint32_t bad[] = {0xffffffff, 0x80000000, 0x01000000, NET_FRAME_MAX + 1};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        uint8_t wire[64] = {0}, ch;
        int fd = connect_port(port);
        st_be32(wire, bad[i]);
        assert_int_equal(write(fd, wire, sizeof wire), sizeof wire);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        ssize_t n;
        pump_until(loop, (n = read(fd, &ch, 1)) == 0 || (n < 0 && errno == ECONNRESET));
        close(fd);
    }
    // Frames too short for an Ethernet header are dropped and the connection goes on.
    uint8_t wire[4 + 13 + 4 + 0 + 4 + 64] = {0};
    st_be32(wire, 13);
    st_be32(wire + 17, 0);
    st_be32(wire + 21, 64);
    make_frame(a, wire + 25, 64, 9);
    int fd = connect_port(port);
    assert_int_equal(write(fd, wire, sizeof wire), sizeof wire);
    expect_frame(a, a, 64, 9);
    assert_int_equal(a->dev->dropped, 2);
    // Half a frame and then the end.
    assert_int_equal(write(fd, "\0\0\4\0half", 8), 8);
    close(fd);
    pump(loop);
    assert_int_equal(a->count, 0);
    guest_free(a);
}

static void udp_pairs(void **state)
{
    char text[256];
    unsigned p = free_port(SOCK_DGRAM), q = free_port(SOCK_DGRAM);
    snprintf(text, sizeof text, "socket,id=a,udp=127.0.0.1:%u,localaddr=127.0.0.1:%u", p, q);
    struct guest *a = guest_new(loop, text, 1);
    uint8_t f[64];
    make_frame(a, f, 64, 0);
    for (int i = 0; i < 5; i++) { // nobody there: the errors that come back do no harm
        assert_true(guest_send(a, f, 64));
        pump(loop);
    }
    snprintf(text, sizeof text,
             "dgram,id=b,remote.type=inet,remote.host=127.0.0.1,remote.port=%u,"
             "local.type=inet,local.host=127.0.0.1,local.port=%u",
             q, p);
    struct guest *b = guest_new(loop, text, 2);
    both_ways(a, b);
    snprintf(text, sizeof text, "socket,id=c,udp=127.0.0.1:1,localaddr=127.0.0.1:%u", p);
    assert_non_null(strstr(netdev_error(loop, text), "in use"));
    guest_free(a);
    guest_free(b);
}

static void dgram_unix(void **state)
{
    char text[256];
    snprintf(text, sizeof text,
             "dgram,id=a,local.type=unix,local.path=%s/a,remote.type=unix,remote.path=%s/b", dir,
             dir);
    struct guest *a = guest_new(loop, text, 1);
    snprintf(text, sizeof text,
             "{\"type\":\"dgram\",\"id\":\"b\",\"local\":{\"type\":\"unix\",\"path\":\"%s/b\"},"
             "\"remote\":{\"type\":\"unix\",\"path\":\"%s/a\"}}",
             dir, dir);
    struct guest *b = guest_new(loop, text, 2);
    both_ways(a, b);
    // Held back, not lost, when the receiver has no room.
    uint8_t f[64];
    unsigned sent = 0, got = 0;
    b->closed = true;
    for (;; sent++) {
        make_frame(a, f, 64, sent);
        if (!guest_send(a, f, 64))
            break;
        loop_run_once(loop, 0);
        assert_true(sent < 100000);
    }
    b->closed = b->refused = false;
    netdev_rx_ready(b->dev);
    while (got < sent)
        expect_frame(b, a, 64, got++);
    guest_free(a);
    guest_free(b);
}

static void multicast_segment(void **state)
{
    char text[128];
    struct guest *g[3];
    unsigned port = free_port(SOCK_DGRAM);
    snprintf(text, sizeof text, "socket,id=m,mcast=239.192.77.1:%u,localaddr=127.0.0.1", port);
    for (unsigned i = 0; i < 3; i++)
        g[i] = guest_new(loop, text, (uint8_t)(i + 1));
    uint8_t f[100];
    make_frame(g[0], f, 100, 5);
    assert_true(guest_send(g[0], f, 100));
    expect_frame(g[1], g[0], 100, 5);
    expect_frame(g[2], g[0], 100, 5);
    pump(loop);
    assert_int_equal(g[0]->count, 0); // its own frame does not come back
    for (unsigned i = 0; i < 3; i++)
        guest_free(g[i]);
}

// A tap device is a descriptor that keeps packets apart; so is one end of this pair.
static void tap_by_descriptor(void **state)
{
    int pair[2];
    char text[64];
    uint8_t f[200], got[200];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    snprintf(text, sizeof text, "tap,id=t,fd=%d,vhost=on", pair[0]);
    struct guest *g = guest_new(loop, text, 1);
    make_frame(g, f, 200, 3);
    assert_true(guest_send(g, f, 200));
    assert_int_equal(read(pair[1], got, sizeof got), 200);
    assert_memory_equal(f, got, 200);
    assert_int_equal(write(pair[1], f, 120), 120);
    expect_frame(g, g, 120, 3);
    guest_free(g);
    close(pair[1]);
}

// A real interface, in a network of its own: the kernel on its other side answers ARP.
static int tap_child(const char *script)
{
    char text[256];
    loop = loop_new("child");
    snprintf(text, sizeof text, "tap,id=t,ifname=test%%d,script=%s,downscript=no", script);
    struct guest *g = guest_new(loop, text, 1);
    g->ip = 0x0a090902;
    int64_t end = host_monotonic_ns() + PATIENCE_NS;
    while (!guest_arp(g, 0x0a090901)) {
        if (host_monotonic_ns() > end)
            return 1;
        usleep(10000);
    }
    return 0;
}

static void tap_of_the_kernel(void **state)
{
    char script[100];
    int status;
    snprintf(script, sizeof script, "%s/up", dir);
    int fd = open(script, O_WRONLY | O_CREAT | O_EXCL, 0700);
    assert_true(fd >= 0);
    dprintf(fd, "#!/bin/sh\nip addr add 10.9.9.1/24 dev $1 && ip link set $1 up\n");
    close(fd);
    pid_t pid = fork();
    if (!pid) {
        if (access("/dev/net/tun", R_OK | W_OK) ||
            (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET)))
            _exit(77);
        _exit(tap_child(script));
    }
    waitpid(pid, &status, 0);
    unlink(script);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("# skipped: no /dev/net/tun, or no network namespace\n");
        return;
    }
    assert_int_equal(status, 0);
}

// This program, started as a bridge helper: sends one end of a pair and echoes a frame to the
// other.
static int act_as_helper(int argc, char **argv)
{
    int sock = -1, pair[2];
    const char *br = NULL;
    for (int i = 1; i < argc; i++) {
        sscanf(argv[i], "--fd=%d", &sock);
        br = !strncmp(argv[i], "--br=", 5) ? argv[i] + 5 : br;
    }
    if (!br || strcmp(br, "lab0") || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
        return 1;
    union {
        struct cmsghdr h;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.h = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.h), &pair[0], sizeof(int));
    struct iovec iov = {"", 1};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    if (write(pair[1], "a frame from the bridge", 23) != 23)
        return 1;
    return sendmsg(sock, &m, 0) == 1 ? 0 : 1;
}

static void bridge_helper(void **state)
{
    char text[256];
    snprintf(text, sizeof text, "bridge,id=b,br=lab0,helper=%s", self_path);
    struct guest *g = guest_new(loop, text, 1);
    pump_until(loop, g->count);
    assert_memory_equal(guest_peek(g)->data, "a frame from the bridge", 23);
    guest_free(g);
    snprintf(text, sizeof text, "bridge,id=b,br=other,helper=%s", self_path);
    assert_non_null(strstr(netdev_error(loop, text), "other"));
    assert_non_null(strstr(netdev_error(loop, "bridge,id=b,helper=/no/such/helper"), "helper="));
}

static struct guest *hub_guest(struct list *all, const char *text, uint8_t last)
{
    struct err e = {0};
    struct guest *g = guest_new(loop, text, last);
    list_append(all, &g->dev->link);
    assert_int_equal(netdev_join_hub(g->dev, all, &e), 0);
    return g;
}

static void hubs(void **state)
{
    struct list all = LIST_INIT(all);
    struct err e = {0};
    int pair[2];
    char text[64];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    snprintf(text, sizeof text, "tap,id=t,fd=%d", pair[0]);
    struct netdev *tap = open_netdev(loop, text);
    list_append(&all, &tap->link);
    struct guest *a = hub_guest(&all, "hubport,id=p1,hubid=0", 1);
    struct guest *b = hub_guest(&all, "hubport,id=p2,hubid=0", 2);
    struct guest *c = hub_guest(&all, "hubport,id=p3,hubid=1", 3); // another hub
    struct netdev *port = open_netdev(loop, "hubport,id=p4,hubid=0,netdev=t");
    list_append(&all, &port->link);
    assert_int_equal(netdev_join_hub(port, &all, &e), 0);

    uint8_t f[100], got[100];
    make_frame(a, f, 100, 1);
    assert_true(guest_send(a, f, 100));
    expect_frame(b, a, 100, 1);
    assert_int_equal(read(pair[1], got, sizeof got), 100);
    assert_memory_equal(got, f, 100);
    assert_int_equal(write(pair[1], f, 60), 60);
    expect_frame(a, a, 60, 1);
    expect_frame(b, a, 60, 1);
    assert_int_equal(a->count + c->count, 0);

    struct netdev *bad = open_netdev(loop, "hubport,id=p5,hubid=0,netdev=nobody");
    assert_int_equal(netdev_join_hub(bad, &all, &e), -1);
    assert_non_null(strstr(e.msg, "nobody"));
    netdev_close(bad);
    netdev_close(tap); // before the port it is plugged into
    make_frame(b, f, 100, 2);
    assert_true(guest_send(b, f, 100));
    expect_frame(a, b, 100, 2);
    netdev_close(port);
    guest_free(a);
    guest_free(b);
    guest_free(c);
    close(pair[1]);
}

static void errors_name_the_thing(void **state)
{
    netdev_error(loop, "socket,id=a");
    netdev_error(loop, "socket,id=a,listen=:1,connect=:2");
    netdev_error(loop, "socket,id=a,udp=127.0.0.1:1");
    netdev_error(loop, "socket,id=a,mcast=10.0.0.1:1");
    netdev_error(loop, "socket,id=a,fd=999");
    netdev_error(loop, "socket,id=a,connect=127.0.0.1:1");
    netdev_error(loop, "stream,id=a");
    netdev_error(loop, "stream,id=a,addr.type=inet,addr.host=h");
    netdev_error(loop, "stream,id=a,addr.type=pigeon");
    netdev_error(loop, "dgram,id=a");
    netdev_error(loop, "hubport,id=a");
    netdev_error(loop, "tap,id=a,queues=4");
    netdev_error(loop, "tap,id=a,ifname=a-name-that-is-far-too-long");
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strncmp(argv[1], "--fd=", 5))
        return act_as_helper(argc, argv);
    self_path = realpath("/proc/self/exe", NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(socket_listen_and_connect),
        cmocka_unit_test(stream_unix_reconnects),
        cmocka_unit_test(stream_flow_control),
        cmocka_unit_test(large_segments_are_cut),
        cmocka_unit_test(stream_reassembles),
        cmocka_unit_test(hostile_lengths),
        cmocka_unit_test(udp_pairs),
        cmocka_unit_test(dgram_unix),
        cmocka_unit_test(multicast_segment),
        cmocka_unit_test(tap_by_descriptor),
        cmocka_unit_test(tap_of_the_kernel),
        cmocka_unit_test(bridge_helper),
        cmocka_unit_test(hubs),
        cmocka_unit_test(errors_name_the_thing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
