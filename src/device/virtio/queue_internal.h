// Between queue.c (split rings, chains) and queue_packed.c.
#pragma once

#include "device/virtio/virtio.h"

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };
struct vq_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next; // `next` is the buffer id in packed rings
};

// Append one buffer to the chain; -1 with the device broken.
int vq_chain_add(struct virtqueue *q, struct vq_chain *c, const struct vq_desc *d);
void vq_chain_begin(struct vq_chain *c);
// Walk a table of `n` indirect descriptors; packed tables are in order, split ones linked.
int vq_chain_indirect(struct virtqueue *q, struct vq_chain *c, const struct vq_desc *d,
                      bool packed);
int vq_broken(struct virtqueue *q, const char *what); // breaks the device; -1
// The event-index test of 2.7.7.2 and 2.8.
static inline bool vq_need_event(uint16_t event, uint16_t now, uint16_t before)
{
    return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

// The packed ring's half of the functions of virtio.h: one chain taken or given back unused;
// whether there is one; asking for a kick; used buffers noted, then shown in one step; whether the
// driver wants an interrupt for what was shown since `before`.
int vq_packed_pop(struct virtqueue *q, struct vq_chain *c);
void vq_packed_unpop(struct virtqueue *q, const struct vq_chain *c);
bool vq_packed_available(struct virtqueue *q);
void vq_packed_arm(struct virtqueue *q);
void vq_packed_stage(struct virtqueue *q, unsigned n, struct vq_token t, uint32_t written);
void vq_packed_publish(struct virtqueue *q);
bool vq_packed_wants_interrupt(struct virtqueue *q, bool seen, uint16_t before);
