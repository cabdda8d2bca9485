// Machine-level registers with behaviour of their own. RISC-V Instruction Set Manual, volume II,
// chapter 3. Not modelled: hardware performance events (their counters read zero), triggers
// (Sdtrig: tselect offers none), big-endian data, supervisors of 32 bits on a 64-bit hart.
#include "isa/riscv/csr.h"
#include "isa/riscv/system/system.h"

RV_GET(zero)
{
    return 0;
}

// ---- identity ----

RV_GET(misa)
{
    static const struct {
        uint8_t feature;
        char letter;
    } letters[] = {{RV_FEAT_A, 'a'}, {RV_FEAT_B, 'b'}, {RV_FEAT_C, 'c'}, {RV_FEAT_D, 'd'},
                   {RV_FEAT_F, 'f'}, {RV_FEAT_H, 'h'}, {RV_FEAT_M, 'm'}, {RV_FEAT_S, 's'},
                   {RV_FEAT_U, 'u'}, {RV_FEAT_V, 'v'}};
    uint64_t v = (c->rv32 ? 1ull << 30 : 2ull << 62) | 1u << ('i' - 'a');
    for (unsigned i = 0; i < ARRAY_SIZE(letters); i++)
        if (rv_has(c, letters[i].feature))
            v |= 1u << (letters[i].letter - 'a');
    return v;
}

RV_GET(mhartid)
{
    return c->config.hw_id;
}

// ---- status ----

static uint64_t with_sd(uint64_t v)
{
    bool dirty = (v & RV_FS) == RV_FS || (v & RV_VS) == RV_VS;
    return v | (dirty ? RV_STATUS_SD : 0);
}

RV_GET(mstatus)
{
    return with_sd(c->mstatus);
}

uint64_t rv_status_mask(const struct rv_cpu *c)
{
    uint64_t m = RV_SIE | RV_SPIE | RV_SPP | RV_SUM | RV_MXR;
    uint64_t vs = rv_has(c, RV_FEAT_V) ? RV_VS : 0;
    return vs | (rv_has(c, RV_FEAT_S) ? m | RV_FS : rv_has(c, RV_FEAT_F) ? RV_FS : 0);
}

// User level may have 32-bit registers.
uint64_t rv_uxl_mask(const struct rv_cpu *c, uint64_t v)
{
    uint64_t uxl = bits(v, 33, 32);
    return !c->rv32 && rv_has(c, RV_FEAT_U) && (uxl == 1 || uxl == 2) ? RV_UXL_FIELD : 0;
}

RV_SET(mstatus)
{
    uint64_t mask = rv_status_mask(c) | rv_uxl_mask(c, v) | RV_MIE | RV_MPIE | RV_MPP;
    if (rv_has(c, RV_FEAT_U))
        mask |= RV_MPRV | RV_TW;
    if (rv_has(c, RV_FEAT_S))
        mask |= RV_TVM | RV_TSR;
    if (rv_has(c, RV_FEAT_H))
        mask |= RV_MPV | RV_GVA;
    unsigned mpp = (unsigned)bits(v, 12, 11);
    bool legal = mpp == RV_M || (mpp == RV_S && rv_has(c, RV_FEAT_S)) ||
                 (mpp == RV_U && rv_has(c, RV_FEAT_U));
    if (!legal)
        mask &= ~RV_MPP;
    c->mstatus = (c->mstatus & ~mask) | (v & mask);
    rv_state_changed(c);
}

// ---- delegation and interrupts ----

uint64_t rv_super_ints(const struct rv_cpu *c)
{
    uint64_t overflow = rv_has(c, RV_FEAT_SSCOFPMF) ? 1ull << RV_INT_LCOFI : 0;
    return rv_has(c, RV_FEAT_S) ? RV_INTS_S | overflow : 0;
}

RV_GET(medeleg)
{
    return c->medeleg;
}

RV_SET(medeleg)
{
    uint64_t mask = 0xb3ff;
    if (rv_has(c, RV_FEAT_H))
        mask |= 0xf00400;
    c->medeleg = v & mask;
}

static uint64_t hypervisor_ints(const struct rv_cpu *c)
{
    return rv_has(c, RV_FEAT_H) ? RV_INTS_HS : 0;
}

RV_GET(mideleg)
{
    return c->mideleg | hypervisor_ints(c);
}

RV_SET(mideleg)
{
    c->mideleg = (v & rv_super_ints(c)) | hypervisor_ints(c);
    rv_update_interrupts(c);
}

RV_GET(mie)
{
    return c->mie;
}

RV_SET(mie)
{
    uint64_t super = rv_super_ints(c);
    c->mie = v & (RV_INTS_M | super | hypervisor_ints(c));
    rv_update_interrupts(c);
}

RV_GET(mip)
{
    return rv_pending(c);
}

RV_SET(mip)
{
    uint64_t mask = rv_super_ints(c);
    if (c->menvcfg & RV_STCE) // STIP is then the comparator's
        mask &= ~(1ull << RV_INT_STI);
    mask &= ~(c->aia.mvien & 1ull << RV_INT_SEI); // ... and SEIP the controller's alone
    if (rv_has(c, RV_FEAT_H))
        mask |= 1ull << RV_INT_VSSI;
    rv_set_pending(c, mask, v);
}

// The bits of an envcfg register that are written: a reserved value of PMM is none.
static uint64_t pmm_mask(const struct rv_cpu *c, enum rv_feature f, uint64_t v)
{
    return rv_has(c, f) && bits(v, 33, 32) != 1 ? RV_PMM : 0;
}

uint64_t rv_cache_mask(const struct rv_cpu *c, uint64_t v)
{
    uint64_t manage = RV_CBCFE | (bits(v, 5, 4) != 2 ? RV_CBIE : 0);
    return (rv_has(c, RV_FEAT_ZICBOM) ? manage : 0) | (rv_has(c, RV_FEAT_ZICBOZ) ? RV_CBZE : 0);
}

RV_GET(mseccfg)
{
    return c->mseccfg;
}

RV_SET(mseccfg)
{
    uint64_t mask = pmm_mask(c, RV_FEAT_SMMPM, v);
    c->mseccfg = (c->mseccfg & ~mask) | (v & mask);
    rv_state_changed(c);
}

RV_GET(senvcfg)
{
    return c->senvcfg;
}

RV_SET(senvcfg)
{
    uint64_t mask = RV_FIOM | rv_cache_mask(c, v) | pmm_mask(c, RV_FEAT_SSNPM, v);
    c->senvcfg = (c->senvcfg & ~mask) | (v & mask);
    rv_state_changed(c);
}

RV_GET(menvcfg)
{
    return c->menvcfg;
}

RV_SET(menvcfg)
{
    uint64_t mask = RV_FIOM | rv_cache_mask(c, v) | pmm_mask(c, RV_FEAT_SMNPM, v);
    if (rv_has(c, RV_FEAT_SSTC))
        mask |= RV_STCE;
    if (rv_has(c, RV_FEAT_SVPBMT))
        mask |= RV_PBMTE;
    if (rv_has(c, RV_FEAT_SVADU))
        mask |= RV_ADUE;
    uint64_t old = c->menvcfg;
    c->menvcfg = (v & mask) | (old & (RV_PMM | RV_CBIE) & ~mask);
    c->henvcfg &= c->menvcfg | ~(RV_STCE | RV_PBMTE | RV_ADUE);
    if ((old ^ c->menvcfg) & (RV_PBMTE | RV_ADUE))
        rv_flush_all(c);
    rv_state_changed(c);
    rv_timer_update(c, RV_TIMER_S);
    rv_timer_update(c, RV_TIMER_VS);
}

// ---- counters ----

// A cycle is a nanosecond of the machine's clock. Retired instructions are counted by translated
// code itself, from the first look at them on.
static uint64_t clock_count(const struct rv_cpu *c)
{
    return (uint64_t)(c->config.clock ? clock_now(c->config.clock) : host_monotonic_ns());
}

enum { INHIBIT_CYCLE = 1, INHIBIT_INSTRET = 4 };

static uint64_t count_read(struct rv_cpu *c, uint64_t base, unsigned inhibit)
{
    return base + (c->mcountinhibit & inhibit ? 0 : clock_count(c));
}

RV_GET(mcycle)
{
    return count_read(c, c->mcycle_base, INHIBIT_CYCLE);
}

static bool instret_runs(const struct rv_cpu *c)
{
    return c->insns_wanted && !(c->mcountinhibit & INHIBIT_INSTRET);
}

bool rv_counts_insns(const struct rv_cpu *c)
{
    return instret_runs(c) || c->pmu.wants_insns;
}

void rv_insn_undone(struct rv_cpu *c)
{
    if (rv_counts_insns(c))
        c->insns--;
}

// On the first look the instruction that looks is begun again, now counted.
static void want_insns(struct rv_cpu *c)
{
    if (c->insns_wanted)
        return;
    bool counted = rv_counts_insns(c);
    c->insns_wanted = true;
    c->minstret_base = clock_count(c) - c->insns;
    if (!counted && rv_counts_insns(c))
        c->env.exec->leave(&c->env, LEAVE_AGAIN);
}

// The instruction that reads has been counted, but has not retired.
RV_GET(minstret)
{
    want_insns(c);
    return c->minstret_base + (instret_runs(c) ? c->insns - 1 : 0);
}

RV_SET(mcycle)
{
    c->mcycle_base = v - count_read(c, 0, INHIBIT_CYCLE);
}

// What is written is what the next instruction reads.
RV_SET(minstret)
{
    want_insns(c);
    c->minstret_base = v - (instret_runs(c) ? c->insns : 0);
}

RV_GET(mcountinhibit)
{
    return c->mcountinhibit;
}

RV_SET(mcountinhibit)
{
    uint64_t cycle = rv_get_mcycle(c, 0), instret = c->insns_wanted ? rv_get_minstret(c, 0) : 0;
    uint64_t hpm = rv_has(c, RV_FEAT_ZIHPM) ? mask_low(RV_HPM_COUNTERS) << 3 : 0;
    rv_pmu_inhibit(c, v & (INHIBIT_CYCLE | INHIBIT_INSTRET | hpm));
    rv_set_mcycle(c, 0, cycle);
    if (c->insns_wanted)
        rv_set_minstret(c, 0, instret);
    rv_state_changed(c);
}

RV_GET(time)
{
    return rv_time(c) + (c->virt ? c->htimedelta : 0);
}

RV_CHECK(counter)
{
    unsigned n = number & 31;
    if (c->priv < RV_M && !(c->mcounteren >> n & 1))
        return RV_ILLEGAL;
    if (c->virt && !(c->hcounteren >> n & 1))
        return RV_VIRTUAL;
    if (c->priv == RV_U && rv_has(c, RV_FEAT_S) && !(c->scounteren >> n & 1))
        return c->virt ? RV_VIRTUAL : RV_ILLEGAL;
    return RV_ALLOWED;
}

// ---- state enable (Smstateen, Ssstateen) ----

// mstateen0 has the bits of what exists here; the others hold nothing but their enable of the next
// level's register.
static uint64_t stateen_mask(const struct rv_cpu *c, unsigned n)
{
    if (n)
        return RV_STATEEN_SE;
    uint64_t aia = rv_has(c, RV_FEAT_SSAIA) ? RV_STATEEN_CSRIND | RV_STATEEN_AIA : 0;
    uint64_t high = rv_has(c, RV_FEAT_H) ? RV_STATEEN_P1P13 : 0;
    return RV_STATEEN_SE | RV_STATEEN_ENVCFG | high | aia | (c->imsic_files ? RV_STATEEN_IMSIC : 0);
}

RV_GET(mstateen)
{
    return c->mstateen[n];
}

RV_SET(mstateen)
{
    c->mstateen[n] = v & stateen_mask(c, n);
}

// What the level above does not enable reads as zero and cannot be changed.
RV_GET(hstateen)
{
    return c->hstateen[n] & c->mstateen[n];
}

RV_SET(hstateen)
{
    uint64_t mask = stateen_mask(c, n) & ~RV_STATEEN_P1P13 & c->mstateen[n];
    c->hstateen[n] = (c->hstateen[n] & ~mask) | (v & mask);
}

RV_GET(sstateen)
{
    return 0;
}

RV_SET(sstateen) {}

static enum rv_access enabled(const struct rv_cpu *c, unsigned n, uint64_t bit)
{
    if (!rv_has(c, RV_FEAT_SMSTATEEN) || c->priv == RV_M)
        return RV_ALLOWED;
    if (!(c->mstateen[n] & bit))
        return RV_ILLEGAL;
    return c->virt && !(c->hstateen[n] & bit) ? RV_VIRTUAL : RV_ALLOWED;
}

enum rv_access rv_state_enabled(const struct rv_cpu *c, uint64_t bit)
{
    return enabled(c, 0, bit);
}

RV_CHECK(stateen)
{
    return enabled(c, number & 3, RV_STATEEN_SE);
}

RV_CHECK(senvcfg)
{
    return rv_state_enabled(c, RV_STATEEN_ENVCFG);
}

RV_CHECK(henvcfg)
{
    return rv_state_enabled(c, RV_STATEEN_ENVCFG);
}

RV_CHECK(hedelegh)
{
    return rv_state_enabled(c, RV_STATEEN_P1P13);
}
