// Bit fields, byte order and rounding, for registers and formats.
#pragma once

#include "base/base.h"

static inline uint64_t bits(uint64_t v, unsigned hi, unsigned lo)
{
    return (v >> lo) & (~0ull >> (63 - (hi - lo)));
}
static inline uint64_t bit(uint64_t v, unsigned n)
{
    return (v >> n) & 1;
}
static inline uint64_t bits_set(uint64_t v, unsigned hi, unsigned lo, uint64_t f)
{
    uint64_t m = (~0ull >> (63 - (hi - lo))) << lo;
    return (v & ~m) | ((f << lo) & m);
}
static inline int64_t sign_extend(uint64_t v, unsigned width)
{
    return (int64_t)(v << (64 - width)) >> (64 - width);
}
static inline uint64_t mask_low(unsigned n)
{
    return n >= 64 ? ~0ull : (1ull << n) - 1;
}
static inline uint64_t align_down(uint64_t v, uint64_t a)
{
    return v & ~(a - 1);
}
static inline uint64_t align_up(uint64_t v, uint64_t a)
{
    return (v + a - 1) & ~(a - 1);
}
static inline bool is_pow2(uint64_t v)
{
    return v && !(v & (v - 1));
}
static inline unsigned log2_floor(uint64_t v)
{
    return 63 - (unsigned)__builtin_clzll(v);
}

// Unaligned access in a stated byte order.
#define BITS_RW(name, type, swap)                                                                  \
    static inline type ld_##name(const void *p)                                                    \
    {                                                                                              \
        type v;                                                                                    \
        memcpy(&v, p, sizeof v);                                                                   \
        return swap(v);                                                                            \
    }                                                                                              \
    static inline void st_##name(void *p, type v)                                                  \
    {                                                                                              \
        v = swap(v);                                                                               \
        memcpy(p, &v, sizeof v);                                                                   \
    }
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BITS_LE(v)   (v)
#define BITS_BE16(v) __builtin_bswap16(v)
#define BITS_BE32(v) __builtin_bswap32(v)
#define BITS_BE64(v) __builtin_bswap64(v)
#else
#error "a big-endian host needs the other half of this table"
#endif
BITS_RW(le16, uint16_t, BITS_LE)
BITS_RW(le32, uint32_t, BITS_LE)
BITS_RW(le64, uint64_t, BITS_LE)
BITS_RW(be16, uint16_t, BITS_BE16)
BITS_RW(be32, uint32_t, BITS_BE32)
BITS_RW(be64, uint64_t, BITS_BE64)
#undef BITS_RW
