// The 16550 UART through its registers, against statements of its data sheet.
#include "rig.h"

#include "chardev/chardev.h"
#include "device/serial/ns16550.h"

enum { BASE = 0x9000000, LINE = 1 };
enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static uint8_t rd(struct rig *r, unsigned reg)
{
    return (uint8_t)rig_read(r, BASE + reg, 1, (struct mem_attrs){0});
}
static void wr(struct rig *r, unsigned reg, uint8_t v)
{
    rig_write(r, BASE + reg, 1, v, (struct mem_attrs){0});
}

static struct chardev *start(struct rig *r)
{
    struct opts o = {0};
    struct err e;
    rig_open(r);
    assert_int_equal(opts_parse(&o, "ringbuf,id=r,size=64", "backend", &e), 0);
    struct chardev *c = chardev_open(&o, r->env.loop, &e);
    opts_free(&o);
    struct device *d = rig_device(r, &ns16550_type);
    device_set_ptr(d, "chardev", c);
    rig_start(r, d);
    rig_map(r, d, 0, BASE);
    sys_connect(container_of(d, struct sys_device, dev), 0, rig_line(r, LINE));
    return c;
}

static void stop(struct rig *r, struct chardev *c)
{
    device_tree_free(&r->tree);
    chardev_close(c);
    rig_close(r);
}

static void test_registers(void **state)
{
    struct rig r;
    struct chardev *c = start(&r);
    assert_int_equal(rd(&r, LSR), 0x60);
    assert_int_equal(rd(&r, IIR), 0x01);
    assert_int_equal(rd(&r, MSR) & 0xf0, 0xb0);
    wr(&r, SCR, 0x5a);
    assert_int_equal(rd(&r, SCR), 0x5a);
    wr(&r, LCR, 0x83); // the divisor latch lies over data and IER
    wr(&r, DATA, 0x34);
    wr(&r, IER, 0x12);
    assert_int_equal(rd(&r, DATA), 0x34);
    assert_int_equal(rd(&r, IER), 0x12);
    wr(&r, LCR, 0x03);
    assert_int_equal(rd(&r, IER), 0);
    wr(&r, IIR, 0x01); // FIFOs on show in IIR
    assert_int_equal(rd(&r, IIR), 0xc1);
    stop(&r, c);
}

static void test_transmit(void **state)
{
    struct rig r;
    struct chardev *c = start(&r);
    uint8_t got[8];
    wr(&r, DATA, 'o');
    wr(&r, DATA, 'k');
    assert_int_equal(chardev_ringbuf_read(c, got, sizeof got), 2);
    assert_memory_equal(got, "ok", 2);
    wr(&r, IER, 2); // enabling THRE while empty interrupts at once; reading IIR clears it
    assert_int_equal(r.line[LINE], 1);
    assert_int_equal(rd(&r, IIR), 0x02);
    assert_int_equal(r.line[LINE], 0);
    wr(&r, DATA, 'x');
    assert_int_equal(r.line[LINE], 1);
    assert_int_equal(rd(&r, IIR), 0x02);
    stop(&r, c);
}

static void test_loopback(void **state)
{
    struct rig r;
    struct chardev *c = start(&r);
    wr(&r, IIR, 0x81); // FIFO, trigger at 8
    wr(&r, MCR, 0x1a); // loop, RTS, OUT2
    assert_int_equal(rd(&r, MSR) & 0xf0, 0x90);
    wr(&r, IER, 1);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(r.line[LINE], 0);
        wr(&r, DATA, (uint8_t)('a' + i));
    }
    assert_int_equal(r.line[LINE], 1);
    assert_int_equal(rd(&r, IIR), 0xc4);
    assert_int_equal(rd(&r, DATA), 'a');
    assert_int_equal(r.line[LINE], 0);
    for (unsigned i = 0; i < 10; i++) // 7 are left: 9 fit, the tenth overruns
        wr(&r, DATA, (uint8_t)('A' + i));
    wr(&r, IER, 5);
    assert_int_equal(rd(&r, IIR), 0xc6); // line status comes first
    assert_int_equal(rd(&r, LSR) & 0x03, 0x03);
    assert_int_equal(rd(&r, LSR) & 0x03, 0x01); // reading it cleared the overrun
    assert_int_equal(rd(&r, IIR), 0xc4);
    wr(&r, IIR, 0x83); // clear the receive FIFO
    assert_int_equal(rd(&r, LSR) & 1, 0);
    assert_int_equal(rd(&r, IIR), 0xc1);
    stop(&r, c);
}

static void test_timeout(void **state)
{
    struct rig r;
    struct chardev *c = start(&r);
    wr(&r, IIR, 0xc1); // trigger at 14
    wr(&r, MCR, 0x10);
    wr(&r, IER, 1);
    wr(&r, DATA, 'a');
    assert_int_equal(r.line[LINE], 0);
    for (unsigned i = 0; i < 100 && !r.line[LINE]; i++)
        loop_run_once(r.env.loop, 10);
    assert_int_equal(rd(&r, IIR), 0xcc);
    assert_int_equal(rd(&r, DATA), 'a');
    assert_int_equal(rd(&r, IIR), 0xc1);
    stop(&r, c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registers),
        cmocka_unit_test(test_transmit),
        cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
