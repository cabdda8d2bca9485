// ACPI and SMBIOS as firmware gets them: the loader script is carried out here, then every table's
// length, checksum and the pointers between them are looked at, and the table compiler's
// disassembler has its say where it is installed.
#include "../device/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bits.h"
#include "board/arm/virt.h"
#include "board/boot/smbios.h"
#include "device/firmware/fw_cfg.h"

enum { FW_CFG = 0x9020000 };
static const struct mem_attrs cpu;

struct file {
    uint8_t *data;
    uint32_t len;
    uint64_t at; // where "firmware" put it
};

static uint64_t port(struct rig *r, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | rig_read(r, FW_CFG, 1, cpu);
    return v;
}
static void select_key(struct rig *r, unsigned key)
{
    rig_write(r, FW_CFG + 8, 2, __builtin_bswap16((uint16_t)key), cpu);
}

static struct file fetch(struct rig *r, const char *name)
{
    struct file f = {0};
    unsigned key = 0;
    select_key(r, FW_CFG_FILE_DIR);
    for (unsigned n = (unsigned)port(r, 4); n; n--) {
        char got[56];
        uint32_t len = (uint32_t)port(r, 4), k = (uint32_t)port(r, 4) >> 16;
        for (unsigned i = 0; i < sizeof got; i++)
            got[i] = (char)port(r, 1);
        if (!strcmp(got, name)) {
            key = k;
            f.len = len;
        }
    }
    assert_int_not_equal(key, 0);
    f.data = xalloc(f.len);
    select_key(r, key);
    for (uint32_t i = 0; i < f.len; i++)
        f.data[i] = (uint8_t)port(r, 1);
    return f;
}

static uint8_t sum(const uint8_t *p, uint32_t n)
{
    uint8_t s = 0;
    while (n--)
        s += *p++;
    return s;
}

static void carry_out(const struct file *script, struct file *tables, struct file *rsdp)
{
    for (const uint8_t *p = script->data; p < script->data + script->len; p += 128) {
        struct file *f = strcmp((const char *)p + 4, "etc/acpi/rsdp") ? tables : rsdp;
        if (ld_le32(p) == 2) {
            uint32_t at = ld_le32(p + 116);
            uint64_t v = 0;
            assert_true(at + p[120] <= f->len);
            memcpy(&v, f->data + at, p[120]);
            v += tables->at;
            memcpy(f->data + at, &v, p[120]);
        } else if (ld_le32(p) == 3) {
            uint32_t at = ld_le32(p + 60), from = ld_le32(p + 64), n = ld_le32(p + 68);
            assert_true(from + n <= f->len && at < f->len);
            f->data[at] = 0;
            f->data[at] = (uint8_t)-sum(f->data + from, n);
        }
    }
}

static void disassemble(const char *signature, const uint8_t *table, uint32_t len)
{
    char name[64], command[512];
    if (system("command -v iasl >/dev/null 2>&1"))
        return;
    snprintf(name, sizeof name, "/tmp/test_tables_%d_%.4s", (int)getpid(), signature);
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(table, 1, len, f), len);
    fclose(f);
    snprintf(command, sizeof command,
             "iasl -p %s -d %s >%s.log 2>&1 && ! grep -iqE 'error|warning|invalid' %s.log %s.dsl",
             name, name, name, name, name);
    int r = system(command);
    snprintf(command, sizeof command, "rm -f %s*", name);
    if (system(command) || r)
        fail_msg("iasl does not like %s", signature);
}

static void test_acpi(unsigned gic, unsigned cpus)
{
    struct rig r;
    struct err e;
    struct device msi;
    rig_open(&r);
    struct device *d = rig_device(&r, &fw_cfg_type);
    rig_start(&r, d);
    rig_map(&r, d, 0, FW_CFG);
    struct machine m = {.config = {.cpus = cpus,
                                   .max_cpus = cpus,
                                   .sockets = 2,
                                   .clusters = 1,
                                   .cores = cpus / 4,
                                   .threads = 2}};
    struct virt v = {.m = &m,
                     .gic_version = gic,
                     .msi = &msi,
                     .fw_cfg = d,
                     .ecam = 0x4010000000,
                     .ecam_size = 256 * MiB,
                     .high_mmio = 512 * GiB,
                     .high_mmio_size = 512 * GiB};
    assert_int_equal(virt_build_acpi(&v, &e), 0);
    struct file script = fetch(&r, "etc/table-loader"), tables = fetch(&r, "etc/acpi/tables"),
                rsdp = fetch(&r, "etc/acpi/rsdp");
    tables.at = 0x12340000;
    carry_out(&script, &tables, &rsdp);
    assert_memory_equal(rsdp.data, "RSD PTR ", 8);
    assert_int_equal(sum(rsdp.data, 20), 0);
    assert_int_equal(sum(rsdp.data, 36), 0);
    const uint8_t *xsdt = tables.data + (ld_le64(rsdp.data + 24) - tables.at);
    assert_memory_equal(xsdt, "XSDT", 4);
    unsigned n = (ld_le32(xsdt + 4) - 36) / 8, seen = 0;
    assert_int_equal(n, gic == 3 ? 8 : 7);
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *t = tables.data + (ld_le64(xsdt + 36 + 8 * i) - tables.at);
        uint32_t len = ld_le32(t + 4);
        assert_true(t + len <= tables.data + tables.len);
        assert_int_equal(sum(t, len), 0);
        disassemble((const char *)t, t, len);
        if (!memcmp(t, "FACP", 4)) {
            const uint8_t *dsdt = tables.data + (ld_le64(t + 140) - tables.at);
            assert_memory_equal(dsdt, "DSDT", 4);
            assert_int_equal(sum(dsdt, ld_le32(dsdt + 4)), 0);
            disassemble("DSDT", dsdt, ld_le32(dsdt + 4));
        }
        if (!memcmp(t, "APIC", 4))
            for (uint32_t at = 44; at < len; at += t[at + 1]) {
                assert_true(t[at + 1] >= 2);
                seen += t[at] == 0x0b;
            }
    }
    assert_int_equal(seen, cpus);
    free(script.data);
    free(tables.data);
    free(rsdp.data);
    rig_close(&r);
}

static void test_acpi_v2(void **state)
{
    test_acpi(2, 8);
}
static void test_acpi_v3(void **state)
{
    test_acpi(3, 200);
}

static void test_smbios(void **state)
{
    struct rig r;
    struct err e;
    struct opts o[2] = {0};
    rig_open(&r);
    struct device *d = rig_device(&r, &fw_cfg_type);
    rig_start(&r, d);
    rig_map(&r, d, 0, FW_CFG);
    assert_int_equal(
        opts_parse(&o[0], "type=1,product=Foo,uuid=00112233-4455-6677-8899-aabbccddeeff", NULL, &e),
        0);
    assert_int_equal(opts_parse(&o[1], "type=11,value=hello", NULL, &e), 0);
    struct smbios_config c = {.product = "virt",
                              .version = "1",
                              .sockets = 1,
                              .cores = 4,
                              .threads = 1,
                              .ram_base = 1 * GiB,
                              .ram_size = 40 * GiB,
                              .overrides = o,
                              .n_overrides = 2};
    assert_int_equal(smbios_build(&c, d, &e), 0);
    struct file anchor = fetch(&r, "etc/smbios/smbios-anchor"),
                tables = fetch(&r, "etc/smbios/smbios-tables");
    assert_int_equal(anchor.len, 24);
    assert_int_equal(sum(anchor.data, anchor.len), 0);
    assert_int_equal(ld_le32(anchor.data + 12), tables.len);
    unsigned types[256] = {0};
    const uint8_t *p = tables.data, *end = tables.data + tables.len, *last = NULL;
    while (p < end) { // structure, then strings up to an empty one
        const uint8_t *s = last = p;
        types[s[0]]++;
        p += s[1];
        if (s[0] == 1) {
            assert_string_equal((const char *)p + 5, "Foo"); // after the manufacturer
            assert_int_equal(ld_le32(s + 8), 0x00112233);
        }
        if (s[0] == 11)
            assert_string_equal((const char *)p, "hello");
        while (p[0] || p[1])
            p++;
        p += 2;
    }
    assert_ptr_equal(p, end);
    assert_int_equal(last[0], 127);
    assert_int_equal(types[17], 3); // 40 GiB in modules of 16
    assert_int_equal(types[4], 1);
    // What is wrong is named
    struct opts bad = {0};
    assert_int_equal(opts_parse(&bad, "type=1,prodct=x", NULL, &e), 0);
    c.overrides = &bad;
    c.n_overrides = 1;
    assert_int_equal(smbios_build(&c, d, &e), -1);
    assert_non_null(strstr(e.msg, "prodct"));
    opts_free(&o[0]);
    opts_free(&o[1]);
    opts_free(&bad);
    free(anchor.data);
    free(tables.data);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acpi_v2),
        cmocka_unit_test(test_acpi_v3),
        cmocka_unit_test(test_smbios),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
