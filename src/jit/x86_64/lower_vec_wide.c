// Rules for vectors of integers whose lanes change their size: narrowing with saturation, sums of
// pairs into wider lanes, halving sums, lanes that become bits. What the host has no short form for
// is evaluated out of line.
#include "jit/x86_64/vec.h"

#include "base/bits.h"

#define P0F (X_66 | X_0F)
#define P38 (X_66 | X_38)

// The host packs signed lanes; unsigned ones are limited first.
RULE(vqxtn)
{
    static const unsigned to_signed[] = {P0F | 0x63, P0F | 0x6b},
                          to_unsigned[] = {P0F | 0x67, P38 | 0x2b},
                          least[] = {P38 | 0x3a, P38 | 0x3b};
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE;
    if (lane > VL_16 || in->aux & VL_SCALAR) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), t = vec_tmp(c);
    int b = in->aux & VL_HIGH ? vec_use(c, in->b) : a;
    if (in->op == IR_vuqxtn) {
        int most = vec_splat32(c, lane == VL_8 ? 0x00ff00ff : 0xffff);
        vec3(c, least[lane], t, a, rm_reg(most));
        a = t;
    }
    int d = vec_def(c, i);
    vec3(c, (in->op == IR_vsqxtn ? to_signed : to_unsigned)[lane], t, a, rm_reg(a));
    if (in->aux & VL_HIGH)
        vec3(c, P0F | 0x6c, d, b, rm_reg(t)); // punpcklqdq
    else
        vec_low(c, d, t);
}

// ---- lanes to bits and back ----

RULE(vmask)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE, at = VL_GET_IMM(in->aux), lanes = 16u >> lane;
    uint64_t known;
    bool none = cg_is_const(c, in->a, &known) && !known;
    int a = none ? 0 : cg_use(c, in->a), b = vec_use(c, in->b);
    if (lane == VL_16) {
        int z = vec_zero(c), t = vec_tmp(c);
        vec3(c, P0F | 0x63, t, b, rm_reg(z)); // packsswb
        b = t;
    }
    int d = cg_def(c, i);
    vec2(c, (lane == VL_32 ? X_0F : P0F) | (lane < VL_32 ? 0xd7 : 0x50), d, rm_reg(b));
    if (in->aux & (VL_HALF | VL_SCALAR))
        x_alui(&c->as, 0, ALU_AND, rm_reg(d),
               (int32_t)mask_low(in->aux & VL_SCALAR ? 1 : lanes / 2));
    if (at)
        x_shi(&c->as, X_W, SH_SHL, d, at);
    if (!none)
        x_alu_rr(&c->as, X_W, ALU_OR, d, a);
}

RULE(vbits)
{
    static const unsigned equal[] = {P0F | 0x74, P0F | 0x75, P0F | 0x76, P38 | 0x29};
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE, at = VL_GET_IMM(in->aux);
    int a = cg_use(c, in->a), t = a;
    if (at) {
        t = cg_tmp(c);
        x_mov_rr(&c->as, X_W, t, a);
        x_shi(&c->as, X_W, SH_SHR, t, at);
    }
    int d = vec_def(c, i);
    vec2(c, P0F | 0x6e, d, rm_reg(t)); // movd
    if (lane == VL_8)
        vec3(c, P38 | 0x00, d, d, cg_fp_const(FPC_INDEX)); // pshufb
    else if (lane == VL_16)
        vec2i(c, X_F2 | X_0F | 0x70, d, rm_reg(d), 0); // pshuflw
    if (lane != VL_8)
        vec2i(c, P0F | 0x70, d, rm_reg(d), lane == VL_64 ? 0x44 : 0); // pshufd
    vec3(c, P0F | 0xdb, d, d, cg_fp_const(FPC_BIT8 + lane));
    vec3(c, equal[lane], d, d, cg_fp_const(FPC_BIT8 + lane));
    vec_finish(c, in->aux, d);
}

// ---- sums of pairs, narrowing ----

// Multiplied by ones: pmaddubsw has an unsigned first and a signed second operand.
RULE(vaddlp)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE;
    bool sign = in->op == IR_vsaddlp;
    if (in->aux & VL_SCALAR || lane > VL_32 || (sign && lane == VL_32)) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a);
    if (lane == VL_8 || sign) {
        int one = vec_splat32(c, lane == VL_8 ? 0x01010101 : 0x00010001), d = vec_def(c, i);
        if (lane == VL_8 && sign)
            vec3(c, P38 | 0x04, d, one, rm_reg(a));
        else
            vec3(c, lane == VL_8 ? P38 | 0x04 : P0F | 0xf5, d, a, rm_reg(one));
        vec_finish(c, in->aux, d);
        return;
    }
    unsigned shift = lane == VL_16 ? P0F | 0x72 : P0F | 0x73, bits = 8u << lane;
    int t = vec_tmp(c), d = vec_def(c, i);
    vec_shift(c, shift, 6, t, a, bits);
    vec_shift(c, shift, 2, t, t, bits);
    vec_shift(c, shift, 2, d, a, bits);
    vec3(c, lane == VL_16 ? P0F | 0xfe : P0F | 0xd4, d, d, rm_reg(t));
    vec_finish(c, in->aux, d);
}

// (a & b) + ((a ^ b) >> 1), in 16, 32 or 64 bits.
RULE(vuhadd)
{
    static const unsigned add[] = {0, P0F | 0xfd, P0F | 0xfe, P0F | 0xd4},
                          shift[] = {0, P0F | 0x71, P0F | 0x72, P0F | 0x73};
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE;
    bool sign = in->op == IR_vshadd;
    if (lane == VL_8 || (sign && lane == VL_64)) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), b = vec_use(c, in->b), t = vec_tmp(c), d = vec_def(c, i);
    vec3(c, P0F | 0xef, t, a, rm_reg(b));
    vec_shift(c, shift[lane], sign ? 4 : 2, t, t, 1);
    vec3(c, P0F | 0xdb, d, a, rm_reg(b));
    vec3(c, add[lane], d, d, rm_reg(t));
    vec_finish(c, in->aux, d);
}

// Four bytes' products each: made 16 bits wide, multiplied and added in pairs, then in pairs again.
RULE(vdot)
{
    const uint32_t sign_extend = P38 | 0x20, zero_extend = P38 | 0x30; // pmovsxbw, pmovzxbw
    const struct ir_insn *in = cg_insn(c, i);
    uint32_t wb = in->op == IR_vsdot ? sign_extend : zero_extend,
             wc = in->op == IR_vudot ? zero_extend : sign_extend;
    int a = vec_use(c, in->a), b = vec_use(c, in->b), x = vec_use(c, in->c);
    int t = vec_tmp(c), hi = vec_tmp(c), d = vec_def(c, i);
    vec2(c, wb, d, rm_reg(b));
    vec2(c, wc, t, rm_reg(x));
    vec3(c, P0F | 0xf5, d, d, rm_reg(t)); // pmaddwd
    vec2i(c, P0F | 0x70, hi, rm_reg(b), 0xee);
    vec2i(c, P0F | 0x70, t, rm_reg(x), 0xee);
    vec2(c, wb, hi, rm_reg(hi));
    vec2(c, wc, t, rm_reg(t));
    vec3(c, P0F | 0xf5, hi, hi, rm_reg(t));
    vec3(c, P38 | 0x02, d, d, rm_reg(hi)); // phaddd
    vec3(c, P0F | 0xfe, d, d, rm_reg(a));
    vec_finish(c, in->aux, d);
}

// High halves of doubled products. Only the smallest number squared overflows; it is then the one
// result that is the smallest number, and becomes the largest.
RULE(vqdmulh)
{
    const struct ir_insn *in = cg_insn(c, i);
    bool words = (in->aux & VL_LANE) == VL_16, rounds = in->op == IR_vsqrdmulh;
    if ((in->aux & VL_LANE) != VL_16 && (in->aux & VL_LANE) != VL_32) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), b = vec_use(c, in->b), t = vec_tmp(c), d = vec_def(c, i);
    if (words && rounds) {
        vec3(c, P38 | 0x0b, d, a, rm_reg(b)); // pmulhrsw
    } else if (words) {
        vec3(c, P0F | 0xe5, d, a, rm_reg(b)); // pmulhw
        vec3(c, P0F | 0xd5, t, a, rm_reg(b)); // pmullw
        vec3(c, P0F | 0xfd, d, d, rm_reg(d));
        vec_shift(c, P0F | 0x71, 2, t, t, 15);
        vec3(c, P0F | 0xeb, d, d, rm_reg(t));
    } else {
        int u = vec_tmp(c);
        vec2i(c, P0F | 0x70, t, rm_reg(a), 0xf5);
        vec2i(c, P0F | 0x70, u, rm_reg(b), 0xf5);
        vec3(c, P38 | 0x28, t, t, rm_reg(u)); // pmuldq: the odd lanes
        vec3(c, P38 | 0x28, d, a, rm_reg(b));
        if (rounds) {
            int half = vec_splat32(c, 0x40000000);
            vec_shift(c, P0F | 0x73, 2, half, half, 32);
            vec3(c, P0F | 0xd4, t, t, rm_reg(half));
            vec3(c, P0F | 0xd4, d, d, rm_reg(half));
        }
        vec_shift(c, P0F | 0x73, 2, d, d, 31);
        vec3(c, P0F | 0xd4, t, t, rm_reg(t));
        vec3i(c, X_66 | X_3A | 0x0e, d, d, rm_reg(t), 0xcc); // pblendw
    }
    int least = vec_splat32(c, words ? 0x80008000 : 0x80000000);
    vec3(c, P0F | (words ? 0x75 : 0x76), t, d, rm_reg(least));
    vec3(c, P0F | 0xef, d, d, rm_reg(t));
    vec_finish(c, in->aux, d);
}
