// Zeroing and discarding without writing data: by changing the mapping of whole clusters (or
// subclusters), with plain zeros for the ragged ends.

#include "block/format/qcow2/qcow2.h"
#include <errno.h>
#include <stdlib.h>

enum zero_mode {
    ZERO_KEEP,   // reads as zeros, host clusters stay reserved
    ZERO_UNMAP,  // reads as zeros, host clusters are given back
    ZERO_EXPOSE, // unallocated: the backing file shows through
};

struct change {
    enum zero_mode mode;
    uint64_t off, end;
};

static int write_plain(struct block_node *n, uint64_t off, uint64_t bytes)
{
    if (!bytes || qcow2_reads_zero(n, off, bytes))
        return 0;
    void *zero = calloc(1, bytes);
    if (!zero)
        return -ENOMEM;
    struct iovec iov = {zero, bytes};
    int r = qcow2_write_range(n, off, bytes, iov_view_of(&iov, 1));
    free(zero);
    return r;
}

static bool is_own(const struct qcow2 *s, uint64_t entry)
{
    return !(entry & QCOW2_COMPRESSED) && (entry & QCOW2_COPIED) &&
           ((entry & QCOW2_OFFSET_MASK) || s->data_is_external);
}

// The new entry for a whole cluster.
static void whole_cluster(const struct qcow2 *s, enum zero_mode mode, uint64_t old, uint64_t *entry,
                          uint64_t *bitmap)
{
    bool keep = is_own(s, old) && (mode == ZERO_KEEP || s->data_is_external);
    *entry = keep ? (old & QCOW2_OFFSET_MASK) | QCOW2_COPIED : 0;
    *bitmap = 0;
    if (mode == ZERO_EXPOSE)
        *entry = 0;
    else if (s->subclusters > 1)
        *bitmap = mask_low(32) << 32;
    else if (s->h.version >= 3)
        *entry |= QCOW2_ZERO;
}

static int change_entry(struct block_node *n, struct qcow2_slice *sl, unsigned i, uint64_t cluster,
                        const struct change *c)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t old = qcow2_l2_entry(s, sl, i), old_bitmap = qcow2_l2_bitmap(s, sl, i);
    uint64_t entry, bitmap;
    if (c->off <= cluster && c->end >= cluster + s->cluster_size) {
        whole_cluster(s, c->mode, old, &entry, &bitmap);
    } else { // some subclusters
        if ((old & QCOW2_COMPRESSED) || ((old & QCOW2_OFFSET_MASK) && !is_own(s, old)))
            return -ENOTSUP;
        uint64_t sub = s->cluster_size / s->subclusters;
        unsigned from = (unsigned)((MAX(c->off, cluster) - cluster) / sub);
        unsigned to = (unsigned)((MIN(c->end, cluster + s->cluster_size) - cluster) / sub);
        uint64_t which = mask_low(to) & ~mask_low(from);
        entry = old;
        bitmap = (old_bitmap & ~which) | which << 32;
    }
    if (entry == old && bitmap == old_bitmap)
        return 0;
    qcow2_l2_set(s, sl, i, entry, bitmap);
    if ((entry & QCOW2_OFFSET_MASK) != (old & QCOW2_OFFSET_MASK) || (old & QCOW2_COMPRESSED)) {
        uint64_t off, bytes;
        qcow2_entry_range(s, old, &off, &bytes);
        qcow2_free_later(s, off, bytes);
    }
    return 0;
}

static bool nothing_there(struct block_node *n, const struct qcow2_l2ref *ref,
                          const struct change *c)
{
    bool backed = n->backing && c->off < MIN(n->backing->size, n->size);
    return !ref->sl && (!backed || c->mode == ZERO_EXPOSE);
}

// Changes the entries of one slice's coverage, from c->off on; *end says how far.
static int change_slice(struct block_node *n, struct change *c, uint64_t *end)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_l2ref ref;
    struct qcow2_claim claim;
    uint64_t coverage = s->l2.bytes / s->l2_entry_size << s->cluster_bits;
    uint64_t table = l2_coverage(s), all = c->end;
    int r = qcow2_l2_find(n, c->off, &ref);
    if (r)
        return r;
    bool nothing = nothing_there(n, &ref, c);
    if (ref.sl)
        qcow2_slice_put(&s->l2, ref.sl);
    if (nothing) {
        *end = MIN(all, (c->off / table + 1) * table);
        return 0;
    }
    c->end = *end = MIN(all, (c->off / coverage + 1) * coverage);
    qcow2_claim(n, &claim, cluster_start(s, c->off), cluster_end(s, c->end));
    r = qcow2_l2_writable(n, c->off, &ref);
    if (!r) {
        unsigned i = ref.index;
        for (uint64_t at = cluster_start(s, c->off); !r && at < c->end; at += s->cluster_size)
            r = change_entry(n, ref.sl, i++, at, c);
        qcow2_slice_put(&s->l2, ref.sl);
    }
    qcow2_claim_end(n, &claim);
    c->end = all;
    return r;
}

static int change_range(struct block_node *n, uint64_t off, uint64_t end, enum zero_mode mode)
{
    struct change c = {.mode = mode, .off = off, .end = end};
    int r = 0;
    while (!r && c.off < c.end) {
        uint64_t upto = 0;
        r = change_slice(n, &c, &upto);
        c.off = upto;
    }
    return r;
}

int qcow2_discard_range(struct block_node *n, uint64_t off, uint64_t bytes, bool expose_backing)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t start = cluster_end(s, off), end = off + bytes;
    if (end != n->size)
        end = cluster_start(s, end);
    else
        end = cluster_end(s, end);
    if (start >= end)
        return 0;
    bool backed = n->backing && start < n->backing->size;
    if (s->data_is_external) {
        int r = node_discard(s->data, start, MIN(end, n->size) - start);
        if (r || (s->h.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW))
            return r;
    }
    if (expose_backing || !backed)
        return change_range(n, start, end, ZERO_EXPOSE);
    return s->h.version >= 3 ? change_range(n, start, end, ZERO_UNMAP) : 0;
}

int qcow2_zero_range(struct block_node *n, uint64_t off, uint64_t bytes, uint32_t flags)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t grain = s->cluster_size / s->subclusters, end = off + bytes;
    uint64_t start = align_up(off, grain), stop = end == n->size ? end : align_down(end, grain);
    bool backed = n->backing && off < n->backing->size;
    enum zero_mode mode = flags & BLOCK_MAY_UNMAP ? ZERO_UNMAP : ZERO_KEEP;
    if (s->h.version < 3) {
        if (backed || mode == ZERO_KEEP)
            return -ENOTSUP;
        mode = ZERO_EXPOSE;
    }
    if (s->h.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW) {
        int r = node_write_zeroes(s->data, off, bytes, flags);
        if (r)
            return r;
    }
    if (start >= stop)
        return write_plain(n, off, bytes);
    // The last cluster of the disk counts as whole.
    uint64_t whole = stop == n->size ? align_up(stop, s->cluster_size) : stop;
    int r = write_plain(n, off, start - off);
    r = r ?: change_range(n, start, whole, mode);
    return r ?: write_plain(n, stop, end - stop);
}

enum op { OP_ZERO, OP_DISCARD };

// A guest's request: within the gate, and with a commit when enough has come together.
static int serve(struct block_node *n, enum op op, uint64_t off, uint64_t bytes, uint32_t flags)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_flight f;
    if (s->corrupt)
        return -EIO;
    co_rwlock_read(node_co(n), &s->gate);
    qcow2_flight_begin(s, &f);
    int r = op == OP_ZERO ? qcow2_zero_range(n, off, bytes, flags)
                          : qcow2_discard_range(n, off, bytes, false);
    qcow2_flight_end(n, &f);
    co_rwlock_unlock(node_co(n), &s->gate);
    if (!r && qcow2_wants_commit(s))
        r = qcow2_commit(n);
    return r;
}

int qcow2_write_zeroes(struct block_node *n, uint64_t off, uint64_t bytes, uint32_t flags)
{
    return serve(n, OP_ZERO, off, bytes, flags);
}

int qcow2_discard(struct block_node *n, uint64_t off, uint64_t bytes)
{
    return serve(n, OP_DISCARD, off, bytes, 0);
}
