// Virtio block device (virtio 1.2, section 5.2): several queues, flush, discard, write-zeroes and
// the identity string. Reads and writes go from pinned guest memory straight to the block layer.
// Not modelled: geometry, lifetime and zoned features, secure erase, and the legacy SCSI commands.
#include "base/bits.h"
#include "block/block.h"
#include "device/virtio/virtio.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

enum {
    BLK_F_SEG_MAX = 2,
    BLK_F_RO = 5,
    BLK_F_BLK_SIZE = 6,
    BLK_F_FLUSH = 9,
    BLK_F_TOPOLOGY = 10,
    BLK_F_CONFIG_WCE = 11,
    BLK_F_MQ = 12,
    BLK_F_DISCARD = 13,
    BLK_F_WRITE_ZEROES = 14,
};
enum {
    T_IN = 0,
    T_OUT = 1,
    T_FLUSH = 4,
    T_GET_ID = 8,
    T_DISCARD = 11,
    T_WRITE_ZEROES = 13,
};
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
enum {
    CFG_CAPACITY = 0,
    CFG_SEG_MAX = 12,
    CFG_BLK_SIZE = 20,
    CFG_TOPOLOGY = 24,
    CFG_WCE = 32,
    CFG_NUM_QUEUES = 34,
    CFG_MAX_DISCARD = 36,
    CFG_SIZE = 60,
};

#define SECTOR        512
#define HEADER        16
#define ID_BYTES      20
#define MAX_SECTORS   4194303 // of one discard or write-zeroes segment
#define MAX_IN_FLIGHT 1024    // requests the back end may hold for one device
#define QUEUES_MAX    32

struct virtio_blk {
    struct virtio_device v;
    struct drive *drive;
    uint64_t logical_block_size, physical_block_size, min_io_size, opt_io_size;
    uint64_t discard_granularity;
    uint16_t num_queues, queue_size;
    uint32_t bootindex, rerror, werror;
    char *serial;
    bool config_wce, discard, write_zeroes, share_rw, scsi;
    bool write_cache; // present setting: writeback
    uint32_t waiting; // queues that found too many requests in flight, one bit each
    struct vq_chain chain;
};

struct request {
    struct block_req req;
    struct virtio_blk *b;
    struct virtqueue *q;
    struct vq_token token;
    struct vq_seg status; // the last byte of the in part
    uint32_t generation, in_len;
    bool to_memory, flush_after;
    unsigned n_pins;
    struct dma_span *spans; // behind iov[]
    struct iovec iov[];
};

static struct virtio_blk *of(struct virtio_device *v)
{
    return container_of(v, struct virtio_blk, v);
}

static uint64_t capacity(struct virtio_blk *b)
{
    return b->drive->node ? block_size(b->drive->node) / SECTOR : 0;
}

static bool readonly(struct virtio_blk *b)
{
    return b->drive->node && block_readonly(b->drive->node);
}

// --- completion ---

static void finish(struct virtio_blk *b, struct virtqueue *q, struct vq_token t,
                   struct vq_seg status, uint8_t code, uint32_t written)
{
    if (dma_write(b->v.dma, status.addr, &code, 1))
        virtio_error(&b->v, "the status byte is not in writable RAM");
    vq_push(q, t, written + 1);
}

static void finish_now(struct virtio_blk *b, struct virtqueue *q, uint8_t code)
{
    const struct vq_chain *c = &b->chain;
    struct vq_seg last = c->segs[c->n_out + c->n_in - 1];
    last.addr += last.len - 1;
    finish(b, q, vq_token(c), last, code, 0);
}

static bool full(const struct virtio_blk *b)
{
    return b->v.in_flight >= MAX_IN_FLIGHT;
}

static void request_done(struct block_req *req, int result)
{
    struct request *r = container_of(req, struct request, req);
    struct virtio_blk *b = r->b;
    if (!result && r->flush_after) {
        r->flush_after = false;
        req->op = BLOCK_FLUSH;
        req->offset = req->bytes = 0;
        req->n_iov = 0;
        drive_submit(b->drive, req);
        return;
    }
    dma_unpin(r->spans, r->n_pins, r->to_memory && !result);
    device_lock(&b->v.dev);
    if (r->generation == b->v.dev.generation) {
        uint8_t code = !result ? S_OK : result == -ENOTSUP ? S_UNSUPP : S_IOERR;
        finish(b, r->q, r->token, r->status, code, r->to_memory && !result ? r->in_len : 0);
        vq_notify(r->q);
    }
    uint32_t again = full(b) ? b->waiting : 0;
    virtio_put(&b->v);
    if (again && !full(b)) {
        b->waiting = 0;
        for (unsigned i = 0; i < b->v.n_queues; i++)
            if (again >> i & 1)
                virtio_kick(&b->v, i);
    }
    device_unlock(&b->v.dev);
    free(r);
}

// --- requests ---

static struct request *request_new(struct virtio_blk *b, struct virtqueue *q, unsigned max_pins)
{
    const struct vq_chain *c = &b->chain;
    struct request *r =
        xalloc(sizeof *r + max_pins * (sizeof(struct iovec) + sizeof(struct dma_span)));
    r->b = b;
    r->q = q;
    r->token = vq_token(c);
    r->status = c->segs[c->n_out + c->n_in - 1];
    r->status.addr += r->status.len - 1;
    r->generation = b->v.dev.generation;
    r->spans = (struct dma_span *)&r->iov[max_pins];
    r->req.done = request_done;
    r->req.iov = r->iov;
    return r;
}

static void submit(struct request *r)
{
    virtio_get(&r->b->v);
    drive_submit(r->b->drive, &r->req);
}

// A read or a write. A buffer may be split in two where RAM blocks meet, hence twice the pieces.
static void start_rw(struct virtio_blk *b, struct virtqueue *q, bool in, uint64_t sector)
{
    const struct vq_chain *c = &b->chain;
    uint64_t bytes = in ? c->in_len - 1 : c->out_len - HEADER, off, end;
    if (__builtin_mul_overflow(sector, SECTOR, &off) || __builtin_add_overflow(off, bytes, &end) ||
        end > capacity(b) * SECTOR || off % b->logical_block_size ||
        bytes % b->logical_block_size || (!in && readonly(b))) {
        finish_now(b, q, S_IOERR);
        return;
    }
    unsigned max = 2 * (c->n_in + c->n_out);
    struct request *r = request_new(b, q, max);
    if (vq_pin(q, c, in, in ? 0 : HEADER, bytes, r->iov, r->spans, &r->n_pins, max)) {
        free(r);
        return;
    }
    r->to_memory = in;
    r->in_len = in ? bytes : 0;
    r->req.op = in ? BLOCK_READ : BLOCK_WRITE;
    r->req.offset = off;
    r->req.bytes = bytes;
    r->req.n_iov = r->n_pins;
    r->flush_after = !in && !b->write_cache;
    submit(r);
}

static void start_flush(struct virtio_blk *b, struct virtqueue *q)
{
    struct request *r = request_new(b, q, 0);
    r->req.op = BLOCK_FLUSH;
    submit(r);
}

// Discard and write-zeroes: one segment, as max_discard_seg says.
static void start_range(struct virtio_blk *b, struct virtqueue *q, bool zeroes)
{
    uint8_t seg[16];
    if (b->chain.out_len != HEADER + sizeof seg || readonly(b) ||
        vq_read(q, &b->chain, HEADER, seg, sizeof seg) != sizeof seg) {
        finish_now(b, q, S_IOERR);
        return;
    }
    uint64_t sector = ld_le64(seg), end;
    uint32_t n = ld_le32(seg + 8), flags = ld_le32(seg + 12);
    if (flags & ~(zeroes ? 1u : 0u)) {
        finish_now(b, q, S_UNSUPP);
        return;
    }
    if (n > MAX_SECTORS || __builtin_add_overflow(sector, n, &end) || end > capacity(b) ||
        (uint64_t)n * SECTOR % b->logical_block_size || sector % (b->logical_block_size / SECTOR)) {
        finish_now(b, q, S_IOERR);
        return;
    }
    struct request *r = request_new(b, q, 0);
    r->req.op = zeroes ? BLOCK_WRITE_ZEROES : BLOCK_DISCARD;
    r->req.flags = zeroes && (flags & 1) ? BLOCK_MAY_UNMAP : 0;
    r->req.offset = sector * SECTOR;
    r->req.bytes = (uint64_t)n * SECTOR;
    r->flush_after = !b->write_cache;
    submit(r);
}

static void get_id(struct virtio_blk *b, struct virtqueue *q)
{
    char id[ID_BYTES] = {0};
    const char *serial = b->serial ? b->serial : b->drive->serial;
    if (serial)
        memcpy(id, serial, strnlen(serial, sizeof id));
    uint64_t n = MIN(b->chain.in_len - 1, sizeof id);
    if (vq_write(q, &b->chain, 0, id, n) < 0)
        return;
    struct vq_seg last = b->chain.segs[b->chain.n_out + b->chain.n_in - 1];
    last.addr += last.len - 1;
    finish(b, q, vq_token(&b->chain), last, S_OK, n);
}

static void handle(struct virtio_blk *b, struct virtqueue *q)
{
    uint8_t header[HEADER];
    if (b->chain.out_len < HEADER || !b->chain.in_len) {
        virtio_error(&b->v, "a request has no header or no status byte");
        return;
    }
    if (vq_read(q, &b->chain, 0, header, sizeof header) < 0)
        return;
    uint32_t type = ld_le32(header);
    if (!b->drive->node && type != T_GET_ID) {
        finish_now(b, q, S_IOERR);
        return;
    }
    switch (type) {
    case T_IN:
    case T_OUT:
        start_rw(b, q, type == T_IN, ld_le64(header + 8));
        break;
    case T_FLUSH:
        start_flush(b, q);
        break;
    case T_GET_ID:
        get_id(b, q);
        break;
    case T_DISCARD:
    case T_WRITE_ZEROES:
        if (virtio_has(&b->v, type == T_DISCARD ? BLK_F_DISCARD : BLK_F_WRITE_ZEROES)) {
            start_range(b, q, type == T_WRITE_ZEROES);
            break;
        }
        // fall through
    default:
        finish_now(b, q, S_UNSUPP);
        break;
    }
}

static bool run(struct virtio_device *v, unsigned queue)
{
    struct virtio_blk *b = of(v);
    struct virtqueue *q = &v->queues[queue];
    for (unsigned i = 0; i < VIRTIO_RUN_BUDGET; i++) {
        if (full(b)) {
            b->waiting |= 1u << queue;
            vq_notify(q);
            return false;
        }
        if (vq_pop(q, &b->chain) <= 0) {
            vq_notify(q);
            return false;
        }
        handle(b, q);
    }
    vq_notify(q);
    return true;
}

// --- configuration ---

static uint64_t features(struct virtio_device *v)
{
    struct virtio_blk *b = of(v);
    uint64_t f = VIRTIO_BIT(BLK_F_SEG_MAX) | VIRTIO_BIT(BLK_F_BLK_SIZE) | VIRTIO_BIT(BLK_F_FLUSH) |
                 VIRTIO_BIT(BLK_F_TOPOLOGY);
    if (b->config_wce)
        f |= VIRTIO_BIT(BLK_F_CONFIG_WCE);
    if (v->n_queues > 1)
        f |= VIRTIO_BIT(BLK_F_MQ);
    if (readonly(b))
        return f | VIRTIO_BIT(BLK_F_RO);
    if (b->discard)
        f |= VIRTIO_BIT(BLK_F_DISCARD);
    if (b->write_zeroes)
        f |= VIRTIO_BIT(BLK_F_WRITE_ZEROES);
    return f;
}

static void read_config(struct virtio_device *v, uint8_t *cfg)
{
    struct virtio_blk *b = of(v);
    uint32_t bs = b->logical_block_size;
    st_le64(cfg + CFG_CAPACITY, capacity(b));
    st_le32(cfg + CFG_SEG_MAX, MIN(b->queue_size, 256u) - 2);
    st_le32(cfg + CFG_BLK_SIZE, bs);
    cfg[CFG_TOPOLOGY] = log2_floor(MAX(b->physical_block_size, bs) / bs);
    st_le16(cfg + CFG_TOPOLOGY + 2, b->min_io_size / bs);
    st_le32(cfg + CFG_TOPOLOGY + 4, b->opt_io_size / bs);
    cfg[CFG_WCE] = b->write_cache;
    st_le16(cfg + CFG_NUM_QUEUES, v->n_queues);
    uint64_t gran = b->discard_granularity;
    if (gran == UINT32_MAX || gran < bs)
        gran = bs;
    st_le32(cfg + CFG_MAX_DISCARD, MAX_SECTORS);
    st_le32(cfg + CFG_MAX_DISCARD + 4, 1);
    st_le32(cfg + CFG_MAX_DISCARD + 8, gran / SECTOR);
    st_le32(cfg + CFG_MAX_DISCARD + 12, MAX_SECTORS);
    st_le32(cfg + CFG_MAX_DISCARD + 16, 1);
    cfg[CFG_MAX_DISCARD + 20] = 1; // write-zeroes may unmap
}

static void write_config(struct virtio_device *v, const uint8_t *cfg, unsigned off, unsigned len)
{
    if (virtio_has(v, BLK_F_CONFIG_WCE))
        of(v)->write_cache = cfg[CFG_WCE] & 1;
}

// The driver that knows neither flush nor the cache setting gets writes that are on stable storage.
static void ready(struct virtio_device *v)
{
    if (!virtio_has(v, BLK_F_FLUSH) && !virtio_has(v, BLK_F_CONFIG_WCE))
        of(v)->write_cache = false;
}

static void media_changed(void *dev)
{
    struct virtio_blk *b = dev;
    device_lock(&b->v.dev);
    virtio_config_changed(&b->v);
    device_unlock(&b->v.dev);
}

static int check_geometry(struct virtio_blk *b, struct err *e)
{
    uint64_t *lbs = &b->logical_block_size, *pbs = &b->physical_block_size;
    if (!*lbs)
        *lbs = SECTOR;
    if (!*pbs)
        *pbs = *lbs;
    if (!is_pow2(*lbs) || *lbs < SECTOR || !is_pow2(*pbs) || *pbs < *lbs)
        return err_set(e, "virtio-blk: logical_block_size and physical_block_size must be powers "
                          "of two from 512, the physical one not smaller");
    if (!is_pow2(b->queue_size) || b->queue_size < 4)
        return err_set(e, "virtio-blk: queue-size must be a power of two from 4 to %u",
                       VQ_SIZE_MAX);
    return 0;
}

static int init(struct device *d, struct err *e)
{
    struct virtio_blk *b = container_of(d, struct virtio_blk, v.dev);
    if (!b->drive)
        return err_set(e, "device '%s' needs drive=ID", d->name);
    if (b->scsi)
        return err_set(e, "virtio-blk: scsi=on is not supported; use virtio-scsi-pci and scsi-hd");
    if (check_geometry(b, e))
        return -1;
    if (b->num_queues == UINT16_MAX)
        b->num_queues = 1;
    if (drive_take(b->drive, b, media_changed, b->rerror, b->werror, e))
        return -1;
    if (drive_set_loop(b->drive, b->v.iothread, e)) {
        drive_release(b->drive);
        return -1;
    }
    for (unsigned i = 0; i < b->num_queues; i++)
        virtio_add_queue(&b->v, b->queue_size);
    return 0;
}

static void reset(struct virtio_device *v)
{
    of(v)->waiting = 0;
    of(v)->write_cache = true;
}

static void drain(struct device *d)
{
    struct virtio_blk *b = container_of(d, struct virtio_blk, v.dev);
    loop_hold(virtio_loop(&b->v));
    if (b->drive)
        drive_drain(b->drive);
    loop_release(virtio_loop(&b->v));
}

static void leave(struct device *d)
{
    struct virtio_blk *b = container_of(d, struct virtio_blk, v.dev);
    struct err ignored = {0};
    loop_hold(virtio_loop(&b->v));
    if (b->v.iothread && drive_set_loop(b->drive, NULL, &ignored))
        log_debug("%s", ignored.msg); // a job works on it: it stays where it is
    drive_release(b->drive);
    loop_release(virtio_loop(&b->v));
}

static const struct field fields[] = {
    FIELD(struct virtio_blk, drive, .kind = F_BACKEND_BLOCK, .use = FIELD_PROP),
    FIELD(struct virtio_blk, v.iothread, .name = "iothread", .kind = F_BACKEND_LOOP,
          .use = FIELD_PROP),
    FIELD(struct virtio_blk, serial, .kind = F_STR, .use = FIELD_PROP),
    FIELD(struct virtio_blk, bootindex, .kind = F_U32, .use = FIELD_PROP, .init = UINT32_MAX),
    FIELD(struct virtio_blk, num_queues, .name = "num-queues", .kind = F_U16, .use = FIELD_PROP,
          .init = UINT16_MAX, .min = 1, .max = QUEUES_MAX),
    FIELD(struct virtio_blk, queue_size, .name = "queue-size", .kind = F_U16, .use = FIELD_PROP,
          .init = 256, .min = 4, .max = VQ_SIZE_MAX),
    FIELD(struct virtio_blk, logical_block_size, .kind = F_SIZE, .use = FIELD_PROP, .max = 2 * MiB,
          .help = "A power of two between 512 B and 2 MiB"),
    FIELD(struct virtio_blk, physical_block_size, .kind = F_SIZE, .use = FIELD_PROP, .max = 2 * MiB,
          .help = "A power of two between 512 B and 2 MiB"),
    FIELD(struct virtio_blk, min_io_size, .kind = F_SIZE, .use = FIELD_PROP, .max = 32 * MiB),
    FIELD(struct virtio_blk, opt_io_size, .kind = F_SIZE, .use = FIELD_PROP, .max = UINT32_MAX),
    FIELD(struct virtio_blk, discard_granularity, .kind = F_SIZE, .use = FIELD_PROP,
          .init = UINT32_MAX, .max = UINT32_MAX),
    FIELD(struct virtio_blk, config_wce, .name = "config-wce", .kind = F_BOOL, .use = FIELD_PROP,
          .init = true),
    FIELD(struct virtio_blk, discard, .kind = F_BOOL, .use = FIELD_PROP, .init = true),
    FIELD(struct virtio_blk, write_zeroes, .name = "write-zeroes", .kind = F_BOOL,
          .use = FIELD_PROP, .init = true),
    FIELD(struct virtio_blk, share_rw, .name = "share-rw", .kind = F_BOOL, .use = FIELD_PROP),
    FIELD(struct virtio_blk, rerror, .kind = F_ENUM, .use = FIELD_PROP, .names = drive_err_names),
    FIELD(struct virtio_blk, werror, .kind = F_ENUM, .use = FIELD_PROP, .names = drive_err_names),
    FIELD(struct virtio_blk, scsi, .kind = F_BOOL, .use = FIELD_PROP),
    FIELD(struct virtio_blk, write_cache, .kind = F_BOOL, .use = FIELD_STATE),
    {0},
};

static const struct virtio_type blk = {
    .id = VIRTIO_ID_BLOCK,
    .config_size = CFG_SIZE,
    .pci_class = 0x0100,
    .features = features,
    .read_config = read_config,
    .write_config = write_config,
    .run = run,
    .ready = ready,
    .reset = reset,
};

const struct device_type virtio_blk_device_type = {
    .name = "virtio-blk-device",
    .bus = "virtio-bus",
    .category = "Storage",
    .size = sizeof(struct virtio_blk),
    .fields = fields,
    .base = &virtio_device_base,
    .user_creatable = true,
    .init = init,
    .drain = drain,
    .exit = leave,
    .class_data = &blk,
};
