// RISC-V advanced platform-level interrupt controller with two interrupt domains: machine level
// (the root, window 0) and supervisor level (its child, window 1). Properties: "num-sources",
// "num-harts", "msimode" (forward to IMSICs instead of signalling harts).
#pragma once

#include "device/core/sysdev.h"

extern const struct device_type aplic_type;

enum { APLIC_SOURCES_MAX = 1024, APLIC_HARTS_MAX = 512 };
enum { APLIC_SIZE = 0x4000 + APLIC_HARTS_MAX * 32 }; // of a domain's window
enum aplic_domain { APLIC_MACHINE, APLIC_SUPERVISOR, APLIC_DOMAINS };

// After device_start.
struct irq aplic_source(struct device *d, unsigned source);
// msimode=off: where a domain's signal for a hart goes.
void aplic_connect(struct device *d, enum aplic_domain n, unsigned hart, struct irq to);
// msimode=on: where messages go. Called under the controller's lock, so it must not call back.
void aplic_set_target(struct device *d, struct msi_target to);
