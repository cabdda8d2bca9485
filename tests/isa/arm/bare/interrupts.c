// Interrupts through a GICv2: the virtual and physical timer, one software interrupt, masking, and
// the overflow of performance counters while code loops.
#include "bare.h"

enum { GICD = 0x08000000, GICC = 0x08010000 };
static volatile unsigned seen[8], count;

static volatile uint32_t *reg(uint64_t a)
{
    return (volatile uint32_t *)a;
}

void on_interrupt(uint64_t vector);
void on_interrupt(uint64_t vector)
{
    uint32_t id = *reg(GICC + 0xc);
    if (count < 8)
        seen[count++] = (unsigned)vector << 12 | (id & 0x3ff);
    WRITE(cntv_ctl_el0, 0);
    WRITE(cntp_ctl_el0, 0);
    WRITE(pmovsclr_el0, ~0u);
    *reg(GICC + 0x10) = id;
}

static void unmask(bool on)
{
    if (on)
        __asm__ volatile("msr daifclr, #2" ::: "memory");
    else
        __asm__ volatile("msr daifset, #2" ::: "memory");
}

static void wait_for(unsigned n)
{
    for (; count < n; unmask(true)) { // masked, so that none slips in before the WFI
        unmask(false);
        if (count < n)
            __asm__ volatile("wfi");
    }
}

// Nothing but the counter ends this loop, and all of it that changes is in registers.
static void loop_until(unsigned n)
{
    while (count < n)
        ;
}

static void overflows(void)
{
    enum { CYCLES = 1 << 31, INST_RETIRED = 8, LEFT = 5000000 };
    WRITE(pmcr_el0, 1);
    WRITE(pmccfiltr_el0, 0);
    WRITE(pmevtyper0_el0, INST_RETIRED);
    WRITE(pmintenset_el1, CYCLES | 1);
    WRITE(pmccntr_el0, 0xffffffff - LEFT);
    WRITE(pmcntenset_el0, (uint32_t)CYCLES);
    loop_until(5);
    WRITE(pmcntenclr_el0, (uint32_t)CYCLES);
    LINE("cycles", seen[4], (uint32_t)READ(pmccntr_el0) < 1 << 30);
    WRITE(pmevcntr0_el0, 0xffffffff - LEFT);
    WRITE(pmcntenset_el0, 1);
    loop_until(6);
    WRITE(pmcntenclr_el0, 1);
    LINE("instructions", seen[5], READ(pmevcntr0_el0) < 1 << 30);
    WRITE(pmintenclr_el1, ~0u);
    WRITE(pmcr_el0, 0);
}

void test_interrupts(void)
{
    *reg(GICD) = 1;
    *reg(GICC) = 1;
    *reg(GICC + 4) = 0xff;
    *reg(GICD + 0x100) = 1 << 27 | 1 << 30 | 1 << 23 | 1 << 3;
    uint64_t start = READ(cntvct_el0);
    WRITE(cntv_tval_el0, 100000);
    WRITE(cntv_ctl_el0, 1);
    unmask(true);
    wait_for(1);
    LINE("virtual timer", seen[0], READ(cntvct_el0) - start >= 100000, READ(cntv_ctl_el0));
    WRITE(cntp_cval_el0, READ(cntpct_el0) + 50000);
    WRITE(cntp_ctl_el0, 1);
    wait_for(2);
    LINE("physical timer", seen[1], READ(cntp_ctl_el0));
    unmask(false);
    WRITE(cntv_tval_el0, 0);
    WRITE(cntv_ctl_el0, 3);
    LINE("masked in the timer", READ(cntv_ctl_el0), READ(isr_el1));
    WRITE(cntv_ctl_el0, 1);
    while (!READ(isr_el1))
        ;
    LINE("pending", READ(cntv_ctl_el0), READ(isr_el1), count);
    unmask(true);
    wait_for(3);
    LINE("taken", seen[2], READ(isr_el1));
    *reg(GICD + 0xf00) = 2 << 24 | 3;
    wait_for(4);
    LINE("software interrupt", seen[3]);
    overflows();
    unmask(false);
}
