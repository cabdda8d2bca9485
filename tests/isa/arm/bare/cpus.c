// Several CPUs through PSCI: power, and atomic updates of shared memory in every form there is.
#include "bare.h"

enum { CPUS = 4, ROUNDS = 20000 };
static volatile uint64_t exclusive_count, atomic_count, locked_count, lock, turns[CPUS], done;

static uint64_t psci(uint64_t fn, uint64_t a, uint64_t b, uint64_t c)
{
    register uint64_t x0 __asm__("x0") = fn, x1 __asm__("x1") = a, x2 __asm__("x2") = b,
                         x3 __asm__("x3") = c;
    __asm__ volatile("hvc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)::"memory");
    return x0;
}

static void add_exclusive(volatile uint64_t *at)
{
    __asm__ volatile("1: ldxr x2, [%0]\n add x2, x2, #1\n stxr w3, x2, [%0]\n cbnz w3, 1b" ::"r"(at)
                     : "x2", "x3", "memory");
}

static void add_locked(void)
{
    __asm__ volatile(
        "1: ldaxr w2, [%0]\n cbnz w2, 1b\n mov w2, #1\n stxr w3, w2, [%0]\n cbnz w3, 1b" ::"r"(
            &lock)
        : "x2", "x3", "memory");
    locked_count = locked_count + 1;
    __asm__ volatile("stlr wzr, [%0]" ::"r"(&lock) : "memory");
}

static void add_atomic(volatile uint64_t *at)
{
    if ((READ(id_aa64isar0_el1) >> 20 & 15) >= 2)
        __asm__ volatile(".arch armv8.1-a\n stadd %1, [%0]" ::"r"(at), "r"(1ul) : "memory");
    else
        add_exclusive(at);
}

static void work(unsigned cpu)
{
    for (unsigned n = 0; n < ROUNDS; n++) {
        add_exclusive(&exclusive_count);
        add_atomic(&atomic_count);
        add_locked();
        turns[cpu] = turns[cpu] + 1;
    }
}

void secondary_main(void);
void secondary_main(void)
{
    work(READ(mpidr_el1) & 0xff);
    add_exclusive(&done);
}

void test_cpus(void)
{
    LINE("psci version", psci(0x84000000, 0, 0, 0) >> 16);
    LINE("affinity before", psci(0xc4000004, 0, 0, 0), psci(0xc4000004, 1, 0, 0),
         psci(0xc4000004, 99, 0, 0));
    uint64_t started[CPUS] = {0};
    for (unsigned n = 1; n < CPUS; n++)
        started[n] =
            psci(0xc4000003, n, (uint64_t)secondary, (uint64_t)stacks + 0x8000 + n * 0x4000);
    LINE("started", started[1], started[2], started[3]);
    work(0);
    while (done != CPUS - 1)
        ;
    LINE("counts", exclusive_count, atomic_count, locked_count, turns[0], turns[1], turns[2],
         turns[3]);
    for (unsigned n = 1; n < CPUS; n++)
        while (psci(0xc4000004, n, 0, 0) != 1)
            ;
    LINE("again", psci(0xc4000003, 1, (uint64_t)secondary, (uint64_t)stacks + 0xc000));
    while (done != CPUS)
        ;
    LINE("counts", exclusive_count, psci(0xc4000003, 0, 0, 0), psci(0xc4000003, 99, 0, 0));
}
