// -accel dbt,verify=on: every region is first run by the IR interpreter on a copy of the CPU's
// state, with stores kept aside, then as host code on the real one; the first difference is
// reported with the region's IR and host code. What is interpreted was built with the switches of
// the builder off, so that the builder, the loop pass and the host back end are all under test.
// No other CPU runs translated code meanwhile, so that memory is the same for both; while one is in
// a region that cannot be compared, others are not compared either. Left out is what the copy
// cannot do without being noticed: regions that call helpers with an interest in the state,
// accesses to anything but RAM, runs that end in an exception or an interrupt, code that was
// rewritten while it ran.
//
// Other processes, devices and the kernel write memory at any time, so that the two runs may see
// different values, and what was stored may be something else by now. So a difference is looked at
// again, in a copy of the process: there nobody else writes, the touched memory and the CPU have
// what the first run began with, and both runs are made once more. Only what differs there, too, is
// the translator's.
#include "jit/verify.h"

#include "base/buf.h"
#include "base/log.h"
#include "jit/translate.h"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Of a region's runs: the first ones that are all compared where not every run is, and the part of
// the others.
enum { SAMPLE_FIRST = 256, SAMPLE_EVERY = 16 };
enum { MAX_ROUNDS = 1000, GRANULES = 1 << 14, MAX_GRANULES = GRANULES / 2 };

// Eight bytes of memory that the copy has touched.
struct granule {
    gva_t va;
    uint8_t was[8], now[8];
    uint8_t read, stored; // bit sets of bytes; `read`: before anything was stored there
    uint32_t run;         // that this entry belongs to
};

// What a block is compared with.
struct twin {
    struct ir_region region;
    unsigned runs;
};

struct shadow {
    struct env *real;
    jmp_buf give_up;
    struct granule granules[GRANULES]; // a hash table
    uint16_t used[MAX_GRANULES];
    unsigned n_used;
    uint32_t run;
    struct ir_outcome outcome;
    bool ran;       // to its end; then the world waits
    uint8_t *start; // the CPU before both runs
    uint8_t cpu[] __attribute__((aligned(64)));
};

static struct shadow *shadow_of(struct env *e)
{
    return (struct shadow *)((uint8_t *)e - offsetof(struct shadow, cpu));
}

// ---- memory of the copy ----

// False: this is not RAM.
static bool read_memory(struct env *real, gva_t va, void *out, size_t n)
{
    const uint8_t *host = jit_tlb_host(jit_vcpu_of(real), va);
    if (!host)
        return !real->exec->peek(real, va, out, n);
    memcpy(out, host, n);
    return true;
}

static struct granule *granule_at(struct shadow *s, gva_t va)
{
    unsigned at = (unsigned)(va * 0x9e3779b97f4a7c15ull >> 32) & (GRANULES - 1);
    for (; s->granules[at].run == s->run; at = (at + 1) & (GRANULES - 1))
        if (s->granules[at].va == va)
            return &s->granules[at];
    struct granule *g = &s->granules[at];
    *g = (struct granule){.va = va};
    if (s->n_used == MAX_GRANULES || !read_memory(s->real, va, g->was, sizeof g->was))
        longjmp(s->give_up, 1);
    memcpy(g->now, g->was, sizeof g->now);
    g->run = s->run;
    s->used[s->n_used++] = (uint16_t)at;
    return g;
}

// What the copy cannot do: other byte orders and contexts, accesses that fault.
static void check_access(struct shadow *s, gva_t va, unsigned mo)
{
    unsigned align = 1u << ((mo & MO_ALIGN) >> MO_ALIGN_SHIFT);
    if (mo & (MO_BE | MO_MMU) || va & (align - 1))
        longjmp(s->give_up, 1);
}

static union ir_val shadow_get(struct env *e, gva_t va, unsigned mo)
{
    struct shadow *s = shadow_of(e);
    union ir_val v = {0};
    struct granule *g = NULL;
    check_access(s, va, mo);
    for (unsigned k = 0; k < MO_SIZE_BYTES(mo); k++) {
        unsigned byte = (va + k) & 7;
        if (!g || !byte)
            g = granule_at(s, (va + k) & ~7ull);
        g->read |= (uint8_t)(1u << byte & ~g->stored);
        v.u8[k] = g->now[byte];
    }
    return v;
}

static void shadow_put(struct env *e, gva_t va, union ir_val v, unsigned mo)
{
    struct shadow *s = shadow_of(e);
    struct granule *g = NULL;
    check_access(s, va, mo);
    for (unsigned k = 0; k < MO_SIZE_BYTES(mo); k++) {
        unsigned byte = (va + k) & 7;
        if (!g || !byte)
            g = granule_at(s, (va + k) & ~7ull);
        g->stored |= (uint8_t)(1u << byte);
        g->now[byte] = v.u8[k];
    }
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
    return shadow_get(e, va, mo).v;
}

static void shadow_store128(struct env *e, gva_t va, v128 v, unsigned mo)
{
    shadow_put(e, va, (union ir_val){.v = v}, mo);
}

static void shadow_fp_sync(struct env *e) {} // everything is in env.fp

static const struct env_exec_ops shadow_ops = {.fp_sync = shadow_fp_sync,
                                               .load = shadow_load,
                                               .store = shadow_store,
                                               .load128 = shadow_load128,
                                               .store128 = shadow_store128};

// ---- the region to compare with ----

static bool without_side_effects(const struct ir_region *r)
{
    for (size_t i = 1; i < r->insns.len; i++) {
        const struct ir_insn *n = &r->insns.data[i];
        if (n->op == IR_call && r->helpers.data[n->aux]->flags & ~(unsigned)HELPER_FP)
            return false;
    }
    return !(r->mode & IR_MODE_SINGLE);
}

// The same guest instructions once more, or NULL.
static struct twin *again(struct jit_vcpu *v, const struct ir_region *like, bool plain,
                          const uint8_t *code, unsigned avail)
{
    struct jit *j = v->jit;
    struct twin *t = xalloc(sizeof *t);
    struct ir_region *r = &t->region;
    uint64_t pc = jit_pc(v), mode = like->mode;
    r->plain = plain;
    ir_region_reset(r, j->c.guest, pc, mode);
    if (j->c.translate(j->c.opaque, jit_env(v), pc, mode, code, avail, like->n_guest_insns, r) &&
        r->path == like->path && without_side_effects(r))
        return t;
    jit_verify_drop(t);
    return NULL;
}

void jit_verify_keep(struct jit_vcpu *v, struct block *b, const uint8_t *code, unsigned avail)
{
    const struct ir_region *made = &v->jit->region;
    b->twin = again(v, made, true, code, avail);
    if (!b->twin) // conditions known only after folding made it go another way
        b->twin = again(v, made, false, code, avail);
}

void jit_verify_drop(struct twin *twin)
{
    if (twin)
        ir_region_free(&twin->region);
    free(twin);
}

// ---- before ----

// A region that is a loop as host code goes to its own start here.
static void run_shadow(struct shadow *s, const struct block *b)
{
    struct env *e = (struct env *)s->cpu;
    const struct ir_region *r = &b->twin->region;
    uint64_t start = jit_pc(jit_vcpu_of(s->real)), pc = start;
    const void *pc_slot = s->cpu + r->guest->slots[r->guest->pc].offset;
    e->exec = &shadow_ops;
    atomic_store_explicit(&e->interrupt, 0, memory_order_relaxed);
    if (setjmp(s->give_up))
        return;
    for (unsigned round = 0; round < MAX_ROUNDS && !s->ran; round++) {
        s->outcome = ir_interp(r, e);
        memcpy(&pc, pc_slot, sizeof pc);
        bool again = b->loops && s->outcome.kind == OUT_GOTO && pc == start &&
                     s->outcome.insns == r->n_guest_insns;
        s->ran = !again;
    }
}

static void forget_granules(struct shadow *s)
{
    s->ran = false;
    s->n_used = 0;
    if (!++s->run) {
        memset(s->granules, 0, sizeof s->granules);
        s->run = 1;
    }
}

static struct shadow *make_shadow(struct jit_vcpu *v)
{
    if (!v->shadow)
        v->shadow = xalloc(sizeof *v->shadow + 2 * v->jit->c.cpu_size);
    v->shadow->real = jit_env(v);
    v->shadow->start = v->shadow->cpu + v->jit->c.cpu_size;
    forget_granules(v->shadow);
    return v->shadow;
}

static bool due(const struct jit *j, struct twin *t)
{
    unsigned n = t->runs++;
    return !j->c.verify_sample || n < SAMPLE_FIRST || n % SAMPLE_EVERY == 0;
}

// All of a CPU's state but what other threads write.
static void copy_cpu(uint8_t *to, const struct env *from, size_t size)
{
    size_t at = offsetof(struct env, interrupt), end = at + sizeof from->interrupt;
    memcpy(to, from, at);
    memcpy(to + end, (const uint8_t *)from + end, size - end);
}

void jit_verify_before(struct jit_vcpu *v, const struct block *b)
{
    struct shadow *s = make_shadow(v);
    mutex_lock(&v->jit->verify_lock);
    if (b->twin && !v->jit->verify_others && due(v->jit, b->twin)) {
        s->real->exec->fp_sync(s->real);
        copy_cpu(s->start, s->real, v->jit->c.cpu_size);
        copy_cpu(s->cpu, (const struct env *)s->start, v->jit->c.cpu_size);
        run_shadow(s, b);
    }
    if (s->ran)
        return; // with the lock
    v->jit->verify_others++;
    mutex_unlock(&v->jit->verify_lock);
}

// ---- after ----

static unsigned slot_bytes(const struct ir_slot *slot)
{
    switch (slot->type) {
    case IR_V128:
        return 16;
    case IR_I64:
    case IR_F64:
        return 8;
    case IR_BOOL:
        return 1;
    default:
        return 4;
    }
}

static bool slot_equal(const struct shadow *s, const struct ir_slot *slot)
{
    const uint8_t *x = (const uint8_t *)s->real + slot->offset, *y = s->cpu + slot->offset;
    if (slot->type == IR_I64) // nearly all are
        return *(const uint64_t *)x == *(const uint64_t *)y;
    return !memcmp(x, y, slot_bytes(slot));
}

static union ir_val slot_value(const void *cpu, const struct ir_slot *slot)
{
    union ir_val v = {0};
    memcpy(&v, (const uint8_t *)cpu + slot->offset, slot_bytes(slot));
    if (slot->type == IR_FLAGS)
        v.u64[0] &= PACK_MASK;
    return v;
}

// What was stored must be there.
static bool memory_equal(struct shadow *s)
{
    bool equal = true;
    for (unsigned n = 0; n < s->n_used && equal; n++) {
        const struct granule *g = &s->granules[s->used[n]];
        uint8_t real[8];
        equal = read_memory(s->real, g->va, real, sizeof real);
        for (unsigned b = 0; b < 8 && equal; b++)
            equal = !(g->stored >> b & 1) || real[b] == g->now[b];
    }
    return equal;
}

// What differs goes to `out`, a line each; how many.
static unsigned differences(struct jit_vcpu *v, struct shadow *s, struct buf *out)
{
    const struct ir_guest *g = v->jit->c.guest;
    const struct env *copy = (struct env *)s->cpu;
    unsigned n = 0;
    for (unsigned k = 0; k < g->n_slots; k++) {
        if (slot_equal(s, &g->slots[k]))
            continue;
        union ir_val x = slot_value(s->real, &g->slots[k]), y = slot_value(copy, &g->slots[k]);
        if (!memcmp(&x, &y, sizeof x))
            continue;
        n++;
        buf_printf(out, "  %s: host code %016llx%016llx, interpreter %016llx%016llx\n",
                   g->slots[k].name, (unsigned long long)x.u64[1], (unsigned long long)x.u64[0],
                   (unsigned long long)y.u64[1], (unsigned long long)y.u64[0]);
    }
    if (s->real->fp.flags != copy->fp.flags && ++n)
        buf_printf(out, "  floating-point flags: host code %#x, interpreter %#x\n",
                   s->real->fp.flags, copy->fp.flags);
    if (!memory_equal(s) && ++n)
        buf_printf(out, "  memory that was stored to\n");
    return n;
}

static void report(struct jit_vcpu *v, const struct block *b, struct buf *text)
{
    struct jit *j = v->jit;
    ir_print(&b->twin->region, text);
    buf_printf(text, "host code:\n");
    jit_print_code(j->rx + b->code, b->code_size, text);
    log_error("verify: host code and interpreter differ:\n%s", buf_str(text));
}

static bool comparable(const struct shadow *s, const struct block *b, const struct run_result *res)
{
    bool left = res->kind == RUN_LEAVE, left_too = s->outcome.kind == OUT_LEAVE;
    return atomic_load(&b->valid) && left == left_too && (!left || res->arg == s->outcome.why);
}

// ---- once more, alone ----

// The page at host address `at` is nobody else's, and may be written.
static bool make_private(uintptr_t at)
{
    uint8_t copy[PAGE_SIZE];
    void *page = (void *)(at & PAGE_MASK);
    memcpy(copy, page, sizeof copy);
    if (mmap(page, sizeof copy, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
             0) == MAP_FAILED)
        return false;
    memcpy(page, copy, sizeof copy);
    return true;
}

static uint8_t *host_of(struct jit_vcpu *v, gva_t va)
{
    return v->jit->c.user_mode ? v->jit->c.user_base + va : jit_tlb_host(v, va);
}

// Memory as the first run found it.
static bool restore_memory(struct jit_vcpu *v, struct shadow *s)
{
    for (unsigned n = 0; n < s->n_used; n++) {
        const struct granule *g = &s->granules[s->used[n]];
        uint8_t *host = host_of(v, g->va);
        if (!host || !make_private((uintptr_t)host))
            return false;
        memcpy(host, g->was, sizeof g->was);
    }
    return true;
}

// Both runs from the same start; `slow`: with nothing known of where memory is. True: they agree.
static bool agree(struct jit_vcpu *v, const struct block *b, bool slow)
{
    struct shadow *s = v->shadow;
    struct buf text = {0};
    if (!restore_memory(v, s))
        return false;
    forget_granules(s);
    if (slow)
        jit_tlb_flush_all(v);
    copy_cpu((uint8_t *)s->real, (const struct env *)s->start, v->jit->c.cpu_size);
    copy_cpu(s->cpu, (const struct env *)s->start, v->jit->c.cpu_size);
    s->real->exec->fp_changed(s->real);
    run_shadow(s, b);
    if (!s->ran || sigsetjmp(v->leave_to, 0))
        return false;
    struct run_result res = jit_run_block(v, b);
    s->real->exec->fp_sync(s->real);
    return comparable(s, b, &res) && !differences(v, s, &text);
}

// By the fast ways to memory and by the slow ones.
static _Noreturn void try_alone(struct jit_vcpu *v, const struct block *b)
{
    enum { LONG = 10 };
    struct sigaction deadly = {.sa_handler = SIG_DFL};
    sigset_t own;
    sigaction(SIGALRM, &deadly, NULL);
    sigemptyset(&own);
    sigaddset(&own, SIGALRM);
    sigprocmask(SIG_UNBLOCK, &own, NULL);
    alarm(LONG);
    bool same = agree(v, b, false) && (v->jit->c.user_mode || agree(v, b, true));
    _exit(same ? 0 : 1);
}

// Past the C library, whose handlers of forks have no business here, and with no signal at the end.
static bool differs_again(struct jit_vcpu *v, const struct block *b)
{
    int status = 1;
    long pid = syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
    if (!pid)
        try_alone(v, b);
    while (pid > 0 && waitpid((pid_t)pid, &status, __WALL) < 0)
        ;
    return status != 0;
}

void jit_verify_after(struct jit_vcpu *v, const struct block *b, const struct run_result *res)
{
    struct shadow *s = v->shadow;
    if (!s->ran) {
        mutex_lock(&v->jit->verify_lock);
        v->jit->verify_others--;
        v->stats.unverified++;
    } else if (!res || !comparable(s, b, res)) {
        v->stats.unverified++;
    } else {
        s->real->exec->fp_sync(s->real);
        v->stats.verified++;
        struct buf text = {0};
        unsigned n = differences(v, s, &text);
        if (n && !differs_again(v, b))
            v->stats.disturbed++;
        else if (n && !v->stats.differences++)
            report(v, b, &text);
        buf_free(&text);
    }
    mutex_unlock(&v->jit->verify_lock);
}

void jit_verify_free(struct jit_vcpu *v)
{
    free(v->shadow);
}
