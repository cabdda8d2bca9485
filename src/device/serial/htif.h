// RISC-V host-target interface. Windows 0 and 1 are the 8-byte registers tohost and fromhost.
// Property: "chardev".
#pragma once

#include "device/core/sysdev.h"

extern const struct device_type htif_type;

// What to do when the program ends, before the machine is asked to shut down; on the main loop.
void htif_on_exit(struct device *d, void (*fn)(void *opaque), void *opaque);
