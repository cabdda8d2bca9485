// Arm PrimeCell real-time clock PL031: a system device with one window (0x1000) and one output
// (RTCINTR). Property: "base", the time at the start of the machine in seconds since the epoch
// (0: the host's time).
#pragma once

#include "device/core/sysdev.h"

extern const struct device_type pl031_type;
