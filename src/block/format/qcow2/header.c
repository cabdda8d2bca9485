// The first cluster of a qcow2 image: header, extensions, backing file name. Parsed through the
// bounded reader, so that a short or lying header gives an error and nothing else.

#include "block/format/qcow2/qcow2.h"
#include <stdio.h>
#include <stdlib.h>

enum { FEATURE_NAME_LEN = 46, FEATURE_ENTRY = 48 };

static const struct {
    uint8_t type, bit;
    const char *name;
} our_features[] = {
    {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
    {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
    {2, 0, "bitmaps"},          {2, 1, "raw external data"},
};

static void read_string(struct reader *r, size_t len, char *dst, size_t size)
{
    size_t n = MIN(len, size - 1);
    rd_bytes(r, dst, n);
    dst[n] = 0;
    rd_skip(r, len - n);
}

static void read_extension(struct qcow2_header *h, uint32_t type, struct reader body, size_t len)
{
    switch ((int)type) {
    case QCOW2_EXT_BACKING_FORMAT:
        read_string(&body, len, h->backing_format, sizeof h->backing_format);
        break;
    case QCOW2_EXT_DATA_FILE:
        read_string(&body, len, h->data_file, sizeof h->data_file);
        break;
    case QCOW2_EXT_FEATURE_NAMES:
        h->feature_names.len = 0;
        buf_put(&h->feature_names, body.p, len);
        break;
    case QCOW2_EXT_BITMAPS:
        h->n_bitmaps = rd_be32(&body);
        rd_be32(&body);
        h->bitmaps_bytes = rd_be64(&body);
        h->bitmaps_directory = rd_be64(&body);
        break;
    default:
        break;
    }
}

static int read_extensions(struct qcow2_header *h, struct reader *r, struct err *e)
{
    for (;;) {
        if (reader_left(r) < 8)
            return 0; // the area may end with the cluster
        uint32_t type = rd_be32(r), len = rd_be32(r);
        if (type == QCOW2_EXT_END)
            return 0;
        size_t padded = align_up(len, 8);
        if (len > reader_left(r))
            return err_set(e, "qcow2: header extension 0x%08x is longer than the header", type);
        struct reader body = {.p = r->p, .end = r->p + len};
        read_extension(h, type, body, len);
        bool rebuilt = (int)type == QCOW2_EXT_BACKING_FORMAT || (int)type == QCOW2_EXT_DATA_FILE ||
                       (int)type == QCOW2_EXT_FEATURE_NAMES || (int)type == QCOW2_EXT_BITMAPS;
        if (!rebuilt) {
            buf_be32(&h->unknown, type);
            buf_be32(&h->unknown, len);
            buf_put(&h->unknown, r->p, len);
            buf_grow(&h->unknown, padded - len);
        }
        rd_skip(r, MIN(padded, reader_left(r)));
    }
}

// The names of the set bits, from the image's own table where it has one.
static void feature_names(const struct qcow2_header *h, uint64_t set, char *out, size_t size)
{
    size_t at = 0;
    for (unsigned b = 0; b < 64; b++) {
        if (!bit(set, b))
            continue;
        char name[FEATURE_NAME_LEN + 1];
        snprintf(name, sizeof name, "unknown feature %u", b);
        struct reader r = reader_of(h->feature_names.data, h->feature_names.len);
        while (reader_left(&r) >= FEATURE_ENTRY) {
            uint8_t type = rd_u8(&r), number = rd_u8(&r);
            const char *text = rd_skip(&r, FEATURE_NAME_LEN);
            if (type == 0 && number == b && *text)
                snprintf(name, sizeof name, "%.*s", FEATURE_NAME_LEN, text);
        }
        for (char *c = name; *c; c++)
            if ((unsigned char)*c < 32 || (unsigned char)*c > 126)
                *c = '?';
        int n = snprintf(out + at, size - at, "%s%s", at ? ", " : "", name);
        at = MIN(at + (size_t)MAX(n, 0), size - 1);
    }
}

static int check_v3(struct qcow2_header *h, struct err *e)
{
    uint64_t unknown = h->incompatible & ~(uint64_t)QCOW2_INCOMPAT_KNOWN;
    if (unknown) {
        char names[512];
        feature_names(h, unknown, names, sizeof names);
        return err_set(e, "qcow2: unsupported feature(s): %s; a newer version wrote this image",
                       names);
    }
    if (h->refcount_order > 6)
        return err_set(e, "qcow2: reference count width 2^%u bits is invalid (at most 2^6)",
                       h->refcount_order);
    bool typed = h->incompatible & QCOW2_INCOMPAT_COMPRESSION;
    if (typed != (h->compression != 0) || h->compression > QCOW2_ZSTD)
        return err_set(e, "qcow2: invalid or unsupported compression type %u", h->compression);
    if ((h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2) && h->cluster_bits < 14)
        return err_set(e, "qcow2: extended L2 entries need clusters of at least 16 KiB");
    return 0;
}

static int check_fields(struct qcow2_header *h, struct err *e)
{
    if (h->cluster_bits < QCOW2_CLUSTER_BITS_MIN || h->cluster_bits > QCOW2_CLUSTER_BITS_MAX)
        return err_set(e, "qcow2: unsupported cluster size 2^%u (512 bytes to 2 MiB)",
                       h->cluster_bits);
    if (h->crypt_method)
        return err_set(e, "qcow2: encrypted images (%s) are not supported",
                       h->crypt_method == 1   ? "AES"
                       : h->crypt_method == 2 ? "LUKS"
                                              : "unknown method");
    uint64_t cluster = 1ull << h->cluster_bits;
    if (h->header_length > cluster || (h->version >= 3 && h->header_length < QCOW2_V3_HEADER))
        return err_set(e, "qcow2: invalid header length %u", h->header_length);
    if (h->backing_offset &&
        (h->backing_offset > cluster || !h->backing_len ||
         h->backing_len > QCOW2_BACKING_NAME_MAX || h->backing_len > cluster - h->backing_offset))
        return err_set(e, "qcow2: invalid backing file name (offset %llu, length %u)",
                       (unsigned long long)h->backing_offset, h->backing_len);
    if (h->size > INT64_MAX)
        return err_set(e, "qcow2: invalid disk size");
    if ((uint64_t)h->l1_entries * 8 > QCOW2_L1_BYTES_MAX)
        return err_set(e, "qcow2: the active L1 table is too large (%u entries)", h->l1_entries);
    if ((uint64_t)h->reftable_clusters << h->cluster_bits > QCOW2_REFTABLE_BYTES_MAX)
        return err_set(e, "qcow2: the reference count table is too large (%u clusters)",
                       h->reftable_clusters);
    if (!h->reftable_clusters)
        return err_set(e, "qcow2: the image has no reference count table");
    if (h->n_snapshots > QCOW2_SNAPSHOTS_MAX)
        return err_set(e, "qcow2: too many snapshots (%u)", h->n_snapshots);
    uint64_t tables[] = {h->l1_offset, h->reftable_offset,
                         h->n_snapshots ? h->snapshots_offset : 0};
    static const char *const what[] = {"active L1 table", "reference count table",
                                       "snapshot table"};
    for (unsigned i = 0; i < ARRAY_SIZE(tables); i++) {
        bool needed = i == 1 || (i == 0 && h->l1_entries) || (i == 2 && h->n_snapshots);
        if ((tables[i] & (cluster - 1)) || tables[i] > INT64_MAX || (needed && !tables[i]))
            return err_set(e, "qcow2: invalid offset 0x%llx of the %s",
                           (unsigned long long)tables[i], what[i]);
    }
    return h->version >= 3 ? check_v3(h, e) : 0;
}

int qcow2_header_parse(struct qcow2_header *h, const void *data, size_t len, struct err *e)
{
    struct reader r = reader_of(data, len);
    if (rd_be32(&r) != QCOW2_MAGIC)
        return err_set(e, "not a qcow2 image (wrong magic number)");
    h->version = rd_be32(&r);
    if (h->version != 2 && h->version != 3)
        return err_set(e, "qcow2: unsupported version %u", h->version);
    h->backing_offset = rd_be64(&r);
    h->backing_len = rd_be32(&r);
    h->cluster_bits = rd_be32(&r);
    h->size = rd_be64(&r);
    h->crypt_method = rd_be32(&r);
    h->l1_entries = rd_be32(&r);
    h->l1_offset = rd_be64(&r);
    h->reftable_offset = rd_be64(&r);
    h->reftable_clusters = rd_be32(&r);
    h->n_snapshots = rd_be32(&r);
    h->snapshots_offset = rd_be64(&r);
    h->refcount_order = 4;
    h->header_length = QCOW2_V2_HEADER;
    if (h->version >= 3) {
        h->incompatible = rd_be64(&r);
        h->compatible = rd_be64(&r);
        h->autoclear = rd_be64(&r);
        h->refcount_order = rd_be32(&r);
        h->header_length = rd_be32(&r);
        if (h->header_length > QCOW2_V3_HEADER)
            h->compression = rd_u8(&r);
    }
    if (r.bad)
        return err_set(e, "qcow2: the image is shorter than its header");
    // The extensions first: they hold the names for what the checks may complain of.
    size_t cluster = h->cluster_bits <= QCOW2_CLUSTER_BITS_MAX ? 1u << h->cluster_bits : 0;
    r = reader_of(data, MIN(len, cluster));
    rd_skip(&r, h->header_length);
    if (h->backing_offset >= h->header_length && h->backing_offset < MIN(len, cluster))
        r.end = MIN(r.end, (const uint8_t *)data + h->backing_offset);
    if (!r.bad && read_extensions(h, &r, e))
        return -1;
    if (check_fields(h, e))
        return -1;
    if (h->backing_offset) {
        r = reader_of(data, len);
        rd_skip(&r, h->backing_offset);
        rd_bytes(&r, h->backing_name, h->backing_len);
        if (r.bad || memchr(h->backing_name, 0, h->backing_len))
            return err_set(e, "qcow2: invalid backing file name");
    }
    return 0;
}

static void put_extension(struct buf *b, int type, const void *data, size_t len)
{
    buf_be32(b, (uint32_t)type);
    buf_be32(b, (uint32_t)len);
    buf_put(b, data, len);
    buf_grow(b, align_up(len, 8) - len);
}

static void put_bitmaps(struct buf *b, const struct qcow2_header *h)
{
    buf_be32(b, QCOW2_EXT_BITMAPS);
    buf_be32(b, 24);
    buf_be32(b, h->n_bitmaps);
    buf_be32(b, 0);
    buf_be64(b, h->bitmaps_bytes);
    buf_be64(b, h->bitmaps_directory);
}

static void put_feature_names(struct buf *b)
{
    buf_be32(b, QCOW2_EXT_FEATURE_NAMES);
    buf_be32(b, ARRAY_SIZE(our_features) * FEATURE_ENTRY);
    for (unsigned i = 0; i < ARRAY_SIZE(our_features); i++) {
        buf_u8(b, our_features[i].type);
        buf_u8(b, our_features[i].bit);
        char *name = buf_grow(b, FEATURE_NAME_LEN);
        memcpy(name, our_features[i].name, strlen(our_features[i].name));
    }
}

int qcow2_header_build(const struct qcow2_header *h, struct buf *b, struct err *e)
{
    size_t cluster = 1u << h->cluster_bits, backing_len = strlen(h->backing_name);
    buf_be32(b, QCOW2_MAGIC);
    buf_be32(b, h->version);
    buf_be64(b, 0); // backing name: below
    buf_be32(b, (uint32_t)backing_len);
    buf_be32(b, h->cluster_bits);
    buf_be64(b, h->size);
    buf_be32(b, h->crypt_method);
    buf_be32(b, h->l1_entries);
    buf_be64(b, h->l1_offset);
    buf_be64(b, h->reftable_offset);
    buf_be32(b, h->reftable_clusters);
    buf_be32(b, h->n_snapshots);
    buf_be64(b, h->snapshots_offset);
    if (h->version >= 3) {
        buf_be64(b, h->incompatible);
        buf_be64(b, h->compatible);
        buf_be64(b, h->autoclear);
        buf_be32(b, h->refcount_order);
        buf_be32(b, QCOW2_OUR_HEADER);
        buf_u8(b, h->compression);
        buf_grow(b, 7);
    }
    if (*h->backing_format)
        put_extension(b, QCOW2_EXT_BACKING_FORMAT, h->backing_format, strlen(h->backing_format));
    if (*h->data_file)
        put_extension(b, QCOW2_EXT_DATA_FILE, h->data_file, strlen(h->data_file));
    if (h->n_bitmaps)
        put_bitmaps(b, h);
    buf_put(b, h->unknown.data, h->unknown.len);
    // The name table is a courtesy to later readers: dropped where it does not fit.
    size_t names = 8 + ARRAY_SIZE(our_features) * FEATURE_ENTRY;
    if (h->version >= 3 && b->len + names + 8 + backing_len <= cluster)
        put_feature_names(b);
    buf_be64(b, 0); // end of the extensions
    if (backing_len) {
        st_be64(b->data + QCOW2_AT_BACKING, b->len);
        buf_put(b, h->backing_name, backing_len);
    }
    if (b->len > cluster)
        return err_set(e, "the backing file name does not fit into the header (%zu-byte clusters)",
                       cluster);
    buf_grow(b, cluster - b->len);
    return 0;
}

void qcow2_header_free(struct qcow2_header *h)
{
    buf_free(&h->feature_names);
    buf_free(&h->unknown);
}

int qcow2_write_features(struct block_node *n, uint64_t incompatible, uint64_t autoclear)
{
    struct qcow2 *s = qcow2_of(n);
    s->h.incompatible = incompatible;
    s->h.autoclear = autoclear;
    uint64_t words[] = {incompatible, s->h.compatible, autoclear};
    return qcow2_write_entries(n, QCOW2_AT_FEATURES, words, ARRAY_SIZE(words))
               ?: node_flush(n->file);
}
