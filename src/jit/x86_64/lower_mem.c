// Guest memory. In user mode an access is one instruction off the base register; a fault is found
// through the side table by the address of that instruction. In system mode the address is looked
// up inline in the vCPU's TLB: the tag compared is the page of the access's last byte plus, for
// checked alignment, the low bits that must be zero, so that one comparison answers page, page
// crossing, alignment, permission and context. Everything else goes to jit_slow_access through a
// stub that costs nothing until it is taken.
#include "jit/x86_64/cg.h"

static unsigned align_bits(unsigned mo)
{
    return (mo & MO_ALIGN) >> MO_ALIGN_SHIFT;
}

static bool always_slow(const struct cg *c, const struct ir_insn *in)
{
    unsigned size = in->aux & MO_SIZE;
    // With AVX, one aligned vector move is atomic.
    return in->aux & MO_BE || (size == MO_128 && in->aux & MO_ATOMIC && !c->f.avx) ||
           (c->j->c.no_inline_tlb && !c->j->c.user_mode);
}

bool cg_address_folds(const struct cg *c, const struct ir_insn *in)
{
    const struct ir_insn *sum = cg_insn(c, in->a);
    uint64_t k;
    return c->j->c.user_mode && !c->j->c.no_displacements && sum->op == IR_add &&
           cg_is_const(c, sum->b, &k) && (int64_t)k == (int32_t)k && !align_bits(in->aux) &&
           !always_slow(c, in);
}

// push info; call thunk, with its line in the side table.
static void emit_slow_call(struct cg *c, uint32_t info, uint64_t pc, struct loc *locs, unsigned n)
{
    x_pushi(&c->as, info);
    x_call_c(&c->as, c->j->thunk.slow);
    sites_add(&c->sites, (uint32_t)(c->as.p - c->start), pc, locs, n);
}

void cg_slow_stub(struct cg *c, const struct stub *s)
{
    emit_slow_call(c, s->info, s->pc, c->locs.data + s->first_loc, s->n_locs);
    x_jmp_to(&c->as, s->back);
}

static void slow_here(struct cg *c, const struct ir_insn *in, uint32_t info)
{
    uint32_t first, n;
    cg_record(c, (uint32_t)in->imm, &first, &n);
    emit_slow_call(c, info, c->r->snaps.data[in->imm].pc, c->locs.data + first, n);
    c->locs.len = first;
}

// The access itself.
static void emit_load(struct cg *c, const struct ir_insn *in, int d, struct rm m)
{
    unsigned size = in->aux & MO_SIZE, w = in->type == IR_I64 ? X_W : 0;
    switch (in->type) {
    case IR_V128:
        x_op(&c->as, X_0F | 0x10, d - 16, m); // movups
        return;
    case IR_F64:
        x_op(&c->as, X_F3 | X_0F | 0x7e, d - 16, m);
        return;
    case IR_F32:
        x_op(&c->as, X_66 | X_0F | 0x6e, d - 16, m);
        return;
    default:
        break;
    }
    static const unsigned sign[] = {X_0F | 0xbe, X_0F | 0xbf, 0x63, 0x8b};
    static const unsigned zero[] = {X_0F | 0xb6, X_0F | 0xb7, 0x8b, X_W | 0x8b};
    if (in->aux & MO_SIGN && !(size == MO_32 && !w))
        x_op(&c->as, w | sign[size], d, m);
    else
        x_op(&c->as, zero[size], d, m);
}

static void emit_store(struct cg *c, const struct ir_insn *in, int val, struct rm m)
{
    static const unsigned op[] = {X_BYTE | 0x88, X_66 | 0x89, 0x89, X_W | 0x89};
    static const unsigned xchg[] = {X_BYTE | 0x86, X_66 | 0x87, 0x87, X_W | 0x87};
    bool seq = (in->aux & MO_SEQ) == MO_SEQ;
    switch (cg_insn(c, in->b)->type) {
    case IR_V128:
        x_op(&c->as, X_0F | 0x11, val - 16, m);
        return;
    case IR_F64:
        x_op(&c->as, X_66 | X_0F | 0xd6, val - 16, m);
        return;
    case IR_F32:
        x_op(&c->as, X_66 | X_0F | 0x7e, val - 16, m);
        return;
    default:
        x_op(&c->as, (seq ? xchg : op)[in->aux & MO_SIZE], val, m);
    }
}

// t = where the entry for the page of address a lies, from R_ENV and the table on.
static void tlb_index(struct cg *c, int t, int a)
{
    if (c->f.bmi2) {
        v_op(&c->as, X_W | X_F2 | X_3A | 0xf0, t, 0, rm_reg(a)); // rorx
        as_u8(&c->as, PAGE_BITS - 5);
    } else {
        x_mov_rr(&c->as, X_W, t, a);
        x_shi(&c->as, X_W, SH_SHR, t, PAGE_BITS - 5);
    }
    x_alui(&c->as, 0, ALU_AND, rm_reg(t), (TLB_SIZE - 1) << 5);
}

// Compare entry t with the tag of address a + last; align as in tlb_check. Destroys u.
static void tlb_compare(struct cg *c, unsigned mmu, bool write, unsigned align, int t, int u, int a,
                        int32_t last)
{
    if (last)
        x_lea(&c->as, X_W, u, rm_mem(a, last));
    else
        x_mov_rr(&c->as, X_W, u, a);
    x_alui(&c->as, X_W, ALU_AND, rm_reg(u), (int32_t)(-(int32_t)PAGE_SIZE | (int32_t)(align - 1)));
    if (mmu == MMU_MAIN)
        x_alu_rr(&c->as, X_W, ALU_OR, u, R_KEY);
    else
        x_alu(&c->as, X_W, ALU_OR, u, rm_env(VOFF(key[MMU_USER])));
    size_t tag = write ? offsetof(struct tlb_entry, wtag) : offsetof(struct tlb_entry, rtag);
    x_alu(&c->as, X_W, ALU_CMP, u, rm_env_at(VOFF(tlb) + (int32_t)tag, t, 0));
}

static struct rm tlb_addend(int t)
{
    return rm_env_at(VOFF(tlb) + (int32_t)offsetof(struct tlb_entry, addend), t, 0);
}

static unsigned mmu_of(unsigned mo)
{
    return (mo & MO_MMU) >> MO_MMU_SHIFT;
}

// [address] checked and translated: the operand for the access; jumps to the stub otherwise.
static struct rm tlb_check(struct cg *c, const struct ir_insn *in, int a, bool write,
                           uint8_t **slow)
{
    unsigned size = MO_SIZE_BYTES(in->aux), align = 1u << align_bits(in->aux);
    int t = cg_tmp(c), u = cg_tmp(c);
    tlb_index(c, t, a);
    tlb_compare(c, mmu_of(in->aux), write, align, t, u, a,
                size > align ? (int32_t)(size - align) : 0);
    *slow = x_jcc(&c->as, CC_NE);
    x_mov(&c->as, X_W, t, tlb_addend(t));
    return rm_sib(t, a, 0, 0);
}

// ---- spans: one check for several accesses off one base ----

static bool span_pays(const struct cg *c, ir_ref span)
{
    return span && c->v[span].uses > 1 && !c->j->c.user_mode && !c->j->c.no_inline_tlb;
}

static bool has_span(const struct cg *c, const struct ir_insn *in)
{
    return span_pays(c, in->c) && !always_slow(c, in);
}

RULE(span)
{
    const struct ir_insn *in = cg_insn(c, i);
    int32_t lo = (int32_t)in->imm, hi = (int32_t)(in->imm >> 32);
    if (!span_pays(c, i))
        return;
    int a = cg_use(c, in->a), d = cg_def(c, i), t = cg_tmp(c), u = cg_tmp(c);
    if (lo) {
        x_lea(&c->as, X_W, t, rm_mem(a, lo));
        tlb_index(c, t, t);
    } else {
        tlb_index(c, t, a);
    }
    x_alu_rr(&c->as, 0, ALU_XOR, d, d);
    tlb_compare(c, mmu_of(in->aux), in->aux & MO_SPAN_STORE, 1, t, u, a, hi - 1);
    uint8_t *miss = x_jcc8(&c->as, CC_NE);
    x_mov(&c->as, X_W, d, tlb_addend(t));
    as_bind8(&c->as, miss);
}

// The span told nothing: its page is not in the vCPU's TLB, or it crosses into another one. The
// access is checked by itself, by fixed code for its registers: span = the address of its last
// byte, a = that of its first one. Where the TLB answers it comes back here with the span's
// register filled, and without the word pushed before; else the slow access comes back behind the
// access.
static const uint8_t *emit_span_check(struct cg *c, bool write, int span, int a)
{
    const uint8_t *start = as_here(&c->as);
    int u = a != RAX && span != RAX ? RAX : a != RCX && span != RCX ? RCX : RDX;
    x_push(&c->as, u);
    x_mov_rr(&c->as, X_W, u, a);
    x_alu_rr(&c->as, X_W, ALU_XOR, u, span);
    x_testi(&c->as, X_W, rm_reg(u), -(int32_t)PAGE_SIZE);
    uint8_t *crosses = x_jcc8(&c->as, CC_NE);
    tlb_index(c, u, span);
    tlb_compare(c, MMU_MAIN, write, 1, u, span, span, 0);
    uint8_t *miss = x_jcc8(&c->as, CC_NE);
    x_mov(&c->as, X_W, span, tlb_addend(u));
    x_pop(&c->as, u);
    x_ret_over(&c->as, 8);
    as_bind8(&c->as, crosses);
    as_bind8(&c->as, miss);
    x_pop(&c->as, u);
    x_alu_rr(&c->as, 0, ALU_XOR, span, span);
    x_jmp_to(&c->as, c->j->thunk.slow);
    return start;
}

void cg_emit_span_checks(struct cg *c)
{
    uint32_t regs = c->gprs;
    for (unsigned write = 0; write < 2; write++)
        for (int span = 0; span < 16; span++)
            for (int a = 0; a < 16; a++)
                if (a != span && regs >> a & regs >> span & 1)
                    c->span_check[write][span][a] = emit_span_check(c, write, span, a);
}

void cg_span_stub(struct cg *c, const struct stub *s)
{
    const struct ir_insn *in = cg_insn(c, s->access);
    int a = (int)(s->info >> 13 & 15), val = (int)(s->info >> 17 & 31), span = (int)s->regs;
    bool write = in->op == IR_store;
    if (mmu_of(in->aux) != MMU_MAIN) {
        cg_slow_stub(c, s);
        return;
    }
    x_lea(&c->as, X_W, span, rm_mem(a, (int32_t)MO_SIZE_BYTES(in->aux) - 1));
    x_pushi(&c->as, s->info);
    uint8_t *info = c->as.p - 4;
    x_call_c(&c->as, c->span_check[write][span][a]);
    uint8_t *access = c->as.p;
    sites_add(&c->sites, (uint32_t)(access - c->start), s->pc, c->locs.data + s->first_loc,
              s->n_locs);
    if (write)
        emit_store(c, in, val, rm_sib(span, a, 0, 0));
    else
        emit_load(c, in, val, rm_sib(span, a, 0, 0));
    uint32_t skip = (uint32_t)(c->as.p - access) << SLOW_SKIP_SHIFT | s->info;
    BUG_ON(skip >> SLOW_SKIP_SHIFT != (uint32_t)(c->as.p - access));
    memcpy(info, &skip, 4);
    x_alu_rr(&c->as, 0, ALU_XOR, span, span);
    x_jmp_to(&c->as, s->back);
}

// Alignment in user mode: faults go the slow way.
static uint8_t *user_align(struct cg *c, const struct ir_insn *in, int a)
{
    unsigned align = 1u << align_bits(in->aux);
    if (align == 1)
        return NULL;
    x_testi(&c->as, X_W, rm_reg(a), (int32_t)(align - 1));
    return x_jcc(&c->as, CC_NE);
}

static void access(struct cg *c, ir_ref i, int a, int val)
{
    const struct ir_insn *in = cg_insn(c, i);
    bool write = in->op == IR_store;
    unsigned type = write ? cg_insn(c, in->b)->type : in->type;
    uint32_t info = SLOW_INFO(in->aux, a, val, in->op, type);
    if (always_slow(c, in)) {
        slow_here(c, in, info);
        return;
    }
    struct stub s = {.kind = STUB_SLOW, .info = info, .pc = c->r->snaps.data[in->imm].pc};
    int32_t disp;
    cg_address(c, i, &disp);
    struct rm m = rm_sib(R_BASE, a, 0, disp);
    if (c->j->c.user_mode) {
        s.from = user_align(c, in, a);
        uint32_t first, n;
        cg_record(c, (uint32_t)in->imm, &first, &n);
        s.first_loc = first;
        s.n_locs = n;
        sites_add(&c->sites, (uint32_t)(c->as.p - c->start), s.pc, c->locs.data + first, n);
        if (!s.from)
            c->locs.len = first;
    } else if (has_span(c, in)) {
        int h = c->v[in->c].reg;
        s.kind = STUB_SPAN;
        s.regs = (uint32_t)h;
        s.access = i;
        x_test_rr(&c->as, X_W, h, h);
        s.from = x_jcc(&c->as, CC_E);
        m = rm_sib(h, a, 0, 0);
        cg_record(c, (uint32_t)in->imm, &s.first_loc, &s.n_locs);
    } else {
        m = tlb_check(c, in, a, write, &s.from);
        cg_record(c, (uint32_t)in->imm, &s.first_loc, &s.n_locs);
    }
    if (write)
        emit_store(c, in, val, m);
    else
        emit_load(c, in, val, m);
    s.back = as_here(&c->as);
    if (s.from)
        vec_push(&c->stubs, s);
}

static int use_address(struct cg *c, ir_ref i)
{
    const struct ir_insn *in = cg_insn(c, i);
    if (has_span(c, in))
        cg_use(c, in->c);
    int32_t disp;
    return cg_use(c, cg_address(c, i, &disp));
}

RULE(load)
{
    int a = use_address(c, i);
    access(c, i, a, cg_def(c, i));
}

RULE(store)
{
    const struct ir_insn *in = cg_insn(c, i);
    bool seq = (in->aux & MO_SEQ) == MO_SEQ, xmm = cg_type_xmm(cg_insn(c, in->b)->type);
    int a = use_address(c, i), val;
    if (seq && !xmm) { // xchg destroys its register
        val = cg_tmp(c);
        cg_move(c, val, in->b);
    } else {
        val = cg_use(c, in->b);
    }
    access(c, i, a, val);
    if (seq && xmm)
        lower_fence(c, i);
}

// The register the value is in.
static int to_scratch(struct cg *c, unsigned k, ir_ref x)
{
    struct rm m = rm_env(VOFF(scratch) + (int32_t)(k * sizeof(union ir_val)));
    int r = cg_use(c, x);
    if (IS_XMM(r))
        x_op(&c->as, X_0F | 0x29, r - 16, m);
    else
        x_store(&c->as, X_W, m, r);
    return r;
}

// ---- atomics ----
// Inline where the address cache answers, on the host's locked instructions; 16 bytes, the four
// minima and maxima, big-endian data and user mode go the slow way with operands in the scratch
// area. The operands are put there in any case: the slow stub finds them.

static const unsigned op_sized[] = {X_BYTE, X_66, 0, X_W};

static bool inline_atomic(const struct cg *c, const struct ir_insn *in, unsigned type)
{
    bool known = in->op == IR_ll || in->op == IR_sc || in->op == IR_cas || in->op == IR_swap ||
                 in->op == IR_amoadd || in->op == IR_amoand || in->op == IR_amoor ||
                 in->op == IR_amoxor;
    return known && type != IR_V128 && !c->j->c.user_mode && !(in->aux & MO_BE) &&
           !c->j->c.no_inline_tlb && !c->j->c.no_inline_atomics;
}

// A narrow value in its register as a load would have left it.
static void extend_loaded(struct cg *c, const struct ir_insn *in, int d)
{
    unsigned size = in->aux & MO_SIZE, w = in->type == IR_I64 ? X_W : 0;
    static const unsigned zero[] = {X_0F | 0xb6, X_0F | 0xb7, 0x8b};
    static const unsigned sign[] = {X_0F | 0xbe, X_0F | 0xbf, 0x63};
    if (size == MO_64)
        return;
    if (in->aux & MO_SIGN && !(size == MO_32 && !w))
        x_op(&c->as, (size == MO_8 ? X_BYTE : 0) | w | sign[size], d, rm_reg(d));
    else
        x_op(&c->as, (size == MO_8 ? X_BYTE : 0) | zero[size], d, rm_reg(d));
}

static void emit_ll(struct cg *c, const struct ir_insn *in, int a, int d, struct rm m)
{
    emit_load(c, in, d, m);
    x_store(&c->as, X_W, rm_env(offsetof(struct env, monitor.val)), d);
    x_store(&c->as, X_W, rm_env(offsetof(struct env, monitor.addr)), a);
    x_storei(&c->as, 0, rm_env(offsetof(struct env, monitor.size)),
             (int32_t)MO_SIZE_BYTES(in->aux));
}

// RAX is taken: it holds what is expected.
static void emit_sc(struct cg *c, const struct ir_insn *in, int a, int b, int d, struct rm m)
{
    x_alu_rr(&c->as, 0, ALU_XOR, d, d);
    x_alu(&c->as, X_W, ALU_CMP, a, rm_env(offsetof(struct env, monitor.addr)));
    uint8_t *lost = x_jcc8(&c->as, CC_NE);
    x_alui(&c->as, 0, ALU_CMP, rm_env(offsetof(struct env, monitor.size)),
           (int32_t)MO_SIZE_BYTES(in->aux));
    uint8_t *other = x_jcc8(&c->as, CC_NE);
    x_mov(&c->as, X_W, RAX, rm_env(offsetof(struct env, monitor.val)));
    x_op(&c->as, X_LOCK | op_sized[in->aux & MO_SIZE] | X_0F | ((in->aux & MO_SIZE) ? 0xb1 : 0xb0),
         b, m);
    x_setcc(&c->as, CC_E, d);
    as_bind8(&c->as, lost);
    as_bind8(&c->as, other);
    x_storei(&c->as, X_W, rm_env(offsetof(struct env, monitor.addr)), -1);
}

static void emit_rmw(struct cg *c, const struct ir_insn *in, int b, int d, int t, struct rm m)
{
    unsigned size = in->aux & MO_SIZE, sized = op_sized[size];
    if (in->op == IR_amoadd || in->op == IR_swap) {
        x_mov_rr(&c->as, X_W, d, b);
        if (in->op == IR_swap)
            x_op(&c->as, sized | (size ? 0x87 : 0x86), d, m);
        else
            x_op(&c->as, X_LOCK | sized | X_0F | (size ? 0xc1 : 0xc0), d, m);
        return;
    }
    enum x86_alu alu = in->op == IR_amoand ? ALU_AND : in->op == IR_amoor ? ALU_OR : ALU_XOR;
    x_op(&c->as, sized | (size ? 0x8b : 0x8a), RAX, m);
    const uint8_t *again = as_here(&c->as);
    x_mov_rr(&c->as, X_W, t, RAX);
    x_alu_rr(&c->as, X_W, alu, t, b);
    x_op(&c->as, X_LOCK | sized | X_0F | (size ? 0xb1 : 0xb0), t, m);
    x_jcc_to(&c->as, CC_NE, again);
    x_mov_rr(&c->as, X_W, d, RAX);
}

RULE(atomic)
{
    const struct ir_insn *in = cg_insn(c, i);
    unsigned type = in->op == IR_sc ? cg_insn(c, in->b)->type : in->type;
    bool quick = inline_atomic(c, in, type);
    bool needs_rax = quick && in->op != IR_ll && in->op != IR_amoadd && in->op != IR_swap;
    if (needs_rax)
        cg_take(c, RAX);
    int b = in->b ? to_scratch(c, 0, in->b) : NO_REG;
    int fresh = in->c ? to_scratch(c, 1, in->c) : NO_REG;
    int a = cg_use(c, in->a);
    int d = cg_def(c, i);
    uint32_t info = SLOW_INFO(in->aux, a, d, in->op, type);
    if (!quick) {
        slow_here(c, in, info);
        return;
    }
    struct stub s = {.kind = STUB_SLOW, .info = info, .pc = c->r->snaps.data[in->imm].pc};
    int t = needs_rax && in->op != IR_sc && in->op != IR_cas ? cg_tmp(c) : NO_REG;
    struct rm m = tlb_check(c, in, a, in->op != IR_ll, &s.from);
    cg_record(c, (uint32_t)in->imm, &s.first_loc, &s.n_locs);
    if (in->op == IR_ll) {
        emit_ll(c, in, a, d, m);
    } else if (in->op == IR_sc) {
        emit_sc(c, in, a, b, d, m);
    } else if (in->op == IR_cas) {
        unsigned size = in->aux & MO_SIZE;
        x_mov_rr(&c->as, X_W, RAX, b);
        x_op(&c->as, X_LOCK | op_sized[size] | X_0F | (size ? 0xb1 : 0xb0), fresh, m);
        x_mov_rr(&c->as, X_W, d, RAX);
        extend_loaded(c, in, d);
    } else {
        emit_rmw(c, in, b, d, t, m);
        extend_loaded(c, in, d);
    }
    s.back = as_here(&c->as);
    vec_push(&c->stubs, s);
}

RULE(fence)
{
    if ((cg_insn(c, i)->aux & MO_SEQ) == MO_SEQ) {
        x_op(&c->as, X_LOCK | 0x83, 1, rm_mem(RSP, 0)); // lock or dword [rsp], 0
        as_u8(&c->as, 0);
    }
}
