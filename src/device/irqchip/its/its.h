// GICv3 Interrupt Translation Service: message writes become LPIs. Property: "gic" (the arm-gicv3
// device, set by pointer). Window 0 (0x20000): control frame, then translation frame.
#pragma once

#include "device/core/sysdev.h"

extern const struct device_type gicv3_its_type;
// Where bridges send messages: writes to the translation register of the frame mapped at `base`.
struct msi_target gicv3_its_target(struct device *d, gpa_t base);
