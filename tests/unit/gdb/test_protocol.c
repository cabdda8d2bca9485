// The stub's packets, byte by byte over a socket pair, against a fake machine. Checksums are worked
// out here, not by the stub.
#include "fake.h"

#include <fcntl.h>
#include <sys/socket.h>

static struct loop *loop;
static struct fake *fake;
static int peer;
static bool ack;

static void send_raw(const void *p, size_t n)
{
    assert_int_equal(write(peer, p, n), n);
    for (int i = 0; i < 5; i++)
        loop_run_once(loop, 0);
}

static void send_packet(const char *text, size_t n)
{
    char p[40000];
    uint8_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + (uint8_t)text[i]);
    p[0] = '$';
    memcpy(p + 1, text, n);
    sprintf(p + 1 + n, "#%02x", sum);
    send_raw(p, n + 4);
}

static char received[70000];

// All that has arrived, once something has.
static const char *collect(void)
{
    size_t n = 0;
    int64_t end = host_monotonic_ns() + 5000000000ll;
    while (host_monotonic_ns() < end) {
        ssize_t r = read(peer, received + n, sizeof received - 1 - n);
        if (r > 0)
            n += (size_t)r;
        else if (n > 1 && n > 3 && received[n - 3] == '#')
            break;
        loop_run_once(loop, 1);
    }
    received[n] = 0;
    return received;
}

// The payload of the one packet that answers; its checksum and the ack before it are checked.
static const char *answer(void)
{
    char *p = (char *)collect();
    if (ack) {
        assert_int_equal(p[0], '+');
        p++;
    }
    assert_int_equal(p[0], '$');
    char *hash = strrchr(p, '#');
    assert_non_null(hash);
    uint8_t sum = 0;
    for (char *q = p + 1; q < hash; q++)
        sum = (uint8_t)(sum + (uint8_t)*q);
    assert_int_equal(strtoul(hash + 1, NULL, 16), sum);
    *hash = 0;
    return p + 1;
}

static const char *ask(const char *text)
{
    send_packet(text, strlen(text));
    return answer();
}

#define EXPECT(question, reply) assert_string_equal(ask(question), reply)

static int connect_stub(void **state)
{
    char spec[64];
    int pair[2];
    struct opts o = {0};
    struct err e = {0};
    loop = loop_new("test");
    fake = fake_new(loop);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        return -1;
    peer = pair[1];
    fcntl(peer, F_SETFL, O_NONBLOCK);
    snprintf(spec, sizeof spec, "socket,id=gdb,fd=%d", pair[0]);
    if (opts_parse(&o, spec, "backend", &e))
        return -1;
    struct chardev *c = chardev_open(&o, loop, &e);
    opts_free(&o);
    fake->stub = c ? gdb_stub_new(c, &fake_ops, fake, &e) : NULL;
    for (int i = 0; i < 5; i++)
        loop_run_once(loop, 0);
    ack = true;
    return fake->stub ? 0 : -1;
}

static int disconnect_stub(void **state)
{
    if (peer >= 0)
        close(peer);
    fake_free(fake);
    loop_free(loop);
    return 0;
}

static void attaching_stops(void **state)
{
    assert_int_equal(fake->stops, 1);
    assert_false(fake->running);
    assert_true(gdb_stub_attached(fake->stub));
    EXPECT("?", "T05thread:01;");
}

static void negotiation(void **state)
{
    const char *s = ask("qSupported:multiprocess+;swbreak+;hwbreak+;qRelocInsn+");
    assert_non_null(strstr(s, "PacketSize=4000"));
    assert_non_null(strstr(s, "qXfer:features:read+"));
    assert_non_null(strstr(s, "QStartNoAckMode+"));
    EXPECT("vMustReplyEmpty", "");
    EXPECT("vCont?", "vCont;c;C;s;S;t");
    EXPECT("QStartNoAckMode", "OK");
    ack = false;
    EXPECT("qAttached", "1");
    EXPECT("", "");
    EXPECT("qTStatus", "");
}

static void acknowledgement(void **state)
{
    EXPECT("qC", "QC01");
    send_raw("-", 1); // did not get that
    ack = false;
    assert_string_equal(answer(), "QC01");
    send_raw("$qC#00", 6); // wrong sum
    loop_run_once(loop, 0);
    char c[4];
    assert_int_equal(read(peer, c, sizeof c), 1);
    assert_int_equal(c[0], '-');
    send_raw("$qC#zz", 6);
    assert_int_equal(read(peer, c, sizeof c), 1);
    assert_int_equal(c[0], '-');
}

static void registers(void **state)
{
    const char *all = ask("g");
    assert_int_equal(strlen(all), 33 * 16 + 8);
    assert_memory_equal(all, "00100000000000000110000000000000", 32);
    assert_memory_equal(all + 32 * 16, "0010000000000000c5030000", 24);
    EXPECT("p20", "0010000000000000");
    EXPECT("p21", "c5030000");
    EXPECT("p99", "E14");
    EXPECT("p", "E14");
    EXPECT("P1=efbeadde00000000", "OK");
    assert_int_equal(fake->regs[0][1], 0xdeadbeef);
    EXPECT("P1=ef", "E22");
    EXPECT("P99=ef", "E22");
    EXPECT("Hg3", "OK");
    EXPECT("p0", "0030000000000000");
    EXPECT("G44", "E22");
    char g[2048] = "G";
    for (int i = 0; i < 34; i++)
        sprintf(g + strlen(g), i == 33 ? "%02x000000" : "%02x00000000000000", i);
    EXPECT(g, "OK");
    for (unsigned i = 0; i < 34; i++)
        assert_int_equal(fake->regs[2][i], i);
    EXPECT("Hg4", "E22");
    EXPECT("Hg0", "OK");
    EXPECT("Hx1", "E22");
}

static void memory(void **state)
{
    EXPECT("m1000,4", "1f2003d5");
    EXPECT("m1000,0", "");
    EXPECT("m10000,4", "E14");
    EXPECT("mfffe,4", "03d5"); // as far as it goes
    EXPECT("m1000", "E22");
    EXPECT("M1000,2:beef", "OK");
    EXPECT("m1000,4", "beef03d5");
    EXPECT("M1000,2:be", "E22");
    EXPECT("M1ffff,1:00", "E14");
    EXPECT("X2000,0:", "OK");
    send_packet("X2000,4:}\x03"
                "}]z\0",
                14);
    assert_string_equal(answer(), "OK");
    assert_memory_equal(fake->mem + 0x2000, "#}z\0", 4);
    EXPECT("qqemu.PhyMemMode", "0");
    EXPECT("Qqemu.PhyMemMode:1", "OK");
    EXPECT("m101000,2", "beef");
    EXPECT("m1000,2", "E14");
    char big[64];
    sprintf(big, "m%llx,ffffffffffffffff", 0x100000ull);
    assert_true(strlen(ask(big)) <= 0x4000);
    EXPECT("m11111111111111111,1", "E22"); // more than 64 bits
}

static void threads(void **state)
{
    EXPECT("qfThreadInfo", "m01,02,03");
    EXPECT("qsThreadInfo", "l");
    EXPECT("T3", "OK");
    EXPECT("T4", "E22");
    EXPECT("qThreadExtraInfo,2", "4350552331205b66616b655d");
    EXPECT("qThreadExtraInfo,9", "E22");
}

static void stepping_and_continuing(void **state)
{
    EXPECT("vCont;s:2", "T05thread:02;");
    assert_int_equal(fake->regs[1][REG_PC], 0x2004);
    assert_int_equal(fake->regs[0][REG_PC], 0x1000); // stayed
    EXPECT("s", "T05thread:02;");
    EXPECT("Hc1", "OK");
    EXPECT("s3000", "T05thread:01;");
    assert_int_equal(fake->regs[0][REG_PC], 0x3004);
    EXPECT("Z0,3100,4", "OK");
    EXPECT("vCont;c:1", "T05thread:01;");
    assert_int_equal(fake->regs[0][REG_PC], 0x3100);
    assert_int_equal(fake->regs[2][REG_PC], 0x3000);
    EXPECT("z0,3100,4", "OK");
    EXPECT("Z1,3010,4", "OK");
    EXPECT("vCont;s:1;c", "T05thread:01;"); // the step ends it
    EXPECT("C05", "T05thread:03;");         // the third was nearest to its hardware breakpoint
    EXPECT("vCont;x", "E22");
    EXPECT("vCont;s:9", "E22");
    EXPECT("vCont", "");
    EXPECT("vCont;t", "T05thread:03;");
}

static void interrupting(void **state)
{
    char c;
    send_packet("c", 1);
    assert_true(fake->running);
    assert_int_equal(read(peer, &c, 1), 1); // the ack; the answer comes when it stops
    EXPECT("g", "E01");
    send_raw("\003", 1);
    ack = false;
    assert_string_equal(answer(), "T02thread:01;");
    assert_false(fake->running);
    send_raw("\003", 1); // it stands already
    assert_int_equal(read(peer, &c, 1), -1);
}

static void points(void **state)
{
    EXPECT("Z2,9000,8", "OK");
    EXPECT("Z2,9000,8", "OK");
    assert_int_equal(fake_n_points(fake), 1);
    EXPECT("vCont;c", "T05thread:01;watch:9000;");
    EXPECT("z2,9000,8", "OK");
    EXPECT("z2,9000,8", "OK");
    assert_int_equal(fake_n_points(fake), 0);
    EXPECT("Z3,9000,8", ""); // the fake has none of these
    EXPECT("Z7,9000,8", "");
    EXPECT("Z0,zz", "E22");
    for (int i = 0; i < 8; i++) {
        char z[32];
        sprintf(z, "Z0,%x,4", 0x4000 + 16 * i);
        EXPECT(z, "OK");
    }
    EXPECT("Z0,5000,4", "E22"); // full
}

static void leaving_cleans_up(void **state)
{
    EXPECT("Z0,4000,4", "OK");
    EXPECT("D", "OK");
    assert_int_equal(fake_n_points(fake), 0);
    assert_true(fake->running);
    assert_false(gdb_stub_attached(fake->stub));
}

static void losing_the_connection_cleans_up(void **state)
{
    EXPECT("Z1,4000,4", "OK");
    close(peer);
    peer = -1;
    for (int i = 0; i < 5; i++)
        loop_run_once(loop, 0);
    assert_int_equal(fake_n_points(fake), 0);
    assert_true(fake->running);
}

static void description(void **state)
{
    const char *s = ask("qXfer:features:read:target.xml:0,fff");
    assert_memory_equal(s, "l<?xml", 6);
    s = ask("qXfer:features:read:core.xml:0,20");
    assert_memory_equal(s, "m<?xml", 6);
    assert_int_equal(strlen(s), 1 + 0x20);
    EXPECT("qXfer:features:read:core.xml:99999,20", "l");
    EXPECT("qXfer:features:read:other.xml:0,20", "E00");
    EXPECT("qXfer:features:read:core.xml", "E00");
}

static void monitor(void **state)
{
    send_packet("qRcmd,696e666f", 14);
    const char *s = collect();
    assert_memory_equal(s, "+$O796f752073616964", 18); // "you said"
    assert_non_null(strstr(s, "$OK#9a"));
    send_packet("qRcmd,6c6f6e67", 14);
    loop_run_once(loop, 0);
    s = collect();
    unsigned packets = 0;
    for (const char *p = s; (p = strstr(p, "$O")); p++)
        packets++;
    assert_true(packets > 3);
}

static void ends(void **state)
{
    send_packet("c", 1);
    struct gdb_stop s = {.why = GDB_STOP_EXIT, .exit_status = 3};
    gdb_stub_stopped(fake->stub, &s);
    fake->running = false;
    assert_string_equal(answer(), "W03");
    send_packet("k", 1);
    assert_true(fake->killed);
}

static void overlong_packets(void **state)
{
    static char big[30000];
    memset(big, 'm', sizeof big);
    send_packet(big, sizeof big);
    assert_string_equal(answer(), "E22");
    EXPECT("qC", "QC01");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, connect_stub, disconnect_stub)
    const struct CMUnitTest tests[] = {
        T(attaching_stops),  T(negotiation),
        T(acknowledgement),  T(registers),
        T(memory),           T(threads),
        T(interrupting),     T(stepping_and_continuing),
        T(points),           T(leaving_cleans_up),
        T(description),      T(losing_the_connection_cleans_up),
        T(monitor),          T(ends),
        T(overlong_packets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
