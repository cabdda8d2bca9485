// Arm PrimeCell UART PL011: a system device with one window (0x1000) and one output (UARTINTR).
// Property: "chardev", the back end (none: output is dropped, nothing arrives).
#pragma once

#include "device/core/sysdev.h"

extern const struct device_type pl011_type;
