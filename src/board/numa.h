// NUMA nodes in the device tree and in ACPI, alike on all boards that have them.
#pragma once

#include "board/board.h"
#include "board/boot/acpi.h"
#include "board/boot/fdt_out.h"

// The memory node, or one for each NUMA node.
void numa_fdt_memory(const struct machine *m, struct fdt_out *o);
// In a CPU's node, when there are nodes.
void numa_fdt_cpu(const struct machine *m, unsigned cpu, struct fdt_out *o);
void numa_fdt_distances(const struct machine *m, struct fdt_out *o); // in the root, nothing without
// SRAT and SLIT; nothing without nodes. `affinity` writes one CPU's entry.
void numa_acpi(const struct machine *m, struct acpi *a,
               void (*affinity)(struct acpi *a, unsigned cpu, unsigned node));
