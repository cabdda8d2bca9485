// The region builder: value numbering, forwarding of slot reads, snapshots, exits. It sits on the
// translation path of every guest instruction, so nothing here allocates or clears per region:
// arrays live on in the region, the slot tables are undone through a list of what was touched, and
// the value-number table is a lossy cache whose hits are compared with the node they name.
#include "ir/build.h"
#include "ir/simplify.h"

const struct ir_switches ir_switches_all = {true, true, true, true};

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

void ir_build_begin(struct ir_build *b, struct ir_region *r, const struct ir_switches *sw)
{
    b->r = r;
    b->sw = *sw;
    b->pc = b->high_pc = r->pc;
    b->ended = b->follow = false;
    b->sync = b->fp_barrier = IR_NONE;
    forget_slots(b);
    forget_dirty(b);
}

void ir_build_insn(struct ir_build *b, uint64_t pc)
{
    b->follow = false;
    b->pc = pc;
    b->high_pc = MAX(b->high_pc, pc);
    b->r->n_guest_insns++;
}

// ---- nodes ----

static bool dead(const struct ir_build *b)
{
    return b->ended || b->follow;
}

static ir_ref append(struct ir_build *b, const struct ir_insn *n)
{
    struct ir_region *r = b->r;
    vec_reserve(&r->insns, r->insns.len + 1);
    r->insns.data[r->insns.len] = *n;
    // After the end a node has a place and a type to look at, but the next one takes it over.
    return dead(b) ? (ir_ref)r->insns.len : (ir_ref)r->insns.len++;
}

static bool same(const struct ir_insn *x, const struct ir_insn *y)
{
    return x->op == y->op && x->type == y->type && x->aux == y->aux && x->a == y->a &&
           x->b == y->b && x->c == y->c && x->imm == y->imm;
}

// An equal node that comes after `since`, or a new one.
static ir_ref number(struct ir_build *b, const struct ir_insn *n, ir_ref since)
{
    if (!b->sw.value_numbering)
        return append(b, n);
    uint64_t h = (n->op | (uint64_t)n->type << 8 | (uint64_t)n->aux << 16 | (uint64_t)n->a << 32) *
                     0x9e3779b97f4a7c15u ^
                 (n->b | (uint64_t)n->c << 32) * 0xc2b2ae3d27d4eb4fu ^ n->imm * 0x165667b19e3779f9u;
    ir_ref *at = &b->numbers[(h ^ h >> 29) * 0x9e3779b97f4a7c15u >> 54];
    _Static_assert(ARRAY_SIZE(b->numbers) == 1 << (64 - 54), "the hash fits its table");
    // A stale entry from an earlier region may name any node of this one: the comparison decides.
    if (*at > since && *at < b->r->insns.len && same(&b->r->insns.data[*at], n))
        return *at;
    return *at = append(b, n);
}

ir_ref ir_const(struct ir_build *b, unsigned type, uint64_t v)
{
    if (type == IR_I32 || type == IR_F32)
        v = (uint32_t)v;
    else if (type == IR_BOOL)
        v &= 1;
    else if (type == IR_FLAGS)
        v &= PACK_MASK;
    return number(b, &(struct ir_insn){.op = IR_const, .type = (uint8_t)type, .imm = v}, 0);
}

bool ir_is_const(const struct ir_build *b, ir_ref v, uint64_t *val)
{
    const struct ir_insn *n = &b->r->insns.data[v];
    if (n->op != IR_const)
        return false;
    *val = n->imm;
    return true;
}

ir_ref ir_emit(struct ir_build *b, unsigned op, unsigned type, unsigned aux, ir_ref x, ir_ref y,
               ir_ref z)
{
    unsigned fx = ir_op_info[op].effects;
    if (unlikely(dead(b))) // operands may be gone
        return append(b, &(struct ir_insn){.op = (uint8_t)op, .type = (uint8_t)type});
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
    struct ir_insn n = {
        .op = (uint8_t)op, .type = (uint8_t)type, .aux = (uint16_t)aux, .a = x, .b = y, .c = z};
    if (fx & (FX_READ | FX_WRITE))
        return append(b, &n);
    return number(b, &n, fx & FX_FP ? b->fp_barrier : 0);
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
    v = append(b, &(struct ir_insn){
                      .op = IR_get, .type = b->r->guest->slots[slot].type, .aux = (uint16_t)slot});
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

void ir_put(struct ir_build *b, unsigned slot, ir_ref v)
{
    if (dead(b) || b->slot_val[slot] == v)
        return;
    const struct ir_insn *n = &b->r->insns.data[v];
    set_known(b, slot, v);
    b->list_current = false;
    if (n->op == IR_get && n->aux == slot && v > b->sync) { // what memory holds anyway
        if (b->dirty_at[slot])
            make_clean(b, slot);
        return;
    }
    if (!b->dirty_at[slot]) {
        b->dirty_at[slot] = (uint16_t)++b->n_dirty;
        b->dirty[b->n_dirty - 1].slot = (uint16_t)slot;
    }
    b->dirty[b->dirty_at[slot] - 1].val = v;
}

ir_ref ir_ldenv(struct ir_build *b, unsigned type, unsigned offset)
{
    return append(b, &(struct ir_insn){.op = IR_ldenv, .type = (uint8_t)type, .imm = offset});
}

void ir_stenv(struct ir_build *b, unsigned offset, ir_ref v, unsigned mo_size)
{
    b->fp_barrier = append(
        b, &(struct ir_insn){.op = IR_stenv, .aux = (uint16_t)mo_size, .a = v, .imm = offset});
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

static ir_ref access(struct ir_build *b, unsigned op, unsigned type, unsigned mo, ir_ref addr,
                     ir_ref x, ir_ref y)
{
    return append(b, &(struct ir_insn){.op = (uint8_t)op,
                                       .type = (uint8_t)type,
                                       .aux = (uint16_t)mo,
                                       .a = addr,
                                       .b = x,
                                       .c = y,
                                       .imm = snapshot_before(b)});
}

ir_ref ir_load(struct ir_build *b, unsigned type, ir_ref addr, unsigned mo)
{
    return access(b, IR_load, type, mo, addr, IR_NONE, IR_NONE);
}

void ir_store(struct ir_build *b, ir_ref addr, ir_ref v, unsigned mo)
{
    access(b, IR_store, IR_VOID, mo, addr, v, IR_NONE);
}

ir_ref ir_atomic(struct ir_build *b, unsigned op, unsigned type, ir_ref addr, ir_ref x, ir_ref y,
                 unsigned mo)
{
    return access(b, op, type, mo, addr, x, y);
}

void ir_fence(struct ir_build *b, unsigned mo)
{
    append(b, &(struct ir_insn){.op = IR_fence, .aux = (uint16_t)mo});
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
    struct ir_insn n = {.op = IR_call, .type = h->ret, .b = h->n_args};
    if (dead(b))
        return append(b, &n);
    n.aux = (uint16_t)helper_index(r, h);
    n.a = (ir_ref)r->args.len;
    for (unsigned i = 0; i < h->n_args; i++)
        vec_push(&r->args, args[i]);
    if (h->flags & (HELPER_READ | HELPER_STATE))
        n.imm = snapshot_before(b);
    ir_ref v = append(b, &n);
    if (h->flags & (HELPER_READ | HELPER_STATE)) {
        b->sync = v;
        forget_dirty(b);
    }
    if (h->flags & HELPER_STATE) {
        b->fp_barrier = v;
        forget_slots(b);
    }
    if (h->flags & HELPER_ENDS) {
        append(b, &(struct ir_insn){.op = IR_leave, .aux = LEAVE_AGAIN});
        b->ended = true;
    }
    return v;
}

// ---- exits ----

// Every cycle of guest code passes an exit that does not go upwards, or a computed one: those look
// at env.interrupt.
static unsigned poll_if_back(const struct ir_build *b, uint64_t pc)
{
    return pc <= b->high_pc ? EXIT_POLL : 0;
}

static void end(struct ir_build *b, unsigned op, unsigned aux, ir_ref x, ir_ref y)
{
    append(b,
           &(struct ir_insn){
               .op = (uint8_t)op, .aux = (uint16_t)aux, .a = x, .b = y, .imm = snapshot_after(b)});
    b->ended = true;
}

void ir_build_end(struct ir_build *b, uint64_t pc)
{
    if (b->ended)
        return;
    b->follow = false;
    end(b, IR_goto, poll_if_back(b, pc), ir_i64(b, pc), IR_NONE);
}

void ir_exit_if(struct ir_build *b, ir_ref cond, uint64_t pc)
{
    uint64_t known;
    if (dead(b))
        return;
    if (b->sw.fold && ir_is_const(b, cond, &known)) {
        if (known)
            ir_goto(b, pc);
        return;
    }
    struct ir_insn n = {.op = IR_exit_if,
                        .aux = (uint16_t)poll_if_back(b, pc),
                        .a = cond,
                        .b = ir_i64(b, pc),
                        .imm = snapshot_after(b)};
    append(b, &n);
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
    b->follow_pc = pc;
}

void ir_indirect(struct ir_build *b, ir_ref pc)
{
    uint64_t known;
    if (dead(b))
        return;
    if (b->sw.fold && ir_is_const(b, pc, &known))
        ir_goto(b, known);
    else
        end(b, IR_indirect, EXIT_POLL, pc, IR_NONE);
}

void ir_callto(struct ir_build *b, ir_ref target, uint64_t return_pc)
{
    uint64_t known;
    if (dead(b))
        return;
    unsigned aux = ir_is_const(b, target, &known) ? poll_if_back(b, known) : EXIT_POLL;
    end(b, IR_callto, aux, target, ir_i64(b, return_pc));
}

void ir_ret(struct ir_build *b, ir_ref pc)
{
    if (!dead(b))
        end(b, IR_ret, EXIT_POLL, pc, IR_NONE);
}

void ir_leave(struct ir_build *b, enum env_leave why, uint64_t pc)
{
    if (dead(b))
        return;
    bool done = pc != b->pc; // leaving before the instruction, or after it
    uint32_t snap = snapshot(b, pc, b->r->n_guest_insns - !done);
    append(b, &(struct ir_insn){.op = IR_leave, .aux = (uint16_t)why, .imm = snap});
    b->ended = true;
}
