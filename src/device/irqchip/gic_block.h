// Thirty-two interrupts of a GIC, and the registers that describe them. GICv2 and GICv3,
// distributor and redistributor, lay these registers out alike (Arm IHI 0048B, 4.3; IHI 0069H, 12.9
// and 12.11).
#pragma once

#include "device/device.h"

enum {
    GIC_INTERNAL = 32, // SGIs and PPIs
    INTID_SECURE = 1020,
    INTID_NONSECURE = 1021,
    INTID_GROUP1 = 1022, // GICv2
    INTID_SPURIOUS = 1023,
    GIC_LPI_FIRST = 8192,
    PRIORITY_BITS = 5, // implemented priority and preemption bits, physical and virtual
};
#define PRIORITY_MASK 0xf8u
#define PRIORITY_IDLE 0xffu

// 32 interrupts with consecutive INTIDs: a CPU's SGIs and PPIs, or a word of SPIs.
struct gic_block {
    uint32_t group, grpmod, enable;
    uint32_t latch; // pending by edge, or by a write
    uint32_t level; // the input lines
    uint32_t edge;  // edge-triggered
    uint32_t active;
    uint32_t nsacr[2];
    uint8_t prio[32];
};

static inline uint32_t gic_block_pending(const struct gic_block *b)
{
    return b->latch | (b->level & ~b->edge);
}

extern const struct field gic_block_fields[]; // saved state

// Everything but the input lines to its reset state; `nonsecure`: as firmware leaves it that gives
// all interrupts to the non-secure side.
void gic_block_reset(struct gic_block *b, bool nonsecure);
// A line moved; edge-triggered interrupts latch on its rise. False: it was at that level already.
bool gic_block_line(struct gic_block *b, unsigned i, int level);

// Who looks: the only security state, the secure one of two, or the non-secure one, which sees
// group 1 and what NSACR adds.
enum gic_view { GIC_VIEW_ALL, GIC_VIEW_SECURE, GIC_VIEW_NONSECURE };

// Offsets are those of the distributor; `changed` gets the interrupts to look at again. False: no
// such register.
bool gic_block_read(const struct gic_block *b, uint32_t off, enum gic_view view, uint32_t *v);
bool gic_block_write(struct gic_block *b, uint32_t off, enum gic_view view, uint32_t v,
                     uint32_t *changed);
uint8_t gic_prio_read(const struct gic_block *b, unsigned i, enum gic_view view);
bool gic_prio_write(struct gic_block *b, unsigned i, enum gic_view view, uint8_t v);
// The first interrupt (by INTID) that the register at a distributor offset describes.
uint32_t gic_block_first(uint32_t off);
// Identification registers, 0xfd0 to 0xffc from the end of the frame: part number and revision.
uint32_t gic_id_register(uint32_t off, uint8_t part, uint8_t revision);
