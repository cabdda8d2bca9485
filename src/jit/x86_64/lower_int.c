// Rules for integer operations.
#include "jit/x86_64/cg.h"

static bool fits32(unsigned w, uint64_t k)
{
    return !w || (int64_t)k == (int32_t)k;
}

// The flags of this addition or subtraction are wanted too (and not only by snapshots).
static bool flags_wanted(struct cg *c, ir_ref i)
{
    ir_ref before = c->eflags;
    cg_note_flags(c, i);
    ir_ref f = c->eflags;
    c->eflags = before;
    return f && c->v[f].uses;
}

static bool lea_form(struct cg *c, ir_ref i, struct rm *m)
{
    const struct ir_insn *in = cg_insn(c, i);
    uint64_t k;
    if (cg_is_const(c, in->b, &k)) {
        if (in->op == IR_sub)
            k = -k;
        if (!cg_w(c, i))
            k = (uint64_t)(int32_t)k;
        if (!fits32(X_W, k))
            return false;
        *m = rm_mem(cg_use(c, in->a), (int32_t)k);
        return true;
    }
    if (in->op == IR_sub)
        return false;
    struct rm b = cg_use_rm(c, in->b);
    if (b.mem)
        return false;
    *m = rm_sib(cg_use(c, in->a), b.base, 0, 0);
    return true;
}

RULE(addsub)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned w = cg_w(c, i);
    struct rm m;
    uint64_t k;
    bool wanted = flags_wanted(c, i);
    if (!wanted && lea_form(c, i, &m)) {
        x_lea(&c->as, w, cg_def(c, i), m);
        return;
    }
    enum x86_alu op = in->op == IR_add ? ALU_ADD : ALU_SUB;
    if (cg_is_const(c, in->b, &k) && fits32(w, k)) {
        int d = cg_def_copy(c, i, in->a);
        x_alui(&c->as, w, op, rm_reg(d), (int32_t)k);
    } else {
        struct rm b = cg_use_rm(c, in->b);
        int d = cg_def_copy(c, i, in->a);
        x_alu(&c->as, w, op, d, b);
    }
    c->eflags = IR_NONE;
    if (wanted)
        cg_note_flags(c, i);
}

RULE(alu)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned w = cg_w(c, i), op = cg_rules[in->op].arg;
    uint64_t k;
    if (cg_is_const(c, in->b, &k) && fits32(w, k)) {
        int d = cg_def_copy(c, i, in->a);
        x_alui(&c->as, w, op, rm_reg(d), (int32_t)k);
        return;
    }
    ir_ref x = in->a, y = in->b;
    if (!cg_dies(c, x) && cg_dies(c, y)) { // these all commute
        x = in->b;
        y = in->a;
    }
    struct rm b = cg_use_rm(c, y);
    int d = cg_def_copy(c, i, x);
    x_alu(&c->as, w, op, d, b);
}

RULE(andn)
{
    const struct ir_insn *in = cg_insn(c, i);
    int b = cg_use(c, in->b);
    struct rm a = cg_use_rm(c, in->a);
    v_op(&c->as, cg_w(c, i) | X_38 | 0xf2, cg_def(c, i), b, a);
}

RULE(unary) // not, neg: F7 /arg
{
    const struct ir_insn *in = cg_insn(c, i);
    int d = cg_def_copy(c, i, in->a);
    x_op(&c->as, cg_w(c, i) | 0xf7, cg_rules[in->op].arg, rm_reg(d));
}

RULE(mul)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned w = cg_w(c, i);
    uint64_t k;
    if (cg_is_const(c, in->b, &k) && fits32(w, k)) {
        struct rm a = cg_use_rm(c, in->a);
        bool small = (int32_t)k == (int8_t)k;
        x_op(&c->as, w | (small ? 0x6b : 0x69), cg_def(c, i), a);
        if (small)
            as_u8(&c->as, (uint8_t)k);
        else
            as_u32(&c->as, (uint32_t)k);
        return;
    }
    struct rm b = cg_use_rm(c, in->b);
    x_op(&c->as, w | X_0F | 0xaf, cg_def_copy(c, i, in->a), b);
}

RULE(mulhi) // mul or imul rax: F7 /arg
{
    const struct ir_insn *in = cg_insn(c, i);
    cg_take(c, RAX);
    cg_take(c, RDX);
    struct rm b = rm_reg(cg_use(c, in->b));
    cg_move(c, RAX, in->a);
    x_op(&c->as, X_W | 0xf7, cg_rules[in->op].arg, b);
    cg_def_in(c, i, RDX);
}

RULE(udivrem)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned w = cg_w(c, i);
    bool rem = in->op == IR_urem;
    cg_take(c, RAX);
    cg_take(c, RDX);
    int b = cg_use(c, in->b);
    cg_move(c, rem ? RDX : RAX, in->a); // x % 0 = x
    x_test_rr(&c->as, w, b, b);
    if (!rem)
        x_movi(&c->as, RDX, 0);
    uint8_t *zero = x_jcc8(&c->as, CC_E);
    if (rem) {
        x_mov_rr(&c->as, w, RAX, RDX);
        x_alu_rr(&c->as, 0, ALU_XOR, RDX, RDX);
    }
    x_op(&c->as, w | 0xf7, 6, rm_reg(b));
    if (rem) {
        as_bind8(&c->as, zero);
        cg_def_in(c, i, RDX);
        return;
    }
    uint8_t *done = x_jmp8(&c->as);
    as_bind8(&c->as, zero);
    x_movi(&c->as, RAX, 0);
    as_bind8(&c->as, done);
    cg_def_in(c, i, RAX);
}

// Divisors 0 and -1 go round the instruction: x * b is then the quotient, x & ~b the remainder.
RULE(sdivrem)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned w = cg_w(c, i);
    bool rem = in->op == IR_srem;
    cg_take(c, RAX);
    cg_take(c, RDX);
    int b = cg_use(c, in->b);
    cg_move(c, RAX, in->a);
    x_lea(&c->as, w, RDX, rm_mem(b, 1));
    x_alui(&c->as, w, ALU_CMP, rm_reg(RDX), 1);
    uint8_t *special = x_jcc8(&c->as, CC_BE);
    if (w)
        as_u8(&c->as, 0x48);
    as_u8(&c->as, 0x99); // cdq, cqo
    x_op(&c->as, w | 0xf7, 7, rm_reg(b));
    uint8_t *done = x_jmp8(&c->as);
    as_bind8(&c->as, special);
    if (rem) {
        x_mov_rr(&c->as, w, RDX, b);
        x_op(&c->as, w | 0xf7, 2, rm_reg(RDX)); // not
        x_alu_rr(&c->as, w, ALU_AND, RDX, RAX);
    } else {
        x_op(&c->as, w | X_0F | 0xaf, RAX, rm_reg(b));
    }
    as_bind8(&c->as, done);
    cg_def_in(c, i, rem ? RDX : RAX);
}

RULE(shift)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned w = cg_w(c, i), op = cg_rules[in->op].arg;
    uint64_t k;
    if (cg_is_const(c, in->b, &k)) {
        k &= w ? 63 : 31;
        if (op == SH_ROR && c->f.bmi2 && !cg_dies(c, in->a)) {
            struct rm a = cg_use_rm(c, in->a);
            v_op(&c->as, w | X_F2 | X_3A | 0xf0, cg_def(c, i), 0, a); // rorx
            as_u8(&c->as, (unsigned)k);
            return;
        }
        int d = cg_def_copy(c, i, in->a);
        if (k)
            x_shi(&c->as, w, op, d, (unsigned)k);
        return;
    }
    if (op != SH_ROR && c->f.bmi2) {
        static const unsigned shx[] = {[SH_SHL] = X_66, [SH_SHR] = X_F2, [SH_SAR] = X_F3};
        int n = cg_use(c, in->b);
        struct rm a = cg_use_rm(c, in->a);
        v_op(&c->as, w | shx[op] | X_38 | 0xf7, cg_def(c, i), n, a);
        return;
    }
    cg_take(c, RCX);
    cg_move(c, RCX, in->b);
    int d = cg_def(c, i);
    cg_move(c, d, in->a);
    x_op(&c->as, w | 0xd3, (int)op, rm_reg(d));
}

RULE(extr)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned w = cg_w(c, i);
    int t = cg_tmp(c);
    if (in->aux)
        cg_move(c, t, in->a);
    int d = cg_def_copy(c, i, in->b);
    if (!in->aux)
        return;
    x_shi(&c->as, w, SH_SHL, t, (w ? 64 : 32) - in->aux); // shrd takes longer
    x_shi(&c->as, w, SH_SHR, d, in->aux);
    x_alu_rr(&c->as, w, ALU_OR, d, t);
}

RULE(count) // lzcnt, tzcnt, popcnt
{
    const struct ir_insn *in = cg_insn(c, i);
    struct rm a = cg_use_rm(c, in->a);
    x_op(&c->as, cg_w(c, i) | X_F3 | X_0F | cg_rules[in->op].arg, cg_def(c, i), a);
}

RULE(bswap)
{
    x_bswap(&c->as, cg_w(c, i), cg_def_copy(c, i, cg_insn(c, i)->a));
}

// Swap neighbouring groups of n bits: ((x >> n) & m) | ((x & m) << n).
static void swap_groups(struct cg *c, unsigned w, int d, int t, int k, unsigned n, uint64_t m)
{
    x_movi(&c->as, k, w ? m : (uint32_t)m);
    x_mov_rr(&c->as, w, t, d);
    x_shi(&c->as, w, SH_SHR, t, n);
    x_alu_rr(&c->as, w, ALU_AND, t, k);
    x_alu_rr(&c->as, w, ALU_AND, d, k);
    x_shi(&c->as, w, SH_SHL, d, n);
    x_alu_rr(&c->as, w, ALU_OR, d, t);
}

RULE(bitrev)
{
    unsigned w = cg_w(c, i);
    int t = cg_tmp(c), k = cg_tmp(c);
    int d = cg_def_copy(c, i, cg_insn(c, i)->a);
    x_bswap(&c->as, w, d);
    swap_groups(c, w, d, t, k, 4, 0x0f0f0f0f0f0f0f0full);
    swap_groups(c, w, d, t, k, 2, 0x3333333333333333ull);
    swap_groups(c, w, d, t, k, 1, 0x5555555555555555ull);
}

RULE(sext)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned w = cg_w(c, i), bits = w ? 64 : 32;
    if (in->aux == 8 || in->aux == 16 || (in->aux == 32 && w)) {
        int a = cg_use(c, in->a);
        unsigned op = in->aux == 8 ? X_0F | X_BYTEM | 0xbe : in->aux == 16 ? X_0F | 0xbf : 0x63;
        x_op(&c->as, w | op, cg_def(c, i), rm_reg(a));
        return;
    }
    int d = cg_def(c, i);
    cg_move(c, d, in->a);
    if (in->aux < bits) {
        x_shi(&c->as, w, SH_SHL, d, bits - in->aux);
        x_shi(&c->as, w, SH_SAR, d, bits - in->aux);
    }
}

RULE(trunc) // reached only where it is not another name of the value
{
    struct rm a = cg_use_rm(c, cg_insn(c, i)->a);
    x_mov(&c->as, 0, cg_def(c, i), a);
}

RULE(zext)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned w = cg_w(c, i);
    if (in->aux == 8 || in->aux == 16) {
        int a = cg_use(c, in->a);
        x_op(&c->as, X_0F | (in->aux == 8 ? X_BYTEM | 0xb6 : 0xb7), cg_def(c, i), rm_reg(a));
        return;
    }
    struct rm a = cg_use_rm(c, in->a);
    int d = cg_def(c, i);
    if (in->aux == 32) {
        x_mov(&c->as, 0, d, a);
        return;
    }
    c->eflags = IR_NONE;
    if (in->aux < 32) {
        x_mov(&c->as, 0, d, a);
        x_alui(&c->as, 0, ALU_AND, rm_reg(d), (int32_t)((1u << in->aux) - 1));
        return;
    }
    x_mov(&c->as, w, d, a);
    if (in->aux < 64) {
        x_shi(&c->as, w, SH_SHL, d, 64 - in->aux);
        x_shi(&c->as, w, SH_SHR, d, 64 - in->aux);
    }
}

RULE(bfi)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned w = cg_w(c, i), lsb = in->aux & 0xff, width = in->aux >> 8;
    uint64_t m = (width >= 64 ? ~0ull : (1ull << width) - 1) << lsb;
    int t = cg_tmp(c), k = cg_tmp(c);
    cg_move(c, t, in->b);
    int d = cg_def_copy(c, i, in->a);
    if (lsb)
        x_shi(&c->as, w, SH_SHL, t, lsb);
    x_movi(&c->as, k, w ? m : (uint32_t)m);
    x_alu_rr(&c->as, w, ALU_XOR, t, d); // d ^ ((d ^ t) & m)
    x_alu_rr(&c->as, w, ALU_AND, t, k);
    x_alu_rr(&c->as, w, ALU_XOR, d, t);
}

RULE(select)
{
    const struct ir_insn *in = cg_insn(c, i);
    enum x86_cc cc = cg_cond(c, in->a);
    if (!cg_type_xmm(in->type)) {
        struct rm b = cg_lazy(c, in->b) || cg_insn(c, in->b)->op == IR_const
                          ? rm_reg(cg_use(c, in->b))
                          : cg_use_rm(c, in->b);
        int d = cg_def_copy(c, i, in->c);
        x_cmov(&c->as, cg_w(c, i), cc, d, b);
        return;
    }
    int b = cg_use(c, in->b);
    int d = cg_def(c, i);
    int x = cg_use(c, in->c);
    x_op(&c->as, X_0F | 0x28, d - 16, rm_reg(x - 16));
    uint8_t *skip = x_jcc8(&c->as, (enum x86_cc)(cc ^ 1));
    x_op(&c->as, X_0F | 0x28, d - 16, rm_reg(b - 16));
    as_bind8(&c->as, skip);
}

RULE(b2i)
{
    const struct ir_insn *in = cg_insn(c, i);
    if (!cg_lazy(c, in->a) || c->v[in->a].reg != NO_REG) {
        struct rm a = cg_use_rm(c, in->a);
        x_mov(&c->as, 0, cg_def(c, i), a);
        return;
    }
    enum x86_cc cc = cg_cond(c, in->a);
    int d = cg_def(c, i);
    x_movi(&c->as, d, 0);
    x_setcc(&c->as, cc, d);
}

RULE(bool2) // band, bor: 0/1 in registers
{
    const struct ir_insn *in = cg_insn(c, i);
    int a = cg_use(c, in->a);
    int b = cg_use(c, in->b);
    int d = cg_def(c, i);
    x_mov_rr(&c->as, 0, d, a);
    x_alu_rr(&c->as, 0, cg_rules[in->op].arg, d, b);
}

RULE(crc32)
{
    static const unsigned op[] = {X_BYTEM | 0xf0, X_66 | 0xf1, 0xf1, X_W | 0xf1};
    const struct ir_insn *in = cg_insn(c, i);
    if (!(in->aux & 4)) {
        cg_eval(c, i);
        return;
    }
    int b = cg_use(c, in->b);
    int d = cg_def_copy(c, i, in->a);
    // F2 goes with 66 for 16 bits: the operand-size prefix comes first
    if ((in->aux & 3) == 1)
        as_u8(&c->as, 0x66);
    x_op(&c->as, (op[in->aux & 3] & ~(unsigned)X_PP) | X_F2 | X_38, d, rm_reg(b));
}

RULE(adc)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned w = cg_w(c, i);
    cg_carry(c, in->c);
    int b = cg_use(c, in->b);
    int d = cg_def_copy(c, i, in->a);
    x_alu_rr(&c->as, w, ALU_ADC, d, b);
}

RULE(adcf)
{
    const struct ir_insn *in = cg_insn(c, i);
    cg_take(c, RAX);
    cg_carry(c, in->c);
    int b = cg_use(c, in->b);
    cg_move(c, RAX, in->a);
    x_alu_rr(&c->as, cg_w(c, in->a), ALU_ADC, RAX, b);
    as_u8(&c->as, 0x9f); // lahf
    x_setcc(&c->as, CC_O, RAX);
    cg_def_in(c, i, RAX);
}

// ---- state ----

RULE(get)
{
    if (c->v[i].flags & V_NOSLOT) { // its slot may be overwritten before its last use
        const struct ir_insn *in = cg_insn(c, i);
        c->v[i].flags &= (uint8_t)~V_NOSLOT;
        cg_use(c, i);
        c->v[i].flags |= V_NOSLOT;
        BUG_ON(c->v[i].reg == NO_REG && in->type);
    }
}

RULE(nothing) {}

RULE(ldenv)
{
    const struct ir_insn *in = cg_insn(c, i);
    struct rm m = rm_env((int32_t)in->imm);
    int d = cg_def(c, i);
    switch (in->type) {
    case IR_F32:
        x_op(&c->as, X_66 | X_0F | 0x6e, d - 16, m);
        break;
    case IR_F64:
        x_op(&c->as, X_F3 | X_0F | 0x7e, d - 16, m);
        break;
    case IR_V128:
        x_op(&c->as, X_0F | 0x10, d - 16, m); // movups
        break;
    case IR_BOOL:
        x_op(&c->as, X_0F | 0xb6, d, m);
        break;
    default:
        x_mov(&c->as, cg_w(c, i), d, m);
    }
}

RULE(stenv)
{
    static const unsigned op[] = {X_BYTE | 0x88, X_66 | 0x89, 0x89, X_W | 0x89};
    const struct ir_insn *in = cg_insn(c, i);
    struct rm m = rm_env((int32_t)in->imm);
    int a = cg_use(c, in->a);
    switch (cg_insn(c, in->a)->type) {
    case IR_F32:
        x_op(&c->as, X_66 | X_0F | 0x7e, a - 16, m);
        break;
    case IR_F64:
        x_op(&c->as, X_66 | X_0F | 0xd6, a - 16, m);
        break;
    case IR_V128:
        x_op(&c->as, X_0F | 0x11, a - 16, m);
        break;
    default:
        x_op(&c->as, op[in->aux & 3], a, m);
    }
}
