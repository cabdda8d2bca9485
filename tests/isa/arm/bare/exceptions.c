// Synchronous exceptions without translation: calls, undefined and trapped instructions, alignment.
#include "bare.h"

#define EL1_CASE(name, code)                                                                       \
    static void name(unsigned long a, unsigned long b)                                             \
    {                                                                                              \
        __asm__ volatile(".globl at_" #name "\nat_" #name ": " code ::"r"(a), "r"(b)               \
                         : "memory", "x2", "x3");                                                  \
    }                                                                                              \
    extern char at_##name[];
EL1_CASE(svc, "svc #0x1234")
EL1_CASE(brk, "brk #0x4321")
EL1_CASE(smc, "smc #1")
EL1_CASE(udf, "udf #7")
EL1_CASE(hlt, "hlt #3")
EL1_CASE(no_register, "mrs x2, s3_7_c9_c15_7")
EL1_CASE(el2_register, "mrs x2, hcr_el2")
EL1_CASE(read_only, ".inst 0xd5180002") // msr midr_el1, x2
EL1_CASE(fp, "fmov d0, x0")
EL1_CASE(pc_align, "br x0")
#define TRY(name, a) report(#name, try(name, (unsigned long)(a), 0), (uint64_t)at_##name)

// Code for EL0: one instruction each, then SVC.
#define EL0_CASE(name, code)                                                                       \
    __asm__(".text\n.balign 16\nel0_" #name ": " code "\n svc #0x99\n");                           \
    extern char el0_##name[];
EL0_CASE(svc, "svc #0x42")
EL0_CASE(daif, "msr daifset, #2")
EL0_CASE(mrs_daif, "mrs x0, daif")
EL0_CASE(ctr, "mrs x3, ctr_el0")
EL0_CASE(sctlr, "mrs x3, sctlr_el1")
EL0_CASE(msr_ttbr, "msr ttbr0_el1, x5")
EL0_CASE(zva, "dc zva, x0")
EL0_CASE(cvau, "dc cvau, x0")
EL0_CASE(ivau, "ic ivau, x0")
EL0_CASE(tlbi, "tlbi vmalle1")
EL0_CASE(counter, "mrs x7, cntvct_el0")
EL0_CASE(fp, "fmov d0, x0")
EL0_CASE(eret, "eret")
EL0_CASE(hvc, "hvc #0")
EL0_CASE(flags, "mov x0, #0xf0000000\n msr nzcv, x0\n mrs x0, nzcv")
EL0_CASE(thread, "msr tpidr_el0, x0\n mrs x1, tpidrro_el0\n mrs x0, tpidr_el0")
EL0_CASE(wfi, "wfi")
#define EL0(name, x0)                                                                              \
    report("el0 " #name, enter_el0((unsigned long)el0_##name, 0, (unsigned long)(x0), 0),          \
           (uint64_t)el0_##name)

EL0_CASE(branch, "br x0")
EL0_CASE(sp_load, "sub sp, sp, #8\n ldr x0, [sp]")
EL0_CASE(sp_moved, "sub sp, sp, #8\n add sp, sp, #8\n ldr x0, [sp]")

static char buffer[256] __attribute__((aligned(256)));

// An access through the other stack pointer, x0.
#define SP_CASE(name, code) EL1_CASE(name, "msr spsel, #0\n mov sp, x0\n" code "\n msr spsel, #1")
SP_CASE(sp_load, "ldr x2, [sp]")
SP_CASE(sp_byte, "ldrb w2, [sp, #1]")
SP_CASE(sp_push, "stp x2, x3, [sp, #-16]!")
SP_CASE(sp_pop, "ldr x2, [sp], #8\n ldr x3, [sp, #8]")
SP_CASE(sp_exclusive, "ldxr x2, [sp]")
SP_CASE(sp_prefetch, "prfm pldl1keep, [sp]")
SP_CASE(sp_vector, ".inst 0x3dc003e0") // ldr q0, [sp]
SP_CASE(sp_moved, "add sp, sp, #8\n ldr x2, [sp]")
SP_CASE(sp_cleared, "and sp, x0, #~15\n ldr x2, [sp]")
SP_CASE(sp_loop, "mov x3, #3000\n1: sub sp, sp, #8\n add sp, sp, #8\n subs x3, x3, #1\n b.ne 1b\n"
                 "sub sp, sp, #24\n ldr x2, [sp]")

static void stack_alignment(void)
{
    uint64_t sctlr = READ(sctlr_el1);
    char *odd = buffer + 128 + 8, *even = buffer + 128;
    WRITE(sctlr_el1, sctlr & ~0x18ull);
    TRY(sp_load, odd);
    EL0(sp_load, 0);
    WRITE(sctlr_el1, sctlr | 0x18);
    TRY(sp_load, even);
    TRY(sp_load, odd);
    TRY(sp_byte, odd);
    TRY(sp_push, odd);
    TRY(sp_pop, even);
    TRY(sp_exclusive, odd);
    TRY(sp_prefetch, odd);
    TRY(sp_vector, odd);
    WRITE(cpacr_el1, 0);
    TRY(sp_vector, odd);
    WRITE(cpacr_el1, 3 << 20);
    TRY(sp_moved, odd);
    TRY(sp_moved, even);
    TRY(sp_cleared, odd);
    TRY(sp_loop, even);
    EL0(sp_load, 0);
    EL0(sp_moved, 0);
    WRITE(sctlr_el1, (sctlr | 8) & ~0x10ull);
    EL0(sp_load, 0);
    WRITE(sctlr_el1, sctlr);
}

void test_exceptions(void)
{
    WRITE(cpacr_el1, 0);
    TRY(svc, 0);
    TRY(brk, 0);
    TRY(smc, 0);
    TRY(udf, 0);
    TRY(hlt, 0);
    TRY(no_register, 0);
    TRY(el2_register, 0);
    TRY(read_only, 0);
    TRY(fp, 0);
    WRITE(cpacr_el1, 3 << 20);
    TRY(fp, 0);
    WRITE(cpacr_el1, 1 << 20);
    TRY(fp, 0);
    report("pc_align", try(pc_align, (unsigned long)buffer + 2, 0), (uint64_t)buffer);
    WRITE(tpidrro_el0, 0x1234);
    EL0(svc, 0);
    EL0(daif, 0);
    EL0(mrs_daif, 0);
    EL0(ctr, 0);
    EL0(sctlr, 0);
    EL0(msr_ttbr, 0);
    EL0(cvau, buffer);
    EL0(ivau, buffer);
    EL0(tlbi, 0);
    EL0(counter, 0);
    EL0(fp, 0);
    EL0(eret, 0);
    EL0(hvc, 0);
    EL0(flags, 0);
    LINE("flags", record.x0);
    EL0(thread, 77);
    LINE("thread", record.x0, record.x1);
    WRITE(sctlr_el1, READ(sctlr_el1) & ~(1ull << 16));
    EL0(wfi, 0);
    WRITE(cntkctl_el1, 2);
    EL0(counter, 0);
    WRITE(sctlr_el1, READ(sctlr_el1) | 1 << 9 | 1 << 15 | 1 << 26);
    EL0(mrs_daif, 0);
    EL0(daif, 0);
    EL0(ctr, 0);
    EL0(cvau, buffer);
    WRITE(cpacr_el1, 3 << 20);
    EL0(fp, 0);
    report("el0 branch", enter_el0((unsigned long)el0_branch, 0, (unsigned long)buffer + 2, 0),
           (uint64_t)buffer);
    stack_alignment();
}
