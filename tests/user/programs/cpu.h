// What the guest programs say in instructions, for each guest CPU.
#pragma once

#include <stdint.h>

#if defined(__aarch64__)

#define BREAKPOINT    "brk #1"
#define STACK_CHECKED 1 // loads and stores through the stack pointer check its alignment
#define NOP           0xd503201f
#define NOP_ALIGNMENT 4

// A function that returns n.
static inline void put_function(uint32_t *code, uint32_t n)
{
    code[0] = 0x52800000 | n << 5; // mov w0, #n
    code[1] = 0xd65f03c0;          // ret
}

static inline void load_off_stack(unsigned long distance)
{
    __asm__ volatile(
        "mov x9, sp\n sub x10, x9, %0\n mov sp, x10\n ldr x10, [sp]\n mov sp, x9" ::"r"(distance)
        : "x9", "x10", "memory");
}

static inline void clobber_fp(void)
{
    __asm__ volatile("movi v0.16b, #1\n movi v8.16b, #2\n movi v31.16b, #3" ::: "v0", "v31");
}

// kill(), with *x and *y in floating-point registers all the while.
static inline long kill_with_fp(long process, long signal, double *x, double *y)
{
    register double a __asm__("d0") = *x, b __asm__("d8") = *y;
    register long nr __asm__("x8") = 129, r __asm__("x0") = process, sig __asm__("x1") = signal;
    __asm__ volatile("svc #0" : "+r"(r), "+w"(a), "+w"(b) : "r"(nr), "r"(sig) : "memory");
    *x = a;
    *y = b;
    return r;
}

#elif defined(__riscv)

#define BREAKPOINT    "ebreak"
#define STACK_CHECKED 0
#define NOP           0x00000013
#define NOP_ALIGNMENT 2

static inline void put_function(uint32_t *code, uint32_t n)
{
    code[0] = 0x00000513 | n << 20; // li a0, n
    code[1] = 0x00008067;           // ret
}

static inline void load_off_stack(unsigned long distance)
{
    __asm__ volatile("mv t0, sp\n sub sp, sp, %0\n ld t1, 0(sp)\n mv sp, t0" ::"r"(distance)
                     : "t0", "t1", "memory");
}

static inline void clobber_fp(void)
{
    __asm__ volatile("fmv.d.x fa0, sp\n fmv.d.x fs0, sp\n fmv.d.x ft11, sp\n fsflags zero" ::
                         : "fa0", "ft11");
}

static inline long kill_with_fp(long process, long signal, double *x, double *y)
{
    register double a __asm__("fa0") = *x, b __asm__("fs0") = *y;
    register long nr __asm__("a7") = 129, r __asm__("a0") = process, sig __asm__("a1") = signal;
    __asm__ volatile("ecall" : "+r"(r), "+f"(a), "+f"(b) : "r"(nr), "r"(sig) : "memory");
    *x = a;
    *y = b;
    return r;
}

#endif
