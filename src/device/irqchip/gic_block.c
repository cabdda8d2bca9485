// Registers that all GICs have in common, for 32 interrupts at a time (gic_block.h): group, enable,
// pending, active, priority, configuration, and what of them a non-secure access may see.
#include "device/irqchip/gic_block.h"
#include "base/bits.h"

enum { // offset & 0xf80
    REG_IGROUPR = 0x080,
    REG_ISENABLER = 0x100,
    REG_ICENABLER = 0x180,
    REG_ISPENDR = 0x200,
    REG_ICPENDR = 0x280,
    REG_ISACTIVER = 0x300,
    REG_ICACTIVER = 0x380,
    REG_ICFGR = 0xc00,
    REG_ICFGR_HIGH = 0xc80,
    REG_IGRPMODR = 0xd00,
    REG_NSACR = 0xe00,
    REG_NSACR_HIGH = 0xe80,
};

// The interrupts of which NSACR allows the non-secure side at least `least`.
static uint32_t nsacr_allows(const struct gic_block *b, unsigned least)
{
    uint32_t m = 0;
    for (unsigned i = 0; i < 32; i++)
        if ((b->nsacr[i / 16] >> (i % 16 * 2) & 3) >= least)
            m |= 1u << i;
    return m;
}

// What an access may touch: everything, or from the non-secure side group 1 and what NSACR adds
// (`least` above 3: nothing).
static uint32_t visible(const struct gic_block *b, enum gic_view view, unsigned least)
{
    if (view != GIC_VIEW_NONSECURE)
        return ~0u;
    return b->group | (least <= 3 ? nsacr_allows(b, least) : 0);
}

void gic_block_reset(struct gic_block *b, bool nonsecure)
{
    *b = (struct gic_block){.level = b->level, .group = nonsecure ? ~0u : 0};
    if (nonsecure)
        memset(b->prio, 0x80, sizeof b->prio);
}

bool gic_block_line(struct gic_block *b, unsigned i, int level)
{
    uint32_t m = 1u << i;
    if (!(b->level & m) == !level)
        return false;
    b->level ^= m;
    if (level && (b->edge & m))
        b->latch |= m;
    return true;
}

// Bit i of m becomes bit 2i + 1 of the half-word's configuration register, and back.
static uint32_t spread(uint32_t m)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < 16; i++)
        v |= (m >> i & 1) << (2 * i + 1);
    return v;
}
static uint32_t gather(uint32_t v)
{
    uint32_t m = 0;
    for (unsigned i = 0; i < 16; i++)
        m |= (v >> (2 * i + 1) & 1) << i;
    return m;
}

bool gic_block_read(const struct gic_block *b, uint32_t off, enum gic_view view, uint32_t *v)
{
    bool full = view != GIC_VIEW_NONSECURE, banked = view == GIC_VIEW_SECURE;
    unsigned half = off >> 2 & 1;
    switch (off & 0xf80) {
    case REG_IGROUPR:
        *v = full ? b->group : 0;
        return true;
    case REG_ISENABLER:
    case REG_ICENABLER:
        *v = b->enable & visible(b, view, 4);
        return true;
    case REG_ISPENDR:
    case REG_ICPENDR:
        *v = gic_block_pending(b) & visible(b, view, 1);
        return true;
    case REG_ISACTIVER:
    case REG_ICACTIVER:
        *v = b->active & visible(b, view, 2);
        return true;
    case REG_ICFGR:
    case REG_ICFGR_HIGH:
        *v = spread((b->edge & visible(b, view, 4)) >> (16 * half));
        return true;
    case REG_IGRPMODR:
        *v = banked ? b->grpmod : 0;
        return true;
    case REG_NSACR:
    case REG_NSACR_HIGH:
        *v = banked ? b->nsacr[half] : 0;
        return true;
    }
    return false;
}

bool gic_block_write(struct gic_block *b, uint32_t off, enum gic_view view, uint32_t v,
                     uint32_t *changed)
{
    bool full = view != GIC_VIEW_NONSECURE, banked = view == GIC_VIEW_SECURE;
    unsigned half = off >> 2 & 1;
    struct gic_block old = *b;
    switch (off & 0xf80) {
    case REG_IGROUPR:
        b->group = full ? v : b->group;
        break;
    case REG_ISENABLER:
        b->enable |= v & visible(b, view, 4);
        break;
    case REG_ICENABLER:
        b->enable &= ~(v & visible(b, view, 4));
        break;
    case REG_ISPENDR:
        b->latch |= v & visible(b, view, 1);
        break;
    case REG_ICPENDR:
        b->latch &= ~(v & visible(b, view, 2));
        break;
    case REG_ISACTIVER:
        b->active |= v & visible(b, view, 4);
        break;
    case REG_ICACTIVER:
        b->active &= ~(v & visible(b, view, 4));
        break;
    case REG_ICFGR:
    case REG_ICFGR_HIGH: {
        uint32_t m = (0xffffu << (16 * half)) & visible(b, view, 4);
        b->edge = (b->edge & ~m) | ((gather(v) << (16 * half)) & m);
        break;
    }
    case REG_IGRPMODR:
        b->grpmod = banked ? v : b->grpmod;
        break;
    case REG_NSACR:
    case REG_NSACR_HIGH:
        b->nsacr[half] = banked ? v : b->nsacr[half];
        return true;
    default:
        return false;
    }
    *changed = (old.group ^ b->group) | (old.grpmod ^ b->grpmod) | (old.enable ^ b->enable) |
               (old.latch ^ b->latch) | (old.active ^ b->active) | (old.edge ^ b->edge);
    return true;
}

// The non-secure side sees the lower half of the priorities as if it were all (4.8.1).
uint8_t gic_prio_read(const struct gic_block *b, unsigned i, enum gic_view view)
{
    if (view != GIC_VIEW_NONSECURE)
        return b->prio[i];
    return bit(b->group, i) ? (uint8_t)(b->prio[i] << 1) : 0;
}

bool gic_prio_write(struct gic_block *b, unsigned i, enum gic_view view, uint8_t v)
{
    if (view == GIC_VIEW_NONSECURE) {
        if (!bit(b->group, i))
            return false;
        v = 0x80 | v >> 1;
    }
    v &= PRIORITY_MASK;
    bool moved = b->prio[i] != v;
    b->prio[i] = v;
    return moved;
}

uint32_t gic_block_first(uint32_t off)
{
    bool two_bits = (off & 0xf00) == REG_ICFGR || (off & 0xf00) == REG_NSACR;
    return two_bits ? (off & 0xff) / 4 * 16 : (off & 0x7f) / 4 * 32;
}

uint32_t gic_id_register(uint32_t off, uint8_t part, uint8_t revision)
{
    // PIDR4 to PIDR7, PIDR0 to PIDR3, CIDR0 to CIDR3; designed by Arm.
    const uint8_t id[12] = {0x44, 0,    0,    0,    part, 0xb4, (uint8_t)(revision << 4 | 0xb),
                            0,    0x0d, 0xf0, 0x05, 0xb1};
    return id[(off & 0x3f) / 4 - 4];
}

#define STATE(member_, kind_, ...)                                                                 \
    FIELD(struct gic_block, member_, .kind = (kind_), .use = FIELD_STATE, __VA_ARGS__)
const struct field gic_block_fields[] = {
    STATE(group, F_U32),           STATE(grpmod, F_U32),
    STATE(enable, F_U32),          STATE(latch, F_U32),
    STATE(level, F_U32),           STATE(edge, F_U32),
    STATE(active, F_U32),          STATE(nsacr, F_U32A, .len = 2),
    STATE(prio, F_U8A, .len = 32), {0}};
#undef STATE
