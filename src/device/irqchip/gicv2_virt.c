// GICv2 virtualization extensions (IHI 0048B.b, chapter 5): the hypervisor's control interface
// (GICH) and the virtual CPU interface (GICV) of the accessing CPU.
#include "device/irqchip/gicv2_state.h"

#include <inttypes.h>

enum {
    GICH_HCR = 0x00,
    GICH_VTR = 0x04,
    GICH_VMCR = 0x08,
    GICH_MISR = 0x10,
    GICH_EISR0 = 0x20,
    GICH_ELRSR0 = 0x30,
    GICH_APR = 0xf0,
    GICH_LR0 = 0x100,
    GICV_CTLR = 0x00,
    GICV_PMR = 0x04,
    GICV_BPR = 0x08,
    GICV_IAR = 0x0c,
    GICV_EOIR = 0x10,
    GICV_RPR = 0x14,
    GICV_HPPIR = 0x18,
    GICV_ABPR = 0x1c,
    GICV_AIAR = 0x20,
    GICV_AEOIR = 0x24,
    GICV_AHPPIR = 0x28,
    GICV_APR0 = 0xd0,
    GICV_IIDR = 0xfc,
    GICV_DIR = 0x1000,
    VMCR_ACKCTL = 1 << 2,
};

// List registers: [9:0] virtual id, [19:10] physical id (or EOI and source CPU), [27:23] priority,
// [29:28] state, 30 group, 31 hardware. struct gic_virt has GICv3's layout.
static uint64_t lr_widen(uint32_t lr)
{
    return bits(lr, 9, 0) | bits(lr, 19, 10) << 32 | bits(lr, 27, 23) << 51 |
           bits(lr, 29, 28) << 62 | bit(lr, 30) << 60 | bit(lr, 31) << 61;
}
static uint32_t lr_narrow(uint64_t lr)
{
    return (uint32_t)(bits(lr, 9, 0) | bits(lr, 41, 32) << 10 | bits(lr, 55, 51) << 23 |
                      bits(lr, 63, 62) << 28 | bit(lr, 60) << 30 | bit(lr, 61) << 31);
}

// GICv2 has two bits of VMCR that GICv3's system registers fix.
static void set_vmcr(struct gic_virt *v, uint64_t val)
{
    gic_virt_set_vmcr(v, val);
    v->vmcr =
        (v->vmcr & ~(uint64_t)(VMCR_ACKCTL | VMCR_VFIQEN)) | (val & (VMCR_ACKCTL | VMCR_VFIQEN));
}

static bool hyp_reg_read(struct gicv2_cpu *c, uint32_t off, uint32_t *val)
{
    struct gic_virt *v = &c->virt;
    switch (off) {
    case GICH_HCR:
        *val = (uint32_t)v->hcr;
        return true;
    case GICH_VTR:
        *val = (PRIORITY_BITS - 1u) << 29 | (PRIORITY_BITS - 1u) << 26 | (GIC_LIST_REGS - 1);
        return true;
    case GICH_VMCR:
        *val = (uint32_t)v->vmcr;
        return true;
    case GICH_MISR:
        *val = gic_virt_misr(v);
        return true;
    case GICH_EISR0:
        *val = gic_virt_eisr(v);
        return true;
    case GICH_ELRSR0:
        *val = gic_virt_elrsr(v);
        return true;
    case GICH_EISR0 + 4:
    case GICH_ELRSR0 + 4:
        return true;
    case GICH_APR:
        *val = v->apr[0] | v->apr[1];
        return true;
    case GICH_LR0 ... GICH_LR0 + 4 * GIC_LIST_REGS - 4:
        *val = lr_narrow(v->lr[(off - GICH_LR0) / 4]);
        return true;
    }
    return off >= GICH_LR0 && off < GICH_LR0 + 0x100;
}

static bool hyp_reg_write(struct gicv2_cpu *c, uint32_t off, uint32_t val)
{
    struct gic_virt *v = &c->virt;
    switch (off) {
    case GICH_HCR:
        v->hcr = val & (0xffu | 0x1fu << HCR_EOI_SHIFT);
        return true;
    case GICH_VMCR:
        set_vmcr(v, val);
        return true;
    case GICH_APR: // one register for both groups
        v->apr[0] = val;
        v->apr[1] = 0;
        return true;
    case GICH_LR0 ... GICH_LR0 + 4 * GIC_LIST_REGS - 4:
        v->lr[(off - GICH_LR0) / 4] = lr_widen(val);
        return true;
    }
    return off >= GICH_LR0 && off < GICH_LR0 + 0x100;
}

// The guest's interrupt number, with the source CPU of a virtual SGI.
static uint32_t lr_shown(uint64_t lr)
{
    uint32_t source = bit(lr, 61) ? 0 : (uint32_t)bits(lr, 34, 32) << 10;
    return (uint32_t)bits(lr, 9, 0) | source;
}

// IAR takes either group if AckCtl says so; AIAR takes group 1.
static int readable_group(const struct gic_virt *v, int group, bool alias)
{
    if (group < 0 || (alias && group == 0))
        return -1;
    return !alias && group == 1 && !(v->vmcr & VMCR_ACKCTL) ? -2 : group;
}

static uint32_t virt_iar(struct gic_virt *v, bool alias)
{
    int group = readable_group(v, gic_virt_signal(v), alias);
    if (group < 0)
        return group == -2 ? INTID_GROUP1 : INTID_SPURIOUS;
    int i = gic_virt_acknowledge(v, (unsigned)group);
    return i < 0 ? INTID_SPURIOUS : lr_shown(v->lr[i]);
}

static uint32_t virt_hppir(const struct gic_virt *v, bool alias)
{
    int i = gic_virt_best(v);
    int group = readable_group(v, i < 0 ? -1 : (int)bit(v->lr[i], 60), alias);
    if (group < 0)
        return group == -2 ? INTID_GROUP1 : INTID_SPURIOUS;
    return lr_shown(v->lr[i]);
}

static bool vcpu_reg_read(struct gicv2_cpu *c, uint32_t off, uint32_t *val)
{
    struct gic_virt *v = &c->virt;
    switch (off) {
    case GICV_CTLR: // the low bits of VMCR have its layout
        *val = v->vmcr & 0x21f;
        return true;
    case GICV_PMR:
        *val = gic_virt_pmr(v);
        return true;
    case GICV_BPR:
        *val = gic_virt_bpr(v, 0);
        return true;
    case GICV_ABPR:
        *val = gic_virt_bpr(v, 1);
        return true;
    case GICV_IAR:
    case GICV_AIAR:
        *val = virt_iar(v, off == GICV_AIAR);
        return true;
    case GICV_RPR:
        *val = gic_virt_running(v);
        return true;
    case GICV_HPPIR:
    case GICV_AHPPIR:
        *val = virt_hppir(v, off == GICV_AHPPIR);
        return true;
    case GICV_APR0:
        *val = v->apr[0] | v->apr[1];
        return true;
    case GICV_IIDR:
        *val = 0x0202143b;
        return true;
    }
    return false;
}

static bool vcpu_reg_write(struct gicv2_cpu *c, uint32_t off, uint32_t val)
{
    struct gic_virt *v = &c->virt;
    uint32_t intid = val & 0x3ff, physical = INTID_SPURIOUS;
    switch (off) {
    case GICV_CTLR:
        set_vmcr(v, (v->vmcr & ~0x21full) | (val & 0x21f));
        break;
    case GICV_PMR:
        set_vmcr(v, bits_set(v->vmcr, 31, 24, val & 0xff));
        break;
    case GICV_BPR:
        set_vmcr(v, bits_set(v->vmcr, 23, 21, val & 7));
        break;
    case GICV_ABPR:
        set_vmcr(v, bits_set(v->vmcr, 20, 18, val & 7));
        break;
    case GICV_EOIR: { // ends whichever group runs
        uint32_t apr = v->apr[0] | v->apr[1];
        physical = gic_virt_end(v, apr && !(v->apr[0] & apr & -apr), intid);
        break;
    }
    case GICV_AEOIR:
        physical = gic_virt_end(v, 1, intid);
        break;
    case GICV_DIR:
        if (v->vmcr & VMCR_VEOIM)
            physical = gic_virt_deactivate(v, intid);
        break;
    case GICV_APR0:
        v->apr[0] = val;
        v->apr[1] = 0;
        break;
    default:
        return false;
    }
    if (physical != INTID_SPURIOUS)
        gicv2_deactivate(c, physical);
    return true;
}

typedef bool reg_read_fn(struct gicv2_cpu *c, uint32_t off, uint32_t *val);
typedef bool reg_write_fn(struct gicv2_cpu *c, uint32_t off, uint32_t val);

static enum mem_result window_read(struct gicv2 *g, gpa_t off, uint64_t *val, struct mem_attrs a,
                                   reg_read_fn *read)
{
    struct gicv2_cpu *c = gicv2_accessor(g, a);
    uint32_t v = 0;
    mutex_lock(&g->lock);
    bool good = read(c, (uint32_t)off, &v);
    gicv2_update_cpu(c);
    mutex_unlock(&g->lock);
    *val = v;
    if (!good)
        log_guest("GICH or GICV read", "gicv2: read of virtual interface offset 0x%" PRIx64, off);
    return MEM_OK;
}

static enum mem_result window_write(struct gicv2 *g, gpa_t off, uint64_t val, struct mem_attrs a,
                                    reg_write_fn *write)
{
    struct gicv2_cpu *c = gicv2_accessor(g, a);
    mutex_lock(&g->lock);
    bool good = write(c, (uint32_t)off, (uint32_t)val);
    gicv2_update_cpu(c);
    mutex_unlock(&g->lock);
    if (!good)
        log_guest("GICH or GICV write", "gicv2: write to virtual interface offset 0x%" PRIx64, off);
    return MEM_OK;
}

static enum mem_result hyp_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                struct mem_attrs attrs)
{
    return window_read(opaque, off, val, attrs, hyp_reg_read);
}
static enum mem_result hyp_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                 struct mem_attrs attrs)
{
    return window_write(opaque, off, val, attrs, hyp_reg_write);
}
static enum mem_result vcpu_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                 struct mem_attrs attrs)
{
    return window_read(opaque, off, val, attrs, vcpu_reg_read);
}
static enum mem_result vcpu_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    return window_write(opaque, off, val, attrs, vcpu_reg_write);
}

const struct mmio_ops gicv2_hyp_ops = {hyp_read, hyp_write, .min_size = 4, .max_size = 4};
const struct mmio_ops gicv2_vcpu_ops = {vcpu_read, vcpu_write, .min_size = 4, .max_size = 4};
