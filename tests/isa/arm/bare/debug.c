// Self-hosted debug: software step, hardware breakpoints and watchpoints of EL0 code.
#include "bare.h"

__asm__(".text\n.balign 16\nsteps: mov x0, #1\n add x0, x0, #2\n b 1f\n nop\n1: str x0, [x1]\n"
        "ldr x0, [x1, #8]\n svc #5\n");
extern char steps[];
static uint64_t watched[4] __attribute__((aligned(32)));

void test_debug(void)
{
    uint64_t pc = (uint64_t)steps;
    WRITE(oslar_el1, 0);
    WRITE(mdscr_el1, 1);
    for (unsigned n = 0; n < 8; n++) {
        report("step", enter_el0(pc, 1 << 21, n, (unsigned long)watched), (uint64_t)steps);
        pc = record.elr;
    }
    report("step pending", enter_el0((uint64_t)steps, 0, 0, 0), (uint64_t)steps);
    WRITE(mdscr_el1, 1 << 15);
    WRITE(dbgbvr0_el1, steps + 4);
    WRITE(dbgbcr0_el1, 1 | 2 << 1 | 0xf << 5);
    report("breakpoint", enter_el0((uint64_t)steps, 0, 0, (unsigned long)watched), (uint64_t)steps);
    WRITE(dbgbcr0_el1, 1 | 1 << 1 | 0xf << 5);
    report("breakpoint of EL1", enter_el0((uint64_t)steps, 0, 0, (unsigned long)watched),
           (uint64_t)steps);
    WRITE(dbgbcr0_el1, 0);
    WRITE(dbgwvr0_el1, watched);
    WRITE(dbgwcr0_el1, 1 | 2 << 1 | 2 << 3 | 0xff << 5);
    report("watch store", enter_el0((uint64_t)steps, 0, 0, (unsigned long)watched),
           (uint64_t)steps);
    LINE("watch offset", record.far - (uint64_t)watched);
    WRITE(dbgwvr0_el1, watched + 1);
    WRITE(dbgwcr0_el1, 1 | 2 << 1 | 1 << 3 | 0xff << 5);
    report("watch load", enter_el0((uint64_t)steps, 0, 0, (unsigned long)watched), (uint64_t)steps);
    WRITE(dbgwcr0_el1, 1 | 1 << 1 | 3 << 3 | 0xff << 5);
    report("watch of EL1", enter_el0((uint64_t)steps, 0, 0, (unsigned long)watched),
           (uint64_t)steps);
    WRITE(dbgwcr0_el1, 0);
    WRITE(mdscr_el1, 0);
}
