// Virtio over MMIO (virtio 1.2, section 4.2): one register window and one interrupt line per slot,
// which a board puts at a fixed address; a virtio-X-device is plugged into its bus. Version 2 by
// default; force-legacy=on gives the version 1 layout (4.2.4). Not modelled: shared memory regions
// (there are none).
#include "device/virtio/mmio.h"

#include "base/bits.h"
#include "device/core/sysdev.h"
#include "device/virtio/virtio.h"

#include <stdio.h>

enum {
    R_MAGIC = 0x000,
    R_VERSION = 0x004,
    R_DEVICE_ID = 0x008,
    R_VENDOR_ID = 0x00c,
    R_DEVICE_FEATURES = 0x010,
    R_DEVICE_FEATURES_SEL = 0x014,
    R_DRIVER_FEATURES = 0x020,
    R_DRIVER_FEATURES_SEL = 0x024,
    R_GUEST_PAGE_SIZE = 0x028, // legacy
    R_QUEUE_SEL = 0x030,
    R_QUEUE_NUM_MAX = 0x034,
    R_QUEUE_NUM = 0x038,
    R_QUEUE_ALIGN = 0x03c, // legacy
    R_QUEUE_PFN = 0x040,   // legacy
    R_QUEUE_READY = 0x044,
    R_QUEUE_NOTIFY = 0x050,
    R_INTERRUPT_STATUS = 0x060,
    R_INTERRUPT_ACK = 0x064,
    R_STATUS = 0x070,
    R_QUEUE_DESC_LOW = 0x080,
    R_QUEUE_DESC_HIGH = 0x084,
    R_QUEUE_DRIVER_LOW = 0x090,
    R_QUEUE_DRIVER_HIGH = 0x094,
    R_QUEUE_DEVICE_LOW = 0x0a0,
    R_QUEUE_DEVICE_HIGH = 0x0a4,
    R_SHM_LEN_LOW = 0x0b0,
    R_SHM_BASE_HIGH = 0x0bc,
    R_CONFIG_GENERATION = 0x0fc,
    R_CONFIG = 0x100,
};
enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

struct virtio_mmio {
    struct sys_device sys;
    struct virtio_bus *bus;
    struct irq irq;
    bool force_legacy;
    uint32_t device_features_sel, driver_features_sel, queue_sel;
    uint32_t isr;
    uint32_t guest_page_size, queue_align; // legacy
};

static void update_irq(struct virtio_mmio *m)
{
    irq_set(&m->irq, m->isr != 0);
}

static void queue_interrupt(void *opaque, struct virtqueue *q)
{
    struct virtio_mmio *m = opaque;
    m->isr |= ISR_QUEUE;
    update_irq(m);
}

static void config_interrupt(void *opaque)
{
    struct virtio_mmio *m = opaque;
    m->isr |= ISR_CONFIG;
    update_irq(m);
}

static struct region *kick_at(void *opaque, const struct virtqueue *q, struct doorbell *d)
{
    struct virtio_mmio *m = opaque;
    d->off = R_QUEUE_NOTIFY;
    d->size = 4;
    d->match = true;
    d->value = q->index;
    return m->sys.windows[0].region;
}

static const struct virtio_transport_ops transport_ops = {
    .kick_at = kick_at,
    .queue_interrupt = queue_interrupt,
    .config_interrupt = config_interrupt,
};

static struct virtqueue *selected(struct virtio_mmio *m)
{
    struct virtio_device *v = m->bus->vdev;
    return m->queue_sel < v->n_queues ? &v->queues[m->queue_sel] : NULL;
}

static uint32_t features_word(uint64_t features, uint32_t sel)
{
    return sel == 0 ? features : sel == 1 ? features >> 32 : 0;
}

static uint32_t read_queue(struct virtio_mmio *m, gpa_t off)
{
    struct virtqueue *q = selected(m);
    if (!q)
        return 0;
    switch (off) {
    case R_QUEUE_NUM_MAX:
        return q->max_size;
    case R_QUEUE_READY:
        return q->enabled;
    case R_QUEUE_PFN:
        return m->force_legacy && m->guest_page_size ? q->desc / m->guest_page_size : 0;
    default:
        return 0;
    }
}

static uint32_t read_register(struct virtio_mmio *m, gpa_t off)
{
    struct virtio_device *v = m->bus->vdev;
    switch (off) {
    case R_DEVICE_FEATURES:
        return features_word(m->force_legacy ? (uint32_t)v->offered : v->offered,
                             m->device_features_sel);
    case R_QUEUE_NUM_MAX:
    case R_QUEUE_READY:
    case R_QUEUE_PFN:
        return read_queue(m, off);
    case R_INTERRUPT_STATUS:
        return m->isr;
    case R_STATUS:
        return virtio_status(v);
    case R_SHM_LEN_LOW ... R_SHM_BASE_HIGH:
        return UINT32_MAX;
    case R_CONFIG_GENERATION:
        return v->config_generation;
    default:
        log_guest("virtio-mmio read", "virtio-mmio: read of register 0x%03x", (unsigned)off);
        return 0;
    }
}

static uint64_t read_locked(struct virtio_mmio *m, gpa_t off, unsigned size)
{
    struct virtio_device *v = m->bus->vdev;
    if (off >= R_CONFIG)
        return v ? virtio_config_read(v, off - R_CONFIG, size) : 0;
    if (size != 4 || off % 4) {
        log_guest("virtio-mmio size", "virtio-mmio: %u-byte read of register 0x%03x", size,
                  (unsigned)off);
        return 0;
    }
    switch (off) {
    case R_MAGIC:
        return 0x74726976;
    case R_VERSION:
        return m->force_legacy ? 1 : 2;
    case R_DEVICE_ID:
        return v ? v->vtype->id : 0;
    case R_VENDOR_ID:
        return 0x554d4551;
    default:
        return v ? read_register(m, off) : 0;
    }
}

static enum mem_result mmio_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                 struct mem_attrs attrs)
{
    struct virtio_mmio *m = opaque;
    device_lock(&m->sys.dev);
    *val = read_locked(m, off, size);
    device_unlock(&m->sys.dev);
    return MEM_OK;
}

// The version 1 ring layout: one block at a page number, the used ring aligned in it.
static void set_pfn(struct virtio_mmio *m, struct virtqueue *q, uint32_t pfn)
{
    struct virtio_device *v = m->bus->vdev;
    if (!pfn) {
        virtio_queue_disable(q);
        return;
    }
    if (q->enabled || !is_pow2(m->queue_align) || !is_pow2(m->guest_page_size)) {
        log_guest("virtio-mmio pfn", "virtio-mmio: queue address without page size or alignment");
        return;
    }
    q->desc = (uint64_t)pfn * m->guest_page_size;
    q->driver = q->desc + 16ull * q->size;
    q->device = align_up(q->driver + 6 + 2ull * q->size, m->queue_align);
    virtio_queue_enable(v, q->index);
}

static void set_half(uint64_t *at, bool high, uint32_t val)
{
    *at = high ? bits_set(*at, 63, 32, val) : bits_set(*at, 31, 0, val);
}

static void write_queue(struct virtio_mmio *m, gpa_t off, uint32_t val)
{
    struct virtqueue *q = selected(m);
    if (!q)
        return;
    if (m->force_legacy ? off != R_QUEUE_NUM && off != R_QUEUE_PFN : off == R_QUEUE_PFN)
        return;
    if (off == R_QUEUE_READY) {
        if (val & 1)
            virtio_queue_enable(m->bus->vdev, q->index);
        else if (!m->bus->vdev->in_flight)
            virtio_queue_disable(q);
        return;
    }
    if (off == R_QUEUE_PFN) {
        set_pfn(m, q, val);
        return;
    }
    if (q->enabled) {
        log_guest("virtio-mmio geometry", "virtio-mmio: queue %u changed while enabled", q->index);
        return;
    }
    bool high = off & 4;
    if (off == R_QUEUE_NUM)
        q->size = MIN(val, (uint32_t)UINT16_MAX);
    else if (off < R_QUEUE_DRIVER_LOW)
        set_half(&q->desc, high, val);
    else if (off < R_QUEUE_DEVICE_LOW)
        set_half(&q->driver, high, val);
    else
        set_half(&q->device, high, val);
}

static void write_features(struct virtio_mmio *m, uint32_t val)
{
    struct virtio_device *v = m->bus->vdev;
    uint64_t f = v->features;
    if (m->driver_features_sel > 1) {
        log_guest("virtio-mmio features", "virtio-mmio: driver features of word %u",
                  m->driver_features_sel);
        return;
    }
    set_half(&f, m->driver_features_sel, val);
    virtio_set_features(v, f);
}

static void write_register(struct virtio_mmio *m, gpa_t off, uint32_t val)
{
    struct virtio_device *v = m->bus->vdev;
    switch (off) {
    case R_DEVICE_FEATURES_SEL:
        m->device_features_sel = val;
        return;
    case R_DRIVER_FEATURES_SEL:
        m->driver_features_sel = val;
        return;
    case R_DRIVER_FEATURES:
        write_features(m, val);
        return;
    case R_GUEST_PAGE_SIZE:
        m->guest_page_size = val;
        return;
    case R_QUEUE_ALIGN:
        m->queue_align = val;
        return;
    case R_QUEUE_SEL:
        m->queue_sel = val;
        return;
    case R_INTERRUPT_ACK:
        m->isr &= ~val;
        update_irq(m);
        return;
    case R_STATUS:
        if (!(val & 0xff)) {
            m->isr = 0;
            update_irq(m);
        }
        v->legacy = m->force_legacy;
        virtio_set_status(v, val);
        return;
    case R_QUEUE_NUM:
    case R_QUEUE_PFN:
    case R_QUEUE_READY:
    case R_QUEUE_DESC_LOW:
    case R_QUEUE_DESC_HIGH:
    case R_QUEUE_DRIVER_LOW:
    case R_QUEUE_DRIVER_HIGH:
    case R_QUEUE_DEVICE_LOW:
    case R_QUEUE_DEVICE_HIGH:
        write_queue(m, off, val);
        return;
    default:
        log_guest("virtio-mmio write", "virtio-mmio: write of register 0x%03x", (unsigned)off);
    }
}

// A kick takes no lock, so that a vCPU never waits for the device's work on its queues.
static enum mem_result mmio_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                  struct mem_attrs attrs)
{
    struct virtio_mmio *m = opaque;
    struct virtio_device *v = m->bus->vdev;
    if (!v)
        return MEM_OK;
    if (off == R_QUEUE_NOTIFY && size == 4) {
        virtio_notified(v, val & 0xffff);
        return MEM_OK;
    }
    device_lock(&m->sys.dev);
    if (off >= R_CONFIG)
        virtio_config_write(v, off - R_CONFIG, size, val);
    else if (size != 4 || off % 4)
        log_guest("virtio-mmio size", "virtio-mmio: %u-byte write of register 0x%03x", size,
                  (unsigned)off);
    else
        write_register(m, off, val);
    device_unlock(&m->sys.dev);
    return MEM_OK;
}

static const struct mmio_ops ops = {.read = mmio_read, .write = mmio_write, .max_size = 8};

static unsigned count_slots(struct device_tree *t)
{
    unsigned n = 0;
    struct bus *b;
    list_for_each(b, &t->buses, link) n +=
        b->type == &virtio_bus_type && b->owner->type == &virtio_mmio_type;
    return n;
}

static int mmio_init(struct device *d, struct err *e)
{
    struct virtio_mmio *m = container_of(d, struct virtio_mmio, sys.dev);
    char name[32];
    snprintf(name, sizeof name, "virtio-mmio-bus.%u", count_slots(d->tree));
    sys_add_window(&m->sys, "virtio-mmio", VIRTIO_MMIO_SIZE, &ops, m);
    m->sys.windows[0].unguarded = true;
    sys_add_irq(&m->sys, &m->irq);
    m->bus = virtio_bus_new(d, name, &transport_ops, m, d->env->memory);
    return 0;
}

static void mmio_reset(struct device *d)
{
    update_irq(container_of(d, struct virtio_mmio, sys.dev));
}

static const struct field mmio_fields[] = {
    FIELD(struct virtio_mmio, force_legacy, .name = "force-legacy", .kind = F_BOOL,
          .use = FIELD_PROP),
    FIELD(struct virtio_mmio, device_features_sel, .kind = F_U32, .use = FIELD_STATE | FIELD_RESET),
    FIELD(struct virtio_mmio, driver_features_sel, .kind = F_U32, .use = FIELD_STATE | FIELD_RESET),
    FIELD(struct virtio_mmio, queue_sel, .kind = F_U32, .use = FIELD_STATE | FIELD_RESET),
    FIELD(struct virtio_mmio, isr, .kind = F_U32, .use = FIELD_STATE | FIELD_RESET, .max = 3),
    FIELD(struct virtio_mmio, guest_page_size, .kind = F_U32, .use = FIELD_STATE | FIELD_RESET),
    FIELD(struct virtio_mmio, queue_align, .kind = F_U32, .use = FIELD_STATE | FIELD_RESET),
    {0},
};

const struct device_type virtio_mmio_type = {
    .name = "virtio-mmio",
    .desc = "slot for one virtio device",
    .bus = "system",
    .size = sizeof(struct virtio_mmio),
    .fields = mmio_fields,
    .base = &sys_device_base,
    .init = mmio_init,
    .reset = mmio_reset,
};
