// A 32-bit program without a C library, of which Debian has none for riscv32: system calls by the
// kernel's own headers (struct layouts and numbers are theirs, not ours), a little text output, and
// the one check.
#pragma once

#include <asm/unistd.h>
#include <linux/types.h>

#ifndef __NR_llseek
#define __NR_llseek __NR__llseek
#endif

typedef __UINTPTR_TYPE__ uintptr_t;
typedef __SIZE_TYPE__ size_t;
#define NULL ((void *)0)

static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
#if defined(__riscv)
    register long a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
    register long a3 __asm__("a3") = d, a4 __asm__("a4") = e, a5 __asm__("a5") = f;
    register long a7 __asm__("a7") = n;
    __asm__ volatile("ecall"
                     : "+r"(a0)
                     : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7)
                     : "memory");
    return a0;
#elif defined(__i386__)
    const long v[6] = {a, b, c, d, e, f}, *at = v;
    long r;
    __asm__ volatile("push %%ebx\n push %%esi\n push %%edi\n push %%ebp\n"
                     "mov 0(%1), %%ebx\n mov 8(%1), %%edx\n mov 12(%1), %%esi\n"
                     "mov 16(%1), %%edi\n mov 20(%1), %%ebp\n mov 4(%1), %%ecx\n"
                     "int $0x80\n"
                     "pop %%ebp\n pop %%edi\n pop %%esi\n pop %%ebx\n"
                     : "=a"(r), "+c"(at)
                     : "0"(n), "m"(v)
                     : "edx", "memory");
    return r;
#else
#error "how this CPU makes a system call"
#endif
}
#define SYS_(n, a, b, c, d, e, f, ...)                                                             \
    sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYS_EACH(...)  SYS_(__VA_ARGS__) // PAIR is two arguments from here on
#define SYS(name, ...) SYS_EACH(__NR_##name, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)
// A 64-bit argument in two registers.
#define PAIR(v) (long)(unsigned long long)(v), (long)((unsigned long long)(v) >> 32)

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *p, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t text_length(const char *s);
void put(const char *text);
void put_number(long n);

extern int failures;
#define CHECK(c)                                                                                   \
    do {                                                                                           \
        if (!(c))                                                                                  \
            failed(__FILE__, __LINE__, #c);                                                        \
    } while (0)
void failed(const char *file, int line, const char *what);

int program(int argc, char **argv, char **env, unsigned long *auxv);
