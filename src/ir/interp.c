// The IR interpreter: executes a region node by node. It is the reference for every host back end,
// so it is written for plainness, not speed. Before anything that can leave non-locally the
// snapshot is stored; where execution then goes on, memory accesses put the slots back, since later
// nodes and snapshots may rely on what memory held (a helper's stores stay: builder and back ends
// count on them).
#include "base/bits.h"
#include "ir/ir.h"

#include <alloca.h>
#include <stdatomic.h>

enum { MAX_NODES = 1 << 16 }; // values live on the stack, so that leaving needs no clean-up

struct machine {
    const struct ir_region *r;
    struct env *e;
    union ir_val *v;
    uint64_t base;   // what the region's pcs count from
    uint32_t rounds; // of a loop, completed
};

static void *slot_at(const struct machine *m, unsigned slot)
{
    return (char *)m->e + m->r->guest->slots[slot].offset;
}

static unsigned type_bytes(unsigned type)
{
    return type == IR_V128 ? 16 : type == IR_I64 || type == IR_F64 ? 8 : type == IR_BOOL ? 1 : 4;
}

static union ir_val field_get(const void *at, unsigned type)
{
    union ir_val v = {0};
    memcpy(&v, at, type_bytes(type));
    return v;
}

// The state a snapshot describes into the slots; what they held into `old` unless NULL.
static void snap_store(const struct machine *m, uint64_t index, union ir_val *old)
{
    const struct ir_snap *s = &m->r->snaps.data[index];
    for (uint32_t i = 0; i < s->n; i++) {
        const struct ir_snap_entry *entry = &m->r->snap_entries.data[s->first + i];
        unsigned type = m->r->guest->slots[entry->slot].type;
        void *at = slot_at(m, entry->slot);
        if (old)
            old[i] = field_get(at, type);
        memcpy(at, &m->v[entry->val], type_bytes(type));
    }
    uint64_t pc = m->base + s->pc;
    memcpy(slot_at(m, m->r->guest->pc), &pc, 8);
}

static void snap_undo(const struct machine *m, uint64_t index, const union ir_val *old)
{
    const struct ir_snap *s = &m->r->snaps.data[index];
    for (uint32_t i = 0; i < s->n; i++) {
        const struct ir_snap_entry *entry = &m->r->snap_entries.data[s->first + i];
        memcpy(slot_at(m, entry->slot), &old[i], type_bytes(m->r->guest->slots[entry->slot].type));
    }
}

// ---- memory ----

// An integer of the access size as the result type sees it.
static union ir_val extend(uint64_t v, unsigned type, unsigned mo)
{
    unsigned w = 8u << (mo & MO_SIZE);
    v = mo & MO_SIGN ? (uint64_t)sign_extend(v, w) : v & mask_low(w);
    return (union ir_val){.u64 = {type == IR_I32 || type == IR_F32 ? (uint32_t)v : v, 0}};
}

static union ir_val mem_load(struct env *e, gva_t va, unsigned type, unsigned mo)
{
    if (type == IR_V128)
        return (union ir_val){.v = e->exec->load128(e, va, mo)};
    return extend(e->exec->load(e, va, mo & ~(unsigned)MO_SIGN), type, mo);
}

static void mem_store(struct env *e, gva_t va, const union ir_val *v, unsigned type, unsigned mo)
{
    mo &= ~(unsigned)MO_SIGN;
    if (type == IR_V128)
        e->exec->store128(e, va, v->v, mo);
    else
        e->exec->store(e, va, v->u64[0] & mask_low(8u << (mo & MO_SIZE)), mo);
}

static union ir_val mem_linked(struct env *e, gva_t va, unsigned type, unsigned mo)
{
    e->monitor.addr = MONITOR_NONE;
    union ir_val v = mem_load(e, va, type, mo);
    e->monitor.addr = va;
    e->monitor.size = MO_SIZE_BYTES(mo);
    e->monitor.val[0] = v.u64[0] & mask_low(MO_SIZE_BYTES(mo) * 8);
    e->monitor.val[1] = v.u64[1];
    return v;
}

static bool same_at_size(const union ir_val *x, const union ir_val *y, unsigned mo)
{
    if ((mo & MO_SIZE) == MO_128)
        return x->u64[0] == y->u64[0] && x->u64[1] == y->u64[1];
    return !((x->u64[0] ^ y->u64[0]) & mask_low(MO_SIZE_BYTES(mo) * 8));
}

// What the monitor holds beyond the access's size is not said: host code leaves it as it was.
static bool mem_conditional(struct env *e, gva_t va, const union ir_val *v, unsigned type,
                            unsigned mo)
{
    bool held = e->monitor.addr == va && e->monitor.size == MO_SIZE_BYTES(mo);
    if (held) {
        union ir_val now = mem_load(e, va, type, mo & ~(unsigned)MO_SIGN);
        union ir_val seen = {.u64 = {e->monitor.val[0], e->monitor.val[1]}};
        held = same_at_size(&now, &seen, mo);
    }
    if (held)
        mem_store(e, va, v, type, mo);
    e->monitor.addr = MONITOR_NONE;
    return held;
}

// The new value of a read-modify-write; `old` as the load gave it (zero-extended).
static uint64_t amo_value(unsigned op, uint64_t old, uint64_t x, unsigned w)
{
    uint64_t y = x & mask_low(w);
    bool less = sign_extend(old, w) < sign_extend(y, w);
    switch (op) {
    case IR_amoadd:
        return old + y;
    case IR_amoand:
        return old & y;
    case IR_amoor:
        return old | y;
    case IR_amoxor:
        return old ^ y;
    case IR_amosmin:
        return less ? old : y;
    case IR_amosmax:
        return less ? y : old;
    case IR_amoumin:
        return MIN(old, y);
    case IR_amoumax:
        return MAX(old, y);
    default: // swap
        return y;
    }
}

// By the executor, indivisibly.
static union ir_val atomic(const struct machine *m, const struct ir_insn *n, unsigned mo)
{
    union ir_val old = {0};
    m->e->exec->atomic(m->e, n->op, m->v[n->a].u64[0], mo & ~(unsigned)MO_SIGN, &m->v[n->b],
                       &m->v[n->c], &old);
    bool whole = n->op == IR_sc || n->type == IR_V128;
    return whole ? old : extend(old.u64[0], n->type, mo);
}

static union ir_val access(const struct machine *m, const struct ir_insn *n)
{
    struct env *e = m->e;
    gva_t va = m->v[n->a].u64[0];
    const union ir_val *x = &m->v[n->b], *y = &m->v[n->c];
    unsigned mo = n->aux, unsigned_mo = mo & ~(unsigned)MO_SIGN;
    if (e->exec->atomic && n->op != IR_load && n->op != IR_store)
        return atomic(m, n, mo);
    switch (n->op) {
    case IR_load:
        return mem_load(e, va, n->type, mo);
    case IR_store:
        mem_store(e, va, x, m->r->insns.data[n->b].type, mo);
        return (union ir_val){0};
    case IR_ll:
        return mem_linked(e, va, n->type, mo);
    case IR_sc:
        return (union ir_val){
            .u64 = {mem_conditional(e, va, x, m->r->insns.data[n->b].type, mo), 0}};
    case IR_cas: {
        union ir_val old = mem_load(e, va, n->type, unsigned_mo);
        bool equal = same_at_size(&old, x, mo);
        mem_store(e, va, equal ? y : &old, n->type, mo); // a store either way: permissions
        return n->type == IR_V128 ? old : extend(old.u64[0], n->type, mo);
    }
    default: {
        unsigned w = MO_SIZE_BYTES(mo) * 8;
        union ir_val old = mem_load(e, va, n->type, unsigned_mo);
        union ir_val fresh = {.u64 = {amo_value(n->op, old.u64[0], x->u64[0], w), 0}};
        mem_store(e, va, &fresh, n->type, mo);
        return extend(old.u64[0], n->type, mo);
    }
    }
}

// ---- helpers ----

// Integer and vector arguments are counted apart in the calling conventions of our hosts, so one
// prototype with the most of both fits every helper.
static union ir_val call(const struct machine *m, const struct ir_insn *n)
{
    const struct ir_helper *h = m->r->helpers.data[n->aux];
    uint64_t i[6] = {0};
    v128 f[5] = {0};
    unsigned ni = 0, nf = 0;
    if (h->flags & (HELPER_FP | HELPER_READ | HELPER_STATE))
        i[ni++] = (uint64_t)(uintptr_t)m->e;
    for (unsigned k = 0; k < h->n_args; k++) {
        const union ir_val *v = &m->v[m->r->args.data[n->a + k]];
        if (h->args[k] == IR_F32 || h->args[k] == IR_F64 || h->args[k] == IR_V128)
            f[nf++] = v->v;
        else
            i[ni++] = v->u64[0];
    }
    if (h->ret == IR_F32 || h->ret == IR_F64 || h->ret == IR_V128) {
        v128 (*fn)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, v128, v128, v128,
                   v128, v128) = h->fn;
        union ir_val r = {.v =
                              fn(i[0], i[1], i[2], i[3], i[4], i[5], f[0], f[1], f[2], f[3], f[4])};
        return field_get(&r, h->ret);
    }
    uint64_t (*fn)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, v128, v128, v128,
                   v128, v128) = h->fn;
    uint64_t r = fn(i[0], i[1], i[2], i[3], i[4], i[5], f[0], f[1], f[2], f[3], f[4]);
    return field_get(&r, h->ret == IR_VOID ? IR_I64 : h->ret);
}

// ---- control ----

static struct ir_outcome exit_to(const struct machine *m, const struct ir_insn *n, ir_ref target,
                                 int kind)
{
    snap_store(m, n->imm, NULL);
    memcpy(slot_at(m, m->r->guest->pc), &m->v[target], 8);
    return (struct ir_outcome){.kind = kind,
                               .rounds = m->rounds,
                               .insns = m->r->snaps.data[n->imm].insns +
                                        m->rounds * m->r->n_guest_insns};
}

// The end of a round: slots without a phi are stored, phis take their next values all at once.
static void next_round(struct machine *m, const struct ir_insn *n, ir_ref loop)
{
    const struct ir_snap *s = &m->r->snaps.data[n->imm];
    union ir_val next[IR_MAX_SLOTS + 2]; // and operands of flags
    unsigned k = 0;
    uint64_t kept[(IR_MAX_SLOTS + 63) / 64] = {0};
    for (ir_ref p = loop - 1; m->r->insns.data[p].op == IR_phi; p--) {
        next[k++] = m->v[m->r->insns.data[p].imm];
        if (m->r->insns.data[p].aux != IR_NO_SLOT)
            kept[m->r->insns.data[p].aux / 64] |= 1ull << (m->r->insns.data[p].aux & 63);
    }
    for (uint32_t i = 0; i < s->n && !m->r->insns.data[loop].aux; i++) {
        const struct ir_snap_entry *e = &m->r->snap_entries.data[s->first + i];
        if (!(kept[e->slot / 64] >> (e->slot & 63) & 1))
            memcpy(slot_at(m, e->slot), &m->v[e->val],
                   type_bytes(m->r->guest->slots[e->slot].type));
    }
    k = 0;
    for (ir_ref p = loop - 1; m->r->insns.data[p].op == IR_phi; p--)
        m->v[p] = next[k++];
    m->rounds++;
}

static struct ir_outcome leave(const struct machine *m, const struct ir_insn *n)
{
    if (n->imm)
        snap_store(m, n->imm, NULL);
    return (struct ir_outcome){.kind = OUT_LEAVE,
                               .insns =
                                   n->imm ? m->r->snaps.data[n->imm].insns : m->r->n_guest_insns,
                               .why = n->aux};
}

static void execute(const struct machine *m, const struct ir_insn *n, union ir_val *result)
{
    union ir_val old[IR_MAX_SLOTS];
    switch (n->op) {
    case IR_nop:
    case IR_fence:
        break;
    case IR_span: // none
        *result = (union ir_val){0};
        break;
    case IR_phi:
        *result = m->v[n->a];
        break;
    case IR_const:
        *result = (union ir_val){.u64 = {n->imm, n->type == IR_V128 ? n->imm : 0}};
        break;
    case IR_pcbase:
        *result = (union ir_val){.u64 = {m->base, 0}};
        break;
    case IR_get:
        *result = field_get(slot_at(m, n->aux), n->type);
        break;
    case IR_ldenv:
        *result = field_get((char *)m->e + n->imm, n->type);
        break;
    case IR_stenv: {
        unsigned type = m->r->insns.data[n->a].type;
        bool integer = type == IR_I32 || type == IR_I64;
        memcpy((char *)m->e + n->imm, &m->v[n->a],
               integer ? MO_SIZE_BYTES(n->aux) : type_bytes(type));
        break;
    }
    case IR_fflags:
        m->e->exec->fp_sync(m->e);
        *result = (union ir_val){.u64 = {fp_flags_ordered(m->e->fp.flags, n->aux), 0}};
        break;
    case IR_setfflags:
        m->e->exec->fp_sync(m->e);
        m->e->fp.flags = fp_flags_ordered(m->v[n->a].u32[0], n->aux);
        break;
    case IR_call:
        if (n->imm)
            snap_store(m, n->imm, NULL);
        *result = call(m, n);
        break;
    default:
        if (n->op >= IR_load && n->op <= IR_amoumax) {
            snap_store(m, n->imm, old);
            *result = access(m, n);
            snap_undo(m, n->imm, old);
            break;
        }
        BUG_ON(!ir_eval[n->op]);
        union ir_val abc[3] = {m->v[n->a], m->v[n->b], m->v[n->c]};
        ir_eval[n->op](m->e, IR_EVAL_TYPES(n->type, m->r->insns.data[n->a].type), n->aux, result,
                       abc);
    }
}

struct ir_outcome ir_interp(const struct ir_region *r, struct env *e)
{
    return ir_interp_rounds(r, e, ~0u);
}

struct ir_outcome ir_interp_rounds(const struct ir_region *r, struct env *e, uint32_t max)
{
    BUG_ON(r->insns.len > MAX_NODES);
    struct machine m = {.r = r, .e = e, .v = alloca(r->insns.len * sizeof(union ir_val))};
    ir_ref loop = ir_loop_of(r);
    m.v[0] = (union ir_val){0};
    uint64_t pc;
    memcpy(&pc, slot_at(&m, r->guest->pc), 8);
    m.base = ir_pc_base(r->mode, pc);
    for (size_t i = 1; i < r->insns.len; i++) {
        const struct ir_insn *n = &r->insns.data[i];
        switch (n->op) {
        case IR_exit_if:
            if (m.v[n->a].u64[0])
                return exit_to(&m, n, n->b, OUT_GOTO);
            break;
        case IR_goto:
            return exit_to(&m, n, n->a, OUT_GOTO);
        case IR_again:
            if (atomic_load_explicit(&e->interrupt, memory_order_relaxed) || m.rounds >= max)
                return exit_to(&m, n, n->a, OUT_GOTO);
            next_round(&m, n, loop);
            i = loop;
            break;
        case IR_into:
            break;
        case IR_loop:
            m.rounds = n->aux;
            break;
        case IR_indirect:
            return exit_to(&m, n, n->a, OUT_INDIRECT);
        case IR_callto:
            return exit_to(&m, n, n->a, OUT_CALL);
        case IR_ret:
            return exit_to(&m, n, n->a, OUT_RET);
        case IR_leave:
            return leave(&m, n);
        default:
            execute(&m, n, &m.v[i]);
        }
    }
    BUG_ON("region without an end");
    __builtin_unreachable();
}
