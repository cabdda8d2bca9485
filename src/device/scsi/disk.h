// Inside this folder: a disk or CD-ROM and the families of its commands.
#pragma once

#include "device/scsi/scsi.h"

struct scsi_disk {
    struct scsi_device s;
    struct drive *drive;
    char *vendor, *product, *ver, *serial, *device_id;
    uint64_t logical_block_size, physical_block_size, min_io_size, opt_io_size;
    uint64_t discard_granularity, max_io_size, max_unmap_size, wwn;
    uint32_t bootindex, rerror, werror;
    uint16_t rotation_rate;
    bool removable, dpofua, share_rw, write_cache;
    bool is_cd;
    uint8_t attention; // enum: what the next command is told first
};
enum { ATTENTION_NONE, ATTENTION_MEDIUM, ATTENTION_RESET };

static inline struct scsi_disk *scsi_disk_of(struct scsi_device *s)
{
    return container_of(s, struct scsi_disk, s);
}
bool scsi_disk_ready(const struct scsi_disk *k); // a medium is in and the tray is closed
bool scsi_disk_readonly(const struct scsi_disk *k);
uint64_t scsi_disk_blocks(const struct scsi_disk *k);    // of logical_block_size
const char *scsi_disk_serial(const struct scsi_disk *k); // of the unit, "" when it has none

// Each family carries out the command and completes it, with sense data where it fails.
void scsi_disk_inquiry(struct scsi_disk *k, struct scsi_cmd *c);
void scsi_disk_mode_sense(struct scsi_disk *k, struct scsi_cmd *c);
void scsi_disk_mode_select(struct scsi_disk *k, struct scsi_cmd *c);
bool scsi_disk_mmc(struct scsi_disk *k, struct scsi_cmd *c); // false: not one of these
// Data: reads and writes, verify, flush, unmap, write same.
void scsi_disk_rw(struct scsi_disk *k, struct scsi_cmd *c, bool write, uint64_t lba, uint64_t n,
                  bool fua);
void scsi_disk_flush(struct scsi_disk *k, struct scsi_cmd *c);
void scsi_disk_unmap(struct scsi_disk *k, struct scsi_cmd *c);
void scsi_disk_write_same(struct scsi_disk *k, struct scsi_cmd *c, uint64_t lba, uint64_t n);
