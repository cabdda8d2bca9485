// GICv2 distributor registers (IHI 0048B.b, 4.3). SGIs and PPIs are banked by the accessing CPU.
#include "device/irqchip/gicv2_state.h"

#include <inttypes.h>

enum {
    GICD_CTLR = 0x000,
    GICD_TYPER = 0x004,
    GICD_IIDR = 0x008,
    GICD_ISENABLER = 0x100,
    GICD_ICENABLER = 0x180,
    GICD_ISPENDR = 0x200,
    GICD_ICPENDR = 0x280,
    GICD_IPRIORITYR = 0x400,
    GICD_ITARGETSR = 0x800,
    GICD_ICFGR = 0xc00,
    GICD_PPISR = 0xd00,
    GICD_NSACR = 0xe00,
    GICD_SGIR = 0xf00,
    GICD_CPENDSGIR = 0xf10,
    GICD_SPENDSGIR = 0xf20,
    GICD_ID = 0xfd0,
};

static uint32_t ctlr_read(const struct gicv2 *g, enum gic_view view)
{
    return view == GIC_VIEW_NONSECURE ? bit(g->ctlr, 1) : g->ctlr;
}

static void ctlr_write(struct gicv2 *g, enum gic_view view, uint32_t v)
{
    if (view == GIC_VIEW_NONSECURE)
        g->ctlr = (uint32_t)bits_set(g->ctlr, 1, 1, v & 1);
    else
        g->ctlr = v & (DIST_ENABLE_G0 | DIST_ENABLE_G1);
}

// Interrupts that only the secure side has are not there for the other (3.10).
static bool hidden(struct gicv2_cpu *c, uint32_t intid, enum gic_view view)
{
    return view == GIC_VIEW_NONSECURE && !bit(gicv2_block(c, intid)->group, intid % 32);
}

// Registers of one byte for each interrupt (or for each SGI, with n as its number).
static uint8_t byte_read(struct gicv2_cpu *c, uint32_t off, enum gic_view view)
{
    struct gicv2 *g = c->gic;
    if (off >= GICD_SGIR)
        return hidden(c, off & 15, view) ? 0 : c->sgi_from[off & 15];
    uint32_t intid = off & 0x3ff;
    if (intid >= g->num_irq)
        return 0;
    if (off < GICD_ITARGETSR)
        return gic_prio_read(gicv2_block(c, intid), intid % 32, view);
    if (hidden(c, intid, view) || g->num_cpu == 1)
        return 0;
    return intid < GIC_INTERNAL ? (uint8_t)(1u << c->index) : g->target[intid];
}

static void sgi_pending(struct gicv2_cpu *c, unsigned sgi, uint8_t from)
{
    c->sgi_from[sgi] = from;
    c->own.latch = (uint32_t)bits_set(c->own.latch, sgi, sgi, from != 0);
}

static void byte_write(struct gicv2_cpu *c, uint32_t off, enum gic_view view, uint8_t v)
{
    struct gicv2 *g = c->gic;
    unsigned sgi = off & 15;
    uint32_t intid = off & 0x3ff;
    if (off >= GICD_SPENDSGIR && !hidden(c, sgi, view))
        sgi_pending(c, sgi, c->sgi_from[sgi] | (v & (uint8_t)mask_low(g->num_cpu)));
    else if (off >= GICD_CPENDSGIR && off < GICD_SPENDSGIR && !hidden(c, sgi, view))
        sgi_pending(c, sgi, c->sgi_from[sgi] & (uint8_t)~v);
    else if (off >= GICD_SGIR || intid >= g->num_irq)
        return;
    else if (off < GICD_ITARGETSR)
        gic_prio_write(gicv2_block(c, intid), intid % 32, view, v);
    else if (intid >= GIC_INTERNAL && g->num_cpu > 1 && !hidden(c, intid, view))
        g->target[intid] = v & (uint8_t)mask_low(g->num_cpu);
}

static bool is_byte_register(uint32_t off)
{
    return (off >= GICD_IPRIORITYR && off < GICD_ICFGR) ||
           (off >= GICD_CPENDSGIR && off < GICD_CPENDSGIR + 0x20);
}

// SGIR (4.3.15): an SGI reaches a CPU if its group there is the one asked for.
static void send_sgi(struct gicv2_cpu *from, enum gic_view view, uint32_t v)
{
    struct gicv2 *g = from->gic;
    unsigned sgi = v & 15, filter = v >> 24 & 3;
    uint8_t list = filter == 0   ? v >> 16 & 0xff
                   : filter == 1 ? ~(1u << from->index) & 0xff
                   : filter == 2 ? 1u << from->index
                                 : 0;
    bool group1 = view == GIC_VIEW_NONSECURE || bit(v, 15);
    for (unsigned i = 0; i < g->num_cpu; i++) {
        struct gicv2_cpu *to = &g->cpu[i];
        // With one security state the attribute in bit 15 means nothing.
        if (bit(list, i) && (view == GIC_VIEW_ALL || bit(to->own.group, sgi) == group1))
            sgi_pending(to, sgi, to->sgi_from[sgi] | (uint8_t)(1u << from->index));
    }
}

static bool read32(struct gicv2_cpu *c, uint32_t off, enum gic_view view, uint32_t *v)
{
    struct gicv2 *g = c->gic;
    switch (off) {
    case GICD_CTLR:
        *v = ctlr_read(g, view);
        return true;
    case GICD_TYPER:
        *v = (g->num_irq / 32 - 1) | (g->num_cpu - 1) << 5 | (uint32_t)g->has_el3 << 10;
        return true;
    case GICD_IIDR:
        *v = 0x43b;
        return true;
    case GICD_PPISR:
        *v = c->own.level & 0xffff0000;
        return true;
    case GICD_ID ... 0xffc:
        *v = gic_id_register(off, 0x90, 2);
        return true;
    case GICD_SGIR:
        return true;
    }
    if ((off & 0xf80) == GICD_PPISR || off < 0x80) // SPISR and the rest are optional
        return (off & 0xf80) == GICD_PPISR;
    uint32_t intid = gic_block_first(off);
    return intid >= g->num_irq || gic_block_read(gicv2_block(c, intid), off, view, v);
}

static bool write32(struct gicv2_cpu *c, uint32_t off, enum gic_view view, uint32_t v)
{
    struct gicv2 *g = c->gic;
    uint32_t changed;
    if (off == GICD_CTLR) {
        ctlr_write(g, view, v);
        return true;
    }
    if (off == GICD_SGIR) {
        send_sgi(c, view, v);
        return true;
    }
    if (off < 0x80 || (off & 0xf80) == GICD_PPISR || off > GICD_SGIR)
        return false;
    uint32_t intid = gic_block_first(off);
    if (intid >= g->num_irq)
        return true;
    if (intid < GIC_INTERNAL) { // SGIs: always enabled and edge-triggered, pending by SGIR
        uint32_t at = off & 0xf80;
        bool half = intid < 16 && (off & 0xf00) == GICD_ICFGR;
        if (at == GICD_ISENABLER || at == GICD_ICENABLER || at == GICD_ISPENDR ||
            at == GICD_ICPENDR)
            v &= 0xffff0000;
        if (half)
            return true;
    }
    return gic_block_write(gicv2_block(c, intid), off, view, v, &changed);
}

static enum mem_result dist_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                 struct mem_attrs attrs)
{
    struct gicv2 *g = opaque;
    struct gicv2_cpu *c = gicv2_accessor(g, attrs);
    enum gic_view view = gicv2_view(g, attrs);
    bool good = size == 4;
    uint32_t v = 0;
    *val = 0;
    mutex_lock(&g->lock);
    if (is_byte_register((uint32_t)off)) {
        for (unsigned i = 0; i < size; i++)
            *val |= (uint64_t)byte_read(c, (uint32_t)off + i, view) << (8 * i);
        good = true;
    } else if (good) {
        good = read32(c, (uint32_t)off, view, &v);
        *val = v;
    }
    mutex_unlock(&g->lock);
    if (!good)
        log_guest("GICD read", "gicv2: %u-byte read of distributor offset 0x%" PRIx64, size, off);
    return MEM_OK;
}

static enum mem_result dist_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    struct gicv2 *g = opaque;
    struct gicv2_cpu *c = gicv2_accessor(g, attrs);
    enum gic_view view = gicv2_view(g, attrs);
    bool good = size == 4;
    mutex_lock(&g->lock);
    if (is_byte_register((uint32_t)off)) {
        for (unsigned i = 0; i < size; i++)
            byte_write(c, (uint32_t)off + i, view, (uint8_t)(val >> (8 * i)));
        good = true;
    } else if (good) {
        good = write32(c, (uint32_t)off, view, (uint32_t)val);
    }
    gicv2_update(g);
    mutex_unlock(&g->lock);
    if (!good)
        log_guest("GICD write",
                  "gicv2: %u-byte write of 0x%" PRIx64 " to distributor offset 0x%" PRIx64, size,
                  val, off);
    return MEM_OK;
}

const struct mmio_ops gicv2_dist_ops = {.read = dist_read, .write = dist_write, .max_size = 4};
