// -sandbox: what is denied fails, what is not goes on, in a process of its own each time.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sandbox parse(const char *text)
{
    struct opts o = {0};
    struct err e = {0};
    struct sandbox s;
    assert_int_equal(opts_parse(&o, text, "enable", &e), 0);
    assert_int_equal(sandbox_parse(&o, &s, &e), 0);
    opts_free(&o);
    return s;
}

// Exit status of `body` in a child that is confined as `text` says.
static int confined(const char *text, int (*body)(void))
{
    struct sandbox s = parse(text);
    pid_t pid = fork();
    if (!pid) {
        struct err e = {0};
        if (sandbox_enter(&s, &e) || sandbox_drop_privileges(&s, &e))
            _exit(100);
        _exit(body());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int errno_of(long result)
{
    return result < 0 ? errno : 0;
}

static int do_hostname(void)
{
    return errno_of(sethostname("x", 1));
}

static int do_spawn(void)
{
    extern char **environ;
    char *argv[] = {"true", NULL};
    pid_t pid;
    return posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ);
}

static int do_fork(void)
{
    pid_t pid = fork();
    if (!pid)
        _exit(0);
    return errno_of(pid);
}

static void *nothing(void *arg)
{
    return arg;
}

static int do_thread(void)
{
    pthread_t t;
    int r = pthread_create(&t, NULL, nothing, NULL);
    return r ? r : pthread_join(t, NULL);
}

static int do_setuid(void)
{
    return errno_of(setuid(getuid()));
}

static int do_nice(void)
{
    return errno_of(setpriority(PRIO_PROCESS, 0, 19));
}

static int do_limit(void)
{
    struct rlimit l;
    int r = errno_of(getrlimit(RLIMIT_CORE, &l)); // reading is nobody's harm
    return r ? 101 : errno_of(setrlimit(RLIMIT_CORE, &l));
}

static int do_affinity(void)
{
    cpu_set_t set;
    int r = errno_of(sched_getaffinity(0, sizeof set, &set));
    return r ? 101 : errno_of(sched_setaffinity(0, sizeof set, &set));
}

static int no_new_privileges(void)
{
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
}

static void test_off(void **state)
{
    int already = no_new_privileges(); // where the tests themselves run confined
    assert_int_equal(confined("off,spawn=deny,elevateprivileges=deny", do_spawn), 0);
    assert_int_equal(confined("off", do_setuid), 0);
    assert_int_equal(confined("off", no_new_privileges), already);
}

static void test_host(void **state)
{
    assert_int_equal(confined("on", do_hostname), EPERM);
    assert_int_equal(confined("on", do_thread), 0);
    assert_int_equal(confined("on", no_new_privileges), 1);
}

static void test_spawn(void **state)
{
    assert_int_equal(confined("on", do_spawn), 0);
    assert_int_equal(confined("on", do_fork), 0);
    assert_int_equal(confined("on,spawn=deny", do_spawn), EPERM);
    assert_int_equal(confined("on,spawn=deny", do_fork), EPERM);
    assert_int_equal(confined("on,spawn=deny", do_thread), 0);
}

static void test_privileges(void **state)
{
    assert_int_equal(confined("on", do_setuid), 0);
    assert_int_equal(confined("on,elevateprivileges=children", do_setuid), 0);
    assert_int_equal(confined("on,elevateprivileges=deny", do_setuid), EPERM);
}

static void test_resources(void **state)
{
    assert_int_equal(confined("on", do_nice), 0);
    assert_int_equal(confined("on,resourcecontrol=deny", do_nice), EPERM);
    assert_int_equal(confined("on,resourcecontrol=deny", do_limit), EPERM);
    assert_int_equal(confined("on,resourcecontrol=deny", do_affinity), EPERM);
}

static void *try_host(void *arg)
{
    pthread_barrier_t *b = arg;
    pthread_barrier_wait(b); // runs
    pthread_barrier_wait(b); // and is confined now
    return (void *)(intptr_t)errno_of(sethostname("x", 1));
}

// A thread from before is confined as well.
static void test_threads(void **state)
{
    pid_t pid = fork();
    if (!pid) {
        struct sandbox s = parse("on");
        struct err e = {0};
        pthread_barrier_t b;
        pthread_t t;
        void *result = NULL;
        pthread_barrier_init(&b, NULL, 2);
        pthread_create(&t, NULL, try_host, &b);
        pthread_barrier_wait(&b);
        int r = sandbox_enter(&s, &e);
        pthread_barrier_wait(&b);
        pthread_join(t, &result);
        _exit(r ? 100 : (int)(intptr_t)result);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EPERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_off),       cmocka_unit_test(test_host),
        cmocka_unit_test(test_spawn),     cmocka_unit_test(test_privileges),
        cmocka_unit_test(test_resources), cmocka_unit_test(test_threads),
    };
#ifndef HAVE_SECCOMP
    return 77; // skipped: nothing to confine with
#endif
    return cmocka_run_group_tests(tests, NULL, NULL);
}
