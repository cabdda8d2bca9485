// System calls: the tables hold together, and what a call leaves in guest memory is the kernel's
// generic structure with the values that the host's own call gives.
#include "kernel_types.h"

#include "guest.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/utsname.h>

static struct thread *t;

static int setup(void **state)
{
    t = guest_new("aarch64");
    return 0;
}
static int teardown(void **state)
{
    guest_free(t);
    return 0;
}

// Every call has one number, and names the host's call of the same name.
static void test_tables(void **state)
{
    unsigned numbers[CALLS] = {0};
    for (unsigned n = 0; n < CALLS_GENERIC; n++)
        if (calls_generic[n])
            numbers[calls_generic[n] - 1]++;
    for (unsigned i = 0; i < CALLS; i++) {
        assert_true(numbers[i] <= 1);
        assert_non_null(calls[i].name);
        for (unsigned k = 1; k < CALL_ARGS; k++) // no argument behind the last
            assert_false(calls[i].kinds[k] && !calls[i].kinds[k - 1]);
    }
    // The generic numbers, from the kernel's table: asm-generic/unistd.h.
    assert_int_equal(calls_generic[56] - 1, CALL_openat);
    assert_int_equal(calls_generic[80] - 1, CALL_fstat);
    assert_int_equal(calls_generic[139] - 1, CALL_rt_sigreturn);
    assert_int_equal(calls_generic[220] - 1, CALL_clone);
    assert_int_equal(calls_generic[291] - 1, CALL_statx);
}

// Whatever bits a guest gives to open come back as they were.
static void test_open_flags(void **state)
{
    for (unsigned i = 0; abis[i]; i++)
        for (const struct flag_pair *p = abis[i]->open_flags; p && p->guest; p++)
            for (const struct flag_pair *q = p + 1; q->guest; q++) {
                assert_int_equal(p->guest & q->guest, 0);
                assert_int_equal(p->host & q->host, 0);
            }
    strcpy(guest_at(t, SCRATCH), "/");
    int64_t fd = GUEST_CALL(t, openat, (uint64_t)AT_FDCWD, SCRATCH, 040000 | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fcntl((int)fd, F_GETFL) & O_DIRECTORY, O_DIRECTORY);
    int64_t flags = GUEST_CALL(t, fcntl, (uint64_t)fd, F_GETFL);
    assert_int_equal(flags & 0240000, 040000);
    close((int)fd);
    strcpy(guest_at(t, SCRATCH), "/proc/self/maps");
    assert_int_equal(GUEST_CALL(t, openat, (uint64_t)AT_FDCWD, SCRATCH, 040000), -ENOTDIR);
}

static void compare_stat(const struct generic_stat *g, const struct stat *h)
{
    assert_int_equal(g->st_dev, h->st_dev);
    assert_int_equal(g->st_ino, h->st_ino);
    assert_int_equal(g->st_mode, h->st_mode);
    assert_int_equal(g->st_nlink, h->st_nlink);
    assert_int_equal(g->st_uid, h->st_uid);
    assert_int_equal(g->st_gid, h->st_gid);
    assert_int_equal(g->st_rdev, h->st_rdev);
    assert_int_equal(g->st_size, h->st_size);
    assert_int_equal(g->st_blksize, h->st_blksize);
    assert_int_equal(g->st_blocks, h->st_blocks);
    assert_int_equal(generic_mtime(g), h->st_mtim.tv_sec);
    assert_int_equal(g->st_mtime_nsec, h->st_mtim.tv_nsec);
    assert_int_equal(generic_ctime(g), h->st_ctim.tv_sec);
}

static void test_stat(void **state)
{
    static const char *const paths[] = {"/", "/dev/null", "/bin/sh", "/etc/passwd",
                                        "/proc/version"};
    struct generic_stat *g = guest_at(t, SCRATCH + PAGE);
    for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
        struct stat h;
        memset(g, 0xee, sizeof *g);
        strcpy(guest_at(t, SCRATCH), paths[i]);
        assert_int_equal(stat(paths[i], &h), 0);
        assert_int_equal(GUEST_CALL(t, newfstatat, (uint64_t)AT_FDCWD, SCRATCH, SCRATCH + PAGE, 0),
                         0);
        compare_stat(g, &h);
        int fd = open(paths[i], O_RDONLY | O_CLOEXEC);
        memset(g, 0xee, sizeof *g);
        assert_int_equal(GUEST_CALL(t, fstat, (uint64_t)fd, SCRATCH + PAGE), 0);
        compare_stat(g, &h);
        close(fd);
    }
    strcpy(guest_at(t, SCRATCH), "/nonexistent");
    assert_int_equal(GUEST_CALL(t, newfstatat, (uint64_t)AT_FDCWD, SCRATCH, SCRATCH + PAGE, 0),
                     -ENOENT);
    assert_int_equal(GUEST_CALL(t, newfstatat, (uint64_t)AT_FDCWD, 0x10, SCRATCH, 0), -EFAULT);
    strcpy(guest_at(t, SCRATCH), "/");
    assert_int_equal(GUEST_CALL(t, newfstatat, (uint64_t)AT_FDCWD, SCRATCH, 0x10, 0), -EFAULT);
}

static void test_uname(void **state)
{
    struct utsname h, *g = guest_at(t, SCRATCH);
    uname(&h);
    assert_int_equal(GUEST_CALL(t, uname, SCRATCH), 0);
    assert_string_equal(g->machine, "aarch64");
    assert_string_equal(g->release, h.release);
    assert_string_equal(g->nodename, h.nodename);
    t->u->opt.release = "1.2.3";
    assert_int_equal(GUEST_CALL(t, uname, SCRATCH), 0);
    assert_string_equal(g->release, "1.2.3");
    t->u->opt.release = NULL;
}

// struct epoll_event is not packed in the generic ABI.
static void test_epoll(void **state)
{
    struct {
        uint32_t events, pad;
        uint64_t data;
    } *g = guest_at(t, SCRATCH);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    int64_t ep = GUEST_CALL(t, epoll_create1, 0);
    assert_true(ep >= 0);
    g->events = EPOLLIN;
    g->data = 0x1122334455667788;
    assert_int_equal(
        GUEST_CALL(t, epoll_ctl, (uint64_t)ep, EPOLL_CTL_ADD, (uint64_t)pipes[0], SCRATCH), 0);
    assert_int_equal(write(pipes[1], "x", 1), 1);
    memset(g, 0xee, sizeof *g);
    assert_int_equal(GUEST_CALL(t, epoll_pwait, (uint64_t)ep, SCRATCH, 5000, 1000, 0, 8), 1);
    assert_int_equal(g->events, EPOLLIN);
    assert_int_equal(g->data, 0x1122334455667788);
    assert_int_equal(GUEST_CALL(t, epoll_pwait, (uint64_t)ep, SCRATCH, 0, 0, 0, 8), -EINVAL);
    close((int)ep);
    close(pipes[0]);
    close(pipes[1]);
}

struct vector {
    uint64_t base, len;
};

static void test_vectors(void **state)
{
    struct vector *v = guest_at(t, SCRATCH);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    strcpy(guest_at(t, SCRATCH + PAGE), "one two");
    v[0] = (struct vector){SCRATCH + PAGE + 4, 3};
    v[1] = (struct vector){0, 0};
    v[2] = (struct vector){SCRATCH + PAGE, 3};
    assert_int_equal(GUEST_CALL(t, writev, (uint64_t)pipes[1], SCRATCH, 3), 6);
    v[0] = (struct vector){SCRATCH + 2 * PAGE, 2};
    v[1] = (struct vector){SCRATCH + 3 * PAGE, 100};
    assert_int_equal(GUEST_CALL(t, readv, (uint64_t)pipes[0], SCRATCH, 2), 6);
    assert_memory_equal(guest_at(t, SCRATCH + 2 * PAGE), "tw", 2);
    assert_memory_equal(guest_at(t, SCRATCH + 3 * PAGE), "oone", 4);
    v[0] = (struct vector){GUEST_SIZE - 8, 100};
    assert_int_equal(GUEST_CALL(t, writev, (uint64_t)pipes[1], SCRATCH, 1), -EFAULT);
    assert_int_equal(GUEST_CALL(t, writev, (uint64_t)pipes[1], SCRATCH, 1025), -EINVAL);
    assert_int_equal(GUEST_CALL(t, writev, (uint64_t)pipes[1], 0x20, 1), -EFAULT);
    close(pipes[0]);
    close(pipes[1]);
}

// A message with a descriptor crosses from guest memory to the host and back.
static void test_messages(void **state)
{
    struct {
        uint64_t name;
        uint32_t name_len, pad;
        uint64_t iov, iov_len, control, control_len;
        uint32_t flags, pad2;
    } *m = guest_at(t, SCRATCH);
    struct vector *v = guest_at(t, SCRATCH + 256);
    struct cmsghdr *c = guest_at(t, SCRATCH + 512);
    int s[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
    memset(m, 0, sizeof *m);
    m->iov = SCRATCH + 256;
    m->iov_len = 1;
    m->control = SCRATCH + 512;
    m->control_len = CMSG_SPACE(sizeof(int));
    *v = (struct vector){SCRATCH + PAGE, 5};
    strcpy(guest_at(t, SCRATCH + PAGE), "hello");
    *c = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(c), &s[0], sizeof(int));
    assert_int_equal(GUEST_CALL(t, sendmsg, (uint64_t)s[0], SCRATCH, 0), 5);
    memset(c, 0, 64);
    memset(guest_at(t, SCRATCH + PAGE), 0, 16);
    m->control_len = 64;
    assert_int_equal(GUEST_CALL(t, recvmsg, (uint64_t)s[1], SCRATCH, 0), 5);
    assert_memory_equal(guest_at(t, SCRATCH + PAGE), "hello", 5);
    int fd;
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    struct stat a, b;
    assert_int_equal(c->cmsg_type, SCM_RIGHTS);
    assert_int_equal(fstat(fd, &a) | fstat(s[0], &b), 0);
    assert_int_equal(a.st_ino, b.st_ino);
    close(fd);
    close(s[0]);
    close(s[1]);
}

static void test_limits(void **state)
{
    struct rlimit *g = guest_at(t, SCRATCH), h;
    getrlimit(RLIMIT_NOFILE, &h);
    assert_int_equal(GUEST_CALL(t, prlimit64, 0, RLIMIT_NOFILE, 0, SCRATCH), 0);
    assert_int_equal(g->rlim_cur, h.rlim_cur);
    assert_int_equal(g->rlim_max, h.rlim_max);
    *g = (struct rlimit){5, 4};
    assert_int_equal(GUEST_CALL(t, prlimit64, 0, RLIMIT_STACK, SCRATCH, 0), -EINVAL);
    assert_int_equal(GUEST_CALL(t, prlimit64, 0, RLIMIT_STACK, 0x10, 0), -EFAULT);
}

static void test_semaphores(void **state)
{
    struct {
        int32_t key;
        uint32_t uid, gid, cuid, cgid, mode;
    } *g = guest_at(t, SCRATCH);
    uint64_t *nsems = guest_at(t, SCRATCH + 48 + 16); // after perm, otime and ctime
    int64_t id = GUEST_CALL(t, semget, IPC_PRIVATE, 3, 0640);
    if (id == -ENOSYS) {
        print_message("# skipped: this kernel has no System V IPC\n");
        return;
    }
    assert_true(id >= 0);
    assert_int_equal(GUEST_CALL(t, semctl, (uint64_t)id, 0, IPC_STAT, SCRATCH), 0);
    assert_int_equal(g->uid, geteuid());
    assert_int_equal(g->mode & 0777, 0640);
    assert_int_equal(*nsems, 3);
    assert_int_equal(GUEST_CALL(t, semctl, (uint64_t)id, 0, IPC_RMID), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),     cmocka_unit_test(test_open_flags),
        cmocka_unit_test(test_stat),       cmocka_unit_test(test_uname),
        cmocka_unit_test(test_epoll),      cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_messages),   cmocka_unit_test(test_limits),
        cmocka_unit_test(test_semaphores),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
