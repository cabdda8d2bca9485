// Guest memory in one access of the host's by size, plain and atomic, for accesses made from C.
#pragma once

#include "ir/ir.h"

// Races there are the guest's, and in user mode a fault may end the access: the thread sanitizer
// must not be at work in between.
#define HOST_RMW(bits)                                                                             \
    UNSANITIZED static inline uint##bits##_t host_rmw##bits(unsigned op, void *p,                  \
                                                            uint##bits##_t x)                      \
    {                                                                                              \
        uint##bits##_t *m = p, old, fresh;                                                         \
        switch (op) {                                                                              \
        case IR_amoadd:                                                                            \
            return __atomic_fetch_add(m, x, __ATOMIC_SEQ_CST);                                     \
        case IR_amoand:                                                                            \
            return __atomic_fetch_and(m, x, __ATOMIC_SEQ_CST);                                     \
        case IR_amoor:                                                                             \
            return __atomic_fetch_or(m, x, __ATOMIC_SEQ_CST);                                      \
        case IR_amoxor:                                                                            \
            return __atomic_fetch_xor(m, x, __ATOMIC_SEQ_CST);                                     \
        case IR_swap:                                                                              \
            return __atomic_exchange_n(m, x, __ATOMIC_SEQ_CST);                                    \
        default:                                                                                   \
            break;                                                                                 \
        }                                                                                          \
        old = __atomic_load_n(m, __ATOMIC_RELAXED);                                                \
        do {                                                                                       \
            bool sless = (int##bits##_t)old < (int##bits##_t)x;                                    \
            switch (op) {                                                                          \
            case IR_amosmin:                                                                       \
                fresh = sless ? old : x;                                                           \
                break;                                                                             \
            case IR_amosmax:                                                                       \
                fresh = sless ? x : old;                                                           \
                break;                                                                             \
            case IR_amoumin:                                                                       \
                fresh = old < x ? old : x;                                                         \
                break;                                                                             \
            default:                                                                               \
                fresh = old < x ? x : old;                                                         \
            }                                                                                      \
        } while (!__atomic_compare_exchange_n(m, &old, fresh, false, __ATOMIC_SEQ_CST,             \
                                              __ATOMIC_RELAXED));                                  \
        return old;                                                                                \
    }
HOST_RMW(8)
HOST_RMW(16)
HOST_RMW(32)
HOST_RMW(64)
#undef HOST_RMW

#if defined(__x86_64__)
// 16 aligned bytes as one access. Compare-exchange does it on every x86-64-v2 host; the memory is
// written, so it must be writable, which guest RAM always is for us.
UNSANITIZED static inline bool host_cas128(void *p, uint64_t old[2], const uint64_t fresh[2])
{
    bool done;
    __asm__ volatile("lock cmpxchg16b %1"
                     : "=@ccz"(done), "+m"(*(volatile uint64_t(*)[2])p), "+a"(old[0]), "+d"(old[1])
                     : "b"(fresh[0]), "c"(fresh[1])
                     : "memory");
    return done;
}
#else
UNSANITIZED static inline bool host_cas128(void *p, uint64_t old[2], const uint64_t fresh[2])
{
    unsigned __int128 o, n;
    memcpy(&o, old, 16);
    memcpy(&n, fresh, 16);
    bool done = __atomic_compare_exchange_n((unsigned __int128 *)p, &o, n, false, __ATOMIC_SEQ_CST,
                                            __ATOMIC_SEQ_CST);
    memcpy(old, &o, 16);
    return done;
}
#endif

UNSANITIZED static inline void host_load128(void *dst, const void *src)
{
    if ((uintptr_t)src & 15) {
        memcpy(dst, src, 16);
        return;
    }
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx")) { // then one vector move is atomic, also of read-only memory
        v128 v;
        __asm__ volatile("movdqa %1, %0" : "=x"(v) : "m"(*(const v128 *)src));
        memcpy(dst, &v, 16);
        return;
    }
#endif
    uint64_t v[2] = {0, 0};
    host_cas128((void *)(uintptr_t)src, v, v);
    memcpy(dst, v, 16);
}

UNSANITIZED static inline void host_store128(void *dst, const void *src)
{
    if ((uintptr_t)dst & 15) {
        memcpy(dst, src, 16);
        return;
    }
    uint64_t old[2], fresh[2];
    memcpy(old, dst, 16);
    memcpy(fresh, src, 16);
    while (!host_cas128(dst, old, fresh))
        ;
}

// Compare-exchange of 1 to 16 bytes; *old is what memory held.
UNSANITIZED static inline bool host_cas(void *p, unsigned size, union ir_val *old,
                                        const union ir_val *fresh)
{
    switch (size) {
    case 1:
        return __atomic_compare_exchange_n((uint8_t *)p, &old->u8[0], fresh->u8[0], false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    case 2:
        return __atomic_compare_exchange_n((uint16_t *)p, &old->u16[0], fresh->u16[0], false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    case 4:
        return __atomic_compare_exchange_n((uint32_t *)p, &old->u32[0], fresh->u32[0], false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    case 8:
        return __atomic_compare_exchange_n((uint64_t *)p, &old->u64[0], fresh->u64[0], false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    default:
        return host_cas128(p, old->u64, fresh->u64);
    }
}

// Single-copy atomic where aligned; it need not be.
UNSANITIZED static inline void host_load(union ir_val *dst, const uint8_t *src, unsigned size)
{
#define LOAD(type) __atomic_load_n((const type *)__builtin_assume_aligned(src, 1), __ATOMIC_RELAXED)
    switch (size) {
    case 1:
        dst->u8[0] = LOAD(uint8_t);
        break;
    case 2:
        dst->u16[0] = LOAD(uint16_t);
        break;
    case 4:
        dst->u32[0] = LOAD(uint32_t);
        break;
    case 8:
        dst->u64[0] = LOAD(uint64_t);
        break;
    default:
        host_load128(dst, src);
    }
#undef LOAD
}

UNSANITIZED static inline void host_store(uint8_t *dst, const void *src, unsigned size)
{
#define STORE(type)                                                                                \
    __atomic_store_n((type *)__builtin_assume_aligned(dst, 1), *(const type *)src, __ATOMIC_RELAXED)
    switch (size) {
    case 1:
        STORE(uint8_t);
        break;
    case 2:
        STORE(uint16_t);
        break;
    case 4:
        STORE(uint32_t);
        break;
    case 8:
        STORE(uint64_t);
        break;
    case 16:
        host_store128(dst, src);
        break;
    default:
        memcpy(dst, src, size);
    }
#undef STORE
}

// Many bytes. The C library's function is one that the thread sanitizer watches.
UNSANITIZED static inline void host_copy(void *dst, const void *src, size_t n)
{
#if THREAD_SANITIZER && defined(__x86_64__)
    __asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n)::"memory");
#else
    memcpy(dst, src, n);
#endif
}
