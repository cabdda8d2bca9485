// Arm Generic Interrupt Controller version 3, as the board sees it. Properties: "num-cpu",
// "num-irq" (INTIDs below 1020, SGIs and PPIs included), "has-security-extensions" (the CPUs have
// EL3), "has-virtualization" (the CPUs have EL2), "has-lpi", "reset-nonsecure" (all interrupts
// reset to the non-secure group, as firmware would leave them: for a kernel started without one).
// Window 0 is the distributor; the redistributors and the CPU interfaces are mapped by the
// functions below, after device_start.
#pragma once

#include "device/core/sysdev.h"

extern const struct device_type gicv3_type;

enum {
    GICV3_DIST_SIZE = 0x10000,
    GICV3_REDIST_SIZE = 0x20000, // of each CPU
};

// The lines into a CPU. The first four are its inputs; GIC_CPU_WORLD is driven by the CPU.
enum gic_cpu_line { GIC_CPU_IRQ, GIC_CPU_FIQ, GIC_CPU_VIRQ, GIC_CPU_VFIQ, GIC_CPU_LINES };
// What a CPU with EL3 reports through gicv3_world(), since the group of an interrupt decides
// between IRQ and FIQ by the state it interrupts (IHI 0069, 4.6.2).
enum gic_world { GIC_WORLD_NONSECURE, GIC_WORLD_SECURE, GIC_WORLD_EL3 };

// CPU i: its affinity (MPIDR bits, Aff3 in [31:24]) and its input lines. Before any reset.
void gicv3_set_cpu(struct device *d, unsigned i, uint32_t affinity,
                   const struct irq lines[GIC_CPU_LINES]);
// Redistributors of CPUs [first, first + n) one after the other at `base`; the last one says so.
void gicv3_map_redists(struct device *d, unsigned first, unsigned n, struct space *s, gpa_t base);
// ICC_*, ICV_* and ICH_* of CPU i into its system-register space.
void gicv3_map_sysregs(struct device *d, unsigned i, struct space *sysregs);

struct irq gicv3_spi(struct device *d, unsigned intid);               // 32 and up
struct irq gicv3_ppi(struct device *d, unsigned cpu, unsigned intid); // 16 to 31
struct irq gicv3_world(struct device *d, unsigned cpu);               // level: enum gic_world
