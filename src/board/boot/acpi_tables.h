// ACPI tables and devices that look alike on several machines.
#pragma once

#include "board/board.h"
#include "board/boot/acpi.h"
#include "board/boot/aml.h"

// Hardware-reduced; `arm_flags` are the Arm boot architecture's. `dsdt` is that table's offset.
void acpi_put_fadt(struct acpi *a, uint32_t dsdt, uint16_t arm_flags);
void acpi_put_mcfg(struct acpi *a, gpa_t ecam, unsigned buses);
// Processor topology.
void acpi_put_pptt(struct acpi *a, const struct machine_config *c);
// The console UART: kind of interface and of interrupt as the SPCR numbers them.
struct acpi_uart {
    gpa_t base;
    uint8_t kind, width, access, interrupt_kind;
    uint32_t gsi;
};
void acpi_put_spcr(struct acpi *a, const struct acpi_uart *u);

// The body of the table being written, a definition block; frees it and ends the table, which is
// not listed.
void acpi_put_aml(struct acpi *a, struct aml *body);

void aml_power_button(struct aml *a); // PWRB
void aml_cpus(struct aml *a, unsigned n);
// A device with registers in memory and, unless `gsi` is negative, an interrupt. Left open.
struct aml_slot {
    const char *hid, *letters; // its name is letters and its number
    gpa_t base;
    uint64_t size;
    unsigned n, of; // which one of how many
    int gsi;
    bool edge, coherent;
};
void aml_open_slot(struct aml *a, const struct aml_slot *s);
