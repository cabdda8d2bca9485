// Rules for vectors of integers whose lanes change their size, and for shifts by a vector:
// narrowing with saturation, sums of pairs into wider lanes, halving sums. What the host has no
// short form for is evaluated out of line.
#include "jit/x86_64/vec.h"

#define P0F (X_66 | X_0F)
#define P38 (X_66 | X_38)

static int use(struct cg *c, ir_ref i)
{
    return cg_use(c, i) - 16;
}

static int tmp(struct cg *c)
{
    return cg_tmp_xmm(c) - 16;
}

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
    int a = use(c, in->a), t = tmp(c);
    int b = in->aux & VL_HIGH ? use(c, in->b) : a;
    if (in->op == IR_vuqxtn) {
        int most = vec_splat32(c, lane == VL_8 ? 0x00ff00ff : 0xffff);
        vec3(c, least[lane], t, a, rm_reg(most));
        a = t;
    }
    int d = cg_def(c, i) - 16;
    vec3(c, (in->op == IR_vsqxtn ? to_signed : to_unsigned)[lane], t, a, rm_reg(a));
    if (in->aux & VL_HIGH)
        vec3(c, P0F | 0x6c, d, b, rm_reg(t)); // punpcklqdq
    else
        vec_low(c, d, t);
}

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
    int a = use(c, in->a);
    if (lane == VL_8 || sign) {
        int one = vec_splat32(c, lane == VL_8 ? 0x01010101 : 0x00010001), d = cg_def(c, i) - 16;
        if (lane == VL_8 && sign)
            vec3(c, P38 | 0x04, d, one, rm_reg(a));
        else
            vec3(c, lane == VL_8 ? P38 | 0x04 : P0F | 0xf5, d, a, rm_reg(one));
        vec_finish(c, in->aux, d);
        return;
    }
    unsigned shift = lane == VL_16 ? P0F | 0x72 : P0F | 0x73, bits = 8u << lane;
    int t = tmp(c), d = cg_def(c, i) - 16;
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
    int a = use(c, in->a), b = use(c, in->b), t = tmp(c), d = cg_def(c, i) - 16;
    vec3(c, P0F | 0xef, t, a, rm_reg(b));
    vec_shift(c, shift[lane], sign ? 4 : 2, t, t, 1);
    vec3(c, P0F | 0xdb, d, a, rm_reg(b));
    vec3(c, add[lane], d, d, rm_reg(t));
    vec_finish(c, in->aux, d);
}

// Both ways by the low byte of each lane: a count of the other sign is too large for the host's
// shift, which gives 0; arithmetic shifts give the sign, and the byte's sign chooses.
RULE(vshlv)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE, w = lane == VL_64 ? X_W : 0;
    bool sign = in->op == IR_vsshl;
    if (lane < VL_32 || (sign && lane == VL_64)) {
        cg_eval(c, i);
        return;
    }
    unsigned sub = w ? P0F | 0xfb : P0F | 0xfa, shift = w ? P0F | 0x73 : P0F | 0x72;
    unsigned up = w ? 56 : 24;
    int a = use(c, in->a), b = use(c, in->b), left = tmp(c), right = tmp(c), d = cg_def(c, i) - 16;
    vec_shift(c, shift, 6, left, b, up);
    vec3(c, P0F | 0xef, right, right, rm_reg(right));
    vec3(c, sub, right, right, rm_reg(left)); // the negated byte, at the top
    if (sign)
        x_op(&c->as, X_0F | 0x28, d, rm_reg(left));
    vec_shift(c, shift, 2, left, left, up);
    vec_shift(c, shift, 2, right, right, up);
    v_op(&c->as, P38 | w | 0x47, left, a, rm_reg(left));                   // vpsllv
    v_op(&c->as, P38 | w | (sign ? 0x46 : 0x45), right, a, rm_reg(right)); // vpsrav, vpsrlv
    if (sign) {
        v_op(&c->as, X_66 | X_3A | 0x4a, d, left, rm_reg(right)); // vblendvps
        as_u8(&c->as, (unsigned)d << 4);
    } else {
        vec3(c, P0F | 0xeb, d, left, rm_reg(right));
    }
    vec_finish(c, in->aux, d);
}
