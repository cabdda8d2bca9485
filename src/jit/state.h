// The translator's own state: one struct jit per machine, and per vCPU one block of memory that
// ends where the guest's struct env begins, so that translated code reaches everything it needs
// at constant negative offsets from its state register. Private to src/jit.
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "base/thread.h"
#include "jit/jit.h"
#include "memory/ram_host.h"
#include <setjmp.h>
#include <stdatomic.h>

#define JIT_ARENAS 16

#define JIT_KEY_REG 13 // where translated code keeps the current key

#define PAGE_BITS 12
#define PAGE_SIZE ((uint64_t)1 << PAGE_BITS)
#define PAGE_MASK (~(PAGE_SIZE - 1))

// ---- seen by translated code ----

// A tag is the page's address with the context's key in the low 12 bits: exact for every 64-bit
// address. Key 0 is never given out, so a zero tag matches nothing. Keys are multiples of KEY_STEP:
// the bits below are where a misaligned address shows.
#define TLB_BITS    12
#define TLB_SIZE    (1u << TLB_BITS)
#define TLB_VICTIMS 8
#define TLB_KEYS    4096
#define KEY_STEP    16
struct tlb_entry {
    _Atomic uint64_t rtag, wtag;
    _Atomic uintptr_t addend; // host address minus guest address
    uint64_t extra;           // TLBX_*
};
enum {
    TLBX_GLOBAL = 1,
    TLBX_WRITABLE = 2,   // stores are permitted, though perhaps not without being seen
    TLBX_SIZE_SHIFT = 8, // log2 of the mapping's size
    TLBX_SIZE_MASK = 0xff,
};

// Where a computed jump goes: valid when both the pc and the code-space id match. An entry is taken
// back, by its vCPU or another thread at the same time, by giving it the pc of another entry.
#define JUMP_BITS 12
#define JUMP_SIZE (1u << JUMP_BITS)
struct jump_entry {
    _Atomic uint64_t pc;
    _Atomic uint32_t id;
    _Atomic uint32_t code; // offset in the code cache
};
static inline size_t jump_index(uint64_t pc)
{
    return pc >> 2 & (JUMP_SIZE - 1);
}
static inline uint64_t jump_nowhere(size_t index)
{
    return (uint64_t)(index ^ 1) << 2;
}

// Jumps between pages of movable code: where the jump's own slot holds the page it was made on and
// the key of the address space as it is now, the page it leads to is known to be mapped at the
// right distance. Slots belong to arenas; 0 is none.
#define LINK_SLOTS       (JIT_ARENAS * ARENA_LINK_SLOTS)
#define ARENA_LINK_SLOTS 4096

#define JIT_SPILLS 256
#define ITLB_SIZE  256

// Which pages of an address space code was looked up on, as a Bloom filter of pages and of pieces
// of 2 MiB: what a flush must hit to concern code.
struct code_seen {
    uint64_t bits[32];
};

// What is known of the code of an address space while its key lives: see context.c.
struct code_space {
    uint32_t id; // of the code there; a new one when a mapping of it may have changed
    uint8_t gen; // the same as part of link keys
    struct code_seen seen;
};

// Flushes by other vCPUs that wait for this one. One that sleeps or is off must not collect them.
#define FLUSH_QUEUE 64

// Where an instruction's bytes are.
struct code_fetch {
    uint64_t va;         // page
    const uint8_t *host; // page
    struct ram *ram;     // NULL in user mode
    uint64_t off;        // of the page in ram
    uint64_t key;
    bool global;
};

struct jit_regs {
    uint64_t gpr[16];
    v128 xmm[16];
};

// Constants translated code works with, in every lane.
enum {
    FPC_ABS64,
    FPC_ABS32,
    FPC_SIGN64,
    FPC_SIGN32,
    FPC_MIN64,
    FPC_MIN32,
    FPC_ABS16,
    FPC_INF16,
    FPC_MIN16,
    FPC_ONES,
    FPC_BOX,   // of a boxed single: the low lane's high half
    FPC_INDEX, // of the bytes whose bits the lanes are of, eight each
    FPC_BIT8,  // lane k: bit k, of a byte ...
    FPC_BIT16,
    FPC_BIT32,
    FPC_BIT64,
    FP_CONSTS
};

// Added to the ISA's mode: floating point is not what the host does (flushing, other roundings).
#define JIT_MODE_STRICT_FP (1ull << 62)

enum tlb_mmu { MMU_MAIN, MMU_USER, MMU_CONTEXTS };

struct jit_vcpu {
    uint64_t link_ok[LINK_SLOTS]; // page | link key
    struct tlb_entry tlb[TLB_SIZE];
    struct jump_entry jump[JUMP_SIZE];
    union ir_val spill[JIT_SPILLS];
    struct jit_regs regs; // at the last slow access or fault
    union ir_val fp_const[FP_CONSTS];
    // Sticky flags, by MXCSR's six bits and by those of env.fp, in either order (fp_flags_ordered).
    uint8_t fp_flags_host[2][64], fp_flags_env[2][64];
    union ir_val scratch[4]; // of out-of-line operations: operands, result

    // ---- only C code from here ----
    struct jit *jit;
    size_t map_size; // of the allocation
    pthread_t thread;
    uint8_t *stack_map, *sigstack;
    struct tlb_entry victim[TLB_VICTIMS];
    unsigned victim_next;
    uint64_t ctx[MMU_CONTEXTS];
    uint64_t key_ctx[TLB_KEYS];
    bool key_live[TLB_KEYS];
    struct map keys; // context -> its key
    unsigned next_key;
    // Where mappings larger than a page are in the TLB: hashed pieces of 2 MiB for those up to that
    // size, the hull of all larger ones (empty: lo > hi).
    uint64_t large_bloom[16];
    uint64_t huge_lo, huge_hi;
    struct code_space space[TLB_KEYS / KEY_STEP]; // by key
    uint32_t next_space;
    uint64_t space_lo, space_hi; // the hull of all pages seen there
    bool huge_code;              // some code lies in a mapping of more than 2 MiB
    struct code_seen code_seen;  // of code that is not movable
    uint64_t mode;
    bool mode_known;
    struct code_class *class;           // of the current mode
    bool code_shared;                   // code_id is the one for all address spaces
    struct code_class *class_cache[64]; // by hash of the mode: modes come back often
    unsigned class_misses;
    // Where other threads ask for something; `pending` is checked at every pass of the dispatcher.
    _Atomic uint32_t pending; // PEND_*
    pthread_mutex_t queue_lock;
    struct env_flush queue[FLUSH_QUEUE];
    _Atomic unsigned queued; // more than FLUSH_QUEUE: forget everything, as one that never ran must
    bool posted;             // flushes to others since the last sync that they may not have served
    _Atomic uint64_t epoch_seen;
    _Atomic uint32_t in_code;   // running translated code (or its helpers); see quiet.c
    _Atomic uint64_t entries;   // into translated code so far
    struct jit_vcpu *next_gone; // in jit.gone
    _Atomic uint32_t drops;     // odd while another thread takes write permissions out of the TLB
    struct code_id_cache {
        uint64_t mode, ctx, gen;
        uint32_t id;
    } id_cache[64];
    struct ir_region region; // for single instructions and interpretation
    sigjmp_buf *probe;       // set while guest memory is read that may not be there (user mode)
    struct jit_stats stats;
    struct code_fetch itlb[ITLB_SIZE];
    struct shadow *shadow; // verify.c
    sigjmp_buf leave_to;   // where leave() goes when no translated code is running
    bool step;             // the next instruction is to be interpreted
    bool address_lost;     // user mode: of the fault under way; found out by interpreting
    bool strict_fp;        // see JIT_MODE_STRICT_FP
    bool linkable;         // the block found last may be linked to

    // ---- hot: near enough for 8-bit displacements ----
    uint64_t c_sp, jit_sp, jit_base; // C stack; stack of guest calls, and its base
    uint64_t slow_ra;
    uint64_t key[MMU_CONTEXTS];
    uint8_t *user_base;
    uint64_t page_va;  // of the page of code that runs; kept up by movable code alone
    uint64_t link_key; // low bits of link_ok's entries
    uint32_t code_id;
    uint32_t mxcsr, mxcsr_c;
    uint32_t pad_;
} __attribute__((aligned(64)));

enum { PEND_FLUSH = 1, PEND_TLB_ALL = 2, PEND_EPOCH = 4, PEND_LOOP = 8 };

static inline struct jit_vcpu *jit_vcpu_of(struct env *e)
{
    return (struct jit_vcpu *)((uint8_t *)e - sizeof(struct jit_vcpu));
}
static inline struct env *jit_env(struct jit_vcpu *v)
{
    return (struct env *)(v + 1);
}
// Displacement of a field from the state register.
#define VOFF(field) ((int32_t)offsetof(struct jit_vcpu, field) - (int32_t)sizeof(struct jit_vcpu))

// ---- translated code ----

struct block;

// An exit to a constant pc. While unlinked its jump goes to a stub that comes back with the link;
// v->page_va is then the page of `from`.
struct link {
    struct list in; // in `to`'s list of incoming links
    struct block *from, *to;
    uint64_t pc;
    uint8_t *jump;   // writable address of the aligned 32-bit displacement
    uint8_t *guard;  // of the 32-bit code id compared before the jump; NULL inside one page
    uint32_t stub;   // cache offset
    uint32_t slot;   // in link_ok, of a jump between pages of movable code; else 0
    uint32_t target; // cache offset of `to`, 0 while unlinked; read by translated code
    uintptr_t key;   // host page of the only block this link may ever go to; 0 until first linked
};

#define CODE_CHUNKS 64 // per page, for write detection

struct block {
    struct block *_Atomic hash_next;
    struct list page_in[2];   // in the lists of each page's blocks
    uint64_t pc, mode;        // movable code: pc is the offset in its page
    uintptr_t page[2];        // host pages of the guest code; [1] is 0 when it lies in one page
    uint64_t chunks[2];       // of each page that the code covers
    uint32_t code, code_size; // cache offset, bytes
    _Atomic bool valid;
    uint32_t n_guest_insns;
    struct list incoming;
    struct link *links;
    unsigned n_links;
    bool loops;        // goes back to itself without a link
    struct twin *twin; // what verify mode compares with, or NULL
    uint8_t *sites;    // side table: see sites.c
    size_t sites_size;
};

// A page with translated code, keyed by its host address.
struct code_page {
    struct ram *ram; // NULL in user mode
    uint64_t off;
    struct list blocks[2]; // those that begin here, those that run on into here
    uint64_t chunks;       // that they cover; may name more since some died
    unsigned pins;         // it stays marked though no block is on it yet
    bool settled;          // no store is under way that was let through before it was marked
};

// What the code ids of a mode stand for. Kernel code is global: one id for all address spaces;
// other code has one per address space.
struct code_class {
    uint64_t mode;
    unsigned index;
    _Atomic bool shared, decided; // by whichever vCPU sees more of its code
};

struct code_id {
    uint64_t mode, ctx;
    bool shared;
    uint32_t id;
};

// A part of the code cache that is thrown out as a whole, with what is kept beside its code.
struct arena {
    uint32_t start, end;
    struct block **top;      // its blocks by ascending address are top[-1], top[-2], ...
    _Atomic size_t n_blocks; // in j->meta, towards what is taken there from the other end
    size_t meta_start, meta_next;
    size_t code_ready, meta_ready; // up to where memory is there
    unsigned n_slots;              // of its link slots that are taken; other CPUs read it
    uint64_t freed_epoch;
};
// Any thread that is in code of the arena may look; blocks are added under the lock.
static inline size_t arena_blocks(const struct arena *a)
{
    return atomic_load_explicit(&a->n_blocks, memory_order_acquire);
}
static inline struct block *arena_block(const struct arena *a, size_t k)
{
    return a->top[-1 - (ptrdiff_t)k];
}
#define META_RATIO     2
#define JIT_HASH_BITS  18
#define JIT_STACK_SIZE (256 * KiB)

struct host_thunks {
    const uint8_t *enter, *leave, *exit_link, *exit_lookup, *exit_interrupt, *exit_mode, *lookup,
        *guard_miss, *ret_miss, *slow, *fp_slow, *fault, *unwind;
};

struct jit {
    struct jit_config c;
    struct jit_vcpu **vcpu;
    unsigned n_vcpus;
    const struct jit_host *host;
    struct host_thunks thunk;

    // Code cache: the same memory mapped twice.
    uint8_t *rw;
    const uint8_t *rx;
    uint64_t cache_size;
    uint32_t thunk_end;
    struct arena arena[JIT_ARENAS];
    unsigned cur_arena;
    uint32_t next; // offset of the next free byte
    uint8_t *meta; // blocks, their links and side tables: META_RATIO bytes for each of the cache

    pthread_mutex_t lock; // translation, linking, code pages, arenas
    struct block *_Atomic *hash;
    struct map pages; // host page number -> struct code_page
    struct map rams;  // RAM blocks with a listener
    _Atomic uint64_t epoch;
    // Code ids: (mode, context or its shared part) -> id
    pthread_mutex_t id_lock;
    VEC(struct code_id) ids;
    VEC(struct code_class *) classes;
    uint32_t next_id;
    _Atomic uint64_t ids_gen;
    pthread_mutex_t verify_lock; // held while a region is run in both ways
    unsigned verify_others;      // CPUs in regions that are not compared
    struct ir_region region;
    struct cg *cg;
    struct ir_loop_pass loop_pass;
    bool lazy_flags;         // the guest has at most one FLAGS slot
    _Atomic bool pinned;     // see jit_pin
    bool has_signals;        // the back end has taken the signals of faults
    uint64_t killed;         // blocks, by writes
    uint64_t evicted;        // blocks, for room
    size_t n_blocks;         // that are in memory, dead ones included
    unsigned n_waiting;      // threads that look at CPUs without the lock
    struct jit_vcpu *gone;   // freed meanwhile
    void *fork_rw, *fork_rx; // the copy of the code cache from jit_fork_prepare to what follows it
};

static inline uint8_t *jit_rw(struct jit *j, uint32_t off)
{
    return j->rw + off;
}

// ---- what a host back end offers ----

enum run_exit { RUN_LINK, RUN_LOOKUP, RUN_LEAVE };
struct run_result {
    uint64_t kind; // enum run_exit
    uint64_t arg;  // struct link *; pc; enum env_leave
};
struct jit_host {
    const char *name;
    // Write the fixed pieces of code at the cache's start and fill j->thunk.
    void (*init)(struct jit *j);
    void (*exit)(struct jit *j);
    // Emit r at j->next as b's code, with links and sites filled in. False: it does not fit (too
    // many live values); try fewer guest instructions.
    bool (*compile)(struct jit *j, const struct ir_region *r, struct block *b);
    // Point the link's jump at cache offset `target`, or back to its stub.
    void (*patch)(struct jit *j, struct link *l, uint32_t target);
    void (*patch_guard)(struct link *l, uint32_t id);
    struct run_result (*enter)(struct jit *j, struct env *e, uint32_t code);
    // Leave translated code from below a helper or slow access.
    void (*unwind)(struct jit_vcpu *v, enum env_leave why) __attribute__((noreturn));
    void (*thread_enter)(struct jit_vcpu *v); // on the vCPU's thread: signals
    void (*thread_leave)(struct jit_vcpu *v);
};
const struct jit_host *jit_host_native(void); // NULL: this host has no back end

// ---- cache.c: blocks ----
struct block *jit_block_find(struct jit *j, uint64_t pc, uint64_t mode, uintptr_t page);
struct block *jit_block_at(struct jit *j,
                           const void *host_pc); // by executable address; in its code, or lock held
int jit_cache_init(struct jit *j, struct err *e);
void jit_cache_divide(struct jit *j); // after the back end has written its fixed code
void jit_cache_exit(struct jit *j);
uint64_t jit_cache_used(const struct jit *j);     // bytes of code; lock held
uint64_t jit_cache_metadata(const struct jit *j); // bytes beside it; lock held
void jit_cache_room(struct jit *j, size_t want);  // lock held; beside the code as much
// Zeroed memory beside the code of the current arena, gone with it; NULL: it is full. What was
// taken last may be given back: everything from p on. Lock held.
void *jit_meta_take(struct jit *j, size_t size);
void jit_meta_give_back(struct jit *j, void *p);
void jit_block_add(struct jit *j, struct block *b);  // lock held; pages already marked
void jit_block_kill(struct jit *j, struct block *b); // lock held: never entered again
// Lock held. True when l leads to `to` now.
bool jit_link(struct jit *j, struct link *l, struct block *to, uint32_t id);
unsigned jit_link_slot(struct jit *j); // in the current arena; 0: none is left. Lock held

// ---- translate.c ----
// The block for pc, translated if need be; NULL: the guest's exception for the fetch was taken, or
// one instruction was interpreted.
struct block *jit_find(struct jit_vcpu *v, uint64_t pc);
// b as host code, until something comes back; the pc is set.
struct run_result jit_run_block(struct jit_vcpu *v, const struct block *b);

// ---- run.c ----
void jit_locks_init(struct jit *j);
void jit_vcpus_forget(struct jit *j); // the gone ones; lock held, nobody waits

// ---- quiet.c: waiting for other vCPUs ----
void jit_kick(struct jit_vcpu *v, uint32_t pending);
uint64_t jit_epoch_next(struct jit *j); // code made unreachable before now belongs to this epoch
void jit_lock(struct jit *j);           // counts as outside translated code while it waits
void jit_unlock(struct jit *j);
// These two let go of the lock, which is held, while they wait.
void jit_wait_outside(struct jit *j);               // every other vCPU has left code since
void jit_wait_quiet(struct jit *j, uint64_t epoch); // every vCPU has left code older than epoch
void jit_wait_flushed(struct jit *j);               // no vCPU runs with flushes queued
extern _Thread_local struct jit_vcpu *jit_current;

// ---- sites.c: guest state at a point of translated code ----
struct site_writer;
bool jit_state_rebuild(struct jit_vcpu *v, const void *host_pc); // slots := the snapshot there

// ---- fp.c: the floating-point environment ----
void jit_fp_init(struct jit_vcpu *v);
void jit_fp_sync(struct env *e);
void jit_fp_changed(struct env *e);
// An operation whose result the host may have got wrong, by softfloat. `what`: op, types, aux;
// `regs`: result and operands, five bits each.
void jit_fp_slow(struct env *e, uint32_t what, uint32_t regs);

// ---- context.c: address spaces and code ids ----
void jit_set_context(struct env *e, unsigned mmu, uint64_t ctx);
void jit_keys_forget(struct jit_vcpu *v, const struct env_flush *f); // contexts that f concerns
void jit_keys_reset(struct jit_vcpu *v);                             // all; the TLB is empty
void jit_mode_enter(struct jit_vcpu *v, uint64_t mode);
void jit_code_id_refresh(struct jit_vcpu *v);
void jit_code_ids_renew(struct jit *j, const struct env_flush *f); // those that f concerns
// A page of code was looked up: may code on it be linked to and cached under the current id?
bool jit_code_page_seen(struct jit_vcpu *v, uint64_t va, const struct code_fetch *f);
void jit_code_forget(struct jit_vcpu *v, const struct env_flush *f); // a range: mappings changed
void jit_code_forget_all(struct jit_vcpu *v); // what is not movable; keys are renewed for the rest

// ---- softmmu.c ----
#define PIECE_BITS 21
// May a mapping larger than a page overlap [va, va+len)?
bool jit_near_large(const struct jit_vcpu *v, uint64_t va, uint64_t len);
struct access {
    uint8_t *host; // NULL: not RAM that may be touched directly
    struct env_xlat x;
    struct space_hit hit;
};
// Where an access inside one page goes. 0, or -1 with f filled.
int jit_resolve(struct jit_vcpu *v, gva_t va, enum env_access access, unsigned mmu,
                struct access *out, struct env_fault *f);
// Where RAM that the TLB lets code read is in the host; NULL: it does not say.
uint8_t *jit_tlb_host(struct jit_vcpu *v, gva_t va);
void jit_tlb_flush_all(struct jit_vcpu *v);
void jit_tlb_flush(struct jit_vcpu *v, const struct env_flush *f);
void jit_flush_queue(struct jit_vcpu *v); // what other vCPUs asked for
void jit_flush(struct env *e, const struct env_flush *f, bool broadcast);
void jit_sync(struct env *e);
void jit_tlb_drop_writes(struct jit *j, const uint8_t *host_page); // any vCPU's
// The page that code at va is fetched from. 0; 1: not RAM; -1 with f filled.
int jit_resolve_code(struct jit_vcpu *v, uint64_t va, struct code_fetch *out, struct env_fault *f);

// ---- smc.c: writes to translated code ----
// Before the page's bytes are read: from now on every store to it is seen. Lock held, but it may be
// dropped meanwhile. The page stays marked until it is unpinned.
void jit_code_page_pin(struct jit *j, const struct code_fetch *f);
void jit_code_page_unpin(struct jit *j, const struct code_fetch *f);
void jit_code_written(void *opaque, struct ram *r, uint64_t off, uint64_t len);
bool jit_code_overlaps(struct jit *j, const uint8_t *host, size_t n);
void jit_code_flush(struct env *e, gva_t va, uint64_t len);
