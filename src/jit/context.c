// Address spaces. The ISA names one by a 64-bit context id; the TLB knows it by a 12-bit key, given
// out per vCPU in order of appearance, so that a switch is a look-up and forgetting an address
// space is retiring its key. Translated code that jumps across pages, or through the table of
// computed targets, compares a 32-bit code id instead, which is replaced when a mapping of code may
// have changed. Of movable code each vCPU has ids of its own, one per key and mode; what it knows
// of links between pages hangs on the key and a generation of four bits. Of other code ids are
// machine-wide, since they stand in the code: one per (mode, address space), or one per mode where
// code lies on global pages.
#include "jit/state.h"

#include <stdlib.h>

// ---- keys ----

enum { SPACE_IDS = 1 << 22, CLASS_IDS = 256, LINK_GENS = KEY_STEP, NO_CODE_ID = 2 };

// A new id for the code of an address space; all begin again when they run out.
static void renew_space(struct jit_vcpu *v, struct code_space *s)
{
    if (++v->next_space == SPACE_IDS) {
        memset(v->jump, 0, sizeof v->jump);
        v->next_space = 0;
        for (unsigned k = 0; k < TLB_KEYS / KEY_STEP; k++)
            v->space[k].id = ++v->next_space;
        return;
    }
    s->id = v->next_space;
}

static struct code_space *current_space(struct jit_vcpu *v)
{
    return &v->space[v->key[MMU_MAIN] / KEY_STEP];
}

static unsigned new_key(struct jit_vcpu *v, uint64_t ctx)
{
    if (v->next_key == TLB_KEYS)
        jit_tlb_flush_all(v); // starts keys again
    unsigned k = v->next_key;
    v->next_key += KEY_STEP;
    v->key_ctx[k] = ctx;
    v->key_live[k] = true;
    v->space[k / KEY_STEP] = (struct code_space){0};
    renew_space(v, &v->space[k / KEY_STEP]);
    map_set(&v->keys, ctx, (void *)(uintptr_t)k);
    return k;
}

static unsigned key_of(struct jit_vcpu *v, uint64_t ctx)
{
    unsigned k = (unsigned)(uintptr_t)map_get(&v->keys, ctx);
    return k ? k : new_key(v, ctx);
}

static void renew_current(struct jit_vcpu *v)
{
    for (unsigned m = 0; m < MMU_CONTEXTS; m++)
        v->key[m] = key_of(v, v->ctx[m]);
    // A reset of all keys while the second was made takes the first with it.
    v->key[MMU_MAIN] = key_of(v, v->ctx[MMU_MAIN]);
    v->regs.gpr[JIT_KEY_REG] = v->key[MMU_MAIN];
}

void jit_keys_reset(struct jit_vcpu *v)
{
    map_free(&v->keys);
    v->keys = (struct map){0};
    memset(v->key_live, 0, sizeof v->key_live);
    // What was never used is not touched; slots that are being taken are not known to this CPU.
    for (unsigned k = 0; k < JIT_ARENAS; k++)
        memset(&v->link_ok[k * ARENA_LINK_SLOTS], 0,
               __atomic_load_n(&v->jit->arena[k].n_slots, __ATOMIC_RELAXED) * sizeof v->link_ok[0]);
    v->space_lo = ~0ull;
    v->space_hi = 0;
    v->next_key = KEY_STEP;
    renew_current(v);
}

void jit_keys_forget(struct jit_vcpu *v, const struct env_flush *f)
{
    for (unsigned k = KEY_STEP; k < v->next_key; k += KEY_STEP)
        if (v->key_live[k] && (v->key_ctx[k] & f->ctx_mask) == f->ctx_value) {
            v->key_live[k] = false;
            map_del(&v->keys, v->key_ctx[k]);
        }
    renew_current(v);
}

void jit_set_context(struct env *e, unsigned mmu, uint64_t ctx)
{
    struct jit_vcpu *v = jit_vcpu_of(e);
    BUG_ON(mmu >= MMU_CONTEXTS);
    if (v->ctx[mmu] == ctx)
        return;
    v->ctx[mmu] = ctx;
    if (v->jit->c.no_tlb_spaces)
        jit_tlb_flush_all(v);
    else
        renew_current(v);
    if (mmu == MMU_MAIN)
        jit_code_id_refresh(v);
}

// ---- code ids ----

static struct code_class *class_of(struct jit *j, uint64_t mode)
{
    mutex_lock(&j->id_lock);
    for (size_t k = 0; k < j->classes.len; k++)
        if (j->classes.data[k]->mode == mode) {
            mutex_unlock(&j->id_lock);
            return j->classes.data[k];
        }
    struct code_class *c = xalloc(sizeof *c);
    c->mode = mode;
    c->index = (unsigned)j->classes.len;
    vec_push(&j->classes, c);
    mutex_unlock(&j->id_lock);
    return c;
}

static uint32_t intern_id(struct jit *j, uint64_t mode, uint64_t ctx, bool shared, uint64_t *gen)
{
    mutex_lock(&j->id_lock);
    *gen = j->ids_gen;
    uint32_t id = 0;
    for (size_t k = 0; k < j->ids.len && !id; k++)
        if (j->ids.data[k].mode == mode && j->ids.data[k].ctx == ctx &&
            j->ids.data[k].shared == shared)
            id = j->ids.data[k].id;
    if (!id) {
        id = j->next_id += 4;
        struct code_id n = {mode, ctx, shared, id};
        vec_push(&j->ids, n);
    }
    mutex_unlock(&j->id_lock);
    return id;
}

static void set_code_id(struct jit_vcpu *v, uint32_t id)
{
    if (v->code_id != id)
        v->jit_sp = v->jit_base; // frames of other code
    v->code_id = id;
}

static void movable_id_refresh(struct jit_vcpu *v)
{
    const struct code_space *s = current_space(v);
    v->link_key = v->key[MMU_MAIN] | s->gen;
    bool known = v->class->index < CLASS_IDS;
    set_code_id(v, known ? s->id << 9 | v->class->index << 1 | 1 : NO_CODE_ID);
}

void jit_code_id_refresh(struct jit_vcpu *v)
{
    struct jit *j = v->jit;
    if (!v->class)
        return;
    if (v->mode & IR_MODE_MOVABLE) {
        movable_id_refresh(v);
        return;
    }
    bool shared = v->code_shared = v->class->shared;
    uint64_t mask = jit_env(v)->isa ? jit_env(v)->isa->ctx_space_mask : 0;
    uint64_t ctx = shared ? v->ctx[MMU_MAIN] & ~mask : v->ctx[MMU_MAIN];
    uint64_t h = (ctx ^ v->mode << 7 ^ shared) * 0x9e3779b97f4a7c15ull;
    struct code_id_cache *c = &v->id_cache[h >> 58];
    if (c->id && c->gen == atomic_load(&j->ids_gen) && c->mode == v->mode &&
        c->ctx == (ctx ^ shared)) {
        set_code_id(v, c->id);
        return;
    }
    uint64_t gen;
    uint32_t id = intern_id(j, v->mode, ctx, shared, &gen);
    *c = (struct code_id_cache){v->mode, ctx ^ shared, gen, id};
    set_code_id(v, id);
}

void jit_mode_enter(struct jit_vcpu *v, uint64_t mode)
{
    if (v->mode_known && v->mode == mode)
        return;
    v->mode = mode;
    v->mode_known = true;
    struct code_class **cached = &v->class_cache[mode * 0x9e3779b97f4a7c15ull >> 58];
    if (!*cached || (*cached)->mode != mode)
        *cached = class_of(v->jit, mode);
    v->class = *cached;
    v->class_misses = 0;
    v->jit_sp = v->jit_base; // a return into another mode must not find its landing
    jit_code_id_refresh(v);
}

void jit_code_ids_renew(struct jit *j, const struct env_flush *f)
{
    mutex_lock(&j->id_lock);
    for (size_t k = j->ids.len; k-- > 0;) {
        const struct code_id *i = &j->ids.data[k];
        // An address-space flush leaves global mappings alone; the ISA flushes those by address,
        // or for all spaces.
        bool hit = (i->ctx & f->ctx_mask) == f->ctx_value;
        if (hit)
            j->ids.data[k] = j->ids.data[--j->ids.len];
    }
    atomic_fetch_add(&j->ids_gen, 1);
    mutex_unlock(&j->id_lock);
}

// ---- which mappings hold code ----

// Without what may be a tag on top.
static uint64_t plain(uint64_t va)
{
    return va & ~(0xffull << 56);
}

static uint64_t seen_hash(uint64_t va, unsigned bits)
{
    return (plain(va) >> bits << PAGE_BITS | bits) * 0x9e3779b97f4a7c15ull;
}

static void see(struct code_seen *s, uint64_t hash)
{
    s->bits[hash >> 58 & 31] |= 1ull << (hash >> 52 & 63);
    s->bits[hash >> 47 & 31] |= 1ull << (hash >> 41 & 63);
}

static bool seen(const struct code_seen *s, uint64_t hash)
{
    return s->bits[hash >> 58 & 31] >> (hash >> 52 & 63) &
           s->bits[hash >> 47 & 31] >> (hash >> 41 & 63) & 1;
}

// What a flush asks of the filters: some pages, or some pieces of 2 MiB, or everything.
struct seen_query {
    unsigned n; // 0: everything
    uint64_t hash[64];
};

static struct seen_query query(const struct jit_vcpu *v, const struct env_flush *f)
{
    struct seen_query q = {0};
    unsigned bits = PAGE_BITS;
    if (v->huge_code)
        return q;
    // A mapping larger than a page is flushed whole by any address in it.
    if (jit_near_large(v, f->va, f->len) || f->len > ARRAY_SIZE(q.hash) / 2 * PAGE_SIZE)
        bits = PIECE_BITS;
    uint64_t first = f->va >> bits, last = (f->va + (f->len - 1)) >> bits;
    if (last - first >= ARRAY_SIZE(q.hash))
        return q;
    for (uint64_t at = first; at <= last; at++)
        q.hash[q.n++] = seen_hash(at << bits, bits);
    return q;
}

static bool seen_any(const struct code_seen *s, const struct seen_query *q)
{
    bool hit = !q->n;
    for (unsigned k = 0; k < q->n && !hit; k++)
        hit = seen(s, q->hash[k]);
    return hit;
}

// Code of this address space is to be looked up anew. True: its generations have run out.
static bool forget_space(struct jit_vcpu *v, struct code_space *s)
{
    s->seen = (struct code_seen){0};
    renew_space(v, s);
    return ++s->gen == LINK_GENS;
}

static void forget_spaces(struct jit_vcpu *v, const struct env_flush *f, const struct seen_query *q)
{
    if (plain(f->va) > v->space_hi || plain(f->va) + (f->len - 1) < v->space_lo)
        return;
    bool retired = false;
    for (unsigned k = KEY_STEP; k < v->next_key; k += KEY_STEP) {
        struct code_space *s = &v->space[k / KEY_STEP];
        if (v->key_live[k] && (v->key_ctx[k] & f->ctx_mask) == f->ctx_value &&
            seen_any(&s->seen, q) && forget_space(v, s)) {
            v->key_live[k] = false;
            map_del(&v->keys, v->key_ctx[k]);
            retired = true;
        }
    }
    if (retired)
        renew_current(v);
}

void jit_code_forget(struct jit_vcpu *v, const struct env_flush *f)
{
    struct seen_query q = query(v, f);
    forget_spaces(v, f, &q);
    if (seen_any(&v->code_seen, &q))
        jit_code_forget_all(v);
}

void jit_code_forget_all(struct jit_vcpu *v)
{
    v->code_seen = (struct code_seen){0};
    jit_code_ids_renew(v->jit, &(struct env_flush){0});
}

bool jit_code_page_seen(struct jit_vcpu *v, uint64_t va, const struct code_fetch *f)
{
    bool movable = v->mode & IR_MODE_MOVABLE, global = f->global && !v->jit->c.no_global_code;
    struct code_seen *s = movable ? &current_space(v)->seen : &v->code_seen;
    see(s, seen_hash(va, PAGE_BITS));
    see(s, seen_hash(va, PIECE_BITS));
    struct code_class *c = v->class;
    if (movable) {
        v->space_lo = MIN(v->space_lo, plain(va) & PAGE_MASK);
        v->space_hi = MAX(v->space_hi, plain(va) | ~PAGE_MASK);
        return v->code_id != NO_CODE_ID;
    }
    if (!c->decided) {
        c->decided = true;
        c->shared = global;
        jit_code_id_refresh(v);
    } else if (c->shared != global && ++v->class_misses > 1000) {
        c->shared = global;
        v->class_misses = 0;
        jit_code_id_refresh(v);
    } else if (c->shared == global) {
        v->class_misses = 0;
    }
    return !v->code_shared || global; // c may be of another opinion by now
}
