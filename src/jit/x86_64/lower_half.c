// Half precision on the host's unit (F16C): conversions as they are; sums, products, quotients and
// roots through single precision, whose 24 bits are enough for rounding twice to give what rounding
// once does (2 * 11 + 2). What rounds twice rounds the same way, and a tiny result that is inexact
// is inexact in the last step, so that flags are right, too. Not so fused multiply-add.
#include "jit/x86_64/vec.h"

#define P0F (X_66 | X_0F)

static void to_single(struct cg *c, int d, int a) // the low four
{
    v_op(&c->as, X_66 | X_38 | 0x13, d, 0, rm_reg(a)); // vcvtph2ps
}

static void to_half(struct cg *c, int d, int a) // zeros above
{
    v_op(&c->as, X_66 | X_3A | 0x1d, a, 0, rm_reg(d)); // vcvtps2ph
    as_u8(&c->as, 4);                                  // MXCSR's rounding
}

// NaNs, and where results can be tiny the smallest normal number, as for the wider formats.
static void check(struct cg *c, ir_ref i, int d, bool underflows)
{
    int t = vec_tmp(c), u = vec_tmp(c);
    vec3(c, P0F | 0xdb, t, d, cg_fp_const(FPC_ABS16));
    vec3(c, P0F | 0x65, u, t, cg_fp_const(FPC_INF16)); // pcmpgtw
    if (underflows) {
        vec3(c, P0F | 0x75, t, t, cg_fp_const(FPC_MIN16)); // pcmpeqw
        vec3(c, P0F | 0xeb, u, u, rm_reg(t));
    }
    vec2(c, X_66 | X_38 | 0x17, u, rm_reg(u)); // ptest
    cg_fp_slow_if(c, i, CC_NE);
}

static bool ok(const struct cg *c, const struct ir_insn *in)
{
    return c->f.f16c && !cg_fp_strict(c) && !(in->aux & FPA_RM);
}

static bool lanes_ok(const struct cg *c, const struct ir_insn *in)
{
    return (in->aux & VL_LANE) == VL_16 && ok(c, in);
}

// Four lanes of a, or one, as singles: the low ones or the high.
static void load(struct cg *c, int d, int a, unsigned aux, bool high)
{
    if (aux & VL_SCALAR) {
        vec_shift(c, P0F | 0x73, 7, d, a, 14); // pslldq, psrldq
        vec_shift(c, P0F | 0x73, 3, d, d, 14);
        a = d;
    } else if (high) {
        vec2i(c, P0F | 0x70, d, rm_reg(a), 0xee);
        a = d;
    }
    to_single(c, d, a);
}

bool cg_half_arith(struct cg *c, ir_ref i)
{
    static const uint8_t arith[IR_OPS] = {[IR_vfadd] = 0x58,
                                          [IR_vfsub] = 0x5c,
                                          [IR_vfmul] = 0x59,
                                          [IR_vfdiv] = 0x5e,
                                          [IR_vfsqrt] = 0x51};
    const struct ir_insn *in = cg_insn(c, i);
    bool one = in->aux & VL_SCALAR, all = !(in->aux & (VL_SCALAR | VL_HALF));
    unsigned op = X_0F | arith[in->op] | (one ? X_F3 : 0);
    if (!lanes_ok(c, in))
        return false;
    int a = vec_use(c, in->a), b = in->b ? vec_use(c, in->b) : a, x = vec_tmp(c), y = vec_tmp(c);
    int d = vec_def(c, i);
    for (unsigned high = 0; high <= all; high++) {
        load(c, x, a, in->aux, high);
        if (in->b)
            load(c, y, b, in->aux, high);
        if (in->b || one)
            vec3(c, op, x, x, rm_reg(in->b ? y : x));
        else
            vec2(c, op, x, rm_reg(x));
        to_half(c, high ? x : d, x);
    }
    if (all)
        vec3(c, P0F | 0x6c, d, d, rm_reg(x)); // punpcklqdq
    check(c, i, d, in->op == IR_vfmul || in->op == IR_vfdiv);
    return true;
}

bool cg_half_widen(struct cg *c, ir_ref i)
{
    const struct ir_insn *in = cg_insn(c, i);
    if (!lanes_ok(c, in) || in->aux & VL_SCALAR)
        return false;
    int a = vec_use(c, in->a), t = vec_tmp(c), d = vec_def(c, i);
    load(c, d, a, in->aux, in->aux & VL_HIGH);
    vec3(c, X_0F | 0xc2, t, d, rm_reg(d)); // cmpunord
    as_u8(&c->as, 3);
    vec2(c, X_66 | X_38 | 0x17, t, rm_reg(t));
    cg_fp_slow_if(c, i, CC_NE);
    return true;
}

bool cg_half_narrow(struct cg *c, ir_ref i)
{
    const struct ir_insn *in = cg_insn(c, i);
    if (!lanes_ok(c, in) || in->aux & VL_SCALAR)
        return false;
    bool high = in->aux & VL_HIGH;
    int a = vec_use(c, in->a), old = high ? vec_use(c, in->b) : a, t = vec_tmp(c);
    int d = vec_def(c, i);
    to_half(c, t, a);
    if (high)
        vec3(c, P0F | 0x6c, d, old, rm_reg(t));
    else
        x_op(&c->as, X_0F | 0x28, d, rm_reg(t));
    check(c, i, t, true);
    return true;
}

RULE(h2f)
{
    const struct ir_insn *in = cg_insn(c, i);
    if (!ok(c, in)) {
        cg_eval(c, i);
        return;
    }
    bool dbl = in->type == IR_F64;
    int a = cg_use(c, in->a), t = cg_tmp(c), d = vec_def(c, i);
    x_op(&c->as, X_0F | 0xb7, t, rm_reg(a)); // movzx
    vec2(c, P0F | 0x6e, d, rm_reg(t));
    to_single(c, d, d);
    if (dbl)
        vec3(c, X_F3 | X_0F | 0x5a, d, d, rm_reg(d)); // cvtss2sd
    vec2(c, (dbl ? X_66 : 0) | X_0F | 0x2e, d, rm_reg(d));
    cg_fp_slow_if(c, i, CC_P);
}

// From single: a double's 53 bits would be rounded twice.
RULE(f2h)
{
    const struct ir_insn *in = cg_insn(c, i);
    if (!ok(c, in) || cg_insn(c, in->a)->type == IR_F64) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), x = vec_zero(c), t = cg_tmp(c), d = cg_def(c, i);
    vec3(c, X_F3 | X_0F | 0x10, x, x, rm_reg(a)); // movss: nothing else may raise anything
    to_half(c, x, x);
    vec2(c, P0F | 0x7e, x, rm_reg(d));
    x_lea(&c->as, 0, t, rm_sib(d, d, 0, 0)); // without the sign; NaNs end above infinity
    x_op(&c->as, X_0F | 0xb7, t, rm_reg(t));
    x_alui(&c->as, 0, ALU_CMP, rm_reg(t), 0x7c00 * 2);
    size_t nan = cg_fp_slow_if(c, i, CC_A);
    x_alui(&c->as, 0, ALU_CMP, rm_reg(t), 0x0400 * 2);
    cg_fp_slow_if(c, i, CC_E);
    c->stubs.data[nan].back = as_here(&c->as);
}
