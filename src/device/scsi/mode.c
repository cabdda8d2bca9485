// MODE SENSE and MODE SELECT (SPC-4, 6.11 and 6.9): the caching page of disks, error recovery and
// capabilities of CD-ROMs.
#include "device/scsi/disk.h"

#include "base/bits.h"

enum { PAGE_ERROR = 0x01, PAGE_CACHING = 0x08, PAGE_CD = 0x2a, PAGE_ALL = 0x3f };
enum { CONTROL_CURRENT, CONTROL_CHANGEABLE, CONTROL_DEFAULT, CONTROL_SAVED };

static size_t error_page(uint8_t *p, bool values)
{
    p[0] = PAGE_ERROR;
    p[1] = 10;
    if (values)
        p[2] = 0x80; // reallocates by itself when writing
    return 12;
}

static size_t caching_page(const struct scsi_disk *k, uint8_t *p, unsigned control)
{
    p[0] = PAGE_CACHING;
    p[1] = 18;
    if (control == CONTROL_CHANGEABLE || k->write_cache)
        p[2] = 4; // WCE
    return 20;
}

static size_t cd_page(uint8_t *p, bool values)
{
    p[0] = PAGE_CD;
    p[1] = 20;
    if (!values)
        return 22;
    p[2] = 0x3b;               // reads CD-R, CD-RW, DVD-ROM, DVD-R
    p[4] = 0x40 | 0x08;        // multisession, mode 2 form 1
    p[6] = 0x20 | 0x08 | 0x01; // tray, eject, lock
    st_be16(p + 8, 706 * 8);   // kB/s
    st_be16(p + 14, 706 * 8);
    return 22;
}

static size_t pages(const struct scsi_disk *k, uint8_t *p, uint8_t page, unsigned control)
{
    bool values = control != CONTROL_CHANGEABLE;
    size_t n = 0;
    if (page == PAGE_ERROR || page == PAGE_ALL)
        n += error_page(p + n, values);
    if (!k->is_cd && (page == PAGE_CACHING || page == PAGE_ALL))
        n += caching_page(k, p + n, control);
    if (k->is_cd && (page == PAGE_CD || page == PAGE_ALL))
        n += cd_page(p + n, values);
    return n;
}

static size_t block_descriptor(const struct scsi_disk *k, uint8_t *p)
{
    uint64_t n = scsi_disk_blocks(k);
    st_be32(p, n > 0xffffff ? 0 : n);
    st_be32(p + 4, k->logical_block_size);
    return 8;
}

void scsi_disk_mode_sense(struct scsi_disk *k, struct scsi_cmd *c)
{
    uint8_t p[128] = {0}, page = c->cdb[2] & 0x3f;
    bool ten = c->cdb[0] == 0x5a, no_descriptor = c->cdb[1] & 8;
    unsigned control = c->cdb[2] >> 6;
    size_t head = ten ? 8 : 4, desc = 0;
    if (control == CONTROL_SAVED) {
        scsi_check(c, (struct scsi_sense){0x05, 0x39, 0x00}); // saving is not supported
        return;
    }
    if (!no_descriptor && !k->is_cd && k->drive->node)
        desc = block_descriptor(k, p + head);
    size_t n = pages(k, p + head + desc, page, control);
    if (!n || c->cdb[3]) {
        scsi_check(c, SENSE_INVALID_FIELD);
        return;
    }
    n += head + desc;
    uint8_t specific = (scsi_disk_readonly(k) && !k->is_cd ? 0x80 : 0) | (k->dpofua ? 0x10 : 0);
    if (ten) {
        st_be16(p, n - 2);
        p[3] = specific;
        st_be16(p + 6, desc);
    } else {
        p[0] = n - 1;
        p[2] = specific;
        p[3] = desc;
    }
    scsi_reply(c, p, n, ten ? ld_be16(c->cdb + 7) : c->cdb[4]);
}

// The only thing that can be set is the write cache.
static bool select_page(struct scsi_disk *k, const uint8_t *p, size_t n)
{
    if (p[0] == PAGE_CACHING && !k->is_cd && n == 20) {
        k->write_cache = p[2] & 4;
        return true;
    }
    return p[0] == PAGE_ERROR && n == 12;
}

void scsi_disk_mode_select(struct scsi_disk *k, struct scsi_cmd *c)
{
    uint8_t p[256];
    bool ten = c->cdb[0] == 0x55;
    size_t len = ten ? ld_be16(c->cdb + 7) : c->cdb[4], head = ten ? 8 : 4;
    if (!len) {
        scsi_good(c);
        return;
    }
    if ((c->cdb[1] & 0x11) != 0x10 || len > sizeof p || len < head) {
        scsi_check(c, SENSE_INVALID_FIELD);
        return;
    }
    if (c->data->read(c, 0, p, len) != (int64_t)len) {
        scsi_check(c, SENSE_PARAM_LENGTH);
        return;
    }
    size_t at = head + (ten ? ld_be16(p + 6) : p[3]);
    while (at + 2 <= len) {
        size_t n = 2 + (size_t)p[at + 1];
        if (at + n > len || !select_page(k, p + at, n)) {
            scsi_check(c, SENSE_INVALID_PARAM);
            return;
        }
        at += n;
    }
    c->moved = len;
    scsi_good(c);
}
