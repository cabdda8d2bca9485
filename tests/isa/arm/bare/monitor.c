// The performance monitor: what it counts and where, exactly, and the overflow that interrupts.
#include "bare.h"

enum { SW_INCR = 0, INST_RETIRED = 8, CPU_CYCLES = 0x11, NOT_EL1 = 1u << 31, NOT_EL0 = 1u << 30 };
enum { GICD_ISPENDR0 = 0x08000200, OVERFLOW_PPI = 23 };

__asm__(".text\n.balign 16\nsix: mov x0, #1\n add x0, x0, #2\n b 1f\n nop\n1: cbz xzr, 2f\n nop\n"
        "2: mrs x1, nzcv\n svc #5\n");
extern char six[];

__attribute__((noinline)) static uint64_t counted_loop(unsigned long rounds)
{
    uint64_t before = READ(pmevcntr0_el0);
    __asm__ volatile("1: add x9, x9, #1\n eor x10, x9, x10\n subs %0, %0, #1\n b.ne 1b"
                     : "+r"(rounds)::"x9", "x10", "cc");
    return READ(pmevcntr0_el0) - before;
}

static bool pending(void)
{
    return *(volatile uint32_t *)(uint64_t)GICD_ISPENDR0 >> OVERFLOW_PPI & 1;
}

static void undefined(unsigned long a, unsigned long b)
{
    WRITE(S3_3_C9_C12_6, 0);
}

void test_monitor(void)
{
    uint64_t cr = READ(pmcr_el0), events = READ(pmceid0_el0);
    LINE("monitor", cr >> 11 & 0x1f, events >> SW_INCR & 1, events >> INST_RETIRED & 1,
         events >> CPU_CYCLES & 1);
    report("identification is read-only", try(undefined, 0, 0), (uint64_t)undefined);
    WRITE(pmcr_el0, 1 | 2 | 4);
    WRITE(pmevtyper0_el0, INST_RETIRED);
    WRITE(pmcntenset_el0, 1 | 1ul << 31);
    uint64_t fixed = counted_loop(1) - 4;
    LINE("instructions", counted_loop(1000) - fixed, counted_loop(100000) - fixed);

    WRITE(pmevtyper0_el0, INST_RETIRED | NOT_EL1);
    uint64_t before = READ(pmevcntr0_el0);
    for (int i = 0; i < 100; i++)
        enter_el0((unsigned long)six, 0, 0, 0);
    LINE("instructions of EL0", READ(pmevcntr0_el0) - before);
    WRITE(pmevtyper0_el0, INST_RETIRED | NOT_EL0);
    WRITE(pmselr_el0, 0);
    WRITE(pmcntenclr_el0, 1);
    LINE("selected", READ(pmxevtyper_el0), READ(pmxevcntr_el0) == READ(pmevcntr0_el0));
    WRITE(pmcntenset_el0, 1);

    uint64_t cycles = READ(pmccntr_el0);
    counted_loop(100000);
    LINE("cycles go on", READ(pmccntr_el0) > cycles);
    WRITE(pmcntenclr_el0, 1ul << 31);
    cycles = READ(pmccntr_el0);
    counted_loop(1000);
    LINE("and stop", READ(pmccntr_el0) - cycles);

    WRITE(pmevtyper1_el0, SW_INCR);
    WRITE(pmevcntr1_el0, 0xfffffffd);
    WRITE(pmcntenset_el0, 2);
    WRITE(pmintenset_el1, 2);
    for (int i = 0; i < 2; i++)
        WRITE(pmswinc_el0, 2);
    LINE("below", READ(pmevcntr1_el0), READ(pmovsset_el0), pending());
    WRITE(pmswinc_el0, 2);
    LINE("overflow", READ(pmevcntr1_el0), READ(pmovsset_el0), pending());
    WRITE(pmovsclr_el0, 2);
    LINE("cleared", READ(pmovsset_el0), pending());

    WRITE(pmccntr_el0, 0xffffffff - 2000000);
    WRITE(pmintenset_el1, 1ul << 31);
    WRITE(pmcntenset_el0, 1ul << 31);
    uint64_t end = READ(cntvct_el0) + 5 * READ(cntfrq_el0);
    while (!pending() && READ(cntvct_el0) < end)
        ;
    LINE("cycles overflow", pending(), READ(pmovsset_el0));
    WRITE(pmovsclr_el0, ~0u);
    WRITE(pmevtyper0_el0, INST_RETIRED);
    WRITE(pmevcntr0_el0, 0xffffffff - 3000000);
    WRITE(pmintenset_el1, 1);
    while (!pending() && READ(cntvct_el0) < end)
        ;
    LINE("instructions overflow", pending(), READ(pmovsset_el0) & 1);
    WRITE(pmcr_el0, 0);
    LINE("off", pending());
    WRITE(pmintenclr_el1, ~0u);
    WRITE(pmcntenclr_el0, ~0u);
    WRITE(pmovsclr_el0, ~0u);
}
