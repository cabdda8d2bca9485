// The translator's life and the dispatcher: a machine's struct jit, its vCPUs, and the loop that
// enters translated code and serves whatever it came back for.
#include "jit/access.h"
#include "jit/translate.h"
#include "jit/verify.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

// ---- machine ----

static unsigned flags_slots(const struct ir_guest *g)
{
    unsigned n = 0;
    for (unsigned k = 0; k < g->n_slots; k++)
        n += g->slots[k].type == IR_FLAGS;
    return n;
}

void jit_locks_init(struct jit *j)
{
    pthread_mutexattr_t recursive; // a page-table walk while translating may write to code
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&j->lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_mutex_init(&j->id_lock, NULL);
    pthread_mutex_init(&j->verify_lock, NULL);
    j->verify_others = 0;
}

struct jit *jit_new(const struct jit_config *c, struct err *e)
{
    struct jit *j = xalloc(sizeof *j);
    j->c = *c;
    j->lazy_flags = flags_slots(c->guest) <= 1;
    j->loop_pass.no_peel = c->no_peel;
    j->region.n_resident = c->no_residents ? 0 : c->guest->n_resident;
    j->vcpu = xcalloc(c->max_vcpus, sizeof *j->vcpu);
    j->host = jit_host_native();
    if (!j->host)
        j->c.interpret = true;
    if (j->c.verify) // every region is entered from C
        j->c.no_chain = j->c.no_returns = j->c.no_inline_lookup = true;
    jit_locks_init(j);
    if (jit_cache_init(j, e)) {
        jit_free(j);
        return NULL;
    }
    if (j->host)
        j->host->init(j);
    jit_cache_divide(j);
    return j;
}

void jit_free(struct jit *j)
{
    if (!j)
        return;
    map_for_each(&j->rams, s) ram_code_listen(s->val, NULL, NULL);
    map_free(&j->rams);
    jit_cache_exit(j);
    if (j->host)
        j->host->exit(j);
    for (size_t k = 0; k < j->classes.len; k++)
        free(j->classes.data[k]);
    vec_free(&j->classes);
    vec_free(&j->ids);
    ir_region_free(&j->region);
    ir_loop_pass_free(&j->loop_pass);
    pthread_mutex_destroy(&j->lock);
    pthread_mutex_destroy(&j->id_lock);
    pthread_mutex_destroy(&j->verify_lock);
    free(j->vcpu);
    free(j);
}

// ---- vCPUs ----

static int map_stack(struct jit_vcpu *v, struct err *e)
{
    size_t size = JIT_STACK_SIZE + PAGE_SIZE;
    uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p, PAGE_SIZE, PROT_NONE))
        return err_errno(e, errno, "a CPU's stack for guest calls");
    v->stack_map = p;
    v->jit_base = (uint64_t)(uintptr_t)(p + size - 64);
    uint64_t bottom = (uint64_t)(uintptr_t)v->jit->thunk.ret_miss;
    memcpy((void *)(uintptr_t)v->jit_base, &bottom, 8);
    v->jit_sp = v->jit_base;
    return 0;
}

struct env *jit_vcpu_new(struct jit *j, unsigned index, struct err *e)
{
    BUG_ON(index >= j->c.max_vcpus || j->vcpu[index]);
    size_t size = (sizeof(struct jit_vcpu) + j->c.cpu_size + PAGE_SIZE) & PAGE_MASK;
    struct jit_vcpu *v =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (v == MAP_FAILED) {
        err_errno(e, errno, "a CPU's state");
        return NULL;
    }
    v->jit = j;
    v->map_size = size;
    v->user_base = j->c.user_base;
    pthread_mutex_init(&v->queue_lock, NULL);
    if (map_stack(v, e)) {
        munmap(v, size);
        return NULL;
    }
    struct env *env = jit_env(v);
    env->exec = &jit_exec_ops;
    env->cpu_index = index;
    env->monitor.addr = MONITOR_NONE;
    jit_tlb_flush_all(v);
    jit_fp_init(v);
    if (!j->c.user_mode) { // until it first runs it need not be told of changes
        v->queued = FLUSH_QUEUE + 1;
        v->pending = PEND_FLUSH;
    }
    jit_lock(j); // what was thrown out before it came does not concern it
    atomic_store(&v->epoch_seen, atomic_load(&j->epoch));
    __atomic_store_n(&j->vcpu[index], v, __ATOMIC_RELEASE);
    jit_unlock(j);
    return env;
}

static void vcpu_destroy(struct jit_vcpu *v)
{
    munmap(v->stack_map, JIT_STACK_SIZE + PAGE_SIZE);
    map_free(&v->keys);
    ir_region_free(&v->region);
    jit_verify_free(v);
    pthread_mutex_destroy(&v->queue_lock);
    munmap(v, v->map_size);
}

void jit_vcpu_free(struct env *env)
{
    struct jit_vcpu *v = jit_vcpu_of(env);
    struct jit *j = v->jit;
    jit_lock(j);
    __atomic_store_n(&j->vcpu[env->cpu_index], NULL, __ATOMIC_RELEASE);
    bool looked_at = j->n_waiting;
    if (looked_at) {
        v->next_gone = j->gone;
        j->gone = v;
    }
    jit_unlock(j);
    if (!looked_at)
        vcpu_destroy(v);
}

void jit_vcpus_forget(struct jit *j)
{
    for (struct jit_vcpu *v; (v = j->gone);) {
        j->gone = v->next_gone;
        vcpu_destroy(v);
    }
}

void jit_thread_enter(struct env *e)
{
    struct jit_vcpu *v = jit_vcpu_of(e);
    jit_current = v;
    v->thread = pthread_self();
    if (v->jit->host)
        v->jit->host->thread_enter(v);
}

void jit_thread_leave(struct env *e)
{
    struct jit_vcpu *v = jit_vcpu_of(e);
    if (v->jit->host)
        v->jit->host->thread_leave(v);
    jit_current = NULL;
}

// ---- the dispatcher ----

static uint64_t jit_mode(struct jit_vcpu *v)
{
    const struct jit *j = v->jit;
    uint64_t mode = jit_env(v)->isa->mode(jit_env(v));
    if (v->strict_fp || j->c.no_host_fp)
        mode |= JIT_MODE_STRICT_FP;
    if (j->c.user_mode || j->c.no_sharing || j->pinned || mode & IR_MODE_SINGLE)
        mode &= ~IR_MODE_MOVABLE;
    return mode;
}

static void serve(struct jit_vcpu *v)
{
    uint32_t p = atomic_load(&v->pending);
    if (p & PEND_TLB_ALL) {
        atomic_fetch_and(&v->pending, ~(uint32_t)PEND_TLB_ALL);
        jit_tlb_flush_all(v);
    }
    atomic_fetch_and(&v->pending, ~(uint32_t)PEND_LOOP);
    if (p & PEND_FLUSH)
        jit_flush_queue(v);
    if (p & PEND_EPOCH) {
        atomic_fetch_and(&v->pending, ~(uint32_t)PEND_EPOCH);
        v->jit_sp = v->jit_base; // return addresses into code that may go
        atomic_store(&v->epoch_seen, atomic_load(&v->jit->epoch));
    }
}

// True when the accelerator must be told.
static bool interrupted(struct env *e)
{
    uint32_t i = atomic_load_explicit(&e->interrupt, memory_order_relaxed);
    if (i & INTR_EXECUTOR)
        i = atomic_fetch_and(&e->interrupt, ~(uint32_t)INTR_EXECUTOR) & ~(uint32_t)INTR_EXECUTOR;
    return i != 0;
}

// Whoever made the link wrote it before a jump led to its block: the jump itself is what orders the
// two, and the thread sanitizer does not see it.
UNSANITIZED static uint64_t link_pc(const struct link *l)
{
    return l->pc;
}

struct run_result jit_run_block(struct jit_vcpu *v, const struct block *b)
{
    v->page_va = jit_pc(v) & PAGE_MASK;
    struct run_result res = v->jit->host->enter(v->jit, jit_env(v), b->code);
    if (res.kind == RUN_LINK)
        jit_set_pc(v, link_pc((const struct link *)res.arg) + ir_pc_base(v->mode, v->page_va));
    else if (res.kind == RUN_LOOKUP)
        jit_set_pc(v, res.arg);
    return res;
}

// Runs b. False: another thread wants something first. Else the pc is where code goes on.
static bool enter(struct jit_vcpu *v, const struct block *b, struct run_result *res)
{
    if (v->jit->c.verify)
        jit_verify_before(v, b);
    atomic_fetch_add_explicit(&v->entries, 1, memory_order_relaxed);
    atomic_store(&v->in_code, 1);
    bool go = !atomic_load(&v->pending);
    if (go)
        *res = jit_run_block(v, b);
    atomic_store_explicit(&v->in_code, 0, memory_order_release);
    if (v->jit->c.verify)
        jit_verify_after(v, b, go ? res : NULL);
    return go;
}

// The exit l came back because it is not linked; b is where it goes.
static void try_link(struct jit_vcpu *v, struct link *l, struct block *b)
{
    struct jit *j = v->jit;
    if (!v->linkable || j->c.no_chain)
        return;
    jit_lock(j);
    // A new epoch may have freed l's block.
    if (atomic_load(&j->epoch) == atomic_load(&v->epoch_seen) && jit_link(j, l, b, v->code_id) &&
        l->slot)
        v->link_ok[l->slot] = v->page_va | v->link_key;
    jit_unlock(j);
}

// One pass: find the block at pc, run from there until something comes back. AGAIN: go on.
static enum env_leave run_pass(struct jit_vcpu *v)
{
    struct link *from = NULL;
    uint64_t mode = jit_mode(v);
    jit_mode_enter(v, mode);
    for (;;) {
        struct block *b = jit_find(v, jit_pc(v));
        if (!b)
            return LEAVE_AGAIN;
        if (from)
            try_link(v, from, b);
        struct run_result res;
        if (!enter(v, b, &res))
            return LEAVE_AGAIN;
        if (res.kind == RUN_LEAVE)
            return (enum env_leave)res.arg;
        from = res.kind == RUN_LINK ? (struct link *)res.arg : NULL;
        if (mode & IR_MODE_SINGLE || atomic_load_explicit(&v->pending, memory_order_relaxed))
            return LEAVE_AGAIN;
    }
}

enum env_leave jit_run(struct env *e)
{
    struct jit_vcpu *v = jit_vcpu_of(e);
    jit_current = v;
    int left = sigsetjmp(v->leave_to, 0); // leave() from the interpreter or a fetch
    if (left && left - 1 != LEAVE_AGAIN)
        return (enum env_leave)(left - 1);
    for (;;) {
        if (atomic_load_explicit(&v->pending, memory_order_acquire))
            serve(v);
        if (unlikely(interrupted(e)))
            return LEAVE_INTERRUPT;
        enum env_leave why;
        // User mode has no page tables that would show what is watched.
        bool watched = v->jit->c.user_mode && e->n_watchpoints;
        if (v->step || v->jit->c.interpret || unlikely(watched)) {
            v->step = false;
            jit_mode_enter(v, jit_mode(v));
            why = jit_interpret(v, 1); // stores into code are seen by the next instruction
        } else {
            why = run_pass(v);
        }
        if (why == LEAVE_INTERRUPT && !interrupted(e))
            continue;
        if (why != LEAVE_AGAIN)
            return why;
    }
}

// ---- from outside ----

void jit_memory_changed(struct jit *j)
{
    for (unsigned k = 0; k < j->c.max_vcpus; k++) {
        struct jit_vcpu *v = __atomic_load_n(&j->vcpu[k], __ATOMIC_ACQUIRE);
        if (!v)
            continue;
        if (v == jit_current)
            jit_tlb_flush_all(v);
        else
            jit_kick(v, PEND_TLB_ALL);
    }
    struct env_flush all = {0};
    jit_code_ids_renew(j, &all);
}

void jit_flush_all(struct jit *j)
{
    jit_lock(j);
    for (unsigned k = 0; k < JIT_ARENAS; k++)
        for (size_t b = 0; b < arena_blocks(&j->arena[k]); b++)
            jit_block_kill(j, arena_block(&j->arena[k], b));
    jit_epoch_next(j);
    jit_unlock(j);
}

void jit_pin(struct jit *j, bool pinned)
{
    atomic_store(&j->pinned, pinned);
}

void jit_get_stats(struct jit *j, struct jit_stats *s)
{
    *s = (struct jit_stats){0};
    for (unsigned k = 0; k < j->c.max_vcpus; k++) {
        if (!j->vcpu[k])
            continue;
        const uint64_t *from = (const uint64_t *)&j->vcpu[k]->stats;
        for (size_t n = 0; n < sizeof *s / sizeof(uint64_t); n++)
            ((uint64_t *)s)[n] += from[n];
    }
    jit_lock(j);
    s->invalidations = j->killed;
    s->evictions = j->evicted;
    s->blocks = j->n_blocks;
    s->metadata = jit_cache_metadata(j);
    s->cache_size = j->cache_size;
    s->cache_used = jit_cache_used(j);
    jit_unlock(j);
}
