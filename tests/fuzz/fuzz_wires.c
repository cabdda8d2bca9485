// What comes over the wire or from the operator to the character and network back ends and the gdb
// stub: telnet, gdb packets, framed Ethernet, frames into the user-mode network, option strings.
#include "mutate.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "../unit/gdb/fake.h"
#include "chardev/telnet.h"
#include "gdb/stub.h"
#include "net/legacy.h"
#include "net/net.h"

static struct loop *loop;

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "failed: %s\n", what);
    abort();
}

static void one_line(const struct err *e)
{
    must(e->msg[0] && !strchr(e->msg, '\n'), "an error is one line");
}

static char *as_text(const uint8_t *p, size_t n)
{
    char *s = xalloc(n + 1);
    memcpy(s, p, n);
    return s;
}

// Telnet.

static const struct seed telnet_seeds[] = {
    SEED("\377\375\001\377\375\003\377\373\000\377\375\000ls -l\r\0"),
    SEED("\377\372\030\000xterm\377\360\377\372\037\000\120\000\030\377\360"),
    SEED("a\377\377b\377\363\377\364\377\366\377\367\r\n"),
};

static void run_telnet(const uint8_t *p, size_t n)
{
    struct telnet t;
    uint8_t in[MUTATE_MAX], out[512];
    telnet_start(&t);
    for (size_t at = 0; at < n;) {
        size_t k = MIN(n - at, (size_t)mutate_rand(64) + 1);
        memcpy(in, p + at, k);
        must(telnet_decode(&t, in, k) <= k, "decoding does not grow");
        must(t.reply_len <= sizeof t.reply, "the reply is bounded");
        if (mutate_rand(2))
            t.reply_len = 0;
        size_t took = k, len = telnet_encode(in, &took, out, sizeof out);
        must(took <= k && len <= sizeof out, "encoding is bounded");
        at += k;
    }
}

// gdb packets: mutated payloads, most of them with a right checksum.

static const struct seed gdb_seeds[] = {
    SEED("?"),
    SEED("g"),
    SEED("p20"),
    SEED("P1=efbeadde00000000"),
    SEED("m1000,40"),
    SEED("M1000,2:beef"),
    SEED("X2000,4:}\003}]zz"),
    SEED("Z0,4000,4"),
    SEED("z0,4000,4"),
    SEED("Z2,9000,8"),
    SEED("vCont;c:1;s:2;t"),
    SEED("vCont;C05:-1"),
    SEED("c3000"),
    SEED("s"),
    SEED("Hg2"),
    SEED("Hc-1"),
    SEED("T1"),
    SEED("qfThreadInfo"),
    SEED("qsThreadInfo"),
    SEED("qThreadExtraInfo,1"),
    SEED("qXfer:features:read:core.xml:10,200"),
    SEED("qRcmd,696e666f"),
    SEED("qSupported:xmlRegisters=i386"),
    SEED("QStartNoAckMode"),
    SEED("D"),
    SEED("Qqemu.PhyMemMode:1"),
    SEED("G0011223344556677"),
};

static struct fake *gdb_fake(void)
{
    static struct fake *f;
    if (!f) {
        struct opts o = {0};
        struct err e = {0};
        f = fake_new(loop);
        opts_set(&o, "backend", "null");
        struct chardev *c = chardev_open(&o, loop, &e);
        opts_free(&o);
        f->stub = gdb_stub_new(c, &fake_ops, f, &e);
        loop_run_once(loop, 0);
    }
    return f;
}

static void run_gdb(const uint8_t *p, size_t n)
{
    struct fake *f = gdb_fake();
    uint8_t packet[MUTATE_MAX + 4], sum = 0;
    char tail[4];
    f->stub->attached = true; // after a D, as if the next debugger had come
    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + p[i]);
    snprintf(tail, sizeof tail, "#%02x", mutate_rand(20) ? sum : (unsigned)mutate_rand(256));
    packet[0] = '$';
    memcpy(packet + 1, p, n);
    memcpy(packet + 1 + n, tail, 3);
    gdb_receive(f->stub, packet, n + 4 - (mutate_rand(50) == 0));
    if (mutate_rand(4) == 0)
        gdb_receive(f->stub, (const uint8_t *)"\003", 1);
    loop_run_once(loop, 0);
    must(f->stub->points.len == fake_n_points(f), "the stub knows its breakpoints");
}

// Length-prefixed frames over a socket.

static const struct seed framed_seeds[] = {
    SEED("\0\0\0\16"
         "\377\377\377\377\377\377RT\0\22\0\1\10\6"),
    SEED("\0\0\0\20"
         "\377\377\377\377\377\377RT\0\22\0\1\10\6xx\0\0\0\0\0\0\0\1y"),
};

static bool nic_receive(void *nic, const uint8_t *frame, size_t len)
{
    must(len >= NET_FRAME_MIN && len <= NET_FRAME_MAX, "a frame has a frame's length");
    return mutate_rand(8);
}
static void nic_nothing(void *nic) {}
static const struct nic_ops nic = {.receive = nic_receive, .can_send = nic_nothing};

static struct netdev *open_net(const char *text)
{
    struct opts o = {0};
    struct err e = {0};
    must(!opts_parse(&o, text, "type", &e), "the options parse");
    struct netdev *n = netdev_open(&o, loop, &e);
    opts_free(&o);
    must(n && !netdev_attach(n, &nic, NULL, &e), "the netdev opens");
    return n;
}

static void run_framed(const uint8_t *p, size_t n)
{
    static struct netdev *dev;
    static int peer = -1;
    uint8_t drop[64];
    if (peer >= 0 && recv(peer, drop, sizeof drop, MSG_DONTWAIT) == 0) { // it hung up on us
        close(peer);
        netdev_close(dev);
        peer = -1;
    }
    if (peer < 0) {
        int pair[2];
        char text[64];
        must(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "a socket pair");
        snprintf(text, sizeof text, "socket,id=a,fd=%d", pair[0]);
        dev = open_net(text);
        peer = pair[1];
    }
    send(peer, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    for (int i = 0; i < 3; i++) {
        loop_run_once(loop, 0);
        netdev_rx_ready(dev);
    }
}

// Frames of a guest into the user-mode network, which must stay on its feet.

static const struct seed frame_seeds[] = {
    SEED("RU\12\0\2\2RT\0\22\64\126\10\0E\0\0\50\0\0\0\0@\6\0\0\12\0\2\17\12\0\2\2"
         "\234@\0\1\0\0\3\350\0\0\0\0P\2\377\377\0\0\0\0"),
    SEED("\377\377\377\377\377\377RT\0\22\64\126\10\6\0\1\10\0\6\4\0\1RT\0\22\64\126\12\0\2\17"
         "\0\0\0\0\0\0\12\0\2\2"),
    SEED("RU\12\0\2\2RT\0\22\64\126\10\0E\0\0\44\0\0\0\0@\21\0\0\12\0\2\17\12\0\2\2"
         "\0E\0E\0\20\0\0\0\1boot\0octet\0"),
    SEED("RU\12\0\2\2RT\0\22\64\126\10\0E\0\0\54\0\7\40\0@\21\0\0\12\0\2\17\12\0\2\2"
         "\0E\0E\0\50\0\0\0\1boot\0octet\0abcd"),
    SEED("RU\12\0\2\2RT\0\22\64\126\10\0E\0\0\34\0\7\0\3@\21\0\0\12\0\2\17\12\0\2\2"
         "the end."),
    SEED("33\0\0\0\1RT\0\22\64\126\206\335`\0\0\0\0\30:\377\376\200\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
         "\377\2\0\0\0\0\0\0\0\0\0\0\0\0\0\1\207\0\0\0\0\0\0\0\376\200\0\0\0\0\0\0"),
};

static void run_user(const uint8_t *p, size_t n)
{
    static struct netdev *dev;
    static unsigned age;
    if (!dev || ++age % 5000 == 0) {
        netdev_close(dev);
        dev = open_net("user,id=u,restrict=on");
    }
    // With a right IP header checksum more gets past the first check.
    uint8_t f[MUTATE_MAX];
    memcpy(f, p, n);
    if (n >= 34 && mutate_rand(4)) {
        uint32_t sum = 0;
        st_be16(f + 24, 0);
        st_be16(f + 16, (uint16_t)(mutate_rand(8) ? n - 14 : mutate_rand(65536)));
        for (unsigned i = 14; i < 34; i += 2)
            sum += ld_be16(f + i);
        sum = (sum & 0xffff) + (sum >> 16);
        st_be16(f + 24, (uint16_t) ~((sum & 0xffff) + (sum >> 16)));
    }
    struct iovec iov = {f, n};
    netdev_send(dev, &iov, 1);
    loop_run_once(loop, 0);
}

// Option strings. Only what opens nothing on the host but sockets.

static const struct seed option_seeds[] = {
    SEED("id=a,net=10.0.2.0/24,hostfwd=tcp::0-:22,dns=10.0.2.3,hostname=h"),
    SEED("id=b,hostfwd=udp:127.0.0.1:0-10.0.2.15:53,restrict=on,ipv6=off"),
    SEED("id=c,ipv6-net=fec0::/64,ipv6-host=fec0::2,dnssearch=a.org,dnssearch=b.org"),
    SEED("id=d,dhcpstart=10.0.2.9,domainname=x,tftp=/tmp,bootfile=b,net=192.168.0.0/255.255.0.0"),
    SEED("{\"id\":\"e\",\"hostfwd\":[{\"str\":\"tcp::0-:22\"}]}"),
};

static void run_options(const uint8_t *p, size_t n)
{
    char *text = as_text(p, n);
    struct opts o = {0};
    struct err e = {0};
    if (opts_parse(&o, text, NULL, &e)) {
        one_line(&e);
    } else {
        opts_set(&o, "type", "user");
        struct netdev *dev = netdev_open(&o, loop, &e);
        if (!dev)
            one_line(&e);
        netdev_close(dev);
    }
    opts_free(&o);
    free(text);
}

static const struct seed legacy_seeds[] = {
    SEED("mon:stdio"),
    SEED("telnet:127.0.0.1:5000,server,nowait"),
    SEED("unix:/p,server=on,wait=off"),
    SEED("tcp:[::1]:80,reconnect=1"),
    SEED("udp:h:1@:2"),
    SEED("file:/tmp/x"),
    SEED("pty"),
    SEED("none"),
    SEED("nic,model=e1000,macaddr=52:54:00:12:34:56"),
    SEED("user,hostfwd=tcp::1-:2,model=virtio"),
};

static void run_legacy(const uint8_t *p, size_t n)
{
    char *text = as_text(p, n);
    struct opts o = {0};
    struct err e = {0}, e2 = {0}, e3 = {0};
    struct net_legacy l = {0};
    bool mux;
    if (chardev_opts_from_legacy(text, &o, &mux, &e))
        one_line(&e);
    if (net_legacy_nic(&l, text, &e2))
        one_line(&e2);
    if (net_legacy_net(&l, text, &e3))
        one_line(&e3);
    net_legacy_finish(&l);
    net_legacy_free(&l);
    opts_free(&o);
    free(text);
}

#define TARGET(name_)                                                                              \
    {                                                                                              \
#name_, name_##_seeds, ARRAY_SIZE(name_##_seeds), run_##name_                              \
    }
#define WITH(name_, seeds_)                                                                        \
    {                                                                                              \
#name_, seeds_, ARRAY_SIZE(seeds_), run_##name_                                            \
    }

int main(int argc, char **argv)
{
    static const struct fuzz_target targets[] = {
        TARGET(framed), TARGET(gdb),
        TARGET(legacy), WITH(options, option_seeds),
        TARGET(telnet), WITH(user, frame_seeds),
    };
    loop = loop_new("fuzz");
    // Warnings about peers that break the protocol are what is expected here.
    if (!freopen("/dev/null", "w", stdout))
        return 1;
    return fuzz_main(argc, argv, targets, ARRAY_SIZE(targets));
}
