// What every process runs at user level: position-independent, without data of its own, so without
// constants that a compiler would keep in memory.
#include "kernel.h"

#define USER __attribute__((section(".user"), noinline))

static inline u64 call(u64 number, u64 a, u64 b)
{
    register u64 a0 __asm__("a0") = a, a1 __asm__("a1") = b, a7 __asm__("a7") = number;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a7) : "memory");
    return a0;
}

USER static u64 mixed(u64 x)
{
    x ^= x >> 33;
    x *= 0x5bd1e995;
    return x ^ x >> 29;
}

// Sectors of its own written from its heap and read back, other calls and preemption between.
USER static u64 disk(u64 who, u64 *heap)
{
    for (u64 round = 0; round < 3; round++) {
        for (u64 n = 0; n < 4; n++) {
            for (u64 k = 0; k < 64; k++)
                heap[64 * n + k] = mixed(who << 32 | round << 16 | n << 8 | k);
            call(CALL_WRITE, who * 8 + n, (u64)&heap[64 * n]);
        }
        call(CALL_YIELD, 0, 0);
        for (u64 n = 0; n < 4; n++) {
            u64 *to = heap + 512 + 64 * n;
            to[0] = 0;
            call(CALL_READ, who * 8 + n, (u64)to);
            for (u64 k = 0; k < 64; k++)
                if (to[k] != mixed(who << 32 | round << 16 | n << 8 | k))
                    return 100 + n;
        }
    }
    return 0;
}

USER static u64 work(u64 who)
{
    if (call(CALL_WHO, 0, 0) != who || call(99, 0, 0) != (u64)-1)
        return 1;
    u64 *heap = (u64 *)call(CALL_GROW, 16 * PAGE, 0);
    if ((u64)heap != USER_HEAP)
        return 2;
    for (u64 n = 0; n < 16 * PAGE / 8; n += 61)
        heap[n] = mixed(n ^ who);
    volatile u32 spin = 0;
    for (u64 n = 0; n < 300000; n++) // long enough to be preempted
        spin += (u32)n;
    if (spin != 2050177040u)
        return 3;
    for (u64 n = 0; n < 16 * PAGE / 8; n += 61)
        if (heap[n] != mixed(n ^ who))
            return 4;
    return disk(who, heap);
}

__attribute__((section(".user.first"), used)) void user_main(u64 who)
{
    const u64 status = work(who);
    call(CALL_PUT, status ? '!' : '.', 0);
    call(CALL_EXIT, status, 0);
}
