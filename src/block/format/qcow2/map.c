// From guest offsets to host offsets through the L1 and L2 tables. What an entry says is checked
// here, once, before anyone uses it.

#include "block/format/qcow2/qcow2.h"
#include <errno.h>
#include <stdlib.h>

uint64_t qcow2_l2_entry(const struct qcow2 *s, const struct qcow2_slice *sl, unsigned i)
{
    return ld_be64(sl->data + (size_t)i * s->l2_entry_size);
}

uint64_t qcow2_l2_bitmap(const struct qcow2 *s, const struct qcow2_slice *sl, unsigned i)
{
    return s->l2_entry_size == 16 ? ld_be64(sl->data + (size_t)i * 16 + 8) : 0;
}

void qcow2_l2_set(struct qcow2 *s, struct qcow2_slice *sl, unsigned i, uint64_t entry,
                  uint64_t bitmap)
{
    st_be64(sl->data + (size_t)i * s->l2_entry_size, entry);
    if (s->l2_entry_size == 16)
        st_be64(sl->data + (size_t)i * 16 + 8, bitmap);
    qcow2_slice_dirty(&s->l2, sl);
}

enum qcow2_state qcow2_entry_state(const struct qcow2 *s, uint64_t entry, uint64_t bitmap,
                                   unsigned subcluster)
{
    if (entry & QCOW2_COMPRESSED)
        return MAP_COMPRESSED;
    if (s->l2_entry_size == 16) {
        if (bit(bitmap, subcluster))
            return MAP_DATA;
        return bit(bitmap, 32 + subcluster) ? MAP_ZERO : MAP_UNALLOCATED;
    }
    if ((entry & QCOW2_ZERO) && s->h.version >= 3)
        return MAP_ZERO;
    bool has_host = (entry & QCOW2_OFFSET_MASK) || (s->data_is_external && (entry & QCOW2_COPIED));
    return has_host ? MAP_DATA : MAP_UNALLOCATED;
}

int qcow2_check_host(struct block_node *n, uint64_t host, bool writable, const char *what,
                     uint64_t at)
{
    struct qcow2 *s = qcow2_of(n);
    if (host & (s->cluster_size - 1))
        return qcow2_corrupt(n, "%s at 0x%llx has the unaligned host offset 0x%llx", what,
                             (unsigned long long)at, (unsigned long long)host);
    const char *in = s->data_is_external || !writable ? NULL : qcow2_metadata_at(s, host, 1);
    if (in)
        return qcow2_corrupt(n, "%s at 0x%llx lies in the %s (host offset 0x%llx)", what,
                             (unsigned long long)at, in, (unsigned long long)host);
    return 0;
}

void qcow2_compressed_range(const struct qcow2 *s, uint64_t entry, uint64_t *off, uint64_t *bytes)
{
    unsigned x = 62 - (s->cluster_bits - 8);
    *off = entry & mask_low(MIN(x, 56u));
    uint64_t sectors = bits(entry, 61, x) + 1;
    *bytes = sectors * 512 - (*off & 511);
}

void qcow2_entry_range(const struct qcow2 *s, uint64_t entry, uint64_t *off, uint64_t *bytes)
{
    *off = 0;
    *bytes = 0;
    if (s->data_is_external)
        return;
    if (entry & QCOW2_COMPRESSED) {
        qcow2_compressed_range(s, entry, off, bytes);
    } else if (entry & QCOW2_OFFSET_MASK) {
        *off = entry & QCOW2_OFFSET_MASK;
        *bytes = s->cluster_size;
    }
}

static int check_l1(struct block_node *n, size_t i)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t off = s->l1.entry[i] & QCOW2_OFFSET_MASK;
    if (off & (s->cluster_size - 1))
        return qcow2_corrupt(n, "L2 table offset 0x%llx is not aligned (L1 entry %zu)",
                             (unsigned long long)off, i);
    return 0;
}

static int get_slice(struct block_node *n, uint64_t table, uint64_t off, struct qcow2_l2ref *ref)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t i = off >> s->cluster_bits & mask_low(s->l2_bits);
    unsigned per_slice = (unsigned)(s->l2.bytes / s->l2_entry_size);
    ref->index = (unsigned)(i % per_slice);
    ref->left = per_slice - ref->index;
    return qcow2_slice_get(&s->l2, table + i / per_slice * s->l2.bytes, &ref->sl);
}

int qcow2_l2_find(struct block_node *n, uint64_t off, struct qcow2_l2ref *ref)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t i = off >> (s->cluster_bits + s->l2_bits);
    ref->sl = NULL;
    ref->left = (unsigned)MIN((uint64_t)1 << s->l2_bits, (uint64_t)1 << 20) -
                (unsigned)(off >> s->cluster_bits & mask_low(s->l2_bits));
    ref->index = 0;
    if (i >= s->l1.len || !(s->l1.entry[i] & QCOW2_OFFSET_MASK))
        return 0;
    return check_l1(n, i) ?: get_slice(n, s->l1.entry[i] & QCOW2_OFFSET_MASK, off, ref);
}

// A table of its own for L1 entry i: empty, or a copy of the one shared with a snapshot.
static int make_l2(struct block_node *n, size_t i)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t old = s->l1.entry[i] & QCOW2_OFFSET_MASK, fresh;
    uint8_t *table;
    if (posix_memalign((void **)&table, 4096, align_up(s->cluster_size, 4096)))
        return -ENOMEM;
    memset(table, 0, s->cluster_size);
    int r = old ? check_l1(n, i) ?: node_read_buf(n->file, old, table, s->cluster_size) : 0;
    for (size_t k = 0; !r && old && k < s->cluster_size; k += s->l2_entry_size)
        table[k] &= 0x7f; // shared by two tables now, so nothing is ours alone
    r = r ?: qcow2_alloc_exact(n, 1, &fresh);
    if (!r) {
        r = node_write_buf(n->file, fresh, table, s->cluster_size);
        if (r)
            qcow2_refcount_add(n, fresh, s->cluster_size, -1);
    }
    free(table);
    if (r)
        return r;
    qcow2_cache_forget(&s->l2, fresh, s->cluster_size);
    qcow2_metadata_add(s, KIND_L2, fresh, s->cluster_size);
    if (old) {
        qcow2_metadata_del(s, old, s->cluster_size);
        qcow2_free_later(s, old, s->cluster_size);
    }
    qcow2_table_set(&s->l1, i, fresh | QCOW2_COPIED);
    return 0;
}

int qcow2_l2_writable(struct block_node *n, uint64_t off, struct qcow2_l2ref *ref)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t i = off >> (s->cluster_bits + s->l2_bits);
    if (i >= s->l1.len)
        return -EFBIG;
    if (!(s->l1.entry[i] & QCOW2_COPIED)) {
        co_mutex_lock(node_co(n), &s->l2_lock);
        int r = s->l1.entry[i] & QCOW2_COPIED ? 0 : make_l2(n, i);
        co_mutex_unlock(node_co(n), &s->l2_lock);
        if (r)
            return r;
    }
    return qcow2_l2_find(n, off, ref) ?: ref->sl ? 0 : -EIO;
}

int qcow2_map_at(struct block_node *n, const struct qcow2_l2ref *ref, uint64_t off, uint64_t bytes,
                 struct qcow2_mapping *m)
{
    struct qcow2 *s = qcow2_of(n);
    unsigned sub_bits = s->cluster_bits - (s->subclusters == 1 ? 0 : 5), index = ref->index;
    uint64_t sub_size = 1ull << sub_bits, at = off, end = off + bytes, next_host = 0;
    uint64_t limit = cluster_start(s, off) + ((uint64_t)ref->left << s->cluster_bits);
    end = MIN(end, limit);
    for (bool first = true; at < end; first = false) {
        uint64_t entry = qcow2_l2_entry(s, ref->sl, index);
        uint64_t bitmap = qcow2_l2_bitmap(s, ref->sl, index);
        unsigned sub = (unsigned)((at & (s->cluster_size - 1)) >> sub_bits);
        enum qcow2_state state = qcow2_entry_state(s, entry, bitmap, sub);
        uint64_t host = entry & QCOW2_OFFSET_MASK;
        bool writable = entry & QCOW2_COPIED;
        if (first) {
            *m = (struct qcow2_mapping){.state = state, .entry = entry, .writable = writable};
            if (state == MAP_DATA || (state == MAP_ZERO && host))
                m->host = host + (at & (s->cluster_size - 1));
        } else if (state != m->state || state == MAP_COMPRESSED ||
                   (state == MAP_DATA && (writable != m->writable ||
                                          host + (at & (s->cluster_size - 1)) != next_host))) {
            break;
        }
        if (state == MAP_DATA && (first || !(at & (s->cluster_size - 1)))) {
            int r = qcow2_check_host(n, host, writable, "data", at);
            if (r)
                return r;
        }
        uint64_t stop = state == MAP_COMPRESSED ? cluster_start(s, at) + s->cluster_size
                                                : (at & ~(sub_size - 1)) + sub_size;
        if (!(stop & (s->cluster_size - 1)))
            index++;
        next_host = host + (at & (s->cluster_size - 1)) + (stop - at);
        at = stop;
    }
    m->bytes = MIN(at, end) - off;
    return 0;
}

int qcow2_map(struct block_node *n, uint64_t off, uint64_t bytes, struct qcow2_mapping *m)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_l2ref ref;
    int r = qcow2_l2_find(n, off, &ref);
    if (r)
        return r;
    if (!ref.sl) {
        uint64_t limit = cluster_start(s, off) + ((uint64_t)ref.left << s->cluster_bits);
        *m = (struct qcow2_mapping){.state = MAP_UNALLOCATED, .bytes = MIN(bytes, limit - off)};
        return 0;
    }
    r = qcow2_map_at(n, &ref, off, bytes, m);
    qcow2_slice_put(&s->l2, ref.sl);
    return r;
}
