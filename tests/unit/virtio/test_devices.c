// Net, console, serial port and balloon, driven through their queues against back ends that the
// test holds in its hands.
#include "rig.h"

#include "base/bits.h"
#include "chardev/chardev.h"
#include "device/virtio/balloon.h"
#include "device/virtio/console.h"
#include "net/net.h"

#include <sys/socket.h>
#include <unistd.h>

static struct rig rig;

static void attach(struct drv *d, bool pci, const char *type, const char *props)
{
    char line[200];
    snprintf(line, sizeof line, "virtio-%s-%s%s%s", type, pci ? "pci" : "device",
             pci ? ",addr=3,id=x0" : "", props);
    if (!pci)
        rig_mmio_slot(&rig, false);
    rig_device(&rig, line);
    if (pci)
        drv_attach_pci(d, &rig, 0, 3 << 3);
    else
        drv_attach_mmio(d, &rig, MMIO_BASE);
    d->event_idx = true;
}

// --- net: a back end that keeps what it gets and can refuse ---

static struct peer {
    struct netdev n;
    uint8_t frame[NET_FRAME_MAX];
    size_t len;
    unsigned frames;
    bool full;
    unsigned readies;
} peer;

static bool peer_send(struct netdev *n, const struct iovec *iov, unsigned n_iov)
{
    if (peer.full)
        return false;
    peer.len = 0;
    for (unsigned i = 0; i < n_iov; i++) {
        memcpy(peer.frame + peer.len, iov[i].iov_base, iov[i].iov_len);
        peer.len += iov[i].iov_len;
    }
    peer.frames++;
    return true;
}

static void peer_rx_ready(struct netdev *n)
{
    peer.readies++;
}

static const struct netdev_ops peer_ops = {
    .name = "test",
    .send = peer_send,
    .rx_ready = peer_rx_ready,
};

static void *find_peer(const char *id)
{
    return &peer.n;
}

static void start_net(struct drv *d, bool pci, uint64_t features)
{
    rig_init(&rig);
    peer = (struct peer){.n = {.ops = &peer_ops, .id = "n0", .loop = rig.loop, .link_up = true}};
    list_init(&peer.n.link);
    rig.find_backend = find_peer;
    attach(d, pci, "net", ",netdev=n0,mac=52:54:00:01:02:03");
    assert_true(drv_negotiate(d, features));
    for (unsigned i = 0; i < 3; i++)
        drv_ring(d, i, 64);
    drv_ok(d);
}

static void fill(uint8_t *p, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (i * 13 + seed) ^ (i >> 7);
}

static void test_net_send(void **state)
{
    struct drv d;
    uint8_t frame[3000];
    struct done done;
    start_net(&d, true, 1 << 5);
    static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3};
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(drv_cfg(&d, i, 1), mac[i]);
    gpa_t at = rig_alloc(&rig, 4096, 16);
    for (unsigned k = 0; k < 100; k++) {
        size_t len = 14 + k * 29;
        uint8_t hdr[12] = {0};
        fill(frame, len, k);
        rig_write(&rig, at, hdr, 12);
        rig_write(&rig, at + 64, frame, len);
        struct seg out[3] = {{at, 12}, {at + 64, 10}, {at + 74, len - 10}};
        drv_add(&d.rings[1], out, 3, NULL, 0);
        drv_kick(&d.rings[1]);
        assert_true(drv_wait(&d.rings[1], &done));
        assert_int_equal(peer.frames, k + 1);
        assert_int_equal(peer.len, len);
        assert_memory_equal(peer.frame, frame, len);
    }
    peer.full = true; // kept by the device until there is room
    struct seg out[2] = {{at, 12}, {at + 64, 60}};
    drv_add(&d.rings[1], out, 2, NULL, 0);
    drv_kick(&d.rings[1]);
    rig_spin(&rig);
    assert_false(drv_poll(&d.rings[1], &done));
    peer.full = false;
    netdev_can_send(&peer.n);
    assert_true(drv_wait(&d.rings[1], &done));
    assert_int_equal(peer.frames, 101);
    rig_free(&rig);
}

// The driver leaves checksum and segmentation to the device.
static void test_net_offload(void **state)
{
    struct drv d;
    struct done done;
    uint8_t f[12 + 54 + 3000] = {1, 1, 54, 0, 0xe8, 3, 34, 0, 16, 0}; // TCPv4, segments of 1000
    uint8_t *eth = f + 12, *ip = eth + 14, *tcp = ip + 20;
    start_net(&d, true, 1 << 0 | 1 << 1 | 1 << 5 | 1 << 11);
    fill(f + 66, 3000, 7);
    st_be16(eth + 12, 0x0800);
    ip[0] = 0x45;
    ip[9] = 6;
    st_be16(ip + 2, 20 + 20 + 3000);
    tcp[12] = 0x50;
    st_be32(tcp + 4, 5000);
    gpa_t at = rig_alloc(&rig, 4096, 16);
    struct seg out[2] = {{at, 12}, {at + 12, sizeof f - 12}};
    rig_write(&rig, at, f, sizeof f);
    drv_add(&d.rings[1], out, 2, NULL, 0);
    drv_kick(&d.rings[1]);
    assert_true(drv_wait(&d.rings[1], &done));
    assert_int_equal(peer.frames, 3);
    assert_int_equal(peer.len, 54 + 1000);
    assert_int_equal(ld_be32(peer.frame + 38), 5000 + 2000);
    assert_memory_equal(peer.frame + 54, f + 66 + 2000, 1000);
    uint32_t sum = 6 + 1020; // pseudo header; the addresses are 0
    for (unsigned i = 34; i < 54 + 1000; i += 2)
        sum += ld_be16(peer.frame + i);
    sum = (sum & 0xffff) + (sum >> 16);
    assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
    f[1] = 4; // TCPv6 segmentation was not negotiated: dropped, the device goes on
    rig_write(&rig, at, f, sizeof f);
    drv_add(&d.rings[1], out, 2, NULL, 0);
    drv_kick(&d.rings[1]);
    assert_true(drv_wait(&d.rings[1], &done));
    assert_int_equal(peer.frames, 3);
    assert_int_equal(drv_status(&d), 15);
    // Checksums known to be right are said to be.
    uint8_t hdr[12], frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    for (unsigned valid = 0; valid < 2; valid++) {
        struct seg in = {at, 2048};
        peer.n.rx_checked = valid;
        drv_add(&d.rings[0], NULL, 0, &in, 1);
        drv_kick(&d.rings[0]);
        rig_spin(&rig);
        assert_true(netdev_deliver(&peer.n, frame, sizeof frame));
        assert_true(drv_wait(&d.rings[0], &done));
        rig_read(&rig, at, hdr, 12);
        assert_int_equal(hdr[0], valid ? 2 : 0);
    }
    free(peer.n.segments);
    rig_free(&rig);
}

static void test_net_receive(void **state)
{
    for (unsigned merge = 0; merge < 2; merge++) {
        struct drv d;
        struct done done;
        uint8_t frame[4000], got[4100], hdr[12];
        start_net(&d, merge, 1 << 5 | (merge ? 1 << 15 : 0));
        fill(frame, sizeof frame, 1);
        memset(frame, 0xff, 6);
        gpa_t at = rig_alloc(&rig, 65536, 4096);
        assert_false(netdev_deliver(&peer.n, frame, 1500)); // no buffers: wait
        uint16_t ids[8];
        for (unsigned i = 0; i < 8; i++) {
            struct seg in = {at + i * 8192, merge ? 1024 : 2048};
            ids[i] = drv_add(&d.rings[0], NULL, 0, &in, 1);
        }
        drv_kick(&d.rings[0]);
        rig_spin(&rig);
        assert_true(peer.readies > 0);
        assert_true(netdev_deliver(&peer.n, frame, merge ? 4000 : 1500));
        unsigned n = merge ? 4 : 1;
        size_t have = 0;
        for (unsigned i = 0; i < n; i++) {
            assert_true(drv_wait(&d.rings[0], &done));
            assert_int_equal(done.id, ids[i]);
            unsigned skip = i ? 0 : 12;
            rig_read(&rig, at + i * 8192, hdr, 12);
            if (!i)
                assert_int_equal(ld_le16(hdr + 10), n);
            rig_read(&rig, at + i * 8192 + skip, got + have, done.len - skip);
            have += done.len - skip;
        }
        assert_int_equal(have, merge ? 4000 : 1500);
        assert_memory_equal(got, frame, have);
        assert_false(drv_poll(&d.rings[0], &done));
        if (!merge) { // too long for one buffer: dropped, and the buffer is used for the next
            assert_true(netdev_deliver(&peer.n, frame, 4000));
            assert_false(drv_poll(&d.rings[0], &done));
            assert_true(netdev_deliver(&peer.n, frame, 60));
            assert_true(drv_wait(&d.rings[0], &done));
            assert_int_equal(done.len, 72);
        }
        assert_int_equal(drv_status(&d), 15);
        rig_free(&rig);
    }
}

static uint8_t net_command(struct drv *d, const void *cmd, size_t len)
{
    gpa_t at = rig_alloc(&rig, 512, 16);
    struct seg out = {at, len}, in = {at + 500, 1};
    struct done done;
    uint8_t ack = 0xee;
    rig_write(&rig, at, cmd, len);
    drv_add(&d->rings[2], &out, 1, &in, 1);
    drv_kick(&d->rings[2]);
    assert_true(drv_wait(&d->rings[2], &done));
    rig_read(&rig, at + 500, &ack, 1);
    return ack;
}

static bool arrives(struct drv *d, const uint8_t *dst)
{
    uint8_t frame[60] = {0};
    struct done done;
    memcpy(frame, dst, 6);
    assert_true(netdev_deliver(&peer.n, frame, sizeof frame));
    return drv_poll(&d->rings[0], &done);
}

static void test_net_filter(void **state)
{
    struct drv d;
    const uint8_t ours[6] = {0x52, 0x54, 0, 1, 2, 3}, other[6] = {2, 0, 0, 0, 0, 9};
    const uint8_t group[6] = {1, 0, 0x5e, 0, 0, 1}, all[6] = {255, 255, 255, 255, 255, 255};
    start_net(&d, true, 1 << 5 | 1 << 17 | 1 << 18 | 1 << 20 | 1 << 23);
    gpa_t at = rig_alloc(&rig, 65536, 4096);
    for (unsigned i = 0; i < 32; i++) {
        struct seg in = {at + i * 2048, 2048};
        drv_add(&d.rings[0], NULL, 0, &in, 1);
    }
    drv_kick(&d.rings[0]);
    assert_true(arrives(&d, other)); // promiscuous until told
    assert_int_equal(net_command(&d, "\0\0\0", 3), 0);
    assert_false(arrives(&d, other));
    assert_true(arrives(&d, ours));
    assert_true(arrives(&d, all));
    assert_false(arrives(&d, group));
    const uint8_t table[] = {1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 9, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 1};
    assert_int_equal(net_command(&d, table, sizeof table), 0);
    assert_true(arrives(&d, other));
    assert_true(arrives(&d, group));
    const uint8_t lying[] = {1, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9};
    assert_int_equal(net_command(&d, lying, sizeof lying), 1);
    const uint8_t mac[] = {1, 1, 2, 0, 0, 0, 0, 7};
    assert_int_equal(net_command(&d, mac, sizeof mac), 0);
    assert_int_equal(drv_cfg(&d, 5, 1), 7);
    assert_int_equal(net_command(&d, "\x40\0", 2), 1);
    rig_free(&rig);
}

static void test_net_link(void **state)
{
    struct drv d;
    start_net(&d, true, 1 << 5 | 1 << 16);
    assert_int_equal(drv_cfg(&d, 6, 2), 1);
    netdev_set_link(&peer.n, false);
    assert_int_equal(drv_cfg(&d, 6, 2), 0);
    assert_int_equal(rig.msi[0], 1);
    netdev_set_link(&peer.n, true);
    assert_int_equal(drv_cfg(&d, 6, 2), 1);
    rig_free(&rig);
}

// --- console and serial ports: back ends on socket pairs ---

static struct chardev *chr[2];
static int far_end[2];

static void *find_chr(const char *id)
{
    return chr[id[1] - '0'];
}

static void open_chr(unsigned i)
{
    struct err e = {0};
    struct opts o = {0};
    char line[100];
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    snprintf(line, sizeof line, "socket,id=c%u,fd=%d", i, pair[0]);
    assert_int_equal(opts_parse(&o, line, "backend", &e), 0);
    chr[i] = chardev_open(&o, rig.loop, &e);
    if (!chr[i])
        fail_msg("%s", e.msg);
    opts_free(&o);
    far_end[i] = pair[1];
}

static bool take_message(struct drv *d, uint32_t *port, uint16_t *event, uint16_t *value,
                         char *more, size_t max)
{
    struct ring *q = &d->rings[2];
    struct done done;
    uint8_t raw[128] = {0};
    if (!drv_wait(q, &done))
        return false;
    uint8_t desc[16];
    rig_read(&rig, q->desc + 16 * done.id, desc, 16);
    rig_read(&rig, ld_le64(desc), raw, done.len);
    *port = ld_le32(raw);
    *event = ld_le16(raw + 4);
    *value = ld_le16(raw + 6);
    memcpy(more, raw + 8, MIN(max, sizeof raw - 8));
    return true;
}

static void send_control(struct drv *d, uint32_t port, uint16_t event, uint16_t value)
{
    uint8_t raw[8];
    gpa_t at = rig_alloc(&rig, 8, 8);
    struct seg out = {at, 8};
    struct done done;
    st_le32(raw, port);
    st_le16(raw + 4, event);
    st_le16(raw + 6, value);
    rig_write(&rig, at, raw, 8);
    drv_add(&d->rings[3], &out, 1, NULL, 0);
    drv_kick(&d->rings[3]);
    assert_true(drv_wait(&d->rings[3], &done));
}

static void expect(struct drv *d, uint32_t port, uint16_t event, uint16_t value, const char *text)
{
    uint32_t p;
    uint16_t e, v;
    char more[100] = {0};
    assert_true(take_message(d, &p, &e, &v, more, sizeof more));
    assert_int_equal(e, event);
    assert_int_equal(p, port);
    assert_int_equal(v, value);
    if (text)
        assert_string_equal(more, text);
}

static void start_serial(struct drv *d, bool pci, struct device **console)
{
    rig_init(&rig);
    rig.find_backend = find_chr;
    open_chr(0);
    open_chr(1);
    attach(d, pci, "serial", "");
    *console = rig_device(&rig, "virtconsole,chardev=c0");
    rig_device(&rig, "virtserialport,chardev=c1,name=org.test.0,id=ch1");
    assert_true(drv_negotiate(d, 3));
    for (unsigned i = 0; i < 6; i++)
        drv_ring(d, i, 32);
    drv_ok(d);
    gpa_t at = rig_alloc(&rig, 32 * 128, 16);
    for (unsigned i = 0; i < 30; i++) {
        struct seg in = {at + i * 128, 128};
        drv_add(&d->rings[2], NULL, 0, &in, 1);
    }
    drv_kick(&d->rings[2]);
}

static void stop_serial(void)
{
    device_tree_free(&rig.tree);
    device_tree_init(&rig.tree, &rig.env);
    for (unsigned i = 0; i < 2; i++) {
        chardev_close(chr[i]);
        close(far_end[i]);
    }
    rig_free(&rig);
}

static void test_serial(void **state)
{
    for (unsigned pci = 0; pci < 2; pci++) {
        struct drv d;
        struct done done;
        struct device *console;
        char text[100] = {0};
        start_serial(&d, pci, &console);
        assert_int_equal(drv_cfg(&d, 4, 4), 31);
        send_control(&d, ~0u, 0, 1);
        expect(&d, 0, 1, 1, NULL);
        expect(&d, 1, 1, 1, NULL);
        send_control(&d, 0, 3, 1);
        expect(&d, 0, 4, 1, NULL);
        expect(&d, 0, 6, 1, NULL);
        send_control(&d, 1, 3, 1);
        expect(&d, 1, 7, 1, "org.test.0");
        expect(&d, 1, 6, 1, NULL);
        // To the back end, on both ports.
        gpa_t at = rig_alloc(&rig, 4096, 16);
        rig_write(&rig, at, "hello", 5);
        struct seg out[2] = {{at, 2}, {at + 2, 3}};
        drv_add(&d.rings[1], out, 2, NULL, 0);
        drv_kick(&d.rings[1]);
        assert_true(drv_wait(&d.rings[1], &done));
        rig_spin(&rig);
        assert_int_equal(recv(far_end[0], text, sizeof text, MSG_DONTWAIT), 5);
        assert_memory_equal(text, "hello", 5);
        // From the back end: nothing moves before the port is open and has buffers.
        assert_int_equal(write(far_end[1], "abcdefgh", 8), 8);
        rig_spin(&rig);
        send_control(&d, 1, 6, 1);
        rig_spin(&rig);
        assert_false(drv_poll(&d.rings[4], &done));
        struct seg in[2] = {{at + 1024, 5}, {at + 2048, 16}};
        drv_add(&d.rings[4], NULL, 0, &in[0], 1);
        drv_add(&d.rings[4], NULL, 0, &in[1], 1);
        drv_kick(&d.rings[4]);
        assert_true(drv_wait(&d.rings[4], &done));
        assert_int_equal(done.len, 5);
        assert_true(drv_wait(&d.rings[4], &done));
        assert_int_equal(done.len, 3);
        rig_read(&rig, at + 1024, text, 5);
        rig_read(&rig, at + 2048, text + 5, 3);
        assert_memory_equal(text, "abcdefgh", 8);
        virtio_console_resize(console, 132, 43);
        expect(&d, 0, 5, 0, "\x2b");
        send_control(&d, 77, 6, 1); // no such port: counted, nothing else
        assert_int_equal(drv_status(&d), 15);
        // The peer goes away: the guest is told.
        close(far_end[1]);
        far_end[1] = -1;
        expect(&d, 1, 6, 0, NULL);
        stop_serial();
    }
}

// A back end that takes nothing holds up the queue, and loses nothing.
static void test_serial_backpressure(void **state)
{
    struct drv d;
    struct done done;
    struct device *console;
    start_serial(&d, true, &console);
    enum { PIECE = 65536, PIECES = 30 };
    gpa_t at = rig_alloc(&rig, PIECE, 4096);
    static uint8_t data[PIECE], got[PIECE];
    fill(data, sizeof data, 5);
    rig_write(&rig, at, data, sizeof data);
    struct seg out = {at, PIECE};
    for (unsigned i = 0; i < PIECES; i++)
        drv_add(&d.rings[1], &out, 1, NULL, 0);
    drv_kick(&d.rings[1]);
    rig_spin(&rig);
    unsigned done_early = 0;
    while (drv_poll(&d.rings[1], &done))
        done_early++;
    assert_true(done_early < PIECES);
    uint64_t total = 0;
    for (unsigned i = 0; i < 100000 && total < (uint64_t)PIECE * PIECES; i++) {
        size_t want = PIECE - total % PIECE;
        ssize_t n = recv(far_end[0], got, want, MSG_DONTWAIT);
        if (n > 0) {
            assert_memory_equal(got, data + total % PIECE, n);
            total += n;
        }
        loop_run_once(rig.loop, 0);
    }
    assert_int_equal(total, PIECE * PIECES);
    stop_serial();
}

// --- balloon ---

static void test_balloon(void **state)
{
    struct drv d;
    struct done done;
    rig_init(&rig);
    attach(&d, true, "balloon", ",free-page-reporting=on");
    struct device *b = device_find(&rig.tree, "x0")->inner;
    assert_true(device_is_balloon(b));
    assert_true(drv_negotiate(&d, 1 << 1 | 1 << 5));
    for (unsigned i = 0; i < 4; i++)
        drv_ring(&d, i, 16);
    drv_ok(&d);
    balloon_set_target(b, RAM_SIZE, RAM_SIZE - 8 * MiB);
    assert_int_equal(drv_cfg(&d, 0, 4), 2048);
    assert_int_equal(rig.msi[0], 1);
    uint8_t page[4096], now[4096], zero[4096] = {0}, pfns[12];
    gpa_t victim = RAM_BASE + 48 * MiB, at = rig_alloc(&rig, 64, 16);
    memset(page, 0x5a, sizeof page);
    for (unsigned i = 0; i < 4; i++)
        rig_write(&rig, victim + 4096 * i, page, 4096);
    st_le32(pfns, victim / 4096);
    st_le32(pfns + 4, 1); // not RAM: ignored
    st_le32(pfns + 8, victim / 4096 + 2);
    rig_write(&rig, at, pfns, sizeof pfns);
    struct seg out = {at, sizeof pfns};
    drv_add(&d.rings[0], &out, 1, NULL, 0);
    drv_kick(&d.rings[0]);
    assert_true(drv_wait(&d.rings[0], &done));
    for (unsigned i = 0; i < 4; i++) {
        rig_read(&rig, victim + 4096 * i, now, 4096);
        assert_memory_equal(now, i % 2 ? page : zero, 4096);
    }
    drv_cfg_out(&d, 4, 4, 2);
    assert_int_equal(balloon_held(b), 8192);
    struct seg free_pages = {victim + 4096, 4096};
    drv_add(&d.rings[3], NULL, 0, &free_pages, 1);
    drv_kick(&d.rings[3]);
    assert_true(drv_wait(&d.rings[3], &done));
    rig_read(&rig, victim + 4096, now, 4096);
    assert_memory_equal(now, zero, 4096);
    uint8_t stats[20];
    st_le16(stats, 4);
    st_le64(stats + 2, 12345);
    st_le16(stats + 10, 999); // unknown: ignored
    st_le64(stats + 12, 1);
    rig_write(&rig, at, stats, sizeof stats);
    struct seg s = {at, sizeof stats};
    drv_add(&d.rings[2], &s, 1, NULL, 0);
    drv_kick(&d.rings[2]);
    rig_spin(&rig);
    assert_false(drv_poll(&d.rings[2], &done)); // kept until asked again
    struct balloon_stats got;
    balloon_get_stats(b, &got);
    assert_int_equal(got.value[4], 12345);
    assert_true(got.value[5] == UINT64_MAX && got.updated > 0);
    rig_free(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_net_send),
        cmocka_unit_test(test_net_offload),
        cmocka_unit_test(test_net_receive),
        cmocka_unit_test(test_net_filter),
        cmocka_unit_test(test_net_link),
        cmocka_unit_test(test_serial),
        cmocka_unit_test(test_serial_backpressure),
        cmocka_unit_test(test_balloon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
