// The AArch64 CPU as the rest of the program sees it: slots, creation, reset, start state, the
// register table and gdb's description of it.
#include "isa/arm/arm_bits.h"

// ---- slots ----

#define SLOT(n, t, f)                                                                              \
    {                                                                                              \
        .name = n, .type = t, .offset = offsetof(struct arm_cpu, f)                                \
    }
#define X(i) [ARM_X0 + i] = SLOT("x" #i, IR_I64, x[i])
#define V(i) [ARM_V0 + i] = SLOT("v" #i, IR_V128, v[i])
static const struct ir_slot slots[ARM_SLOTS] = {
    IR_EACH_31(X),
    IR_EACH_32(V),
    [ARM_SP] = SLOT("sp", IR_I64, sp),
    [ARM_PC] = SLOT("pc", IR_I64, pc),
    [ARM_NZCV] = SLOT("nzcv", IR_FLAGS, nzcv),
    [ARM_BTYPE] = SLOT("btype", IR_I32, btype),
    [ARM_SP_EL0] = SLOT("sp_el0", IR_I64, sp_el0),
    [ARM_TPIDR_EL0] = SLOT("tpidr_el0", IR_I64, tpidr_el0),
    [ARM_TPIDRRO_EL0] = SLOT("tpidrro_el0", IR_I64, tpidrro_el0),
    [ARM_TPIDR_EL1] = SLOT("tpidr_el1", IR_I64, tpidr_el1),
    [ARM_QC] = SLOT("qc", IR_V128, qc),
    [ARM_INSNS] = SLOT("insns", IR_I64, insns),
};
const struct ir_guest arm_guest = {
    .name = "aarch64",
    .slots = slots,
    .n_slots = ARM_SLOTS,
    .pc = ARM_PC,
    .resident = {ARM_SP, ARM_X0 + 30, ARM_X0, ARM_X0 + 29, ARM_X0 + 19, ARM_X0 + 20},
    .n_resident = 6};

// ---- life ----

static const struct env_isa_ops ops = {
    .translate = arm_translate,
    .bus_fault = arm_bus_fault,
    .align_fault = arm_align_fault,
    .take_fault = arm_fault_take,
    .watch = arm_watch,
    .mode = arm_mode,
    .take_interrupt = arm_take_interrupt,
    .has_work = arm_has_work,
    .ctx_space_mask = 0xffff, // the ASID
};

static int cpu_init(struct env *e, const struct isa_config *cfg, struct err *err)
{
    struct arm_cpu *c = arm_cpu(e);
    e->isa = &ops;
    e->cpu_index = cfg->index;
    c->config = *cfg;
    c->has_el2 = cfg->has_el2;
    c->has_el3 = cfg->has_el3;
    c->mpidr = 1ull << 31 | cfg->hw_id;
    if (arm_model_apply(c, cfg->model, cfg->features, err))
        return -1;
    if (cfg->user_mode)
        c->ctr &= ~(1ull << 29); // DIC: programs must say when they wrote code
    arm_timers_init(c);
    arm_pmu_init(c);
    return 0;
}

static void cpu_exit(struct env *e)
{
    arm_timers_exit(arm_cpu(e));
    arm_pmu_exit(arm_cpu(e));
}

static void cpu_reset(struct env *e)
{
    struct arm_cpu *c = arm_cpu(e);
    size_t from = offsetof(struct arm_cpu, x), to = offsetof(struct arm_cpu, pmu);
    memset((char *)c + from, 0, to - from);
    c->el = c->has_el3 ? 3 : c->has_el2 ? 2 : 1;
    c->spsel = 1;
    c->daif_d = c->daif_a = c->daif_i = c->daif_f = true;
    c->world = 0xff;
    c->sctlr[1] = 0x30d00800;
    c->sctlr[2] = c->sctlr[3] = 0x30c50830;
    c->hcr_el2 = HCR_RW;
    c->scr_el3 = 0x430;
    c->cptr_el2 = 0x33ff;
    c->vpidr_el2 = c->midr;
    c->vmpidr_el2 = c->mpidr;
    c->oslsr_el1 = 2;
    c->event = c->power_off = false;
    e->monitor.addr = MONITOR_NONE;
    for (unsigned t = 0; t < ARM_TIMERS; t++) {
        c->timers[t].ctl = c->timers[t].cval = 0;
        arm_timer_update(c, t);
    }
    arm_pmu_reset(c);
    e->exec->fp_sync(e);
    e->fp.flags = 0;
    arm_set_fpcr(c, 0);
    c->cntfrq = c->config.user_mode ? 1000000000 : 62500000;
    struct env_flush all = {0};
    e->exec->flush(e, &all, false);
    arm_state_changed(c);
}

static void cpu_start(struct env *e, uint64_t entry, uint64_t arg, unsigned level)
{
    struct arm_cpu *c = arm_cpu(e);
    unsigned highest = c->has_el3 ? 3 : c->has_el2 ? 2 : 1;
    c->x[0] = arg;
    c->pc = entry;
    c->power_off = false;
    if (level < highest) {
        // What firmware would have set up on the way down: everything permitted to the level below,
        // nothing trapped.
        c->scr_el3 = 0x430 | SCR_NS | SCR_HCE;
        c->cptr_el2 = 0x33ff;
        c->cnthctl_el2 = 3;
        arm_set_pstate(c, 0x3c0 | (uint64_t)level << 2 | (level ? 1 : 0));
    }
    if (level == 0) { // a program: FP, 48-bit addresses with tags, all pointer keys, SP checked
        c->cpacr_el1 = 3ull << 20;
        c->tcr[1] = 16 | 16 << 16 | 1ull << 37;
        c->sctlr[1] |= 1u << 31 | 1 << 30 | 1 << 27 | 1 << 13;
        c->sctlr[1] |= SCTLR_SA0 | SCTLR_DZE | SCTLR_UCT | SCTLR_UCI | SCTLR_NTWE | SCTLR_NTWI;
        c->cntkctl_el1 = 2; // the virtual counter
    }
    arm_state_changed(c);
}

static uint64_t get_pc(struct env *e)
{
    return arm_cpu(e)->pc;
}
static void set_pc(struct env *e, uint64_t pc)
{
    arm_cpu(e)->pc = pc;
}
static void debug_step(struct env *e, bool on)
{
    arm_cpu(e)->debug_step = on;
    arm_state_changed(arm_cpu(e));
}

// ---- saving ----

static const struct isa_state state[] = {
#define STATE(n, f)                                                                                \
    {.name = n, .offset = offsetof(struct arm_cpu, f), .bytes = sizeof((struct arm_cpu *)0)->f},
#include "isa/arm/state.def"
#undef STATE
    {0}};

static void state_out(struct env *e)
{
    struct arm_cpu *c = arm_cpu(e);
    e->exec->fp_sync(e);
    arm_pmu_saving(c);
    c->saved_nzcv = (uint32_t)arm_pstate(c) & 0xf0000000;
}

static int state_in(struct env *e, struct err *err)
{
    struct arm_cpu *c = arm_cpu(e);
    struct env_flush all = {0};
    if (c->el > 3 || (c->el == 3 && !c->has_el3) || (c->el == 2 && !c->has_el2) || c->spsel > 1)
        return err_set(err, "the saved CPU is at a level that this one does not have");
    c->nzcv = flags_pack(c->saved_nzcv >> 31 & 1, c->saved_nzcv >> 30 & 1, c->saved_nzcv >> 29 & 1,
                         c->saved_nzcv >> 28 & 1);
    uint32_t flags = e->fp.flags;
    arm_pmu_loaded(c); // first: what follows must not count as time passed
    arm_set_fpcr(c, c->fpcr);
    e->exec->fp_sync(e);
    e->fp.flags = flags;
    e->exec->fp_changed(e);
    c->world = 0xff;
    e->exec->flush(e, &all, false);
    for (unsigned t = 0; t < ARM_TIMERS; t++)
        arm_timer_update(c, t);
    arm_state_changed(c);
    return 0;
}

// ---- registers ----

static void get_cpsr(struct env *e, const struct isa_reg *r, void *out)
{
    st_le32(out, (uint32_t)arm_pstate(arm_cpu(e)));
}
static void set_cpsr(struct env *e, const struct isa_reg *r, const void *in)
{
    arm_set_pstate(arm_cpu(e), ld_le32(in));
}
static void get_fpsr(struct env *e, const struct isa_reg *r, void *out)
{
    st_le32(out, (uint32_t)arm_get_fpsr(arm_cpu(e)));
}
static void set_fpsr(struct env *e, const struct isa_reg *r, const void *in)
{
    arm_set_fpsr(arm_cpu(e), ld_le32(in));
}
static void get_fpcr(struct env *e, const struct isa_reg *r, void *out)
{
    st_le32(out, arm_cpu(e)->fpcr);
}
static void set_fpcr(struct env *e, const struct isa_reg *r, const void *in)
{
    arm_set_fpcr(arm_cpu(e), ld_le32(in));
}

#define FIELD_REG(n, b, g, grp, f)                                                                 \
    {                                                                                              \
        .name = n, .bits = b, .gdb = g, .group = grp, .get = isa_reg_get_field,                    \
        .set = isa_reg_set_field, .arg = offsetof(struct arm_cpu, f)                               \
    }
#define XR(i) FIELD_REG("x" #i, 64, i, REG_GENERAL, x[i])
#define VR(i) FIELD_REG("v" #i, 128, 34 + i, REG_VECTOR, v[i])
static const struct isa_reg regs[] = {
    XR(0),
    XR(1),
    XR(2),
    XR(3),
    XR(4),
    XR(5),
    XR(6),
    XR(7),
    XR(8),
    XR(9),
    XR(10),
    XR(11),
    XR(12),
    XR(13),
    XR(14),
    XR(15),
    XR(16),
    XR(17),
    XR(18),
    XR(19),
    XR(20),
    XR(21),
    XR(22),
    XR(23),
    XR(24),
    XR(25),
    XR(26),
    XR(27),
    XR(28),
    XR(29),
    XR(30),
    {.name = "cpsr", .bits = 32, .gdb = 33, .group = REG_GENERAL, .get = get_cpsr, .set = set_cpsr},
    VR(0),
    VR(1),
    VR(2),
    VR(3),
    VR(4),
    VR(5),
    VR(6),
    VR(7),
    VR(8),
    VR(9),
    VR(10),
    VR(11),
    VR(12),
    VR(13),
    VR(14),
    VR(15),
    VR(16),
    VR(17),
    VR(18),
    VR(19),
    VR(20),
    VR(21),
    VR(22),
    VR(23),
    VR(24),
    VR(25),
    VR(26),
    VR(27),
    VR(28),
    VR(29),
    VR(30),
    VR(31),
    {.name = "fpsr", .bits = 32, .gdb = 66, .group = REG_FLOAT, .get = get_fpsr, .set = set_fpsr},
    {.name = "fpcr", .bits = 32, .gdb = 67, .group = REG_FLOAT, .get = get_fpcr, .set = set_fpcr},
#define REG(n, b, g, grp, f) FIELD_REG(n, b, g, grp, f),
#include "isa/arm/regs.def"
#undef REG
};

// gdb's description, from the same numbers: features org.gnu.gdb.aarch64.core and .fpu.
static const char target_xml[] =
    "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM "
    "\"gdb-target.dtd\"><target><architecture>aarch64</architecture>"
    "<xi:include href=\"core.xml\"/><xi:include href=\"fpu.xml\"/></target>";

#define FEATURE_XML(name)                                                                          \
    "<?xml version=\"1.0\"?><!DOCTYPE feature SYSTEM \"gdb-target.dtd\"><feature name=\"" name "\">"
#define TEN(m, t) m(t##0) m(t##1) m(t##2) m(t##3) m(t##4) m(t##5) m(t##6) m(t##7) m(t##8) m(t##9)
#define X_XML(i)  "<reg name=\"x" #i "\" bitsize=\"64\"/>"
#define V_XML(i)  "<reg name=\"v" #i "\" bitsize=\"128\" type=\"aarch64v\"/>"
static const char core_xml[] = FEATURE_XML("org.gnu.gdb.aarch64.core") TEN(X_XML, ) TEN(X_XML, 1)
    TEN(X_XML, 2) X_XML(30) "<reg name=\"sp\" bitsize=\"64\" type=\"data_ptr\"/>"
                            "<reg name=\"pc\" bitsize=\"64\" type=\"code_ptr\"/>"
                            "<reg name=\"cpsr\" bitsize=\"32\"/></feature>";

// The first vector register follows cpsr, so the numbers run on.
static const char fpu_xml[] = FEATURE_XML(
    "org.gnu.gdb.aarch64.fpu") "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
                               "<vector id=\"v2u\" type=\"uint64\" count=\"2\"/>"
                               "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
                               "<vector id=\"v4u\" type=\"uint32\" count=\"4\"/>"
                               "<vector id=\"v8u\" type=\"uint16\" count=\"8\"/>"
                               "<vector id=\"v16u\" type=\"uint8\" count=\"16\"/>"
                               "<union id=\"aarch64v\"><field name=\"d\" type=\"v2d\"/><field "
                               "name=\"du\" type=\"v2u\"/>"
                               "<field name=\"f\" type=\"v4f\"/><field name=\"su\" type=\"v4u\"/>"
                               "<field name=\"hu\" type=\"v8u\"/><field name=\"bu\" "
                               "type=\"v16u\"/></union>" TEN(V_XML, ) TEN(V_XML, 1) TEN(V_XML, 2)
                                   V_XML(30) V_XML(31) "<reg name=\"fpsr\" bitsize=\"32\"/><reg "
                                                       "name=\"fpcr\" bitsize=\"32\"/></feature>";

static const char *gdb_xml(struct env *e, const char *annex)
{
    if (!strcmp(annex, "target.xml"))
        return target_xml;
    if (!strcmp(annex, "core.xml"))
        return core_xml;
    return strcmp(annex, "fpu.xml") ? NULL : fpu_xml;
}

const struct isa isa_aarch64 = {
    .name = "aarch64",
    .elf_machine = 183, // EM_AARCH64
    .elf64 = true,
    .guest = &arm_guest,
    .cpu_size = sizeof(struct arm_cpu),
    .max_insn_bytes = 4,
    .models = arm_models,
    .default_model = "max",
    .regs = regs,
    .n_regs = ARRAY_SIZE(regs),
    .state = state,
    .state_out = state_out,
    .state_in = state_in,
    .ops = &ops,
    .init = cpu_init,
    .exit = cpu_exit,
    .reset = cpu_reset,
    .start = cpu_start,
    .lift = arm_lift,
    .disas = arm_disas,
    .line = arm_line,
    .gdb_xml = gdb_xml,
    .get_pc = get_pc,
    .set_pc = set_pc,
    .debug_step = debug_step,
};
