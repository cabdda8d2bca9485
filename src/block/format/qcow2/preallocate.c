// preallocation=metadata and more: gives every guest cluster a host cluster of its own.

#include "block/format/qcow2/qcow2.h"
#include <errno.h>

// Maps clusters from `off` on, within one slice and one run of host clusters.
static int map_run(struct block_node *n, uint64_t off, uint64_t *done)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_l2ref ref;
    bool fresh;
    uint64_t host = off, left = (cluster_end(s, n->size) - off) >> s->cluster_bits;
    int r = qcow2_l2_writable(n, off, &ref);
    if (r)
        return r;
    int64_t got = MIN(left, (uint64_t)ref.left);
    if (!s->data_is_external)
        got = qcow2_alloc(n, (uint64_t)got, &host, &fresh);
    for (int64_t i = 0; i < got; i++)
        qcow2_l2_set(s, ref.sl, ref.index + (unsigned)i,
                     (host + ((uint64_t)i << s->cluster_bits)) | QCOW2_COPIED, mask_low(32));
    qcow2_slice_put(&s->l2, ref.sl);
    *done = got < 0 ? 0 : (uint64_t)got << s->cluster_bits;
    return got < 0 ? (int)got : 0;
}

int qcow2_preallocate(struct block_node *n, struct err *e)
{
    struct qcow2 *s = qcow2_of(n);
    int r = 0;
    for (uint64_t off = 0, done = 0; !r && off < n->size; off += done) {
        r = map_run(n, off, &done);
        if (!r && qcow2_wants_commit(s))
            r = qcow2_commit(n);
    }
    r = r ?: qcow2_commit(n);
    uint64_t end = s->fresh_from << s->cluster_bits;
    if (!r && end > n->file->size)
        return node_resize(n->file, end, e);
    return r ? err_errno(e, -r, "cannot preallocate the image") : 0;
}
