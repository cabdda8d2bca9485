// Arm Generic Interrupt Controller version 2, as the board sees it. Properties: "num-cpu" (1 to 8),
// "num-irq" (SGIs and PPIs included), "has-security-extensions", "has-virtualization-extensions",
// "reset-nonsecure" (interrupts reset to group 1, as firmware would leave them).
#pragma once

#include "device/core/sysdev.h"

extern const struct device_type gicv2_type;

// Windows. HYP and VCPU exist with the virtualization extensions only.
enum { GICV2_DIST, GICV2_CPU, GICV2_HYP, GICV2_VCPU };
enum gicv2_cpu_line { GICV2_IRQ, GICV2_FIQ, GICV2_VIRQ, GICV2_VFIQ, GICV2_LINES };

// Where CPU interface i drives its lines; before the machine runs. Copied.
void gicv2_set_cpu(struct device *d, unsigned i, const struct irq lines[GICV2_LINES]);
struct irq gicv2_spi(struct device *d, unsigned intid);               // 32 and up
struct irq gicv2_ppi(struct device *d, unsigned cpu, unsigned intid); // 16 to 31
