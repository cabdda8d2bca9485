// Flash by the command sequences of the Intel command set as drivers use them, with a file behind
// it that must hold what the chip has called done.
#include "rig.h"

#include "block/block.h"
#include "device/storage/pflash.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { BASE = 0x4000000, SIZE = 1 << 20, SECTOR = 0x40000 };

static char path[] = "/tmp/test_pflash_XXXXXX";

static struct block_node *open_file(struct rig *r, bool readonly)
{
    struct opts o = {0};
    struct err e;
    opts_set(&o, "driver", "raw");
    opts_set(&o, "file.driver", "file");
    opts_set(&o, "file.filename", path);
    if (readonly)
        opts_set(&o, "read-only", "on");
    struct block_node *n = block_open(&o, r->env.loop, &e);
    if (!n)
        print_error("%s\n", e.msg);
    assert_non_null(n);
    opts_free(&o);
    return n;
}

static void finish(struct rig *r)
{
    pump_until(r->env.loop, RD32(r, BASE) & 0x80);
}

static uint32_t file_word(unsigned at)
{
    uint32_t v;
    int fd = open(path, O_RDONLY);
    assert_int_equal(pread(fd, &v, 4, at), 4);
    close(fd);
    return v;
}

static void test_commands(void **state)
{
    struct rig r;
    struct err e;
    int fd = mkstemp(path);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    close(fd);
    rig_open(&r);
    struct block_node *n = open_file(&r, false);
    struct device *d = rig_device(&r, &pflash_type);
    assert_int_equal(device_set(d, "size", "1M", &e), 0);
    device_set_ptr(d, "node", n);
    rig_start(&r, d);
    pflash_map(d, r.env.memory, BASE);
    assert_int_equal(RD32(&r, BASE), 0);
    // Query: "QRY", device size (half the bank), one region of 4 sectors
    WR32(&r, BASE + 0x55 * 4, 0x980098);
    assert_int_equal(RD32(&r, BASE + 0x10 * 4), 'Q' << 16 | 'Q');
    assert_int_equal(RD32(&r, BASE + 0x27 * 4) & 0xff, 19);
    assert_int_equal(RD32(&r, BASE + 0x2d * 4) & 0xff, 3);
    assert_int_equal(RD32(&r, BASE + 0x30 * 4) & 0xff, 2);
    WR32(&r, BASE, 0x900090);
    assert_int_equal(RD32(&r, BASE), 0x890089);
    assert_int_equal(RD32(&r, BASE + 4), 0x180018);
    // Erase the second sector: busy until the file has it
    WR32(&r, BASE + SECTOR, 0x200020);
    WR32(&r, BASE + SECTOR, 0xd000d0);
    assert_int_equal(RD32(&r, BASE) & 0x80, 0);
    finish(&r);
    assert_int_equal(RD32(&r, BASE), 0x800080);
    assert_int_equal(file_word(SECTOR), 0xffffffff);
    assert_int_equal(file_word(2 * SECTOR - 4), 0xffffffff);
    assert_int_equal(file_word(SECTOR - 4), 0);
    // A word, then another on top of it: bits only go to zero
    WR32(&r, BASE + SECTOR + 8, 0x400040);
    WR32(&r, BASE + SECTOR + 8, 0x12345678);
    finish(&r);
    WR32(&r, BASE + SECTOR + 8, 0x400040);
    WR32(&r, BASE + SECTOR + 8, 0xff00ff00);
    finish(&r);
    assert_int_equal(file_word(SECTOR + 8), 0x12005600);
    WR32(&r, BASE, 0xff00ff);
    assert_int_equal(RD32(&r, BASE + SECTOR + 8), 0x12005600);
    // Buffered program of 32 words
    WR32(&r, BASE + SECTOR + 0x100, 0xe800e8);
    WR32(&r, BASE + SECTOR + 0x100, 0x1f001f);
    for (unsigned i = 0; i < 32; i++)
        WR32(&r, BASE + SECTOR + 0x100 + 4 * i, i * 0x01010101);
    WR32(&r, BASE + SECTOR + 0x100, 0xd000d0);
    finish(&r);
    for (unsigned i = 0; i < 32; i++)
        assert_int_equal(file_word(SECTOR + 0x100 + 4 * i), i * 0x01010101);
    // A buffer that is not confirmed changes nothing and says so
    WR32(&r, BASE + SECTOR + 0x200, 0xe800e8);
    WR32(&r, BASE + SECTOR + 0x200, 0);
    WR32(&r, BASE + SECTOR + 0x200, 0);
    WR32(&r, BASE + SECTOR + 0x200, 0xff00ff);
    assert_int_equal(RD32(&r, BASE), 0xb000b0);
    WR32(&r, BASE, 0x500050);
    assert_int_equal(RD32(&r, BASE), 0x800080);
    assert_int_equal(file_word(SECTOR + 0x200), 0xffffffff);
    device_tree_free(&r.tree);
    block_unref(n);
    rig_close(&r);
}

static void test_readonly(void **state)
{
    struct rig r;
    struct err e;
    rig_open(&r);
    struct block_node *n = open_file(&r, true);
    struct device *d = rig_device(&r, &pflash_type);
    assert_int_equal(device_set(d, "size", "1M", &e), 0);
    device_set_ptr(d, "node", n);
    rig_start(&r, d);
    pflash_map(d, r.env.memory, BASE);
    assert_int_equal(RD32(&r, BASE + SECTOR + 8), 0x12005600);
    WR32(&r, BASE, 0x200020);
    WR32(&r, BASE, 0xd000d0);
    assert_int_equal(RD32(&r, BASE) & 0xff, 0xa2);
    WR32(&r, BASE, 0xff00ff);
    assert_int_equal(RD32(&r, BASE), 0);
    device_tree_free(&r.tree);
    block_unref(n);
    rig_close(&r);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_readonly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
