// ACPI table headers, XSDT and RSDP (ACPI 6.4, 5.2), and the loader script by which firmware puts
// them into memory (the fw_cfg "etc/table-loader" protocol: allocate, add pointer, add checksum).
#include "board/boot/acpi.h"
#include "base/bits.h"
#include "device/firmware/fw_cfg.h"

static const char tables_file[] = "etc/acpi/tables", rsdp_file[] = "etc/acpi/rsdp";

enum { LOADER_ALLOCATE = 1, LOADER_ADD_POINTER = 2, LOADER_ADD_CHECKSUM = 3, LOADER_ENTRY = 128 };
enum { ZONE_HIGH = 1, ZONE_FSEG = 2, HEADER_SIZE = 36, HEADER_CHECKSUM = 9 };

static uint8_t *loader_entry(struct acpi *a, uint32_t command)
{
    uint8_t *p = buf_grow(&a->loader, LOADER_ENTRY);
    st_le32(p, command);
    return p;
}
static void put_file(uint8_t *at, const char *name)
{
    memcpy(at, name, strlen(name));
}

static void allocate(struct acpi *a, const char *file, uint32_t align, uint8_t zone)
{
    uint8_t *p = loader_entry(a, LOADER_ALLOCATE);
    put_file(p + 4, file);
    st_le32(p + 60, align);
    p[64] = zone;
}
static void add_pointer(struct acpi *a, const char *in, uint32_t offset, unsigned size)
{
    uint8_t *p = loader_entry(a, LOADER_ADD_POINTER);
    put_file(p + 4, in);
    put_file(p + 60, tables_file);
    st_le32(p + 116, offset);
    p[120] = (uint8_t)size;
}
static void add_checksum(struct acpi *a, const char *file, uint32_t at, uint32_t start,
                         uint32_t len)
{
    uint8_t *p = loader_entry(a, LOADER_ADD_CHECKSUM);
    put_file(p + 4, file);
    st_le32(p + 60, at);
    st_le32(p + 64, start);
    st_le32(p + 68, len);
}

void acpi_start(struct acpi *a)
{
    *a = (struct acpi){0};
    allocate(a, rsdp_file, 16, ZONE_FSEG);
    allocate(a, tables_file, 64, ZONE_HIGH);
}

uint32_t acpi_table(struct acpi *a, const char *signature, uint8_t revision)
{
    while (a->tables.len % 8)
        buf_u8(&a->tables, 0);
    a->at = (uint32_t)a->tables.len;
    buf_put(&a->tables, signature, 4);
    buf_le32(&a->tables, 0); // length
    buf_u8(&a->tables, revision);
    buf_u8(&a->tables, 0); // checksum
    buf_put(&a->tables, "MYNA  ", 6);
    buf_put(&a->tables, "MYNAVIRT", 8);
    buf_le32(&a->tables, 1);
    buf_put(&a->tables, "MYNA", 4);
    buf_le32(&a->tables, 1);
    return a->at;
}

void acpi_table_end(struct acpi *a, bool listed)
{
    uint32_t len = (uint32_t)a->tables.len - a->at;
    st_le32(a->tables.data + a->at + 4, len);
    add_checksum(a, tables_file, a->at + HEADER_CHECKSUM, a->at, len);
    if (!listed)
        return;
    BUG_ON(a->n_tables == ARRAY_SIZE(a->table));
    a->table[a->n_tables++] = a->at;
}

void acpi_pointer(struct acpi *a, uint32_t offset, unsigned size)
{
    add_pointer(a, tables_file, offset, size);
}

void acpi_gas(struct acpi *a, uint8_t bits_, uint8_t access, uint64_t address)
{
    buf_u8(&a->tables, 0); // system memory
    buf_u8(&a->tables, bits_);
    buf_u8(&a->tables, 0);
    buf_u8(&a->tables, access);
    buf_le64(&a->tables, address);
}

// XSDT and RSDP, the last to be written.
static void finish_root(struct acpi *a, uint8_t rsdp[36])
{
    uint32_t xsdt = acpi_table(a, "XSDT", 1);
    for (unsigned i = 0; i < a->n_tables; i++) {
        acpi_pointer(a, (uint32_t)a->tables.len, 8);
        buf_le64(&a->tables, a->table[i]);
    }
    acpi_table_end(a, false);

    memset(rsdp, 0, 36);
    memcpy(rsdp, "RSD PTR ", 8);
    memcpy(rsdp + 9, "MYNA  ", 6);
    rsdp[15] = 2;
    st_le32(rsdp + 20, 36);
    st_le64(rsdp + 24, xsdt);
    add_pointer(a, rsdp_file, 24, 8);
    add_checksum(a, rsdp_file, 8, 0, 20);
    add_checksum(a, rsdp_file, 32, 0, 36);
}

int acpi_finish(struct acpi *a, struct device *fw_cfg, struct err *e)
{
    uint8_t rsdp[36];
    finish_root(a, rsdp);
    int r = fw_cfg_add_file(fw_cfg, rsdp_file, rsdp, sizeof rsdp, e) ||
            fw_cfg_add_file(fw_cfg, tables_file, a->tables.data, a->tables.len, e) ||
            fw_cfg_add_file(fw_cfg, "etc/table-loader", a->loader.data, a->loader.len, e);
    buf_free(&a->tables);
    buf_free(&a->loader);
    return r ? -1 : 0;
}

// Does what the loader script says, as firmware would: pointers first, then checksums over them.
static void run_loader(const struct acpi *a, uint8_t *rsdp, uint8_t *tables, uint64_t tables_at)
{
    for (size_t i = 0; i < a->loader.len; i += LOADER_ENTRY) {
        const uint8_t *p = a->loader.data + i;
        uint8_t *file = strcmp((const char *)p + 4, rsdp_file) ? tables : rsdp;
        if (ld_le32(p) == LOADER_ADD_POINTER) {
            uint8_t *at = file + ld_le32(p + 116);
            if (p[120] == 8)
                st_le64(at, ld_le64(at) + tables_at);
            else
                st_le32(at, ld_le32(at) + (uint32_t)tables_at);
        }
    }
    for (size_t i = 0; i < a->loader.len; i += LOADER_ENTRY) {
        const uint8_t *p = a->loader.data + i;
        uint8_t *file = strcmp((const char *)p + 4, rsdp_file) ? tables : rsdp;
        if (ld_le32(p) != LOADER_ADD_CHECKSUM)
            continue;
        uint8_t sum = 0;
        for (uint32_t k = 0; k < ld_le32(p + 68); k++)
            sum += file[ld_le32(p + 64) + k];
        file[ld_le32(p + 60)] -= sum;
    }
}

void acpi_finish_at(struct acpi *a, uint64_t base, uint8_t **out, size_t *len)
{
    enum { TABLES_AT = 64 };
    uint8_t rsdp[36];
    finish_root(a, rsdp);
    *len = TABLES_AT + a->tables.len;
    *out = xalloc(*len);
    memcpy(*out, rsdp, sizeof rsdp);
    memcpy(*out + TABLES_AT, a->tables.data, a->tables.len);
    run_loader(a, *out, *out + TABLES_AT, base + TABLES_AT);
    buf_free(&a->tables);
    buf_free(&a->loader);
}
