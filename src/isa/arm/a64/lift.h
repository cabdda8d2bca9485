// Shorthand of the A64 lift functions: registers as values, with the zero register and the stack
// pointer told apart, and access modes. sf chooses between 32-bit (I32) and 64-bit (I64) values.
#pragma once

#include "isa/arm/a64_decode.h"
#include "isa/arm/a64/imm.h"
#include "isa/arm/arm.h"

static inline unsigned a64_type(unsigned sf)
{
    return sf ? IR_I64 : IR_I32;
}

// Alignment of the stack pointer is no test in accesses: a region is made for one that is aligned
// as it begins, or for one that is not (ARM_MODE_SP_BAD), and left where that changes. Only what
// moves the stack pointer by anything but multiples of 16 looks.
void a64_sp_written(struct lift *l);

// Register 31 is zero.
static inline ir_ref a64_x(struct lift *l, unsigned n)
{
    return n == 31 ? ir_i64(l->b, 0) : ir_get(l->b, ARM_X0 + n);
}
// Register 31 is the stack pointer: its slot follows X30.
static inline ir_ref a64_xsp(struct lift *l, unsigned n)
{
    return ir_get(l->b, ARM_X0 + n);
}
static inline ir_ref a64_reg(struct lift *l, unsigned sf, unsigned n)
{
    if (n == 31)
        return ir_const(l->b, a64_type(sf), 0);
    return sf ? a64_x(l, n) : ir_trunc(l->b, a64_x(l, n));
}
static inline ir_ref a64_regsp(struct lift *l, unsigned sf, unsigned n)
{
    return sf ? a64_xsp(l, n) : ir_trunc(l->b, a64_xsp(l, n));
}

// Writes take I32 or I64; a 32-bit result clears the upper half.
static inline ir_ref a64_widen(struct lift *l, ir_ref v)
{
    return ir_type_of(l->b, v) == IR_I32 ? ir_zext(l->b, IR_I64, v, 32) : v;
}
static inline void a64_set(struct lift *l, unsigned n, ir_ref v)
{
    if (n != 31)
        ir_put(l->b, ARM_X0 + n, a64_widen(l, v));
}
// The last thing an instruction does.
static inline void a64_set_sp(struct lift *l, unsigned n, ir_ref v)
{
    ir_put(l->b, ARM_X0 + n, a64_widen(l, v));
    if (n == 31 && l->mode & ARM_MODE_SP_ALIGN)
        a64_sp_written(l);
}

static inline ir_ref a64_flags(struct lift *l)
{
    return ir_get(l->b, ARM_NZCV);
}
static inline void a64_set_flags(struct lift *l, ir_ref flags)
{
    ir_put(l->b, ARM_NZCV, flags);
}
// A condition below 14; 14 and 15 always hold and must be told apart before.
static inline ir_ref a64_cond(struct lift *l, unsigned cond)
{
    return ir_fcond(l->b, (enum ir_cond)cond, a64_flags(l));
}

static inline unsigned a64_el(const struct lift *l)
{
    return l->mode & ARM_MODE_EL;
}
static inline bool a64_has(const struct lift *l, enum arm_feature f)
{
    return arm_has(arm_cpu(l->env), f);
}
static inline bool a64_has_pauth(const struct lift *l)
{
    return a64_has(l, ARM_FEAT_PAUTH_IMPDEF) || a64_has(l, ARM_FEAT_PAUTH_QARMA5);
}

// ---- memory (lift_mem.c) ----

// Register n as the base of an access; ends the region where it is a stack pointer that faults.
// Nothing of the instruction comes before it.
static inline ir_ref a64_base(struct lift *l, unsigned n)
{
    if (n == 31 && l->mode & ARM_MODE_SP_BAD)
        arm_lift_exception(l, ESR_MAKE(EC_SP_ALIGN, 0));
    return a64_xsp(l, n);
}

// Access mode of an ordinary access of 1 << size bytes.
static inline unsigned a64_mo(const struct lift *l, unsigned size)
{
    return size | (l->mode & ARM_MODE_BE ? MO_BE : 0) |
           (l->mode & ARM_MODE_ALIGN ? MO_ALIGN_TO(size) : 0);
}
// The same for an access that must be aligned whatever SCTLR.A says. With LSE2 anything within 16
// bytes is atomic instead.
static inline unsigned a64_mo_atomic(const struct lift *l, unsigned size)
{
    unsigned mo = size | (l->mode & ARM_MODE_BE ? MO_BE : 0);
    if (a64_has(l, ARM_FEAT_LSE2) && !(l->mode & ARM_MODE_ALIGN) && size < MO_128)
        return mo | MO_ATOMIC;
    return mo | MO_ALIGN_TO(size) | (size == MO_128 ? MO_ATOMIC : 0);
}
// Xm or Wm extended by `option` and shifted left (ExtendReg).
ir_ref a64_extend(struct lift *l, unsigned rm, unsigned option, unsigned amount);

// ---- pointer authentication (lift_branch.c) ----

// Sign, check or strip `ptr`; the plain pointer where the key is disabled or the CPU has none.
ir_ref a64_pac(struct lift *l, bool check, unsigned key, ir_ref ptr, ir_ref modifier);
ir_ref a64_strip(struct lift *l, bool instruction, ir_ref ptr);
