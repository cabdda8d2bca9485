// Making qcow2 images: the initial layout (header, refcount table, refcount blocks, L1 table), the
// sizes that `measure` foretells, and a change of the backing file in the header.

#include "block/format/qcow2/qcow2.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const create_options[] = {
#define OPTION(name, value, meaning) #name,
#include "block/format/qcow2/create_options.def"
#undef OPTION
    NULL};

const struct block_create_option qcow2_create_options[] = {
#define OPTION(name, value, meaning) {#name, value, meaning},
#include "block/format/qcow2/create_options.def"
#undef OPTION
    {0}};

static int read_geometry(struct qcow2_header *h, struct opts *o, struct err *e)
{
    uint64_t cluster = 65536, bits = 16;
    bool extended = false, encryption = false;
    if (opts_get_bool(o, "encryption", &encryption, e) ||
        opts_get_bool(o, "extended_l2", &extended, e) ||
        opts_get_size(o, "cluster_size", &cluster, 1, e) ||
        opts_get_u64(o, "refcount_bits", &bits, e))
        return -1;
    if (encryption || opts_has(o, "encrypt.format"))
        return err_set(e, "encrypted qcow2 images are not supported");
    if (!is_pow2(cluster) || cluster < 512 || cluster > 2 * MiB)
        return err_set(e, "Cluster size must be a power of two between 512 and 2048k");
    if (extended && cluster < 16384)
        return err_set(e, "Extended L2 entries are only supported with cluster sizes of at least "
                          "16384 bytes");
    if (!is_pow2(bits) || bits > 64)
        return err_set(e, "Refcount width must be a power of two and may not exceed 64 bits");
    if (h->version < 3 && (bits != 16 || extended))
        return err_set(e, "%s needs compat=1.1 (version 3)",
                       extended ? "extended_l2" : "a refcount width other than 16 bits");
    h->cluster_bits = log2_floor(cluster);
    h->refcount_order = log2_floor(bits);
    if (extended)
        h->incompatible |= QCOW2_INCOMPAT_EXTENDED_L2;
    return 0;
}

static int read_features(struct qcow2_header *h, struct opts *o, struct err *e)
{
    bool lazy = false, raw = false;
    const char *type = opts_get(o, "compression_type"), *data = opts_get(o, "data_file");
    if (opts_get_bool(o, "lazy_refcounts", &lazy, e) || opts_get_bool(o, "data_file_raw", &raw, e))
        return -1;
    if (type && strcmp(type, "zlib") && strcmp(type, "zstd"))
        return err_set(e, "compression_type=%s: expected zlib or zstd", type);
    bool zstd = type && !strcmp(type, "zstd");
    if (h->version < 3 && (lazy || data || zstd))
        return err_set(e, "%s needs compat=1.1 (version 3)",
                       lazy   ? "lazy_refcounts"
                       : data ? "data_file"
                              : "compression_type=zstd");
    if (raw && !data)
        return err_set(e, "data_file_raw requires data_file");
    if (zstd) {
        h->compression = QCOW2_ZSTD;
        h->incompatible |= QCOW2_INCOMPAT_COMPRESSION;
    }
    if (lazy)
        h->compatible |= QCOW2_COMPAT_LAZY_REFCOUNTS;
    if (data) {
        if (strlen(data) >= sizeof h->data_file)
            return err_set(e, "the name of the data file is too long");
        strcpy(h->data_file, data);
        h->incompatible |= QCOW2_INCOMPAT_DATA_FILE;
        h->autoclear |= raw ? QCOW2_AUTOCLEAR_DATA_FILE_RAW : 0;
    }
    return 0;
}

static int name_backing(struct qcow2_header *h, const char *name, const char *format, struct err *e)
{
    if (name && strlen(name) > QCOW2_BACKING_NAME_MAX)
        return err_set(e, "the backing file name is too long (at most %d bytes)",
                       QCOW2_BACKING_NAME_MAX);
    if (format && strlen(format) >= sizeof h->backing_format)
        return err_set(e, "the backing format name is too long");
    if (name && *name && (h->autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW))
        return err_set(e, "Backing file and data-file-raw cannot be used at the same time");
    snprintf(h->backing_name, sizeof h->backing_name, "%s", name ?: "");
    snprintf(h->backing_format, sizeof h->backing_format, "%s", name && format ? format : "");
    return 0;
}

static int read_options(struct qcow2_header *h, const struct block_create *c, struct err *e)
{
    const char *compat = opts_get(c->opts, "compat");
    h->version = 3;
    if (compat && (!strcmp(compat, "0.10") || !strcmp(compat, "v2")))
        h->version = 2;
    else if (compat && strcmp(compat, "1.1") && strcmp(compat, "v3"))
        return err_set(e, "compat=%s: expected 0.10 or 1.1", compat);
    h->size = c->size;
    h->header_length = h->version == 2 ? QCOW2_V2_HEADER : QCOW2_OUR_HEADER;
    if (c->size > INT64_MAX)
        return err_set(e, "the image size is too large");
    return read_geometry(h, c->opts, e) || read_features(h, c->opts, e) ||
                   name_backing(h, c->backing_name, c->backing_format, e)
               ? -1
               : 0;
}

// Clusters of refcount blocks and table that count `clusters` and themselves.
static void refcount_clusters(const struct qcow2_header *h, uint64_t clusters, uint64_t *blocks,
                              uint64_t *table)
{
    uint64_t cluster = 1ull << h->cluster_bits, entries = cluster * 8 >> h->refcount_order;
    uint64_t last = 0, all = 0;
    *blocks = *table = 0;
    do {
        last = all;
        *blocks = (clusters + *table + *blocks + entries - 1) / entries;
        *table = (*blocks * 8 + cluster - 1) >> h->cluster_bits;
        all = clusters + *table + *blocks;
    } while (all != last);
}

static int write_layout(struct block_node *file, struct qcow2_header *h, uint64_t l1_clusters,
                        struct err *e)
{
    uint64_t cluster = 1ull << h->cluster_bits, blocks, table;
    refcount_clusters(h, 1 + l1_clusters, &blocks, &table);
    uint64_t used = 1 + table + blocks + l1_clusters;
    struct qcow2 geometry = {.cluster_size = cluster, .refcount_order = h->refcount_order};
    uint64_t entries = qcow2_refblock_entries(&geometry);
    h->reftable_offset = cluster;
    h->reftable_clusters = (uint32_t)table;
    h->l1_offset = (1 + table + blocks) * cluster;
    uint8_t *meta = calloc(table + blocks, cluster);
    if (!meta)
        return err_set(e, "not enough memory for the initial tables");
    for (uint64_t b = 0; b < blocks; b++)
        st_be64(meta + b * 8, (1 + table + b) * cluster);
    for (uint64_t c = 0; c < used; c++)
        qcow2_refcount_put(&geometry, meta + (table + c / entries) * cluster, c % entries, 1);
    int r = node_write_buf(file, cluster, meta, (table + blocks) * cluster);
    free(meta);
    if (!r)
        r = node_write_zeroes(file, h->l1_offset, l1_clusters * cluster, BLOCK_MAY_UNMAP);
    struct buf head = {0};
    if (!r && qcow2_header_build(h, &head, e)) {
        buf_free(&head);
        return -1;
    }
    if (!r)
        r = node_flush(file) ?: node_write_buf(file, 0, head.data, head.len) ?: node_flush(file);
    buf_free(&head);
    return r ? err_errno(e, -r, "cannot write the image") : 0;
}

int qcow2_create(struct block_node *file, const struct block_create *c, struct err *e)
{
    struct qcow2_header h = {0};
    if (read_options(&h, c, e))
        return -1;
    unsigned l2_bits = h.cluster_bits - (h.incompatible & QCOW2_INCOMPAT_EXTENDED_L2 ? 4 : 3);
    uint64_t coverage = 1ull << (h.cluster_bits + l2_bits);
    uint64_t entries = c->size / coverage + (c->size % coverage != 0);
    if (entries * 8 > QCOW2_L1_BYTES_MAX)
        return err_set(e, "the image is too large for this cluster size; use a larger one");
    h.l1_entries = (uint32_t)entries;
    uint64_t l1_clusters = MAX((entries * 8 + (1u << h.cluster_bits) - 1) >> h.cluster_bits, 1u);
    return opts_check_unused(c->opts, "qcow2", create_options, e) ||
                   write_layout(file, &h, l1_clusters, e)
               ? -1
               : 0;
}

int qcow2_measure(const struct block_create *c, struct block_measure *m, struct err *e)
{
    struct qcow2_header h = {0};
    if (read_options(&h, c, e))
        return -1;
    uint64_t cluster = 1ull << h.cluster_bits, blocks, table;
    uint64_t entry = h.incompatible & QCOW2_INCOMPAT_EXTENDED_L2 ? 16 : 8;
    uint64_t data = align_up(c->size, cluster), meta = cluster;
    uint64_t l2 = align_up(data / cluster, cluster / entry), l1 = l2 * entry / cluster;
    meta += l2 * entry + align_up(l1, cluster / 8) * 8;
    refcount_clusters(&h, (meta + data) / cluster, &blocks, &table);
    meta += (blocks + table) * cluster;
    m->fully_allocated = meta + data;
    m->required = meta + MIN(m->data_bytes, data);
    return 0;
}

int qcow2_set_backing(struct block_node *n, const char *name, const char *format, struct err *e)
{
    struct qcow2 *s = qcow2_of(n);
    struct buf b = {0};
    uint64_t zero = 0;
    if (name_backing(&s->h, name, format, e))
        return -1;
    int r = qcow2_header_build(&s->h, &b, e);
    if (!r) {
        r = qcow2_commit(n) ?: node_write_buf(n->file, 0, b.data, b.len) ?: node_flush(n->file);
        s->h.backing_offset = b.len > QCOW2_AT_BACKING ? ld_be64(b.data + QCOW2_AT_BACKING) : zero;
        if (r)
            err_errno(e, -r, "cannot write the header");
    }
    buf_free(&b);
    return r ? -1 : 0;
}
