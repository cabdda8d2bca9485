// The soft MMU: each vCPU's cache of address translations, as translated code reads it, and what
// happens when it misses. Only RAM is cached; a page is cached for writing only when a store to it
// need not be seen (no translated code on it, no dirty tracking waiting, not ROM). Entries pushed
// out go to a small victim buffer. Global pages filled under another address space are retagged
// instead of walked for.
#include "base/bits.h"
#include "jit/state.h"
#include "memory/dirty.h"

static struct tlb_entry *slot_of(struct jit_vcpu *v, gva_t va)
{
    return &v->tlb[va >> PAGE_BITS & (TLB_SIZE - 1)];
}

static uint64_t tag_of(const struct jit_vcpu *v, gva_t va, unsigned mmu)
{
    return (va & PAGE_MASK) | v->key[mmu];
}

static uint64_t any_tag(const struct tlb_entry *t)
{
    return t->rtag ? t->rtag : t->wtag;
}

// ---- flushing ----

void jit_tlb_flush_all(struct jit_vcpu *v)
{
    if (!v->jit->c.user_mode) { // which has no use for it
        memset(v->tlb, 0, sizeof v->tlb);
        memset(v->victim, 0, sizeof v->victim);
    }
    memset(v->itlb, 0, sizeof v->itlb);
    memset(v->large_bloom, 0, sizeof v->large_bloom);
    v->huge_lo = ~0ull;
    v->huge_hi = 0;
    jit_keys_reset(v);
}

static void drop(struct tlb_entry *t)
{
    atomic_store_explicit(&t->rtag, 0, memory_order_relaxed);
    atomic_store_explicit(&t->wtag, 0, memory_order_relaxed);
}

// Upper address bits may be a tag the guest's walk ignores: the low 48 decide.
static bool in_range(uint64_t page, uint64_t va, uint64_t len)
{
    return ((page - va) & mask_low(48)) < len;
}

static void drop_range(struct tlb_entry *t, uint64_t va, uint64_t len)
{
    uint64_t tag = any_tag(t);
    if (!tag)
        return;
    uint64_t size = 1ull << (t->extra >> TLBX_SIZE_SHIFT & TLBX_SIZE_MASK);
    uint64_t lo = va & -size, hi = (va + len + size - 1) & -size;
    if (in_range(tag & PAGE_MASK, lo, hi - lo))
        drop(t);
}

static unsigned piece_hash(uint64_t va)
{
    return (unsigned)((va >> PIECE_BITS) * 0x9e3779b97f4a7c15ull >> 54);
}

static void note_large(struct jit_vcpu *v, uint64_t va, uint64_t size)
{
    if (size <= 1ull << PIECE_BITS) {
        v->large_bloom[piece_hash(va) >> 6] |= 1ull << (piece_hash(va) & 63);
    } else {
        v->huge_lo = MIN(v->huge_lo, va & -size);
        v->huge_hi = MAX(v->huge_hi, va | (size - 1));
    }
}

// May an entry of a larger mapping overlap [va, va+len)? Only then need all entries be looked at.
bool jit_near_large(const struct jit_vcpu *v, uint64_t va, uint64_t len)
{
    uint64_t last = va + (len - 1);
    if (va <= v->huge_hi && last >= v->huge_lo)
        return true;
    if ((last - va) >> PIECE_BITS > 16)
        return true;
    for (uint64_t p = va >> PIECE_BITS; p <= last >> PIECE_BITS; p++) {
        unsigned h = piece_hash(p << PIECE_BITS);
        if (v->large_bloom[h >> 6] >> (h & 63) & 1)
            return true;
    }
    return false;
}

static void flush_range(struct jit_vcpu *v, uint64_t va, uint64_t len)
{
    uint64_t from = va & PAGE_MASK;
    len = ((va + len + ~PAGE_MASK) & PAGE_MASK) - from;
    if (jit_near_large(v, from, len) || len > 64 * PAGE_SIZE) {
        for (unsigned k = 0; k < TLB_SIZE; k++)
            drop_range(&v->tlb[k], from, len);
    } else {
        for (uint64_t at = from; at - from < len; at += PAGE_SIZE) {
            struct tlb_entry *t = slot_of(v, at);
            if (in_range(any_tag(t) & PAGE_MASK, at, PAGE_SIZE))
                drop(t);
        }
    }
    for (unsigned k = 0; k < TLB_VICTIMS; k++)
        drop_range(&v->victim[k], from, len);
    if (len > ITLB_SIZE * PAGE_SIZE || jit_near_large(v, from, len)) {
        memset(v->itlb, 0, sizeof v->itlb);
        return;
    }
    for (uint64_t at = from; at - from < len; at += PAGE_SIZE) {
        struct code_fetch *c = &v->itlb[at >> PAGE_BITS & (ITLB_SIZE - 1)];
        if (in_range(c->va, at, PAGE_SIZE))
            c->host = NULL;
    }
}

void jit_tlb_flush(struct jit_vcpu *v, const struct env_flush *f)
{
    if (f->len) {
        flush_range(v, f->va, f->len);
        jit_code_forget(v, f);
    } else {
        jit_keys_forget(v, f);
        memset(v->itlb, 0, sizeof v->itlb);
    }
    jit_code_id_refresh(v);
}

void jit_flush_queue(struct jit_vcpu *v)
{
    mutex_lock(&v->queue_lock);
    if (v->queued > FLUSH_QUEUE) {
        jit_tlb_flush_all(v);
        jit_code_forget_all(v);
        jit_code_id_refresh(v);
    } else {
        for (unsigned k = 0; k < v->queued; k++)
            jit_tlb_flush(v, &v->queue[k]);
    }
    v->queued = 0;
    atomic_fetch_and(&v->pending, ~(uint32_t)PEND_FLUSH);
    mutex_unlock(&v->queue_lock);
}

// It will forget everything before it looks at anything again: one that is off, or idle for long.
// What the caller has changed before is seen by whatever it looks up after.
static bool forgets_all(const struct jit_vcpu *o)
{
    return atomic_load(&o->queued) > FLUSH_QUEUE;
}

static void post(struct jit_vcpu *o, const struct env_flush *f)
{
    mutex_lock(&o->queue_lock);
    unsigned n = o->queued;
    if (n < FLUSH_QUEUE)
        o->queue[n] = *f;
    o->queued = MIN(n + 1, FLUSH_QUEUE + 1u);
    mutex_unlock(&o->queue_lock);
    jit_kick(o, PEND_FLUSH);
}

void jit_flush(struct env *e, const struct env_flush *f, bool broadcast)
{
    struct jit_vcpu *v = jit_vcpu_of(e);
    struct jit *j = v->jit;
    if (!f->len)
        jit_code_ids_renew(j, f);
    jit_tlb_flush(v, f);
    if (broadcast)
        atomic_thread_fence(memory_order_seq_cst);
    for (unsigned k = 0; broadcast && k < j->c.max_vcpus; k++) {
        struct jit_vcpu *o = __atomic_load_n(&j->vcpu[k], __ATOMIC_ACQUIRE);
        if (!o || o == v)
            continue;
        if (!forgets_all(o))
            post(o, f);
        v->posted |= atomic_load(&o->in_code) != 0;
    }
}

void jit_sync(struct env *e)
{
    struct jit_vcpu *v = jit_vcpu_of(e);
    if (!v->posted)
        return;
    v->posted = false;
    jit_wait_flushed(v->jit);
}

static uintptr_t addend(const struct tlb_entry *t)
{
    return atomic_load_explicit(&t->addend, memory_order_relaxed);
}

static void drop_writes(struct tlb_entry *t, size_t n, const uint8_t *host_page)
{
    for (const struct tlb_entry *end = t + n; t < end; t++) {
        uint64_t tag = atomic_load_explicit(&t->wtag, memory_order_acquire);
        if (unlikely(addend(t) + (tag & PAGE_MASK) == (uintptr_t)host_page) && tag)
            atomic_store(&t->wtag, 0);
    }
}

void jit_tlb_drop_writes(struct jit *j, const uint8_t *host_page)
{
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned k = 0; k < j->c.max_vcpus; k++) {
        struct jit_vcpu *v = __atomic_load_n(&j->vcpu[k], __ATOMIC_ACQUIRE);
        if (!v || (forgets_all(v) && !atomic_load(&v->in_code)))
            continue;
        atomic_fetch_add(&v->drops, 1); // odd: its owner must not trust what it moves now
        drop_writes(v->tlb, TLB_SIZE, host_page);
        drop_writes(v->victim, TLB_VICTIMS, host_page);
        atomic_fetch_add(&v->drops, 1);
    }
}

// ---- filling ----

static uint8_t *hit(const struct tlb_entry *t, uint64_t tag, gva_t va, enum env_access access)
{
    uint64_t have = access == ENV_WRITE ? t->wtag : t->rtag;
    return have == tag ? (uint8_t *)(addend(t) + va) : NULL;
}

// Entries that moved while jit_tlb_drop_writes looked for them may have escaped it.
static void check_moved(struct jit_vcpu *v, uint32_t drops, struct tlb_entry *a,
                        struct tlb_entry *b)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (likely(!(drops & 1) && atomic_load(&v->drops) == drops))
        return;
    atomic_store(&a->wtag, 0);
    atomic_store(&b->wtag, 0);
}

uint8_t *jit_tlb_host(struct jit_vcpu *v, gva_t va)
{
    return hit(slot_of(v, va), tag_of(v, va, MMU_MAIN), va, ENV_READ);
}

static void copy_entry(struct tlb_entry *to, const struct tlb_entry *from)
{
    to->extra = from->extra;
    atomic_store_explicit(&to->addend, addend(from), memory_order_relaxed);
    atomic_store(&to->rtag, from->rtag);
    atomic_store(&to->wtag, from->wtag);
}

static void swap_in(struct jit_vcpu *v, struct tlb_entry *t, struct tlb_entry *from)
{
    uint32_t drops = atomic_load(&v->drops);
    struct tlb_entry keep;
    copy_entry(&keep, t);
    drop(t);
    copy_entry(t, from);
    copy_entry(from, &keep);
    check_moved(v, drops, t, from);
}

// The page under another live key of a context that differs in its address space alone.
static bool retag(struct jit_vcpu *v, struct tlb_entry *t, gva_t va, unsigned mmu)
{
    uint64_t tag = any_tag(t), mask = jit_env(v)->isa->ctx_space_mask;
    unsigned key = tag & ~PAGE_MASK;
    if (v->jit->c.no_tlb_retag || !tag || (tag ^ va) & PAGE_MASK || !(t->extra & TLBX_GLOBAL) ||
        !v->key_live[key] || (v->key_ctx[key] ^ v->ctx[mmu]) & ~mask)
        return false;
    uint64_t fresh = tag_of(v, va, mmu);
    if (t->rtag)
        atomic_store(&t->rtag, fresh);
    uint64_t w = t->wtag; // may be dropped by another thread meanwhile
    if (w)
        atomic_compare_exchange_strong(&t->wtag, &w, fresh);
    v->stats.tlb_retags++;
    return true;
}

static uint8_t *probe(struct jit_vcpu *v, gva_t va, enum env_access access, unsigned mmu)
{
    uint64_t tag = tag_of(v, va, mmu);
    struct tlb_entry *t = slot_of(v, va);
    // Who marks a page as code waits for stores of translated code alone: others report theirs.
    if (access == ENV_WRITE && !atomic_load_explicit(&v->in_code, memory_order_relaxed))
        return NULL;
    uint8_t *host = hit(t, tag, va, access);
    if (host)
        return host;
    if (retag(v, t, va, mmu) && (host = hit(t, tag, va, access)))
        return host;
    for (unsigned k = 0; k < TLB_VICTIMS; k++)
        if (hit(&v->victim[k], tag, va, access)) {
            swap_in(v, t, &v->victim[k]);
            return hit(t, tag, va, access);
        }
    return NULL;
}

static void fill(struct jit_vcpu *v, gva_t va, unsigned mmu, const struct access *a)
{
    struct tlb_entry *t = slot_of(v, va);
    uint64_t tag = tag_of(v, va, mmu), old = any_tag(t);
    if (old && old != tag && v->key_live[old & ~PAGE_MASK] && !v->jit->c.no_tlb_victims) {
        struct tlb_entry *victim = &v->victim[v->victim_next++ % TLB_VICTIMS];
        uint32_t drops = atomic_load(&v->drops);
        copy_entry(victim, t);
        check_moved(v, drops, t, victim);
    }
    drop(t);
    uint64_t size = MAX(a->x.page_size, PAGE_SIZE);
    if (size > PAGE_SIZE) {
        note_large(v, va, size);
    }
    atomic_store_explicit(&t->addend, (uintptr_t)a->host - va, memory_order_relaxed);
    t->extra = (a->x.global ? TLBX_GLOBAL : 0) | (uint64_t)log2_floor(size) << TLBX_SIZE_SHIFT;
    uint64_t page_off = a->hit.off & PAGE_MASK;
    if (a->x.perms & ENV_READ)
        atomic_store(&t->rtag, tag);
    if (a->x.perms & ENV_WRITE && !a->hit.readonly && !dirty_needs_trap(a->hit.ram, page_off)) {
        atomic_store(&t->wtag, tag);
        if (ram_code_marked(a->hit.ram, page_off)) // looked at after the tag is there: see mark
            atomic_store(&t->wtag, 0);
    }
    v->stats.tlb_fills++;
}

// All of the page is the same memory, whether it lies before the address or behind.
static bool cacheable(const struct access *a, gva_t va)
{
    return a->host && !a->x.device && !a->x.watched && a->x.page_size >= PAGE_SIZE &&
           (a->hit.off & ~PAGE_MASK) == (va & ~PAGE_MASK) &&
           space_lookup(a->x.space, a->x.pa & PAGE_MASK).len >= PAGE_SIZE;
}

int jit_resolve(struct jit_vcpu *v, gva_t va, enum env_access access, unsigned mmu,
                struct access *out, struct env_fault *f)
{
    struct env *e = jit_env(v);
    out->host = probe(v, va, access, mmu);
    out->hit.ram = NULL;
    if (out->host)
        return 0;
    if (e->isa->translate(e, va, access, mmu, &out->x, f))
        return -1;
    if (unlikely(e->n_watchpoints) &&
        env_watched(e, va & PAGE_MASK, PAGE_SIZE, ENV_READ | ENV_WRITE))
        out->x.watched = true;
    out->hit = space_lookup(out->x.space, out->x.pa);
    if (out->hit.kind == SPACE_NOTHING) {
        e->isa->bus_fault(e, va, access, MEM_UNMAPPED, f);
        return -1;
    }
    if (out->hit.kind == SPACE_MMIO) {
        out->hit.ram = NULL;
        return 0;
    }
    out->host = ram_host(out->hit.ram) + out->hit.off;
    if (cacheable(out, va))
        fill(v, va, mmu, out);
    return 0;
}

int jit_resolve_code(struct jit_vcpu *v, uint64_t va, struct code_fetch *out, struct env_fault *f)
{
    struct env *e = jit_env(v);
    struct code_fetch *c = &v->itlb[va >> PAGE_BITS & (ITLB_SIZE - 1)];
    uint64_t page = va & PAGE_MASK;
    if (c->host && c->va == page && c->key == v->key[MMU_MAIN]) {
        *out = *c;
        return 0;
    }
    struct env_xlat x;
    if (e->isa->translate(e, va, ENV_EXEC, MMU_MAIN, &x, f))
        return -1;
    struct space_hit h = space_lookup(x.space, x.pa & PAGE_MASK);
    if (h.kind == SPACE_NOTHING) {
        e->isa->bus_fault(e, va, ENV_EXEC, MEM_UNMAPPED, f);
        return -1;
    }
    if (h.kind != SPACE_RAM || h.len < PAGE_SIZE || h.off & ~PAGE_MASK || x.page_size < PAGE_SIZE)
        return 1;
    *out = (struct code_fetch){page,  ram_host(h.ram) + h.off, h.ram,
                               h.off, v->key[MMU_MAIN],        x.global};
    if (!v->jit->c.no_code_lookup)
        *c = *out;
    if (x.page_size > PAGE_SIZE) { // so that flushes inside it look at code, too
        note_large(v, va, x.page_size);
        v->huge_code |= x.page_size > 1ull << PIECE_BITS;
    }
    return 0;
}
