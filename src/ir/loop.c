// A region that ends by going to its own start becomes a loop whose changing slots are values: a
// phi for each stands before the `loop` node, what the loop only reads is read before it, and no
// slot is written until an exit. Every snapshot inside names the slots that have a phi, since
// memory is behind from the second round on. Slots that nothing needs at the start of a round have
// a phi without users or a next value and cost nothing; those beyond what hosts have registers for
// are stored at the end of each round.
//
// Flags that only snapshots want would be stored too. Where they come of an operation on two values
// the first round is made straight-line code in front of the loop instead (peeled): from the second
// one on the flags of the round before are that operation on its operands, which have phis. What
// does not change from round to round is then computed in the first one alone.
#include "base/bits.h"
#include "ir/build.h"

#include <stdlib.h>

enum { MAX_INTS = 9, MAX_VECTORS = 12 }; // phis that want a register

enum { PEEL_INSNS = 64, PEEL_NODES = 400 };

enum fate { F_UNCHANGED, F_CHANGED, F_PHI, F_LATER /* flags of the round before */ };
struct slots {
    uint8_t fate[IR_MAX_SLOTS];
    bool read[IR_MAX_SLOTS];  // there is a get
    bool stale[IR_MAX_SLOTS]; // some snapshot does not list it
    ir_ref phi[IR_MAX_SLOTS];
    unsigned flags; // peeled: the slot that is F_LATER,
    ir_ref loop;
    ir_ref later;    // its value at the start of a round,
    ir_ref made;     // the first round's operation,
    ir_ref extra[2]; // and phis for its operands
};

static const struct ir_insn *last_of(const struct ir_region *r)
{
    return &r->insns.data[r->insns.len - 1];
}

ir_ref ir_loop_of(const struct ir_region *r)
{
    if (last_of(r)->op != IR_again)
        return IR_NONE;
    ir_ref i = 1;
    while (r->insns.data[i].op != IR_loop && i + 1 < r->insns.len)
        i++;
    return r->insns.data[i].op == IR_loop ? i : IR_NONE;
}

// Helpers that look at the slots, or change them, would find them behind; calls that go on in the
// callee would pile up.
static bool fit_for_loop(const struct ir_region *r)
{
    const struct ir_insn *end = last_of(r);
    uint64_t pc;
    if (end->op != IR_goto || end->aux & EXIT_MODE || r->mode & IR_MODE_SINGLE ||
        !ir_region_pc(r, end->a, &pc) || pc != r->pc)
        return false;
    for (size_t i = 1; i < r->insns.len; i++)
        if ((r->insns.data[i].op == IR_call && r->insns.data[i].imm) ||
            r->insns.data[i].op == IR_into)
            return false;
    return true;
}

// Is value x what a resident slot holds at the start of a round?
static void note_use(const struct ir_region *r, ir_ref x, struct slots *s)
{
    if (x && x <= r->n_resident)
        s->read[r->insns.data[x].aux] = true;
}

// The reads of resident slots come first in a region, wanted or not.
static void look_for_residents(const struct ir_region *r, const struct ir_insn *n, struct slots *s)
{
    for (uint32_t k = 0; n->op == IR_call && k < n->b; k++)
        note_use(r, r->args.data[n->a + k], s);
    if (n->op == IR_call)
        return;
    note_use(r, n->a, s);
    note_use(r, n->b, s);
    note_use(r, n->c, s);
}

static void look_at_snapshot(const struct ir_region *r, uint64_t index, struct slots *s)
{
    const struct ir_snap *snap = &r->snaps.data[index];
    uint64_t listed[(IR_MAX_SLOTS + 63) / 64] = {0};
    for (uint32_t k = 0; k < snap->n; k++) {
        unsigned slot = r->snap_entries.data[snap->first + k].slot;
        listed[slot / 64] |= 1ull << (slot & 63);
        note_use(r, r->snap_entries.data[snap->first + k].val, s);
    }
    for (unsigned slot = 0; slot < r->guest->n_slots; slot++)
        if (!(listed[slot / 64] >> (slot & 63) & 1))
            s->stale[slot] = true;
}

// A resident slot that the round does not change.
static bool as_it_was(const struct ir_region *r, const struct ir_snap_entry *e)
{
    return r->insns.data[e->val].op == IR_get && r->insns.data[e->val].aux == e->slot;
}

static void choose_phis(const struct ir_region *r, struct slots *s)
{
    const struct ir_snap *end = &r->snaps.data[last_of(r)->imm];
    unsigned ints = 0, vectors = 0;
    for (unsigned pass = 0; pass < 2; pass++) // first those that the loop reads
        for (uint32_t k = 0; k < end->n; k++) {
            unsigned slot = r->snap_entries.data[end->first + k].slot,
                     type = r->guest->slots[slot].type;
            if (as_it_was(r, &r->snap_entries.data[end->first + k]))
                continue;
            bool vector = type == IR_V128 || type == IR_F32 || type == IR_F64;
            unsigned *n = vector ? &vectors : &ints, max = vector ? MAX_VECTORS : MAX_INTS;
            if (s->fate[slot] == F_PHI || s->read[slot] == (pass == 1))
                continue;
            s->fate[slot] = F_CHANGED;
            if (!s->read[slot] && !s->stale[slot]) {
                s->fate[slot] = F_PHI;
            } else if (*n < max && type != IR_BOOL && (type != IR_FLAGS || s->read[slot])) {
                s->fate[slot] = F_PHI;
                ++*n;
            }
        }
}

// ---- the new order of nodes ----

static ir_ref place(struct ir_loop_pass *p, struct ir_insn n)
{
    vec_push(&p->insns, n);
    return (ir_ref)p->insns.len - 1;
}

static bool hoisted(const struct ir_insn *n, const struct slots *s)
{
    return n->op == IR_get && s->fate[n->aux] != F_CHANGED;
}

static void place_entry(struct ir_loop_pass *p, const struct ir_region *r, struct slots *s)
{
    ir_ref first[IR_MAX_SLOTS];
    for (size_t i = 1; i < r->insns.len; i++) {
        const struct ir_insn *n = &r->insns.data[i];
        if (n->op == IR_get && s->fate[n->aux] == F_UNCHANGED)
            p->map.data[i] = place(p, *n);
    }
    for (unsigned slot = 0; slot < r->guest->n_slots; slot++)
        if (s->fate[slot] == F_PHI)
            first[slot] = place(p, (struct ir_insn){.op = IR_get,
                                                    .type = r->guest->slots[slot].type,
                                                    .aux = (uint16_t)slot});
    for (unsigned slot = 0; slot < r->guest->n_slots; slot++)
        if (s->fate[slot] == F_PHI)
            s->phi[slot] = place(p, (struct ir_insn){.op = IR_phi,
                                                     .type = r->guest->slots[slot].type,
                                                     .aux = (uint16_t)slot,
                                                     .a = first[slot]});
    place(p, (struct ir_insn){.op = IR_loop});
}

static void place_body(struct ir_loop_pass *p, struct ir_region *r, const struct slots *s)
{
    for (size_t i = 1; i < r->insns.len; i++) {
        struct ir_insn n = r->insns.data[i];
        if (hoisted(&n, s)) {
            if (s->fate[n.aux] == F_PHI)
                p->map.data[i] = s->phi[n.aux];
            continue;
        }
        if (n.op == IR_call) {
            for (uint32_t k = 0; k < n.b; k++)
                r->args.data[n.a + k] = p->map.data[r->args.data[n.a + k]];
        } else {
            n.a = p->map.data[n.a];
            n.b = p->map.data[n.b];
            n.c = p->map.data[n.c];
        }
        if (i + 1 == r->insns.len)
            n.op = IR_again, n.aux = 0;
        p->map.data[i] = place(p, n);
    }
}

// ---- snapshots ----

// The entries of *snap as the loop has them.
static void copy_entries(struct ir_loop_pass *p, const struct ir_region *r, struct ir_snap *snap,
                         const struct slots *s)
{
    uint64_t listed[(IR_MAX_SLOTS + 63) / 64] = {0};
    uint32_t first = (uint32_t)p->entries.len;
    for (uint32_t k = 0; k < snap->n; k++) {
        struct ir_snap_entry e = r->snap_entries.data[snap->first + k];
        listed[e.slot / 64] |= 1ull << (e.slot & 63);
        e.val = p->map.data[e.val];
        vec_push(&p->entries, e);
    }
    for (unsigned slot = 0; slot < r->guest->n_slots; slot++)
        if (s->fate[slot] >= F_PHI && !(listed[slot / 64] >> (slot & 63) & 1))
            vec_push(&p->entries, (struct ir_snap_entry){
                                      .slot = (uint16_t)slot,
                                      .val = s->fate[slot] == F_PHI ? s->phi[slot] : s->later});
    snap->first = first;
    snap->n = (uint32_t)p->entries.len - first;
}

static void complete_snapshots(struct ir_loop_pass *p, struct ir_region *r, const struct slots *s)
{
    struct ir_snap old = {.first = ~0u}, done = old;
    p->entries.len = 0;
    for (size_t k = 1; k < r->snaps.len; k++) {
        struct ir_snap *snap = &r->snaps.data[k];
        if (snap->first == old.first && snap->n == old.n) { // lists are shared
            snap->first = done.first;
            snap->n = done.n;
            continue;
        }
        old = *snap;
        copy_entries(p, r, snap, s);
        done = *snap;
    }
}

static void close_phis(struct ir_loop_pass *p, const struct ir_region *r, const struct slots *s)
{
    const struct ir_snap *end = &r->snaps.data[p->insns.data[p->insns.len - 1].imm];
    for (uint32_t k = 0; k < end->n; k++) {
        const struct ir_snap_entry *e = &p->entries.data[end->first + k];
        if (s->fate[e->slot] == F_PHI && (s->read[e->slot] || s->stale[e->slot]))
            p->insns.data[s->phi[e->slot]].imm = e->val;
    }
}

// ---- peeling ----

static bool worth_peeling(const struct ir_region *r, struct slots *s)
{
    const struct ir_snap *end = &r->snaps.data[last_of(r)->imm];
    unsigned changed = 0;
    for (uint32_t k = 0; k < end->n; k++) {
        const struct ir_snap_entry *e = &r->snap_entries.data[end->first + k];
        if (s->fate[e->slot] != F_CHANGED)
            continue;
        unsigned op = r->insns.data[e->val].op;
        if (op != IR_subf && op != IR_addf && op != IR_testf)
            return false;
        changed++;
        s->flags = e->slot;
        s->made = e->val;
    }
    return changed == 1 && r->n_guest_insns <= PEEL_INSNS && r->insns.len <= PEEL_NODES;
}

static bool unchanged(const struct ir_region *r, const struct slots *s, ir_ref x)
{
    const struct ir_insn *n = &r->insns.data[x];
    if (n->op == IR_trunc)
        return unchanged(r, s, n->a);
    return n->op == IR_nop || n->op == IR_const || n->op == IR_pcbase ||
           (n->op == IR_get && s->fate[n->aux] == F_UNCHANGED);
}

// At the start of a round: what the operation on the flags had as operand x in the round before. A
// slot that ends up with it, or with its extension, has it: *half says that it is the low half.
static ir_ref operand_before(struct ir_loop_pass *p, const struct ir_region *r, struct slots *s,
                             ir_ref x, ir_ref *extra, bool *half)
{
    const struct ir_snap *end = &r->snaps.data[last_of(r)->imm];
    *half = false;
    if (unchanged(r, s, x))
        return x;
    for (uint32_t k = 0; k < end->n; k++) {
        const struct ir_snap_entry *e = &r->snap_entries.data[end->first + k];
        const struct ir_insn *n = &r->insns.data[e->val];
        *half = n->op == IR_zext && n->aux == 32 && n->a == x && r->insns.data[x].type == IR_I32;
        if (s->fate[e->slot] == F_PHI && (e->val == x || *half)) {
            s->stale[e->slot] = true; // it needs its next value
            return s->phi[e->slot];
        }
    }
    *half = false;
    return *extra = place(
               p, (struct ir_insn){
                      .op = IR_phi, .type = r->insns.data[x].type, .aux = IR_NO_SLOT, .a = x});
}

static void place_first_round(struct ir_loop_pass *p, const struct ir_region *r, struct slots *s)
{
    const struct ir_snap *end = &r->snaps.data[last_of(r)->imm];
    const struct ir_insn made = r->insns.data[s->made];
    for (size_t i = 0; i + 1 < r->insns.len; i++)
        place(p, r->insns.data[i]);
    for (uint32_t k = 0; k < end->n; k++) {
        const struct ir_snap_entry *e = &r->snap_entries.data[end->first + k];
        if (s->fate[e->slot] == F_PHI)
            s->phi[e->slot] = place(p, (struct ir_insn){.op = IR_phi,
                                                        .type = r->guest->slots[e->slot].type,
                                                        .aux = e->slot,
                                                        .a = e->val});
    }
    bool half[2];
    ir_ref a = operand_before(p, r, s, made.a, &s->extra[0], &half[0]),
           b = operand_before(p, r, s, made.b, &s->extra[1], &half[1]);
    s->loop = place(p, (struct ir_insn){.op = IR_loop, .aux = 1});
    if (half[0])
        a = place(p, (struct ir_insn){.op = IR_trunc, .type = IR_I32, .a = a});
    if (half[1])
        b = place(p, (struct ir_insn){.op = IR_trunc, .type = IR_I32, .a = b});
    s->later = place(p, (struct ir_insn){.op = made.op, .type = IR_FLAGS, .a = a, .b = b});
}

// Is node i, whose operands are mapped, what it was in the first round?
static bool same_each_round(const struct ir_loop_pass *p, const struct ir_insn *n, ir_ref loop)
{
    if (n->op == IR_phi || n->type == IR_BOOL || n->type == IR_FLAGS || n->op == IR_call ||
        ir_op_info[n->op].effects & ~FX_COMM)
        return false;
    const ir_ref x[3] = {p->map.data[n->a], p->map.data[n->b], p->map.data[n->c]};
    for (unsigned k = 0; k < 3; k++)
        if (x[k] >= loop || p->insns.data[x[k]].op == IR_phi)
            return false;
    return true;
}

static uint64_t snapshot_again(struct ir_loop_pass *p, struct ir_region *r, uint64_t index,
                               const struct slots *s)
{
    struct ir_snap snap = r->snaps.data[index];
    copy_entries(p, r, &snap, s);
    vec_push(&r->snaps, snap);
    return r->snaps.len - 1;
}

static void place_other_rounds(struct ir_loop_pass *p, struct ir_region *r, const struct slots *s)
{
    uint64_t last = 0, last_copy = 0;
    p->map.data[0] = 0;
    for (size_t i = 1; i < r->insns.len; i++) {
        struct ir_insn n = r->insns.data[i];
        bool get = n.op == IR_get;
        if (get || same_each_round(p, &n, s->loop)) {
            p->map.data[i] = get && s->fate[n.aux] == F_PHI ? s->phi[n.aux] : (ir_ref)i;
            continue;
        }
        if (n.op == IR_call) {
            ir_ref first = (ir_ref)r->args.len;
            for (uint32_t k = 0; k < n.b; k++) {
                ir_ref x = p->map.data[r->args.data[n.a + k]];
                vec_push(&r->args, x);
            }
            n.a = first;
        } else {
            n.a = p->map.data[n.a];
            n.b = p->map.data[n.b];
            n.c = p->map.data[n.c];
        }
        if (ir_op_info[n.op].effects & FX_LEAVE && n.imm) {
            if (n.imm != last)
                last_copy = snapshot_again(p, r, n.imm, s);
            last = n.imm;
            n.imm = last_copy;
        }
        if (i + 1 == r->insns.len)
            n.op = IR_again, n.aux = 0;
        p->map.data[i] = place(p, n);
    }
}

// The first round is in the region twice: it stays where it is, and the loop follows.
static void peel(struct ir_loop_pass *p, struct ir_region *r, struct slots *s)
{
    s->fate[s->flags] = F_LATER;
    place_first_round(p, r, s);
    vec_reserve(&p->entries, r->snap_entries.len);
    memcpy(p->entries.data, r->snap_entries.data, r->snap_entries.len * sizeof *p->entries.data);
    p->entries.len = r->snap_entries.len;
    place_other_rounds(p, r, s);
    close_phis(p, r, s);
    for (unsigned k = 0; k < 2; k++)
        if (s->extra[k])
            p->insns.data[s->extra[k]].imm =
                p->map.data[k ? r->insns.data[s->made].b : r->insns.data[s->made].a];
}

#define SWAP(x, y)                                                                                 \
    do {                                                                                           \
        __typeof__(x) t_;                                                                          \
        memcpy(&t_, &(x), sizeof t_);                                                              \
        memcpy(&(x), &(y), sizeof t_);                                                             \
        memcpy(&(y), &t_, sizeof t_);                                                              \
    } while (0)

void ir_form_loop(struct ir_loop_pass *p, struct ir_region *r)
{
    struct slots s;
    if (!fit_for_loop(r))
        return;
    memset(&s, 0, sizeof s);
    for (size_t i = 1; i < r->insns.len; i++) {
        const struct ir_insn *n = &r->insns.data[i];
        if (n->op == IR_get && i > r->n_resident)
            s.read[n->aux] = true;
        else if (ir_op_info[n->op].effects & FX_LEAVE && n->imm)
            look_at_snapshot(r, n->imm, &s);
        look_for_residents(r, n, &s);
    }
    choose_phis(r, &s);
    p->insns.len = 0;
    vec_reserve(&p->map, r->insns.len);
    if (!p->no_peel && worth_peeling(r, &s)) {
        peel(p, r, &s);
    } else {
        p->map.data[0] = place(p, r->insns.data[0]);
        place_entry(p, r, &s);
        place_body(p, r, &s);
        complete_snapshots(p, r, &s);
        close_phis(p, r, &s);
    }
    SWAP(p->insns, r->insns);
    SWAP(p->entries, r->snap_entries);
}

void ir_loop_pass_free(struct ir_loop_pass *p)
{
    vec_free(&p->insns);
    vec_free(&p->entries);
    vec_free(&p->map);
}
