// The virtual CPU interface of a GIC (gic_virt.h): which virtual interrupt is signalled,
// acknowledge, end, deactivation, and the conditions of the maintenance interrupt.
#include "device/irqchip/gic_virt.h"

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

static uint8_t virt_preemption_mask(const struct gic_virt *v, unsigned group)
{
    unsigned bpr = group && !(v->vmcr & VMCR_VCBPR) ? gic_virt_bpr(v, 1) - 1 : gic_virt_bpr(v, 0);
    return (uint8_t)(0xff << (bpr + 1));
}

uint8_t gic_virt_running(const struct gic_virt *v)
{
    uint32_t apr = v->apr[0] | v->apr[1];
    return apr ? (uint8_t)(__builtin_ctz(apr) << (8 - PRIORITY_BITS)) : PRIORITY_IDLE;
}

int gic_virt_best(const struct gic_virt *v)
{
    int best = -1;
    for (int i = 0; i < GIC_LIST_REGS; i++) {
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
    uint8_t mask = virt_preemption_mask(v, lr_group(lr)), running = gic_virt_running(v);
    if (lr_prio(lr) >= gic_virt_pmr(v))
        return false;
    return running == PRIORITY_IDLE || (lr_prio(lr) & mask) < (running & mask);
}

uint32_t gic_virt_eisr(const struct gic_virt *v)
{
    uint32_t m = 0;
    for (unsigned i = 0; i < GIC_LIST_REGS; i++)
        if (!(v->lr[i] & (LR_STATE | LR_HW)) && (v->lr[i] & LR_EOI))
            m |= 1u << i;
    return m;
}

uint32_t gic_virt_elrsr(const struct gic_virt *v)
{
    uint32_t m = 0;
    for (unsigned i = 0; i < GIC_LIST_REGS; i++)
        if (!(v->lr[i] & LR_STATE) && ((v->lr[i] & LR_HW) || !(v->lr[i] & LR_EOI)))
            m |= 1u << i;
    return m;
}

uint32_t gic_virt_misr(const struct gic_virt *v)
{
    uint32_t m = gic_virt_eisr(v) ? MISR_EOI : 0;
    unsigned valid = 0, pending = 0;
    for (unsigned i = 0; i < GIC_LIST_REGS; i++) {
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

int gic_virt_signal(const struct gic_virt *v)
{
    int best = v->hcr & HCR_EN ? gic_virt_best(v) : -1;
    return best >= 0 && virt_preempts(v, v->lr[best]) ? (int)lr_group(v->lr[best]) : -1;
}

int gic_virt_acknowledge(struct gic_virt *v, unsigned group)
{
    if (gic_virt_signal(v) != (int)group)
        return -1;
    int best = gic_virt_best(v);
    uint64_t *lr = &v->lr[best];
    uint32_t intid = lr_intid(*lr);
    if (intid >= INTID_SECURE && intid <= INTID_SPURIOUS) {
        *lr &= ~LR_STATE; // the hypervisor's mistake: reported as it is, without effect
        return best;
    }
    uint8_t prio = lr_prio(*lr) & virt_preemption_mask(v, group);
    v->apr[group] |= 1u << (prio >> (8 - PRIORITY_BITS));
    *lr &= ~LR_PENDING;
    if (intid < GIC_LPI_FIRST) // LPIs have no active state
        *lr |= LR_ACTIVE;
    return best;
}

static void count_unlisted_eoi(struct gic_virt *v)
{
    uint64_t n = v->hcr >> HCR_EOI_SHIFT;
    v->hcr = bits_set(v->hcr, 31, HCR_EOI_SHIFT, (n + 1) & 31);
}

uint32_t gic_virt_deactivate(struct gic_virt *v, uint32_t intid)
{
    for (unsigned i = 0; i < GIC_LIST_REGS; i++) {
        if (!(v->lr[i] & LR_ACTIVE) || lr_intid(v->lr[i]) != intid)
            continue;
        v->lr[i] &= ~LR_ACTIVE;
        uint32_t physical = (uint32_t)bits(v->lr[i], 44, 32);
        return v->lr[i] & LR_HW && physical < INTID_SECURE ? physical : INTID_SPURIOUS;
    }
    count_unlisted_eoi(v);
    return INTID_SPURIOUS;
}

uint32_t gic_virt_end(struct gic_virt *v, unsigned group, uint32_t intid)
{
    uint32_t apr = v->apr[0] | v->apr[1], lowest = apr & -apr;
    if ((intid >= INTID_SECURE && intid <= INTID_SPURIOUS) || !apr || !(v->apr[group] & lowest))
        return INTID_SPURIOUS;
    v->apr[group] &= ~lowest;
    if ((v->vmcr & VMCR_VEOIM) || intid >= GIC_LPI_FIRST)
        return INTID_SPURIOUS;
    return gic_virt_deactivate(v, intid);
}

void gic_virt_set_vmcr(struct gic_virt *v, uint64_t val)
{
    const uint64_t writable = VMCR_VENG0 | VMCR_VENG1 | VMCR_VCBPR | VMCR_VEOIM | 7 << 18 | 7 << 21;
    v->vmcr = (val & (writable | (uint64_t)PRIORITY_MASK << 24)) | VMCR_VFIQEN;
    if (gic_virt_bpr(v, 0) < MIN_VBPR)
        v->vmcr = bits_set(v->vmcr, 23, 21, MIN_VBPR);
    if (gic_virt_bpr(v, 1) < MIN_VBPR + 1)
        v->vmcr = bits_set(v->vmcr, 20, 18, MIN_VBPR + 1);
}

#define STATE(member_, kind_, ...)                                                                 \
    FIELD(struct gic_virt, member_, .kind = (kind_), .use = FIELD_STATE, __VA_ARGS__)
const struct field gic_virt_fields[] = {STATE(hcr, F_U64),
                                        STATE(vmcr, F_U64),
                                        STATE(lr, F_U64A, .len = GIC_LIST_REGS),
                                        STATE(apr, F_U32A, .len = 2),
                                        {0}};
#undef STATE
