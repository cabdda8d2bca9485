// The GICv2's state, shared by its files only; all of it under `lock`.
#pragma once

#include "base/bits.h"
#include "base/thread.h"
#include "device/irqchip/gic_block.h"
#include "device/irqchip/gic_virt.h"
#include "device/irqchip/gicv2.h"

enum {
    GICV2_CPUS = 8,
    GICV2_IRQS = 1020,
    INTID_MAINTENANCE = 25,
    DIST_ENABLE_G0 = 1 << 0,
    DIST_ENABLE_G1 = 1 << 1,
    CPU_ENABLE_G0 = 1 << 0,
    CPU_ENABLE_G1 = 1 << 1,
    CPU_ACKCTL = 1 << 2,
    CPU_FIQEN = 1 << 3,
    CPU_CBPR = 1 << 4,
    CPU_EOIMODE = 1 << 9,
    CPU_EOIMODE_NS = 1 << 10,
};

struct gicv2_cpu {
    struct gicv2 *gic;
    unsigned index;
    struct irq line[GICV2_LINES];
    uint8_t line_level; // bit per line
    struct gic_block own;
    uint8_t sgi_from[16]; // which CPUs an SGI is pending from; its bit in own.latch follows
    uint32_t ctlr;
    uint8_t pmr, bpr[2]; // binary points of groups 0 and 1
    uint32_t apr[2];     // active priorities by group
    struct gic_virt virt;
};

struct gicv2 {
    struct sys_device sys;
    uint32_t num_cpu, num_irq;
    bool has_el3, has_el2, reset_nonsecure;
    pthread_mutex_t lock;
    uint32_t ctlr;
    struct gic_block spi[32];   // [0] is unused
    uint8_t target[GICV2_IRQS]; // CPU mask of each SPI
    struct gicv2_cpu cpu[GICV2_CPUS];
};

static inline enum gic_view gicv2_view(const struct gicv2 *g, struct mem_attrs a)
{
    return !g->has_el3 ? GIC_VIEW_ALL : a.secure ? GIC_VIEW_SECURE : GIC_VIEW_NONSECURE;
}
// The CPU that makes an access.
static inline struct gicv2_cpu *gicv2_accessor(struct gicv2 *g, struct mem_attrs a)
{
    return &g->cpu[!a.device && a.requester < g->num_cpu ? a.requester : 0];
}
static inline struct gic_block *gicv2_block(struct gicv2_cpu *c, uint32_t intid)
{
    return intid < GIC_INTERNAL ? &c->own : &c->gic->spi[intid / 32];
}

// The highest-priority pending interrupt of a CPU among enabled groups, or INTID_SPURIOUS.
uint32_t gicv2_best(struct gicv2_cpu *c);
void gicv2_update_cpu(struct gicv2_cpu *c); // set the lines
void gicv2_update(struct gicv2 *g);         // of every CPU
void gicv2_deactivate(struct gicv2_cpu *c, uint32_t intid);
// gicv2_cpuif.c
bool gicv2_preempts(const struct gicv2_cpu *c, uint32_t intid);
void gicv2_cpu_reset(struct gicv2_cpu *c);
extern const struct mmio_ops gicv2_dist_ops, gicv2_cpu_ops, gicv2_hyp_ops, gicv2_vcpu_ops;
