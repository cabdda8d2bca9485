// Rules for vectors of integers, on SSE4.2, with VEX forms where the host has AVX. Lanes beyond the
// ones that take part are cleared last. Where a lane size has no short form the operation is
// evaluated out of line.
#include "jit/x86_64/vec.h"

#define P0F (X_66 | X_0F)
#define P38 (X_66 | X_38)
#define P3A (X_66 | X_3A)

int vec_zero(struct cg *c)
{
    int z = vec_tmp(c);
    vec3(c, P0F | 0xef, z, z, rm_reg(z));
    return z;
}

static int ones(struct cg *c)
{
    int z = vec_tmp(c);
    vec3(c, P0F | 0x76, z, z, rm_reg(z));
    return z;
}

// op d, a, b; legacy encoding: d is neither a nor b, or it is a.
void vec3(struct cg *c, unsigned op, int d, int a, struct rm b)
{
    if (c->f.avx) {
        v_op(&c->as, op, d, a, b);
        return;
    }
    if (d != a)
        x_op(&c->as, X_0F | 0x28, d, rm_reg(a));
    x_op(&c->as, op, d, b);
}

// op d, b (one source)
void vec2(struct cg *c, unsigned op, int d, struct rm b)
{
    if (c->f.avx)
        v_op(&c->as, op, d, 0, b);
    else
        x_op(&c->as, op, d, b);
}

void vec2i(struct cg *c, unsigned op, int d, struct rm b, unsigned imm)
{
    vec2(c, op, d, b);
    as_u8(&c->as, imm);
}

void vec3i(struct cg *c, unsigned op, int d, int a, struct rm b, unsigned imm)
{
    vec3(c, op, d, a, b);
    as_u8(&c->as, imm);
}

// Shift by immediate: op /ext d, a, imm
void vec_shift(struct cg *c, unsigned op, int ext, int d, int a, unsigned imm)
{
    if (c->f.avx) {
        v_op(&c->as, op, ext, d, rm_reg(a));
    } else {
        if (d != a)
            x_op(&c->as, X_0F | 0x28, d, rm_reg(a));
        x_op(&c->as, op, ext, rm_reg(d));
    }
    as_u8(&c->as, imm);
}

static void bytes_right(struct cg *c, int d, int a, unsigned n)
{
    vec_shift(c, P0F | 0x73, 3, d, a, n);
}

static void bytes_left(struct cg *c, int d, int a, unsigned n)
{
    vec_shift(c, P0F | 0x73, 7, d, a, n);
}

void vec_low(struct cg *c, int d, int a) // low 64 bits, zeros above
{
    vec2(c, X_F3 | X_0F | 0x7e, d, rm_reg(a));
}

static void lane0(struct cg *c, unsigned lane, int d)
{
    if (lane == VL_64) {
        vec_low(c, d, d);
        return;
    }
    bytes_left(c, d, d, 16 - (1u << lane));
    bytes_right(c, d, d, 16 - (1u << lane));
}

void vec_finish(struct cg *c, unsigned aux, int d)
{
    if (aux & VL_SCALAR)
        lane0(c, aux & VL_LANE, d);
    else if (aux & VL_HALF)
        vec_low(c, d, d);
}

// A constant of equal 32-bit parts.
int vec_splat32(struct cg *c, uint32_t v)
{
    int t = cg_tmp(c), x = vec_tmp(c);
    x_movi(&c->as, t, v);
    vec2(c, P0F | 0x6e, x, rm_reg(t));
    vec2i(c, P0F | 0x70, x, rm_reg(x), 0);
    return x;
}

static int splat8(struct cg *c, unsigned byte)
{
    return vec_splat32(c, (byte & 0xff) * 0x01010101u);
}

// A constant of 16 bytes.
int vec_constant(struct cg *c, uint64_t lo, uint64_t hi)
{
    int t = cg_tmp(c), x = vec_tmp(c), y = vec_tmp(c);
    x_movi(&c->as, t, lo);
    vec2(c, P0F | X_W | 0x6e, x, rm_reg(t));
    x_movi(&c->as, t, hi);
    vec2(c, P0F | X_W | 0x6e, y, rm_reg(t));
    vec3(c, P0F | 0x6c, x, x, rm_reg(y));
    return x;
}

// ---- one instruction ----

// Opcode by lane size; 0: none. `swap`: the operands change places.
struct lanes_op {
    uint32_t op[4];
    bool swap;
};
#define ALL(op)                                                                                    \
    {                                                                                              \
        op, op, op, op                                                                             \
    }
static const struct lanes_op two[IR_OPS] = {
    [IR_vand] = {ALL(P0F | 0xdb)},
    [IR_vor] = {ALL(P0F | 0xeb)},
    [IR_vxor] = {ALL(P0F | 0xef)},
    [IR_vandn] = {ALL(P0F | 0xdf), true},
    [IR_vadd] = {{P0F | 0xfc, P0F | 0xfd, P0F | 0xfe, P0F | 0xd4}},
    [IR_vsub] = {{P0F | 0xf8, P0F | 0xf9, P0F | 0xfa, P0F | 0xfb}},
    [IR_vmul] = {{0, P0F | 0xd5, P38 | 0x40, 0}},
    [IR_vcmpeq] = {{P0F | 0x74, P0F | 0x75, P0F | 0x76, P38 | 0x29}},
    [IR_vcmpgt] = {{P0F | 0x64, P0F | 0x65, P0F | 0x66, P38 | 0x37}},
    [IR_vsmin] = {{P38 | 0x38, P0F | 0xea, P38 | 0x39, 0}},
    [IR_vsmax] = {{P38 | 0x3c, P0F | 0xee, P38 | 0x3d, 0}},
    [IR_vumin] = {{P0F | 0xda, P38 | 0x3a, P38 | 0x3b, 0}},
    [IR_vumax] = {{P0F | 0xde, P38 | 0x3e, P38 | 0x3f, 0}},
    [IR_vsqadd] = {{P0F | 0xec, P0F | 0xed, 0, 0}},
    [IR_vuqadd] = {{P0F | 0xdc, P0F | 0xdd, 0, 0}},
    [IR_vsqsub] = {{P0F | 0xe8, P0F | 0xe9, 0, 0}},
    [IR_vuqsub] = {{P0F | 0xd8, P0F | 0xd9, 0, 0}},
    [IR_vurhadd] = {{P0F | 0xe0, P0F | 0xe3, 0, 0}},
    [IR_vzip1] = {{P0F | 0x60, P0F | 0x61, P0F | 0x62, P0F | 0x6c}},
};

RULE(vec2)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE;
    const struct lanes_op *t = &two[in->op];
    if (!t->op[lane]) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, t->swap ? in->b : in->a);
    struct rm b = cg_use_rm(c, t->swap ? in->a : in->b);
    int d = vec_def(c, i);
    vec3(c, t->op[lane], d, a, b);
    vec_finish(c, in->aux, d);
}

RULE(vzip2)
{
    static const uint32_t high[] = {P0F | 0x68, P0F | 0x69, P0F | 0x6a, P0F | 0x6d};
    static const uint32_t low[] = {P0F | 0x60, P0F | 0x61, P0F | 0x62, P0F | 0x6c};
    const struct ir_insn *in = cg_insn(c, i);
    int a = vec_use(c, in->a), b = vec_use(c, in->b), d = vec_def(c, i);
    vec3(c, (in->aux & VL_HALF ? low : high)[in->aux & VL_LANE], d, a, rm_reg(b));
    if (in->aux & VL_HALF)
        bytes_right(c, d, d, 8);
}

// ---- shuffles ----

// Even (odd: `second`) lanes of a, then of b, into d. d is distinct from both.
static bool unzip(struct cg *c, unsigned lane, bool second, int d, int a, int b)
{
    int t;
    switch (lane) {
    case VL_64:
        vec3(c, P0F | (second ? 0x6d : 0x6c), d, a, rm_reg(b));
        return true;
    case VL_32:
        vec3i(c, X_0F | 0xc6, d, a, rm_reg(b), second ? 0xdd : 0x88); // shufps
        return true;
    default:
        break;
    }
    t = vec_tmp(c);
    if (second) {
        unsigned op = lane == VL_16 ? 0x72 : 0x71, n = 8u << lane;
        vec_shift(c, P0F | op, 2, d, a, n);
        vec_shift(c, P0F | op, 2, t, b, n);
    } else {
        int m = vec_splat32(c, lane == VL_16 ? 0xffff : 0x00ff00ff);
        vec3(c, P0F | 0xdb, d, a, rm_reg(m));
        vec3(c, P0F | 0xdb, t, b, rm_reg(m));
    }
    vec3(c, lane == VL_16 ? P38 | 0x2b : P0F | 0x67, d, d, rm_reg(t)); // packusdw, packuswb
    return true;
}

// The two operands as one vector, when only their low halves take part.
static void join_halves(struct cg *c, unsigned aux, int *a, int *b)
{
    if (!(aux & VL_HALF))
        return;
    int t = vec_tmp(c);
    vec3(c, P0F | 0x6c, t, *a, rm_reg(*b));
    *a = *b = t;
}

RULE(vuzp)
{
    const struct ir_insn *in = cg_insn(c, i);
    int a = vec_use(c, in->a), b = vec_use(c, in->b), d = vec_def(c, i);
    join_halves(c, in->aux, &a, &b);
    unzip(c, in->aux & VL_LANE, in->op == IR_vuzp2, d, a, b);
    vec_finish(c, in->aux & VL_HALF, d);
}

// Even (odd) lanes of a and b interleaved.
RULE(vtrn)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE, n = 8u << lane;
    bool second = in->op == IR_vtrn2;
    int a = vec_use(c, in->a), b = vec_use(c, in->b), d = vec_def(c, i), t = vec_tmp(c);
    if (lane == VL_64) {
        vec3(c, P0F | (second ? 0x6d : 0x6c), d, a, rm_reg(b));
        return;
    }
    // Move a's (b's) lanes into the places of the even (odd) ones.
    unsigned op = lane == VL_32 ? 0x73 : lane == VL_16 ? 0x72 : 0x71;
    if (second)
        vec_shift(c, P0F | op, 2, d, a, n);
    else
        vec_shift(c, P0F | op, 6, d, b, n);
    int even = second ? d : a, odd = second ? b : d;
    if (lane == VL_8) {
        int m = vec_splat32(c, 0xff00ff00);
        vec3(c, P0F | 0xdf, t, m, rm_reg(even)); // ~m & even
        if (odd == d) {                          // shifted left: nothing below
            vec3(c, P0F | 0xeb, d, d, rm_reg(t));
        } else {
            vec3(c, P0F | 0xdb, d, m, rm_reg(odd));
            vec3(c, P0F | 0xeb, d, d, rm_reg(t));
        }
    } else {
        unsigned mask = lane == VL_32 ? 0xcc : 0xaa; // pblendw
        if (odd == d) {
            vec3i(c, P3A | 0x0e, t, even, rm_reg(d), mask);
            x_op(&c->as, X_0F | 0x28, d, rm_reg(t));
        } else {
            vec3i(c, P3A | 0x0e, d, d, rm_reg(odd), mask);
        }
    }
    vec_finish(c, in->aux & VL_HALF, d);
}

RULE(vext)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned n = VL_GET_IMM(in->aux);
    int a = vec_use(c, in->a), b = vec_use(c, in->b), d = vec_def(c, i);
    if (in->aux & VL_HALF) {
        vec3(c, P0F | 0x6c, d, a, rm_reg(b));
        bytes_right(c, d, d, n);
        vec_low(c, d, d);
    } else {
        vec3i(c, P3A | 0x0f, d, b, rm_reg(a), n); // palignr
    }
}

RULE(vrev)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE, group = 1u << VL_GET_IMM(in->aux), bytes = 1u << lane;
    union ir_val m;
    if (lane == VL_32) {
        int a = vec_use(c, in->a), d = vec_def(c, i);
        vec2i(c, P0F | 0x70, d, rm_reg(a), group == 16 ? 0x1b : 0xb1);
        vec_finish(c, in->aux & VL_HALF, d);
        return;
    }
    for (unsigned k = 0; k < 16; k++) {
        unsigned g = k / group * group, at = k - g;
        m.u8[k] = (uint8_t)(g + (group - bytes - at / bytes * bytes) + at % bytes);
    }
    int s = vec_constant(c, m.u64[0], m.u64[1]), a = vec_use(c, in->a), d = vec_def(c, i);
    vec3(c, P38 | 0x00, d, a, rm_reg(s));
    vec_finish(c, in->aux & VL_HALF, d);
}

// pshufb clears bytes whose index has bit 7 set: adding 0x70 with saturation sets it from 16 on.
RULE(vtbl)
{
    const struct ir_insn *in = cg_insn(c, i);
    int m = splat8(c, 0x70), a = vec_use(c, in->a), b = vec_use(c, in->b), d = vec_def(c, i);
    vec3(c, P0F | 0xdc, m, m, rm_reg(b)); // paddusb
    vec3(c, P38 | 0x00, d, a, rm_reg(m));
    vec_finish(c, in->aux & VL_HALF, d);
}

RULE(vtbx)
{
    const struct ir_insn *in = cg_insn(c, i);
    int m = splat8(c, 0x70), a = vec_use(c, in->a), b = vec_use(c, in->b), x = vec_use(c, in->c);
    int z = vec_zero(c), d = vec_def(c, i);
    vec3(c, P0F | 0xdc, m, m, rm_reg(x));
    vec3(c, P38 | 0x00, d, b, rm_reg(m));
    vec3(c, P0F | 0x64, z, z, rm_reg(m)); // 0 > m: all ones where a's byte stays
    vec3(c, P0F | 0xdb, z, z, rm_reg(a));
    vec3(c, P0F | 0xeb, d, d, rm_reg(z));
    vec_finish(c, in->aux & VL_HALF, d);
}

// ---- to and from scalars ----

RULE(vzext)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned type = cg_insn(c, in->a)->type;
    int a = cg_use(c, in->a), d = vec_def(c, i);
    switch (type) {
    case IR_I32:
        vec2(c, P0F | 0x6e, d, rm_reg(a));
        break;
    case IR_I64:
        vec2(c, P0F | X_W | 0x6e, d, rm_reg(a));
        break;
    case IR_F32: { // bits above a scalar are undefined
        int z = vec_zero(c);
        vec3(c, X_F3 | X_0F | 0x10, d, z, rm_reg(a - 16)); // movss
        break;
    }
    default:
        vec_low(c, d, a - 16);
    }
}

RULE(vlow)
{
    const struct ir_insn *in = cg_insn(c, i);
    int a = vec_use(c, in->a);
    int d = cg_def(c, i);
    if (!IS_XMM(d))
        vec2(c, P0F | 0x7e | (in->type == IR_I64 ? X_W : 0), a, rm_reg(d));
    else
        x_op(&c->as, X_0F | 0x28, d - 16, rm_reg(a));
}

RULE(vhalf)
{
    int a = vec_use(c, cg_insn(c, i)->a);
    vec_low(c, vec_def(c, i), a);
}

RULE(vpair)
{
    const struct ir_insn *in = cg_insn(c, i);
    int a = cg_use(c, in->a), b = cg_use(c, in->b), d = vec_def(c, i);
    vec2(c, P0F | X_W | 0x6e, d, rm_reg(a));
    vec3i(c, P3A | X_W | 0x22, d, d, rm_reg(b), 1); // pinsrq
}

// Lane 0 of d into every lane.
static void broadcast(struct cg *c, unsigned lane, int d)
{
    switch (lane) {
    case VL_8: {
        int z = vec_zero(c);
        vec3(c, P38 | 0x00, d, d, rm_reg(z));
        break;
    }
    case VL_16:
        vec2i(c, X_F2 | X_0F | 0x70, d, rm_reg(d), 0); // pshuflw
        vec2i(c, P0F | 0x70, d, rm_reg(d), 0);
        break;
    case VL_32:
        vec2i(c, P0F | 0x70, d, rm_reg(d), 0);
        break;
    default:
        vec3(c, P0F | 0x6c, d, d, rm_reg(d));
    }
}

RULE(vdup)
{
    const struct ir_insn *in = cg_insn(c, i);
    int a = cg_use(c, in->a), d = vec_def(c, i);
    vec2(c, P0F | 0x6e | (cg_insn(c, in->a)->type == IR_I64 ? X_W : 0), d, rm_reg(a));
    broadcast(c, in->aux & VL_LANE, d);
    vec_finish(c, in->aux, d);
}

RULE(vduplane)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE, n = VL_GET_IMM(in->aux) << lane;
    int a = vec_use(c, in->a), d = vec_def(c, i);
    if (lane == VL_32)
        vec2i(c, P0F | 0x70, d, rm_reg(a), VL_GET_IMM(in->aux) * 0x55);
    else {
        bytes_right(c, d, a, n);
        broadcast(c, lane, d);
    }
    vec_finish(c, in->aux, d);
}

RULE(vget)
{
    static const uint32_t extract[] = {P3A | 0x14, P3A | 0x15, P3A | 0x16, P3A | X_W | 0x16};
    static const uint32_t sign[] = {X_0F | X_BYTEM | 0xbe, X_0F | 0xbf, 0x63, 0x8b};
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE;
    int a = vec_use(c, in->a), d = cg_def(c, i);
    vec2(c, extract[lane], a, rm_reg(d));
    as_u8(&c->as, VL_GET_IMM(in->aux));
    if (in->op == IR_vgets && !(lane == VL_32 && in->type == IR_I32) && lane != VL_64)
        x_op(&c->as, cg_w(c, i) | sign[lane], d, rm_reg(d));
}

RULE(vset)
{
    static const uint32_t insert[] = {P3A | 0x20, P0F | 0xc4, P3A | 0x22, P3A | X_W | 0x22};
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE;
    int b = cg_use(c, in->b), a = vec_use(c, in->a), d = vec_def(c, i);
    vec3i(c, insert[lane], d, a, rm_reg(b), VL_GET_IMM(in->aux));
}

// ---- logic and arithmetic of several instructions ----

RULE(vnot)
{
    const struct ir_insn *in = cg_insn(c, i);
    int t = ones(c), a = vec_use(c, in->a), d = vec_def(c, i);
    vec3(c, P0F | 0xef, d, a, rm_reg(t));
    vec_finish(c, in->aux & VL_HALF, d);
}

RULE(vbsl)
{
    const struct ir_insn *in = cg_insn(c, i);
    int a = vec_use(c, in->a), b = vec_use(c, in->b), x = vec_use(c, in->c), d = vec_def(c, i);
    vec3(c, P0F | 0xef, d, b, rm_reg(x)); // ((b ^ c) & a) ^ c
    vec3(c, P0F | 0xdb, d, d, rm_reg(a));
    vec3(c, P0F | 0xef, d, d, rm_reg(x));
    vec_finish(c, in->aux & VL_HALF, d);
}

RULE(vneg)
{
    const struct ir_insn *in = cg_insn(c, i);
    int z = vec_zero(c), a = vec_use(c, in->a), d = vec_def(c, i);
    vec3(c, two[IR_vsub].op[in->aux & VL_LANE], d, z, rm_reg(a));
    vec_finish(c, in->aux, d);
}

RULE(vabs)
{
    static const uint32_t op[] = {P38 | 0x1c, P38 | 0x1d, P38 | 0x1e};
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE;
    if (lane == VL_64) { // inverted and one more, where negative
        int s = vec_zero(c), a = vec_use(c, in->a), d = vec_def(c, i);
        vec3(c, two[IR_vcmpgt].op[lane], s, s, rm_reg(a));
        vec3(c, P0F | 0xef, d, a, rm_reg(s));
        vec3(c, two[IR_vsub].op[lane], d, d, rm_reg(s));
        vec_finish(c, in->aux, d);
        return;
    }
    int a = vec_use(c, in->a), d = vec_def(c, i);
    vec2(c, op[lane], d, rm_reg(a));
    vec_finish(c, in->aux, d);
}

RULE(vshift)
{
    static const uint8_t group[] = {0x71, 0x71, 0x72, 0x73};
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE, n = VL_GET_IMM(in->aux), bits = 8u << lane;
    bool left = in->op == IR_vshli, arith = in->op == IR_vsari;
    if (arith && lane == VL_8) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), d = vec_def(c, i);
    if (arith && lane == VL_64) {
        int s = vec_zero(c);
        vec3(c, P38 | 0x37, s, s, rm_reg(a)); // all ones where negative
        vec_shift(c, P0F | 0x73, 2, d, a, n);
        vec_shift(c, P0F | 0x73, 6, s, s, bits - n);
        vec3(c, P0F | 0xeb, d, d, rm_reg(s));
    } else {
        vec_shift(c, P0F | group[lane], left ? 6 : arith ? 4 : 2, d, a, n);
        if (lane == VL_8) {
            int m = splat8(c, left ? 0xffu << n : 0xffu >> n);
            vec3(c, P0F | 0xdb, d, d, rm_reg(m));
        }
    }
    vec_finish(c, in->aux, d);
}

static void invert(struct cg *c, int d)
{
    int t = ones(c);
    vec3(c, P0F | 0xef, d, d, rm_reg(t));
}

RULE(vcmp) // ge, hi, hs
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE;
    if (in->op != IR_vcmpge && lane == VL_64) {
        bool contrary = cg_compare_wide(c, i);
        int d = c->v[i].reg - 16;
        if (contrary)
            invert(c, d);
        vec_finish(c, in->aux, d);
        return;
    }
    int a = vec_use(c, in->a), b = vec_use(c, in->b), d = vec_def(c, i);
    if (in->op == IR_vcmpge) {
        vec3(c, two[IR_vcmpgt].op[lane], d, b, rm_reg(a));
        invert(c, d);
    } else { // a >= b: max(a, b) = a; a > b: not min(a, b) = a
        bool hs = in->op == IR_vcmphs;
        vec3(c, two[hs ? IR_vumax : IR_vumin].op[lane], d, a, rm_reg(b));
        vec3(c, two[IR_vcmpeq].op[lane], d, d, rm_reg(a));
        if (!hs)
            invert(c, d);
    }
    vec_finish(c, in->aux, d);
}

RULE(vcmptst)
{
    const struct ir_insn *in = cg_insn(c, i);
    int z = vec_zero(c), a = vec_use(c, in->a), b = vec_use(c, in->b), d = vec_def(c, i);
    vec3(c, P0F | 0xdb, d, a, rm_reg(b));
    vec3(c, two[IR_vcmpeq].op[in->aux & VL_LANE], d, d, rm_reg(z));
    invert(c, d);
    vec_finish(c, in->aux, d);
}

RULE(vabd)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE;
    bool uns = in->op == IR_vuabd;
    if (lane == VL_64) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), b = vec_use(c, in->b), t = vec_tmp(c), d = vec_def(c, i);
    vec3(c, two[uns ? IR_vumax : IR_vsmax].op[lane], d, a, rm_reg(b));
    vec3(c, two[uns ? IR_vumin : IR_vsmin].op[lane], t, a, rm_reg(b));
    vec3(c, two[IR_vsub].op[lane], d, d, rm_reg(t));
    vec_finish(c, in->aux, d);
}

// ---- pairs and reductions ----

static unsigned lane_op(unsigned op)
{
    switch (op) {
    case IR_vaddp:
    case IR_vaddv:
        return IR_vadd;
    case IR_vsmaxp:
    case IR_vsmaxv:
        return IR_vsmax;
    case IR_vsminp:
    case IR_vsminv:
        return IR_vsmin;
    case IR_vumaxp:
    case IR_vumaxv:
        return IR_vumax;
    default:
        return IR_vumin;
    }
}

RULE(vpairwise)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE;
    uint32_t op = two[lane_op(in->op)].op[lane];
    if (!op || in->aux & VL_SCALAR) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), b = vec_use(c, in->b), d = vec_def(c, i), odd = vec_tmp(c);
    join_halves(c, in->aux, &a, &b);
    unzip(c, lane, false, d, a, b);
    unzip(c, lane, true, odd, a, b);
    vec3(c, op, d, d, rm_reg(odd));
    vec_finish(c, in->aux & VL_HALF, d);
}

RULE(vreduce)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE;
    uint32_t op = two[lane_op(in->op)].op[lane];
    if (!op || in->aux & VL_SCALAR) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), t = vec_tmp(c), d = vec_def(c, i);
    for (unsigned n = in->aux & VL_HALF ? 4 : 8; n >= 1u << lane; n /= 2) {
        bytes_right(c, t, a, n);
        vec3(c, op, d, a, rm_reg(t));
        a = d;
    }
    if (a != d)
        x_op(&c->as, X_0F | 0x28, d, rm_reg(a));
    lane0(c, lane, d);
}

// ---- widening and narrowing; the lane size is the narrow one ----

static const uint32_t widen_signed[] = {P38 | 0x20, P38 | 0x23, P38 | 0x25};
static const uint32_t widen_unsigned[] = {P38 | 0x30, P38 | 0x33, P38 | 0x35};

static void widen(struct cg *c, unsigned aux, bool sign, int d, int a)
{
    uint32_t op = (sign ? widen_signed : widen_unsigned)[aux & VL_LANE];
    if (aux & VL_HIGH) {
        vec2i(c, P0F | 0x70, d, rm_reg(a), 0xee); // pshufd
        a = d;
    }
    vec2(c, op, d, rm_reg(a));
}

RULE(vxtl)
{
    const struct ir_insn *in = cg_insn(c, i);
    int a = vec_use(c, in->a), d = vec_def(c, i);
    widen(c, in->aux, in->op == IR_vsxtl, d, a);
}

RULE(vmull)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE;
    bool sign = in->op == IR_vsmull;
    int a = vec_use(c, in->a), b = vec_use(c, in->b), t = vec_tmp(c), d = vec_def(c, i);
    widen(c, in->aux, sign, d, a);
    widen(c, in->aux, sign, t, b);
    uint32_t op = lane == VL_8    ? P0F | 0xd5
                  : lane == VL_16 ? P38 | 0x40
                  : sign          ? P38 | 0x28
                                  : P0F | 0xf4;
    vec3(c, op, d, d, rm_reg(t));
}

RULE(vxtn)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned lane = in->aux & VL_LANE;
    int a = vec_use(c, in->a), t = vec_tmp(c);
    unzip(c, lane, false, t, a, a);
    if (in->aux & VL_HIGH) {
        int b = vec_use(c, in->b), d = vec_def(c, i);
        vec3(c, P0F | 0x6c, d, b, rm_reg(t));
    } else {
        vec_low(c, vec_def(c, i), t);
    }
}

RULE(vpmull)
{
    const struct ir_insn *in = cg_insn(c, i);
    if ((in->aux & VL_LANE) != VL_64) {
        cg_eval(c, i);
        return;
    }
    int a = vec_use(c, in->a), b = vec_use(c, in->b), d = vec_def(c, i);
    vec3i(c, P3A | 0x44, d, a, rm_reg(b), in->aux & VL_HIGH ? 0x11 : 0);
}

// ---- bits ----

RULE(vcnt)
{
    const struct ir_insn *in = cg_insn(c, i);
    int table = vec_constant(c, 0x0302020102010100, 0x0403030203020201), m = splat8(c, 0x0f);
    int a = vec_use(c, in->a), t = vec_tmp(c), d = vec_def(c, i);
    vec3(c, P0F | 0xdb, t, a, rm_reg(m));
    vec3(c, P38 | 0x00, d, table, rm_reg(t)); // of the low nibbles
    vec_shift(c, P0F | 0x71, 2, t, a, 4);
    vec3(c, P0F | 0xdb, t, t, rm_reg(m));
    vec3(c, P38 | 0x00, table, table, rm_reg(t));
    vec3(c, P0F | 0xfc, d, d, rm_reg(table));
    vec_finish(c, in->aux, d);
}

// ---- AES: the host's rounds do more than one step of the guest's; the rest is undone ----

RULE(aes)
{
    const struct ir_insn *in = cg_insn(c, i);
    int z = vec_zero(c), a = vec_use(c, in->a);
    if (in->op == IR_aese || in->op == IR_aesd) {
        int b = vec_use(c, in->b), d = vec_def(c, i);
        vec3(c, P0F | 0xef, d, a, rm_reg(b));
        vec3(c, P38 | (in->op == IR_aese ? 0xdd : 0xdf), d, d, rm_reg(z));
        return;
    }
    int d = vec_def(c, i);
    if (in->op == IR_aesimc) {
        vec2(c, P38 | 0xdb, d, rm_reg(a));
        return;
    }
    vec3(c, P38 | 0xdf, d, a, rm_reg(z)); // aesdeclast, undone by the first half of aesenc
    vec3(c, P38 | 0xdc, d, d, rm_reg(z));
}

// ---- SHA: operations that are the host's own, which takes a third operand in xmm0 ----

RULE(sha)
{
    const struct ir_insn *in = cg_insn(c, i);
    bool rounds = in->op == IR_sha256r2;
    if (rounds)
        cg_take(c, 16);
    int b = vec_use(c, in->b), w = rounds ? vec_use(c, in->c) : 0,
        d = cg_def_copy(c, i, in->a) - 16;
    if (rounds)
        vec2(c, X_0F | 0x28, 0, rm_reg(w));
    x_op(&c->as, cg_rules[in->op].arg, d, rm_reg(b)); // there is no VEX form
    if (in->op == IR_sha1r4)
        as_u8(&c->as, VL_GET_IMM(in->aux) & 3);
}
