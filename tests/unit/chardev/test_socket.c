// Socket back ends against plain sockets of the test: servers, clients, reconnecting, telnet on the
// wire, descriptors passed along, inherited descriptors, and the errors.
#include "../base/ports.h"
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static struct loop *loop;
static char dir[64];

static int setup(void **state)
{
    loop = loop_new("test");
    snprintf(dir, sizeof dir, "/tmp/chrsock-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    loop_free(loop);
    return rmdir(dir); // every socket file has been removed
}

static unsigned port_of(struct chardev *c)
{
    const char *d = chardev_describe(c), *server = strstr(d, ",server=on");
    assert_non_null(server);
    while (server[-1] != ':')
        server--;
    return (unsigned)atoi(server);
}

static int connect_port(unsigned port)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
    struct timeval tv = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    return fd;
}

static int listen_port(unsigned *port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    in.sin_port = htons((uint16_t)*port);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 4), 0);
    getsockname(fd, (struct sockaddr *)&in, &len);
    *port = ntohs(in.sin_port);
    return fd;
}

static int connect_path(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof un), 0);
    return fd;
}

static void expect_bytes(int fd, const void *want, size_t n)
{
    uint8_t got[64];
    size_t have = 0;
    while (have < n) {
        ssize_t r = read(fd, got + have, n - have);
        assert_true(r > 0);
        have += (size_t)r;
    }
    assert_memory_equal(got, want, n);
}

static void server_serves_one_after_another(void **state)
{
    struct chardev *c = open_chardev(loop, "socket,id=s,host=127.0.0.1,port=0,server=on,wait=off");
    struct recorder r = {.room = 1000};
    attach(&r, c);
    pump(loop);
    assert_memory_equal(chardev_describe(c), "disconnected:tcp:127.0.0.1:", 27);
    assert_false(chardev_is_open(c));
    assert_int_equal(chr_write(r.f, "nobody hears", 12), 12);
    unsigned port = port_of(c);
    int first = connect_port(port), second = connect_port(port); // the second waits in the queue
    pump_until(loop, r.opened == 1);
    assert_non_null(strstr(chardev_describe(c), " <-> 127.0.0.1:"));
    assert_int_equal(write(first, "1", 1), 1);
    assert_int_equal(write(second, "2", 1), 1);
    pump_until(loop, r.in.len == 1);
    assert_int_equal(chr_write(r.f, "to first", 8), 8);
    expect_bytes(first, "to first", 8);
    close(first);
    pump_until(loop, r.closed == 1 && r.opened == 2 && r.in.len == 2);
    assert_memory_equal(r.in.data, "12", 2);
    chr_write_all(r.f, "to second", 9);
    expect_bytes(second, "to second", 9);
    close(second);
    detach(&r);
    chardev_close(c);
}

// A client that goes while the guest takes no input must not block the next one.
static void hang_up_behind_a_busy_guest(void **state)
{
    struct chardev *c = open_chardev(loop, "socket,host=127.0.0.1,port=0,server,nowait");
    struct recorder r = {.room = 0};
    attach(&r, c);
    int fd = connect_port(port_of(c));
    pump_until(loop, r.opened == 1);
    assert_int_equal(write(fd, "typed into the void", 19), 19);
    close(fd);
    pump_until(loop, r.closed == 1);
    detach(&r);
    chardev_close(c);
}

static void telnet_negotiates(void **state)
{
    struct opts o = {0};
    struct err e = {0};
    bool mux;
    assert_int_equal(chardev_opts_from_legacy("telnet:127.0.0.1:0,server,nowait", &o, &mux, &e), 0);
    struct chardev *c = chardev_open(&o, loop, &e);
    assert_non_null(c);
    opts_free(&o);
    struct recorder r = {.room = 1000};
    attach(&r, c);
    pump(loop);
    assert_memory_equal(chardev_describe(c), "disconnected:telnet:127.0.0.1:", 30);
    int fd = connect_port(port_of(c));
    pump_until(loop, r.opened == 1);
    pump(loop);
    expect_bytes(fd, "\377\373\001\377\373\003\377\373\000\377\375\000", 12);
    assert_int_equal(write(fd, "\377\375\001\377\375\037ab\377\377\377\363", 12), 12);
    pump_until(loop, r.in.len == 3 && r.breaks == 1);
    assert_memory_equal(r.in.data, "ab\377", 3);
    expect_bytes(fd, "\377\374\037", 3);
    chr_write_all(r.f, "x\377y", 3);
    expect_bytes(fd, "x\377\377y", 4);
    close(fd);
    pump_until(loop, r.closed == 1);
    detach(&r);
    chardev_close(c);
}

// All 0xff, more than the kernel takes at once: nothing may be lost or doubled.
static void telnet_volume(void **state)
{
    struct chardev *c =
        open_chardev(loop, "socket,host=127.0.0.1,port=0,server=on,wait=off,telnet=on");
    struct recorder r = {.room = 1000};
    attach(&r, c);
    int fd = connect_port(port_of(c));
    pump_until(loop, r.opened == 1);
    pump(loop);
    expect_bytes(fd, "\377\373\001\377\373\003\377\373\000\377\375\000", 12);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    static uint8_t data[1 << 20];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = i % 3 ? 0xff : (uint8_t)(i >> 8);
    size_t sent = 0, seen = 0, wire = 0;
    bool escaped = false;
    while (seen < sizeof data) {
        if (sent < sizeof data)
            sent += chr_write(r.f, data + sent, MIN(sizeof data - sent, (size_t)10007));
        pump(loop);
        uint8_t got[65536];
        ssize_t n = read(fd, got, sizeof got);
        for (ssize_t i = 0; i < n; i++, wire++) {
            if (escaped)
                assert_int_equal(got[i], 0xff);
            escaped = !escaped && got[i] == 0xff;
            if (!escaped)
                assert_int_equal(got[i], data[seen++]);
        }
    }
    assert_true(wire > sizeof data);
    close(fd);
    detach(&r);
    chardev_close(c);
}

static void unix_server_and_stale_file(void **state)
{
    char path[100], spec[256];
    snprintf(path, sizeof path, "%s/sock", dir);
    snprintf(spec, sizeof spec, "socket,id=u,path=%s,server=on,wait=off", path);
    // Left behind by a process that died.
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(stale, (struct sockaddr *)&un, sizeof un), 0);
    close(stale);
    struct chardev *c = open_chardev(loop, spec);
    assert_non_null(strstr(open_error(loop, spec), "already in use"));
    struct recorder r = {.room = 100};
    attach(&r, c);
    int fd = connect_path(path);
    pump_until(loop, r.opened >= 1);
    assert_memory_equal(chardev_describe(c), "unix:/tmp/", 10);
    close(fd);
    detach(&r);
    chardev_close(c);
    assert_int_equal(access(path, F_OK), -1);
}

static void passes_descriptors(void **state)
{
    char path[100], spec[256];
    snprintf(path, sizeof path, "%s/fds", dir);
    snprintf(spec, sizeof spec, "socket,path=%s,server=on,wait=off", path);
    struct chardev *c = open_chardev(loop, spec);
    struct recorder r = {.room = 100};
    attach(&r, c);
    int fd = connect_path(path), p[2];
    assert_int_equal(pipe(p), 0);
    union {
        struct cmsghdr h;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = "getfd", .iov_len = 5};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    control.h = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(2 * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.h), p, sizeof p);
    assert_int_equal(sendmsg(fd, &m, 0), 5);
    pump_until(loop, r.in.len == 5);
    int rd = chr_get_msgfd(r.f), wr = chr_get_msgfd(r.f);
    assert_true(rd >= 0 && wr >= 0);
    assert_int_equal(chr_get_msgfd(r.f), -1);
    assert_int_equal(write(wr, "!", 1), 1);
    expect_bytes(p[0], "!", 1);
    assert_true(fcntl(rd, F_GETFD) & FD_CLOEXEC);
    // Flooding with descriptors leaks none.
    for (int i = 0; i < 40; i++)
        assert_int_equal(sendmsg(fd, &m, 0), 5);
    r.room = 1000;
    chr_accept_input(r.f);
    pump_until(loop, r.in.len == 5 * 41);
    int before = dup(0);
    close(before);
    close(fd);
    pump_until(loop, r.closed == 1);
    int after = dup(0);
    close(after);
    assert_true(after < before);
    close(rd);
    close(wr);
    close(p[0]);
    close(p[1]);
    detach(&r);
    chardev_close(c);
}

static void client_reconnects(void **state)
{
    unsigned port = free_port(SOCK_STREAM); // nobody there at first
    char spec[128];
    snprintf(spec, sizeof spec, "socket,host=127.0.0.1,port=%u,reconnect-ms=20", port);
    struct chardev *c = open_chardev(loop, spec);
    struct recorder r = {.room = 100};
    attach(&r, c);
    pump(loop);
    assert_false(chardev_is_open(c));
    int server = listen_port(&port);
    for (unsigned round = 1; round <= 2; round++) {
        pump_until(loop, r.opened == round);
        int peer = accept(server, NULL, NULL);
        assert_true(peer >= 0);
        assert_int_equal(write(peer, "x", 1), 1);
        pump_until(loop, r.in.len == round);
        close(peer);
        pump_until(loop, r.closed == round);
    }
    close(server);
    detach(&r);
    chardev_close(c);
}

static void inherited_descriptors(void **state)
{
    char spec[64];
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    snprintf(spec, sizeof spec, "socket,fd=%d", pair[0]);
    struct chardev *c = open_chardev(loop, spec);
    struct recorder r = {.room = 100};
    attach(&r, c);
    pump_until(loop, r.opened == 1);
    assert_int_equal(write(pair[1], "hi", 2), 2);
    pump_until(loop, r.in.len == 2);
    open_error(loop, spec); // taken
    detach(&r);
    chardev_close(c);
    assert_int_equal(read(pair[1], spec, 1), 0);
    close(pair[1]);

    unsigned port = 0;
    int server = listen_port(&port);
    snprintf(spec, sizeof spec, "socket,fd=%d,wait=off", server);
    int copy = dup(server);
    assert_non_null(strstr(open_error(loop, spec), "server=on"));
    snprintf(spec, sizeof spec, "socket,fd=%d,server=on,wait=off", copy);
    c = open_chardev(loop, spec);
    struct recorder s = {.room = 100};
    attach(&s, c);
    int fd = connect_port(port);
    pump_until(loop, s.opened == 1);
    close(fd);
    detach(&s);
    chardev_close(c);
}

static void waiting_server_returns_with_its_client(void **state)
{
    char path[100], spec[256];
    snprintf(path, sizeof path, "%s/wait", dir);
    snprintf(spec, sizeof spec, "socket,path=%s,server=on", path);
    pid_t pid = fork();
    if (!pid) {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        int64_t end = host_monotonic_ns() + PATIENCE_NS;
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        char ch;
        memcpy(un.sun_path, path, strlen(path) + 1);
        while (connect(fd, (struct sockaddr *)&un, sizeof un) && host_monotonic_ns() < end)
            usleep(10000);
        _exit(read(fd, &ch, 1) == 1 ? 0 : 1);
    }
    struct chardev *c = open_chardev(loop, spec);
    assert_true(chardev_is_open(c));
    struct recorder r = {0};
    attach(&r, c);
    chr_write_all(r.f, "!", 1);
    pump(loop);
    detach(&r);
    chardev_close(c);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void port_errors(void **state)
{
    unsigned port = free_port(SOCK_STREAM);
    int server = listen_port(&port);
    char spec[128];
    snprintf(spec, sizeof spec, "socket,id=q,host=127.0.0.1,port=%u,server=on,wait=off", port);
    const char *msg = open_error(loop, spec);
    assert_non_null(strstr(msg, "already in use"));
    assert_non_null(strstr(msg, "127.0.0.1:"));
    snprintf(spec, sizeof spec, "socket,host=127.0.0.1,port=%u,to=%u,server=on,wait=off", port,
             port + 50);
    struct chardev *c = open_chardev(loop, spec);
    assert_true(port_of(c) > port);
    chardev_close(c);
    close(server);
    snprintf(spec, sizeof spec, "socket,host=127.0.0.1,port=%u", port);
    assert_non_null(strstr(open_error(loop, spec), "refused"));
    assert_non_null(strstr(open_error(loop, "socket,port=70000"), "70000"));
    open_error(loop, "socket");
    open_error(loop, "socket,path=/x,port=1");
    open_error(loop, "socket,port=1,server=on,wait=off,reconnect=1");
    open_error(loop, "socket,path=/tmp,server=on,wait=off");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_serves_one_after_another),
        cmocka_unit_test(hang_up_behind_a_busy_guest),
        cmocka_unit_test(telnet_negotiates),
        cmocka_unit_test(telnet_volume),
        cmocka_unit_test(unix_server_and_stale_file),
        cmocka_unit_test(passes_descriptors),
        cmocka_unit_test(client_reconnects),
        cmocka_unit_test(inherited_descriptors),
        cmocka_unit_test(waiting_server_returns_with_its_client),
        cmocka_unit_test(port_errors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
