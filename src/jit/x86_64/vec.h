// Emitting vector instructions in either encoding; shared by the integer and floating-point rules.
// Registers here are numbered 0..15.
#pragma once

#include "jit/x86_64/cg.h"

static inline int vec_use(struct cg *c, ir_ref i)
{
    return cg_use(c, i) - 16;
}
static inline int vec_def(struct cg *c, ir_ref i)
{
    return cg_def(c, i) - 16;
}
static inline int vec_tmp(struct cg *c)
{
    return cg_tmp_xmm(c) - 16;
}
// d = a op b and d = op b by VEX or by legacy SSE, whichever this host has; d and a are numbers of
// vector registers, `op` an opcode of encode.h.
void vec3(struct cg *c, unsigned op, int d, int a, struct rm b);
void vec3i(struct cg *c, unsigned op, int d, int a, struct rm b, unsigned imm);
void vec2(struct cg *c, unsigned op, int d, struct rm b);
void vec2i(struct cg *c, unsigned op, int d, struct rm b, unsigned imm);
void vec_low(struct cg *c, int d, int a);           // the low 64 bits, zeros above
void vec_finish(struct cg *c, unsigned aux, int d); // clear lanes that take no part
// Shift by immediate: op /ext d, a, imm
void vec_shift(struct cg *c, unsigned op, int ext, int d, int a, unsigned imm);
int vec_zero(struct cg *c);

// ---- floating point: lower_fp.c, lower_half.c ----

// The mode of what the host does not do: flushing, other roundings and formats.
static inline bool cg_fp_strict(const struct cg *c)
{
    return c->b->mode & JIT_MODE_STRICT_FP;
}
static inline struct rm cg_fp_const(unsigned k)
{
    return rm_env(VOFF(fp_const) + (int32_t)(k * sizeof(union ir_val)));
}
// On `cc` the operation is done again by softfloat: its operands are still in their registers.
size_t cg_fp_slow_if(struct cg *c, ir_ref i, enum x86_cc cc);
// Halves; false: not in one of the host's ways.
bool cg_half_arith(struct cg *c, ir_ref i);
bool cg_half_widen(struct cg *c, ir_ref i);
bool cg_half_narrow(struct cg *c, ir_ref i);

// ---- lower_vec.c ----
int vec_splat32(struct cg *c, uint32_t v);
int vec_constant(struct cg *c, uint64_t lo, uint64_t hi);

// ---- lower_vec_lanes.c ----
// Unsigned doublewords compared; true: what the result says is the contrary.
bool cg_compare_wide(struct cg *c, ir_ref i);
