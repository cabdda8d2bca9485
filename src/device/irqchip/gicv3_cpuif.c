// GICv3 CPU interface (IHI 0069H, chapter 4 and 12.2): ICC_* system registers, priorities and
// preemption, acknowledge, priority drop and deactivation, SGI generation. At EL1 with interrupts
// routed to EL2 the same encodings reach the virtual interface (gicv3_virt.c).
#include "device/irqchip/gicv3_state.h"

enum { // window of EL3
    ICC_CTLR_EL3 = 044,
    ICC_SRE_EL3 = 045,
    ICC_IGRPEN1_EL3 = 047,
};
enum {
    CTLR_CBPR = 1 << 0,
    CTLR_EOIMODE = 1 << 1,
    CTLR_PMHE = 1 << 6,
    CTLR_FIXED = (PRIORITY_BITS - 1) << 8 | 1 << 11 | 1 << 15, // 24-bit INTIDs, A3V
    EL3_CBPR_EL1S = 1 << 0,
    EL3_CBPR_EL1NS = 1 << 1,
    EL3_EOIMODE_EL3 = 1 << 2,
    EL3_EOIMODE_EL1S = 1 << 3,
    EL3_EOIMODE_EL1NS = 1 << 4,
    EL3_PMHE = 1 << 6,
    EL3_NDS = 1 << 17,
    MIN_BPR = 7 - PRIORITY_BITS,
};

// Two security states are told apart; otherwise everything is in the one.
static bool two_states(const struct gicv3_cpu *c)
{
    return !gic_is_ds(c->gic);
}
static unsigned bank(const struct gicv3_cpu *c, struct mem_attrs a)
{
    return two_states(c) && a.secure;
}

// The bits of a priority that count for preemption (4.8.3). The non-secure binary point is meant
// for priorities that the non-secure side sees shifted by one.
static uint8_t preemption_mask(const struct gicv3_cpu *c, enum gic_group group)
{
    if (group == GROUP_1S && (c->cpu_ctlr[1] & CTLR_CBPR))
        group = GROUP_0;
    if (group == GROUP_1NS && (c->cpu_ctlr[0] & CTLR_CBPR))
        group = GROUP_0;
    unsigned bpr = c->bpr[group] - (group == GROUP_1NS ? 1u : 0u);
    return (uint8_t)(0xff << (bpr + 1));
}

static uint32_t active_priorities(const struct gicv3_cpu *c)
{
    return c->apr[GROUP_0] | c->apr[GROUP_1S] | c->apr[GROUP_1NS];
}

static uint8_t running_priority(const struct gicv3_cpu *c)
{
    uint32_t apr = active_priorities(c);
    return apr ? (uint8_t)(__builtin_ctz(apr) << (8 - PRIORITY_BITS)) : PRIORITY_IDLE;
}

// Does the best pending interrupt interrupt the CPU now?
static bool preempts(const struct gicv3_cpu *c)
{
    if (c->best.intid == INTID_SPURIOUS || c->best.prio >= c->pmr)
        return false;
    uint8_t mask = preemption_mask(c, c->best.group);
    uint8_t running = running_priority(c);
    return running == PRIORITY_IDLE || (c->best.prio & mask) < (running & mask);
}

// IRQ or FIQ (4.6.2): group 1 of the state the CPU is in comes as IRQ, all else as FIQ.
static enum gic_cpu_line line_of(const struct gicv3_cpu *c)
{
    switch ((enum gic_group)c->best.group) {
    case GROUP_1NS:
        return c->world == GIC_WORLD_NONSECURE || !two_states(c) ? GIC_CPU_IRQ : GIC_CPU_FIQ;
    case GROUP_1S:
        return c->world == GIC_WORLD_SECURE ? GIC_CPU_IRQ : GIC_CPU_FIQ;
    default:
        return GIC_CPU_FIQ;
    }
}

void gic_cpu_drive(struct gicv3_cpu *c, enum gic_cpu_line line, bool level)
{
    if (bit(c->line_level, line) == level)
        return;
    c->line_level ^= (uint8_t)(1 << line);
    irq_set(&c->line[line], level);
}

void gic_cpu_update(struct gicv3_cpu *c)
{
    bool on = preempts(c);
    enum gic_cpu_line line = line_of(c);
    gic_cpu_drive(c, GIC_CPU_IRQ, on && line == GIC_CPU_IRQ);
    gic_cpu_drive(c, GIC_CPU_FIQ, on && line == GIC_CPU_FIQ);
}

void gic_cpu_reset(struct gicv3_cpu *c)
{
    c->cpu_ctlr[0] = c->cpu_ctlr[1] = c->ctlr_el3 = 0;
    c->pmr = 0;
    c->bpr[GROUP_0] = c->bpr[GROUP_1S] = MIN_BPR;
    c->bpr[GROUP_1NS] = MIN_BPR + 1;
    c->igrpen = 0;
    memset(c->apr, 0, sizeof c->apr);
    c->virt = (struct gic_virt){.vmcr = 1 << 3}; // VFIQEn
}

// What IAR and HPPIR show of the best interrupt for group 0 or 1 (12.2.13 to 12.2.16).
static uint32_t shown_intid(const struct gicv3_cpu *c, bool group1, struct mem_attrs a)
{
    enum gic_group is = c->best.group;
    bool secure = a.secure || !two_states(c);
    if (c->best.intid == INTID_SPURIOUS)
        return INTID_SPURIOUS;
    if (!group1) {
        if (is != GROUP_1NS && !secure)
            return INTID_SPURIOUS;
        if (is != GROUP_0)
            return a.level < 3 ? INTID_SPURIOUS : is == GROUP_1S ? INTID_SECURE : INTID_NONSECURE;
        return c->best.intid;
    }
    if (is == GROUP_0 || (is == GROUP_1S && !secure))
        return INTID_SPURIOUS;
    if (is == GROUP_1NS && two_states(c) && a.secure && a.level < 3)
        return INTID_SPURIOUS;
    return c->best.intid;
}

static void activate(struct gicv3_cpu *c, uint32_t intid)
{
    uint8_t group = c->best.group;
    uint8_t prio = c->best.prio & preemption_mask(c, group);
    c->apr[group] |= 1u << (prio >> (8 - PRIORITY_BITS));
    if (intid >= LPI_FIRST) {
        gic_lpi_clear_locked(c, intid);
        gic_scan_lpis(c);
        return;
    }
    struct gic_block *b = intid < GIC_INTERNAL ? &c->own : &c->gic->spi[intid / 32];
    b->latch &= ~(1u << intid % 32);
    b->active |= 1u << intid % 32;
    if (intid < GIC_INTERNAL)
        gic_scan_own(c);
    else
        gic_scan_spis(c);
}

static uint32_t acknowledge(struct gicv3_cpu *c, bool group1, struct mem_attrs a)
{
    // An SPI's state is the distributor's, whose lock comes first: look again with both.
    bool with_dist = false;
    for (;;) {
        if (with_dist)
            mutex_lock(&c->gic->dist_lock);
        mutex_lock(&c->lock);
        uint32_t intid = preempts(c) ? shown_intid(c, group1, a) : INTID_SPURIOUS;
        bool ready = with_dist || !gic_is_spi(c->gic, intid);
        if (ready && (intid < INTID_SECURE || intid >= LPI_FIRST))
            activate(c, intid);
        mutex_unlock(&c->lock);
        if (with_dist)
            mutex_unlock(&c->gic->dist_lock);
        if (ready)
            return intid;
        with_dist = true;
    }
}

static bool eoi_mode(const struct gicv3_cpu *c, struct mem_attrs a)
{
    if (a.level == 3)
        return c->ctlr_el3 & EL3_EOIMODE_EL3;
    return c->cpu_ctlr[bank(c, a)] & CTLR_EOIMODE;
}

// Priority drop: the highest active priority goes, if it is of a group this register and this
// access may end (12.2.10, 12.2.11). False: nothing was dropped.
static bool drop_priority(struct gicv3_cpu *c, bool group1, struct mem_attrs a)
{
    uint32_t apr = active_priorities(c), lowest = apr & -apr;
    bool secure = a.secure || !two_states(c);
    if (!apr)
        return false;
    enum gic_group group = c->apr[GROUP_0] & lowest    ? GROUP_0
                           : c->apr[GROUP_1S] & lowest ? GROUP_1S
                                                       : GROUP_1NS;
    if (group1 != (group != GROUP_0))
        return false;
    if (group != GROUP_1NS && !secure)
        return false;
    if (group == GROUP_1NS && two_states(c) && a.secure && a.level < 3)
        return false;
    c->apr[group] &= ~lowest;
    return true;
}

static void end_of_interrupt(struct gicv3_cpu *c, bool group1, uint64_t v, struct mem_attrs a)
{
    uint32_t intid = v & 0xffffff;
    if (intid >= INTID_SECURE && intid <= INTID_SPURIOUS)
        return;
    mutex_lock(&c->lock);
    bool dropped = drop_priority(c, group1, a);
    gic_cpu_update(c);
    bool split = eoi_mode(c, a);
    mutex_unlock(&c->lock);
    if (dropped && !split)
        gic_deactivate(c, intid);
}

// DIR: only for those who split priority drop and deactivation, and on what they may see.
static void deactivate_write(struct gicv3_cpu *c, uint64_t v, struct mem_attrs a)
{
    struct gicv3 *g = c->gic;
    uint32_t intid = v & 0xffffff;
    if (intid >= g->num_irq || !eoi_mode(c, a))
        return;
    if (two_states(c) && !a.secure) {
        pthread_mutex_t *lock = intid < GIC_INTERNAL ? &c->lock : &g->dist_lock;
        mutex_lock(lock);
        const struct gic_block *b = intid < GIC_INTERNAL ? &c->own : &g->spi[intid / 32];
        enum gic_group group = gic_block_group(g, b, intid % 32);
        mutex_unlock(lock);
        if (group != GROUP_1NS)
            return;
    }
    gic_deactivate(c, intid);
}

static void sgi_write(struct gicv3_cpu *c, enum el1_reg reg, uint64_t v, struct mem_attrs a)
{
    struct gicv3 *g = c->gic;
    unsigned intid = bits(v, 27, 24);
    bool to_secure = a.secure == (reg == ICC_SGI1R);
    enum gic_group group = reg == ICC_SGI0R ? GROUP_0 : to_secure ? GROUP_1S : GROUP_1NS;
    if (!two_states(c) && group == GROUP_1S)
        group = GROUP_1NS;
    if (bit(v, 40)) { // all but ourselves
        for (unsigned i = 0; i < g->num_cpu; i++)
            if (&g->cpu[i] != c)
                gic_send_sgi(&g->cpu[i], group, intid, !a.secure);
        return;
    }
    uint32_t affinity =
        (uint32_t)(bits(v, 55, 48) << 24 | bits(v, 39, 32) << 16 | bits(v, 23, 16) << 8);
    unsigned range = (unsigned)bits(v, 47, 44) * 16;
    for (uint32_t list = v & 0xffff; list; list &= list - 1) {
        struct gicv3_cpu *to =
            gic_cpu_by_affinity(g, affinity | (range + (uint32_t)__builtin_ctz(list)));
        if (to)
            gic_send_sgi(to, group, intid, !a.secure);
    }
}

// The non-secure side sees shifted priorities only while group 0 is EL3's (SCR_EL3.FIQ; 4.8.1).
static bool shifted(const struct gicv3_cpu *c, struct mem_attrs a)
{
    return two_states(c) && !a.secure && a.el3_fiq;
}

static uint8_t pmr_read(const struct gicv3_cpu *c, struct mem_attrs a)
{
    if (!shifted(c, a))
        return c->pmr;
    return c->pmr & 0x80 ? (uint8_t)(c->pmr << 1) : 0;
}

static void pmr_write(struct gicv3_cpu *c, uint64_t v, struct mem_attrs a)
{
    uint8_t pmr = (uint8_t)v;
    if (shifted(c, a)) {
        if (!(c->pmr & 0x80)) // the secure side's, and out of reach
            return;
        pmr = 0x80 | pmr >> 1;
    }
    c->pmr = pmr & PRIORITY_MASK;
}

static uint8_t rpr_read(const struct gicv3_cpu *c, struct mem_attrs a)
{
    uint8_t prio = running_priority(c);
    if (!shifted(c, a) || prio == PRIORITY_IDLE)
        return prio;
    return prio & 0x80 ? (uint8_t)(prio << 1) : 0;
}

static enum gic_group group1_of(const struct gicv3_cpu *c, struct mem_attrs a)
{
    return bank(c, a) ? GROUP_1S : GROUP_1NS;
}

static uint8_t bpr1_read(const struct gicv3_cpu *c, struct mem_attrs a)
{
    if (!(c->cpu_ctlr[bank(c, a)] & CTLR_CBPR))
        return c->bpr[group1_of(c, a)];
    return bank(c, a) ? c->bpr[GROUP_0] : MIN(c->bpr[GROUP_0] + 1, 7);
}

static void bpr_write(struct gicv3_cpu *c, enum gic_group group, uint64_t v, struct mem_attrs a)
{
    if (group != GROUP_0 && (c->cpu_ctlr[bank(c, a)] & CTLR_CBPR)) {
        if (!bank(c, a)) // the common one is out of reach here
            return;
        group = GROUP_0;
    }
    uint8_t least = group == GROUP_1NS ? MIN_BPR + 1 : MIN_BPR;
    c->bpr[group] = MAX((uint8_t)(v & 7), least);
}

static uint64_t ctlr_read(const struct gicv3_cpu *c, struct mem_attrs a)
{
    return c->cpu_ctlr[bank(c, a)] | CTLR_FIXED;
}

static void ctlr_write(struct gicv3_cpu *c, uint64_t v, struct mem_attrs a)
{
    uint32_t mask = CTLR_CBPR | CTLR_EOIMODE;
    c->cpu_ctlr[bank(c, a)] = v & mask;
}

static uint64_t ctlr_el3_read(const struct gicv3_cpu *c)
{
    uint64_t v = c->ctlr_el3 | CTLR_FIXED | (two_states(c) ? 0 : EL3_NDS);
    v |= c->cpu_ctlr[1] & CTLR_CBPR ? EL3_CBPR_EL1S : 0;
    v |= c->cpu_ctlr[0] & CTLR_CBPR ? EL3_CBPR_EL1NS : 0;
    v |= c->cpu_ctlr[1] & CTLR_EOIMODE ? EL3_EOIMODE_EL1S : 0;
    v |= c->cpu_ctlr[0] & CTLR_EOIMODE ? EL3_EOIMODE_EL1NS : 0;
    return v;
}

static void ctlr_el3_write(struct gicv3_cpu *c, uint64_t v)
{
    c->ctlr_el3 = v & (EL3_EOIMODE_EL3 | EL3_PMHE);
    c->cpu_ctlr[0] =
        (v & EL3_CBPR_EL1NS ? CTLR_CBPR : 0) | (v & EL3_EOIMODE_EL1NS ? CTLR_EOIMODE : 0);
    c->cpu_ctlr[1] =
        (v & EL3_CBPR_EL1S ? CTLR_CBPR : 0) | (v & EL3_EOIMODE_EL1S ? CTLR_EOIMODE : 0);
}

// Group enables decide which SPIs are candidates, hence both locks.
static void group_enable(struct gicv3_cpu *c, enum gic_group group, bool on)
{
    mutex_lock(&c->gic->dist_lock);
    mutex_lock(&c->lock);
    c->igrpen = (uint8_t)bits_set(c->igrpen, group, group, on);
    gic_scan_own(c);
    gic_scan_lpis(c);
    gic_scan_spis(c);
    mutex_unlock(&c->lock);
    mutex_unlock(&c->gic->dist_lock);
}

enum gic_concern gic_concern_of(unsigned reg)
{
    switch (reg) {
    case ICC_IAR0 ... ICC_BPR0:
    case ICC_AP0R0 ... ICC_AP0R0 + 3:
    case ICC_IGRPEN0:
        return GIC_FOR_GROUP0;
    case ICC_AP1R0 ... ICC_AP1R0 + 3:
    case ICC_IAR1 ... ICC_BPR1:
    case ICC_IGRPEN1:
        return GIC_FOR_GROUP1;
    case ICC_SGI1R:
    case ICC_ASGI1R:
    case ICC_SGI0R:
        return GIC_FOR_SGIS;
    case ICC_DIR:
    case ICC_RPR:
    case ICC_CTLR:
    case ICC_PMR:
        return GIC_FOR_BOTH;
    default:
        return GIC_FOR_NONE;
    }
}

enum route { TO_PHYSICAL, TO_VIRTUAL, TO_EL2, TO_EL3 };
static enum route route_of(struct gicv3_cpu *c, unsigned reg, struct mem_attrs a)
{
    enum gic_concern about = gic_concern_of(reg);
    bool virt = about == GIC_FOR_GROUP0   ? a.virt_fiq
                : about == GIC_FOR_GROUP1 ? a.virt_irq
                                          : a.virt_irq || a.virt_fiq;
    bool el3 = about == GIC_FOR_GROUP0   ? a.el3_fiq
               : about == GIC_FOR_GROUP1 ? a.el3_irq
                                         : a.el3_irq && a.el3_fiq;
    if (about == GIC_FOR_NONE || a.level > 2)
        return TO_PHYSICAL;
    if (a.level == 1 && c->gic->has_el2 && !a.secure) {
        mutex_lock(&c->lock);
        bool traps = gic_virt_traps(c, reg);
        mutex_unlock(&c->lock);
        if (traps || (virt && about == GIC_FOR_SGIS))
            return TO_EL2;
        if (virt)
            return TO_VIRTUAL;
    }
    return el3 ? TO_EL3 : TO_PHYSICAL;
}

static enum mem_result icc_read(struct gicv3_cpu *c, unsigned reg, uint64_t *val,
                                struct mem_attrs a)
{
    *val = 0;
    if (reg == ICC_IAR0 || reg == ICC_IAR1) {
        *val = acknowledge(c, reg == ICC_IAR1, a);
        return MEM_OK;
    }
    enum mem_result r = MEM_OK;
    mutex_lock(&c->lock);
    switch (reg) {
    case ICC_HPPIR0:
    case ICC_HPPIR1:
        *val = shown_intid(c, reg == ICC_HPPIR1, a);
        break;
    case ICC_BPR0:
        *val = c->bpr[GROUP_0];
        break;
    case ICC_BPR1:
        *val = bpr1_read(c, a);
        break;
    case ICC_AP0R0:
        *val = c->apr[GROUP_0];
        break;
    case ICC_AP1R0:
        *val = c->apr[group1_of(c, a)];
        break;
    case ICC_RPR:
        *val = rpr_read(c, a);
        break;
    case ICC_CTLR:
        *val = ctlr_read(c, a);
        break;
    case ICC_SRE:
        *val = 7;
        break;
    case ICC_IGRPEN0:
        *val = bit(c->igrpen, GROUP_0);
        break;
    case ICC_IGRPEN1:
        *val = bit(c->igrpen, group1_of(c, a));
        break;
    case ICC_PMR:
        *val = pmr_read(c, a);
        break;
    default:
        r = MEM_UNMAPPED;
    }
    mutex_unlock(&c->lock);
    return r;
}

// Writes that take locks in their own order; false: not one of them.
static bool icc_write_unlocked(struct gicv3_cpu *c, unsigned reg, uint64_t val, struct mem_attrs a)
{
    switch (reg) {
    case ICC_EOIR0:
    case ICC_EOIR1:
        end_of_interrupt(c, reg == ICC_EOIR1, val, a);
        return true;
    case ICC_DIR:
        deactivate_write(c, val, a);
        return true;
    case ICC_SGI0R:
    case ICC_SGI1R:
    case ICC_ASGI1R:
        sgi_write(c, reg, val, a);
        return true;
    case ICC_IGRPEN0:
        group_enable(c, GROUP_0, val & 1);
        return true;
    case ICC_IGRPEN1:
        group_enable(c, group1_of(c, a), val & 1);
        return true;
    case ICC_SRE: // system registers are always on
        return true;
    }
    return false;
}

static enum mem_result icc_write(struct gicv3_cpu *c, unsigned reg, uint64_t val,
                                 struct mem_attrs a)
{
    enum mem_result r = MEM_OK;
    if (icc_write_unlocked(c, reg, val, a))
        return MEM_OK;
    mutex_lock(&c->lock);
    switch (reg) {
    case ICC_BPR0:
        bpr_write(c, GROUP_0, val, a);
        break;
    case ICC_BPR1:
        bpr_write(c, group1_of(c, a), val, a);
        break;
    case ICC_AP0R0:
        c->apr[GROUP_0] = (uint32_t)val;
        break;
    case ICC_AP1R0:
        c->apr[group1_of(c, a)] = (uint32_t)val;
        break;
    case ICC_CTLR:
        ctlr_write(c, val, a);
        break;
    case ICC_PMR:
        pmr_write(c, val, a);
        break;
    default:
        r = MEM_UNMAPPED;
    }
    gic_cpu_update(c);
    mutex_unlock(&c->lock);
    return r;
}

static enum mem_result access_el1(struct gicv3_cpu *c, unsigned reg, bool write, uint64_t *val,
                                  struct mem_attrs a)
{
    switch (route_of(c, reg, a)) {
    case TO_EL2:
        return MEM_TRAP_EL2;
    case TO_EL3:
        return MEM_TRAP_EL3;
    case TO_VIRTUAL:
        return write ? gic_virt_write(c, reg, *val) : gic_virt_read(c, reg, val);
    default:
        return write ? icc_write(c, reg, *val, a) : icc_read(c, reg, val, a);
    }
}

static enum mem_result el1_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                struct mem_attrs a)
{
    return access_el1(opaque, (unsigned)off / 8, false, val, a);
}
static enum mem_result el1_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                 struct mem_attrs a)
{
    return access_el1(opaque, (unsigned)off / 8, true, &val, a);
}
static enum mem_result pmr_window_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                       struct mem_attrs a)
{
    return access_el1(opaque, ICC_PMR, false, val, a);
}
static enum mem_result pmr_window_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                        struct mem_attrs a)
{
    return access_el1(opaque, ICC_PMR, true, &val, a);
}

static enum mem_result el3_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                struct mem_attrs a)
{
    struct gicv3_cpu *c = opaque;
    enum mem_result r = MEM_OK;
    mutex_lock(&c->lock);
    switch (off / 8) {
    case ICC_CTLR_EL3:
        *val = ctlr_el3_read(c);
        break;
    case ICC_SRE_EL3:
        *val = 0xf;
        break;
    case ICC_IGRPEN1_EL3:
        *val = bit(c->igrpen, GROUP_1NS) | bit(c->igrpen, GROUP_1S) << 1;
        break;
    default:
        r = MEM_UNMAPPED;
    }
    mutex_unlock(&c->lock);
    return r;
}

static enum mem_result el3_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                 struct mem_attrs a)
{
    struct gicv3_cpu *c = opaque;
    switch (off / 8) {
    case ICC_CTLR_EL3:
        mutex_lock(&c->lock);
        ctlr_el3_write(c, val);
        gic_cpu_update(c);
        mutex_unlock(&c->lock);
        return MEM_OK;
    case ICC_SRE_EL3:
        return MEM_OK;
    case ICC_IGRPEN1_EL3:
        group_enable(c, GROUP_1NS, val & 1);
        group_enable(c, GROUP_1S, val & 2);
        return MEM_OK;
    }
    return MEM_UNMAPPED;
}

const struct mmio_ops gicv3_el1_ops = {el1_read, el1_write, .min_size = 8, .max_size = 8};
const struct mmio_ops gicv3_pmr_ops = {pmr_window_read, pmr_window_write, .min_size = 8,
                                       .max_size = 8};
const struct mmio_ops gicv3_el3_ops = {el3_read, el3_write, .min_size = 8, .max_size = 8};
