// Virtio devices (OASIS Virtual I/O Device, version 1.2), apart from how the guest reaches them: a
// device has up to VIRTIO_QUEUES queues, a configuration space and feature bits; a transport
// (mmio.c, pci.c) gives it registers and interrupts. A device is written once against this header;
// struct virtio_type is its class_data.
//
// Threads: everything here runs with the device locked (device_lock). A guest's kick only defers
// work to the device's loop, which is the main one or, with iothread=, that of an I/O thread;
// struct virtio_type.run is called there with a bounded budget (SECURITY.md, R5 and R7).
#pragma once

#include "device/device.h"
#include "device/virtio/queue.h"
#include "memory/doorbell.h"

enum virtio_id {
    VIRTIO_ID_NET = 1,
    VIRTIO_ID_BLOCK = 2,
    VIRTIO_ID_CONSOLE = 3,
    VIRTIO_ID_RNG = 4,
    VIRTIO_ID_BALLOON = 5,
    VIRTIO_ID_SCSI = 8,
};
enum { // device status, section 2.1
    VIRTIO_ACKNOWLEDGE = 1,
    VIRTIO_DRIVER = 2,
    VIRTIO_DRIVER_OK = 4,
    VIRTIO_FEATURES_OK = 8,
    VIRTIO_NEEDS_RESET = 64,
    VIRTIO_FAILED = 128,
};
enum {                        // feature bits of every device, section 6
    VIRTIO_F_ANY_LAYOUT = 27, // legacy
    VIRTIO_F_INDIRECT_DESC = 28,
    VIRTIO_F_EVENT_IDX = 29,
    VIRTIO_F_VERSION_1 = 32,
    VIRTIO_F_RING_PACKED = 34,
};
#define VIRTIO_BIT(n) (1ull << (n))

#define VIRTIO_QUEUES     64
#define VIRTIO_CONFIG_MAX 256
#define VIRTIO_NO_VECTOR  0xffff
#define VIRTIO_RUN_BUDGET 64 // chains taken per run before other work of the loop has its turn

struct virtio_device;

struct virtio_type {
    uint16_t id;
    uint16_t config_size;
    uint16_t pci_class; // class and subclass of the PCI function
    uint16_t vectors;   // MSI-X vectors by default; 0: one for each queue and one more
    // Features offered beyond those of every device. Settled once, after init.
    uint64_t (*features)(struct virtio_device *v);
    // The configuration as the guest reads it now, little-endian; `cfg` is zeroed.
    void (*read_config)(struct virtio_device *v, uint8_t *cfg);
    // The guest wrote cfg[off, off+len); `cfg` is the whole image with the change in it. NULL: the
    // configuration is read-only.
    void (*write_config)(struct virtio_device *v, const uint8_t *cfg, unsigned off, unsigned len);
    // The queue was kicked. Take at most VIRTIO_RUN_BUDGET chains; true: there may be more.
    bool (*run)(struct virtio_device *v, unsigned queue);
    // The driver set DRIVER_OK: features and queues are final. May be NULL.
    void (*ready)(struct virtio_device *v);
    void (*reset)(struct virtio_device *v); // nothing is in flight; may be NULL
};

// What a transport does for its device.
struct virtio_transport_ops {
    void (*queue_interrupt)(void *transport, struct virtqueue *q);
    void (*config_interrupt)(void *transport);
    // The write by which the driver kicks queue q: fills offset, size and value, and gives the
    // region of registers that it goes to. NULL: none is mapped.
    struct region *(*kick_at)(void *transport, const struct virtqueue *q, struct doorbell *d);
};
struct virtio_bus {
    struct bus bus;
    const struct virtio_transport_ops *ops;
    void *transport;
    struct virtio_device *vdev; // NULL: the slot is empty
    struct space *dma;
};
extern const struct bus_type virtio_bus_type;
// The slot of a transport, of which `ops` are told with `transport`. Rings are read through `dma`.
struct virtio_bus *virtio_bus_new(struct device *owner, const char *name,
                                  const struct virtio_transport_ops *ops, void *transport,
                                  struct space *dma);

struct virtio_device {
    struct device dev;
    const struct virtio_type *vtype;
    struct virtio_bus *transport;
    struct loop
        *iothread;     // property of some: the loop its queues are served on; NULL: the main one
    struct space *dma; // where descriptors and buffers are; the transport changes it
    uint64_t offered, features;
    uint8_t status;
    uint32_t config_generation;
    bool legacy;        // the transport speaks the pre-1.0 layout (set before the driver starts)
    bool reset_pending; // waits for in_flight to become zero; status still reads as before
    uint32_t in_flight; // requests at back ends that hold guest memory
    uint32_t errors;    // times the guest broke the rules, for `info virtio`
    uint16_t n_queues;
    bool indirect_desc, event_idx, packed; // properties: may these be offered?
    struct virtqueue queues[VIRTIO_QUEUES];
};
// Base of every virtio device's type.
extern const struct device_type virtio_device_base;

// The loop that serves its queues; a device's drives belong there too.
struct loop *virtio_loop(const struct virtio_device *v);
// For devices, in init: queues are numbered in order; size is the largest the driver may choose.
void virtio_add_queue(struct virtio_device *v, unsigned size);
static inline bool virtio_has(const struct virtio_device *v, unsigned feature)
{
    return v->features >> feature & 1;
}
// The driver is running and the device is not broken.
bool virtio_running(const struct virtio_device *v);
// Breaks the device: NEEDS_RESET, a configuration interrupt, and nothing more until reset.
void virtio_error(struct virtio_device *v, const char *fmt, ...) PRINTF(2, 3);
void virtio_config_changed(struct virtio_device *v);
// Run the queue later, as if kicked (a back end is ready again). Any thread.
void virtio_kick(struct virtio_device *v, unsigned queue);
// Around each request that outlives `run`: put() may carry out a reset that was waiting.
void virtio_get(struct virtio_device *v);
void virtio_put(struct virtio_device *v);

// For transports.
void virtio_set_features(struct virtio_device *v, uint64_t features);
void virtio_set_status(struct virtio_device *v, uint8_t status); // 0 asks for a reset
uint8_t virtio_status(const struct virtio_device *v);
uint64_t virtio_config_read(struct virtio_device *v, unsigned off, unsigned size);
void virtio_config_write(struct virtio_device *v, unsigned off, unsigned size, uint64_t val);
// Geometry: refused (counted) once the queue is enabled.
void virtio_queue_enable(struct virtio_device *v, unsigned queue);
void virtio_queue_disable(struct virtqueue *q);
// The guest's kick, checked. Needs no lock.
void virtio_notified(struct virtio_device *v, uint32_t queue);
void virtio_reset_now(struct virtio_device *v); // system reset: drained before
