// A driver that breaks the rules: every such ring puts the device in NEEDS_RESET, after which
// nothing moves until it is reset and works again. Plus random scribbling over live rings.
#include "rig.h"

#include "base/bits.h"
#include "device/virtio/virtio.h"

enum { NEXT = 1, WRITE = 2, INDIRECT = 4, NEEDS_RESET = 64 };

static struct rig rig;
static struct drv drv;

static void start(bool pci, bool packed)
{
    char line[64];
    rig_init(&rig);
    if (!pci)
        rig_mmio_slot(&rig, false);
    snprintf(line, sizeof line, "virtio-rng-%s,packed=on", pci ? "pci,addr=3" : "device");
    rig_device(&rig, line);
    if (pci)
        drv_attach_pci(&drv, &rig, 0, 3 << 3);
    else
        drv_attach_mmio(&drv, &rig, MMIO_BASE);
    drv.packed = packed;
    drv.indirect = true;
    assert_true(drv_negotiate(&drv, 0));
    drv_ring(&drv, 0, 8);
    drv_ok(&drv);
}

static void desc(gpa_t at, gpa_t addr, uint32_t len, uint16_t a, uint16_t b)
{
    uint8_t raw[16];
    st_le64(raw, addr);
    st_le32(raw + 8, len);
    st_le16(raw + 12, a);
    st_le16(raw + 14, b);
    rig_write(&rig, at, raw, 16);
}

static void offer(uint16_t head, uint16_t avail_idx)
{
    uint8_t le[2];
    st_le16(le, head);
    rig_write(&rig, drv.rings[0].driver + 4, le, 2);
    st_le16(le, avail_idx);
    rig_write(&rig, drv.rings[0].driver + 2, le, 2);
}

// The device must be broken now, stay so, and come back after a reset.
static void check_broken(void)
{
    struct done done;
    drv_kick(&drv.rings[0]);
    rig_spin(&rig);
    assert_true(drv_status(&drv) & NEEDS_RESET);
    uint8_t used[2];
    if (!drv.packed) {
        rig_read(&rig, drv.rings[0].device + 2, used, 2);
        assert_int_equal(ld_le16(used), 0);
    }
    drv_kick(&drv.rings[0]);
    rig_spin(&rig);
    assert_true(drv_status(&drv) & NEEDS_RESET);
    assert_true(drv_negotiate(&drv, 0));
    drv_ring(&drv, 0, 8);
    drv_ok(&drv);
    struct seg in = {rig_alloc(&rig, 64, 16), 64};
    drv_add(&drv.rings[0], NULL, 0, &in, 1);
    drv_kick(&drv.rings[0]);
    assert_true(drv_wait(&drv.rings[0], &done));
    assert_int_equal(done.len, 64);
    rig_free(&rig);
}

static void test_split(void **state)
{
    for (unsigned i = 0; i < 14; i++) {
        start(i & 1, false);
        gpa_t d = drv.rings[0].desc, buf = rig_alloc(&rig, 4096, 4096), t = buf + 2048;
        switch (i) {
        case 0: // loop
            desc(d, buf, 16, NEXT | WRITE, 1);
            desc(d + 16, buf, 16, NEXT | WRITE, 0);
            break;
        case 1: // a successor outside the table
            desc(d, buf, 16, NEXT | WRITE, 8);
            break;
        case 2: // not RAM
            desc(d, 0x1000, 16, WRITE, 0);
            break;
        case 3: // registers of this very device
            desc(d, drv.common ? drv.common : drv.base, 4, WRITE, 0);
            break;
        case 4: // wraps around
            desc(d, UINT64_MAX - 8, 64, WRITE, 0);
            break;
        case 5: // runs over the end of RAM
            desc(d, RAM_BASE + RAM_SIZE - 8, 64, WRITE, 0);
            break;
        case 6: // readable after writable
            desc(d, buf, 16, NEXT | WRITE, 1);
            desc(d + 16, buf, 16, 0, 0);
            break;
        case 7: // indirect table of no whole descriptors
            desc(d, t, 15, INDIRECT, 0);
            break;
        case 8: // an indirect table that names another
            desc(d, t, 16, INDIRECT, 0);
            desc(t, t, 16, INDIRECT, 0);
            break;
        case 9: // an indirect loop
            desc(d, t, 32, INDIRECT, 0);
            desc(t, buf, 16, NEXT | WRITE, 1);
            desc(t + 16, buf, 16, NEXT | WRITE, 0);
            break;
        case 10: // an indirect chain leaves its table
            desc(d, t, 32, INDIRECT, 0);
            desc(t, buf, 16, NEXT | WRITE, 2);
            break;
        case 11: // indirect and chained
            desc(d, t, 16, INDIRECT | NEXT, 1);
            break;
        case 12: // an enormous indirect table
            desc(d, t, 0xfffffff0, INDIRECT, 0);
            break;
        case 13: // the table is not RAM
            desc(d, 0x2000, 16, INDIRECT, 0);
            break;
        }
        offer(0, 1);
        check_broken();
    }
    start(true, false);
    offer(8, 1); // a head outside the table
    check_broken();
    start(false, false);
    offer(0, 9); // more than the ring holds
    check_broken();
    start(true, false);
    offer(0, 0xffff);
    check_broken();
}

static void test_packed(void **state)
{
    enum { AVAIL = 1 << 7 };
    for (unsigned i = 0; i < 4; i++) {
        start(i & 1, true);
        gpa_t d = drv.rings[0].desc, buf = rig_alloc(&rig, 4096, 4096);
        switch (i) {
        case 0: // every descriptor continues
            for (unsigned k = 0; k < 8; k++)
                desc(d + 16 * k, buf, 16, 0, AVAIL | NEXT | WRITE);
            break;
        case 1:
            desc(d, buf, 7, 0, AVAIL | INDIRECT);
            break;
        case 2:
            desc(d, 0x1000, 64, 0, AVAIL | WRITE);
            break;
        case 3:
            desc(d, buf, 16, 0, AVAIL | NEXT | WRITE);
            desc(d + 16, buf, 16, 0, AVAIL | INDIRECT);
            break;
        }
        check_broken();
    }
}

static void pci_queue(unsigned n)
{
    rig_out(&rig, drv.common + 22, 2, n);
}

// Geometry is checked when the queue is enabled and fixed from then on.
static void test_geometry(void **state)
{
    static const uint16_t bad_sizes[] = {0, 3, 7, 16, 0xffff};
    for (unsigned i = 0; i < ARRAY_SIZE(bad_sizes); i++) {
        start(true, false);
        assert_true(drv_negotiate(&drv, 0));
        pci_queue(0);
        rig_out(&rig, drv.common + 24, 2, bad_sizes[i]);
        rig_out(&rig, drv.common + 28, 2, 1);
        assert_int_equal(rig_in(&rig, drv.common + 28, 2), 0);
        assert_true(drv_status(&drv) & NEEDS_RESET);
        rig_free(&rig);
    }
    start(true, false);
    pci_queue(0);
    gpa_t old = rig_in(&rig, drv.common + 32, 4);
    rig_out(&rig, drv.common + 24, 2, 2);
    rig_out(&rig, drv.common + 32, 4, 0x12340000);
    assert_int_equal(rig_in(&rig, drv.common + 24, 2), 8);
    assert_int_equal(rig_in(&rig, drv.common + 32, 4), old);
    rig_out(&rig, drv.common + 28, 2, 0); // a queue cannot be disabled but by reset
    assert_int_equal(rig_in(&rig, drv.common + 28, 2), 1);
    pci_queue(1); // there is none
    assert_int_equal(rig_in(&rig, drv.common + 24, 2), 0);
    rig_out(&rig, drv.common + 28, 2, 1);
    for (unsigned i = 0; i < 70000; i += 7)
        rig_out(&rig, drv.notify + 4 * (i % 1024), 2, i);
    assert_int_equal(drv_status(&drv), 15);
    rig_free(&rig);
    start(false, false);
    rig_out(&rig, drv.base + 0x30, 4, 0);
    rig_out(&rig, drv.base + 0x38, 4, 4);
    rig_out(&rig, drv.base + 0x80, 4, 0x1000);
    struct seg in = {rig_alloc(&rig, 64, 16), 64};
    struct done done;
    for (unsigned i = 0; i < 20; i++) { // still a ring of 8 where it was
        drv_add(&drv.rings[0], NULL, 0, &in, 1);
        drv_kick(&drv.rings[0]);
        assert_true(drv_wait(&drv.rings[0], &done));
    }
    rig_free(&rig);
}

// Without bus mastering a PCI device reaches nothing.
static void test_no_bus_master(void **state)
{
    struct done done;
    start(true, false);
    struct seg in = {rig_alloc(&rig, 64, 16), 64};
    rig_cfg_out(&rig, 0, 3 << 3, 4, 2, 2);
    drv_add(&drv.rings[0], NULL, 0, &in, 1);
    drv_kick(&drv.rings[0]);
    rig_spin(&rig);
    assert_false(drv_poll(&drv.rings[0], &done));
    assert_int_equal(rig.msi[1], 0);
    rig_free(&rig);
}

static uint64_t rng = 88172645463325252ull;

static uint32_t rnd(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng >> 16;
}

// Scribbles over rings, descriptors and indices of a live device. The memory around the buffers
// keeps its pattern: the device wrote only where some descriptor pointed.
static void test_scribble(void **state)
{
    for (unsigned form = 0; form < 4; form++) {
        start(form & 1, form & 2);
        gpa_t buf = rig_alloc(&rig, 65536, 4096), guard = RAM_BASE + RAM_SIZE - 65536;
        uint8_t mark[4096], now[4096];
        memset(mark, 0x77, sizeof mark);
        rig_write(&rig, guard, mark, sizeof mark);
        for (unsigned i = 0; i < 4000; i++) {
            struct ring *q = &drv.rings[0];
            uint8_t raw[16];
            for (unsigned k = 0; k < 8; k++) {
                st_le64(raw, rnd() % 16 ? buf + rnd() % 60000 : rnd());
                st_le32(raw + 8, rnd() % 4 ? rnd() % 5000 : rnd() % 16 ? 16 * (rnd() % 8) : rnd());
                st_le16(raw + 12, rnd() % (rnd() % 8 ? 8 : 65536));
                st_le16(raw + 14, rnd());
                rig_write(&rig, q->desc + 16 * k, raw, 16);
                rig_write(&rig, buf + 16 * (rnd() % 64), raw, 16);
            }
            st_le16(raw, i + rnd() % 3);
            rig_write(&rig, q->driver + 2, raw, 2);
            st_le16(raw, rnd() % 9);
            rig_write(&rig, q->driver + 4 + 2 * (rnd() % 8), raw, 2);
            drv_kick(q);
            loop_run_once(rig.loop, 0);
            if (drv_status(&drv) & NEEDS_RESET) {
                assert_true(drv_negotiate(&drv, 0));
                rig.next = buf + 65536;
                drv_ring(&drv, 0, 8);
                drv_ok(&drv);
            }
        }
        rig_read(&rig, guard, now, sizeof now);
        assert_memory_equal(now, mark, sizeof now);
        rig_free(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),    cmocka_unit_test(test_packed),
        cmocka_unit_test(test_geometry), cmocka_unit_test(test_no_bus_master),
        cmocka_unit_test(test_scribble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
