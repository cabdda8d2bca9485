// What keeps images safe from their users and from themselves: corrupt and dirty marks, images of
// unstated format, zero detection, write-through, media changes.
#include "image_model.h"
#include "base/bits.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static void poke(const char *path, uint64_t off, uint64_t be64)
{
    uint8_t raw[8];
    st_be64(raw, be64);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, raw, sizeof raw, (off_t)off), sizeof raw);
    close(fd);
}

static uint64_t peek(const char *path, uint64_t off)
{
    uint8_t raw[8];
    int fd = open(path, O_RDONLY);
    assert_int_equal(pread(fd, raw, sizeof raw, (off_t)off), sizeof raw);
    close(fd);
    return ld_be64(raw);
}

static struct block_node *try_open(const char *text, struct err *e)
{
    struct opts o = {0};
    assert_int_equal(opts_parse(&o, text, NULL, e), 0);
    struct block_node *n = block_open(&o, NULL, e);
    opts_free(&o);
    return n;
}

static void test_corruption_sticks(void **state)
{
    struct model m;
    struct err e = {0};
    char text[256];
    model_init(&m, 1 << 20, 1);
    make_image(m.path, m.size, "", NULL, NULL);
    struct block_node *n = open_image(m.path, "", 0);
    assert_int_equal(block_pwrite(n, 0, "data", 4), 0);
    block_unref(n);
    uint64_t l1 = peek(m.path, 40), l2 = peek(m.path, l1) & 0x00fffffffffffe00ull;
    poke(m.path, l2, 1ull << 63 | l1); // guest data on top of the L1 table
    n = open_image(m.path, "", 0);
    assert_int_equal(block_pwrite(n, 0, "evil", 4), -EIO);
    assert_int_equal(block_pwrite(n, 1 << 19, "more", 4), -EIO); // sticky
    block_unref(n);
    assert_int_equal(peek(m.path, l1), l2 | 1ull << 63);
    assert_true(peek(m.path, 72) & 2); // the corrupt mark
    snprintf(text, sizeof text, "file=%s,format=qcow2", m.path);
    assert_null(try_open(text, &e));
    assert_non_null(strstr(e.msg, "marked corrupt"));
    n = open_image(m.path, "", IMAGE_READ_ONLY); // reading is allowed
    block_unref(n);
    n = open_image(m.path, "", IMAGE_CHECK);
    struct block_check c = {.fix_leaks = true, .fix_errors = true};
    assert_int_equal(image_check(n, &c, &e), 0);
    assert_int_equal(c.corruptions, 0);
    assert_true(c.corruptions_fixed > 0);
    block_unref(n);
    assert_false(peek(m.path, 72) & 2);
    n = open_image(m.path, "", 0);
    assert_int_equal(block_pwrite(n, 0, "fine", 4), 0); // goes to a cluster of its own now
    block_unref(n);
    assert_int_equal(peek(m.path, l1), l2 | 1ull << 63);
    model_free(&m);
}

static void test_dirty_is_repaired(void **state)
{
    struct model m;
    model_init(&m, 1 << 20, 2);
    make_image(m.path, m.size, "lazy_refcounts=on", NULL, NULL);
    struct block_node *n = open_image(m.path, "", 0);
    assert_int_equal(block_pwrite(n, 0, "data", 4), 0);
    block_unref(n);
    uint64_t block = peek(m.path, peek(m.path, 48));
    poke(m.path, block, 0); // the counts of the first four clusters are lost
    poke(m.path, 72, 1);    // as a crash with lazy refcounts leaves them
    n = open_image(m.path, "", 0);
    expect_sound(n, false);
    block_unref(n);
    assert_int_equal(peek(m.path, 72), 0);
    assert_int_equal(peek(m.path, block), 0x0001000100010001ull);
    memcpy(m.data, "data", 4);
    expect_qemu_agrees(&m);
    model_free(&m);
}

static void test_guessed_format(void **state)
{
    struct model m;
    struct err e = {0};
    char text[256], raw[128];
    model_init(&m, 1 << 20, 3);
    make_image(m.path, m.size, "", NULL, NULL);
    snprintf(text, sizeof text, "file=%s", m.path);
    struct block_node *n = try_open(text, &e);
    assert_non_null(n);
    assert_string_equal(block_driver_name(n), "qcow2");
    block_unref(n);
    snprintf(raw, sizeof raw, "%s/raw", m.dir);
    FILE *f = fopen(raw, "w");
    assert_int_equal(ftruncate(fileno(f), 1 << 20), 0);
    fclose(f);
    snprintf(text, sizeof text, "file=%s", raw);
    n = try_open(text, &e);
    assert_string_equal(block_driver_name(n), "raw");
    assert_int_equal(block_pwrite(n, 0, "boot sector", 11), 0);
    assert_int_equal(block_pwrite(n, 0, "QFI\xfb\0\0\0\3", 8), -EPERM);
    assert_int_equal(block_pwrite(n, 0, "QFI\xfb\0\0\0\0", 8), 0);
    assert_int_equal(block_pwrite(n, 4, "\0\0\0\3", 4), -EPERM); // nor in two steps
    block_unref(n);
    snprintf(text, sizeof text, "file=%s,format=raw", raw);
    n = try_open(text, &e);
    assert_int_equal(block_pwrite(n, 0, "QFI\xfb\0\0\0\3", 8), 0); // stated: the guest's business
    block_unref(n);
    model_free(&m);
}

static void test_detect_zeroes(void **state)
{
    struct model m;
    model_init(&m, 4 << 20, 4);
    make_image(m.path, m.size, "", NULL, NULL);
    struct block_node *n = open_image(m.path, "detect-zeroes=unmap,discard=unmap", 0);
    memset(m.data, 7, m.size);
    assert_int_equal(image_io(n, BLOCK_WRITE, 0, 0, m.data, m.size), 0);
    memset(m.data, 0, m.size);
    assert_int_equal(image_io(n, BLOCK_WRITE, 0, 0, m.data, m.size), 0);
    expect_content(n, m.data, m.size);
    block_unref(n);
    n = open_image(m.path, "", IMAGE_READ_ONLY);
    struct block_check c = {0};
    struct err e = {0};
    assert_int_equal(image_check(n, &c, &e), 0);
    assert_int_equal(c.allocated_clusters, 0);
    block_unref(n);
    model_free(&m);
}

static void test_write_through(void **state)
{
    struct model m;
    model_init(&m, 1 << 20, 5);
    make_image(m.path, m.size, "", NULL, NULL);
    struct block_node *n = open_image(m.path, "cache=writethrough", 0);
    assert_true(block_writethrough(n));
    assert_int_equal(block_pwrite(n, 4096, "safe", 4), 0);
    // Without a flush the mapping is in the file already.
    struct block_node *other = open_image(m.path, "", IMAGE_READ_ONLY | IMAGE_SHARE);
    char got[4];
    assert_int_equal(block_pread(other, 4096, got, 4), 0);
    assert_memory_equal(got, "safe", 4);
    block_unref(other);
    block_unref(n);
    model_free(&m);
}

static int changes;

static void media_changed(void *dev)
{
    changes++;
}

static void test_media_change(void **state)
{
    struct model m;
    struct err e = {0};
    char text[256];
    model_init(&m, 1 << 20, 6);
    make_image(m.path, m.size, "", NULL, NULL);
    struct loop *loop = loop_new("test");
    struct drives *d = drives_new(loop);
    struct opts o = {0};
    assert_int_equal(opts_parse(&o, "if=none,id=cd,media=cdrom", NULL, &e), 0);
    struct drive *cd = drive_open_from_opts(d, &o, "virtio", &e);
    opts_free(&o);
    assert_non_null(cd);
    cd->media_changed = media_changed;
    snprintf(text, sizeof text, "file=%s,format=qcow2,read-only=on", m.path);
    assert_int_equal(opts_parse(&o, text, NULL, &e), 0);
    assert_int_equal(drive_change(d, cd, &o, &e), 0);
    opts_free(&o);
    assert_non_null(cd->node);
    assert_int_equal(drive_change(d, cd, NULL, &e), 0);
    assert_null(cd->node);
    assert_int_equal(changes, 2);
    drives_free(d);
    loop_free(loop);
    model_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corruption_sticks), cmocka_unit_test(test_dirty_is_repaired),
        cmocka_unit_test(test_guessed_format),    cmocka_unit_test(test_detect_zeroes),
        cmocka_unit_test(test_write_through),     cmocka_unit_test(test_media_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
