// PCI as firmware and operating systems use it: enumeration through bridges, sizing and moving
// BARs, MSI-X masks, INTx routing, function-level reset, slots and their errors.
#include "rig.h"

#include "base/bits.h"
#include "base/buf.h"

#include <sys/eventfd.h>

static struct rig rig;

static uint32_t in(unsigned bus, unsigned devfn, unsigned off, unsigned size)
{
    return rig_cfg_in(&rig, bus, devfn, off, size);
}

static void out(unsigned bus, unsigned devfn, unsigned off, unsigned size, uint32_t v)
{
    rig_cfg_out(&rig, bus, devfn, off, size, v);
}

static bool mapped(gpa_t a)
{
    return space_lookup(rig.space, a).kind == SPACE_MMIO;
}

// Numbers the buses depth first, as Linux and EDK II do; returns the highest number used.
static unsigned enumerate(unsigned bus, unsigned *functions)
{
    unsigned last = bus;
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        if (in(bus, devfn, 0, 2) == 0xffff)
            continue;
        ++*functions;
        if ((in(bus, devfn, 0x0e, 1) & 0x7f) != 1)
            continue;
        out(bus, devfn, 0x18, 1, bus);
        out(bus, devfn, 0x19, 1, last + 1);
        out(bus, devfn, 0x1a, 1, 0xff);
        last = enumerate(last + 1, functions);
        out(bus, devfn, 0x1a, 1, last);
    }
    return last;
}

static void test_empty(void **state)
{
    rig_init(&rig);
    assert_int_equal(in(0, 0, 0, 4), 0x00081b36);
    assert_int_equal(in(0, 8, 0, 4), 0xffffffff);
    assert_int_equal(in(3, 0, 0, 4), 0xffffffff);
    assert_int_equal(in(0, 0, 0x100, 4), 0xffffffff); // conventional: 256 bytes
    out(0, 0, 0, 4, 0x12345678);                      // read-only
    assert_int_equal(in(0, 0, 0, 4), 0x00081b36);
    rig_free(&rig);
}

static void test_bars(void **state)
{
    rig_init(&rig);
    rig_device(&rig, "virtio-rng-pci,addr=5");
    unsigned f = 5 << 3;
    assert_int_equal(in(0, f, 0, 4), 0x10441af4);
    out(0, f, 0x20, 4, ~0u);
    out(0, f, 0x24, 4, ~0u);
    assert_int_equal(in(0, f, 0x20, 4), 0xffffc00c); // 16 KiB, 64-bit, prefetchable
    assert_int_equal(in(0, f, 0x24, 4), 0xffffffff);
    out(0, f, 0x14, 4, ~0u);
    assert_int_equal(in(0, f, 0x14, 4), 0xfffff000); // MSI-X table, 4 KiB
    for (unsigned off = 0x10; off < 0x28; off += 4)
        if (off != 0x14 && off != 0x20 && off != 0x24) {
            out(0, f, off, 4, ~0u);
            assert_int_equal(in(0, f, off, 4), 0); // no such BAR
        }
    out(0, f, 4, 2, 2); // decoding while it holds all ones: nothing appears
    gpa_t a = PCI_MMIO + 0x40000, b = PCI_MMIO + 0x80000, high = 0x8000100000;
    out(0, f, 0x24, 4, 0);
    out(0, f, 0x20, 4, a);
    assert_true(mapped(a) && mapped(a + 0x3fff) && !mapped(a + 0x4000) && !mapped(a - 1));
    out(0, f, 0x20, 4, b + 0x123); // low bits do not count
    assert_true(!mapped(a) && mapped(b));
    out(0, f, 4, 2, 0);
    assert_false(mapped(b));
    out(0, f, 4, 2, 2);
    assert_true(mapped(b));
    out(0, f, 0x20, 4, high);
    out(0, f, 0x24, 4, high >> 32);
    assert_true(mapped(high) && !mapped(b));
    device_tree_reset(&rig.tree);
    assert_true(!mapped(high) && in(0, f, 4, 2) == 0 && in(0, f, 0x20, 4) == 0xc);
    rig_free(&rig);
}

static void test_bridges(void **state)
{
    rig_init(&rig);
    rig_device(&rig, "pcie-root-port,id=rp1,addr=1.0,multifunction=on,chassis=1");
    rig_device(&rig, "pcie-root-port,id=rp2,addr=1.1,chassis=2,port=17,slot=5");
    rig_device(&rig, "virtio-rng-pci,bus=rp1");
    rig_device(&rig, "pcie-pci-bridge,id=br1,bus=rp2");
    rig_device(&rig, "pci-bridge,id=br2,bus=br1,addr=2,chassis_nr=3");
    rig_device(&rig, "virtio-rng-pci,bus=br2,addr=4");
    unsigned n = 0;
    assert_int_equal(enumerate(0, &n), 4);
    assert_int_equal(n, 7);
    assert_int_equal(in(1, 0, 0, 4), 0x10441af4);
    assert_int_equal(in(4, 4 << 3, 0, 4), 0x10441af4);
    assert_int_equal(in(2, 0, 0, 4), 0x000e1b36);
    assert_int_equal(in(4, 0, 0, 4), 0xffffffff);
    // The endpoint below a root port is an express device with extended space.
    assert_int_equal(in(1, 0, 0x100, 4), 0);
    // A BAR below appears only while every window on the way covers it.
    gpa_t a = PCI_MMIO + 0x200000;
    out(4, 4 << 3, 0x20, 4, a);
    out(4, 4 << 3, 4, 2, 6);
    assert_false(mapped(a));
    const unsigned path[3][2] = {{0, 1 << 3 | 1}, {2, 0}, {3, 2 << 3}};
    for (unsigned i = 0; i < 3; i++) {
        assert_false(mapped(a));
        out(path[i][0], path[i][1], 0x20, 2, a >> 16);
        out(path[i][0], path[i][1], 0x22, 2, a >> 16);
        out(path[i][0], path[i][1], 4, 2, 6);
    }
    assert_true(mapped(a));
    out(0, 1 << 3 | 1, 0x20, 2, 0x2000); // base above limit: closed
    assert_false(mapped(a));
    out(0, 1 << 3 | 1, 0x24, 2, a >> 16); // the prefetchable window will do
    out(0, 1 << 3 | 1, 0x26, 2, a >> 16);
    assert_true(mapped(a));
    out(3, 2 << 3, 4, 2, 0);
    assert_false(mapped(a));
    // Bus numbers that do not grow are not followed.
    out(0, 1 << 3 | 1, 0x19, 1, 0);
    assert_int_equal(in(2, 0, 0, 4), 0xffffffff);
    rig_free(&rig);
}

// Driving a virtio device two bridges down: DMA and MSI need bus mastering on the whole path.
static void test_behind_bridge(void **state)
{
    struct drv d;
    struct done done;
    rig_init(&rig);
    rig_device(&rig, "pcie-root-port,id=rp1,addr=2");
    rig_device(&rig, "virtio-rng-pci,bus=rp1");
    unsigned n = 0;
    enumerate(0, &n);
    out(0, 2 << 3, 0x20, 2, PCI_MMIO >> 16);
    out(0, 2 << 3, 0x22, 2, (PCI_MMIO + 0xff00000) >> 16);
    out(0, 2 << 3, 4, 2, 6);
    drv_attach_pci(&d, &rig, 1, 0);
    assert_true(drv_negotiate(&d, 0));
    drv_ring(&d, 0, 8);
    drv_ok(&d);
    struct seg s = {rig_alloc(&rig, 64, 16), 64};
    drv_add(&d.rings[0], NULL, 0, &s, 1);
    drv_kick(&d.rings[0]);
    assert_true(drv_wait(&d.rings[0], &done));
    assert_int_equal(rig.msi[1], 1);
    assert_int_equal(rig.msi_rid, 1 << 8);
    out(0, 2 << 3, 4, 2, 2); // the port no longer forwards upstream
    drv_add(&d.rings[0], NULL, 0, &s, 1);
    drv_kick(&d.rings[0]);
    rig_spin(&rig);
    assert_false(drv_poll(&d.rings[0], &done));
    // Function-level reset puts everything back.
    out(0, 2 << 3, 4, 2, 6);
    unsigned cap = in(1, 0, 0x34, 1);
    while (in(1, 0, cap, 1) != 0x10)
        cap = in(1, 0, cap + 1, 1);
    assert_true(in(1, 0, cap + 4, 4) & 1 << 28);
    out(1, 0, cap + 8, 2, 0x8000);
    rig_spin(&rig);
    assert_int_equal(in(1, 0, 4, 2), 0);
    assert_int_equal(in(1, 0, cap + 8, 2) & 0x8000, 0);
    drv_attach_pci(&d, &rig, 1, 0);
    assert_int_equal(drv_status(&d), 0);
    // So does the bridge's secondary bus reset.
    assert_true(drv_negotiate(&d, 0));
    out(0, 2 << 3, 0x3e, 2, 0x40);
    rig_spin(&rig);
    out(0, 2 << 3, 0x3e, 2, 0);
    assert_int_equal(in(1, 0, 4, 2), 0);
    rig_free(&rig);
}

// Behind bridges to conventional PCI the host sees the bridge: as its secondary bus below PCI
// Express, as itself elsewhere.
static void test_requester(void **state)
{
    const struct {
        const char *bridge;
        uint32_t rid;
    } cases[] = {{"pcie-pci-bridge,id=br,addr=2", 1 << 8}, {"pci-bridge,id=br,addr=2", 2 << 3}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct drv d;
        struct done done;
        unsigned n = 0;
        rig_init(&rig);
        rig_device(&rig, cases[i].bridge);
        rig_device(&rig, "virtio-rng-pci,bus=br,addr=5");
        assert_int_equal(enumerate(0, &n), 1);
        out(0, 2 << 3, 0x20, 2, PCI_MMIO >> 16);
        out(0, 2 << 3, 0x22, 2, (PCI_MMIO + 0xff00000) >> 16);
        out(0, 2 << 3, 4, 2, 6);
        drv_attach_pci(&d, &rig, 1, 5 << 3);
        assert_true(drv_negotiate(&d, 0));
        drv_ring(&d, 0, 8);
        drv_ok(&d);
        struct seg s = {rig_alloc(&rig, 64, 16), 64};
        drv_add(&d.rings[0], NULL, 0, &s, 1);
        drv_kick(&d.rings[0]);
        assert_true(drv_wait(&d.rings[0], &done));
        assert_int_equal(rig.msi_rid, cases[i].rid);
        rig_free(&rig);
    }
}

// A vector that has sent 63 messages gets a descriptor for the same, and keeps it until it changes.
static void test_msix_wire(void **state)
{
    struct drv d;
    struct done done;
    eventfd_t signals;
    rig_init(&rig);
    rig.binds = true;
    rig_device(&rig, "virtio-rng-pci,addr=3");
    drv_attach_pci(&d, &rig, 0, 3 << 3);
    assert_true(drv_negotiate(&d, 0));
    drv_ring(&d, 0, 8);
    drv_ok(&d);
    gpa_t entry = (in(0, 3 << 3, 0x14, 4) & ~15u) + 16;
    struct seg s = {rig_alloc(&rig, 64, 16), 64};
    for (unsigned i = 0; i < 70; i++) {
        drv_add(&d.rings[0], NULL, 0, &s, 1);
        drv_kick(&d.rings[0]);
        assert_true(drv_wait(&d.rings[0], &done));
    }
    assert_int_equal(rig.n_bound, 1);
    assert_int_equal(rig.msi[1], 63);
    assert_int_equal(eventfd_read(rig.bound_fd, &signals), 0);
    assert_int_equal(signals, 7);
    rig_out(&rig, entry + 8, 4, 2); // another message
    drv_add(&d.rings[0], NULL, 0, &s, 1);
    drv_kick(&d.rings[0]);
    assert_true(drv_wait(&d.rings[0], &done));
    assert_int_equal(rig.n_unbound, 1);
    assert_int_equal(rig.msi[2], 1);
    rig_free(&rig);
}

static void test_msix(void **state)
{
    struct drv d;
    rig_init(&rig);
    rig_device(&rig, "virtio-rng-pci,addr=3");
    drv_attach_pci(&d, &rig, 0, 3 << 3);
    assert_true(drv_negotiate(&d, 0));
    drv_ring(&d, 0, 8);
    drv_ok(&d);
    unsigned cap = in(0, 3 << 3, 0x34, 1);
    while (in(0, 3 << 3, cap, 1) != 0x11)
        cap = in(0, 3 << 3, cap + 1, 1);
    assert_int_equal(in(0, 3 << 3, cap + 2, 2) & 0x7ff, 1); // two vectors
    gpa_t table = in(0, 3 << 3, 0x14, 4) & ~15u, pba = table + (in(0, 3 << 3, cap + 8, 4) & ~7u);
    struct seg s = {rig_alloc(&rig, 64, 16), 64};
    struct done done;
    rig_out(&rig, table + 16 + 12, 4, 1); // mask vector 1
    drv_add(&d.rings[0], NULL, 0, &s, 1);
    drv_kick(&d.rings[0]);
    assert_true(drv_wait(&d.rings[0], &done));
    assert_int_equal(rig.msi[1], 0);
    assert_int_equal(rig_in(&rig, pba, 8), 2);
    rig_out(&rig, table + 16 + 12, 4, 0); // and unmask: it comes once
    assert_int_equal(rig.msi[1], 1);
    assert_int_equal(rig_in(&rig, pba, 8), 0);
    out(0, 3 << 3, cap + 2, 2, 0xc000); // the function mask
    drv_add(&d.rings[0], NULL, 0, &s, 1);
    drv_kick(&d.rings[0]);
    assert_true(drv_wait(&d.rings[0], &done));
    assert_int_equal(rig.msi[1], 1);
    out(0, 3 << 3, cap + 2, 2, 0x8000);
    assert_int_equal(rig.msi[1], 2);
    // MSI-X off: the pin of slot 3, which is host line 3; reading ISR lets go of it.
    out(0, 3 << 3, cap + 2, 2, 0);
    drv_add(&d.rings[0], NULL, 0, &s, 1);
    drv_kick(&d.rings[0]);
    assert_true(drv_wait(&d.rings[0], &done));
    assert_int_equal(rig.intx[3], 1);
    assert_true(in(0, 3 << 3, 6, 2) & 8);
    out(0, 3 << 3, 4, 2, 0x406); // disabled by the command register
    assert_int_equal(rig.intx[3], 0);
    out(0, 3 << 3, 4, 2, 6);
    assert_int_equal(rig.intx[3], 1);
    assert_int_equal(rig_in(&rig, d.isr, 1), 1);
    assert_int_equal(rig.intx[3], 0);
    assert_int_equal(rig_in(&rig, d.isr, 1), 0);
    rig_free(&rig);
}

// The registers are also reached through configuration space (virtio 4.1.4.9).
static void test_cfg_window(void **state)
{
    rig_init(&rig);
    rig_device(&rig, "virtio-rng-pci,addr=3");
    unsigned f = 3 << 3, cap = in(0, f, 0x34, 1);
    while (in(0, f, cap, 1) != 9 || in(0, f, cap + 3, 1) != 5)
        cap = in(0, f, cap + 1, 1);
    out(0, f, cap + 4, 1, 4);  // BAR
    out(0, f, cap + 8, 4, 20); // device_status
    out(0, f, cap + 12, 4, 1);
    assert_int_equal(in(0, f, cap + 16, 1), 0);
    out(0, f, cap + 16, 1, 3);
    assert_int_equal(in(0, f, cap + 16, 1), 3);
    out(0, f, cap + 8, 4, 0xfffffff0); // outside the BAR: nothing happens
    out(0, f, cap + 16, 1, 0);
    out(0, f, cap + 8, 4, 20);
    assert_int_equal(in(0, f, cap + 16, 1), 3);
    rig_free(&rig);
}

static void refuse(const char *line, const char *why)
{
    struct err e = {0};
    struct opts o = {0};
    size_t before = rig.tree.devices.len;
    assert_int_equal(opts_parse(&o, line, "driver", &e), 0);
    assert_null(device_create_from_opts(&rig.tree, &o, &e));
    opts_free(&o);
    if (!strstr(e.msg, why))
        fail_msg("%s: '%s' does not say '%s'", line, e.msg, why);
    assert_int_equal(rig.tree.devices.len, before);
}

static void test_slots(void **state)
{
    rig_init(&rig);
    rig_device(&rig, "virtio-rng-pci,addr=4");
    refuse("virtio-rng-pci,addr=4", "taken by 'virtio-rng-pci'");
    refuse("virtio-rng-pci,addr=4.1", "multifunction=on");
    refuse("virtio-rng-pci,addr=20", "not a PCI slot");
    refuse("virtio-rng-pci,addr=zz", "not a PCI slot");
    refuse("virtio-rng-pci,addr=1.8", "not a PCI slot");
    refuse("virtio-rng-pci,bus=pcie.1", "did you mean 'pcie.0'");
    refuse("virtio-rng-pci,vectors=9999", "between");
    refuse("virtio-rng-pci,max-bytez=1", "did you mean 'max-bytes'");
    refuse("virtio-rgn-pci", "did you mean 'virtio-rng-pci'");
    refuse("virtio-blk-pci", "needs drive=");
    refuse("virtio-blk-pci,drive=nope", "nope");
    refuse("virtio-mmio", "part of the board");
    refuse("virtio-rng-pci,romfile=/nonexistent.rom", "/nonexistent.rom");
    rig_device(&rig, "pcie-root-port,id=rp,addr=0x6");
    refuse("virtio-rng-pci,bus=rp,addr=1", "only slot 0");
    rig_device(&rig, "virtio-rng-pci,bus=rp,id=r1");
    refuse("virtio-rng-pci,bus=rp", "no free slot");
    refuse("virtio-rng-pci,id=r1", "already a device with id");
    struct device *d = device_find(&rig.tree, "r1");
    struct buf text = {0};
    device_print_tree(&rig.tree, &text);
    assert_non_null(strstr(buf_str(&text), "dev: virtio-rng-pci, id \"r1\""));
    buf_free(&text);
    device_unplug(&rig.tree, d);
    assert_null(device_find(&rig.tree, "r1"));
    rig_device(&rig, "virtio-rng-pci,bus=rp,id=r1");
    rig_free(&rig);
}

static unsigned deleted;

static void on_event(void *opaque, const char *name, const char *data)
{
    deleted += !strcmp(name, "DEVICE_DELETED");
}

// A device comes and goes while the guest runs: presence, the button, and leave after power-off.
static void test_hotplug(void **state)
{
    struct err e = {0};
    rig_init(&rig);
    rig.env.event = on_event;
    deleted = 0;
    rig_device(&rig, "pcie-root-port,id=rp,addr=2");
    unsigned n = 0, f = 2 << 3, cap = in(0, f, 0x34, 1);
    device_tree_reset(&rig.tree);
    enumerate(0, &n);
    while (in(0, f, cap, 1) != 0x10)
        cap = in(0, f, cap + 1, 1);
    assert_int_equal(in(0, f, cap + 26, 2) & 0x40, 0);
    assert_int_equal(in(0, f, cap + 24, 2) & 0x700, 0x700); // empty: off
    rig_device(&rig, "virtio-rng-pci,id=r1,bus=rp");
    assert_int_equal(in(0, f, cap + 26, 2) & 0x148, 0x148); // present, changed, link up
    assert_int_equal(in(0, f, cap + 18, 2) & 0x2000, 0x2000);
    assert_int_equal(in(1, 0, 0, 4), 0x10441af4);
    out(0, f, cap + 26, 2, 0x108);
    assert_int_equal(in(0, f, cap + 26, 2) & 0x108, 0);
    out(0, f, 4, 2, 6);
    out(0, f, cap + 24, 2, 0x1c0 | 0x29); // power on; interrupts for button and presence
    out(0, f, cap + 26, 2, 0x10);
    struct device *d = device_find(&rig.tree, "r1");
    assert_int_equal(device_request_unplug(&rig.tree, d, &e), 0);
    rig_spin(&rig);
    assert_int_equal(in(0, f, cap + 26, 2) & 0x41, 0x41); // pressed, still there
    assert_int_equal(rig.intx[2], 1);
    out(0, f, cap + 26, 2, 1);
    assert_int_equal(rig.intx[2], 0);
    assert_ptr_equal(device_find(&rig.tree, "r1"), d);
    out(0, f, cap + 24, 2, 0x7c0 | 0x29);
    rig_spin(&rig);
    assert_null(device_find(&rig.tree, "r1"));
    assert_int_equal(deleted, 2);
    assert_int_equal(in(0, f, cap + 26, 2) & 0x48, 8);
    assert_int_equal(in(1, 0, 0, 4), 0xffffffff);
    assert_int_equal(device_request_unplug(&rig.tree, rig.host, &e), -1);
    rig_device(&rig, "virtio-rng-pci,id=r2"); // not in a slot: goes at once
    assert_int_equal(device_request_unplug(&rig.tree, device_find(&rig.tree, "r2"), &e), 0);
    assert_null(device_find(&rig.tree, "r2"));
    rig_free(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),     cmocka_unit_test(test_bars),
        cmocka_unit_test(test_bridges),   cmocka_unit_test(test_behind_bridge),
        cmocka_unit_test(test_msix),      cmocka_unit_test(test_msix_wire),
        cmocka_unit_test(test_requester), cmocka_unit_test(test_cfg_window),
        cmocka_unit_test(test_slots),     cmocka_unit_test(test_hotplug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
