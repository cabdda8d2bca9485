// RISC-V ACLINT and its forerunner, the SiFive CLINT: software interrupts and the machine timer of
// each hart. Window 0: machine software interrupts (0x4000 bytes); window 1: the timer (0x8000
// bytes, comparators from 0, mtime at 0x7ff8); window 2: supervisor software interrupts (0x4000
// bytes, ACLINT alone). The first two side by side are a CLINT. Properties: "num-harts",
// "timebase-frequency".
#pragma once

#include "device/core/sysdev.h"

extern const struct device_type aclint_type;

enum { ACLINT_HARTS_MAX = 512, ACLINT_SWI_SIZE = 0x4000, ACLINT_MTIMER_SIZE = 0x8000 };
enum aclint_line { ACLINT_MSI, ACLINT_MTI, ACLINT_SSI };
// Before device_start: the loop on which comparators fire.
void aclint_set_loop(struct device *d, struct loop *l);
// After it: where a hart's line goes. SSI is pulsed.
void aclint_connect(struct device *d, unsigned hart, enum aclint_line line, struct irq to);
