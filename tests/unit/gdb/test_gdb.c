// A real gdb (gdb-multiarch) against the stub with a fake machine behind it.
#include "fake.h"

#include <fcntl.h>
#include <sys/wait.h>

static char dir[64], sock[100], log_path[100];
static struct loop *loop;

static int setup(void **state)
{
    loop = loop_new("test");
    snprintf(dir, sizeof dir, "/tmp/gdbstub-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(sock, sizeof sock, "%s/s", dir);
    snprintf(log_path, sizeof log_path, "%s/log", dir);
    return 0;
}

static int teardown(void **state)
{
    unlink(log_path);
    loop_free(loop);
    return rmdir(dir);
}

// Runs gdb with these commands after connecting, and the loop until it has ended. Returns what it
// printed, or NULL when there is no gdb here.
static const char *run_gdb(struct fake *f, const char *const *commands)
{
    static char text[65536];
    struct err e = {0};
    char spec[128], connect[128];
    const char *argv[64] = {"gdb-multiarch", "-nx", "-q", "-batch", "-ex", connect};
    int argc = 6, status, fd;
    snprintf(spec, sizeof spec, "unix:%s", sock);
    snprintf(connect, sizeof connect, "target remote %s", sock);
    f->stub = gdb_stub_open(spec, loop, &fake_ops, f, &e);
    if (!f->stub)
        fail_msg("%s", e.msg);
    for (; *commands; commands++) {
        argv[argc++] = "-ex";
        argv[argc++] = *commands;
    }
    pid_t pid = fork();
    if (!pid) {
        fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(fd, 1);
        dup2(fd, 2);
        setenv("HOME", dir, 1);
        execvp(argv[0], (char **)argv);
        _exit(127);
    }
    int64_t end = host_monotonic_ns() + 90000000000ll;
    pid_t done = 0;
    while (!done && host_monotonic_ns() < end) {
        loop_run_once(loop, 10);
        done = waitpid(pid, &status, WNOHANG);
    }
    if (!done) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
    }
    for (int i = 0; i < 5; i++)
        loop_run_once(loop, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return NULL;
    fd = open(log_path, O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[MAX(n, 0)] = 0;
    if (!done)
        fail_msg("gdb did not end: %s", text);
    return text;
}

static void expect(const char *text, const char *want)
{
    if (!strstr(text, want))
        fail_msg("'%s' is not in gdb's output:\n%s", want, text);
}

static void a_session(void **state)
{
    struct fake *f = fake_new(loop);
    const char *const commands[] = {"info threads",
                                    "print/x $x5",
                                    "print/x $pc",
                                    "print/x $cpsr",
                                    "set $x7 = 0x1234567890",
                                    "print/x $x7",
                                    "x/2i $pc",
                                    "set {long}0x9100 = 0x1122334455667788",
                                    "print/x {long}0x9100",
                                    "stepi",
                                    "print/x $pc",
                                    "break *0x1100",
                                    "continue",
                                    "delete",
                                    "hbreak *0x1200",
                                    "continue",
                                    "delete",
                                    "watch *(long*)0x9000",
                                    "continue",
                                    "delete",
                                    "thread 3",
                                    "print/x $x0",
                                    "monitor hello there",
                                    "print *(char*)0x20000",
                                    "detach",
                                    NULL};
    const char *out = run_gdb(f, commands);
    if (!out) {
        fake_free(f);
        print_message("# skipped: no gdb\n");
        return;
    }
    expect(out, "CPU#2 [fake]");
    expect(out, "$1 = 0x1005");
    expect(out, "$2 = 0x1000");
    expect(out, "$3 = 0x3c5");
    expect(out, "$4 = 0x1234567890");
    expect(out, "nop");
    expect(out, "$5 = 0x1122334455667788");
    expect(out, "$6 = 0x1004");
    expect(out, "Breakpoint 1, 0x0000000000001100");
    expect(out, "Breakpoint 2, 0x0000000000001200");
    expect(out, "Hardware watchpoint 3");
    expect(out, "New value = 5704173");
    expect(out, "0x0000000000001804");
    expect(out, "$7 = 0x3000");
    expect(out, "you said 'hello there'");
    expect(out, "Cannot access memory at address 0x20000");
    assert_int_equal(ld_le64(f->mem + 0x9100), 0x1122334455667788);
    assert_int_equal(f->regs[0][7], 0x1234567890);
    assert_true(f->running); // detached
    assert_int_equal(fake_n_points(f), 0);
    fake_free(f);
}

static void killing(void **state)
{
    struct fake *f = fake_new(loop);
    const char *const commands[] = {"break *0x1400", "continue", "kill", NULL};
    const char *out = run_gdb(f, commands);
    if (!out) {
        fake_free(f);
        print_message("# skipped: no gdb\n");
        return;
    }
    expect(out, "0x0000000000001400");
    assert_true(f->killed);
    fake_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session),
        cmocka_unit_test(killing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
