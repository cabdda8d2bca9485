// ACPI tables for firmware to install: all tables in one file, the root pointer in another, and a
// script that says where addresses and checksums are to be filled in (the "table loader" of
// firmware configuration devices).
#pragma once

#include "base/buf.h"
#include "base/err.h"

struct device;

struct acpi {
    struct buf tables; // "etc/acpi/tables"
    struct buf loader; // "etc/table-loader"
    uint32_t table[16];
    unsigned n_tables; // those the XSDT lists
    uint32_t at;       // the table being written
};

void acpi_start(struct acpi *a);
// Header of a table; its body is appended to a->tables. Returns its offset.
uint32_t acpi_table(struct acpi *a, const char *signature, uint8_t revision);
// Length and checksum; `listed`: the XSDT points to it.
void acpi_table_end(struct acpi *a, bool listed);
// At `offset` in the tables stands the offset of another table in `size` bytes: make it an address.
void acpi_pointer(struct acpi *a, uint32_t offset, unsigned size);
// Generic address structure: memory, `bits` wide.
void acpi_gas(struct acpi *a, uint8_t bits, uint8_t access, uint64_t address);
// Writes XSDT and RSDP and gives everything to the firmware configuration device; frees a.
int acpi_finish(struct acpi *a, struct device *fw_cfg, struct err *e) MUST_CHECK;
// The same without firmware: *out (malloc) is what is to lie in RAM from `base` on, which is
// 16-byte aligned; the RSDP comes first. Frees a.
void acpi_finish_at(struct acpi *a, uint64_t base, uint8_t **out, size_t *len);
