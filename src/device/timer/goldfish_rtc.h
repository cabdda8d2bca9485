// The goldfish real-time clock. Window 0 has 0x24 bytes, interrupt 0 is the alarm. Property "base":
// seconds since the epoch at the start (0: the host's time).
#pragma once

#include "device/core/sysdev.h"

extern const struct device_type goldfish_rtc_type;
