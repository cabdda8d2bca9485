// The PC's real-time clock: a system device with one window of two ports (index, data) and one
// output (IRQ 8). Property "base": as of pl031.
#pragma once

#include "device/core/sysdev.h"

extern const struct device_type mc146818_type;
