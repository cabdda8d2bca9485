// From a guest pc to a block: where its bytes are, the block if there is one, else a new one. One
// thread translates at a time; looking up needs no lock.
#include "jit/translate.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "jit/access.h"
#include "jit/verify.h"

#include <stdlib.h>

enum { ROOM = 256 * 1024 };

static void fetch_fault(struct jit_vcpu *v, struct env_fault *f)
{
    struct env *e = jit_env(v);
    e->fault = *f;
    if (v->jit->c.user_mode)
        jit_leave(e, LEAVE_SIGNAL);
    e->isa->take_fault(e, f);
}

// Is there a byte at this host address? (User mode: the guest may jump anywhere.)
static bool readable(struct jit_vcpu *v, const uint8_t *host)
{
    sigjmp_buf at;
    v->probe = &at;
    bool ok = !sigsetjmp(at, 0);
    if (ok)
        (void)*(const volatile uint8_t *)host;
    v->probe = NULL;
    return ok;
}

// As jit_resolve_code.
static int code_page(struct jit_vcpu *v, uint64_t pc, struct code_fetch *out, struct env_fault *f)
{
    if (!v->jit->c.user_mode)
        return jit_resolve_code(v, pc, out, f);
    struct env *e = jit_env(v);
    *out =
        (struct code_fetch){.va = pc & PAGE_MASK, .host = v->jit->c.user_base + (pc & PAGE_MASK)};
    if (readable(v, out->host))
        return 0;
    e->isa->bus_fault(e, pc, ENV_EXEC, MEM_UNMAPPED, f);
    return -1;
}

// Code that does not lie in RAM, byte by byte.
static int fetch_mmio(struct jit_vcpu *v, uint64_t va, uint8_t *out, struct env_fault *f)
{
    struct env *e = jit_env(v);
    struct env_xlat x;
    uint64_t val = 0;
    if (e->isa->translate(e, va, ENV_EXEC, MMU_MAIN, &x, f))
        return -1;
    enum mem_result r = space_read(x.space, x.pa, 1, &val, x.attrs);
    if (r != MEM_OK) {
        e->isa->bus_fault(e, va, ENV_EXEC, r, f);
        return -1;
    }
    *out = (uint8_t)val;
    return 0;
}

unsigned jit_fetch(struct env *e, uint64_t va, void *dst, unsigned n)
{
    struct jit_vcpu *v = jit_vcpu_of(e);
    uint8_t *out = dst;
    unsigned got = 0;
    while (got < n) {
        struct code_fetch c;
        unsigned k = (unsigned)MIN((uint64_t)(n - got), PAGE_SIZE - (va & ~PAGE_MASK));
        int r = code_page(v, va, &c, &e->fault);
        if (r == 0)
            memcpy(out + got, c.host + (va & ~PAGE_MASK), k);
        else if (r < 0 || fetch_mmio(v, va, out + got, &e->fault))
            return got;
        else
            k = 1;
        got += k;
        va += k;
    }
    return got;
}

// The mode as the ISA knows it.
static uint64_t isa_mode(const struct jit_vcpu *v)
{
    return v->mode & ~JIT_MODE_STRICT_FP;
}

// ---- making a block ----

static uint64_t chunks_of(uint64_t first, uint64_t last)
{
    unsigned lo = (unsigned)(first * CODE_CHUNKS / PAGE_SIZE),
             hi = (unsigned)(last * CODE_CHUNKS / PAGE_SIZE);
    return (~0ull >> (63 - (hi - lo))) << lo;
}

// The part of the code that lies on the next page, pinned too. True when it was not pinned before:
// then the bytes must be read again.
static bool second_page(struct jit_vcpu *v, struct block *b, uint64_t va, const struct ir_region *r,
                        struct code_fetch *pinned)
{
    uint64_t first = va & ~PAGE_MASK, end = first + MAX(r->n_bytes, 1u);
    b->chunks[0] = chunks_of(first - r->n_before, MIN(end, PAGE_SIZE) - 1);
    b->page[1] = 0;
    if (end <= PAGE_SIZE)
        return false;
    struct code_fetch c;
    struct env_fault f;
    if (code_page(v, (va & PAGE_MASK) + PAGE_SIZE, &c, &f))
        return false;
    b->page[1] = (uintptr_t)c.host;
    b->chunks[1] = chunks_of(0, end - PAGE_SIZE - 1);
    if (pinned->host == c.host)
        return false;
    jit_code_page_pin(v->jit, &c);
    if (pinned->host)
        jit_code_page_unpin(v->jit, pinned);
    *pinned = c;
    jit_cache_room(v->jit, ROOM); // the lock was dropped
    return true;
}

static void log_ir(const struct ir_region *r)
{
    struct buf text = {0};
    ir_print(r, &text);
    log_debug("IR:\n%s", buf_str(&text));
    buf_free(&text);
}

static void log_code(const struct jit *j, const struct block *b)
{
    struct buf text = {0};
    jit_print_code(j->rx + b->code, b->code_size, &text);
    log_debug("OUT: 0x%llx, %u bytes for %u guest instructions\n%s", (unsigned long long)b->pc,
              b->code_size, b->n_guest_insns, buf_str(&text));
    buf_free(&text);
}

// `code` has the bytes of the page.
static struct block *compile(struct jit_vcpu *v, uint64_t pc, const struct code_fetch *c,
                             const uint8_t *code, struct code_fetch *second)
{
    struct jit *j = v->jit;
    struct block made = {
        .pc = pc - ir_pc_base(v->mode, pc), .mode = v->mode, .page = {(uintptr_t)c->host}};
    unsigned off = (unsigned)(pc & ~PAGE_MASK), avail = (unsigned)PAGE_SIZE - off;
    code += off;
    for (unsigned limit = JIT_MAX_INSNS; limit; limit /= 2) {
        struct ir_region *r = &j->region;
        do {
            ir_region_reset(r, j->c.guest, pc, isa_mode(v));
            if (!j->c.translate(j->c.opaque, jit_env(v), pc, isa_mode(v), code, avail, limit, r))
                return NULL;
        } while (second_page(v, &made, pc, r, second));
        if (!j->c.no_loops)
            ir_form_loop(&j->loop_pass, r);
        if (log_on(LOG_IR))
            log_ir(r);
        made.loops = ir_loop_of(r) != IR_NONE;
        made.n_guest_insns = r->n_guest_insns;
        struct block *b = jit_meta_take(j, sizeof *b);
        BUG_ON(!b); // jit_cache_room
        *b = made;
        if (!j->host->compile(j, r, b)) {
            jit_meta_give_back(j, b);
            continue;
        }
        if (log_on(LOG_OUT_ASM))
            log_code(j, b);
        if (j->c.verify)
            jit_verify_keep(v, b, code, avail);
        jit_block_add(j, b);
        v->stats.regions++;
        v->stats.guest_insns += r->n_guest_insns;
        v->stats.host_bytes += b->code_size;
        return b;
    }
    BUG_ON("one instruction does not fit");
    __builtin_unreachable();
}

// A program may rewrite it meanwhile: both ways are made of the same bytes.
static struct block *compile_copy(struct jit_vcpu *v, uint64_t pc, const struct code_fetch *c,
                                  struct code_fetch *second)
{
    uint8_t copy[PAGE_SIZE];
    memcpy(copy, c->host, PAGE_SIZE);
    return compile(v, pc, c, copy, second);
}

static struct block *translate(struct jit_vcpu *v, uint64_t pc, const struct code_fetch *c)
{
    struct jit *j = v->jit;
    struct code_fetch second = {0};
    jit_lock(j);
    jit_code_page_pin(j, c);
    jit_cache_room(j, ROOM);
    struct block *b = jit_block_find(j, pc - ir_pc_base(v->mode, pc), v->mode, (uintptr_t)c->host);
    if (!b) {
        int64_t t = host_monotonic_ns();
        b = j->c.verify ? compile_copy(v, pc, c, &second) : compile(v, pc, c, c->host, &second);
        v->stats.translate_ns += (uint64_t)(host_monotonic_ns() - t);
    }
    if (second.host)
        jit_code_page_unpin(j, &second);
    jit_code_page_unpin(j, c);
    jit_unlock(j);
    return b;
}

// Blocks of two pages: is the second one still there?
static bool same_second_page(struct jit_vcpu *v, const struct block *b, uint64_t pc)
{
    struct code_fetch c;
    struct env_fault f;
    return !b->page[1] ||
           (!code_page(v, (pc & PAGE_MASK) + PAGE_SIZE, &c, &f) && (uintptr_t)c.host == b->page[1]);
}

static void jump_fill(struct jit_vcpu *v, uint64_t pc, const struct block *b)
{
    size_t n = jump_index(pc);
    struct jump_entry *e = &v->jump[n];
    atomic_store(&e->pc, jump_nowhere(n));
    atomic_store_explicit(&e->id, v->code_id, memory_order_relaxed);
    atomic_store_explicit(&e->code, b->code, memory_order_relaxed);
    atomic_store(&e->pc, pc);
    if (!atomic_load(&b->valid)) // killed meanwhile: whoever did may have looked here too early
        atomic_store(&e->pc, jump_nowhere(n));
}

struct block *jit_find(struct jit_vcpu *v, uint64_t pc)
{
    struct code_fetch c;
    struct env_fault f = {0};
    v->stats.lookups++;
    int r = code_page(v, pc, &c, &f);
    if (r < 0) {
        fetch_fault(v, &f);
        return NULL;
    }
    if (r > 0) {
        v->step = true;
        return NULL;
    }
    v->linkable = v->jit->c.user_mode || jit_code_page_seen(v, pc, &c);
    struct block *b =
        jit_block_find(v->jit, pc - ir_pc_base(v->mode, pc), v->mode, (uintptr_t)c.host);
    if (b && unlikely(!same_second_page(v, b, pc))) {
        jit_lock(v->jit);
        jit_block_kill(v->jit, b);
        jit_unlock(v->jit);
        b = NULL;
    }
    if (!b) {
        v->stats.lookup_misses++;
        b = translate(v, pc, &c);
    }
    if (b && b->page[1] && !v->jit->c.user_mode)
        v->linkable = false;                   // only looking it up compares the second page
    if (b && v->linkable && !v->jit->c.verify) // else code finds it without coming back
        jump_fill(v, pc, b);
    return b;
}

enum env_leave jit_interpret(struct jit_vcpu *v, unsigned max_insns)
{
    struct jit *j = v->jit;
    struct env *e = jit_env(v);
    uint64_t pc = jit_pc(v);
    uint8_t code[64];
    struct code_fetch c;
    struct env_fault f = {0};
    const uint8_t *at = code;
    unsigned avail = 0;
    int r = code_page(v, pc, &c, &f);
    if (r == 0) {
        at = c.host + (pc & ~PAGE_MASK);
        avail = (unsigned)(PAGE_SIZE - (pc & ~PAGE_MASK));
    } else if (r > 0) {
        max_insns = 1;
        avail = jit_fetch(e, pc, code, 16);
        f = e->fault;
    }
    if (!avail) {
        fetch_fault(v, &f);
        return LEAVE_AGAIN;
    }
    ir_region_reset(&v->region, j->c.guest, pc, isa_mode(v));
    if (!j->c.translate(j->c.opaque, e, pc, isa_mode(v), at, avail, max_insns, &v->region))
        return LEAVE_AGAIN;
    struct ir_outcome out = ir_interp(&v->region, e);
    return out.kind == OUT_LEAVE ? out.why : LEAVE_AGAIN;
}
