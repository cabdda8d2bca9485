// Vector instructions (RISC-V Instruction Set Manual, volume I, chapter 30). The mode says SEW,
// LMUL and vl where it is a power of two of bytes; vset changes the mode inside the region, so that
// a loop that keeps its setting is one region. What is not inline (vector/) is a call into vec/. A
// fault of an inline access leaves vstart zero: the instruction is begun anew.
#include "isa/riscv/rv/lift_vec.h"

static const struct ir_helper vset_helper = {"vset", (void *)rv_vec_vset,     HELPER_STATE, IR_VOID,
                                             3,      {IR_I32, IR_I64, IR_I64}};
#define EXEC_HELPER(name, fn, flags)                                                               \
    static const struct ir_helper name = {#fn, (void *)fn, flags, IR_VOID, 2, {IR_I32, IR_I32}}
EXEC_HELPER(arith_helper, rv_vec_arith, HELPER_STATE);
EXEC_HELPER(special_helper, rv_vec_special, HELPER_STATE);
EXEC_HELPER(crypto_helper, rv_vec_crypto, HELPER_STATE);
EXEC_HELPER(access_helper, rv_vec_access, HELPER_STATE);

// ---- configuration ----

static void vset_call(struct lift *l, const struct rv_insn *i, unsigned rs1, ir_ref avl,
                      ir_ref vtype)
{
    uint32_t regs = i->rd | (i->id == RV_VSETIVLI ? 0x3e0u : rs1 << 5);
    ir_callv(l->b, &vset_helper, ir_i32(l->b, regs), avl, vtype);
    ir_leave(l->b, LEAVE_AGAIN, l->pc + l->length);
}

static void set_state(struct lift *l, ir_ref vl, unsigned vtype)
{
    struct ir_build *b = l->b;
    ir_stenv(b, offsetof(struct rv_cpu, vl), vl, MO_64);
    ir_stenv(b, offsetof(struct rv_cpu, vtype), ir_i64(b, vtype), MO_64);
    if (rv_vconfig_of(b->mode).start)
        ir_stenv(b, offsetof(struct rv_cpu, vstart), ir_i64(b, 0), MO_64);
}

// vl is known.
static void set_known(struct lift *l, const struct rv_insn *i, uint64_t vl, unsigned vtype)
{
    ir_ref v = ir_i64(l->b, vl);
    set_state(l, v, vtype);
    rv_set(l, i->rd, v);
    l->b->mode = rv_vmode_with(l->b->mode, vtype, vl);
}

void rv_lift_vec_set(struct lift *l, const struct rv_insn *i)
{
    struct ir_build *b = l->b;
    const struct rv_cpu *c = rv_cpu(l->env);
    bool immediate = i->id == RV_VSETIVLI;
    uint64_t known, vtype = immediate ? i->zimm10 : i->zimm11, max;
    ir_ref avl = immediate ? ir_i64(b, i->uimm5) : rv_x(l, i->rs1);
    if (i->id == RV_VSETVL || !rv_vtype_ok(c, vtype)) {
        vset_call(l, i, i->rs1, avl, i->id == RV_VSETVL ? rv_x(l, i->rs2) : ir_i64(b, vtype));
        return;
    }
    max = rv_vlmax(c, vtype);
    if (immediate || (i->rs1 && ir_is_const(b, avl, &known))) {
        set_known(l, i, MIN(immediate ? i->uimm5 : known, max), (unsigned)vtype);
        return;
    }
    if (!i->rs1 && i->rd) {
        set_known(l, i, max, (unsigned)vtype);
        return;
    }
    if (!i->rs1) { // vl stays
        struct rv_vconfig now = rv_vconfig_of(b->mode);
        uint64_t vl = now.vl_bytes >> now.sew;
        if (now.vill || !vl || vl > max)
            vset_call(l, i, 0, avl, ir_i64(b, vtype));
        else
            set_known(l, i, vl, (unsigned)vtype);
        return;
    }
    // As much as fits, or the rest: the rest is another mode.
    ir_ref most = ir_i64(b, max), fits = ir_cmp(b, CMP_ULT, avl, most);
    ir_ref vl = ir_select(b, fits, avl, most);
    set_state(l, vl, (unsigned)vtype);
    rv_set(l, i->rd, vl);
    ir_exit_mode_if(b, fits, l->pc + l->length);
    if (i->rd)
        rv_set(l, i->rd, most);
    b->mode = rv_vmode_with(b->mode, (unsigned)vtype, max);
}

// ---- the rest ----

// An instruction by its function in vec/. With vstart not zero before it the mode changes.
static void call(struct lift *l, const struct rv_insn *i, const struct ir_helper *h)
{
    ir_callv(l->b, h, ir_i32(l->b, i->id), ir_i32(l->b, i->raw));
    struct rv_vconfig v = rv_vconfig_of(l->b->mode);
    bool first_only = i->id >= RV_VLE8FF_V && i->id <= RV_VLE64FF_V;
    if (v.start || (first_only && !v.vl_bytes)) {
        ir_leave(l->b, LEAVE_AGAIN, l->pc + l->length);
    } else if (first_only) { // most often vl stays
        ir_ref vl = ir_ldenv(l->b, IR_I64, offsetof(struct rv_cpu, vl));
        ir_ref less = ir_cmp(l->b, CMP_NE, vl, ir_i64(l->b, v.vl_bytes >> v.sew));
        ir_exit_mode_if(l->b, less, l->pc + l->length);
    }
}

static bool ready(struct lift *l, const struct rv_insn *i)
{
    struct rv_vconfig v = rv_vconfig_of(l->b->mode);
    bool fp = rv_vops[i->id].flags & VF_FP;
    if (fp && !rv_lift_fp_ready(l, i))
        return false;
    if (rv_vec_defined(rv_cpu(l->env), i, &v) && !(fp && l->mode & RV_MODE_RM_INVALID))
        return true;
    rv_lift_illegal(l, i);
    return false;
}

void rv_lift_vec_arith(struct lift *l, const struct rv_insn *i)
{
    if (ready(l, i) && !rv_lift_vec_inline(l, i))
        call(l, i, &arith_helper);
}

void rv_lift_vec_special(struct lift *l, const struct rv_insn *i)
{
    if (ready(l, i) && !rv_lift_vec_inline(l, i))
        call(l, i, &special_helper);
}

void rv_lift_vec_crypto(struct lift *l, const struct rv_insn *i)
{
    if (ready(l, i) && !rv_lift_vec_inline(l, i))
        call(l, i, &crypto_helper);
}

void rv_lift_vec_load(struct lift *l, const struct rv_insn *i)
{
    if (ready(l, i) && !rv_lift_vec_inline(l, i))
        call(l, i, &access_helper);
}

void rv_lift_vec_store(struct lift *l, const struct rv_insn *i)
{
    rv_lift_vec_load(l, i);
}
