// Arm Generic Interrupt Controller version 3 (Arm IHI 0069H): the device, its input lines and the
// choice of the highest-priority pending interrupt of each CPU. Affinity routing is always on in
// both security states (no GICv2 compatibility); SPIs go to one CPU (no 1-of-N); no extended INTID
// ranges, NMIs, or direct injection of virtual LPIs (GICv4).
#include "device/irqchip/gicv3_state.h"

#include <stdlib.h>

enum gic_group gic_block_group(const struct gicv3 *g, const struct gic_block *b, unsigned i)
{
    if (bit(b->group, i))
        return GROUP_1NS;
    return !gic_is_ds(g) && bit(b->grpmod, i) ? GROUP_1S : GROUP_0;
}

struct gicv3_cpu *gic_cpu_by_affinity(struct gicv3 *g, uint32_t affinity)
{
    return map_get(&g->by_affinity, affinity);
}

// The groups of which this CPU gets interrupts: enabled in the distributor and at the CPU.
static bool group_enabled(const struct gicv3_cpu *c, enum gic_group group)
{
    static const uint8_t dist[GROUPS] = {
        [GROUP_0] = CTLR_ENABLE_G0,
        [GROUP_1S] = CTLR_ENABLE_G1S,
        [GROUP_1NS] = CTLR_ENABLE_G1NS,
    };
    return (c->gic->ctlr & dist[group]) && bit(c->igrpen, group);
}

static struct gic_pending candidate(const struct gicv3_cpu *c, const struct gic_block *b,
                                    uint32_t intid)
{
    unsigned i = intid % 32;
    enum gic_group group = gic_block_group(c->gic, b, i);
    if (!group_enabled(c, group))
        return GIC_NOTHING;
    return (struct gic_pending){intid, b->prio[i], group};
}

static uint32_t deliverable(const struct gic_block *b)
{
    return gic_block_pending(b) & b->enable & ~b->active;
}

static void choose_best(struct gicv3_cpu *c)
{
    c->best = c->own_best;
    if (gic_better(c->spi_best, c->best))
        c->best = c->spi_best;
    if (gic_better(c->lpi_best, c->best))
        c->best = c->lpi_best;
    gic_cpu_update(c);
}

void gic_scan_own(struct gicv3_cpu *c)
{
    c->own_best = GIC_NOTHING;
    for (uint32_t m = deliverable(&c->own); m; m &= m - 1) {
        struct gic_pending p = candidate(c, &c->own, (uint32_t)__builtin_ctz(m));
        if (gic_better(p, c->own_best))
            c->own_best = p;
    }
    choose_best(c);
}

void gic_scan_spis(struct gicv3_cpu *c)
{
    struct gicv3 *g = c->gic;
    c->spi_best = GIC_NOTHING;
    for (unsigned w = 1; w < g->num_irq / 32; w++) {
        for (uint32_t m = deliverable(&g->spi[w]); m; m &= m - 1) {
            uint32_t intid = w * 32 + (uint32_t)__builtin_ctz(m);
            if (g->target[intid] != (int)c->index)
                continue;
            struct gic_pending p = candidate(c, &g->spi[w], intid);
            if (gic_better(p, c->spi_best))
                c->spi_best = p;
        }
    }
    choose_best(c);
}

void gic_scan_lpis(struct gicv3_cpu *c)
{
    c->lpi_best = group_enabled(c, GROUP_1NS) ? gic_lpi_best(c) : GIC_NOTHING;
    choose_best(c);
}

// An SPI that became the best is taken over directly; only one that was the best and is not any
// more makes us look at all of them.
void gic_spi_changed(struct gicv3 *g, uint32_t intid)
{
    if (g->target[intid] == NO_CPU)
        return;
    struct gicv3_cpu *c = &g->cpu[g->target[intid]];
    const struct gic_block *b = &g->spi[intid / 32];
    mutex_lock(&c->lock);
    struct gic_pending p = bit(deliverable(b), intid % 32) ? candidate(c, b, intid) : GIC_NOTHING;
    if (c->spi_best.intid == intid) {
        gic_scan_spis(c);
    } else if (gic_better(p, c->spi_best)) {
        c->spi_best = p;
        choose_best(c);
    }
    mutex_unlock(&c->lock);
}

void gic_scan_everything(struct gicv3 *g)
{
    for (unsigned i = 0; i < g->num_cpu; i++) {
        struct gicv3_cpu *c = &g->cpu[i];
        mutex_lock(&c->lock);
        gic_scan_own(c);
        gic_scan_lpis(c);
        gic_scan_spis(c);
        mutex_unlock(&c->lock);
    }
}

void gic_deactivate(struct gicv3_cpu *c, uint32_t intid)
{
    struct gicv3 *g = c->gic;
    if (intid < GIC_INTERNAL) {
        mutex_lock(&c->lock);
        c->own.active &= ~(1u << intid);
        gic_scan_own(c);
        mutex_unlock(&c->lock);
    } else if (gic_is_spi(g, intid)) {
        mutex_lock(&g->dist_lock);
        g->spi[intid / 32].active &= ~(1u << intid % 32);
        gic_spi_changed(g, intid);
        mutex_unlock(&g->dist_lock);
    }
}

static void spi_set(void *opaque, int n, int level)
{
    struct gicv3 *g = opaque;
    mutex_lock(&g->dist_lock);
    if (gic_block_line(&g->spi[n / 32], (unsigned)n % 32, level))
        gic_spi_changed(g, (uint32_t)n);
    mutex_unlock(&g->dist_lock);
}

static void ppi_set(void *opaque, int n, int level)
{
    struct gicv3_cpu *c = opaque;
    mutex_lock(&c->lock);
    if (gic_block_line(&c->own, (unsigned)n, level))
        gic_scan_own(c);
    mutex_unlock(&c->lock);
}

static void world_set(void *opaque, int n, int level)
{
    struct gicv3_cpu *c = opaque;
    mutex_lock(&c->lock);
    c->world = (uint8_t)level;
    gic_cpu_update(c);
    mutex_unlock(&c->lock);
}

static struct gicv3 *to_gic(struct device *d)
{
    return container_of(d, struct gicv3, sys.dev);
}

struct irq gicv3_spi(struct device *d, unsigned intid)
{
    BUG_ON(!gic_is_spi(to_gic(d), intid));
    return (struct irq){spi_set, to_gic(d), (int)intid};
}

struct irq gicv3_ppi(struct device *d, unsigned cpu, unsigned intid)
{
    BUG_ON(cpu >= to_gic(d)->num_cpu || intid < 16 || intid >= GIC_INTERNAL);
    return (struct irq){ppi_set, &to_gic(d)->cpu[cpu], (int)intid};
}

struct irq gicv3_world(struct device *d, unsigned cpu)
{
    BUG_ON(cpu >= to_gic(d)->num_cpu);
    return (struct irq){world_set, &to_gic(d)->cpu[cpu], 0};
}

void gicv3_set_cpu(struct device *d, unsigned i, uint32_t affinity,
                   const struct irq lines[GIC_CPU_LINES])
{
    struct gicv3 *g = to_gic(d);
    BUG_ON(i >= g->num_cpu);
    struct gicv3_cpu *c = &g->cpu[i];
    c->affinity = affinity;
    memcpy(c->line, lines, sizeof c->line);
    map_set(&g->by_affinity, affinity, c);
}

void gicv3_map_redists(struct device *d, unsigned first, unsigned n, struct space *s, gpa_t base)
{
    struct gicv3 *g = to_gic(d);
    BUG_ON(first + n > g->num_cpu);
    for (unsigned i = 0; i < n; i++) {
        struct gicv3_cpu *c = &g->cpu[first + i];
        c->last_redist = i == n - 1;
        space_map_mmio(s, "gicv3_redist", base + (gpa_t)i * GICV3_REDIST_SIZE, GICV3_REDIST_SIZE,
                       &gicv3_redist_ops, c, NULL, 0);
    }
}

// System-register addresses: (op0 << 14 | op1 << 11 | CRn << 7 | CRm << 3 | op2) << 3.
#define SYSREG(op0, op1, crn, crm, op2)                                                            \
    ((gpa_t)((op0) << 14 | (op1) << 11 | (crn) << 7 | (crm) << 3 | (op2)) << 3)

void gicv3_map_sysregs(struct device *d, unsigned i, struct space *sysregs)
{
    struct gicv3 *g = to_gic(d);
    struct gicv3_cpu *c = &g->cpu[i];
    const uint64_t group = SYSREG(0, 0, 0, 6, 0); // CRn 12, CRm 8 to 13
    space_map_mmio(sysregs, "gicv3_pmr", SYSREG(3, 0, 4, 6, 0), 8, &gicv3_pmr_ops, c, NULL, 0);
    space_map_mmio(sysregs, "gicv3_icc_el1", SYSREG(3, 0, 12, 8, 0), group, &gicv3_el1_ops, c, NULL,
                   0);
    if (g->has_el2)
        space_map_mmio(sysregs, "gicv3_ich_el2", SYSREG(3, 4, 12, 8, 0), group, &gicv3_el2_ops, c,
                       NULL, 0);
    if (g->has_el3)
        space_map_mmio(sysregs, "gicv3_icc_el3", SYSREG(3, 6, 12, 8, 0), group, &gicv3_el3_ops, c,
                       NULL, 0);
}

static int gicv3_init(struct device *d, struct err *e)
{
    struct gicv3 *g = to_gic(d);
    if (!g->num_cpu || g->num_cpu > 512)
        return err_set(e, "gicv3: num-cpu is %u, must be 1 to 512", g->num_cpu);
    if (g->num_irq < 64 || g->num_irq > 992 || g->num_irq % 32)
        return err_set(e, "gicv3: num-irq is %u, must be a multiple of 32 from 64 to 992",
                       g->num_irq);
    pthread_mutex_init(&g->dist_lock, NULL);
    pthread_mutex_init(&g->lpi_lock, NULL);
    g->cpu = xcalloc(g->num_cpu, sizeof *g->cpu);
    for (unsigned i = 0; i < g->num_cpu; i++) {
        struct gicv3_cpu *c = &g->cpu[i];
        c->gic = g;
        c->index = i;
        pthread_mutex_init(&c->lock, NULL);
    }
    sys_add_window(&g->sys, "gicv3_dist", GICV3_DIST_SIZE, &gicv3_dist_ops, g);
    return 0;
}

static void cpu_reset(struct gicv3_cpu *c)
{
    struct gicv3 *g = c->gic;
    mutex_lock(&c->lock);
    gic_block_reset(&c->own, g->reset_nonsecure);
    c->own.edge = 0xffff; // SGIs
    c->ctlr = 0;
    c->waker = 6;
    c->propbaser = c->pendbaser = 0;
    if (c->lpi_pending) {
        memset(c->lpi_pending, 0, LPI_END / 8);
        memset(c->lpi_summary, 0, sizeof c->lpi_summary);
    }
    c->own_best = c->spi_best = c->lpi_best = c->best = GIC_NOTHING;
    c->world = g->has_el3 && !g->reset_nonsecure ? GIC_WORLD_EL3 : GIC_WORLD_NONSECURE;
    gic_cpu_reset(c);
    gic_cpu_update(c);
    gic_virt_update(c);
    mutex_unlock(&c->lock);
}

static void gicv3_reset(struct device *d)
{
    struct gicv3 *g = to_gic(d);
    mutex_lock(&g->dist_lock);
    g->ctlr = CTLR_ARE_S | (g->has_el3 ? CTLR_ARE_NS : CTLR_DS);
    for (unsigned w = 1; w < 32; w++)
        g->spi[w] =
            (struct gic_block){.level = g->spi[w].level, .group = g->reset_nonsecure ? ~0u : 0};
    for (unsigned i = 0; i < ARRAY_SIZE(g->route); i++) {
        g->route[i] = 0;
        struct gicv3_cpu *c = gic_cpu_by_affinity(g, 0);
        g->target[i] = c ? (int16_t)c->index : NO_CPU;
    }
    mutex_unlock(&g->dist_lock);
    for (unsigned i = 0; i < g->num_cpu; i++)
        cpu_reset(&g->cpu[i]);
}

static void gicv3_exit(struct device *d)
{
    struct gicv3 *g = to_gic(d);
    for (unsigned i = 0; i < g->num_cpu; i++)
        free(g->cpu[i].lpi_pending);
    free(g->lpi_config);
    free(g->cpu);
    map_free(&g->by_affinity);
}

#define STATE(member_, kind_, ...)                                                                 \
    FIELD(struct gicv3_cpu, member_, .kind = (kind_), .use = FIELD_STATE, __VA_ARGS__)
static const struct field cpu_fields[] = {
    STATE(ctlr, F_U32),
    STATE(waker, F_U32),
    STATE(propbaser, F_U64),
    STATE(pendbaser, F_U64),
    STATE(own, F_STRUCT, .len = 1, .sub = gic_block_fields, .stride = sizeof(struct gic_block)),
    STATE(cpu_ctlr, F_U32A, .len = 2),
    STATE(ctlr_el3, F_U32),
    STATE(pmr, F_U8),
    STATE(bpr, F_U8A, .len = GROUPS, .max = 7),
    STATE(igrpen, F_U8, .max = 7),
    STATE(apr, F_U32A, .len = GROUPS),
    STATE(virt, F_STRUCT, .len = 1, .sub = gic_virt_fields, .stride = sizeof(struct gic_virt)),
    {0},
};
#undef STATE

static void gicv3_save(struct device *d, struct buf *out)
{
    struct gicv3 *g = to_gic(d);
    for (unsigned i = 0; i < g->num_cpu; i++) {
        fields_save(cpu_fields, &g->cpu[i], out);
        buf_u8(out, g->cpu[i].lpi_pending != NULL);
        if (g->cpu[i].lpi_pending)
            buf_put(out, g->cpu[i].lpi_pending, LPI_END / 8);
    }
}

static int gicv3_load(struct device *d, struct reader *r, struct err *e)
{
    struct gicv3 *g = to_gic(d);
    for (unsigned i = 0; i < g->num_cpu; i++) {
        struct gicv3_cpu *c = &g->cpu[i];
        if (fields_load(cpu_fields, c, r, e))
            return err_prefix(e, "CPU %u", i);
        if (!rd_u8(r)) {
            if (c->ctlr & 1)
                return err_set(e, "CPU %u: LPIs are on, but none were saved", i);
            continue;
        }
        if (!g->has_lpi)
            return err_set(e, "saved LPIs, but this controller has none");
        if (!c->lpi_pending)
            c->lpi_pending = xalloc(LPI_END / 8);
        rd_bytes(r, c->lpi_pending, LPI_END / 8);
    }
    return 0;
}

// What follows from the state is found again, and the lines are driven whatever the CPUs were told
// before. Memory is there already.
static int gicv3_post_load(struct device *d, struct err *e)
{
    struct gicv3 *g = to_gic(d);
    mutex_lock(&g->dist_lock);
    for (unsigned i = 0; i < ARRAY_SIZE(g->route); i++)
        g->target[i] = gic_route_target(g, g->route[i]);
    for (unsigned i = 0; i < g->num_cpu; i++) {
        struct gicv3_cpu *c = &g->cpu[i];
        mutex_lock(&c->lock);
        for (unsigned n = 0; n < GIC_CPU_LINES; n++)
            irq_set(&c->line[n], 0);
        c->line_level = 0;
        gic_lpi_loaded(c);
        gic_virt_update(c);
        mutex_unlock(&c->lock);
    }
    gic_scan_everything(g);
    mutex_unlock(&g->dist_lock);
    return 0;
}

static const struct field gicv3_fields[] = {
    FIELD(struct gicv3, num_cpu, .name = "num-cpu", .kind = F_U32, .use = FIELD_PROP, .init = 1),
    FIELD(struct gicv3, num_irq, .name = "num-irq", .kind = F_U32, .use = FIELD_PROP, .init = 288),
    FIELD(struct gicv3, has_el3, .name = "has-security-extensions", .kind = F_BOOL,
          .use = FIELD_PROP),
    FIELD(struct gicv3, has_el2, .name = "has-virtualization", .kind = F_BOOL, .use = FIELD_PROP),
    FIELD(struct gicv3, has_lpi, .name = "has-lpi", .kind = F_BOOL, .use = FIELD_PROP),
    FIELD(struct gicv3, reset_nonsecure, .name = "reset-nonsecure", .kind = F_BOOL,
          .use = FIELD_PROP),
    FIELD(struct gicv3, ctlr, .kind = F_U32, .use = FIELD_STATE),
    FIELD(struct gicv3, spi, .kind = F_STRUCT, .use = FIELD_STATE, .len = 32,
          .sub = gic_block_fields, .stride = sizeof(struct gic_block)),
    FIELD(struct gicv3, route, .kind = F_U64A, .use = FIELD_STATE, .len = 1024),
    FIELD(struct gicv3, lpi_table, .kind = F_U64, .use = FIELD_STATE),
    {0},
};

const struct device_type gicv3_type = {
    .name = "arm-gicv3",
    .desc = "Arm Generic Interrupt Controller version 3",
    .category = "Misc devices",
    .size = sizeof(struct gicv3),
    .fields = gicv3_fields,
    .base = &sys_device_base,
    .init = gicv3_init,
    .reset = gicv3_reset,
    .save = gicv3_save,
    .load = gicv3_load,
    .post_load = gicv3_post_load,
    .exit = gicv3_exit,
};
