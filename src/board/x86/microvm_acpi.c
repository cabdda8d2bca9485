// ACPI tables of the `microvm` board (ACPI 6.4, hardware-reduced): FADT, DSDT, MADT and MCFG, from
// the slot table. The power button is an event of the generic event device.
#include "base/bits.h"
#include "board/boot/acpi_tables.h"
#include "board/x86/microvm.h"
#include "device/isa/power.h"
#include "isa/x86/x86.h"

#include <stdio.h>

// ---- DSDT ----

static void put_slot(struct aml *a, enum microvm_slot_id id, const char *letters, unsigned n)
{
    aml_open_slot(a, &microvm_slots[id], n, letters, 0);
    aml_close(a);
}

static void put_power_button(struct aml *a)
{
    aml_power_button(a);
    aml_device(a, "GED");
    aml_hid(a, "_HID", "ACPI0013");
    aml_name_int(a, "_UID", 0);
    aml_crs(a, "_CRS");
    aml_crs_irq(a, MICROVM_GSI_POWER, true);
    aml_crs_close(a);
    aml_method(a, "_EVT", 1); // the button is its only event
    aml_notify(a, "\\_SB.PWRB", 0x80);
    aml_close(a);
    aml_close(a);
}

static uint32_t put_dsdt(const struct microvm *v, struct acpi *acpi)
{
    struct aml a = {0};
    uint32_t at = acpi_table(acpi, "DSDT", 2);
    aml_scope(&a, "\\_SB");
    put_power_button(&a);
    if (v->serial)
        put_slot(&a, MICROVM_UART, "COM", 0);
    if (v->rtc)
        put_slot(&a, MICROVM_RTC, "RTC", 0);
    for (unsigned i = 0; i < microvm_slots[MICROVM_VIRTIO].count; i++)
        put_slot(&a, MICROVM_VIRTIO, "VR0", i);
    if (v->pcie)
        boot_pcie_aml(&v->bridge, &a);
    aml_close(&a);
    aml_name(&a, "\\_S5");
    aml_package(&a, 4);
    for (unsigned i = 0; i < 4; i++)
        aml_int(&a, i ? 0 : ACPI_POWER_S5);
    aml_close(&a);
    acpi_put_aml(acpi, &a);
    return at;
}

// ---- other tables ----

// A generic address structure of one byte of I/O port, into a table's bytes.
static void port_gas(uint8_t *p, uint16_t port)
{
    p[0] = 1; // system I/O
    p[1] = 8;
    p[3] = 1; // by bytes
    st_le64(p + 4, port);
}

static void put_fadt(struct acpi *a, uint32_t dsdt)
{
    enum { RESET_REGISTER = 1 << 10, HW_REDUCED = 1 << 20, NO_VGA = 1 << 2 };
    uint16_t power = (uint16_t)microvm_slots[MICROVM_POWER].base;
    uint32_t at = acpi_table(a, "FACP", 6);
    uint8_t p[276] = {0}; // with room for the header, so that offsets are the specification's
    st_le16(p + 109, NO_VGA);
    st_le32(p + 112, RESET_REGISTER | HW_REDUCED);
    port_gas(p + 116, (uint16_t)(power + ACPI_POWER_RESET));
    p[128] = ACPI_POWER_RESET_VALUE;
    p[131] = 4; // ACPI 6.4
    st_le64(p + 140, dsdt);
    port_gas(p + 244, (uint16_t)(power + ACPI_POWER_SLEEP_CONTROL));
    port_gas(p + 256, (uint16_t)(power + ACPI_POWER_SLEEP_STATUS));
    memcpy(p + 268, "MYNA\0\0\0\0", 8);
    buf_put(&a->tables, p + 36, sizeof p - 36);
    acpi_pointer(a, at + 140, 8);
    acpi_table_end(a, true);
}

static void put_madt(const struct microvm *v, struct acpi *a)
{
    const struct machine_config *c = &v->m->config;
    struct buf *b = &a->tables;
    acpi_table(a, "APIC", 4);
    buf_le32(b, X86_APIC_BASE);
    buf_le32(b, 0); // no 8259 to mask
    for (unsigned i = 0; i < c->cpus; i++) {
        uint32_t id = x86_apic_id(c->cores * c->clusters, c->threads, i);
        if (id < 255) {
            buf_u8(b, 0);
            buf_u8(b, 8);
            buf_u8(b, (uint8_t)i);
            buf_u8(b, (uint8_t)id);
            buf_le32(b, 1);
        } else {
            buf_u8(b, 9);
            buf_u8(b, 16);
            buf_le16(b, 0);
            buf_le32(b, id);
            buf_le32(b, 1);
            buf_le32(b, i);
        }
    }
    buf_u8(b, 1); // I/O APIC
    buf_u8(b, 12);
    buf_u8(b, 0);
    buf_u8(b, 0);
    buf_le32(b, (uint32_t)MICROVM_IOAPIC);
    buf_le32(b, 0);
    acpi_table_end(a, true);
}

int microvm_place_acpi(const struct microvm *v, struct err *e)
{
    struct acpi a;
    uint8_t *image;
    size_t len;
    acpi_start(&a);
    uint32_t dsdt = put_dsdt(v, &a);
    put_fadt(&a, dsdt);
    put_madt(v, &a);
    if (v->pcie)
        acpi_put_mcfg(&a, MICROVM_ECAM, MICROVM_ECAM_SIZE / MiB);
    acpi_finish_at(&a, X86_BOOT_ACPI, &image, &len);
    return machine_place(v->m, "ACPI tables", X86_BOOT_ACPI, image, len, e);
}
