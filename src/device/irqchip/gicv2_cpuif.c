// GICv2 CPU interface registers (IHI 0048B.b, 4.4): acknowledge, priorities and preemption, end of
// interrupt, deactivation.
#include "device/irqchip/gicv2_state.h"

#include <inttypes.h>

enum {
    GICC_CTLR = 0x00,
    GICC_PMR = 0x04,
    GICC_BPR = 0x08,
    GICC_IAR = 0x0c,
    GICC_EOIR = 0x10,
    GICC_RPR = 0x14,
    GICC_HPPIR = 0x18,
    GICC_ABPR = 0x1c,
    GICC_AIAR = 0x20,
    GICC_AEOIR = 0x24,
    GICC_AHPPIR = 0x28,
    GICC_APR0 = 0xd0,
    GICC_NSAPR0 = 0xe0,
    GICC_IIDR = 0xfc,
    GICC_DIR = 0x1000,
    MIN_BPR = 7 - PRIORITY_BITS,
};

static unsigned group_of(struct gicv2_cpu *c, uint32_t intid)
{
    return (unsigned)bit(gicv2_block(c, intid)->group, intid % 32);
}

static uint8_t preemption_mask(const struct gicv2_cpu *c, unsigned group)
{
    unsigned bpr = group && !(c->ctlr & CPU_CBPR) ? c->bpr[1] - 1u : c->bpr[0];
    return (uint8_t)(0xff << (bpr + 1));
}

static uint8_t running_priority(const struct gicv2_cpu *c)
{
    uint32_t apr = c->apr[0] | c->apr[1];
    return apr ? (uint8_t)(__builtin_ctz(apr) << (8 - PRIORITY_BITS)) : PRIORITY_IDLE;
}

bool gicv2_preempts(const struct gicv2_cpu *c, uint32_t intid)
{
    struct gicv2_cpu *cpu = (struct gicv2_cpu *)c;
    uint8_t prio = gicv2_block(cpu, intid)->prio[intid % 32];
    uint8_t mask = preemption_mask(c, group_of(cpu, intid)), running = running_priority(c);
    if (prio >= c->pmr)
        return false;
    return running == PRIORITY_IDLE || (prio & mask) < (running & mask);
}

void gicv2_cpu_reset(struct gicv2_cpu *c)
{
    c->ctlr = 0;
    c->pmr = 0;
    c->bpr[0] = MIN_BPR;
    c->bpr[1] = MIN_BPR + 1;
    memset(c->apr, 0, sizeof c->apr);
    c->virt = (struct gic_virt){0};
    gic_virt_set_vmcr(&c->virt, 0);
}

// What a read of (A)IAR or (A)HPPIR may show of the best interrupt (4.4.4, 4.4.11).
static uint32_t shown(struct gicv2_cpu *c, uint32_t intid, bool alias, enum gic_view view)
{
    if (intid == INTID_SPURIOUS)
        return intid;
    bool group1 = group_of(c, intid);
    if (view == GIC_VIEW_NONSECURE || alias)
        return group1 ? intid : INTID_SPURIOUS;
    return group1 && !(c->ctlr & CPU_ACKCTL) ? INTID_GROUP1 : intid;
}

// An SGI carries the number of the CPU it came from; with several, the lowest.
static uint32_t with_source(const struct gicv2_cpu *c, uint32_t intid)
{
    if (intid >= 16 || !c->sgi_from[intid])
        return intid;
    return intid | (uint32_t)__builtin_ctz(c->sgi_from[intid]) << 10;
}

static uint32_t acknowledge(struct gicv2_cpu *c, bool alias, enum gic_view view)
{
    uint32_t intid = gicv2_best(c);
    if (intid == INTID_SPURIOUS || !gicv2_preempts(c, intid))
        return INTID_SPURIOUS;
    uint32_t answer = shown(c, intid, alias, view);
    if (answer >= INTID_SECURE)
        return answer;
    struct gic_block *b = gicv2_block(c, intid);
    unsigned group = group_of(c, intid);
    uint8_t prio = b->prio[intid % 32] & preemption_mask(c, group);
    c->apr[group] |= 1u << (prio >> (8 - PRIORITY_BITS));
    answer = with_source(c, intid);
    if (intid < 16)
        c->sgi_from[intid] &= c->sgi_from[intid] - 1;
    if (intid >= 16 || !c->sgi_from[intid])
        b->latch &= ~(1u << intid % 32);
    b->active |= 1u << intid % 32;
    gicv2_update(c->gic);
    return answer;
}

static bool splits(const struct gicv2_cpu *c, enum gic_view view)
{
    return c->ctlr & (view == GIC_VIEW_NONSECURE ? CPU_EOIMODE_NS : CPU_EOIMODE);
}

static void end_of_interrupt(struct gicv2_cpu *c, uint32_t v, bool alias, enum gic_view view)
{
    uint32_t apr = c->apr[0] | c->apr[1], lowest = apr & -apr, intid = v & 0x3ff;
    if (intid >= INTID_SECURE || !apr)
        return;
    unsigned group = c->apr[0] & lowest ? 0 : 1;
    if (group == 0 && (alias || view == GIC_VIEW_NONSECURE)) // not theirs to end
        return;
    c->apr[group] &= ~lowest;
    if (!splits(c, view))
        gicv2_deactivate(c, intid);
    gicv2_update_cpu(c);
}

static void deactivate(struct gicv2_cpu *c, uint32_t v, enum gic_view view)
{
    uint32_t intid = v & 0x3ff;
    if (!splits(c, view) || intid >= c->gic->num_irq)
        return;
    if (view != GIC_VIEW_NONSECURE || group_of(c, intid))
        gicv2_deactivate(c, intid);
}

// The non-secure view of a priority: the upper half of the range, shifted (3.5).
static uint8_t to_nonsecure(uint8_t prio)
{
    return prio & 0x80 ? (uint8_t)(prio << 1) : 0;
}

static uint32_t ctlr_read(const struct gicv2_cpu *c, enum gic_view view)
{
    if (view != GIC_VIEW_NONSECURE)
        return c->ctlr;
    return (uint32_t)(bit(c->ctlr, 1) | bit(c->ctlr, 10) << 9);
}

static void ctlr_write(struct gicv2_cpu *c, enum gic_view view, uint32_t v)
{
    uint32_t mask = CPU_ENABLE_G0 | CPU_ENABLE_G1 | CPU_ACKCTL | CPU_FIQEN | CPU_CBPR | CPU_EOIMODE;
    if (view == GIC_VIEW_NONSECURE) {
        c->ctlr = (uint32_t)bits_set(c->ctlr, 1, 1, v & 1);
        c->ctlr = (uint32_t)bits_set(c->ctlr, 10, 10, v >> 9 & 1);
    } else {
        if (view == GIC_VIEW_SECURE)
            mask |= CPU_EOIMODE_NS;
        c->ctlr = v & mask;
    }
}

static void pmr_write(struct gicv2_cpu *c, enum gic_view view, uint8_t v)
{
    if (view == GIC_VIEW_NONSECURE) {
        if (!(c->pmr & 0x80))
            return;
        v = 0x80 | v >> 1;
    }
    c->pmr = v & PRIORITY_MASK;
}

static uint8_t running_read(const struct gicv2_cpu *c, enum gic_view view)
{
    uint8_t prio = running_priority(c);
    return view == GIC_VIEW_NONSECURE && prio != PRIORITY_IDLE ? to_nonsecure(prio) : prio;
}

// The non-secure BPR is the secure side's ABPR.
static uint8_t bpr_read(const struct gicv2_cpu *c, enum gic_view view)
{
    if (view != GIC_VIEW_NONSECURE)
        return c->bpr[0];
    return c->ctlr & CPU_CBPR ? MIN(c->bpr[0] + 1, 7) : c->bpr[1];
}

static void bpr_write(struct gicv2_cpu *c, enum gic_view view, bool alias, uint32_t v)
{
    bool group1 = view == GIC_VIEW_NONSECURE || alias;
    if (view == GIC_VIEW_NONSECURE && (c->ctlr & CPU_CBPR))
        return;
    c->bpr[group1] = (uint8_t)MAX(v & 7, (uint32_t)MIN_BPR + group1);
}

static bool cpu_reg_read(struct gicv2_cpu *c, uint32_t off, enum gic_view view, uint32_t *v)
{
    bool secure_only = view == GIC_VIEW_NONSECURE; // such registers are zero from the other side
    switch (off) {
    case GICC_CTLR:
        *v = ctlr_read(c, view);
        break;
    case GICC_PMR:
        *v = view == GIC_VIEW_NONSECURE ? to_nonsecure(c->pmr) : c->pmr;
        break;
    case GICC_BPR:
        *v = bpr_read(c, view);
        break;
    case GICC_IAR:
        *v = acknowledge(c, false, view);
        break;
    case GICC_AIAR:
        *v = secure_only ? 0 : acknowledge(c, true, view);
        break;
    case GICC_RPR:
        *v = running_read(c, view);
        break;
    case GICC_HPPIR:
    case GICC_AHPPIR:
        if (off == GICC_HPPIR || !secure_only)
            *v = with_source(c, shown(c, gicv2_best(c), off == GICC_AHPPIR, view));
        break;
    case GICC_ABPR:
        *v = secure_only ? 0 : c->bpr[1];
        break;
    case GICC_APR0: // the non-secure side finds its own priorities here
        *v = secure_only ? c->apr[1] >> 16 : c->apr[0];
        break;
    case GICC_NSAPR0:
        *v = secure_only ? 0 : c->apr[1];
        break;
    case GICC_IIDR:
        *v = 0x0202143b;
        break;
    default:
        return (off > GICC_APR0 && off < GICC_NSAPR0 + 0x10);
    }
    return true;
}

static bool cpu_reg_write(struct gicv2_cpu *c, uint32_t off, enum gic_view view, uint32_t v)
{
    bool denied = view == GIC_VIEW_NONSECURE;
    switch (off) {
    case GICC_CTLR:
        ctlr_write(c, view, v);
        break;
    case GICC_PMR:
        pmr_write(c, view, (uint8_t)v);
        break;
    case GICC_BPR:
        bpr_write(c, view, false, v);
        break;
    case GICC_ABPR:
        if (!denied)
            bpr_write(c, view, true, v);
        break;
    case GICC_EOIR:
        end_of_interrupt(c, v, false, view);
        break;
    case GICC_AEOIR:
        if (!denied)
            end_of_interrupt(c, v, true, view);
        break;
    case GICC_DIR:
        deactivate(c, v, view);
        break;
    case GICC_APR0:
        if (denied)
            c->apr[1] = (c->apr[1] & 0xffff) | v << 16;
        else
            c->apr[0] = v;
        break;
    case GICC_NSAPR0:
        if (!denied)
            c->apr[1] = v;
        break;
    default:
        return (off > GICC_APR0 && off < GICC_NSAPR0 + 0x10);
    }
    return true;
}

static enum mem_result cpu_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                struct mem_attrs attrs)
{
    struct gicv2 *g = opaque;
    uint32_t v = 0;
    mutex_lock(&g->lock);
    bool good = cpu_reg_read(gicv2_accessor(g, attrs), (uint32_t)off, gicv2_view(g, attrs), &v);
    mutex_unlock(&g->lock);
    *val = v;
    if (!good)
        log_guest("GICC read", "gicv2: read of CPU interface offset 0x%" PRIx64, off);
    return MEM_OK;
}

static enum mem_result cpu_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                 struct mem_attrs attrs)
{
    struct gicv2 *g = opaque;
    struct gicv2_cpu *c = gicv2_accessor(g, attrs);
    mutex_lock(&g->lock);
    bool good = cpu_reg_write(c, (uint32_t)off, gicv2_view(g, attrs), (uint32_t)val);
    gicv2_update_cpu(c);
    mutex_unlock(&g->lock);
    if (!good)
        log_guest("GICC write", "gicv2: write of 0x%" PRIx64 " to CPU interface offset 0x%" PRIx64,
                  val, off);
    return MEM_OK;
}

const struct mmio_ops gicv2_cpu_ops = {cpu_read, cpu_write, .min_size = 4, .max_size = 4};
