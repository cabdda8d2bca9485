// Reads, writes, flushes, UNMAP and WRITE SAME (SBC-3): what goes to the block layer. A command
// ends in step() when its last block request is done.
#include "device/scsi/disk.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>

#define PATTERN_BYTES  (128 * KiB)
#define WRITE_SAME_MAX (64 * MiB)
#define UNMAP_MAX      255

static void finish(struct scsi_cmd *c, int result)
{
    bool write = c->req.op != BLOCK_READ;
    free(c->buf);
    c->buf = NULL;
    if (!result)
        scsi_good(c);
    else if (result == -ENOMEDIUM)
        scsi_check(c, SENSE_NO_MEDIUM);
    else if (result == -ENOSPC)
        scsi_check(c, SENSE_NO_SPACE);
    else
        scsi_check(c, write ? SENSE_WRITE_ERROR : SENSE_READ_ERROR);
}

static bool in_range(const struct scsi_disk *k, uint64_t lba, uint64_t n)
{
    uint64_t end;
    return !__builtin_add_overflow(lba, n, &end) && end <= scsi_disk_blocks(k);
}

static void submit(struct scsi_disk *k, struct scsi_cmd *c, void (*done)(struct block_req *, int))
{
    c->req.done = done;
    c->req.opaque = k;
    drive_submit(k->drive, &c->req);
}

// --- reads and writes ---

static void rw_done(struct block_req *req, int result)
{
    struct scsi_cmd *c = container_of(req, struct scsi_cmd, req);
    struct scsi_device *d = c->d;
    dma_unpin(c->spans, c->n_pins, c->to_memory && !result);
    c->moved = req->bytes;
    device_lock(&d->dev);
    finish(c, result);
    device_unlock(&d->dev);
}

void scsi_disk_rw(struct scsi_disk *k, struct scsi_cmd *c, bool write, uint64_t lba, uint64_t n,
                  bool fua)
{
    uint64_t bytes;
    if (write && scsi_disk_readonly(k)) {
        scsi_check(c, SENSE_WRITE_PROTECTED);
        return;
    }
    if (!in_range(k, lba, n) || __builtin_mul_overflow(n, k->logical_block_size, &bytes)) {
        scsi_check(c, SENSE_LBA_RANGE);
        return;
    }
    if (!n) {
        scsi_good(c);
        return;
    }
    if (bytes > (write ? c->out_len : c->in_len) || c->data->pin(c, !write, bytes)) {
        scsi_check(c, SENSE_INVALID_FIELD);
        return;
    }
    c->to_memory = !write;
    c->req = (struct block_req){
        .op = write ? BLOCK_WRITE : BLOCK_READ,
        .flags = write && (fua || !k->write_cache) ? BLOCK_FUA : 0,
        .offset = lba * k->logical_block_size,
        .bytes = bytes,
        .iov = c->iov,
        .n_iov = c->n_pins,
    };
    submit(k, c, rw_done);
}

// --- without data of the initiator ---

static void plain_done(struct block_req *req, int result)
{
    struct scsi_cmd *c = container_of(req, struct scsi_cmd, req);
    struct scsi_device *d = c->d;
    device_lock(&d->dev);
    finish(c, result);
    device_unlock(&d->dev);
}

void scsi_disk_flush(struct scsi_disk *k, struct scsi_cmd *c)
{
    c->req = (struct block_req){.op = BLOCK_FLUSH};
    submit(k, c, plain_done);
}

// UNMAP: c->buf holds the descriptors; `at` is the next, `left` how many.
static void unmap_next(struct scsi_disk *k, struct scsi_cmd *c);

static void unmap_done(struct block_req *req, int result)
{
    struct scsi_cmd *c = container_of(req, struct scsi_cmd, req);
    struct scsi_device *d = c->d;
    device_lock(&d->dev);
    if (result && result != -ENOTSUP)
        finish(c, result);
    else
        unmap_next(req->opaque, c);
    device_unlock(&d->dev);
}

static void unmap_next(struct scsi_disk *k, struct scsi_cmd *c)
{
    while (c->left && !ld_be32(c->buf + c->at + 8)) { // of no blocks
        c->at += 16;
        c->left--;
    }
    if (!c->left || !k->drive->node) {
        finish(c, k->drive->node ? 0 : -ENOMEDIUM);
        return;
    }
    const uint8_t *p = c->buf + c->at;
    c->at += 16;
    c->left--;
    c->req = (struct block_req){
        .op = BLOCK_DISCARD,
        .offset = ld_be64(p) * k->logical_block_size,
        .bytes = ld_be32(p + 8) * k->logical_block_size,
    };
    submit(k, c, unmap_done);
}

void scsi_disk_unmap(struct scsi_disk *k, struct scsi_cmd *c)
{
    size_t len = ld_be16(c->cdb + 7);
    uint8_t head[8];
    if (scsi_disk_readonly(k)) {
        scsi_check(c, SENSE_WRITE_PROTECTED);
        return;
    }
    if (len < 8) {
        if (len)
            scsi_check(c, SENSE_PARAM_LENGTH);
        else
            scsi_good(c);
        return;
    }
    if (c->data->read(c, 0, head, 8) != 8) {
        scsi_check(c, SENSE_PARAM_LENGTH);
        return;
    }
    size_t bytes = ld_be16(head + 2);
    if (bytes + 8 > len || bytes % 16 || bytes / 16 > UNMAP_MAX) {
        scsi_check(c, bytes % 16 ? SENSE_PARAM_LENGTH : SENSE_INVALID_PARAM);
        return;
    }
    uint8_t *list = xalloc(bytes + 1);
    bool good = c->data->read(c, 8, list, bytes) == (int64_t)bytes;
    bool fits = true;
    for (size_t i = 0; good && i < bytes; i += 16)
        fits &= in_range(k, ld_be64(list + i), ld_be32(list + i + 8));
    if (!good || !fits) {
        free(list);
        scsi_check(c, good ? SENSE_LBA_RANGE : SENSE_PARAM_LENGTH);
        return;
    }
    c->buf = list;
    c->at = 0;
    c->left = bytes / 16;
    c->moved = len;
    unmap_next(k, c);
}

// WRITE SAME with a block that is not zero: `buf` is filled with it and written again and again.
static void pattern_next(struct scsi_disk *k, struct scsi_cmd *c);

static void pattern_done(struct block_req *req, int result)
{
    struct scsi_cmd *c = container_of(req, struct scsi_cmd, req);
    struct scsi_device *d = c->d;
    device_lock(&d->dev);
    if (result)
        finish(c, result);
    else
        pattern_next(req->opaque, c);
    device_unlock(&d->dev);
}

static void pattern_next(struct scsi_disk *k, struct scsi_cmd *c)
{
    if (!c->left || !k->drive->node) {
        finish(c, k->drive->node ? 0 : -ENOMEDIUM);
        return;
    }
    uint64_t n = MIN(c->left, (uint64_t)c->buf_len);
    c->buf_iov = (struct iovec){c->buf, n};
    c->req = (struct block_req){
        .op = BLOCK_WRITE, .offset = c->at, .bytes = n, .iov = &c->buf_iov, .n_iov = 1};
    c->at += n;
    c->left -= n;
    submit(k, c, pattern_done);
}

void scsi_disk_write_same(struct scsi_disk *k, struct scsi_cmd *c, uint64_t lba, uint64_t n)
{
    bool no_data = c->cdb[0] == 0x93 && (c->cdb[1] & 1), unmap = c->cdb[1] & 8;
    size_t bs = k->logical_block_size;
    if (scsi_disk_readonly(k)) {
        scsi_check(c, SENSE_WRITE_PROTECTED);
        return;
    }
    if (!in_range(k, lba, n)) {
        scsi_check(c, SENSE_LBA_RANGE);
        return;
    }
    if (!n || n > WRITE_SAME_MAX / bs || bs > PATTERN_BYTES || (c->cdb[1] & 6)) {
        scsi_check(c, SENSE_INVALID_FIELD);
        return;
    }
    uint8_t *block = xalloc(PATTERN_BYTES);
    if (!no_data && c->data->read(c, 0, block, bs) != (int64_t)bs) {
        free(block);
        scsi_check(c, SENSE_INVALID_FIELD);
        return;
    }
    bool zero = !block[0] && !memcmp(block, block + 1, bs - 1);
    c->moved = no_data ? 0 : bs;
    if (zero) {
        free(block);
        c->req = (struct block_req){.op = BLOCK_WRITE_ZEROES,
                                    .flags = unmap ? BLOCK_MAY_UNMAP : 0,
                                    .offset = lba * bs,
                                    .bytes = n * bs};
        submit(k, c, plain_done);
        return;
    }
    c->buf = block;
    c->buf_len = align_down(PATTERN_BYTES, bs);
    for (size_t i = bs; i < c->buf_len; i += bs)
        memcpy(block + i, block, bs);
    c->at = lba * bs;
    c->left = n * bs;
    pattern_next(k, c);
}
