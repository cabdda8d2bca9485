// Split virtqueues (virtio 1.2, section 2.7) and what both ring formats share: collecting a chain's
// buffers and copying to and from them. The ring's own words are read and written one at a time
// with the ordering that dma_load16 and dma_store16 give.
#include "device/virtio/queue_internal.h"

#include "base/bits.h"

static bool packed(const struct virtqueue *q)
{
    return virtio_has(q->dev, VIRTIO_F_RING_PACKED);
}

int vq_broken(struct virtqueue *q, const char *what)
{
    virtio_error(q->dev, "queue %u: %s", q->index, what);
    return -1;
}

void vq_chain_begin(struct vq_chain *c)
{
    c->n_desc = c->n_out = c->n_in = 0;
    c->out_len = c->in_len = 0;
}

int vq_chain_add(struct virtqueue *q, struct vq_chain *c, const struct vq_desc *d)
{
    uint64_t end;
    if (__builtin_add_overflow(d->addr, d->len, &end))
        return vq_broken(q, "a buffer wraps around the end of memory");
    if (!d->len)
        return 0;
    if (c->n_out + c->n_in == VQ_SEGS_MAX)
        return vq_broken(q, "a chain has too many buffers");
    c->segs[c->n_out + c->n_in] = (struct vq_seg){d->addr, d->len};
    if (d->flags & DESC_WRITE) {
        c->n_in++;
        c->in_len += d->len;
        return 0;
    }
    if (c->n_in)
        return vq_broken(q, "a readable buffer follows a writable one");
    c->n_out++;
    c->out_len += d->len;
    return 0;
}

static int read_desc(struct virtqueue *q, gpa_t table, unsigned i, struct vq_desc *d)
{
    uint8_t raw[16];
    if (dma_near_read(&q->near, q->dev->dma, table + 16ull * i, raw, sizeof raw))
        return vq_broken(q, "a descriptor is not in RAM");
    *d = (struct vq_desc){ld_le64(raw), ld_le32(raw + 8), ld_le16(raw + 12), ld_le16(raw + 14)};
    return 0;
}

int vq_chain_indirect(struct virtqueue *q, struct vq_chain *c, const struct vq_desc *d,
                      bool in_order)
{
    unsigned n = d->len / 16;
    if (!virtio_has(q->dev, VIRTIO_F_INDIRECT_DESC))
        return vq_broken(q, "an indirect descriptor was not negotiated");
    if (!n || d->len % 16 || n > VQ_SEGS_MAX)
        return vq_broken(q, "an indirect table has a bad size");
    unsigned i = 0;
    for (unsigned seen = 0; seen < n; seen++) { // a loop in the table ends here at the latest
        struct vq_desc e;
        if (read_desc(q, d->addr, i, &e))
            return -1;
        if (in_order) {
            e.flags = e.next & DESC_WRITE; // a packed descriptor has its flags last
            i++;
        }
        if (e.flags & DESC_INDIRECT)
            return vq_broken(q, "an indirect table names another");
        if (vq_chain_add(q, c, &e))
            return -1;
        if (in_order)
            continue;
        if (!(e.flags & DESC_NEXT))
            return 0;
        i = e.next;
        if (i >= n)
            return vq_broken(q, "an indirect chain leaves its table");
    }
    return in_order ? 0 : vq_broken(q, "an indirect chain loops");
}

static int split_collect(struct virtqueue *q, struct vq_chain *c)
{
    unsigned i = c->head;
    for (unsigned seen = 0; seen < q->size; seen++) {
        struct vq_desc d;
        if (read_desc(q, q->desc, i, &d))
            return -1;
        if (d.flags & DESC_INDIRECT) {
            if (d.flags & DESC_NEXT)
                return vq_broken(q, "an indirect descriptor has a successor");
            return vq_chain_indirect(q, c, &d, false);
        }
        if (vq_chain_add(q, c, &d))
            return -1;
        if (!(d.flags & DESC_NEXT))
            return 0;
        i = d.next;
        if (i >= q->size)
            return vq_broken(q, "a chain leaves the descriptor table");
    }
    return vq_broken(q, "a chain loops");
}

// How many chains wait, or -1.
static int split_waiting(struct virtqueue *q)
{
    uint16_t idx;
    if (dma_near_load16(&q->near, q->dev->dma, q->driver + 2, &idx))
        return vq_broken(q, "the available ring is not in RAM");
    uint16_t n = idx - q->last_avail;
    if (n > q->size)
        return vq_broken(q, "the available index jumped");
    return n;
}

// Ask for a kick at the next chain.
static void split_arm(struct virtqueue *q)
{
    if (!virtio_has(q->dev, VIRTIO_F_EVENT_IDX) || (q->armed_valid && q->armed == q->last_avail))
        return;
    q->armed = q->last_avail;
    q->armed_valid = true;
    if (dma_near_store16(&q->near, q->dev->dma, q->device + 4 + 8ull * q->size, q->last_avail))
        vq_broken(q, "the used ring is not in RAM");
}

// Nothing was seen: arm, then look again, since the driver may have looked before we armed.
static int waiting_or_armed(struct virtqueue *q)
{
    int n = packed(q) ? vq_packed_available(q) : split_waiting(q);
    if (n)
        return n;
    if (packed(q))
        vq_packed_arm(q);
    else
        split_arm(q);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return packed(q) ? vq_packed_available(q) : split_waiting(q);
}

bool vq_empty(struct virtqueue *q)
{
    return !virtio_running(q->dev) || !q->enabled || waiting_or_armed(q) <= 0;
}

bool vq_moved(struct virtqueue *q)
{
    uint16_t before = q->moved_to;
    if (packed(q)) {
        q->moved_to = q->last_avail;
        return q->moved_to != before || vq_packed_available(q);
    }
    return dma_near_load16(&q->near, q->dev->dma, q->driver + 2, &q->moved_to) ||
           q->moved_to != before;
}

int vq_pop(struct virtqueue *q, struct vq_chain *c)
{
    if (!virtio_running(q->dev) || !q->enabled)
        return 0;
    int n = waiting_or_armed(q);
    if (n <= 0)
        return n;
    vq_chain_begin(c);
    q->chains++;
    if (packed(q))
        return vq_packed_pop(q, c);
    uint16_t slot = q->last_avail & (q->size - 1);
    if (dma_near_load16(&q->near, q->dev->dma, q->driver + 4 + 2ull * slot, &c->head))
        return vq_broken(q, "the available ring is not in RAM");
    if (c->head >= q->size)
        return vq_broken(q, "the available ring names no descriptor");
    if (split_collect(q, c))
        return -1;
    c->n_desc = 1;
    q->last_avail++;
    return 1;
}

void vq_unpop(struct virtqueue *q, const struct vq_chain *c)
{
    q->chains--;
    if (packed(q))
        vq_packed_unpop(q, c);
    else
        q->last_avail--;
}

void vq_stage(struct virtqueue *q, unsigned n, struct vq_token t, uint32_t written)
{
    if (!virtio_running(q->dev))
        return;
    if (packed(q)) {
        vq_packed_stage(q, n, t, written);
        return;
    }
    uint8_t e[8];
    st_le32(e, t.head);
    st_le32(e + 4, written);
    uint16_t slot = (uint16_t)(q->used_idx + n) & (q->size - 1);
    if (dma_near_write(&q->near, q->dev->dma, q->device + 4 + 8ull * slot, e, sizeof e))
        vq_broken(q, "the used ring is not in RAM");
}

void vq_publish(struct virtqueue *q, unsigned n)
{
    if (!virtio_running(q->dev) || !n)
        return;
    if (packed(q)) {
        vq_packed_publish(q);
        return;
    }
    q->used_idx += n;
    if (dma_near_store16(&q->near, q->dev->dma, q->device + 2, q->used_idx))
        vq_broken(q, "the used ring is not in RAM");
}

void vq_push(struct virtqueue *q, struct vq_token t, uint32_t written)
{
    vq_stage(q, 0, t, written);
    vq_publish(q, 1);
}

static bool split_wants_interrupt(struct virtqueue *q, bool seen, uint16_t before)
{
    uint16_t v;
    bool by_index = virtio_has(q->dev, VIRTIO_F_EVENT_IDX);
    if (dma_near_load16(&q->near, q->dev->dma, q->driver + (by_index ? 4 + 2ull * q->size : 0),
                        &v)) {
        vq_broken(q, "the available ring is not in RAM");
        return false;
    }
    return by_index ? !seen || vq_need_event(v, q->used_idx, before) : !(v & 1);
}

void vq_notify(struct virtqueue *q)
{
    struct virtio_device *v = q->dev;
    if (!virtio_running(v) || (q->signalled_valid && q->signalled == q->used_idx))
        return;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); // the used index before the driver's wish
    bool seen = q->signalled_valid;
    uint16_t before = q->signalled;
    q->signalled = q->used_idx;
    q->signalled_valid = true;
    if (packed(q) ? !vq_packed_wants_interrupt(q, seen, before)
                  : !split_wants_interrupt(q, seen, before))
        return;
    q->interrupts++;
    v->transport->ops->queue_interrupt(v->transport->transport, q);
}

void vq_reset(struct virtqueue *q)
{
    q->desc = q->driver = q->device = 0;
    q->size = q->max_size;
    q->vector = VIRTIO_NO_VECTOR;
    q->enabled = q->signalled_valid = q->armed_valid = false;
    q->last_avail = q->used_idx = q->signalled = q->armed = 0;
    q->avail_wrap = q->used_wrap = true;
}

// Calls `f` for each piece of [off, off+n) of one part of the chain; stops when it fails.
static int64_t each_piece(const struct vq_chain *c, bool in, uint64_t off, uint64_t n,
                          int (*f)(void *opaque, gpa_t a, uint64_t at, uint64_t len), void *opaque)
{
    const struct vq_seg *s = c->segs + (in ? c->n_out : 0);
    unsigned count = in ? c->n_in : c->n_out;
    uint64_t done = 0;
    for (unsigned i = 0; i < count && done < n; i++) {
        if (off >= s[i].len) {
            off -= s[i].len;
            continue;
        }
        uint64_t len = MIN(n - done, s[i].len - off);
        if (f(opaque, s[i].addr + off, done, len))
            return -1;
        done += len;
        off = 0;
    }
    return done;
}

struct copy {
    struct virtqueue *q;
    uint8_t *to;
    const uint8_t *from;
};

static int copy_out(void *opaque, gpa_t a, uint64_t at, uint64_t len)
{
    struct copy *k = opaque;
    return dma_near_read(&k->q->near, k->q->dev->dma, a, k->to + at, len)
               ? vq_broken(k->q, "a buffer is not in RAM")
               : 0;
}

static int copy_in(void *opaque, gpa_t a, uint64_t at, uint64_t len)
{
    struct copy *k = opaque;
    return dma_near_write(&k->q->near, k->q->dev->dma, a, k->from + at, len)
               ? vq_broken(k->q, "a buffer is not in writable RAM")
               : 0;
}

int64_t vq_read(struct virtqueue *q, const struct vq_chain *c, uint64_t off, void *dst, size_t n)
{
    struct copy k = {.q = q, .to = dst};
    return each_piece(c, false, off, n, copy_out, &k);
}

int64_t vq_write(struct virtqueue *q, const struct vq_chain *c, uint64_t off, const void *src,
                 size_t n)
{
    struct copy k = {.q = q, .from = src};
    return each_piece(c, true, off, n, copy_in, &k);
}

struct pin {
    struct virtqueue *q;
    bool in;
    struct iovec *iov;
    struct dma_span *spans;
    unsigned *n_iov, max;
};

static int pin_piece(void *opaque, gpa_t a, uint64_t at, uint64_t len)
{
    struct pin *p = opaque;
    return dma_pin(p->q->dev->dma, a, len, p->in, p->iov, p->spans, p->n_iov, p->max);
}

int vq_pin(struct virtqueue *q, const struct vq_chain *c, bool in, uint64_t off, uint64_t n,
           struct iovec *iov, struct dma_span *spans, unsigned *n_iov, unsigned max)
{
    struct pin p = {q, in, iov, spans, n_iov, max};
    unsigned before = *n_iov;
    if (each_piece(c, in, off, n, pin_piece, &p) == (int64_t)n)
        return 0;
    dma_unpin(spans + before, *n_iov - before, false);
    *n_iov = before;
    return vq_broken(q, "a buffer cannot be pinned");
}
