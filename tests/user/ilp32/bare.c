// bare.h: the start of the program and what compilers call by themselves.
#include "bare.h"

int failures;

void *memcpy(void *to, const void *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((volatile char *)to)[i] = ((const char *)from)[i];
    return to;
}

void *memset(void *p, int c, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((volatile char *)p)[i] = (char)c;
    return p;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *p = a, *q = b;
    for (size_t i = 0; i < n; i++)
        if (p[i] != q[i])
            return p[i] < q[i] ? -1 : 1;
    return 0;
}

size_t text_length(const char *s)
{
    size_t n = 0;
    while (((const volatile char *)s)[n])
        n++;
    return n;
}

void put(const char *text)
{
    SYS(write, 1, text, text_length(text));
}

void put_number(long n)
{
    char b[16], *p = b + sizeof b;
    unsigned long v = n < 0 ? -(unsigned long)n : (unsigned long)n;
    *--p = 0;
    do
        *--p = (char)('0' + v % 10);
    while (v /= 10);
    if (n < 0)
        *--p = '-';
    put(p);
}

void failed(const char *file, int line, const char *what)
{
    put(file);
    put(":");
    put_number(line);
    put(": ");
    put(what);
    put("\n");
    failures++;
}

// argc, the arguments, the environment and the auxiliary vector lie on the stack in this order.
__attribute__((noreturn, used)) void begin(unsigned long *sp)
{
    char **argv = (char **)(sp + 1), **env = argv + sp[0] + 1, **end = env;
    while (*end)
        end++;
    SYS(exit_group, program((int)sp[0], argv, env, (unsigned long *)(end + 1)));
    __builtin_unreachable();
}

#if defined(__riscv)
__asm__(".globl _start\n_start:\n"
        ".option push\n.option norelax\nlla gp, __global_pointer$\n.option pop\n"
        "mv a0, sp\ncall begin\n");
#elif defined(__i386__)
__asm__(".globl _start\n_start:\n"
        "mov %esp, %eax\nand $-16, %esp\nsub $12, %esp\npush %eax\ncall begin\n");
#endif
