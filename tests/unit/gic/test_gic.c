// GICv2 and GICv3 against one reference model of what both architectures share: pending and active
// states, edge and level, priorities, preemption, targets, SGIs, with one security state. The model
// keeps plain flags for each interrupt and looks at all of them each time; random scripts compare
// every line and every acknowledged number. Then scenarios of single features.
#include "../device/rig.h"

#include "base/bits.h"
#include "device/irqchip/gicv2.h"
#include "device/irqchip/gicv3.h"
#include "device/irqchip/its/its.h"

#include <stdlib.h>

enum { DIST = 0x8000000, CPUIF = 0x8010000, REDIST = 0x80a0000, HYP = 0x8030000, VCPU = 0x8040000 };
enum { CPUS = 4, IRQS = 96, SPURIOUS = 1023 };
#define SYSREG(op0, op1, crn, crm, op2)                                                            \
    ((gpa_t)((op0) << 14 | (op1) << 11 | (crn) << 7 | (crm) << 3 | (op2)) << 3)
#define ICC_PMR        SYSREG(3, 0, 4, 6, 0)
#define ICC_IAR0       SYSREG(3, 0, 12, 8, 0)
#define ICC_EOIR0      SYSREG(3, 0, 12, 8, 1)
#define ICC_DIR        SYSREG(3, 0, 12, 11, 1)
#define ICC_RPR        SYSREG(3, 0, 12, 11, 3)
#define ICC_SGI1R      SYSREG(3, 0, 12, 11, 5)
#define ICC_IAR1       SYSREG(3, 0, 12, 12, 0)
#define ICC_EOIR1      SYSREG(3, 0, 12, 12, 1)
#define ICC_BPR1       SYSREG(3, 0, 12, 12, 3)
#define ICC_CTLR       SYSREG(3, 0, 12, 12, 4)
#define ICC_GRPEN0     SYSREG(3, 0, 12, 12, 6)
#define ICC_GRPEN1     SYSREG(3, 0, 12, 12, 7)
#define ICC_GRPEN1_EL3 SYSREG(3, 6, 12, 12, 7)
#define ICH_HCR        SYSREG(3, 4, 12, 11, 0)
#define ICH_VTR        SYSREG(3, 4, 12, 11, 1)
#define ICH_MISR       SYSREG(3, 4, 12, 11, 2)
#define ICH_EISR       SYSREG(3, 4, 12, 11, 3)
#define ICH_ELRSR      SYSREG(3, 4, 12, 11, 5)
#define ICH_VMCR       SYSREG(3, 4, 12, 11, 7)
#define ICH_LR(n)      SYSREG(3, 4, 12, 12, n)

struct gic {
    struct rig rig;
    struct device *dev;
    struct space *sysregs[CPUS];
    bool v3;
};

static struct mem_attrs cpu_attrs(unsigned cpu)
{
    return (struct mem_attrs){.requester = cpu, .level = 1};
}

static int line_level(struct gic *g, unsigned cpu, unsigned line)
{
    return g->rig.line[cpu * 4 + line];
}

static void gic_open(struct gic *g, bool v3, bool el3, bool el2)
{
    struct err e;
    rig_open(&g->rig);
    g->v3 = v3;
    g->dev = rig_device(&g->rig, v3 ? &gicv3_type : &gicv2_type);
    assert_int_equal(device_set(g->dev, "num-cpu", "4", &e), 0);
    assert_int_equal(device_set(g->dev, "num-irq", "96", &e), 0);
    assert_int_equal(device_set(g->dev, "has-security-extensions", el3 ? "on" : "off", &e), 0);
    assert_int_equal(device_set(g->dev, v3 ? "has-virtualization" : "has-virtualization-extensions",
                                el2 ? "on" : "off", &e),
                     0);
    if (v3)
        assert_int_equal(device_set(g->dev, "has-lpi", "on", &e), 0);
    assert_int_equal(device_start(&g->rig.tree, g->dev, NULL, &e), 0);
    rig_map(&g->rig, g->dev, 0, DIST);
    if (v3)
        gicv3_map_redists(g->dev, 0, CPUS, g->rig.env.memory, REDIST);
    else
        rig_map(&g->rig, g->dev, GICV2_CPU, CPUIF);
    for (unsigned c = 0; c < CPUS; c++) {
        struct irq lines[4];
        for (int l = 0; l < 4; l++)
            lines[l] = rig_line(&g->rig, (int)c * 4 + l);
        if (!v3) {
            gicv2_set_cpu(g->dev, c, lines);
            continue;
        }
        gicv3_set_cpu(g->dev, c, c, lines);
        g->sysregs[c] = space_new("sysregs", 0x7ffff);
        gicv3_map_sysregs(g->dev, c, g->sysregs[c]);
    }
    device_reset(g->dev);
}

static void gic_close(struct gic *g)
{
    rig_close(&g->rig);
    for (unsigned c = 0; g->v3 && c < CPUS; c++)
        space_free(g->sysregs[c]);
}

static uint64_t sysreg(struct gic *g, unsigned cpu, gpa_t reg, struct mem_attrs a)
{
    uint64_t v = 0;
    a.requester = cpu;
    assert_int_equal(space_read(g->sysregs[cpu], reg, 8, &v, a), MEM_OK);
    return v;
}
static void set_sysreg(struct gic *g, unsigned cpu, gpa_t reg, uint64_t v, struct mem_attrs a)
{
    a.requester = cpu;
    assert_int_equal(space_write(g->sysregs[cpu], reg, 8, v, a), MEM_OK);
}

// The frame in which CPU `cpu` finds the registers of an interrupt.
static gpa_t frame(struct gic *g, unsigned cpu, unsigned irq)
{
    return g->v3 && irq < 32 ? REDIST + 0x20000 * cpu + 0x10000 : DIST;
}
static void set_bit_reg(struct gic *g, unsigned cpu, unsigned reg, unsigned irq)
{
    rig_write(&g->rig, frame(g, cpu, irq) + reg + irq / 32 * 4, 4, 1u << irq % 32, cpu_attrs(cpu));
}
static void set_prio(struct gic *g, unsigned cpu, unsigned irq, uint8_t prio)
{
    rig_write(&g->rig, frame(g, cpu, irq) + 0x400 + irq, 1, prio, cpu_attrs(cpu));
}
static void set_edge(struct gic *g, unsigned cpu, unsigned irq, bool edge)
{
    gpa_t at = frame(g, cpu, irq) + 0xc00 + irq / 16 * 4;
    uint32_t v = (uint32_t)rig_read(&g->rig, at, 4, cpu_attrs(cpu));
    v = (uint32_t)bits_set(v, irq % 16 * 2 + 1, irq % 16 * 2 + 1, edge);
    rig_write(&g->rig, at, 4, v, cpu_attrs(cpu));
}
static void set_target(struct gic *g, unsigned irq, unsigned cpu)
{
    if (g->v3)
        rig_write(&g->rig, DIST + 0x6000 + irq * 8, 8, cpu, cpu_attrs(0));
    else
        rig_write(&g->rig, DIST + 0x800 + irq, 1, 1u << cpu, cpu_attrs(0));
}
static void cpu_write(struct gic *g, unsigned cpu, unsigned off, gpa_t reg, uint32_t v)
{
    if (g->v3)
        set_sysreg(g, cpu, reg, v, cpu_attrs(cpu));
    else
        rig_write(&g->rig, CPUIF + off, 4, v, cpu_attrs(cpu));
}
static uint32_t cpu_read(struct gic *g, unsigned cpu, unsigned off, gpa_t reg)
{
    if (g->v3)
        return (uint32_t)sysreg(g, cpu, reg, cpu_attrs(cpu));
    return (uint32_t)rig_read(&g->rig, CPUIF + off, 4, cpu_attrs(cpu));
}
static void input(struct gic *g, unsigned cpu, unsigned irq, int level)
{
    struct irq l = irq >= 32 ? g->v3 ? gicv3_spi(g->dev, irq) : gicv2_spi(g->dev, irq)
                   : g->v3 ? gicv3_ppi(g->dev, cpu, irq)
                             : gicv2_ppi(g->dev, cpu, irq);
    irq_set(&l, level);
}
static void send_sgi(struct gic *g, unsigned from, unsigned to, unsigned sgi)
{
    if (g->v3)
        set_sysreg(g, from, ICC_SGI1R, (uint64_t)sgi << 24 | 1u << to, cpu_attrs(from));
    else
        rig_write(&g->rig, DIST + 0xf00, 4, 1u << (16 + to) | sgi, cpu_attrs(from));
}

static void enable_all(struct gic *g)
{
    WR32(&g->rig, DIST, 3);
    for (unsigned c = 0; c < CPUS; c++) {
        if (g->v3) {
            rig_write(&g->rig, frame(g, c, 0) + 0x80, 4, 0xffffffff, cpu_attrs(c));
            set_sysreg(g, c, ICC_GRPEN1, 1, cpu_attrs(c));
        }
        cpu_write(g, c, 0x04, ICC_PMR, 0xf8);
        if (!g->v3)
            cpu_write(g, c, 0x00, 0, 1);
    }
    for (unsigned w = 1; g->v3 && w < IRQS / 32; w++)
        WR32(&g->rig, DIST + 0x80 + 4 * w, 0xffffffff);
}

// ---- reference ----

struct ref_irq {
    bool enabled, latch, level, edge, active;
    uint8_t prio, from; // from: GICv2's mask of SGI sources
    unsigned target;
};
struct ref {
    struct ref_irq own[CPUS][32], spi[IRQS];
    uint8_t pmr[CPUS];
    uint8_t running[CPUS][64]; // stack of group priorities
    uint32_t taken[CPUS][64];  // and what was acknowledged with them
    unsigned depth[CPUS];
};

static struct ref_irq *ref_irq(struct ref *m, unsigned cpu, unsigned irq)
{
    return irq < 32 ? &m->own[cpu][irq] : &m->spi[irq];
}
static bool ref_pending(const struct ref_irq *i)
{
    return i->latch || (i->level && !i->edge);
}

static unsigned ref_signalled(struct ref *m, unsigned cpu, unsigned bpr_bits)
{
    unsigned best = SPURIOUS, best_prio = 256;
    for (unsigned n = 0; n < IRQS; n++) {
        const struct ref_irq *i = ref_irq(m, cpu, n);
        if ((n < 32 || i->target == cpu) && i->enabled && ref_pending(i) && !i->active &&
            i->prio < best_prio) {
            best = n;
            best_prio = i->prio;
        }
    }
    if (best == SPURIOUS || best_prio >= m->pmr[cpu])
        return SPURIOUS;
    unsigned depth = m->depth[cpu];
    if (depth && (best_prio >> bpr_bits) >= (unsigned)(m->running[cpu][depth - 1] >> bpr_bits))
        return SPURIOUS;
    return best;
}

static void ref_line(struct ref_irq *i, bool level)
{
    if (level && !i->level && i->edge)
        i->latch = true;
    i->level = level;
}

static void check_lines(struct gic *g, struct ref *m)
{
    for (unsigned c = 0; c < CPUS; c++) {
        assert_int_equal(line_level(g, c, 0), ref_signalled(m, c, 3) != SPURIOUS);
        assert_int_equal(line_level(g, c, 1), 0);
    }
}

static void step_acknowledge(struct gic *g, struct ref *m, unsigned cpu)
{
    unsigned expected = ref_signalled(m, cpu, 3);
    uint32_t got = cpu_read(g, cpu, 0x0c, ICC_IAR1);
    assert_int_equal(got & 0x3ff, expected);
    if (expected == SPURIOUS)
        return;
    struct ref_irq *i = ref_irq(m, cpu, expected);
    if (!g->v3 && expected < 16) {
        assert_int_equal(got >> 10, __builtin_ctz(i->from));
        i->from &= i->from - 1;
    } else {
        i->from = 0;
    }
    i->latch = i->from != 0;
    i->active = true;
    m->running[cpu][m->depth[cpu]] = i->prio;
    m->taken[cpu][m->depth[cpu]++] = got;
}

static void step_end(struct gic *g, struct ref *m, unsigned cpu)
{
    if (!m->depth[cpu])
        return;
    uint32_t got = m->taken[cpu][--m->depth[cpu]];
    cpu_write(g, cpu, 0x10, ICC_EOIR1, got);
    ref_irq(m, cpu, got & 0x3ff)->active = false;
}

static void step(struct gic *g, struct ref *m)
{
    unsigned cpu = (unsigned)rand() % CPUS, n = (unsigned)rand() % IRQS;
    struct ref_irq *i = ref_irq(m, cpu, n);
    switch (rand() % 12) {
    case 0:
        set_bit_reg(g, cpu, 0x100, n);
        i->enabled = true;
        break;
    case 1:
        if (n < 16 && !g->v3) // SGIs of GICv2 are always enabled
            break;
        set_bit_reg(g, cpu, 0x180, n);
        i->enabled = false;
        break;
    case 2:
        i->prio = (uint8_t)rand() & 0xf8;
        set_prio(g, cpu, n, i->prio);
        break;
    case 3:
        if (n < 16)
            break;
        i->edge = rand() & 1;
        set_edge(g, cpu, n, i->edge);
        break;
    case 4:
    case 5:
        if (n < 16)
            break;
        ref_line(i, rand() & 1);
        input(g, cpu, n, i->level);
        break;
    case 6:
        if (n < 16 && !g->v3)
            break;
        i->latch = true;
        set_bit_reg(g, cpu, 0x200, n);
        break;
    case 7: {
        unsigned to = (unsigned)rand() % CPUS;
        n %= 16;
        send_sgi(g, cpu, to, n);
        m->own[to][n].latch = true;
        m->own[to][n].from |= (uint8_t)(1u << cpu);
        break;
    }
    case 8:
        if (n < 32 || i->active)
            break;
        i->target = cpu;
        set_target(g, n, cpu);
        break;
    case 9:
        m->pmr[cpu] = (uint8_t)rand() | 0x80;
        m->pmr[cpu] &= 0xf8;
        cpu_write(g, cpu, 0x04, ICC_PMR, m->pmr[cpu]);
        break;
    case 10:
        step_acknowledge(g, m, cpu);
        break;
    default:
        step_end(g, m, cpu);
    }
    check_lines(g, m);
}

static void random_script(bool v3)
{
    for (unsigned seed = 1; seed <= 20; seed++) {
        struct gic g;
        struct ref *m = calloc(1, sizeof *m);
        gic_open(&g, v3, false, false);
        enable_all(&g);
        srand(seed);
        for (unsigned c = 0; c < CPUS; c++) {
            m->pmr[c] = 0xf8;
            for (unsigned n = 0; n < 16; n++)
                m->own[c][n] = (struct ref_irq){.edge = true, .enabled = !v3};
        }
        for (unsigned n = 32; n < IRQS; n++)
            set_target(&g, n, 0);
        for (unsigned i = 0; i < 5000; i++)
            step(&g, m);
        gic_close(&g);
        free(m);
    }
}

static void test_v2_random(void **state)
{
    random_script(false);
}
static void test_v3_random(void **state)
{
    random_script(true);
}

// ---- scenarios ----

// EOImode 1: EOIR drops the priority, DIR deactivates.
static void test_split_end(void **state)
{
    struct gic g;
    gic_open(&g, true, false, false);
    enable_all(&g);
    set_sysreg(&g, 0, ICC_CTLR, 2, cpu_attrs(0));
    set_bit_reg(&g, 0, 0x100, 40);
    set_target(&g, 40, 0);
    input(&g, 0, 40, 1);
    assert_int_equal(sysreg(&g, 0, ICC_IAR1, cpu_attrs(0)), 40);
    assert_int_equal(sysreg(&g, 0, ICC_RPR, cpu_attrs(0)), 0);
    set_sysreg(&g, 0, ICC_EOIR1, 40, cpu_attrs(0));
    assert_int_equal(sysreg(&g, 0, ICC_RPR, cpu_attrs(0)), 0xff);
    assert_int_equal(line_level(&g, 0, 0), 0); // still active
    set_sysreg(&g, 0, ICC_DIR, 40, cpu_attrs(0));
    assert_int_equal(line_level(&g, 0, 0), 1);
    gic_close(&g);
}

// Two security states: what the non-secure side may see, group 0 as FIQ, group 1 by world.
static void test_security(void **state)
{
    struct gic g;
    gic_open(&g, true, true, false);
    const struct mem_attrs s = {.secure = true, .level = 3}, ns = {.level = 1, .el3_fiq = true};
    rig_write(&g.rig, DIST, 4, 7, s);
    rig_write(&g.rig, DIST + 0x84, 4, 1u << 1, s);  // 33: non-secure group 1
    rig_write(&g.rig, DIST + 0xd04, 4, 1u << 2, s); // 34: secure group 1; 35: group 0
    rig_write(&g.rig, DIST + 0x104, 4, 0xe, ns);
    assert_int_equal(rig_read(&g.rig, DIST + 0x104, 4, s), 2);
    rig_write(&g.rig, DIST + 0x104, 4, 0xe, s);
    assert_int_equal(rig_read(&g.rig, DIST + 0x104, 4, ns), 2);
    assert_int_equal(rig_read(&g.rig, DIST + 0x84, 4, ns), 0);
    // Non-secure priorities are the upper half, shifted
    rig_write(&g.rig, DIST + 0x400 + 33, 1, 0x40, ns);
    assert_int_equal(rig_read(&g.rig, DIST + 0x400 + 33, 1, s), 0xa0);
    assert_int_equal(rig_read(&g.rig, DIST + 0x400 + 33, 1, ns), 0x40);
    rig_write(&g.rig, DIST + 0x400 + 34, 1, 0x10, ns);
    assert_int_equal(rig_read(&g.rig, DIST + 0x400 + 34, 1, s), 0);
    set_sysreg(&g, 0, ICC_PMR, 0xf8, s);
    set_sysreg(&g, 0, ICC_GRPEN0, 1, s);
    set_sysreg(&g, 0, ICC_GRPEN1_EL3, 3, s);
    struct irq world = gicv3_world(g.dev, 0);
    irq_set(&world, GIC_WORLD_NONSECURE);
    input(&g, 0, 33, 1);
    assert_int_equal(line_level(&g, 0, GIC_CPU_IRQ), 1);
    irq_set(&world, GIC_WORLD_SECURE);
    assert_int_equal(line_level(&g, 0, GIC_CPU_IRQ), 0);
    assert_int_equal(line_level(&g, 0, GIC_CPU_FIQ), 1);
    irq_set(&world, GIC_WORLD_NONSECURE);
    input(&g, 0, 34, 1); // secure, more urgent
    assert_int_equal(line_level(&g, 0, GIC_CPU_FIQ), 1);
    assert_int_equal(sysreg(&g, 0, ICC_IAR1, ns), SPURIOUS);
    assert_int_equal(sysreg(&g, 0, ICC_IAR0, s), 1020); // EL3 is told whose it is
    assert_int_equal(sysreg(&g, 0, ICC_IAR1, s), 34);
    input(&g, 0, 34, 0);
    set_sysreg(&g, 0, ICC_EOIR1, 34, s);
    assert_int_equal(sysreg(&g, 0, ICC_IAR1, ns), 33);
    set_sysreg(&g, 0, ICC_EOIR1, 33, ns);
    // The non-secure side cannot lower the mask into the secure half
    set_sysreg(&g, 0, ICC_PMR, 0x40, s);
    set_sysreg(&g, 0, ICC_PMR, 0xff, ns);
    assert_int_equal(sysreg(&g, 0, ICC_PMR, s), 0x40);
    assert_int_equal(sysreg(&g, 0, ICC_PMR, ns), 0);
    // unless EL3 leaves group 0 to it
    const struct mem_attrs free_ns = {.level = 1};
    set_sysreg(&g, 0, ICC_PMR, 0x70, free_ns);
    assert_int_equal(sysreg(&g, 0, ICC_PMR, s), 0x70);
    gic_close(&g);
}

// SCR_EL3 and HCR_EL2 routing decide who answers a system register.
static void test_traps(void **state)
{
    struct gic g;
    uint64_t v;
    gic_open(&g, true, true, true);
    struct mem_attrs a = {.level = 1, .el3_irq = true};
    assert_int_equal(space_read(g.sysregs[0], ICC_IAR1, 8, &v, a), MEM_TRAP_EL3);
    assert_int_equal(space_read(g.sysregs[0], ICC_IAR0, 8, &v, a), MEM_OK);
    assert_int_equal(space_read(g.sysregs[0], ICC_PMR, 8, &v, a), MEM_OK);
    a.virt_irq = true; // the virtual interface comes first
    assert_int_equal(space_read(g.sysregs[0], ICC_IAR1, 8, &v, a), MEM_OK);
    assert_int_equal(space_write(g.sysregs[0], ICC_SGI1R, 8, 0, a), MEM_TRAP_EL2);
    set_sysreg(&g, 0, ICH_HCR, 1 << 12, (struct mem_attrs){.level = 2}); // TALL1
    assert_int_equal(space_read(g.sysregs[0], ICC_IAR1, 8, &v, a), MEM_TRAP_EL2);
    assert_int_equal(space_read(g.sysregs[0], SYSREG(3, 0, 12, 9, 4), 8, &v, a), MEM_UNMAPPED);
    gic_close(&g);
}

static void test_virtual(void **state)
{
    struct gic g;
    gic_open(&g, true, false, true);
    const struct mem_attrs el2 = {.level = 2},
                           guest = {.level = 1, .virt_irq = true, .virt_fiq = true};
    enable_all(&g);
    assert_int_equal(sysreg(&g, 0, ICH_VTR, el2) & 31, 3);
    set_bit_reg(&g, 0, 0x100, 25);
    set_prio(&g, 0, 25, 0x80);
    set_sysreg(&g, 0, ICH_VMCR, 0xffull << 24 | 3, el2);
    set_sysreg(&g, 0, ICH_HCR, 1, el2);
    // 50 with priority 0x40 stands for physical 40 (active); 51 is software's, wants its end known
    set_bit_reg(&g, 0, 0x300, 40);
    set_sysreg(&g, 0, ICH_LR(0),
               1ull << 62 | 1ull << 61 | 1ull << 60 | 0x40ull << 48 | 40ull << 32 | 50, el2);
    set_sysreg(&g, 0, ICH_LR(1), 1ull << 62 | 1ull << 60 | 0x20ull << 48 | 1ull << 41 | 51, el2);
    assert_int_equal(line_level(&g, 0, GIC_CPU_VIRQ), 1);
    assert_int_equal(sysreg(&g, 0, ICC_IAR1, guest), 51);
    assert_int_equal(line_level(&g, 0, GIC_CPU_VIRQ), 0); // 50 is less urgent
    assert_int_equal(sysreg(&g, 0, ICC_IAR1, guest), SPURIOUS);
    set_sysreg(&g, 0, ICC_EOIR1, 51, guest);
    assert_int_equal(sysreg(&g, 0, ICH_EISR, el2), 2);
    assert_int_equal(sysreg(&g, 0, ICH_MISR, el2), 1);
    assert_int_equal(line_level(&g, 0, GIC_CPU_IRQ), 1); // maintenance, INTID 25
    assert_int_equal(sysreg(&g, 0, ICC_IAR1, el2), 25);
    set_sysreg(&g, 0, ICH_LR(1), 0, el2);
    set_sysreg(&g, 0, ICC_EOIR1, 25, el2);
    assert_int_equal(line_level(&g, 0, GIC_CPU_IRQ), 0);
    assert_int_equal(sysreg(&g, 0, ICC_IAR1, guest), 50);
    assert_int_equal(RD32(&g.rig, DIST + 0x304) & 1u << 8, 1u << 8);
    set_sysreg(&g, 0, ICC_EOIR1, 50, guest);
    assert_int_equal(RD32(&g.rig, DIST + 0x304) & 1u << 8, 0); // physically deactivated
    assert_int_equal(sysreg(&g, 0, ICH_ELRSR, el2), 15);
    // No pending interrupt left: the empty-list maintenance interrupt
    set_sysreg(&g, 0, ICH_HCR, 1 | 1 << 3, el2);
    assert_int_equal(sysreg(&g, 0, ICH_MISR, el2), 8);
    gic_close(&g);
}

static void test_v2_virtual(void **state)
{
    struct gic g;
    gic_open(&g, false, false, true);
    rig_map(&g.rig, g.dev, GICV2_HYP, HYP);
    rig_map(&g.rig, g.dev, GICV2_VCPU, VCPU);
    enable_all(&g);
    WR32(&g.rig, HYP, 1);
    WR32(&g.rig, HYP + 8, 0x1fu << 27 | 1);
    set_bit_reg(&g, 0, 0x300, 40);
    // A virtual SGI 3 from CPU 2, and a hardware interrupt
    WR32(&g.rig, HYP + 0x100, 1u << 28 | 2u << 23 | 2u << 10 | 3);
    WR32(&g.rig, HYP + 0x104, 1u << 31 | 1u << 28 | 4u << 23 | 40u << 10 | 60);
    assert_int_equal(line_level(&g, 0, GICV2_VIRQ), 1);
    assert_int_equal(RD32(&g.rig, VCPU + 0x0c), 2 << 10 | 3);
    assert_int_equal(RD32(&g.rig, VCPU + 0x14), 0x10);
    assert_int_equal(RD32(&g.rig, HYP + 0x100), 2u << 28 | 2u << 23 | 2u << 10 | 3);
    WR32(&g.rig, VCPU + 0x10, 2 << 10 | 3);
    assert_int_equal(RD32(&g.rig, VCPU + 0x0c), 60);
    WR32(&g.rig, VCPU + 0x10, 60);
    assert_int_equal(RD32(&g.rig, DIST + 0x304) & 1u << 8, 0);
    assert_int_equal(RD32(&g.rig, HYP + 0x30), 15);
    gic_close(&g);
}

// ---- LPIs and the ITS ----

enum {
    ITS = 0x8080000,
    TABLES = 0x40100000,
    PROP = TABLES,
    PEND = TABLES + 0x20000,
    QUEUE = TABLES + 0x40000,
    DEVS = TABLES + 0x50000,
    COLLS = TABLES + 0x60000,
    ITT = TABLES + 0x70000
};

struct its {
    struct gic g;
    struct msi_target msi;
    unsigned written;
};

static void command(struct its *t, uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3)
{
    uint8_t raw[32];
    st_le64(raw, w0);
    st_le64(raw + 8, w1);
    st_le64(raw + 16, w2);
    st_le64(raw + 24, w3);
    assert_int_equal(dma_write(t->g.rig.env.memory, QUEUE + t->written, raw, 32), 0);
    t->written += 32;
    rig_write(&t->g.rig, ITS + 0x88, 8, t->written, (struct mem_attrs){0});
    loop_run_once(t->g.rig.env.loop, 100);
    assert_int_equal(rig_read(&t->g.rig, ITS + 0x90, 8, (struct mem_attrs){0}), t->written);
}

static void configure_lpi(struct its *t, unsigned lpi, uint8_t config)
{
    assert_int_equal(dma_write(t->g.rig.env.memory, PROP + lpi - 8192, &config, 1), 0);
}

static void its_open(struct its *t)
{
    struct err e;
    *t = (struct its){0};
    struct gic *g = &t->g;
    const struct mem_attrs a = {0};
    gic_open(g, true, false, false);
    struct device *d = rig_device(&g->rig, &gicv3_its_type);
    device_set_ptr(d, "gic", g->dev);
    assert_int_equal(device_start(&g->rig.tree, d, NULL, &e), 0);
    device_reset(d);
    rig_map(&g->rig, d, 0, ITS);
    t->msi = gicv3_its_target(d, ITS);
    enable_all(g);
    for (unsigned c = 0; c < CPUS; c++) {
        rig_write(&g->rig, REDIST + c * 0x20000 + 0x70, 8, PROP | 15, a);
        rig_write(&g->rig, REDIST + c * 0x20000 + 0x78, 8, (PEND + c * 0x10000ull) | 1ull << 62, a);
        rig_write(&g->rig, REDIST + c * 0x20000, 4, 1, a);
    }
    assert_int_equal(rig_read(&g->rig, ITS + 8, 8, a) & 0xf1, 0x71);
    rig_write(&g->rig, ITS + 0x100, 8, 1ull << 63 | DEVS | 15, a);
    rig_write(&g->rig, ITS + 0x108, 8, 1ull << 63 | COLLS, a);
    assert_int_equal(rig_read(&g->rig, ITS + 0x100, 8, a) >> 56 & 7, 1);
    rig_write(&g->rig, ITS + 0x80, 8, 1ull << 63 | QUEUE | 15, a);
    rig_write(&g->rig, ITS, 4, 1, a);
    command(t, 8 | 5ull << 32, 4, 1ull << 63 | ITT, 0); // MAPD device 5, 32 events
    command(t, 9, 0, 1ull << 63 | 1ull << 16 | 0, 0);   // MAPC collection 0: CPU 1
    command(t, 9, 0, 1ull << 63 | 2ull << 16 | 7, 0);   // MAPC collection 7: CPU 2
}

static void test_its(void **state)
{
    struct its t;
    its_open(&t);
    struct gic *g = &t.g;
    configure_lpi(&t, 8200, 0xa0 | 1);
    configure_lpi(&t, 8201, 0x40 | 1);
    configure_lpi(&t, 8202, 0x20); // not enabled
    for (unsigned i = 0; i < 3; i++)
        command(&t, 0x0a | 5ull << 32, (8200ull + i) << 32 | i, 0, 0); // MAPTI
    command(&t, 0x0d, 0, 0, 0);                                        // INVALL
    const uint64_t doorbell = ITS + 0x10040;
    for (unsigned i = 0; i < 3; i++)
        t.msi.send(t.msi.opaque, doorbell, i, 5);
    assert_int_equal(line_level(g, 0, 0), 0);
    assert_int_equal(line_level(g, 1, 0), 1);
    assert_int_equal(sysreg(g, 1, ICC_IAR1, cpu_attrs(1)), 8201);
    set_sysreg(g, 1, ICC_EOIR1, 8201, cpu_attrs(1));
    assert_int_equal(sysreg(g, 1, ICC_IAR1, cpu_attrs(1)), 8200);
    set_sysreg(g, 1, ICC_EOIR1, 8200, cpu_attrs(1));
    assert_int_equal(sysreg(g, 1, ICC_IAR1, cpu_attrs(1)), SPURIOUS);
    // 8202 is pending; it moves with its event, and comes when its configuration is re-read
    command(&t, 0x01 | 5ull << 32, 2, 7, 0); // MOVI
    configure_lpi(&t, 8202, 0x20 | 1);
    assert_int_equal(line_level(g, 2, 0), 0);
    command(&t, 0x0c | 5ull << 32, 2, 0, 0); // INV
    assert_int_equal(line_level(g, 1, 0), 0);
    assert_int_equal(line_level(g, 2, 0), 1);
    // MOVALL takes it to CPU 3; CLEAR by its event no longer reaches it there
    command(&t, 0x0e, 0, 2ull << 16, 3ull << 16);
    assert_int_equal(line_level(g, 2, 0), 0);
    assert_int_equal(line_level(g, 3, 0), 1);
    assert_int_equal(sysreg(g, 3, ICC_IAR1, cpu_attrs(3)), 8202);
    set_sysreg(g, 3, ICC_EOIR1, 8202, cpu_attrs(3));
    // INT and DISCARD
    command(&t, 0x03 | 5ull << 32, 0, 0, 0);
    assert_int_equal(line_level(g, 1, 0), 1);
    command(&t, 0x0f | 5ull << 32, 0, 0, 0);
    assert_int_equal(line_level(g, 1, 0), 0);
    t.msi.send(t.msi.opaque, doorbell, 0, 5);
    assert_int_equal(line_level(g, 1, 0), 0);
    // Nonsense is skipped: other device, event out of range, no such CPU, LPI out of range
    t.msi.send(t.msi.opaque, doorbell, 1, 6);
    t.msi.send(t.msi.opaque, doorbell, 32, 5);
    command(&t, 9, 0, 1ull << 63 | 99ull << 16 | 1, 0);
    command(&t, 0x0a | 5ull << 32, 77ull << 32 | 1, 0, 0);
    command(&t, 0x77, ~0ull, ~0ull, ~0ull);
    assert_int_equal(line_level(g, 1, 0), 0);
    gic_close(g);
}

// Pending LPIs go to the pending table when LPIs are disabled, and come back from it.
static void test_pending_table(void **state)
{
    struct its t;
    its_open(&t);
    struct gic *g = &t.g;
    const struct mem_attrs a = {0};
    uint8_t byte;
    configure_lpi(&t, 8300, 1);
    command(&t, 0x0a | 5ull << 32, 8300ull << 32, 0, 0);
    command(&t, 0x0d, 0, 0, 0);
    t.msi.send(t.msi.opaque, ITS + 0x10040, 0, 5);
    assert_int_equal(line_level(g, 1, 0), 1);
    rig_write(&g->rig, REDIST + 0x20000, 4, 0, a);
    assert_int_equal(line_level(g, 1, 0), 0);
    assert_int_equal(dma_read(g->rig.env.memory, PEND + 0x10000 + 8300 / 8, &byte, 1), 0);
    assert_int_equal(byte, 1 << 8300 % 8);
    rig_write(&g->rig, REDIST + 0x20000 + 0x78, 8, PEND + 0x10000, a);
    rig_write(&g->rig, REDIST + 0x20000, 4, 1, a);
    assert_int_equal(line_level(g, 1, 0), 1);
    gic_close(g);
}

static void test_identity(void **state)
{
    struct gic g;
    gic_open(&g, true, false, false);
    assert_int_equal(RD32(&g.rig, DIST + 0xffe8) & 0xf0, 0x30);
    assert_int_equal(RD32(&g.rig, DIST), 0x50); // DS, and ARE at bit 4
    assert_int_equal(RD32(&g.rig, DIST + 4) & 0x1f, 2);
    assert_int_equal(rig_read(&g.rig, REDIST + 8, 8, cpu_attrs(0)), 1);
    assert_int_equal(rig_read(&g.rig, REDIST + 3 * 0x20000 + 8, 8, cpu_attrs(0)),
                     3ull << 32 | 3 << 8 | 16 | 1);
    gic_close(&g);
    gic_open(&g, false, false, false);
    assert_int_equal(RD32(&g.rig, DIST + 0xfe8) & 0xf0, 0x20);
    assert_int_equal(RD32(&g.rig, DIST + 4), 3 << 5 | 2);
    assert_int_equal(RD32(&g.rig, DIST + 0xff0), 0x0d);
    gic_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),  cmocka_unit_test(test_v2_random),
        cmocka_unit_test(test_v3_random), cmocka_unit_test(test_split_end),
        cmocka_unit_test(test_security),  cmocka_unit_test(test_traps),
        cmocka_unit_test(test_virtual),   cmocka_unit_test(test_v2_virtual),
        cmocka_unit_test(test_its),       cmocka_unit_test(test_pending_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
