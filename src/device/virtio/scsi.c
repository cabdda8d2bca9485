// Virtio SCSI host adapter (virtio 1.2, section 5.6): control, event and request queues in front of
// a SCSI bus. Not modelled: asynchronous notifications, protection information. Task management
// cannot stop a command that the block layer has; it is answered when nothing is in flight, else
// rejected.
#include "device/scsi/scsi.h"

#include "base/bits.h"
#include "device/virtio/virtio.h"

#include <stdlib.h>

enum { SCSI_F_HOTPLUG = 1, SCSI_F_CHANGE = 2 };
enum { Q_CONTROL, Q_EVENT, Q_REQUEST };
enum {
    CFG_NUM_QUEUES = 0,
    CFG_SEG_MAX = 4,
    CFG_MAX_SECTORS = 8,
    CFG_CMD_PER_LUN = 12,
    CFG_EVENT_SIZE = 16,
    CFG_SENSE_SIZE = 20,
    CFG_CDB_SIZE = 24,
    CFG_MAX_TARGET = 30,
    CFG_MAX_LUN = 32,
    CFG_SIZE = 36,
};
enum { S_OK = 0, S_BAD_TARGET = 3, S_FUNCTION_REJECTED = 11, S_INCORRECT_LUN = 12 };
enum { T_TMF = 0, T_AN_QUERY = 1, T_AN_SUBSCRIBE = 2 };
enum { EVENT_TRANSPORT_RESET = 1, EVENT_PARAM_CHANGE = 3, EVENT_MISSED = 1u << 31 };
enum { REASON_RESCAN = 1, REASON_REMOVED = 2 };

#define REQ_HEAD      19 // before the CDB
#define RESP_HEAD     12 // before the sense data
#define SENSE_SIZE    96
#define CDB_SIZE      32
#define EVENT_SIZE    16
#define MAX_TARGET    255
#define RESP_SEGS     8
#define MAX_IN_FLIGHT 1024
#define QUEUES_MAX    32

struct virtio_scsi {
    struct virtio_device v;
    struct scsi_bus *bus;
    uint32_t num_queues, virtqueue_size, max_sectors, cmd_per_lun;
    bool hotplug, param_change;
    uint32_t cdb_size, sense_size;
    bool events_missed;
    uint64_t waiting; // queues that found too many requests in flight, one bit each
    struct vq_chain chain, event;
};

struct request {
    struct scsi_cmd cmd;
    struct virtio_scsi *s;
    struct virtqueue *q;
    struct vq_token token;
    uint32_t generation;
    unsigned n_resp; // where the response goes
    struct vq_seg resp[RESP_SEGS];
};

static struct virtio_scsi *of(struct virtio_device *v)
{
    return container_of(v, struct virtio_scsi, v);
}

static bool full(const struct virtio_scsi *s)
{
    return s->v.in_flight >= MAX_IN_FLIGHT;
}

// --- requests ---

static unsigned resp_len(const struct virtio_scsi *s)
{
    return RESP_HEAD + s->sense_size;
}

static void write_response(struct request *r, const uint8_t *resp, size_t len)
{
    for (unsigned i = 0; i < r->n_resp && len; i++) {
        size_t n = MIN(len, (size_t)r->resp[i].len);
        if (dma_write(r->s->v.dma, r->resp[i].addr, resp, n)) {
            virtio_error(&r->s->v, "a response is not in writable RAM");
            return;
        }
        resp += n;
        len -= n;
    }
}

static void respond(struct request *r, uint8_t response)
{
    struct virtio_scsi *s = r->s;
    struct scsi_cmd *c = &r->cmd;
    uint8_t resp[RESP_HEAD + SENSE_SIZE] = {0};
    uint64_t room = c->in_len ? c->in_len : c->out_len;
    st_le32(resp, MIN((uint32_t)c->sense_len, s->sense_size));
    st_le32(resp + 4, MIN(room - MIN(room, c->moved), (uint64_t)UINT32_MAX));
    resp[10] = c->status;
    resp[11] = response;
    memcpy(resp + RESP_HEAD, c->sense, c->sense_len);
    if (r->generation == s->v.dev.generation && virtio_running(&s->v)) {
        write_response(r, resp, resp_len(s));
        vq_push(r->q, r->token, resp_len(s) + (c->in_len ? c->moved : 0));
        vq_notify(r->q);
    }
    uint64_t again = full(s) ? s->waiting : 0;
    if (again)
        s->waiting = 0;
    for (unsigned i = 0; i < s->v.n_queues; i++)
        if (again >> i & 1)
            virtio_kick(&s->v, i);
    virtio_put(&s->v);
    free(r);
}

static void command_done(struct scsi_cmd *c)
{
    respond(container_of(c, struct request, cmd), S_OK);
}

static int64_t data_read(struct scsi_cmd *c, uint64_t off, void *dst, size_t n)
{
    struct request *r = container_of(c, struct request, cmd);
    return vq_read(r->q, &r->s->chain, REQ_HEAD + r->s->cdb_size + off, dst, n);
}

static int64_t data_write(struct scsi_cmd *c, uint64_t off, const void *src, size_t n)
{
    struct request *r = container_of(c, struct request, cmd);
    return vq_write(r->q, &r->s->chain, resp_len(r->s) + off, src, n);
}

static int data_pin(struct scsi_cmd *c, bool in, uint64_t n)
{
    struct request *r = container_of(c, struct request, cmd);
    uint64_t off = in ? resp_len(r->s) : REQ_HEAD + r->s->cdb_size;
    return vq_pin(r->q, &r->s->chain, in, off, n, c->iov, c->spans, &c->n_pins, c->max_pins);
}

static const struct scsi_data_ops data_ops = {
    .read = data_read,
    .write = data_write,
    .pin = data_pin,
};

// Keeps the pieces that the response covers; false: they are too many.
static bool place_response(struct request *r)
{
    const struct vq_chain *c = &r->s->chain;
    unsigned left = resp_len(r->s);
    for (unsigned i = c->n_out; left && r->n_resp < RESP_SEGS; i++) {
        struct vq_seg seg = c->segs[i];
        seg.len = MIN(seg.len, left);
        left -= seg.len;
        r->resp[r->n_resp++] = seg;
    }
    return !left;
}

static struct request *request_new(struct virtio_scsi *s, struct virtqueue *q)
{
    // A buffer may be split in two where RAM blocks meet, hence twice the pieces.
    unsigned pins = 2 * (s->chain.n_out + s->chain.n_in);
    struct request *r = xalloc(sizeof *r + pins * (sizeof(struct iovec) + sizeof(struct dma_span)));
    r->s = s;
    r->q = q;
    r->token = vq_token(&s->chain);
    r->generation = s->v.dev.generation;
    r->cmd.data = &data_ops;
    r->cmd.done = command_done;
    r->cmd.max_pins = pins;
    r->cmd.iov = (struct iovec *)(r + 1);
    r->cmd.spans = (struct dma_span *)(r->cmd.iov + pins);
    r->cmd.out_len = s->chain.out_len - REQ_HEAD - s->cdb_size;
    r->cmd.in_len = s->chain.in_len - resp_len(s);
    return r;
}

static bool parse_lun(const uint8_t *lun, unsigned *id, unsigned *unit)
{
    *id = lun[1];
    *unit = (lun[2] & 0x3f) << 8 | lun[3];
    return lun[0] == 1 && (lun[2] & 0xc0) <= 0x40;
}

static void handle(struct virtio_scsi *s, struct virtqueue *q)
{
    uint8_t head[REQ_HEAD];
    unsigned id, unit;
    if (s->chain.out_len < REQ_HEAD + s->cdb_size || s->chain.in_len < resp_len(s)) {
        virtio_error(&s->v, "a request or its response is too short");
        return;
    }
    struct request *r = request_new(s, q);
    if (vq_read(q, &s->chain, 0, head, REQ_HEAD) < 0 ||
        vq_read(q, &s->chain, REQ_HEAD, r->cmd.cdb, s->cdb_size) < 0 || !place_response(r)) {
        virtio_error(&s->v, "a response is in too many pieces or not in RAM");
        free(r);
        return;
    }
    virtio_get(&s->v);
    bool there = parse_lun(head, &id, &unit);
    struct scsi_device *d = there ? scsi_find(s->bus, id, unit) : NULL;
    struct scsi_device *any = d ? d : there ? scsi_find_target(s->bus, id) : NULL;
    if (any)
        scsi_execute(any, &r->cmd, d != NULL);
    else
        respond(r, S_BAD_TARGET);
}

static bool run_requests(struct virtio_scsi *s, struct virtqueue *q)
{
    for (unsigned i = 0; i < VIRTIO_RUN_BUDGET; i++) {
        if (full(s)) {
            s->waiting |= 1ull << q->index;
            return false;
        }
        if (vq_pop(q, &s->chain) <= 0)
            return false;
        handle(s, q);
    }
    return true;
}

// --- control and events ---

static bool run_control(struct virtio_scsi *s, struct virtqueue *q)
{
    unsigned i = 0;
    for (; i < VIRTIO_RUN_BUDGET && vq_pop(q, &s->chain) > 0; i++) {
        uint8_t req[24] = {0}, resp[5] = {0};
        unsigned id, unit, n = 1;
        if (vq_read(q, &s->chain, 0, req, sizeof req) < 4)
            break;
        if (ld_le32(req) == T_TMF) {
            bool ok = parse_lun(req + 8, &id, &unit);
            resp[0] = !ok || !scsi_find_target(s->bus, id) ? S_BAD_TARGET
                      : s->v.in_flight                     ? S_FUNCTION_REJECTED
                                                           : S_OK;
        } else if (ld_le32(req) <= T_AN_SUBSCRIBE) {
            n = 5; // no event is ever signalled: an empty mask, and "OK"
        } else {
            resp[0] = S_FUNCTION_REJECTED;
        }
        int64_t put = vq_write(q, &s->chain, 0, resp, n);
        if (put < 0)
            break;
        vq_push(q, vq_token(&s->chain), put);
    }
    vq_notify(q);
    return i == VIRTIO_RUN_BUDGET;
}

static void put_event(struct virtio_scsi *s, uint32_t event, unsigned id, unsigned lun,
                      uint32_t reason)
{
    struct virtqueue *q = &s->v.queues[Q_EVENT];
    uint8_t e[EVENT_SIZE] = {0};
    if (!virtio_running(&s->v))
        return;
    if (vq_pop(q, &s->event) <= 0) {
        s->events_missed = true;
        return;
    }
    st_le32(e, event | (s->events_missed ? EVENT_MISSED : 0));
    s->events_missed = false;
    e[4] = 1;
    e[5] = id;
    e[6] = lun < 256 ? 0 : 0x40 | lun >> 8;
    e[7] = lun;
    st_le32(e + 12, reason);
    int64_t put = vq_write(q, &s->event, 0, e, sizeof e);
    if (put >= 0)
        vq_push(q, vq_token(&s->event), put);
    vq_notify(q);
}

static void bus_changed(struct scsi_bus *b, struct scsi_device *d, bool there, bool medium)
{
    struct virtio_scsi *s = container_of(b->bus.owner, struct virtio_scsi, v.dev);
    device_lock(&s->v.dev);
    if (medium && virtio_has(&s->v, SCSI_F_CHANGE))
        put_event(s, EVENT_PARAM_CHANGE, d->id, d->lun, 0x28); // the medium may have changed
    else if (!medium && virtio_has(&s->v, SCSI_F_HOTPLUG))
        put_event(s, EVENT_TRANSPORT_RESET, d->id, d->lun, there ? REASON_RESCAN : REASON_REMOVED);
    device_unlock(&s->v.dev);
}

static bool run(struct virtio_device *v, unsigned queue)
{
    struct virtio_scsi *s = of(v);
    if (queue >= Q_REQUEST)
        return run_requests(s, &v->queues[queue]);
    if (queue == Q_CONTROL)
        return run_control(s, &v->queues[queue]);
    if (s->events_missed && !vq_empty(&v->queues[queue]))
        put_event(s, 0, 0, 0, 0);
    return false;
}

// --- the device ---

static uint64_t features(struct virtio_device *v)
{
    struct virtio_scsi *s = of(v);
    return (s->hotplug ? VIRTIO_BIT(SCSI_F_HOTPLUG) : 0) |
           (s->param_change ? VIRTIO_BIT(SCSI_F_CHANGE) : 0);
}

static void read_config(struct virtio_device *v, uint8_t *cfg)
{
    struct virtio_scsi *s = of(v);
    st_le32(cfg + CFG_NUM_QUEUES, s->num_queues);
    st_le32(cfg + CFG_SEG_MAX, s->virtqueue_size - 2);
    st_le32(cfg + CFG_MAX_SECTORS, s->max_sectors);
    st_le32(cfg + CFG_CMD_PER_LUN, s->cmd_per_lun);
    st_le32(cfg + CFG_EVENT_SIZE, EVENT_SIZE);
    st_le32(cfg + CFG_SENSE_SIZE, s->sense_size);
    st_le32(cfg + CFG_CDB_SIZE, s->cdb_size);
    st_le16(cfg + CFG_MAX_TARGET, MAX_TARGET);
    st_le32(cfg + CFG_MAX_LUN, SCSI_LUNS - 1);
}

static void write_config(struct virtio_device *v, const uint8_t *cfg, unsigned off, unsigned len)
{
    struct virtio_scsi *s = of(v);
    uint32_t sense = ld_le32(cfg + CFG_SENSE_SIZE), cdb = ld_le32(cfg + CFG_CDB_SIZE);
    if (v->in_flight || sense > SENSE_SIZE || cdb < 6 || cdb > CDB_SIZE) {
        log_guest("virtio-scsi config", "virtio-scsi: sense size %u or CDB size %u refused", sense,
                  cdb);
        return;
    }
    s->sense_size = sense;
    s->cdb_size = cdb;
}

static void reset(struct virtio_device *v)
{
    struct virtio_scsi *s = of(v);
    s->sense_size = SENSE_SIZE;
    s->cdb_size = CDB_SIZE;
    s->events_missed = false;
    s->waiting = 0;
}

static int init(struct device *d, struct err *e)
{
    struct virtio_scsi *s = container_of(d, struct virtio_scsi, v.dev);
    if (s->num_queues == UINT32_MAX)
        s->num_queues = 1;
    if (!is_pow2(s->virtqueue_size))
        return err_set(e, "virtio-scsi: virtqueue_size must be a power of two");
    for (unsigned i = 0; i < Q_REQUEST + s->num_queues; i++)
        virtio_add_queue(&s->v, s->virtqueue_size);
    s->bus = scsi_bus_new(d, MAX_TARGET, SCSI_LUNS - 1);
    s->bus->changed = bus_changed;
    s->bus->iothread = s->v.iothread;
    return 0;
}

static void drain(struct device *d)
{
    struct virtio_scsi *s = container_of(d, struct virtio_scsi, v.dev);
    loop_hold(virtio_loop(&s->v));
    scsi_bus_drain(s->bus);
    loop_release(virtio_loop(&s->v));
}

static const struct field fields[] = {
    FIELD(struct virtio_scsi, v.iothread, .name = "iothread", .kind = F_BACKEND_LOOP,
          .use = FIELD_PROP),
    FIELD(struct virtio_scsi, num_queues, .kind = F_U32, .use = FIELD_PROP, .init = UINT32_MAX,
          .min = 1, .max = QUEUES_MAX),
    FIELD(struct virtio_scsi, virtqueue_size, .kind = F_U32, .use = FIELD_PROP, .init = 256,
          .min = 4, .max = VQ_SIZE_MAX),
    FIELD(struct virtio_scsi, max_sectors, .kind = F_U32, .use = FIELD_PROP, .init = 65535),
    FIELD(struct virtio_scsi, cmd_per_lun, .kind = F_U32, .use = FIELD_PROP, .init = 128),
    FIELD(struct virtio_scsi, hotplug, .kind = F_BOOL, .use = FIELD_PROP, .init = true),
    FIELD(struct virtio_scsi, param_change, .kind = F_BOOL, .use = FIELD_PROP, .init = true),
    FIELD(struct virtio_scsi, cdb_size, .kind = F_U32, .use = FIELD_STATE, .min = 6,
          .max = CDB_SIZE),
    FIELD(struct virtio_scsi, sense_size, .kind = F_U32, .use = FIELD_STATE, .max = SENSE_SIZE),
    FIELD(struct virtio_scsi, events_missed, .kind = F_BOOL, .use = FIELD_STATE),
    {0},
};

static const struct virtio_type scsi = {
    .id = VIRTIO_ID_SCSI,
    .config_size = CFG_SIZE,
    .pci_class = 0x0100,
    .features = features,
    .read_config = read_config,
    .write_config = write_config,
    .run = run,
    .reset = reset,
};

const struct device_type virtio_scsi_device_type = {
    .name = "virtio-scsi-device",
    .bus = "virtio-bus",
    .category = "Storage",
    .size = sizeof(struct virtio_scsi),
    .fields = fields,
    .base = &virtio_device_base,
    .user_creatable = true,
    .init = init,
    .drain = drain,
    .class_data = &scsi,
};
