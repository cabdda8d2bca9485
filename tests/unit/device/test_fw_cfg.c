// fw_cfg through both interfaces: the data port, and DMA by descriptors in memory.
#include "rig.h"

#include "base/bits.h"
#include "device/firmware/fw_cfg.h"

#include <stdlib.h>

enum { BASE = 0x9020000, RAM = 0x40000000 };
static const struct mem_attrs cpu;

static void select_key(struct rig *r, uint16_t key)
{
    rig_write(r, BASE + 8, 2, __builtin_bswap16(key), cpu);
}

static uint32_t dma(struct rig *r, uint32_t control, uint32_t len, gpa_t to)
{
    uint8_t d[16], answer[4];
    st_be32(d, control);
    st_be32(d + 4, len);
    st_be64(d + 8, to);
    assert_int_equal(dma_write(r->env.memory, RAM + 0x100, d, sizeof d), 0);
    rig_write(r, BASE + 16, 4, 0, cpu);
    rig_write(r, BASE + 20, 4, __builtin_bswap32(RAM + 0x100), cpu);
    loop_run_once(r->env.loop, 100);
    assert_int_equal(dma_read(r->env.memory, RAM + 0x100, answer, 4), 0);
    return ld_be32(answer);
}

static void test_fw_cfg(void **state)
{
    struct rig r;
    struct err e;
    uint8_t b[256];
    rig_open(&r);
    struct device *d = rig_device(&r, &fw_cfg_type);
    rig_start(&r, d);
    rig_map(&r, d, 0, BASE);
    fw_cfg_set_u16(d, FW_CFG_NB_CPUS, 0x1234);
    assert_int_equal(fw_cfg_add_file(d, "opt/b", "second", 6, &e), 0);
    assert_int_equal(fw_cfg_add_file(d, "opt/a", "first", 5, &e), 0);
    assert_int_equal(fw_cfg_add_file(d, "opt/a", "x", 1, &e), -1);
    assert_non_null(strstr(e.msg, "opt/a"));
    // Data port: bytes in order, whatever the width; zeros at the end
    select_key(&r, FW_CFG_SIGNATURE);
    assert_int_equal(rig_read(&r, BASE, 1, cpu), 'Q');
    assert_int_equal(rig_read(&r, BASE, 2, cpu), 'M' << 8 | 'E');
    assert_int_equal(rig_read(&r, BASE, 4, cpu), 'U');
    select_key(&r, FW_CFG_NB_CPUS);
    assert_int_equal(rig_read(&r, BASE, 2, cpu), 0x1234);
    select_key(&r, FW_CFG_ID);
    assert_int_equal(rig_read(&r, BASE, 4, cpu), 3);
    // The directory is sorted and says sizes and keys
    assert_int_equal(dma(&r, FW_CFG_FILE_DIR << 16 | 8 | 2, 4 + 2 * 64, RAM + 0x1000), 0);
    assert_int_equal(dma_read(r.env.memory, RAM + 0x1000, b, 4 + 2 * 64), 0);
    assert_int_equal(ld_be32(b), 2);
    assert_string_equal((char *)b + 4 + 8, "opt/a");
    assert_int_equal(ld_be32(b + 4), 5);
    assert_string_equal((char *)b + 4 + 64 + 8, "opt/b");
    unsigned key = ld_be16(b + 4 + 64 + 4);
    // DMA: select, skip, read; an address outside RAM and a write are errors
    assert_int_equal(dma(&r, key << 16 | 8 | 4, 3, 0), 0);
    assert_int_equal(dma(&r, 2, 5, RAM + 0x2000), 0);
    assert_int_equal(dma_read(r.env.memory, RAM + 0x2000, b, 5), 0);
    assert_memory_equal(b, "ond\0\0", 5);
    assert_int_equal(dma(&r, key << 16 | 8 | 2, 4, 0x1000), 1);
    assert_int_equal(dma(&r, key << 16 | 8 | 0x10, 4, RAM), 1);
    assert_int_equal(rig_read(&r, BASE + 16, 8, cpu), __builtin_bswap64(0x51454d5520434647));
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fw_cfg)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
