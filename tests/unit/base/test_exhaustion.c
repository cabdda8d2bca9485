// What happens when the host runs out: the N-th allocation fails, for every N, in a child process
// that uses most of base/ and memory/. It must end well or with one line and status 1, never by a
// signal. Linked with the allocator's entry points wrapped.
#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/map.h"
#include "base/opt.h"
#include "memory/dirty.h"
#include "memory/space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static long countdown = -1; // the allocation that fails; negative: none
static long allocations;

static bool fails(void)
{
    allocations++;
    return countdown >= 0 && countdown-- == 0;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

static void nothing(void *opaque) {}

static void use_everything(void)
{
    static const struct mmio_ops ops;
    struct err e;
    struct opts o = {0};
    struct map m = {0};
    struct buf b = {0};
    struct loop *l = loop_new("l");
    struct loop_timer t;
    loop_timer_init(&t, l, NULL, nothing, NULL);
    loop_timer_set(&t, 0);
    loop_run_once(l, 0);
    if (!opts_parse(&o, "a,b=c,d=1G,,x", "k", &e))
        opts_set(&o, "b", "d");
    opts_free(&o);
    if (!opts_parse(&o, "{\"a\":{\"b\":[1,true,\"x\"]}}", NULL, &e))
        opts_free(&o);
    for (uint64_t i = 0; i < 40; i++)
        map_set(&m, i, &m);
    struct space *s = space_new("s", UINT64_MAX), *c = space_new("c", UINT64_MAX);
    struct ram *r = ram_new("r", MiB, false, &e);
    space_map_alias(c, "w", 0, s, 0, 0, 0);
    if (r) {
        space_map_ram(s, "r", 0, r, 0, MiB, false, 0);
        dirty_enable(r, DIRTY_DISPLAY, true);
    }
    for (gpa_t i = 0; i < 40; i++)
        space_map_mmio(s, "d", i << 13, 4096, &ops, NULL, NULL, 1);
    space_print(c, &b);
    space_free(c);
    space_free(s);
    ram_free(r);
    buf_free(&b);
    map_free(&m);
    loop_free(l);
}

// Runs fn in a child with stderr caught; returns the wait status.
static int in_child(void (*fn)(void), char *said, size_t cap)
{
    int pipes[2], status;
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (!pid) {
        dup2(pipes[1], STDERR_FILENO);
        close(pipes[0]);
        fn();
        _exit(0);
    }
    close(pipes[1]);
    size_t n = 0;
    for (ssize_t got; n < cap - 1 && (got = read(pipes[0], said + n, cap - 1 - n)) > 0;)
        n += (size_t)got;
    said[n] = 0;
    close(pipes[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_every_allocation(void **state)
{
    char said[2000];
    allocations = 0;
    use_everything();
    long all = allocations;
    unsigned ended = 0;
    assert_true(all > 150);
    for (long n = 0; n < all; n++) {
        countdown = n;
        int status = in_child(use_everything, said, sizeof said);
        countdown = -1;
        if (!WIFEXITED(status))
            fail_msg("allocation %ld: signal %d: %s", n, WTERMSIG(status), said);
        assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 1);
        if (!WEXITSTATUS(status))
            continue;
        ended++;
        assert_non_null(strstr(said, "myna: out of memory: the host refused "));
        assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1); // one line
    }
    assert_true(ended > all / 2);
}

static void huge_ram(void)
{
    struct rlimit lim = {GiB, GiB};
    struct err e;
    setrlimit(RLIMIT_AS, &lim);
    if (ram_new("mem", 8 * GiB, false, &e))
        _exit(2);
    dprintf(STDERR_FILENO, "%s\n", e.msg);
    _exit(1);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED false
#endif

static void test_ram_beyond_ulimit(void **state)
{
    char said[2000];
    if (SANITIZED) // their shadow memory is beyond any such limit
        return;
    int status = in_child(huge_ram, said, sizeof said);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_non_null(strstr(said, "mem: 8192 MiB are larger than the host allows (it has "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation),
        cmocka_unit_test(test_ram_beyond_ulimit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
