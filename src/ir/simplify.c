// What the builder knows about values while it emits: constants are evaluated by the oracle
// (eval*.c), identities and chains of constants, extensions and conditions are reduced. A rule
// belongs here when lifted code shows the pattern; it must hold for every operand.
#include "ir/simplify.h"
#include "base/bits.h"

static const struct ir_insn *node(const struct ir_build *b, ir_ref v)
{
    return &b->r->insns.data[v];
}

static bool is_const(const struct ir_build *b, ir_ref v)
{
    return node(b, v)->op == IR_const;
}

static unsigned width(unsigned type)
{
    return type == IR_I64 ? 64 : type == IR_BOOL ? 1 : 32;
}

// All operands are constants: ask the oracle. A V128 constant has two equal halves.
static ir_ref fold(struct ir_build *b, unsigned op, unsigned type, unsigned aux, ir_ref x, ir_ref y,
                   ir_ref z)
{
    if (!ir_eval[op] || ir_op_info[op].effects & ~FX_COMM)
        return IR_NONE;
    ir_ref in[3] = {x, y, z};
    union ir_val abc[3], result;
    for (unsigned i = 0; i < 3; i++) {
        const struct ir_insn *n = node(b, in[i]);
        abc[i].u64[0] = n->imm;
        abc[i].u64[1] = n->type == IR_V128 ? n->imm : 0;
    }
    ir_eval[op](NULL, IR_EVAL_TYPES(type, node(b, x)->type), aux, &result, abc);
    if (type == IR_V128 && result.u64[0] != result.u64[1])
        return IR_NONE;
    return ir_const(b, type, result.u64[0]);
}

// No bit at or above this one is set.
static unsigned value_bits(const struct ir_build *b, ir_ref v)
{
    const struct ir_insn *n = node(b, v);
    switch (n->op) {
    case IR_const:
        return n->imm ? log2_floor(n->imm) + 1 : 0;
    case IR_zext:
        return n->aux;
    case IR_b2i:
        return 1;
    case IR_load:
        if (n->aux & MO_SIGN)
            break;
        return 8u << (n->aux & MO_SIZE);
    case IR_vgetu:
        return 8u << (n->aux & VL_LANE);
    case IR_vmask:
        return MAX(value_bits(b, n->a), VL_GET_IMM(n->aux) + (16u >> (n->aux & VL_LANE)));
    case IR_and:
        return is_const(b, n->b) ? value_bits(b, n->b) : width(n->type);
    case IR_shr:
        if (is_const(b, n->b))
            return width(n->type) - (node(b, n->b)->imm & (width(n->type) - 1));
        break;
    default:
        break;
    }
    return width(n->type);
}

static ir_ref add(struct ir_build *b, unsigned type, ir_ref x, uint64_t c)
{
    const struct ir_insn *n = node(b, x);
    if (!c)
        return x;
    if (n->op == IR_add && is_const(b, n->b)) {
        ir_ref base = n->a;
        return ir_add(b, base, ir_const(b, type, node(b, n->b)->imm + c));
    }
    return IR_NONE;
}

static ir_ref and (struct ir_build * b, unsigned type, ir_ref x, uint64_t c)
{
    const struct ir_insn *n = node(b, x);
    uint64_t live = mask_low(value_bits(b, x));
    if (!(c & live))
        return ir_const(b, type, 0);
    if ((c & live) == live)
        return x;
    if (n->op == IR_and && is_const(b, n->b)) {
        ir_ref base = n->a;
        return ir_and(b, base, ir_const(b, type, node(b, n->b)->imm & c));
    }
    uint64_t pc; // counted from a page, so that bits inside the page are known
    if (type == IR_I64 && ~c < IR_PAGE_SIZE && ir_region_pc(b->r, x, &pc))
        return ir_pc(b, pc & c);
    return IR_NONE;
}

// Operations with a constant y.
static ir_ref right_const(struct ir_build *b, unsigned op, unsigned type, ir_ref x, ir_ref y)
{
    uint64_t c = node(b, y)->imm, ones = mask_low(width(type));
    switch (op) {
    case IR_add:
        return add(b, type, x, c);
    case IR_sub:
        return ir_add(b, x, ir_const(b, type, -c));
    case IR_and:
        return and(b, type, x, c);
    case IR_andn:
        return ir_and(b, x, ir_const(b, type, ~c));
    case IR_or:
        return !c ? x : c == ones ? y : IR_NONE;
    case IR_xor:
        return !c ? x : c == ones ? ir_not(b, x) : IR_NONE;
    case IR_shl:
    case IR_shr:
    case IR_sar:
    case IR_rotr:
        if (c >= width(type))
            return ir_emit(b, op, type, 0, x, ir_const(b, type, c & (width(type) - 1)), IR_NONE);
        return !c ? x : IR_NONE;
    case IR_mul:
        if (is_pow2(c))
            return ir_shl(b, x, ir_const(b, type, log2_floor(c)));
        return !c ? y : IR_NONE;
    case IR_udiv:
        return is_pow2(c) ? ir_shr(b, x, ir_const(b, type, log2_floor(c))) : IR_NONE;
    case IR_band:
        return c ? x : y;
    case IR_bor:
        return c ? y : x;
    default:
        return IR_NONE;
    }
}

static ir_ref both_same(struct ir_build *b, unsigned op, unsigned type, unsigned aux, ir_ref x)
{
    switch (op) {
    case IR_sub:
    case IR_xor:
    case IR_andn:
    case IR_vxor:
    case IR_vandn:
        return ir_const(b, type, 0);
    case IR_and:
    case IR_or:
    case IR_band:
    case IR_bor:
        return x;
    case IR_vand:
    case IR_vor:
        return aux & (VL_HALF | VL_SCALAR) ? IR_NONE : x;
    default:
        return IR_NONE;
    }
}

static ir_ref compare(struct ir_build *b, unsigned cc, ir_ref x, ir_ref y)
{
    static const uint8_t swapped[] = {CMP_EQ,  CMP_NE,  CMP_UGT, CMP_ULE, CMP_UGE,
                                      CMP_ULT, CMP_SGT, CMP_SLE, CMP_SGE, CMP_SLT};
    if (x == y)
        return ir_const(b, IR_BOOL,
                        cc == CMP_EQ || cc == CMP_UGE || cc == CMP_ULE || cc == CMP_SGE ||
                            cc == CMP_SLE);
    if (is_const(b, x))
        return ir_cmp(b, swapped[cc], y, x);
    const struct ir_insn *n = node(b, x);
    if (!is_const(b, y) || node(b, y)->imm)
        return IR_NONE;
    if (cc == CMP_ULT || cc == CMP_UGE)
        return ir_const(b, IR_BOOL, cc == CMP_UGE);
    if (n->op == IR_b2i && cc <= CMP_NE)
        return cc == CMP_NE ? n->a : ir_bnot(b, n->a);
    return IR_NONE;
}

// Extension of the low `from` bits.
static ir_ref extend(struct ir_build *b, unsigned op, unsigned type, unsigned from, ir_ref x)
{
    struct ir_insn n = *node(b, x);
    if (n.type == type) {
        if (from >= width(type) || (op == IR_zext && value_bits(b, x) <= from))
            return x;
    }
    if (n.op == IR_trunc && from <= 32)
        return ir_emit(b, op, type, from, n.a, IR_NONE, IR_NONE);
    // Through an inner extension: either the outer one cuts inside it, or the inner one decides.
    if ((n.op == IR_zext || n.op == IR_sext) && from <= n.aux)
        return ir_emit(b, op, type, from, n.a, IR_NONE, IR_NONE);
    if (n.op == IR_zext || (n.op == IR_sext && op == IR_sext && from <= width(n.type)))
        return ir_emit(b, n.op, type, n.aux, n.a, IR_NONE, IR_NONE);
    return IR_NONE;
}

static ir_ref truncate(struct ir_build *b, ir_ref x)
{
    struct ir_insn n = *node(b, x);
    if (n.op == IR_fbits && node(b, n.a)->op == IR_fbox)
        return ir_emit(b, IR_fbits, IR_I32, 0, node(b, n.a)->a, IR_NONE, IR_NONE);
    if (n.op != IR_zext && n.op != IR_sext)
        return IR_NONE;
    if (n.aux < 32)
        return ir_emit(b, n.op, IR_I32, n.aux, n.a, IR_NONE, IR_NONE);
    return node(b, n.a)->type == IR_I32 ? n.a : ir_trunc(b, n.a);
}

static ir_ref select(struct ir_build *b, unsigned type, ir_ref cond, ir_ref x, ir_ref y)
{
    const struct ir_insn *n = node(b, cond);
    if (x == y)
        return x;
    if (n->op == IR_const)
        return n->imm ? x : y;
    if (n->op == IR_bnot)
        return ir_select(b, n->a, y, x);
    if ((type == IR_I32 || type == IR_I64) && is_const(b, x) && is_const(b, y)) {
        uint64_t cx = node(b, x)->imm, cy = node(b, y)->imm;
        if (cx == 1 && cy == 0)
            return ir_b2i(b, type, cond);
        if (cx == 0 && cy == 1)
            return ir_b2i(b, type, ir_bnot(b, cond));
    }
    return IR_NONE;
}

// Operations of one operand that undo or see through another.
static ir_ref unary(struct ir_build *b, unsigned op, unsigned type, unsigned aux, ir_ref x)
{
    static const uint8_t inverse[] = {CMP_NE,  CMP_EQ,  CMP_UGE, CMP_ULT, CMP_UGT,
                                      CMP_ULE, CMP_SGE, CMP_SLT, CMP_SGT, CMP_SLE};
    const struct ir_insn n = *node(b, x);
    switch (op) {
    case IR_not:
    case IR_neg:
    case IR_bnot:
    case IR_bswap:
    case IR_bitrev:
    case IR_fneg:
    case IR_vnot:
        if (n.op == op)
            return (n.aux | aux) & (VL_HALF | VL_SCALAR) ? IR_NONE : n.a;
        if (op == IR_bnot && n.op == IR_cmp)
            return ir_cmp(b, inverse[n.aux], n.a, n.b);
        if (op == IR_bnot && n.op == IR_fcond)
            return ir_fcond(b, n.aux ^ 1, n.a);
        return IR_NONE;
    case IR_zext:
    case IR_sext:
        return extend(b, op, type, aux, x);
    case IR_trunc:
        return truncate(b, x);
    case IR_i2b:
        return n.op == IR_b2i ? n.a : IR_NONE;
    case IR_packf:
        return n.op == IR_unpackf ? ir_andi(b, n.a, 0xf0000000) : IR_NONE;
    case IR_unpackf:
        return n.op == IR_packf ? n.a : IR_NONE;
    case IR_fbits:
        if (n.op == IR_vlow)
            return ir_vlow(b, type, n.a);
        return n.op == IR_bitsf ? n.a : IR_NONE;
    case IR_funbox:
        return n.op == IR_fbox ? n.a : IR_NONE;
    case IR_bitsf:
        if (n.op == IR_vlow)
            return ir_vlow(b, type, n.a);
        return n.op == IR_fbits ? n.a : IR_NONE;
    default:
        return IR_NONE;
    }
}

// No bit at or above bit 64 of a vector is set.
static bool upper_zero(const struct ir_build *b, ir_ref v)
{
    const struct ir_insn *n = node(b, v);
    switch (n->op) {
    case IR_vzext:
    case IR_vhalf:
    case IR_vaddv:
    case IR_vsmaxv:
    case IR_vsminv:
    case IR_vumaxv:
    case IR_vuminv:
        return true;
    case IR_vfadd:
    case IR_vfsub:
    case IR_vfmul:
    case IR_vfdiv:
    case IR_vadd:
    case IR_vsub:
    case IR_vmul:
    case IR_vdup:
        return n->aux & (VL_HALF | VL_SCALAR);
    default:
        return false;
    }
}

// Lanes that are all ones or zero, of one size or of larger ones.
static bool whole_lanes(const struct ir_build *b, ir_ref v, unsigned lane)
{
    const struct ir_insn *n = node(b, v);
    switch (n->op) {
    case IR_vbits:
    case IR_vcmpeq:
    case IR_vcmpgt:
    case IR_vcmpge:
    case IR_vcmphi:
    case IR_vcmphs:
    case IR_vcmptst:
    case IR_vfcmpeq:
    case IR_vfcmpge:
    case IR_vfcmpgt:
        return (n->aux & (VL_LANE | VL_HALF | VL_SCALAR)) == lane;
    case IR_vnot:
        return !n->aux && whole_lanes(b, n->a, lane);
    default:
        return false;
    }
}

// Lanes of bits: those that the bits came from, where they are as wide.
static ir_ref lanes_of_bits(const struct ir_build *b, unsigned aux, ir_ref x)
{
    unsigned lane = aux & VL_LANE, at = VL_GET_IMM(aux), n = 16u >> lane;
    for (const struct ir_insn *m = node(b, x); m->op == IR_vmask; m = node(b, m->a)) {
        unsigned from = VL_GET_IMM(m->aux), lanes = 16u >> (m->aux & VL_LANE);
        if (from >= at + n || from + lanes <= at)
            continue;
        bool rest = value_bits(b, m->a) <= at; // nothing else there
        return m->aux == aux && rest && whole_lanes(b, m->b, lane) ? m->b : IR_NONE;
    }
    return IR_NONE;
}

// A lane of a vector that has had one set.
static ir_ref lane_of(struct ir_build *b, unsigned type, unsigned aux, ir_ref x)
{
    const struct ir_insn n = *node(b, x);
    unsigned bytes = 1u << (aux & VL_LANE), at = VL_GET_IMM(aux) * bytes;
    if (n.op == IR_vpair && (aux & VL_LANE) == VL_64)
        return at ? n.b : n.a;
    if (n.op != IR_vset)
        return IR_NONE;
    unsigned there = 1u << (n.aux & VL_LANE), first = VL_GET_IMM(n.aux) * there;
    if (first + there <= at || at + bytes <= first)
        return ir_emit(b, IR_vgetu, type, aux, n.a, IR_NONE, IR_NONE);
    if (first != at || there != bytes)
        return IR_NONE;
    ir_ref v = n.b;
    if (type == IR_I32 && node(b, v)->type == IR_I64)
        v = ir_trunc(b, v);
    return ir_zext(b, type, v, 8 * bytes);
}

static ir_ref vector(struct ir_build *b, unsigned op, unsigned type, unsigned aux, ir_ref x,
                     ir_ref y)
{
    const struct ir_insn n = *node(b, x);
    switch (op) {
    case IR_vhalf:
        return upper_zero(b, x) ? x : IR_NONE;
    case IR_vzext:
        if (n.op == IR_vlow && (n.type == IR_I64 || n.type == IR_F64))
            return ir_emit(b, IR_vhalf, IR_V128, 0, n.a, IR_NONE, IR_NONE);
        return n.op == IR_bitsf ? ir_vzext(b, n.a) : IR_NONE;
    case IR_vlow:
        if (n.op == IR_vhalf)
            return ir_vlow(b, type, n.a);
        if (n.op == IR_vzext && node(b, n.a)->type == type)
            return n.a;
        if ((n.op == IR_vset || n.op == IR_vpair) && (type == IR_I32 || type == IR_I64))
            return lane_of(b, type, type == IR_I64 ? VL_64 : VL_32, x);
        return IR_NONE;
    case IR_vpair:
        return is_const(b, y) && !node(b, y)->imm ? ir_vzext(b, x) : IR_NONE;
    case IR_vgetu:
        if (!VL_GET_IMM(aux) && 8u << (aux & VL_LANE) == width(type))
            return ir_vlow(b, type, x);
        return lane_of(b, type, aux, x);
    case IR_vbits:
        return lanes_of_bits(b, aux, x);
    default:
        return IR_NONE;
    }
}

ir_ref ir_simplify(struct ir_build *b, unsigned op, unsigned type, unsigned aux, ir_ref x, ir_ref y,
                   ir_ref z)
{
    if (!x)
        return IR_NONE;
    if (is_const(b, x) && (!y || is_const(b, y)) && (!z || is_const(b, z))) {
        ir_ref v = fold(b, op, type, aux, x, y, z);
        if (v)
            return v;
    }
    switch (op) {
    case IR_cmp:
        return compare(b, aux, x, y);
    case IR_select:
        return select(b, type, x, y, z);
    case IR_extr:
        if (aux && x == y)
            return ir_emit(b, IR_rotr, type, 0, x, ir_const(b, type, aux), IR_NONE);
        return aux ? IR_NONE : y;
    case IR_bfi:
        return aux >> 8 == width(type) ? y : IR_NONE;
    case IR_vhalf:
    case IR_vzext:
    case IR_vlow:
    case IR_vpair:
    case IR_vgetu:
    case IR_vbits:
        return vector(b, op, type, aux, x, y);
    default:
        break;
    }
    if (!y)
        return unary(b, op, type, aux, x);
    if (x == y)
        return both_same(b, op, type, aux, x);
    if (op == IR_sub && is_const(b, x) && !node(b, x)->imm)
        return ir_neg(b, y);
    if (is_const(b, y) && op <= IR_bor)
        return right_const(b, op, type, x, y);
    return IR_NONE;
}
