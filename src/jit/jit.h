// IR to host code, and the run time around it: code cache, look-up, linking, soft MMU, exits. One
// struct jit per machine, one jit_vcpu per CPU. The accelerator supplies the function that makes a
// region for a guest pc; everything else about the guest arrives through env (ir/env.h) and
// ir_guest slots.
#pragma once

#include "base/err.h"
#include "ir/ir.h"
#include "memory/space.h"

struct jit;
struct jit_vcpu;

struct jit_config {
    uint64_t cache_size; // bytes of code cache; 0: default
    const struct ir_guest *guest;
    size_t cpu_size; // of the guest's state
    unsigned max_vcpus;
    bool user_mode; // guest addresses are host addresses + user_base, no soft MMU
    uint8_t *user_base;
    // Fill `r` with the region at virtual address pc in `mode` for e's current state, of at most
    // max_insns guest instructions (1: exactly one is executed). `code` points at guest bytes from
    // pc to the end of its page (host memory, write-protected for the translator), `avail` of them,
    // and unless max_insns is 1 those of the page before pc are there too;
    // for an instruction that crosses into the next page the callback uses jit_fetch. False: the
    // guest's exception for the fetch was taken (state changed).
    bool (*translate)(void *opaque, struct env *e, uint64_t pc, uint64_t mode, const uint8_t *code,
                      unsigned avail, unsigned max_insns, struct ir_region *r);
    void *opaque;
    // Switches: on by default, each can be turned off to measure or to find a bug.
    bool no_aliases, no_boxes, no_chain, no_chunks, no_code_lookup, no_dead_code, no_displacements,
        no_global_code, no_half, no_host_flags, no_host_fp, no_inline_atomics, no_inline_crypto,
        no_inline_lookup, no_inline_tlb, no_inline_vectors, no_lazy_conditions, no_lazy_flags,
        no_loops, no_peel, no_prefault, no_quiet_returns, no_residents, no_returns, no_sharing,
        no_state_bias, no_tlb_retag, no_tlb_spaces, no_tlb_victims;
    bool baseline;      // only instructions every supported host has (x86-64-v2)
    bool interpret;     // run the IR interpreter instead of host code
    bool verify;        // each region also by the IR interpreter, on a copy, and compare (slow)
    bool verify_sample; // ... of a region's runs the first ones and then some
};

// NULL and *e where the host cannot hold code. `c` is copied; all vCPUs go before jit_free.
struct jit *jit_new(const struct jit_config *c, struct err *e);
void jit_free(struct jit *j);
// Allocates the vCPU's state (cpu_size bytes, zeroed, begins with struct env) with the executor's
// part around it, and sets env.exec.
struct env *jit_vcpu_new(struct jit *j, unsigned index, struct err *e);
void jit_vcpu_free(struct env *e);
void jit_thread_enter(
    struct env *e); // once on the vCPU's thread before jit_run: signal stack, FP control
void jit_thread_leave(struct env *e);
// Runs guest code until something needs the accelerator. env.interrupt makes it return
// LEAVE_INTERRUPT.
enum env_leave jit_run(struct env *e);

// Code bytes at va for the translator in e's context: copies up to n bytes, returns how many (0:
// fault recorded in e->fault, not taken).
unsigned jit_fetch(struct env *e, uint64_t va, void *dst, unsigned n);
// The address space changed: every vCPU drops cached look-ups at its next poll.
void jit_memory_changed(struct jit *j);
void jit_flush_all(struct jit *j); // all translated code, e.g. breakpoints changed; any thread
// What code means hangs on its virtual address (breakpoints) or no longer: from the next flush on.
void jit_pin(struct jit *j, bool pinned);

// Around fork(2) in user mode. Prepare makes a copy of the code cache for the child and keeps every
// other thread from translating; then parent or child. The child keeps `self`'s vCPU alone.
int jit_fork_prepare(struct jit *j, struct err *e) MUST_CHECK;
void jit_fork_parent(struct jit *j);
void jit_fork_child(struct jit *j, struct env *self);

struct buf;
struct jit_stats {
    // Now: blocks in memory, bytes of code cache and of what is kept beside it.
    uint64_t blocks, cache_size, cache_used, metadata;
    // Ever.
    uint64_t regions, guest_insns, host_bytes, evictions, invalidations, tlb_fills, tlb_retags,
        slow_loads, slow_stores, lookups, lookup_misses, translate_ns, fp_traps, verified,
        unverified, disturbed, differences;
};
void jit_get_stats(struct jit *j, struct jit_stats *s); // any thread
// Translate and print one region: guest, IR, host code (`myna explain`, -d).
void jit_explain(struct env *e, uint64_t pc, struct buf *out);
