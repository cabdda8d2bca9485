// Rules for vectors of integers in lanes that the host's instructions are not made for, put
// together from others: shifts by a vector, rounding ones, products of bytes and doublewords,
// comparisons of doublewords, bits reversed and counted by tables of nibbles.
#include "jit/x86_64/vec.h"

#define P0F (X_66 | X_0F)
#define P38 (X_66 | X_38)

enum { PADDQ = P0F | 0xd4, PSUBQ = P0F | 0xfb, PCMPGTQ = P38 | 0x37, PMULUDQ = P0F | 0xf4 };
enum { PAND = P0F | 0xdb, PANDN = P0F | 0xdf, POR = P0F | 0xeb, PXOR = P0F | 0xef };
enum { PMULLW = P0F | 0xd5, PSHUFB = P38 | 0x00 };
// Groups of shifts by an immediate, and which of them.
enum {
    WORDS = P0F | 0x71,
    DWORDS = P0F | 0x72,
    QWORDS = P0F | 0x73,
    RIGHT = 2,
    ARITHMETIC = 4,
    LEFT = 6
};

// ---- shifts ----

// Lanes of a, of 32 or with `w` 64 bits, by the signed low byte of b's, into d. A count of the
// other sign is too large for the host's shift, which gives 0; arithmetic shifts give the sign, and
// the byte's sign chooses. t and u: scratch; d may be a or b.
static void shift_lanes(struct cg *c, unsigned w, bool sign, int d, int a, int b, int t, int u)
{
    unsigned group = w ? QWORDS : DWORDS, sub = w ? PSUBQ : P0F | 0xfa, up = w ? 56 : 24;
    int left = t, right = u, s = sign ? vec_tmp(c) : 0, choice = sign ? vec_tmp(c) : 0;
    vec_shift(c, group, LEFT, left, b, up);
    vec3(c, PXOR, right, right, rm_reg(right));
    vec3(c, sub, right, right, rm_reg(left)); // the negated byte, at the top
    if (sign)
        x_op(&c->as, X_0F | 0x28, choice, rm_reg(left));
    vec_shift(c, group, RIGHT, left, left, up);
    vec_shift(c, group, RIGHT, right, right, up);
    v_op(&c->as, P38 | w | 0x47, left, a, rm_reg(left)); // vpsllv
    if (sign && w) { // there is no arithmetic one: negative lanes inverted, and back
        vec3(c, PXOR, s, s, rm_reg(s));
        vec3(c, PCMPGTQ, s, s, rm_reg(a));
        vec3(c, PXOR, d, a, rm_reg(s));
        v_op(&c->as, P38 | w | 0x45, right, d, rm_reg(right)); // vpsrlvq
        vec3(c, PXOR, right, right, rm_reg(s));
    } else {
        v_op(&c->as, P38 | w | (sign ? 0x46 : 0x45), right, a, rm_reg(right)); // vpsravd, vpsrlv
    }
    if (sign) {
        v_op(&c->as, X_66 | X_3A | (w ? 0x4b : 0x4a), d, left, rm_reg(right)); // vblendv
        as_u8(&c->as, (unsigned)choice << 4);
    } else {
        vec3(c, POR, d, left, rm_reg(right));
    }
}

// Of words: made doublewords, and what is left of those packed.
static void shift_words(struct cg *c, bool sign, int d, int a, int b, int t, int u)
{
    int x = vec_tmp(c), y = vec_tmp(c), low = vec_tmp(c);
    for (unsigned high = 0; high < 2; high++) {
        vec2i(c, P0F | 0x70, x, rm_reg(a), high ? 0xee : 0x44);
        vec2i(c, P0F | 0x70, y, rm_reg(b), high ? 0xee : 0x44);
        vec2(c, P38 | (sign ? 0x23 : 0x33), x, rm_reg(x)); // pmovsxwd, pmovzxwd
        vec2(c, P38 | 0x33, y, rm_reg(y));
        shift_lanes(c, 0, sign, x, x, y, t, u);
        vec_shift(c, DWORDS, LEFT, x, x, 16);
        vec_shift(c, DWORDS, ARITHMETIC, high ? d : low, x, 16);
    }
    vec3(c, P0F | 0x6b, d, low, rm_reg(d)); // packssdw
}

RULE(vshlv)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE;
    bool sign = in->op == IR_vsshl;
    if (lane == VL_8) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), b = vec_use(c, in->b), t = vec_tmp(c), u = vec_tmp(c),
        d = vec_def(c, i);
    if (lane == VL_16)
        shift_words(c, sign, d, a, b, t, u);
    else
        shift_lanes(c, lane == VL_64 ? X_W : 0, sign, d, a, b, t, u);
    vec_finish(c, in->aux, d);
}

// Rounding: the last bit shifted out is added.
RULE(vrshift)
{
    static const uint8_t group[] = {0x71, 0x71, 0x72, 0x73}, add[] = {0xfc, 0xfd, 0xfe, 0xd4};
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE, n = VL_GET_IMM(in->aux), bits = 8u << lane;
    bool arith = in->op == IR_vrsari;
    if (lane == VL_8 || (arith && lane == VL_64)) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), t = vec_tmp(c), d = vec_def(c, i);
    vec_shift(c, P0F | group[lane], 6, t, a, bits - n); // the bit to the top, then to the bottom
    vec_shift(c, P0F | group[lane], 2, t, t, bits - 1);
    vec_shift(c, P0F | group[lane], arith ? 4 : 2, d, a, n);
    vec3(c, P0F | add[lane], d, d, rm_reg(t));
    vec_finish(c, in->aux, d);
}

// ---- products ----

RULE(vmul)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE;
    if (lane == VL_16 || lane == VL_32) {
        lower_vec2(c, i);
        return;
    }
    int a = vec_use(c, in->a), b = vec_use(c, in->b), t = vec_tmp(c), u = vec_tmp(c),
        d = vec_def(c, i);
    if (lane == VL_8) { // odd bytes' products, then even ones'
        vec_shift(c, WORDS, RIGHT, t, a, 8);
        vec_shift(c, WORDS, RIGHT, u, b, 8);
        vec3(c, PMULLW, t, t, rm_reg(u));
        vec_shift(c, WORDS, LEFT, t, t, 8);
        vec3(c, PMULLW, d, a, rm_reg(b));
        vec_shift(c, WORDS, LEFT, d, d, 8);
        vec_shift(c, WORDS, RIGHT, d, d, 8);
        vec3(c, POR, d, d, rm_reg(t));
    } else {
        vec_shift(c, QWORDS, RIGHT, t, a, 32);
        vec3(c, PMULUDQ, t, t, rm_reg(b));
        vec_shift(c, QWORDS, RIGHT, u, b, 32);
        vec3(c, PMULUDQ, u, u, rm_reg(a));
        vec3(c, PADDQ, t, t, rm_reg(u));
        vec_shift(c, QWORDS, LEFT, t, t, 32);
        vec3(c, PMULUDQ, d, a, rm_reg(b));
        vec3(c, PADDQ, d, d, rm_reg(t));
    }
    vec_finish(c, in->aux, d);
}

// ---- doublewords compared ----

// t = a > b; unsigned ones with their highest bits turned round.
static void greater(struct cg *c, bool uns, int t, int u, int a, int b)
{
    if (!uns) {
        vec3(c, PCMPGTQ, t, a, rm_reg(b));
        return;
    }
    vec3(c, PXOR, t, a, cg_fp_const(FPC_SIGN64));
    vec3(c, PXOR, u, b, cg_fp_const(FPC_SIGN64));
    vec3(c, PCMPGTQ, t, t, rm_reg(u));
}

RULE(vminmax)
{
    const struct ir_insn *in = cg_insn(c, i);
    bool uns = in->op == IR_vumin || in->op == IR_vumax;
    bool min = in->op == IR_vumin || in->op == IR_vsmin;
    if ((in->aux & VL_LANE) != VL_64) {
        lower_vec2(c, i);
        return;
    }
    int a = vec_use(c, in->a), b = vec_use(c, in->b), t = vec_tmp(c), u = vec_tmp(c),
        d = vec_def(c, i);
    greater(c, uns, t, u, min ? b : a, min ? a : b);
    vec3(c, PAND, d, t, rm_reg(a));
    vec3(c, PANDN, t, t, rm_reg(b));
    vec3(c, POR, d, d, rm_reg(t));
    vec_finish(c, in->aux, d);
}

bool cg_compare_wide(struct cg *c, ir_ref i)
{
    const struct ir_insn *in = cg_insn(c, i);
    bool hs = in->op == IR_vcmphs;
    int a = vec_use(c, in->a), b = vec_use(c, in->b), u = vec_tmp(c), d = vec_def(c, i);
    greater(c, true, d, u, hs ? b : a, hs ? a : b);
    return hs; // turn it round
}

// ---- bits, by nibbles ----

// The nibbles of a, the upper ones in hi.
static void nibbles(struct cg *c, int lo, int hi, int a)
{
    int m = vec_splat32(c, 0x0f0f0f0f);
    vec3(c, PAND, lo, a, rm_reg(m));
    vec_shift(c, WORDS, RIGHT, hi, a, 4);
    vec3(c, PAND, hi, hi, rm_reg(m));
}

RULE(vrbit)
{
    const struct ir_insn *in = cg_insn(c, i);
    int up = vec_constant(c, 0xe060a020c0408000, 0xf070b030d0509010); // nibbles reversed, and up
    int a = vec_use(c, in->a), lo = vec_tmp(c), hi = vec_tmp(c), d = vec_def(c, i);
    nibbles(c, lo, hi, a);
    vec3(c, PSHUFB, d, up, rm_reg(lo));
    vec3(c, PSHUFB, lo, up, rm_reg(hi));
    vec_shift(c, WORDS, RIGHT, lo, lo, 4);
    vec3(c, POR, d, d, rm_reg(lo));
    vec_finish(c, in->aux, d);
}
