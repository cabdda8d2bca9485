// What the lift functions of RISC-V instructions share: registers as values.
#pragma once

#include "isa/riscv/riscv.h"
#include "isa/riscv/rv_decode.h"

static inline ir_ref rv_x(struct lift *l, unsigned n)
{
    return n ? ir_get(l->b, RV_X0 + n) : ir_i64(l->b, 0);
}

static inline bool rv_narrow(const struct lift *l) // XLEN is 32
{
    return l->mode & RV_MODE_32;
}

// The low word of a register.
static inline ir_ref rv_w(struct lift *l, unsigned n)
{
    return ir_trunc(l->b, rv_x(l, n));
}

// Writes an I64, or an I32 sign-extended, as all results of word operations are, and everything
// where XLEN is 32.
static inline void rv_set(struct lift *l, unsigned n, ir_ref v)
{
    if (ir_type_of(l->b, v) == IR_I32 || rv_narrow(l))
        v = ir_sext(l->b, IR_I64, v, 32);
    if (n)
        ir_put(l->b, RV_X0 + n, v);
}

// A sum as an address.
static inline ir_ref rv_address(struct lift *l, ir_ref v)
{
    return rv_narrow(l) ? ir_zext(l->b, IR_I64, v, 32) : v;
}

// ... of a data access, where the highest bits may be ignored (pointer masking).
static inline ir_ref rv_data_address(struct lift *l, ir_ref v)
{
    unsigned n = rv_pmm_bits((l->mode & RV_MODE_PMM) >> RV_MODE_PMM_SHIFT);
    if (!n)
        return rv_address(l, v);
    v = ir_shli(l->b, v, n);
    return l->mode & RV_MODE_PMM_ZERO ? ir_shri(l->b, v, n) : ir_sari(l->b, v, n);
}

// Emits an exception at this instruction; the region ends.
void rv_lift_exception(struct lift *l, enum rv_cause cause, uint64_t tval);
void rv_lift_illegal(struct lift *l, const struct rv_insn *i);

// False: floating point is off, or its state is about to be marked dirty; the region has ended
// (system/lift_system.c).
bool rv_lift_fp_ready(struct lift *l, const struct rv_insn *i);
bool rv_lift_vec_ready(struct lift *l, const struct rv_insn *i); // the same for vectors

// Floating-point registers as bits (lift_fp.c): I64 for doubles, I32 for singles, which are checked
// when read and boxed when written.
ir_ref rv_fp_bits(struct lift *l, bool dbl, unsigned n);
void rv_fp_set(struct lift *l, unsigned n, ir_ref v); // F32, which is boxed, or F64
void rv_fp_set_bits(struct lift *l, unsigned n, ir_ref v);

// An instruction on half precision as IR; false: there is nothing for it, and nothing was emitted.
// rm: its rounding mode, 7 for the dynamic one (lift_half.c).
bool rv_lift_fp_half(struct lift *l, const struct rv_insn *i, unsigned rm);

// Bytes of the instruction, 0 when not all of them are there; false in *known for no instruction.
unsigned rv_decode(const uint8_t *code, unsigned avail, unsigned xlen, struct rv_insn *i,
                   bool *known);
// The 32-bit instruction that a compressed one stands for (compressed.c).
struct rv_insn rv_expand(const struct rv_insn *c);
