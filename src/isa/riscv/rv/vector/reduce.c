// Reductions of integers: pieces are combined, then halves of the piece that is left.
#include "isa/riscv/rv/vector/body.h"

struct reduction {
    unsigned op;
    uint64_t neutral;
};

static bool known(unsigned id, unsigned size, struct reduction *r)
{
    uint64_t top = 1ull << ((8u << size) - 1);
    switch (id) {
    case RV_VREDSUM_VS:
        *r = (struct reduction){IR_vadd, 0};
        return true;
    case RV_VREDAND_VS:
        *r = (struct reduction){IR_vand, ~0ull};
        return true;
    case RV_VREDOR_VS:
        *r = (struct reduction){IR_vor, 0};
        return true;
    case RV_VREDXOR_VS:
        *r = (struct reduction){IR_vxor, 0};
        return true;
    case RV_VREDMIN_VS:
        *r = (struct reduction){IR_vsmin, top - 1};
        return true;
    case RV_VREDMAX_VS:
        *r = (struct reduction){IR_vsmax, top};
        return true;
    case RV_VREDMINU_VS:
        *r = (struct reduction){IR_vumin, ~0ull};
        return true;
    case RV_VREDMAXU_VS:
        *r = (struct reduction){IR_vumax, 0};
        return true;
    default:
        return false;
    }
}

static bool bitwise(unsigned op)
{
    return op == IR_vand || op == IR_vor || op == IR_vxor;
}

// Piece k of vs2 with what takes no part made neutral.
static ir_ref taken(const struct rvv_body *x, unsigned k, ir_ref neutral)
{
    ir_ref v = rvv_piece(x, x->i->vs2, k);
    if (rvv_masked(x))
        v = ir_v3(x->b, IR_vbsl, VL_8, rvv_active(x, x->v.sew, k), v, neutral);
    return rvv_start_of(x->b, neutral, v, x->bytes);
}

// All lanes of v into the lowest, that with element 0 of vs1, and this into element 0 of vd.
static void finish(const struct rvv_body *x, const struct reduction *r, unsigned size, ir_ref v)
{
    struct ir_build *b = x->b;
    unsigned aux = bitwise(r->op) ? VL_8 : size;
    for (unsigned n = RVV_PIECE / 2; n >= 1u << size; n /= 2)
        v = ir_v2(b, r->op, aux, v, ir_v2(b, IR_vext, VL_8 | VL_IMM(n), v, v));
    v = ir_v2(b, r->op, aux, v, rvv_piece(x, x->i->vs1, 0));
    unsigned s = rvv_slot(x, x->i->vd, 0);
    ir_put(b, s, rvv_start_of(b, ir_get(b, s), v, 1u << size));
}

bool rvv_reduction(const struct rvv_body *x)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew;
    struct reduction r;
    if (!known(x->i->id, size, &r))
        return false;
    ir_ref neutral = rvv_splat(b, r.neutral, size), v = taken(x, 0, neutral);
    for (unsigned k = 1; k < x->n; k++)
        v = ir_v2(b, r.op, bitwise(r.op) ? VL_8 : size, v, taken(x, k, neutral));
    finish(x, &r, size, v);
    return true;
}

bool rvv_wide_reduction(const struct rvv_body *x)
{
    struct ir_build *b = x->b;
    unsigned size = x->v.sew;
    unsigned widen = rv_vops[x->i->id].flags & VF_UNSIGNED ? IR_vuxtl : IR_vsxtl;
    ir_ref sum = rvv_zero(b);
    for (unsigned k = 0; k < x->n; k++) {
        ir_ref v = taken(x, k, rvv_zero(b));
        sum = ir_v2(b, IR_vadd, size + 1, sum, ir_v1(b, widen, size, v));
        if (x->bytes == RVV_PIECE)
            sum = ir_v2(b, IR_vadd, size + 1, sum, ir_v1(b, widen, size | VL_HIGH, v));
    }
    finish(x, &(struct reduction){IR_vadd, 0}, size + 1, sum);
    return true;
}
