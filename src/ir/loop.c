// A region that ends by going to its own start becomes a loop whose changing slots are values: a
// phi for each stands before the `loop` node, what the loop only reads is read before it, and no
// slot is written until an exit. Every snapshot inside names the slots that have a phi, since
// memory is behind from the second round on. Slots that nothing needs at the start of a round have
// a phi without users or a next value and cost nothing; those beyond what hosts have registers for
// are stored at the end of each round, as flags are that only snapshots want.
#include "base/bits.h"
#include "ir/build.h"

#include <stdlib.h>

enum { MAX_INTS = 9, MAX_VECTORS = 12 }; // phis that want a register

enum fate { F_UNCHANGED, F_CHANGED, F_PHI };
struct slots {
    uint8_t fate[IR_MAX_SLOTS];
    bool read[IR_MAX_SLOTS];  // there is a get
    bool stale[IR_MAX_SLOTS]; // some snapshot does not list it
    ir_ref phi[IR_MAX_SLOTS];
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

// Helpers that look at the slots, or change them, would find them behind.
static bool fit_for_loop(const struct ir_region *r)
{
    const struct ir_insn *end = last_of(r);
    uint64_t pc;
    if (end->op != IR_goto || end->aux & EXIT_MODE || r->mode & IR_MODE_SINGLE ||
        !ir_region_pc(r, end->a, &pc) || pc != r->pc)
        return false;
    for (size_t i = 1; i < r->insns.len; i++)
        if (r->insns.data[i].op == IR_call && r->insns.data[i].imm)
            return false;
    return true;
}

static void look_at_snapshot(const struct ir_region *r, uint64_t index, struct slots *s)
{
    const struct ir_snap *snap = &r->snaps.data[index];
    uint64_t listed[(IR_MAX_SLOTS + 63) / 64] = {0};
    for (uint32_t k = 0; k < snap->n; k++) {
        unsigned slot = r->snap_entries.data[snap->first + k].slot;
        listed[slot / 64] |= 1ull << (slot & 63);
    }
    for (unsigned slot = 0; slot < r->guest->n_slots; slot++)
        if (!(listed[slot / 64] >> (slot & 63) & 1))
            s->stale[slot] = true;
}

static void choose_phis(const struct ir_region *r, struct slots *s)
{
    const struct ir_snap *end = &r->snaps.data[last_of(r)->imm];
    unsigned ints = 0, vectors = 0;
    for (unsigned pass = 0; pass < 2; pass++) // first those that the loop reads
        for (uint32_t k = 0; k < end->n; k++) {
            unsigned slot = r->snap_entries.data[end->first + k].slot,
                     type = r->guest->slots[slot].type;
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
        if (s->fate[slot] == F_PHI && !(listed[slot / 64] >> (slot & 63) & 1))
            vec_push(&p->entries,
                     (struct ir_snap_entry){.slot = (uint16_t)slot, .val = s->phi[slot]});
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
        if (n->op == IR_get)
            s.read[n->aux] = true;
        else if (ir_op_info[n->op].effects & FX_LEAVE && n->imm)
            look_at_snapshot(r, n->imm, &s);
    }
    choose_phis(r, &s);
    p->insns.len = 0;
    vec_reserve(&p->map, r->insns.len);
    p->map.data[0] = place(p, r->insns.data[0]);
    place_entry(p, r, &s);
    place_body(p, r, &s);
    complete_snapshots(p, r, &s);
    close_phis(p, r, &s);
    SWAP(p->insns, r->insns);
    SWAP(p->entries, r->snap_entries);
}

void ir_loop_pass_free(struct ir_loop_pass *p)
{
    vec_free(&p->insns);
    vec_free(&p->entries);
    vec_free(&p->map);
}
