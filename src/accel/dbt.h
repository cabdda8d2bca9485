// What binary translation offers user mode beside the operations of every accelerator (accel.h):
// guest memory mapped straight into the host's, and survival of fork.
#pragma once

#include "accel/accel.h"

extern const struct accel_ops accel_dbt;

struct dbt_user {
    uint8_t *base; // host address of guest address 0
    // May code at pc be executed? Asked by translating threads, before its bytes are read.
    bool (*may_execute)(void *opaque, uint64_t pc);
    // It may not, and the CPU has come there: the fetch is in e->fault. On its thread, whose run
    // then comes back with LEAVE_INTERRUPT.
    void (*refused)(void *opaque, struct env *e);
    void *opaque;
};

// A dbt accelerator for up to max_threads guest threads of one process; NULL with the reason.
struct accel *dbt_open_user(const struct isa *isa, unsigned max_threads, const struct dbt_user *u,
                            struct opts *o, struct err *e);
// Around fork(2): prepare in the parent (no other thread translates until the next call), then
// parent or child. The child keeps the calling thread's CPU alone. -1: no memory for the child's
// copy of the code cache; do not fork.
int dbt_fork_prepare(struct accel *a, struct err *e) MUST_CHECK;
void dbt_fork_parent(struct accel *a);
void dbt_fork_child(struct accel *a, struct env *self);
