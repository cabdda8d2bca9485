// Rules for what leaves a region: exits, guest calls and returns, helper calls; and the code after
// the region's end that side exits and unlinked jumps lead to. A guest call is a host call whose
// landing compares the pc the guest returned to; a guest return is a host return with that pc in
// rax.
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

void cg_store_slots(struct cg *c, uint32_t snap)
{
    const struct ir_snap *s = &c->r->snaps.data[snap];
    uint32_t locked = c->locked;
    for (unsigned pass = 0; pass < 2; pass++) // flags first: EFLAGS may still hold them
        for (uint32_t k = 0; k < s->n; k++) {
            const struct ir_snap_entry *e = &c->r->snap_entries.data[s->first + k];
            if ((c->in[e->val].type == IR_FLAGS) == (pass == 0))
                store_slot(c, e->slot, e->val);
            c->locked = locked;
        }
}

// ---- pcs ----

// A pc of the region. EFLAGS may go.
static void emit_pc(struct cg *c, int reg, uint64_t pc)
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
    emit_pc(c, t, pc);
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
static void emit_link(struct cg *c, unsigned opcode, struct link *l)
{
    struct stub miss = {.kind = STUB_GUARD, .link = l, .pc = l->pc};
    bool guard = needs_guard(c, l->pc);
    if (guard && c->movable) {
        bool near = (int64_t)l->pc == (int32_t)l->pc;
        l->slot = near ? jit_link_slot(c->j) : 0;
        if (!l->slot) { // like a computed one
            emit_pc(c, RAX, l->pc);
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

static void emit_poll(struct cg *c, bool pc_in_rax, uint64_t pc)
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
static void leave_for_mode(struct cg *c) // rax: the pc
{
    x_store(&c->as, X_W, rm_env(cg_slot_off(c, c->r->guest->pc)), RAX);
    x_movi(&c->as, RAX, LEAVE_AGAIN);
    x_jmp_to(&c->as, c->j->thunk.leave);
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
    cg_store_slots(c, (uint32_t)in->imm);
    if (in->aux & EXIT_MODE) {
        emit_pc(c, RAX, pc);
        leave_for_mode(c);
        return;
    }
    if (in->aux & EXIT_POLL)
        emit_poll(c, false, pc);
    emit_link(c, 0xe9, new_link(c, pc));
}

RULE(phi)
{
    cg_def_copy(c, i, cg_insn(c, i)->a);
}

enum { SPARE_GPRS = 4, SPARE_XMMS = 4 }; // left free for one round's own values

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

// What the loop only reads, into registers as far as they go.
RULE(loop)
{
    cg_release_idle(c);
    bring_phis_back(c, i);
    for (ir_ref x = 1; x < i; x++) {
        const struct ir_insn *in = cg_insn(c, x);
        if (in->op != IR_get || !c->v[x].uses || c->v[x].last <= i || c->v[x].reg != NO_REG)
            continue;
        uint32_t regs = cg_type_xmm(in->type) ? ALL_XMM : c->gprs, idle = 0;
        for (int r = 0; r < 32; r++)
            idle += (regs >> r & 1) && !c->owner[r];
        if (idle > (unsigned)(cg_type_xmm(in->type) ? SPARE_XMMS : SPARE_GPRS))
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
        for (uint32_t k = 0; k < s->n; k++) {
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

static void target_to_rax(struct cg *c, const struct ir_insn *in)
{
    cg_store_slots(c, (uint32_t)in->imm);
    for (unsigned k = 0; k < 2; k++) { // storing may have moved them
        int r = cg_val(c, k ? in->b : in->a)->reg;
        c->locked |= r == NO_REG ? 0 : BIT(r);
    }
    cg_release_idle(c);
    cg_take(c, RAX);
    cg_move(c, RAX, in->a);
}

RULE(indirect)
{
    const struct ir_insn *in = cg_insn(c, i);
    target_to_rax(c, in);
    if (in->aux & EXIT_MODE) {
        leave_for_mode(c);
        return;
    }
    emit_poll(c, true, 0);
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
    emit_link(c, 0xe9, new_link(c, pc));
}

static void push_return_pc(struct cg *c, ir_ref pc)
{
    if (c->movable)
        x_op(&c->as, 0xff, 6, cg_use_rm(c, pc));
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
    push_return_pc(c, in->a);
    as_u8(&c->as, 0xe8);
    as_u32(&c->as, 0);
    uint8_t *over = c->as.p - 4;
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
        cg_store_slots(c, (uint32_t)in->imm);
        if (in->aux & EXIT_POLL)
            emit_poll(c, false, pc);
        push_return_pc(c, in->b);
        emit_link(c, 0xe8, new_link(c, pc));
    } else {
        target_to_rax(c, in);
        emit_poll(c, true, 0);
        push_return_pc(c, in->b);
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
    target_to_rax(c, cg_insn(c, i));
    if (c->j->c.no_quiet_returns)
        emit_poll(c, true, 0);
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

// ---- stubs ----

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

// Recompute flags from their operands and store them; every register but theirs is free.
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

// A register that the flags' operands are not in.
static int stub_scratch(const struct loc_flags *f)
{
    int scratch = RAX;
    for (unsigned k = 0; f && k < 2; k++)
        if (f->kind[k] == LOC_GPR && f->v[k] == (uint32_t)scratch)
            scratch = f->kind[!k] == LOC_GPR && f->v[!k] == RCX ? RDX : RCX;
    return scratch;
}

static void stub_exit(struct cg *c, const struct stub *s)
{
    const struct loc *l = c->locs.data + s->first_loc, *end = l + s->n_locs;
    const struct loc_flags *flags = NULL;
    unsigned slot = 0;
    for (const struct loc *k = l; k < end; k++) {
        if (k->kind == LOC_GPR || k->kind == LOC_XMM) {
            stub_store(c, k, NO_REG);
        } else if (k->kind == LOC_FLAGS) {
            flags = &c->sites.flags.data[k->v];
            slot = k->slot;
        }
    }
    int scratch = stub_scratch(flags);
    for (const struct loc *k = l; k < end; k++)
        if (k->kind != LOC_GPR && k->kind != LOC_XMM && k->kind != LOC_FLAGS)
            stub_store(c, k, scratch);
    if (flags)
        stub_flags(c, slot, flags, s->flags_live);
    if (!s->link) {
        emit_pc(c, RAX, s->pc);
        leave_for_mode(c);
        return;
    }
    if (s->poll)
        emit_poll(c, false, s->pc);
    emit_link(c, 0xe9, s->link);
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
        emit_pc(c, RAX, s->pc);
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
            emit_pc(c, RAX, s->pc);
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
