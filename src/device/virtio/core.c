// What every virtio device does alike (virtio 1.2, chapters 2, 3 and 6): status and feature
// negotiation, configuration space, queues' work on the event loop, the error state, and reset that
// waits for requests in flight.
#include "device/virtio/virtio.h"

#include "base/bits.h"
#include "base/trace.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static struct virtio_device *of(struct device *d)
{
    return container_of(d, struct virtio_device, dev);
}

// --- the bus between a transport and its device ---

static int bus_plug(struct bus *b, struct device *d, struct err *e)
{
    struct virtio_bus *vb = container_of(b, struct virtio_bus, bus);
    struct virtio_device *v = of(d);
    d->host = b->owner;
    v->transport = vb;
    v->dma = vb->dma;
    return 0;
}

static void bus_unplug(struct bus *b, struct device *d)
{
    container_of(b, struct virtio_bus, bus)->vdev = NULL;
}

const struct bus_type virtio_bus_type = {
    .name = "virtio-bus",
    .max_devices = 1,
    .size = sizeof(struct virtio_bus),
    .plug = bus_plug,
    .unplug = bus_unplug,
};

struct virtio_bus *virtio_bus_new(struct device *owner, const char *name,
                                  const struct virtio_transport_ops *ops, void *transport,
                                  struct space *dma)
{
    struct bus *b = bus_new(owner->tree, &virtio_bus_type, name, owner);
    struct virtio_bus *vb = container_of(b, struct virtio_bus, bus);
    vb->ops = ops;
    vb->transport = transport;
    vb->dma = dma;
    return vb;
}

// --- status ---

bool virtio_running(const struct virtio_device *v)
{
    return (v->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) == VIRTIO_DRIVER_OK &&
           !v->reset_pending;
}

uint8_t virtio_status(const struct virtio_device *v)
{
    return v->status;
}

void virtio_error(struct virtio_device *v, const char *fmt, ...)
{
    char msg[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    v->errors++;
    log_guest("virtio", "%s: %s", v->dev.type->name, msg);
    if (v->status & VIRTIO_NEEDS_RESET)
        return;
    bool told = v->status & VIRTIO_DRIVER_OK;
    v->status |= VIRTIO_NEEDS_RESET;
    if (told && !v->legacy)
        v->transport->ops->config_interrupt(v->transport->transport);
}

static void reset_state(struct virtio_device *v)
{
    v->dev.generation++;
    v->status = 0;
    v->features = 0;
    v->reset_pending = false;
    for (unsigned i = 0; i < v->n_queues; i++)
        virtio_queue_disable(&v->queues[i]);
    if (v->vtype->reset)
        v->vtype->reset(v);
}

void virtio_reset_now(struct virtio_device *v)
{
    BUG_ON(v->in_flight);
    reset_state(v);
}

void virtio_get(struct virtio_device *v)
{
    v->in_flight++;
}

void virtio_put(struct virtio_device *v)
{
    BUG_ON(!v->in_flight);
    v->in_flight--;
    if (!v->in_flight && v->reset_pending)
        reset_state(v);
}

static uint64_t acceptable(const struct virtio_device *v)
{
    return v->legacy ? (uint32_t)v->offered : v->offered;
}

static bool features_ok(struct virtio_device *v)
{
    if (v->features & ~acceptable(v)) {
        log_guest("virtio features",
                  "%s: the driver took features that were not offered: 0x%" PRIx64,
                  v->dev.type->name, v->features & ~acceptable(v));
        return false;
    }
    return v->legacy || virtio_has(v, VIRTIO_F_VERSION_1);
}

void virtio_set_features(struct virtio_device *v, uint64_t features)
{
    if (v->status & (VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK)) {
        log_guest("virtio features", "%s: features written after they were agreed",
                  v->dev.type->name);
        return;
    }
    v->features = v->legacy ? features & acceptable(v) : features;
}

static void driver_ok(struct virtio_device *v)
{
    if (v->vtype->ready)
        v->vtype->ready(v);
    for (unsigned i = 0; i < v->n_queues; i++)
        if (v->queues[i].enabled)
            loop_defer(&v->queues[i].work);
}

void virtio_set_status(struct virtio_device *v, uint8_t status)
{
    TRACE(virtio_set_status, "%s 0x%02x -> 0x%02x", v->dev.type->name, v->status, status);
    if (!status) {
        if (v->in_flight)
            v->reset_pending = true;
        else
            reset_state(v);
        return;
    }
    if (v->reset_pending)
        return;
    uint8_t fresh = status & ~v->status & ~VIRTIO_NEEDS_RESET;
    if ((fresh & VIRTIO_FEATURES_OK) && !features_ok(v))
        fresh &= ~VIRTIO_FEATURES_OK;
    if ((fresh & VIRTIO_DRIVER_OK) && !v->legacy && !((v->status | fresh) & VIRTIO_FEATURES_OK)) {
        log_guest("virtio status", "%s: DRIVER_OK without FEATURES_OK", v->dev.type->name);
        fresh &= ~VIRTIO_DRIVER_OK;
    }
    v->status |= fresh;
    if (fresh & VIRTIO_DRIVER_OK)
        driver_ok(v);
}

// --- configuration space ---

uint64_t virtio_config_read(struct virtio_device *v, unsigned off, unsigned size)
{
    uint8_t cfg[VIRTIO_CONFIG_MAX + 8] = {0};
    if (off + size > VIRTIO_CONFIG_MAX)
        return 0;
    v->vtype->read_config(v, cfg);
    memset(cfg + v->vtype->config_size, 0, sizeof cfg - v->vtype->config_size);
    return ld_le64(cfg + off) & mask_low(size * 8);
}

void virtio_config_write(struct virtio_device *v, unsigned off, unsigned size, uint64_t val)
{
    uint8_t cfg[VIRTIO_CONFIG_MAX + 8] = {0}, le[8];
    if (!v->vtype->write_config || off + size > v->vtype->config_size) {
        log_guest("virtio config", "%s: configuration byte %u is read-only", v->dev.type->name,
                  off);
        return;
    }
    v->vtype->read_config(v, cfg);
    st_le64(le, val);
    memcpy(cfg + off, le, size);
    v->vtype->write_config(v, cfg, off, size);
}

void virtio_config_changed(struct virtio_device *v)
{
    v->config_generation++;
    if (v->status & VIRTIO_DRIVER_OK)
        v->transport->ops->config_interrupt(v->transport->transport);
}

// --- queues ---

// Whether the driver had made anything available since the last time.
static bool serve_queue(struct virtqueue *q)
{
    struct virtio_device *v = q->dev;
    bool moved = false;
    device_lock(&v->dev);
    if (virtio_running(v) && q->enabled) {
        moved = vq_moved(q);
        if (v->vtype->run(v, q->index))
            loop_defer(&q->work);
    }
    device_unlock(&v->dev);
    return moved;
}

static void queue_run(void *opaque)
{
    serve_queue(opaque);
}

struct loop *virtio_loop(const struct virtio_device *v)
{
    return v->iothread ? v->iothread : v->dev.env->loop;
}

void virtio_add_queue(struct virtio_device *v, unsigned size)
{
    BUG_ON(v->n_queues == VIRTIO_QUEUES || !size || size > VQ_SIZE_MAX);
    struct virtqueue *q = &v->queues[v->n_queues];
    q->index = v->n_queues++;
    q->dev = v;
    q->max_size = size;
    loop_work_init(&q->work, virtio_loop(v), queue_run, q);
    vq_reset(q);
}

// The kernel took a kick in: what virtio_notified does for one that came to the registers.
static bool bell_rang(void *opaque)
{
    struct virtqueue *q = opaque;
    __atomic_fetch_add(&q->kicks, 1, __ATOMIC_RELAXED);
    return serve_queue(q);
}

static void hang_bell(struct virtio_device *v, struct virtqueue *q)
{
    const struct virtio_transport_ops *ops = v->transport->ops;
    struct doorbell d = {.loop = q->work.loop, .ring = bell_rang, .opaque = q};
    struct region *r = ops->kick_at ? ops->kick_at(v->transport->transport, q, &d) : NULL;
    if (r && !q->bell)
        q->bell = doorbell_add(r, &d);
}

void virtio_queue_disable(struct virtqueue *q)
{
    doorbell_remove(q->bell);
    q->bell = NULL;
    vq_reset(q);
}

static const char *bad_geometry(const struct virtio_device *v, const struct virtqueue *q)
{
    if (!q->size || q->size > q->max_size)
        return "its size is out of range";
    if (!virtio_has(v, VIRTIO_F_RING_PACKED) && !is_pow2(q->size))
        return "its size is not a power of two";
    bool ring_packed = virtio_has(v, VIRTIO_F_RING_PACKED);
    if (q->desc % 16 || q->driver % (ring_packed ? 4 : 2) || q->device % 4)
        return "a ring address is not aligned";
    return NULL;
}

void virtio_queue_enable(struct virtio_device *v, unsigned queue)
{
    struct virtqueue *q = &v->queues[queue];
    if (q->enabled)
        return;
    const char *bad = bad_geometry(v, q);
    if (bad) {
        virtio_error(v, "queue %u cannot be enabled: %s", queue, bad);
        return;
    }
    q->enabled = true;
    hang_bell(v, q);
    if (virtio_running(v))
        loop_defer(&q->work);
}

void virtio_notified(struct virtio_device *v, uint32_t queue)
{
    if (queue >= v->n_queues || !__atomic_load_n(&v->queues[queue].enabled, __ATOMIC_RELAXED)) {
        log_guest("virtio kick", "%s: kick of queue %" PRIu32 ", which is not enabled",
                  v->dev.type->name, queue);
        return;
    }
    __atomic_fetch_add(&v->queues[queue].kicks, 1, __ATOMIC_RELAXED);
    loop_defer(&v->queues[queue].work);
}

void virtio_kick(struct virtio_device *v, unsigned queue)
{
    loop_defer(&v->queues[queue].work);
}

// --- the family ---

static int base_init(struct device *d, struct err *e)
{
    struct virtio_device *v = of(d);
    v->vtype = d->type->class_data;
    v->transport->vdev = v;
    return 0;
}

// Queues that this device has not, whatever a saved machine says of them.
static void forget_strays(struct virtio_device *v)
{
    for (unsigned i = v->n_queues; i < VIRTIO_QUEUES; i++)
        v->queues[i].enabled = false;
}

static void base_reset(struct device *d)
{
    struct virtio_device *v = of(d);
    v->offered = v->vtype->features ? v->vtype->features(v) : 0;
    v->offered |= VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_ANY_LAYOUT);
    if (v->indirect_desc)
        v->offered |= VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC);
    if (v->event_idx)
        v->offered |= VIRTIO_BIT(VIRTIO_F_EVENT_IDX);
    if (v->packed)
        v->offered |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
    forget_strays(v);
    virtio_reset_now(v);
}

static void base_exit(struct device *d)
{
    struct virtio_device *v = of(d);
    loop_hold(virtio_loop(v));
    for (unsigned i = 0; i < v->n_queues; i++) {
        virtio_queue_disable(&v->queues[i]);
        loop_work_cancel(&v->queues[i].work);
    }
    loop_release(virtio_loop(v));
    v->transport->vdev = NULL;
}

static const struct field queue_fields[] = {
    FIELD(struct virtqueue, desc, .kind = F_U64, .use = FIELD_STATE),
    FIELD(struct virtqueue, driver, .kind = F_U64, .use = FIELD_STATE),
    FIELD(struct virtqueue, device, .kind = F_U64, .use = FIELD_STATE),
    // What a driver writes before it enables a queue may be anything; post_load looks at the rest.
    FIELD(struct virtqueue, size, .kind = F_U16, .use = FIELD_STATE),
    FIELD(struct virtqueue, vector, .kind = F_U16, .use = FIELD_STATE),
    FIELD(struct virtqueue, enabled, .kind = F_BOOL, .use = FIELD_STATE),
    FIELD(struct virtqueue, last_avail, .kind = F_U16, .use = FIELD_STATE),
    FIELD(struct virtqueue, used_idx, .kind = F_U16, .use = FIELD_STATE),
    FIELD(struct virtqueue, signalled, .kind = F_U16, .use = FIELD_STATE),
    FIELD(struct virtqueue, signalled_valid, .kind = F_BOOL, .use = FIELD_STATE),
    FIELD(struct virtqueue, avail_wrap, .kind = F_BOOL, .use = FIELD_STATE),
    FIELD(struct virtqueue, used_wrap, .kind = F_BOOL, .use = FIELD_STATE),
    {0},
};

static const struct field base_fields[] = {
    FIELD(struct virtio_device, indirect_desc, .kind = F_BOOL, .use = FIELD_PROP, .init = true),
    FIELD(struct virtio_device, event_idx, .kind = F_BOOL, .use = FIELD_PROP, .init = true),
    FIELD(struct virtio_device, packed, .kind = F_BOOL, .use = FIELD_PROP),
    FIELD(struct virtio_device, features, .kind = F_U64, .use = FIELD_STATE),
    FIELD(struct virtio_device, status, .kind = F_U8, .use = FIELD_STATE),
    FIELD(struct virtio_device, config_generation, .kind = F_U32, .use = FIELD_STATE),
    FIELD(struct virtio_device, legacy, .kind = F_BOOL, .use = FIELD_STATE),
    FIELD(struct virtio_device, queues, .kind = F_STRUCT, .use = FIELD_STATE, .len = VIRTIO_QUEUES,
          .sub = queue_fields, .stride = sizeof(struct virtqueue)),
    {0},
};

// A saved machine may come from elsewhere: what the rings rely on is checked again (R10).
static int base_post_load(struct device *d, struct err *e)
{
    struct virtio_device *v = of(d);
    if (v->features & ~acceptable(v))
        return err_set(e, "%s: saved features are not offered here", d->type->name);
    forget_strays(v);
    for (unsigned i = 0; i < v->n_queues; i++) {
        struct virtqueue *q = &v->queues[i];
        q->armed_valid = false;
        if (!q->enabled)
            continue;
        if (bad_geometry(v, q))
            return err_set(e, "%s: saved queue %u does not fit", d->type->name, i);
        if (virtio_has(v, VIRTIO_F_RING_PACKED) &&
            (q->last_avail >= q->size || q->used_idx >= q->size))
            return err_set(e, "%s: saved indices of queue %u are out of range", d->type->name, i);
        hang_bell(v, q);
        loop_defer(&q->work);
    }
    return 0;
}

const struct device_type virtio_device_base = {
    .name = "virtio-device",
    .size = sizeof(struct virtio_device),
    .fields = base_fields,
    .init = base_init,
    .reset = base_reset,
    .exit = base_exit,
    .post_load = base_post_load,
};
