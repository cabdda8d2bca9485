// Virtio over PCI (virtio 1.2, section 4.1), modern devices only: capabilities that point into one
// BAR with the common, ISR, device-specific and notification structures, access through
// configuration space, MSI-X with a vector per queue. A virtio-X-pci carries a virtio-X-device on a
// bus of its own. Not modelled: the legacy (transitional) interface.
#include "device/virtio/pci.h"

#include "base/bits.h"
#include "device/pci/regs.h"
#include "device/virtio/virtio.h"

#include <stdio.h>
#include <stdlib.h>

enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_PCI_CFG };
enum { CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_DATA = 16 };
enum { MSIX_BAR = 1, BAR = 4 };
enum { AT_COMMON = 0, AT_ISR = 0x1000, AT_DEVICE = 0x2000, AT_NOTIFY = 0x3000, BAR_SIZE = 0x4000 };
#define PART            0x1000u
#define NOTIFY_MULTIPLE 4
enum { // common configuration structure, 4.1.4.3
    C_DEVICE_FEATURE_SELECT = 0,
    C_DEVICE_FEATURE = 4,
    C_DRIVER_FEATURE_SELECT = 8,
    C_DRIVER_FEATURE = 12,
    C_CONFIG_VECTOR = 16,
    C_NUM_QUEUES = 18,
    C_STATUS = 20,
    C_GENERATION = 21,
    C_QUEUE_SELECT = 22,
    C_QUEUE_SIZE = 24,
    C_QUEUE_VECTOR = 26,
    C_QUEUE_ENABLE = 28,
    C_QUEUE_NOTIFY_OFF = 30,
    C_QUEUE_DESC = 32,
    C_QUEUE_DRIVER = 40,
    C_QUEUE_DEVICE = 48,
    C_END = 56,
};
enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

struct virtio_pci {
    struct pci_device pci;
    struct virtio_bus *bus;
    uint32_t vectors, disable_legacy;
    bool disable_modern;
    unsigned cfg_cap;
    uint32_t device_feature_select, driver_feature_select;
    uint16_t config_vector, queue_select;
    uint8_t isr;
};

static struct virtio_pci *of(struct device *d)
{
    return container_of(d, struct virtio_pci, pci.dev);
}

// --- interrupts ---

static void interrupt(struct virtio_pci *p, uint16_t vector, uint8_t isr)
{
    if (pci_msix_on(&p->pci)) {
        if (vector != VIRTIO_NO_VECTOR)
            pci_msix_notify(&p->pci, vector);
        return;
    }
    p->isr |= isr;
    pci_set_intx(&p->pci, true);
}

static void queue_interrupt(void *opaque, struct virtqueue *q)
{
    interrupt(opaque, q->vector, ISR_QUEUE);
}

static void config_interrupt(void *opaque)
{
    struct virtio_pci *p = opaque;
    interrupt(p, p->config_vector, ISR_CONFIG);
}

static struct region *kick_at(void *opaque, const struct virtqueue *q, struct doorbell *d)
{
    struct virtio_pci *p = opaque;
    d->off = AT_NOTIFY + q->index * NOTIFY_MULTIPLE; // a place of its own: any value means it
    return p->pci.bars[BAR].region;
}

static const struct virtio_transport_ops transport_ops = {
    .kick_at = kick_at,
    .queue_interrupt = queue_interrupt,
    .config_interrupt = config_interrupt,
};

static uint8_t take_isr(struct virtio_pci *p)
{
    uint8_t v = p->isr;
    p->isr = 0;
    pci_set_intx(&p->pci, false);
    return v;
}

// --- the common structure ---

static struct virtqueue *selected(struct virtio_pci *p)
{
    struct virtio_device *v = p->bus->vdev;
    return p->queue_select < v->n_queues ? &v->queues[p->queue_select] : NULL;
}

static uint32_t word(uint64_t v, uint32_t select)
{
    return select == 0 ? v : select == 1 ? v >> 32 : 0;
}

// The structure as it reads now; an access of any width takes its bytes from here.
static void common_image(struct virtio_pci *p, uint8_t *c)
{
    struct virtio_device *v = p->bus->vdev;
    struct virtqueue *q = selected(p);
    st_le32(c + C_DEVICE_FEATURE_SELECT, p->device_feature_select);
    st_le32(c + C_DEVICE_FEATURE, word(v->offered, p->device_feature_select));
    st_le32(c + C_DRIVER_FEATURE_SELECT, p->driver_feature_select);
    st_le32(c + C_DRIVER_FEATURE, word(v->features, p->driver_feature_select));
    st_le16(c + C_CONFIG_VECTOR, p->config_vector);
    st_le16(c + C_NUM_QUEUES, v->n_queues);
    c[C_STATUS] = virtio_status(v);
    c[C_GENERATION] = v->config_generation;
    st_le16(c + C_QUEUE_SELECT, p->queue_select);
    if (!q)
        return;
    st_le16(c + C_QUEUE_SIZE, q->size);
    st_le16(c + C_QUEUE_VECTOR, q->vector);
    st_le16(c + C_QUEUE_ENABLE, q->enabled);
    st_le16(c + C_QUEUE_NOTIFY_OFF, q->index);
    st_le64(c + C_QUEUE_DESC, q->desc);
    st_le64(c + C_QUEUE_DRIVER, q->driver);
    st_le64(c + C_QUEUE_DEVICE, q->device);
}

static uint16_t valid_vector(const struct virtio_pci *p, uint32_t vector)
{
    return vector < p->pci.msix_n ? vector : VIRTIO_NO_VECTOR;
}

static void write_driver_features(struct virtio_pci *p, uint32_t val)
{
    struct virtio_device *v = p->bus->vdev;
    if (p->driver_feature_select > 1)
        return;
    unsigned lo = 32 * p->driver_feature_select;
    virtio_set_features(v, bits_set(v->features, lo + 31, lo, val));
}

static void write_status(struct virtio_pci *p, uint8_t val)
{
    if (!val) {
        take_isr(p);
        p->config_vector = VIRTIO_NO_VECTOR;
    }
    virtio_set_status(p->bus->vdev, val);
}

static void write_address(struct virtio_pci *p, unsigned off, unsigned size, uint32_t val)
{
    struct virtqueue *q = selected(p);
    if (!q || size != 4 || off % 4 || q->enabled) {
        log_guest("virtio-pci geometry",
                  "virtio-pci: queue %u changed while enabled, or not by "
                  "32-bit words",
                  p->queue_select);
        return;
    }
    uint64_t *at = off < C_QUEUE_DRIVER ? &q->desc : off < C_QUEUE_DEVICE ? &q->driver : &q->device;
    unsigned lo = off & 4 ? 32 : 0;
    *at = bits_set(*at, lo + 31, lo, val);
}

static void write_queue(struct virtio_pci *p, unsigned off, uint32_t val)
{
    struct virtqueue *q = selected(p);
    if (!q)
        return;
    if (off == C_QUEUE_VECTOR) {
        q->vector = valid_vector(p, val);
        return;
    }
    if (off == C_QUEUE_ENABLE) {
        if (val == 1)
            virtio_queue_enable(p->bus->vdev, q->index);
        return;
    }
    if (q->enabled) {
        log_guest("virtio-pci geometry", "virtio-pci: size of queue %u changed while enabled",
                  q->index);
        return;
    }
    q->size = val;
}

static void common_write(struct virtio_pci *p, unsigned off, unsigned size, uint32_t val)
{
    if (off >= C_QUEUE_DESC) {
        write_address(p, off, size, val);
        return;
    }
    switch (off) {
    case C_DEVICE_FEATURE_SELECT:
        p->device_feature_select = val;
        break;
    case C_DRIVER_FEATURE_SELECT:
        p->driver_feature_select = val;
        break;
    case C_DRIVER_FEATURE:
        write_driver_features(p, val);
        break;
    case C_CONFIG_VECTOR:
        p->config_vector = valid_vector(p, val);
        break;
    case C_STATUS:
        write_status(p, val);
        break;
    case C_QUEUE_SELECT:
        p->queue_select = val;
        break;
    case C_QUEUE_SIZE:
    case C_QUEUE_VECTOR:
    case C_QUEUE_ENABLE:
        write_queue(p, off, val);
        break;
    default:
        log_guest("virtio-pci write", "virtio-pci: write of common field 0x%x", off);
    }
}

// --- the BAR ---

static uint64_t bar_read_locked(struct virtio_pci *p, unsigned off, unsigned size)
{
    uint8_t c[C_END + 8] = {0};
    unsigned at = off % PART;
    switch (off - at) {
    case AT_COMMON:
        if (at + size > C_END)
            return 0;
        common_image(p, c);
        return ld_le64(c + at) & mask_low(size * 8);
    case AT_ISR:
        return at ? 0 : take_isr(p);
    case AT_DEVICE:
        return virtio_config_read(p->bus->vdev, at, size);
    default:
        return 0;
    }
}

static void bar_write_locked(struct virtio_pci *p, unsigned off, unsigned size, uint32_t val)
{
    unsigned at = off % PART;
    if (off - at == AT_COMMON && at + size <= C_END)
        common_write(p, at, size, val);
    else if (off - at == AT_DEVICE)
        virtio_config_write(p->bus->vdev, at, size, val);
}

static enum mem_result bar_read(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                                struct mem_attrs attrs)
{
    struct virtio_pci *p = opaque;
    device_lock(&p->pci.dev);
    *val = bar_read_locked(p, off, size);
    device_unlock(&p->pci.dev);
    return MEM_OK;
}

// A kick takes no lock, so that a vCPU never waits for the device's work on its queues.
static enum mem_result bar_write(void *opaque, gpa_t off, unsigned size, uint64_t val,
                                 struct mem_attrs attrs)
{
    struct virtio_pci *p = opaque;
    if (off >= AT_NOTIFY) {
        virtio_notified(p->bus->vdev, (off - AT_NOTIFY) / NOTIFY_MULTIPLE);
        return MEM_OK;
    }
    device_lock(&p->pci.dev);
    bar_write_locked(p, off, size, val);
    device_unlock(&p->pci.dev);
    return MEM_OK;
}

static const struct mmio_ops bar_ops = {.read = bar_read, .write = bar_write, .max_size = 4};

// --- access through configuration space, 4.1.4.9 ---

static bool window(struct virtio_pci *p, unsigned off, unsigned len, uint32_t *at, unsigned *size)
{
    const uint8_t *c = p->pci.config + p->cfg_cap;
    if (off >= p->cfg_cap + CAP_DATA + 4u || off + len <= p->cfg_cap + CAP_DATA)
        return false;
    *at = ld_le32(c + CAP_OFFSET);
    *size = ld_le32(c + CAP_LENGTH);
    return c[CAP_BAR] == BAR && (*size == 1 || *size == 2 || *size == 4) && *at % *size == 0 &&
           *at < BAR_SIZE;
}

static void config_read(struct pci_device *pci, unsigned off, unsigned len)
{
    struct virtio_pci *p = container_of(pci, struct virtio_pci, pci);
    uint32_t at;
    unsigned size;
    if (window(p, off, len, &at, &size))
        st_le32(pci->config + p->cfg_cap + CAP_DATA, bar_read_locked(p, at, size));
}

static void config_written(struct pci_device *pci, unsigned off, unsigned len)
{
    struct virtio_pci *p = container_of(pci, struct virtio_pci, pci);
    uint32_t at, val = ld_le32(pci->config + p->cfg_cap + CAP_DATA);
    unsigned size;
    if (!window(p, off, len, &at, &size))
        return;
    val &= mask_low(size * 8);
    if (at >= AT_NOTIFY)
        virtio_notified(p->bus->vdev, (at - AT_NOTIFY) / NOTIFY_MULTIPLE);
    else
        bar_write_locked(p, at, size, val);
}

static unsigned add_cap(struct virtio_pci *p, uint8_t type, uint32_t offset, uint32_t length,
                        unsigned size)
{
    unsigned at = pci_add_cap(&p->pci, PCI_CAP_VENDOR, size);
    uint8_t *c = p->pci.config + at;
    c[2] = size;
    c[3] = type;
    c[CAP_BAR] = type == CAP_PCI_CFG ? 0 : BAR;
    st_le32(c + CAP_OFFSET, offset);
    st_le32(c + CAP_LENGTH, length);
    return at;
}

static void add_caps(struct virtio_pci *p)
{
    add_cap(p, CAP_COMMON, AT_COMMON, PART, 16);
    add_cap(p, CAP_ISR, AT_ISR, PART, 16);
    add_cap(p, CAP_DEVICE, AT_DEVICE, PART, 16);
    unsigned notify = add_cap(p, CAP_NOTIFY, AT_NOTIFY, PART, 20);
    st_le32(p->pci.config + notify + 16, NOTIFY_MULTIPLE);
    p->cfg_cap = add_cap(p, CAP_PCI_CFG, 0, 0, 20);
    uint8_t *w = p->pci.writable + p->cfg_cap;
    w[CAP_BAR] = 0xff;
    memset(w + CAP_OFFSET, 0xff, 12);
    p->pci.config_read = config_read;
    p->pci.config_written = config_written;
}

// --- the function ---

static void master_changed(struct pci_device *pci)
{
    struct virtio_pci *p = container_of(pci, struct virtio_pci, pci);
    if (!p->bus)
        return;
    p->bus->dma = pci->dma;
    if (p->bus->vdev)
        p->bus->vdev->dma = pci->dma;
}

static int start_inner(struct virtio_pci *p, struct err *e)
{
    struct device *d = &p->pci.dev, *inner = d->inner;
    char *name = xasprintf("%s.virtio", d->id ? d->id : d->type->name);
    p->bus = virtio_bus_new(d, name, &transport_ops, p, p->pci.dma);
    free(name);
    if (!device_start(d->tree, inner, &p->bus->bus, e))
        return 0;
    d->inner = NULL;
    bus_free(&p->bus->bus);
    p->bus = NULL;
    return -1;
}

static int init(struct device *d, struct err *e)
{
    struct virtio_pci *p = of(d);
    const struct virtio_type *vt = d->type->inner->class_data;
    if (p->disable_modern)
        return err_set(e, "%s: disable-modern=on is not supported: there is no legacy interface",
                       d->type->name);
    pci_set_identity(&p->pci, 0x1af4, 0x1040 + vt->id, vt->pci_class, 0, 1);
    pci_use_intx(&p->pci);
    if (start_inner(p, e))
        return -1;
    add_caps(p);
    unsigned n = vt->vectors ? vt->vectors : p->bus->vdev->n_queues + 1u;
    if (p->vectors != UINT32_MAX)
        n = p->vectors;
    if (n)
        pci_add_msix(&p->pci, n, MSIX_BAR);
    pci_add_bar(&p->pci, BAR, PCI_BAR_MEM64, true, BAR_SIZE, d->type->name, &bar_ops, p, NULL);
    if (p->pci.bus->express && p->pci.bus->bridge)
        pci_add_express(&p->pci, EXP_ENDPOINT);
    p->pci.master_changed = master_changed;
    return 0;
}

static void drain(struct device *d)
{
    struct device *inner = &of(d)->bus->vdev->dev;
    for (const struct device_type *t = inner->type; t; t = t->base)
        if (t->drain)
            t->drain(inner);
}

static void reset(struct device *d)
{
    struct virtio_pci *p = of(d);
    p->isr = 0;
    p->config_vector = VIRTIO_NO_VECTOR;
    p->device_feature_select = p->driver_feature_select = p->queue_select = 0;
    virtio_reset_now(p->bus->vdev);
}

static const char *const on_off_auto[] = {"auto", "on", "off", NULL};
static const struct field fields[] = {
    FIELD(struct virtio_pci, vectors, .kind = F_U32, .use = FIELD_PROP, .init = UINT32_MAX,
          .max = PCI_MSIX_MAX),
    FIELD(struct virtio_pci, disable_legacy, .name = "disable-legacy", .kind = F_ENUM,
          .use = FIELD_PROP, .names = on_off_auto,
          .help = "accepted for compatibility: devices are modern only"),
    FIELD(struct virtio_pci, disable_modern, .name = "disable-modern", .kind = F_BOOL,
          .use = FIELD_PROP),
    FIELD(struct virtio_pci, device_feature_select, .kind = F_U32, .use = FIELD_STATE),
    FIELD(struct virtio_pci, driver_feature_select, .kind = F_U32, .use = FIELD_STATE),
    FIELD(struct virtio_pci, config_vector, .kind = F_U16, .use = FIELD_STATE),
    FIELD(struct virtio_pci, queue_select, .kind = F_U16, .use = FIELD_STATE),
    FIELD(struct virtio_pci, isr, .kind = F_U8, .use = FIELD_STATE, .max = 3),
    {0},
};

static const struct device_type virtio_pci_base = {
    .name = "virtio-pci",
    .size = sizeof(struct virtio_pci),
    .fields = fields,
    .base = &pci_device_base,
    .init = init,
    .drain = drain,
    .reset = reset,
};

#define VIRTIO_PCI(sym, name_, alias_, desc_, category_, inner_)                                   \
    const struct device_type sym = {                                                               \
        .name = name_,                                                                             \
        .alias = alias_,                                                                           \
        .desc = desc_,                                                                             \
        .bus = "PCI",                                                                              \
        .category = category_,                                                                     \
        .size = sizeof(struct virtio_pci),                                                         \
        .base = &virtio_pci_base,                                                                  \
        .inner = &inner_,                                                                          \
        .user_creatable = true,                                                                    \
    }
VIRTIO_PCI(virtio_balloon_pci_type, "virtio-balloon-pci", "virtio-balloon", NULL, "Misc",
           virtio_balloon_device_type);
VIRTIO_PCI(virtio_blk_pci_type, "virtio-blk-pci", "virtio-blk", NULL, "Storage",
           virtio_blk_device_type);
VIRTIO_PCI(virtio_net_pci_type, "virtio-net-pci", "virtio-net", NULL, "Network",
           virtio_net_device_type);
VIRTIO_PCI(virtio_rng_pci_type, "virtio-rng-pci", "virtio-rng", NULL, "Misc",
           virtio_rng_device_type);
VIRTIO_PCI(virtio_scsi_pci_type, "virtio-scsi-pci", "virtio-scsi", NULL, "Storage",
           virtio_scsi_device_type);
VIRTIO_PCI(virtio_serial_pci_type, "virtio-serial-pci", "virtio-serial", NULL, "Input",
           virtio_serial_device_type);

// The names for virtio 1.x alone, which is all that the others are, too.
VIRTIO_PCI(virtio_balloon_pci_modern_type, "virtio-balloon-pci-non-transitional", NULL, NULL,
           "Misc", virtio_balloon_device_type);
VIRTIO_PCI(virtio_blk_pci_modern_type, "virtio-blk-pci-non-transitional", NULL, NULL, "Storage",
           virtio_blk_device_type);
VIRTIO_PCI(virtio_net_pci_modern_type, "virtio-net-pci-non-transitional", NULL, NULL, "Network",
           virtio_net_device_type);
VIRTIO_PCI(virtio_rng_pci_modern_type, "virtio-rng-pci-non-transitional", NULL, NULL, "Misc",
           virtio_rng_device_type);
VIRTIO_PCI(virtio_scsi_pci_modern_type, "virtio-scsi-pci-non-transitional", NULL, NULL, "Storage",
           virtio_scsi_device_type);
VIRTIO_PCI(virtio_serial_pci_modern_type, "virtio-serial-pci-non-transitional", NULL, NULL, "Input",
           virtio_serial_device_type);
