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
enum {
    HCR_EN = 1 << 0,
    HCR_UIE = 1 << 1,
    HCR_LRENPIE = 1 << 2,
    HCR_NPIE = 1 << 3,
    HCR_VGRP0EIE = 1 << 4,
    HCR_VGRP0DIE = 1 << 5,
    HCR_VGRP1EIE = 1 << 6,
    HCR_VGRP1DIE = 1 << 7,
    HCR_TC = 1 << 10,
    HCR_TALL0 = 1 << 11,
    HCR_TALL1 = 1 << 12,
    HCR_TDIR = 1 << 14,
    HCR_WRITABLE = 0xff | HCR_TC | HCR_TALL0 | HCR_TALL1 | HCR_TDIR,
    HCR_EOI_SHIFT = 27,
    VMCR_VENG0 = 1 << 0,
    VMCR_VENG1 = 1 << 1,
    VMCR_VFIQEN = 1 << 3,
    VMCR_VCBPR = 1 << 4,
    VMCR_VEOIM = 1 << 9,
    MISR_EOI = 1 << 0,
    MISR_U = 1 << 1,
    MISR_LRENP = 1 << 2,
    MISR_NP = 1 << 3,
    MISR_VGRP0E = 1 << 4,
    MISR_VGRP0D = 1 << 5,
    MISR_VGRP1E = 1 << 6,
    MISR_VGRP1D = 1 << 7,
    MIN_VBPR = 7 - PRIORITY_BITS,
};
#define LR_EOI     (1ull << 41)
#define LR_GROUP   (1ull << 60)
#define LR_HW      (1ull << 61)
#define LR_PENDING (1ull << 62)
#define LR_ACTIVE  (1ull << 63)
#define LR_STATE   (LR_PENDING | LR_ACTIVE)

static uint32_t lr_intid(uint64_t lr)
{
    return (uint32_t)lr;
}
static uint8_t lr_prio(uint64_t lr)
{
    return (uint8_t)bits(lr, 55, 48);
}
static unsigned lr_group(uint64_t lr)
{
    return lr & LR_GROUP ? 1 : 0;
}

static uint8_t vpmr(const struct gic_virt *v)
{
    return (uint8_t)bits(v->vmcr, 31, 24);
}
static unsigned vbpr(const struct gic_virt *v, unsigned group)
{
    return (unsigned)(group ? bits(v->vmcr, 20, 18) : bits(v->vmcr, 23, 21));
}

static uint8_t virt_preemption_mask(const struct gic_virt *v, unsigned group)
{
    unsigned bpr = group && !(v->vmcr & VMCR_VCBPR) ? vbpr(v, 1) - 1 : vbpr(v, 0);
    return (uint8_t)(0xff << (bpr + 1));
}

static uint8_t virt_running(const struct gic_virt *v)
{
    uint32_t apr = v->apr[0] | v->apr[1];
    return apr ? (uint8_t)(__builtin_ctz(apr) << (8 - PRIORITY_BITS)) : PRIORITY_IDLE;
}

// The list register with the highest-priority pending interrupt of an enabled group, or -1.
static int virt_best(const struct gic_virt *v)
{
    int best = -1;
    for (int i = 0; i < LIST_REGS; i++) {
        uint64_t lr = v->lr[i];
        if ((lr & LR_STATE) != LR_PENDING || !bit(v->vmcr, lr_group(lr)))
            continue;
        if (best < 0 || lr_prio(lr) < lr_prio(v->lr[best]))
            best = i;
    }
    return best;
}

static bool virt_preempts(const struct gic_virt *v, uint64_t lr)
{
    uint8_t mask = virt_preemption_mask(v, lr_group(lr)), running = virt_running(v);
    if (lr_prio(lr) >= vpmr(v))
        return false;
    return running == PRIORITY_IDLE || (lr_prio(lr) & mask) < (running & mask);
}

static uint32_t eisr(const struct gic_virt *v)
{
    uint32_t m = 0;
    for (unsigned i = 0; i < LIST_REGS; i++)
        if (!(v->lr[i] & (LR_STATE | LR_HW)) && (v->lr[i] & LR_EOI))
            m |= 1u << i;
    return m;
}

static uint32_t elrsr(const struct gic_virt *v)
{
    uint32_t m = 0;
    for (unsigned i = 0; i < LIST_REGS; i++)
        if (!(v->lr[i] & LR_STATE) && ((v->lr[i] & LR_HW) || !(v->lr[i] & LR_EOI)))
            m |= 1u << i;
    return m;
}

static uint32_t misr(const struct gic_virt *v)
{
    uint32_t m = eisr(v) ? MISR_EOI : 0;
    unsigned valid = 0, pending = 0;
    for (unsigned i = 0; i < LIST_REGS; i++) {
        valid += (v->lr[i] & LR_STATE) != 0;
        pending += (v->lr[i] & LR_STATE) == LR_PENDING;
    }
    if ((v->hcr & HCR_UIE) && valid <= 1)
        m |= MISR_U;
    if ((v->hcr & HCR_LRENPIE) && v->hcr >> HCR_EOI_SHIFT)
        m |= MISR_LRENP;
    if ((v->hcr & HCR_NPIE) && !pending)
        m |= MISR_NP;
    if ((v->hcr & HCR_VGRP0EIE) && (v->vmcr & VMCR_VENG0))
        m |= MISR_VGRP0E;
    if ((v->hcr & HCR_VGRP0DIE) && !(v->vmcr & VMCR_VENG0))
        m |= MISR_VGRP0D;
    if ((v->hcr & HCR_VGRP1EIE) && (v->vmcr & VMCR_VENG1))
        m |= MISR_VGRP1E;
    if ((v->hcr & HCR_VGRP1DIE) && !(v->vmcr & VMCR_VENG1))
        m |= MISR_VGRP1D;
    return m;
}

static void drive(struct gicv3_cpu *c, enum gic_cpu_line line, bool level)
{
    if (bit(c->line_level, line) == level)
        return;
    c->line_level ^= (uint8_t)(1 << line);
    irq_set(&c->line[line], level);
}

void gic_virt_update(struct gicv3_cpu *c)
{
    const struct gic_virt *v = &c->virt;
    int best = v->hcr & HCR_EN ? virt_best(v) : -1;
    bool on = best >= 0 && virt_preempts(v, v->lr[best]);
    unsigned group = on ? lr_group(v->lr[best]) : 0;
    drive(c, GIC_CPU_VIRQ, on && group == 1);
    drive(c, GIC_CPU_VFIQ, on && group == 0);

    uint32_t m = 1u << INTID_MAINTENANCE, level = (v->hcr & HCR_EN) && misr(v) ? m : 0;
    if ((c->own.level & m) == level)
        return;
    c->own.level ^= m;
    if (level && (c->own.edge & m))
        c->own.latch |= m;
    gic_scan_own(c);
}

bool gic_virt_traps(const struct gicv3_cpu *c, unsigned reg)
{
    uint64_t hcr = c->virt.hcr;
    switch (reg) {
    case ICC_IAR0 ... ICC_BPR0:
    case ICC_AP0R0 ... ICC_AP0R0 + 3:
    case ICC_IGRPEN0:
        return hcr & HCR_TALL0;
    case ICC_AP1R0 ... ICC_AP1R0 + 3:
    case ICC_IAR1 ... ICC_BPR1:
    case ICC_IGRPEN1:
        return hcr & HCR_TALL1;
    case ICC_DIR:
        return hcr & (HCR_TC | HCR_TDIR);
    default: // the common registers and SGI generation
        return hcr & HCR_TC;
    }
}

static uint32_t virt_acknowledge(struct gic_virt *v, unsigned group)
{
    int best = v->hcr & HCR_EN ? virt_best(v) : -1;
    if (best < 0 || lr_group(v->lr[best]) != group || !virt_preempts(v, v->lr[best]))
        return INTID_SPURIOUS;
    uint64_t *lr = &v->lr[best];
    uint32_t intid = lr_intid(*lr);
    if (intid >= INTID_SECURE && intid <= INTID_SPURIOUS) {
        *lr &= ~LR_STATE; // the hypervisor's mistake: reported as it is, without effect
        return intid;
    }
    uint8_t prio = lr_prio(*lr) & virt_preemption_mask(v, group);
    v->apr[group] |= 1u << (prio >> (8 - PRIORITY_BITS));
    *lr &= ~LR_PENDING;
    if (intid < LPI_FIRST) // LPIs have no active state
        *lr |= LR_ACTIVE;
    return intid;
}

static void count_unlisted_eoi(struct gic_virt *v)
{
    uint64_t n = v->hcr >> HCR_EOI_SHIFT;
    v->hcr = bits_set(v->hcr, 31, HCR_EOI_SHIFT, (n + 1) & 31);
}

// Deactivates the virtual interrupt; gives the physical one to deactivate with it, or
// INTID_SPURIOUS.
static uint32_t virt_deactivate(struct gic_virt *v, uint32_t intid)
{
    for (unsigned i = 0; i < LIST_REGS; i++) {
        if (!(v->lr[i] & LR_ACTIVE) || lr_intid(v->lr[i]) != intid)
            continue;
        v->lr[i] &= ~LR_ACTIVE;
        uint32_t physical = (uint32_t)bits(v->lr[i], 44, 32);
        return v->lr[i] & LR_HW && physical < INTID_SECURE ? physical : INTID_SPURIOUS;
    }
    count_unlisted_eoi(v);
    return INTID_SPURIOUS;
}

static uint32_t virt_end(struct gic_virt *v, unsigned group, uint32_t intid)
{
    uint32_t apr = v->apr[0] | v->apr[1], lowest = apr & -apr;
    if ((intid >= INTID_SECURE && intid <= INTID_SPURIOUS) || !apr || !(v->apr[group] & lowest))
        return INTID_SPURIOUS;
    v->apr[group] &= ~lowest;
    if ((v->vmcr & VMCR_VEOIM) || intid >= LPI_FIRST)
        return INTID_SPURIOUS;
    return virt_deactivate(v, intid);
}

static uint32_t virt_highest(const struct gic_virt *v, unsigned group)
{
    int best = virt_best(v);
    return best >= 0 && lr_group(v->lr[best]) == group ? lr_intid(v->lr[best]) : INTID_SPURIOUS;
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
        *val = virt_acknowledge(v, reg == ICC_IAR1);
        gic_virt_update(c);
        break;
    case ICC_HPPIR0:
    case ICC_HPPIR1:
        *val = virt_highest(v, reg == ICC_HPPIR1);
        break;
    case ICC_BPR0:
        *val = vbpr(v, 0);
        break;
    case ICC_BPR1:
        *val = v->vmcr & VMCR_VCBPR ? MIN(vbpr(v, 0) + 1, 7u) : vbpr(v, 1);
        break;
    case ICC_AP0R0:
    case ICC_AP1R0:
        *val = v->apr[reg == ICC_AP1R0];
        break;
    case ICC_RPR:
        *val = virt_running(v);
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
        *val = vpmr(v);
        break;
    default:
        r = MEM_UNMAPPED;
    }
    mutex_unlock(&c->lock);
    return r;
}

static void vmcr_write(struct gic_virt *v, uint64_t val)
{
    const uint64_t writable = VMCR_VENG0 | VMCR_VENG1 | VMCR_VCBPR | VMCR_VEOIM | 7 << 18 | 7 << 21;
    v->vmcr = (val & (writable | (uint64_t)PRIORITY_MASK << 24)) | VMCR_VFIQEN;
    if (vbpr(v, 0) < MIN_VBPR)
        v->vmcr = bits_set(v->vmcr, 23, 21, MIN_VBPR);
    if (vbpr(v, 1) < MIN_VBPR + 1)
        v->vmcr = bits_set(v->vmcr, 20, 18, MIN_VBPR + 1);
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
        physical = virt_end(v, reg == ICC_EOIR1, intid);
        break;
    case ICC_DIR:
        if ((v->vmcr & VMCR_VEOIM) && intid < INTID_SECURE)
            physical = virt_deactivate(v, intid);
        break;
    case ICC_BPR0:
        vmcr_write(v, bits_set(v->vmcr, 23, 21, val & 7));
        break;
    case ICC_BPR1:
        if (!(v->vmcr & VMCR_VCBPR))
            vmcr_write(v, bits_set(v->vmcr, 20, 18, val & 7));
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
        vmcr_write(v, bits_set(v->vmcr, 31, 24, val & 0xff));
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
               1 << 20 | 1 << 19 | (LIST_REGS - 1);
        break;
    case ICH_MISR:
        *val = misr(v);
        break;
    case ICH_EISR:
        *val = eisr(v);
        break;
    case ICH_ELRSR:
        *val = elrsr(v);
        break;
    case ICH_VMCR:
        *val = v->vmcr;
        break;
    case ICH_LR0 ... ICH_LR_END - 1:
        if (reg - ICH_LR0 < LIST_REGS)
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
        vmcr_write(v, val);
        break;
    case ICH_LR0 ... ICH_LR_END - 1:
        if (reg - ICH_LR0 < LIST_REGS)
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
