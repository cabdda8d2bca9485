// The short forms that clients pass to -serial, -monitor and -qmp, and chardev-add's JSON.
#include "harness.h"

static void expect(const char *spec, const char *want)
{
    struct opts o = {0};
    struct err e = {0};
    bool mux = false;
    if (chardev_opts_from_legacy(spec, &o, &mux, &e))
        fail_msg("%s: %s", spec, e.msg);
    struct opts w = {0};
    assert_int_equal(opts_parse(&w, want, "backend", &e), 0);
    assert_int_equal(o.len, w.len);
    for (size_t i = 0; i < w.len; i++) {
        const char *got = opts_get(&o, w.data[i].key);
        if (!got || strcmp(got, w.data[i].val))
            fail_msg("%s: %s is %s, not %s", spec, w.data[i].key, got ? got : "absent",
                     w.data[i].val);
    }
    assert_int_equal(mux, !strncmp(spec, "mon:", 4));
    opts_free(&o);
    opts_free(&w);
}

static void every_form(void **state)
{
    expect("stdio", "stdio");
    expect("mon:stdio", "stdio,mux=on,signal=off");
    expect("null", "null");
    expect("none", "none");
    expect("pty", "pty");
    expect("vc", "vc");
    expect("vc:80Cx24C", "vc");
    expect("file:/tmp/a,b.log", "file,path=/tmp/a,,b.log");
    expect("pipe:/tmp/p", "pipe,path=/tmp/p");
    expect("/dev/ttyS0", "serial,path=/dev/ttyS0");
    expect("unix:/run/s", "socket,path=/run/s");
    expect("unix:/run/s,server=on,wait=off", "socket,path=/run/s,server=on,wait=off");
    expect("tcp:0.0.0.0:4001,server=on", "socket,host=0.0.0.0,port=4001,server=on");
    expect("tcp::4444", "socket,port=4444");
    expect("tcp:[::1]:4444", "socket,host=::1,port=4444");
    expect("mon:telnet::5000,server=on", "socket,port=5000,telnet=on,server=on,mux=on");
    expect("udp::6000", "udp,port=6000");
    expect("udp:h:1@:2", "udp,host=h,port=1,localport=2");
}

static void bare_flags(void **state)
{
    struct opts o = {0};
    struct err e = {0};
    bool mux, server = false, wait = true;
    assert_int_equal(chardev_opts_from_legacy("telnet:127.0.0.1:5000,server,nowait", &o, &mux, &e),
                     0);
    assert_int_equal(opts_get_bool(&o, "server", &server, &e), 0);
    assert_int_equal(opts_get_bool(&o, "wait", &wait, &e), 0);
    assert_true(server);
    assert_false(wait);
    opts_free(&o);
}

static void rejected(void **state)
{
    static const char *const bad[] = {"stdout", "tcp:4444", "tcp:",  "telnet:h:", "tcp:[::1:5",
                                      "mon:",   "",         "udp:x", "chardev"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct opts o = {0};
        struct err e = {0};
        bool mux;
        assert_int_equal(chardev_opts_from_legacy(bad[i], &o, &mux, &e), -1);
        assert_true(e.msg[0]);
        opts_free(&o);
    }
}

static void expect_qmp(const char *json, const char *want)
{
    struct opts in = {0}, o = {0}, w = {0};
    struct err e = {0};
    assert_int_equal(opts_parse(&in, json, NULL, &e), 0);
    assert_int_equal(opts_parse(&w, want, "backend", &e), 0);
    if (chardev_opts_from_qmp(&in, &o, &e))
        fail_msg("%s: %s", json, e.msg);
    assert_int_equal(o.len, w.len);
    for (size_t i = 0; i < w.len; i++) {
        const char *got = opts_get(&o, w.data[i].key);
        if (!got || strcmp(got, w.data[i].val))
            fail_msg("%s: %s is %s", json, w.data[i].key, got ? got : "absent");
    }
    opts_free(&in);
    opts_free(&o);
    opts_free(&w);
}

static void qmp_form(void **state)
{
    expect_qmp("{\"id\":\"a\",\"backend\":{\"type\":\"pty\",\"data\":{}}}", "pty,id=a");
    expect_qmp(
        "{\"id\":\"a\",\"backend\":{\"type\":\"file\",\"data\":{\"out\":\"/f\",\"append\":true}}}",
        "file,id=a,path=/f,append=on");
    expect_qmp(
        "{\"id\":\"a\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{\"type\":\"inet\","
        "\"data\":{\"host\":\"h\",\"port\":\"5\"}},\"server\":false,\"telnet\":true}}}",
        "socket,id=a,host=h,port=5,server=off,wait=off,telnet=on");
    expect_qmp(
        "{\"id\":\"a\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{\"type\":\"unix\","
        "\"data\":{\"path\":\"/s\"}}}}}",
        "socket,id=a,path=/s,server=on,wait=off");
    expect_qmp("{\"id\":\"a\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":{\"type\":\"fd\","
               "\"data\":{\"str\":\"7\"}}}}}",
               "socket,id=a,fd=7,server=on,wait=off");
    struct opts in = {0}, o = {0};
    struct err e = {0};
    assert_int_equal(opts_parse(&in, "{\"id\":\"a\"}", NULL, &e), 0);
    assert_int_equal(chardev_opts_from_qmp(&in, &o, &e), -1);
    opts_free(&in);
    opts_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form),
        cmocka_unit_test(bare_flags),
        cmocka_unit_test(rejected),
        cmocka_unit_test(qmp_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
