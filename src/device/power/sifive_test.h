// SiFive's test finisher: one 32-bit register that ends the machine. Window 0 has 0x1000 bytes.
#pragma once

#include "device/core/sysdev.h"

extern const struct device_type sifive_test_type;

enum { FINISHER_FAIL = 0x3333, FINISHER_PASS = 0x5555, FINISHER_RESET = 0x7777 };
