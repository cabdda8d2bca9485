// One RISC-V instruction to IR or to text: its length, decoding, extensions the CPU model lacks,
// ECALL, EBREAK and the fences of user level.
#include "isa/riscv/rv/lift.h"

// ---- exceptions ----

static void help_exception(struct env *e, uint32_t cause, uint64_t tval)
{
    rv_raise(rv_cpu(e), (enum rv_cause)cause, tval);
}
static const struct ir_helper exception_helper = {
    "exception", (void *)help_exception, HELPER_STATE, IR_VOID, 2, {IR_I32, IR_I64}};

void rv_lift_exception(struct lift *l, enum rv_cause cause, uint64_t tval)
{
    ir_callv(l->b, &exception_helper, ir_i32(l->b, cause), ir_i64(l->b, tval));
    ir_leave(l->b, LEAVE_AGAIN, l->pc);
}

void rv_lift_illegal(struct lift *l, const struct rv_insn *i)
{
    rv_lift_exception(l, RV_CAUSE_ILLEGAL, i->raw);
}

void rv_lift_trap(struct lift *l, const struct rv_insn *i)
{
    unsigned priv = (unsigned)((l->mode & RV_MODE_PRIV) >> RV_MODE_PRIV_SHIFT);
    bool virt = l->mode & RV_MODE_VIRT;
    if (i->id == RV_ECALL && rv_cpu(l->env)->config.user_mode) {
        ir_leave(l->b, LEAVE_SYSCALL, l->pc + l->length);
        return;
    }
    if (i->id == RV_ECALL) {
        rv_lift_exception(l, RV_CAUSE_ECALL_U + (priv == RV_S && virt ? 2 : priv), 0);
        return;
    }
    ir_callv(l->b, &exception_helper, ir_i32(l->b, RV_CAUSE_BREAKPOINT), ir_pc(l->b, l->pc));
    ir_leave(l->b, LEAVE_AGAIN, l->pc);
}

// ---- fences ----

// The sets before and after: device input and output are loads and stores. Only a store before a
// load needs the full fence, which FENCE.TSO leaves out.
void rv_lift_fence(struct lift *l, const struct rv_insn *i)
{
    enum { LOADS = 10, STORES = 5, TSO = 8 };
    if (i->id == RV_PAUSE) {
        ir_leave(l->b, LEAVE_YIELD, l->pc + l->length);
        return;
    }
    bool tso = i->fm == TSO && i->pred == 3 && i->succ == 3;
    if (i->pred & STORES && i->succ & LOADS && !tso) {
        ir_fence(l->b, MO_SEQ);
        return;
    }
    if (i->pred & LOADS && i->succ)
        ir_fence(l->b, MO_ACQUIRE);
    if (i->pred & STORES && i->succ)
        ir_fence(l->b, MO_RELEASE);
}

static void help_fence_i(struct env *e)
{
    e->exec->code_flush(e, 0, 0);
}
static const struct ir_helper fence_i_helper = {"fence_i", (void *)help_fence_i, HELPER_STATE,
                                                IR_VOID};

void rv_lift_fence_i(struct lift *l, const struct rv_insn *i)
{
    if (rv_cpu(l->env)->config.user_mode) // the only sign that code was written
        ir_call0(l->b, &fence_i_helper);
    ir_leave(l->b, LEAVE_AGAIN, l->pc + l->length);
}

// ---- one instruction ----

// The other extension that has the instruction; its own where there is none.
static enum rv_feature also_in(const struct rv_insn *i, bool narrow)
{
    switch (i->id) {
    case RV_PACK: // zext.h where XLEN is 32
        return narrow && !i->rs2 ? RV_FEAT_ZBB : RV_FEAT_ZBKB;
    case RV_ANDN:
    case RV_ORN:
    case RV_XNOR:
    case RV_ROL:
    case RV_ROLW:
    case RV_ROR:
    case RV_RORI:
    case RV_RORW:
    case RV_RORIW:
    case RV_REV8:
    case RV_REV8_32:
    case RV_ZEXT_H: // packw with x0
        return RV_FEAT_ZBKB;
    case RV_CLMUL:
    case RV_CLMULH:
        return RV_FEAT_ZBKC;
    case RV_VSHA2MS_VV:
    case RV_VSHA2CH_VV:
    case RV_VSHA2CL_VV:
        return RV_FEAT_ZVKNHB;
    case RV_AES64KS1I:
    case RV_AES64KS2:
        return RV_FEAT_ZKND;
    default:
        return (enum rv_feature)(rv_info[i->id].feature - 1);
    }
}

// What an instruction needs beside the extension it is listed with.
static bool companions_there(const struct rv_cpu *c, const struct rv_insn *i)
{
    switch (i->id) {
    case RV_AMOCAS_B:
    case RV_AMOCAS_H:
        return rv_has(c, RV_FEAT_ZACAS);
    case RV_FCVT_D_H:
    case RV_FCVT_H_D:
    case RV_FCVTMOD_W_D:
    case RV_FLEQ_D:
    case RV_FLI_D:
    case RV_FLTQ_D:
    case RV_FMAXM_D:
    case RV_FMINM_D:
    case RV_FMVH_X_D:
    case RV_FMVP_D_X:
    case RV_FROUND_D:
    case RV_FROUNDNX_D:
        return rv_has(c, RV_FEAT_D);
    case RV_FLEQ_H:
    case RV_FLTQ_H:
    case RV_FMAXM_H:
    case RV_FMINM_H:
    case RV_FROUND_H:
    case RV_FROUNDNX_H:
        return rv_has(c, RV_FEAT_ZFH);
    case RV_FLI_H:
        return rv_has(c, RV_FEAT_ZFH) || rv_has(c, RV_FEAT_ZVFH);
    default:
        return true;
    }
}

// Shifts by an immediate have a bit too many for 32-bit registers.
static bool shift_defined(struct lift *l, const struct rv_insn *i)
{
    return !rv_narrow(l) || i->shamt < 32;
}

static void lift_decoded(struct lift *l, const struct rv_insn *i)
{
    const struct decode_info *info = &rv_info[i->id];
    const struct rv_cpu *c = rv_cpu(l->env);
    bool known = i->id && (l->length == 4 || rv_has(c, RV_FEAT_C));
    if (!known ||
        (info->feature && !rv_has(c, (enum rv_feature)(info->feature - 1)) &&
         !rv_has(c, also_in(i, rv_narrow(l)))) ||
        !companions_there(c, i) || !shift_defined(l, i))
        rv_lift_illegal(l, i);
    else if ((strncmp(info->cls, "fp_", 3) || rv_lift_fp_ready(l, i)) &&
             (strncmp(info->cls, "vec_", 4) || rv_lift_vec_ready(l, i)))
        rv_lifts[i->id](l, i);
}

void rv_lift_compressed(struct lift *l, const struct rv_insn *c)
{
    struct rv_insn i = rv_expand(c);
    if (c->id != RV_C_MOP) // writes nothing
        lift_decoded(l, &i);
}

unsigned rv_decode(const uint8_t *code, unsigned avail, unsigned xlen, struct rv_insn *i,
                   bool *known)
{
    if (avail < 2)
        return 0;
    uint16_t w = ld_le16(code);
    if ((w & 3) != 3) {
        *known = rv_decode16(w, xlen, i);
        return 2;
    }
    if (avail < 4)
        return 0;
    *known = rv_decode32(ld_le32(code), xlen, i);
    return 4;
}

void rv_lift(struct lift *l)
{
    struct rv_insn i = {0};
    bool known;
    l->length = rv_decode(l->code, l->avail, rv_narrow(l) ? 32 : 64, &i, &known);
    if (!l->length)
        return;
    if (l->mode & RV_MODE_COUNT)
        ir_put(l->b, RV_INSNS, ir_addi(l->b, ir_get(l->b, RV_INSNS), 1));
    lift_decoded(l, &i);
}

static unsigned disas(const uint8_t *code, unsigned avail, unsigned xlen, uint64_t pc, char *out,
                      size_t n)
{
    struct disas_out o = {.text = out, .size = n, .pc = pc};
    struct rv_insn i = {0};
    bool known;
    unsigned length = rv_decode(code, avail, xlen, &i, &known);
    if (!length)
        return 0;
    if (known && length == 2) {
        uint32_t raw = i.raw;
        i = rv_expand(&i);
        i.raw = raw;
    }
    if (known)
        rv_disas(&o, &i);
    else
        disas_printf(&o, length == 2 ? ".half   0x%04x" : ".word   0x%08x", i.raw);
    return length;
}

unsigned rv_disas_insn(const uint8_t *code, unsigned avail, uint64_t pc, char *out, size_t n)
{
    return disas(code, avail, 64, pc, out, n);
}

unsigned rv32_disas_insn(const uint8_t *code, unsigned avail, uint64_t pc, char *out, size_t n)
{
    return disas(code, avail, 32, pc, out, n);
}
