// Dirty bitmaps in the image (the bitmaps extension). They are read when the image is opened and
// written when it is closed; in between each is marked as in use, so that one that was not written
// again is known to be out of date.

#include "block/format/qcow2/qcow2.h"
#include "base/log.h"
#include "block/node/bitmap.h"
#include <errno.h>
#include <stdlib.h>

enum { FLAG_IN_USE = 1, FLAG_AUTO = 2, FLAG_EXTRA = 4, TYPE_DIRTY = 1, ENTRY_FIXED = 24 };
enum { BITMAPS_MAX = 65535, DIRECTORY_MAX = 16 << 20, TABLE_ENTRIES_MAX = 8 << 20 };
#define BITS_MAX       (256 * MiB)
#define TABLE_ALL_ONES 1ull

struct entry {
    uint64_t table;
    uint32_t entries, flags, extra;
    uint8_t type, shift;
    char name[BITMAP_NAME_MAX + 1];
    size_t at, len; // in the directory
};

static int read_directory(struct block_node *n, uint8_t **out, struct err *e)
{
    struct qcow2_header *h = &qcow2_of(n)->h;
    if (h->n_bitmaps > BITMAPS_MAX || h->bitmaps_bytes > DIRECTORY_MAX || !h->bitmaps_bytes ||
        (h->bitmaps_directory & (qcow2_of(n)->cluster_size - 1)) ||
        h->bitmaps_directory > n->file->size)
        return err_set(e, "qcow2: the bitmap directory is out of place");
    *out = xalloc(h->bitmaps_bytes);
    int r = node_read_buf(n->file, h->bitmaps_directory, *out, h->bitmaps_bytes);
    if (!r)
        return 0;
    free(*out);
    return err_errno(e, -r, "qcow2: cannot read the bitmap directory");
}

static int next_entry(struct reader *r, struct entry *en, const uint8_t *start, struct err *e)
{
    *en = (struct entry){.at = (size_t)(r->p - start)};
    en->table = rd_be64(r);
    en->entries = rd_be32(r);
    en->flags = rd_be32(r);
    en->type = rd_u8(r);
    en->shift = rd_u8(r);
    uint16_t name = rd_be16(r);
    en->extra = rd_be32(r);
    if (r->bad || !name || name > BITMAP_NAME_MAX || en->extra > reader_left(r) ||
        en->entries > TABLE_ENTRIES_MAX)
        return err_set(e, "qcow2: an entry of the bitmap directory is malformed");
    rd_skip(r, en->extra);
    rd_bytes(r, en->name, name);
    size_t padding = -(ENTRY_FIXED + en->extra + name) & 7;
    rd_skip(r, MIN(padding, reader_left(r)));
    en->len = (size_t)(r->p - start) - en->at;
    return r->bad ? err_set(e, "qcow2: the bitmap directory is too short") : 0;
}

// fn for every entry; stops at the first that does not return 0.
static int each_entry(struct block_node *n,
                      int (*fn)(struct block_node *n, struct entry *en, uint8_t *directory,
                                struct err *e),
                      uint8_t *directory, struct err *e)
{
    struct qcow2_header *h = &qcow2_of(n)->h;
    struct reader r = reader_of(directory, h->bitmaps_bytes);
    for (uint32_t i = 0; i < h->n_bitmaps; i++) {
        struct entry en;
        int ret = next_entry(&r, &en, directory, e) ?: fn(n, &en, directory, e);
        if (ret)
            return ret;
    }
    return 0;
}

// ---- reading ----

static void put_byte(struct dirty_map *m, uint64_t byte, uint8_t v)
{
    for (unsigned k = 0; v && k < 8 && byte * 8 + k < m->granules; k++)
        if (v >> k & 1)
            dirty_map_mark(m, (byte * 8 + k) << m->shift, 1);
}

static int load_bits(struct block_node *n, struct bitmap *b, const uint64_t *table, size_t entries)
{
    struct qcow2 *s = qcow2_of(n);
    uint8_t *cluster = malloc(s->cluster_size);
    int r = cluster ? 0 : -ENOMEM;
    for (size_t i = 0; i < entries && !r; i++) {
        uint64_t off = table[i] & QCOW2_OFFSET_MASK;
        if (!off && !(table[i] & TABLE_ALL_ONES))
            continue;
        if (off & (s->cluster_size - 1))
            r = -EINVAL;
        else if (off)
            r = node_read_buf(n->file, off, cluster, s->cluster_size);
        else
            memset(cluster, 0xff, s->cluster_size);
        for (size_t k = 0; k < s->cluster_size && !r; k++)
            put_byte(&b->map, i * s->cluster_size + k, cluster[k]);
        if (!r)
            qcow2_metadata_add(s, KIND_BITMAPS, off, off ? s->cluster_size : 0);
    }
    free(cluster);
    return r;
}

static uint64_t table_entries(const struct qcow2 *s, const struct dirty_map *m)
{
    uint64_t bytes = (m->granules + 7) / 8;
    return (bytes + s->cluster_size - 1) >> s->cluster_bits;
}

static int load_one(struct block_node *n, struct entry *en, uint8_t *directory, struct err *e)
{
    struct qcow2 *s = qcow2_of(n);
    if (en->type != TYPE_DIRTY || (en->flags & ~(FLAG_IN_USE | FLAG_AUTO | FLAG_EXTRA)) ||
        (en->extra && !(en->flags & FLAG_EXTRA)) || en->shift < BITMAP_SHIFT_MIN ||
        en->shift > BITMAP_SHIFT_MAX || (n->size >> en->shift) / 8 > BITS_MAX)
        return err_set(e, "qcow2: bitmap '%s' is of a kind this program does not know", en->name);
    struct bitmap *b = bitmap_new(n, en->name, en->shift, false, e);
    if (!b)
        return err_prefix(e, "qcow2: bitmap '%s'", en->name);
    b->persistent = true;
    b->inconsistent = en->flags & FLAG_IN_USE;
    bitmap_enable(b, !b->inconsistent && (en->flags & FLAG_AUTO));
    if (b->inconsistent)
        return 0;
    struct qcow2_table t = {0};
    int r = en->entries == table_entries(s, &b->map) && !(en->table & (s->cluster_size - 1))
                ? qcow2_table_load(n, &t, en->table, en->entries)
                : -EINVAL;
    r = r ?: load_bits(n, b, t.entry, t.len);
    qcow2_metadata_add(s, KIND_BITMAPS, en->table, (uint64_t)en->entries * 8);
    qcow2_table_free(&t);
    return r ? err_errno(e, -r, "qcow2: cannot read bitmap '%s'", en->name) : 0;
}

int qcow2_bitmaps_load(struct block_node *n, struct err *e)
{
    struct qcow2 *s = qcow2_of(n);
    uint8_t *directory;
    if (!s->h.n_bitmaps || n->in.for_check)
        return 0;
    if (!(s->h.autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        log_warn("%s: its bitmaps are out of date, for a program that does not know of them wrote "
                 "to the image; they are left aside",
                 n->filename ?: n->node_name);
        return 0;
    }
    if (read_directory(n, &directory, e))
        return -1;
    qcow2_metadata_add(s, KIND_BITMAPS, s->h.bitmaps_directory, s->h.bitmaps_bytes);
    int r = each_entry(n, load_one, directory, e);
    free(directory);
    s->bitmaps_loaded = !r;
    return r;
}

// ---- in use ----

static int mark_entry(struct block_node *n, struct entry *en, uint8_t *directory, struct err *e)
{
    st_be32(directory + en->at + 12, en->flags | FLAG_IN_USE);
    return 0;
}

int qcow2_bitmaps_begin(struct block_node *n)
{
    struct qcow2 *s = qcow2_of(n);
    struct err ignored = {0};
    uint8_t *directory;
    if (!s->bitmaps_loaded || !s->h.n_bitmaps)
        return 0;
    if (read_directory(n, &directory, &ignored))
        return -EIO;
    int r = each_entry(n, mark_entry, directory, &ignored) ? -EIO : 0;
    r = r ?: node_write_buf(n->file, s->h.bitmaps_directory, directory, s->h.bitmaps_bytes)
          ?: node_flush(n->file);
    free(directory);
    return r;
}

// ---- writing ----

// Gives back what one stored bitmap holds.
static int forget_one(struct block_node *n, struct entry *en, uint8_t *directory, struct err *e)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_table t = {0};
    if (!en->entries || qcow2_table_load(n, &t, en->table, en->entries))
        return 0; // it leaks, which harms nobody
    for (size_t i = 0; i < t.len; i++) {
        uint64_t off = t.entry[i] & QCOW2_OFFSET_MASK;
        if (!off || qcow2_refcount_add(n, off, s->cluster_size, -1))
            continue;
        qcow2_metadata_del(s, off, s->cluster_size);
    }
    qcow2_table_free(&t);
    qcow2_metadata_del(s, en->table, (uint64_t)en->entries * 8);
    return qcow2_refcount_add(n, en->table, (uint64_t)en->entries * 8, -1);
}

static void fill_cluster(const struct dirty_map *m, uint64_t first_byte, uint8_t *out, size_t len,
                         bool *any)
{
    *any = false;
    for (size_t k = 0; k < len; k++) {
        uint64_t byte = first_byte + k;
        out[k] = byte * 8 < m->granules ? (uint8_t)(m->bits[byte >> 3] >> (byte & 7) * 8) : 0;
        *any |= out[k];
    }
}

static int store_bits(struct block_node *n, const struct bitmap *b, uint64_t *table, size_t entries)
{
    struct qcow2 *s = qcow2_of(n);
    uint8_t *cluster = malloc(s->cluster_size);
    int r = cluster ? 0 : -ENOMEM;
    for (size_t i = 0; i < entries && !r; i++) {
        bool any;
        fill_cluster(&b->map, i * s->cluster_size, cluster, s->cluster_size, &any);
        if (any && !b->inconsistent)
            r = qcow2_alloc_exact(n, 1, &table[i])
                    ?: node_write_buf(n->file, table[i], cluster, s->cluster_size);
    }
    free(cluster);
    return r;
}

static int store_one(struct block_node *n, const struct bitmap *b, struct buf *directory)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t entries = table_entries(s, &b->map), off = 0;
    uint64_t *table = xcalloc(entries + 1, sizeof *table);
    int r = store_bits(n, b, table, entries);
    if (!r)
        r = qcow2_alloc_exact(n, (entries * 8 + s->cluster_size - 1) >> s->cluster_bits, &off)
                ?: qcow2_write_entries(n, off, table, entries);
    free(table);
    buf_be64(directory, off);
    buf_be32(directory, (uint32_t)entries);
    buf_be32(directory, b->inconsistent ? FLAG_IN_USE : b->enabled ? FLAG_AUTO : 0);
    buf_u8(directory, TYPE_DIRTY);
    buf_u8(directory, (uint8_t)b->map.shift);
    buf_be16(directory, (uint16_t)strlen(b->name));
    buf_be32(directory, 0);
    buf_put(directory, b->name, strlen(b->name));
    buf_grow(directory, align_up(directory->len, 8) - directory->len);
    return r;
}

// The header names the new directory from one write on.
static int switch_directory(struct block_node *n, uint64_t off, uint64_t bytes, uint32_t count)
{
    struct qcow2 *s = qcow2_of(n);
    struct err ignored = {0};
    struct buf b = {0};
    s->h.bitmaps_directory = off;
    s->h.bitmaps_bytes = bytes;
    s->h.n_bitmaps = count;
    s->h.autoclear &= ~(uint64_t)QCOW2_AUTOCLEAR_BITMAPS;
    s->h.autoclear |= count ? QCOW2_AUTOCLEAR_BITMAPS : 0;
    int r = qcow2_header_build(&s->h, &b, &ignored) ? -ENOSPC : 0;
    r = r ?: qcow2_commit(n) ?: node_write_buf(n->file, 0, b.data, b.len) ?: node_flush(n->file);
    buf_free(&b);
    return r;
}

static int store_all(struct block_node *n, struct buf *directory, uint32_t *count)
{
    int r = 0;
    for (struct bitmap *b = bitmap_next(n, NULL); b && !r; b = bitmap_next(n, b)) {
        if (!b->persistent)
            continue;
        r = store_one(n, b, directory);
        ++*count;
    }
    return r;
}

int qcow2_bitmaps_store(struct block_node *n)
{
    struct qcow2 *s = qcow2_of(n);
    struct err ignored = {0};
    struct buf directory = {0};
    uint8_t *old = NULL;
    uint64_t off = 0;
    uint32_t count = 0;
    int r = store_all(n, &directory, &count);
    if (!r && !count && !(s->bitmaps_loaded && s->h.n_bitmaps)) {
        buf_free(&directory);
        return 0;
    }
    if (!r && count)
        r = qcow2_alloc_exact(n, (directory.len + s->cluster_size - 1) >> s->cluster_bits, &off)
                ?: node_write_buf(n->file, off, directory.data, directory.len);
    if (!r && s->bitmaps_loaded && s->h.n_bitmaps && read_directory(n, &old, &ignored))
        old = NULL;
    uint64_t old_off = s->h.bitmaps_directory, old_bytes = s->h.bitmaps_bytes;
    struct qcow2_header was = s->h;
    r = r ?: switch_directory(n, off, directory.len, count);
    uint64_t now_bytes = s->h.bitmaps_bytes;
    uint32_t now = s->h.n_bitmaps;
    if (!r && old) { // walked by what the header said before
        s->h.n_bitmaps = was.n_bitmaps;
        s->h.bitmaps_bytes = was.bitmaps_bytes;
        if (!each_entry(n, forget_one, old, &ignored) &&
            !qcow2_refcount_add(n, old_off, old_bytes, -1))
            qcow2_metadata_del(s, old_off, old_bytes);
        s->h.n_bitmaps = now;
        s->h.bitmaps_bytes = now_bytes;
    }
    s->bitmaps_loaded = !r;
    free(old);
    buf_free(&directory);
    return r ?: qcow2_commit(n);
}

int qcow2_check_bitmap(struct block_node *n, struct err *e)
{
    return qcow2_of(n)->h.version < 3
               ? err_set(e, "an image of version 2 (compat=0.10) keeps no bitmaps; amend it first")
               : 0;
}
