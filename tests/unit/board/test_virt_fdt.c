// The device tree of the virt board, as libfdt reads it back: every device node matches the slot
// table, references resolve, and values that guests rely on are what they rely on.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libfdt.h>
#include <stdlib.h>

#include "base/bits.h"
#include "board/arm/virt.h"

static struct machine machine;

static void *build(struct virt *v, unsigned cpus, unsigned gic)
{
    uint8_t *blob;
    size_t len;
    struct err e;
    machine.config.cpus = machine.config.max_cpus = cpus;
    machine.config.sockets = machine.config.clusters = machine.config.threads = 1;
    machine.config.cores = cpus;
    machine.config.ram_size = 2 * GiB;
    machine.ram_base = 0x40000000;
    v->m = &machine;
    v->gic_version = gic;
    v->ecam = 0x4010000000;
    v->ecam_size = 256 * MiB;
    v->high_mmio = v->high_mmio_size = 512 * GiB;
    assert_int_equal(virt_build_fdt(v, &blob, &len, &e), 0);
    assert_int_equal(fdt_check_full(blob, len), 0);
    return blob;
}

static const fdt32_t *cells(const void *t, const char *path, const char *prop, int n)
{
    int len, node = fdt_path_offset(t, path);
    assert_true(node >= 0);
    const fdt32_t *c = fdt_getprop(t, node, prop, &len);
    assert_non_null(c);
    assert_int_equal(len, n * 4);
    return c;
}

static void assert_cells(const void *t, const char *path, const char *prop, int n,
                         const uint32_t *want)
{
    const fdt32_t *c = cells(t, path, prop, n);
    for (int i = 0; i < n; i++)
        assert_int_equal(fdt32_to_cpu(c[i]), want[i]);
}

static void test_gicv2(void **state)
{
    struct virt v = {0};
    void *t = build(&v, 2, 2);
    const uint32_t gic = fdt_get_phandle(t, fdt_path_offset(t, "/intc@8000000"));
    assert_cells(t, "/", "interrupt-parent", 1, &gic);
    assert_cells(t, "/intc@8000000", "reg", 8,
                 (uint32_t[]){0, 0x8000000, 0, 0x10000, 0, 0x8010000, 0, 0x10000});
    assert_cells(t, "/timer", "interrupts", 12,
                 (uint32_t[]){1, 13, 0x304, 1, 14, 0x304, 1, 11, 0x304, 1, 10, 0x304});
    assert_cells(t, "/pl011@9000000", "interrupts", 3, (uint32_t[]){0, 1, 4});
    assert_cells(t, "/virtio_mmio@a003e00", "interrupts", 3, (uint32_t[]){0, 47, 1});
    assert_cells(t, "/memory@40000000", "reg", 4, (uint32_t[]){0, 0x40000000, 0, 0x80000000});
    assert_cells(t, "/flash@0", "reg", 8,
                 (uint32_t[]){0, 0, 0, 0x4000000, 0, 0x4000000, 0, 0x4000000});
    assert_string_equal(fdt_getprop(t, fdt_path_offset(t, "/psci"), "method", NULL), "hvc");
    assert_true(fdt_path_offset(t, "/pl011@9040000") < 0); // no secure world
    // Slot 1, INTB goes to the third of the four lines
    const fdt32_t *map = cells(t, "/pcie@10000000", "interrupt-map", 160);
    assert_int_equal(fdt32_to_cpu(map[50]), 1 << 11);
    assert_int_equal(fdt32_to_cpu(map[53]), 2);
    assert_int_equal(fdt32_to_cpu(map[58]), 5);
    free(t);
}

static void test_gicv3(void **state)
{
    struct virt v = {.secure = true, .virtualization = true, .its = true};
    struct device msi;
    v.msi = &msi;
    v.redist2 = 0x4000000000;
    v.redist2_size = 64 * MiB;
    void *t = build(&v, 140, 3);
    assert_cells(
        t, "/intc@8000000", "reg", 12,
        (uint32_t[]){0, 0x8000000, 0, 0x10000, 0, 0x80a0000, 0, 0xf60000, 0x40, 0, 0, 0x4000000});
    assert_cells(t, "/cpus/cpu@139", "reg", 1, (uint32_t[]){0x80b});
    assert_string_equal(fdt_getprop(t, fdt_path_offset(t, "/psci"), "method", NULL), "smc");
    assert_string_equal(fdt_getprop(t, fdt_path_offset(t, "/pl011@9040000"), "secure-status", NULL),
                        "okay");
    const uint32_t its = fdt_get_phandle(t, fdt_path_offset(t, "/intc@8000000/its@8080000"));
    assert_cells(t, "/pcie@10000000", "msi-map", 4, (uint32_t[]){0, its, 0, 0x10000});
    uint32_t core = fdt32_to_cpu(*cells(t, "/cpus/cpu-map/socket0/cluster0/core139", "cpu", 1));
    assert_int_equal(fdt_node_offset_by_phandle(t, core), fdt_path_offset(t, "/cpus/cpu@139"));
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gicv2), cmocka_unit_test(test_gicv3)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
