// Evaluation of single operations: one function per op, collected in ir_eval (eval.c). Between the
// eval_*.c files only.
#pragma once

#include "base/bits.h"
#include "ir/ir.h"

#define EVAL(name)                                                                                 \
    void ir_eval_##name(struct env *e UNUSED, unsigned types UNUSED, unsigned aux UNUSED,          \
                        union ir_val *result, const union ir_val *abc UNUSED)

// Every op that has a function, by file.
#define EVAL_INT(X)                                                                                \
    X(add)                                                                                         \
    X(sub) X(mul) X(mulhu) X(mulhs) X(udiv) X(sdiv) X(urem) X(srem) X(and) X(or) X(xor) X(andn)    \
        X(not ) X(neg) X(shl) X(shr) X(sar) X(rotr) X(extr) X(clz) X(ctz) X(popcnt) X(bswap)       \
            X(bitrev) X(sext) X(zext) X(trunc) X(bfi) X(cmp) X(select) X(b2i) X(i2b) X(bnot)       \
                X(band) X(bor) X(crc32) X(addf) X(subf) X(adc) X(adcf) X(testf) X(fcond) X(packf)  \
                    X(unpackf)
#define EVAL_DECLARE(name) EVAL(name);
EVAL_INT(EVAL_DECLARE)

static inline unsigned eval_result(unsigned types)
{
    return types & 15;
}
static inline unsigned eval_operand(unsigned types)
{
    return types >> 4 & 15;
}
