// The CD-ROM's own commands (MMC-6): table of contents, configuration, events, disc information.
#include "device/scsi/disk.h"

#include "base/bits.h"

#define LEAD_OUT 0xaa

static void put_position(uint8_t *p, uint32_t lba, bool msf)
{
    if (!msf) {
        st_be32(p, lba);
        return;
    }
    lba += 150;
    p[0] = 0;
    p[1] = lba / (75 * 60);
    p[2] = lba / 75 % 60;
    p[3] = lba % 75;
}

static void put_track(uint8_t *p, uint8_t track, uint32_t lba, bool msf)
{
    p[1] = 0x14; // a data track
    p[2] = track;
    put_position(p + 4, lba, msf);
}

static void read_toc(struct scsi_disk *k, struct scsi_cmd *c)
{
    uint8_t p[64] = {0}, format = c->cdb[2] & 15, first = c->cdb[6];
    bool msf = c->cdb[1] & 2;
    size_t n = 4;
    if (!format)
        format = c->cdb[9] >> 6;
    uint32_t end = MIN(scsi_disk_blocks(k), (uint64_t)UINT32_MAX);
    if (format > 1 || (format == 0 && first > 1 && first != LEAD_OUT)) {
        scsi_check(c, SENSE_INVALID_FIELD);
        return;
    }
    p[2] = p[3] = 1; // first and last track or session
    if (format == 1) {
        put_track(p + n, 1, 0, msf);
        n += 8;
    } else {
        if (first <= 1) {
            put_track(p + n, 1, 0, msf);
            n += 8;
        }
        put_track(p + n, LEAD_OUT, end, msf);
        n += 8;
    }
    st_be16(p, n - 2);
    scsi_reply(c, p, n, ld_be16(c->cdb + 7));
}

static size_t feature(uint8_t *p, uint16_t code, uint8_t flags, const uint8_t *data, size_t n)
{
    st_be16(p, code);
    p[2] = flags;
    p[3] = n;
    if (n)
        memcpy(p + 4, data, n);
    return 4 + n;
}

static void get_configuration(struct scsi_disk *k, struct scsi_cmd *c)
{
    enum { CURRENT = 1, PERSISTENT = 2, CD_ROM = 8, DVD_ROM = 16 };
    bool in = scsi_disk_ready(k), dvd = in && scsi_disk_blocks(k) > 450000;
    uint8_t p[128] = {0};
    size_t n = 8;
    const uint8_t profiles[] = {0, DVD_ROM, in && dvd, 0, 0, CD_ROM, in && !dvd, 0};
    const uint8_t core[] = {0, 0, 0, 1, 1, 0, 0, 0};
    const uint8_t removable[] = {0x29, 0, 0, 0}; // tray, eject, lock
    if ((c->cdb[1] & 3) > 2) {
        scsi_check(c, SENSE_INVALID_FIELD);
        return;
    }
    n += feature(p + n, 0x0000, PERSISTENT | CURRENT, profiles, sizeof profiles);
    n += feature(p + n, 0x0001, 2 << 2 | PERSISTENT | CURRENT, core, sizeof core);
    n += feature(p + n, 0x0003, 1 << 2 | PERSISTENT | CURRENT, removable, sizeof removable);
    st_be32(p, n - 4);
    st_be16(p + 6, !in ? 0 : dvd ? DVD_ROM : CD_ROM);
    scsi_reply(c, p, n, ld_be16(c->cdb + 7));
}

static void get_event(struct scsi_disk *k, struct scsi_cmd *c)
{
    enum { MEDIA = 4 };
    uint8_t p[8] = {0};
    if (!(c->cdb[1] & 1)) { // we are asked to wait, which we do not
        scsi_check(c, SENSE_INVALID_FIELD);
        return;
    }
    p[3] = 1 << MEDIA;
    if (!(c->cdb[4] & 1 << MEDIA)) {
        p[2] = 0x80; // nothing of the classes asked for
        st_be16(p, 2);
        scsi_reply(c, p, 4, ld_be16(c->cdb + 7));
        return;
    }
    st_be16(p, 6);
    p[2] = MEDIA;
    p[4] = k->attention == ATTENTION_MEDIUM ? 2 : 0; // new media
    p[5] = (k->drive->tray_open ? 1 : 0) | (scsi_disk_ready(k) ? 2 : 0);
    scsi_reply(c, p, 8, ld_be16(c->cdb + 7));
}

static void read_disc_information(struct scsi_cmd *c)
{
    uint8_t p[34] = {0};
    if (c->cdb[1] & 7) {
        scsi_check(c, SENSE_INVALID_FIELD);
        return;
    }
    st_be16(p, sizeof p - 2);
    p[2] = 0x0e; // complete, last session complete
    p[3] = p[4] = p[5] = p[6] = 1;
    p[7] = 0x20; // unrestricted use
    scsi_reply(c, p, sizeof p, ld_be16(c->cdb + 7));
}

bool scsi_disk_mmc(struct scsi_disk *k, struct scsi_cmd *c)
{
    uint8_t status[8] = {0};
    bool medium = c->cdb[0] == 0x43 || c->cdb[0] == 0x51;
    if (medium && !scsi_disk_ready(k)) {
        scsi_check(c, SENSE_NO_MEDIUM);
        return true;
    }
    switch (c->cdb[0]) {
    case 0x43:
        read_toc(k, c);
        return true;
    case 0x46:
        get_configuration(k, c);
        return true;
    case 0x4a:
        get_event(k, c);
        return true;
    case 0x51:
        read_disc_information(c);
        return true;
    case 0xbd: // MECHANISM STATUS
        status[5] = 1;
        scsi_reply(c, status, sizeof status, ld_be16(c->cdb + 8));
        return true;
    default:
        return false;
    }
}
