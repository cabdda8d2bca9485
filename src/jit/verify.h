// The translator against the IR interpreter, region by region; see verify.c.
#pragma once

#include "jit/state.h"

// b is about to be added: keeps the region it is compared with, made of the same bytes. The pc is
// at its start; lock held.
void jit_verify_keep(struct jit_vcpu *v, struct block *b, const uint8_t *code, unsigned avail);
void jit_verify_drop(struct twin *twin); // may be NULL

// Around entering b from C with nothing linked to it. After: with the pc slot set; `res` is NULL
// when it was not entered.
void jit_verify_before(struct jit_vcpu *v, const struct block *b);
void jit_verify_after(struct jit_vcpu *v, const struct block *b, const struct run_result *res);
void jit_verify_free(struct jit_vcpu *v);
