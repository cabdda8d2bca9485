// Text form of a region, one node a line, for `-d ir`, `myna explain` and failing tests.
#include "base/buf.h"
#include "ir/ir.h"

#include <inttypes.h>

static const char *const type_names[IR_TYPES] = {
    [IR_VOID] = "",   [IR_BOOL] = "bool", [IR_I32] = "i32",   [IR_I64] = "i64",
    [IR_F32] = "f32", [IR_F64] = "f64",   [IR_V128] = "v128", [IR_FLAGS] = "flags",
};

static const char *slot_name(const struct ir_region *r, unsigned slot)
{
    return slot < r->guest->n_slots ? r->guest->slots[slot].name : "?";
}

static void print_operands(const struct ir_region *r, const struct ir_insn *n, struct buf *out)
{
    if (n->op == IR_call) {
        if (n->aux < r->helpers.len)
            buf_printf(out, " %s", r->helpers.data[n->aux]->name);
        for (unsigned i = 0; i < n->b; i++)
            buf_printf(out, "%s %%%u", i ? "," : "", (unsigned)r->args.data[n->a + i]);
        return;
    }
    const ir_ref in[3] = {n->a, n->b, n->c};
    for (unsigned i = 0; i < 3; i++) {
        if (!in[i])
            continue;
        const struct ir_insn *d = &r->insns.data[in[i] < r->insns.len ? in[i] : 0];
        if (d->op == IR_const && d->type != IR_V128)
            buf_printf(out, "%s %#" PRIx64, i ? "," : "", d->imm);
        else
            buf_printf(out, "%s %%%u", i ? "," : "", (unsigned)in[i]);
    }
}

static void print_snapshot(const struct ir_region *r, uint64_t index, struct buf *out)
{
    const struct ir_snap *s = &r->snaps.data[index];
    buf_printf(out, "  {%#" PRIx64 " +%u", s->pc, s->insns);
    for (uint32_t i = 0; i < s->n; i++) {
        const struct ir_snap_entry *e = &r->snap_entries.data[s->first + i];
        buf_printf(out, " %s=%%%u", slot_name(r, e->slot), (unsigned)e->val);
    }
    buf_printf(out, "}");
}

void ir_print(const struct ir_region *r, struct buf *out)
{
    buf_printf(out, "region %#" PRIx64 " mode %#" PRIx64 " (%s, %u instructions)\n", r->pc, r->mode,
               r->guest->name, r->n_guest_insns);
    for (size_t i = 1; i < r->insns.len; i++) {
        const struct ir_insn *n = &r->insns.data[i];
        const struct ir_op_info *info = &ir_op_info[n->op];
        if (n->type != IR_VOID)
            buf_printf(out, "%5zu %-5s %s", i, type_names[n->type], info->name);
        else
            buf_printf(out, "%5zu       %s", i, info->name);
        if (n->op == IR_get || (n->op == IR_phi && n->aux != IR_NO_SLOT))
            buf_printf(out, " %s", slot_name(r, n->aux));
        else if (n->op == IR_const || n->op == IR_ldenv || n->op == IR_stenv)
            buf_printf(out, " %#" PRIx64, n->imm);
        else if (n->aux && n->op != IR_call)
            buf_printf(out, ".%x", n->aux);
        print_operands(r, n, out);
        if (n->op == IR_phi)
            buf_printf(out, ", then %%%" PRIu64, n->imm);
        if (info->effects & FX_LEAVE && n->imm && n->imm < r->snaps.len)
            print_snapshot(r, n->imm, out);
        buf_printf(out, "\n");
    }
}
