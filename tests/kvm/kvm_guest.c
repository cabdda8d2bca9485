// Runs in the inner guest of tests/kvm/bench.py and prints one figure a line: port exits, virtio
// kicks, random 4 KiB requests of a disk, each per second of guest time: the best of a few rounds,
// as the machine below has other things to do, too.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
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

int main(int argc, char **argv)
{
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
