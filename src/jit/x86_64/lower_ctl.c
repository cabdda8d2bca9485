// Rules for what leaves a region: exits, guest calls and returns, helper calls. A guest call is a
// host call whose landing compares the pc the guest returned to; a guest return is a host return
// with that pc in rax.
#include "jit/x86_64/cg.h"

// ---- slots ----

static void store_slot(struct cg *c, unsigned slot, ir_ref val)
{
    struct rm m = rm_env(cg_slot_off(c, slot));
    uint64_t k;
    unsigned type = c->r->guest->slots[slot].type;
    unsigned w = type == IR_I64 ? X_W : 0;
    if (type != IR_BOOL && cg_is_const(c, val, &k) && (!w || (int64_t)k == (int32_t)k)) {
        x_storei(&c->as, w, m, (int32_t)k);
        return;
    }
    int r = cg_use(c, val);
    switch (type) {
    case IR_V128:
        x_op(&c->as, X_0F | 0x29, r - 16, m);
        break;
    case IR_F64:
        x_op(&c->as, X_66 | X_0F | 0xd6, r - 16, m);
        break;
    case IR_F32:
        x_op(&c->as, X_66 | X_0F | 0x7e, r - 16, m);
        break;
    case IR_BOOL:
        x_op(&c->as, X_BYTE | 0x88, r, m);
        break;
    default:
        x_store(&c->as, w, m, r);
    }
}

// The snapshot's entries from `first` on.
static void store_slots(struct cg *c, const struct ir_snap *s, uint32_t first)
{
    uint32_t locked = c->locked;
    for (unsigned pass = 0; pass < 2; pass++) // flags first: EFLAGS may still hold them
        for (uint32_t k = first; k < s->n; k++) {
            const struct ir_snap_entry *e = &c->r->snap_entries.data[s->first + k];
            if ((c->in[e->val].type == IR_FLAGS) == (pass == 0))
                store_slot(c, e->slot, e->val);
            c->locked = locked;
        }
}

void cg_store_slots(struct cg *c, uint32_t snap)
{
    store_slots(c, &c->r->snaps.data[snap], 0);
}

// The end of a region: the snapshot's values to where the next region looks for them, and up to two
// values into registers.
static void deliver(struct cg *c, uint32_t snap, const struct cg_copy *also, unsigned n_also)
{
    const struct ir_snap *s = &c->r->snaps.data[snap];
    const struct ir_snap_entry *e = c->r->snap_entries.data + s->first;
    struct cg_copy m[IR_RESIDENTS + 2];
    unsigned n = 0;
    store_slots(c, s, c->r->n_resident);
    for (unsigned k = 0; k < c->r->n_resident; k++)
        m[n++] = (struct cg_copy){cg_resident_reg(c->j, k), NO_REG, e[k].val};
    for (unsigned k = 0; k < n_also; k++)
        m[n++] = also[k];
    for (unsigned k = 0; k < n; k++) {
        m[k].x = c->root[m[k].x];
        m[k].src = c->v[m[k].x].reg;
    }
    cg_copy_all(c, m, n);
}

// ---- pcs ----

// A pc of the region. EFLAGS may go.
void cg_emit_pc(struct cg *c, int reg, uint64_t pc)
{
    bool near = (int64_t)pc == (int32_t)pc;
    if (!c->movable || !near)
        x_movi(&c->as, reg, pc);
    if (!c->movable)
        return;
    if (!near) {
        x_alu(&c->as, X_W, ALU_ADD, reg, rm_env(VOFF(page_va)));
        return;
    }
    x_mov(&c->as, X_W, reg, rm_env(VOFF(page_va)));
    if (pc)
        x_alui(&c->as, X_W, ALU_ADD, rm_reg(reg), (int32_t)pc);
}

static void store_pc(struct cg *c, uint64_t pc)
{
    struct rm m = rm_env(cg_slot_off(c, c->r->guest->pc));
    if (!c->movable && (int64_t)pc == (int32_t)pc) {
        x_storei(&c->as, X_W, m, (int32_t)pc);
        return;
    }
    int t = cg_tmp(c);
    cg_emit_pc(c, t, pc);
    x_store(&c->as, X_W, m, t);
    c->eflags = IR_NONE;
}

// rax is where the code goes on: note its page.
static void emit_enter_page(struct cg *c)
{
    x_alui(&c->as, X_W, ALU_AND, rm_reg(RAX), -(int32_t)PAGE_SIZE);
    x_store(&c->as, X_W, rm_env(VOFF(page_va)), RAX);
}

// ---- links ----

static struct link *new_link(struct cg *c, uint64_t pc)
{
    struct link *l = &c->b->links[c->n_links++];
    l->from = c->b;
    l->pc = pc;
    list_init(&l->in);
    return l;
}

static bool needs_guard(const struct cg *c, uint64_t pc)
{
    return c->guards && (pc ^ c->r->pc) & PAGE_MASK;
}

static void add_stub(struct cg *c, struct stub s)
{
    vec_push(&c->stubs, s);
    c->as.open = 0; // what goes there has all it needs, and does not come back to this rule
}

static uint8_t *emit_id_guard(struct cg *c, struct link *l)
{
    as_align(&c->as, 4, 4);
    x_op(&c->as, 0x81, ALU_CMP, rm_env(VOFF(code_id)));
    l->guard = c->as.p;
    as_u32(&c->as, 0);
    return x_jcc(&c->as, CC_NE);
}

// Movable code: the same link leads elsewhere in other address spaces, and from other places in
// the same one. What it compares is this CPU's own knowledge of it (struct jit_vcpu.link_ok).
static uint8_t *emit_slot_guard(struct cg *c, struct link *l)
{
    x_mov(&c->as, X_W, RCX, rm_env(VOFF(page_va)));
    x_mov(&c->as, X_W, RDX, rm_env(VOFF(link_key)));
    x_alu_rr(&c->as, X_W, ALU_OR, RDX, RCX);
    x_alu(&c->as, X_W, ALU_CMP, RDX, rm_env(VOFF(link_ok) + (int32_t)(l->slot * 8)));
    uint8_t *miss = x_jcc(&c->as, CC_NE);
    x_alui(&c->as, X_W, ALU_ADD, rm_reg(RCX), (int32_t)(l->pc & PAGE_MASK));
    x_store(&c->as, X_W, rm_env(VOFF(page_va)), RCX);
    return miss;
}

// A jump (0xe9) or call (0xe8) along l; goes to its stub until it is linked. Aligned, so that it
// can be patched while others run it.
void cg_emit_link(struct cg *c, unsigned opcode, struct link *l)
{
    struct stub miss = {.kind = STUB_GUARD, .link = l, .pc = l->pc};
    bool guard = needs_guard(c, l->pc);
    if (guard && c->movable) {
        bool near = (int64_t)l->pc == (int32_t)l->pc;
        l->slot = near ? jit_link_slot(c->j) : 0;
        if (!l->slot) { // like a computed one
            cg_emit_pc(c, RAX, l->pc);
            if (opcode == 0xe8)
                x_call_c(&c->as, c->j->thunk.lookup);
            else
                x_jmp_to(&c->as, c->j->thunk.lookup);
            return;
        }
        miss.from = emit_slot_guard(c, l);
    } else if (guard) {
        miss.from = emit_id_guard(c, l);
    }
    as_align(&c->as, 4, 1);
    as_u8(&c->as, opcode);
    as_u32(&c->as, 0);
    l->jump = c->as.p - 4;
    if (miss.from) {
        miss.back = opcode == 0xe8 ? as_here(&c->as) : NULL;
        add_stub(c, miss);
    }
    add_stub(c, (struct stub){.kind = STUB_LINK, .from = l->jump, .link = l});
}

void cg_emit_poll(struct cg *c, bool pc_in_rax, uint64_t pc)
{
    x_alui(&c->as, 0, ALU_CMP, rm_env((int32_t)offsetof(struct env, interrupt)), 0);
    add_stub(c, (struct stub){.kind = STUB_INTERRUPT,
                              .from = x_jcc(&c->as, CC_NE),
                              .pc_in_rax = pc_in_rax,
                              .pc = pc});
}

// Look rax up among this vCPU's jump targets; ecx is the target in the cache, or the jump returned
// is taken. Clobbers rcx, rdx.
static void emit_find(struct cg *c, uint8_t *miss[2])
{
    x_lea(&c->as, 0, RCX, (struct rm){.base = -1, .index = RAX, .scale_log2 = 2, .mem = true});
    x_alui(&c->as, 0, ALU_AND, rm_reg(RCX), (JUMP_SIZE - 1) << 4);
    x_mov(&c->as, 0, RDX, rm_env(VOFF(code_id)));
    int32_t at = VOFF(jump);
    x_alu(&c->as, X_W, ALU_CMP, RAX,
          rm_env_at(at + (int32_t)offsetof(struct jump_entry, pc), RCX, 0));
    miss[0] = x_jcc(&c->as, CC_NE);
    x_alu(&c->as, 0, ALU_CMP, RDX,
          rm_env_at(at + (int32_t)offsetof(struct jump_entry, id), RCX, 0));
    miss[1] = x_jcc(&c->as, CC_NE);
    x_mov(&c->as, 0, RCX, rm_env_at(at + (int32_t)offsetof(struct jump_entry, code), RCX, 0));
}

static void emit_address(struct cg *c)
{
    x_lea_rip(&c->as, RDX, c->j->rx);
    x_alu_rr(&c->as, X_W, ALU_ADD, RCX, RDX);
}

// The same, to the address in rcx.
static void emit_lookup(struct cg *c, uint8_t *miss[2])
{
    emit_find(c, miss);
    emit_address(c);
    if (c->movable)
        emit_enter_page(c);
}

// Where the link at offset rsi leads to the block that was found, its slot may say so from now on.
static void emit_fill_slot(struct cg *c)
{
    x_movi(&c->as, RDI, (uintptr_t)c->j->meta);
    x_alu_rr(&c->as, X_W, ALU_ADD, RSI, RDI);
    x_alu(&c->as, 0, ALU_CMP, RCX, rm_mem(RSI, offsetof(struct link, target)));
    uint8_t *other = x_jcc8(&c->as, CC_NE);
    x_mov(&c->as, 0, RDI, rm_mem(RSI, offsetof(struct link, slot)));
    x_test_rr(&c->as, 0, RDI, RDI);
    uint8_t *none = x_jcc8(&c->as, CC_E);
    x_mov(&c->as, X_W, RDX, rm_env(VOFF(page_va)));
    x_alu(&c->as, X_W, ALU_OR, RDX, rm_env(VOFF(link_key)));
    x_store(&c->as, X_W, rm_env_at(VOFF(link_ok), RDI, 3), RDX);
    as_bind8(&c->as, other);
    as_bind8(&c->as, none);
}

void cg_emit_lookup_thunk(struct cg *c, const uint8_t *on_miss, bool fill)
{
    uint8_t *miss[2];
    emit_find(c, miss);
    if (fill)
        emit_fill_slot(c);
    emit_address(c);
    emit_enter_page(c); // of no use to code that is not movable, and no harm
    x_op(&c->as, 0xff, 4, rm_reg(RCX));
    as_bind(&c->as, miss[0]);
    as_bind(&c->as, miss[1]);
    x_jmp_to(&c->as, on_miss);
}

static void bind_to(struct cg *c, uint8_t *disp, const uint8_t *target)
{
    int32_t d = (int32_t)(target - (disp + c->as.rx_delta + 4));
    memcpy(disp, &d, 4);
}

// ---- exits ----

// Where the mode may have changed nothing is linked: the dispatcher asks for it.
void cg_leave_for_mode(struct cg *c) // rax: the pc
{
    x_jmp_to(&c->as, c->j->thunk.exit_mode);
}

RULE(exit_if)
{
    const struct ir_insn *in = cg_insn(c, i);
    const struct ir_snap *s = &c->r->snaps.data[in->imm];
    uint64_t pc;
    BUG_ON(!ir_region_pc(c->r, in->b, &pc));
    enum x86_cc cc = cg_cond(c, in->a);
    struct stub st = {.kind = STUB_EXIT, .pc = pc, .poll = in->aux & EXIT_POLL};
    cg_record(c, (uint32_t)in->imm, &st.first_loc, &st.n_locs);
    for (uint32_t k = 0; k < s->n; k++)
        if (c->eflags && c->r->snap_entries.data[s->first + k].val == c->eflags)
            st.flags_live = true;
    if (!(in->aux & EXIT_MODE))
        st.link = new_link(c, pc);
    st.from = x_jcc(&c->as, cc);
    add_stub(c, st);
}

RULE(goto)
{
    const struct ir_insn *in = cg_insn(c, i);
    uint64_t pc;
    BUG_ON(!ir_region_pc(c->r, in->a, &pc));
    deliver(c, (uint32_t)in->imm, NULL, 0);
    if (in->aux & EXIT_MODE) {
        cg_emit_pc(c, RAX, pc);
        cg_leave_for_mode(c);
        return;
    }
    if (in->aux & EXIT_POLL)
        cg_emit_poll(c, false, pc);
    cg_emit_link(c, 0xe9, new_link(c, pc));
}

RULE(phi)
{
    cg_def_copy(c, i, cg_insn(c, i)->a);
}

// Left free for one round's own values; for what a single operation works with.
enum { SPARE_GPRS = 4, SPARE_XMMS = 4, TEMPORARIES = 2 };

// A phi that gave way to another one comes back: where it is now is where every round leaves its
// next value, so what it left in memory is of the first round alone.
static void bring_phis_back(struct cg *c, ir_ref loop)
{
    for (ir_ref p = loop - 1; cg_insn(c, p)->op == IR_phi; p--)
        if (c->v[p].reg != NO_REG)
            c->locked |= BIT(c->v[p].reg);
    for (ir_ref p = loop - 1; cg_insn(c, p)->op == IR_phi; p--) {
        if (c->v[p].last <= loop)
            continue;
        cg_use(c, p);
        c->v[p].spill = 0;
    }
    c->locked = 0;
}

static unsigned idle_regs(const struct cg *c, bool xmm)
{
    return (unsigned)__builtin_popcount((xmm ? ALL_XMM : c->gprs) & ~c->owned);
}

static bool in_gpr(const struct cg *c, ir_ref x)
{
    unsigned type = cg_insn(c, x)->type;
    return (type == IR_I64 || type == IR_I32) && c->root[x] == x && cg_insn(c, x)->op != IR_const;
}

// Resident slots that nothing in the loop wants.
static bool unwanted(const struct cg *c, ir_ref x)
{
    return cg_insn(c, x)->op == IR_get && c->v[x].flags & V_NOSLOT && c->v[x].next <= c->pos;
}

// How many integers are alive at once in the loop, but for those.
static unsigned alive_in_loop(struct cg *c, ir_ref loop)
{
    size_t n = c->r->insns.len;
    int now = 0, most = 0;
    vec_reserve(&c->deaths, n);
    memset(c->deaths.data, 0, n);
    for (ir_ref x = 1; x < n; x++)
        if (in_gpr(c, x) && c->v[x].last > MAX(x, loop) && !(x < loop && unwanted(c, x))) {
            c->deaths.data[c->v[x].last]++;
            now += x < loop;
        }
    for (ir_ref x = loop; x < n; x++) {
        now += x > loop && in_gpr(c, x) && c->v[x].last > x;
        most = MAX(most, now);
        now -= c->deaths.data[x];
    }
    return (unsigned)most;
}

// Resident slots that the loop does not want make room for what it does.
static void make_room(struct cg *c, ir_ref loop)
{
    unsigned taken = 0, all = (unsigned)__builtin_popcount(c->gprs);
    for (int r = 0; r < 16; r++)
        taken += c->owner[r] && unwanted(c, c->owner[r]);
    unsigned want = taken ? alive_in_loop(c, loop) + TEMPORARIES : 0;
    for (int r = 0; r < 16 && all - taken < want; r++)
        if (c->owner[r] && unwanted(c, c->owner[r])) {
            cg_evict(c, r);
            if (!--taken)
                break;
        }
}

// What the loop only reads, into registers as far as they go.
RULE(loop)
{
    cg_release_idle(c);
    bring_phis_back(c, i);
    make_room(c, i);
    for (ir_ref x = 1; x < i; x++) {
        const struct ir_insn *in = cg_insn(c, x);
        if (in->op != IR_get || !c->v[x].uses || c->v[x].last <= i || c->v[x].reg != NO_REG)
            continue;
        bool xmm = cg_type_xmm(in->type);
        if (idle_regs(c, xmm) > (unsigned)(xmm ? SPARE_XMMS : SPARE_GPRS))
            cg_use(c, x);
        c->locked = 0;
    }
    memcpy(c->loop.owner, c->owner, sizeof c->owner);
    c->loop.start = as_here(&c->as);
}

static bool has_phi(const struct cg *c, unsigned slot)
{
    for (ir_ref p = c->loop.at - 1; cg_insn(c, p)->op == IR_phi; p--)
        if (cg_insn(c, p)->aux == slot)
            return true;
    return false;
}

// The value that register r has to hold at the start of the next round.
static ir_ref next_in(const struct cg *c, int r)
{
    ir_ref x = c->loop.owner[r];
    return c->root[x && cg_insn(c, x)->op == IR_phi ? (ir_ref)cg_insn(c, x)->imm : x];
}

static void store_without_phi(struct cg *c, const struct ir_snap *s)
{
    for (unsigned pass = 0; pass < 2; pass++)
        for (uint32_t k = c->r->n_resident; k < s->n; k++) {
            const struct ir_snap_entry *e = &c->r->snap_entries.data[s->first + k];
            if ((c->in[e->val].type == IR_FLAGS) == (pass == 0) && !has_phi(c, e->slot))
                store_slot(c, e->slot, e->val);
            c->locked = 0;
        }
}

RULE(again)
{
    const struct ir_insn *in = cg_insn(c, i);
    struct stub st = {.kind = STUB_EXIT, .pc = c->r->pc, .poll = true};
    struct cg_copy m[32];
    unsigned n = 0;
    if (!cg_insn(c, c->loop.at)->aux)
        store_without_phi(c, &c->r->snaps.data[in->imm]);
    cg_record(c, (uint32_t)in->imm, &st.first_loc, &st.n_locs);
    x_alui(&c->as, 0, ALU_CMP, rm_env((int32_t)offsetof(struct env, interrupt)), 0);
    st.link = new_link(c, c->r->pc);
    st.from = x_jcc(&c->as, CC_NE);
    add_stub(c, st);
    for (int r = 0; r < 32; r++) { // a constant for a vector register needs another one
        ir_ref x = next_in(c, r);
        if (x && IS_XMM(r) && cg_insn(c, x)->op == IR_const)
            cg_use(c, x);
    }
    for (int r = 0; r < 32; r++) {
        ir_ref x = next_in(c, r);
        if (x)
            m[n++] = (struct cg_copy){r, c->v[x].reg, x};
    }
    cg_copy_all(c, m, n);
    x_jmp_to(&c->as, c->loop.start);
}

// The end of a region that goes to a computed pc.
static void deliver_target(struct cg *c, const struct ir_insn *in)
{
    const struct cg_copy also[2] = {{.dst = RAX, .x = in->a}, {.dst = RCX, .x = in->b}};
    deliver(c, (uint32_t)in->imm, also, in->op == IR_callto && c->movable ? 2 : 1);
}

RULE(indirect)
{
    const struct ir_insn *in = cg_insn(c, i);
    deliver_target(c, in);
    if (in->aux & EXIT_MODE) {
        cg_leave_for_mode(c);
        return;
    }
    cg_emit_poll(c, true, 0);
    if (c->j->c.no_inline_lookup) {
        x_jmp_to(&c->as, c->j->thunk.exit_lookup);
        return;
    }
    uint8_t *miss[2];
    emit_lookup(c, miss);
    x_op(&c->as, 0xff, 4, rm_reg(RCX));
    bind_to(c, miss[0], c->j->thunk.exit_lookup);
    bind_to(c, miss[1], c->j->thunk.exit_lookup);
}

// Where a call comes back to, with the pc in rax. Movable code finds the pc it called from beside
// the return address.
static void emit_landing(struct cg *c, uint64_t pc)
{
    if (c->movable) {
        x_pop(&c->as, RCX);
        x_alu_rr(&c->as, X_W, ALU_CMP, RAX, RCX);
    } else if ((int64_t)pc == (int32_t)pc) {
        x_alui(&c->as, X_W, ALU_CMP, rm_reg(RAX), (int32_t)pc);
    } else {
        x_movi(&c->as, RCX, pc);
        x_alu_rr(&c->as, X_W, ALU_CMP, RAX, RCX);
    }
    x_jcc_to(&c->as, CC_NE, c->j->thunk.ret_miss);
    if (c->movable) {
        x_lea(&c->as, X_W, RCX, rm_mem(RCX, -(int32_t)pc));
        x_store(&c->as, X_W, rm_env(VOFF(page_va)), RCX);
    }
    cg_emit_link(c, 0xe9, new_link(c, pc));
}

// The call goes over its landing, with everything as it is: the return comes with the state in its
// slots.
RULE(into)
{
    const struct ir_insn *in = cg_insn(c, i);
    uint64_t back;
    BUG_ON(!ir_region_pc(c->r, in->a, &back));
    if (c->j->c.no_returns)
        return;
    if (c->movable)
        x_op(&c->as, 0xff, 6, cg_use_rm(c, in->a)); // push
    uint8_t *over = x_call(&c->as);
    emit_landing(c, back);
    as_bind(&c->as, over);
}

RULE(callto)
{
    const struct ir_insn *in = cg_insn(c, i);
    uint64_t pc, back;
    BUG_ON(!ir_region_pc(c->r, in->b, &back));
    bool fixed = ir_region_pc(c->r, in->a, &pc);
    if (c->j->c.no_returns) {
        if (fixed)
            lower_goto(c, i);
        else
            lower_indirect(c, i);
        return;
    }
    if (fixed) {
        const struct cg_copy also = {.dst = RCX, .x = in->b};
        deliver(c, (uint32_t)in->imm, &also, c->movable);
        if (in->aux & EXIT_POLL)
            cg_emit_poll(c, false, pc);
        if (c->movable)
            x_push(&c->as, RCX);
        cg_emit_link(c, 0xe8, new_link(c, pc));
    } else {
        deliver_target(c, in);
        cg_emit_poll(c, true, 0);
        if (c->movable)
            x_push(&c->as, RCX);
        struct stub s = {.kind = STUB_CALL_MISS};
        uint8_t *miss[2];
        emit_lookup(c, miss);
        x_op(&c->as, 0xff, 2, rm_reg(RCX));
        s.back = as_here(&c->as);
        s.from = miss[0];
        add_stub(c, s);
        s.from = miss[1];
        add_stub(c, s);
    }
    emit_landing(c, back);
}

RULE(ret)
{
    if (c->j->c.no_returns) {
        lower_indirect(c, i);
        return;
    }
    // No look at interrupts: what returns to its caller goes forward from the call; anything else
    // comes through ret_miss, which looks.
    deliver_target(c, cg_insn(c, i));
    if (c->j->c.no_quiet_returns)
        cg_emit_poll(c, true, 0);
    x_ret(&c->as);
}

RULE(leave)
{
    const struct ir_insn *in = cg_insn(c, i);
    if (in->imm) {
        cg_store_slots(c, (uint32_t)in->imm);
        store_pc(c, c->r->snaps.data[in->imm].pc);
    }
    x_movi(&c->as, RAX, in->aux);
    x_jmp_to(&c->as, c->j->thunk.leave);
}

// ---- helper calls ----

void cg_c_call(struct cg *c, const void *fn)
{
    x_store(&c->as, X_W, rm_env(VOFF(jit_sp)), RSP);
    x_mov(&c->as, X_W, RSP, rm_env(VOFF(c_sp)));
    x_call_c(&c->as, fn);
    x_mov(&c->as, X_W, RSP, rm_env(VOFF(jit_sp)));
}

static const uint8_t arg_regs[] = {RDI, RSI, RDX, RCX, R8, R9};

static void copy_one(struct cg *c, const struct cg_copy *m)
{
    if (m->src == NO_REG)
        cg_move(c, m->dst, m->x);
    else if (m->dst == m->src)
        return;
    else if (IS_XMM(m->dst))
        x_op(&c->as, X_0F | 0x28, m->dst - 16, rm_reg(m->src - 16));
    else
        x_mov_rr(&c->as, X_W, m->dst, m->src);
}

static void swap_regs(struct cg *c, int x, int y)
{
    if (!IS_XMM(x)) {
        x_op(&c->as, X_W | 0x87, x, rm_reg(y)); // xchg
        return;
    }
    struct rm spare = rm_env(VOFF(scratch));
    x_op(&c->as, X_0F | 0x29, x - 16, spare);
    x_op(&c->as, X_0F | 0x28, x - 16, rm_reg(y - 16));
    x_op(&c->as, X_0F | 0x28, y - 16, spare);
}

void cg_copy_all(struct cg *c, struct cg_copy *m, unsigned n)
{
    while (n) {
        unsigned before = n;
        for (unsigned k = n; k-- > 0;) {
            bool blocked = false;
            for (unsigned o = 0; o < n; o++)
                blocked |= o != k && m[o].src == m[k].dst;
            if (blocked)
                continue;
            copy_one(c, &m[k]);
            m[k] = m[--n];
        }
        if (n < before)
            continue;
        struct cg_copy done = m[--n]; // only cycles are left: one step of one of them
        swap_regs(c, done.dst, done.src);
        for (unsigned o = 0; o < n; o++)
            if (m[o].src == done.dst)
                m[o].src = done.src;
    }
}

static void move_args(struct cg *c, const struct ir_insn *in, const struct ir_helper *h)
{
    struct cg_copy m[6];
    unsigned n = 0, ni = 0, nf = 0;
    if (h->flags & (HELPER_FP | HELPER_READ | HELPER_STATE))
        ni = 1;
    for (unsigned k = 0; k < h->n_args; k++) { // constants in vector registers need a temporary
        ir_ref x = c->r->args.data[in->a + k];
        if (cg_type_xmm(c->in[x].type) && c->in[x].op == IR_const)
            cg_use(c, x);
    }
    for (unsigned k = 0; k < h->n_args; k++) {
        ir_ref x = c->r->args.data[in->a + k];
        int dst = cg_type_xmm(c->in[x].type) ? 16 + (int)nf++ : arg_regs[ni++];
        m[n++] = (struct cg_copy){dst, cg_val(c, x)->reg, c->root[x]};
    }
    // One value given twice: the copies come after.
    struct cg_copy twice[6];
    unsigned n2 = 0;
    for (unsigned k = 0; k < n; k++)
        for (unsigned o = 0; o < k; o++)
            if (m[k].x == m[o].x && m[k].dst != NO_REG && m[o].dst != NO_REG) {
                twice[n2++] = (struct cg_copy){m[k].dst, m[o].dst, m[k].x};
                m[k] = m[--n];
                k--;
                break;
            }
    cg_copy_all(c, m, n);
    for (unsigned k = 0; k < n2; k++)
        if (IS_XMM(twice[k].dst))
            x_op(&c->as, X_0F | 0x28, twice[k].dst - 16, rm_reg(twice[k].src - 16));
        else
            x_mov_rr(&c->as, X_W, twice[k].dst, twice[k].src);
    if (h->flags & (HELPER_FP | HELPER_READ | HELPER_STATE))
        x_lea(&c->as, X_W, RDI, rm_env(0));
}

RULE(call)
{
    const struct ir_insn *in = cg_insn(c, i);
    const struct ir_helper *h = c->r->helpers.data[in->aux];
    cg_before_call(c, in->imm != 0);
    if (in->imm) {
        cg_store_slots(c, (uint32_t)in->imm);
        store_pc(c, c->r->snaps.data[in->imm].pc);
    }
    move_args(c, in, h);
    bool sees_fp = h->flags & (HELPER_READ | HELPER_STATE);
    if (sees_fp) { // MXCSR to its image; C code has its own
        x_op(&c->as, X_0F | 0xae, 3, rm_env(VOFF(mxcsr)));
        x_op(&c->as, X_0F | 0xae, 2, rm_env(VOFF(mxcsr_c)));
    }
    cg_c_call(c, h->fn);
    if (sees_fp)
        x_op(&c->as, X_0F | 0xae, 2, rm_env(VOFF(mxcsr)));
    cg_after_call(c);
    c->locked = 0;
    if (h->flags & HELPER_STATE && !c->j->c.user_mode)
        x_mov(&c->as, X_W, R_KEY, rm_env(VOFF(key)));
    if (in->type == IR_VOID)
        return;
    if (in->type == IR_BOOL)
        x_movzx8(&c->as, RAX, RAX);
    cg_def_in(c, i, cg_type_xmm(in->type) ? 16 : RAX);
}

// ---- out of line evaluation ----

static void eval_operand(struct cg *c, unsigned k, ir_ref x)
{
    struct rm lo = rm_env(VOFF(scratch) + (int32_t)(k * sizeof(union ir_val)));
    struct rm hi = lo;
    hi.disp += 8;
    unsigned type = cg_insn(c, x)->type;
    int r = cg_use(c, x);
    if (type == IR_V128) {
        x_op(&c->as, X_0F | 0x29, r - 16, lo);
        return;
    }
    x_storei(&c->as, X_W, hi, 0);
    if (type == IR_F32 || type == IR_F64) {
        if (type == IR_F32)
            x_storei(&c->as, X_W, lo, 0);
        x_op(&c->as, X_66 | X_0F | (type == IR_F32 ? 0x7e : 0xd6), r - 16, lo);
        return;
    }
    if (type != IR_I64)
        x_storei(&c->as, X_W, lo, 0);
    x_store(&c->as, type == IR_I64 ? X_W : 0, lo, r);
}

void cg_eval(struct cg *c, ir_ref i)
{
    const struct ir_insn *in = cg_insn(c, i);
    const ir_ref ops[3] = {in->a, in->b, in->c};
    BUG_ON(!ir_eval[in->op]);
    cg_before_call(c, false);
    for (unsigned k = 0; k < 3; k++)
        if (ops[k])
            eval_operand(c, k, ops[k]);
    x_lea(&c->as, X_W, RDI, rm_env(0));
    x_movi(&c->as, RSI, IR_EVAL_TYPES(in->type, in->a ? cg_insn(c, in->a)->type : 0u));
    x_movi(&c->as, RDX, in->aux);
    x_lea(&c->as, X_W, RCX, rm_env(VOFF(scratch[3])));
    x_lea(&c->as, X_W, R8, rm_env(VOFF(scratch)));
    cg_c_call(c, (const void *)(uintptr_t)ir_eval[in->op]);
    cg_after_call(c);
    c->locked = 0;
    if (!c->v[i].last)
        return;
    struct rm result = rm_env(VOFF(scratch[3]));
    int d = cg_def(c, i);
    if (in->type == IR_V128)
        x_op(&c->as, X_0F | 0x28, d - 16, result);
    else if (IS_XMM(d))
        x_op(&c->as, X_F3 | X_0F | 0x7e, d - 16, result);
    else
        x_mov(&c->as, X_W, d, result);
}
