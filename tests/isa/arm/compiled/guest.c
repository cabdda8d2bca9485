// The kernels as a bare-metal program of the virt board: EL1 with floating point, identity-mapped
// normal memory, output to the PL011, power off at the end.
#include "kernels.h"

static void put(char c)
{
    *(volatile uint32_t *)0x09000000 = (uint32_t)c;
}

void show(const char *name, uint64_t value)
{
    while (*name)
        put(*name++);
    put(':');
    put(' ');
    for (int at = 60; at >= 0; at -= 4)
        put("0123456789abcdef"[value >> at & 15]);
    put('\n');
}

// Compilers call these even without a library.
void *memcpy(void *to, const void *from, size_t n)
{
    char *d = to;
    const char *s = from;
    for (size_t k = 0; k < n; k++)
        d[k] = s[k];
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    char *d = to;
    const char *s = from;
    if (d <= s)
        return memcpy(to, from, n);
    while (n--)
        d[n] = s[n];
    return to;
}

void *memset(void *to, int c, size_t n)
{
    char *d = to;
    while (n--)
        *d++ = (char)c;
    return to;
}

int memcmp(const void *x, const void *y, size_t n)
{
    const unsigned char *a = x, *b = y;
    for (size_t k = 0; k < n; k++)
        if (a[k] != b[k])
            return a[k] - b[k];
    return 0;
}

static uint64_t blocks[512] __attribute__((aligned(4096)));
static char stack[1 << 20] __attribute__((aligned(16), used));

void start(void);
void start(void)
{
    blocks[0] = 1 | 1 << 10 | 1 << 2;              // the first gigabyte: devices
    blocks[1] = 0x40000000 | 1 | 1 << 10 | 3 << 8; // memory
    __asm__ volatile("msr mair_el1, %0\n msr tcr_el1, %1\n msr ttbr0_el1, %2\n isb\n"
                     "mrs x0, sctlr_el1\n orr x0, x0, #1\n msr sctlr_el1, x0\n isb" ::"r"(0xfful),
                     "r"(25ul | 1ul << 23 | 1 << 8 | 1 << 10 | 3 << 12), "r"(blocks)
                     : "x0", "memory");
    run_kernels();
    __asm__ volatile("mov w0, #0x84000000\n add w0, w0, #8\n hvc #0");
    __builtin_unreachable();
}

__asm__(
    ".globl _start\n_start: mov x0, #0x300000\n msr cpacr_el1, x0\n isb\n"
    "adrp x0, stack\n add x0, x0, :lo12:stack\n add x0, x0, #0x100000\n mov sp, x0\n b start\n");
