// Address spaces. The ISA names one by a 64-bit context id; the TLB knows it by a 12-bit key, given
// out per vCPU in order of appearance, so that a switch is a look-up and forgetting an address
// space is retiring its key. Translated code that jumps across pages, or through the table of
// computed targets, compares a 32-bit code id instead: machine-wide, one per (mode, address space),
// or one per mode where code lies on global pages; it is replaced when a mapping of code may have
// changed.
#include "jit/state.h"

#include <stdlib.h>

// ---- keys ----

static unsigned new_key(struct jit_vcpu *v, uint64_t ctx)
{
    if (v->next_key == TLB_KEYS)
        jit_tlb_flush_all(v); // starts keys again
    unsigned k = v->next_key;
    v->next_key += KEY_STEP;
    v->key_ctx[k] = ctx;
    v->key_live[k] = true;
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
        id = ++j->next_id;
        struct code_id n = {mode, ctx, shared, id};
        vec_push(&j->ids, n);
    }
    mutex_unlock(&j->id_lock);
    return id;
}

void jit_code_id_refresh(struct jit_vcpu *v)
{
    struct jit *j = v->jit;
    if (!v->class)
        return;
    bool shared = v->class->shared;
    uint64_t mask = jit_env(v)->isa ? jit_env(v)->isa->ctx_space_mask : 0;
    uint64_t ctx = shared ? v->ctx[MMU_MAIN] & ~mask : v->ctx[MMU_MAIN];
    uint64_t h = (ctx ^ v->mode << 7 ^ shared) * 0x9e3779b97f4a7c15ull;
    struct code_id_cache *c = &v->id_cache[h >> 58];
    if (c->id && c->gen == atomic_load(&j->ids_gen) && c->mode == v->mode &&
        c->ctx == (ctx ^ shared)) {
        if (v->code_id != c->id)
            v->jit_sp = v->jit_base; // frames of other code
        v->code_id = c->id;
        return;
    }
    uint64_t gen;
    uint32_t id = intern_id(j, v->mode, ctx, shared, &gen);
    *c = (struct code_id_cache){v->mode, ctx ^ shared, gen, id};
    if (v->code_id != id)
        v->jit_sp = v->jit_base;
    v->code_id = id;
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

bool jit_code_page_seen(struct jit_vcpu *v, uint64_t va, bool global)
{
    uint64_t h = (va >> PAGE_BITS) * 0x9e3779b97f4a7c15ull >> 54;
    v->code_bloom[h >> 6] |= 1ull << (h & 63);
    struct code_class *c = v->class;
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
    return !c->shared || global;
}
