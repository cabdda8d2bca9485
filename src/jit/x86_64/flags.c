// Conditions and flags. A comparison or a flags value is recomputed from its operands wherever it
// is used, unless EFLAGS still hold it; a flags value that must live in a register or slot has the
// packed form of ir/env.h (lahf, seto al). The carry of a subtraction is inverted: IR says "no
// borrow".
#include "jit/x86_64/cg.h"

static enum x86_cc invert(enum x86_cc cc)
{
    return (enum x86_cc)(cc ^ 1);
}

// cmp a, b of either width; operands as they come.
static void emit_cmp(struct cg *c, ir_ref x)
{
    if (c->eflags == x)
        return;
    const struct ir_insn *in = cg_insn(c, x);
    unsigned w = cg_w(c, in->a);
    uint64_t k;
    int a = cg_use(c, in->a);
    if (cg_is_const(c, in->b, &k) && (w ? (int64_t)k == (int32_t)k : true)) {
        if (k == 0 && in->op == IR_cmp)
            x_test_rr(&c->as, w, a, a);
        else
            x_alui(&c->as, w, ALU_CMP, rm_reg(a), (int32_t)k);
    } else {
        x_alu(&c->as, w, ALU_CMP, a, cg_use_rm(c, in->b));
    }
    c->eflags = x;
}

static void emit_addf(struct cg *c, ir_ref x)
{
    if (c->eflags == x)
        return;
    const struct ir_insn *in = cg_insn(c, x);
    unsigned w = cg_w(c, in->a);
    uint64_t k;
    int t = cg_tmp(c);
    x_mov_rr(&c->as, w, t, cg_use(c, in->a));
    if (cg_is_const(c, in->b, &k) && (w ? (int64_t)k == (int32_t)k : true))
        x_alui(&c->as, w, ALU_ADD, rm_reg(t), (int32_t)k);
    else
        x_alu(&c->as, w, ALU_ADD, t, cg_use_rm(c, in->b));
    c->eflags = x;
}

static void emit_testf(struct cg *c, ir_ref x)
{
    if (c->eflags == x)
        return;
    const struct ir_insn *in = cg_insn(c, x);
    int r = cg_use(c, in->a);
    x_test_rr(&c->as, cg_w(c, in->a), r, r);
    c->eflags = x;
}

static const uint8_t cmp_cc[] = {
    [CMP_EQ] = CC_E,  [CMP_NE] = CC_NE, [CMP_ULT] = CC_B,  [CMP_UGE] = CC_AE, [CMP_ULE] = CC_BE,
    [CMP_UGT] = CC_A, [CMP_SLT] = CC_L, [CMP_SGE] = CC_GE, [CMP_SLE] = CC_LE, [CMP_SGT] = CC_G,
};
// After a subtraction.
static const uint8_t fcond_cc[] = {
    [COND_EQ] = CC_E,  [COND_NE] = CC_NE, [COND_CS] = CC_AE, [COND_CC] = CC_B,  [COND_MI] = CC_S,
    [COND_PL] = CC_NS, [COND_VS] = CC_O,  [COND_VC] = CC_NO, [COND_HI] = CC_A,  [COND_LS] = CC_BE,
    [COND_GE] = CC_GE, [COND_LT] = CC_L,  [COND_GT] = CC_G,  [COND_LE] = CC_LE,
};

static enum x86_cc cond_add(struct cg *c, ir_ref f, unsigned cond)
{
    emit_addf(c, f);
    switch (cond) {
    case COND_CS:
        return CC_B;
    case COND_CC:
        return CC_AE;
    case COND_HI:
    case COND_LS:
        as_u8(&c->as, 0xf5); // cmc: as after a subtraction
        c->eflags = IR_NONE;
        return (enum x86_cc)fcond_cc[cond];
    default:
        return (enum x86_cc)fcond_cc[cond];
    }
}

static enum x86_cc cond_test(struct cg *c, ir_ref f, unsigned cond)
{
    emit_testf(c, f); // CF and OF are clear, and so are C and V
    switch (cond) {
    case COND_CS:
    case COND_HI:
        return CC_B;
    case COND_CC:
    case COND_LS:
        return CC_AE;
    default:
        return (enum x86_cc)fcond_cc[cond];
    }
}

static enum x86_cc cond_packed(struct cg *c, ir_ref f, unsigned cond)
{
    static const uint32_t single[] = {
        [COND_EQ] = 1u << PACK_Z, [COND_NE] = 1u << PACK_Z, [COND_CS] = 1u << PACK_C,
        [COND_CC] = 1u << PACK_C, [COND_MI] = 1u << PACK_N, [COND_PL] = 1u << PACK_N,
        [COND_VS] = 1u << PACK_V, [COND_VC] = 1u << PACK_V,
    };
    c->eflags = IR_NONE;
    bool odd = cond & 1;
    if (cond <= COND_VC) {
        x_testi(&c->as, 0, cg_use_rm(c, f), (int32_t)single[cond]);
        return odd ? CC_E : CC_NE;
    }
    int r = cg_use(c, f), t = cg_tmp(c);
    x_op(&c->as, X_0F | 0xb7, t, rm_reg(r));  // movzx: the upper bits are undefined
    if (cond == COND_HI || cond == COND_LS) { // C and not Z
        x_alui(&c->as, 0, ALU_AND, rm_reg(t), 1 << PACK_C | 1 << PACK_Z);
        x_alui(&c->as, 0, ALU_CMP, rm_reg(t), 1 << PACK_C);
        return odd ? CC_NE : CC_E;
    }
    x_alui(&c->as, 0, ALU_AND, rm_reg(t), 1 << PACK_N); // what is above the flags is undefined
    x_shi(&c->as, 0, SH_SHR, t, PACK_N - PACK_V);
    x_alu_rr(&c->as, 0, ALU_XOR, t, r); // bit 0: N differs from V
    x_testi(&c->as, 0, rm_reg(t), cond >= COND_GT ? 1 << PACK_V | 1 << PACK_Z : 1 << PACK_V);
    return odd ? CC_NE : CC_E;
}

enum x86_cc cg_cond(struct cg *c, ir_ref b)
{
    const struct ir_insn *in = cg_insn(c, b);
    if (cg_lazy(c, b) && c->v[b].reg == NO_REG) {
        switch (in->op) {
        case IR_cmp:
            emit_cmp(c, b);
            return (enum x86_cc)cmp_cc[in->aux];
        case IR_i2b: {
            int r = cg_use(c, in->a);
            x_test_rr(&c->as, cg_w(c, in->a), r, r);
            c->eflags = IR_NONE;
            return CC_NE;
        }
        case IR_bnot:
            return invert(cg_cond(c, in->a));
        default: // fcond
            break;
        }
        ir_ref f = in->a;
        if (!cg_lazy(c, f) || c->v[f].reg != NO_REG)
            return cond_packed(c, f, in->aux);
        switch (cg_insn(c, f)->op) {
        case IR_subf:
            emit_cmp(c, f);
            return (enum x86_cc)fcond_cc[in->aux];
        case IR_addf:
            return cond_add(c, f, in->aux);
        default:
            return cond_test(c, f, in->aux);
        }
    }
    int r = cg_use(c, b);
    x_test_rr(&c->as, 0, r, r);
    c->eflags = IR_NONE;
    return CC_NE;
}

void cg_carry(struct cg *c, ir_ref f)
{
    const struct ir_insn *in = cg_insn(c, f);
    if (cg_lazy(c, f) && c->v[f].reg == NO_REG) {
        if (in->op == IR_subf) {
            emit_cmp(c, f);
            as_u8(&c->as, 0xf5); // cmc
        } else if (in->op == IR_addf) {
            emit_addf(c, f);
        } else {
            as_u8(&c->as, 0xf8); // clc
        }
    } else {
        x_op(&c->as, X_0F | 0xba, 4, cg_use_rm(c, f)); // bt r/m32, imm8
        as_u8(&c->as, PACK_C);
    }
    c->eflags = IR_NONE;
}

// lahf; seto al. rax is ours.
static void pack(struct cg *c, bool borrow)
{
    if (borrow)
        as_u8(&c->as, 0xf5); // cmc
    as_u8(&c->as, 0x9f);     // lahf
    x_setcc(&c->as, CC_O, RAX);
    c->eflags = IR_NONE;
}

void cg_materialise(struct cg *c, ir_ref i, int reg)
{
    const struct ir_insn *in = cg_insn(c, i);
    if (in->type == IR_BOOL) {
        enum x86_cc cc = cg_cond(c, i);
        x_movi(&c->as, reg, 0);
        x_setcc(&c->as, cc, reg);
        return;
    }
    BUG_ON(reg != RAX);
    switch (in->op) {
    case IR_subf:
        emit_cmp(c, i);
        break;
    case IR_addf:
        emit_addf(c, i);
        break;
    default:
        emit_testf(c, i);
    }
    pack(c, in->op == IR_subf);
}

// ---- rules: reached only for values that someone needs in a register ----

RULE(cond)
{
    int d = cg_def(c, i);
    c->v[i].reg = NO_REG; // while it is computed, it is not there yet
    unsigned forced = c->v[i].flags & V_FORCED;
    c->v[i].flags &= (uint8_t)~V_FORCED;
    cg_materialise(c, i, d);
    c->v[i].flags |= (uint8_t)forced;
    c->v[i].reg = (int8_t)d;
}

RULE(flags)
{
    cg_take(c, RAX);
    unsigned forced = c->v[i].flags & V_FORCED;
    c->v[i].flags &= (uint8_t)~V_FORCED;
    cg_materialise(c, i, RAX);
    c->v[i].flags |= (uint8_t)forced;
    cg_def_in(c, i, RAX);
}

// subs, adds: the arithmetic and the flags of the same operands stand next to each other.
void cg_note_flags(struct cg *c, ir_ref i)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned want = in->op == IR_sub ? IR_subf : IR_addf;
    ir_ref n = i + 1 < c->r->insns.len ? i + 1 : i;
    const struct ir_insn *f[2] = {cg_insn(c, i - 1), cg_insn(c, n)};
    for (unsigned k = 0; k < 2; k++)
        if (f[k]->op == want && f[k]->a == in->a && f[k]->b == in->b) {
            c->eflags = k ? n : i - 1;
            return;
        }
    c->eflags = IR_NONE;
}
