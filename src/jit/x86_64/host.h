// The parts of the x86-64 back end that are not about one region: fixed code, patching, signals.
#pragma once

#include "jit/x86_64/cg.h"

// The code generator's working memory, one for each translating thread at a time.
struct cg *cg_new(struct jit *j);
void cg_free(struct cg *c);

// The functions of struct jit_host (jit/state.h has their contracts).
void host_init(struct jit *j);
void host_exit(struct jit *j);
void host_patch(struct jit *j, struct link *l, uint32_t target);
void host_patch_guard(struct link *l, uint32_t id);
struct run_result host_enter(struct jit *j, struct env *e, uint32_t code);
void host_unwind(struct jit_vcpu *v, enum env_leave why) __attribute__((noreturn));
void host_thread_enter(struct jit_vcpu *v);
void host_thread_leave(struct jit_vcpu *v);
