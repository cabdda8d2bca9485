// AES instructions on vectors: a group of elements is a piece.
#include "isa/riscv/rv/vector/body.h"

static ir_ref aes_round(struct ir_build *b, unsigned id, ir_ref state, ir_ref key)
{
    ir_ref none = ir_const(b, IR_V128, 0);
    switch (id) {
    case RV_VAESEM_VV:
    case RV_VAESEM_VS:
        state = ir_v1(b, IR_aesmc, 0, ir_v2(b, IR_aese, 0, state, none));
        break;
    case RV_VAESEF_VV:
    case RV_VAESEF_VS:
        state = ir_v2(b, IR_aese, 0, state, none);
        break;
    case RV_VAESDM_VV:
    case RV_VAESDM_VS:
        state = ir_v2(b, IR_vxor, 0, ir_v2(b, IR_aesd, 0, state, none), key);
        return ir_v1(b, IR_aesimc, 0, state);
    case RV_VAESDF_VV:
    case RV_VAESDF_VS:
        state = ir_v2(b, IR_aesd, 0, state, none);
        break;
    default: // VAESZ
        break;
    }
    return ir_v2(b, IR_vxor, 0, state, key);
}

bool rvv_aes(const struct rvv_body *x)
{
    unsigned id = x->i->id;
    if (id < RV_VAESDM_VV || id > RV_VAESZ_VS || x->v.vl_bytes < RVV_PIECE)
        return false;
    bool one_key = id >= RV_VAESDM_VS;
    for (unsigned k = 0; k < x->n; k++) {
        ir_ref key = rvv_piece(x, x->i->vs2, one_key ? 0 : k);
        ir_put(x->b, rvv_slot(x, x->i->vd, k), aes_round(x->b, id, rvv_piece(x, x->i->vd, k), key));
    }
    return true;
}
