// The region builder: value numbering, forwarding of slot reads, snapshots, exits. It sits on the
// translation path of every guest instruction, so nothing here allocates or clears per region:
// arrays live on in the region, the slot tables are undone through a list of what was touched, and
// the value-number table is a lossy cache whose hits are compared with the node they name.
#include "ir/build.h"
#include "ir/simplify.h"

const struct ir_switches ir_switches_all = {true, true, true, true,  true, true, true,
                                            true, true, true, false, true, true};

static void forget_slots(struct ir_build *b)
{
    for (unsigned i = 0; i < b->n_known; i++)
        b->slot_val[b->known[i]] = IR_NONE;
    b->n_known = 0;
}

static void forget_dirty(struct ir_build *b)
{
    for (unsigned i = 0; i < b->n_dirty; i++)
        b->dirty_at[b->dirty[i].slot] = 0;
    b->n_dirty = 0;
    b->list_current = false;
    b->snap = 0;
}

static void forget_spans(struct ir_build *b)
{
    memset(b->spans, 0, sizeof b->spans);
}

static void list_residents(struct ir_build *b);

void ir_build_begin(struct ir_build *b, struct ir_region *r, const struct ir_switches *sw)
{
    b->r = r;
    b->sw = *sw;
    if (r->plain) // the same control flow
        b->sw = (struct ir_switches){.superblocks = sw->superblocks,
                                     .loops = sw->loops,
                                     .fp_state = sw->fp_state,
                                     .scattered = sw->scattered,
                                     .masks = sw->masks,
                                     .fixed_point = sw->fixed_point,
                                     .tails = sw->tails};
    b->pc = b->high_pc = r->pc;
    b->mode = r->mode;
    b->ended = b->follow = false;
    b->calls_left = 0;
    b->exits = false;
    b->sync = b->fp_barrier = IR_NONE;
    b->epoch += 0x2545f4914f6cdd1du;
    forget_slots(b);
    forget_dirty(b);
    forget_spans(b);
    list_residents(b);
}

void ir_build_insn(struct ir_build *b, uint64_t pc)
{
    b->follow = false;
    b->pc = pc;
    b->high_pc = MAX(b->high_pc, pc);
    b->r->n_guest_insns++;
    b->r->path = (b->r->path ^ pc) * 0x9e3779b97f4a7c15ull;
}

// ---- nodes ----

static bool dead(const struct ir_build *b)
{
    return b->ended || b->follow;
}

// A node as its three words, made in registers: stored field by field and compared or copied as a
// whole it would wait for the stores (every host of ours is little-endian, see base/bits.h).
struct words {
    uint64_t w[3];
};
_Static_assert(sizeof(struct words) == sizeof(struct ir_insn), "a node has no padding");

static inline struct words node(unsigned op, unsigned type, unsigned aux, ir_ref x, ir_ref y,
                                ir_ref z, uint64_t imm)
{
    return (struct words){
        {op | type << 8 | aux << 16 | (uint64_t)x << 32, y | (uint64_t)z << 32, imm}};
}

static inline ir_ref append(struct ir_build *b, struct words n)
{
    struct ir_region *r = b->r;
    vec_reserve(&r->insns, r->insns.len + 1);
    memcpy(&r->insns.data[r->insns.len], &n, sizeof n);
    // After the end a node has a place and a type to look at, but the next one takes it over.
    return dead(b) ? (ir_ref)r->insns.len : (ir_ref)r->insns.len++;
}

// An equal node that comes after `since`, or a new one. The table is lossy and never cleared: an
// entry carries 32 bits of a hash that differs from region to region, so a stale one is told by
// one compare; equal hashes are compared in full.
static inline ir_ref number(struct ir_build *b, struct words n, ir_ref since)
{
    if (!b->sw.value_numbering)
        return append(b, n);
    uint64_t h = (n.w[0] + b->epoch) * 0x9e3779b97f4a7c15u ^ n.w[1] * 0xc2b2ae3d27d4eb4fu ^
                 n.w[2] * 0x165667b19e3779f9u;
    uint64_t *at = &b->numbers[(h >> 32 ^ h) % ARRAY_SIZE(b->numbers)];
    uint32_t tag = (uint32_t)(h >> 32);
    ir_ref found = (ir_ref)*at;
    if (*at >> 32 == tag && found > since && found < b->r->insns.len) {
        struct words old;
        memcpy(&old, &b->r->insns.data[found], sizeof old);
        if (!((n.w[0] ^ old.w[0]) | (n.w[1] ^ old.w[1]) | (n.w[2] ^ old.w[2])))
            return found;
    }
    ir_ref fresh = append(b, n);
    *at = (uint64_t)tag << 32 | fresh;
    return fresh;
}

ir_ref ir_const(struct ir_build *b, unsigned type, uint64_t v)
{
    if (type == IR_I32 || type == IR_F32)
        v = (uint32_t)v;
    else if (type == IR_BOOL)
        v &= 1;
    else if (type == IR_FLAGS)
        v &= PACK_MASK;
    return number(b, node(IR_const, type, 0, 0, 0, 0, v), 0);
}

bool ir_is_const(const struct ir_build *b, ir_ref v, uint64_t *val)
{
    const struct ir_insn *n = &b->r->insns.data[v];
    if (n->op != IR_const)
        return false;
    *val = n->imm;
    return true;
}

ir_ref ir_pc(struct ir_build *b, uint64_t pc)
{
    if (!(b->r->mode & IR_MODE_MOVABLE))
        return ir_i64(b, pc);
    ir_ref base = number(b, node(IR_pcbase, IR_I64, 0, 0, 0, 0, 0), 0);
    return pc ? number(b, node(IR_add, IR_I64, 0, base, ir_i64(b, pc), 0, 0), 0) : base;
}

ir_ref ir_emit(struct ir_build *b, unsigned op, unsigned type, unsigned aux, ir_ref x, ir_ref y,
               ir_ref z)
{
    unsigned fx = ir_op_info[op].effects;
    if (unlikely(dead(b))) // operands may be gone
        return append(b, node(op, type, 0, 0, 0, 0, 0));
    if (fx & FX_COMM) {
        const struct ir_insn *data = b->r->insns.data;
        bool cx = data[x].op == IR_const, cy = data[y].op == IR_const;
        if (cx != cy ? cx : x > y) {
            ir_ref t = x;
            x = y;
            y = t;
        }
    }
    if (b->sw.fold && !(fx & (FX_READ | FX_WRITE))) {
        ir_ref v = ir_simplify(b, op, type, aux, x, y, z);
        if (v)
            return v;
    }
    struct words n = node(op, type, aux, x, y, z, 0);
    if (fx & (FX_READ | FX_WRITE))
        return append(b, n);
    return number(b, n, fx & FX_FP ? b->fp_barrier : 0);
}

// ---- guest state ----

static void set_known(struct ir_build *b, unsigned slot, ir_ref v)
{
    if (!b->slot_val[slot])
        b->known[b->n_known++] = (uint16_t)slot;
    b->slot_val[slot] = v;
}

ir_ref ir_get(struct ir_build *b, unsigned slot)
{
    ir_ref v = b->slot_val[slot];
    if (v && (b->sw.forward_slots || b->dirty_at[slot] || b->r->insns.data[v].op != IR_get))
        return v;
    v = append(b, node(IR_get, b->r->guest->slots[slot].type, slot, 0, 0, 0, 0));
    if (!dead(b))
        set_known(b, slot, v);
    return v;
}

static void make_clean(struct ir_build *b, unsigned slot)
{
    unsigned at = b->dirty_at[slot];
    b->dirty[at - 1] = b->dirty[--b->n_dirty];
    b->dirty_at[b->dirty[at - 1].slot] = (uint16_t)at;
    b->dirty_at[slot] = 0;
}

static void make_dirty(struct ir_build *b, unsigned slot, ir_ref v)
{
    if (!b->dirty_at[slot]) {
        b->dirty_at[slot] = (uint16_t)++b->n_dirty;
        b->dirty[b->n_dirty - 1].slot = (uint16_t)slot;
    }
    b->dirty[b->dirty_at[slot] - 1].val = v;
}

// With nothing dirty. They stay the first ones listed.
static void list_residents(struct ir_build *b)
{
    const struct ir_guest *g = b->r->guest;
    for (unsigned k = 0; k < b->r->n_resident; k++)
        make_dirty(b, g->resident[k], ir_get(b, g->resident[k]));
}

void ir_put(struct ir_build *b, unsigned slot, ir_ref v)
{
    if (dead(b) || b->slot_val[slot] == v)
        return;
    const struct ir_insn *n = &b->r->insns.data[v];
    bool resident = b->dirty_at[slot] && b->dirty_at[slot] <= b->r->n_resident;
    set_known(b, slot, v);
    b->list_current = false;
    if (n->op == IR_get && n->aux == slot && v > b->sync && !resident) { // what memory holds anyway
        if (b->dirty_at[slot])
            make_clean(b, slot);
        return;
    }
    make_dirty(b, slot, v);
}

ir_ref ir_ldenv(struct ir_build *b, unsigned type, unsigned offset)
{
    return append(b, node(IR_ldenv, type, 0, 0, 0, 0, offset));
}

void ir_stenv(struct ir_build *b, unsigned offset, ir_ref v, unsigned mo_size)
{
    b->fp_barrier = append(b, node(IR_stenv, IR_VOID, mo_size, v, 0, 0, offset));
}

void ir_set_fflags(struct ir_build *b, ir_ref v, unsigned aux)
{
    b->fp_barrier = append(b, node(IR_setfflags, IR_VOID, aux, v, 0, 0, 0));
}

// ---- snapshots ----

// The state as it is now: equal lists are shared, and whole snapshots where pc and count agree too.
static uint32_t snapshot(struct ir_build *b, uint64_t pc, uint32_t insns)
{
    struct ir_region *r = b->r;
    if (!b->list_current) {
        b->list_first = (uint32_t)r->snap_entries.len;
        vec_reserve(&r->snap_entries, r->snap_entries.len + b->n_dirty);
        if (b->n_dirty)
            memcpy(r->snap_entries.data + b->list_first, b->dirty, b->n_dirty * sizeof *b->dirty);
        r->snap_entries.len += b->n_dirty;
        b->list_current = true;
        b->snap = 0;
    }
    if (b->snap) {
        const struct ir_snap *last = &r->snaps.data[b->snap];
        if (last->pc == pc && last->insns == insns)
            return b->snap;
    }
    b->snap = (uint32_t)r->snaps.len;
    vec_push(&r->snaps, (struct ir_snap){b->list_first, b->n_dirty, pc, insns});
    return b->snap;
}

// Before the current instruction has had any effect: faults and helper calls.
static uint32_t snapshot_before(struct ir_build *b)
{
    return dead(b) ? 0 : snapshot(b, b->pc, b->r->n_guest_insns - 1);
}

static uint32_t snapshot_after(struct ir_build *b)
{
    return dead(b) ? 0 : snapshot(b, b->pc, b->r->n_guest_insns);
}

// ---- memory ----

enum { SPAN_BYTES = 512 }; // longer ones would cross pages too often

// The span for an access at addr: that of an earlier one off the same base, widened if need be, or
// a new one. Spans that get no second user cost nothing.
static ir_ref span_of(struct ir_build *b, ir_ref addr, unsigned mo, bool store)
{
    const struct ir_insn *n = &b->r->insns.data[addr];
    ir_ref base = addr;
    int64_t lo = 0;
    uint64_t known;
    if (n->op == IR_add && ir_is_const(b, n->b, &known) && (int64_t)known == (int32_t)known) {
        base = n->a;
        lo = (int64_t)known;
    }
    if (mo & (MO_BE | MO_ALIGN) || dead(b))
        return IR_NONE;
    int64_t hi = lo + MO_SIZE_BYTES(mo);
    unsigned aux = (mo & MO_MMU) | (store ? MO_SPAN_STORE : 0);
    for (unsigned k = 0; k < ARRAY_SIZE(b->spans); k++) {
        if (b->spans[k].base != base || !b->spans[k].span)
            continue;
        struct ir_insn *s = &b->r->insns.data[b->spans[k].span];
        int64_t first = MIN(lo, (int64_t)(int32_t)s->imm), end = MAX(hi, (int64_t)s->imm >> 32);
        if (s->aux != aux || end - first > SPAN_BYTES)
            continue;
        s->imm = (uint32_t)first | (uint64_t)end << 32;
        return b->spans[k].span;
    }
    ir_ref span =
        append(b, node(IR_span, IR_I64, aux, base, 0, 0, (uint32_t)lo | (uint64_t)hi << 32));
    unsigned at = b->next_span++ % ARRAY_SIZE(b->spans);
    b->spans[at].base = base;
    b->spans[at].span = span;
    return span;
}

static ir_ref access(struct ir_build *b, unsigned op, unsigned type, unsigned mo, ir_ref addr,
                     ir_ref x, ir_ref y)
{
    if (unlikely(b->r->mode & IR_MODE_TAGGED))
        addr = ir_and(b, addr, ir_i64(b, IR_ADDRESS_BITS));
    return append(b, node(op, type, mo, addr, x, y, snapshot_before(b)));
}

ir_ref ir_load(struct ir_build *b, unsigned type, ir_ref addr, unsigned mo)
{
    return access(b, IR_load, type, mo, addr, IR_NONE,
                  b->sw.spans ? span_of(b, addr, mo, false) : IR_NONE);
}

void ir_store(struct ir_build *b, ir_ref addr, ir_ref v, unsigned mo)
{
    access(b, IR_store, IR_VOID, mo, addr, v, b->sw.spans ? span_of(b, addr, mo, true) : IR_NONE);
}

ir_ref ir_atomic(struct ir_build *b, unsigned op, unsigned type, ir_ref addr, ir_ref x, ir_ref y,
                 unsigned mo)
{
    return access(b, op, type, mo, addr, x, y);
}

void ir_fence(struct ir_build *b, unsigned mo)
{
    append(b, node(IR_fence, IR_VOID, mo, 0, 0, 0, 0));
}

// ---- helpers ----

static unsigned helper_index(struct ir_region *r, const struct ir_helper *h)
{
    for (size_t i = r->helpers.len; i-- > 0;)
        if (r->helpers.data[i] == h)
            return (unsigned)i;
    vec_push(&r->helpers, h);
    return (unsigned)r->helpers.len - 1;
}

ir_ref ir_call(struct ir_build *b, const struct ir_helper *h, const ir_ref *args)
{
    struct ir_region *r = b->r;
    if (dead(b))
        return append(b, node(IR_call, h->ret, 0, 0, 0, 0, 0));
    ir_ref first = (ir_ref)r->args.len;
    for (unsigned i = 0; i < h->n_args; i++)
        vec_push(&r->args, args[i]);
    uint32_t snap = h->flags & (HELPER_READ | HELPER_STATE) ? snapshot_before(b) : 0;
    ir_ref v = append(b, node(IR_call, h->ret, helper_index(r, h), first, h->n_args, 0, snap));
    if (h->flags & (HELPER_READ | HELPER_STATE)) {
        b->sync = v;
        forget_dirty(b);
    }
    if (h->flags & HELPER_STATE) {
        b->fp_barrier = v;
        forget_spans(b);
        forget_slots(b);
    }
    if (h->flags & HELPER_ENDS) {
        append(b, node(IR_leave, IR_VOID, LEAVE_AGAIN, 0, 0, 0, 0));
        b->ended = true;
    } else if (h->flags & (HELPER_READ | HELPER_STATE)) {
        list_residents(b);
    }
    return v;
}

// ---- exits ----

// Every cycle of guest code passes an exit that does not go upwards, or a computed one: those look
// at env.interrupt. So does every single step.
static unsigned poll_if_back(const struct ir_build *b, uint64_t pc)
{
    bool back = (int64_t)(pc - b->high_pc) <= 0; // counted from a page, it may be below zero
    return back || (b->r->mode & IR_MODE_SINGLE) ? EXIT_POLL : 0;
}

static unsigned exit_mode(const struct ir_build *b)
{
    return b->mode != b->r->mode ? EXIT_MODE : 0;
}

static void end(struct ir_build *b, unsigned op, unsigned aux, ir_ref x, ir_ref y)
{
    aux |= exit_mode(b);
    append(b, node(op, IR_VOID, aux, x, y, 0, snapshot_after(b)));
    b->ended = true;
}

void ir_build_end(struct ir_build *b, uint64_t pc)
{
    if (b->ended)
        return;
    b->follow = false;
    end(b, IR_goto, poll_if_back(b, pc), ir_pc(b, pc), IR_NONE);
}

static void exit_if(struct ir_build *b, ir_ref cond, uint64_t pc, unsigned aux)
{
    uint64_t known;
    if (dead(b))
        return;
    if (b->sw.fold && ir_is_const(b, cond, &known)) {
        if (known && aux)
            end(b, IR_goto, aux, ir_pc(b, pc), IR_NONE);
        else if (known)
            ir_goto(b, pc);
        return;
    }
    ir_ref target = ir_pc(b, pc);
    b->exits = true;
    aux |= poll_if_back(b, pc) | exit_mode(b);
    append(b, node(IR_exit_if, IR_VOID, aux, cond, target, 0, snapshot_after(b)));
}

void ir_exit_if(struct ir_build *b, ir_ref cond, uint64_t pc)
{
    exit_if(b, cond, pc, 0);
}

void ir_exit_mode_if(struct ir_build *b, ir_ref cond, uint64_t pc)
{
    exit_if(b, cond, pc, EXIT_MODE);
}

void ir_branch_if(struct ir_build *b, ir_ref cond, uint64_t pc, uint64_t next)
{
    uint64_t known;
    bool loop = pc == b->r->pc && b->sw.loops && !(b->r->mode & IR_MODE_SINGLE);
    if (!loop || dead(b) || ir_is_const(b, cond, &known)) {
        ir_exit_if(b, cond, pc);
        return;
    }
    ir_exit_if(b, ir_bnot(b, cond), next);
    ir_build_end(b, pc);
}

void ir_goto(struct ir_build *b, uint64_t pc)
{
    if (dead(b))
        return;
    if (!b->sw.superblocks) {
        ir_build_end(b, pc);
        return;
    }
    b->follow = true;
    b->follow_call = false;
    b->follow_pc = pc;
}

void ir_indirect(struct ir_build *b, ir_ref pc)
{
    uint64_t known;
    if (dead(b))
        return;
    if (b->sw.fold && ir_region_pc(b->r, pc, &known))
        ir_goto(b, known);
    else
        end(b, IR_indirect, EXIT_POLL, pc, IR_NONE);
}

void ir_callto(struct ir_build *b, ir_ref target, uint64_t return_pc)
{
    uint64_t known;
    if (dead(b))
        return;
    if (exit_mode(b)) { // a return would land in code for the region's mode
        ir_indirect(b, target);
        return;
    }
    bool direct = ir_region_pc(b->r, target, &known);
    bool likely = !b->exits || known == b->r->pc; // a function that calls itself is worth it
    if (direct && likely && b->sw.superblocks && b->sw.calls && b->calls_left &&
        known - b->calls_lo < b->calls_hi - b->calls_lo) {
        append(b, node(IR_into, IR_VOID, 0, ir_pc(b, return_pc), 0, 0, 0));
        b->calls_left--;
        b->follow = b->follow_call = true;
        b->follow_pc = known;
        return;
    }
    unsigned aux = direct ? poll_if_back(b, known) : EXIT_POLL;
    end(b, IR_callto, aux, target, ir_pc(b, return_pc));
}

void ir_ret(struct ir_build *b, ir_ref pc)
{
    if (!dead(b))
        end(b, exit_mode(b) ? IR_indirect : IR_ret, EXIT_POLL, pc, IR_NONE);
}

void ir_leave(struct ir_build *b, enum env_leave why, uint64_t pc)
{
    if (dead(b))
        return;
    bool done = pc != b->pc; // leaving before the instruction, or after it
    uint32_t snap = snapshot(b, pc, b->r->n_guest_insns - !done);
    append(b, node(IR_leave, IR_VOID, why, 0, 0, 0, snap));
    b->ended = true;
}
