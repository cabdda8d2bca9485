// Registers of the supervisor, and those the hypervisor extension adds. RISC-V Instruction Set
// Manual, volume II, chapters 10 (supervisor) and 15 (hypervisor). A supervisor in a virtual
// machine reaches its own set under the same numbers; the functions here choose it by the hart's
// virtualization mode, and those of the vs registers name it.
#include "isa/riscv/csr.h"
#include "isa/riscv/system/system.h"

#include <stdatomic.h>

static uint64_t status_view(const struct rv_cpu *c, uint64_t v)
{
    uint64_t r = v & (RV_SIE | RV_SPIE | RV_SPP | RV_FS | RV_VS | RV_SUM | RV_MXR);
    bool dirty = (v & RV_FS) == RV_FS || (v & RV_VS) == RV_VS;
    return r | (v & RV_UXL_FIELD) | (dirty ? RV_STATUS_SD : 0);
}

static void status_write(struct rv_cpu *c, uint64_t *status, uint64_t v)
{
    uint64_t mask = rv_status_mask(c) | rv_uxl_mask(c, v);
    *status = (*status & ~mask) | (v & mask);
    rv_state_changed(c);
}

RV_GET(sstatus)
{
    return status_view(c, c->virt ? c->vsstatus : c->mstatus);
}

RV_SET(sstatus)
{
    status_write(c, c->virt ? &c->vsstatus : &c->mstatus, v);
}

RV_GET(vsstatus)
{
    return status_view(c, c->vsstatus);
}

RV_SET(vsstatus)
{
    status_write(c, &c->vsstatus, v);
}

// ---- interrupts ----

// The virtual supervisor's interrupts are the hypervisor's VS ones, a number lower.
RV_GET(vsie)
{
    return (c->mie & c->hideleg & RV_INTS_VS) >> 1;
}

RV_SET(vsie)
{
    uint64_t mask = c->hideleg & RV_INTS_VS;
    rv_set_mie(c, 0, (c->mie & ~mask) | (v << 1 & mask));
}

RV_GET(vsip)
{
    return (rv_pending(c) & c->hideleg & RV_INTS_VS) >> 1;
}

RV_SET(vsip)
{
    uint64_t mask = c->hideleg & 1ull << RV_INT_VSSI;
    rv_set_pending(c, mask, v << 1);
}

RV_GET(sie)
{
    if (c->virt)
        return rv_get_vsie(c, 0);
    return (c->mie & c->mideleg & rv_super_ints(c)) | (c->aia.sie & rv_injectable(c));
}

RV_SET(sie)
{
    uint64_t mask = c->mideleg & rv_super_ints(c);
    if (c->virt) {
        rv_set_vsie(c, 0, v);
        return;
    }
    c->aia.sie = v & rv_injectable(c);
    rv_set_mie(c, 0, (c->mie & ~mask) | (v & mask));
}

RV_GET(sip)
{
    if (c->virt)
        return rv_get_vsip(c, 0);
    return (rv_pending(c) & c->mideleg & rv_super_ints(c)) | rv_injected(c);
}

RV_SET(sip)
{
    uint64_t mask = c->mideleg & rv_super_ints(c) & (1ull << RV_INT_SSI | 1ull << RV_INT_LCOFI);
    if (c->virt) {
        rv_set_vsip(c, 0, v);
        return;
    }
    uint64_t injected = rv_injectable(c) & 1ull << RV_INT_SSI;
    c->aia.mvip = (c->aia.mvip & ~injected) | (v & injected);
    rv_set_pending(c, mask, v);
}

RV_GET(hideleg)
{
    return c->hideleg;
}

RV_SET(hideleg)
{
    c->hideleg = v & RV_INTS_VS;
    rv_update_interrupts(c);
}

RV_GET(hie)
{
    return c->mie & RV_INTS_HS;
}

RV_SET(hie)
{
    rv_set_mie(c, 0, (c->mie & ~RV_INTS_HS) | (v & RV_INTS_HS));
}

RV_GET(hip)
{
    return rv_pending(c) & RV_INTS_HS;
}

RV_SET(hip)
{
    const uint64_t mask = 1ull << RV_INT_VSSI;
    rv_set_pending(c, mask, v);
}

RV_GET(hvip)
{
    return c->mip & RV_INTS_VS;
}

RV_SET(hvip)
{
    rv_set_pending(c, RV_INTS_VS, v);
}

static uint64_t guest_lines(const struct rv_cpu *c)
{
    return mask_low(c->guests) << 1;
}

RV_GET(hgeip)
{
    return atomic_load(&c->lines) >> RV_LINE_GUEST & guest_lines(c);
}

RV_GET(hgeie)
{
    return c->hgeie;
}

RV_SET(hgeie)
{
    c->hgeie = v & guest_lines(c);
    rv_update_interrupts(c);
}

// ---- hypervisor status and configuration ----

RV_GET(hstatus)
{
    return c->hstatus | (c->rv32 ? 0 : RV_VSXL);
}

RV_SET(hstatus)
{
    const uint64_t hupmm = rv_has(c, RV_FEAT_SSNPM) && bits(v, 49, 48) != 1 ? RV_HUPMM : 0;
    const uint64_t mask =
        RV_HGVA | RV_HSPV | RV_HSPVP | RV_HHU | RV_VTVM | RV_VTW | RV_VTSR | hupmm;
    uint64_t guest = bits(v, 17, 12);
    c->hstatus = (c->hstatus & ~mask) | (v & mask);
    if (guest <= c->guests)
        c->hstatus = (c->hstatus & ~RV_VGEIN) | guest << 12;
    rv_state_changed(c);
}

RV_GET(henvcfg)
{
    return c->henvcfg;
}

RV_SET(henvcfg)
{
    uint64_t upper = c->menvcfg & (RV_STCE | RV_PBMTE | RV_ADUE), old = c->henvcfg;
    uint64_t pmm = rv_has(c, RV_FEAT_SSNPM) && bits(v, 33, 32) != 1 ? RV_PMM : 0;
    uint64_t mask = RV_FIOM | rv_cache_mask(c, v) | upper | pmm;
    c->henvcfg = (v & mask) | (old & (RV_PMM | RV_CBIE) & ~mask);
    rv_state_changed(c);
    if ((old ^ c->henvcfg) & (RV_PBMTE | RV_ADUE))
        rv_flush_all(c);
    rv_timer_update(c, RV_TIMER_VS);
}

RV_GET(htimedelta)
{
    return c->htimedelta;
}

RV_SET(htimedelta)
{
    c->htimedelta = v;
    rv_timer_update(c, RV_TIMER_VS);
}

// ---- timers (Sstc) ----

RV_GET(vstimecmp)
{
    return c->vs.timecmp;
}

RV_SET(vstimecmp)
{
    __atomic_store_n(&c->vs.timecmp, v, __ATOMIC_SEQ_CST);
    rv_timer_update(c, RV_TIMER_VS);
}

RV_GET(stimecmp)
{
    return c->virt ? c->vs.timecmp : c->s.timecmp;
}

RV_SET(stimecmp)
{
    if (c->virt) {
        rv_set_vstimecmp(c, 0, v);
        return;
    }
    __atomic_store_n(&c->s.timecmp, v, __ATOMIC_SEQ_CST);
    rv_timer_update(c, RV_TIMER_S);
}

RV_CHECK(stimecmp)
{
    const uint64_t tm = 1 << 1;
    if (c->priv == RV_M)
        return RV_ALLOWED;
    if (!(c->menvcfg & RV_STCE) || !(c->mcounteren & tm))
        return RV_ILLEGAL;
    if (c->virt && write && c->aia.hvictl & RV_HVICTL_VTI)
        return RV_VIRTUAL;
    return c->virt && (!(c->henvcfg & RV_STCE) || !(c->hcounteren & tm)) ? RV_VIRTUAL : RV_ALLOWED;
}

// ---- address translation ----

// A write that names a mode the hart lacks changes nothing.
static bool atp_write(struct rv_cpu *c, uint64_t *atp, uint64_t v)
{
    if (!rv_atp_mode_valid(c, RV_ATP_MODE(v)))
        return false;
    *atp = v;
    rv_state_changed(c);
    return true;
}

RV_GET(satp)
{
    return c->virt ? c->vs.atp : c->s.atp;
}

RV_SET(satp)
{
    atp_write(c, c->virt ? &c->vs.atp : &c->s.atp, v);
}

RV_GET(vsatp)
{
    return c->vs.atp;
}

RV_SET(vsatp)
{
    atp_write(c, &c->vs.atp, v);
}

RV_CHECK(satp)
{
    if (c->virt)
        return c->hstatus & RV_VTVM ? RV_VIRTUAL : RV_ALLOWED;
    return c->priv == RV_S && (c->mstatus & RV_TVM) ? RV_ILLEGAL : RV_ALLOWED;
}

RV_GET(hgatp)
{
    return c->hgatp;
}

// The root table is four pages: PPN is a multiple of four. VMIDs have 14 bits. A mode that the hart
// lacks is not written, the rest is.
RV_SET(hgatp)
{
    const uint64_t mode = 15ull << 60;
    if (!rv_atp_mode_valid(c, RV_ATP_MODE(v)))
        v = (v & ~mode) | (c->hgatp & mode);
    atp_write(c, &c->hgatp, v & ~(3ull << 58) & ~3ull);
}

RV_CHECK(hgatp)
{
    return c->priv == RV_S && (c->mstatus & RV_TVM) ? RV_ILLEGAL : RV_ALLOWED;
}
