// Shorthand of the A64 floating-point and SIMD lift functions: vector registers as values, lane
// shapes, NaN rules, and the helpers (helper_*.c) for what the IR
// has no operation for.
#pragma once

#include "isa/arm/a64/lift.h"

static inline ir_ref a64_v(struct lift *l, unsigned n)
{
    return ir_get(l->b, ARM_V0 + n);
}
static inline void a64_set_v(struct lift *l, unsigned n, ir_ref v)
{
    ir_put(l->b, ARM_V0 + n, v);
}
// Integers and scalars of any type into lane 0, zeros above.
static inline void a64_set_scalar(struct lift *l, unsigned n, ir_ref x)
{
    a64_set_v(l, n, ir_vzext(l->b, x));
}
// What every floating-point operation carries in its aux: NaN rule of FPCR.DN.
static inline unsigned a64_nan(const struct lift *l)
{
    return FPA_NAN_MODE(l->mode & ARM_MODE_DN ? FP_NAN_DEFAULT : FP_NAN_ARM);
}
// Shape of a vector instruction: bit 28 tells the scalar encodings apart, Q the 128-bit ones.
static inline unsigned a64_shape(const struct a64_insn *i, unsigned size)
{
    bool scalar = i->raw >> 28 & 1;
    return size | (scalar ? VL_SCALAR : i->Q ? 0 : VL_HALF);
}
// log2 of lane bytes from `ftype` of the scalar encodings.
static inline unsigned a64_fp_size(unsigned ftype)
{
    return ftype == 3 ? VL_16 : ftype == 1 ? VL_64 : VL_32;
}
// FP is accessible, and there when it is half precision; otherwise the exception is lifted.
bool a64_fp_ready(struct lift *l, unsigned size);
static inline bool a64_simd_ready(struct lift *l)
{
    return arm_lift_fp_check(l);
}
// The bits of VFPExpandImm for lanes of 1 << size bytes.
uint64_t a64_fp_imm(unsigned imm8, unsigned size);
// The same lane in the whole 64 bits.
uint64_t a64_splat(uint64_t x, unsigned size);
ir_ref a64_splat_const(struct lift *l, uint64_t x, unsigned size);

// Any bit that is set makes FPSR.QC sticky.
static inline void a64_saturated(struct lift *l, ir_ref mask)
{
    ir_put(l->b, ARM_QC, ir_v2(l->b, IR_vor, 0, ir_get(l->b, ARM_QC), mask));
}
// `result` saturated where it differs from `plain`; returns result.
static inline ir_ref a64_check_saturation(struct lift *l, ir_ref result, ir_ref plain)
{
    a64_saturated(l, ir_v2(l->b, IR_vxor, 0, result, plain));
    return result;
}

// What scalar conversions with half precision, and lanes with fraction bits, are told.
enum {
    CONVERT_SIZE = 3, // log2 of the bytes of the FP format
    CONVERT_UNSIGNED = 1 << 2,
    CONVERT_64 = 1 << 3,  // the integer is 64 bits wide
    CONVERT_RM_SHIFT = 4, // 3 bits: 0 dynamic, else enum fp_rounding + 1
    CONVERT_FRACTION_SHIFT = 8,
};

// Scalars travel as bit patterns.
extern const struct ir_helper arm_helper_to_int;    // (I64 value, I32 CONVERT_*) -> I64
extern const struct ir_helper arm_helper_from_int;  // (I64 value, I32 CONVERT_*) -> I64
extern const struct ir_helper arm_helper_bfcvt;     // (I32) -> I32
extern const struct ir_helper arm_helper_compare_h; // (I32, I32, I32 signalling) -> I32 NZCV
extern const struct ir_helper arm_helper_round_ts;  // (I64, I32 size | 64-bit << 4 | inexact << 5 |
                                                    // truncate << 6) -> I64
extern const struct ir_helper arm_helper_fjcvtzs;   // (I64) -> I64: bit 32 is Z
// Lanes of up to three vectors: (V128 a, V128 b, V128 c, I32 VL_* | kind << 8) -> V128
extern const struct ir_helper arm_helper_fp_lanes;  // enum arm_fp_lanes
extern const struct ir_helper arm_helper_int_lanes; // enum arm_int_lanes
extern const struct ir_helper arm_helper_crypto;    // enum arm_crypto

enum arm_fp_lanes {
    LANES_MULX,
    LANES_RECPS,
    LANES_RSQRTS,
    LANES_RECPE,
    LANES_RSQRTE,
    LANES_RECPX,
    LANES_ROUND_TS, // b: lane 0 holds the flags of arm_helper_round_ts
    LANES_TO_INT,   // b: lane 0 holds CONVERT_*
    LANES_FROM_INT,
    LANES_NARROW_BF16,
    LANES_NARROW_ODD, // double to single, round to odd
    LANES_FMLAL,      // c + a * b, half by half into single; lanes of a, b are the halves
    LANES_BFDOT,      // c + two products of BF16 pairs of a and b
    LANES_BFMMLA,
};
enum arm_int_lanes {
    LANES_SUQADD, // c: accumulator
    LANES_USQADD,
    LANES_SQSHL,  // mask of lanes where the shift of a by b saturates
    LANES_SQSHLU, // the result: signed a by unsigned b into unsigned
    LANES_SQRDMLAH,
    LANES_SQRDMLSH,
    LANES_SQRDMLAH_MASK,
    LANES_SQRDMLSH_MASK,
    LANES_URECPE,
    LANES_URSQRTE,
    LANES_SMMLA,
    LANES_UMMLA,
    LANES_USMMLA,
};
enum arm_crypto {
    CRYPTO_SHA512H,
    CRYPTO_SHA512H2,
    CRYPTO_SHA512SU0,
    CRYPTO_SHA512SU1,
};
static inline ir_ref a64_lanes(struct lift *l, const struct ir_helper *h, unsigned kind,
                               unsigned shape, ir_ref a, ir_ref b, ir_ref c)
{
    return ir_call(l->b, h, (const ir_ref[]){a, b, c, ir_i32(l->b, shape | kind << 8)});
}
