// Evaluation of single operations: one function per op, collected in ir_eval (eval.c). Between the
// eval_*.c files only.
#pragma once

#include "base/bits.h"
#include "ir/ir.h"

#define EVAL(name)                                                                                 \
    void ir_eval_##name(struct env *e UNUSED, unsigned types UNUSED, unsigned aux UNUSED,          \
                        union ir_val *result, const union ir_val *abc UNUSED)

// Every op that has a function, by file.
// clang-format off
#define EVAL_INT(X)                                                                                \
    X(add)                                                                                         \
    X(sub)                                                                                         \
    X(mul)                                                                                         \
    X(mulhu)                                                                                       \
    X(mulhs) X(udiv) X(sdiv) X(urem) X(srem) X(and) X(or) X(xor) X(andn) X(not ) X(neg) X(shl)     \
        X(shr) X(sar) X(rotr) X(extr) X(clz) X(ctz) X(popcnt) X(bswap) X(bitrev) X(sext) X(zext)   \
            X(trunc) X(bfi) X(cmp) X(select) X(b2i) X(i2b) X(bnot) X(band) X(bor) X(crc32) X(addf) \
                X(subf) X(adc) X(adcf) X(testf) X(fcond) X(packf) X(unpackf)
#define EVAL_MOVE(X)                                                                               \
    X(vzext)                                                                                       \
    X(vlow)                                                                                        \
    X(vhalf)                                                                                       \
    X(vpair) X(vdup) X(vduplane) X(vgetu) X(vgets) X(vset) X(vext) X(vzip1) X(vzip2) X(vuzp1)      \
        X(vuzp2) X(vtrn1) X(vtrn2) X(vrev) X(vmask) X(vbits) X(vtbl) X(vtbx) X(vand) X(vor) X(vxor) X(vandn) X(vnot) \
            X(vbsl)
#define EVAL_VEC(X)                                                                                \
    X(vadd)                                                                                        \
    X(vsub)                                                                                        \
    X(vmul)                                                                                        \
    X(vneg) X(vabs) X(vshli) X(vshri) X(vsari) X(vrshri) X(vrsari) X(vushl) X(vsshl) X(vurshl)     \
        X(vsrshl) X(vuqshl) X(vsqshl) X(vuqrshl) X(vsqrshl) X(vcmpeq) X(vcmpgt) X(vcmpge)          \
            X(vcmphi) X(vcmphs) X(vcmptst) X(vsmin) X(vsmax) X(vumin) X(vumax) X(vsqadd) X(vuqadd) \
                X(vsqsub) X(vuqsub) X(vshadd) X(vuhadd) X(vsrhadd) X(vurhadd) X(vshsub) X(vuhsub)  \
                    X(vsabd) X(vuabd) X(vsqdmulh) X(vsqrdmulh) X(vaddp) X(vsmaxp) X(vsminp)        \
                        X(vumaxp) X(vuminp) X(vaddv) X(vsmaxv) X(vsminv) X(vumaxv) X(vuminv)       \
                            X(vcnt) X(vclz) X(vcls) X(vrbit) X(vsxtl) X(vuxtl) X(vsmull) X(vumull) \
                                X(vpmull) X(vpmul) X(vxtn) X(vsqxtn) X(vuqxtn) X(vsqxtun)          \
                                    X(vsaddlp) X(vuaddlp) X(vsdot) X(vudot) X(vusdot)
#define EVAL_AES(X) X(aese) X(aesd) X(aesmc) X(aesimc)
#define EVAL_SHA(X) X(sha1r4) X(sha256r2) X(sha256m1) X(sha256m2)
#define EVAL_FP(X)                                                                                 \
    X(fadd)                                                                                        \
    X(fsub)                                                                                        \
    X(fmul) X(fdiv) X(fsqrt) X(fma) X(fneg) X(fabs) X(fmin) X(fmax) X(fminnm) X(fmaxnm) X(fcmp)    \
        X(frint) X(f2f) X(f2h) X(h2f) X(f2i) X(i2f) X(fbits) X(bitsf) X(fbox) X(funbox) X(vfadd) X(vfsub) X(vfmul)   \
            X(vfdiv) X(vfsqrt) X(vfma) X(vfneg) X(vfabs) X(vfmin) X(vfmax) X(vfminnm) X(vfmaxnm)   \
                X(vfaddp) X(vfcmpeq) X(vfcmpge) X(vfcmpgt) X(vfrint) X(vf2i) X(vi2f) X(vfcvtl)     \
                    X(vfcvtn)
// clang-format on
#define EVAL_DECLARE(name) EVAL(name);
EVAL_INT(EVAL_DECLARE)
EVAL_MOVE(EVAL_DECLARE)
EVAL_VEC(EVAL_DECLARE)
EVAL_AES(EVAL_DECLARE)
EVAL_SHA(EVAL_DECLARE)
EVAL_FP(EVAL_DECLARE)

static inline unsigned eval_result(unsigned types)
{
    return types & 15;
}
static inline unsigned eval_operand(unsigned types)
{
    return types >> 4 & 15;
}
