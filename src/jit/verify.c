// -accel dbt,verify=on: every region is first run by the IR interpreter on a copy of the CPU's
// state, with stores kept aside, then as host code on the real one; the first difference is
// reported with the region's IR and host code. Left out is what the copy cannot do without being
// noticed: regions that call helpers with an interest in the state, accesses to anything but RAM,
// runs that end in an exception or an interrupt. A value another CPU or a device has changed
// meanwhile is not a difference.
#include "jit/verify.h"

#include "base/buf.h"
#include "base/log.h"
#include "jit/translate.h"

#include <setjmp.h>
#include <stdlib.h>

enum { MAX_ROUNDS = 1000, MAX_ACCESSES = 8192 };

struct touched {
    gva_t va;
    uint32_t size;
    union ir_val val;
};

struct shadow {
    struct env *real;
    jmp_buf give_up;
    VEC(struct touched) loads, stores;
    struct ir_outcome outcome;
    bool ran; // to its end
    uint8_t cpu[] __attribute__((aligned(64)));
};

static struct shadow *shadow_of(struct env *e)
{
    return (struct shadow *)((uint8_t *)e - offsetof(struct shadow, cpu));
}

// ---- memory of the copy ----

static void read_memory(struct shadow *s, gva_t va, unsigned size, union ir_val *out)
{
    *out = (union ir_val){0};
    if (s->real->exec->peek(s->real, va, out, size))
        longjmp(s->give_up, 1);
}

static union ir_val shadow_get(struct env *e, gva_t va, unsigned mo)
{
    struct shadow *s = shadow_of(e);
    unsigned size = MO_SIZE_BYTES(mo);
    union ir_val v;
    if (mo & (MO_BE | MO_MMU | MO_ALIGN) || s->loads.len == MAX_ACCESSES)
        longjmp(s->give_up, 1);
    read_memory(s, va, size, &v);
    vec_push(&s->loads, (struct touched){va, size, v});
    for (size_t k = 0; k < s->stores.len; k++) {
        const struct touched *w = &s->stores.data[k];
        for (unsigned b = 0; b < size; b++)
            if (va + b - w->va < w->size)
                v.u8[b] = w->val.u8[va + b - w->va];
    }
    return v;
}

static void shadow_put(struct env *e, gva_t va, union ir_val v, unsigned mo)
{
    struct shadow *s = shadow_of(e);
    union ir_val old;
    if (mo & (MO_BE | MO_MMU | MO_ALIGN) || s->stores.len == MAX_ACCESSES)
        longjmp(s->give_up, 1);
    read_memory(s, va, MO_SIZE_BYTES(mo), &old); // is it RAM?
    vec_push(&s->stores, (struct touched){va, MO_SIZE_BYTES(mo), v});
}

static uint64_t shadow_load(struct env *e, gva_t va, unsigned mo)
{
    return shadow_get(e, va, mo).u64[0];
}

static void shadow_store(struct env *e, gva_t va, uint64_t v, unsigned mo)
{
    shadow_put(e, va, (union ir_val){.u64 = {v, 0}}, mo);
}

static v128 shadow_load128(struct env *e, gva_t va, unsigned mo)
{
    return shadow_get(e, va, (mo & ~(unsigned)MO_SIZE) | MO_128).v;
}

static void shadow_store128(struct env *e, gva_t va, v128 v, unsigned mo)
{
    shadow_put(e, va, (union ir_val){.v = v}, (mo & ~(unsigned)MO_SIZE) | MO_128);
}

static const struct env_exec_ops shadow_ops = {.load = shadow_load,
                                               .store = shadow_store,
                                               .load128 = shadow_load128,
                                               .store128 = shadow_store128};

// ---- before ----

static bool without_side_effects(const struct ir_region *r)
{
    for (size_t i = 1; i < r->insns.len; i++) {
        const struct ir_insn *n = &r->insns.data[i];
        if (n->op == IR_call && r->helpers.data[n->aux]->flags & ~(unsigned)HELPER_FP)
            return false;
    }
    return !(r->mode & IR_MODE_SINGLE);
}

static void run_shadow(struct shadow *s, const struct ir_region *r)
{
    struct env *e = (struct env *)s->cpu;
    e->exec = &shadow_ops;
    atomic_store_explicit(&e->interrupt, 0, memory_order_relaxed);
    if (setjmp(s->give_up))
        return;
    s->outcome = ir_interp_rounds(r, e, MAX_ROUNDS);
    s->ran = s->outcome.rounds < MAX_ROUNDS;
}

void jit_verify_before(struct jit_vcpu *v, struct block *b)
{
    struct env *e = jit_env(v);
    if (!v->shadow)
        v->shadow = xalloc(sizeof *v->shadow + v->jit->c.cpu_size);
    struct shadow *s = v->shadow;
    s->real = e;
    s->ran = false;
    s->loads.len = s->stores.len = 0;
    if (!jit_region_again(v, b, &v->region) || !without_side_effects(&v->region))
        return;
    e->exec->fp_sync(e);
    memcpy(s->cpu, e, v->jit->c.cpu_size);
    run_shadow(s, &v->region);
}

// ---- after ----

static bool slot_differs(const struct shadow *s, const struct ir_slot *slot)
{
    const uint8_t *x = (const uint8_t *)s->real + slot->offset, *y = s->cpu + slot->offset;
    uint32_t fx, fy;
    switch (slot->type) {
    case IR_FLAGS:
        memcpy(&fx, x, 4);
        memcpy(&fy, y, 4);
        return (fx ^ fy) & PACK_MASK;
    case IR_BOOL:
        return *x != *y;
    default:
        return memcmp(x, y,
                      slot->type == IR_V128                          ? 16
                      : slot->type == IR_I64 || slot->type == IR_F64 ? 8
                                                                     : 4) != 0;
    }
}

// The last value stored to each byte must be there.
static bool memory_differs(struct shadow *s)
{
    for (size_t k = 0; k < s->stores.len; k++)
        for (unsigned b = 0; b < s->stores.data[k].size; b++) {
            gva_t va = s->stores.data[k].va + b;
            uint8_t want = 0, got;
            for (size_t n = 0; n < s->stores.len; n++)
                if (va - s->stores.data[n].va < s->stores.data[n].size)
                    want = s->stores.data[n].val.u8[va - s->stores.data[n].va];
            if (s->real->exec->peek(s->real, va, &got, 1) || got != want)
                return true;
        }
    return false;
}

// Has something else written what the region read or wrote?
static bool disturbed(struct shadow *s)
{
    for (size_t k = 0; k < s->loads.len; k++) {
        const struct touched *l = &s->loads.data[k];
        union ir_val now = {0};
        bool own = false;
        for (size_t n = 0; n < s->stores.len; n++)
            own |= l->va - s->stores.data[n].va < s->stores.data[n].size ||
                   s->stores.data[n].va - l->va < l->size;
        if (!own &&
            (s->real->exec->peek(s->real, l->va, &now, l->size) || memcmp(&now, &l->val, l->size)))
            return true;
    }
    return false;
}

static void report(struct jit_vcpu *v, const struct block *b, const char *what)
{
    struct jit *j = v->jit;
    struct buf text = {0};
    ir_print(&v->region, &text);
    buf_printf(&text, "host code:\n");
    jit_print_code(j->rx + b->code, b->code_size, &text);
    log_error("verify: host code and interpreter differ in %s\n%s", what, buf_str(&text));
    buf_free(&text);
}

static const char *difference(struct jit_vcpu *v, struct shadow *s)
{
    const struct ir_guest *g = v->jit->c.guest;
    for (unsigned k = 0; k < g->n_slots; k++)
        if (slot_differs(s, &g->slots[k]))
            return g->slots[k].name;
    if (s->real->fp.flags != ((struct env *)s->cpu)->fp.flags)
        return "the floating-point flags";
    return memory_differs(s) ? "memory" : NULL;
}

void jit_verify_after(struct jit_vcpu *v, const struct block *b, bool left, enum env_leave why)
{
    struct shadow *s = v->shadow;
    bool left_too = s->outcome.kind == OUT_LEAVE;
    if (!s->ran || left != left_too || (left && why != s->outcome.why))
        return;
    s->real->exec->fp_sync(s->real);
    v->stats.verified++;
    const char *what = difference(v, s);
    if (!what || disturbed(s))
        return;
    if (!v->stats.differences++)
        report(v, b, what);
}

void jit_verify_free(struct jit_vcpu *v)
{
    if (!v->shadow)
        return;
    vec_free(&v->shadow->loads);
    vec_free(&v->shadow->stores);
    free(v->shadow);
}
