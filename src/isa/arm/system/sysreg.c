// System registers by table (sysregs.def): look-up, and the registers with behaviour of their own.
// DDI 0487, D13 (D19 in later issues). Who may access one is in sysreg_access.c.
#include "isa/arm/system/sysreg.h"
#include "isa/arm/system/pmu.h"
#include <stdlib.h>
#include <strings.h>
#include <sys/random.h>

#define ACCESSOR_GET(name, expr)                                                                   \
    static uint64_t get_##name(struct arm_cpu *c)                                                  \
    {                                                                                              \
        return expr;                                                                               \
    }
ACCESSOR_GET(midr, c->el == 1 && arm_el2_enabled(c) ? c->vpidr_el2 : c->midr)
ACCESSOR_GET(mpidr, c->el == 1 && arm_el2_enabled(c) ? c->vmpidr_el2 : c->mpidr)
ACCESSOR_GET(ccsidr, c->ccsidr[MIN(c->csselr_el1 & 15, 6u)])
ACCESSOR_GET(ctr, c->ctr)
ACCESSOR_GET(sctlr1, c->sctlr[1])
ACCESSOR_GET(sctlr2, c->sctlr[2])
ACCESSOR_GET(sctlr3, c->sctlr[3])
ACCESSOR_GET(tcr1, c->tcr[1])
ACCESSOR_GET(tcr2, c->tcr[2])
ACCESSOR_GET(tcr3, c->tcr[3])
ACCESSOR_GET(vtcr, c->vtcr_el2)
ACCESSOR_GET(hcr, c->hcr_el2)
ACCESSOR_GET(scr, c->scr_el3)
ACCESSOR_GET(spsel, c->spsel)
ACCESSOR_GET(sp_el0, c->sp_el0)
ACCESSOR_GET(currentel, (uint64_t)c->el << 2)
ACCESSOR_GET(pan, (uint64_t)c->pan << 22)
ACCESSOR_GET(uao, (uint64_t)c->uao << 23)
ACCESSOR_GET(dit, (uint64_t)c->dit << 24)
ACCESSOR_GET(ssbs, (uint64_t)c->ssbs << 12)
ACCESSOR_GET(nzcv, arm_pstate(c) & 0xf0000000)
ACCESSOR_GET(daif, arm_pstate(c) & 0x3c0)
ACCESSOR_GET(fpcr, c->fpcr)
ACCESSOR_GET(rvbar, c->rvbar)
ACCESSOR_GET(zero, ((void)c, 0))
ACCESSOR_GET(claimset, ((void)c, 0xff))
ACCESSOR_GET(claim, c->dbgclaim_el1)
ACCESSOR_GET(cntvoff, c->cntvoff_el2)
ACCESSOR_GET(cntpct, arm_counter(c))

static uint64_t get_cntvct(struct arm_cpu *c)
{
    bool host = (arm_hcr(c) & (HCR_E2H | HCR_TGE)) == (HCR_E2H | HCR_TGE);
    bool no_offset = (c->el == 2 && (arm_hcr(c) & HCR_E2H)) || (c->el == 0 && host);
    return arm_counter(c) - (no_offset ? 0 : c->cntvoff_el2);
}

// The GIC's system-register interface shows in ID_AA64PFR0 when the machine mapped one.
static uint64_t get_pfr0(struct arm_cpu *c)
{
    uint64_t v = c->id_aa64pfr[0];
    if (c->config.sysregs &&
        space_lookup(c->config.sysregs, (gpa_t)ARM_SYSREG(3, 0, 12, 12, 5) << 3).kind !=
            SPACE_NOTHING)
        v |= 1ull << 24;
    return v;
}

static uint64_t get_dczid(struct arm_cpu *c)
{
    bool prohibited = (c->el == 0 && !(c->sctlr[arm_regime_el(c)] & SCTLR_DZE)) ||
                      (c->el < 2 && (arm_hcr(c) & HCR_TDZ));
    return c->dczid | (uint64_t)prohibited << 4;
}

static uint64_t get_isr(struct arm_cpu *c)
{
    uint32_t l = atomic_load(&c->lines);
    uint64_t h = arm_hcr(c);
    bool virt_i = c->el == 1 && (h & HCR_IMO), virt_f = c->el == 1 && (h & HCR_FMO);
    bool i = virt_i ? (l >> ARM_LINE_VIRQ & 1) || (h & HCR_VI) : l >> ARM_LINE_IRQ & 1;
    bool f = virt_f ? (l >> ARM_LINE_VFIQ & 1) || (h & HCR_VF) : l >> ARM_LINE_FIQ & 1;
    return (uint64_t)i << 7 | (uint64_t)f << 6;
}

static uint64_t get_rndr(struct arm_cpu *c)
{
    uint64_t v = 0;
    bool ok = getrandom(&v, sizeof v, 0) == sizeof v;
    c->nzcv = flags_pack(false, !ok, false, false);
    return v;
}

// ---- registers whose write changes other state ----

static void flush_regime(struct arm_cpu *c)
{
    struct env_flush all = {0};
    c->env.exec->flush(&c->env, &all, false);
}

// The MMU bits that a TLB entry depends on without being part of the context id.
#define SCTLR_TLB_BITS (SCTLR_WXN | SCTLR_M)
static void set_sctlr(struct arm_cpu *c, unsigned el, uint64_t v)
{
    uint64_t changed = c->sctlr[el] ^ v;
    c->sctlr[el] = v;
    if (changed & SCTLR_TLB_BITS)
        flush_regime(c);
    arm_state_changed(c);
}
static void set_sctlr1(struct arm_cpu *c, uint64_t v)
{
    set_sctlr(c, 1, v);
}
static void set_sctlr2(struct arm_cpu *c, uint64_t v)
{
    set_sctlr(c, 2, v);
}
static void set_sctlr3(struct arm_cpu *c, uint64_t v)
{
    set_sctlr(c, 3, v);
}

// Software may leave a TCR field cached until it invalidates; we follow at once, which it cannot
// tell from no caching.
static void set_tcr(struct arm_cpu *c, uint64_t *reg, uint64_t v)
{
    if (*reg != v)
        flush_regime(c);
    *reg = v;
    arm_state_changed(c);
}
static void set_tcr1(struct arm_cpu *c, uint64_t v)
{
    set_tcr(c, &c->tcr[1], v);
}
static void set_tcr2(struct arm_cpu *c, uint64_t v)
{
    set_tcr(c, &c->tcr[2], v);
}
static void set_tcr3(struct arm_cpu *c, uint64_t v)
{
    set_tcr(c, &c->tcr[3], v);
}
static void set_vtcr(struct arm_cpu *c, uint64_t v)
{
    set_tcr(c, &c->vtcr_el2, v);
}

static void set_hcr(struct arm_cpu *c, uint64_t v)
{
    uint64_t allowed = 0x7fffffffull; // TID4, E2H, … below; RW is fixed to 1 as there is no AArch32
    if (arm_has(c, ARM_FEAT_VHE))
        allowed |= HCR_E2H;
    if (arm_has(c, ARM_FEAT_PAUTH_QARMA5) || arm_has(c, ARM_FEAT_PAUTH_IMPDEF))
        allowed |= 3ull << 40;
    v = (v & allowed) | HCR_RW;
    if ((c->hcr_el2 ^ v) & (HCR_VM | HCR_PTW | HCR_DC))
        flush_regime(c);
    c->hcr_el2 = v;
    arm_state_changed(c);
    for (unsigned t = 0; t < ARM_TIMERS; t++)
        arm_timer_update(c, t);
}

static void set_scr(struct arm_cpu *c, uint64_t v)
{
    c->scr_el3 = (v & 0x3fffull) | 0x430; // RW: AArch64 below; the two RES1 bits
    arm_state_changed(c);
}

static void set_spsel(struct arm_cpu *c, uint64_t v)
{
    arm_set_spsel(c, v & 1);
    arm_state_changed(c);
}
static void set_sp_el0(struct arm_cpu *c, uint64_t v)
{
    c->sp_el0 = v;
}
static void set_pan(struct arm_cpu *c, uint64_t v)
{
    c->pan = bit(v, 22), arm_state_changed(c);
}
static void set_uao(struct arm_cpu *c, uint64_t v)
{
    c->uao = bit(v, 23), arm_state_changed(c);
}
static void set_dit(struct arm_cpu *c, uint64_t v)
{
    c->dit = bit(v, 24);
}
static void set_ssbs(struct arm_cpu *c, uint64_t v)
{
    c->ssbs = bit(v, 12);
}
static void set_nzcv(struct arm_cpu *c, uint64_t v)
{
    c->nzcv = flags_pack(bit(v, 31), bit(v, 30), bit(v, 29), bit(v, 28));
}
void arm_set_daif(struct arm_cpu *c, uint64_t v)
{
    bool stepping = c->daif_d != bit(v, 9); // only single-step depends on D
    c->daif_d = bit(v, 9), c->daif_a = bit(v, 8), c->daif_i = bit(v, 7), c->daif_f = bit(v, 6);
    if (stepping)
        arm_state_changed(c);
    else
        arm_update_interrupts(c);
}

void arm_set_fpcr(struct arm_cpu *c, uint64_t v)
{
    static const uint8_t rounding[4] = {FP_RNE, FP_RUP, FP_RDN, FP_RTZ};
    c->env.exec->fp_sync(&c->env);
    v &= 0x07c00000u | (arm_has(c, ARM_FEAT_FP16) ? FPCR_FZ16 : 0);
    c->fpcr = (uint32_t)v;
    c->env.fp.rounding = rounding[bits(v, 23, 22)];
    c->env.fp.flush_inputs = c->env.fp.flush_outputs = v & FPCR_FZ;
    c->env.fp.flush_half = v & FPCR_FZ16;
    c->env.fp.alternative_half = v & FPCR_AHP;
    c->env.fp.nan = v & FPCR_DN ? FP_NAN_DEFAULT : FP_NAN_ARM;
    c->env.fp.tiny_before = true;
    c->env.exec->fp_changed(&c->env);
    arm_state_changed(c);
}
static void set_fpcr(struct arm_cpu *c, uint64_t v)
{
    arm_set_fpcr(c, v);
}

uint64_t arm_get_fpsr(struct arm_cpu *c)
{
    c->env.exec->fp_sync(&c->env);
    uint32_t f = c->env.fp.flags;
    uint64_t q[2];
    memcpy(q, &c->qc, 16);
    return (f & FP_INVALID ? 1u : 0) | (f & FP_DIVZERO ? 2u : 0) | (f & FP_OVERFLOW ? 4u : 0) |
           (f & FP_UNDERFLOW ? 8u : 0) | (f & FP_INEXACT ? 16u : 0) | (f & FP_DENORMAL ? 128u : 0) |
           (q[0] | q[1] ? 1u << 27 : 0);
}

void arm_set_fpsr(struct arm_cpu *c, uint64_t v)
{
    uint64_t q[2] = {bit(v, 27), 0};
    c->env.exec->fp_sync(&c->env);
    c->env.fp.flags = (v & 1 ? FP_INVALID : 0) | (v & 2 ? FP_DIVZERO : 0) |
                      (v & 4 ? FP_OVERFLOW : 0) | (v & 8 ? FP_UNDERFLOW : 0) |
                      (v & 16 ? FP_INEXACT : 0) | (v & 128 ? FP_DENORMAL : 0);
    memcpy(&c->qc, q, 16);
    c->env.exec->fp_changed(&c->env);
}

static void set_nothing(struct arm_cpu *c, uint64_t v) {}
static void set_oslar(struct arm_cpu *c, uint64_t v)
{
    c->oslsr_el1 = v & 1 ? 2 : 0;
    arm_state_changed(c);
}
static void set_claimset(struct arm_cpu *c, uint64_t v)
{
    c->dbgclaim_el1 |= v & 0xff;
}
static void set_claimclr(struct arm_cpu *c, uint64_t v)
{
    c->dbgclaim_el1 &= ~v;
}

static void set_cntvoff(struct arm_cpu *c, uint64_t v)
{
    c->cntvoff_el2 = v;
    arm_timer_update(c, ARM_TIMER_VIRT);
}

// ---- the performance monitor's counters by number ----

#define PMU_COUNTER(n)                                                                             \
    static uint64_t get_pmevcntr##n(struct arm_cpu *c)                                             \
    {                                                                                              \
        return arm_pmu_get_count(c, n);                                                            \
    }                                                                                              \
    static void set_pmevcntr##n(struct arm_cpu *c, uint64_t v)                                     \
    {                                                                                              \
        arm_pmu_set_count(c, n, v);                                                                \
    }                                                                                              \
    static uint64_t get_pmevtyper##n(struct arm_cpu *c)                                            \
    {                                                                                              \
        return arm_pmu_get_type(c, n);                                                             \
    }                                                                                              \
    static void set_pmevtyper##n(struct arm_cpu *c, uint64_t v)                                    \
    {                                                                                              \
        arm_pmu_set_type(c, n, v);                                                                 \
    }
PMU_COUNTER(0)
PMU_COUNTER(1)
PMU_COUNTER(2)
PMU_COUNTER(3)
PMU_COUNTER(4)
PMU_COUNTER(5)
_Static_assert(ARM_PMU_COUNTERS == 6, "a line for each");

// Registers of a CPU that may lack the monitor are calls, so that each access is checked.
static uint64_t get_pmselr(struct arm_cpu *c)
{
    return c->pmselr;
}
static void set_pmselr(struct arm_cpu *c, uint64_t v)
{
    c->pmselr = v & 0x1f;
}
static uint64_t get_pmuserenr(struct arm_cpu *c)
{
    return c->pmuserenr;
}
static void set_pmuserenr(struct arm_cpu *c, uint64_t v)
{
    c->pmuserenr = v & 0xf;
}
static uint64_t get_pmceid0(struct arm_cpu *c)
{
    return arm_pmu_events();
}
static uint64_t get_pmxevcntr(struct arm_cpu *c)
{
    return arm_pmu_get_count(c, (unsigned)c->pmselr);
}
static void set_pmxevcntr(struct arm_cpu *c, uint64_t v)
{
    arm_pmu_set_count(c, (unsigned)c->pmselr, v);
}
static uint64_t get_pmxevtyper(struct arm_cpu *c)
{
    return arm_pmu_get_type(c, (unsigned)c->pmselr);
}
static void set_pmxevtyper(struct arm_cpu *c, uint64_t v)
{
    arm_pmu_set_type(c, (unsigned)c->pmselr, v);
}

// ---- timers: three views of each ----

#define TIMER_REGS(p, T)                                                                           \
    static uint64_t get_##p##_tval(struct arm_cpu *c)                                              \
    {                                                                                              \
        return (uint32_t)(c->timers[T].cval - arm_timer_count(c, T));                              \
    }                                                                                              \
    static void set_##p##_tval(struct arm_cpu *c, uint64_t v)                                      \
    {                                                                                              \
        c->timers[T].cval = arm_timer_count(c, T) + (uint64_t)(int64_t)(int32_t)v;                 \
        arm_timer_update(c, T);                                                                    \
    }                                                                                              \
    static uint64_t get_##p##_ctl(struct arm_cpu *c)                                               \
    {                                                                                              \
        struct arm_timer_state *t = &c->timers[T];                                                 \
        bool due = (t->ctl & 1) && (int64_t)(arm_timer_count(c, T) - t->cval) >= 0;                \
        return t->ctl | (uint64_t)due << 2;                                                        \
    }                                                                                              \
    static void set_##p##_ctl(struct arm_cpu *c, uint64_t v)                                       \
    {                                                                                              \
        c->timers[T].ctl = v & 3;                                                                  \
        arm_timer_update(c, T);                                                                    \
    }                                                                                              \
    static uint64_t get_##p##_cval(struct arm_cpu *c)                                              \
    {                                                                                              \
        return c->timers[T].cval;                                                                  \
    }                                                                                              \
    static void set_##p##_cval(struct arm_cpu *c, uint64_t v)                                      \
    {                                                                                              \
        c->timers[T].cval = v;                                                                     \
        arm_timer_update(c, T);                                                                    \
    }
TIMER_REGS(p, ARM_TIMER_PHYS)
TIMER_REGS(v, ARM_TIMER_VIRT)
TIMER_REGS(hp, ARM_TIMER_HYP)
TIMER_REGS(hv, ARM_TIMER_HYPVIRT)
TIMER_REGS(ps, ARM_TIMER_SEC)

// ---- the table ----

#define R_PLAIN(field, m) .kind = SR_PLAIN, .offset = offsetof(struct arm_cpu, field), .mask = m
#define R_STATE(field, m) .kind = SR_STATE, .offset = offsetof(struct arm_cpu, field), .mask = m
#define R_SLOT(s)         .kind = SR_SLOT, .offset = s
#define R_CONST(e)        .kind = SR_CONST
#define R_CALL(g, s)      .kind = SR_CALL, .get = g, .set = s
#define R_EL12(of)        .kind = SR_EL12, .alias = KEY_##of

// CONST expressions become getters.
#define C_PLAIN(...)
#define C_STATE(...)
#define C_SLOT(...)
#define C_CALL(...)
#define C_EL12(...)
#define C_CONST(e) return e;
#define REG(name, o0, o1, n, m, o2, r, w, kind, ...)                                               \
    static uint64_t const_##name(struct arm_cpu *c)                                                \
    {                                                                                              \
        (void)c;                                                                                   \
        C_##kind(__VA_ARGS__) return 0;                                                            \
    }
#include "isa/arm/system/sysregs.def"
#undef REG

#define REG(name_, o0, o1, n, m, o2, r, w, kind_, ...)                                             \
    {.key = KEY_##name_,                                                                           \
     .name = #name_,                                                                               \
     .read_el = r,                                                                                 \
     .write_el = w,                                                                                \
     .get = const_##name_,                                                                         \
     R_##kind_(__VA_ARGS__)},
static const struct arm_sysreg table[] = {
#include "isa/arm/system/sysregs.def"
};
#undef REG

// Debug breakpoint and watchpoint registers: 16 of each, CRm is the number.
static struct arm_sysreg debug_table[4][16];
static uint8_t index_of[1 << 16]; // key -> table index + 1

static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static void build_index(void)
{
    _Static_assert(ARRAY_SIZE(table) < 255, "index fits a byte");
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
        index_of[table[i].key] = (uint8_t)(i + 1);
    static const uint16_t base[4] = {
        offsetof(struct arm_cpu, dbgbvr), offsetof(struct arm_cpu, dbgbcr),
        offsetof(struct arm_cpu, dbgwvr), offsetof(struct arm_cpu, dbgwcr)};
    static const char *const names[4] = {"DBGBVR_EL1", "DBGBCR_EL1", "DBGWVR_EL1", "DBGWCR_EL1"};
    for (unsigned k = 0; k < 4; k++)
        for (unsigned i = 0; i < 16; i++)
            debug_table[k][i] = (struct arm_sysreg){.key = ARM_SYSREG(2, 0, 0, i, 4 + k),
                                                    .name = names[k],
                                                    .read_el = 1,
                                                    .write_el = 1,
                                                    .kind = SR_STATE,
                                                    .offset = (uint16_t)(base[k] + i * 8),
                                                    .mask = ~0ull};
}

const struct arm_sysreg *arm_sysreg_find(uint32_t key, unsigned el, bool e2h)
{
    pthread_once(&index_once, build_index);
    const struct arm_sysreg *r;
    unsigned op2 = key & 7, crm = bits(key, 6, 3);
    key &= 0xffff;
    if (bits(key, 15, 14) == 2 && bits(key, 13, 7) == 0 && op2 >= 4)
        return &debug_table[op2 - 4][crm];
    if (e2h && el == 2)
        for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
            if (table[i].kind == SR_EL12 && table[i].alias == key) {
                key = key == KEY_CPACR_EL1 ? (uint32_t)KEY_CPTR_EL2
                                           : ((key & ~(7u << 11)) | 4u << 11);
                break;
            }
    if (!index_of[key])
        return NULL;
    r = &table[index_of[key] - 1];
    if (r->kind == SR_EL12)
        return e2h && el >= 2 && index_of[r->alias] ? &table[index_of[r->alias] - 1] : NULL;
    return r;
}

uint64_t *arm_sysreg_storage(struct arm_cpu *c, uint32_t key)
{
    const struct arm_sysreg *r = arm_sysreg_find(key, 1, false);
    if (r && (r->kind == SR_PLAIN || r->kind == SR_STATE))
        return (uint64_t *)((char *)c + r->offset);
    for (unsigned i = 0; r && i < isa_aarch64.n_regs; i++) {
        const struct isa_reg *field = &isa_aarch64.regs[i];
        if (field->bits == 64 && field->get == isa_reg_get_field &&
            !strcasecmp(field->name, r->name))
            return (uint64_t *)((char *)c + field->arg);
    }
    return NULL;
}
