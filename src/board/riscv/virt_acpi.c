// ACPI tables of the RISC-V `virt` board (ACPI 6.6; RISC-V Boot and Runtime Services): FADT, DSDT,
// MADT, RHCT, PPTT, MCFG and SPCR, all from the slot table and the harts themselves.
#include "board/boot/acpi_tables.h"
#include "board/boot/pcie.h"
#include "board/riscv/virt.h"
#include "base/bits.h"
#include "device/irqchip/riscv/imsic.h"
#include "device/irqchip/riscv/plic.h"
#include "isa/riscv/riscv.h"
#include "board/numa.h"

static const struct rv_cpu *hart(const struct rvirt *v, unsigned i)
{
    return rv_cpu(v->m->vcpus->v[i]->env);
}

// ---- DSDT ----

static void open_slot(struct aml *a, enum rvirt_slot_id id, const char *letters, unsigned n)
{
    aml_open_slot(a, &rvirt_slots[id], n, letters, 0);
}

// The controller that global interrupts go through, from number _GSB on.
static void put_controller(const struct rvirt *v, struct aml *a)
{
    open_slot(a, v->aia == AIA_NONE ? RVIRT_PLIC : RVIRT_APLIC_S, "IC0", 0);
    aml_name_int(a, "_GSB", 0);
    aml_close(a);
}

// Device properties (_DSD): the rate of its clock.
static void put_uart(struct aml *a)
{
    static const uint8_t device_properties[16] = {0x14, 0xd8, 0xff, 0xda, 0xba, 0x6e, 0x8c, 0x4d,
                                                  0x8a, 0x91, 0xbc, 0x9b, 0xbf, 0x4a, 0xa3, 0x01};
    open_slot(a, RVIRT_UART, "COM", 0);
    aml_name(a, "_DSD");
    aml_package(a, 2);
    aml_buffer(a, device_properties, sizeof device_properties);
    aml_package(a, 1);
    aml_package(a, 2);
    aml_string(a, "clock-frequency");
    aml_int(a, RVIRT_UART_CLOCK);
    aml_close(a);
    aml_close(a);
    aml_close(a);
    aml_close(a);
}

static uint32_t put_dsdt(const struct rvirt *v, struct acpi *acpi)
{
    const struct boot_pcie pcie = {.bridge = rvirt_pcie_windows(v), .gsi = RVIRT_IRQ_PCIE};
    struct aml a = {0};
    uint32_t at = acpi_table(acpi, "DSDT", 2);
    aml_scope(&a, "\\_SB");
    aml_cpus(&a, v->m->config.cpus);
    put_controller(v, &a);
    put_uart(&a);
    open_slot(&a, RVIRT_FW_CFG, "FWC", 0);
    aml_close(&a);
    for (unsigned i = 0; i < rvirt_slots[RVIRT_VIRTIO].count; i++) {
        open_slot(&a, RVIRT_VIRTIO, "VR0", i);
        aml_close(&a);
    }
    boot_pcie_aml(&pcie, &a);
    aml_close(&a);
    acpi_put_aml(acpi, &a);
    return at;
}

// ---- MADT ----

enum { MADT_RINTC = 0x18, MADT_IMSIC = 0x19, MADT_APLIC = 0x1a, MADT_PLIC = 0x1b };

static void put_head(struct buf *b, uint8_t type, uint8_t len, uint8_t id)
{
    buf_u8(b, type);
    buf_u8(b, len);
    buf_u8(b, 1); // version
    buf_u8(b, id);
}

static void put_rintc(const struct rvirt *v, struct buf *b, unsigned i)
{
    uint64_t stride = imsic_stride((unsigned)v->aia_guests);
    bool imsic = v->aia == AIA_IMSIC;
    put_head(b, MADT_RINTC, 36, 0);
    buf_le32(b, 1);                                              // enabled
    buf_le64(b, i);                                              // hart
    buf_le32(b, i);                                              // processor UID
    buf_le32(b, v->aia == AIA_NONE ? 2 * i + 1 : imsic ? 0 : i); // its context there
    buf_le64(b, imsic ? rvirt_slots[RVIRT_IMSIC_S].base + i * stride : 0);
    buf_le32(b, imsic ? (uint32_t)stride : 0);
}

static uint8_t index_bits(unsigned n)
{
    uint8_t k = 0;
    while (1u << k < n)
        k++;
    return k;
}

static void put_imsic(const struct rvirt *v, struct buf *b)
{
    put_head(b, MADT_IMSIC, 16, 0);
    buf_le32(b, 0);
    buf_le16(b, RVIRT_MSI_IDS);
    buf_le16(b, RVIRT_MSI_IDS); // of guest files
    buf_u8(b, index_bits((unsigned)v->aia_guests + 1));
    buf_u8(b, index_bits(v->m->config.cpus));
    buf_u8(b, 0); // one group of harts
    buf_u8(b, 24);
}

static void put_aplic(const struct rvirt *v, struct buf *b)
{
    const struct board_slot *s = &rvirt_slots[RVIRT_APLIC_S];
    put_head(b, MADT_APLIC, 36, 0);
    buf_le32(b, 0);
    buf_le64(b, 0); // hardware id
    buf_le16(b, v->aia == AIA_IMSIC ? 0 : (uint16_t)v->m->config.cpus);
    buf_le16(b, RVIRT_SOURCES);
    buf_le32(b, 0); // first global interrupt
    buf_le64(b, s->base);
    buf_le32(b, (uint32_t)s->size);
}

static void put_plic(const struct rvirt *v, struct buf *b)
{
    const struct board_slot *s = &rvirt_slots[RVIRT_PLIC];
    put_head(b, MADT_PLIC, 36, 0);
    buf_le64(b, 0); // hardware id
    buf_le16(b, RVIRT_SOURCES - 1);
    buf_le16(b, 7); // highest priority
    buf_le32(b, 0);
    buf_le32(b, (uint32_t)MAX(s->size, plic_size(2 * v->m->config.cpus)));
    buf_le64(b, s->base);
    buf_le32(b, 0);
}

static void put_madt(const struct rvirt *v, struct acpi *a)
{
    struct buf *b = &a->tables;
    acpi_table(a, "APIC", 7);
    buf_le64(b, 0);
    for (unsigned i = 0; i < v->m->config.cpus; i++)
        put_rintc(v, b, i);
    if (v->aia == AIA_NONE)
        put_plic(v, b);
    if (v->aia == AIA_IMSIC)
        put_imsic(v, b);
    if (v->aia != AIA_NONE)
        put_aplic(v, b);
    acpi_table_end(a, true);
}

// ---- RHCT: what the harts can do ----

enum { RHCT_ISA = 0, RHCT_CMO = 1, RHCT_MMU = 2, RHCT_HART = 0xffff };

static uint32_t open_node(struct acpi *a, uint16_t type, uint16_t len, unsigned *count)
{
    uint32_t at = (uint32_t)a->tables.len - a->at;
    buf_le16(&a->tables, type);
    buf_le16(&a->tables, len);
    buf_le16(&a->tables, 1); // revision
    ++*count;
    return at;
}

static uint32_t put_isa(struct acpi *a, const struct rv_cpu *c, unsigned *count)
{
    char text[1024];
    rv_isa_string(c, text, sizeof text);
    uint16_t len = (uint16_t)(strlen(text) + 1), padded = (uint16_t)align_up(len, 2);
    uint32_t at = open_node(a, RHCT_ISA, 8 + padded, count);
    buf_le16(&a->tables, len);
    buf_put(&a->tables, text, len);
    if (padded != len)
        buf_u8(&a->tables, 0);
    return at;
}

static uint32_t put_cmo(struct acpi *a, const struct rv_cpu *c, unsigned *count)
{
    static const uint8_t features[] = {RV_FEAT_ZICBOM, RV_FEAT_ZICBOP, RV_FEAT_ZICBOZ};
    uint32_t at = open_node(a, RHCT_CMO, 10, count);
    buf_u8(&a->tables, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
        buf_u8(&a->tables, rv_has(c, features[i]) ? index_bits(RV_CACHE_BLOCK) : 0);
    return at;
}

static uint32_t put_mmu(struct acpi *a, const struct rv_cpu *c, unsigned *count)
{
    uint32_t at = open_node(a, RHCT_MMU, 8, count);
    buf_u8(&a->tables, 0);
    buf_u8(&a->tables, rv_has(c, RV_FEAT_SV57) ? 2 : rv_has(c, RV_FEAT_SV48) ? 1 : 0);
    return at;
}

// The harts are alike: one set of nodes, and for each a node that refers to them.
static void put_rhct(const struct rvirt *v, struct acpi *a)
{
    const struct rv_cpu *c = hart(v, 0);
    uint32_t nodes[3];
    unsigned n = 0, count = 0;
    uint32_t table = acpi_table(a, "RHCT", 1);
    buf_le32(&a->tables, 0);
    buf_le64(&a->tables, RV_TIMEBASE_HZ);
    buf_le32(&a->tables, 0); // how many nodes, below
    buf_le32(&a->tables, 56);
    nodes[n++] = put_isa(a, c, &count);
    if (rv_has(c, RV_FEAT_ZICBOM) || rv_has(c, RV_FEAT_ZICBOP) || rv_has(c, RV_FEAT_ZICBOZ))
        nodes[n++] = put_cmo(a, c, &count);
    if (rv_has(c, RV_FEAT_SV39))
        nodes[n++] = put_mmu(a, c, &count);
    for (unsigned i = 0; i < v->m->config.cpus; i++) {
        open_node(a, RHCT_HART, (uint16_t)(12 + 4 * n), &count);
        buf_le16(&a->tables, (uint16_t)n);
        buf_le32(&a->tables, i);
        for (unsigned k = 0; k < n; k++)
            buf_le32(&a->tables, nodes[k]);
    }
    st_le32(a->tables.data + table + 48, count);
    acpi_table_end(a, true);
}

static void put_affinity(struct acpi *a, unsigned cpu, unsigned node)
{
    struct buf *b = &a->tables;
    buf_u8(b, 7); // RINTC
    buf_u8(b, 20);
    buf_le16(b, 0);
    buf_le32(b, node);
    buf_le32(b, cpu);
    buf_le32(b, 1);
    buf_le32(b, 0);
}

int rvirt_build_acpi(const struct rvirt *v, struct err *e)
{
    const struct board_slot *ecam = &rvirt_slots[RVIRT_PCIE_ECAM];
    const struct acpi_uart uart = {.base = rvirt_slots[RVIRT_UART].base,
                                   .kind = 0x12, // 16550 as the address says
                                   .width = 8,
                                   .access = 1,
                                   .interrupt_kind = 16, // PLIC or APLIC
                                   .gsi = (uint32_t)rvirt_slots[RVIRT_UART].irq};
    struct acpi a;
    acpi_start(&a);
    uint32_t dsdt = put_dsdt(v, &a);
    acpi_put_fadt(&a, dsdt, 0);
    put_madt(v, &a);
    put_rhct(v, &a);
    acpi_put_pptt(&a, &v->m->config);
    numa_acpi(v->m, &a, put_affinity);
    acpi_put_mcfg(&a, ecam->base, (unsigned)(ecam->size / MiB));
    acpi_put_spcr(&a, &uart);
    return acpi_finish(&a, v->fw_cfg, e);
}
