// Incoming message-signalled interrupt controllers: the interrupt files of one privilege level of
// all harts. At machine level a hart has one file; at supervisor level one and `num-guests` more
// for virtual harts, each a page, a hart's side by side at a distance of a power of two.
// Properties: "num-harts", "num-ids" (63 to 2047, one less than a multiple of 64), "num-guests".
#pragma once

#include "device/core/sysdev.h"

extern const struct device_type imsic_type;

enum { IMSIC_PAGE = 0x1000, IMSIC_GUESTS_MAX = 7 };

uint64_t imsic_stride(unsigned guests); // from one hart's pages to the next one's
// After device_start: the pages, in the memory harts and devices see.
void imsic_map(struct device *d, struct space *memory, gpa_t base);
// A file's registers in its hart's system-register space: `file` counts from 0 there over machine
// level, supervisor level, guests from 1 (IMSIC_SYSREG_STRIDE bytes each: register n at 8 * n,
// *topei as register 0, where a write of an identity clears its pending bit; at +0x800 and +0x1000
// a write sets or clears bits). `guest` 0 is the level's own.
enum { IMSIC_SYSREG_STRIDE = 0x2000 };
void imsic_map_sysregs(struct device *d, unsigned hart, unsigned guest, struct space *sysregs,
                       unsigned file);
// Where a file's interrupt signal goes.
void imsic_connect(struct device *d, unsigned hart, unsigned guest, struct irq to);
// A message; false: the address is none of this device's.
bool imsic_message(struct device *d, gpa_t addr, uint32_t data);
