// Which host clusters hold the image's own structures, so that a lying table cannot make guest data
// overwrite them; and the end of an image that was caught lying.

#include "block/format/qcow2/qcow2.h"
#include "base/log.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const kind_names[] = {
    [KIND_HEADER] = "header",
    [KIND_L1] = "L1 table",
    [KIND_L2] = "L2 table",
    [KIND_REFTABLE] = "refcount table",
    [KIND_REFBLOCK] = "refcount block",
    [KIND_SNAPSHOTS] = "snapshot table",
    [KIND_BITMAPS] = "bitmaps",
};

void qcow2_metadata_add(struct qcow2 *s, enum qcow2_kind k, uint64_t off, uint64_t bytes)
{
    for (uint64_t c = off >> s->cluster_bits; bytes && c <= (off + bytes - 1) >> s->cluster_bits;
         c++)
        map_set(&s->metadata, c + 1, (void *)(uintptr_t)(k + 1));
}

void qcow2_metadata_del(struct qcow2 *s, uint64_t off, uint64_t bytes)
{
    for (uint64_t c = off >> s->cluster_bits; bytes && c <= (off + bytes - 1) >> s->cluster_bits;
         c++)
        map_del(&s->metadata, c + 1);
}

const char *qcow2_metadata_at(const struct qcow2 *s, uint64_t off, uint64_t bytes)
{
    for (uint64_t c = off >> s->cluster_bits; bytes && c <= (off + bytes - 1) >> s->cluster_bits;
         c++) {
        uintptr_t k = (uintptr_t)map_get(&s->metadata, c + 1);
        if (k)
            return kind_names[k - 1];
    }
    return NULL;
}

int qcow2_corrupt(struct block_node *n, const char *fmt, ...)
{
    struct qcow2 *s = qcow2_of(n);
    if (s->corrupt)
        return -EIO;
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    bool mark = !n->in.read_only && s->h.version >= 3;
    if (!n->in.read_only)
        s->corrupt = true;
    log_error("%s: qcow2 image is corrupt: %s; %scheck it with 'qemu-img check'",
              n->filename ?: n->node_name, text,
              n->in.read_only ? "" : "no more writes are allowed; ");
    if (mark && qcow2_write_features(n, s->h.incompatible | QCOW2_INCOMPAT_CORRUPT, s->h.autoclear))
        log_warn("%s: cannot mark the image as corrupt", n->filename ?: n->node_name);
    return -EIO;
}
