// ACPI tables and devices that look alike on several machines.
#pragma once

#include "board/boot/acpi.h"
#include "board/boot/aml.h"
#include "board/slot.h"

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
// The n-th device of a slot, named `letters` and its number, with its registers and, if it has one,
// its interrupt: the global one (GSI) of the slot's number plus `gsi_base`. Left open.
void aml_open_slot(struct aml *a, const struct board_slot *s, unsigned n, const char *letters,
                   unsigned gsi_base);
