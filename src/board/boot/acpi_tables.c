// ACPI tables and devices that look alike on several machines (ACPI 6.5; hardware-reduced): FADT,
// MCFG, SPCR, PPTT, processors, and devices at fixed addresses.
#include "board/boot/acpi_tables.h"
#include "base/bits.h"

#include <stdio.h>

static void zeros(struct acpi *a, size_t n)
{
    buf_grow(&a->tables, n);
}

// ---- the definition block ----

void acpi_put_aml(struct acpi *a, struct aml *body)
{
    buf_put(&a->tables, body->b.data, body->b.len);
    buf_free(&body->b);
    acpi_table_end(a, false);
}

void aml_power_button(struct aml *a)
{
    aml_device(a, "PWRB");
    aml_hid(a, "_HID", "PNP0C0C");
    aml_name_int(a, "_UID", 0);
    aml_close(a);
}

void aml_cpus(struct aml *a, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char name[8];
        snprintf(name, sizeof name, "C%03X", i & 0xfff);
        aml_device(a, name);
        aml_hid(a, "_HID", "ACPI0007");
        aml_name_int(a, "_UID", i);
        aml_close(a);
    }
}

// Names are four characters: three letters and a number, or two and two digits.
void aml_open_slot(struct aml *a, const struct board_slot *s, unsigned n, const char *letters,
                   unsigned gsi_base)
{
    char name[8];
    snprintf(name, sizeof name, s->count > 9 ? "%s%02u" : "%s%u", letters, n % 100);
    aml_device(a, name);
    aml_hid(a, "_HID", s->hid);
    aml_name_int(a, "_UID", n);
    if (s->flags & SLOT_COHERENT)
        aml_name_int(a, "_CCA", 1);
    aml_crs(a, "_CRS");
    if (s->flags & SLOT_PORTS)
        aml_crs_io(a, (uint16_t)board_slot_at(s, n), (uint8_t)s->size);
    else
        aml_crs_memory32(a, (uint32_t)board_slot_at(s, n), (uint32_t)s->size);
    if (s->irq >= 0)
        aml_crs_irq(a, gsi_base + (uint32_t)s->irq + n, s->flags & SLOT_EDGE);
    aml_crs_close(a);
}

// ---- tables ----

void acpi_put_fadt(struct acpi *a, uint32_t dsdt, uint16_t arm_flags)
{
    enum { HW_REDUCED = 1 << 20 };
    uint32_t at = acpi_table(a, "FACP", 6);
    uint8_t p[276] = {0}; // with room for the header, so that offsets are the specification's
    st_le32(p + 112, HW_REDUCED);
    st_le16(p + 129, arm_flags);
    p[131] = 5; // ACPI 6.5
    st_le64(p + 140, dsdt);
    memcpy(p + 268, "QEMU\0\0\0\0", 8); // hypervisor vendor, for guests that look for one
    buf_put(&a->tables, p + 36, sizeof p - 36);
    acpi_pointer(a, at + 140, 8);
    acpi_table_end(a, true);
}

void acpi_put_mcfg(struct acpi *a, gpa_t ecam, unsigned buses)
{
    acpi_table(a, "MCFG", 1);
    zeros(a, 8);
    buf_le64(&a->tables, ecam);
    buf_le16(&a->tables, 0);
    buf_u8(&a->tables, 0);
    buf_u8(&a->tables, (uint8_t)(buses - 1));
    buf_le32(&a->tables, 0);
    acpi_table_end(a, true);
}

// Serial Port Console Redirection, revision 2 (Microsoft).
void acpi_put_spcr(struct acpi *a, const struct acpi_uart *u)
{
    struct buf *b = &a->tables;
    acpi_table(a, "SPCR", 2);
    buf_le32(b, u->kind);
    acpi_gas(a, u->width, u->access, u->base);
    buf_u8(b, u->interrupt_kind);
    buf_u8(b, 0);
    buf_le32(b, u->gsi);
    buf_u8(b, 7); // 115200 baud
    buf_u8(b, 0);
    buf_u8(b, 1);
    buf_u8(b, 0);
    buf_u8(b, 3); // ANSI terminal
    buf_u8(b, 0);
    buf_le32(b, 0xffffffff); // not a PCI device
    zeros(a, 12);
    acpi_table_end(a, true);
}

// One node of the processor topology; returns its offset in the table.
static uint32_t put_topology(struct acpi *a, uint32_t flags, uint32_t parent, uint32_t id)
{
    uint32_t at = (uint32_t)a->tables.len - a->at;
    buf_u8(&a->tables, 0);
    buf_u8(&a->tables, 20);
    buf_le16(&a->tables, 0);
    buf_le32(&a->tables, flags);
    buf_le32(&a->tables, parent);
    buf_le32(&a->tables, id);
    buf_le32(&a->tables, 0);
    return at;
}

void acpi_put_pptt(struct acpi *a, const struct machine_config *c)
{
    enum { PACKAGE = 1, ID_VALID = 2, IS_THREAD = 4, LEAF = 8 };
    unsigned per_core = c->threads, per_cluster = per_core * c->cores;
    unsigned per_socket = per_cluster * c->clusters;
    uint32_t socket = 0, cluster = 0, core = 0;
    acpi_table(a, "PPTT", 2);
    for (unsigned i = 0; i < c->cpus; i++) {
        if (i % per_socket == 0)
            socket = put_topology(a, PACKAGE, 0, i / per_socket);
        if (c->clusters > 1 && i % per_cluster == 0)
            cluster = put_topology(a, 0, socket, i / per_cluster);
        uint32_t above = c->clusters > 1 ? cluster : socket;
        if (per_core == 1) {
            put_topology(a, ID_VALID | LEAF, above, i);
            continue;
        }
        if (i % per_core == 0)
            core = put_topology(a, 0, above, i / per_core);
        put_topology(a, ID_VALID | IS_THREAD | LEAF, core, i);
    }
    acpi_table_end(a, true);
}
