// Integers and flags, one function per operation of ops.def.
#include "ir/eval.h"

static unsigned width(unsigned type)
{
    return type == IR_I64 ? 64 : 32;
}

static void set(union ir_val *r, uint64_t v)
{
    *r = (union ir_val){.u64 = {v, 0}};
}

static int64_t sign(uint64_t v, unsigned type)
{
    return sign_extend(v, width(type));
}

static uint64_t div_unsigned(uint64_t x, uint64_t y)
{
    return y ? x / y : 0;
}

static uint64_t div_signed(int64_t x, int64_t y)
{
    return y == 0 ? 0 : y == -1 ? -(uint64_t)x : (uint64_t)(x / y);
}

// x and y are operands a and b, w the width of the result; the value is cut to w.
#define INT(name, expr)                                                                            \
    EVAL(name)                                                                                     \
    {                                                                                              \
        unsigned t = eval_result(types), w UNUSED = width(t);                                      \
        uint64_t x = abc[0].u64[0], y UNUSED = abc[1].u64[0];                                      \
        set(result, (expr)&mask_low(width(t)));                                                    \
    }
INT(add, x + y)
INT(sub, x - y)
INT(mul, x *y)
INT(mulhu, (uint64_t)((unsigned __int128)x *y >> 64))
INT(mulhs, (uint64_t)((__int128)(int64_t)x *(int64_t)y >> 64))
INT(udiv, div_unsigned(x, y))
INT(sdiv, div_signed(sign(x, t), sign(y, t)))
INT(urem, x - div_unsigned(x, y) * y)
INT(srem, x - div_signed(sign(x, t), sign(y, t)) * y)
INT(and, x &y)
INT(or, x | y)
INT(xor, x ^ y)
INT(andn, x & ~y)
INT(not, ~x)
INT(neg, -x)
INT(shl, x << (y & (w - 1)))
INT(shr, x >> (y & (w - 1)))
INT(sar, (uint64_t)(sign(x, t) >> (y & (w - 1))))
INT(rotr, x >> (y & (w - 1)) | x << (-y & (w - 1)))
INT(extr, aux ? y >> aux | x << (w - aux) : y)
INT(clz, x ? (unsigned)__builtin_clzll(x) - (64 - w) : w)
INT(ctz, x ? (unsigned)__builtin_ctzll(x) : w)
INT(popcnt, (unsigned)__builtin_popcountll(x))
INT(bswap, __builtin_bswap64(x) >> (64 - w))
INT(sext, (uint64_t)sign_extend(x, aux))
INT(zext, x &mask_low(aux))
INT(trunc, x)
INT(bfi, bits_set(x, (aux & 255) + (aux >> 8) - 1, aux & 255, y))
INT(b2i, x)
INT(i2b, x != 0)
INT(bnot, !x)
INT(band, x &y)
INT(bor, x | y)
#undef INT

EVAL(bitrev)
{
    uint64_t x = __builtin_bswap64(abc[0].u64[0]);
    x = (x >> 4 & 0x0f0f0f0f0f0f0f0f) | (x & 0x0f0f0f0f0f0f0f0f) << 4;
    x = (x >> 2 & 0x3333333333333333) | (x & 0x3333333333333333) << 2;
    x = (x >> 1 & 0x5555555555555555) | (x & 0x5555555555555555) << 1;
    set(result, x >> (64 - width(eval_result(types))));
}

EVAL(cmp)
{
    uint64_t x = abc[0].u64[0], y = abc[1].u64[0];
    int64_t sx = sign(x, eval_operand(types)), sy = sign(y, eval_operand(types));
    bool r = false;
    switch ((enum ir_cmp)aux) {
    case CMP_EQ:
        r = x == y;
        break;
    case CMP_NE:
        r = x != y;
        break;
    case CMP_ULT:
        r = x < y;
        break;
    case CMP_UGE:
        r = x >= y;
        break;
    case CMP_ULE:
        r = x <= y;
        break;
    case CMP_UGT:
        r = x > y;
        break;
    case CMP_SLT:
        r = sx < sy;
        break;
    case CMP_SGE:
        r = sx >= sy;
        break;
    case CMP_SLE:
        r = sx <= sy;
        break;
    case CMP_SGT:
        r = sx > sy;
        break;
    }
    set(result, r);
}

EVAL(select)
{
    *result = abc[0].u64[0] ? abc[1] : abc[2];
}

// Reflected CRC of IEEE 802.3 or Castagnoli, bit by bit.
EVAL(crc32)
{
    uint32_t poly = aux & 4 ? 0x82f63b78 : 0xedb88320, crc = abc[0].u32[0];
    unsigned bytes = 1u << (aux & 3);
    for (unsigned i = 0; i < bytes; i++) {
        crc ^= abc[1].u8[i];
        for (unsigned j = 0; j < 8; j++)
            crc = crc >> 1 ^ (crc & 1 ? poly : 0);
    }
    set(result, crc);
}

// ---- flags ----

static bool flag(const union ir_val *f, unsigned at)
{
    return f->u32[0] >> at & 1;
}

static uint32_t flags_of_sum(unsigned type, uint64_t x, uint64_t y, bool carry)
{
    uint64_t mask = mask_low(width(type)), top = width(type) - 1, s = (x + y + carry) & mask;
    return flags_pack(s >> top & 1, !s, carry ? s <= x : s < x, ((x ^ s) & (y ^ s)) >> top & 1);
}

EVAL(addf)
{
    set(result, flags_of_sum(eval_operand(types), abc[0].u64[0], abc[1].u64[0], false));
}

EVAL(subf)
{
    unsigned t = eval_operand(types);
    set(result, flags_of_sum(t, abc[0].u64[0], ~abc[1].u64[0] & mask_low(width(t)), true));
}

EVAL(adc)
{
    set(result, (abc[0].u64[0] + abc[1].u64[0] + flag(&abc[2], PACK_C)) &
                    mask_low(width(eval_result(types))));
}

EVAL(adcf)
{
    set(result,
        flags_of_sum(eval_operand(types), abc[0].u64[0], abc[1].u64[0], flag(&abc[2], PACK_C)));
}

EVAL(testf)
{
    uint64_t x = abc[0].u64[0];
    set(result, flags_pack(sign(x, eval_operand(types)) < 0, !x, false, false));
}

EVAL(fcond)
{
    bool n = flag(abc, PACK_N), z = flag(abc, PACK_Z), c = flag(abc, PACK_C), v = flag(abc, PACK_V),
         r = false;
    switch ((enum ir_cond)(aux & ~1u)) {
    case COND_EQ:
        r = z;
        break;
    case COND_CS:
        r = c;
        break;
    case COND_MI:
        r = n;
        break;
    case COND_VS:
        r = v;
        break;
    case COND_HI:
        r = c && !z;
        break;
    case COND_GE:
        r = n == v;
        break;
    case COND_GT:
        r = !z && n == v;
        break;
    default:
        break;
    }
    set(result, r ^ (aux & 1));
}

EVAL(packf)
{
    set(result, (uint64_t)flag(abc, PACK_N) << 31 | (uint64_t)flag(abc, PACK_Z) << 30 |
                    (uint64_t)flag(abc, PACK_C) << 29 | (uint64_t)flag(abc, PACK_V) << 28);
}

EVAL(unpackf)
{
    uint32_t x = abc[0].u32[0];
    set(result, flags_pack(x >> 31, x >> 30 & 1, x >> 29 & 1, x >> 28 & 1));
}
