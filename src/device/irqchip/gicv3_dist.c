// GICv3 distributor registers (IHI 0069H, 12.9).
#include "device/irqchip/gicv3_state.h"

#include <inttypes.h>

enum {
    GICD_CTLR = 0x0000,
    GICD_TYPER = 0x0004,
    GICD_IIDR = 0x0008,
    GICD_TYPER2 = 0x000c,
    GICD_STATUSR = 0x0010,
    GICD_IPRIORITYR = 0x0400,
    GICD_ITARGETSR = 0x0800,
    GICD_ICFGR = 0x0c00,
    GICD_SGIR = 0x0f00,
    GICD_IROUTER = 0x6000,
    GICD_IROUTER_END = 0x8000,
    GICD_ID = 0xffd0,
};

static uint32_t typer_read(const struct gicv3 *g)
{
    return (g->num_irq / 32 - 1) | (uint32_t)g->has_el3 << 10 | (uint32_t)g->has_lpi << 17 |
           (LPI_ID_BITS - 1) << 19 | 1u << 24 | 1u << 25; // A3V, No1N
}

// The non-secure view of CTLR has the group 1 enable at bit 0 or 1 and its own ARE at bit 4.
static uint32_t ctlr_read(const struct gicv3 *g, bool secure)
{
    if (secure || gic_is_ds(g))
        return g->ctlr;
    return (g->ctlr & CTLR_ENABLE_G1NS) | (g->ctlr & CTLR_ARE_NS) >> 1;
}

static void ctlr_write(struct gicv3 *g, bool secure, uint32_t v)
{
    uint32_t mask = CTLR_ENABLE_G0 | CTLR_ENABLE_G1NS;
    if (!gic_is_ds(g))
        mask = secure ? CTLR_ENABLE_G0 | CTLR_ENABLE_G1NS | CTLR_ENABLE_G1S | CTLR_DS
                      : CTLR_ENABLE_G1NS;
    g->ctlr = (g->ctlr & ~mask) | (v & mask);
    if (gic_is_ds(g)) // one security state only: DS is sticky, there is no secure group 1
        g->ctlr &= ~(uint32_t)(CTLR_ENABLE_G1S | CTLR_ARE_NS);
    gic_scan_everything(g);
}

static struct gic_block *block_of(struct gicv3 *g, uint32_t intid)
{
    return gic_is_spi(g, intid) ? &g->spi[intid / 32] : NULL;
}

static bool route_visible(struct gicv3 *g, uint32_t intid, bool secure)
{
    const struct gic_block *b = &g->spi[intid / 32];
    return secure || gic_is_ds(g) || bit(b->group, intid % 32) ||
           (b->nsacr[intid % 32 / 16] >> (intid % 16 * 2) & 3) == 3;
}

int16_t gic_route_target(const struct gicv3 *g, uint64_t route)
{
    uint32_t affinity = (uint32_t)(route >> 8 & 0xff000000) | (uint32_t)(route & 0xffffff);
    const struct gicv3_cpu *c = map_get(&g->by_affinity, affinity);
    return c ? (int16_t)c->index : NO_CPU;
}

static void route_write(struct gicv3 *g, uint32_t intid, uint64_t v)
{
    // Before the route moves, the old target must forget the interrupt.
    int16_t old = g->target[intid];
    g->route[intid] = v & 0xff00ffffffull;
    g->target[intid] = gic_route_target(g, g->route[intid]);
    if (old != NO_CPU && old != g->target[intid]) {
        struct gicv3_cpu *from = &g->cpu[old];
        mutex_lock(&from->lock);
        gic_scan_spis(from);
        mutex_unlock(&from->lock);
    }
    gic_spi_changed(g, intid);
}

static bool is_route(const struct gicv3 *g, uint32_t off)
{
    return off >= GICD_IROUTER && off < GICD_IROUTER_END && gic_is_spi(g, (off & 0x1fff) / 8);
}

static bool is_prio(uint32_t off)
{
    return off >= GICD_IPRIORITYR && off < GICD_ITARGETSR;
}

static bool read32(struct gicv3 *g, uint32_t off, bool secure, uint32_t *v)
{
    *v = 0;
    if (off >= GICD_ID) {
        *v = gic_id_register(off, 0x92, 3);
        return true;
    }
    switch (off) {
    case GICD_CTLR:
        *v = ctlr_read(g, secure);
        return true;
    case GICD_TYPER:
        *v = typer_read(g);
        return true;
    case GICD_IIDR:
        *v = 0x43b;
        return true;
    case GICD_TYPER2:
    case GICD_STATUSR:
        return true;
    }
    if (off >= GICD_ITARGETSR && off < GICD_ICFGR)
        return true; // affinity routing: reserved, zero
    if (off < 0x1000) {
        uint32_t intid = gic_block_first(off);
        struct gic_block *b = block_of(g, intid);
        return !b || gic_block_read(b, off, gic_view(g, secure), v);
    }
    return false;
}

static bool write32(struct gicv3 *g, uint32_t off, bool secure, uint32_t v)
{
    if (off == GICD_CTLR) {
        ctlr_write(g, secure, v);
        return true;
    }
    if (off == GICD_STATUSR || (off >= GICD_ITARGETSR && off < GICD_ICFGR))
        return true;
    if (off >= 0x1000 || off < 0x80)
        return false;
    uint32_t intid = gic_block_first(off), changed = 0;
    struct gic_block *b = block_of(g, intid);
    if (!b)
        return true; // SGIs and PPIs are the redistributors'
    if (!gic_block_write(b, off, gic_view(g, secure), v, &changed))
        return false;
    for (; changed; changed &= changed - 1)
        gic_spi_changed(g, (intid & ~31u) + (uint32_t)__builtin_ctz(changed));
    return true;
}

static enum mem_result dist_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                 struct mem_attrs attrs)
{
    struct gicv3 *g = opaque;
    bool good = true, secure = attrs.secure && g->has_el3;
    uint32_t at = (uint32_t)off, v = 0;
    *val = 0;
    mutex_lock(&g->dist_lock);
    if (is_prio(at)) {
        for (unsigned i = 0; i < size; i++) {
            struct gic_block *b = block_of(g, at + i - GICD_IPRIORITYR);
            if (b)
                *val |= (uint64_t)gic_prio_read(b, (at + i) % 32, gic_view(g, secure)) << (8 * i);
        }
    } else if (is_route(g, at) && size >= 4) {
        uint32_t intid = (at & 0x1fff) / 8;
        if (route_visible(g, intid, secure))
            *val = g->route[intid] >> (at % 8 * 8);
    } else if (size == 4) {
        good = read32(g, at, secure, &v);
        *val = v;
    } else {
        good = false;
    }
    mutex_unlock(&g->dist_lock);
    if (!good)
        log_guest("GICD read", "gicv3: %u-byte read of distributor offset 0x%" PRIx64, size, off);
    return MEM_OK;
}

static enum mem_result dist_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    struct gicv3 *g = opaque;
    bool good = true, secure = attrs.secure && g->has_el3;
    uint32_t at = (uint32_t)off;
    mutex_lock(&g->dist_lock);
    if (is_prio(at)) {
        for (unsigned i = 0; i < size; i++) {
            uint32_t intid = at + i - GICD_IPRIORITYR;
            struct gic_block *b = block_of(g, intid);
            if (b && gic_prio_write(b, intid % 32, gic_view(g, secure), (uint8_t)(val >> (8 * i))))
                gic_spi_changed(g, intid);
        }
    } else if (is_route(g, at) && size >= 4) {
        uint32_t intid = (at & 0x1fff) / 8;
        uint64_t v = val;
        if (size == 4)
            v = at % 8 ? bits_set(g->route[intid], 63, 32, val)
                       : bits_set(g->route[intid], 31, 0, val);
        if (route_visible(g, intid, secure))
            route_write(g, intid, v);
    } else if (size == 4) {
        good = write32(g, at, secure, (uint32_t)val);
    } else {
        good = false;
    }
    mutex_unlock(&g->dist_lock);
    if (!good)
        log_guest("GICD write",
                  "gicv3: %u-byte write of 0x%" PRIx64 " to distributor offset 0x%" PRIx64, size,
                  val, off);
    return MEM_OK;
}

const struct mmio_ops gicv3_dist_ops = {.read = dist_read, .write = dist_write};
