// Lifting of instructions that touch the system: MRS, MSR, SYS, exception generation and return,
// waiting. Registers that are plain storage are read and written inline; everything else goes
// through a helper that may take an exception.
#include "isa/arm/system/sysreg.h"

// ---- helpers ----

static uint64_t help_mrs(struct env *e, uint32_t key_rt)
{
    uint64_t v = 0;
    if (!arm_sysreg_access(arm_cpu(e), true, key_rt & 0xffff, key_rt >> 16, &v))
        e->exec->leave(e, LEAVE_AGAIN);
    return v;
}

static void help_msr(struct env *e, uint32_t key_rt, uint64_t v)
{
    if (!arm_sysreg_access(arm_cpu(e), false, key_rt & 0xffff, key_rt >> 16, &v))
        e->exec->leave(e, LEAVE_AGAIN);
}

// After a write that seldom changes what code means: the region goes on unless it did.
static void leave_if_changed(struct env *e, uint64_t mode)
{
    if (arm_mode(e) == mode)
        return;
    arm_cpu(e)->pc += 4;
    e->exec->leave(e, LEAVE_AGAIN);
}

static void help_msr_quiet(struct env *e, uint32_t key_rt, uint64_t v)
{
    uint64_t mode = arm_mode(e);
    help_msr(e, key_rt, v);
    leave_if_changed(e, mode);
}

static void help_daif(struct env *e, uint64_t v)
{
    uint64_t mode = arm_mode(e);
    arm_set_daif(arm_cpu(e), v);
    leave_if_changed(e, mode);
}

static void help_sys(struct env *e, uint32_t key_rt, uint64_t v)
{
    if (!arm_sys_operation(arm_cpu(e), key_rt & 0xffff, key_rt >> 16, v))
        e->exec->leave(e, LEAVE_AGAIN);
}

static void help_msr_imm(struct env *e, uint32_t field, uint32_t imm)
{
    struct arm_cpu *c = arm_cpu(e);
    bool daif = (field & 0x38) == 0x18 && ((field & 7) == 6 || (field & 7) == 7);
    if (daif && c->el == 0 && !(c->sctlr[arm_regime_el(c)] & SCTLR_UMA)) {
        arm_sysreg_trap(c, arm_sync_target(c), false, ARM_SYSREG(0, 3, 4, imm, field & 7), 31);
        e->exec->leave(e, LEAVE_AGAIN);
    }
    uint64_t mode = arm_mode(e);
    switch (field) {
    case 0 << 3 | 3:
        c->uao = imm & 1;
        break;
    case 0 << 3 | 4:
        c->pan = imm & 1;
        break;
    case 0 << 3 | 5:
        arm_set_spsel(c, imm & 1);
        break;
    case 3 << 3 | 1:
        c->ssbs = imm & 1;
        break;
    case 3 << 3 | 2:
        c->dit = imm & 1;
        break;
    case 3 << 3 | 6:
    case 3 << 3 | 7: {
        bool set = field & 1 ? false : true;
        if (imm & 8)
            c->daif_d = set;
        if (imm & 4)
            c->daif_a = set;
        if (imm & 2)
            c->daif_i = set;
        if (imm & 1)
            c->daif_f = set;
        if (!(imm & 8)) { // only single-step depends on D
            arm_update_interrupts(c);
            return;
        }
        break;
    }
    default:
        break;
    }
    arm_state_changed(c);
    leave_if_changed(e, mode);
}

static void help_exception(struct env *e, uint64_t esr)
{
    struct arm_cpu *c = arm_cpu(e);
    unsigned ec = bits(esr, 31, 26), target = arm_sync_target(c);
    if (ec == EC_FP)
        target = MAX(arm_fp_trap_level(c), 1u);
    else if (ec == EC_STEP || ec == EC_BREAK || ec == EC_BRK)
        target = MAX(arm_debug_target(c), c->el);
    bool lower = target > c->el;
    if (lower && (ec == EC_STEP || ec == EC_BREAK))
        esr -= 1ull << 26; // the "lower level" class is the one before
    arm_take_exception(c, target, esr, ec == EC_PC_ALIGN ? &c->pc : NULL, c->pc);
    e->exec->leave(e, LEAVE_AGAIN);
}

static void help_trap(struct env *e, uint32_t kind, uint32_t imm)
{
    struct arm_cpu *c = arm_cpu(e);
    uint64_t next = c->pc + 4;
    enum env_leave why = LEAVE_AGAIN;
    if (c->config.user_mode && kind == TRAP_SVC) {
        c->pc = next;
        e->exec->leave(e, LEAVE_SYSCALL);
    }
    switch ((enum arm_trap)kind) {
    case TRAP_SVC:
        arm_take_exception(c, arm_sync_target(c), ESR_MAKE(EC_SVC, imm), NULL, next);
        break;
    case TRAP_HVC:
    case TRAP_SMC: {
        bool hvc = kind == TRAP_HVC;
        if (c->el == 0) {
            arm_sysreg_undefined(c);
            break;
        }
        if (!hvc && c->el == 1 && (arm_hcr(c) & HCR_TSC)) {
            arm_take_exception(c, 2, ESR_MAKE(EC_SMC, imm), NULL, c->pc);
            break;
        }
        if (c->config.conduit == (hvc ? CONDUIT_HVC : CONDUIT_SMC) && arm_psci_call(c)) {
            c->pc = next;
            if (c->power_off)
                why = LEAVE_STOP;
            break;
        }
        bool undefined =
            hvc ? !c->has_el2 || (c->hcr_el2 & HCR_HCD) : !c->has_el3 || (c->scr_el3 & SCR_SMD);
        if (undefined)
            arm_sysreg_undefined(c);
        else
            arm_take_exception(c, hvc ? 2 : 3, ESR_MAKE(hvc ? EC_HVC : EC_SMC, imm), NULL, next);
        break;
    }
    case TRAP_BRK:
        arm_take_exception(c, MAX(arm_debug_target(c), c->el), ESR_MAKE(EC_BRK, imm), NULL, c->pc);
        break;
    case TRAP_HLT:
        arm_sysreg_undefined(c);
        break;
    }
    e->exec->leave(e, why);
}

static void help_eret(struct env *e, uint64_t new_pc)
{
    arm_exception_return(arm_cpu(e), new_pc);
    e->exec->leave(e, LEAVE_AGAIN);
}

// WFI and WFE; the pc slot is at the instruction.
static void help_wait(struct env *e, uint32_t event)
{
    struct arm_cpu *c = arm_cpu(e);
    uint64_t sctlr = c->sctlr[arm_regime_el(c)];
    if (event && c->event) {
        c->event = false;
        c->pc += 4;
        e->exec->leave(e, LEAVE_YIELD);
    }
    if (!c->env.isa->has_work(e)) {
        unsigned target = 0;
        if (c->el == 0 && !(sctlr & (event ? SCTLR_NTWE : SCTLR_NTWI)) && !c->config.user_mode)
            target = arm_sync_target(c);
        else if (c->el < 2 && (arm_hcr(c) & (event ? HCR_TWE : HCR_TWI)))
            target = 2;
        else if (c->el < 3 && c->has_el3 && (c->scr_el3 & (event ? SCR_TWE : SCR_TWI)))
            target = 3;
        if (target) {
            arm_take_exception(c, target, ESR_MAKE(EC_WFX, 0x1e << 20 | event), NULL, c->pc);
            e->exec->leave(e, LEAVE_AGAIN);
        }
    }
    c->pc += 4;
    e->exec->leave(e, event ? LEAVE_YIELD : LEAVE_HALT);
}

static void help_yield(struct env *e)
{
    arm_cpu(e)->pc += 4;
    e->exec->leave(e, LEAVE_YIELD);
}

static void help_sev(struct env *e)
{
    // Every CPU's WFE wakes by itself soon (it yields); the local event is what SEVL promises.
    arm_cpu(e)->event = true;
}

#define HELPER(n, f, r, ...)                                                                       \
    static const struct ir_helper n = {.name = #n,                                                 \
                                       .fn = (void *)f,                                            \
                                       .flags = HELPER_STATE,                                      \
                                       .ret = r,                                                   \
                                       .n_args = sizeof((uint8_t[]){__VA_ARGS__}),                 \
                                       .args = {__VA_ARGS__}}
HELPER(mrs_helper, help_mrs, IR_I64, IR_I32);
HELPER(msr_helper, help_msr, IR_VOID, IR_I32, IR_I64);
HELPER(msr_quiet_helper, help_msr_quiet, IR_VOID, IR_I32, IR_I64);
HELPER(daif_helper, help_daif, IR_VOID, IR_I64);
HELPER(sys_helper, help_sys, IR_VOID, IR_I32, IR_I64);
HELPER(msr_imm_helper, help_msr_imm, IR_VOID, IR_I32, IR_I32);
HELPER(exception_helper, help_exception, IR_VOID, IR_I64);
HELPER(trap_helper, help_trap, IR_VOID, IR_I32, IR_I32);
HELPER(eret_helper, help_eret, IR_VOID, IR_I64);
HELPER(wait_helper, help_wait, IR_VOID, IR_I32);
static const struct ir_helper yield_helper = {
    .name = "yield_helper", .fn = (void *)help_yield, .flags = HELPER_STATE, .ret = IR_VOID};
static const struct ir_helper sev_helper = {
    .name = "sev_helper", .fn = (void *)help_sev, .flags = HELPER_STATE, .ret = IR_VOID};

// A helper that always leaves: the region ends behind it.
static void end_after(struct lift *l)
{
    ir_leave(l->b, LEAVE_AGAIN, l->pc);
}

void arm_lift_exception(struct lift *l, uint64_t esr)
{
    ir_callv(l->b, &exception_helper, ir_i64(l->b, esr));
    end_after(l);
}

void arm_lift_undefined(struct lift *l)
{
    arm_lift_exception(l, ESR_MAKE(EC_UNKNOWN, 0));
}

void arm_lift_trap(struct lift *l, enum arm_trap kind, unsigned imm16)
{
    ir_callv(l->b, &trap_helper, ir_i32(l->b, kind), ir_i32(l->b, imm16));
    end_after(l);
}

void arm_lift_eret(struct lift *l, ir_ref new_pc)
{
    unsigned el = l->mode & ARM_MODE_EL;
    if (el == 0) {
        arm_lift_undefined(l);
        return;
    }
    if (new_pc == IR_NONE)
        new_pc = ir_ldenv(l->b, IR_I64, (unsigned)(offsetof(struct arm_cpu, elr) + el * 8));
    ir_callv(l->b, &eret_helper, new_pc);
    end_after(l);
}

void arm_lift_wait(struct lift *l, bool event)
{
    ir_callv(l->b, &wait_helper, ir_i32(l->b, event));
    end_after(l);
}

void arm_lift_yield(struct lift *l)
{
    ir_call0(l->b, &yield_helper);
    end_after(l);
}

void arm_lift_sev(struct lift *l, bool local)
{
    ir_call0(l->b, &sev_helper);
}

bool arm_lift_fp_check(struct lift *l)
{
    if (!(l->mode & ARM_MODE_FP_TRAP))
        return true;
    arm_lift_exception(l, ESR_MAKE(EC_FP, 0xe << 20 | 1 << 24));
    return false;
}

// ---- MRS, MSR, SYS ----

static ir_ref read_x(struct lift *l, unsigned rt)
{
    return rt == 31 ? ir_i64(l->b, 0) : ir_get(l->b, ARM_X0 + rt);
}

static void write_x(struct lift *l, unsigned rt, ir_ref v)
{
    if (rt != 31)
        ir_put(l->b, ARM_X0 + rt, v);
}

// Storage a given level may reach without any check that depends on other state.
static bool direct(const struct arm_sysreg *r, bool read, uint64_t mode)
{
    unsigned el = mode & ARM_MODE_EL, min = read ? r->read_el : r->write_el;
    if (el < min || min == 2 || (mode & ARM_MODE_TRAPS))
        return false;
    if (el == 0)
        return r->kind == SR_SLOT;
    return r->kind == SR_SLOT || r->kind == SR_PLAIN || (r->kind == SR_STATE && read);
}

static void lift_nzcv(struct lift *l, bool read, unsigned rt)
{
    struct ir_build *b = l->b;
    if (read)
        write_x(l, rt, ir_zext(b, IR_I64, ir_packf(b, ir_get(b, ARM_NZCV)), 32));
    else
        ir_put(b, ARM_NZCV, ir_unpackf(b, ir_trunc(b, read_x(l, rt))));
}

// D, A, I and F are a byte each, in this order: the product has them side by side in its top byte.
static ir_ref read_daif(struct ir_build *b)
{
    ir_ref bytes = ir_ldenv(b, IR_I32, offsetof(struct arm_cpu, daif_d));
    ir_ref side_by_side = ir_shri(b, ir_mul(b, bytes, ir_i32(b, 0x08040201)), 24);
    return ir_shli(b, ir_zext(b, IR_I64, ir_andi(b, side_by_side, 15), 32), 6);
}
_Static_assert(offsetof(struct arm_cpu, daif_a) == offsetof(struct arm_cpu, daif_d) + 1 &&
                   offsetof(struct arm_cpu, daif_i) == offsetof(struct arm_cpu, daif_d) + 2 &&
                   offsetof(struct arm_cpu, daif_f) == offsetof(struct arm_cpu, daif_d) + 3,
               "DAIF is a word of bytes");

// Registers of no plain storage that are read and written often enough to be worth an inline form:
// SP_EL0 is where Linux keeps its current task, DAIF surrounds its critical sections.
static bool lift_common(struct lift *l, bool read, uint32_t key, unsigned rt)
{
    struct ir_build *b = l->b;
    unsigned el = l->mode & ARM_MODE_EL;
    switch (key) {
    case KEY_NZCV:
        lift_nzcv(l, read, rt);
        return true;
    case KEY_FPCR:
        if (!read || l->mode & ARM_MODE_FP_TRAP)
            return false;
        write_x(l, rt, ir_zext(b, IR_I64, ir_ldenv(b, IR_I32, offsetof(struct arm_cpu, fpcr)), 32));
        return true;
    case KEY_SP_EL0:
        if (!el || l->mode & ARM_MODE_SP_ZERO)
            return false;
        if (read)
            write_x(l, rt, ir_get(b, ARM_SP_EL0));
        else
            ir_put(b, ARM_SP_EL0, read_x(l, rt));
        return true;
    case KEY_DAIF:
        if (!el)
            return false;
        if (read)
            write_x(l, rt, read_daif(b));
        else
            ir_callv(b, &daif_helper, read_x(l, rt));
        return true;
    case KEY_CTR_EL0:
    case KEY_DCZID_EL0:
        if (!read || !el || l->mode & ARM_MODE_TRAPS)
            return false;
        write_x(l, rt,
                ir_ldenv(b, IR_I64,
                         key == KEY_CTR_EL0 ? offsetof(struct arm_cpu, ctr)
                                            : offsetof(struct arm_cpu, dczid)));
        return true;
    default:
        return false;
    }
}

// Interrupt masks, timers and the interrupt controller: written on every kernel entry, and neither
// the mode nor a translation context hangs on them but for single-step's use of DAIF.D.
static bool quiet_write(uint32_t key)
{
    unsigned crn = bits(key, 10, 7), crm = bits(key, 6, 3);
    bool timer = crn == 14 && (crm == 2 || crm == 3), gic = crn == 12 && (crm == 8 || crm >= 11);
    return key == ARM_SYSREG(3, 3, 4, 2, 1) || (key >> 14 == 3 && (timer || gic)) ||
           key == ARM_SYSREG(3, 0, 4, 6, 0);
}

enum { ZVA_BYTES = 64, KEY_DC_ZVA = ARM_SYSREG(1, 3, 7, 4, 1) };

// DC ZVA: stores. The first one is where a fault says it was, at the address as given.
static void lift_zero(struct lift *l, ir_ref at)
{
    struct ir_build *b = l->b;
    ir_store(b, at, ir_i32(b, 0), MO_8);
    ir_ref block = ir_andi(b, at, ~(uint64_t)(ZVA_BYTES - 1)), zero = ir_const(b, IR_V128, 0);
    for (unsigned k = 0; k < ZVA_BYTES; k += 16)
        ir_store(b, ir_addi(b, block, k), zero, MO_128);
}

// Cache operations that nothing can forbid here. There are no caches, and translated code sees what
// is stored by itself, but for user mode's.
static bool lift_cache(struct lift *l, uint32_t key, unsigned rt)
{
    const struct arm_cpu *c = arm_cpu(l->env);
    unsigned el = l->mode & ARM_MODE_EL, crm = bits(key, 6, 3);
    bool user = c->config.user_mode && c->sctlr[1] & SCTLR_DZE;
    if (l->mode & ARM_MODE_TRAPS || (!el && !user))
        return false;
    if (key == KEY_DC_ZVA && 4u << (c->dczid & 15) == ZVA_BYTES) {
        lift_zero(l, read_x(l, rt));
        return true;
    }
    bool by_address = bits(key, 15, 7) == ARM_SYSREG(1, 3, 7, 0, 0) >> 7 && (key & 7) == 1;
    return el && by_address && (crm == 5 || crm == 10 || crm == 11 || crm == 14);
}

void arm_lift_sysreg(struct lift *l, bool read, uint32_t key, unsigned rt)
{
    struct ir_build *b = l->b;
    unsigned op0 = key >> 14;
    if (op0 == 1) {
        if (read) {
            arm_lift_undefined(l); // no SYSL is implemented
            return;
        }
        if (lift_cache(l, key, rt))
            return;
        ir_callv(b, &sys_helper, ir_i32(b, key | rt << 16), read_x(l, rt));
        if (bits(key, 10, 7) == 8)
            ir_leave(b, LEAVE_AGAIN, l->pc + 4);
        return;
    }
    if (lift_common(l, read, key, rt))
        return;
    const struct arm_sysreg *r =
        arm_sysreg_find(key, l->mode & ARM_MODE_EL, l->mode & ARM_MODE_E2H);
    if (r && direct(r, read, l->mode)) {
        if (read)
            write_x(l, rt,
                    r->kind == SR_SLOT ? ir_get(b, r->offset) : ir_ldenv(b, IR_I64, r->offset));
        else if (r->kind == SR_SLOT)
            ir_put(b, r->offset, read_x(l, rt));
        else
            ir_stenv(b, r->offset,
                     r->mask == ~0ull ? read_x(l, rt) : ir_andi(b, read_x(l, rt), r->mask), MO_64);
        return;
    }
    if (read) {
        write_x(l, rt, ir_callv(b, &mrs_helper, ir_i32(b, key | rt << 16)));
        return;
    }
    if (quiet_write(key)) {
        ir_callv(b, &msr_quiet_helper, ir_i32(b, key | rt << 16), read_x(l, rt));
        return;
    }
    ir_callv(b, &msr_helper, ir_i32(b, key | rt << 16), read_x(l, rt));
    ir_leave(b, LEAVE_AGAIN, l->pc + 4); // the mode may have changed
}

void arm_lift_msr_imm(struct lift *l, unsigned op1, unsigned op2, unsigned crm)
{
    const struct arm_cpu *c = arm_cpu(l->env);
    unsigned field = op1 << 3 | op2, el = l->mode & ARM_MODE_EL;
    bool known = (field == 3 && arm_has(c, ARM_FEAT_UAO) && el) ||
                 (field == 4 && arm_has(c, ARM_FEAT_PAN) && el) || (field == 5 && el) ||
                 (field == (3 << 3 | 1) && arm_has(c, ARM_FEAT_SSBS)) ||
                 (field == (3 << 3 | 2) && arm_has(c, ARM_FEAT_DIT)) ||
                 (field >> 1) == (3 << 2 | 3);
    if (!known) {
        arm_lift_undefined(l);
        return;
    }
    ir_callv(l->b, &msr_imm_helper, ir_i32(l->b, field), ir_i32(l->b, crm));
    if (field >> 1 != (3 << 2 | 3)) // the masks alone let the region go on
        ir_leave(l->b, LEAVE_AGAIN, l->pc + 4);
}
