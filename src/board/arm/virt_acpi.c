// ACPI tables of the `virt` board (ACPI 6.4; hardware-reduced, as the Arm Base Boot Requirements
// ask): FADT, DSDT, MADT, GTDT, MCFG, SPCR, DBG2, PPTT and IORT, all from the slot table.
#include "board/arm/virt.h"
#include "board/boot/acpi_tables.h"
#include "board/boot/pcie.h"
#include "base/bits.h"
#include "board/numa.h"

#include <stdio.h>

enum { GSI_SPI = 32, GSI_PPI = 16 };

static void zeros(struct acpi *a, size_t n)
{
    buf_grow(&a->tables, n);
}

// ---- DSDT ----

static void put_slot(struct aml *a, const struct board_slot *s, const char *letters, unsigned n)
{
    aml_open_slot(a, s, n, letters, GSI_SPI);
    if (!(s->flags & SLOT_GPIO)) {
        aml_close(a);
        return;
    }
    // The power button hangs on a pin: an edge there runs _Exx.
    char event[8];
    aml_crs(a, "_AEI");
    aml_crs_gpio_irq(a, VIRT_GPIO_POWER_PIN, "GPO0");
    aml_crs_close(a);
    snprintf(event, sizeof event, "_E%02X", VIRT_GPIO_POWER_PIN);
    aml_method(a, event, 0);
    aml_notify(a, "\\_SB.PWRB", 0x80);
    aml_close(a);
    aml_close(a);
}

static uint32_t put_dsdt(const struct virt *v, struct acpi *acpi)
{
    struct aml a = {0};
    uint32_t at = acpi_table(acpi, "DSDT", 2);
    aml_scope(&a, "\\_SB");
    aml_cpus(&a, v->m->config.cpus);
    aml_power_button(&a);
    put_slot(&a, &virt_slots[VIRT_UART], "COM", 0);
    put_slot(&a, &virt_slots[VIRT_FW_CFG], "FWC", 0);
    put_slot(&a, &virt_slots[VIRT_GPIO], "GPO", 0);
    for (unsigned i = 0; i < virt_slots[VIRT_VIRTIO].count; i++)
        put_slot(&a, &virt_slots[VIRT_VIRTIO], "VR", i);
    const struct boot_pcie pcie = {.bridge = virt_pcie_windows(v), .gsi = GSI_SPI + VIRT_SPI_PCIE};
    boot_pcie_aml(&pcie, &a);
    aml_close(&a);
    acpi_put_aml(acpi, &a);
    return at;
}

// ---- other tables ----

static uint16_t arm_flags(const struct virt *v)
{
    enum { PSCI = 1, PSCI_HVC = 2 };
    int conduit = virt_conduit(v);
    return conduit == CONDUIT_NONE ? 0 : conduit == CONDUIT_HVC ? PSCI | PSCI_HVC : PSCI;
}

static void put_gicc(const struct virt *v, struct acpi *a, unsigned cpu)
{
    bool v2 = v->gic_version == 2;
    struct buf *b = &a->tables;
    buf_u8(b, 0x0b);
    buf_u8(b, 80);
    buf_le16(b, 0);
    buf_le32(b, cpu); // CPU interface number
    buf_le32(b, cpu); // processor UID
    buf_le32(b, 1);   // enabled
    buf_le32(b, 0);
    buf_le32(b, v->has_pmu ? GSI_PPI + VIRT_PPI_PMU : 0);
    buf_le64(b, 0);
    buf_le64(b, v2 ? virt_slots[VIRT_GIC_CPU].base : 0);
    buf_le64(b, v2 && v->virtualization ? virt_slots[VIRT_GIC_VCPU].base : 0);
    buf_le64(b, v2 && v->virtualization ? virt_slots[VIRT_GIC_HYP].base : 0);
    buf_le32(b, v->virtualization ? GSI_PPI + VIRT_PPI_MAINTENANCE : 0);
    buf_le64(b, 0);
    buf_le64(b, virt_affinity(v, cpu));
    buf_le32(b, 0);
}

static void put_gicr(struct acpi *a, gpa_t base, uint64_t size)
{
    buf_u8(&a->tables, 0x0e);
    buf_u8(&a->tables, 16);
    buf_le16(&a->tables, 0);
    buf_le64(&a->tables, base);
    buf_le32(&a->tables, (uint32_t)size);
}

static void put_madt(const struct virt *v, struct acpi *a)
{
    struct buf *b = &a->tables;
    acpi_table(a, "APIC", 4);
    zeros(a, 8);
    buf_u8(b, 0x0c); // distributor
    buf_u8(b, 24);
    buf_le16(b, 0);
    buf_le32(b, 0);
    buf_le64(b, virt_slots[VIRT_GIC_DIST].base);
    buf_le32(b, 0);
    buf_le32(b, v->gic_version);
    for (unsigned i = 0; i < v->m->config.cpus; i++)
        put_gicc(v, a, i);
    if (v->gic_version == 3) {
        put_gicr(a, virt_slots[VIRT_GIC_REDIST].base, virt_slots[VIRT_GIC_REDIST].size);
        if (v->redist2)
            put_gicr(a, v->redist2, v->redist2_size);
    }
    if (v->msi && v->gic_version == 3) {
        buf_u8(b, 0x0f); // ITS
        buf_u8(b, 20);
        buf_le16(b, 0);
        buf_le32(b, 0);
        buf_le64(b, virt_slots[VIRT_GIC_ITS].base);
        buf_le32(b, 0);
    } else if (v->msi) {
        buf_u8(b, 0x0d); // GICv2m frame
        buf_u8(b, 24);
        buf_le16(b, 0);
        buf_le32(b, 0);
        buf_le64(b, virt_slots[VIRT_GIC_V2M].base);
        buf_le32(b, 1); // the numbers below count, not the frame's own
        buf_le16(b, VIRT_N_V2M);
        buf_le16(b, GSI_SPI + VIRT_SPI_V2M);
    }
    acpi_table_end(a, true);
}

static void put_gtdt(struct acpi *a)
{
    static const uint8_t ppi[4] = {VIRT_PPI_TIMER_SECURE, VIRT_PPI_TIMER_PHYS, VIRT_PPI_TIMER_VIRT,
                                   VIRT_PPI_TIMER_HYP};
    enum { ALWAYS_ON = 4 }; // level, active high
    acpi_table(a, "GTDT", 2);
    buf_le64(&a->tables, UINT64_MAX); // no memory-mapped counter
    buf_le32(&a->tables, 0);
    for (unsigned i = 0; i < 4; i++) {
        buf_le32(&a->tables, GSI_PPI + ppi[i]);
        buf_le32(&a->tables, ALWAYS_ON);
    }
    buf_le64(&a->tables, UINT64_MAX);
    zeros(a, 8); // no platform timers
    acpi_table_end(a, true);
}

// Debug Port Table 2 (Microsoft): the same UART.
static void put_dbg2(struct acpi *a)
{
    static const char path[] = "\\_SB.COM0";
    const uint16_t info = 22, len = info + 12 + 4 + sizeof path;
    struct buf *b = &a->tables;
    acpi_table(a, "DBG2", 0);
    buf_le32(b, 44);
    buf_le32(b, 1);
    buf_u8(b, 0);
    buf_le16(b, len);
    buf_u8(b, 1);
    buf_le16(b, sizeof path);
    buf_le16(b, info + 16);
    buf_le32(b, 0);      // no OEM data
    buf_le16(b, 0x8000); // serial
    buf_le16(b, 3);      // PL011
    buf_le16(b, 0);
    buf_le16(b, info);
    buf_le16(b, info + 12);
    acpi_gas(a, 32, 3, virt_slots[VIRT_UART].base);
    buf_le32(b, (uint32_t)virt_slots[VIRT_UART].size);
    buf_put(b, path, sizeof path);
    acpi_table_end(a, true);
}

// I/O Remapping Table (Arm DEN 0049): PCI requester ids are the ITS's device ids.
static void put_iort(struct acpi *a)
{
    const uint32_t its_at = 48, root_at = its_at + 24;
    struct buf *b = &a->tables;
    acpi_table(a, "IORT", 0);
    buf_le32(b, 2);
    buf_le32(b, its_at);
    buf_le32(b, 0);
    buf_u8(b, 0); // ITS group
    buf_le16(b, 24);
    buf_u8(b, 0);
    zeros(a, 4);
    buf_le32(b, 0);
    buf_le32(b, 0);
    buf_le32(b, 1);
    buf_le32(b, 0);
    BUG_ON(a->tables.len != a->at + root_at);
    buf_u8(b, 2); // root complex
    buf_le16(b, 36 + 20);
    buf_u8(b, 1);
    zeros(a, 4);
    buf_le32(b, 1);
    buf_le32(b, 36);
    buf_le32(b, 1); // coherent
    zeros(a, 3);
    buf_u8(b, 3); // always so, for all DMA
    buf_le32(b, 0);
    buf_le32(b, 0);
    buf_le32(b, 64); // address bits
    buf_le32(b, 0);  // mapping: input 0 …
    buf_le32(b, 0xffff);
    buf_le32(b, 0);
    buf_le32(b, its_at);
    buf_le32(b, 0);
    acpi_table_end(a, true);
}

static void put_affinity(struct acpi *a, unsigned cpu, unsigned node)
{
    struct buf *b = &a->tables;
    buf_u8(b, 3); // GICC
    buf_u8(b, 18);
    buf_le32(b, node);
    buf_le32(b, cpu);
    buf_le32(b, 1);
    buf_le32(b, 0);
}

int virt_build_acpi(const struct virt *v, struct err *e)
{
    struct acpi a;
    acpi_start(&a);
    uint32_t dsdt = put_dsdt(v, &a);
    acpi_put_fadt(&a, dsdt, arm_flags(v));
    put_madt(v, &a);
    acpi_put_pptt(&a, &v->m->config);
    numa_acpi(v->m, &a, put_affinity);
    put_gtdt(&a);
    acpi_put_mcfg(&a, v->ecam, (unsigned)(v->ecam_size / MiB));
    const struct acpi_uart uart = {.base = virt_slots[VIRT_UART].base,
                                   .kind = 3, // PL011
                                   .width = 32,
                                   .access = 3,
                                   .interrupt_kind = 8, // GIC
                                   .gsi = GSI_SPI + (uint32_t)virt_slots[VIRT_UART].irq};
    acpi_put_spcr(&a, &uart);
    put_dbg2(&a);
    if (v->msi && v->gic_version == 3)
        put_iort(&a);
    return acpi_finish(&a, v->fw_cfg, e);
}
