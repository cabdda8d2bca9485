// Parallel NOR flash with the Intel command set: a bank of two 16-bit chips side by side on a
// 32-bit bus. Properties: "size", "sector" (bytes of the bank), "node" (struct block_node *, set by
// pointer; none: contents live in memory only). Mapped by pflash_map after device_start.
#pragma once

#include "device/core/sysdev.h"

extern const struct device_type pflash_type;

// The bank's contents where there is no node (firmware given by -bios). Before device_start;
// copied.
void pflash_load(struct device *d, const uint8_t *data, size_t len);
void pflash_map(struct device *d, struct space *s, gpa_t base);
