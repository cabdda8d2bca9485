// What the bare-metal programs share: control registers by number, calls at another level
// (start.S), and counting cases.
#pragma once

typedef unsigned long u64;

struct seen {
    u64 cause, tval, epc, spare, count;
};
extern volatile struct seen seen;
extern volatile u64 result;
void try(u64 (*fn)(u64), u64 argument, u64 level, u64 virtual);
void finish(u64 status) __attribute__((noreturn));

enum { U = 0, S = 1, M = 3 };
enum { ILLEGAL = 2, LOAD_ACCESS = 5, STORE_ACCESS = 7, ECALL_U = 8, ECALL_S = 9, ECALL_VS = 10 };
enum { FETCH_PAGE = 12, LOAD_PAGE = 13, STORE_PAGE = 15, LOAD_GUEST = 21, VIRTUAL_INSN = 22 };

#define READ(csr)                                                                                  \
    ({                                                                                             \
        u64 v_;                                                                                    \
        __asm__ volatile("csrr %0, " #csr : "=r"(v_));                                             \
        v_;                                                                                        \
    })
#define WRITE(csr, v) __asm__ volatile("csrw " #csr ", %0" ::"r"((u64)(v)) : "memory")
#define SET(csr, v)   __asm__ volatile("csrs " #csr ", %0" ::"r"((u64)(v)) : "memory")
#define CLEAR(csr, v) __asm__ volatile("csrc " #csr ", %0" ::"r"((u64)(v)) : "memory")
#define FENCE()       __asm__ volatile("sfence.vma" ::: "memory")
#define CSR_READER(name, csr)                                                                      \
    static u64 name(u64 a)                                                                         \
    {                                                                                              \
        return READ(csr);                                                                          \
    }
#define INSN(name, text)                                                                           \
    static u64 name(u64 a)                                                                         \
    {                                                                                              \
        __asm__ volatile(text ::"r"(a) : "memory");                                                \
        return 0;                                                                                  \
    }

static int number;
__attribute__((unused)) static void expect(int ok)
{
    number++;
    if (!ok)
        finish(number);
}
__attribute__((unused)) static void expect_cause(u64 (*fn)(u64), u64 argument, u64 level, u64 cause)
{
    seen.cause = ~0ul;
    try(fn, argument, level, 0);
    expect(seen.cause == cause);
}
