// GICv3 redistributor registers (IHI 0069H, 12.10 and 12.11): the RD frame with LPI control, then
// the SGI frame.
#include "device/irqchip/gicv3_state.h"

#include <inttypes.h>

enum {
    GICR_CTLR = 0x0000,
    GICR_IIDR = 0x0004,
    GICR_TYPER = 0x0008,
    GICR_STATUSR = 0x0010,
    GICR_WAKER = 0x0014,
    GICR_PROPBASER = 0x0070,
    GICR_PENDBASER = 0x0078,
    GICR_SYNCR = 0x00c0,
    GICR_ID = 0xffd0,
    SGI_FRAME = 0x10000,
    SGI_IPRIORITYR = 0x0400,
    CTLR_ENABLE_LPIS = 1,
};

static uint64_t typer_read(const struct gicv3_cpu *c)
{
    return (uint64_t)c->affinity << 32 | (uint64_t)c->index << 8 | (uint64_t)c->last_redist << 4 |
           (uint64_t)c->gic->has_lpi;
}

static bool rd_read(struct gicv3_cpu *c, uint32_t off, unsigned size, bool secure, uint64_t *v)
{
    if (off >= GICR_ID) {
        *v = gic_id_register(off, 0x93, 3);
        return size == 4;
    }
    unsigned shift = off % 8 * 8;
    switch (off & ~7u) {
    case GICR_TYPER:
        *v = typer_read(c) >> shift;
        return true;
    case GICR_PROPBASER:
        *v = c->propbaser >> shift;
        return true;
    case GICR_PENDBASER:
        *v = (c->pendbaser & ~(1ull << 62)) >> shift; // PTZ is write-only
        return true;
    }
    if (size != 4)
        return false;
    switch (off) {
    case GICR_CTLR:
        *v = c->ctlr;
        return true;
    case GICR_IIDR:
        *v = 0x43b;
        return true;
    case GICR_WAKER:
        *v = secure || gic_is_ds(c->gic) ? c->waker : 0;
        return true;
    case GICR_STATUSR:
    case GICR_SYNCR:
        return true;
    }
    return false;
}

static void base_write(struct gicv3_cpu *c, uint64_t *base, uint32_t off, unsigned size, uint64_t v,
                       uint64_t mask)
{
    if (c->ctlr & CTLR_ENABLE_LPIS) { // frozen while the tables are in use
        log_guest("GICR base", "gicv3: LPI table address written while LPIs are enabled");
        return;
    }
    if (size == 4)
        v = off % 8 ? bits_set(*base, 63, 32, v) : bits_set(*base, 31, 0, v);
    *base = v & mask;
}

static bool rd_write(struct gicv3_cpu *c, uint32_t off, unsigned size, bool secure, uint64_t v)
{
    switch (off & ~7u) {
    case GICR_PROPBASER: // inner/outer cacheability, shareability, address, IDbits
        base_write(c, &c->propbaser, off, size, v, 0x070fffffffffff9full);
        return true;
    case GICR_PENDBASER:
        base_write(c, &c->pendbaser, off, size, v, 0x470fffffffff0f80ull);
        return true;
    }
    if (size != 4)
        return false;
    switch (off) {
    case GICR_CTLR:
        if (c->gic->has_lpi && ((v ^ c->ctlr) & CTLR_ENABLE_LPIS)) {
            c->ctlr = v & CTLR_ENABLE_LPIS;
            gic_lpi_enable(c, c->ctlr);
            gic_scan_lpis(c);
        }
        return true;
    case GICR_WAKER: // ChildrenAsleep follows ProcessorSleep at once
        if (secure || gic_is_ds(c->gic))
            c->waker = v & 2 ? 6 : 0;
        return true;
    case GICR_STATUSR:
        return true;
    }
    return false;
}

// Of the distributor's layout the frame has the first word of each array, and two of those with two
// bits per interrupt; the rest (extended PPIs) is reserved.
static bool sgi_reserved(uint32_t off)
{
    bool two_bits = (off & 0xf00) == 0xc00 || (off & 0xf00) == 0xe00;
    return off >= 0x1000 || (off & (two_bits ? 0xfb : 0x7f));
}

static bool sgi_read(struct gicv3_cpu *c, uint32_t off, unsigned size, bool secure, uint64_t *val)
{
    uint32_t v = 0;
    if (off >= SGI_IPRIORITYR && off < SGI_IPRIORITYR + 32) {
        for (unsigned i = 0; i < size; i++)
            *val |= (uint64_t)gic_prio_read(&c->own, (off + i) % 32, gic_view(c->gic, secure))
                    << (8 * i);
        return true;
    }
    if (size != 4 || sgi_reserved(off))
        return false;
    bool good = gic_block_read(&c->own, off, gic_view(c->gic, secure), &v);
    *val = v;
    return good;
}

static bool sgi_write(struct gicv3_cpu *c, uint32_t off, unsigned size, bool secure, uint64_t v)
{
    if (off >= SGI_IPRIORITYR && off < SGI_IPRIORITYR + 32) {
        for (unsigned i = 0; i < size; i++)
            gic_prio_write(&c->own, (off + i) % 32, gic_view(c->gic, secure),
                           (uint8_t)(v >> (8 * i)));
        gic_scan_own(c);
        return true;
    }
    uint32_t changed = 0;
    if (size != 4 || sgi_reserved(off))
        return false;
    if (off == 0xc00) // SGIs are always edge-triggered
        return true;
    if (!gic_block_write(&c->own, off, gic_view(c->gic, secure), (uint32_t)v, &changed))
        return false;
    gic_scan_own(c);
    return true;
}

static enum mem_result redist_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                   struct mem_attrs attrs)
{
    struct gicv3_cpu *c = opaque;
    bool secure = attrs.secure && c->gic->has_el3;
    *val = 0;
    mutex_lock(&c->lock);
    bool good = off >= SGI_FRAME ? sgi_read(c, (uint32_t)off - SGI_FRAME, size, secure, val)
                                 : rd_read(c, (uint32_t)off, size, secure, val);
    mutex_unlock(&c->lock);
    if (!good)
        log_guest("GICR read", "gicv3: %u-byte read of redistributor offset 0x%" PRIx64, size, off);
    return MEM_OK;
}

static enum mem_result redist_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                    struct mem_attrs attrs)
{
    struct gicv3_cpu *c = opaque;
    bool secure = attrs.secure && c->gic->has_el3;
    mutex_lock(&c->lock);
    bool good = off >= SGI_FRAME ? sgi_write(c, (uint32_t)off - SGI_FRAME, size, secure, val)
                                 : rd_write(c, (uint32_t)off, size, secure, val);
    mutex_unlock(&c->lock);
    if (!good)
        log_guest("GICR write",
                  "gicv3: %u-byte write of 0x%" PRIx64 " to redistributor offset 0x%" PRIx64, size,
                  val, off);
    return MEM_OK;
}

const struct mmio_ops gicv3_redist_ops = {.read = redist_read, .write = redist_write};

// An SGI reaches a CPU only if it belongs to the wanted group there, or is secure and NSACR lets
// the non-secure sender (12.11.18, table of forwarded SGIs).
void gic_send_sgi(struct gicv3_cpu *to, enum gic_group group, unsigned intid, bool nonsecure)
{
    struct gicv3 *g = to->gic;
    mutex_lock(&to->lock);
    enum gic_group is = gic_block_group(g, &to->own, intid);
    if (group == GROUP_1S && is == GROUP_0)
        group = GROUP_0;
    bool allowed = group == is;
    if (nonsecure && !gic_is_ds(g) && is != GROUP_1NS)
        allowed = allowed && (to->own.nsacr[0] >> (intid * 2) & 3) >= (is == GROUP_0 ? 1u : 2u);
    if (allowed) {
        to->own.latch |= 1u << intid;
        gic_scan_own(to);
    }
    mutex_unlock(&to->lock);
}
