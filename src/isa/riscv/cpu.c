// The RISC-V hart as the rest of the program sees it: slots, creation, reset, start state, the
// register table and gdb's description of it.
#include "isa/riscv/riscv.h"
#include "isa/riscv/system/system.h"

#include <stdio.h>

// ---- slots ----

#define SLOT(n, t, f)                                                                              \
    {                                                                                              \
        .name = n, .type = t, .offset = offsetof(struct rv_cpu, f)                                 \
    }
#define X(i) [RV_X0 + i] = SLOT("x" #i, IR_I64, x[i])
#define V(i) [RV_V0 + i] = SLOT("v+" #i, IR_V128, v[16 * i])
#define F(i) [RV_F0 + i] = SLOT("f" #i, IR_F64, f[i])
static const struct ir_slot slots[RV_SLOTS] = {
    IR_EACH_32(X),
    IR_EACH_32(F),
    IR_EACH_64(V),
    [RV_PC] = SLOT("pc", IR_I64, pc),
    [RV_INSNS] = SLOT("insns", IR_I64, insns),
};
const struct ir_guest rv_guest = {
    .name = "riscv64",
    .slots = slots,
    .n_slots = RV_SLOTS,
    .pc = RV_PC,
    .resident = {RV_X0 + 2, RV_X0 + 1, RV_X0 + 10, RV_X0 + 8, RV_X0 + 15, RV_X0 + 9},
    .n_resident = 6};

// ---- life ----

static int cpu_init(struct env *e, const struct isa_config *cfg, struct err *err)
{
    struct rv_cpu *c = rv_cpu(e);
    c->narrow = c->rv32;
    e->isa = &rv_ops;
    e->cpu_index = cfg->index;
    c->config = *cfg;
    if (rv_model_apply(c, cfg->model, cfg->features, err))
        return -1;
    rv_aia_init(c);
    rv_timers_init(c);
    rv_pmu_init(c);
    return 0;
}

static int cpu_init32(struct env *e, const struct isa_config *cfg, struct err *err)
{
    rv_cpu(e)->rv32 = true;
    return cpu_init(e, cfg, err);
}

static void cpu_exit(struct env *e)
{
    rv_timers_exit(rv_cpu(e));
    rv_pmu_exit(rv_cpu(e));
}

// A program runs at user level, with everything there open to it.
static void enter_user_mode(struct rv_cpu *c)
{
    c->priv = RV_U;
    c->mstatus |= RV_FS | RV_VS;
    c->mcounteren = c->scounteren = UINT32_MAX;
    c->menvcfg = c->senvcfg = RV_CBCFE | RV_CBZE; // as Linux has it
}

static void cpu_reset(struct env *e)
{
    struct rv_cpu *c = rv_cpu(e);
    size_t from = offsetof(struct rv_cpu, priv), to = offsetof(struct rv_cpu, timers);
    memset(c->x, 0, sizeof c->x);
    memset(c->f, 0, sizeof c->f);
    memset((char *)c + from, 0, to - from);
    memset(c->v, 0, sizeof c->v);
    c->vl = c->vstart = c->vxrm = c->vxsat = 0;
    c->vtype = 1ull << 63;
    c->pc = 0;
    c->priv = RV_M;
    c->narrow = c->rv32;
    if (!c->rv32) {
        c->mstatus = (rv_has(c, RV_FEAT_S) ? RV_SXL : 0) | (rv_has(c, RV_FEAT_U) ? RV_UXL : 0);
        c->vsstatus = rv_has(c, RV_FEAT_H) ? RV_UXL : 0;
    }
    c->s.timecmp = c->vs.timecmp = UINT64_MAX;
    c->mideleg = rv_has(c, RV_FEAT_H) ? RV_INTS_HS : 0;
    c->menvcfg = rv_has(c, RV_FEAT_SVADU) && !rv_has(c, RV_FEAT_SVADE) ? RV_ADUE : 0;
    if (c->config.user_mode)
        enter_user_mode(c);
    e->monitor.addr = MONITOR_NONE;
    e->fp.nan = FP_NAN_DEFAULT;
    e->fp.tiny_before = false;
    uint64_t status = c->mstatus;
    rv_csr_write(c, RV_CSR_FCSR, 0);
    c->mstatus = status;
    rv_pmp_changed(c);
    rv_state_changed(c);
    rv_timer_update(c, RV_TIMER_S);
    rv_timer_update(c, RV_TIMER_VS);
}

static void cpu_start(struct env *e, uint64_t entry, uint64_t arg, unsigned level)
{
    struct rv_cpu *c = rv_cpu(e);
    c->x[10] = arg;
    c->pc = entry;
    if (c->config.user_mode)
        return;
    c->priv = (uint8_t)level;
    rv_state_changed(c);
}

static uint64_t get_pc(struct env *e)
{
    return rv_cpu(e)->pc;
}
static void set_pc(struct env *e, uint64_t pc)
{
    rv_cpu(e)->pc = pc;
}
static void debug_step(struct env *e, bool on)
{
    rv_cpu(e)->debug_step = on;
}

// ---- saving ----

static const struct isa_state state[] = {
#define STATE(n, f)                                                                                \
    {.name = n, .offset = offsetof(struct rv_cpu, f), .bytes = sizeof((struct rv_cpu *)0)->f},
#include "isa/riscv/state.def"
#undef STATE
    {0}};

static void state_out(struct env *e)
{
    struct rv_cpu *c = rv_cpu(e);
    uint64_t fcsr = 0;
    e->exec->fp_sync(e);
    rv_pmu_catch_up(c);
    rv_csr_read(c, RV_CSR_FCSR, &fcsr);
    c->saved.fcsr = (uint32_t)fcsr;
    c->saved.vlenb = c->vlenb;
    memcpy(c->saved.features, c->features, sizeof c->features);
}

static int state_in(struct env *e, struct err *err)
{
    struct rv_cpu *c = rv_cpu(e);
    struct env_flush all = {0};
    if (memcmp(c->saved.features, c->features, sizeof c->features) || c->saved.vlenb != c->vlenb)
        return err_set(err, "the saved CPU has other extensions than this one; use the same -cpu");
    bool no_vtype = c->vtype >> 63;
    if (c->priv == 2 || c->priv > RV_M || (c->virt && !rv_has(c, RV_FEAT_H)) || c->vxrm > 3 ||
        (!no_vtype && (!rv_vtype_ok(c, c->vtype) || c->vl > rv_vlmax(c, c->vtype))) ||
        (no_vtype && c->vl) || c->vstart >= 8u * RV_VLENB_MAX)
        return err_set(err, "the saved CPU is in a state that none is ever in");
    c->x[0] = 0;
    uint64_t status = c->mstatus, vsstatus = c->vsstatus;
    rv_csr_write(c, RV_CSR_FCSR, c->saved.fcsr);
    c->mstatus = status;
    c->vsstatus = vsstatus;
    rv_pmu_loaded(c); // first: what follows must not count as time passed
    rv_pmp_changed(c);
    e->exec->flush(e, &all, false);
    rv_state_changed(c);
    rv_timer_update(c, RV_TIMER_S);
    rv_timer_update(c, RV_TIMER_VS);
    return 0;
}

// ---- registers ----

static void set_field(struct env *e, const struct isa_reg *r, const void *in)
{
    if (r->arg != offsetof(struct rv_cpu, x[0]))
        isa_reg_set_field(e, r, in);
}
static void get_csr(struct env *e, const struct isa_reg *r, void *out)
{
    uint64_t v = 0;
    rv_csr_read(rv_cpu(e), r->arg, &v);
    st_le32(out, (uint32_t)v);
}
static void set_csr(struct env *e, const struct isa_reg *r, const void *in)
{
    rv_csr_write(rv_cpu(e), r->arg, ld_le32(in));
}

// An x register, or the pc, where XLEN is 32: in here the first is sign-extended.
static void set_word(struct env *e, const struct isa_reg *r, const void *in)
{
    const uint64_t v = ld_le32(in);
    const bool is_pc = r->arg == offsetof(struct rv_cpu, pc);
    if (r->arg != offsetof(struct rv_cpu, x[0]))
        st_le64((char *)e + r->arg, is_pc ? v : (uint64_t)sign_extend(v, 32));
}

#define CSR(n, number, csr)                                                                        \
    {                                                                                              \
        .name = n, .bits = 32, .gdb = number, .group = REG_FLOAT, .get = get_csr, .set = set_csr,  \
        .arg = csr                                                                                 \
    }
static const struct isa_reg regs[] = {
#define REG(n, b, g, grp, field)                                                                   \
    {.name = n,                                                                                    \
     .bits = b,                                                                                    \
     .gdb = g,                                                                                     \
     .group = grp,                                                                                 \
     .get = isa_reg_get_field,                                                                     \
     .set = set_field,                                                                             \
     .arg = offsetof(struct rv_cpu, field)},
#include "isa/riscv/regs.def"
#undef REG
    CSR("fflags", 66, RV_CSR_FFLAGS),
    CSR("frm", 67, RV_CSR_FRM),
    CSR("fcsr", 68, RV_CSR_FCSR),
};
static const struct isa_reg regs32[] = {
#define REG(n, b, g, grp, field)                                                                   \
    {.name = n,                                                                                    \
     .bits = grp == REG_GENERAL ? 32 : b,                                                          \
     .gdb = g,                                                                                     \
     .group = grp,                                                                                 \
     .get = isa_reg_get_field,                                                                     \
     .set = grp == REG_GENERAL ? set_word : set_field,                                             \
     .arg = offsetof(struct rv_cpu, field)},
#include "isa/riscv/regs.def"
#undef REG
    CSR("fflags", 66, RV_CSR_FFLAGS),
    CSR("frm", 67, RV_CSR_FRM),
    CSR("fcsr", 68, RV_CSR_FCSR),
};
_Static_assert(ARRAY_SIZE(regs) == ARRAY_SIZE(regs32), "the same registers");

#define TARGET_XML(arch)                                                                           \
    "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"                   \
    "<architecture>riscv:" arch "</architecture><xi:include href=\"cpu.xml\"/>"                    \
    "<xi:include href=\"fpu.xml\"/></target>"

// One feature: the registers of a group, each with its number.
static void describe(char *text, size_t size, const char *feature, enum isa_reg_group group,
                     const struct isa_reg *table)
{
    size_t n = (size_t)snprintf(text, size,
                                "<?xml version=\"1.0\"?><!DOCTYPE feature SYSTEM "
                                "\"gdb-target.dtd\"><feature name=\"org.gnu.gdb.riscv.%s\">",
                                feature);
    for (unsigned i = 0; i < ARRAY_SIZE(regs); i++) {
        const struct isa_reg *r = &table[i];
        const char *type = r->group != REG_FLOAT ? "int" : r->bits == 64 ? "ieee_double" : "int";
        if (r->group == group)
            n += (size_t)snprintf(text + n, size - n,
                                  "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%d\"/>",
                                  r->name, r->bits, type, r->gdb);
    }
    snprintf(text + n, size - n, "</feature>");
}

static const char *gdb_xml(struct env *e, const char *annex)
{
    static char cpu[2][4096], fpu[4096];
    bool rv32 = rv_cpu(e)->rv32;
    if (!strcmp(annex, "target.xml"))
        return rv32 ? TARGET_XML("rv32") : TARGET_XML("rv64");
    if (!strcmp(annex, "cpu.xml")) {
        describe(cpu[rv32], sizeof cpu[0], "cpu", REG_GENERAL, rv32 ? regs32 : regs);
        return cpu[rv32];
    }
    if (!strcmp(annex, "fpu.xml")) {
        describe(fpu, sizeof fpu, "fpu", REG_FLOAT, regs);
        return fpu;
    }
    return NULL;
}

#define SHARED                                                                                     \
    .elf_machine = 243, /* EM_RISCV */ .guest = &rv_guest, .cpu_size = sizeof(struct rv_cpu),      \
    .max_insn_bytes = 4, .default_model = "max", .n_regs = ARRAY_SIZE(regs), .ops = &rv_ops,       \
    .exit = cpu_exit, .reset = cpu_reset, .start = cpu_start, .lift = rv_lift, .line = rv_line,    \
    .gdb_xml = gdb_xml, .get_pc = get_pc, .set_pc = set_pc, .debug_step = debug_step,              \
    .state = state, .state_out = state_out, .state_in = state_in

const struct isa isa_riscv32 = {
    SHARED,         .name = "riscv32",  .elf64 = false,           .models = rv32_models,
    .regs = regs32, .init = cpu_init32, .disas = rv32_disas_insn,
};

const struct isa isa_riscv64 = {
    SHARED,       .name = "riscv64", .elf64 = true,          .models = rv_models,
    .regs = regs, .init = cpu_init,  .disas = rv_disas_insn,
};
