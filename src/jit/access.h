// Guest memory from C: the slow half of translated accesses, and the executor's operations for
// helpers.
#pragma once

#include "jit/state.h"

extern const struct env_exec_ops jit_exec_ops;

// From translated code: an access described by `info` (x86_64/cg.h, SLOW_INFO) on the registers in
// v->regs; the result goes there too. Does not return when the guest takes an exception.
void jit_slow_access(struct env *e, uint32_t info);
// From the signal handler, user mode: v->regs are those of the faulting instruction, e->fault has
// its address and kind.
void jit_user_fault(struct env *e) __attribute__((noreturn));
void jit_leave(struct env *e, enum env_leave why) __attribute__((noreturn));
