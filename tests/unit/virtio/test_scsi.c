// virtio-scsi with disks and a CD-ROM: the commands that Linux, Windows and firmware send, their
// limits and their sense data, by the layouts of SPC-4, SBC-3 and MMC-6.
#include "rig.h"

#include "base/bits.h"
#include "block/block.h"

#include <fcntl.h>
#include <unistd.h>

static struct rig rig;
static struct drv drv;
static struct drives *drives;
static char path[] = "/tmp/myna-test-scsi-XXXXXX";
static gpa_t req_at, resp_at, data_at;

static void *find_drive(const char *id)
{
    return drives_find(drives, id);
}

static void add_drive(const char *line)
{
    struct err e = {0};
    struct opts o = {0};
    assert_int_equal(opts_parse(&o, line, NULL, &e), 0);
    if (!drive_open_from_opts(drives, &o, "none", &e))
        fail_msg("%s: %s", line, e.msg);
    opts_free(&o);
}

struct reply {
    uint8_t status, response, sense[18];
    uint32_t sense_len, residual, len;
};

static struct reply command_to(unsigned id, unsigned lun, const uint8_t *cdb, size_t cdb_len,
                               uint32_t out, uint32_t in)
{
    uint8_t req[51] = {1, id, 0x40 | lun >> 8, lun}, resp[108];
    struct seg o[2] = {{req_at, 51}, {data_at, out}}, i[2] = {{resp_at, 108}, {data_at, in}};
    struct reply r = {0};
    struct done done;
    memcpy(req + 19, cdb, cdb_len);
    rig_write(&rig, req_at, req, sizeof req);
    memset(resp, 0xee, sizeof resp);
    rig_write(&rig, resp_at, resp, sizeof resp);
    drv_add(&drv.rings[2], o, out ? 2 : 1, i, in ? 2 : 1);
    drv_kick(&drv.rings[2]);
    assert_true(drv_wait(&drv.rings[2], &done));
    rig_read(&rig, resp_at, resp, sizeof resp);
    r.sense_len = ld_le32(resp);
    r.residual = ld_le32(resp + 4);
    r.status = resp[10];
    r.response = resp[11];
    r.len = done.len;
    memcpy(r.sense, resp + 12, 18);
    return r;
}

#define CDB(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static void good(struct reply r)
{
    if (r.status || r.response)
        fail_msg("status %u, response %u, sense %x/%02x/%02x", r.status, r.response, r.sense[2],
                 r.sense[12], r.sense[13]);
}

static void check(struct reply r, uint8_t key, uint8_t asc, uint8_t ascq)
{
    assert_int_equal(r.response, 0);
    assert_int_equal(r.status, 2);
    assert_int_equal(r.sense_len, 18);
    assert_int_equal(r.sense[0], 0x70);
    if (r.sense[2] != key || r.sense[12] != asc || r.sense[13] != ascq)
        fail_msg("sense %x/%02x/%02x, not %x/%02x/%02x", r.sense[2], r.sense[12], r.sense[13], key,
                 asc, ascq);
}

static void start(void)
{
    char line[200];
    rig_init(&rig);
    drives = drives_new(rig.loop);
    rig.find_backend = find_drive;
    strcpy(path + sizeof path - 7, "XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 4 * MiB), 0);
    close(fd);
    snprintf(line, sizeof line, "if=none,id=hd0,format=raw,discard=unmap,file=%s", path);
    add_drive(line);
    add_drive("if=none,id=big,driver=null-co,size=4T");
    add_drive("if=none,id=ro,driver=null-co,size=1M,readonly=on");
    add_drive("if=none,id=cd0,driver=null-co,size=10M,readonly=on,media=cdrom");
    rig_device(&rig, "virtio-scsi-pci,id=scsi0,addr=3");
    rig_device(&rig, "scsi-hd,drive=hd0,serial=S123,wwn=0x5000c50015ea71ac,bus=scsi0.0");
    rig_device(&rig, "scsi-hd,drive=big,scsi-id=4,lun=2,rotation_rate=1");
    rig_device(&rig, "scsi-hd,drive=ro,scsi-id=5");
    rig_device(&rig, "scsi-cd,drive=cd0,scsi-id=6,bus=scsi0.0");
    drv_attach_pci(&drv, &rig, 0, 3 << 3);
    drv.indirect = true;
    assert_true(drv_negotiate(&drv, 6));
    for (unsigned i = 0; i < 3; i++)
        drv_ring(&drv, i, 64);
    drv_ok(&drv);
    req_at = rig_alloc(&rig, 64, 16);
    resp_at = rig_alloc(&rig, 128, 16);
    data_at = rig_alloc(&rig, MiB, 4096);
    const unsigned where[4][2] = {{0, 0}, {4, 2}, {5, 0}, {6, 0}};
    for (unsigned i = 0; i < 4; i++) { // the first command is told of the reset, once
        check(command_to(where[i][0], where[i][1], CDB(0), 0, 0), 6, 0x29, 0);
        good(command_to(where[i][0], where[i][1], CDB(0), 0, 0));
    }
}

static void stop(void)
{
    assert_int_equal(drv_status(&drv), 15);
    device_tree_free(&rig.tree);
    drives_free(drives);
    device_tree_init(&rig.tree, &rig.env);
    rig_free(&rig);
    unlink(path);
}

static void test_identity(void **state)
{
    uint8_t p[256];
    start();
    assert_int_equal(drv_cfg(&drv, 20, 4), 96);
    assert_int_equal(drv_cfg(&drv, 24, 4), 32);
    struct reply r = command_to(0, 0, CDB(0x12, 0, 0, 0, 255, 0), 0, 255);
    good(r);
    assert_int_equal(r.residual, 255 - 36);
    assert_int_equal(r.len, 108 + 36);
    rig_read(&rig, data_at, p, 36);
    assert_true(p[0] == 0 && p[2] == 5 && p[4] == 31);
    assert_memory_equal(p + 8, "QEMU    QEMU HARDDISK   2.5+", 28);
    good(command_to(6, 0, CDB(0x12, 0, 0, 0, 36, 0), 0, 36));
    rig_read(&rig, data_at, p, 36);
    assert_true(p[0] == 5 && p[1] == 0x80);
    good(command_to(0, 0, CDB(0x12, 1, 0x80, 0, 255, 0), 0, 255));
    rig_read(&rig, data_at, p, 8);
    assert_memory_equal(p, "\0\x80\0\4S123", 8);
    good(command_to(0, 0, CDB(0x12, 1, 0x83, 0, 255, 0), 0, 255));
    rig_read(&rig, data_at, p, 64);
    assert_int_equal(ld_be16(p + 2), 4 + 3 + 4 + 8);
    assert_memory_equal(p + 8, "hd0", 3);
    assert_memory_equal(p + 11, "\1\3\0\x8\x50\x00\xc5\x00\x15\xea\x71\xac", 12);
    good(command_to(0, 0, CDB(0x12, 1, 0xb2, 0, 255, 0), 0, 255));
    rig_read(&rig, data_at, p, 8);
    assert_true(p[5] & 0x80);
    good(command_to(4, 2, CDB(0x12, 1, 0xb1, 0, 255, 0), 0, 255));
    rig_read(&rig, data_at, p, 8);
    assert_int_equal(ld_be16(p + 4), 1); // not rotating
    check(command_to(0, 0, CDB(0x12, 1, 0x99, 0, 255, 0), 0, 255), 5, 0x24, 0);
    check(command_to(6, 0, CDB(0x12, 1, 0xb0, 0, 255, 0), 0, 255), 5, 0x24, 0);
    check(command_to(0, 0, CDB(0xc7), 0, 0), 5, 0x20, 0);
    stop();
}

static void test_addresses(void **state)
{
    uint8_t p[64];
    start();
    assert_int_equal(command_to(7, 0, CDB(0), 0, 0).response, 3); // nobody
    check(command_to(4, 0, CDB(0), 0, 0), 5, 0x25, 0);            // somebody, but no such unit
    good(command_to(4, 0, CDB(0x12, 0, 0, 0, 36, 0), 0, 36));
    rig_read(&rig, data_at, p, 1);
    assert_int_equal(p[0], 0x7f);
    good(command_to(4, 0, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0), 0, 64));
    rig_read(&rig, data_at, p, 24);
    assert_int_equal(ld_be32(p), 16);
    assert_int_equal(p[8 + 1], 0);
    assert_int_equal(p[16 + 1], 2);
    struct err e = {0};
    struct opts o = {0};
    assert_int_equal(opts_parse(&o, "scsi-hd,drive=big,scsi-id=4,lun=2", "driver", &e), 0);
    assert_null(device_create_from_opts(&rig.tree, &o, &e));
    assert_non_null(strstr(e.msg, "taken"));
    opts_free(&o);
    stop();
}

static void test_capacity(void **state)
{
    uint8_t p[64];
    start();
    good(command_to(0, 0, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0, 8));
    rig_read(&rig, data_at, p, 8);
    assert_int_equal(ld_be32(p), 4 * MiB / 512 - 1);
    assert_int_equal(ld_be32(p + 4), 512);
    good(command_to(4, 2, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0, 8));
    rig_read(&rig, data_at, p, 8);
    assert_int_equal(ld_be32(p), 0xffffffff); // too large: ask for the other
    good(command_to(4, 2, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), 0, 32));
    rig_read(&rig, data_at, p, 32);
    assert_true(ld_be64(p) == (4ull << 40) / 512 - 1 && ld_be32(p + 8) == 512 && p[14] == 0x80);
    good(command_to(6, 0, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0, 8));
    rig_read(&rig, data_at, p, 8);
    assert_int_equal(ld_be32(p), 10 * MiB / 2048 - 1);
    assert_int_equal(ld_be32(p + 4), 2048);
    good(command_to(0, 0, CDB(0x1a, 0, 8, 0, 64, 0), 0, 64));
    rig_read(&rig, data_at, p, 32);
    assert_true(p[0] == 31 && p[3] == 8 && p[12] == 8 && p[14] == 4);
    good(command_to(5, 0, CDB(0x1a, 8, 0x3f, 0, 64, 0), 0, 64));
    rig_read(&rig, data_at, p, 4);
    assert_true(p[2] & 0x80); // write-protected
    check(command_to(0, 0, CDB(0x1a, 0, 0x1c, 0, 64, 0), 0, 64), 5, 0x24, 0);
    stop();
}

static void test_data(void **state)
{
    static uint8_t data[65536], back[65536];
    start();
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (i * 7) ^ (i >> 8);
    // Write with 10, read with 6, 10, 12 and 16.
    rig_write(&rig, data_at, data, sizeof data);
    struct reply r = command_to(0, 0, CDB(0x2a, 0, 0, 0, 0, 100, 0, 0, 128, 0), 65536, 0);
    good(r);
    assert_int_equal(r.residual, 0);
    const struct {
        uint8_t cdb[16];
        size_t n;
    } reads[] = {{{0x08, 0, 0, 100, 128, 0}, 6},
                 {{0x28, 0, 0, 0, 0, 100, 0, 0, 128, 0}, 10},
                 {{0xa8, 0, 0, 0, 0, 100, 0, 0, 0, 128, 0, 0}, 12},
                 {{0x88, 0, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 128, 0, 0}, 16}};
    for (unsigned i = 0; i < ARRAY_SIZE(reads); i++) {
        memset(back, 0, sizeof back);
        rig_write(&rig, data_at, back, sizeof back);
        good(command_to(0, 0, reads[i].cdb, reads[i].n, 0, 65536));
        rig_read(&rig, data_at, back, sizeof back);
        assert_memory_equal(back, data, sizeof data);
    }
    r = command_to(0, 0, CDB(0x28, 0, 0, 0, 0, 100, 0, 0, 1, 0), 0, 4096); // room for more
    good(r);
    assert_int_equal(r.residual, 4096 - 512);
    check(command_to(0, 0, CDB(0x28, 0, 0, 0, 0, 100, 0, 0, 9, 0), 0, 4096), 5, 0x24, 0);
    check(command_to(0, 0, CDB(0x28, 0, 0, 0, 0x1f, 0xff, 0, 0, 2, 0), 0, 4096), 5, 0x21, 0);
    check(command_to(0, 0, CDB(0x88, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 2, 0, 0),
                     0, 4096),
          5, 0x21, 0);
    check(command_to(5, 0, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), 512, 0), 7, 0x27, 0);
    good(command_to(0, 0, CDB(0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0, 0));
    // UNMAP sectors 100 and 102; 101 stays.
    uint8_t list[40] = {0, 38, 0, 32};
    st_be64(list + 8, 100);
    st_be32(list + 16, 1);
    st_be64(list + 24, 102);
    st_be32(list + 32, 1);
    rig_write(&rig, data_at, list, 40);
    good(command_to(0, 0, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0), 40, 0));
    good(command_to(0, 0, CDB(0x28, 0, 0, 0, 0, 101, 0, 0, 1, 0), 0, 512));
    rig_read(&rig, data_at, back, 512);
    assert_memory_equal(back, data + 512, 512);
    st_be64(list + 24, UINT64_MAX);
    rig_write(&rig, data_at, list, 40);
    check(command_to(0, 0, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0), 40, 0), 5, 0x21, 0);
    // WRITE SAME with a pattern over 700 sectors, then with zeros over one.
    rig_write(&rig, data_at, data, 512);
    good(command_to(0, 0, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 2, 188, 0, 0), 512, 0));
    memset(data, 0, 512);
    rig_write(&rig, data_at, data, 512);
    good(command_to(0, 0, CDB(0x41, 8, 0, 0, 4, 1, 0, 0, 1, 0), 512, 0));
    for (size_t i = 0; i < 512; i++)
        data[i] = (i * 7) ^ (i >> 8);
    static uint8_t file[702 * 512];
    int fd = open(path, O_RDONLY);
    assert_int_equal(pread(fd, file, sizeof file, 1023 * 512), sizeof file);
    close(fd);
    for (unsigned i = 0; i < 702; i++) {
        bool pattern = i >= 1 && i <= 700 && i != 2;
        static const uint8_t zero[512];
        assert_memory_equal(file + i * 512, pattern ? data : zero, 512);
    }
    stop();
}

static void test_cd(void **state)
{
    uint8_t p[64];
    start();
    check(command_to(6, 0, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), 2048, 0), 7, 0x27, 0);
    good(command_to(6, 0, CDB(0x28, 0, 0, 0, 0, 16, 0, 0, 1, 0), 0, 2048));
    good(command_to(6, 0, CDB(0x43, 2, 0, 0, 0, 0, 0, 0, 32, 0), 0, 32));
    rig_read(&rig, data_at, p, 20);
    assert_int_equal(ld_be16(p), 18);
    assert_true(p[4 + 2] == 1 && p[12 + 2] == 0xaa);
    // 5,120 blocks and the 2-second gap: 70 s and 20 frames.
    assert_true(p[16] == 0 && p[17] == 1 && p[18] == 10 && p[19] == 20);
    good(command_to(6, 0, CDB(0x46, 0, 0, 0, 0, 0, 0, 0, 64, 0), 0, 64));
    rig_read(&rig, data_at, p, 8);
    assert_int_equal(ld_be16(p + 6), 8); // CD-ROM
    good(command_to(6, 0, CDB(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0), 0, 8));
    rig_read(&rig, data_at, p, 8);
    assert_true(p[2] == 4 && p[5] == 2);
    good(command_to(6, 0, CDB(0x1e, 0, 0, 0, 1, 0), 0, 0)); // lock
    check(command_to(6, 0, CDB(0x1b, 0, 0, 0, 2, 0), 0, 0), 5, 0x53, 2);
    good(command_to(6, 0, CDB(0x1e, 0, 0, 0, 0, 0), 0, 0));
    good(command_to(6, 0, CDB(0x1b, 0, 0, 0, 2, 0), 0, 0)); // eject
    check(command_to(6, 0, CDB(0), 0, 0), 2, 0x3a, 0);
    check(command_to(6, 0, CDB(0x43, 0, 0, 0, 0, 0, 0, 0, 32, 0), 0, 32), 2, 0x3a, 0);
    good(command_to(6, 0, CDB(0x1b, 0, 0, 0, 3, 0), 0, 0)); // close
    good(command_to(6, 0, CDB(0), 0, 0));
    stop();
}

static void test_control(void **state)
{
    uint8_t tmf[24] = {0}, resp = 0xee;
    struct done done;
    start();
    st_le32(tmf + 4, 5); // logical unit reset
    tmf[8] = 1;
    rig_write(&rig, req_at, tmf, sizeof tmf);
    struct seg out = {req_at, 24}, in = {resp_at, 1};
    drv_add(&drv.rings[0], &out, 1, &in, 1);
    drv_kick(&drv.rings[0]);
    assert_true(drv_wait(&drv.rings[0], &done));
    rig_read(&rig, resp_at, &resp, 1);
    assert_int_equal(resp, 0);
    // A disk that comes later is announced.
    add_drive("if=none,id=late,driver=null-co,size=1M");
    struct seg ev = {data_at, 16};
    drv_add(&drv.rings[1], NULL, 0, &ev, 1);
    rig_device(&rig, "scsi-hd,drive=late,scsi-id=9,lun=1,id=latecomer");
    assert_true(drv_wait(&drv.rings[1], &done));
    uint8_t e[16];
    rig_read(&rig, data_at, e, 16);
    assert_true(ld_le32(e) == 1 && e[5] == 9 && e[7] == 1 && ld_le32(e + 12) == 1);
    device_unplug(&rig.tree, device_find(&rig.tree, "latecomer")); // missed: no buffer
    drv_add(&drv.rings[1], NULL, 0, &ev, 1);
    drv_kick(&drv.rings[1]);
    assert_true(drv_wait(&drv.rings[1], &done));
    rig_read(&rig, data_at, e, 16);
    assert_true(ld_le32(e) == 1u << 31);
    assert_int_equal(command_to(9, 1, CDB(0), 0, 0).response, 3);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity), cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_capacity), cmocka_unit_test(test_data),
        cmocka_unit_test(test_cd),       cmocka_unit_test(test_control),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
