// Storage of a region, and the table of operations. A region's arrays are kept from one
// translation to the next: resetting only sets lengths.
#include "ir/ir.h"

#include <stdlib.h>

const struct ir_op_info ir_op_info[IR_OPS] = {
#define OP(name, result, a, b, c, effects) [IR_##name] = {#name, result, a, b, c, effects},
#include "ir/ops.def"
#undef OP
};

void ir_region_reset(struct ir_region *r, const struct ir_guest *g, uint64_t pc, uint64_t mode)
{
    BUG_ON(g->n_slots > IR_MAX_SLOTS);
    r->guest = g;
    r->pc = pc - ir_pc_base(mode, pc);
    r->mode = mode;
    r->insns.len = r->args.len = r->snaps.len = r->snap_entries.len = r->helpers.len = 0;
    r->n_guest_insns = 0;
    r->n_bytes = r->n_before = 0;
    r->path = 0;
    vec_push(&r->insns, (struct ir_insn){.op = IR_nop});
    vec_push(&r->snaps, (struct ir_snap){0});
}

bool ir_region_pc(const struct ir_region *r, ir_ref v, uint64_t *pc)
{
    const struct ir_insn *n = &r->insns.data[v];
    *pc = 0;
    if (r->mode & IR_MODE_MOVABLE) {
        if (n->op == IR_pcbase)
            return true;
        if (n->op != IR_add || r->insns.data[n->a].op != IR_pcbase)
            return false;
        n = &r->insns.data[n->b];
    }
    *pc = n->imm;
    return n->op == IR_const;
}

void ir_region_free(struct ir_region *r)
{
    vec_free(&r->insns);
    vec_free(&r->args);
    vec_free(&r->snaps);
    vec_free(&r->snap_entries);
    vec_free(&r->helpers);
}
