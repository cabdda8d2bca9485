// Every transport with every form of ring, on the rng device (it needs no back end) and on the
// block device over a raw file: negotiation, requests, interrupts, reset.
#include "rig.h"

#include "base/bits.h"
#include "base/thread.h"
#include "block/block.h"

#include <fcntl.h>
#include <unistd.h>

static struct rig rig;

static struct form {
    bool pci, packed, event_idx, indirect;
} form_of(unsigned i)
{
    return (struct form){i & 1, i & 2, i & 4, i & 8};
}

static void attach(struct drv *d, struct form f, const char *type, const char *props)
{
    char line[200];
    snprintf(line, sizeof line, "virtio-%s-%s,packed=on%s", type, f.pci ? "pci,addr=3" : "device",
             props);
    if (!f.pci)
        rig_mmio_slot(&rig, false);
    rig_device(&rig, line);
    if (f.pci)
        drv_attach_pci(d, &rig, 0, 3 << 3);
    else
        drv_attach_mmio(d, &rig, MMIO_BASE);
    d->packed = f.packed;
    d->event_idx = f.event_idx;
    d->indirect = f.indirect;
}

static void check_interrupt(struct drv *d, unsigned queue)
{
    if (d->pci) {
        assert_true(rig.msi[queue + 1] > 0);
        rig.msi[queue + 1] = 0;
        return;
    }
    assert_int_equal(rig.irq_level, 1);
    assert_int_equal(rig_in(&rig, d->base + 0x60, 4), 1);
    rig_out(&rig, d->base + 0x64, 4, 1);
    assert_int_equal(rig.irq_level, 0);
}

static void test_rng(void **state)
{
    for (unsigned i = 0; i < 16; i++) {
        struct drv d;
        rig_init(&rig);
        attach(&d, form_of(i), "rng", "");
        assert_true(drv_negotiate(&d, 0));
        drv_ring(&d, 0, 8);
        drv_ok(&d);
        gpa_t buf = rig_alloc(&rig, 4096, 16);
        for (unsigned round = 0; round < 50; round++) {
            struct seg in[3] = {{buf, 16}, {buf + 100, 32}, {buf + 200, 7}};
            struct done done = {0};
            uint8_t got[256] = {0}, zero[16] = {0};
            rig_write(&rig, buf, got, sizeof got);
            uint16_t id = drv_add(&d.rings[0], NULL, 0, in, 3);
            drv_kick(&d.rings[0]);
            assert_true(drv_wait(&d.rings[0], &done));
            assert_int_equal(done.id, id);
            assert_int_equal(done.len, 55);
            rig_read(&rig, buf, got, sizeof got);
            assert_memory_not_equal(got, zero, 16);
            assert_memory_not_equal(got + 100, zero, 16);
            assert_memory_equal(got + 16, zero, 16); // not beyond the buffers
            check_interrupt(&d, 0);
        }
        assert_int_equal(drv_status(&d), 15);
        rig_free(&rig);
    }
}

// --- block ---

static struct drives *drives;
static char path[] = "/tmp/myna-test-virtio-XXXXXX";

static void *find_drive(const char *id)
{
    return drives_find(drives, id);
}

static void open_disk(const char *extra)
{
    struct err e = {0};
    struct opts o = {0};
    char line[200];
    strcpy(path + sizeof path - 7, "XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 4 * MiB), 0);
    close(fd);
    drives = drives_new(rig.loop);
    snprintf(line, sizeof line, "if=none,id=d0,format=raw,file=%s%s", path, extra);
    assert_int_equal(opts_parse(&o, line, NULL, &e), 0);
    if (!drive_open_from_opts(drives, &o, "none", &e))
        fail_msg("%s", e.msg);
    opts_free(&o);
    rig.find_backend = find_drive;
}

static void close_disk(void)
{
    device_tree_free(&rig.tree);
    drives_free(drives);
    device_tree_init(&rig.tree, &rig.env);
    rig_free(&rig);
    unlink(path);
}

// One request; its status byte, or -1 when none came back.
static int request(struct drv *d, uint32_t type, uint64_t sector, const struct seg *out,
                   unsigned n_out, const struct seg *in, unsigned n_in, uint32_t *len)
{
    struct seg o[8], i[8];
    struct done done = {0};
    uint8_t head[16] = {0}, status = 0xee;
    gpa_t at = rig_alloc(&rig, 32, 16);
    st_le32(head, type);
    st_le64(head + 8, sector);
    rig_write(&rig, at, head, 16);
    rig_write(&rig, at + 16, &status, 1);
    o[0] = (struct seg){at, 16};
    for (unsigned k = 0; k < n_out; k++)
        o[k + 1] = out[k];
    for (unsigned k = 0; k < n_in; k++)
        i[k] = in[k];
    i[n_in] = (struct seg){at + 16, 1};
    uint16_t id = drv_add(&d->rings[0], o, n_out + 1, i, n_in + 1);
    drv_kick(&d->rings[0]);
    if (!drv_wait(&d->rings[0], &done))
        return -1;
    assert_int_equal(done.id, id);
    if (len)
        *len = done.len;
    rig_read(&rig, at + 16, &status, 1);
    return status;
}

static void fill(uint8_t *p, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (i * 31 + seed * 17) ^ (i >> 8);
}

static void check_file(uint64_t off, const uint8_t *want, size_t n)
{
    uint8_t *got = xalloc(n);
    int fd = open(path, O_RDONLY);
    assert_int_equal(pread(fd, got, n, off), n);
    close(fd);
    assert_memory_equal(got, want, n);
    free(got);
}

static void test_blk(void **state)
{
    for (unsigned i = 0; i < 16; i++) {
        struct drv d;
        uint8_t data[8192], back[8192];
        uint32_t len;
        rig_init(&rig);
        open_disk(",discard=unmap");
        attach(&d, form_of(i), "blk", ",drive=d0,serial=abc");
        assert_true(drv_negotiate(&d, 1ull << 9 | 1ull << 13 | 1ull << 14));
        assert_int_equal(drv_cfg(&d, 0, 8), 4 * MiB / 512);
        drv_ring(&d, 0, 64);
        drv_ok(&d);
        gpa_t buf = rig_alloc(&rig, 16384, 4096);
        for (unsigned round = 0; round < 20; round++) {
            struct seg two[2] = {{buf, 512}, {buf + 4096, 7680}};
            fill(data, sizeof data, round);
            rig_write(&rig, buf, data, 512);
            rig_write(&rig, buf + 4096, data + 512, 7680);
            assert_int_equal(request(&d, 1, round * 16, two, 2, NULL, 0, &len), 0);
            assert_int_equal(len, 1);
            memset(back, 0, sizeof back);
            rig_write(&rig, buf, back, 512);
            rig_write(&rig, buf + 4096, back, 7680);
            assert_int_equal(request(&d, 0, round * 16, NULL, 0, two, 2, &len), 0);
            assert_int_equal(len, 8193);
            rig_read(&rig, buf, back, 512);
            rig_read(&rig, buf + 4096, back + 512, 7680);
            assert_memory_equal(back, data, sizeof data);
            check_file(round * 8192, data, sizeof data);
        }
        check_interrupt(&d, 0);
        assert_int_equal(request(&d, 4, 0, NULL, 0, NULL, 0, NULL), 0); // flush
        struct seg id = {buf, 20};
        assert_int_equal(request(&d, 8, 0, NULL, 0, &id, 1, NULL), 0);
        rig_read(&rig, buf, back, 20);
        assert_string_equal((char *)back, "abc");
        close_disk();
    }
}

static void test_blk_limits(void **state)
{
    struct drv d;
    rig_init(&rig);
    open_disk("");
    attach(&d, form_of(1), "blk", ",drive=d0");
    assert_true(drv_negotiate(&d, 1ull << 9 | 1ull << 13 | 1ull << 14));
    drv_ring(&d, 0, 64);
    drv_ok(&d);
    gpa_t buf = rig_alloc(&rig, 8192, 4096);
    struct seg one = {buf, 512}, odd = {buf, 100};
    uint64_t last = 4 * MiB / 512 - 1;
    assert_int_equal(request(&d, 0, last, NULL, 0, &one, 1, NULL), 0);
    assert_int_equal(request(&d, 0, last + 1, NULL, 0, &one, 1, NULL), 1);
    assert_int_equal(request(&d, 0, UINT64_MAX, NULL, 0, &one, 1, NULL), 1);
    assert_int_equal(request(&d, 0, UINT64_MAX / 512, NULL, 0, &one, 1, NULL), 1);
    assert_int_equal(request(&d, 0, 0, NULL, 0, &odd, 1, NULL), 1);
    assert_int_equal(request(&d, 77, 0, NULL, 0, NULL, 0, NULL), 2); // no such command
    // Write zeroes, then read: the sector is zero, its neighbour is not.
    uint8_t data[1024], range[16] = {0}, zero[512] = {0};
    fill(data, sizeof data, 3);
    rig_write(&rig, buf, data, sizeof data);
    struct seg two = {buf, 1024}, seg = {buf + 4096, 16};
    assert_int_equal(request(&d, 1, 8, &two, 1, NULL, 0, NULL), 0);
    st_le64(range, 8);
    st_le32(range + 8, 1);
    rig_write(&rig, buf + 4096, range, 16);
    assert_int_equal(request(&d, 13, 0, &seg, 1, NULL, 0, NULL), 0);
    check_file(8 * 512, zero, 512);
    check_file(9 * 512, data + 512, 512);
    st_le64(range, last);
    st_le32(range + 8, 2); // beyond the end
    rig_write(&rig, buf + 4096, range, 16);
    assert_int_equal(request(&d, 13, 0, &seg, 1, NULL, 0, NULL), 1);
    assert_int_equal(request(&d, 11, 0, &seg, 1, NULL, 0, NULL), 1);
    assert_int_equal(drv_status(&d), 15); // all that was the request's own error
    close_disk();
}

static void test_blk_readonly(void **state)
{
    struct drv d;
    rig_init(&rig);
    open_disk(",readonly=on");
    attach(&d, form_of(0), "blk", ",drive=d0");
    assert_true(drv_offered(&d) & 1 << 5);
    assert_true(drv_negotiate(&d, 1ull << 5));
    drv_ring(&d, 0, 16);
    drv_ok(&d);
    struct seg one = {rig_alloc(&rig, 512, 512), 512};
    assert_int_equal(request(&d, 1, 0, &one, 1, NULL, 0, NULL), 1);
    assert_int_equal(request(&d, 0, 0, NULL, 0, &one, 1, NULL), 0);
    close_disk();
}

// A reset with requests in flight: status goes to zero only when they are over.
static void test_reset_in_flight(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        struct drv d;
        struct done done;
        rig_init(&rig);
        open_disk("");
        attach(&d, form_of(i), "blk", ",drive=d0");
        assert_true(drv_negotiate(&d, 1 << 9));
        drv_ring(&d, 0, 64);
        drv_ok(&d);
        gpa_t at = rig_alloc(&rig, 8192, 4096);
        uint8_t head[16] = {0};
        rig_write(&rig, at, head, 16);
        struct seg out = {at, 16}, in[2] = {{at + 4096, 4096}, {at + 100, 1}};
        for (unsigned k = 0; k < 16; k++)
            drv_add(&d.rings[0], &out, 1, in, 2);
        drv_kick(&d.rings[0]);
        loop_run_once(rig.loop, 0);
        drv_status_out(&d, 0);
        pump_until(rig.loop, !drv_status(&d));
        rig_spin(&rig);
        uint8_t mark[512];
        memset(mark, 0xa5, sizeof mark);
        rig_write(&rig, at + 4096, mark, sizeof mark);
        rig_spin(&rig);
        uint8_t now[512];
        rig_read(&rig, at + 4096, now, sizeof now);
        assert_memory_equal(now, mark, sizeof mark); // nothing arrives after reset
        assert_true(drv_negotiate(&d, 1 << 9));
        drv_ring(&d, 0, 64);
        drv_ok(&d);
        assert_false(drv_poll(&d.rings[0], &done));
        assert_int_equal(request(&d, 4, 0, NULL, 0, NULL, 0, NULL), 0);
        device_tree_reset(&rig.tree);
        close_disk();
    }
}

static void test_negotiation(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        struct drv d;
        rig_init(&rig);
        attach(&d, form_of(i), "rng", ",indirect_desc=off");
        assert_false(drv_offered(&d) & 1 << 28);
        assert_true(drv_offered(&d) & 1ull << 32);
        assert_false(drv_negotiate(&d, 1 << 28)); // not offered: FEATURES_OK does not stick
        assert_int_equal(drv_status(&d), 3);
        assert_true(drv_negotiate(&d, 0));
        drv_status_out(&d, 11 | 64); // NEEDS_RESET is the device's to set
        assert_int_equal(drv_status(&d), 11);
        rig_free(&rig);
    }
}

// The version 1 layout of virtio-mmio: a page number in place of three addresses, no FEATURES_OK.
static void test_legacy(void **state)
{
    enum { SIZE = 8 };
    rig_init(&rig);
    rig_mmio_slot(&rig, true);
    rig_device(&rig, "virtio-rng-device");
    gpa_t m = MMIO_BASE, ring = rig_alloc(&rig, 8192, 4096), buf = rig_alloc(&rig, 64, 16);
    uint8_t zero[8192] = {0}, raw[16], got[64];
    rig_write(&rig, ring, zero, sizeof zero);
    assert_int_equal(rig_in(&rig, m + 4, 4), 1);
    rig_out(&rig, m + 0x70, 4, 0);
    rig_out(&rig, m + 0x70, 4, 3);
    rig_out(&rig, m + 0x14, 4, 1);
    assert_int_equal(rig_in(&rig, m + 0x10, 4), 0); // no features beyond 32
    rig_out(&rig, m + 0x24, 4, 0);
    rig_out(&rig, m + 0x20, 4, 0);
    rig_out(&rig, m + 0x28, 4, 4096);
    rig_out(&rig, m + 0x30, 4, 0);
    assert_int_equal(rig_in(&rig, m + 0x34, 4), 8);
    rig_out(&rig, m + 0x38, 4, SIZE);
    rig_out(&rig, m + 0x3c, 4, 4096);
    rig_out(&rig, m + 0x40, 4, ring / 4096);
    assert_int_equal(rig_in(&rig, m + 0x40, 4), ring / 4096);
    rig_out(&rig, m + 0x70, 4, 7);
    st_le64(raw, buf);
    st_le32(raw + 8, 64);
    st_le16(raw + 12, 2);
    st_le16(raw + 14, 0);
    rig_write(&rig, ring, raw, 16);
    rig_write(&rig, ring + 16 * SIZE + 2, (uint8_t[]){1, 0}, 2);
    rig_out(&rig, m + 0x50, 4, 0);
    rig_spin(&rig);
    rig_read(&rig, ring + 4096, raw, 12);
    assert_true(ld_le16(raw + 2) == 1 && ld_le32(raw + 4) == 0 && ld_le32(raw + 8) == 64);
    rig_read(&rig, buf, got, sizeof got);
    assert_memory_not_equal(got, zero, sizeof got);
    assert_int_equal(rig.irq_level, 1);
    rig_out(&rig, m + 0x40, 4, 0); // page 0 lets go of the queue
    assert_int_equal(rig_in(&rig, m + 0x40, 4), 0);
    rig_free(&rig);
}

// A vCPU's thread drives the device while the loop's thread serves it.
static struct drv shared;
static _Atomic bool over;
static unsigned served;

static void vcpu(void *arg)
{
    struct seg in = {RAM_BASE + 32 * MiB, 64};
    for (unsigned i = 0; i < 3000; i++) {
        struct done done;
        drv_add(&shared.rings[0], NULL, 0, &in, 1);
        drv_kick(&shared.rings[0]);
        for (int64_t end = host_monotonic_ns() + PATIENCE_NS; host_monotonic_ns() < end;) {
            rig_in(&rig, shared.pci ? shared.isr : shared.base + 0x60, shared.pci ? 1 : 4);
            if (drv_poll(&shared.rings[0], &done)) {
                served += done.len == 64;
                break;
            }
        }
    }
    over = true;
}

static void test_threads(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        rig_init(&rig);
        attach(&shared, form_of(i), "rng", "");
        assert_true(drv_negotiate(&shared, 0));
        drv_ring(&shared, 0, 8);
        drv_ok(&shared);
        over = false;
        served = 0;
        pthread_t t = thread_start("vcpu", vcpu, NULL);
        while (!over)
            loop_run_once(rig.loop, 1);
        pthread_join(t, NULL);
        assert_int_equal(served, 3000);
        rig_free(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_negotiation),  cmocka_unit_test(test_rng),
        cmocka_unit_test(test_blk),          cmocka_unit_test(test_blk_limits),
        cmocka_unit_test(test_blk_readonly), cmocka_unit_test(test_reset_in_flight),
        cmocka_unit_test(test_legacy),       cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
