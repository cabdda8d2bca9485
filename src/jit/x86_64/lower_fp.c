// Floating point on the host's, under the guest's rounding in MXCSR; sticky flags gather there.
// What the two may disagree on is recognised by the result: NaNs (which one, and its sign), and
// for operations that can underflow a result that is exactly the smallest normal number, which the
// guest may call tiny and the host not. Both go out of line to softfloat. Flushing of subnormals
// and roundings the host lacks are a mode of their own, in which no rule here applies.
#include "jit/x86_64/vec.h"

static bool wide(unsigned type)
{
    return type == IR_F64;
}

static unsigned scalar(unsigned type) // prefix of the scalar forms
{
    return (wide(type) ? X_F2 : X_F3) | X_0F;
}

static unsigned packed(unsigned type)
{
    return (wide(type) ? X_66 : 0) | X_0F;
}

size_t cg_fp_slow_if(struct cg *c, ir_ref i, enum x86_cc cc)
{
    const struct ir_insn *in = cg_insn(c, i);
    const ir_ref ops[3] = {in->a, in->b, in->c};
    uint32_t regs = (uint32_t)c->v[i].reg;
    for (unsigned k = 0; k < 3; k++)
        regs |= (ops[k] ? (uint32_t)cg_val(c, ops[k])->reg : 0) << (5 * (k + 1));
    struct stub s = {.kind = STUB_FP,
                     .from = x_jcc(&c->as, cc),
                     .info = in->op | IR_EVAL_TYPES(in->type, cg_insn(c, in->a)->type) << 8 |
                             (uint32_t)in->aux << 16,
                     .regs = regs,
                     .back = as_here(&c->as)};
    vec_push(&c->stubs, s);
    return c->stubs.len - 1;
}

// Where it goes on after that, when not right there.
static void slow_ends(struct cg *c, size_t stub)
{
    c->stubs.data[stub].back = as_here(&c->as);
}

static void check(struct cg *c, ir_ref i, unsigned type, int d, bool underflows)
{
    unsigned ucomis = packed(type) | 0x2e;
    if (!underflows) {
        vec2(c, ucomis, d, rm_reg(d));
        cg_fp_slow_if(c, i, CC_P);
        return;
    }
    int t = vec_tmp(c);
    vec3(c, packed(type) | 0x54, t, d, cg_fp_const(wide(type) ? FPC_ABS64 : FPC_ABS32));
    vec2(c, ucomis, t, cg_fp_const(wide(type) ? FPC_MIN64 : FPC_MIN32));
    cg_fp_slow_if(c, i, CC_E); // equal, or unordered
}

static const uint8_t arith[IR_OPS] = {
    [IR_fadd] = 0x58,  [IR_fsub] = 0x5c,  [IR_fmul] = 0x59,  [IR_fdiv] = 0x5e,
    [IR_vfadd] = 0x58, [IR_vfsub] = 0x5c, [IR_vfmul] = 0x59, [IR_vfdiv] = 0x5e,
};

RULE(farith)
{
    const struct ir_insn *in = cg_insn(c, i);
    if (cg_fp_strict(c) || in->aux & FPA_RM) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), b = vec_use(c, in->b), d = vec_def(c, i);
    vec3(c, scalar(in->type) | arith[in->op], d, a, rm_reg(b));
    check(c, i, in->type, d, in->op == IR_fmul || in->op == IR_fdiv);
}

RULE(fsqrt)
{
    const struct ir_insn *in = cg_insn(c, i);
    if (cg_fp_strict(c) || in->aux & FPA_RM) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), d = vec_def(c, i);
    vec3(c, scalar(in->type) | 0x51, d, a, rm_reg(a));
    check(c, i, in->type, d, false);
}

RULE(fma)
{
    const struct ir_insn *in = cg_insn(c, i);
    if (cg_fp_strict(c) || in->aux & FPA_RM) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), b = vec_use(c, in->b), x = vec_use(c, in->c);
    int d = vec_def(c, i);
    x_op(&c->as, X_0F | 0x28, d, rm_reg(x));
    v_op(&c->as, X_66 | X_38 | 0xb9 | (wide(in->type) ? X_W : 0), d, a, rm_reg(b)); // fmadd231
    check(c, i, in->type, d, true);
}

RULE(fsign) // fneg, fabs
{
    const struct ir_insn *in = cg_insn(c, i);
    bool neg = in->op == IR_fneg;
    int a = vec_use(c, in->a), d = vec_def(c, i);
    unsigned k =
        neg ? (wide(in->type) ? FPC_SIGN64 : FPC_SIGN32) : (wide(in->type) ? FPC_ABS64 : FPC_ABS32);
    vec3(c, packed(in->type) | (neg ? 0x57 : 0x54), d, a, cg_fp_const(k));
}

RULE(fbits)
{
    const struct ir_insn *in = cg_insn(c, i);
    int a = cg_use(c, in->a), d = cg_def(c, i);
    if (IS_XMM(a))
        vec2(c, X_66 | X_0F | 0x7e | (in->type == IR_I64 ? X_W : 0), a - 16, rm_reg(d));
    else
        vec2(c, X_66 | X_0F | 0x6e | (in->type == IR_F64 ? X_W : 0), d - 16, rm_reg(a));
}

RULE(fbox)
{
    int a = vec_use(c, cg_insn(c, i)->a), d = vec_def(c, i);
    vec3i(c, X_66 | X_3A | 0x0c, d, a, cg_fp_const(FPC_ONES), 0xe); // blendps
}

RULE(funbox)
{
    int a = vec_use(c, cg_insn(c, i)->a), d = vec_def(c, i);
    x_op(&c->as, X_0F | 0x28, d, rm_reg(a));
    vec2(c, X_66 | X_38 | 0x17, a, cg_fp_const(FPC_BOX)); // ptest
    cg_fp_slow_if(c, i, CC_AE);
}

// ---- sticky flags: those of env.fp and of MXCSR ----

// MXCSR's, in the order asked for.
static void host_flags(struct cg *c, int d, unsigned mirrored)
{
    x_op(&c->as, X_0F | 0xae, 3, rm_env(VOFF(mxcsr))); // stmxcsr
    x_mov(&c->as, 0, d, rm_env(VOFF(mxcsr)));
    x_alui(&c->as, 0, ALU_AND, rm_reg(d), 63);
    x_op(&c->as, X_0F | 0xb6, d, rm_env_at(VOFF(fp_flags_host[mirrored]), d, 0)); // movzx
}

RULE(fflags)
{
    unsigned mirrored = cg_insn(c, i)->aux & 1;
    int t = cg_tmp(c), d = cg_def(c, i);
    host_flags(c, d, mirrored);
    x_mov(&c->as, 0, t, rm_env((int32_t)offsetof(struct env, fp.flags)));
    x_alui(&c->as, 0, ALU_AND, rm_reg(t), 63);
    x_op(&c->as, X_0F | 0xb6, t, rm_env_at(VOFF(fp_flags_env[mirrored]), t, 0));
    x_alu_rr(&c->as, 0, ALU_OR, d, t);
}

// MXCSR is loaded only where it has flags that are to go: that is slow.
RULE(setfflags)
{
    const struct ir_insn *in = cg_insn(c, i);
    int a = cg_use(c, in->a), t = cg_tmp(c), u = cg_tmp(c);
    host_flags(c, t, in->aux & 1);
    x_mov_rr(&c->as, 0, u, a);
    x_alui(&c->as, 0, ALU_AND, rm_reg(u), 31);
    x_alu_rr(&c->as, 0, ALU_OR, t, u);
    x_alu_rr(&c->as, 0, ALU_CMP, t, u);
    uint8_t *none = x_jcc8(&c->as, CC_E);
    x_alui(&c->as, 0, ALU_AND, rm_env(VOFF(mxcsr)), ~63);
    x_op(&c->as, X_0F | 0xae, 2, rm_env(VOFF(mxcsr))); // ldmxcsr
    as_bind8(&c->as, none);
    x_op(&c->as, X_0F | 0xb6, u, rm_env_at(VOFF(fp_flags_env[in->aux & 1]), u, 0));
    x_store(&c->as, 0, rm_env((int32_t)offsetof(struct env, fp.flags)), u);
}

// Both orders combined: equal operands give the same, zeros of two signs the right one.
RULE(fminmax)
{
    const struct ir_insn *in = cg_insn(c, i);
    if (cg_fp_strict(c)) {
        cg_eval(c, i);
        return;
    }
    bool max = in->op == IR_fmax || in->op == IR_fmaxnm;
    unsigned op = scalar(in->type) | (max ? 0x5f : 0x5d);
    int a = vec_use(c, in->a), b = vec_use(c, in->b), t = vec_tmp(c);
    int d = vec_def(c, i);
    vec2(c, packed(in->type) | 0x2e, a, rm_reg(b));
    uint8_t *nan = x_jcc8(&c->as, CC_P);
    vec3(c, op, t, b, rm_reg(a));
    vec3(c, op, d, a, rm_reg(b));
    vec3(c, packed(in->type) | (max ? 0x54 : 0x56), d, d, rm_reg(t));
    as_bind8(&c->as, nan); // parity still tells, and-ing does not touch it
    cg_fp_slow_if(c, i, CC_P);
}

// Arm's NZCV of a comparison, packed.
RULE(fcmp)
{
    const struct ir_insn *in = cg_insn(c, i);
    if (cg_fp_strict(c)) {
        cg_eval(c, i);
        return;
    }
    static const struct {
        enum x86_cc cc;
        uint32_t flags;
    } result[] = {{CC_B, 1u << PACK_N},
                  {CC_E, 1u << PACK_Z | 1u << PACK_C},
                  {CC_P, 1u << PACK_C | 1u << PACK_V}};
    unsigned type = cg_insn(c, in->a)->type;
    int a = vec_use(c, in->a), b = vec_use(c, in->b), t = cg_tmp(c), d = cg_def(c, i);
    vec2(c, packed(type) | (in->aux & FPA_SIGNAL ? 0x2f : 0x2e), a, rm_reg(b));
    x_movi(&c->as, d, 1u << PACK_C); // greater
    for (unsigned k = 0; k < ARRAY_SIZE(result); k++) {
        x_movi(&c->as, t, result[k].flags);
        x_cmov(&c->as, 0, result[k].cc, d, rm_reg(t));
    }
}

static unsigned fixed_rounding(unsigned aux) // enum fp_rounding + 1, or 0
{
    return (aux & FPA_RM) >> FPA_RM_SHIFT;
}

// roundsd's immediate for a rounding; the dynamic one is MXCSR's.
static bool round_imm(unsigned aux, unsigned *imm)
{
    static const uint8_t fixed[] = {4, 0, 3, 1, 2}; // dynamic, RNE, RTZ, RDN, RUP
    if (fixed_rounding(aux) >= ARRAY_SIZE(fixed))
        return false;
    *imm = fixed[fixed_rounding(aux)];
    return true;
}

RULE(frint)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned imm;
    if (cg_fp_strict(c) || !round_imm(in->aux, &imm)) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), d = vec_def(c, i);
    vec3i(c, X_66 | X_3A | (wide(in->type) ? 0x0b : 0x0a), d, a, rm_reg(a),
          imm | (in->aux & FPA_SIGNAL ? 0 : 8));
    check(c, i, in->type, d, false);
}

RULE(f2f)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned from = cg_insn(c, in->a)->type;
    if (cg_fp_strict(c) || (in->aux & FPA_RM && !wide(in->type))) { // widening is exact
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), d = vec_def(c, i);
    vec3(c, scalar(from) | 0x5a, d, a, rm_reg(a));
    check(c, i, in->type, d, !wide(in->type));
}

// Only magnitudes below 2^bits go on (and no negative numbers, where unsigned): then neither the
// rounding nor the conversion raises what the guest's instruction would not.
static size_t small_enough(struct cg *c, ir_ref i, int a, unsigned from, unsigned bits, bool uns)
{
    unsigned w = wide(from) ? X_W : 0;
    int t = cg_tmp(c);
    vec2(c, X_66 | X_0F | 0x7e | w, a, rm_reg(t));
    if (!uns)
        x_alu_rr(&c->as, w, ALU_ADD, t, t);
    x_shi(&c->as, w, SH_SHR, t, (w ? 52 : 23) + !uns);
    x_alui(&c->as, 0, ALU_CMP, rm_reg(t), (int32_t)((w ? 1023 : 127) + bits));
    return cg_fp_slow_if(c, i, CC_AE);
}

RULE(f2i)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned imm, w = cg_w(c, i), from = cg_insn(c, in->a)->type;
    bool uns = in->aux & FPA_UNSIGNED;
    if (cg_fp_strict(c) || in->aux & 0x7f || !round_imm(in->aux, &imm)) {
        cg_eval(c, i);
        return;
    }
    bool truncates = imm == 3;
    int a = vec_use(c, in->a), d = cg_def(c, i), x = a;
    if (!truncates)
        x = vec_tmp(c);
    bool test = uns || !truncates;
    size_t stub = test ? small_enough(c, i, a, from, w ? 62 : 30, uns) : 0;
    if (!truncates)
        vec3i(c, X_66 | X_3A | (wide(from) ? 0x0b : 0x0a), x, a, rm_reg(a), imm);
    vec2(c, scalar(from) | 0x2c | w, d,
         rm_reg(x)); // cvtt: the smallest integer where it is invalid
    if (!uns && truncates) {
        x_alui(&c->as, w, ALU_CMP, rm_reg(d), 1);
        cg_fp_slow_if(c, i, CC_O);
    }
    if (test)
        slow_ends(c, stub);
}

RULE(i2f)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned wide_in = cg_w(c, in->a);
    bool uns = in->aux & FPA_UNSIGNED, exact = !wide_in && wide(in->type);
    if (cg_fp_strict(c) || in->aux & 0x7f || (in->aux & FPA_RM && !exact)) {
        cg_eval(c, i);
        return;
    }
    int a = cg_use(c, in->a), d = vec_def(c, i), x = a;
    size_t stub = 0;
    if (uns && wide_in) {
        x_test_rr(&c->as, X_W, a, a);
        stub = cg_fp_slow_if(c, i, CC_S);
    } else if (uns) {
        x = cg_tmp(c);
        x_mov_rr(&c->as, 0, x, a);
    }
    vec3(c, X_66 | X_0F | 0xef, d, d, rm_reg(d)); // no dependence on the old value
    vec3(c, scalar(in->type) | 0x2a | (wide_in || uns ? X_W : 0), d, d, rm_reg(x));
    if (uns && wide_in)
        slow_ends(c, stub);
}

// ---- lanes ----

static bool lanes_ok(struct cg *c, const struct ir_insn *in)
{
    unsigned lane = in->aux & VL_LANE;
    bool half = in->aux & VL_HALF;
    return !cg_fp_strict(c) && !(in->aux & FPA_RM) && lane >= VL_32 &&
           !(half && (lane == VL_64 || in->op == IR_vfdiv));
}

// An operand whose unused lanes cannot raise anything.
static int lanes_use(struct cg *c, const struct ir_insn *in, ir_ref x)
{
    int a = vec_use(c, x);
    if (!(in->aux & VL_HALF))
        return a;
    int t = vec_tmp(c);
    vec_low(c, t, a);
    return t;
}

static void check_lanes(struct cg *c, ir_ref i, unsigned type, int d, bool underflows)
{
    int t = vec_tmp(c);
    vec3(c, packed(type) | 0xc2, t, d, rm_reg(d)); // cmpunord
    as_u8(&c->as, 3);
    if (underflows) {
        int u = vec_tmp(c);
        vec3(c, X_66 | X_0F | 0xdb, u, d, cg_fp_const(wide(type) ? FPC_ABS64 : FPC_ABS32));
        vec3(c, wide(type) ? X_66 | X_38 | 0x29 : X_66 | X_0F | 0x76, u, u,
             cg_fp_const(wide(type) ? FPC_MIN64 : FPC_MIN32)); // pcmpeq
        vec3(c, X_66 | X_0F | 0xeb, t, t, rm_reg(u));
    }
    vec2(c, X_66 | X_38 | 0x17, t, rm_reg(t)); // ptest
    cg_fp_slow_if(c, i, CC_NE);
}

RULE(vfarith)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned type = (in->aux & VL_LANE) == VL_64 ? IR_F64 : IR_F32;
    bool one = in->aux & VL_SCALAR;
    if (cg_half_arith(c, i))
        return;
    if (!lanes_ok(c, in)) {
        cg_eval(c, i);
        return;
    }
    int a = lanes_use(c, in, in->a), b = lanes_use(c, in, in->b), d = vec_def(c, i);
    vec3(c, (one ? scalar(type) : packed(type)) | arith[in->op], d, a, rm_reg(b));
    vec_finish(c, in->aux, d);
    check_lanes(c, i, type, d, in->op == IR_vfmul || in->op == IR_vfdiv);
}

RULE(vfsqrt)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned type = (in->aux & VL_LANE) == VL_64 ? IR_F64 : IR_F32;
    if (cg_half_arith(c, i))
        return;
    if (!lanes_ok(c, in) || in->aux & VL_SCALAR) {
        cg_eval(c, i);
        return;
    }
    int a = lanes_use(c, in, in->a), d = vec_def(c, i);
    vec2(c, packed(type) | 0x51, d, rm_reg(a));
    vec_finish(c, in->aux, d);
    check_lanes(c, i, type, d, false);
}

RULE(vfma)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned type = (in->aux & VL_LANE) == VL_64 ? IR_F64 : IR_F32;
    bool one = in->aux & VL_SCALAR;
    if (!lanes_ok(c, in)) {
        cg_eval(c, i);
        return;
    }
    int a = lanes_use(c, in, in->a), b = lanes_use(c, in, in->b), x = lanes_use(c, in, in->c);
    int d = vec_def(c, i);
    x_op(&c->as, X_0F | 0x28, d, rm_reg(x));
    v_op(&c->as, X_66 | X_38 | (one ? 0xb9 : 0xb8) | (wide(type) ? X_W : 0), d, a, rm_reg(b));
    vec_finish(c, in->aux, d);
    check_lanes(c, i, type, d, true);
}

RULE(vfsign)
{
    const struct ir_insn *in = cg_insn(c, i);
    bool neg = in->op == IR_vfneg, w = (in->aux & VL_LANE) == VL_64;
    if ((in->aux & VL_LANE) < VL_32) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), d = vec_def(c, i);
    vec3(c, X_0F | (neg ? 0x57 : 0x54), d, a,
         cg_fp_const(neg ? (w ? FPC_SIGN64 : FPC_SIGN32) : (w ? FPC_ABS64 : FPC_ABS32)));
    vec_finish(c, in->aux, d);
}

// eq (quiet), ge, gt (signalling, as cmple and cmplt of the exchanged operands): a NaN operand
// gives false on both sides.
RULE(vfcmp)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned type = (in->aux & VL_LANE) == VL_64 ? IR_F64 : IR_F32;
    if (!lanes_ok(c, in)) {
        cg_eval(c, i);
        return;
    }
    bool eq = in->op == IR_vfcmpeq, one = in->aux & VL_SCALAR;
    int a = lanes_use(c, in, in->a), b = lanes_use(c, in, in->b), d = vec_def(c, i);
    vec3(c, (one ? scalar(type) : packed(type)) | 0xc2, d, eq ? a : b, rm_reg(eq ? b : a));
    as_u8(&c->as, eq ? 0 : in->op == IR_vfcmpge ? 2 : 1);
    vec_finish(c, in->aux, d);
}

static bool lanes_round_ok(struct cg *c, const struct ir_insn *in, unsigned *imm)
{
    return !cg_fp_strict(c) && (in->aux & VL_LANE) >= VL_32 && round_imm(in->aux, imm);
}

static unsigned lanes_type(const struct ir_insn *in)
{
    return (in->aux & VL_LANE) == VL_64 ? IR_F64 : IR_F32;
}

RULE(vfrint)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned imm, type = lanes_type(in);
    if (!lanes_round_ok(c, in, &imm) || in->aux & VL_SCALAR) {
        cg_eval(c, i);
        return;
    }
    int a = lanes_use(c, in, in->a), d = vec_def(c, i);
    vec2i(c, X_66 | X_3A | (wide(type) ? 0x09 : 0x08), d, rm_reg(a),
          imm | (in->aux & FPA_SIGNAL ? 0 : 8));
    check_lanes(c, i, type, d, false);
}

// The slow path if the sign of some 32- or 64-bit lane of t is set.
static size_t slow_if_signs(struct cg *c, ir_ref i, unsigned type, int t)
{
    int g = cg_tmp(c);
    vec2(c, packed(type) | 0x50, g, rm_reg(t)); // movmsk
    x_test_rr(&c->as, 0, g, g);
    return cg_fp_slow_if(c, i, CC_NE);
}

// As the scalar ones: neither has a NaN in its operands, and of two zeros the right one is chosen.
RULE(vfminmax)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned type = lanes_type(in);
    if (!lanes_ok(c, in) || in->aux & VL_SCALAR) {
        cg_eval(c, i);
        return;
    }
    bool max = in->op == IR_vfmax || in->op == IR_vfmaxnm;
    unsigned op = packed(type) | (max ? 0x5f : 0x5d);
    int a = lanes_use(c, in, in->a), b = lanes_use(c, in, in->b), t = vec_tmp(c);
    int d = vec_def(c, i);
    vec3(c, packed(type) | 0xc2, t, a, rm_reg(b)); // cmpunord
    as_u8(&c->as, 3);
    size_t stub = slow_if_signs(c, i, type, t);
    vec3(c, op, t, b, rm_reg(a));
    vec3(c, op, d, a, rm_reg(b));
    vec3(c, packed(type) | (max ? 0x54 : 0x56), d, d, rm_reg(t));
    slow_ends(c, stub);
}

// Sums of pairs: of a's lanes, then of b's.
RULE(vfaddp)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned type = lanes_type(in);
    if (!lanes_ok(c, in)) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), b = vec_use(c, in->b), d = vec_def(c, i), x = a;
    if (in->aux & VL_HALF) { // two pairs
        x = b = vec_tmp(c);
        vec3(c, X_66 | X_0F | 0x6c, x, a, rm_reg(vec_use(c, in->b))); // punpcklqdq
    } else if (in->aux & VL_SCALAR) {
        x = b = wide(type) ? a : vec_tmp(c);
        if (x != a)
            vec_low(c, x, a);
    }
    vec3(c, (wide(type) ? X_66 : X_F2) | X_0F | 0x7c, d, x, rm_reg(b)); // haddp
    vec_finish(c, in->aux, d);
    check_lanes(c, i, type, d, false);
}

// The host's conversion is of signed integers, so none may have its sign bit set where they are
// unsigned. It has none of two 64-bit lanes.
RULE(vi2f)
{
    const struct ir_insn *in = cg_insn(c, i);
    if (!lanes_ok(c, in) || in->aux & VL_SCALAR) {
        cg_eval(c, i);
        return;
    }
    unsigned type = lanes_type(in);
    int a = lanes_use(c, in, in->a), t = vec_tmp(c), g = cg_tmp(c);
    int d = vec_def(c, i);
    bool uns = in->aux & FPA_UNSIGNED;
    size_t stub = uns ? slow_if_signs(c, i, type, a) : 0;
    if (wide(type)) {
        vec3(c, X_0F | 0x57, d, d, rm_reg(d)); // no dependence on the old values
        vec3(c, X_0F | 0x57, t, t, rm_reg(t));
        vec2(c, X_66 | X_0F | X_W | 0x7e, a, rm_reg(g));
        vec3(c, scalar(type) | 0x2a | X_W, d, d, rm_reg(g));
        vec2i(c, X_66 | X_3A | X_W | 0x16, a, rm_reg(g), 1); // pextrq
        vec3(c, scalar(type) | 0x2a | X_W, t, t, rm_reg(g));
        vec3(c, X_66 | X_0F | 0x14, d, d, rm_reg(t)); // unpcklpd
    } else {
        vec2(c, X_0F | 0x5b, d, rm_reg(a)); // cvtdq2ps
    }
    if (uns)
        slow_ends(c, stub);
}

// Two doubles, by way of t and g.
static void truncate_wide(struct cg *c, int d, int a, int t, int g)
{
    vec2(c, scalar(IR_F64) | 0x2c | X_W, g, rm_reg(a)); // cvttsd2si
    vec3(c, X_66 | X_0F | 0x15, t, a, rm_reg(a));       // unpckhpd
    vec2(c, X_66 | X_0F | X_W | 0x6e, d, rm_reg(g));
    vec2(c, scalar(IR_F64) | 0x2c | X_W, g, rm_reg(t));
    vec3i(c, X_66 | X_3A | X_W | 0x22, d, d, rm_reg(g), 1); // pinsrq
}

// Magnitudes below 2^31 or 2^63 (and not negative, where unsigned): there neither rounding nor
// conversion raises what the guest's instruction would not.
RULE(vf2i)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned imm, type = lanes_type(in);
    if (!lanes_round_ok(c, in, &imm) || (in->aux & VL_HALF && wide(type)) || in->aux & VL_SCALAR) {
        cg_eval(c, i);
        return;
    }
    bool uns = in->aux & FPA_UNSIGNED;
    int a = lanes_use(c, in, in->a), t = vec_tmp(c);
    int limit = vec_splat32(c, wide(type) ? 0x43dfffff : 0x4effffff);
    int g = cg_tmp(c), d = vec_def(c, i);
    if (uns)
        x_op(&c->as, X_0F | 0x28, t, rm_reg(a));
    else
        vec3(c, X_66 | X_0F | 0xdb, t, a, cg_fp_const(wide(type) ? FPC_ABS64 : FPC_ABS32)); // pand
    vec3(c, wide(type) ? X_66 | X_38 | 0x37 : X_66 | X_0F | 0x66, d, t, rm_reg(limit)); // pcmpgt
    vec3(c, X_66 | X_0F | 0xeb, t, t, rm_reg(d));                                       // por
    size_t stub = slow_if_signs(c, i, type, t);
    if (imm != 3) {
        vec2i(c, X_66 | X_3A | (wide(type) ? 0x09 : 0x08), t, rm_reg(a), imm); // round
        a = t;
    }
    if (wide(type))
        truncate_wide(c, d, a, limit, g);
    else
        vec2(c, X_F3 | X_0F | 0x5b, d, rm_reg(a)); // cvttps2dq
    slow_ends(c, stub);
}

// Between single and double: two lanes of either half.
RULE(vfcvtl)
{
    const struct ir_insn *in = cg_insn(c, i);
    if (cg_half_widen(c, i))
        return;
    if (cg_fp_strict(c) || in->aux & FPA_RM || (in->aux & VL_LANE) != VL_32 ||
        in->aux & VL_SCALAR) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), d = vec_def(c, i);
    if (in->aux & VL_HIGH) {
        vec2i(c, X_66 | X_0F | 0x70, d, rm_reg(a), 0xee); // pshufd
        a = d;
    }
    vec2(c, X_0F | 0x5a, d, rm_reg(a)); // cvtps2pd
    check_lanes(c, i, IR_F64, d, false);
}

RULE(vfcvtn)
{
    const struct ir_insn *in = cg_insn(c, i);
    if (cg_half_narrow(c, i))
        return;
    if (cg_fp_strict(c) || in->aux & FPA_RM || (in->aux & VL_LANE) != VL_32 ||
        in->aux & VL_SCALAR) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), old = in->aux & VL_HIGH ? vec_use(c, in->b) : a;
    int t = vec_tmp(c), d = vec_def(c, i);
    vec2(c, X_66 | X_0F | 0x5a, t, rm_reg(a)); // cvtpd2ps
    if (!(in->aux & VL_HIGH)) {
        x_op(&c->as, X_0F | 0x28, d, rm_reg(t));
        check_lanes(c, i, IR_F32, d, true);
        return;
    }
    vec3(c, X_66 | X_0F | 0x6c, d, old, rm_reg(t)); // punpcklqdq
    vec3(c, X_66 | X_0F | 0x6c, t, t, rm_reg(t));
    check_lanes(c, i, IR_F32, t, true);
}
