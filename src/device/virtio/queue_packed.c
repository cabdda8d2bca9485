// Packed virtqueues (virtio 1.2, section 2.8): one ring of descriptors that both sides write, with
// wrap counters instead of indices.
#include "device/virtio/queue_internal.h"

#include "base/bits.h"

enum { PACKED_AVAIL = 1 << 7, PACKED_USED = 1 << 15 };
enum { EVENT_ENABLE, EVENT_DISABLE, EVENT_DESC };

static int available(struct virtqueue *q, uint16_t at, bool wrap)
{
    uint16_t flags;
    if (dma_near_load16(&q->near, q->dev->dma, q->desc + 16ull * at + 14, &flags))
        return vq_broken(q, "the descriptor ring is not in RAM");
    return !!(flags & PACKED_AVAIL) == wrap && !!(flags & PACKED_USED) != wrap;
}

bool vq_packed_available(struct virtqueue *q)
{
    return available(q, q->last_avail, q->avail_wrap) > 0;
}

void vq_packed_arm(struct virtqueue *q)
{
    bool by_index = virtio_has(q->dev, VIRTIO_F_EVENT_IDX);
    uint16_t off_wrap = q->last_avail | (uint16_t)(q->avail_wrap << 15);
    if (q->armed_valid && (!by_index || q->armed == off_wrap))
        return;
    q->armed = off_wrap;
    q->armed_valid = true;
    if (dma_near_store16(&q->near, q->dev->dma, q->device, off_wrap) ||
        dma_near_store16(&q->near, q->dev->dma, q->device + 2,
                         by_index ? EVENT_DESC : EVENT_ENABLE))
        vq_broken(q, "the device event area is not in RAM");
}

static void advance(struct virtqueue *q, uint16_t *idx, bool *wrap, unsigned n)
{
    unsigned to = *idx + n;
    if (to >= q->size) {
        to -= q->size;
        *wrap = !*wrap;
    }
    *idx = to;
}

int vq_packed_pop(struct virtqueue *q, struct vq_chain *c)
{
    uint16_t at = q->last_avail;
    bool wrap = q->avail_wrap;
    unsigned n = 0;
    for (;;) {
        uint8_t raw[16];
        if (dma_near_read(&q->near, q->dev->dma, q->desc + 16ull * at, raw, sizeof raw))
            return vq_broken(q, "the descriptor ring is not in RAM");
        struct vq_desc d = {ld_le64(raw), ld_le32(raw + 8), ld_le16(raw + 14), ld_le16(raw + 12)};
        c->head = d.next;
        n++;
        if (d.flags & DESC_INDIRECT) {
            if (n > 1 || (d.flags & DESC_NEXT))
                return vq_broken(q, "an indirect descriptor is part of a chain");
            if (vq_chain_indirect(q, c, &d, true))
                return -1;
        } else if (vq_chain_add(q, c, &d)) {
            return -1;
        }
        advance(q, &at, &wrap, 1);
        if (!(d.flags & DESC_NEXT))
            break;
        if (n == q->size)
            return vq_broken(q, "a chain loops");
    }
    c->n_desc = n;
    q->last_avail = at;
    q->avail_wrap = wrap;
    return 1;
}

void vq_packed_unpop(struct virtqueue *q, const struct vq_chain *c)
{
    if (c->n_desc > q->last_avail) {
        q->last_avail += q->size;
        q->avail_wrap = !q->avail_wrap;
    }
    q->last_avail -= c->n_desc;
}

// Every used descriptor but the first of a batch is complete at once; the first gets its flags last
// (vq_packed_publish), and the driver sees nothing before that.
void vq_packed_stage(struct virtqueue *q, unsigned n, struct vq_token t, uint32_t written)
{
    if (!n) {
        q->staged_idx = q->used_idx;
        q->staged_wrap = q->used_wrap;
    }
    uint16_t flags = (q->staged_wrap ? PACKED_AVAIL | PACKED_USED : 0) | (written ? DESC_WRITE : 0);
    gpa_t at = q->desc + 16ull * q->staged_idx;
    uint8_t e[6];
    st_le32(e, written);
    st_le16(e + 4, t.head);
    if (dma_near_write(&q->near, q->dev->dma, at + 8, e, sizeof e) ||
        (n && dma_near_store16(&q->near, q->dev->dma, at + 14, flags)))
        vq_broken(q, "the descriptor ring is not in writable RAM");
    if (!n)
        q->staged_flags = flags;
    advance(q, &q->staged_idx, &q->staged_wrap, t.n_desc);
}

void vq_packed_publish(struct virtqueue *q)
{
    if (dma_near_store16(&q->near, q->dev->dma, q->desc + 16ull * q->used_idx + 14,
                         q->staged_flags))
        vq_broken(q, "the descriptor ring is not in writable RAM");
    if (q->staged_wrap != q->used_wrap)
        q->signalled_valid = false; // indices before and after a wrap do not compare
    q->used_idx = q->staged_idx;
    q->used_wrap = q->staged_wrap;
}

bool vq_packed_wants_interrupt(struct virtqueue *q, bool seen, uint16_t before)
{
    uint16_t off_wrap, flags;
    if (dma_near_load16(&q->near, q->dev->dma, q->driver, &off_wrap) ||
        dma_near_load16(&q->near, q->dev->dma, q->driver + 2, &flags)) {
        vq_broken(q, "the driver event area is not in RAM");
        return false;
    }
    if ((flags & 3) != EVENT_DESC || !virtio_has(q->dev, VIRTIO_F_EVENT_IDX))
        return (flags & 3) != EVENT_DISABLE;
    uint16_t off = off_wrap & 0x7fff;
    if (off_wrap >> 15 != q->used_wrap)
        off -= q->size;
    return !seen || vq_need_event(off, q->used_idx, before);
}
