// GICv3 virtual CPU interface (IHI 0069H, chapter 6 and 12.4): the hypervisor's ICH_* registers and
// list registers, and what a guest at EL1 does through ICV_* with the encodings of ICC_*. Not
// modelled: injection by a GICv4 ITS.
#include "device/irqchip/gicv3_state.h"

enum { // window of EL2: CRm - 8 in [5:3], op2 in [2:0]
    ICH_AP0R0 = 000,
    ICH_AP1R0 = 010,
    ICC_SRE_EL2 = 015,
    ICH_HCR = 030,
    ICH_VTR = 031,
    ICH_MISR = 032,
    ICH_EISR = 033,
    ICH_ELRSR = 035,
    ICH_VMCR = 037,
    ICH_LR0 = 040,
    ICH_LR_END = 060,
};

void gic_virt_update(struct gicv3_cpu *c)
{
    const struct gic_virt *v = &c->virt;
    int group = gic_virt_signal(v);
    gic_cpu_drive(c, GIC_CPU_VIRQ, group == 1);
    gic_cpu_drive(c, GIC_CPU_VFIQ, group == 0);

    bool wanted = (v->hcr & HCR_EN) && gic_virt_misr(v);
    if (gic_block_line(&c->own, INTID_MAINTENANCE, wanted))
        gic_scan_own(c);
}

bool gic_virt_traps(const struct gicv3_cpu *c, unsigned reg)
{
    uint64_t hcr = c->virt.hcr;
    switch (gic_concern_of(reg)) {
    case GIC_FOR_GROUP0:
        return hcr & HCR_TALL0;
    case GIC_FOR_GROUP1:
        return hcr & HCR_TALL1;
    default:
        return hcr & (reg == ICC_DIR ? HCR_TC | HCR_TDIR : HCR_TC);
    }
}

// The INTID in list register `i`, if it is of that group.
static uint32_t shown(const struct gic_virt *v, int i, unsigned group)
{
    return i >= 0 && bit(v->lr[i], 60) == group ? (uint32_t)v->lr[i] : INTID_SPURIOUS;
}

static uint64_t vctlr_read(const struct gic_virt *v)
{
    return (v->vmcr & VMCR_VCBPR ? 1 : 0) | (v->vmcr & VMCR_VEOIM ? 2 : 0) |
           (PRIORITY_BITS - 1) << 8 | 1 << 11 | 1 << 15;
}

enum mem_result gic_virt_read(struct gicv3_cpu *c, unsigned reg, uint64_t *val)
{
    struct gic_virt *v = &c->virt;
    enum mem_result r = MEM_OK;
    mutex_lock(&c->lock);
    *val = 0;
    switch (reg) {
    case ICC_IAR0:
    case ICC_IAR1:
        *val = shown(v, gic_virt_acknowledge(v, reg == ICC_IAR1), reg == ICC_IAR1);
        gic_virt_update(c);
        break;
    case ICC_HPPIR0:
    case ICC_HPPIR1:
        *val = shown(v, gic_virt_best(v), reg == ICC_HPPIR1);
        break;
    case ICC_BPR0:
        *val = gic_virt_bpr(v, 0);
        break;
    case ICC_BPR1:
        *val = v->vmcr & VMCR_VCBPR ? MIN(gic_virt_bpr(v, 0) + 1, 7u) : gic_virt_bpr(v, 1);
        break;
    case ICC_AP0R0:
    case ICC_AP1R0:
        *val = v->apr[reg == ICC_AP1R0];
        break;
    case ICC_RPR:
        *val = gic_virt_running(v);
        break;
    case ICC_CTLR:
        *val = vctlr_read(v);
        break;
    case ICC_IGRPEN0:
        *val = bit(v->vmcr, 0);
        break;
    case ICC_IGRPEN1:
        *val = bit(v->vmcr, 1);
        break;
    case ICC_PMR:
        *val = gic_virt_pmr(v);
        break;
    default:
        r = MEM_UNMAPPED;
    }
    mutex_unlock(&c->lock);
    return r;
}

enum mem_result gic_virt_write(struct gicv3_cpu *c, unsigned reg, uint64_t val)
{
    struct gic_virt *v = &c->virt;
    enum mem_result r = MEM_OK;
    uint32_t physical = INTID_SPURIOUS, intid = val & 0xffffff;
    mutex_lock(&c->lock);
    switch (reg) {
    case ICC_EOIR0:
    case ICC_EOIR1:
        physical = gic_virt_end(v, reg == ICC_EOIR1, intid);
        break;
    case ICC_DIR:
        if ((v->vmcr & VMCR_VEOIM) && intid < INTID_SECURE)
            physical = gic_virt_deactivate(v, intid);
        break;
    case ICC_BPR0:
        gic_virt_set_vmcr(v, bits_set(v->vmcr, 23, 21, val & 7));
        break;
    case ICC_BPR1:
        if (!(v->vmcr & VMCR_VCBPR))
            gic_virt_set_vmcr(v, bits_set(v->vmcr, 20, 18, val & 7));
        break;
    case ICC_AP0R0:
    case ICC_AP1R0:
        v->apr[reg == ICC_AP1R0] = (uint32_t)val;
        break;
    case ICC_CTLR:
        v->vmcr = bits_set(bits_set(v->vmcr, 4, 4, val & 1), 9, 9, val >> 1 & 1);
        break;
    case ICC_IGRPEN0:
        v->vmcr = bits_set(v->vmcr, 0, 0, val & 1);
        break;
    case ICC_IGRPEN1:
        v->vmcr = bits_set(v->vmcr, 1, 1, val & 1);
        break;
    case ICC_PMR:
        gic_virt_set_vmcr(v, bits_set(v->vmcr, 31, 24, val & 0xff));
        break;
    default:
        r = MEM_UNMAPPED;
    }
    gic_virt_update(c);
    mutex_unlock(&c->lock);
    if (physical != INTID_SPURIOUS)
        gic_deactivate(c, physical);
    return r;
}

static enum mem_result ich_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                struct mem_attrs a)
{
    struct gicv3_cpu *c = opaque;
    struct gic_virt *v = &c->virt;
    unsigned reg = (unsigned)off / 8;
    enum mem_result r = MEM_OK;
    *val = 0;
    mutex_lock(&c->lock);
    switch (reg) {
    case ICH_AP0R0:
    case ICH_AP1R0:
        *val = v->apr[reg == ICH_AP1R0];
        break;
    case ICC_SRE_EL2:
        *val = 0xf;
        break;
    case ICH_HCR:
        *val = v->hcr;
        break;
    case ICH_VTR: // priority and preemption bits, 24-bit INTIDs, A3V, nV4, TDS
        *val = (uint64_t)(PRIORITY_BITS - 1) << 29 | (PRIORITY_BITS - 1) << 26 | 1 << 23 | 1 << 21 |
               1 << 20 | 1 << 19 | (GIC_LIST_REGS - 1);
        break;
    case ICH_MISR:
        *val = gic_virt_misr(v);
        break;
    case ICH_EISR:
        *val = gic_virt_eisr(v);
        break;
    case ICH_ELRSR:
        *val = gic_virt_elrsr(v);
        break;
    case ICH_VMCR:
        *val = v->vmcr;
        break;
    case ICH_LR0 ... ICH_LR_END - 1:
        if (reg - ICH_LR0 < GIC_LIST_REGS)
            *val = v->lr[reg - ICH_LR0];
        else
            r = MEM_UNMAPPED;
        break;
    default:
        r = MEM_UNMAPPED;
    }
    mutex_unlock(&c->lock);
    return r;
}

static enum mem_result ich_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                 struct mem_attrs a)
{
    struct gicv3_cpu *c = opaque;
    struct gic_virt *v = &c->virt;
    unsigned reg = (unsigned)off / 8;
    enum mem_result r = MEM_OK;
    mutex_lock(&c->lock);
    switch (reg) {
    case ICH_AP0R0:
    case ICH_AP1R0:
        v->apr[reg == ICH_AP1R0] = (uint32_t)val;
        break;
    case ICC_SRE_EL2:
        break;
    case ICH_HCR:
        v->hcr = val & (HCR_WRITABLE | 0x1full << HCR_EOI_SHIFT);
        break;
    case ICH_VMCR:
        gic_virt_set_vmcr(v, val);
        break;
    case ICH_LR0 ... ICH_LR_END - 1:
        if (reg - ICH_LR0 < GIC_LIST_REGS)
            v->lr[reg - ICH_LR0] =
                val & ~((uint64_t)(0xff & ~PRIORITY_MASK) << 48 | 0x7ull << 45 | 0xfull << 56);
        else
            r = MEM_UNMAPPED;
        break;
    default:
        r = MEM_UNMAPPED;
    }
    gic_virt_update(c);
    mutex_unlock(&c->lock);
    return r;
}

const struct mmio_ops gicv3_el2_ops = {ich_read, ich_write, .min_size = 8, .max_size = 8};
