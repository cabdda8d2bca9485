// RISC-V platform-level interrupt controller. Window 0 has plic_size() bytes; sources are numbered
// from 1, contexts as the board counts them (a hart's machine level, then its supervisor level).
// Properties: "num-sources" (source 0 included), "num-contexts".
#pragma once

#include "device/core/sysdev.h"

extern const struct device_type plic_type;

enum { PLIC_SOURCES_MAX = 1024, PLIC_CONTEXTS_MAX = 1024 };
uint64_t plic_size(unsigned contexts);                     // bytes of registers
struct irq plic_source(struct device *d, unsigned source); // the line a device drives
// Where a context's interrupt goes; before the machine runs.
void plic_connect(struct device *d, unsigned context, struct irq to);
