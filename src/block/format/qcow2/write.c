// Writing: in place where a host cluster belongs to this mapping alone, else to new clusters with
// what the write does not cover copied over, and the mapping changed once the data is written.

#include "block/format/qcow2/qcow2.h"
#include <errno.h>
#include <stdlib.h>

// One step of a write: a run of clusters whose mapping will change.
struct step {
    uint64_t off, end; // what the guest writes
    uint64_t lo, hi;   // with the parts to copy around it
    uint64_t host;     // of cluster_start(off)
    uint64_t clusters;
    bool reuse; // the mapping keeps its host cluster
    bool fresh; // the host clusters read as zeros
    bool allocated;
    struct qcow2_l2ref ref;
};

static bool has_own_host(const struct qcow2 *s, uint64_t entry)
{
    return !(entry & QCOW2_COMPRESSED) && (entry & QCOW2_COPIED) &&
           ((entry & QCOW2_OFFSET_MASK) || s->data_is_external);
}

static bool has_content_to_keep(uint64_t entry)
{
    return (entry & QCOW2_COMPRESSED) || (entry & QCOW2_OFFSET_MASK);
}

static void count_clusters(const struct qcow2 *s, struct step *st)
{
    uint64_t want = (cluster_end(s, st->end) - cluster_start(s, st->off)) >> s->cluster_bits;
    st->reuse = has_own_host(s, qcow2_l2_entry(s, st->ref.sl, st->ref.index));
    st->clusters = 1;
    while (!st->reuse && st->clusters < want &&
           !has_own_host(s, qcow2_l2_entry(s, st->ref.sl, st->ref.index + (unsigned)st->clusters)))
        st->clusters++;
}

static int find_host(struct block_node *n, struct step *st)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t entry = qcow2_l2_entry(s, st->ref.sl, st->ref.index);
    if (s->data_is_external) {
        st->host = cluster_start(s, st->off);
        return 0;
    }
    if (st->reuse) {
        st->host = entry & QCOW2_OFFSET_MASK;
        return qcow2_check_host(n, st->host, true, "preallocated cluster", st->off);
    }
    int64_t got = qcow2_alloc(n, st->clusters, &st->host, &st->fresh);
    if (got < 0)
        return (int)got;
    st->allocated = true;
    st->clusters = (uint64_t)got;
    return 0;
}

// How finely the cluster of entry `i` may be filled: by subclusters if nothing else in it has to
// move along.
static uint64_t granule(const struct qcow2 *s, const struct step *st, unsigned i)
{
    if (s->subclusters > 1 &&
        (st->reuse || !has_content_to_keep(qcow2_l2_entry(s, st->ref.sl, st->ref.index + i))))
        return s->cluster_size / s->subclusters;
    return s->cluster_size;
}

static int copy_around(struct block_node *n, struct step *st, uint64_t from, uint64_t to,
                       void **buf)
{
    *buf = NULL;
    if (from == to)
        return 0;
    if (posix_memalign(buf, 4096, align_up(to - from, 4096)))
        return -ENOMEM;
    struct iovec iov = {*buf, to - from};
    return qcow2_read_range(n, from, to - from, iov_view_of(&iov, 1));
}

// The guest's data with head and tail in one write.
static int write_data(struct block_node *n, struct step *st, struct iov_view v)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t first = cluster_start(s, st->off);
    if (st->fresh && qcow2_reads_zero(n, st->lo, st->off - st->lo))
        st->lo = st->off;
    if (st->fresh && qcow2_reads_zero(n, st->end, st->hi - st->end))
        st->hi = st->end;
    if (st->lo == st->off && st->hi == st->end)
        return node_write(s->data, st->host + (st->off - first), st->end - st->off, v, 0);
    void *head, *tail = NULL;
    unsigned cnt = iov_count(v, st->end - st->off), k = 0;
    struct iovec *iov = xcalloc(cnt + 2, sizeof *iov);
    int r =
        copy_around(n, st, st->lo, st->off, &head) ?: copy_around(n, st, st->end, st->hi, &tail);
    if (!r) {
        if (head)
            iov[k++] = (struct iovec){head, st->off - st->lo};
        k += iov_flatten(v, st->end - st->off, iov + k, cnt);
        if (tail)
            iov[k++] = (struct iovec){tail, st->hi - st->end};
        r = node_write(s->data, st->host + (st->lo - first), st->hi - st->lo, iov_view_of(iov, k),
                       0);
    }
    free(head);
    free(tail);
    free(iov);
    return r;
}

// Bits of the subclusters of one cluster that [lo, hi) touches.
static uint64_t touched(const struct qcow2 *s, uint64_t cluster, uint64_t lo, uint64_t hi)
{
    uint64_t sub = s->cluster_size / s->subclusters;
    uint64_t from = lo > cluster ? (lo - cluster) / sub : 0;
    uint64_t to = MIN((hi - cluster + sub - 1) / sub, (uint64_t)s->subclusters);
    return mask_low((unsigned)to) & ~mask_low((unsigned)from);
}

static void set_mapping(struct block_node *n, struct step *st)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t cluster = cluster_start(s, st->off);
    for (uint64_t k = 0; k < st->clusters; k++, cluster += s->cluster_size) {
        unsigned i = st->ref.index + (unsigned)k;
        uint64_t old = qcow2_l2_entry(s, st->ref.sl, i), bitmap = 0;
        if (s->subclusters > 1) {
            uint64_t bits = touched(s, cluster, st->lo, st->hi);
            bitmap = qcow2_l2_bitmap(s, st->ref.sl, i);
            bitmap = !st->reuse && has_content_to_keep(old) ? mask_low(32)
                                                            : (bitmap | bits) & ~(bits << 32);
        }
        qcow2_l2_set(s, st->ref.sl, i, (st->host + (k << s->cluster_bits)) | QCOW2_COPIED, bitmap);
        if (!st->reuse) {
            uint64_t off, bytes;
            qcow2_entry_range(s, old, &off, &bytes);
            qcow2_free_later(s, off, bytes);
        }
    }
}

// Writes [off, end) by changing the mapping of its first clusters; *end says how far it came.
static int write_remapped(struct block_node *n, struct step *st, struct qcow2_claim *claim,
                          struct iov_view v)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t first = cluster_start(s, st->off);
    count_clusters(s, st);
    int r = find_host(n, st);
    if (r)
        return r;
    st->end = MIN(st->end, first + (st->clusters << s->cluster_bits));
    qcow2_claim_shrink(n, claim, cluster_end(s, st->end));
    st->lo = align_down(st->off, granule(s, st, 0));
    st->hi = align_up(st->end, granule(s, st, (unsigned)st->clusters - 1));
    r = write_data(n, st, v);
    if (!r)
        set_mapping(n, st);
    else if (st->allocated)
        qcow2_refcount_add(n, st->host, st->clusters << s->cluster_bits, -1);
    return r;
}

// One step from `off`; the bytes written in *done.
static int write_step(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v,
                      uint64_t *done)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t coverage = s->l2.bytes / s->l2_entry_size << s->cluster_bits;
    struct step st = {.off = off, .end = MIN(off + bytes, (off / coverage + 1) * coverage)};
    struct qcow2_claim claim;
    struct qcow2_mapping m;
    qcow2_claim(n, &claim, cluster_start(s, off), cluster_end(s, st.end));
    int r = qcow2_l2_writable(n, off, &st.ref);
    if (r) {
        qcow2_claim_end(n, &claim);
        return r;
    }
    r = qcow2_map_at(n, &st.ref, off, st.end - off, &m);
    if (!r && m.state == MAP_DATA && m.writable) {
        qcow2_slice_put(&s->l2, st.ref.sl);
        qcow2_claim_end(n, &claim);
        *done = m.bytes;
        return node_write(s->data, m.host, m.bytes, v, 0);
    }
    if (!r)
        r = write_remapped(n, &st, &claim, v);
    qcow2_slice_put(&s->l2, st.ref.sl);
    qcow2_claim_end(n, &claim);
    *done = st.end - off;
    return r;
}

int qcow2_write_range(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v)
{
    struct qcow2 *s = qcow2_of(n);
    while (bytes) {
        uint64_t done = 0;
        int r = s->corrupt ? -EIO : write_step(n, off, bytes, v, &done);
        if (r)
            return r;
        off += done;
        bytes -= done;
        v = iov_advance(v, done);
    }
    return 0;
}

int qcow2_write(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v,
                uint32_t flags)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_flight f;
    co_rwlock_read(node_co(n), &s->gate);
    qcow2_flight_begin(s, &f);
    int r = flags & BLOCK_COMPRESSED ? qcow2_write_compressed(n, off, bytes, v)
                                     : qcow2_write_range(n, off, bytes, v);
    qcow2_flight_end(n, &f);
    co_rwlock_unlock(node_co(n), &s->gate);
    if (!r && qcow2_wants_commit(s))
        r = qcow2_commit(n);
    return r;
}
