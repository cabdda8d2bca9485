// INQUIRY and the vital product data pages (SPC-4, 6.4 and 7.8; SBC-3, 6.5).
#include "device/scsi/disk.h"

#include "base/bits.h"

#include <stdio.h>

#define WRITE_SAME_MAX (64 * MiB)

static void put_text(uint8_t *at, size_t n, const char *text)
{
    memset(at, ' ', n);
    memcpy(at, text, strnlen(text, n));
}

static size_t standard(const struct scsi_disk *k, uint8_t *p)
{
    p[0] = k->is_cd ? 5 : 0;
    p[1] = k->removable || k->is_cd ? 0x80 : 0;
    p[2] = 5;        // SPC-3
    p[3] = 0x10 | 2; // hierarchical LUNs; response format 2
    p[4] = 36 - 5;
    p[7] = 0x10 | 2; // command queueing
    put_text(p + 8, 8, k->vendor ? k->vendor : "QEMU");
    put_text(p + 16, 16, k->product ? k->product : k->is_cd ? "QEMU CD-ROM" : "QEMU HARDDISK");
    put_text(p + 32, 4, k->ver ? k->ver : "2.5+");
    return 36;
}

static size_t device_identification(const struct scsi_disk *k, uint8_t *p)
{
    const char *id = k->device_id ? k->device_id : k->drive ? k->drive->id : NULL;
    size_t n = 4;
    if (id && *id) {
        size_t len = strnlen(id, 200);
        p[n] = 2;     // ASCII
        p[n + 1] = 0; // vendor specific, of the logical unit
        p[n + 3] = len;
        memcpy(p + n + 4, id, len);
        n += 4 + len;
    }
    if (k->wwn) {
        p[n] = 1;     // binary
        p[n + 1] = 3; // NAA
        p[n + 3] = 8;
        st_be64(p + n + 4, k->wwn);
        n += 12;
    }
    return n;
}

static size_t block_limits(const struct scsi_disk *k, uint8_t *p)
{
    uint64_t bs = k->logical_block_size, max_unmap = k->max_unmap_size / bs;
    uint64_t gran = k->discard_granularity == UINT32_MAX ? 4096 : k->discard_granularity;
    p[4] = 1; // a zero length in WRITE SAME is not "to the end"
    st_be16(p + 6, k->min_io_size / bs);
    st_be32(p + 8, MIN(k->max_io_size / bs, (uint64_t)UINT32_MAX));
    st_be32(p + 12, k->opt_io_size / bs);
    st_be32(p + 20, MIN(max_unmap, (uint64_t)UINT32_MAX));
    st_be32(p + 24, 255); // descriptors in one UNMAP
    st_be32(p + 28, MAX(gran / bs, (uint64_t)1));
    st_be64(p + 36, WRITE_SAME_MAX / bs);
    return 64;
}

static const uint8_t disk_pages[] = {0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2};

static size_t vital(const struct scsi_disk *k, uint8_t page, uint8_t *p)
{
    const char *serial = scsi_disk_serial(k);
    size_t n = 0;
    switch (page) {
    case 0x00:
        n = k->is_cd ? 3 : sizeof disk_pages;
        memcpy(p + 4, disk_pages, n);
        return 4 + n;
    case 0x80:
        n = strnlen(serial, 36);
        memcpy(p + 4, serial, n);
        return n ? 4 + n : 0;
    case 0x83:
        return device_identification(k, p);
    }
    if (k->is_cd)
        return 0;
    switch (page) {
    case 0xb0:
        return block_limits(k, p);
    case 0xb1:
        st_be16(p + 4, k->rotation_rate);
        return 64;
    case 0xb2:
        p[5] = 0x80 | 0x40 | 0x20; // UNMAP, WRITE SAME (16) and (10) unmap
        p[6] = 2;                  // thin
        return 8;
    default:
        return 0;
    }
}

void scsi_disk_inquiry(struct scsi_disk *k, struct scsi_cmd *c)
{
    uint8_t p[512] = {0}, page = c->cdb[2];
    uint16_t alloc = ld_be16(c->cdb + 3);
    size_t n = 0;
    if (!(c->cdb[1] & 1)) {
        n = page ? 0 : standard(k, p);
    } else if ((n = vital(k, page, p))) {
        p[0] = k->is_cd ? 5 : 0;
        p[1] = page;
        st_be16(p + 2, n - 4);
    }
    if (n)
        scsi_reply(c, p, n, alloc);
    else
        scsi_check(c, SENSE_INVALID_FIELD);
}
