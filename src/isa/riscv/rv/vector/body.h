// What the files here share: one vector instruction while it becomes operations of the IR. Pieces
// are 16 bytes of a register group; where vl is less than a piece the instruction has one, of which
// `bytes` count. A mask is words of 64 bits, of which as many count as vl says.
#pragma once

#include "isa/riscv/rv/lift_vec.h"

enum { RVV_PIECE = 16, RVV_MOST = 16 }; // bytes of a piece; pieces of a group

struct rvv_body {
    struct lift *l;
    struct ir_build *b;
    const struct rv_insn *i;
    struct rv_vconfig v;
    unsigned per_reg; // pieces of a register
    unsigned n;       // pieces that vl reaches into
    unsigned bytes;   // of the piece: 16 or less
    bool tail; // vl is not known: vl_bytes are all there could be, lanes behind vl take no part
};

static inline unsigned rvv_slot(const struct rvv_body *x, unsigned reg, unsigned k)
{
    return RV_V0 + reg * x->per_reg + k;
}
static inline ir_ref rvv_piece(const struct rvv_body *x, unsigned reg, unsigned k)
{
    return ir_get(x->b, rvv_slot(x, reg, k));
}
// Does v0 say which elements are written?
static inline bool rvv_masked(const struct rvv_body *x)
{
    return !rv_vm(x->i->raw) && !(rv_vops[x->i->id].flags & VF_CARRY);
}
// Are there lanes that take no part?
static inline bool rvv_partial(const struct rvv_body *x)
{
    return x->tail || rvv_masked(x);
}
static inline unsigned rvv_vl(const struct rvv_body *x)
{
    return x->v.vl_bytes >> x->v.sew;
}

// ---- constants ----

// An element of 1 << size bytes in all of 64 bits.
static inline uint64_t rvv_repeat(uint64_t val, unsigned size)
{
    val &= size == 3 ? ~0ull : mask_low(8u << size);
    for (unsigned n = 8u << size; n < 64; n *= 2)
        val |= val << n;
    return val;
}
static inline ir_ref rvv_splat(struct ir_build *b, uint64_t val, unsigned size)
{
    return ir_const(b, IR_V128, rvv_repeat(val, size));
}
static inline ir_ref rvv_zero(struct ir_build *b)
{
    return ir_const(b, IR_V128, 0);
}
ir_ref rvv_constant(struct ir_build *b, uint64_t lo, uint64_t hi);

// ---- operands and results ----

// The low `bytes` of v over old.
ir_ref rvv_start_of(struct ir_build *b, ir_ref old, ir_ref v, unsigned bytes);
ir_ref rvv_scalar(const struct rvv_body *x); // the second operand, where it is no vector
ir_ref rvv_second(const struct rvv_body *x, unsigned k); // piece k of it
// All ones in the lanes of piece k, of elements of `size`, whose bit of v0 is set ...
ir_ref rvv_chosen(const struct rvv_body *x, unsigned size, unsigned k);
// ... that take part, where not all do.
ir_ref rvv_active(const struct rvv_body *x, unsigned size, unsigned k);
// Pieces of vd, of elements of `size`, become v where elements are active.
void rvv_put(const struct rvv_body *x, unsigned size, const ir_ref *v, unsigned n, unsigned bytes);

// ---- shifts (arith.c) ----

enum rvv_shift_kind { RVV_LEFT, RVV_RIGHT, RVV_ARITHMETIC };
// By the instruction's second operand; `half`: which of its piece k's halves, where it is narrower.
ir_ref rvv_shift(const struct rvv_body *x, unsigned size, ir_ref a, unsigned k, unsigned half,
                 enum rvv_shift_kind kind);

// ---- masks (mask.c) ----

static inline unsigned rvv_mask_words(const struct rvv_body *x)
{
    return (rvv_vl(x) + 63) / 64;
}
// A word of a mask register, an I64; beyond vl there is anything.
ir_ref rvv_mask_word(const struct rvv_body *x, unsigned reg, unsigned k);

// ---- instructions: false, and nothing was emitted, where it is not one that is known here ----

bool rvv_same_size(const struct rvv_body *x);
bool rvv_fixed_point(const struct rvv_body *x); // fixed.c: one size
bool rvv_fixed_narrowing(const struct rvv_body *x);
bool rvv_widening(const struct rvv_body *x);
bool rvv_extension(const struct rvv_body *x);
bool rvv_narrowing(const struct rvv_body *x);
bool rvv_reduction(const struct rvv_body *x); // reduce.c
bool rvv_wide_reduction(const struct rvv_body *x);
bool rvv_fp_same_size(const struct rvv_body *x); // fp.c
bool rvv_fp_widening(const struct rvv_body *x);
bool rvv_fp_narrowing(const struct rvv_body *x);
bool rvv_fp_reduction(const struct rvv_body *x);
ir_ref rvv_fp_compare(const struct rvv_body *x, unsigned k); // lanes; IR_NONE: not known
bool rvv_compare(const struct rvv_body *x);                  // mask.c: results that are masks
bool rvv_mask_op(const struct rvv_body *x);                  // operations on masks
bool rvv_move(const struct rvv_body *x);                     // move.c: registers, slides, gathers
bool rvv_access(const struct rvv_body *x);                   // access.c
bool rvv_aes(const struct rvv_body *x);                      // crypto.c
