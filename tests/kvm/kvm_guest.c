// Runs in the inner guest of tests/kvm/bench.py and prints one figure a line: port exits, virtio
// kicks, random 4 KiB requests of a disk, each per second of guest time: the best of a few rounds,
// as the machine below has other things to do, too. In the outer machine, as `kvm_guest first N
// COMMAND...`, it starts a command N times and says how long the first byte of its output takes.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// The best rate of ROUNDS times n calls of `one`; 0 when one fails.
static double best(int n, bool (*one)(void *), void *arg)
{
    enum { ROUNDS = 5 };
    double most = 0;
    for (int r = 0; r < ROUNDS; r++) {
        double t = now();
        for (int i = 0; i < n; i++)
            if (!one(arg))
                return 0;
        double rate = n / (now() - t);
        most = rate > most ? rate : most;
    }
    return most;
}

static void report(const char *what, double rate)
{
    if (rate > 0)
        printf("BENCH %s %.0f\n", what, rate);
    else
        printf("FAILED %s: %s\n", what, strerror(errno));
}

// A read of a port that no device has: the way out and back, and the look-up.
static bool read_port(void *arg)
{
    inb(0xed);
    return true;
}

static bool kick(void *arg)
{
    *(volatile uint32_t *)arg = 0;
    return true;
}

// The notify register of a virtio-mmio slot whose driver runs.
static volatile uint32_t *notify_register(const char *address)
{
    uint64_t at = strtoull(address, NULL, 16);
    int fd = open("/dev/mem", O_RDWR | O_SYNC);
    char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(at & ~4095ull));
    return fd < 0 || p == MAP_FAILED ? NULL : (volatile uint32_t *)(p + (at & 4095) + 0x50);
}

struct disk {
    int fd;
    void *buf;
    unsigned x, n;
};

static bool request(void *arg)
{
    enum { BLOCKS = 2048 };
    struct disk *d = arg;
    d->x = d->x * 1103515245 + 12345;
    off_t at = (off_t)(d->x >> 8) % BLOCKS * 4096;
    return (d->n++ & 3 ? pread(d->fd, d->buf, 4096, at) : pwrite(d->fd, d->buf, 4096, at)) == 4096;
}

// Seconds from the start of a command to the first byte it writes; 0 when there is none.
static double first_byte(char **command)
{
    int ends[2];
    char byte;
    if (pipe(ends))
        return 0;
    double t = now();
    pid_t pid = fork();
    if (!pid) {
        dup2(open("/dev/null", O_RDONLY), 0);
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        execv(command[0], command);
        _exit(127);
    }
    close(ends[1]);
    double took = read(ends[0], &byte, 1) == 1 ? now() - t : 0;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(ends[0]);
    return took;
}

static int first(int n, char **command)
{
    double least = 1e9;
    for (int i = 0; i < n; i++) {
        double took = first_byte(command);
        least = took < least ? took : least;
    }
    printf(least > 0 ? "BENCH first-instruction-s %.4f\n" : "FAILED first-instruction-s\n", least);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 3 && !strcmp(argv[1], "first"))
        return first(atoi(argv[2]), argv + 3);
    if (argc != 3)
        return 2;
    report("port-exits", iopl(3) ? 0 : best(4000, read_port, NULL));
    volatile uint32_t *notify = notify_register(argv[1]);
    report("kicks", notify ? best(4000, kick, (void *)notify) : 0);
    struct disk d = {.fd = open(argv[2], O_RDWR | O_DIRECT), .x = 1};
    bool ready = d.fd >= 0 && !posix_memalign(&d.buf, 4096, 4096);
    report("disk-4k", ready ? best(300, request, &d) : 0);
    return 0;
}
