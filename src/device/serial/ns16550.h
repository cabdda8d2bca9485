// National Semiconductor 16550 UART: a system device with one window of 8 byte-wide registers
// (I/O ports or memory) and one output (INTR). Property: "chardev", the back end (none: output is
// dropped, nothing arrives).
#pragma once

#include "device/core/sysdev.h"

#define NS16550_SIZE 8

extern const struct device_type ns16550_type;
