// NUMA nodes as the guest hears of them: the device tree's numa-node-id and distance map (Linux
// bindings numa.txt), ACPI's System Resource Affinity and System Locality Information tables (ACPI
// 6.4, 5.2.16 and 5.2.17).
#include "board/numa.h"

#include <stdlib.h>

static void put_memory(struct fdt_out *o, gpa_t base, uint64_t size, int node)
{
    fdt_out_node(o, "memory@%llx", (unsigned long long)base);
    fdt_out_str(o, "device_type", "memory");
    fdt_out_reg(o, base, size);
    if (node >= 0)
        fdt_out_cells(o, "numa-node-id", (uint32_t)node);
    fdt_out_end(o);
}

void numa_fdt_memory(const struct machine *m, struct fdt_out *o)
{
    const struct machine_numa *n = m->config.numa;
    gpa_t at = m->ram_base;
    if (!n)
        put_memory(o, at, m->config.ram_size, -1);
    for (unsigned i = 0; n && i < n->n; i++) {
        if (n->mem[i])
            put_memory(o, at, n->mem[i], (int)i);
        at += n->mem[i];
    }
}

void numa_fdt_cpu(const struct machine *m, unsigned cpu, struct fdt_out *o)
{
    if (m->config.numa)
        fdt_out_cells(o, "numa-node-id", m->config.numa->node_of_cpu[cpu]);
}

void numa_fdt_distances(const struct machine *m, struct fdt_out *o)
{
    const struct machine_numa *n = m->config.numa;
    if (!n || !n->has_distances)
        return;
    uint32_t *cells = xcalloc(3 * n->n * n->n, sizeof *cells), *at = cells;
    for (unsigned i = 0; i < n->n; i++)
        for (unsigned k = 0; k < n->n; k++) {
            *at++ = i;
            *at++ = k;
            *at++ = n->distance[i][k];
        }
    fdt_out_node(o, "distance-map");
    fdt_out_str(o, "compatible", "numa-distance-map-v1");
    fdt_out_cells_n(o, "distance-matrix", cells, (size_t)(at - cells));
    fdt_out_end(o);
    free(cells);
}

static void put_memory_affinity(struct acpi *a, gpa_t base, uint64_t size, unsigned node)
{
    struct buf *b = &a->tables;
    buf_u8(b, 1);
    buf_u8(b, 40);
    buf_le32(b, node);
    buf_le16(b, 0);
    buf_le64(b, base);
    buf_le64(b, size);
    buf_le32(b, 0);
    buf_le32(b, 1); // enabled
    buf_le64(b, 0);
}

void numa_acpi(const struct machine *m, struct acpi *a,
               void (*affinity)(struct acpi *a, unsigned cpu, unsigned node))
{
    const struct machine_numa *n = m->config.numa;
    gpa_t at = m->ram_base;
    if (!n)
        return;
    acpi_table(a, "SRAT", 3);
    buf_le32(&a->tables, 1);
    buf_le64(&a->tables, 0);
    for (unsigned i = 0; i < m->config.cpus; i++)
        affinity(a, i, n->node_of_cpu[i]);
    for (unsigned i = 0; i < n->n; i++) {
        if (n->mem[i])
            put_memory_affinity(a, at, n->mem[i], i);
        at += n->mem[i];
    }
    acpi_table_end(a, true);
    acpi_table(a, "SLIT", 1);
    buf_le64(&a->tables, n->n);
    for (unsigned i = 0; i < n->n; i++)
        for (unsigned k = 0; k < n->n; k++)
            buf_u8(&a->tables, n->distance[i][k]);
    acpi_table_end(a, true);
}
