// The frame queue against a plain list, checksums and segmentation against RFC 1071 done the slow
// way, and the older option forms.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/bits.h"
#include "net/frames.h"
#include "net/legacy.h"
#include "net/segment.h"

static void frame_queue_keeps_order(void **state)
{
    struct frame_queue q;
    uint8_t f[300];
    unsigned in = 0, out = 0, refused = 0;
    size_t lens[1000];
    frames_init(&q, 4096);
    srand(3);
    while (out < 100000) {
        size_t len = (size_t)(rand() % 300);
        if (rand() % 2) {
            memset(f, (int)in, len);
            if (frames_put(&q, f, len)) {
                lens[in % 1000] = len;
                in++;
            } else {
                refused++;
                assert_true(q.used + 300 + 8 + 300 + 8 > q.cap);
            }
        } else if (!frames_empty(&q)) {
            size_t got;
            const uint8_t *p = frames_peek(&q, &got);
            assert_int_equal(got, lens[out % 1000]);
            for (size_t i = 0; i < got; i++)
                assert_int_equal(p[i], (uint8_t)out);
            frames_pop(&q);
            out++;
        } else {
            assert_int_equal(in, out);
        }
    }
    assert_true(refused > 0);
    frames_free(&q);
}

static const char *nic(struct net_legacy *l, size_t i, const char *key)
{
    assert_true(i < l->items.len);
    return opts_get(&l->items.data[i].nic, key);
}
static const char *back(struct net_legacy *l, size_t i, const char *key)
{
    assert_true(i < l->items.len);
    return opts_get(&l->items.data[i].netdev, key);
}

static void nic_option(void **state)
{
    struct net_legacy l = {0};
    struct err e = {0};
    assert_int_equal(net_legacy_nic(&l,
                                    "user,model=e1000,mac=52:54:00:00:00:01,hostfwd=tcp::1-:2,"
                                    "hostfwd=tcp::3-:4",
                                    &e),
                     0);
    assert_int_equal(net_legacy_nic(&l, "tap,id=lan,ifname=tap3,script=no", &e), 0);
    net_legacy_finish(&l);
    assert_int_equal(l.items.len, 2);
    assert_string_equal(nic(&l, 0, "model"), "e1000");
    assert_string_equal(nic(&l, 0, "mac"), "52:54:00:00:00:01");
    assert_string_equal(nic(&l, 0, "netdev"), back(&l, 0, "id"));
    assert_string_equal(back(&l, 0, "type"), "user");
    assert_null(back(&l, 0, "model"));
    unsigned forwards = 0;
    for (size_t i = 0; i < l.items.data[0].netdev.len; i++)
        forwards += !strcmp(l.items.data[0].netdev.data[i].key, "hostfwd");
    assert_int_equal(forwards, 2);
    assert_string_equal(nic(&l, 1, "netdev"), "lan");
    assert_string_equal(back(&l, 1, "ifname"), "tap3");
    assert_false(l.none);
    assert_int_equal(net_legacy_nic(&l, "none", &e), 0);
    assert_true(l.none);
    net_legacy_free(&l);
}

static void net_option_pairs(void **state)
{
    struct net_legacy l = {0};
    struct err e = {0};
    assert_int_equal(net_legacy_net(&l, "nic,model=virtio,macaddr=52:54:00:00:00:02", &e), 0);
    assert_int_equal(net_legacy_net(&l, "user", &e), 0);
    net_legacy_finish(&l);
    assert_int_equal(l.items.len, 2);
    assert_true(l.items.data[0].has_netdev && l.items.data[1].has_nic);
    assert_string_equal(nic(&l, 1, "netdev"), back(&l, 0, "id"));
    assert_string_equal(nic(&l, 1, "mac"), "52:54:00:00:00:02");
    net_legacy_free(&l);
}

static void net_option_hub(void **state)
{
    struct net_legacy l = {0};
    struct err e = {0};
    assert_int_equal(net_legacy_net(&l, "nic", &e) | net_legacy_net(&l, "nic,netdev=x", &e) |
                         net_legacy_net(&l, "nic,model=rtl8139", &e) |
                         net_legacy_net(&l, "user,id=u", &e),
                     0);
    net_legacy_finish(&l);
    // The NIC with its own netdev; user and its port; two more ports, each before its NIC.
    assert_int_equal(l.items.len, 7);
    assert_string_equal(nic(&l, 0, "netdev"), "x");
    assert_string_equal(back(&l, 1, "id"), "u");
    assert_string_equal(back(&l, 2, "netdev"), "u");
    assert_string_equal(back(&l, 2, "type"), "hubport");
    assert_string_equal(nic(&l, 4, "netdev"), back(&l, 3, "id"));
    assert_string_equal(nic(&l, 6, "netdev"), back(&l, 5, "id"));
    assert_string_equal(nic(&l, 6, "model"), "rtl8139");
    net_legacy_free(&l);
}

static void net_option_errors(void **state)
{
    struct net_legacy l = {0};
    struct err e = {0};
    assert_int_equal(net_legacy_net(&l, "nic,modell=x", &e), -1);
    assert_non_null(strstr(e.msg, "did you mean 'model'"));
    assert_int_equal(net_legacy_net(&l, "", &e), -1);
    assert_int_equal(net_legacy_net(&l, "none", &e), 0);
    assert_true(l.none);
    net_legacy_free(&l);
}

static uint16_t slow_sum(const uint8_t *p, size_t n, uint32_t sum)
{
    for (size_t i = 0; i < n; i++)
        sum += (uint32_t)p[i] << (i & 1 ? 0 : 8);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static void checksums(void **state)
{
    // RFC 1071, section 3.
    static const uint8_t rfc[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    assert_int_equal(net_sum_fold(net_sum(rfc, 8, 0)), 0xddf2);
    uint8_t p[3000];
    for (int round = 0; round < 3000; round++) {
        for (size_t i = 0; i < sizeof p; i++)
            p[i] = (uint8_t)(round < 10 ? 0xff : rand());
        size_t at = (size_t)(rand() % 8), n = (size_t)round % (sizeof p - 8);
        assert_int_equal(net_sum_fold(net_sum(p + at, n, 0)), slow_sum(p + at, n, 0));
    }
}

// A frame of TCP over either IP, its payload counting up.
static size_t large_frame(uint8_t *f, bool v6, bool vlan, unsigned options, size_t payload)
{
    size_t ip = vlan ? 18 : 14, tcp = ip + (v6 ? 40 : 20), head = tcp + 20 + options;
    memset(f, 0, head);
    st_be16(f + 12, vlan ? 0x8100 : v6 ? 0x86dd : 0x0800);
    if (vlan)
        st_be16(f + 16, v6 ? 0x86dd : 0x0800);
    f[ip] = v6 ? 0x60 : 0x45;
    f[v6 ? ip + 6 : ip + 9] = 6;
    for (unsigned i = 0; i < (v6 ? 32 : 8); i++)
        f[ip + (v6 ? 8 : 12) + i] = (uint8_t)(i * 7 + 1);
    st_be16(f + ip + 4, 0xfffe); // IPv4: the identification, which wraps
    st_be32(f + tcp + 4, 0xfffff000);
    f[tcp + 12] = (uint8_t)((20 + options) << 2);
    f[tcp + 13] = 0x99; // CWR ACK PSH FIN
    for (size_t i = 0; i < payload; i++)
        f[head + i] = (uint8_t)(i * 3 + (i >> 8));
    return head + payload;
}

static void segments_add_up(void **state)
{
    static uint8_t f[70000], s[2000];
    for (unsigned kind = 0; kind < 8; kind++) {
        bool v6 = kind & 1, vlan = kind & 2;
        size_t payload = 10000 + kind, len = large_frame(f, v6, vlan, kind & 4 ? 12 : 0, payload);
        size_t ip = vlan ? 18 : 14, tcp = ip + (v6 ? 40 : 20), head = len - payload, done = 0;
        struct net_cut c;
        struct iovec iov[2];
        assert_true(net_cut_begin(&c, f, len, 1448));
        for (unsigned i = 0; net_cut_peek(&c, iov); i++, net_cut_next(&c)) {
            size_t n = iov[1].iov_len;
            bool last = done + n == payload;
            assert_int_equal(iov[0].iov_len, head);
            assert_true(n == 1448 || last);
            memcpy(s, iov[0].iov_base, head);
            memcpy(s + head, iov[1].iov_base, n);
            assert_memory_equal(s + head, f + head + done, n);
            assert_int_equal(ld_be32(s + tcp + 4), 0xfffff000 + (uint32_t)done);
            assert_int_equal(s[tcp + 13], 0x10 | (i ? 0 : 0x80) | (last ? 0x09 : 0));
            if (v6) {
                assert_int_equal(ld_be16(s + ip + 4), head - tcp + n);
            } else {
                assert_int_equal(ld_be16(s + ip + 2), head - ip + n);
                assert_int_equal(ld_be16(s + ip + 4), (uint16_t)(0xfffe + i));
                assert_int_equal(slow_sum(s + ip, 20, 0), 0xffff);
            }
            uint32_t pseudo = slow_sum(s + ip + (v6 ? 8 : 12), v6 ? 32 : 8, 0);
            pseudo += 6 + (uint32_t)(head - tcp + n);
            assert_int_equal(slow_sum(s + tcp, head - tcp + n, pseudo), 0xffff);
            done += n;
        }
        assert_int_equal(done, payload);
    }
}

// What was cut is joined to what it was, with the sum of the pseudo header where the checksum was.
static void joined_again(void **state)
{
    static uint8_t f[70000], s[2000];
    static struct net_join j;
    for (unsigned kind = 0; kind < 8; kind++) {
        bool v6 = kind & 1, vlan = kind & 2;
        size_t payload = kind == 7 ? 64000 : 10000 + kind;
        size_t len = large_frame(f, v6, vlan, kind & 4 ? 12 : 0, payload), head = len - payload;
        size_t ip = vlan ? 18 : 14, tcp = ip + (v6 ? 40 : 20);
        struct net_cut c;
        struct iovec iov[2];
        f[tcp + 13] = 0x18; // PSH ACK
        assert_true(net_cut_begin(&c, f, len, 1448));
        for (unsigned i = 0; net_cut_peek(&c, iov); i++, net_cut_next(&c)) {
            memcpy(s, iov[0].iov_base, head);
            memcpy(s + head, iov[1].iov_base, iov[1].iov_len);
            size_t n = head + iov[1].iov_len;
            assert_true(i ? net_join_add(&j, s, n, NET_FRAME_MAX) : net_join_begin(&j, s, n));
        }
        assert_false(net_join_add(&j, s, head + 1448, NET_FRAME_MAX)); // the push ended it
        net_join_end(&j);
        assert_int_equal(j.segment, 1448);
        assert_int_equal(j.count, (payload + 1447) / 1448);
        assert_int_equal(j.len, len);
        assert_memory_equal(j.frame + head, f + head, payload);
        assert_int_equal(j.frame[tcp + 13], 0x18);
        assert_int_equal(ld_be16(j.frame + ip + (v6 ? 4 : 2)), len - (v6 ? tcp : ip));
        assert_true(v6 || slow_sum(j.frame + ip, 20, 0) == 0xffff);
        struct net_offload o = {
            .csum = true, .csum_start = (uint16_t)tcp, .csum_offset = 16, .segment = 1448};
        assert_true(net_complete_checksum(j.frame, j.len, &o));
        uint32_t pseudo = slow_sum(j.frame + ip + (v6 ? 8 : 12), v6 ? 32 : 8, 0);
        pseudo = slow_sum(NULL, 0, pseudo + 6 + (uint32_t)(len - tcp));
        assert_int_equal(slow_sum(j.frame + tcp, len - tcp, pseudo), 0xffff);
    }
}

// Each reason not to join.
static void not_joined(void **state)
{
    static const struct {
        unsigned at;
        uint8_t flip;
    } differs[] = {{3, 1},  {26, 1}, {30, 1}, {34, 1}, {37, 1},    {41, 1},   {45, 1},
                   {47, 1}, {47, 2}, {48, 1}, {53, 1}, {14, 0x40}, {15, 0xc}, {22, 1}};
    static uint8_t a[2000], b[2000];
    static struct net_join j;
    size_t len = large_frame(a, false, false, 0, 1000);
    a[47] = 0x10;
    st_be16(a + 16, (uint16_t)(len - 14));
    memcpy(b, a, len);
    st_be32(b + 38, ld_be32(a + 38) + 1000);
    assert_true(net_join_begin(&j, a, len));
    assert_true(net_join_add(&j, b, len, NET_FRAME_MAX));
    for (size_t i = 0; i < ARRAY_SIZE(differs); i++) {
        assert_true(net_join_begin(&j, a, len));
        b[differs[i].at] ^= differs[i].flip;
        assert_false(net_join_add(&j, b, len, NET_FRAME_MAX));
        b[differs[i].at] ^= differs[i].flip;
    }
    assert_false(net_join_add(&j, b, len, len + 999)); // larger than wanted
    for (unsigned flags = 0; flags < 256; flags++) {   // only data with an acknowledgement
        a[47] = (uint8_t)flags;
        assert_int_equal(net_join_begin(&j, a, len), (flags & ~8u) == 0x10);
    }
    a[47] = 0x10;
    st_be16(a + 20, 0x2000); // a fragment
    assert_false(net_join_begin(&j, a, len));
    st_be16(a + 20, 0);
    assert_false(net_join_begin(&j, a, len - 1)); // cut short
    assert_int_equal(j.segment, 0);
}

static void bad_offloads(void **state)
{
    static uint8_t f[2000];
    struct net_cut c;
    size_t len = large_frame(f, false, false, 0, 1000);
    assert_true(net_cut_begin(&c, f, len, 100));
    assert_false(net_cut_begin(&c, f, len, 47));
    assert_false(net_cut_begin(&c, f, len, 0));
    for (size_t n = 0; n <= 54; n++)
        assert_false(net_cut_begin(&c, f, n, 100));
    f[23] = 17; // UDP
    assert_false(net_cut_begin(&c, f, len, 100));
    f[23] = 6;
    f[46] = 0x40; // a TCP header of 16 bytes
    assert_false(net_cut_begin(&c, f, len, 100));
    for (int round = 0; round < 100000; round++) { // what begins also ends
        for (int i = 0; i < 60; i++)
            f[i] = (uint8_t)(rand() % 4 ? f[i] : rand());
        struct iovec iov[2];
        struct net_offload o = {true, (uint16_t)rand(), (uint16_t)(rand() % 100), 0};
        net_complete_checksum(f, 60, &o);
        if (!net_cut_begin(&c, f, 54 + (size_t)rand() % 1000, (uint16_t)(rand() % 300)))
            large_frame(f, rand() % 2, rand() % 2, 0, 100);
        else
            for (unsigned n = 0; net_cut_peek(&c, iov); net_cut_next(&c))
                assert_true(++n <= 30);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums),      cmocka_unit_test(segments_add_up),
        cmocka_unit_test(joined_again),   cmocka_unit_test(not_joined),
        cmocka_unit_test(bad_offloads),   cmocka_unit_test(frame_queue_keeps_order),
        cmocka_unit_test(nic_option),     cmocka_unit_test(net_option_pairs),
        cmocka_unit_test(net_option_hub), cmocka_unit_test(net_option_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
