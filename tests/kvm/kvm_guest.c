// Runs in the inner guest of tests/kvm/bench.py and prints one figure a line: port exits, virtio
// kicks, random 4 KiB requests of a disk, each per second of guest time.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
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

// Reads of a port that no device has: the way out and back, and the look-up.
static void ports(void)
{
    enum { N = 20000 };
    if (iopl(3))
        return;
    double t = now();
    for (int i = 0; i < N; i++)
        inb(0xed);
    printf("BENCH port-exits %.0f\n", N / (now() - t));
}

// The notify register of a virtio-mmio slot whose driver runs.
static void kicks(const char *address)
{
    enum { N = 20000 };
    uint64_t at = strtoull(address, NULL, 16);
    int fd = open("/dev/mem", O_RDWR | O_SYNC);
    volatile uint32_t *p =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(at & ~4095ull));
    if (fd < 0 || p == MAP_FAILED)
        return;
    double t = now();
    for (int i = 0; i < N; i++)
        p[((at & 4095) + 0x50) / 4] = 0;
    printf("BENCH kicks %.0f\n", N / (now() - t));
}

static void disk(const char *path)
{
    enum { N = 1500, BLOCKS = 2048 };
    int fd = open(path, O_RDWR | O_DIRECT);
    void *buf;
    unsigned x = 1;
    if (fd < 0 || posix_memalign(&buf, 4096, 4096)) {
        printf("FAILED %s: %s\n", path, strerror(errno));
        return;
    }
    double t = now();
    for (int i = 0; i < N; i++) {
        x = x * 1103515245 + 12345;
        off_t at = (off_t)(x >> 8) % BLOCKS * 4096;
        if ((i & 3 ? pread(fd, buf, 4096, at) : pwrite(fd, buf, 4096, at)) != 4096) {
            printf("FAILED %s: %s\n", path, strerror(errno));
            return;
        }
    }
    printf("BENCH disk-4k %.0f\n", N / (now() - t));
}

int main(int argc, char **argv)
{
    ports();
    if (argc > 1)
        kicks(argv[1]);
    if (argc > 2)
        disk(argv[2]);
    return 0;
}
