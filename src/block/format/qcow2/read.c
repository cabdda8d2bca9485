// Reading: each run of one mapping state at a time.

#include "block/format/qcow2/qcow2.h"

// What no table maps comes from the backing file, as far as that goes; the VM state area has none.
static int read_unallocated(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v)
{
    uint64_t end = n->backing ? MIN(n->backing->size, n->size) : 0, below = 0;
    if (off < end) {
        below = MIN(bytes, end - off);
        int r = node_read(n->backing, off, below, v);
        if (r)
            return r;
    }
    iov_zero(iov_advance(v, below), bytes - below);
    return 0;
}

int qcow2_read_range(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v)
{
    struct qcow2 *s = qcow2_of(n);
    while (bytes) {
        struct qcow2_mapping m;
        int r = qcow2_map(n, off, bytes, &m);
        if (r)
            return r;
        switch (m.state) {
        case MAP_UNALLOCATED:
            r = read_unallocated(n, off, m.bytes, v);
            break;
        case MAP_ZERO:
            iov_zero(v, m.bytes);
            break;
        case MAP_DATA:
            r = node_read(s->data, m.host, m.bytes, v);
            break;
        case MAP_COMPRESSED:
            r = qcow2_read_compressed(n, m.entry, off & (s->cluster_size - 1), m.bytes, v);
            break;
        }
        if (r)
            return r;
        off += m.bytes;
        bytes -= m.bytes;
        v = iov_advance(v, m.bytes);
    }
    return 0;
}

bool qcow2_reads_zero(struct block_node *n, uint64_t off, uint64_t bytes)
{
    uint64_t backed = n->backing ? MIN(n->backing->size, n->size) : 0;
    while (bytes) {
        struct qcow2_mapping m;
        if (qcow2_map(n, off, bytes, &m))
            return false;
        if (m.state != MAP_ZERO && (m.state != MAP_UNALLOCATED || off < backed))
            return false;
        off += m.bytes;
        bytes -= m.bytes;
    }
    return true;
}

int qcow2_read(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_flight f;
    co_rwlock_read(node_co(n), &s->gate);
    qcow2_flight_begin(s, &f);
    int r = qcow2_read_range(n, off, bytes, v);
    qcow2_flight_end(n, &f);
    co_rwlock_unlock(node_co(n), &s->gate);
    return r;
}
