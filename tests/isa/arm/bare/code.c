// Code that changes, block zeroing, the exclusive monitor, and state that only EL1 sees.
#include "bare.h"

static uint32_t patch[16] __attribute__((aligned(64)));
static uint8_t block[8192] __attribute__((aligned(4096)));

static void sync_code(void *at)
{
    __asm__ volatile("dc cvau, %0\n dsb ish\n ic ivau, %0\n dsb ish\n isb" ::"r"(at) : "memory");
}

static void self_modifying(void)
{
    uint64_t (*fn)(void) = (uint64_t(*)(void))patch;
    uint64_t sum = 0;
    patch[1] = 0xd65f03c0; // ret
    for (unsigned n = 0; n < 2000; n++) {
        patch[0] = 0xd2800000 | (n & 0xffff) << 5; // mov x0, #n
        sync_code(patch);
        sum = sum * 31 + fn();
    }
    LINE("self-modifying", sum);
    // An instruction rewritten by the one before it, in the same line.
    uint32_t code[] = {0xb9000801, // str w1, [x0, #8]
                       0xd5033fdf, // isb
                       0xd2800020, // mov x0, #1: replaced
                       0xd65f03c0};
    for (unsigned k = 0; k < 4; k++)
        patch[k] = code[k];
    sync_code(patch);
    uint64_t (*store)(uint32_t *, uint32_t) = (uint64_t(*)(uint32_t *, uint32_t))patch;
    store(patch, 0xd2800040);
    sync_code(patch);
    LINE("rewritten", store(patch, 0xd2800060) & ~3ull, patch[2]);
}

static void zeroing(void)
{
    unsigned size = 4u << (READ(dczid_el0) & 15), zero = 0;
    for (unsigned n = 0; n < sizeof block; n++)
        block[n] = 0xff;
    __asm__ volatile("dc zva, %0" ::"r"(block + 4096 + 5) : "memory");
    for (unsigned n = 0; n < sizeof block; n++)
        zero += !block[n];
    LINE("zeroed", zero == size, block[4095], block[4096], block[4096 + size]);
}

static uint64_t exclusive(unsigned between)
{
    uint64_t x = 5, status, saved_sp = 0;
    static uint64_t at;
    switch (between) {
    case 0:
        __asm__ volatile("ldxr x2, [%1]\n stxr %w0, %2, [%1]"
                         : "=&r"(status)
                         : "r"(&at), "r"(x)
                         : "x2", "memory");
        break;
    case 1:
        __asm__ volatile("ldxr x2, [%1]\n clrex\n stxr %w0, %2, [%1]"
                         : "=&r"(status)
                         : "r"(&at), "r"(x)
                         : "x2", "memory");
        break;
    case 2:
        __asm__ volatile(
            "adr x3, 1f\n msr elr_el1, x3\n mrs x3, daif\n add x3, x3, #5\n msr spsr_el1, x3\n"
            "ldxr x2, [%1]\n eret\n1: stxr %w0, %2, [%1]"
            : "=&r"(status)
            : "r"(&at), "r"(x)
            : "x2", "x3", "memory");
        break;
    default:
        __asm__ volatile("stxr %w0, %2, [%1]" : "=&r"(status) : "r"(&at), "r"(x) : "memory");
    }
    return status + saved_sp;
}

static void flags_of_pstate(void)
{
    __asm__ volatile("msr daifset, #15");
    uint64_t all = READ(daif);
    __asm__ volatile("msr daifclr, #5");
    uint64_t some = READ(daif);
    __asm__ volatile("msr daifset, #15\n msr daifclr, #13");
    LINE("masks", all, some, READ(daif));
    __asm__ volatile("msr daifset, #15");
    uint64_t sp;
    __asm__ volatile("mov %0, sp\n msr spsel, #0\n mov x1, #0x1230\n mov sp, x1\n msr spsel, #1\n"
                     "mov x1, sp\n sub %0, %0, x1"
                     : "=&r"(sp)::"x1");
    LINE("stack pointers", sp, READ(sp_el0));
}

static void illegal_return(void)
{
    uint64_t pstate;
    // SPSR asks for EL2: the return is illegal, IL is set, and the next instruction traps.
    __asm__ volatile(
        "adr x1, 1f\n msr elr_el1, x1\n mov x1, #0x3c9\n msr spsr_el1, x1\n eret\n1: nop" ::
            : "x1", "memory");
    pstate = READ(daif);
    LINE("not reached", pstate);
}

static void illegal(unsigned long a, unsigned long b)
{
    illegal_return();
}

void test_code(void)
{
    self_modifying();
    zeroing();
    LINE("exclusive", exclusive(0), exclusive(1), exclusive(2), exclusive(3));
    flags_of_pstate();
    unsigned long taken = try(illegal, 0, 0);
    LINE("illegal return", taken, record.vector, record.esr, record.spsr & 0xf03003ff);
}
