// The contract between a guest CPU, whoever runs its translated code, and the memory it lives in.
// `struct env` is the first member of every guest CPU's state. The ISA (isa/) fills `isa`, the
// executor (the JIT with its soft MMU, the IR interpreter in tests, user mode) fills `exec`.
// Neither includes the other.
//
// Threads: an env belongs to its vCPU's thread. Only `interrupt` is written by others.
#pragma once

#include "base/base.h"
#include "memory/types.h"

struct env;
struct space;

typedef uint8_t v128 __attribute__((vector_size(16), aligned(16)));

// ---- memory accesses ----

// How an access is made; fits the 16-bit aux field of an IR instruction.
enum {
    MO_8 = 0,
    MO_16 = 1,
    MO_32 = 2,
    MO_64 = 3,
    MO_128 = 4,
    MO_SIZE = 7,        // log2 of the size in bytes
    MO_SIGN = 1 << 3,   // loads: sign-extend to the result type (else zero-extend)
    MO_BE = 1 << 4,     // big-endian in memory
    MO_ATOMIC = 1 << 5, // single-copy atomic even where the host would not give it (16 bytes,
                        // unaligned within 16)
    MO_ACQUIRE = 1 << 6,
    MO_RELEASE = 1 << 7,
    MO_SEQ = MO_ACQUIRE | MO_RELEASE, // sequentially consistent
    MO_MMU_SHIFT = 8, // which of the CPU's translation contexts: 0 current, 1 unprivileged
    MO_MMU = 3 << MO_MMU_SHIFT,
    MO_ALIGN_SHIFT = 10, // log2 of the alignment that is checked; 0: none
    MO_ALIGN = 7 << MO_ALIGN_SHIFT,
};
#define MO_SPAN_STORE     (1 << 15) // spans: of stores
#define MO_SIZE_BYTES(mo) (1u << ((mo)&MO_SIZE))
#define MO_ALIGN_TO(log2) ((log2) << MO_ALIGN_SHIFT)

enum env_access { ENV_READ = 1, ENV_WRITE = 2, ENV_EXEC = 4 };

// What the ISA's page-table walk found for one address.
struct env_xlat {
    gpa_t pa;           // of the address asked for
    uint64_t page_size; // of the smallest mapping on the way; a power of two, at least 4096... or
                        // smaller (then not cached)
    uint8_t perms; // ENV_* allowed in this context; ENV_WRITE is left out where a store must be
                   // seen (dirty state)
    bool global;   // the same for every address space of this regime
    bool device;   // device memory: unaligned accesses fault
    bool watched;  // a debug watchpoint may lie on this page: never cached
    struct mem_attrs attrs;
    struct space *space; // physical space the address lies in
};
// A failed access, in the ISA's own terms: only the ISA reads what it wrote.
struct env_fault {
    gva_t va;
    uint8_t access; // one ENV_* bit
    uint8_t size;   // log2
    uint32_t kind;  // ISA-defined; 0 is none
    uint64_t info[2];
};

// A debugger's watchpoint: data accesses (ENV_READ, ENV_WRITE) that stop the CPU before they are
// made.
struct env_watchpoint {
    gva_t va;
    uint64_t len;
    uint8_t access;
};

struct env_isa_ops {
    // Translate va for one access in MMU context `mmu`. 0, or -1 with *f filled. No side effects
    // but page-table updates.
    int (*translate)(struct env *e, gva_t va, enum env_access access, unsigned mmu,
                     struct env_xlat *out, struct env_fault *f);
    // Fill f for: an address outside everything (MEM_UNMAPPED / MEM_ERROR), or a misaligned access.
    void (*bus_fault)(struct env *e, gva_t va, enum env_access access, enum mem_result why,
                      struct env_fault *f);
    void (*align_fault)(struct env *e, gva_t va, enum env_access access, unsigned mo,
                        struct env_fault *f);
    // State is exact at the faulting instruction (pc slot included): enter the guest's exception.
    void (*take_fault)(struct env *e, const struct env_fault *f);
    // A watched page was hit: -1 with *f filled when the access is to trap.
    int (*watch)(struct env *e, gva_t va, unsigned size, enum env_access access,
                 struct env_fault *f);
    // Everything of the CPU's state, besides pc, that decides what code means: part of the look-up
    // key.
    uint64_t (*mode)(struct env *e);
    // `interrupt` was non-zero at a region boundary: deliver an exception if one is due. True when
    // pc changed.
    bool (*take_interrupt)(struct env *e);
    // Halted (WFI): is there a reason to run on?
    bool (*has_work)(struct env *e);
    // Bits of a context id that only tell address spaces apart: contexts that are equal but for
    // these see the same global mappings. 0: global mappings are never shared.
    uint64_t ctx_space_mask;
};

// ---- what the executor offers the ISA's helpers ----

// Why a run of translated code came back to the accelerator.
enum env_leave {
    LEAVE_AGAIN =
        0, // state is exact; look up pc and go on (mode changed, exception taken, code changed)
    LEAVE_INTERRUPT, // `interrupt` is set
    LEAVE_HALT,      // the CPU waits for an interrupt
    LEAVE_DEBUG,     // breakpoint, watchpoint or step of the debugger
    LEAVE_STOP,      // the CPU switched itself off
    LEAVE_YIELD,     // a spinning hint
    LEAVE_SYSCALL,   // user mode: the program asks for a system call
    LEAVE_SIGNAL,    // user mode: the fault in e->fault is for the program
};

// Which translations to forget. An address space is the ISA's 64-bit context id, matched as (ctx &
// mask) == value.
struct env_flush {
    uint64_t ctx_mask, ctx_value; // 0,0: every context
    gva_t va;                     // first address
    uint64_t len;                 // 0: every address
    bool last_level_only;         // hint
};

struct env_exec_ops {
    // Leave translated code at once; the state must be exact. Callable only from helpers marked
    // HELPER_STATE.
    void (*leave)(struct env *e, enum env_leave why) __attribute__((noreturn));
    // Guest memory on behalf of a helper marked HELPER_STATE; take the guest's exception and do not
    // return when they fail.
    uint64_t (*load)(struct env *e, gva_t va, unsigned mo);
    void (*store)(struct env *e, gva_t va, uint64_t val, unsigned mo);
    v128 (*load128)(struct env *e, gva_t va, unsigned mo);
    void (*store128)(struct env *e, gva_t va, v128 val, unsigned mo);
    // An atomic IR operation (enum ir_op: ll, sc, cas, swap, amo*) with operands b and c of 16
    // bytes, for the IR interpreter: what was there (sc: whether it stored) into *old. NULL: loads
    // and stores will do.
    void (*atomic)(struct env *e, unsigned op, gva_t va, unsigned mo, const void *b, const void *c,
                   void *old);
    // Zero a naturally aligned block (DC ZVA, cbo.zero): size a power of two up to 4096.
    void (*zero)(struct env *e, gva_t va, unsigned size, unsigned mo);
    // Debugger and walker accesses: -1 instead of an exception. Virtual in the current context.
    int (*peek)(struct env *e, gva_t va, void *dst, size_t n);
    int (*poke)(struct env *e, gva_t va, const void *src, size_t n);

    // MMU context `mmu` now means `ctx` (regime, address-space id, permission variants: all that
    // changes what translate() answers). Cheap when the id was seen lately. The ISA calls it
    // whenever one of these changes.
    void (*set_context)(struct env *e, unsigned mmu, uint64_t ctx);
    // Forget translations here; `broadcast`: on every CPU, finished when sync() returns.
    void (*flush)(struct env *e, const struct env_flush *f, bool broadcast);
    void (*sync)(struct env *e);
    // Forget translated code: instruction-cache maintenance where self-modifying code is not seen
    // by itself (never needed for correctness of stores made through this contract), breakpoints
    // set or removed.
    void (*code_flush)(struct env *e, gva_t va, uint64_t len);

    // IEEE sticky flags gathered so far are merged into fp.flags; then fp may be changed, and
    // fp_changed called.
    void (*fp_sync)(struct env *e);
    void (*fp_changed)(struct env *e);
};

// ---- floating-point environment ----

enum fp_rounding { FP_RNE, FP_RTZ, FP_RDN, FP_RUP, FP_RMM, FP_RODD };
enum fp_flag {
    FP_INVALID = 1,
    FP_DIVZERO = 2,
    FP_OVERFLOW = 4,
    FP_UNDERFLOW = 8,
    FP_INEXACT = 16,
    FP_DENORMAL = 32
};
// Between enum fp_flag's order of its five lowest and the mirrored one.
static inline uint32_t fp_flags_ordered(uint32_t flags, bool mirrored)
{
    uint32_t m =
        (flags & 1) << 4 | (flags & 2) << 2 | (flags & 4) | (flags & 8) >> 2 | (flags >> 4 & 1);
    return (mirrored ? m : flags) & 31;
}
// How NaN results are formed.
enum fp_nan {
    FP_NAN_ARM,     // first SNaN operand quieted, else first QNaN; default NaN positive
    FP_NAN_DEFAULT, // always the positive quiet default NaN (Arm DN=1, RISC-V)
    FP_NAN_X86,
    FP_NAN_PPC, // later guests
};
struct env_fp {
    uint8_t rounding;   // enum fp_rounding
    bool flush_inputs;  // subnormal operands are zero (raises FP_DENORMAL)
    bool flush_outputs; // subnormal results are zero (raises FP_UNDERFLOW)
    bool flush_half;    // the same two for half precision (Arm FZ16)
    bool
        alternative_half; // conversions are from and to Arm's other half format, without infinities
    bool tiny_before; // tininess is detected before rounding (Arm); after, otherwise (RISC-V, x86)
    uint8_t nan;      // enum fp_nan: the dynamic mode; IR ops carry their own
    uint32_t flags;   // enum fp_flag, sticky
};

// ---- the header itself ----

// Flags in packed form, as FLAGS slots are stored: the host's cheapest layout. Other bits are
// undefined.
#if defined(__x86_64__)
enum { PACK_N = 15, PACK_Z = 14, PACK_C = 8, PACK_V = 0 }; // lahf; seto al
#else
enum { PACK_N = 31, PACK_Z = 30, PACK_C = 29, PACK_V = 28 };
#endif
#define PACK_MASK (1u << PACK_N | 1u << PACK_Z | 1u << PACK_C | 1u << PACK_V)
static inline uint32_t flags_pack(bool n, bool z, bool c, bool v)
{
    return (uint32_t)n << PACK_N | (uint32_t)z << PACK_Z | (uint32_t)c << PACK_C |
           (uint32_t)v << PACK_V;
}

// Reasons in env.interrupt; any bit makes translated code leave at the next poll.
enum {
    INTR_LINE = 1,     // an interrupt line of the ISA changed
    INTR_WORK = 2,     // another thread has work for this one (flush, pause, debugger)
    INTR_TIMER = 4,    // a CPU timer is due
    INTR_EXECUTOR = 8, // the executor's own: it sets, serves and clears this one
    INTR_STEP = 16,    // the instruction of a single step has been executed
};

struct env {
    _Atomic uint32_t interrupt;
    uint32_t cpu_index;
    const struct env_isa_ops *isa;
    const struct env_exec_ops *exec;
    void *vcpu; // the accelerator's
    struct env_fp fp;
    // Exclusive monitor: set by IR `ll`, cleared by `sc` and by the ISA.
    struct env_monitor {
        uint64_t addr;   // virtual; MONITOR_NONE when open
        uint64_t val[2]; // what was loaded
        uint32_t size;   // bytes
    } monitor;
    uint64_t insns;         // executed so far, where counting is on
    struct env_fault fault; // the last one, for LEAVE_SIGNAL
    // The debugger's, changed only while nothing runs; the one that was met, for LEAVE_DEBUG.
    const struct env_watchpoint *watchpoints, *watch_hit;
    unsigned n_watchpoints;
};
// The first watchpoint that such an access meets, or NULL.
static inline const struct env_watchpoint *env_watched(const struct env *e, gva_t va, uint64_t size,
                                                       unsigned access)
{
    for (unsigned i = 0; i < e->n_watchpoints; i++) {
        const struct env_watchpoint *w = &e->watchpoints[i];
        if ((w->access & access) && va < w->va + w->len && w->va < va + size)
            return w;
    }
    return NULL;
}
#define MONITOR_NONE ~0ull
