// scsi-hd and scsi-cd: a direct-access device (SBC-3) and a CD/DVD-ROM drive (MMC-6) over a drive
// of the block layer. Not modelled: reservations (accepted, without effect), self tests, log pages,
// protection information, audio.
#include "device/scsi/disk.h"

#include "base/bits.h"

#include <stdlib.h>

static struct scsi_disk *of(struct device *d)
{
    return container_of(d, struct scsi_disk, s.dev);
}

bool scsi_disk_ready(const struct scsi_disk *k)
{
    return k->drive->node && !k->drive->tray_open;
}

bool scsi_disk_readonly(const struct scsi_disk *k)
{
    return k->is_cd || (k->drive->node && block_readonly(k->drive->node));
}

uint64_t scsi_disk_blocks(const struct scsi_disk *k)
{
    return k->drive->node ? block_size(k->drive->node) / k->logical_block_size : 0;
}

const char *scsi_disk_serial(const struct scsi_disk *k)
{
    return k->serial ? k->serial : k->drive->serial ? k->drive->serial : "";
}

// --- commands about the medium ---

static void read_capacity_10(struct scsi_disk *k, struct scsi_cmd *c)
{
    uint8_t p[8];
    uint64_t n = scsi_disk_blocks(k);
    st_be32(p, n ? MIN(n - 1, (uint64_t)UINT32_MAX) : 0);
    st_be32(p + 4, k->logical_block_size);
    scsi_reply(c, p, sizeof p, sizeof p);
}

static void read_capacity_16(struct scsi_disk *k, struct scsi_cmd *c)
{
    uint8_t p[32] = {0};
    uint64_t n = scsi_disk_blocks(k);
    if ((c->cdb[1] & 0x1f) != 0x10) {
        scsi_check(c, SENSE_INVALID_OPCODE);
        return;
    }
    st_be64(p, n ? n - 1 : 0);
    st_be32(p + 8, k->logical_block_size);
    p[13] = log2_floor(k->physical_block_size / k->logical_block_size);
    p[14] = k->is_cd ? 0 : 0x80; // thin provisioned
    scsi_reply(c, p, sizeof p, ld_be32(c->cdb + 10));
}

static void start_stop(struct scsi_disk *k, struct scsi_cmd *c)
{
    bool load = c->cdb[4] & 2, start = c->cdb[4] & 1;
    if (!load || !(k->is_cd || k->removable)) {
        scsi_good(c);
        return;
    }
    if (!start && k->drive->locked && !k->drive->tray_open) {
        scsi_check(c, SENSE_REMOVAL_BARRED);
        return;
    }
    k->drive->tray_open = !start;
    scsi_good(c);
}

static void request_sense(struct scsi_disk *k, struct scsi_cmd *c)
{
    uint8_t sense[SCSI_SENSE_LEN];
    struct scsi_sense s = {0};
    if (k->attention)
        s = k->attention == ATTENTION_RESET ? SENSE_RESET : SENSE_MEDIUM_CHANGED;
    k->attention = ATTENTION_NONE;
    scsi_sense_fill(sense, s);
    scsi_reply(c, sense, sizeof sense, c->cdb[4]);
}

// --- dispatch ---

// Address and length of the command's blocks, from the forms of 6, 10, 12 and 16 bytes.
static void blocks_of(const uint8_t *cdb, uint64_t *lba, uint64_t *n)
{
    switch (cdb[0] >> 5) {
    case 0:
        *lba = ld_be32(cdb) & 0x1fffff;
        *n = cdb[4] ? cdb[4] : 256;
        break;
    case 4:
        *lba = ld_be64(cdb + 2);
        *n = ld_be32(cdb + 10);
        break;
    case 5:
        *lba = ld_be32(cdb + 2);
        *n = ld_be32(cdb + 6);
        break;
    default:
        *lba = ld_be32(cdb + 2);
        *n = ld_be16(cdb + 7);
    }
}

static void verify(struct scsi_disk *k, struct scsi_cmd *c, uint64_t lba, uint64_t n)
{
    uint64_t end;
    if (c->cdb[1] & 6)
        scsi_check(c, SENSE_INVALID_FIELD); // comparing is not supported
    else if (__builtin_add_overflow(lba, n, &end) || end > scsi_disk_blocks(k))
        scsi_check(c, SENSE_LBA_RANGE);
    else
        scsi_good(c);
}

// Commands that need a medium; false: not one of these.
static bool medium_command(struct scsi_disk *k, struct scsi_cmd *c)
{
    uint64_t lba, n;
    blocks_of(c->cdb, &lba, &n);
    bool fua = c->cdb[0] >> 5 && (c->cdb[1] & 8);
    switch (c->cdb[0]) {
    case 0x00: // TEST UNIT READY
        scsi_good(c);
        return true;
    case 0x25:
        read_capacity_10(k, c);
        return true;
    case 0x9e:
        read_capacity_16(k, c);
        return true;
    case 0x08:
    case 0x28:
    case 0xa8:
    case 0x88:
        scsi_disk_rw(k, c, false, lba, n, false);
        return true;
    case 0x0a:
    case 0x2a:
    case 0xaa:
    case 0x8a:
        scsi_disk_rw(k, c, true, lba, n, fua);
        return true;
    case 0x2f:
    case 0x8f:
        verify(k, c, lba, n);
        return true;
    case 0x35:
    case 0x91: // SYNCHRONIZE CACHE
        scsi_disk_flush(k, c);
        return true;
    default:
        return false;
    }
}

static bool disk_command(struct scsi_disk *k, struct scsi_cmd *c)
{
    uint64_t lba, n;
    blocks_of(c->cdb, &lba, &n);
    switch (c->cdb[0]) {
    case 0x42:
        scsi_disk_unmap(k, c);
        return true;
    case 0x41:
    case 0x93:
        scsi_disk_write_same(k, c, lba, n);
        return true;
    default:
        return false;
    }
}

static bool always_command(struct scsi_disk *k, struct scsi_cmd *c)
{
    switch (c->cdb[0]) {
    case 0x1a:
    case 0x5a:
        scsi_disk_mode_sense(k, c);
        return true;
    case 0x15:
    case 0x55:
        scsi_disk_mode_select(k, c);
        return true;
    case 0x1b:
        start_stop(k, c);
        return true;
    case 0x1e: // PREVENT ALLOW MEDIUM REMOVAL
        k->drive->locked = c->cdb[4] & 1;
        scsi_good(c);
        return true;
    case 0x16: // RESERVE, RELEASE
    case 0x17:
        scsi_good(c);
        return true;
    default:
        return k->is_cd && scsi_disk_mmc(k, c);
    }
}

static bool needs_medium(const struct scsi_disk *k, uint8_t op)
{
    static const uint8_t ops[] = {0x00, 0x25, 0x9e, 0x08, 0x28, 0xa8, 0x88, 0x0a, 0x2a,
                                  0xaa, 0x8a, 0x2f, 0x8f, 0x35, 0x91, 0x41, 0x42, 0x93};
    return memchr(ops, op, sizeof ops) != NULL;
}

static void execute(struct scsi_device *s, struct scsi_cmd *c)
{
    struct scsi_disk *k = scsi_disk_of(s);
    uint8_t op = c->cdb[0];
    if (op == 0x12) {
        scsi_disk_inquiry(k, c);
        return;
    }
    if (op == 0x03) {
        request_sense(k, c);
        return;
    }
    if (k->attention && op != 0x4a) {
        uint8_t what = k->attention;
        k->attention = ATTENTION_NONE;
        scsi_check(c, what == ATTENTION_RESET ? SENSE_RESET : SENSE_MEDIUM_CHANGED);
        return;
    }
    if (needs_medium(k, op) && !scsi_disk_ready(k)) {
        scsi_check(c, SENSE_NO_MEDIUM);
        return;
    }
    if (medium_command(k, c) || (!k->is_cd && disk_command(k, c)) || always_command(k, c))
        return;
    scsi_check(c, SENSE_INVALID_OPCODE);
}

// --- the device ---

static void media_changed(void *dev)
{
    struct scsi_disk *k = dev;
    device_lock(&k->s.dev);
    k->attention = ATTENTION_MEDIUM;
    if (k->s.sbus->changed)
        k->s.sbus->changed(k->s.sbus, &k->s, true, true);
    device_unlock(&k->s.dev);
}

static int check_sizes(struct scsi_disk *k, struct err *e)
{
    uint64_t *lbs = &k->logical_block_size, *pbs = &k->physical_block_size;
    if (!*lbs)
        *lbs = k->is_cd ? 2048 : 512;
    if (!*pbs)
        *pbs = *lbs;
    if (!is_pow2(*lbs) || *lbs < 512 || !is_pow2(*pbs) || *pbs < *lbs)
        return err_set(e,
                       "%s: logical_block_size and physical_block_size must be powers of two "
                       "from 512, the physical one not smaller",
                       k->s.dev.type->name);
    return 0;
}

static int init(struct device *d, struct err *e)
{
    struct scsi_disk *k = of(d);
    k->is_cd = d->type->class_data != NULL;
    if (!k->drive)
        return err_set(e, "device '%s' needs drive=ID", d->type->name);
    if (!k->is_cd && !k->drive->node)
        return err_set(e, "device '%s': drive '%s' has no medium", d->type->name, k->drive->id);
    if (check_sizes(k, e) || drive_take(k->drive, k, media_changed, k->rerror, k->werror, e))
        return -1;
    if (drive_set_loop(k->drive, k->s.sbus->iothread, e)) {
        drive_release(k->drive);
        return -1;
    }
    k->drive->is_cdrom = k->is_cd;
    k->drive->removable = k->is_cd || k->removable;
    k->s.execute = execute;
    if (k->s.sbus->changed)
        k->s.sbus->changed(k->s.sbus, &k->s, true, false);
    return 0;
}

static void reset(struct device *d)
{
    struct scsi_disk *k = of(d);
    k->attention = ATTENTION_RESET;
    k->write_cache = true;
    k->drive->locked = false;
}

// The bus's I/O thread stands still meanwhile.
static void hold(struct scsi_disk *k)
{
    if (k->s.sbus->iothread)
        loop_hold(k->s.sbus->iothread);
}

static void release(struct scsi_disk *k)
{
    if (k->s.sbus->iothread)
        loop_release(k->s.sbus->iothread);
}

static void drain(struct device *d)
{
    struct scsi_disk *k = of(d);
    hold(k);
    if (k->drive)
        drive_drain(k->drive);
    release(k);
}

static void leave(struct device *d)
{
    struct scsi_disk *k = of(d);
    struct err ignored = {0};
    if (k->s.sbus->changed)
        k->s.sbus->changed(k->s.sbus, &k->s, false, false);
    hold(k);
    if (k->s.sbus->iothread && drive_set_loop(k->drive, NULL, &ignored))
        log_debug("%s", ignored.msg); // a job works on it: it stays where it is
    drive_release(k->drive);
    release(k);
}

#define PROP_SIZE(m, ...) FIELD(struct scsi_disk, m, .kind = F_SIZE, .use = FIELD_PROP, __VA_ARGS__)
#define PROP_STR(m)       FIELD(struct scsi_disk, m, .kind = F_STR, .use = FIELD_PROP)
static const struct field common_fields[] = {
    FIELD(struct scsi_disk, drive, .kind = F_BACKEND_BLOCK, .use = FIELD_PROP),
    FIELD(struct scsi_disk, s.channel, .name = "channel", .kind = F_U32, .use = FIELD_PROP),
    FIELD(struct scsi_disk, s.id, .name = "scsi-id", .kind = F_U32, .use = FIELD_PROP,
          .init = UINT32_MAX, .max = 255),
    FIELD(struct scsi_disk, s.lun, .name = "lun", .kind = F_U32, .use = FIELD_PROP,
          .init = UINT32_MAX, .max = SCSI_LUNS - 1),
    FIELD(struct scsi_disk, bootindex, .kind = F_U32, .use = FIELD_PROP, .init = UINT32_MAX),
    FIELD(struct scsi_disk, rerror, .kind = F_ENUM, .use = FIELD_PROP, .names = drive_err_names),
    FIELD(struct scsi_disk, werror, .kind = F_ENUM, .use = FIELD_PROP, .names = drive_err_names),
    FIELD(struct scsi_disk, wwn, .kind = F_U64, .use = FIELD_PROP),
    FIELD(struct scsi_disk, share_rw, .name = "share-rw", .kind = F_BOOL, .use = FIELD_PROP),
    PROP_STR(vendor),
    PROP_STR(product),
    PROP_STR(ver),
    PROP_STR(serial),
    PROP_STR(device_id),
    PROP_SIZE(logical_block_size, .max = 32 * KiB, .help = "A power of two from 512 B"),
    PROP_SIZE(physical_block_size, .max = 2 * MiB, .help = "A power of two from 512 B"),
    PROP_SIZE(min_io_size, .max = 32 * MiB),
    PROP_SIZE(opt_io_size, .max = INT32_MAX),
    PROP_SIZE(max_io_size, .init = INT32_MAX, .max = INT32_MAX),
    FIELD(struct scsi_disk, attention, .kind = F_U8, .use = FIELD_STATE, .max = ATTENTION_RESET),
    FIELD(struct scsi_disk, write_cache, .kind = F_BOOL, .use = FIELD_STATE),
    {0},
};

static const struct device_type disk_base = {
    .name = "scsi-disk",
    .size = sizeof(struct scsi_disk),
    .fields = common_fields,
    .init = init,
    .reset = reset,
    .drain = drain,
    .exit = leave,
};

static const struct field hd_fields[] = {
    FIELD(struct scsi_disk, removable, .kind = F_BOOL, .use = FIELD_PROP),
    FIELD(struct scsi_disk, dpofua, .kind = F_BOOL, .use = FIELD_PROP),
    FIELD(struct scsi_disk, rotation_rate, .kind = F_U16, .use = FIELD_PROP),
    PROP_SIZE(discard_granularity, .init = UINT32_MAX, .max = UINT32_MAX),
    PROP_SIZE(max_unmap_size, .init = GiB, .max = 64 * GiB),
    {0},
};

const struct device_type scsi_hd_type = {
    .name = "scsi-hd",
    .desc = "virtual SCSI disk",
    .bus = "SCSI",
    .category = "Storage",
    .size = sizeof(struct scsi_disk),
    .fields = hd_fields,
    .base = &disk_base,
    .user_creatable = true,
};

const struct device_type scsi_cd_type = {
    .name = "scsi-cd",
    .desc = "virtual SCSI CD-ROM",
    .bus = "SCSI",
    .category = "Storage",
    .size = sizeof(struct scsi_disk),
    .base = &disk_base,
    .user_creatable = true,
    .class_data = "cd",
};
