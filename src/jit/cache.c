// The code cache and the blocks in it. One memfd is mapped twice, writable and executable, within
// reach of our own text. Code is written front to back through 16 arenas; entering an arena first
// throws out what it held, and the next one is emptied in advance, so that by the time it is
// needed every vCPU has long left it (quiet.c). Blocks are found by (host page of the code, pc,
// mode) in a hash that is read without a lock.
#include "jit/verify.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEFAULT_CACHE (256 * MiB)
#define MIN_CACHE     (8 * MiB) // an arena takes several of the largest blocks

// ---- memory ----

// A place for `size` bytes within 1 GiB of our text, so that helpers are reached by relative calls.
static void *map_near(size_t size, int fd)
{
    uintptr_t text = (uintptr_t)&jit_new & ~(uintptr_t)(MiB - 1);
    for (uintptr_t step = 64 * MiB; step < GiB; step += 64 * MiB)
        for (int sign = -1; sign <= 1; sign += 2) {
            uintptr_t at = text + (uintptr_t)((intptr_t)step * sign) - (sign < 0 ? size : 0);
            void *p = mmap((void *)at, size, PROT_READ | PROT_EXEC,
                           MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
            if (p == (void *)at)
                return p;
            if (p != MAP_FAILED)
                munmap(p, size);
        }
    return mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
}

int jit_cache_init(struct jit *j, struct err *e)
{
    j->cache_size = j->c.cache_size ? j->c.cache_size : DEFAULT_CACHE;
    j->cache_size = MIN(MAX(j->cache_size, MIN_CACHE), GiB) & PAGE_MASK;
    int fd = memfd_create("myna-code", MFD_CLOEXEC);
    if (fd < 0)
        return err_errno(e, errno, "translated code: no memory");
    if (ftruncate(fd, (off_t)j->cache_size)) {
        int why = errno;
        close(fd);
        return err_errno(e, why, "translated code: no memory for %llu MiB",
                         (unsigned long long)(j->cache_size / MiB));
    }
    j->rw = mmap(NULL, j->cache_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    void *rx = map_near(j->cache_size, fd);
    int why = errno;
    close(fd);
    if (j->rw == MAP_FAILED || rx == MAP_FAILED)
        return err_errno(e, why, "translated code: cannot map %llu MiB executable",
                         (unsigned long long)(j->cache_size / MiB));
    j->rx = rx;
    j->meta = mmap(NULL, META_RATIO * j->cache_size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (j->meta == MAP_FAILED) {
        j->meta = NULL;
        return err_errno(e, errno, "translated code: no room for what is kept beside it");
    }
    j->hash = xcalloc(1u << JIT_HASH_BITS, sizeof *j->hash);
    return 0;
}

static size_t meta_each(const struct jit *j)
{
    return META_RATIO * j->cache_size / JIT_ARENAS & ~(size_t)63;
}

// After the back end has written its fixed code.
void jit_cache_divide(struct jit *j)
{
    uint32_t first = (uint32_t)((j->thunk_end + PAGE_SIZE) & PAGE_MASK);
    uint32_t each = (uint32_t)((j->cache_size - first) / JIT_ARENAS);
    for (unsigned k = 0; k < JIT_ARENAS; k++) {
        j->arena[k].start = first + k * each;
        j->arena[k].end = j->arena[k].start + each;
        j->arena[k].meta_start = j->arena[k].meta_next = (size_t)k * meta_each(j);
        j->arena[k].top = (struct block **)(void *)(j->meta + (size_t)(k + 1) * meta_each(j));
    }
    j->next = j->arena[0].start;
}

uint64_t jit_cache_used(const struct jit *j)
{
    uint64_t n = j->thunk_end;
    for (unsigned k = 0; k < JIT_ARENAS; k++) {
        const struct arena *a = &j->arena[k];
        size_t blocks = arena_blocks(a);
        if (blocks) {
            const struct block *last = arena_block(a, blocks - 1);
            n += last->code + last->code_size - a->start;
        }
    }
    return n;
}

// ---- beside the code ----

uint64_t jit_cache_metadata(const struct jit *j)
{
    uint64_t n = 0;
    for (unsigned k = 0; k < JIT_ARENAS; k++)
        n += j->arena[k].meta_next - j->arena[k].meta_start +
             arena_blocks(&j->arena[k]) * sizeof(struct block *);
    return n;
}

static size_t meta_left(const struct jit *j)
{
    const struct arena *a = &j->arena[j->cur_arena];
    size_t taken = a->meta_next - a->meta_start + (arena_blocks(a) + 1) * sizeof *a->top;
    return meta_each(j) > taken ? meta_each(j) - taken : 0;
}

void *jit_meta_take(struct jit *j, size_t size)
{
    struct arena *a = &j->arena[j->cur_arena];
    size = (size + 7) & ~(size_t)7;
    if (size > meta_left(j))
        return NULL;
    void *p = j->meta + a->meta_next;
    a->meta_next += size;
    return memset(p, 0, size);
}

void jit_meta_give_back(struct jit *j, void *p)
{
    j->arena[j->cur_arena].meta_next = (size_t)((uint8_t *)p - j->meta);
}

static void arena_free_blocks(struct jit *j, struct arena *a)
{
    size_t n = arena_blocks(a);
    j->n_blocks -= n;
    for (size_t k = 0; j->c.verify && k < n; k++)
        jit_verify_drop(arena_block(a, k)->twin);
    atomic_store(&a->n_blocks, 0);
    a->meta_next = a->meta_start;
}

void jit_cache_exit(struct jit *j)
{
    for (unsigned k = 0; k < JIT_ARENAS; k++)
        arena_free_blocks(j, &j->arena[k]);
    map_for_each(&j->pages, s) free(s->val);
    map_free(&j->pages);
    free(j->hash);
    if (j->meta)
        munmap(j->meta, META_RATIO * j->cache_size);
    if (j->rx)
        munmap((void *)(uintptr_t)j->rx, j->cache_size);
    if (j->rw)
        munmap(j->rw, j->cache_size);
}

// ---- hash ----

static struct block *_Atomic *bucket(struct jit *j, uint64_t pc, uint64_t mode, uintptr_t page)
{
    // Blocks of one page of code lie together in a run of the table: a short program touches little
    // of it. Neighbours, and the same place in several modes, lie apart in it.
    enum { RUN_BITS = 8, INSN_BITS = 2 };
    const uint64_t odd = 0x9e3779b97f4a7c15ull;
    uint64_t h = (pc >> PAGE_BITS ^ page >> PAGE_BITS << 20) * odd;
    uint64_t run = h >> (64 - JIT_HASH_BITS) & -(1ull << RUN_BITS);
    uint64_t at = pc >> INSN_BITS ^ pc >> (INSN_BITS + RUN_BITS) << 3 ^ mode * odd >> 56;
    return &j->hash[run | (at & ((1u << RUN_BITS) - 1))];
}

struct block *jit_block_find(struct jit *j, uint64_t pc, uint64_t mode, uintptr_t page)
{
    for (struct block *b = atomic_load_explicit(bucket(j, pc, mode, page), memory_order_acquire); b;
         b = atomic_load_explicit(&b->hash_next, memory_order_acquire))
        if (b->pc == pc && b->page[0] == page && b->mode == mode &&
            atomic_load_explicit(&b->valid, memory_order_relaxed))
            return b;
    return NULL;
}

static void hash_remove(struct jit *j, struct block *b)
{
    for (struct block *_Atomic *at = bucket(j, b->pc, b->mode, b->page[0]); *at;
         at = &(*at)->hash_next)
        if (*at == b) {
            *at = b->hash_next; // b's own pointer stays for readers that stand on it
            return;
        }
}

struct block *jit_block_at(struct jit *j, const void *host_pc)
{
    uint32_t off = (uint32_t)((const uint8_t *)host_pc - j->rx);
    for (unsigned k = 0; k < JIT_ARENAS; k++) {
        const struct arena *a = &j->arena[k];
        if (off < a->start || off >= a->end)
            continue;
        size_t n = arena_blocks(a), lo = 0, hi = n;
        while (lo < hi) {
            size_t mid = (lo + hi) / 2;
            if (arena_block(a, mid)->code + arena_block(a, mid)->code_size < off)
                lo = mid + 1;
            else
                hi = mid;
        }
        struct block *b = lo < n ? arena_block(a, lo) : NULL;
        return b && b->code <= off ? b : NULL;
    }
    return NULL;
}

// ---- links ----

bool jit_link(struct jit *j, struct link *l, struct block *to, uint32_t id)
{
    if (j->c.no_chain || !l->from->valid || !to->valid || !id)
        return false;
    // Once another thread may stand between guard and jump, the jump may only ever lead to the
    // same code of the same page.
    if (l->key && l->key != to->page[0])
        return false;
    l->key = to->page[0];
    if (l->guard)
        j->host->patch_guard(l, id);
    if (l->to == to)
        return true;
    list_remove(&l->in);
    l->to = to;
    list_append(&to->incoming, &l->in);
    j->host->patch(j, l, to->code);
    __atomic_store_n(&l->target, to->code, __ATOMIC_RELEASE);
    return true;
}

unsigned jit_link_slot(struct jit *j)
{
    struct arena *a = &j->arena[j->cur_arena];
    if (a->n_slots == ARENA_LINK_SLOTS)
        return 0;
    unsigned slot = j->cur_arena * ARENA_LINK_SLOTS + a->n_slots;
    __atomic_store_n(&a->n_slots, a->n_slots + 1, __ATOMIC_RELAXED);
    return slot ? slot : jit_link_slot(j);
}

// No CPU is in code of this arena: what they know of its links is of no more use.
static void forget_link_slots(struct jit *j, struct arena *a)
{
    size_t first = (size_t)(a - j->arena) * ARENA_LINK_SLOTS;
    for (unsigned k = 0; a->n_slots && k < j->c.max_vcpus; k++) {
        struct jit_vcpu *v = __atomic_load_n(&j->vcpu[k], __ATOMIC_ACQUIRE);
        if (v)
            memset(&v->link_ok[first], 0, a->n_slots * sizeof v->link_ok[0]);
    }
    __atomic_store_n(&a->n_slots, 0, __ATOMIC_RELAXED);
}

static void unlink_one(struct jit *j, struct link *l)
{
    list_remove(&l->in);
    l->to = NULL;
    l->target = 0;
    j->host->patch(j, l, l->stub);
}

// ---- blocks ----

void jit_block_add(struct jit *j, struct block *b)
{
    struct arena *a = &j->arena[j->cur_arena];
    list_init(&b->incoming);
    size_t n = arena_blocks(a);
    a->top[-1 - (ptrdiff_t)n] = b;
    atomic_store_explicit(&a->n_blocks, n + 1, memory_order_release);
    j->n_blocks++;
    j->next = (b->code + b->code_size + 15) & ~15u;
    for (unsigned k = 0; k < 2 && b->page[k]; k++) {
        struct code_page *p = map_get(&j->pages, b->page[k] >> PAGE_BITS);
        BUG_ON(!p);
        list_append(&p->blocks[k], &b->page_in[k]);
        p->chunks |= b->chunks[k];
    }
    atomic_store_explicit(&b->valid, true, memory_order_relaxed);
    struct block *_Atomic *at = bucket(j, b->pc, b->mode, b->page[0]);
    b->hash_next = *at;
    atomic_store_explicit(at, b, memory_order_release);
}

// A vCPU's jump table may be written by its owner meanwhile; jump_fill looks again at `valid`.
static void drop_jumps(struct jit *j, const struct block *b)
{
    // A movable block may be there under any page address.
    size_t step = b->mode & IR_MODE_MOVABLE ? PAGE_SIZE >> 2 : JUMP_SIZE;
    for (unsigned k = 0; k < j->c.max_vcpus; k++) {
        struct jit_vcpu *v = __atomic_load_n(&j->vcpu[k], __ATOMIC_ACQUIRE);
        if (!v)
            continue;
        for (size_t n = jump_index(b->pc) & (step - 1); n < JUMP_SIZE; n += step)
            if (v->jump[n].code == b->code && v->jump[n].id)
                atomic_store(&v->jump[n].pc, jump_nowhere(n));
    }
}

// Others may go round and round in a dead block: nothing they jump along is left to cut.
static void leave_loops(struct jit *j)
{
    for (unsigned k = 0; k < j->c.max_vcpus; k++) {
        struct jit_vcpu *v = __atomic_load_n(&j->vcpu[k], __ATOMIC_ACQUIRE);
        if (v && v != jit_current)
            jit_kick(v, PEND_LOOP);
    }
}

void jit_block_kill(struct jit *j, struct block *b)
{
    if (!b->valid)
        return;
    atomic_store(&b->valid, false);
    hash_remove(j, b);
    while (!list_empty(&b->incoming))
        unlink_one(j, list_entry(b->incoming.next, struct link, in));
    for (unsigned k = 0; k < b->n_links; k++) // landings of b may still be returned to
        if (b->links[k].to)
            unlink_one(j, &b->links[k]);
    for (unsigned k = 0; k < 2 && b->page[k]; k++)
        list_remove(&b->page_in[k]);
    drop_jumps(j, b);
    if (b->loops)
        leave_loops(j);
}

// ---- room ----

static void arena_evict(struct jit *j, struct arena *a)
{
    for (size_t k = 0; k < arena_blocks(a); k++) {
        j->evicted += arena_block(a, k)->valid;
        jit_block_kill(j, arena_block(a, k));
    }
    a->freed_epoch = jit_epoch_next(j);
}

enum { READY_STEP = 64 * 1024, READY_LEFT = 16 * 1024 };

// Memory for what comes next, many pages at a time: each on its first use would be a fault, twice
// for code. Where the kernel cannot do that (before Linux 5.14) the faults do.
static void make_ready(struct jit *j)
{
    struct arena *a = &j->arena[j->cur_arena];
    if (j->c.no_prefault)
        return;
    if (j->next + READY_LEFT > a->code_ready) {
        size_t from = MAX(a->code_ready, j->next & PAGE_MASK),
               n = MIN((size_t)READY_STEP, a->end - from);
        madvise(j->rw + from, n, MADV_POPULATE_WRITE);
        madvise((void *)(uintptr_t)(j->rx + from), n, MADV_POPULATE_READ);
        a->code_ready = from + n;
    }
    if (a->meta_next + READY_LEFT > a->meta_ready) {
        size_t from = MAX(a->meta_ready, a->meta_next & PAGE_MASK);
        madvise(j->meta + from, READY_STEP, MADV_POPULATE_WRITE);
        a->meta_ready = from + READY_STEP;
    }
}

// May drop the lock while it waits.
void jit_cache_room(struct jit *j, size_t want)
{
    while (j->next + want > j->arena[j->cur_arena].end || want > meta_left(j)) {
        unsigned from = j->cur_arena;
        struct arena *a = &j->arena[(from + 1) % JIT_ARENAS];
        if (arena_blocks(a)) {
            if (!a->freed_epoch)
                arena_evict(j, a);
            uint64_t epoch = a->freed_epoch;
            jit_wait_quiet(j, epoch);
            if (j->cur_arena != from)
                continue;
            arena_free_blocks(j, a);
            forget_link_slots(j, a);
        }
        a->freed_epoch = 0;
        j->cur_arena = (from + 1) % JIT_ARENAS;
        j->next = a->start;
        struct arena *ahead = &j->arena[(from + 2) % JIT_ARENAS];
        if (arena_blocks(ahead))
            arena_evict(j, ahead);
    }
    make_ready(j);
}
