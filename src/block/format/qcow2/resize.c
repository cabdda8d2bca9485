// Changing the size of the disk, and moving the active L1 table, which that (and snapshots) need.

#include "block/format/qcow2/qcow2.h"
#include <errno.h>
#include <stdlib.h>

int qcow2_switch_l1(struct block_node *n, const uint64_t *entry, size_t len)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t bytes = MAX(align_up(len * 8, s->cluster_size), s->cluster_size), off;
    if (len * 8 > QCOW2_L1_BYTES_MAX)
        return -EFBIG;
    // Padded to whole sectors, as the commits write it.
    uint64_t *padded = calloc(bytes / 8, 8);
    if (!padded)
        return -ENOMEM;
    memcpy(padded, entry, len * 8);
    int r = qcow2_alloc_exact(n, bytes >> s->cluster_bits, &off)
            ?: qcow2_write_entries(n, off, padded, bytes / 8) ?: qcow2_commit(n);
    free(padded);
    uint8_t head[12];
    st_be32(head, (uint32_t)len);
    st_be64(head + 4, off);
    r = r ?: node_write_buf(n->file, QCOW2_AT_L1, head, sizeof head) ?: node_flush(n->file);
    if (r)
        return r;
    uint64_t old_off = s->l1.off, old_bytes = (uint64_t)s->h.l1_entries * 8;
    s->h.l1_entries = (uint32_t)len;
    s->h.l1_offset = off;
    qcow2_metadata_del(s, old_off, old_bytes);
    qcow2_metadata_add(s, KIND_L1, off, bytes);
    r = qcow2_table_load(n, &s->l1, off, len);
    return r ?: old_bytes ? qcow2_refcount_add(n, old_off, old_bytes, -1) : 0;
}

int qcow2_grow_l1(struct block_node *n, uint64_t entries)
{
    struct qcow2 *s = qcow2_of(n);
    if (entries <= s->l1.len)
        return 0;
    if (entries * 8 > QCOW2_L1_BYTES_MAX)
        return -EFBIG;
    uint64_t *longer = calloc(entries, 8);
    if (!longer)
        return -ENOMEM;
    memcpy(longer, s->l1.entry, s->l1.len * 8);
    int r = qcow2_switch_l1(n, longer, entries);
    free(longer);
    return r;
}

static int set_size(struct block_node *n, uint64_t size)
{
    struct qcow2 *s = qcow2_of(n);
    int r = qcow2_write_entries(n, QCOW2_AT_SIZE, &size, 1) ?: node_flush(n->file);
    if (!r)
        s->h.size = n->size = size;
    return r;
}

static int shrink(struct block_node *n, uint64_t size)
{
    int r = qcow2_discard_range(n, size, n->size - size, true) ?: qcow2_commit(n);
    return r ?: set_size(n, size);
}

// What appears reads as zeros: not what a cluster's tail or a longer backing file holds.
static int clear_growth(struct block_node *n, uint64_t old)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t end = MIN(n->size, cluster_end(s, old));
    if (n->backing && n->backing->size > end)
        end = MIN(n->size, n->backing->size);
    int r = end > old ? qcow2_zero_range(n, old, end - old, 0) : 0;
    if (r == -ENOTSUP) {
        void *zero = calloc(1, s->cluster_size);
        struct iovec iov = {zero, s->cluster_size};
        r = zero ? 0 : -ENOMEM;
        for (uint64_t at = old; !r && at < end; at += s->cluster_size)
            r = qcow2_write_range(n, at, MIN(s->cluster_size, end - at), iov_view_of(&iov, 1));
        free(zero);
    }
    return r;
}

static int grow(struct block_node *n, uint64_t size)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t old = n->size, entries = (size + l2_coverage(s) - 1) / l2_coverage(s);
    // VM state of the active layer lies where the disk will be: it goes.
    uint64_t state = vmstate_start(s), l1_end = s->l1.len * l2_coverage(s);
    int r = l1_end > state ? qcow2_discard_range(n, state, l1_end - state, true) : 0;
    r = r ?: qcow2_commit(n) ?: qcow2_grow_l1(n, entries);
    if (!r && s->data_is_external) {
        struct err ignored;
        if (node_resize(s->data, size, &ignored))
            r = -EIO;
    }
    r = r ?: set_size(n, size);
    return r ?: clear_growth(n, old) ?: qcow2_commit(n);
}

int qcow2_resize(struct block_node *n, uint64_t size, struct err *e)
{
    struct qcow2 *s = qcow2_of(n);
    if (size > INT64_MAX)
        return err_set(e, "the size is too large");
    if (size & 511)
        return err_set(e, "the size must be a multiple of 512 bytes");
    if (s->snapshots.len && s->h.version < 3)
        return err_set(e, "a version 2 qcow2 image with snapshots cannot be resized");
    co_rwlock_write(node_co(n), &s->gate);
    int r = qcow2_commit(n);
    if (!r && size != n->size)
        r = size < n->size ? shrink(n, size) : grow(n, size);
    co_rwlock_unlock(node_co(n), &s->gate);
    return r ? err_errno(e, -r, "cannot resize the image") : 0;
}
