// The user-mode network, seen from a guest that speaks ARP, DHCP, UDP and TCP by hand, and from
// sockets of the host.
#include "../base/ports.h"
#include "guest.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>

static struct loop *loop;

static int setup(void **state)
{
    loop = loop_new("test");
    return 0;
}
static int teardown(void **state)
{
    loop_free(loop);
    return 0;
}

static int host_socket(int type, uint16_t *port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, type, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 8), 0);
    getsockname(fd, (struct sockaddr *)&in, &len);
    *port = ntohs(in.sin_port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static struct guest *user_guest(const char *more)
{
    char text[512];
    snprintf(text, sizeof text, "user,id=n0%s", more);
    struct guest *g = guest_new(loop, text, 0x56);
    g->ip = 0x0a00020f;
    g->gateway = 0x0a000202;
    assert_true(guest_arp(g, g->gateway));
    return g;
}

static void answers_arp(void **state)
{
    struct guest *g = user_guest("");
    assert_true(guest_arp(g, 0x0a000203));
    assert_false(guest_arp(g, 0x0a000263));
    guest_free(g);
    g = guest_new(loop, "user,id=n0,net=192.168.76.0/24,host=192.168.76.9", 1);
    g->ip = 0xc0a84c0f;
    assert_true(guest_arp(g, 0xc0a84c09));
    guest_free(g);
}

// DISCOVER then REQUEST; the answer's options are searched for those that were configured.
static const uint8_t *dhcp_option(const struct frame *f, uint8_t code)
{
    const uint8_t *p = f->data + 34 + 8 + 240, *end = f->data + f->len;
    while (p + 2 <= end && *p != 255) {
        if (*p == code)
            return p + 1;
        p += *p ? 2 + p[1] : 1;
    }
    return NULL;
}

static struct frame *dhcp(struct guest *g, uint8_t type)
{
    uint8_t m[300] = {1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef};
    memcpy(m + 28, g->mac, 6);
    memcpy(m + 236, "\x63\x82\x53\x63\x35\x01", 6);
    m[242] = type;
    m[243] = 255;
    uint32_t ip = g->ip;
    g->ip = 0;
    send_udp(g, 0xffffffff, 68, 67, m, sizeof m);
    g->ip = ip;
    struct frame *f = guest_wait_ip(g, 17);
    assert_int_equal(ld_be16(f->data + 36), 68);
    return f;
}

static void gives_leases(void **state)
{
    struct guest *g = user_guest(",dhcpstart=10.0.2.50,hostname=box,domainname=example.org,"
                                 "dns=10.0.2.7,bootfile=net.img");
    struct frame *f = dhcp(g, 1);
    assert_int_equal(dhcp_option(f, 53)[1], 2); // OFFER
    assert_int_equal(ld_be32(f->data + 42 + 16), 0x0a000232);
    guest_pop(g);
    f = dhcp(g, 3);
    assert_int_equal(dhcp_option(f, 53)[1], 5); // ACK
    assert_int_equal(ld_be32(dhcp_option(f, 1) + 1), 0xffffff00);
    assert_int_equal(ld_be32(dhcp_option(f, 3) + 1), 0x0a000202);
    assert_int_equal(ld_be32(dhcp_option(f, 6) + 1), 0x0a000207);
    assert_memory_equal(dhcp_option(f, 12), "\3box", 4);
    assert_memory_equal(dhcp_option(f, 15), "\13example.org", 12);
    assert_memory_equal(f->data + 42 + 108, "net.img", 8);
    guest_pop(g);
    guest_free(g);
}

static void udp_reaches_the_host(void **state)
{
    uint16_t port;
    int fd = host_socket(SOCK_DGRAM, &port);
    struct guest *g = user_guest("");
    send_udp(g, 0x0a000202, 4000, port, "question", 8);
    char got[16];
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    ssize_t n = -1;
    pump_until(loop, (n = recvfrom(fd, got, sizeof got, 0, (struct sockaddr *)&from, &len)) > 0);
    assert_int_equal(n, 8);
    assert_memory_equal(got, "question", 8);
    assert_int_equal(sendto(fd, "answer", 6, 0, (struct sockaddr *)&from, len), 6);
    struct frame *f = guest_wait_ip(g, 17);
    assert_int_equal(ld_be32(f->data + 26), 0x0a000202);
    assert_int_equal(ld_be16(f->data + 34), port);
    assert_int_equal(ld_be16(f->data + 36), 4000);
    assert_memory_equal(f->data + 42, "answer", 6);
    guest_free(g);
    close(fd);
}

// A fragment [off, off + n) of a datagram's data.
static void send_fragment(struct guest *g, uint16_t id, const uint8_t *udp, size_t off, size_t n,
                          bool more)
{
    uint8_t f[1600];
    memcpy(f + 34, udp + off, n);
    size_t len = finish_ip(g, f, 17, 0x0a000202, n, 0);
    memcpy(f + 34, udp + off, n); // the checksum is the whole datagram's
    st_be16(f + 18, id);
    st_be16(f + 20, (uint16_t)((more ? 0x2000 : 0) | off / 8));
    st_be16(f + 24, 0);
    st_be16(f + 24, sum_fold(sum16(f + 14, 20, 0)));
    assert_true(guest_send(g, f, len));
}

static void fragments_are_joined(void **state)
{
    uint16_t port;
    int fd = host_socket(SOCK_DGRAM, &port);
    struct guest *g = user_guest("");
    static uint8_t udp[4008], got[5000];
    for (size_t i = 8; i < sizeof udp; i++)
        udp[i] = (uint8_t)(i * 3 + (i >> 8));
    st_be16(udp, 4000);
    st_be16(udp + 2, port);
    st_be16(udp + 4, sizeof udp);
    st_be16(udp + 6, 0); // no checksum
    // In any order.
    send_fragment(g, 1, udp, 2816, 1192, false);
    send_fragment(g, 1, udp, 0, 1408, true);
    assert_int_equal(recv(fd, got, sizeof got, 0), -1);
    send_fragment(g, 1, udp, 1408, 1408, true);
    ssize_t n = -1;
    pump_until(loop, (n = recv(fd, got, sizeof got, 0)) > 0);
    assert_int_equal(n, 4000);
    assert_memory_equal(got, udp + 8, 4000);
    // Overlapping, twice the end, without an end, too long: none arrives, nothing breaks.
    send_fragment(g, 2, udp, 0, 1408, true);
    send_fragment(g, 2, udp, 1400, 1408, true);
    send_fragment(g, 2, udp, 2808, 1200, false);
    send_fragment(g, 3, udp, 1408, 1000, false);
    send_fragment(g, 3, udp, 2816, 1000, false);
    send_fragment(g, 3, udp, 0, 1408, true);
    for (uint16_t id = 10; id < 100; id++)
        send_fragment(g, id, udp, 8 * id, 800, id & 1);
    for (int i = 0; i < 5; i++)
        loop_run_once(loop, 2);
    assert_int_equal(recv(fd, got, sizeof got, 0), -1);
    assert_true(guest_arp(g, 0x0a000202));
    guest_free(g);
    close(fd);
}

// A query to the stack's name server address leaves for the host's resolver, which a test machine
// may not have: seen in the stack's own table.
static void dns_address_is_forwarded(void **state)
{
    static const uint8_t query[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0\7example\3org\0\0\1\0\1";
    struct guest *g = user_guest("");
    struct buf out = {0};
    struct err e = {0};
    send_udp(g, 0x0a000203, 5353, 53, query, sizeof query - 1);
    pump(loop);
    assert_int_equal(netdev_command(g->dev, "usernet", "", &out, &e), 0);
    const char *row = strstr(buf_str(&out), "UDP[");
    assert_non_null(row);
    assert_non_null(strstr(row, "10.0.2.15  5353"));
    buf_free(&out);
    guest_free(g);
}

static uint32_t checksum(uint32_t sum, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = sum * 31 + p[i];
    return sum;
}

#define VOLUME ((size_t)6 << 20)

// Both directions of an open connection at once, with flow control on both sides.
static void exchange(struct guest *g, struct tcp *t, int fd)
{
    static uint8_t out[VOLUME], in[VOLUME];
    uint32_t guest_sum = 0, host_sum = 0, want_guest = 0, want_host = 0;
    size_t guest_sent = 0, guest_got = 0, host_sent = 0, host_got = 0;
    uint32_t base = t->seq;
    for (size_t i = 0; i < VOLUME; i++) {
        out[i] = (uint8_t)(i * 7 + (i >> 9));
        in[i] = (uint8_t)(i * 13 + (i >> 11));
    }
    want_host = checksum(0, out, VOLUME);
    want_guest = checksum(0, in, VOLUME);
    int64_t end = host_monotonic_ns() + 4 * PATIENCE_NS;
    while (guest_got < VOLUME || host_got < VOLUME) {
        uint8_t buf[65536];
        assert_true(host_monotonic_ns() < end);
        if (host_sent < VOLUME) {
            ssize_t n = send(fd, in + host_sent, VOLUME - host_sent, MSG_DONTWAIT);
            host_sent += n > 0 ? (size_t)n : 0;
        }
        ssize_t n = recv(fd, buf, sizeof buf, MSG_DONTWAIT);
        if (n > 0) {
            host_sum = checksum(host_sum, buf, (size_t)n);
            host_got += (size_t)n;
        }
        while (guest_sent < VOLUME && t->seq - t->peer_acked + 1460 <= t->window) {
            size_t k = MIN((size_t)1460, VOLUME - guest_sent);
            assert_int_equal(t->seq - base, guest_sent);
            tcp_emit(t, 16, out + guest_sent, k);
            guest_sent += k;
        }
        loop_run_once(loop, 0);
        while (g->count) {
            const uint8_t *data;
            struct frame *f = guest_wait_ip(g, 6);
            size_t k = tcp_take(t, f, &data);
            guest_sum = checksum(guest_sum, data, k);
            guest_got += k;
            guest_pop(g);
        }
        if (t->sent_ack != t->ack)
            tcp_emit(t, 16, NULL, 0);
    }
    assert_int_equal(guest_sum, want_guest);
    assert_int_equal(host_sum, want_host);
}

static void tcp_out_at_volume(void **state)
{
    uint16_t port;
    int listener = host_socket(SOCK_STREAM, &port), fd = -1;
    struct guest *g = user_guest("");
    struct tcp t;
    tcp_open(&t, g, 0x0a000202, 40000, port);
    assert_false(t.reset);
    pump_until(loop, (fd = accept(listener, NULL, NULL)) >= 0);
    t.peer_acked = t.seq;
    exchange(g, &t, fd);
    close(fd);
    while (!t.peer_fin) {
        const uint8_t *data;
        tcp_take(&t, tcp_wait(&t), &data);
        guest_pop(g);
    }
    tcp_emit(&t, 17, NULL, 0);
    pump(loop);
    guest_free(g);
    close(listener);
}

static void large_segments_arrive(void **state)
{
    uint16_t port;
    int listener = host_socket(SOCK_STREAM, &port), fd = -1;
    static uint8_t out[40000], in[40000];
    struct guest *g = user_guest("");
    struct tcp t;
    tcp_open(&t, g, 0x0a000202, 40004, port);
    pump_until(loop, (fd = accept(listener, NULL, NULL)) >= 0);
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)(i * 11 + (i >> 8));
    tcp_emit_large(&t, out, sizeof out);
    for (size_t got = 0; got < sizeof in;) {
        ssize_t n = recv(fd, in + got, sizeof in - got, MSG_DONTWAIT);
        got += n > 0 ? (size_t)n : 0;
        loop_run_once(loop, 1);
    }
    assert_memory_equal(in, out, sizeof in);
    close(fd);
    close(listener);
    guest_free(g);
}

static void tcp_refused_is_reset(void **state)
{
    struct guest *g = user_guest("");
    struct tcp t;
    tcp_open(&t, g, 0x0a000202, 40001, free_port(SOCK_STREAM));
    assert_true(t.reset);
    guest_free(g);
}

static int connect_host(uint16_t port)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&in, sizeof in)) {
        close(fd);
        return -1;
    }
    return fd;
}

// A connection of the host through a forwarded port, up to the established state.
static void accept_in_guest(struct guest *g, struct tcp *t, uint16_t port)
{
    const uint8_t *data;
    struct frame *f;
    while (f = guest_wait_ip(g, 6), !(f->data[34 + 13] & 2) || ld_be16(f->data + 36) != port)
        guest_pop(g); // of the connection before
    *t = (struct tcp){.g = g,
                      .dst = ld_be32(f->data + 26),
                      .sport = port,
                      .dport = ld_be16(f->data + 34),
                      .seq = 5000,
                      .our_window = 65535};
    tcp_take(t, f, &data);
    guest_pop(g);
    tcp_emit(t, 18, NULL, 0);
    t->peer_acked = t->seq;
    tcp_take(t, tcp_wait(t), &data);
    guest_pop(g);
}

static void hostfwd_at_volume(void **state)
{
    uint16_t port = free_port(SOCK_STREAM), second = free_port(SOCK_STREAM);
    uint16_t third = free_port(SOCK_STREAM);
    char more[256];
    struct buf out = {0};
    struct err e = {0};
    snprintf(more, sizeof more, ",hostfwd=tcp::%u-:22,hostfwd=tcp:127.0.0.1:%u-10.0.2.15:23", port,
             second);
    struct guest *g = user_guest(more);
    uint16_t ports[] = {port, second, third};
    snprintf(more, sizeof more, "tcp::%u-:24", third);
    assert_int_equal(netdev_command(g->dev, "hostfwd_add", more, &out, &e), 0);
    for (unsigned i = 0; i < 3; i++) {
        int fd = connect_host(ports[i]);
        assert_true(fd >= 0);
        struct tcp t;
        accept_in_guest(g, &t, (uint16_t)(22 + i));
        if (!i)
            exchange(g, &t, fd);
        close(fd);
        pump(loop);
        while (g->count)
            guest_pop(g);
    }
    snprintf(more, sizeof more, "%u", port);
    assert_int_equal(netdev_command(g->dev, "usernet", "", &out, &e), 0);
    assert_non_null(strstr(buf_str(&out), "HOST_FORWARD"));
    assert_non_null(strstr(buf_str(&out), more));
    snprintf(more, sizeof more, "tcp::%u", third);
    assert_int_equal(netdev_command(g->dev, "hostfwd_remove", more, &out, &e), 0);
    assert_non_null(strstr(buf_str(&out), "removed"));
    assert_int_equal(connect_host(third), -1);
    assert_int_equal(netdev_command(g->dev, "hostfwd_remove", more, &out, &e), -1);
    assert_non_null(strstr(e.msg, "not found"));
    buf_free(&out);
    guest_free(g);
    assert_int_equal(connect_host(port), -1);
}

// A guest that stops taking frames loses none of a TCP stream and does not make us grow.
static void a_busy_guest_waits(void **state)
{
    uint16_t port;
    int listener = host_socket(SOCK_STREAM, &port), fd = -1;
    struct guest *g = user_guest("");
    struct tcp t;
    tcp_open(&t, g, 0x0a000202, 40002, port);
    pump_until(loop, (fd = accept(listener, NULL, NULL)) >= 0);
    g->closed = true;
    static uint8_t data[200000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i >> 4);
    ssize_t sent = send(fd, data, sizeof data, MSG_DONTWAIT);
    assert_true(sent > 60000);
    pump_until(loop, g->refused);
    assert_int_equal(g->count, 0);
    g->closed = g->refused = false;
    netdev_rx_ready(g->dev);
    size_t got = 0;
    while (got < (size_t)sent) {
        const uint8_t *p;
        size_t n = tcp_take(&t, tcp_wait(&t), &p);
        assert_memory_equal(p, data + got, n);
        got += n;
        guest_pop(g);
        if (!g->count)
            tcp_emit(&t, 16, NULL, 0);
    }
    close(fd);
    close(listener);
    guest_free(g);
}

static void restricted_and_link_down(void **state)
{
    uint16_t port;
    int fd = host_socket(SOCK_DGRAM, &port);
    char got[16];
    struct guest *g = user_guest(",restrict=on");
    send_udp(g, 0x0a000202, 4000, port, "x", 1);
    for (int i = 0; i < 5; i++)
        loop_run_once(loop, 5);
    assert_int_equal(recv(fd, got, sizeof got, 0), -1);
    guest_free(g);

    g = user_guest("");
    netdev_set_link(g->dev, false);
    assert_int_equal(g->link_changes, 1);
    send_udp(g, 0x0a000202, 4000, port, "x", 1);
    for (int i = 0; i < 5; i++)
        loop_run_once(loop, 5);
    assert_int_equal(recv(fd, got, sizeof got, 0), -1);
    netdev_set_link(g->dev, true);
    send_udp(g, 0x0a000202, 4000, port, "y", 1);
    pump_until(loop, recv(fd, got, sizeof got, 0) == 1);
    guest_free(g);
    close(fd);
}

static void guestfwd_runs_a_command(void **state)
{
    struct guest *g = user_guest(",guestfwd=tcp:10.0.2.100:7-cmd:/bin/cat");
    struct tcp t;
    tcp_open(&t, g, 0x0a000264, 40003, 7);
    assert_false(t.reset);
    tcp_emit(&t, 24, "echo me", 7);
    const uint8_t *data;
    size_t n = 0;
    while (!n) {
        n = tcp_take(&t, tcp_wait(&t), &data);
        if (n)
            assert_memory_equal(data, "echo me", 7);
        guest_pop(g);
    }
    guest_free(g);
}

// Frames that no guest in its right mind sends.
static void hostile_frames(void **state)
{
    struct guest *g = user_guest("");
    uint8_t *f = calloc(1, 70000);
    srand(7);
    for (int round = 0; round < 20000; round++) {
        size_t len = (size_t)(rand() % 200);
        for (size_t i = 0; i < len; i++)
            f[i] = (uint8_t)rand();
        put_eth(f, g->gateway_mac, g->mac, rand() % 2 ? ETH_IP : rand() % 2 ? ETH_ARP : 0x86dd);
        f[14] = rand() % 4 ? 0x45 : f[14];
        f[23] = (uint8_t)((uint8_t[]){1, 6, 17, 58, 2})[rand() % 5];
        guest_send(g, f, len);
        while (g->count)
            guest_pop(g);
    }
    guest_send(g, f, 65550);
    guest_send(g, f, 70000); // longer than any frame
    assert_true(g->dev->dropped >= 1);
    pump(loop);
    while (g->count)
        guest_pop(g);
    assert_true(guest_arp(g, 0x0a000202)); // it is still there
    free(f);
    guest_free(g);
}

static void errors_name_the_thing(void **state)
{
    uint16_t port;
    int fd = host_socket(SOCK_STREAM, &port);
    char text[128];
    snprintf(text, sizeof text, "user,id=a,hostfwd=tcp:127.0.0.1:%u-:22", port);
    assert_non_null(strstr(netdev_error(loop, text), "in use"));
    close(fd);
    assert_non_null(strstr(netdev_error(loop, "usr,id=a"), "did you mean 'user'"));
    assert_non_null(strstr(netdev_error(loop, "user,id=a,hostfw=tcp::1-:2"), "hostfwd"));
    netdev_error(loop, "user");
    static const char *const bad[] = {"hostfwd=tcp::22",
                                      "hostfwd=tcp::x-:22",
                                      "hostfwd=sctp::1-:2",
                                      "hostfwd=tcp::70000-:1",
                                      "hostfwd=tcp::1-:0",
                                      "net=10.0.0.0/40",
                                      "net=10.0.0.0/30",
                                      "net=10.0.0",
                                      "net=10.0.0.0/255.0.255.0",
                                      "host=10.1.2.3",
                                      "dns=10.0.2.2",
                                      "dns=nowhere",
                                      "dhcpstart=10.0.2.2",
                                      "smb=/tmp",
                                      "tftp=/no/such/dir",
                                      "ipv4=off,ipv6=off",
                                      "restrict=maybe",
                                      "guestfwd=tcp:10.0.2.1:1-tcp:h:1",
                                      "guestfwd=tcp:1.2.3.4:1-cmd:true",
                                      "ipv6-net=zz",
                                      "hostname=abcdefghijklmnopqrstuvwxyz0123456789"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        snprintf(text, sizeof text, "user,id=a,%s", bad[i]);
        netdev_error(loop, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_arp),
        cmocka_unit_test(gives_leases),
        cmocka_unit_test(udp_reaches_the_host),
        cmocka_unit_test(fragments_are_joined),
        cmocka_unit_test(dns_address_is_forwarded),
        cmocka_unit_test(tcp_out_at_volume),
        cmocka_unit_test(large_segments_arrive),
        cmocka_unit_test(tcp_refused_is_reset),
        cmocka_unit_test(hostfwd_at_volume),
        cmocka_unit_test(a_busy_guest_waits),
        cmocka_unit_test(restricted_and_link_down),
        cmocka_unit_test(guestfwd_runs_a_command),
        cmocka_unit_test(hostile_frames),
        cmocka_unit_test(errors_name_the_thing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
