// GICv2m frame: turns message writes into SPIs. Properties: "base-spi", "num-spi" (INTIDs). Window
// 0 has 0x1000 bytes; interrupt i of the outputs is SPI base-spi + i, connected by gicv2m_connect.
#pragma once

#include "device/core/sysdev.h"

extern const struct device_type gicv2m_type;
void gicv2m_connect(struct device *d, unsigned i, struct irq to);
// Where bridges send messages: writes to `base` (where the frame is mapped) + 0x40.
struct msi_target gicv2m_target(struct device *d, gpa_t base);
