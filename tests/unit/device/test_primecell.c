// PL011, PL031 and PL061 through their registers, against statements of their reference manuals.
#include "rig.h"

#include "chardev/chardev.h"
#include "device/gpio/pl061.h"
#include "device/serial/pl011.h"
#include "device/timer/pl031.h"

#include <stdlib.h>

enum { BASE = 0x9000000, LINE = 1 };

static struct chardev *ringbuf(struct rig *r)
{
    struct opts o = {0};
    struct err e;
    assert_int_equal(opts_parse(&o, "ringbuf,id=r,size=64", "backend", &e), 0);
    struct chardev *c = chardev_open(&o, r->env.loop, &e);
    assert_non_null(c);
    opts_free(&o);
    return c;
}

static void test_pl011(void **state)
{
    struct rig r;
    rig_open(&r);
    struct device *d = rig_device(&r, &pl011_type);
    struct chardev *c = ringbuf(&r);
    device_set_ptr(d, "chardev", c);
    rig_start(&r, d);
    rig_map(&r, d, 0, BASE);
    sys_connect(container_of(d, struct sys_device, dev), 0, rig_line(&r, LINE));
    // Identification (DDI 0183, 3.3.14 on), reset values
    static const uint8_t id[8] = {0x11, 0x10, 0x14, 0, 0x0d, 0xf0, 0x05, 0xb1};
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(RD32(&r, BASE + 0xfe0 + 4 * i), id[i]);
    assert_int_equal(RD32(&r, BASE + 0x30), 0x300);
    assert_int_equal(RD32(&r, BASE + 0x34), 0x12);
    assert_int_equal(RD32(&r, BASE + 0x18) & 0x90, 0x90);
    // Transmit by byte stores reaches the back end; TXRIS rises; the mask gates the line
    WR32(&r, BASE + 0x30, 0x301);
    WR32(&r, BASE + 0x2c, 0x70);
    rig_write(&r, BASE, 1, 'o', (struct mem_attrs){0});
    rig_write(&r, BASE, 1, 'k', (struct mem_attrs){0});
    uint8_t got[8];
    assert_int_equal(chardev_ringbuf_read(c, got, sizeof got), 2);
    assert_memory_equal(got, "ok", 2);
    assert_int_equal(RD32(&r, BASE + 0x3c) & 0x20, 0x20);
    assert_int_equal(r.line[LINE], 0);
    WR32(&r, BASE + 0x38, 0x20);
    assert_int_equal(r.line[LINE], 1);
    assert_int_equal(RD32(&r, BASE + 0x40), 0x20);
    WR32(&r, BASE + 0x44, 0x20);
    assert_int_equal(r.line[LINE], 0);
    // Loop-back: 8 characters reach the half-full trigger, an empty FIFO clears it
    WR32(&r, BASE + 0x30, 0x381);
    WR32(&r, BASE + 0x38, 0x10);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(r.line[LINE], 0);
        WR32(&r, BASE, 'a' + i);
    }
    assert_int_equal(r.line[LINE], 1);
    assert_int_equal(RD32(&r, BASE), 'a');
    assert_int_equal(r.line[LINE], 0);
    for (unsigned i = 0; i < 9; i++) // 7 are left: 16 fit, the rest overruns
        WR32(&r, BASE, 'A' + i);
    assert_int_equal(RD32(&r, BASE + 0x18) & 0x50, 0x40);
    WR32(&r, BASE, 'x');
    assert_int_equal(RD32(&r, BASE + 0x3c) & 0x400, 0x400);
    assert_int_equal(RD32(&r, BASE + 4), 8);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(RD32(&r, BASE), 'b' + i);
    for (unsigned i = 0; i < 9; i++)
        assert_int_equal(RD32(&r, BASE), 'A' + i);
    assert_int_equal(RD32(&r, BASE + 0x18) & 0x10, 0x10);
    device_tree_free(&r.tree);
    chardev_close(c);
    rig_close(&r);
}

// A lone character below the trigger level is reported after 32 bit times.
static void test_pl011_timeout(void **state)
{
    struct rig r;
    rig_open(&r);
    struct device *d = rig_device(&r, &pl011_type);
    rig_start(&r, d);
    rig_map(&r, d, 0, BASE);
    WR32(&r, BASE + 0x24, 13);
    WR32(&r, BASE + 0x2c, 0x70);
    WR32(&r, BASE + 0x30, 0x381);
    WR32(&r, BASE, 'q');
    assert_int_equal(RD32(&r, BASE + 0x3c) & 0x50, 0);
    for (unsigned i = 0; i < 100 && !(RD32(&r, BASE + 0x3c) & 0x40); i++)
        loop_run_once(r.env.loop, 10);
    assert_int_equal(RD32(&r, BASE + 0x3c) & 0x50, 0x40);
    assert_int_equal(RD32(&r, BASE), 'q');
    assert_int_equal(RD32(&r, BASE + 0x3c) & 0x40, 0);
    rig_close(&r);
}

static void test_pl031(void **state)
{
    struct rig r;
    rig_open(&r);
    struct device *d = rig_device(&r, &pl031_type);
    struct err e;
    assert_int_equal(device_set(d, "base", "1000000000", &e), 0);
    rig_start(&r, d);
    rig_map(&r, d, 0, BASE);
    sys_connect(container_of(d, struct sys_device, dev), 0, rig_line(&r, LINE));
    assert_in_range(RD32(&r, BASE), 1000000000, 1000000002);
    assert_int_equal(RD32(&r, BASE + 0xc), 1);
    assert_int_equal(RD32(&r, BASE + 0xfe0), 0x31);
    WR32(&r, BASE + 8, 77);
    assert_in_range(RD32(&r, BASE), 77, 79);
    // An alarm one to two seconds ahead
    WR32(&r, BASE + 0x10, 1);
    WR32(&r, BASE + 0x1c, 1);
    assert_int_equal(r.line[LINE], 0);
    uint32_t now = RD32(&r, BASE);
    WR32(&r, BASE + 4, now + 1);
    for (unsigned i = 0; i < 40 && !r.line[LINE]; i++)
        loop_run_once(r.env.loop, 50);
    assert_int_equal(r.line[LINE], 1);
    assert_in_range(RD32(&r, BASE), now + 1, now + 2);
    assert_int_equal(RD32(&r, BASE + 0x18), 1);
    WR32(&r, BASE + 0x1c, 1);
    assert_int_equal(r.line[LINE], 0);
    rig_close(&r);
}

static void test_pl061(void **state)
{
    struct rig r;
    rig_open(&r);
    struct device *d = rig_device(&r, &pl061_type);
    rig_start(&r, d);
    rig_map(&r, d, 0, BASE);
    struct sys_device *s = container_of(d, struct sys_device, dev);
    sys_connect(s, PL061_IRQ, rig_line(&r, LINE));
    sys_connect(s, PL061_PIN0 + 2, rig_line(&r, 2));
    // Outputs: the address masks the data (2.2.1)
    WR32(&r, BASE + 0x400, 0x0f);
    WR32(&r, BASE + (0x04 << 2), 0xff);
    assert_int_equal(RD32(&r, BASE + 0x3fc), 0x04);
    assert_int_equal(r.line[2], 1);
    WR32(&r, BASE + (0x01 << 2), 0xff);
    assert_int_equal(RD32(&r, BASE + 0x3fc), 0x05);
    WR32(&r, BASE + (0x04 << 2), 0);
    assert_int_equal(r.line[2], 0);
    // Rising edge on pin 6
    struct irq pin = pl061_pin(d, 6);
    WR32(&r, BASE + 0x40c, 0x40);
    WR32(&r, BASE + 0x410, 0x40);
    irq_set(&pin, 1);
    assert_int_equal(RD32(&r, BASE + (0x40 << 2)), 0x40);
    assert_int_equal(r.line[LINE], 1);
    WR32(&r, BASE + 0x41c, 0x40);
    assert_int_equal(r.line[LINE], 0);
    irq_set(&pin, 0);
    assert_int_equal(r.line[LINE], 0);
    // Both edges
    WR32(&r, BASE + 0x408, 0x40);
    irq_set(&pin, 1);
    WR32(&r, BASE + 0x41c, 0x40);
    irq_set(&pin, 0);
    assert_int_equal(RD32(&r, BASE + 0x414), 0x40);
    WR32(&r, BASE + 0x41c, 0x40);
    // Low level follows the pin, clearing does nothing
    WR32(&r, BASE + 0x40c, 0);
    WR32(&r, BASE + 0x404, 0x40);
    assert_int_equal(r.line[LINE], 1);
    WR32(&r, BASE + 0x41c, 0xff);
    assert_int_equal(r.line[LINE], 1);
    irq_set(&pin, 1);
    assert_int_equal(r.line[LINE], 0);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pl011),
        cmocka_unit_test(test_pl011_timeout),
        cmocka_unit_test(test_pl031),
        cmocka_unit_test(test_pl061),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
