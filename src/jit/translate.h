// Finding, making and interpreting translated code; see state.h for jit_find.
#pragma once

#include "jit/state.h"

enum { JIT_MAX_INSNS = 512 }; // asked for at once

struct buf;
void jit_print_code(const uint8_t *code, size_t n, struct buf *out);

// At most max_insns instructions from pc, by the IR interpreter. May leave by jit_leave.
enum env_leave jit_interpret(struct jit_vcpu *v, unsigned max_insns);

static inline uint64_t jit_pc(struct jit_vcpu *v)
{
    const struct ir_guest *g = v->jit->c.guest;
    uint64_t pc;
    memcpy(&pc, (uint8_t *)jit_env(v) + g->slots[g->pc].offset, 8);
    return pc;
}
static inline void jit_set_pc(struct jit_vcpu *v, uint64_t pc)
{
    const struct ir_guest *g = v->jit->c.guest;
    memcpy((uint8_t *)jit_env(v) + g->slots[g->pc].offset, &pc, 8);
}
