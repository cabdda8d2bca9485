// Lifting of what touches the system: control registers, trap returns, waiting, fences of address
// translation, and a hypervisor's accesses to its virtual machine's memory. Registers that are
// plain storage are read and written inline; everything else goes through a helper that may take
// an exception. RISC-V Instruction Set Manual, volume II, 3.3, 10.2 and 15.3.
#include "isa/riscv/csr.h"
#include "isa/riscv/rv/lift.h"
#include "isa/riscv/system/system.h"

#include <stdatomic.h>

#define HELPER(n, f, r, ...)                                                                       \
    static const struct ir_helper n = {.name = #f,                                                 \
                                       .fn = (void *)f,                                            \
                                       .flags = HELPER_STATE,                                      \
                                       .ret = r,                                                   \
                                       .n_args = sizeof((uint8_t[]){__VA_ARGS__}),                 \
                                       .args = {__VA_ARGS__}}

static enum rv_priv priv_of(const struct lift *l)
{
    return (enum rv_priv)((l->mode & RV_MODE_PRIV) >> RV_MODE_PRIV_SHIFT);
}

// The exception of an instruction that this level may not execute.
_Noreturn static void refuse(struct rv_cpu *c, enum rv_access why, uint64_t raw)
{
    rv_raise(c, why == RV_VIRTUAL ? RV_CAUSE_VIRTUAL : RV_CAUSE_ILLEGAL, raw);
}

static void lift_refuse(struct lift *l, const struct rv_insn *i)
{
    bool virt = l->mode & RV_MODE_VIRT;
    rv_lift_exception(l, virt ? RV_CAUSE_VIRTUAL : RV_CAUSE_ILLEGAL, i->raw);
}

// ---- control registers ----

enum csr_op { CSR_READ, CSR_WRITE, CSR_SET, CSR_CLEAR };

static const struct rv_csr *checked(struct rv_cpu *c, uint64_t raw, bool write)
{
    unsigned number = (unsigned)bits(raw, 31, 20);
    const struct rv_csr *r = rv_csr_find(c, number);
    enum rv_access a = r ? rv_csr_check(c, r, number, write) : RV_ILLEGAL;
    if (a != RV_ALLOWED)
        refuse(c, a, raw);
    return r;
}

static uint64_t help_csr_read(struct env *e, uint64_t raw)
{
    struct rv_cpu *c = rv_cpu(e);
    return rv_csr_get(c, checked(c, raw, false), (unsigned)bits(raw, 31, 20));
}
HELPER(csr_read_helper, help_csr_read, IR_I64, IR_I64);

// What a read-modify-write starts from: of mip, SEIP as software wrote it, without the line.
static uint64_t modify_base(struct rv_cpu *c, unsigned number, uint64_t old)
{
    const uint64_t sei = 1ull << RV_INT_SEI;
    return number == RV_CSR_MIP ? (old & ~sei) | (c->mip & sei) : old;
}

// Writes the destination itself, since the region is left when the meaning of code has changed or
// an interrupt has become deliverable.
static void help_csr_write(struct env *e, uint32_t op, uint64_t operand, uint64_t raw)
{
    struct rv_cpu *c = rv_cpu(e);
    const struct rv_csr *r = checked(c, raw, true);
    unsigned number = (unsigned)bits(raw, 31, 20), rd = (unsigned)bits(raw, 11, 7);
    uint64_t mode = rv_mode(e), old = 0;
    if (rd || op != CSR_WRITE)
        old = rv_csr_get(c, r, number);
    c->csr_access.old = old;
    c->csr_access.has_old = rd || op != CSR_WRITE;
    c->csr_access.touched = op == CSR_WRITE ? ~0ull : operand;
    uint64_t base = modify_base(c, number, old);
    rv_csr_set(c, r, number,
               op == CSR_WRITE ? operand
               : op == CSR_SET ? base | operand
                               : base & ~operand);
    if (rd)
        c->x[rd] = c->narrow ? (uint64_t)(int64_t)(int32_t)old : old;
    bool elsewhere = number == RV_CSR_SATP; // the next instruction is fetched through other tables
    if (rv_mode(e) == mode && !elsewhere &&
        !atomic_load_explicit(&e->interrupt, memory_order_relaxed))
        return;
    c->pc += 4;
    e->exec->leave(e, LEAVE_AGAIN);
}
HELPER(csr_write_helper, help_csr_write, IR_VOID, IR_I32, IR_I64, IR_I64);

// Storage that this level may reach without a check that depends on other state.
static const struct rv_csr *direct(struct lift *l, unsigned number, bool write)
{
    const struct rv_csr *r = rv_csr_find(rv_cpu(l->env), number);
    unsigned need = (unsigned)bits(number, 9, 8);
    bool level = need <= RV_S ? need <= (unsigned)priv_of(l) : priv_of(l) == RV_M;
    bool plain = r && !rv_narrow(l) && r->kind != RV_CSR_CALL && !r->check && r->mask == ~0ull;
    return plain && level && !(write && bits(number, 11, 10) == 3) ? r : NULL;
}

static ir_ref read_direct(struct lift *l, const struct rv_csr *r)
{
    return ir_ldenv(l->b, IR_I64, rv_csr_offset(r, l->mode & RV_MODE_VIRT));
}

static void write_direct(struct lift *l, const struct rv_csr *r, enum csr_op op, ir_ref operand,
                         unsigned rd)
{
    ir_ref old = rd || op != CSR_WRITE ? read_direct(l, r) : IR_NONE;
    ir_ref v = op == CSR_WRITE ? operand
               : op == CSR_SET ? ir_or(l->b, old, operand)
                               : ir_andn(l->b, old, operand);
    ir_stenv(l->b, rv_csr_offset(r, l->mode & RV_MODE_VIRT), v, MO_64);
    if (rd)
        rv_set(l, rd, old);
}

// fflags and reads of frm, where floating point is on and, for writes, xstatus.FS says dirty.
static bool lift_fp_csr(struct lift *l, const struct rv_insn *i, enum csr_op op, ir_ref operand)
{
    unsigned off = RV_MODE_FS_OFF | (op == CSR_READ ? 0 : RV_MODE_FS_CLEAN);
    if (!l->b->sw.fp_state || l->mode & off || !rv_has(rv_cpu(l->env), RV_FEAT_F) || rv_narrow(l))
        return false;
    if (i->csr == RV_CSR_FRM && op == CSR_READ) {
        rv_set(l, i->rd,
               ir_zext(l->b, IR_I64, ir_ldenv(l->b, IR_I32, offsetof(struct rv_cpu, frm)), 32));
        return true;
    }
    if (i->csr != RV_CSR_FFLAGS)
        return false;
    ir_ref old = ir_emit(l->b, IR_fflags, IR_I32, 1, IR_NONE, IR_NONE, IR_NONE);
    ir_ref v = op == CSR_READ ? IR_NONE : ir_trunc(l->b, operand);
    if (op == CSR_SET || op == CSR_CLEAR)
        v = op == CSR_SET ? ir_or(l->b, old, v) : ir_andn(l->b, old, v);
    if (op != CSR_READ)
        ir_set_fflags(l->b, v, 1);
    rv_set(l, i->rd, ir_zext(l->b, IR_I64, old, 32));
    return true;
}

void rv_lift_csr(struct lift *l, const struct rv_insn *i)
{
    bool immediate = i->id == RV_CSRRWI || i->id == RV_CSRRSI || i->id == RV_CSRRCI;
    ir_ref operand = immediate ? ir_i64(l->b, i->uimm5) : rv_x(l, i->rs1);
    enum csr_op op = CSR_READ;
    if (i->id == RV_CSRRW || i->id == RV_CSRRWI)
        op = CSR_WRITE;
    else if (immediate ? i->uimm5 : i->rs1)
        op = i->id == RV_CSRRS || i->id == RV_CSRRSI ? CSR_SET : CSR_CLEAR;
    if (lift_fp_csr(l, i, op, operand))
        return;
    const struct rv_csr *r = direct(l, i->csr, op != CSR_READ);
    if (op == CSR_READ)
        rv_set(l, i->rd,
               r ? read_direct(l, r) : ir_callv(l->b, &csr_read_helper, ir_i64(l->b, i->raw)));
    else if (r)
        write_direct(l, r, op, operand, i->rd);
    else
        ir_callv(l->b, &csr_write_helper, ir_i32(l->b, op), operand, ir_i64(l->b, i->raw));
}

// ---- trap return, waiting ----

static void help_xret(struct env *e, uint32_t machine, uint64_t raw)
{
    struct rv_cpu *c = rv_cpu(e);
    if (!machine && c->virt && (c->priv == RV_U || (c->hstatus & RV_VTSR)))
        refuse(c, RV_VIRTUAL, raw);
    if (c->priv < (machine ? RV_M : RV_S) ||
        (!machine && c->priv == RV_S && !c->virt && (c->mstatus & RV_TSR)))
        refuse(c, RV_ILLEGAL, raw);
    if (machine)
        rv_mret(c);
    else
        rv_sret(c);
    e->exec->leave(e, LEAVE_AGAIN);
}
HELPER(xret_helper, help_xret, IR_VOID, IR_I32, IR_I64);

void rv_lift_xret(struct lift *l, const struct rv_insn *i)
{
    ir_callv(l->b, &xret_helper, ir_i32(l->b, i->id == RV_MRET), ir_i64(l->b, i->raw));
    ir_leave(l->b, LEAVE_AGAIN, l->pc);
}

static void help_wait(struct env *e, uint64_t raw)
{
    struct rv_cpu *c = rv_cpu(e);
    if (c->priv < RV_M && (c->mstatus & RV_TW))
        refuse(c, RV_ILLEGAL, raw);
    if (c->virt && (c->priv == RV_U || (c->hstatus & RV_VTW)))
        refuse(c, RV_VIRTUAL, raw);
    if (c->priv == RV_U && rv_has(c, RV_FEAT_S))
        refuse(c, RV_ILLEGAL, raw);
    c->pc += 4;
    e->exec->leave(e, LEAVE_HALT);
}
HELPER(wait_helper, help_wait, IR_VOID, IR_I64);

void rv_lift_wait(struct lift *l, const struct rv_insn *i)
{
    if (rv_cpu(l->env)->config.user_mode) {
        rv_lift_illegal(l, i);
        return;
    }
    ir_callv(l->b, &wait_helper, ir_i64(l->b, i->raw));
    ir_leave(l->b, LEAVE_AGAIN, l->pc);
}

// ---- fences ----

static void check_fence(struct rv_cpu *c, bool hypervisor, bool gvma, uint64_t raw)
{
    if (c->virt && (hypervisor || c->priv == RV_U || (c->hstatus & RV_VTVM)))
        refuse(c, RV_VIRTUAL, raw);
    bool trapped = c->priv == RV_S && !c->virt && (!hypervisor || gvma) && (c->mstatus & RV_TVM);
    if (c->priv == RV_U || trapped)
        refuse(c, RV_ILLEGAL, raw);
}

static void help_fence_vma(struct env *e, uint32_t kind, uint64_t va, uint64_t id, uint64_t raw)
{
    struct rv_cpu *c = rv_cpu(e);
    check_fence(c, kind != RV_FENCE_VMA, kind == RV_FENCE_GVMA, raw);
    rv_fence(c, (enum rv_fence)kind, bits(raw, 19, 15), va, bits(raw, 24, 20), id);
}
HELPER(fence_vma_helper, help_fence_vma, IR_VOID, IR_I32, IR_I64, IR_I64, IR_I64);

void rv_lift_fence_vma(struct lift *l, const struct rv_insn *i)
{
    bool vvma = i->id == RV_HFENCE_VVMA || i->id == RV_HINVAL_VVMA;
    bool gvma = i->id == RV_HFENCE_GVMA || i->id == RV_HINVAL_GVMA;
    if ((vvma || gvma) && !rv_has(rv_cpu(l->env), RV_FEAT_H)) {
        rv_lift_illegal(l, i);
        return;
    }
    ir_callv(l->b, &fence_vma_helper,
             ir_i32(l->b, vvma   ? RV_FENCE_VVMA
                          : gvma ? RV_FENCE_GVMA
                                 : RV_FENCE_VMA),
             rv_address(l, rv_x(l, i->rs1)), rv_x(l, i->rs2), ir_i64(l->b, i->raw));
    ir_leave(l->b, LEAVE_AGAIN, l->pc + l->length);
}

// Ordering around SINVAL.VMA, which is done at once here.
void rv_lift_fence_inval(struct lift *l, const struct rv_insn *i)
{
    if (priv_of(l) == RV_U)
        lift_refuse(l, i);
}

// ---- hypervisor loads and stores ----

static void check_guest_access(struct rv_cpu *c, uint64_t raw)
{
    if (c->virt)
        refuse(c, RV_VIRTUAL, raw);
    if (c->priv == RV_U && !(c->hstatus & RV_HHU))
        refuse(c, RV_ILLEGAL, raw);
}

enum { GUEST_MMU = 1 << MO_MMU_SHIFT };

// Pointer masking as the virtual machine has it, or of user level as hstatus says.
static uint64_t guest_address(const struct rv_cpu *c, uint64_t va)
{
    bool super = c->hstatus & RV_HSPVP, mxr = (c->mstatus | c->vsstatus) & RV_MXR;
    uint64_t pmm = c->priv == RV_U ? bits(c->hstatus, 49, 48)
                   : super         ? bits(c->henvcfg, 33, 32)
                                   : bits(c->senvcfg, 33, 32);
    unsigned n = mxr || c->narrow ? 0 : rv_pmm_bits((enum rv_pmm)pmm);
    bool bare = RV_ATP_MODE(c->vs.atp) == RV_BARE;
    return bare ? va << n >> n : (uint64_t)((int64_t)(va << n) >> n);
}

static uint64_t help_guest_load(struct env *e, uint32_t size, uint64_t va, uint64_t raw)
{
    struct rv_cpu *c = rv_cpu(e);
    check_guest_access(c, raw);
    c->for_guest = true;
    uint64_t v = e->exec->load(e, guest_address(c, va), size | GUEST_MMU);
    c->for_guest = false;
    return v;
}
HELPER(guest_load_helper, help_guest_load, IR_I64, IR_I32, IR_I64, IR_I64);

void rv_lift_guest_load(struct lift *l, const struct rv_insn *i)
{
    static const uint8_t sizes[] = {MO_8, MO_16, MO_32, MO_64, MO_8, MO_16, MO_32};
    unsigned n = i->id - RV_HLV_B, size = sizes[n];
    ir_ref v = ir_callv(l->b, &guest_load_helper, ir_i32(l->b, size),
                        rv_address(l, rv_x(l, i->rs1)), ir_i64(l->b, i->raw));
    if (n < 3)
        v = ir_sext(l->b, IR_I64, v, 8u << size);
    rv_set(l, i->rd, v);
}

// Pages must be executable, whether they are readable or not; everything else is as with a load.
static uint64_t help_guest_fetch(struct env *e, uint32_t size, uint64_t va, uint64_t raw)
{
    struct rv_cpu *c = rv_cpu(e);
    const unsigned step = va & (size - 1) ? 1 : size; // what is aligned lies in one page
    uint64_t v = 0;
    check_guest_access(c, raw);
    c->for_guest = true;
    for (unsigned k = 0; k < size; k += step) {
        struct env_xlat x;
        struct env_fault f;
        uint64_t part;
        bool fault = rv_translate(e, va + k, ENV_READ, MMU_GUEST_CODE, &x, &f);
        if (!fault && space_read(x.space, x.pa, step, &part, x.attrs) != MEM_OK) {
            rv_bus_fault(e, va + k, ENV_READ, MEM_ERROR, &f);
            fault = true;
        }
        if (fault) {
            rv_take_fault(e, &f);
            e->exec->leave(e, LEAVE_AGAIN);
        }
        v |= part << k * 8;
    }
    c->for_guest = false;
    return v;
}
HELPER(guest_fetch_helper, help_guest_fetch, IR_I64, IR_I32, IR_I64, IR_I64);

void rv_lift_guest_fetch(struct lift *l, const struct rv_insn *i)
{
    rv_set(l, i->rd,
           ir_callv(l->b, &guest_fetch_helper, ir_i32(l->b, i->id == RV_HLVX_HU ? 2 : 4),
                    rv_address(l, rv_x(l, i->rs1)), ir_i64(l->b, i->raw)));
}

static void help_guest_store(struct env *e, uint32_t size, uint64_t va, uint64_t v, uint64_t raw)
{
    struct rv_cpu *c = rv_cpu(e);
    check_guest_access(c, raw);
    c->for_guest = true;
    e->exec->store(e, guest_address(c, va), v, size | GUEST_MMU);
    c->for_guest = false;
}
HELPER(guest_store_helper, help_guest_store, IR_VOID, IR_I32, IR_I64, IR_I64, IR_I64);

void rv_lift_guest_store(struct lift *l, const struct rv_insn *i)
{
    ir_callv(l->b, &guest_store_helper, ir_i32(l->b, i->id - RV_HSV_B),
             rv_address(l, rv_x(l, i->rs1)), rv_x(l, i->rs2), ir_i64(l->b, i->raw));
}

// ---- floating-point state ----

static void help_fp_dirty(struct env *e)
{
    rv_fp_dirty(rv_cpu(e));
    rv_insn_undone(rv_cpu(e));
    e->exec->leave(e, LEAVE_AGAIN);
}
static const struct ir_helper fp_dirty_helper = {"fp_dirty", (void *)help_fp_dirty, HELPER_STATE,
                                                 IR_VOID};

static void help_vec_dirty(struct env *e)
{
    rv_vec_dirty(rv_cpu(e));
    rv_insn_undone(rv_cpu(e));
    e->exec->leave(e, LEAVE_AGAIN);
}
static const struct ir_helper vec_dirty_helper = {"vec_dirty", (void *)help_vec_dirty, HELPER_STATE,
                                                  IR_VOID};

static bool state_ready(struct lift *l, const struct rv_insn *i, uint64_t off, uint64_t clean,
                        const struct ir_helper *make_dirty)
{
    if (l->mode & off) {
        rv_lift_illegal(l, i);
        return false;
    }
    if (!(l->mode & clean))
        return true;
    ir_call0(l->b, make_dirty);
    ir_leave(l->b, LEAVE_AGAIN, l->pc);
    return false;
}

// xstatus.FS becomes dirty before the first floating-point instruction, not with the first write.
bool rv_lift_fp_ready(struct lift *l, const struct rv_insn *i)
{
    return state_ready(l, i, RV_MODE_FS_OFF, RV_MODE_FS_CLEAN, &fp_dirty_helper);
}

bool rv_lift_vec_ready(struct lift *l, const struct rv_insn *i)
{
    return state_ready(l, i, RV_MODE_VS_OFF, RV_MODE_VS_CLEAN, &vec_dirty_helper);
}
