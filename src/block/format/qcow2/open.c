// The qcow2 driver: opening, closing, and the table of operations.

#include "block/format/qcow2/qcow2.h"
#include "base/log.h"
#include <errno.h>
#include <stdlib.h>

enum { FIRST_READ = 64 << 10, L2_CACHE_BYTES = 32 << 20, REFBLOCK_CACHE_BYTES = 4 << 20 };
enum { SLICE_MAX = 4096 };

static const char *const qcow2_options[] = {"backing",
                                            "data-file",
                                            "l2-cache-size",
                                            "refcount-cache-size",
                                            "cache-size",
                                            "lazy-refcounts",
                                            "cache-clean-interval",
                                            "pass-discard-request",
                                            "discard-no-unref",
                                            NULL};

static int read_header(struct block_node *n, struct err *e)
{
    struct qcow2 *s = n->s;
    size_t len = FIRST_READ;
    for (;;) {
        uint8_t *head = malloc(len);
        if (!head)
            return err_set(e, "not enough memory for the header");
        size_t have = MIN(n->file->size, (uint64_t)len);
        int r = node_read_buf(n->file, 0, head, have);
        if (r) {
            free(head);
            return err_errno(e, -r, "cannot read the header");
        }
        uint32_t bits = have >= 24 ? ld_be32(head + 20) : 0;
        if (len == FIRST_READ && bits > 16 && bits <= QCOW2_CLUSTER_BITS_MAX) {
            len = 1u << bits; // a large first cluster may hold more
            free(head);
            continue;
        }
        r = qcow2_header_parse(&s->h, head, have, e);
        free(head);
        return r;
    }
}

static int set_geometry(struct block_node *n, struct err *e)
{
    struct qcow2 *s = n->s;
    struct qcow2_header *h = &s->h;
    bool extended = h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2;
    s->cluster_bits = h->cluster_bits;
    s->cluster_size = 1ull << h->cluster_bits;
    s->refcount_order = h->refcount_order;
    s->l2_entry_size = extended ? 16 : 8;
    s->subclusters = extended ? QCOW2_SUBCLUSTERS : 1;
    s->l2_bits = h->cluster_bits - (extended ? 4 : 3);
    uint64_t needed = (h->size + l2_coverage(s) - 1) / l2_coverage(s);
    if (h->l1_entries < needed)
        return err_set(e, "qcow2: the L1 table is too small for the disk size (%u entries)",
                       h->l1_entries);
    uint64_t l1_end = h->l1_offset + (uint64_t)h->l1_entries * 8;
    uint64_t rt_end = h->reftable_offset + ((uint64_t)h->reftable_clusters << s->cluster_bits);
    if (l1_end > align_up(n->file->size, s->cluster_size))
        return err_set(e, "qcow2: the L1 table lies beyond the end of the file (truncated image?)");
    if (h->reftable_offset >= n->file->size || rt_end > align_up(n->file->size, s->cluster_size))
        return err_set(e, "qcow2: the refcount table lies beyond the end of the file "
                          "(truncated image?)");
    n->size = h->size;
    return 0;
}

static int read_cache_sizes(struct qcow2 *s, struct block_node *n, struct opts *o, struct err *e)
{
    uint64_t l2 = L2_CACHE_BYTES, refs = REFBLOCK_CACHE_BYTES, all = 0, ignored;
    bool flag;
    if (opts_get_size(o, "l2-cache-size", &l2, 1, e) ||
        opts_get_size(o, "refcount-cache-size", &refs, 1, e) ||
        opts_get_size(o, "cache-size", &all, 1, e) ||
        opts_get_u64(o, "cache-clean-interval", &ignored, e) ||
        opts_get_bool(o, "lazy-refcounts", &flag, e) ||
        opts_get_bool(o, "pass-discard-request", &flag, e) ||
        opts_get_bool(o, "discard-no-unref", &flag, e))
        return -1;
    if (all)
        l2 = all > refs ? all - refs : all;
    size_t slice = MIN(s->cluster_size, (uint64_t)SLICE_MAX);
    qcow2_cache_init(&s->l2, n, slice, MIN(l2, GiB));
    qcow2_cache_init(&s->refblocks, n, slice, MIN(refs, GiB));
    return 0;
}

static int open_data_file(struct block_node *n, struct opts *o, struct err *e)
{
    struct qcow2 *s = n->s;
    bool found;
    s->data = n->file;
    if (!(s->h.incompatible & QCOW2_INCOMPAT_DATA_FILE))
        return 0;
    struct block_node *data = node_open_child(n, o, "data-file", &n->in, &found, e);
    if (!data && found)
        return -1;
    if (!data) {
        if (!*s->h.data_file)
            return err_set(e, "qcow2: the image needs data-file=PATH, its external data file");
        char *path = node_resolve_name(n->filename, s->h.data_file);
        data = node_open_name(n, path, "file", &n->in, e);
        if (!data)
            err_prefix(e, "data file %s", path);
        free(path);
        if (!data)
            return -1;
    }
    s->data = data;
    s->data_is_external = true;
    return 0;
}

// Registers what the tables say is metadata; a cluster that is claimed twice is corruption.
static int map_metadata(struct block_node *n, struct err *e)
{
    struct qcow2 *s = n->s;
    const struct qcow2_header *h = &s->h;
    struct {
        enum qcow2_kind kind;
        uint64_t off, bytes;
    } fixed[] = {
        {KIND_HEADER, 0, s->cluster_size},
        {KIND_L1, h->l1_offset, (uint64_t)h->l1_entries * 8},
        {KIND_REFTABLE, h->reftable_offset, (uint64_t)h->reftable_clusters << s->cluster_bits}};
    for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++) {
        const char *what = qcow2_metadata_at(s, fixed[i].off, fixed[i].bytes);
        if (what && !n->in.for_check)
            return err_set(e, "qcow2 image is corrupt: a table overlaps the %s", what);
        qcow2_metadata_add(s, fixed[i].kind, fixed[i].off, fixed[i].bytes);
    }
    for (unsigned t = 0; t < 2; t++) {
        const struct qcow2_table *table = t ? &s->l1 : &s->reftable;
        for (size_t i = 0; i < table->len; i++) {
            uint64_t off = table->entry[i] & QCOW2_OFFSET_MASK;
            if (!off || n->in.for_check)
                continue;
            const char *what = qcow2_metadata_at(s, off, s->cluster_size);
            if (what && !n->in.read_only)
                return qcow2_corrupt(n, "%s at 0x%llx overlaps the %s",
                                     t ? "L2 table" : "refcount block", (unsigned long long)off,
                                     what),
                       err_set(e, "the qcow2 image is corrupt; repair it with 'qemu-img check -r "
                                  "all'");
            qcow2_metadata_add(s, t ? KIND_L2 : KIND_REFBLOCK, off, s->cluster_size);
        }
    }
    return 0;
}

static int load_tables(struct block_node *n, struct err *e)
{
    struct qcow2 *s = n->s;
    int r = qcow2_table_load(n, &s->l1, s->h.l1_offset, s->h.l1_entries)
                ?: qcow2_table_load(n, &s->reftable, s->h.reftable_offset,
                                    ((uint64_t)s->h.reftable_clusters << s->cluster_bits) / 8);
    if (r)
        return err_errno(e, -r, "qcow2: cannot read the tables");
    return map_metadata(n, e) ?: qcow2_snapshots_load(n, e);
}

static int open_backing(struct block_node *n, struct opts *o, struct err *e)
{
    struct qcow2 *s = n->s;
    struct block_inherit in = n->in;
    bool found;
    in.read_only = true;
    in.depth++;
    if (in.no_backing) {
        opts_get(o, "backing");
        return 0;
    }
    n->backing = node_open_child(n, o, "backing", &in, &found, e);
    if (n->backing || opts_has(o, "backing"))
        return n->backing || !found || !*opts_get(o, "backing") ? 0 : -1;
    if (found)
        return -1;
    if (!*s->h.backing_name)
        return 0;
    bool json = !strncmp(s->h.backing_name, "json:", 5);
    char *path =
        json ? xstrdup(s->h.backing_name) : node_resolve_name(n->filename, s->h.backing_name);
    n->backing = node_open_name(n, path, *s->h.backing_format ? s->h.backing_format : NULL, &in, e);
    if (!n->backing)
        err_prefix(e, "backing file %s", path);
    free(path);
    return n->backing ? 0 : -1;
}

static int repair_dirty(struct block_node *n, struct err *e)
{
    struct qcow2 *s = n->s;
    struct block_check c = {.fix_leaks = true, .fix_errors = true};
    if (qcow2_check(n, &c, e))
        return -1;
    if (c.check_errors || c.corruptions > c.corruptions_fixed)
        return err_set(e, "the qcow2 image was not closed and cannot be repaired; see "
                          "'qemu-img check'");
    int r = qcow2_write_features(n, s->h.incompatible & ~(uint64_t)QCOW2_INCOMPAT_DIRTY,
                                 s->h.autoclear);
    return r ? err_errno(e, -r, "cannot clear the dirty bit") : 0;
}

// What has to be settled before the first write.
static int prepare_writing(struct block_node *n, struct err *e)
{
    struct qcow2 *s = n->s;
    if (n->in.read_only || n->in.for_check)
        return 0;
    if (s->h.incompatible & QCOW2_INCOMPAT_CORRUPT)
        return err_set(e, "the qcow2 image is marked corrupt and cannot be written to; repair it "
                          "with 'qemu-img check -r all' or open it read-only");
    if ((s->h.incompatible & QCOW2_INCOMPAT_DIRTY) && repair_dirty(n, e))
        return -1;
    uint64_t known =
        QCOW2_AUTOCLEAR_DATA_FILE_RAW | (s->bitmaps_loaded ? QCOW2_AUTOCLEAR_BITMAPS : 0);
    uint64_t keep = s->h.autoclear & known;
    int r = keep == s->h.autoclear ? 0 : qcow2_write_features(n, s->h.incompatible, keep);
    r = r ?: qcow2_bitmaps_begin(n);
    return r ? err_errno(e, -r, "cannot update the header") : 0;
}

static void qcow2_close(struct block_node *n)
{
    struct qcow2 *s = n->s;
    if (!n->in.read_only && !n->in.for_check && !s->corrupt && s->opened && qcow2_bitmaps_store(n))
        log_warn("%s: cannot write its bitmaps; they are lost", n->filename ?: n->node_name);
    // The last commit gave clusters back; that too should be on disk, or they leak.
    for (int i = 0; i < 3 && (s->refblocks.n_dirty || s->freed.len); i++)
        if (qcow2_commit(n))
            break;
    qcow2_cache_free(&s->l2);
    qcow2_cache_free(&s->refblocks);
    qcow2_table_free(&s->l1);
    qcow2_table_free(&s->reftable);
    map_free(&s->metadata);
    vec_free(&s->freed);
    vec_free(&s->ripe);
    vec_free(&s->snapshots);
    free(s->unpacked.data);
    if (s->data_is_external)
        node_unref(s->data);
    qcow2_header_free(&s->h);
}

static int qcow2_reopen(struct block_node *n, bool read_only, struct err *e)
{
    struct qcow2 *s = n->s;
    int r = read_only ? qcow2_bitmaps_store(n) : 0;
    if (!read_only) {
        n->in.read_only = false;
        r = prepare_writing(n, e);
        n->in.read_only = r;
        return r;
    }
    for (int i = 0; i < 3 && !r && (s->l2.n_dirty || s->refblocks.n_dirty || s->freed.len); i++)
        r = qcow2_commit(n);
    return r ? err_errno(e, -r, "cannot write the last changes") : 0;
}

// load-snapshot=NAME shows the disk as the snapshot kept it; only for reading.
static int load_snapshot(struct block_node *n, struct opts *o, struct err *e)
{
    const char *name = opts_get(o, "load-snapshot");
    if (!name)
        return 0;
    if (!n->in.read_only)
        return err_set(e, "load-snapshot needs the image opened read-only");
    int r = qcow2_show_snapshot(n, name);
    return r == -ENOENT ? err_set(e, "the image has no snapshot '%s'", name)
           : r          ? err_errno(e, -r, "cannot read snapshot '%s'", name)
                        : 0;
}

static int open_steps(struct block_node *n, struct opts *o, struct err *e)
{
    struct qcow2 *s = n->s;
    if (read_header(n, e) || set_geometry(n, e) || read_cache_sizes(s, n, o, e) ||
        open_data_file(n, o, e) || load_tables(n, e) || load_snapshot(n, o, e) ||
        open_backing(n, o, e))
        return -1;
    s->fresh_from = (n->file->size + s->cluster_size - 1) >> s->cluster_bits;
    n->align = n->file->align;
    if (qcow2_bitmaps_load(n, e) || prepare_writing(n, e))
        return -1;
    s->opened = true;
    return 0;
}

static int qcow2_open(struct block_node *n, struct opts *o, struct err *e)
{
    struct qcow2 *s = n->s;
    list_init(&s->claims);
    list_init(&s->flights);
    co_rwlock_init(&s->gate);
    co_mutex_init(&s->alloc_lock);
    co_mutex_init(&s->l2_lock);
    co_mutex_init(&s->commit_lock);
    int r = open_steps(n, o, e);
    if (r)
        qcow2_close(n);
    return r;
}

static int qcow2_status(struct block_node *n, uint64_t off, uint64_t bytes, struct block_extent *x)
{
    struct qcow2 *s = n->s;
    struct qcow2_mapping m;
    int r = qcow2_map(n, off, bytes, &m);
    if (r)
        return r;
    *x = (struct block_extent){.bytes = m.bytes};
    x->allocated = m.state != MAP_UNALLOCATED;
    x->data = m.state == MAP_DATA || m.state == MAP_COMPRESSED;
    x->zero = m.state == MAP_ZERO || (!x->allocated && !n->backing);
    x->compressed = m.state == MAP_COMPRESSED;
    if (m.state == MAP_DATA || (m.state == MAP_ZERO && m.host)) {
        x->offset_valid = true;
        x->offset = m.host;
        x->file = s->data;
    }
    return 0;
}

static int qcow2_probe(const uint8_t *head, size_t len)
{
    return len >= 8 && ld_be32(head) == QCOW2_MAGIC && ld_be32(head + 4) >= 2 ? 100 : 0;
}

static void qcow2_info(struct block_node *n, struct block_info_sink *k)
{
    const struct qcow2_header *h = &qcow2_of(n)->h;
    k->text(k, "compat", h->version == 2 ? "0.10" : "1.1");
    k->text(k, "compression-type", h->compression == QCOW2_ZSTD ? "zstd" : "zlib");
    if (h->version == 2)
        return;
    k->flag(k, "lazy-refcounts", h->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS);
    k->number(k, "refcount-bits", 1u << h->refcount_order);
    k->flag(k, "corrupt", h->incompatible & QCOW2_INCOMPAT_CORRUPT);
    k->flag(k, "extended-l2", h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2);
    if (h->incompatible & QCOW2_INCOMPAT_DATA_FILE) {
        k->text(k, "data-file", h->data_file);
        k->flag(k, "data-file-raw", h->autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW);
    }
}

static void qcow2_facts(struct block_node *n, struct block_facts *f)
{
    const struct qcow2_header *h = &qcow2_of(n)->h;
    *f = (struct block_facts){.cluster_size = 1ull << h->cluster_bits,
                              .dirty = h->incompatible & QCOW2_INCOMPAT_DIRTY,
                              .backing_name = *h->backing_name ? h->backing_name : NULL,
                              .backing_format = *h->backing_format ? h->backing_format : NULL};
}

static const struct block_image_ops qcow2_image_ops = {
    .probe = qcow2_probe,
    .create_options = qcow2_create_options,
    .create = qcow2_create,
    .preallocate = qcow2_preallocate,
    .resize = qcow2_resize,
    .check = qcow2_check,
    .info = qcow2_info,
    .facts = qcow2_facts,
    .set_backing = qcow2_set_backing,
    .check_bitmap = qcow2_check_bitmap,
    .measure = qcow2_measure,
};

const struct block_driver block_driver_qcow2 = {
    .name = "qcow2",
    .state_size = sizeof(struct qcow2),
    .options = qcow2_options,
    .open = qcow2_open,
    .close = qcow2_close,
    .read = qcow2_read,
    .write = qcow2_write,
    .write_zeroes = qcow2_write_zeroes,
    .discard = qcow2_discard,
    .flush = qcow2_commit,
    .status = qcow2_status,
    .reopen = qcow2_reopen,
    .image = &qcow2_image_ops,
    .snapshots = &qcow2_snapshot_ops,
};
