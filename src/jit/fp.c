// The guest's floating-point environment as the host holds it while translated code runs: rounding
// and sticky flags in MXCSR, whose image is v->mxcsr whenever C code may look.
#include "jit/state.h"

enum { MXCSR_DEFAULT = 0x1f80, MXCSR_FLAGS = 0x3f, MXCSR_RC_SHIFT = 13 };

// What MXCSR's flags are called.
static uint32_t flags_of(uint32_t mxcsr)
{
    static const uint8_t flag[6] = {FP_INVALID,   0,         FP_DIVZERO, FP_OVERFLOW,
                                    FP_UNDERFLOW, FP_INEXACT};
    uint32_t flags = 0;
    for (unsigned n = 0; n < 6; n++)
        flags |= mxcsr >> n & 1 ? flag[n] : 0u;
    return flags;
}

void jit_fp_init(struct jit_vcpu *v)
{
    // Where the two halves differ this is the lower one.
    static const uint64_t k[FP_CONSTS] = {
        [FPC_ABS64] = 0x7fffffffffffffff,
        [FPC_ABS32] = 0x7fffffff7fffffff,
        [FPC_SIGN64] = 0x8000000000000000,
        [FPC_SIGN32] = 0x8000000080000000,
        [FPC_MIN64] = 0x0010000000000000,
        [FPC_MIN32] = 0x0080000000800000,
        [FPC_ABS16] = 0x7fff7fff7fff7fff,
        [FPC_INF16] = 0x7c007c007c007c00,
        [FPC_MIN16] = 0x0400040004000400,
        [FPC_ONES] = ~0ull,
        [FPC_BOX] = 0xffffffff00000000,
        [FPC_BIT8] = 0x8040201008040201,
        [FPC_BIT16] = 0x0008000400020001,
        [FPC_BIT32] = 0x0000000200000001,
        [FPC_BIT64] = 1,
    };
    for (unsigned n = 0; n < FP_CONSTS; n++)
        v->fp_const[n].u64[0] = v->fp_const[n].u64[1] = k[n];
    v->fp_const[FPC_BOX].u64[1] = 0;
    v->fp_const[FPC_INDEX].u64[1] = 0x0101010101010101;
    v->fp_const[FPC_BIT16].u64[1] = k[FPC_BIT16] << 4;
    v->fp_const[FPC_BIT32].u64[1] = k[FPC_BIT32] << 2;
    v->fp_const[FPC_BIT64].u64[1] = 2;
    for (unsigned n = 0; n < 64; n++)
        for (unsigned mirrored = 0; mirrored < 2; mirrored++) {
            v->fp_flags_host[mirrored][n] = (uint8_t)fp_flags_ordered(flags_of(n), mirrored);
            v->fp_flags_env[mirrored][n] = (uint8_t)fp_flags_ordered(n, mirrored);
        }
    v->mxcsr_c = v->mxcsr = MXCSR_DEFAULT;
}

void jit_fp_sync(struct env *e)
{
    struct jit_vcpu *v = jit_vcpu_of(e);
    e->fp.flags |= flags_of(v->mxcsr);
    v->mxcsr &= ~(uint32_t)MXCSR_FLAGS;
}

void jit_fp_changed(struct env *e)
{
    static const uint8_t rc[] = {[FP_RNE] = 0, [FP_RTZ] = 3, [FP_RDN] = 1, [FP_RUP] = 2};
    struct jit_vcpu *v = jit_vcpu_of(e);
    bool known = e->fp.rounding < ARRAY_SIZE(rc);
    v->strict_fp = !known || e->fp.flush_inputs || e->fp.flush_outputs || e->fp.flush_half ||
                   e->fp.alternative_half;
    v->mxcsr = MXCSR_DEFAULT | (known ? (uint32_t)rc[e->fp.rounding] << MXCSR_RC_SHIFT : 0);
}

static union ir_val operand(const struct jit_vcpu *v, unsigned reg, unsigned type)
{
    union ir_val x = {0};
    if (reg >= 16)
        x.v = v->regs.xmm[reg - 16];
    else
        x.u64[0] = v->regs.gpr[reg];
    if (type == IR_F32 || type == IR_I32)
        return (union ir_val){.u64 = {x.u32[0], 0}};
    if (type == IR_F64)
        x.u64[1] = 0;
    return x;
}

void jit_fp_slow(struct env *e, uint32_t what, uint32_t regs)
{
    struct jit_vcpu *v = jit_vcpu_of(e);
    unsigned types = what >> 8 & 0xff, operands = types >> 4;
    union ir_val abc[3], result = {0};
    for (unsigned k = 0; k < 3; k++)
        abc[k] = operand(v, regs >> (5 * (k + 1)) & 31, operands);
    ir_eval[what & 0xff](e, types, what >> 16, &result, abc);
    unsigned d = regs & 31;
    if (d >= 16)
        v->regs.xmm[d - 16] = result.v;
    else
        v->regs.gpr[d] = result.u64[0];
}
