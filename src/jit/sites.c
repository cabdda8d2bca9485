// The side table: written while a block is emitted, read only when an access faults. A line says
// what has changed since the one before, so that reading one means reading all before it. Numbers
// are LEB128.
#include "jit/sites.h"

#include "base/bits.h"

// ---- writing: the room is reserved ----

static uint8_t *put(uint8_t *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)v;
    return p;
}

static uint8_t *put_signed(uint8_t *p, int64_t v)
{
    return put(p, (uint64_t)v << 1 ^ (uint64_t)(v >> 63));
}

enum { KIND_BITS = 3, MAX_VALUE = 11, MAX_LOC = 3 + 3 + 2 * MAX_VALUE, MAX_LINE = 24 };

void sites_begin(struct sites_buf *s, const struct ir_region *r)
{
    s->r = r;
    s->data.len = s->flags.len = 0;
    s->last_off = 0;
    s->last_pc = r->pc;
    while (s->n_listed)
        s->now[s->listed[--s->n_listed]] = 0;
}

uint32_t sites_flags(struct sites_buf *s, struct loc_flags f)
{
    size_t n = s->flags.len;
    if (n && !memcmp(&s->flags.data[n - 1], &f, sizeof f))
        return (uint32_t)n - 1;
    vec_push(&s->flags, f);
    return (uint32_t)n;
}

static uint8_t *put_value(const struct sites_buf *s, uint8_t *p, unsigned kind, uint32_t v)
{
    if (kind == LOC_CONST)
        return put_signed(put(p, kind), (int64_t)s->r->insns.data[v].imm);
    return put(p, kind | (uint64_t)v << KIND_BITS);
}

static uint8_t *put_loc(const struct sites_buf *s, uint8_t *p, const struct loc *l)
{
    p = put(p, l->slot);
    if (l->kind != LOC_FLAGS)
        return put_value(s, p, l->kind, l->v);
    const struct loc_flags *f = &s->flags.data[l->v];
    *p++ = LOC_FLAGS;
    *p++ = f->op;
    *p++ = f->wide;
    return put_value(s, put_value(s, p, f->kind[0], f->v[0]), f->kind[1], f->v[1]);
}

static uint64_t word(const struct loc *l)
{
    uint64_t w;
    memcpy(&w, l, sizeof w);
    return w;
}

// The places that are not as they were, moved to the front. *afresh: that is all of them, since
// some slot that was listed is not any more.
static unsigned changed(struct sites_buf *s, struct loc *l, unsigned n, bool *afresh)
{
    unsigned n_changed = 0, still = 0;
    for (unsigned k = 0; k < n; k++) {
        uint64_t old = s->now[l[k].slot];
        still += old != 0;
        n_changed += old != word(&l[k]);
    }
    *afresh = still != s->n_listed;
    if (*afresh) {
        while (s->n_listed)
            s->now[s->listed[--s->n_listed]] = 0;
        return n;
    }
    for (unsigned k = 0, to = 0; to < n_changed; k++)
        if (s->now[l[k].slot] != word(&l[k])) { // all stay in the list: a stub may want it again
            struct loc first = l[to];
            l[to++] = l[k];
            l[k] = first;
        }
    return n_changed;
}

void sites_add(struct sites_buf *s, uint32_t code_off, uint64_t pc, struct loc *l, unsigned n)
{
    bool afresh;
    unsigned n_changed = changed(s, l, n, &afresh);
    vec_reserve(&s->data, s->data.len + MAX_LINE + n_changed * MAX_LOC);
    uint8_t *p = s->data.data + s->data.len;
    p = put(p, code_off - s->last_off);
    p = put_signed(p, (int64_t)(pc - s->last_pc));
    p = put(p, n_changed << 1 | afresh);
    for (const struct loc *c = l; c < l + n_changed; c++) {
        if (!s->now[c->slot])
            s->listed[s->n_listed++] = c->slot;
        s->now[c->slot] = word(c);
        p = put_loc(s, p, c);
    }
    s->data.len = (size_t)(p - s->data.data);
    s->last_off = code_off;
    s->last_pc = pc;
}

// ---- reading ----

struct reader {
    const uint8_t *p;
    struct jit_vcpu *v;
};

static uint64_t take(struct reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = *r->p++;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return v;
    }
}

static int64_t take_signed(struct reader *r)
{
    uint64_t v = take(r);
    return (int64_t)(v >> 1 ^ -(v & 1));
}

static void take_flags(struct reader *r, union ir_val *out);

static void take_value(struct reader *r, union ir_val *out)
{
    uint64_t first = take(r), n = first >> KIND_BITS;
    *out = (union ir_val){0};
    switch (first & mask_low(KIND_BITS)) {
    case LOC_GPR:
        out->u64[0] = r->v->regs.gpr[n];
        break;
    case LOC_XMM:
        out->v = r->v->regs.xmm[n];
        break;
    case LOC_CONST:
        out->u64[0] = out->u64[1] = (uint64_t)take_signed(r);
        break;
    case LOC_SPILL:
        *out = r->v->spill[n];
        break;
    case LOC_SLOT: // before env: the vCPU's
        memcpy(out, (uint8_t *)jit_env(r->v) + (int32_t)n, sizeof *out);
        break;
    default:
        take_flags(r, out);
    }
}

static void take_flags(struct reader *r, union ir_val *out)
{
    unsigned op = *r->p++, type = *r->p++ ? IR_I64 : IR_I32;
    union ir_val abc[3] = {0};
    for (unsigned k = 0; k < 2; k++) {
        take_value(r, &abc[k]);
        if (type == IR_I32)
            abc[k].u64[0] = abc[k].u32[0];
    }
    *out = (union ir_val){0};
    ir_eval[op](jit_env(r->v), IR_EVAL_TYPES(IR_FLAGS, type), 0, out, abc);
}

static size_t type_bytes(unsigned type)
{
    return type == IR_V128 ? 16 : type == IR_I64 || type == IR_F64 ? 8 : type == IR_BOOL ? 1 : 4;
}

// Values that lie in slots must be read before any slot is written.
static void apply(struct jit_vcpu *v, const uint8_t *const *at)
{
    const struct ir_guest *g = v->jit->c.guest;
    union ir_val val[IR_MAX_SLOTS];
    for (unsigned k = 0; k < g->n_slots; k++)
        if (at[k])
            take_value(&(struct reader){at[k], v}, &val[k]);
    for (unsigned k = 0; k < g->n_slots; k++)
        if (at[k])
            memcpy((uint8_t *)jit_env(v) + g->slots[k].offset, &val[k],
                   type_bytes(g->slots[k].type));
}

bool jit_state_rebuild(struct jit_vcpu *v, const void *host_pc)
{
    struct block *b = jit_block_at(v->jit, host_pc);
    if (!b)
        return false;
    uint32_t want = (uint32_t)((const uint8_t *)host_pc - (v->jit->rx + b->code)), off = 0;
    struct reader r = {b->sites, v};
    uint64_t pc = ir_pc_base(b->mode, v->page_va) + b->pc;
    const uint8_t *at[IR_MAX_SLOTS] = {0}; // where each slot's value is said
    while (r.p < b->sites + b->sites_size) {
        off += (uint32_t)take(&r);
        pc += (uint64_t)take_signed(&r);
        uint64_t n = take(&r);
        if (n & 1)
            memset(at, 0, sizeof at);
        for (n >>= 1; n; n--) {
            const uint8_t **slot = &at[take(&r)];
            *slot = r.p;
            take_value(&r, &(union ir_val){0});
        }
        if (off != want)
            continue;
        apply(v, at);
        memcpy((uint8_t *)jit_env(v) + v->jit->c.guest->slots[v->jit->c.guest->pc].offset, &pc, 8);
        return true;
    }
    return false;
}
