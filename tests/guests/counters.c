// Counts its own work with Linux's perf events, at user level alone: instructions of a loop whose
// number is known, cycles, and that a counter of instructions overflows (signals run together, so
// not how often). Static, for a guest without anything else. Prints "counters: ..." and ends with
// status 0 if the figures can be true.
#include <linux/perf_event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <fcntl.h>

enum { ROUNDS = 3000000, PERIOD = 500000 };
static volatile int overflows;

static void on_overflow(int number)
{
    overflows++;
}

static int open_counter(unsigned long long config, unsigned long long period)
{
    struct perf_event_attr a = {.type = PERF_TYPE_HARDWARE,
                                .size = sizeof a,
                                .config = config,
                                .disabled = 1,
                                .exclude_kernel = 1,
                                .exclude_hv = 1,
                                .sample_period = period,
                                .wakeup_events = 1};
    return (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
}

// Two instructions each round.
static void work(void)
{
    long n = ROUNDS;
    __asm__ volatile("1: addi %0, %0, -1\n bnez %0, 1b" : "+r"(n));
}

static long long measure(int fd)
{
    long long v = -1;
    ioctl(fd, PERF_EVENT_IOC_RESET, 0);
    ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
    work();
    ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
    if (read(fd, &v, sizeof v) != sizeof v)
        return -1;
    return v;
}

int main(void)
{
    int instructions = open_counter(PERF_COUNT_HW_INSTRUCTIONS, 0),
        cycles = open_counter(PERF_COUNT_HW_CPU_CYCLES, 0);
    int sampled = open_counter(PERF_COUNT_HW_INSTRUCTIONS, PERIOD);
    if (instructions < 0 || cycles < 0 || sampled < 0) {
        perror("counters: perf_event_open");
        return 1;
    }
    signal(SIGIO, on_overflow);
    fcntl(sampled, F_SETFL, O_ASYNC);
    fcntl(sampled, F_SETOWN, getpid());
    long long n = measure(instructions), c = measure(cycles);
    measure(sampled);
    printf("counters: instructions %lld cycles %lld overflows %d\n", n, c, overflows);
    return !(n >= 2 * ROUNDS && n < 2 * ROUNDS + 2000 && c > 0 && overflows >= 1 &&
             overflows <= 2 * ROUNDS / PERIOD + 1);
}
