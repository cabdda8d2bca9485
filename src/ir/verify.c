// The region verifier: operand classes of ops.def, definition before use, immediates within their
// type, memory accesses that fit their value, snapshots that name real slots with values of the
// slot's type. A region that fails is our bug; the message is for us.
#include "base/err.h"
#include "ir/ir.h"

#include <inttypes.h>

struct check {
    const struct ir_region *r;
    const struct ir_insn *n; // the node being checked, and its index
    ir_ref at, loop;
    struct err *err;
};

static int bad(const struct check *c, const char *what)
{
    return err_set(c->err, "region %#" PRIx64 ", node %u (%s): %s", c->r->pc, (unsigned)c->at,
                   c->n->op < IR_OPS ? ir_op_info[c->n->op].name : "?", what);
}

static const struct ir_insn *def(const struct check *c, ir_ref v)
{
    return &c->r->insns.data[v];
}

static unsigned width(unsigned type)
{
    return type == IR_I64 ? 64 : 32;
}

static bool is_int(unsigned type)
{
    return type == IR_I32 || type == IR_I64;
}

static bool fits(unsigned class, unsigned type, unsigned result)
{
    switch (class) {
    case C_ANY:
        return type != IR_VOID && type < IR_TYPES;
    case C_BOOL:
        return type == IR_BOOL;
    case C_I32:
        return type == IR_I32;
    case C_I64:
        return type == IR_I64;
    case C_INT:
        return is_int(type);
    case C_F32:
        return type == IR_F32;
    case C_F64:
        return type == IR_F64;
    case C_FP:
        return type == IR_F32 || type == IR_F64;
    case C_V128:
        return type == IR_V128;
    case C_FLAGS:
        return type == IR_FLAGS;
    case C_T:
        return type == result;
    default:
        return type == IR_VOID;
    }
}

static int check_value(const struct check *c, ir_ref v)
{
    if (!v || v >= c->at)
        return bad(c, "operand is not defined before it");
    if (def(c, v)->type == IR_VOID)
        return bad(c, "operand has no value");
    return 0;
}

static int check_operand(const struct check *c, unsigned class, ir_ref v)
{
    if (class == C_SPAN && (!v || (!check_value(c, v) && def(c, v)->op == IR_span)))
        return 0;
    if (class == C_NONE)
        return v ? bad(c, "operand where there is none") : 0;
    if (check_value(c, v))
        return -1;
    return fits(class, def(c, v)->type, c->n->type) ? 0 : bad(c, "operand of the wrong type");
}

static int check_call(const struct check *c)
{
    const struct ir_insn *n = c->n;
    if (n->aux >= c->r->helpers.len)
        return bad(c, "no such helper");
    const struct ir_helper *h = c->r->helpers.data[n->aux];
    if (n->type != h->ret || n->b != h->n_args || n->a + n->b > c->r->args.len)
        return bad(c, "differs from the helper's signature");
    for (unsigned i = 0; i < h->n_args; i++) {
        ir_ref v = c->r->args.data[n->a + i];
        if (check_value(c, v))
            return -1;
        if (def(c, v)->type != h->args[i])
            return bad(c, "argument of the wrong type");
    }
    if (!(h->flags & (HELPER_READ | HELPER_STATE)) != !n->imm)
        return bad(c, "only READ and STATE helpers carry a snapshot");
    return 0;
}

// The memory form of a value of this type: MO_SIZE as it is, or any up to the integer's own.
static bool size_fits(unsigned type, unsigned mo)
{
    unsigned size = mo & MO_SIZE;
    switch (type) {
    case IR_I32:
        return size <= MO_32;
    case IR_I64:
        return size <= MO_64;
    case IR_F32:
        return size == MO_32;
    case IR_F64:
        return size == MO_64;
    case IR_V128:
        return size == MO_128;
    default:
        return false;
    }
}

static int check_memory(const struct check *c)
{
    const struct ir_insn *n = c->n;
    bool result_is_value = n->op != IR_store && n->op != IR_sc;
    if (!size_fits(result_is_value ? n->type : def(c, n->b)->type, n->aux))
        return bad(c, "value and access size differ");
    if (n->aux & MO_SIGN && (!result_is_value || !is_int(n->type)))
        return bad(c, "sign extension of what is not an integer load");
    return 0;
}

static int check_vector(const struct check *c)
{
    const struct ir_insn *n = c->n;
    unsigned lane_bits = 8u << (n->aux & VL_LANE), imm = VL_GET_IMM(n->aux);
    switch (n->op) {
    case IR_vshli:
        return imm < lane_bits ? 0 : bad(c, "shift amount");
    case IR_vshri:
    case IR_vsari:
    case IR_vrshri:
    case IR_vrsari:
        return imm >= 1 && imm <= lane_bits ? 0 : bad(c, "shift amount");
    case IR_vdup:
        return lane_bits < 64 || def(c, n->a)->type == IR_I64 ? 0 : bad(c, "operand too narrow");
    case IR_vset:
        if (lane_bits == 64 && def(c, n->b)->type != IR_I64)
            return bad(c, "operand too narrow");
        return imm < 128 / lane_bits ? 0 : bad(c, "lane number");
    case IR_vduplane:
    case IR_vgetu:
    case IR_vgets:
        return imm < 128 / lane_bits ? 0 : bad(c, "lane number");
    case IR_vmask:
    case IR_vbits:
        return imm < 64 ? 0 : bad(c, "bit number");
    case IR_vext:
        return imm < (n->aux & VL_HALF ? 8 : 16) ? 0 : bad(c, "byte position");
    case IR_vzext:
        return def(c, n->a)->type >= IR_I32 && def(c, n->a)->type <= IR_F64
                   ? 0
                   : bad(c, "operand of the wrong type");
    case IR_vlow:
        return n->type >= IR_I32 && n->type <= IR_F64 ? 0 : bad(c, "result of the wrong type");
    default:
        return 0;
    }
}

static int check_const(const struct check *c)
{
    uint64_t v = c->n->imm;
    switch (c->n->type) {
    case IR_BOOL:
        return v <= 1 ? 0 : bad(c, "constant out of range");
    case IR_I32:
    case IR_F32:
        return v <= UINT32_MAX ? 0 : bad(c, "constant out of range");
    case IR_FLAGS:
        return v & ~(uint64_t)PACK_MASK ? bad(c, "constant out of range") : 0;
    default:
        return 0;
    }
}

static int check_phi(const struct check *c)
{
    const struct ir_insn *n = c->n, *after = def(c, c->at + 1);
    if (n->aux != IR_NO_SLOT &&
        (n->aux >= c->r->guest->n_slots || n->type != c->r->guest->slots[n->aux].type))
        return bad(c, "differs from its slot");
    if (n->imm >= c->r->insns.len || (n->imm && def(c, (ir_ref)n->imm)->type != n->type))
        return bad(c, "next value of the wrong type");
    return after->op == IR_phi || after->op == IR_loop ? 0 : bad(c, "no loop follows");
}

// What the classes do not say.
static int check_special(const struct check *c)
{
    const struct ir_insn *n = c->n;
    unsigned w = width(n->type), wa = n->a < c->at ? width(def(c, n->a)->type) : 0;
    uint64_t pc;
    switch (n->op) {
    case IR_const:
        return check_const(c);
    case IR_get:
        if (n->aux >= c->r->guest->n_slots)
            return bad(c, "no such slot");
        return n->type == c->r->guest->slots[n->aux].type ? 0 : bad(c, "differs from its slot");
    case IR_extr:
        return n->aux < w ? 0 : bad(c, "shift amount");
    case IR_sext:
    case IR_zext:
        return n->aux >= 1 && n->aux <= wa && n->aux <= w ? 0 : bad(c, "width");
    case IR_bfi:
        return n->aux >> 8 && (n->aux & 255u) + (n->aux >> 8) <= w ? 0 : bad(c, "field");
    case IR_cmp:
        if (n->aux > CMP_SGT)
            return bad(c, "condition");
        // fall through
    case IR_addf:
    case IR_subf:
    case IR_adcf:
    case IR_fcmp:
        return def(c, n->a)->type == def(c, n->b)->type ? 0 : bad(c, "operands of two types");
    case IR_fcond:
        return n->aux <= COND_LE ? 0 : bad(c, "condition");
    case IR_f2f:
        return def(c, n->a)->type != n->type ? 0 : bad(c, "both formats are the same");
    case IR_fbits:
    case IR_bitsf:
        return (n->type == IR_I32 || n->type == IR_F32) ==
                       (def(c, n->a)->type == IR_I32 || def(c, n->a)->type == IR_F32)
                   ? 0
                   : bad(c, "widths differ");
    case IR_exit_if:
        return ir_region_pc(c->r, n->b, &pc) ? 0 : bad(c, "target is not constant");
    case IR_goto:
    case IR_again:
        return ir_region_pc(c->r, n->a, &pc) ? 0 : bad(c, "target is not constant");
    case IR_into:
        return ir_region_pc(c->r, n->a, &pc) ? 0 : bad(c, "return address is not constant");
    case IR_callto:
        return ir_region_pc(c->r, n->b, &pc) ? 0 : bad(c, "return address is not constant");
    case IR_pcbase:
        return c->r->mode & IR_MODE_MOVABLE ? 0 : bad(c, "a region with constant addresses");
    case IR_phi:
        return check_phi(c);
    case IR_loop:
        return def(c, (ir_ref)c->r->insns.len - 1)->op == IR_again ? 0
                                                                   : bad(c, "nothing repeats it");
    case IR_call:
        return check_call(c);
    default:
        if (n->op >= IR_load && n->op <= IR_amoumax)
            return check_memory(c);
        if (n->op >= IR_vzext)
            return check_vector(c);
        return 0;
    }
}

static int check_snapshot(const struct check *c)
{
    const struct ir_region *r = c->r;
    if (c->n->op == IR_call && !c->n->imm)
        return 0;
    if (c->n->op == IR_leave && !c->n->imm && c->at > 1 && def(c, c->at - 1)->op == IR_call)
        return 0;
    if (!c->n->imm || c->n->imm >= r->snaps.len)
        return bad(c, "no such snapshot");
    const struct ir_snap *s = &r->snaps.data[c->n->imm];
    if (s->first + (size_t)s->n > r->snap_entries.len || s->insns > r->n_guest_insns)
        return bad(c, "snapshot out of range");
    if (s->n < r->n_resident)
        return bad(c, "snapshot leaves out resident slots");
    uint64_t seen[(IR_MAX_SLOTS + 63) / 64] = {0};
    for (uint32_t i = 0; i < s->n; i++) {
        const struct ir_snap_entry *e = &r->snap_entries.data[s->first + i];
        if (e->slot >= r->guest->n_slots || e->slot == r->guest->pc)
            return bad(c, "snapshot of no such slot");
        if (seen[e->slot / 64] >> (e->slot & 63) & 1)
            return bad(c, "snapshot names a slot twice");
        if (i < r->n_resident && e->slot != r->guest->resident[i])
            return bad(c, "resident slots do not come first");
        seen[e->slot / 64] |= 1ull << (e->slot & 63);
        if (check_value(c, e->val))
            return -1;
        if (def(c, e->val)->type != r->guest->slots[e->slot].type)
            return bad(c, "snapshot value of the wrong type");
    }
    if (c->loop && c->at > c->loop)
        for (ir_ref p = c->loop - 1; def(c, p)->op == IR_phi; p--)
            if (def(c, p)->aux != IR_NO_SLOT &&
                !(seen[def(c, p)->aux / 64] >> (def(c, p)->aux & 63) & 1))
                return bad(c, "snapshot leaves out what a phi holds");
    if (c->n->op == IR_again && !c->loop)
        return bad(c, "there is no loop");
    return 0;
}

static int check_node(const struct check *c)
{
    const struct ir_insn *n = c->n;
    if (n->op >= IR_OPS)
        return bad(c, "no such operation");
    const struct ir_op_info *info = &ir_op_info[n->op];
    bool last = c->at + 1 == c->r->insns.len;
    if (!(info->effects & FX_END) != !last)
        return bad(c, last ? "the region does not end" : "the region goes on after its end");
    if (n->op != IR_call) {
        if (info->result == C_T || !fits(info->result, n->type, n->type))
            return bad(c, "result of the wrong type");
        if (check_operand(c, info->a, n->a) || check_operand(c, info->b, n->b) ||
            check_operand(c, info->c, n->c))
            return -1;
    }
    if (check_special(c))
        return -1;
    return info->effects & FX_LEAVE ? check_snapshot(c) : 0;
}

int ir_verify(const struct ir_region *r, struct err *e)
{
    struct check c = {.r = r, .err = e, .loop = ir_loop_of(r)};
    if (r->insns.len < 2)
        return err_set(e, "region %#" PRIx64 ": empty", r->pc);
    for (size_t i = 1; i < r->insns.len; i++) {
        c.n = &r->insns.data[i];
        c.at = (ir_ref)i;
        if (check_node(&c))
            return -1;
    }
    return 0;
}
