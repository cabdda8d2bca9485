// System calls of a 32-bit guest, family by family: what each structure holds and where 64-bit
// values go. A line and exit status 1 for each difference from what Linux promises.
#include "bare.h"

#include <asm/shmbuf.h>
#include <asm/statfs.h>
#include <linux/capability.h>
#include <linux/eventpoll.h>
#include <linux/falloc.h>
#include <linux/fcntl.h>
#include <linux/ipc.h>
#include <linux/mman.h>
#include <linux/mqueue.h>
#include <linux/msg.h>
#include <linux/poll.h>
#include <linux/resource.h>
#include <linux/sem.h>
#include <linux/socket.h>
#include <linux/stat.h>
#include <linux/sysinfo.h>
#include <linux/time_types.h>
#include <linux/uio.h>
#include <linux/utsname.h>

enum { SEEK_SET, SEEK_CUR, SEEK_END };
enum { EAGAIN = 11, EFAULT = 14, EINVAL = 22, EBADF = 9, ENOSYS = 38 };
#define FIVE_GIB (5ull << 30)

static void files(void)
{
    long fd = SYS(memfd_create, "data", 0);
    unsigned long long at = 0;
    char b[16] = {0};
    CHECK(fd > 2 && SYS(write, fd, "hello", 5) == 5);
    CHECK(SYS(pwrite64, fd, "far away", 8, PAIR(FIVE_GIB)) == 8);
    CHECK(SYS(pread64, fd, b, 3, PAIR(FIVE_GIB + 4)) == 3 && !memcmp(b, "awa", 3));
    CHECK(!SYS(llseek, fd, (long)(FIVE_GIB >> 32), (long)FIVE_GIB, &at, SEEK_SET) &&
          at == FIVE_GIB);
    CHECK(SYS(read, fd, b, 8) == 8 && !memcmp(b, "far away", 8));
    CHECK(!SYS(llseek, fd, -1, -3, &at, SEEK_END) && at == FIVE_GIB + 5);
    CHECK(SYS(llseek, fd, -1, -3, &at, SEEK_SET) == -EINVAL);
    struct iovec v[2] = {{b, 2}, {b + 8, 3}};
    memset(b, 0, sizeof b);
    CHECK(SYS(preadv, fd, v, 2, PAIR(FIVE_GIB)) == 5 && !memcmp(b, "fa", 2) &&
          !memcmp(b + 8, "r a", 3));
    CHECK(SYS(preadv2, fd, v, 1, PAIR(FIVE_GIB + 1), 0) == 2 && !memcmp(b, "ar", 2));
    CHECK(SYS(pwritev, fd, v, 2, PAIR(0)) == 5 && SYS(pread64, fd, b, 5, PAIR(0)) == 5 &&
          !memcmp(b, "arr a", 5));
    CHECK(SYS(preadv2, fd, v, 1, PAIR(0), 0x40000000) < 0);
    CHECK(SYS(readv, fd, (void *)16, 1) == -EFAULT);
    CHECK(!SYS(ftruncate64, fd, PAIR(FIVE_GIB + 3)));
    struct statx sx;
    CHECK(!SYS(statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx) &&
          sx.stx_size == FIVE_GIB + 3);
    CHECK(!SYS(fallocate, fd, FALLOC_FL_KEEP_SIZE, PAIR(FIVE_GIB + 8192), PAIR(4096)));
    CHECK(!SYS(fadvise64_64, fd, PAIR(FIVE_GIB), PAIR(4096), 4));
    CHECK(SYS(fadvise64_64, fd, PAIR(FIVE_GIB), PAIR(4096), 77) == -EINVAL);
    CHECK(SYS(sync_file_range, fd, PAIR(-1), PAIR(1), 0) == -EINVAL &&
          SYS(readahead, 99, PAIR(0), 1) == -EBADF);
    struct statfs64 fs = {0};
    CHECK(!SYS(fstatfs64, fd, sizeof fs, &fs) && fs.f_type == 0x01021994 && fs.f_bsize == 4096 &&
          fs.f_namelen == 255);
    CHECK(!SYS(statfs64, "/proc", sizeof fs, &fs) && fs.f_type == 0x9fa0 && !fs.f_blocks);
    CHECK(SYS(statfs64, "/proc", 5, &fs) == -EINVAL);
    long out = SYS(memfd_create, "copy", 0);
    long long from = (long long)FIVE_GIB - 4;
    CHECK(SYS(sendfile64, out, fd, &from, 100) == 7 && from == (long long)FIVE_GIB + 3);
    const struct __kernel_timespec times[2] = {{5000000000ll, 7}, {6000000000ll, 9}};
    CHECK(!SYS(utimensat_time64, fd, "", times, AT_EMPTY_PATH));
    CHECK(!SYS(statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx) &&
          sx.stx_mtime.tv_sec == 6000000000ll && sx.stx_atime.tv_nsec == 7);
    CHECK(!SYS(close, out) && !SYS(close, fd));
}

static void locks(void)
{
    long fd = SYS(memfd_create, "locks", 0);
    struct flock64 l = {.l_type = F_WRLCK, .l_start = (long long)FIVE_GIB, .l_len = 10};
    CHECK(!SYS(fcntl64, fd, F_SETLK64, &l));
    long me = SYS(getpid), child = SYS(clone, 17);
    if (!child) {
        struct flock small = {.l_type = F_WRLCK, .l_start = 1, .l_len = 2};
        l = (struct flock64){.l_type = F_RDLCK, .l_start = (long long)FIVE_GIB - 5, .l_len = 6};
        CHECK(!SYS(fcntl64, fd, F_GETLK64, &l) && l.l_type == F_WRLCK &&
              l.l_start == (long long)FIVE_GIB && l.l_len == 10 && l.l_pid == me);
        CHECK(!SYS(fcntl64, fd, F_GETLK, &small) && small.l_type == F_UNLCK && small.l_start == 1);
        l.l_pid = 0;
        CHECK(!SYS(fcntl64, fd, F_OFD_GETLK, &l) && l.l_type == F_WRLCK);
        SYS(exit_group, failures);
    }
    int status[32];
    CHECK(!SYS(waitid, 1, child, status, 4, NULL) && !status[5]);
    SYS(close, fd);
}

static void waiting(void)
{
    int p[2];
    CHECK(!SYS(pipe2, p, 0));
    struct pollfd f = {p[0], POLLIN, 0};
    struct __kernel_timespec t = {0, 1000000};
    CHECK(SYS(ppoll_time64, &f, 1, &t, NULL, 0) == 0);
    long e = SYS(epoll_create1, 0);
    struct epoll_event ev = {EPOLLIN, 0x123456789abcdefull}, got[2];
    CHECK(!SYS(epoll_ctl, e, EPOLL_CTL_ADD, p[0], &ev) &&
          SYS(epoll_pwait, e, got, 2, 0, NULL, 0) == 0);
    SYS(write, p[1], "x", 1);
    CHECK(SYS(epoll_pwait, e, got, 2, 0, NULL, 0) == 1 && got[0].events == EPOLLIN &&
          got[0].data == 0x123456789abcdefull);
    CHECK(SYS(ppoll_time64, &f, 1, &t, NULL, 0) == 1 && f.revents == POLLIN);
    // A set of two words, of which one belongs to the call.
    long high = SYS(fcntl64, p[0], F_DUPFD, 40);
    unsigned long set[3] = {0, 1u << (high - 32), 0xdeadbeef}, ask[2] = {0, 0};
    CHECK(high == 40 && SYS(pselect6_time64, high + 1, set, NULL, NULL, &t, ask) == 1);
    CHECK(!set[0] && set[1] == 1u << (high - 32) && set[2] == 0xdeadbeef);
    int n = 0;
    CHECK(!SYS(ioctl, p[0], 0x541b, &n) && n == 1);
    for (int i = 0; i < 2; i++)
        SYS(close, p[i]);
    SYS(close, high);
    SYS(close, e);
}

static void memory(void)
{
    long fd = SYS(memfd_create, "map", 0);
    SYS(ftruncate64, fd, PAIR(FIVE_GIB));
    SYS(pwrite64, fd, "deep", 4, PAIR(FIVE_GIB - 4096));
    char *p =
        (char *)SYS(mmap2, NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *q = (char *)SYS(mmap2, NULL, 4096, PROT_READ, MAP_SHARED, fd, (FIVE_GIB - 4096) / 4096);
    CHECK((unsigned long)p < -4096ul && (unsigned long)q < -4096ul && !memcmp(q, "deep", 4));
    p[5000] = 7;
    p = (char *)SYS(mremap, p, 8192, 1 << 20, MREMAP_MAYMOVE);
    CHECK((unsigned long)p < -4096ul && p[5000] == 7 && !p[(1 << 20) - 1]);
    CHECK(!SYS(mprotect, p, 4096, PROT_READ) && !SYS(munmap, p, 1 << 20) &&
          SYS(madvise, p, 4096, 4) < 0);
    long b = SYS(brk, 0);
    CHECK(b && SYS(brk, b + 100000) == b + 100000 && (*(char *)(b + 99999) = 1));
    CHECK(SYS(mmap2, 0xfffff000, 8192, 0, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) < 0);
    SYS(close, fd);
}

static void ipc(void)
{
    long id = SYS(shmget, IPC_PRIVATE, 5000, 0600);
    struct shmid64_ds sm;
    char *p = (char *)SYS(shmat, id, NULL, 0);
    CHECK(id >= 0 && (unsigned long)p < -4096ul);
    p[4999] = 1;
    CHECK(!SYS(shmctl, id, IPC_STAT, &sm) && sm.shm_segsz == 5000 && sm.shm_nattch == 1 &&
          sm.shm_cpid == SYS(getpid) && !sm.shm_atime_high && sm.shm_atime > 1600000000 &&
          sm.shm_perm.mode == 0600);
    CHECK(!SYS(shmdt, p) && !SYS(shmctl, id, IPC_RMID, NULL));
    long s = SYS(semget, IPC_PRIVATE, 3, 0600);
    struct semid64_ds se;
    struct sembuf op = {1, 5, 0};
    const struct __kernel_timespec soon = {0, 1000000};
    CHECK(s >= 0 && !SYS(semtimedop_time64, s, &op, 1, NULL) && SYS(semctl, s, 1, 12, 0) == 5);
    op.sem_op = -6;
    CHECK(SYS(semtimedop_time64, s, &op, 1, &soon) == -EAGAIN);
    CHECK(!SYS(semctl, s, 0, IPC_STAT, &se) && se.sem_nsems == 3 && se.sem_otime > 1600000000 &&
          !se.sem_otime_high);
    CHECK(!SYS(semctl, s, 0, IPC_RMID, 0));
    long m = SYS(msgget, IPC_PRIVATE, 0600);
    struct {
        long type;
        char text[8];
    } msg = {77, "message"};
    struct msqid64_ds ms;
    CHECK(m >= 0 && !SYS(msgsnd, m, &msg, 8, 0));
    CHECK(!SYS(msgctl, m, IPC_STAT, &ms) && ms.msg_qnum == 1 && ms.msg_cbytes == 8 &&
          ms.msg_lspid == SYS(getpid));
    memset(&msg, 0, sizeof msg);
    CHECK(SYS(msgrcv, m, &msg, 8, -100, 0) == 8 && msg.type == 77 &&
          !memcmp(msg.text, "message", 8));
    CHECK(!SYS(msgctl, m, IPC_RMID, NULL));
    struct mq_attr attr = {.mq_maxmsg = 3, .mq_msgsize = 32}, now = {0};
    long q = SYS(mq_open, "ilp32test", O_CREAT | O_RDWR | O_NONBLOCK, 0600, &attr);
    if (q == -ENOSYS)
        return;
    CHECK(q >= 0 && !SYS(mq_unlink, "ilp32test") && !SYS(mq_timedsend_time64, q, "hi", 2, 3, NULL));
    CHECK(!SYS(mq_getsetattr, q, NULL, &now) && now.mq_maxmsg == 3 && now.mq_msgsize == 32 &&
          now.mq_curmsgs == 1);
    char b[32];
    unsigned priority = 0;
    CHECK(SYS(mq_timedreceive_time64, q, b, 32, &priority, NULL) == 2 && priority == 3 &&
          !memcmp(b, "hi", 2));
    SYS(close, q);
}

struct user_msghdr {
    void *name;
    int namelen;
    struct iovec *iov;
    size_t iovlen;
    void *control;
    size_t controllen;
    unsigned flags;
};
struct control {
    size_t len;
    int level, type, data[4];
};

static void sockets(void)
{
    enum {
        SOL_SOCKET = 1,
        SCM_RIGHTS = 1,
        SCM_CREDENTIALS = 2,
        SO_PASSCRED = 16,
        SO_RCVTIMEO = 20,
        CTRUNC = 8
    };
    int s[2], p[2], one = 1;
    CHECK(!SYS(socketpair, 1, 2, 0, s) && !SYS(pipe2, p, 0));
    char b[8] = "abcdefg";
    struct iovec v[2] = {{b, 3}, {b + 4, 2}};
    struct control c = {12 + 8, SOL_SOCKET, SCM_RIGHTS, {p[0], p[1]}};
    struct user_msghdr m = {.iov = v, .iovlen = 2, .control = &c, .controllen = c.len};
    CHECK(SYS(sendmsg, s[0], &m, 0) == 5);
    struct {
        struct control rights, more;
    } got = {0};
    char r[8] = {0};
    struct iovec w = {r, 8};
    struct user_msghdr n = {.iov = &w, .iovlen = 1, .control = &got, .controllen = sizeof got};
    CHECK(SYS(recvmsg, s[1], &n, 0) == 5 && !memcmp(r, "abcef", 5) && n.controllen == 20 &&
          !n.flags);
    CHECK(got.rights.len == 20 && got.rights.type == SCM_RIGHTS && got.rights.data[0] > 2);
    CHECK(SYS(write, got.rights.data[1], "z", 1) == 1 && SYS(read, p[0], r, 1) == 1 && r[0] == 'z');
    // Two messages, and room for one and a half.
    CHECK(!SYS(setsockopt, s[1], SOL_SOCKET, SO_PASSCRED, &one, 4));
    struct {
        size_t len;
        int level, type, fd;
    } single = {16, SOL_SOCKET, SCM_RIGHTS, p[0]};
    m.control = &single;
    m.controllen = 16;
    CHECK(SYS(sendmsg, s[0], &m, 0) == 5);
    n.controllen = sizeof got;
    CHECK(SYS(recvmsg, s[1], &n, 0) == 5 && n.controllen == 24 + 16 &&
          got.rights.type == SCM_CREDENTIALS);
    CHECK(got.rights.data[0] == SYS(getpid) && got.rights.data[1] == SYS(getuid) &&
          got.rights.data[3] == 16);
    m.controllen = 0;
    m.control = NULL;
    CHECK(SYS(sendmsg, s[0], &m, 0) == 5);
    n.controllen = 20;
    CHECK(SYS(recvmsg, s[1], &n, 0) == 5 && n.flags & CTRUNC);
    struct {
        struct user_msghdr m;
        unsigned len;
    } mm[2] = {{{.iov = v, .iovlen = 1}, 0}, {{.iov = v + 1, .iovlen = 1}, 0}};
    char x[4], y[4];
    CHECK(SYS(sendmmsg, s[0], mm, 2, 0) == 2 && mm[0].len == 3 && mm[1].len == 2);
    struct iovec in[2] = {{x, 4}, {y, 4}};
    for (int i = 0; i < 2; i++)
        mm[i].m = (struct user_msghdr){.iov = in + i, .iovlen = 1};
    const struct __kernel_timespec second = {1, 0};
    CHECK(SYS(recvmmsg_time64, s[1], mm, 2, 0, &second) == 2 && mm[0].len == 3 && mm[1].len == 2 &&
          y[0] == 'e');
    long wait[3] = {0, 20000, 99}, now[3] = {0, 0, 99};
    int size = 8;
    CHECK(!SYS(setsockopt, s[1], SOL_SOCKET, SO_RCVTIMEO, wait, 8) &&
          !SYS(getsockopt, s[1], SOL_SOCKET, SO_RCVTIMEO, now, &size));
    CHECK(now[0] == 0 && now[1] == 20000 && now[2] == 99 && size == 8);
    CHECK(SYS(recvfrom, s[1], x, 4, 0, NULL, NULL) == -EAGAIN);
    for (int i = 0; i < 2; i++) {
        SYS(close, s[i]);
        SYS(close, p[i]);
    }
}

static void clocks(void)
{
    struct __kernel_timespec a, b, wait = {0, 3000000};
    struct __kernel_itimerspec its = {.it_value = {0, 1000000}}, left;
    CHECK(!SYS(clock_gettime64, 1, &a) && !SYS(clock_nanosleep_time64, 1, 0, &wait, NULL) &&
          !SYS(clock_gettime64, 1, &b));
    CHECK((b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec >= 3000000);
    CHECK(!SYS(clock_gettime64, 0, &a) && a.tv_sec > 1600000000 &&
          !SYS(clock_getres_time64, 1, &b) && b.tv_nsec == 1);
    long fd = SYS(timerfd_create, 1, 0);
    unsigned long long n = 0;
    CHECK(!SYS(timerfd_settime64, fd, 0, &its, NULL) && SYS(read, fd, &n, 8) == 8 && n == 1);
    CHECK(!SYS(timerfd_gettime64, fd, &left) && !left.it_value.tv_sec && !left.it_value.tv_nsec);
    long timer[5] = {100, 200000, 1000, 300000, 99}, old[5] = {1, 1, 1, 1, 99};
    CHECK(!SYS(setitimer, 0, timer, old) && !old[0] && !old[3] && old[4] == 99);
    CHECK(!SYS(getitimer, 0, old) && old[0] == 100 && old[1] == 200000 &&
          (old[2] > 900 && old[2] <= 1000) && old[4] == 99);
    memset(timer, 0, sizeof timer);
    CHECK(!SYS(setitimer, 0, timer, NULL));
    CHECK(!SYS(sched_rr_get_interval_time64, 0, &a) && a.tv_sec == 0);
    SYS(close, fd);
}

static void system(unsigned long *auxv)
{
    struct rusage ru;
    memset(&ru, 0xee, sizeof ru);
    CHECK(!SYS(getrusage, 0, &ru) && ru.ru_maxrss > 100 && ru.ru_utime.tv_sec < 100 &&
          (unsigned long)ru.ru_utime.tv_usec < 1000000);
    long t[5] = {-1, -1, -1, -1, 99};
    CHECK(SYS(times, t) && t[0] >= 0 && t[0] < 10000 && t[3] >= 0 && t[4] == 99);
    struct sysinfo si;
    memset(&si, 0, sizeof si);
    CHECK(!SYS(sysinfo, &si) && si.uptime > 0 && si.mem_unit && si.procs);
    CHECK(((unsigned long long)si.totalram * si.mem_unit) >> 26 && si.totalram >= si.freeram);
    struct rlimit64 l = {0};
    CHECK(!SYS(prlimit64, 0, RLIMIT_STACK, NULL, &l) && l.rlim_cur == 8 << 20);
    l.rlim_cur = 1 << 20;
    CHECK(!SYS(prlimit64, 0, RLIMIT_STACK, &l, NULL) &&
          !SYS(prlimit64, 0, RLIMIT_STACK, NULL, &l) && l.rlim_cur == 1 << 20);
    unsigned long set[4] = {0, 0, 0xdeadbeef, 0};
    CHECK(SYS(sched_getaffinity, 0, 8, set) > 0 && (set[0] | set[1]) && set[2] == 0xdeadbeef);
    CHECK(!SYS(sched_setaffinity, 0, 8, set) && SYS(sched_getaffinity, 0, 6, set) == -EINVAL);
    struct new_utsname u;
    CHECK(!SYS(uname, &u));
#if defined(__riscv)
    CHECK(!memcmp(u.machine, "riscv32", 8));
#endif
    CHECK(SYS(getrandom, set, 8, 0) == 8);
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    CHECK(!SYS(capget, &h, d));
    unsigned long page = 0, random = 0, entry = 0, hwcap = 0, phnum = 0;
    for (; auxv[0]; auxv += 2) {
        page = auxv[0] == 6 ? auxv[1] : page;
        random = auxv[0] == 25 ? auxv[1] : random;
        entry = auxv[0] == 9 ? auxv[1] : entry;
        hwcap = auxv[0] == 16 ? auxv[1] : hwcap;
        phnum = auxv[0] == 5 ? auxv[1] : phnum;
    }
    CHECK(page == 4096 && random && entry && phnum > 1 && hwcap >> ('i' - 'a') & 1);
    unsigned long saved[2 * 40];
    long fd = SYS(openat, AT_FDCWD, "/proc/self/auxv", O_RDONLY);
    long n = SYS(read, fd, saved, sizeof saved);
    CHECK(n > 64 && n % 8 == 0 && !saved[n / 4 - 2]);
    SYS(close, fd);
    char dir[512];
    fd = SYS(openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY);
    CHECK(SYS(getdents64, fd, dir, sizeof dir) > 24 && dir[19] == '.');
    SYS(close, fd);
}

int program(int argc, char **argv, char **env, unsigned long *auxv)
{
    if (argc == 2) { // executed by ourselves
        CHECK(!memcmp(argv[1], "again", 6) && !memcmp(env[0], "A=1", 4) && !env[1]);
        return failures;
    }
    files();
    locks();
    waiting();
    memory();
    ipc();
    sockets();
    clocks();
    system(auxv);
    char *const words[] = {argv[0], "again", NULL}, *const vars[] = {"A=1", NULL};
    long child = SYS(clone, 17);
    if (!child) {
        SYS(execve, argv[0], words, vars);
        SYS(exit_group, 1);
    }
    int status[32];
    CHECK(!SYS(waitid, 1, child, status, 4, NULL) && !status[5]);
    put(failures ? "failed\n" : "every call as it should be\n");
    return failures != 0;
}
