// Emitting vector instructions in either encoding; shared by the integer and floating-point rules.
// Registers here are numbered 0..15.
#pragma once

#include "jit/x86_64/cg.h"

void vec3(struct cg *c, unsigned op, int d, int a, struct rm b);
void vec3i(struct cg *c, unsigned op, int d, int a, struct rm b, unsigned imm);
void vec2(struct cg *c, unsigned op, int d, struct rm b);
void vec2i(struct cg *c, unsigned op, int d, struct rm b, unsigned imm);
void vec_low(struct cg *c, int d, int a);
void vec_finish(struct cg *c, unsigned aux, int d); // clear lanes that take no part
// Shift by immediate: op /ext d, a, imm
void vec_shift(struct cg *c, unsigned op, int ext, int d, int a, unsigned imm);
int vec_zero(struct cg *c);
int vec_splat32(struct cg *c, uint32_t v);
