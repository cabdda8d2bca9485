// The code after a region's end: what side exits, unlinked jumps, slow accesses and interrupts lead
// to. Everything was recorded while the region was emitted; no register is allocated here.
#include "jit/x86_64/cg.h"

static void load_operand(struct cg *c, unsigned w, int reg, unsigned kind, uint32_t v)
{
    switch (kind) {
    case LOC_GPR:
        if (reg != (int)v)
            x_mov_rr(&c->as, w, reg, (int)v);
        break;
    case LOC_CONST:
        x_movi(&c->as, reg, c->in[v].imm);
        break;
    case LOC_SPILL:
        x_mov(&c->as, w, reg, rm_env(VOFF(spill) + (int32_t)(v * sizeof(union ir_val))));
        break;
    default:
        x_mov(&c->as, w, reg, rm_env((int32_t)v));
    }
}

// A vector from memory or a constant: two halves.
static void stub_store_halves(struct cg *c, const struct loc *l, struct rm m, int scratch)
{
    int32_t from =
        l->kind == LOC_SPILL ? VOFF(spill) + (int32_t)(l->v * sizeof(union ir_val)) : (int32_t)l->v;
    for (int32_t half = 0; half < 16; half += 8, m.disp += 8) {
        if (l->kind == LOC_CONST)
            x_movi(&c->as, scratch, c->in[l->v].imm);
        else
            x_mov(&c->as, X_W, scratch, rm_env(from + half));
        x_store(&c->as, X_W, m, scratch);
    }
}

static void stub_store(struct cg *c, const struct loc *l, int scratch)
{
    unsigned type = c->r->guest->slots[l->slot].type,
             w = type == IR_I64 || type == IR_F64 ? X_W : 0;
    struct rm m = rm_env(cg_slot_off(c, l->slot));
    if (l->kind == LOC_XMM) {
        unsigned op = type == IR_V128  ? X_0F | 0x29
                      : type == IR_F64 ? X_66 | X_0F | 0xd6
                                       : X_66 | X_0F | 0x7e;
        x_op(&c->as, op, (int)l->v, m);
        return;
    }
    if (type == IR_V128) {
        stub_store_halves(c, l, m, scratch);
        return;
    }
    if (l->kind == LOC_CONST && type != IR_BOOL) {
        int64_t k = (int64_t)c->in[l->v].imm;
        if (!w || k == (int32_t)k) {
            x_storei(&c->as, w, m, (int32_t)k);
            return;
        }
    }
    int r = l->kind == LOC_GPR ? (int)l->v : scratch;
    load_operand(c, w, r, l->kind, l->v);
    if (type == IR_BOOL)
        x_op(&c->as, X_BYTE | 0x88, r, m);
    else
        x_store(&c->as, w, m, r);
}

// Recompute flags from their operands and store them; registers but theirs and resident ones are
// free.
static void stub_flags(struct cg *c, unsigned slot, const struct loc_flags *f, bool live)
{
    unsigned w = f->wide ? X_W : 0;
    if (!live) {
        int b = f->kind[1] == LOC_GPR ? (int)f->v[1] : RDX;
        int a = b == RCX ? RSI : RCX;
        if (f->kind[0] == LOC_GPR && (f->op != IR_addf))
            a = (int)f->v[0];
        if (a == b && f->kind[1] != LOC_GPR)
            b = RSI;
        load_operand(c, w, a, f->kind[0], f->v[0]);
        if (f->op == IR_testf) {
            x_test_rr(&c->as, w, a, a);
        } else {
            load_operand(c, w, b, f->kind[1], f->v[1]);
            x_alu_rr(&c->as, w, f->op == IR_subf ? ALU_CMP : ALU_ADD, a, b);
        }
    }
    if (f->op == IR_subf)
        as_u8(&c->as, 0xf5); // cmc
    as_u8(&c->as, 0x9f);     // lahf
    x_setcc(&c->as, CC_O, RAX);
    x_store(&c->as, 0, rm_env(cg_slot_off(c, slot)), RAX);
}

// Registers that resident slots and flags are made of.
static uint32_t stub_sources(const struct cg *c, const struct loc *res, const struct loc_flags *f)
{
    uint32_t used = 0;
    for (unsigned k = 0; k < c->r->n_resident; k++)
        used |= res[k].kind == LOC_GPR ? BIT(res[k].v) : 0;
    for (unsigned k = 0; f && k < 2; k++)
        used |= f->kind[k] == LOC_GPR ? BIT(f->v[k]) : 0;
    return used;
}

// Resident slots into their registers, all at once. The operands of flags that are still to be made
// are moved out of the way.
static void stub_residents(struct cg *c, const struct loc *res, struct loc_flags *f)
{
    struct cg_copy m[IR_RESIDENTS + 2];
    unsigned n = 0;
    uint32_t written = 0;
    for (unsigned k = 0; k < c->r->n_resident; k++) {
        int to = cg_resident_reg(c->j, k);
        if (res[k].kind != LOC_GPR)
            written |= BIT(to);
        else if ((int)res[k].v != to)
            written |= BIT((m[n++] = (struct cg_copy){to, (int)res[k].v, IR_NONE}).dst);
    }
    if (f && ((f->kind[0] == LOC_GPR && written & BIT(f->v[0])) ||
              (f->kind[1] == LOC_GPR && written & BIT(f->v[1])))) {
        static const int to[2] = {RCX, RDX};
        for (unsigned k = 0; k < 2; k++)
            if (f->kind[k] == LOC_GPR) {
                m[n++] = (struct cg_copy){to[k], (int)f->v[k], IR_NONE};
                f->v[k] = (uint32_t)to[k];
            }
    }
    cg_copy_all(c, m, n);
    for (unsigned k = 0; k < c->r->n_resident; k++)
        if (res[k].kind != LOC_GPR)
            load_operand(c, X_W, cg_resident_reg(c->j, k), res[k].kind, res[k].v);
}

static void stub_exit(struct cg *c, const struct stub *s)
{
    const struct loc *res = c->locs.data + s->first_loc, *l = res + c->r->n_resident,
                     *end = res + s->n_locs;
    struct loc_flags flags = {0}, *f = NULL;
    unsigned slot = 0;
    for (const struct loc *k = l; k < end; k++) {
        if (k->kind == LOC_GPR || k->kind == LOC_XMM) {
            stub_store(c, k, NO_REG);
        } else if (k->kind == LOC_FLAGS) {
            flags = c->sites.flags.data[k->v];
            f = &flags;
            slot = k->slot;
        }
    }
    int scratch = __builtin_ctz(c->gprs & CALLER_SAVED & ~stub_sources(c, res, f));
    for (const struct loc *k = l; k < end; k++)
        if (k->kind != LOC_GPR && k->kind != LOC_XMM && k->kind != LOC_FLAGS)
            stub_store(c, k, scratch);
    stub_residents(c, res, s->flags_live ? NULL : f);
    if (f)
        stub_flags(c, slot, f, s->flags_live);
    if (!s->link) {
        cg_emit_pc(c, RAX, s->pc);
        cg_leave_for_mode(c);
        return;
    }
    if (s->poll)
        cg_emit_poll(c, false, s->pc);
    cg_emit_link(c, 0xe9, s->link);
}

// A link in translated code: a short constant.
static uint64_t link_offset(const struct cg *c, const struct link *l)
{
    return (uint64_t)((const uint8_t *)l - c->j->meta);
}

static void emit_stub(struct cg *c, const struct stub *s)
{
    as_bind(&c->as, s->from);
    switch (s->kind) {
    case STUB_EXIT:
        stub_exit(c, s);
        break;
    case STUB_LINK:
        s->link->stub = (uint32_t)(as_here(&c->as) - c->j->rx);
        if (s->link->slot) // the guard has moved it on
            x_alui(&c->as, X_W, ALU_SUB, rm_env(VOFF(page_va)), (int32_t)(s->link->pc & PAGE_MASK));
        x_movi(&c->as, RAX, link_offset(c, s->link));
        x_jmp_to(&c->as, c->j->thunk.exit_link);
        break;
    case STUB_GUARD:
        if (s->back) {
            x_lea_rip(&c->as, RCX, s->back);
            x_push(&c->as, RCX);
        }
        cg_emit_pc(c, RAX, s->pc);
        x_movi(&c->as, RSI, link_offset(c, s->link));
        x_jmp_to(&c->as, c->j->thunk.guard_miss);
        break;
    case STUB_SLOW:
        cg_slow_stub(c, s);
        break;
    case STUB_SPAN:
        cg_span_stub(c, s);
        break;
    case STUB_INTERRUPT:
        if (!s->pc_in_rax)
            cg_emit_pc(c, RAX, s->pc);
        x_jmp_to(&c->as, c->j->thunk.exit_interrupt);
        break;
    case STUB_FP:
        x_pushi(&c->as, s->regs);
        x_pushi(&c->as, s->info);
        x_call_c(&c->as, c->j->thunk.fp_slow);
        x_jmp_to(&c->as, s->back);
        break;
    case STUB_CALL_MISS:
        x_lea_rip(&c->as, RCX, s->back);
        x_push(&c->as, RCX);
        x_jmp_to(&c->as, c->j->thunk.exit_lookup);
        break;
    }
}

void cg_emit_stubs(struct cg *c)
{
    for (size_t k = 0; k < c->stubs.len && !c->failed; k++) { // grows meanwhile
        if (c->as.p + 1024 > c->limit) {
            c->failed = true;
            return;
        }
        struct stub s = c->stubs.data[k];
        emit_stub(c, &s);
    }
}
