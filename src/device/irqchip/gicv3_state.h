// The GICv3's state, shared by its files only. Two kinds of lock: `dist_lock` guards the SPIs and
// the group enables, each CPU's `lock` its redistributor, LPIs and CPU interface. Order: dist_lock,
// then one CPU's lock; never two CPUs' locks together. Lines to the CPUs are set under their lock.
// Redistributors and CPU interfaces are reached without the device's guard, so that vCPUs do not
// wait for each other; nothing they do can come back to them.
#pragma once

#include "base/bits.h"
#include "base/map.h"
#include "base/thread.h"
#include "device/irqchip/gic_block.h"
#include "device/irqchip/gic_virt.h"
#include "device/irqchip/gicv3.h"

enum {
    GIC_MAX_SPI = 1020,
    INTID_MAINTENANCE = 25,
    LPI_FIRST = GIC_LPI_FIRST,
    LPI_ID_BITS = 16,
    LPI_END = 1 << LPI_ID_BITS,
    NO_CPU = -1,
};
enum gic_group { GROUP_0, GROUP_1S, GROUP_1NS, GROUPS };

enum {
    CTLR_ENABLE_G0 = 1 << 0,
    CTLR_ENABLE_G1NS = 1 << 1,
    CTLR_ENABLE_G1S = 1 << 2,
    CTLR_ARE_S = 1 << 4, // with one security state: ARE
    CTLR_ARE_NS = 1 << 5,
    CTLR_DS = 1 << 6,
};

struct gic_pending {
    uint32_t intid; // INTID_SPURIOUS: none
    uint8_t prio;
    uint8_t group;
};

struct gicv3;
struct gicv3_cpu {
    struct gicv3 *gic;
    unsigned index;
    uint32_t affinity;
    pthread_mutex_t lock;
    struct irq line[GIC_CPU_LINES];
    uint8_t line_level; // bit per line
    bool last_redist;
    uint8_t world; // enum gic_world

    // Redistributor
    uint32_t ctlr, waker;
    uint64_t propbaser, pendbaser;
    struct gic_block own;
    uint64_t *lpi_pending; // bit per INTID, allocated when LPIs are first enabled
    uint64_t lpi_summary[LPI_END / 64 / 64];

    // Best candidates of each source with their group enabled, and of all.
    struct gic_pending own_best, spi_best, lpi_best, best;

    // CPU interface. Banked registers are indexed by 0: non-secure, 1: secure.
    uint32_t cpu_ctlr[2], ctlr_el3;
    uint8_t pmr;
    uint8_t bpr[GROUPS];
    uint8_t igrpen; // bit per group
    uint32_t apr[GROUPS];
    struct gic_virt virt;
};

struct gicv3 {
    struct sys_device sys;
    uint32_t num_cpu, num_irq;
    bool has_el3, has_el2, has_lpi, reset_nonsecure;

    pthread_mutex_t dist_lock;
    uint32_t ctlr;
    struct gic_block spi[32]; // [0] is unused
    uint64_t route[1024];
    int16_t target[1024]; // CPU index the route names, or NO_CPU

    pthread_mutex_t lpi_lock; // taken inside a CPU's lock
    uint8_t *lpi_config;      // cached configuration bytes, by INTID
    uint64_t lpi_table;       // where they were read from: PROPBASER's address and size

    struct gicv3_cpu *cpu;
    struct map by_affinity;
};

static inline bool gic_is_ds(const struct gicv3 *g)
{
    return g->ctlr & CTLR_DS;
}
static inline bool gic_is_spi(const struct gicv3 *g, uint32_t intid)
{
    return intid >= GIC_INTERNAL && intid < g->num_irq;
}
static inline bool gic_better(struct gic_pending a, struct gic_pending b)
{
    return a.intid != INTID_SPURIOUS && (b.intid == INTID_SPURIOUS || a.prio < b.prio ||
                                         (a.prio == b.prio && a.intid < b.intid));
}
#define GIC_NOTHING ((struct gic_pending){INTID_SPURIOUS, PRIORITY_IDLE, GROUP_0})

// Registers of one exception level's window: CRm - 8 in [5:3], op2 in [2:0].
enum el1_reg {
    ICC_IAR0 = 000,
    ICC_EOIR0 = 001,
    ICC_HPPIR0 = 002,
    ICC_BPR0 = 003,
    ICC_AP0R0 = 004,
    ICC_AP1R0 = 010,
    ICC_DIR = 031,
    ICC_RPR = 033,
    ICC_SGI1R = 035,
    ICC_ASGI1R = 036,
    ICC_SGI0R = 037,
    ICC_IAR1 = 040,
    ICC_EOIR1 = 041,
    ICC_HPPIR1 = 042,
    ICC_BPR1 = 043,
    ICC_CTLR = 044,
    ICC_SRE = 045,
    ICC_IGRPEN0 = 046,
    ICC_IGRPEN1 = 047,
    ICC_PMR = 0100, // in its own window
};

// Which interrupts a register is about, for traps and for the choice of the virtual interface.
enum gic_concern { GIC_FOR_GROUP0, GIC_FOR_GROUP1, GIC_FOR_BOTH, GIC_FOR_SGIS, GIC_FOR_NONE };

// How an access with this security attribute sees the registers.
static inline enum gic_view gic_view(const struct gicv3 *g, bool secure)
{
    return gic_is_ds(g) ? GIC_VIEW_ALL : secure ? GIC_VIEW_SECURE : GIC_VIEW_NONSECURE;
}

// gicv3.c
enum gic_group gic_block_group(const struct gicv3 *g, const struct gic_block *b, unsigned i);
struct gicv3_cpu *gic_cpu_by_affinity(struct gicv3 *g, uint32_t affinity); // NULL: none
// Find the candidates again and set the lines. The caller holds the CPU's lock; for spis the
// dist_lock too.
void gic_scan_own(struct gicv3_cpu *c);
void gic_scan_spis(struct gicv3_cpu *c);
void gic_scan_lpis(struct gicv3_cpu *c);
// One SPI changed; dist_lock held, no CPU's lock.
void gic_spi_changed(struct gicv3 *g, uint32_t intid);
// Group enables or DS changed; dist_lock held, no CPU's lock.
void gic_scan_everything(struct gicv3 *g);
// Remove the active state. Holds no lock at entry.
void gic_deactivate(struct gicv3_cpu *c, uint32_t intid);

// gicv3_dist.c, gicv3_redist.c, gicv3_cpuif.c, gicv3_virt.c
extern const struct mmio_ops gicv3_dist_ops, gicv3_redist_ops, gicv3_pmr_ops, gicv3_el1_ops,
    gicv3_el2_ops, gicv3_el3_ops;
int16_t gic_route_target(const struct gicv3 *g, uint64_t route); // CPU index, or NO_CPU
void gic_send_sgi(struct gicv3_cpu *to, enum gic_group group, unsigned intid, bool nonsecure);
enum gic_concern gic_concern_of(unsigned reg);                               // an el1_reg
void gic_cpu_drive(struct gicv3_cpu *c, enum gic_cpu_line line, bool level); // CPU's lock held
void gic_cpu_reset(struct gicv3_cpu *c);                                     // CPU interface part
void gic_cpu_update(struct gicv3_cpu *c);  // physical lines from `best`; CPU's lock held
void gic_virt_update(struct gicv3_cpu *c); // virtual lines and maintenance; CPU's lock held
enum mem_result gic_virt_read(struct gicv3_cpu *c, unsigned reg, uint64_t *v);
enum mem_result gic_virt_write(struct gicv3_cpu *c, unsigned reg, uint64_t v);
bool gic_virt_traps(const struct gicv3_cpu *c, unsigned reg); // by ICH_HCR_EL2, from EL1

// gicv3_lpi.c
// LPI state of one CPU; any thread, no lock held.
void gic_lpi_set(struct gicv3_cpu *c, uint32_t lpi, bool pending);
bool gic_lpi_take(struct gicv3_cpu *c, uint32_t lpi); // clear; was it pending?
void gic_lpi_move_all(struct gicv3_cpu *from, struct gicv3_cpu *to);
void gic_lpi_reload(struct gicv3 *g, uint32_t lpi); // one configuration byte was changed
void gic_lpi_reload_all(struct gicv3 *g);
// With the CPU's lock held:
void gic_lpi_enable(struct gicv3_cpu *c, bool on);
void gic_lpi_clear_locked(struct gicv3_cpu *c, uint32_t lpi);
struct gic_pending gic_lpi_best(struct gicv3_cpu *c);
void gic_lpi_loaded(struct gicv3_cpu *c); // its pending bits came out of a saved machine
