// Compressed clusters: raw deflate with a 4 KiB window, or one zstd frame. Packing and unpacking
// run on worker threads; the last unpacked cluster is kept for readers that come in small steps.

#include "block/format/qcow2/qcow2.h"
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

enum { WRITE_WINDOW = -12, READ_WINDOW = -15, ZSTD_LEVEL = 3 };

static int unpack_zlib(const void *src, size_t len, void *dst, size_t cluster)
{
    z_stream z = {
        .next_in = (void *)src, .avail_in = (uInt)len, .next_out = dst, .avail_out = (uInt)cluster};
    if (inflateInit2(&z, READ_WINDOW) != Z_OK)
        return -ENOMEM;
    int r = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    // The input may go on behind the data: what counts is a full cluster.
    return (r == Z_STREAM_END || r == Z_BUF_ERROR || r == Z_OK) && !z.avail_out ? 0 : -EIO;
}

static int unpack_zstd(const void *src, size_t len, void *dst, size_t cluster)
{
    ZSTD_inBuffer in = {src, len, 0};
    ZSTD_outBuffer out = {dst, cluster, 0};
    ZSTD_DCtx *d = ZSTD_createDCtx();
    if (!d)
        return -ENOMEM;
    while (out.pos < cluster) {
        size_t before = in.pos + out.pos, r = ZSTD_decompressStream(d, &out, &in);
        if (ZSTD_isError(r) || in.pos + out.pos == before)
            break;
    }
    ZSTD_freeDCtx(d);
    return out.pos == cluster ? 0 : -EIO;
}

int qcow2_unpack(unsigned method, const void *src, size_t len, void *dst, size_t cluster)
{
    return method == QCOW2_ZSTD ? unpack_zstd(src, len, dst, cluster)
                                : unpack_zlib(src, len, dst, cluster);
}

static size_t pack_zlib(const void *src, size_t cluster, void *dst)
{
    z_stream z = {.next_in = (void *)src,
                  .avail_in = (uInt)cluster,
                  .next_out = dst,
                  .avail_out = (uInt)(cluster - 1)};
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WRITE_WINDOW, 9, Z_DEFAULT_STRATEGY) !=
        Z_OK)
        return 0;
    int r = deflate(&z, Z_FINISH);
    deflateEnd(&z);
    return r == Z_STREAM_END ? cluster - 1 - z.avail_out : 0;
}

size_t qcow2_pack(unsigned method, const void *src, size_t cluster, void *dst)
{
    if (method == QCOW2_ZLIB)
        return pack_zlib(src, cluster, dst);
    size_t r = ZSTD_compress(dst, cluster - 1, src, cluster, ZSTD_LEVEL);
    return ZSTD_isError(r) ? 0 : r;
}

struct work {
    unsigned method;
    const void *src;
    size_t len, cluster;
    void *dst;
    int result;
    size_t packed;
};

static void unpack_work(void *arg)
{
    struct work *w = arg;
    w->result = qcow2_unpack(w->method, w->src, w->len, w->dst, w->cluster);
}

static void pack_work(void *arg)
{
    struct work *w = arg;
    w->packed = qcow2_pack(w->method, w->src, w->cluster, w->dst);
}

static int read_packed(struct block_node *n, uint64_t entry, uint8_t *dst)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t off, bytes;
    qcow2_compressed_range(s, entry, &off, &bytes);
    const char *what = qcow2_metadata_at(s, off, bytes);
    if (what)
        return qcow2_corrupt(n, "compressed data at 0x%llx lies in the %s", (unsigned long long)off,
                             what);
    if (bytes > 2 * s->cluster_size + 512)
        return -EIO;
    void *src = malloc(bytes);
    if (!src)
        return -ENOMEM;
    struct work w = {.method = s->h.compression,
                     .src = src,
                     .len = bytes,
                     .dst = dst,
                     .cluster = s->cluster_size};
    int r = node_read_buf(n->file, off, src, bytes);
    if (!r) {
        engine_offload(n->eng, unpack_work, &w);
        r = w.result;
    }
    free(src);
    return r;
}

int qcow2_read_compressed(struct block_node *n, uint64_t entry, uint64_t from, uint64_t bytes,
                          struct iov_view v)
{
    struct qcow2 *s = qcow2_of(n);
    if (s->unpacked.entry != entry) {
        uint8_t *data = malloc(s->cluster_size);
        int r = data ? read_packed(n, entry, data) : -ENOMEM;
        if (r) {
            free(data);
            return r;
        }
        free(s->unpacked.data);
        s->unpacked.data = data;
        s->unpacked.entry = entry;
    }
    iov_copy_in(v, s->unpacked.data + from, bytes);
    return 0;
}

static int set_compressed(struct block_node *n, uint64_t off, uint64_t entry)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_l2ref ref;
    int r = qcow2_l2_writable(n, off, &ref);
    if (r)
        return r;
    uint64_t old = qcow2_l2_entry(s, ref.sl, ref.index), old_off, old_bytes;
    qcow2_l2_set(s, ref.sl, ref.index, entry, 0);
    qcow2_entry_range(s, old, &old_off, &old_bytes);
    qcow2_free_later(s, old_off, old_bytes);
    qcow2_slice_put(&s->l2, ref.sl);
    return 0;
}

static int store_packed(struct block_node *n, uint64_t off, const void *data, size_t len)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t at, x = 62 - (s->cluster_bits - 8);
    int r = qcow2_alloc_bytes(n, len, &at);
    if (r)
        return r;
    uint64_t extra = ((at & 511) + len - 1) / 512;
    r = at + len > mask_low((unsigned)MIN(x, (uint64_t)56))
            ? -EFBIG
            : node_write_buf(n->file, at, data, len);
    r = r ?: set_compressed(n, off, at | extra << x | QCOW2_COMPRESSED);
    if (r)
        qcow2_refcount_add(n, at, len, -1);
    return r;
}

// One cluster; `bytes` may be less only at the end of the disk.
static int write_one(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_claim claim;
    uint8_t *src = calloc(2, s->cluster_size), *dst = src ? src + s->cluster_size : NULL;
    if (!src)
        return -ENOMEM;
    iov_copy_out(v, src, bytes);
    struct work w = {
        .method = s->h.compression, .src = src, .dst = dst, .cluster = s->cluster_size};
    engine_offload(n->eng, pack_work, &w);
    int r = -EFBIG;
    if (w.packed) {
        qcow2_claim(n, &claim, off, off + s->cluster_size);
        r = store_packed(n, off, dst, w.packed);
        qcow2_claim_end(n, &claim);
    }
    free(src);
    return r == -EFBIG ? qcow2_write_range(n, off, bytes, v) : r;
}

int qcow2_write_compressed(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v)
{
    struct qcow2 *s = qcow2_of(n);
    if (s->data_is_external)
        return -ENOTSUP;
    if ((off & (s->cluster_size - 1)) ||
        ((bytes & (s->cluster_size - 1)) && off + bytes != n->size))
        return -EINVAL;
    int r = s->corrupt ? -EIO : 0;
    while (!r && bytes) {
        uint64_t step = MIN(bytes, s->cluster_size);
        r = write_one(n, off, step, v);
        off += step;
        bytes -= step;
        v = iov_advance(v, step);
    }
    return r;
}
