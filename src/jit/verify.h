// The translator against the IR interpreter, region by region; see verify.c.
#pragma once

#include "jit/state.h"

// Around entering b from C with nothing linked to it. After: with the pc slot set; `left`: it came
// back for `why`, not to go on elsewhere.
void jit_verify_before(struct jit_vcpu *v, struct block *b);
void jit_verify_after(struct jit_vcpu *v, const struct block *b, bool left, enum env_leave why);
void jit_verify_free(struct jit_vcpu *v);
