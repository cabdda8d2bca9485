// Arm Generic Interrupt Controller version 2 (Arm IHI 0048B.b): the device, its input lines, and
// what each CPU is interrupted by. An SPI with several target CPUs is offered to all of them; the
// first to acknowledge it takes it. Not modelled: bypass of the CPU interface, power management
// handshakes.
#include "device/irqchip/gicv2_state.h"

static uint32_t deliverable(const struct gic_block *b)
{
    return gic_block_pending(b) & b->enable & ~b->active;
}

static bool group_enabled(const struct gicv2_cpu *c, unsigned group)
{
    return (c->gic->ctlr & (DIST_ENABLE_G0 << group)) && (c->ctlr & (CPU_ENABLE_G0 << group));
}

static void consider(struct gicv2_cpu *c, uint32_t m, uint32_t first, uint32_t *best, uint8_t *prio)
{
    const struct gic_block *b = gicv2_block(c, first);
    for (; m; m &= m - 1) {
        unsigned i = (unsigned)__builtin_ctz(m);
        uint32_t intid = first + i;
        if (intid >= GIC_INTERNAL && !bit(c->gic->target[intid], c->index))
            continue;
        if (!group_enabled(c, (unsigned)bit(b->group, i)))
            continue;
        if (*best == INTID_SPURIOUS || b->prio[i] < *prio) {
            *best = intid;
            *prio = b->prio[i];
        }
    }
}

uint32_t gicv2_best(struct gicv2_cpu *c)
{
    uint32_t best = INTID_SPURIOUS;
    uint8_t prio = PRIORITY_IDLE;
    consider(c, deliverable(&c->own), 0, &best, &prio);
    for (uint32_t w = 1; w < c->gic->num_irq / 32; w++)
        consider(c, deliverable(&c->gic->spi[w]), w * 32, &best, &prio);
    return best;
}

static void drive(struct gicv2_cpu *c, enum gicv2_cpu_line line, bool level)
{
    if (bit(c->line_level, line) == level)
        return;
    c->line_level ^= (uint8_t)(1 << line);
    irq_set(&c->line[line], level);
}

void gicv2_update_cpu(struct gicv2_cpu *c)
{
    if (c->gic->has_el2) // else that PPI is anybody's
        gic_block_line(&c->own, INTID_MAINTENANCE,
                       (c->virt.hcr & HCR_EN) && gic_virt_misr(&c->virt));
    int group = gic_virt_signal(&c->virt);
    drive(c, GICV2_VIRQ, group == 1 || (group == 0 && !(c->virt.vmcr & VMCR_VFIQEN)));
    drive(c, GICV2_VFIQ, group == 0 && (c->virt.vmcr & VMCR_VFIQEN));

    uint32_t best = gicv2_best(c);
    bool on = best != INTID_SPURIOUS && gicv2_preempts(c, best);
    bool fiq = on && !bit(gicv2_block(c, best)->group, best % 32) && (c->ctlr & CPU_FIQEN);
    drive(c, GICV2_IRQ, on && !fiq);
    drive(c, GICV2_FIQ, fiq);
}

void gicv2_update(struct gicv2 *g)
{
    for (unsigned i = 0; i < g->num_cpu; i++)
        gicv2_update_cpu(&g->cpu[i]);
}

void gicv2_deactivate(struct gicv2_cpu *c, uint32_t intid)
{
    if (intid >= c->gic->num_irq)
        return;
    gicv2_block(c, intid)->active &= ~(1u << intid % 32);
    gicv2_update(c->gic);
}

static void spi_set(void *opaque, int n, int level)
{
    struct gicv2 *g = opaque;
    mutex_lock(&g->lock);
    if (gic_block_line(&g->spi[n / 32], (unsigned)n % 32, level))
        for (unsigned i = 0; i < g->num_cpu; i++)
            if (bit(g->target[n], i))
                gicv2_update_cpu(&g->cpu[i]);
    mutex_unlock(&g->lock);
}

static void ppi_set(void *opaque, int n, int level)
{
    struct gicv2_cpu *c = opaque;
    mutex_lock(&c->gic->lock);
    if (gic_block_line(&c->own, (unsigned)n, level))
        gicv2_update_cpu(c);
    mutex_unlock(&c->gic->lock);
}

static struct gicv2 *to_gic(struct device *d)
{
    return container_of(d, struct gicv2, sys.dev);
}

struct irq gicv2_spi(struct device *d, unsigned intid)
{
    BUG_ON(intid < GIC_INTERNAL || intid >= to_gic(d)->num_irq);
    return (struct irq){spi_set, to_gic(d), (int)intid};
}

struct irq gicv2_ppi(struct device *d, unsigned cpu, unsigned intid)
{
    BUG_ON(cpu >= to_gic(d)->num_cpu || intid < 16 || intid >= GIC_INTERNAL);
    return (struct irq){ppi_set, &to_gic(d)->cpu[cpu], (int)intid};
}

void gicv2_set_cpu(struct device *d, unsigned i, const struct irq lines[GICV2_LINES])
{
    struct gicv2 *g = to_gic(d);
    BUG_ON(i >= g->num_cpu);
    memcpy(g->cpu[i].line, lines, sizeof g->cpu[i].line);
}

static int gicv2_init(struct device *d, struct err *e)
{
    struct gicv2 *g = to_gic(d);
    if (!g->num_cpu || g->num_cpu > GICV2_CPUS)
        return err_set(e, "gicv2: num-cpu is %u, must be 1 to %u", g->num_cpu, GICV2_CPUS);
    if (g->num_irq < 64 || g->num_irq > 992 || g->num_irq % 32)
        return err_set(e, "gicv2: num-irq is %u, must be a multiple of 32 from 64 to 992",
                       g->num_irq);
    pthread_mutex_init(&g->lock, NULL);
    for (unsigned i = 0; i < g->num_cpu; i++) {
        g->cpu[i].gic = g;
        g->cpu[i].index = i;
    }
    sys_add_window(&g->sys, "gicv2_dist", 0x1000, &gicv2_dist_ops, g);
    sys_add_window(&g->sys, "gicv2_cpu", 0x2000, &gicv2_cpu_ops, g);
    if (g->has_el2) {
        sys_add_window(&g->sys, "gicv2_hyp", 0x1000, &gicv2_hyp_ops, g);
        sys_add_window(&g->sys, "gicv2_vcpu", 0x2000, &gicv2_vcpu_ops, g);
    }
    return 0;
}

static void gicv2_reset(struct device *d)
{
    struct gicv2 *g = to_gic(d);
    mutex_lock(&g->lock);
    g->ctlr = 0;
    for (unsigned w = 1; w < 32; w++)
        g->spi[w] =
            (struct gic_block){.level = g->spi[w].level, .group = g->reset_nonsecure ? ~0u : 0};
    // With one CPU there is nothing to choose: its interrupts always go to it.
    memset(g->target, g->num_cpu == 1, sizeof g->target);
    for (unsigned i = 0; i < g->num_cpu; i++) {
        struct gicv2_cpu *c = &g->cpu[i];
        gic_block_reset(&c->own, g->reset_nonsecure);
        c->own.edge = c->own.enable = 0xffff; // SGIs cannot be disabled
        memset(c->sgi_from, 0, sizeof c->sgi_from);
        gicv2_cpu_reset(c);
        c->pmr = g->reset_nonsecure ? 0x80 : 0; // from where the non-secure side may raise it
    }
    gicv2_update(g);
    mutex_unlock(&g->lock);
}

#define STATE(member_, kind_, ...)                                                                 \
    FIELD(struct gicv2_cpu, member_, .kind = (kind_), .use = FIELD_STATE, __VA_ARGS__)
static const struct field cpu_fields[] = {
    STATE(own, F_STRUCT, .len = 1, .sub = gic_block_fields, .stride = sizeof(struct gic_block)),
    STATE(sgi_from, F_U8A, .len = 16),
    STATE(ctlr, F_U32),
    STATE(pmr, F_U8),
    STATE(bpr, F_U8A, .len = 2, .max = 7),
    STATE(apr, F_U32A, .len = 2),
    STATE(virt, F_STRUCT, .len = 1, .sub = gic_virt_fields, .stride = sizeof(struct gic_virt)),
    {0},
};
#undef STATE

// The lines are driven anew, whatever the CPUs were told before.
static int gicv2_post_load(struct device *d, struct err *e)
{
    struct gicv2 *g = to_gic(d);
    mutex_lock(&g->lock);
    for (unsigned i = 0; i < g->num_cpu; i++) {
        for (unsigned n = 0; n < GICV2_LINES; n++)
            irq_set(&g->cpu[i].line[n], 0);
        g->cpu[i].line_level = 0;
    }
    gicv2_update(g);
    mutex_unlock(&g->lock);
    return 0;
}

static const struct field gicv2_fields[] = {
    FIELD(struct gicv2, num_cpu, .name = "num-cpu", .kind = F_U32, .use = FIELD_PROP, .init = 1),
    FIELD(struct gicv2, num_irq, .name = "num-irq", .kind = F_U32, .use = FIELD_PROP, .init = 288),
    FIELD(struct gicv2, has_el3, .name = "has-security-extensions", .kind = F_BOOL,
          .use = FIELD_PROP),
    FIELD(struct gicv2, has_el2, .name = "has-virtualization-extensions", .kind = F_BOOL,
          .use = FIELD_PROP),
    FIELD(struct gicv2, reset_nonsecure, .name = "reset-nonsecure", .kind = F_BOOL,
          .use = FIELD_PROP),
    FIELD(struct gicv2, ctlr, .kind = F_U32, .use = FIELD_STATE, .max = 3),
    FIELD(struct gicv2, spi, .kind = F_STRUCT, .use = FIELD_STATE, .len = 32,
          .sub = gic_block_fields, .stride = sizeof(struct gic_block)),
    FIELD(struct gicv2, target, .kind = F_U8A, .use = FIELD_STATE, .len = GICV2_IRQS),
    FIELD(struct gicv2, cpu, .kind = F_STRUCT, .use = FIELD_STATE, .len = GICV2_CPUS,
          .sub = cpu_fields, .stride = sizeof(struct gicv2_cpu)),
    {0},
};

const struct device_type gicv2_type = {
    .name = "arm_gic",
    .desc = "Arm Generic Interrupt Controller version 2",
    .category = "Misc devices",
    .size = sizeof(struct gicv2),
    .fields = gicv2_fields,
    .base = &sys_device_base,
    .init = gicv2_init,
    .reset = gicv2_reset,
    .post_load = gicv2_post_load,
};
