// Vector loads and stores, element by element: a fault leaves vstart at the element that met it.
// What lies together in one page of memory, where nothing can fault, is copied.
#include "isa/riscv/system/system.h"
#include "isa/riscv/vec/vec.h"

struct access {
    struct rv_vec v;
    bool load;
    unsigned size;         // log2 of an element's bytes
    unsigned fields, step; // of a segment; bytes from a field's group to the next
    uint64_t base;
};

static void element(struct access *a, uint64_t i, unsigned field, uint64_t va)
{
    struct rv_cpu *c = a->v.c;
    const struct env_exec_ops *x = c->env.exec;
    va = rv_address_of(c, va);
    uint8_t *group = rv_vreg(c, rv_vd(a->v.raw)) + (size_t)field * a->step;
    if (a->load)
        rv_vput(group, a->size, i, x->load(&c->env, va, a->size));
    else
        x->store(&c->env, va, rv_vget(group, a->size, i), a->size);
}

static void segment(struct access *a, uint64_t i, uint64_t va)
{
    a->v.c->vstart = i;
    for (unsigned f = 0; f < a->fields; f++)
        element(a, i, f, va + ((uint64_t)f << a->size));
}

// Between memory, as `bytes` has it, and element i of the groups.
static void copy_segment(struct access *a, uint64_t i, uint8_t *bytes)
{
    uint8_t *group = rv_vreg(a->v.c, rv_vd(a->v.raw)), *at = bytes + (i * a->fields << a->size);
    for (unsigned f = 0; f < a->fields; f++, group += a->step, at += 1u << a->size) {
        if (a->load)
            rv_vput(group, a->size, i, rv_vget(at, a->size, 0));
        else
            rv_vput(at, a->size, 0, rv_vget(group, a->size, i));
    }
}

static bool takes_part(const struct access *a, uint64_t i)
{
    return !a->v.masked || rv_vbit(a->v.c->v, i);
}

// Protection that differs within the page that was translated last.
static bool protected_in_parts(const struct rv_cpu *c)
{
    uint64_t span;
    if (c->config.user_mode)
        return false;
    rv_pmp_perms(c, c->judged.pa, 1, c->judged.priv, &span);
    return span < IR_PAGE_SIZE;
}

// The elements of a run that is stored lie in one page of memory. A machine's memory has been
// written by a store of its own first, so that none of the others can fault; a program's may fault
// here.
static bool store_runs(struct access *a, uint64_t n, uint64_t va, uint8_t *bytes)
{
    struct rv_cpu *c = a->v.c;
    const unsigned each = a->fields << a->size;
    bool first = !c->config.user_mode;
    for (uint64_t i = 0, from; i < n; i++) {
        if (!takes_part(a, i))
            continue;
        if (first)
            segment(a, i, a->base + i * each);
        first = false;
        for (from = i; i < n && takes_part(a, i); i++)
            copy_segment(a, i, bytes);
        if (c->env.exec->poke(&c->env, va + from * each, bytes + from * each, (i - from) * each))
            return false;
    }
    return true;
}

// All of n segments that lie together in one page of memory. False: they are to be accessed one by
// one, whatever has been stored.
static bool together(struct access *a, uint64_t n)
{
    struct rv_cpu *c = a->v.c;
    const bool user = c->config.user_mode;
    const unsigned few = user ? 1 : 4; // a look into the page tables costs more than they do
    uint64_t va = rv_address_of(c, a->base), bytes = n * a->fields << a->size;
    uint8_t now[8 * RV_VLENB_MAX];
    if (n * a->fields <= few || c->vstart || c->env.n_watchpoints ||
        (va & (IR_PAGE_SIZE - 1)) + bytes > IR_PAGE_SIZE)
        return false;
    if ((a->load || !user) && (c->env.exec->peek(&c->env, va, now, bytes) || protected_in_parts(c)))
        return false;
    if (!a->load) {
        bool done = store_runs(a, n, va, now);
        c->vstart = 0;
        return done;
    }
    if (!a->v.masked && a->fields == 1) {
        memcpy(rv_vreg(c, rv_vd(a->v.raw)), now, bytes);
        return true;
    }
    for (uint64_t i = 0; i < n; i++)
        if (takes_part(a, i))
            copy_segment(a, i, now);
    return true;
}

// Whole registers and masks: bytes, whatever vtype says.
static void plain(struct access *a, uint64_t n)
{
    struct rv_cpu *c = a->v.c;
    a->size = 0;
    a->fields = 1;
    if (together(a, n))
        return;
    for (uint64_t i = c->vstart; i < n; i++) {
        c->vstart = i;
        element(a, i, 0, a->base + i);
    }
    c->vstart = 0;
}

// Only the first element may fault; another that cannot be read ends the vector before it.
static void first_only(struct access *a)
{
    struct rv_cpu *c = a->v.c;
    uint8_t bytes[64];
    unsigned n = a->fields << a->size;
    if (together(a, a->v.vl))
        return;
    for (uint64_t i = c->vstart; i < a->v.vl; i++) {
        uint64_t va = a->base + i * n;
        if (!takes_part(a, i))
            continue;
        if (i && c->env.exec->peek(&c->env, rv_address_of(c, va), bytes, n)) {
            c->vl = i;
            break;
        }
        segment(a, i, va);
    }
    c->vstart = 0;
}

void rv_vec_access(struct env *e, uint32_t id, uint32_t raw)
{
    static const uint8_t widths[8] = {0, 0, 0, 0, 0, 1, 2, 3};
    struct rv_cpu *c = rv_cpu(e);
    struct access a = {.load = !bit(raw, 5), .base = c->x[rv_vs1(raw)]};
    unsigned width = widths[bits(raw, 14, 12)], mop = (unsigned)bits(raw, 27, 26);
    a.v = (struct rv_vec){.c = c, .raw = raw, .vl = c->vl, .masked = !rv_vm(raw)};
    a.v.sew = (unsigned)bits(c->vtype, 4, 3);
    unsigned whole = rv_vec_whole(id);
    if (whole) {
        plain(&a, (uint64_t)whole * c->vlenb);
        return;
    }
    if (id == RV_VLM_V || id == RV_VSM_V) {
        plain(&a, (c->vl + 7) / 8);
        return;
    }
    int lmul = (int)(c->vtype & 7);
    lmul = lmul < 4 ? lmul : lmul - 8;
    int emul = mop & 1 ? lmul : (int)width - (int)a.v.sew + lmul;
    a.size = mop & 1 ? a.v.sew : width;
    a.fields = 1 + (unsigned)bits(raw, 31, 29);
    a.step = c->vlenb << MAX(emul, 0);
    if (id >= RV_VLE8FF_V && id <= RV_VLE64FF_V) {
        first_only(&a);
        return;
    }
    if (!mop && together(&a, a.v.vl))
        return;
    uint64_t stride = mop == 2 ? c->x[rv_vs2(raw)] : (uint64_t)a.fields << a.size;
    for (uint64_t i = c->vstart; i < a.v.vl; i++) {
        if (!takes_part(&a, i))
            continue;
        uint64_t offset = mop & 1 ? rv_vget(rv_vreg(c, rv_vs2(raw)), width, i) : i * stride;
        segment(&a, i, a.base + offset);
    }
    c->vstart = 0;
}
