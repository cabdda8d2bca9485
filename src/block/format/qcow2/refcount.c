// Reference counts of host clusters and the allocator on top of them: first fit from the lowest
// cluster that may be free. alloc_lock covers every change; reading a single count needs no lock.

#include "block/format/qcow2/qcow2.h"
#include <errno.h>
#include <stdlib.h>

uint64_t qcow2_refblock_entries(const struct qcow2 *s)
{
    return s->cluster_size * 8 >> s->refcount_order;
}

uint64_t qcow2_refcount_max(const struct qcow2 *s)
{
    return mask_low(MIN(1u << s->refcount_order, 63u));
}

uint64_t qcow2_refcount_in(const struct qcow2 *s, const uint8_t *block, uint64_t i)
{
    switch (s->refcount_order) {
    case 3:
        return block[i];
    case 4:
        return ld_be16(block + i * 2);
    case 5:
        return ld_be32(block + i * 4);
    case 6:
        return ld_be64(block + i * 8);
    }
    unsigned width = 1u << s->refcount_order, per_byte = 8 / width;
    return block[i / per_byte] >> (i % per_byte * width) & mask_low(width);
}

void qcow2_refcount_put(const struct qcow2 *s, uint8_t *block, uint64_t i, uint64_t v)
{
    switch (s->refcount_order) {
    case 3:
        block[i] = (uint8_t)v;
        return;
    case 4:
        st_be16(block + i * 2, (uint16_t)v);
        return;
    case 5:
        st_be32(block + i * 4, (uint32_t)v);
        return;
    case 6:
        st_be64(block + i * 8, v);
        return;
    }
    unsigned width = 1u << s->refcount_order, per_byte = 8 / width;
    unsigned shift = (unsigned)(i % per_byte) * width;
    uint8_t *b = &block[i / per_byte];
    *b = (uint8_t)((*b & ~(mask_low(width) << shift)) | v << shift);
}

// The slice that holds a cluster's count, and the index in it. *sl is NULL where there is no block.
static int find_slice(struct block_node *n, uint64_t cluster, struct qcow2_slice **sl,
                      uint64_t *index)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t entries = qcow2_refblock_entries(s), block = cluster / entries;
    *sl = NULL;
    if (block >= s->reftable.len || !s->reftable.entry[block])
        return 0;
    uint64_t off = s->reftable.entry[block];
    if (off & (s->cluster_size - 1))
        return qcow2_corrupt(n, "refcount block offset 0x%llx is not aligned (entry %llu)",
                             (unsigned long long)off, (unsigned long long)block);
    uint64_t per_slice = s->refblocks.bytes * 8 >> s->refcount_order, i = cluster % entries;
    *index = i % per_slice;
    return qcow2_slice_get(&s->refblocks, off + i / per_slice * s->refblocks.bytes, sl);
}

int qcow2_refcount_get(struct block_node *n, uint64_t cluster, uint64_t *v)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_slice *sl;
    uint64_t i;
    int r = find_slice(n, cluster, &sl, &i);
    *v = !r && sl ? qcow2_refcount_in(s, sl->data, i) : 0;
    if (!r && sl)
        qcow2_slice_put(&s->refblocks, sl);
    return r;
}

// Writes a refcount block that counts one reference for each cluster of [first, end) it covers.
static int write_new_block(struct block_node *n, uint64_t block, uint64_t at, uint64_t first,
                           uint64_t end)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t entries = qcow2_refblock_entries(s);
    uint8_t *data = calloc(1, s->cluster_size);
    if (!data)
        return -ENOMEM;
    for (uint64_t c = MAX(first, block * entries); c < MIN(end, (block + 1) * entries); c++)
        qcow2_refcount_put(s, data, c - block * entries, 1);
    qcow2_cache_forget(&s->refblocks, at << s->cluster_bits, s->cluster_size);
    int r = node_write_buf(n->file, at << s->cluster_bits, data, s->cluster_size);
    free(data);
    return r;
}

// How many blocks it takes to count `clusters` and themselves, when both begin a block's range.
static uint64_t blocks_for(const struct qcow2 *s, uint64_t clusters)
{
    uint64_t entries = qcow2_refblock_entries(s), blocks = 1;
    while (blocks * entries < blocks + clusters)
        blocks++;
    return blocks;
}

// Writes the blocks that count [first, first + blocks + clusters) at the start of that range.
static int write_new_blocks(struct block_node *n, uint64_t first, uint64_t blocks,
                            uint64_t clusters)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t block = first / qcow2_refblock_entries(s);
    int r = 0;
    for (uint64_t b = 0; !r && b < blocks; b++)
        r = write_new_block(n, block + b, first + b, first, first + blocks + clusters);
    if (!r) {
        s->fresh_from = MAX(s->fresh_from, first + blocks + clusters);
        qcow2_metadata_add(s, KIND_REFBLOCK, first << s->cluster_bits, blocks << s->cluster_bits);
    }
    return r;
}

// commit_lock held: no commit writes to the old place. Durable when it returns.
static int switch_reftable(struct block_node *n, struct qcow2_table *bigger)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_table *t = &s->reftable;
    uint32_t clusters = (uint32_t)(bigger->len * 8 >> s->cluster_bits);
    uint8_t head[12];
    st_be64(head, bigger->off);
    st_be32(head + 8, clusters);
    int r = qcow2_write_entries(n, bigger->off, bigger->entry, bigger->len)
            ?: node_flush(n->file)
            ?: node_write_buf(n->file, QCOW2_AT_REFTABLE, head, sizeof head)
            ?: node_flush(n->file);
    if (r)
        return r;
    uint64_t old_off = t->off, old_bytes = (uint64_t)s->h.reftable_clusters << s->cluster_bits;
    qcow2_table_free(t);
    *t = *bigger;
    s->h.reftable_offset = t->off;
    s->h.reftable_clusters = clusters;
    qcow2_metadata_del(s, old_off, old_bytes);
    qcow2_metadata_add(s, KIND_REFTABLE, t->off, (uint64_t)clusters << s->cluster_bits);
    qcow2_free_later(s, old_off, old_bytes);
    return 0;
}

// Puts a refcount table with room for `block` and half as many more behind everything that the
// present one can count, with the blocks that count it.
static int grow_reftable(struct block_node *n, uint64_t block)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t entries = qcow2_refblock_entries(s), per_cluster = s->cluster_size / 8;
    uint64_t at_block = MAX(block, s->reftable.len), blocks = 1, clusters = 0;
    for (int i = 0; i < 8; i++) { // more blocks may need more table and the other way round
        clusters = ((at_block + blocks) * 3 / 2 + per_cluster) / per_cluster;
        blocks = blocks_for(s, clusters);
    }
    if (clusters << s->cluster_bits > QCOW2_REFTABLE_BYTES_MAX)
        return -EFBIG;
    uint64_t first = at_block * entries;
    struct qcow2_table bigger = {.len = clusters * per_cluster,
                                 .off = (first + blocks) << s->cluster_bits};
    bigger.entry = calloc(bigger.len, 8);
    bigger.dirty = calloc(bigger.len / 64 + 1, 1);
    if (!bigger.entry || !bigger.dirty) {
        qcow2_table_free(&bigger);
        return -ENOMEM;
    }
    co_mutex_lock(node_co(n), &s->commit_lock);
    memcpy(bigger.entry, s->reftable.entry, s->reftable.len * 8);
    for (uint64_t b = 0; b < blocks; b++)
        bigger.entry[at_block + b] = (first + b) << s->cluster_bits;
    int r = write_new_blocks(n, first, blocks, clusters) ?: switch_reftable(n, &bigger);
    co_mutex_unlock(node_co(n), &s->commit_lock);
    if (r)
        qcow2_table_free(&bigger);
    return r;
}

// Makes the block that counts `cluster` exist. It is the first cluster of its own range: without
// a block the whole range is free.
static int ensure_block(struct block_node *n, uint64_t cluster)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t entries = qcow2_refblock_entries(s), block = cluster / entries;
    if (block < s->reftable.len && s->reftable.entry[block])
        return 0;
    if (block >= s->reftable.len)
        return grow_reftable(n, block);
    uint64_t at = block * entries;
    if (qcow2_metadata_at(s, at << s->cluster_bits, s->cluster_size))
        return qcow2_corrupt(n, "no reference count for metadata at 0x%llx",
                             (unsigned long long)(at << s->cluster_bits));
    int r = write_new_blocks(n, at, 1, 0);
    if (r)
        return r;
    qcow2_table_set(&s->reftable, block, at << s->cluster_bits);
    return 0;
}

// alloc_lock held. Changes one count; what is in use has a block that counts it.
static int add_one(struct block_node *n, uint64_t cluster, int delta)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_slice *sl;
    uint64_t i;
    int r = find_slice(n, cluster, &sl, &i);
    if (r)
        return r;
    uint64_t v = sl ? qcow2_refcount_in(s, sl->data, i) : 0;
    if (delta < 0 && !v)
        r = qcow2_corrupt(n, "cluster at 0x%llx is freed but was not in use",
                          (unsigned long long)(cluster << s->cluster_bits));
    else if (!sl)
        r = qcow2_corrupt(n, "cluster at 0x%llx is in use but nothing counts it",
                          (unsigned long long)(cluster << s->cluster_bits));
    else if (delta > 0 && v >= qcow2_refcount_max(s))
        r = -EOVERFLOW;
    if (!r) {
        v += (uint64_t)(int64_t)delta;
        qcow2_refcount_put(s, sl->data, i, v);
        qcow2_slice_dirty(&s->refblocks, sl);
    }
    if (sl)
        qcow2_slice_put(&s->refblocks, sl);
    if (!r && !v) {
        s->free_hint = MIN(s->free_hint, cluster);
        qcow2_cache_forget(&s->l2, cluster << s->cluster_bits, s->cluster_size);
        if (cluster == s->compress_at >> s->cluster_bits)
            s->compress_at = 0;
    }
    return r;
}

static int add_range(struct block_node *n, uint64_t first, uint64_t end, int delta)
{
    for (uint64_t c = first; c < end; c++) {
        int r = add_one(n, c, delta);
        if (!r)
            continue;
        while (delta > 0 && c-- > first)
            add_one(n, c, -delta);
        return r;
    }
    return 0;
}

int qcow2_refcount_add(struct block_node *n, uint64_t off, uint64_t bytes, int delta)
{
    struct qcow2 *s = qcow2_of(n);
    if (!bytes)
        return 0;
    co_mutex_lock(node_co(n), &s->alloc_lock);
    int r = add_range(n, off >> s->cluster_bits, ((off + bytes - 1) >> s->cluster_bits) + 1, delta);
    co_mutex_unlock(node_co(n), &s->alloc_lock);
    return r;
}

// The next run of free clusters at or after `from`, at most `want` long.
static int find_run(struct block_node *n, uint64_t from, uint64_t want, uint64_t *first,
                    uint64_t *got)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t entries = qcow2_refblock_entries(s), c = from;
    *got = 0;
    while (*got < want) {
        struct qcow2_slice *sl;
        uint64_t i;
        int r = find_slice(n, c, &sl, &i);
        if (r)
            return r;
        if (!sl) { // no block: all free, its first cluster will be the block itself
            uint64_t block = c / entries * entries;
            if (c == block) {
                if (*got)
                    return 0; // the block would sit in the middle of the run
                if ((r = ensure_block(n, c)))
                    return r;
                continue;
            }
            return -EIO; // a range is entered at its beginning only
        }
        uint64_t per_slice = s->refblocks.bytes * 8 >> s->refcount_order;
        for (; i < per_slice && *got < want; i++, c++) {
            if (!qcow2_refcount_in(s, sl->data, i)) {
                *first = *got ? *first : c;
                ++*got;
            } else if (*got) {
                qcow2_slice_put(&s->refblocks, sl);
                return 0;
            }
        }
        qcow2_slice_put(&s->refblocks, sl);
    }
    return 0;
}

static int take_run(struct block_node *n, uint64_t first, uint64_t clusters, bool *fresh)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t off = first << s->cluster_bits;
    if ((first + clusters) > (QCOW2_OFFSET_MASK >> s->cluster_bits))
        return -EFBIG;
    const char *what = qcow2_metadata_at(s, off, clusters << s->cluster_bits);
    if (what)
        return qcow2_corrupt(n, "the %s at 0x%llx counts as free", what, (unsigned long long)off);
    int r = add_range(n, first, first + clusters, 1);
    if (r)
        return r;
    *fresh = first >= s->fresh_from && !s->corrupt;
    s->fresh_from = MAX(s->fresh_from, first + clusters);
    return 0;
}

int64_t qcow2_alloc(struct block_node *n, uint64_t want, uint64_t *off, bool *fresh)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t first, got;
    co_mutex_lock(node_co(n), &s->alloc_lock);
    int r = find_run(n, s->free_hint, want, &first, &got) ?: take_run(n, first, got, fresh);
    if (!r)
        s->free_hint = first + got;
    co_mutex_unlock(node_co(n), &s->alloc_lock);
    *off = first << s->cluster_bits;
    return r ?: (int64_t)got;
}

// A run that one block cannot count, behind everything else, with blocks of its own.
static int alloc_far(struct block_node *n, uint64_t clusters, uint64_t *off)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t entries = qcow2_refblock_entries(s), blocks = blocks_for(s, clusters), block;
    for (;;) {
        block = (s->fresh_from + entries - 1) / entries;
        for (uint64_t b = block; b < s->reftable.len; b++)
            if (s->reftable.entry[b])
                block = b + 1;
        if (block + blocks <= s->reftable.len)
            break;
        int r = grow_reftable(n, block + blocks);
        if (r)
            return r;
    }
    uint64_t first = block * entries;
    int r = write_new_blocks(n, first, blocks, clusters);
    for (uint64_t b = 0; !r && b < blocks; b++)
        qcow2_table_set(&s->reftable, block + b, (first + b) << s->cluster_bits);
    *off = (first + blocks) << s->cluster_bits;
    return r;
}

// alloc_lock held.
static int alloc_contiguous(struct block_node *n, uint64_t clusters, uint64_t *off)
{
    struct qcow2 *s = qcow2_of(n);
    if (clusters > qcow2_refblock_entries(s) / 2)
        return alloc_far(n, clusters, off);
    uint64_t from = s->free_hint, first = 0, got = 0, lowest = UINT64_MAX;
    bool fresh;
    for (;;) {
        uint64_t run = 0, len = 0;
        int r = find_run(n, from, clusters - got, &run, &len);
        if (r)
            return r;
        lowest = MIN(lowest, run);
        if (got && run == first + got) {
            got += len;
        } else {
            first = run;
            got = len;
        }
        from = run + len;
        if (got == clusters)
            break;
    }
    int r = take_run(n, first, clusters, &fresh);
    if (!r)
        s->free_hint = lowest == first ? first + clusters : lowest;
    *off = first << s->cluster_bits;
    return r;
}

int qcow2_alloc_exact(struct block_node *n, uint64_t clusters, uint64_t *off)
{
    struct qcow2 *s = qcow2_of(n);
    co_mutex_lock(node_co(n), &s->alloc_lock);
    int r = alloc_contiguous(n, clusters, off);
    co_mutex_unlock(node_co(n), &s->alloc_lock);
    return r;
}

// alloc_lock held. Compressed clusters are packed one behind the other; each counts once in every
// host cluster that it touches. A run may go on into the next host cluster if that one is free.
static int alloc_packed(struct block_node *n, uint64_t bytes, uint64_t *off)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t at = s->compress_at, room = at ? cluster_end(s, at) - at : 0, refs = 0, next = 0;
    int r = 0;
    if (room) {
        r = qcow2_refcount_get(n, at >> s->cluster_bits, &refs);
        if (!r && refs >= qcow2_refcount_max(s))
            room = 0;
    }
    if (!r && bytes > room) {
        r = alloc_contiguous(n, 1, &next);
        if (r)
            return r;
        if (!room || next != at + room) {
            at = next; // starts afresh there
        } else {
            r = add_one(n, at >> s->cluster_bits, 1);
        }
    } else if (!r) {
        r = add_one(n, at >> s->cluster_bits, 1);
    }
    if (r)
        return r;
    *off = at;
    s->compress_at = at + bytes;
    if (!(s->compress_at & (s->cluster_size - 1)))
        s->compress_at = 0; // exactly full
    return 0;
}

int qcow2_alloc_bytes(struct block_node *n, uint64_t bytes, uint64_t *off)
{
    struct qcow2 *s = qcow2_of(n);
    BUG_ON(!bytes || bytes > s->cluster_size);
    co_mutex_lock(node_co(n), &s->alloc_lock);
    int r = alloc_packed(n, bytes, off);
    co_mutex_unlock(node_co(n), &s->alloc_lock);
    return r;
}

void qcow2_free_later(struct qcow2 *s, uint64_t off, uint64_t bytes)
{
    if (!bytes)
        return;
    struct qcow2_free *last = s->freed.len ? &s->freed.data[s->freed.len - 1] : NULL;
    if (last && last->off + last->bytes == off &&
        !((off | bytes | last->bytes) & (s->cluster_size - 1)))
        last->bytes += bytes; // whole clusters in a row
    else
        vec_push(&s->freed, (struct qcow2_free){.off = off, .bytes = bytes});
}
