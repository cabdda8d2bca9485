// The side table: written while a block is emitted, read only when an access faults. A line is the
// code offset, the guest pc and where each changed slot's value lives; numbers are LEB128.
#include "jit/sites.h"

static void put(struct sites_buf *s, uint64_t v)
{
    do {
        uint8_t byte = v & 0x7f;
        v >>= 7;
        vec_push(&s->data, (uint8_t)(byte | (v ? 0x80 : 0)));
    } while (v);
}

static void put_signed(struct sites_buf *s, int64_t v)
{
    put(s, (uint64_t)v << 1 ^ (uint64_t)(v >> 63));
}

void sites_begin(struct sites_buf *s, uint64_t block_pc)
{
    s->data.len = 0;
    s->last_off = 0;
    s->pc = block_pc;
}

static void put_value(struct sites_buf *s, unsigned kind, uint64_t v)
{
    if (kind == LOC_CONST)
        put_signed(s, (int64_t)v);
    else
        put(s, v);
}

void sites_add(struct sites_buf *s, uint32_t code_off, uint64_t pc, const struct loc_entry *e,
               unsigned n)
{
    put(s, code_off - s->last_off);
    s->last_off = code_off;
    put_signed(s, (int64_t)(pc - s->pc));
    put(s, n);
    for (unsigned k = 0; k < n; k++) {
        const struct loc *l = &e[k].loc;
        put(s, e[k].slot);
        vec_push(&s->data, l->kind);
        if (l->kind != LOC_FLAGS) {
            put_value(s, l->kind, l->v);
            continue;
        }
        vec_push(&s->data, l->op);
        vec_push(&s->data, (uint8_t)(l->wide | l->op_kind[0] << 1 | l->op_kind[1] << 4));
        put_value(s, l->op_kind[0], l->op_v[0]);
        put_value(s, l->op_kind[1], l->op_v[1]);
    }
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

static union ir_val take_value(struct reader *r, unsigned kind)
{
    union ir_val v = {0};
    if (kind == LOC_CONST) {
        v.u64[0] = v.u64[1] = (uint64_t)take_signed(r);
        return v;
    }
    uint64_t n = take(r);
    switch (kind) {
    case LOC_GPR:
        v.u64[0] = r->v->regs.gpr[n];
        break;
    case LOC_XMM:
        v.v = r->v->regs.xmm[n];
        break;
    case LOC_SPILL:
        v = r->v->spill[n];
        break;
    case LOC_SLOT:
        memcpy(&v, (uint8_t *)jit_env(r->v) + (int64_t)n, sizeof v); // before env: the vCPU's
        break;
    }
    return v;
}

static union ir_val take_flags(struct reader *r)
{
    unsigned op = *r->p++, form = *r->p++;
    union ir_val abc[3] = {0}, result = {0};
    abc[0] = take_value(r, form >> 1 & 7);
    abc[1] = take_value(r, form >> 4);
    unsigned type = form & 1 ? IR_I64 : IR_I32;
    if (type == IR_I32)
        for (unsigned k = 0; k < 2; k++)
            abc[k].u64[0] = abc[k].u32[0];
    ir_eval[op](jit_env(r->v), IR_EVAL_TYPES(IR_FLAGS, type), 0, &result, abc);
    return result;
}

static size_t type_bytes(unsigned type)
{
    return type == IR_V128 ? 16 : type == IR_I64 || type == IR_F64 ? 8 : type == IR_BOOL ? 1 : 4;
}

bool jit_state_rebuild(struct jit_vcpu *v, const void *host_pc)
{
    const struct ir_guest *g = v->jit->c.guest;
    struct block *b = jit_block_at(v->jit, host_pc);
    if (!b)
        return false;
    uint32_t want = (uint32_t)((const uint8_t *)host_pc - (v->jit->rx + b->code)), off = 0;
    struct reader r = {b->sites, v};
    uint64_t base = ir_pc_base(b->mode, v->page_va);
    while (r.p < b->sites + b->sites_size) {
        off += (uint32_t)take(&r);
        uint64_t pc = base + b->pc + (uint64_t)take_signed(&r);
        unsigned n = (unsigned)take(&r);
        union ir_val val[IR_MAX_SLOTS];
        uint16_t slot[IR_MAX_SLOTS];
        for (unsigned k = 0; k < n; k++) {
            slot[k] = (uint16_t)take(&r);
            unsigned kind = *r.p++;
            val[k] = kind == LOC_FLAGS ? take_flags(&r) : take_value(&r, kind);
        }
        if (off != want)
            continue;
        uint8_t *e = (uint8_t *)jit_env(v);
        for (unsigned k = 0; k < n; k++)
            memcpy(e + g->slots[slot[k]].offset, &val[k], type_bytes(g->slots[slot[k]].type));
        memcpy(e + g->slots[g->pc].offset, &pc, 8);
        return true;
    }
    return false;
}
