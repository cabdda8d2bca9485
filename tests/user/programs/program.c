// One program, built for the host and for a guest CPU: it must print the same under user mode as on
// the host. Each case asks the kernel, the C library and the CPU for something that both define
// alike; nothing that differs between machines (addresses, ids, times) is printed.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_ulong sum;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long guarded;

static void *count(void *arg)
{
    for (unsigned long i = 0; i < 20000; i++) {
        atomic_fetch_add(&sum, i);
        pthread_mutex_lock(&lock);
        guarded += (unsigned long)arg;
        pthread_mutex_unlock(&lock);
    }
    return arg;
}

static void threads(void)
{
    pthread_t t[4];
    unsigned long back = 0;
    for (unsigned long i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, count, (void *)(i + 1));
    for (int i = 0; i < 4; i++) {
        void *r;
        pthread_join(t[i], &r);
        back += (unsigned long)r;
    }
    printf("threads %lu %lu %lu\n", (unsigned long)sum, guarded, back);
}

static void files(void)
{
    char name[] = "/tmp/myna-user-XXXXXX", buf[32] = "";
    struct stat st;
    int fd = mkstemp(name);
    printf("write %zd\n", pwrite(fd, "hello, guest", 12, 4096));
    printf("read %zd", pread(fd, buf, sizeof buf, 4100));
    printf(" '%s', size %lld\n", buf, fstat(fd, &st) ? -1LL : (long long)st.st_size);
    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    map[4096] = 'H';
    munmap(map, 8192);
    printf("mapped %zd", pread(fd, buf, 1, 4096));
    printf(" %c\n", buf[0]);
    printf("close %d", close(fd));
    printf(", again %d", close(fd));
    printf(" %s\n", strerror(errno));
    unlink(name);
    printf("gone %d", open(name, O_RDONLY));
    printf(" %s\n", strerror(errno));
}

static sigjmp_buf out;
static volatile sig_atomic_t seen;

static void caught(int sig, siginfo_t *info, void *context)
{
    seen = sig * 100 + info->si_code;
    if (sig == SIGSEGV)
        siglongjmp(out, 1);
}

static void signals(void)
{
    struct sigaction a = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &a, NULL);
    sigaction(SIGSEGV, &a, NULL);
    kill(getpid(), SIGUSR1);
    printf("signal %d\n", (int)seen);
    volatile char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!sigsetjmp(out, 1))
        page[8] = 1;
    printf("fault %d\n", (int)seen);
    mprotect((void *)page, 4096, PROT_READ | PROT_WRITE);
    page[8] = 7;
    printf("allowed %d\n", page[8]);
}

static void processes(void)
{
    int p[2], status;
    char buf[8] = "";
    printf("socketpair %d\n", socketpair(AF_UNIX, SOCK_STREAM, 0, p));
    fflush(stdout);
    pid_t child = fork();
    if (!child)
        _exit(write(p[1], "child", 5) == 5 ? 42 : 1);
    printf("waited %d", waitpid(child, &status, 0) == child);
    printf(" status %d, read %zd", WEXITSTATUS(status), read(p[0], buf, 5));
    printf(" %s\n", buf);
}

int main(int argc, char **argv)
{
    printf("arguments %d %s, %s\n", argc, argc > 1 ? argv[1] : "-", getenv("MYNA_TEST"));
    threads();
    files();
    signals();
    processes();
    double x = strtod("0x1.8p-3", NULL);
    printf("numbers %a %.17g %lld\n", x / 3, x * 1e300 * 1e10, (long long)(x * 1e18));
    return 3;
}
