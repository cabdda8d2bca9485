// Walks over all that a level-one table reaches: counting its references, and setting the flags
// that say which clusters have one alone.

#include "block/format/qcow2/qcow2.h"
#include <errno.h>
#include <stdlib.h>

// Adds delta to the count of everything that one L2 table refers to.
static int count_l2(struct block_node *n, uint64_t table, int delta)
{
    struct qcow2 *s = qcow2_of(n);
    uint8_t *l2 = malloc(s->cluster_size);
    if (!l2)
        return -ENOMEM;
    int r = node_read_buf(n->file, table, l2, s->cluster_size);
    for (size_t k = 0; !r && k < s->cluster_size; k += s->l2_entry_size) {
        uint64_t entry = ld_be64(l2 + k), off, bytes;
        qcow2_entry_range(s, entry, &off, &bytes);
        if (!(entry & QCOW2_COMPRESSED) && (off & (s->cluster_size - 1)))
            r = qcow2_corrupt(n, "data offset 0x%llx is not aligned", (unsigned long long)off);
        r = r ?: qcow2_refcount_add(n, off, bytes, delta);
    }
    free(l2);
    return r;
}

int qcow2_count_tree(struct block_node *n, const uint64_t *l1, size_t len, int delta)
{
    struct qcow2 *s = qcow2_of(n);
    int r = 0;
    for (size_t i = 0; !r && i < len; i++) {
        uint64_t table = l1[i] & QCOW2_OFFSET_MASK;
        if (!table)
            continue;
        if (table & (s->cluster_size - 1))
            return qcow2_corrupt(n, "L2 table offset 0x%llx is not aligned",
                                 (unsigned long long)table);
        // Going down, the contents come first: the table may be gone afterwards.
        r = delta > 0 ? qcow2_refcount_add(n, table, s->cluster_size, delta) : 0;
        r = r ?: count_l2(n, table, delta);
        r = r ?: delta < 0 ? qcow2_refcount_add(n, table, s->cluster_size, delta) : 0;
    }
    return r;
}

static int fix_slice(struct block_node *n, uint64_t table_guest, unsigned entries)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_l2ref ref;
    int r = qcow2_l2_find(n, table_guest, &ref);
    for (unsigned i = 0; !r && ref.sl && i < entries; i++) {
        uint64_t entry = qcow2_l2_entry(s, ref.sl, i), refs, host = entry & QCOW2_OFFSET_MASK;
        if ((entry & QCOW2_COMPRESSED) || !host)
            continue;
        r = qcow2_refcount_get(n, host >> s->cluster_bits, &refs);
        uint64_t want = (entry & ~QCOW2_COPIED) | (refs == 1 ? QCOW2_COPIED : 0);
        if (!r && want != entry)
            qcow2_l2_set(s, ref.sl, i, want, qcow2_l2_bitmap(s, ref.sl, i));
    }
    if (ref.sl)
        qcow2_slice_put(&s->l2, ref.sl);
    return r;
}

int qcow2_fix_copied(struct block_node *n)
{
    struct qcow2 *s = qcow2_of(n);
    if (s->data_is_external)
        return 0;
    unsigned per_slice = (unsigned)(s->l2.bytes / s->l2_entry_size);
    uint64_t coverage = (uint64_t)per_slice << s->cluster_bits;
    int r = 0;
    for (size_t i = 0; !r && i < s->l1.len; i++) {
        uint64_t table = s->l1.entry[i] & QCOW2_OFFSET_MASK, refs;
        if (!table)
            continue;
        r = qcow2_refcount_get(n, table >> s->cluster_bits, &refs);
        uint64_t want = table | (refs == 1 ? QCOW2_COPIED : 0);
        if (!r && want != s->l1.entry[i])
            qcow2_table_set(&s->l1, i, want);
        for (uint64_t at = i * l2_coverage(s); !r && at < (i + 1) * l2_coverage(s);
             at += coverage) {
            r = fix_slice(n, at, per_slice);
            if (!r && qcow2_wants_commit(s))
                r = qcow2_commit(n);
        }
    }
    return r;
}
