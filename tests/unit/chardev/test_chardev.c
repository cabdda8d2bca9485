// The core (queueing, flow control, mux, log) and the back ends that need no network: file, pipe,
// pty, ringbuf, stdio. Peers are the test's own ends of real pipes and terminals.
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

static struct loop *loop;
static char dir[64];

static int setup(void **state)
{
    loop = loop_new("test");
    snprintf(dir, sizeof dir, "/tmp/chardev-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    char cmd[128];
    loop_free(loop);
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    return system(cmd);
}

static char *slurp(const char *path)
{
    static char text[4096];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return text;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void file_out_in_append_and_log(void **state)
{
    char spec[512], out[128], in[128], log[128];
    snprintf(out, sizeof out, "%s/out", dir);
    snprintf(in, sizeof in, "%s/in", dir);
    snprintf(log, sizeof log, "%s/log", dir);
    write_file(out, "old ");
    write_file(in, "typed");
    snprintf(spec, sizeof spec, "file,id=f,path=%s,append=on,input-path=%s,logfile=%s", out, in,
             log);
    struct chardev *c = open_chardev(loop, spec);
    struct recorder r = {.room = 100};
    attach(&r, c);
    assert_int_equal(chr_write(r.f, "new", 3), 3);
    pump_until(loop, r.in.len == 5);
    assert_memory_equal(r.in.data, "typed", 5);
    assert_int_equal(r.opened, 1);
    detach(&r);
    chardev_close(c);
    assert_string_equal(slurp(out), "old new");
    assert_string_equal(slurp(log), "new");
}

static void input_waits_for_room(void **state)
{
    char spec[256], in[128];
    snprintf(in, sizeof in, "%s/in", dir);
    write_file(in, "0123456789");
    snprintf(spec, sizeof spec, "file,path=/dev/null,input-path=%s", in);
    struct chardev *c = open_chardev(loop, spec);
    struct recorder r = {.room = 4};
    attach(&r, c);
    pump(loop);
    assert_int_equal(r.in.len, 4);
    r.room = 3;
    chr_accept_input(r.f);
    pump(loop);
    assert_int_equal(r.in.len, 7);
    r.room = 100;
    chr_accept_input(r.f);
    pump(loop);
    assert_int_equal(r.in.len, 10);
    assert_memory_equal(r.in.data, "0123456789", 10);
    detach(&r);
    chardev_close(c);
}

// A pipe nobody reads fills; writers are told to wait and are woken when it is read.
static void output_flow_control(void **state)
{
    char path[128], spec[256], chunk[4096] = {0};
    snprintf(path, sizeof path, "%s/p", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    int rd = open(path, O_RDONLY | O_NONBLOCK);
    snprintf(spec, sizeof spec, "file,path=%s", path);
    struct chardev *c = open_chardev(loop, spec);
    struct recorder r = {0};
    attach(&r, c);
    size_t total = 0, took;
    while ((took = chr_write(r.f, chunk, sizeof chunk)) == sizeof chunk && total < 1 << 20)
        total += took;
    total += took;
    assert_true(total < 1 << 20);
    pump(loop);
    assert_int_equal(r.can_write, 0);
    size_t got = 0;
    while (got < total) {
        ssize_t n = read(rd, chunk, sizeof chunk);
        if (n > 0)
            got += (size_t)n;
        else
            pump(loop);
    }
    assert_int_equal(r.can_write, 1);
    close(rd);
    // The reader has gone: no signal, no stop.
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(chr_write(r.f, "x", 1), 1);
    pump(loop);
    detach(&r);
    chardev_close(c);
}

static void write_all_drops_the_oldest(void **state)
{
    char path[128], spec[256];
    size_t n = 3 << 20;
    uint8_t *big = malloc(n);
    for (size_t i = 0; i < n; i++)
        big[i] = (uint8_t)(i / 251);
    snprintf(path, sizeof path, "%s/p2", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    int rd = open(path, O_RDONLY | O_NONBLOCK);
    snprintf(spec, sizeof spec, "file,path=%s", path);
    struct chardev *c = open_chardev(loop, spec);
    struct recorder r = {0};
    attach(&r, c);
    chr_write_all(r.f, big, n);
    struct buf got = {0};
    for (int idle = 0; idle < 100; idle++) {
        uint8_t chunk[4096];
        ssize_t k = read(rd, chunk, sizeof chunk);
        if (k > 0) {
            buf_put(&got, chunk, (size_t)k);
            idle = 0;
        }
        pump(loop);
    }
    assert_int_equal(got.len, 1 << 20);
    assert_memory_equal(got.data, big + n - got.len, got.len);
    buf_free(&got);
    free(big);
    close(rd);
    detach(&r);
    chardev_close(c);
}

static void *writer(void *f)
{
    for (int i = 0; i < 1000; i++)
        chr_write_all(f, "0123456789\n", 11);
    return NULL;
}

static void any_thread_may_write(void **state)
{
    char path[128], spec[256];
    snprintf(path, sizeof path, "%s/threads", dir);
    snprintf(spec, sizeof spec, "file,path=%s", path);
    struct chardev *c = open_chardev(loop, spec);
    struct recorder r = {0};
    attach(&r, c);
    pthread_t t[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, writer, r.f);
    for (int i = 0; i < 50; i++)
        loop_run_once(loop, 1);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    pump(loop);
    detach(&r);
    chardev_close(c);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 22000);
    assert_memory_equal(slurp(path), "0123456789\n0123456789\n", 22);
}

static void mux_escape_and_focus(void **state)
{
    char path[128], spec[256];
    snprintf(path, sizeof path, "%s/m", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(spec, sizeof spec, "pipe,path=%s,mux=on", path);
    struct chardev *c = open_chardev(loop, spec);
    // Our own end; the back end reads its output back when both share one fifo, so only input is
    // used here.
    int wr = open(path, O_RDWR | O_NONBLOCK);
    struct recorder a = {.room = 100}, b = {.room = 100};
    attach(&a, c);
    attach(&b, c);
    assert_int_equal(write(wr, "x\001cy\001\001\001bz\001cw", 12), 12);
    pump_until(loop, a.in.len == 2);
    assert_memory_equal(a.in.data, "xw", 2);
    assert_int_equal(b.in.len, 3);
    assert_memory_equal(b.in.data, "y\001z", 3);
    assert_int_equal(b.breaks, 1);
    assert_int_equal(a.breaks, 0);
    assert_int_equal(a.mux_out, 1);
    assert_int_equal(a.mux_in, 1);
    assert_int_equal(b.mux_in, 1);
    chardev_set_escape(c, 0x14);
    chr_take_focus(b.f);
    assert_int_equal(write(wr, "\001\024c!", 4), 4);
    pump_until(loop, a.in.len == 3 && b.in.len == 4);
    assert_int_equal(b.in.data[3], 1);
    detach(&b);
    detach(&a);
    close(wr);
    chardev_close(c);
}

static unsigned quits;
static void on_quit(void *opaque)
{
    quits++;
}

// The escape is seen although the guest takes nothing.
static void mux_quit_behind_a_busy_guest(void **state)
{
    char path[128], spec[256];
    snprintf(path, sizeof path, "%s/mq", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(spec, sizeof spec, "pipe,path=%s,mux=on", path);
    struct chardev *c = open_chardev(loop, spec);
    struct chr_mux_ops ops = {.quit = on_quit};
    chardev_set_mux_ops(c, &ops);
    int wr = open(path, O_RDWR | O_NONBLOCK);
    struct recorder a = {.room = 0};
    attach(&a, c);
    assert_int_equal(write(wr, "abcdef\001x", 8), 8);
    pump_until(loop, quits == 1);
    assert_int_equal(a.in.len, 0);
    a.room = 3;
    chr_accept_input(a.f);
    pump(loop);
    assert_memory_equal(a.in.data, "abc", 3);
    detach(&a);
    close(wr);
    chardev_close(c);
}

static void a_second_front_end_needs_a_mux(void **state)
{
    struct chardev *c = open_chardev(loop, "null,id=n");
    struct recorder a = {0}, b = {0};
    struct err e = {0};
    attach(&a, c);
    assert_true(chardev_is_busy(c));
    assert_null(chr_attach(c, &recorder_ops, &b, &e));
    assert_non_null(strstr(e.msg, "'n'"));
    detach(&a);
    chardev_close(c);
}

static void ringbuf_keeps_the_newest(void **state)
{
    struct chardev *c = open_chardev(loop, "ringbuf,size=8");
    struct recorder r = {0};
    uint8_t out[16];
    attach(&r, c);
    chr_write_all(r.f, "abcdefghijkl", 12);
    assert_int_equal(chardev_ringbuf_read(c, out, 3), 3);
    assert_memory_equal(out, "efg", 3);
    assert_int_equal(chardev_ringbuf_read(c, out, 16), 5);
    assert_memory_equal(out, "hijkl", 5);
    detach(&r);
    chardev_close(c);
    open_error(loop, "ringbuf,size=9");
}

// The line that names the terminal goes to standard output, where the test's report is.
static struct chardev *open_pty(void)
{
    fflush(stdout);
    int report = dup(STDOUT_FILENO), null = open("/dev/null", O_WRONLY);
    assert_true(report >= 0 && null >= 0);
    dup2(null, STDOUT_FILENO);
    struct chardev *c = open_chardev(loop, "pty,id=p");
    fflush(stdout);
    dup2(report, STDOUT_FILENO);
    close(report);
    close(null);
    return c;
}

static void pty_survives_its_slave(void **state)
{
    struct chardev *c = open_pty();
    const char *d = chardev_describe(c);
    assert_memory_equal(d, "pty:/dev/", 9);
    char *slave = strdup(d + 4);
    struct recorder r = {.room = 1000};
    attach(&r, c);
    pump(loop);
    assert_false(chardev_is_open(c));
    assert_int_equal(chr_write(r.f, "lost", 4), 4);
    for (unsigned round = 1; round <= 3; round++) {
        char got[8];
        int fd = open(slave, O_RDWR | O_NOCTTY);
        pump_until(loop, r.opened == round);
        assert_int_equal(chr_write(r.f, "hello\n", 6), 6);
        pump(loop);
        assert_int_equal(read(fd, got, sizeof got), 6);
        assert_memory_equal(got, "hello\n", 6); // raw: nothing echoed, no CR added
        assert_int_equal(write(fd, "\003in", 3), 3);
        pump_until(loop, r.in.len == 3 * round);
        close(fd);
        pump_until(loop, r.closed == round);
    }
    free(slave);
    detach(&r);
    chardev_close(c);
}

// Runs in a child whose stdin, stdout are what the case says; exit status 0 is success.
static int run_stdio_child(int in, int out, const char *spec, const char *expect)
{
    pid_t pid = fork();
    if (!pid) {
        if (in >= 0)
            dup2(in, 0);
        else
            close(0);
        dup2(out, 1);
        struct loop *l = loop_new("child");
        struct chardev *c = open_chardev(l, spec);
        struct recorder r = {.room = 1000};
        attach(&r, c);
        int64_t end = host_monotonic_ns() + PATIENCE_NS;
        while (r.in.len < strlen(expect) && host_monotonic_ns() < end)
            loop_run_once(l, 10);
        chr_write_all(r.f, "reply", 5);
        bool ok = !strcmp(buf_str(&r.in), expect);
        chardev_close(c);
        _exit(ok ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    return status;
}

static void stdio_of_every_kind(void **state)
{
    char path[128], reply[16] = {0};
    int in[2], out[2];
    // Pipes: three commands and the end of the input are there before we start.
    assert_int_equal(pipe(in) | pipe(out), 0);
    assert_int_equal(write(in[1], "one\ntwo\n", 8), 8);
    close(in[1]);
    assert_int_equal(run_stdio_child(in[0], out[1], "stdio", "one\ntwo\n"), 0);
    assert_int_equal(read(out[0], reply, sizeof reply), 5);
    assert_string_equal(reply, "reply");
    // A file, /dev/null, nothing.
    snprintf(path, sizeof path, "%s/stdin", dir);
    write_file(path, "from a file");
    int fd = open(path, O_RDONLY), null = open("/dev/null", O_RDWR);
    assert_int_equal(run_stdio_child(fd, out[1], "stdio", "from a file"), 0);
    assert_int_equal(run_stdio_child(null, null, "stdio", ""), 0);
    assert_int_equal(run_stdio_child(-1, out[1], "stdio", ""), 0);
    // The pipe is as blocking as before for everyone else.
    assert_false(fcntl(out[1], F_GETFL) & O_NONBLOCK);
    close(fd);
    close(null);
}

// A terminal is raw while in use and as before afterwards, also after a deadly signal.
static void stdio_restores_the_terminal(void **state)
{
    for (int deadly = 0; deadly < 2; deadly++) {
        int ready[2], go[2];
        int master = posix_openpt(O_RDWR | O_NOCTTY);
        assert_int_equal(grantpt(master) | unlockpt(master) | pipe(ready) | pipe(go), 0);
        int keep = open(ptsname(master), O_RDWR | O_NOCTTY);
        struct termios before, during, after;
        tcgetattr(keep, &before);
        pid_t pid = fork();
        if (!pid) {
            setsid();
            int tty = open(ptsname(master), O_RDWR); // becomes the controlling terminal
            dup2(tty, 0);
            dup2(tty, 1);
            struct loop *l = loop_new("child");
            struct chardev *c = open_chardev(l, "stdio,signal=off");
            if (write(ready[1], "r", 1) != 1)
                _exit(1);
            while (deadly || read(go[0], &(char){0}, 1) != 1)
                loop_run_once(l, 10);
            chardev_close(c);
            _exit(0);
        }
        char ch;
        int status;
        assert_int_equal(read(ready[0], &ch, 1), 1);
        tcgetattr(keep, &during);
        assert_false(during.c_lflag & (ICANON | ECHO | ISIG));
        if (deadly)
            kill(pid, SIGTERM);
        else
            assert_int_equal(write(go[1], "g", 1), 1);
        waitpid(pid, &status, 0);
        assert_int_equal(deadly ? WTERMSIG(status) : WEXITSTATUS(status), deadly ? SIGTERM : 0);
        tcgetattr(keep, &after);
        assert_int_equal(after.c_lflag, before.c_lflag);
        assert_int_equal(after.c_iflag, before.c_iflag);
        close(keep);
        close(master);
        for (int i = 0; i < 2; i++)
            close(ready[i]), close(go[i]);
    }
}

static void errors_name_the_thing(void **state)
{
    assert_non_null(strstr(open_error(loop, "sokcet,id=x,port=1"), "did you mean 'socket'"));
    assert_non_null(strstr(open_error(loop, "file,id=x"), "path"));
    assert_non_null(strstr(open_error(loop, "file,id=x,path=/no/such/dir/f"), "/no/such/dir/f"));
    assert_non_null(strstr(open_error(loop, "null,id=x,frob=1"), "frob"));
    assert_non_null(strstr(open_error(loop, "socket,id=x,port=1,tls-creds=t"), "tls-creds"));
    assert_non_null(strstr(open_error(loop, "serial,id=x,path=/dev/null"), "/dev/null"));
    open_error(loop, "pipe,path=/no/such/pipe");
    open_error(loop, "socket,fd=987");
    open_error(loop, "socket,fd=0"); // not a socket
    struct opts o = {0};
    struct err e = {0};
    opts_set(&o, "backend", "none");
    assert_null(chardev_open(&o, loop, &e));
    assert_int_equal(e.msg[0], 0);
    opts_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_out_in_append_and_log),
        cmocka_unit_test(input_waits_for_room),
        cmocka_unit_test(output_flow_control),
        cmocka_unit_test(write_all_drops_the_oldest),
        cmocka_unit_test(any_thread_may_write),
        cmocka_unit_test(mux_escape_and_focus),
        cmocka_unit_test(mux_quit_behind_a_busy_guest),
        cmocka_unit_test(a_second_front_end_needs_a_mux),
        cmocka_unit_test(ringbuf_keeps_the_newest),
        cmocka_unit_test(pty_survives_its_slave),
        cmocka_unit_test(stdio_of_every_kind),
        cmocka_unit_test(stdio_restores_the_terminal),
        cmocka_unit_test(errors_name_the_thing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
