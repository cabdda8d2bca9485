// Register allocation for straight-line SSA. A backward pass finds each value's last use and, for
// every operand, the use after it; then rules ask for registers while the region is emitted, and
// when none is free the value whose next use is farthest gives way: dropped when it has a home
// (a constant, its slot, a spill slot), else stored to a spill slot. Values that are only kept for
// snapshots have no next use and go first.
#include "jit/x86_64/cg.h"

#include <stdlib.h>

// ---- analysis ----

const uint8_t cg_lazy_class[IR_OPS] = {
    [IR_subf] = LAZY_FLAGS, [IR_addf] = LAZY_FLAGS, [IR_testf] = LAZY_FLAGS, [IR_cmp] = LAZY_COND,
    [IR_fcond] = LAZY_COND, [IR_i2b] = LAZY_COND,   [IR_bnot] = LAZY_COND,
};

static void use(struct cg *c, ir_ref x, uint32_t i, uint32_t *nu);

static void use_operands(struct cg *c, ir_ref x, uint32_t i)
{
    const struct ir_insn *in = &c->in[x];
    if (in->a)
        use(c, in->a, i, NULL);
    if (in->b)
        use(c, in->b, i, NULL);
}

// The last use of value x, that at i being the last one to be found: what is made before the loop
// and used in it is used in every round.
static uint32_t last_use(const struct cg *c, ir_ref x, uint32_t i)
{
    return x < c->loop.at && i > c->loop.at && c->in[x].op != IR_phi ? c->loop.end : i;
}

static void use(struct cg *c, ir_ref x, uint32_t i, uint32_t *nu)
{
    x = c->root[x];
    struct val *v = &c->v[x];
    v->flags |= V_USED;
    v->uses++;
    if (!v->last) {
        v->last = last_use(c, x, i);
        v->next = v->last == i ? 0 : v->last;
    }
    if (cg_lazy(c, x)) {
        use_operands(c, x, i);
        return;
    }
    if (nu)
        *nu = v->next;
    v->next = i;
}

// Flags are recomputed where the snapshot's other values may already be in their slots.
static void keep_off_slot(struct cg *c, ir_ref x)
{
    x = c->root[x];
    if (c->in[x].op == IR_get)
        c->v[x].flags |= V_NOSLOT;
}

// The entries a snapshot shares with `later`, the one looked at before, have been dealt with.
static void use_snap(struct cg *c, const struct ir_snap *s, const struct ir_snap *later, uint32_t i)
{
    const struct ir_snap_entry *e = c->r->snap_entries.data + s->first,
                               *l = c->r->snap_entries.data + later->first;
    if (e == l && s->n <= later->n)
        return;
    for (uint32_t k = 0; k < s->n; k++, e++) {
        if (k < later->n && !memcmp(e, &l[k], sizeof *e))
            continue;
        ir_ref x = c->root[e->val];
        struct val *v = &c->v[x];
        if (c->in[x].op == IR_get && c->in[x].aux != e->slot)
            v->flags |= V_NOSLOT;
        if (c->in[x].type == IR_BOOL)
            v->flags |= V_FORCED;
        v->flags |= V_USED;
        if (cg_lazy(c, x)) {
            keep_off_slot(c, c->in[x].a);
            keep_off_slot(c, c->in[x].b);
        }
        if (v->last)
            continue;
        v->last = last_use(c, x, i);
        if (cg_lazy(c, x))
            use_operands(c, x, i);
    }
}

// May the operation's operands include lazy ones, and are those then used as conditions?
static bool takes_lazy(unsigned op)
{
    switch (op) {
    case IR_fcond:
    case IR_bnot:
    case IR_adc:
    case IR_adcf:
    case IR_exit_if:
    case IR_select:
    case IR_b2i:
    case IR_band:
    case IR_bor:
        return true;
    default:
        return false;
    }
}

static void force(struct cg *c, ir_ref x)
{
    if (x && (c->in[x].type == IR_BOOL || c->in[x].type == IR_FLAGS))
        c->v[x].flags |= V_FORCED;
}

static void analyse_call(struct cg *c, const struct ir_insn *in, uint32_t i)
{
    for (uint32_t k = 0; k < in->b; k++) {
        ir_ref x = c->r->args.data[in->a + k];
        force(c, x);
        use(c, x, i, &c->args_nu[in->a + k]);
    }
}

// May be evaluated by a call: only then is being prepared for one worth something.
static bool is_call(const struct cg *c, const struct ir_insn *in)
{
    return in->op == IR_call || !cg_has_rule(c, in->op);
}

// What the next round begins with.
static void analyse_round(struct cg *c, uint32_t i)
{
    for (ir_ref p = c->loop.at - 1; c->in[p].op == IR_phi; p--) {
        if (!c->in[p].imm)
            continue;
        force(c, (ir_ref)c->in[p].imm);
        use(c, (ir_ref)c->in[p].imm, i, NULL);
    }
}

// Does the instruction that makes this 32-bit value clear the upper half of its register?
static bool extends(const struct cg *c, ir_ref i)
{
    const struct ir_insn *in = &c->in[i];
    uint64_t k;
    switch (in->op) {
    case IR_add:
    case IR_sub:
    case IR_mul:
    case IR_udiv:
    case IR_sdiv:
    case IR_and:
    case IR_or:
    case IR_xor:
    case IR_andn:
    case IR_not:
    case IR_neg:
    case IR_clz:
    case IR_ctz:
    case IR_bswap:
    case IR_bfi:
    case IR_select:
    case IR_b2i:
    case IR_crc32:
    case IR_adc:
    case IR_load:
        return true;
    case IR_shl:
    case IR_shr:
    case IR_sar:
    case IR_rotr: // by nothing is no instruction
        return cg_is_const(c, in->b, &k) && k & 31;
    default:
        return false;
    }
}

static const uint8_t links_of[IR_OPS] = {
    [IR_exit_if] = 1, [IR_goto] = 1, [IR_again] = 1, [IR_into] = 1, [IR_callto] = 2,
};

// Forwards: which values are no more than names, what each begins with, how many links there are.
static void begin_values(struct cg *c)
{
    uint32_t n = (uint32_t)c->r->insns.len, eager = c->eager, n_links = 0;
    const struct ir_insn *in = c->in;
    ir_ref *root = c->root;
    struct val *v = c->v;
    bool aliases = !c->j->c.no_aliases;
    root[0] = 0;
    v[0] = (struct val){.reg = NO_REG};
    for (uint32_t i = 1; i < n; i++) {
        unsigned op = in[i].op;
        v[i] = (struct val){.reg = NO_REG, .flags = eager >> in[i].type & 1 ? V_FORCED : 0};
        root[i] = i;
        n_links += links_of[op];
        if (op != IR_trunc && op != IR_zext)
            continue;
        if (aliases && (op == IR_trunc ||
                        (in[i].aux == 32 && in[in[i].a].type == IR_I32 && extends(c, in[i].a))))
            root[i] = root[in[i].a];
    }
    c->n_links = n_links;
}

void cg_analyse(struct cg *c)
{
    uint32_t n = (uint32_t)c->r->insns.len;
    const struct ir_snap *later = &c->r->snaps.data[0]; // empty
    begin_values(c);
    c->n_calls = 0;
    for (uint32_t i = n - 1; i > 0; i--) {
        const struct ir_insn *in = &c->in[i];
        struct val *v = &c->v[i];
        unsigned fx = ir_op_info[in->op].effects;
        bool pure_call = in->op == IR_call && c->r->helpers.data[in->aux]->flags == HELPER_PURE;
        bool idle = pure_call || !(fx & (FX_WRITE | FX_LEAVE | FX_END | FX_FP));
        if (!(v->flags & V_USED) && idle && !(c->j->c.no_dead_code && in->op != IR_phi))
            continue;
        v->flags |= V_USED;
        if (cg_lazy(c, i))
            continue;
        if (is_call(c, in)) {
            if (c->n_calls == c->calls_cap) {
                c->calls_cap = c->calls_cap ? 2 * c->calls_cap : 64;
                c->calls = xrealloc(c->calls, c->calls_cap * sizeof *c->calls);
            }
            c->calls[c->n_calls++] = i;
        }
        if (in->op == IR_again)
            analyse_round(c, i);
        if (fx & FX_LEAVE && in->imm) {
            const struct ir_snap *snap = &c->r->snaps.data[in->imm];
            use_snap(c, snap, later, i);
            later = snap;
        }
        if (in->op == IR_call) {
            analyse_call(c, in, i);
            continue;
        }
        int32_t disp;
        bool plain = in->op == IR_load || in->op == IR_store;
        if (plain && cg_address_folds(c, in))
            v->flags |= V_FOLDED;
        const ir_ref ops[3] = {plain ? cg_address(c, i, &disp) : in->a, in->b, in->c};
        for (unsigned k = 0; k < 3; k++)
            if (ops[k] && !cg_is_target(c, in, k)) {
                bool cond = takes_lazy(in->op) && !(in->op == IR_select && k > 0);
                if (!cond)
                    force(c, ops[k]);
                use(c, ops[k], i, &c->nu[i][k]);
            }
    }
}

// ---- homes ----

static bool has_home(const struct cg *c, ir_ref i)
{
    const struct ir_insn *in = &c->in[i];
    return c->v[i].spill || in->op == IR_const || in->op == IR_pcbase ||
           (in->op == IR_get && !(c->v[i].flags & V_NOSLOT));
}

static struct rm spill_rm(unsigned slot)
{
    return rm_env(VOFF(spill) + (int32_t)(slot * sizeof(union ir_val)));
}

static bool in_memory(const struct cg *c, ir_ref i, struct rm *m)
{
    if (c->v[i].spill)
        *m = spill_rm(c->v[i].spill - 1u);
    else if (c->in[i].op == IR_get && !(c->v[i].flags & V_NOSLOT))
        *m = rm_env(cg_slot_off(c, c->in[i].aux));
    else if (c->in[i].op == IR_pcbase)
        *m = rm_env(VOFF(page_va));
    else
        return false;
    return true;
}

static unsigned new_spill(struct cg *c, ir_ref i)
{
    for (unsigned k = 0; k < c->spills.len; k++)
        if (c->spills.data[k].until < c->pos) {
            c->spills.data[k].until = c->v[i].last;
            return c->spills.data[k].slot;
        }
    unsigned slot = (unsigned)c->spills.len;
    if (slot == JIT_SPILLS) {
        c->failed = true;
        return 0;
    }
    c->spills.len++;
    vec_reserve(&c->spills, c->spills.len);
    c->spills.data[slot].until = c->v[i].last;
    c->spills.data[slot].slot = (uint16_t)slot;
    return slot;
}

static void store_reg(struct cg *c, unsigned type, struct rm m, int reg)
{
    switch (type) {
    case IR_V128:
        x_op(&c->as, X_0F | 0x29, reg - 16, m); // movaps
        break;
    case IR_F64:
        x_op(&c->as, X_66 | X_0F | 0xd6, reg - 16, m); // movq
        break;
    case IR_F32:
        x_op(&c->as, X_66 | X_0F | 0x7e, reg - 16, m); // movd
        break;
    case IR_I64:
    case IR_I32: // its extension may be asked for
        x_store(&c->as, X_W, m, reg);
        break;
    default:
        x_store(&c->as, 0, m, reg);
    }
}

static void load_mem(struct cg *c, unsigned type, int reg, struct rm m)
{
    switch (type) {
    case IR_V128:
        x_op(&c->as, X_0F | 0x28, reg - 16, m);
        break;
    case IR_F64:
        x_op(&c->as, X_F3 | X_0F | 0x7e, reg - 16, m);
        break;
    case IR_F32:
        x_op(&c->as, X_66 | X_0F | 0x6e, reg - 16, m);
        break;
    case IR_I64:
        x_mov(&c->as, X_W, reg, m);
        break;
    default:
        x_mov(&c->as, 0, reg, m);
    }
}

// What follows is not done on the other side of a branch the rule has made, for which everything
// must stay where it is.
static void check_straight(const struct cg *c)
{
    BUG_ON(c->as.open);
}

static void spill(struct cg *c, ir_ref i)
{
    if (has_home(c, i))
        return;
    check_straight(c);
    unsigned s = new_spill(c, i);
    c->v[i].spill = (uint16_t)(s + 1);
    store_reg(c, c->in[i].type, spill_rm(s), c->v[i].reg);
}

// ---- registers ----

static bool reg_idle(const struct cg *c, int r)
{
    ir_ref o = c->owner[r];
    return !o || c->v[o].last < c->pos;
}

static void release(struct cg *c, int r)
{
    if (c->owner[r])
        c->v[c->owner[r]].reg = NO_REG;
    c->owner[r] = IR_NONE;
    c->owned &= ~BIT(r);
}

void cg_evict(struct cg *c, int r)
{
    if (!reg_idle(c, r))
        spill(c, c->owner[r]);
    release(c, r);
}

void cg_release_dead(struct cg *c, uint32_t mask)
{
    for (uint32_t m = mask & c->owned; m; m &= m - 1) {
        int r = __builtin_ctz(m);
        if (c->v[c->owner[r]].last < c->pos)
            release(c, r);
    }
}

// Those of `mask` whose value, if any, is not needed any more.
static uint32_t idle_of(const struct cg *c, uint32_t mask)
{
    uint32_t idle = mask & ~c->owned;
    for (uint32_t m = mask & c->owned; m; m &= m - 1)
        if (c->v[c->owner[__builtin_ctz(m)]].last < c->pos)
            idle |= m & -m;
    return idle;
}

// The one whose value is not wanted for longest; among equals one that needs no store.
static int farthest(const struct cg *c, uint32_t mask)
{
    int best = -1;
    uint32_t far = 0;
    for (uint32_t m = mask; m; m &= m - 1) {
        int r = __builtin_ctz(m);
        const struct val *v = &c->v[c->owner[r]];
        uint32_t next = (v->next > c->pos ? v->next : ~0u >> 2) * 2;
        if (best >= 0 && next + 1 <= far)
            continue;
        next += has_home(c, c->owner[r]);
        if (best < 0 || next > far) {
            best = r;
            far = next;
        }
    }
    return best;
}

static int pick(struct cg *c, uint32_t mask, bool across_call)
{
    check_straight(c);
    mask &= ~c->locked;
    uint32_t want = across_call ? CALLEE_SAVED : ~(uint32_t)CALLEE_SAVED;
    uint32_t idle = mask & ~c->owned & want;
    if (!idle)
        idle = idle_of(c, mask);
    if (idle) {
        int r = __builtin_ctz(idle & want ? idle & want : idle);
        release(c, r);
        return r;
    }
    BUG_ON(!mask);
    int best = farthest(c, mask);
    cg_evict(c, best);
    return best;
}

static bool lives_across_call(const struct cg *c, ir_ref i)
{
    return c->next_call && c->v[i].last > c->next_call;
}

static int new_reg(struct cg *c, ir_ref i)
{
    int r = pick(c, cg_type_xmm(c->in[i].type) ? ALL_XMM : c->gprs, lives_across_call(c, i));
    c->locked |= BIT(r);
    return r;
}

static void load_const(struct cg *c, ir_ref i, int r)
{
    const struct ir_insn *in = &c->in[i];
    if (!IS_XMM(r)) {
        x_movi(&c->as, r, in->type == IR_I64 ? in->imm : (uint32_t)in->imm);
        return;
    }
    if (!in->imm) {
        x_op(&c->as, X_0F | 0x57, r - 16, rm_reg(r - 16)); // xorps
        return;
    }
    int t = cg_tmp(c);
    x_movi(&c->as, t, in->type == IR_F32 ? (uint32_t)in->imm : in->imm);
    x_op(&c->as, X_66 | X_W | X_0F | 0x6e, r - 16, rm_reg(t)); // movq
    if (in->type == IR_V128)
        x_op(&c->as, X_66 | X_0F | 0x6c, r - 16, rm_reg(r - 16)); // punpcklqdq
}

// Load value i into register r, which nobody owns. Moves only: EFLAGS are kept.
static void load_value(struct cg *c, ir_ref i, int r)
{
    struct rm m;
    int from = c->v[i].reg;
    if (from == r)
        return;
    if (from != NO_REG) {
        if (IS_XMM(r))
            x_op(&c->as, X_0F | 0x28, r - 16, rm_reg(from - 16));
        else
            x_mov_rr(&c->as, cg_w(c, i), r, from);
    } else if (in_memory(c, i, &m)) {
        load_mem(c, c->in[i].type, r, m);
    } else {
        BUG_ON(c->in[i].op != IR_const);
        load_const(c, i, r);
    }
}

static void own(struct cg *c, ir_ref i, int r)
{
    c->owner[r] = i;
    c->owned |= BIT(r);
    c->v[i].reg = (int8_t)r;
}

void cg_release_idle(struct cg *c)
{
    for (int r = 0; r < 32; r++)
        if (c->owner[r] && c->v[c->owner[r]].last <= c->pos && !(c->locked >> r & 1))
            release(c, r);
}

int cg_use(struct cg *c, ir_ref i)
{
    i = c->root[i];
    struct val *v = &c->v[i];
    if (v->reg != NO_REG) {
        c->locked |= BIT(v->reg);
        return v->reg;
    }
    int r;
    if (cg_lazy(c, i)) {
        if (c->in[i].type == IR_FLAGS) {
            cg_take(c, r = RAX);
        } else {
            r = cg_tmp(c);
        }
        cg_materialise(c, i, r);
        return r;
    }
    r = new_reg(c, i);
    load_value(c, i, r);
    own(c, i, r);
    return r;
}

struct rm cg_use_rm(struct cg *c, ir_ref i)
{
    struct rm m;
    i = c->root[i];
    const struct val *v = &c->v[i];
    bool again = v->next > c->pos; // a later use wants it in a register anyway
    if (v->reg == NO_REG && !again && !cg_lazy(c, i) && in_memory(c, i, &m))
        return m;
    return rm_reg(cg_use(c, i) & 15);
}

int cg_def(struct cg *c, ir_ref i)
{
    int r = new_reg(c, i);
    own(c, i, r);
    return r;
}

int cg_def_copy(struct cg *c, ir_ref i, ir_ref a)
{
    a = c->root[a];
    int r = c->v[a].reg;
    if (r != NO_REG && cg_dies(c, a) && cg_type_xmm(c->in[i].type) == IS_XMM(r)) {
        release(c, r);
        c->locked |= BIT(r);
        own(c, i, r);
        return r;
    }
    r = new_reg(c, i);
    load_value(c, a, r);
    own(c, i, r);
    return r;
}

void cg_settle(struct cg *c, ir_ref i, int reg)
{
    c->v[i].flags |= V_NOSLOT;
    if (c->v[i].last)
        own(c, i, reg);
}

void cg_def_in(struct cg *c, ir_ref i, int reg)
{
    release(c, reg);
    own(c, i, reg);
}

int cg_tmp(struct cg *c)
{
    int r = pick(c, c->gprs, false);
    c->locked |= BIT(r);
    return r;
}

int cg_tmp_xmm(struct cg *c)
{
    int r = pick(c, ALL_XMM, false);
    c->locked |= BIT(r);
    return r;
}

// Empty register r: what lives in it moves to an idle register, else to its home.
static void vacate(struct cg *c, int r)
{
    ir_ref o = c->owner[r];
    if (!o)
        return;
    check_straight(c);
    if (reg_idle(c, r)) {
        release(c, r);
        return;
    }
    uint32_t mask = (IS_XMM(r) ? ALL_XMM : c->gprs) & ~c->locked & ~BIT(r);
    uint32_t idle = idle_of(c, mask);
    if (!idle || (has_home(c, o) && c->v[o].next <= c->pos)) {
        cg_evict(c, r);
        return;
    }
    uint32_t want = idle & CALLEE_SAVED && lives_across_call(c, o) ? idle & CALLEE_SAVED : idle;
    int to = __builtin_ctz(want);
    release(c, to);
    load_value(c, o, to);
    release(c, r);
    own(c, o, to);
    if (c->locked & BIT(r)) // an operand of the current operation
        c->locked |= BIT(to);
}

void cg_take(struct cg *c, int reg)
{
    vacate(c, reg);
    c->locked |= BIT(reg);
}

void cg_move(struct cg *c, int dst, ir_ref i)
{
    i = c->root[i];
    if (cg_lazy(c, i) && c->v[i].reg == NO_REG)
        cg_materialise(c, i, dst);
    else
        load_value(c, i, dst);
}

void cg_before_call(struct cg *c, bool slots_change)
{
    uint32_t locked = c->locked;
    if (slots_change) // values that so far live only in their slots
        for (ir_ref i = 1; i < c->pos; i++)
            if (c->in[i].op == IR_get && c->v[i].last >= c->pos && !(c->v[i].flags & V_NOSLOT)) {
                if (!c->v[i].spill && c->v[i].reg == NO_REG)
                    cg_use(c, i);
                c->v[i].flags |= V_NOSLOT;
                c->locked = locked;
            }
    for (int r = 0; r < 32; r++)
        if (!(CALLEE_SAVED >> r & 1) && c->owner[r] && c->v[c->owner[r]].last > c->pos)
            spill(c, c->owner[r]);
}

void cg_after_call(struct cg *c)
{
    for (int r = 0; r < 32; r++)
        if (!(CALLEE_SAVED >> r & 1))
            release(c, r);
    c->eflags = IR_NONE;
}

static void operand_loc(const struct cg *c, ir_ref i, uint8_t *kind, uint32_t *v)
{
    i = c->root[i];
    const struct ir_insn *in = &c->in[i];
    if (c->v[i].reg != NO_REG) {
        *kind = IS_XMM(c->v[i].reg) ? LOC_XMM : LOC_GPR;
        *v = (uint32_t)(c->v[i].reg & 15);
    } else if (in->op == IR_const) {
        *kind = LOC_CONST;
        *v = i;
    } else if (c->v[i].spill) {
        *kind = LOC_SPILL;
        *v = c->v[i].spill - 1u;
    } else {
        BUG_ON(in->op != IR_get && in->op != IR_pcbase);
        *kind = LOC_SLOT;
        *v = (uint32_t)(in->op == IR_get ? cg_slot_off(c, in->aux) : VOFF(page_va));
    }
}

// Of a value that is not in a register.
static void loc_elsewhere(struct cg *c, ir_ref i, struct loc *l)
{
    const struct ir_insn *in = &c->in[i];
    if (!cg_lazy(c, i)) {
        operand_loc(c, i, &l->kind, &l->v);
        return;
    }
    struct loc_flags f = {.op = in->op, .wide = c->in[in->a].type == IR_I64};
    operand_loc(c, in->a, &f.kind[0], &f.v[0]);
    if (in->b)
        operand_loc(c, in->b, &f.kind[1], &f.v[1]);
    l->kind = LOC_FLAGS;
    l->v = sites_flags(&c->sites, f);
}

void cg_record(struct cg *c, uint32_t snap, uint32_t *first, uint32_t *n)
{
    const struct ir_snap *s = &c->r->snaps.data[snap];
    const struct ir_snap_entry *e = c->r->snap_entries.data + s->first;
    *first = (uint32_t)c->locs.len;
    *n = s->n;
    vec_reserve(&c->locs, c->locs.len + s->n);
    struct loc *l = c->locs.data + c->locs.len;
    const ir_ref *root = c->root; // what is written could be these pointers, for all the compiler
    const struct val *v = c->v;   // knows
    for (uint32_t k = 0, n_entries = s->n; k < n_entries; k++) {
        int r = v[root[e[k].val]].reg;
        l[k] = (struct loc){e[k].slot, IS_XMM(r) ? LOC_XMM : LOC_GPR, 1, (uint32_t)r & 15};
        if (r == NO_REG)
            loc_elsewhere(c, e[k].val, &l[k]);
    }
    c->locs.len += s->n;
}
