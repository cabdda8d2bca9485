// A guest on a wire, for tests: a NIC that records frames, and enough ARP, DHCP, UDP and TCP,
// written from RFC 791, 793, 826, 768 and 2131, to talk to a network back end.
#pragma once

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bits.h"
#include "../base/pump.h"
#include "net/net.h"

#define ETH_IP      0x0800
#define ETH_ARP     0x0806
#define GUEST_SLOTS 1024

struct frame {
    size_t len;
    uint8_t data[1600];
};

struct guest {
    struct netdev *dev;
    struct loop *loop;
    uint8_t mac[6], gateway_mac[6];
    uint32_t ip, gateway;
    struct frame ring[GUEST_SLOTS]; // received, oldest first
    unsigned head, count;
    bool closed;  // takes no frames
    bool refused; // did not take one
    unsigned writable, link_changes;
};

static inline bool guest_receive(void *nic, const uint8_t *frame, size_t len)
{
    struct guest *g = nic;
    if (g->closed || g->count == GUEST_SLOTS) {
        g->refused = true;
        return false;
    }
    struct frame *f = &g->ring[(g->head + g->count++) % GUEST_SLOTS];
    f->len = len;
    memcpy(f->data, frame, MIN(len, sizeof f->data));
    return true;
}
static inline void guest_can_send(void *nic)
{
    ((struct guest *)nic)->writable++;
}
static inline void guest_link_changed(void *nic, bool up)
{
    ((struct guest *)nic)->link_changes++;
}
static const struct nic_ops guest_ops = {
    .receive = guest_receive, .can_send = guest_can_send, .link_changed = guest_link_changed};

static inline struct netdev *open_netdev(struct loop *l, const char *text)
{
    struct opts o = {0};
    struct err e = {0};
    assert_int_equal(opts_parse(&o, text, "type", &e), 0);
    struct netdev *n = netdev_open(&o, l, &e);
    opts_free(&o);
    if (!n)
        fail_msg("%s: %s", text, e.msg);
    return n;
}

static inline const char *netdev_error(struct loop *l, const char *text)
{
    static struct err e;
    struct opts o = {0};
    e.msg[0] = 0;
    assert_int_equal(opts_parse(&o, text, "type", &e), 0);
    assert_null(netdev_open(&o, l, &e));
    opts_free(&o);
    assert_true(e.msg[0]);
    assert_null(strchr(e.msg, '\n'));
    return e.msg;
}

static inline struct guest *guest_new(struct loop *l, const char *text, uint8_t last)
{
    struct guest *g = xalloc(sizeof *g);
    struct err e = {0};
    g->loop = l;
    memcpy(g->mac, (uint8_t[]){0x52, 0x54, 0, 0x12, 0x34, last}, 6);
    g->dev = open_netdev(l, text);
    assert_int_equal(netdev_attach(g->dev, &guest_ops, g, &e), 0);
    return g;
}

static inline void guest_free(struct guest *g)
{
    netdev_detach(g->dev);
    netdev_close(g->dev);
    free(g);
}

static inline void guest_pop(struct guest *g)
{
    g->head = (g->head + 1) % GUEST_SLOTS;
    g->count--;
    if (g->refused) {
        g->refused = false;
        netdev_rx_ready(g->dev);
    }
}
static inline struct frame *guest_peek(struct guest *g)
{
    return g->count ? &g->ring[g->head] : NULL;
}

static inline bool guest_send(struct guest *g, const void *frame, size_t len)
{
    struct iovec iov = {(void *)frame, len};
    return netdev_send(g->dev, &iov, 1);
}

static inline uint32_t sum16(const void *p, size_t n, uint32_t sum)
{
    const uint8_t *b = p;
    for (size_t i = 0; i + 1 < n; i += 2)
        sum += (uint32_t)(b[i] << 8 | b[i + 1]);
    if (n & 1)
        sum += (uint32_t)(b[n - 1] << 8);
    return sum;
}
static inline uint16_t sum_fold(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static inline void put_eth(uint8_t *f, const uint8_t *dst, const uint8_t *src, uint16_t type)
{
    memcpy(f, dst, 6);
    memcpy(f + 6, src, 6);
    st_be16(f + 12, type);
}

// Fills the Ethernet and IP headers and the transport checksum of a frame whose transport header
// and payload (n bytes) are at f + 34, checksum at `csum` within them. Returns the frame's length.
static inline size_t finish_ip(struct guest *g, uint8_t *f, uint8_t proto, uint32_t dst, size_t n,
                               size_t csum)
{
    static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};
    uint8_t *ip = f + 14, *tp = f + 34, pseudo[12];
    put_eth(f, dst == 0xffffffff ? all : g->gateway_mac, g->mac, ETH_IP);
    memset(ip, 0, 20);
    ip[0] = 0x45;
    st_be16(ip + 2, (uint16_t)(20 + n));
    ip[8] = 64;
    ip[9] = proto;
    st_be32(ip + 12, g->ip);
    st_be32(ip + 16, dst);
    st_be16(ip + 10, sum_fold(sum16(ip, 20, 0)));
    memcpy(pseudo, ip + 12, 8);
    st_be16(pseudo + 8, proto);
    st_be16(pseudo + 10, (uint16_t)n);
    st_be16(tp + csum, 0);
    st_be16(tp + csum, sum_fold(sum16(tp, n, sum16(pseudo, 12, 0))));
    return 34 + n;
}

static inline void send_udp(struct guest *g, uint32_t dst, uint16_t sport, uint16_t dport,
                            const void *data, size_t n)
{
    uint8_t f[1600], *udp = f + 34;
    st_be16(udp, sport);
    st_be16(udp + 2, dport);
    st_be16(udp + 4, (uint16_t)(8 + n));
    memcpy(udp + 8, data, n);
    assert_true(guest_send(g, f, finish_ip(g, f, 17, dst, 8 + n, 6)));
}

static inline uint16_t eth_type(const struct frame *f)
{
    return ld_be16(f->data + 12);
}

// Waits for an IP packet of a protocol; others are dropped, except that ARP questions are answered.
static inline struct frame *guest_wait_ip(struct guest *g, uint8_t proto)
{
    for (;;) {
        pump_until(g->loop, g->count);
        struct frame *f = guest_peek(g);
        if (eth_type(f) == ETH_IP && f->data[23] == proto)
            return f;
        if (eth_type(f) == ETH_ARP && ld_be16(f->data + 20) == 1 &&
            ld_be32(f->data + 38) == g->ip) {
            uint8_t r[42];
            memcpy(r, f->data, 42);
            put_eth(r, f->data + 6, g->mac, ETH_ARP);
            st_be16(r + 20, 2);
            memcpy(r + 22, g->mac, 6);
            st_be32(r + 28, g->ip);
            memcpy(r + 32, f->data + 22, 10);
            guest_send(g, r, sizeof r);
        }
        guest_pop(g);
    }
}

// Asks who has an address and takes the answer as the gateway's.
static inline bool guest_arp(struct guest *g, uint32_t ip)
{
    static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};
    uint8_t f[42] = {0};
    put_eth(f, all, g->mac, ETH_ARP);
    memcpy(f + 14, "\0\1\10\0\6\4\0\1", 8);
    memcpy(f + 22, g->mac, 6);
    st_be32(f + 28, g->ip);
    st_be32(f + 38, ip);
    assert_true(guest_send(g, f, sizeof f));
    pump(g->loop);
    bool found = false;
    while (g->count) {
        struct frame *r = guest_peek(g);
        if (eth_type(r) == ETH_ARP && ld_be16(r->data + 20) == 2 && ld_be32(r->data + 28) == ip) {
            memcpy(g->gateway_mac, r->data + 22, 6);
            found = true;
        }
        guest_pop(g);
    }
    return found;
}

// A TCP connection of the guest; in order, no retransmission: the wire of a test loses nothing.
struct tcp {
    struct guest *g;
    uint32_t dst, seq, ack, window, sent_ack;
    uint16_t sport, dport;
    bool peer_fin, reset;
    uint32_t peer_acked;
    uint16_t our_window;
};

static inline void tcp_emit(struct tcp *t, uint8_t flags, const void *data, size_t n)
{
    uint8_t f[1600], *tp = f + 34;
    size_t hdr = flags & 2 ? 24 : 20;
    memset(tp, 0, hdr);
    st_be16(tp, t->sport);
    st_be16(tp + 2, t->dport);
    st_be32(tp + 4, t->seq);
    st_be32(tp + 8, t->ack);
    tp[12] = (uint8_t)(hdr << 2);
    tp[13] = flags;
    st_be16(tp + 14, t->our_window);
    if (flags & 2)
        memcpy(tp + 20, "\2\4\5\264", 4); // MSS 1460
    if (n)
        memcpy(tp + hdr, data, n);
    size_t len = finish_ip(t->g, f, 6, t->dst, hdr + n, 16);
    while (!guest_send(t->g, f, len))
        loop_run_once(t->g->loop, 1);
    t->seq += (uint32_t)n + !!(flags & 2) + (flags & 1);
    t->sent_ack = t->ack;
}

// A large segment whose cutting and checksum are left to the back end, as a driver would.
static inline void tcp_emit_large(struct tcp *t, const void *data, size_t n)
{
    static uint8_t f[66000];
    uint8_t *tp = f + 34;
    memset(tp, 0, 20);
    st_be16(tp, t->sport);
    st_be16(tp + 2, t->dport);
    st_be32(tp + 4, t->seq);
    st_be32(tp + 8, t->ack);
    tp[12] = 5 << 4;
    tp[13] = 16;
    st_be16(tp + 14, t->our_window);
    memcpy(tp + 20, data, n);
    size_t len = finish_ip(t->g, f, 6, t->dst, 20, 16); // checksums of the headers alone
    st_be16(f + 16, (uint16_t)(40 + n));
    st_be16(f + 24, 0);
    st_be16(f + 24, sum_fold(sum16(f + 14, 20, 0)));
    st_be16(tp + 16, (uint16_t)~sum_fold(sum16(f + 26, 8, 6 + 20 + (uint32_t)n)));
    struct net_offload o = {.csum = true, .csum_start = 34, .csum_offset = 16, .segment = 1460};
    struct iovec iov = {f, len + n};
    while (!netdev_send_offload(t->g->dev, &o, &iov, 1))
        loop_run_once(t->g->loop, 1);
    t->seq += (uint32_t)n;
    t->sent_ack = t->ack;
}

// Waits for a segment of this connection; what others were sent is dropped.
static inline struct frame *tcp_wait(struct tcp *t)
{
    for (;;) {
        struct frame *f = guest_wait_ip(t->g, 6);
        if (ld_be16(f->data + 34) == t->dport && ld_be16(f->data + 36) == t->sport)
            return f;
        guest_pop(t->g);
    }
}

// Takes one segment of this connection; returns its payload.
static inline size_t tcp_take(struct tcp *t, const struct frame *f, const uint8_t **data)
{
    const uint8_t *tp = f->data + 34;
    size_t hdr = (tp[12] >> 4) * 4u, n = ld_be16(f->data + 16) - 20u - hdr;
    uint32_t seq = ld_be32(tp + 4);
    assert_int_equal(sum_fold(sum16(tp, hdr + n, sum16(f->data + 26, 8, 6 + (uint32_t)(hdr + n)))),
                     0);
    t->reset |= !!(tp[13] & 4);
    t->window = ld_be16(tp + 14);
    if (tp[13] & 16)
        t->peer_acked = ld_be32(tp + 8);
    if (tp[13] & 2)
        t->ack = seq + 1;
    else if (seq != t->ack)
        n = 0; // seen before
    t->ack += (uint32_t)n;
    if ((tp[13] & 1) && seq + n == t->ack && !t->peer_fin) {
        t->ack++;
        t->peer_fin = true;
    }
    *data = tp + hdr;
    return n;
}

static inline void tcp_open(struct tcp *t, struct guest *g, uint32_t dst, uint16_t sport,
                            uint16_t dport)
{
    const uint8_t *data;
    *t = (struct tcp){
        .g = g, .dst = dst, .sport = sport, .dport = dport, .seq = 1000, .our_window = 65535};
    tcp_emit(t, 2, NULL, 0);
    tcp_take(t, tcp_wait(t), &data);
    guest_pop(g);
    if (!t->reset)
        tcp_emit(t, 16, NULL, 0);
}
