// Virtqueues: split rings (virtio 1.2, section 2.7) and packed rings (2.8), with indirect
// descriptors and both forms of event suppression. A chain's descriptors are copied once and
// checked; the device then works on the copy (SECURITY.md, R2). A queue's geometry is fixed when it
// is enabled (R4).
#pragma once

#include "base/loop.h"
#include "memory/dma.h"

struct virtio_device;
struct iovec;

#define VQ_SIZE_MAX 1024 // entries in a ring
#define VQ_SEGS_MAX 1024 // pieces of one chain, indirect ones included

struct virtqueue {
    // As programmed by the driver.
    uint64_t desc, driver, device; // descriptor table, available and used ring (or event areas)
    uint16_t size, max_size;
    uint16_t vector; // MSI-X
    bool enabled;
    // Where we are.
    uint16_t last_avail, used_idx;
    uint16_t signalled; // used_idx at the last interrupt considered
    bool signalled_valid;
    bool avail_wrap, used_wrap; // packed
    uint16_t armed;             // the event index last written for the driver
    bool armed_valid;
    uint16_t moved_to;                 // of vq_moved
    uint16_t staged_idx, staged_flags; // packed: vq_stage before vq_publish
    bool staged_wrap;
    // Ours.
    uint16_t index;
    struct virtio_device *dev;
    struct space_near near; // where its last access was; device locked
    struct loop_work work;
    struct doorbell_entry *bell;        // while enabled: kicks need not come by our registers
    uint64_t kicks, chains, interrupts; // for `info virtio`
};

struct vq_seg {
    gpa_t addr;
    uint32_t len;
};
// A request of the driver: what the device may read (out), then what it may write (in).
struct vq_chain {
    uint16_t head;   // id to give back
    uint16_t n_desc; // ring entries it takes (packed)
    uint16_t n_out, n_in;
    uint64_t out_len, in_len;
    struct vq_seg segs[VQ_SEGS_MAX]; // out, then in
};
// To give a chain back after its vq_chain is gone.
struct vq_token {
    uint16_t head, n_desc;
};
static inline struct vq_token vq_token(const struct vq_chain *c)
{
    return (struct vq_token){c->head, c->n_desc};
}

// 1: a chain was taken; 0: none left, and the driver will kick for the next; -1: the ring is broken
// and the device now needs a reset.
int vq_pop(struct virtqueue *q, struct vq_chain *c);
// Put back the chain taken last (no room for it at the back end now).
void vq_unpop(struct virtqueue *q, const struct vq_chain *c);
bool vq_empty(struct virtqueue *q); // nothing available; re-arms the kick
bool vq_moved(struct virtqueue *q); // the driver made something available since the last call
// Give a chain back with `written` bytes of its in part filled. The driver sees it at vq_flush.
void vq_push(struct virtqueue *q, struct vq_token t, uint32_t written);
// The same for several chains that become visible together: stage 0, 1, …; then publish.
void vq_stage(struct virtqueue *q, unsigned n, struct vq_token t, uint32_t written);
void vq_publish(struct virtqueue *q, unsigned n);
// Interrupt the driver if it wants to hear of what was pushed.
void vq_notify(struct virtqueue *q);
// Rings for which nothing has been set up yet.
void vq_reset(struct virtqueue *q);

// Copying to and from a chain at a byte offset of its out or in part; returns how many bytes there
// were (fewer at the end of the part), or -1 with the device broken when the driver named memory
// that is not RAM.
int64_t vq_read(struct virtqueue *q, const struct vq_chain *c, uint64_t off, void *dst, size_t n);
int64_t vq_write(struct virtqueue *q, const struct vq_chain *c, uint64_t off, const void *src,
                 size_t n);
// Pins [off, off+n) of the out or in part; -1 with the device broken, or plain -1 when it does not
// fit in `max` pieces.
int vq_pin(struct virtqueue *q, const struct vq_chain *c, bool in, uint64_t off, uint64_t n,
           struct iovec *iov, struct dma_span *spans, unsigned *n_iov, unsigned max) MUST_CHECK;
