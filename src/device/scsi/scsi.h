// SCSI devices and the bus between them and a host adapter (SAM-5): an adapter makes a command with
// its CDB and a way to the initiator's data, the device executes it and completes it, at once or
// when the block layer is done. Everything runs with the adapter locked, on the main loop.
#pragma once

#include "block/block.h"
#include "device/device.h"

#define SCSI_CDB_MAX   32
#define SCSI_SENSE_LEN 18
#define SCSI_LUNS      16384

enum { SCSI_GOOD = 0x00, SCSI_CHECK_CONDITION = 0x02, SCSI_BUSY = 0x08 };

// Sense key, additional code and qualifier.
struct scsi_sense {
    uint8_t key, asc, ascq;
};
#define SENSE_NO_MEDIUM       ((struct scsi_sense){0x02, 0x3a, 0x00})
#define SENSE_READ_ERROR      ((struct scsi_sense){0x03, 0x11, 0x00})
#define SENSE_WRITE_ERROR     ((struct scsi_sense){0x03, 0x0c, 0x00})
#define SENSE_TARGET_FAILURE  ((struct scsi_sense){0x04, 0x44, 0x00})
#define SENSE_INVALID_OPCODE  ((struct scsi_sense){0x05, 0x20, 0x00})
#define SENSE_LBA_RANGE       ((struct scsi_sense){0x05, 0x21, 0x00})
#define SENSE_INVALID_FIELD   ((struct scsi_sense){0x05, 0x24, 0x00})
#define SENSE_NO_LUN          ((struct scsi_sense){0x05, 0x25, 0x00})
#define SENSE_INVALID_PARAM   ((struct scsi_sense){0x05, 0x26, 0x00})
#define SENSE_PARAM_LENGTH    ((struct scsi_sense){0x05, 0x1a, 0x00})
#define SENSE_REMOVAL_BARRED  ((struct scsi_sense){0x05, 0x53, 0x02})
#define SENSE_MEDIUM_CHANGED  ((struct scsi_sense){0x06, 0x28, 0x00})
#define SENSE_RESET           ((struct scsi_sense){0x06, 0x29, 0x00})
#define SENSE_WRITE_PROTECTED ((struct scsi_sense){0x07, 0x27, 0x00})
#define SENSE_NO_SPACE        ((struct scsi_sense){0x07, 0x27, 0x07})

struct scsi_cmd;
struct scsi_device;

// The initiator's buffers, for the time of scsi_execute only. Offsets are in its data-out (read,
// pin for a write) or data-in part. Results as vq_read and vq_pin.
struct scsi_data_ops {
    int64_t (*read)(struct scsi_cmd *c, uint64_t off, void *dst, size_t n);
    int64_t (*write)(struct scsi_cmd *c, uint64_t off, const void *src, size_t n);
    int (*pin)(struct scsi_cmd *c, bool in, uint64_t n); // fills iov, spans and n_pins
};

struct scsi_cmd {
    // The adapter's.
    const struct scsi_data_ops *data;
    uint8_t cdb[SCSI_CDB_MAX];
    uint64_t out_len, in_len; // room in the initiator's buffers
    void (*done)(struct scsi_cmd *c);
    struct iovec *iov;
    struct dma_span *spans;
    unsigned max_pins, n_pins;
    // The result.
    uint8_t status, sense_len, sense[SCSI_SENSE_LEN];
    uint64_t moved; // bytes of data
    // The device's.
    struct scsi_device *d;
    struct block_req req;
    bool to_memory;
    uint8_t *buf; // parameters or a pattern, while block requests run; owned
    size_t buf_len;
    struct iovec buf_iov;
    uint64_t at, left; // what of a range operation is still to do, in bytes
};

struct scsi_bus {
    struct bus bus;
    struct loop *iothread; // serves the bus's commands, its drives with it; NULL: the main loop
    unsigned max_id, max_lun;
    // A device came or went, or its medium changed; may be NULL.
    void (*changed)(struct scsi_bus *b, struct scsi_device *d, bool there, bool medium);
};
extern const struct bus_type scsi_bus_type;
// "<owner's id>.0", or "scsi.N".
struct scsi_bus *scsi_bus_new(struct device *owner, unsigned max_id, unsigned max_lun);
struct scsi_device *scsi_find(struct scsi_bus *b, unsigned id, unsigned lun); // NULL: none
struct scsi_device *scsi_find_target(struct scsi_bus *b, unsigned id);        // any LUN of it
void scsi_bus_drain(struct scsi_bus *b);

struct scsi_device {
    struct device dev;
    struct scsi_bus *sbus;
    uint32_t channel, id, lun; // UINT32_MAX: to be chosen
    void (*execute)(struct scsi_device *d, struct scsi_cmd *c);
};
// Runs the command; c->done is called in any case. `addressed` is false when the target has no such
// LUN and `d` is another one of it, which then answers only INQUIRY, REQUEST SENSE and REPORT LUNS.
void scsi_execute(struct scsi_device *d, struct scsi_cmd *c, bool addressed);

// For devices: ends.
void scsi_good(struct scsi_cmd *c);
void scsi_check(struct scsi_cmd *c, struct scsi_sense s);
// Data to the initiator: min(len, alloc, its room) bytes.
void scsi_reply(struct scsi_cmd *c, const void *data, size_t len, uint64_t alloc);
void scsi_sense_fill(uint8_t *sense, struct scsi_sense s);
