// The virtual CPU interface of a GIC, as state and functions without registers: GICv3 (IHI 0069H,
// chapter 6) and GICv2 (IHI 0048B, chapter 5) do the same behind different register layouts. The
// fields have GICv3's layout; GICv2 converts its list registers. The caller holds the lock of the
// CPU it belongs to.
#pragma once

#include "base/bits.h"
#include "device/irqchip/gic_block.h"

enum { GIC_LIST_REGS = 4 };

enum { // ICH_HCR_EL2, GICH_HCR
    HCR_EN = 1 << 0,
    HCR_UIE = 1 << 1,
    HCR_LRENPIE = 1 << 2,
    HCR_NPIE = 1 << 3,
    HCR_VGRP0EIE = 1 << 4,
    HCR_VGRP0DIE = 1 << 5,
    HCR_VGRP1EIE = 1 << 6,
    HCR_VGRP1DIE = 1 << 7,
    HCR_TC = 1 << 10, // GICv3 from here
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

struct gic_virt {
    uint64_t hcr, vmcr;
    uint64_t lr[GIC_LIST_REGS];
    uint32_t apr[2]; // active priorities of virtual groups 0 and 1
};

static inline unsigned gic_virt_pmr(const struct gic_virt *v)
{
    return (unsigned)bits(v->vmcr, 31, 24);
}
static inline unsigned gic_virt_bpr(const struct gic_virt *v, unsigned group)
{
    return (unsigned)(group ? bits(v->vmcr, 20, 18) : bits(v->vmcr, 23, 21));
}

extern const struct field gic_virt_fields[]; // saved state

// The group (0, 1) of the interrupt that is to be signalled now; -1: none.
int gic_virt_signal(const struct gic_virt *v);
uint8_t gic_virt_running(const struct gic_virt *v); // running priority
// The list register with the highest-priority pending interrupt of an enabled group; -1: none.
int gic_virt_best(const struct gic_virt *v);
uint32_t gic_virt_eisr(const struct gic_virt *v);
uint32_t gic_virt_elrsr(const struct gic_virt *v);
uint32_t gic_virt_misr(const struct gic_virt *v);
// Acknowledge an interrupt of `group`: the list register it came from, or -1.
int gic_virt_acknowledge(struct gic_virt *v, unsigned group);
// End (priority drop, and deactivation unless split), and deactivation alone; give the physical
// interrupt to deactivate with it, or INTID_SPURIOUS.
uint32_t gic_virt_end(struct gic_virt *v, unsigned group, uint32_t intid);
uint32_t gic_virt_deactivate(struct gic_virt *v, uint32_t intid);
void gic_virt_set_vmcr(struct gic_virt *v, uint64_t val); // reserved bits and minima applied
