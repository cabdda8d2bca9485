// Internal snapshots. While the steps of one run, the image is marked dirty (version 3), so that a
// cut leaves at worst what the repair at the next opening settles: counts that are too high and
// COPIED flags that are out of date, never a reference without a count.

#include "block/format/qcow2/qcow2.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { ENTRY_FIXED = 40, EXTRA_KNOWN = 16 };

static int parse_entry(struct block_node *n, uint64_t *at, struct qcow2_snapshot *out)
{
    uint8_t fixed[ENTRY_FIXED];
    int r = node_read_buf(n->file, *at, fixed, sizeof fixed);
    if (r)
        return r;
    struct reader f = reader_of(fixed, sizeof fixed);
    out->l1_offset = rd_be64(&f);
    out->l1_entries = rd_be32(&f);
    unsigned id_len = rd_be16(&f), name_len = rd_be16(&f);
    uint64_t sec = rd_be32(&f), nsec = rd_be32(&f);
    out->info.date_ns = sec * 1000000000 + nsec;
    out->info.clock_ns = rd_be64(&f);
    out->info.vmstate_bytes = rd_be32(&f);
    out->extra_len = rd_be32(&f);
    if (out->extra_len > sizeof out->extra || id_len >= sizeof out->info.id ||
        name_len >= sizeof out->info.name)
        return -EINVAL;
    size_t len = out->extra_len + id_len + name_len;
    uint8_t rest[sizeof out->extra + sizeof out->info.id + sizeof out->info.name];
    r = node_read_buf(n->file, *at + ENTRY_FIXED, rest, len);
    if (r)
        return r;
    struct reader v = reader_of(rest, len);
    rd_bytes(&v, out->extra, out->extra_len);
    rd_bytes(&v, out->info.id, id_len);
    rd_bytes(&v, out->info.name, name_len);
    struct reader x = reader_of(out->extra, out->extra_len);
    out->info.disk_bytes = n->size;
    if (out->extra_len >= 8)
        out->info.vmstate_bytes = rd_be64(&x);
    if (out->extra_len >= EXTRA_KNOWN)
        out->info.disk_bytes = rd_be64(&x);
    *at = align_up(*at + ENTRY_FIXED + len, 8);
    return 0;
}

int qcow2_snapshots_load(struct block_node *n, struct err *e)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t at = s->h.snapshots_offset, start = at;
    for (uint32_t i = 0; i < s->h.n_snapshots; i++) {
        struct qcow2_snapshot sn = {0};
        int r = parse_entry(n, &at, &sn);
        if (r)
            return err_errno(e, -r, "qcow2: cannot read entry %u of the snapshot table", i);
        if (at - start > QCOW2_SNAPSHOT_TABLE_MAX || at > n->file->size + s->cluster_size)
            return err_set(e, "qcow2: the snapshot table is too large or the image truncated");
        if ((uint64_t)sn.l1_entries * 8 > QCOW2_L1_BYTES_MAX || sn.l1_offset > n->file->size ||
            sn.l1_entries * 8ull > align_up(n->file->size - sn.l1_offset, s->cluster_size) ||
            ((sn.l1_offset & (s->cluster_size - 1)) && !n->in.for_check))
            return err_set(e, "qcow2: snapshot '%s' has an invalid L1 table", sn.info.name);
        vec_push(&s->snapshots, sn);
    }
    if (!n->in.for_check)
        qcow2_metadata_add(s, KIND_SNAPSHOTS, start, at - start);
    return 0;
}

static void put_entry(struct buf *b, const struct qcow2_snapshot *sn)
{
    size_t id_len = strlen(sn->info.id), name_len = strlen(sn->info.name);
    uint32_t extra_len = MAX(sn->extra_len, (uint32_t)EXTRA_KNOWN);
    buf_be64(b, sn->l1_offset);
    buf_be32(b, sn->l1_entries);
    buf_be16(b, (uint16_t)id_len);
    buf_be16(b, (uint16_t)name_len);
    buf_be32(b, (uint32_t)(sn->info.date_ns / 1000000000));
    buf_be32(b, (uint32_t)(sn->info.date_ns % 1000000000));
    buf_be64(b, sn->info.clock_ns);
    buf_be32(b, (uint32_t)MIN(sn->info.vmstate_bytes, (uint64_t)UINT32_MAX));
    buf_be32(b, extra_len);
    buf_be64(b, sn->info.vmstate_bytes);
    buf_be64(b, sn->info.disk_bytes);
    buf_put(b, sn->extra + EXTRA_KNOWN, extra_len - EXTRA_KNOWN);
    buf_put(b, sn->info.id, id_len);
    buf_put(b, sn->info.name, name_len);
    buf_grow(b, align_up(b->len, 8) - b->len);
}

static uint64_t table_bytes(const struct qcow2 *s)
{
    struct buf b = {0};
    for (size_t i = 0; i < s->snapshots.len; i++)
        put_entry(&b, &s->snapshots.data[i]);
    uint64_t len = b.len;
    buf_free(&b);
    return len;
}

// Writes the list as a new table, then lets the header point to it: one sector decides.
static int write_table(struct block_node *n, uint64_t old_bytes)
{
    struct qcow2 *s = qcow2_of(n);
    struct buf b = {0};
    uint64_t off = 0, old = s->h.snapshots_offset, len;
    for (size_t i = 0; i < s->snapshots.len; i++)
        put_entry(&b, &s->snapshots.data[i]);
    len = b.len;
    int r = len > QCOW2_SNAPSHOT_TABLE_MAX ? -EFBIG : 0;
    if (!r && len)
        r = qcow2_alloc_exact(n, (len + s->cluster_size - 1) >> s->cluster_bits, &off)
                ?: node_write_buf(n->file, off, b.data, len);
    buf_free(&b);
    uint8_t head[12];
    st_be32(head, (uint32_t)s->snapshots.len);
    st_be64(head + 4, off);
    r = r ?: qcow2_commit(n) ?: node_write_buf(n->file, QCOW2_AT_SNAPSHOTS, head, sizeof head)
          ?: node_flush(n->file);
    if (r)
        return r;
    s->h.n_snapshots = (uint32_t)s->snapshots.len;
    s->h.snapshots_offset = off;
    qcow2_metadata_del(s, old, old_bytes);
    qcow2_metadata_add(s, KIND_SNAPSHOTS, off, len);
    return qcow2_refcount_add(n, old, old_bytes, -1);
}

static int mark_dirty(struct block_node *n, bool dirty)
{
    struct qcow2 *s = qcow2_of(n);
    if (s->h.version < 3)
        return 0;
    uint64_t without = s->h.incompatible & ~(uint64_t)QCOW2_INCOMPAT_DIRTY;
    return qcow2_write_features(n, without | (dirty ? QCOW2_INCOMPAT_DIRTY : 0), s->h.autoclear);
}

static struct qcow2_snapshot *find(struct qcow2 *s, const char *id)
{
    for (size_t i = 0; i < s->snapshots.len; i++)
        if (!strcmp(s->snapshots.data[i].info.id, id))
            return &s->snapshots.data[i];
    for (size_t i = 0; i < s->snapshots.len; i++)
        if (!strcmp(s->snapshots.data[i].info.name, id))
            return &s->snapshots.data[i];
    return NULL;
}

int qcow2_show_snapshot(struct block_node *n, const char *id)
{
    struct qcow2 *s = qcow2_of(n);
    const struct qcow2_snapshot *sn = find(s, id);
    if (!sn)
        return -ENOENT;
    if (sn->info.disk_bytes > sn->l1_entries * l2_coverage(s))
        return -EINVAL;
    int r = qcow2_table_load(n, &s->l1, sn->l1_offset, sn->l1_entries);
    if (!r)
        s->h.size = n->size = sn->info.disk_bytes;
    return r;
}

static void number(struct qcow2 *s, struct qcow2_snapshot *sn)
{
    unsigned long max = 0;
    for (size_t i = 0; i < s->snapshots.len; i++)
        max = MAX(max, strtoul(s->snapshots.data[i].info.id, NULL, 10));
    snprintf(sn->info.id, sizeof sn->info.id, "%lu", max + 1);
}

static void set_l2_metadata(struct qcow2 *s, bool add)
{
    for (size_t i = 0; i < s->l1.len; i++) {
        uint64_t table = s->l1.entry[i] & QCOW2_OFFSET_MASK;
        if (table && add)
            qcow2_metadata_add(s, KIND_L2, table, s->cluster_size);
        else if (table)
            qcow2_metadata_del(s, table, s->cluster_size);
    }
}

// After a failed step: the counts are put right from what the tables say.
static void settle(struct block_node *n)
{
    struct block_check c = {.fix_leaks = true, .fix_errors = true};
    struct err ignored = {0};
    if (!qcow2_of(n)->corrupt && qcow2_check_locked(n, &c, &ignored))
        qcow2_corrupt(n, "a failed snapshot operation could not be undone");
}

static int create_steps(struct block_node *n, const struct block_snapshot *info)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_snapshot sn = {.info = *info, .l1_entries = (uint32_t)s->l1.len};
    uint64_t old_bytes = table_bytes(s), l1_bytes = MAX(s->l1.len * 8, (size_t)8);
    number(s, &sn);
    sn.info.disk_bytes = n->size;
    int r = qcow2_commit(n) ?: mark_dirty(n, true)
            ?: qcow2_alloc_exact(n, (l1_bytes + s->cluster_size - 1) >> s->cluster_bits,
                                 &sn.l1_offset)
            ?: qcow2_write_entries(n, sn.l1_offset, s->l1.entry, s->l1.len)
            ?: qcow2_count_tree(n, s->l1.entry, s->l1.len, 1) ?: qcow2_fix_copied(n) ?: qcow2_commit(n);
    if (r)
        return r;
    vec_push(&s->snapshots, sn);
    r = write_table(n, old_bytes);
    if (r) {
        s->snapshots.len--;
        return r;
    }
    // The VM state belongs to the snapshot now.
    uint64_t state = vmstate_start(s), end = s->l1.len * l2_coverage(s);
    if (end > state)
        r = qcow2_discard_range(n, state, end - state, true);
    return r ?: qcow2_commit(n) ?: mark_dirty(n, false);
}

static int snapshot_create(struct block_node *n, const struct block_snapshot *info, struct err *e)
{
    struct qcow2 *s = qcow2_of(n);
    if (s->data_is_external)
        return err_set(e, "images with an external data file have no internal snapshots");
    if (s->snapshots.len >= QCOW2_SNAPSHOTS_MAX)
        return err_set(e, "the image has too many snapshots");
    co_rwlock_write(node_co(n), &s->gate);
    int r = create_steps(n, info);
    if (r)
        settle(n);
    co_rwlock_unlock(node_co(n), &s->gate);
    if (r == -EOVERFLOW)
        return err_set(e, "reference counts of %u bits are too narrow for another snapshot",
                       1u << s->refcount_order);
    return r ? err_errno(e, -r, "cannot create the snapshot") : 0;
}

static int read_l1(struct block_node *n, const struct qcow2_snapshot *sn, uint64_t **out,
                   size_t len)
{
    struct qcow2_table t = {0};
    int r = qcow2_table_load(n, &t, sn->l1_offset, sn->l1_entries);
    if (r)
        return r;
    *out = calloc(MAX(len, t.len) ?: 1, 8);
    if (*out)
        memcpy(*out, t.entry, t.len * 8);
    qcow2_table_free(&t);
    return *out ? 0 : -ENOMEM;
}

static int apply_steps(struct block_node *n, const struct qcow2_snapshot *sn, uint64_t **fresh,
                       uint64_t **old)
{
    struct qcow2 *s = qcow2_of(n);
    size_t len = MAX(s->l1.len, (size_t)sn->l1_entries), old_len = s->l1.len;
    int r = qcow2_commit(n) ?: read_l1(n, sn, fresh, len);
    if (r)
        return r;
    *old = xcalloc(old_len ?: 1, 8);
    memcpy(*old, s->l1.entry, old_len * 8);
    for (size_t i = 0; i < len; i++)
        (*fresh)[i] &= QCOW2_OFFSET_MASK;
    r = mark_dirty(n, true) ?: qcow2_count_tree(n, *fresh, len, 1) ?: qcow2_commit(n);
    if (r)
        return r;
    set_l2_metadata(s, false);
    r = qcow2_switch_l1(n, *fresh, len);
    set_l2_metadata(s, true);
    if (r)
        return r;
    uint64_t size = sn->info.disk_bytes;
    if (size != n->size && size <= (len * l2_coverage(s))) {
        r = qcow2_write_entries(n, QCOW2_AT_SIZE, &size, 1) ?: node_flush(n->file);
        s->h.size = n->size = r ? n->size : size;
    }
    s->unpacked.entry = 0;
    return r ?: qcow2_count_tree(n, *old, old_len, -1) ?: qcow2_fix_copied(n) ?: qcow2_commit(n)
             ?: mark_dirty(n, false);
}

static int snapshot_apply(struct block_node *n, const char *id, struct err *e)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_snapshot *sn = find(s, id);
    uint64_t *fresh = NULL, *old = NULL;
    if (!sn)
        return err_set(e, "the image has no snapshot '%s'", id);
    co_rwlock_write(node_co(n), &s->gate);
    int r = apply_steps(n, sn, &fresh, &old);
    if (r)
        settle(n);
    co_rwlock_unlock(node_co(n), &s->gate);
    free(fresh);
    free(old);
    return r ? err_errno(e, -r, "cannot go back to the snapshot") : 0;
}

static int delete_steps(struct block_node *n, size_t i)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_snapshot sn = s->snapshots.data[i];
    uint64_t old_bytes = table_bytes(s), *l1 = NULL;
    int r = qcow2_commit(n) ?: read_l1(n, &sn, &l1, 0) ?: mark_dirty(n, true);
    if (!r) {
        vec_remove(&s->snapshots, i);
        r = write_table(n, old_bytes);
        if (r) {
            vec_push(&s->snapshots, sn);
            free(l1);
            return r;
        }
    }
    s->unpacked.entry = 0;
    r = r ?: qcow2_count_tree(n, l1, sn.l1_entries, -1)
          ?: qcow2_refcount_add(n, sn.l1_offset, MAX((uint64_t)sn.l1_entries * 8, (uint64_t)8), -1)
          ?: qcow2_fix_copied(n) ?: qcow2_commit(n) ?: mark_dirty(n, false);
    free(l1);
    return r;
}

static int snapshot_delete(struct block_node *n, const char *id, struct err *e)
{
    struct qcow2 *s = qcow2_of(n);
    struct qcow2_snapshot *sn = find(s, id);
    if (!sn)
        return err_set(e, "the image has no snapshot '%s'", id);
    co_rwlock_write(node_co(n), &s->gate);
    int r = delete_steps(n, (size_t)(sn - s->snapshots.data));
    if (r)
        settle(n);
    co_rwlock_unlock(node_co(n), &s->gate);
    return r ? err_errno(e, -r, "cannot delete the snapshot") : 0;
}

static int snapshot_list(struct block_node *n, struct block_snapshot **out, struct err *e)
{
    struct qcow2 *s = qcow2_of(n);
    *out = xcalloc(s->snapshots.len ?: 1, sizeof **out);
    for (size_t i = 0; i < s->snapshots.len; i++)
        (*out)[i] = s->snapshots.data[i].info;
    return (int)s->snapshots.len;
}

static int vmstate_read(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v)
{
    uint64_t at;
    if (__builtin_add_overflow(vmstate_start(qcow2_of(n)), off, &at))
        return -EINVAL;
    return qcow2_read(n, at, bytes, v);
}

static int vmstate_write(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t at, end;
    if (__builtin_add_overflow(vmstate_start(s), off, &at) ||
        __builtin_add_overflow(at, bytes, &end) || end > INT64_MAX)
        return -EINVAL;
    uint64_t entries = (end + l2_coverage(s) - 1) / l2_coverage(s);
    if (entries > s->l1.len) {
        co_rwlock_write(node_co(n), &s->gate);
        int r = qcow2_commit(n) ?: qcow2_grow_l1(n, entries);
        co_rwlock_unlock(node_co(n), &s->gate);
        if (r)
            return r;
    }
    return qcow2_write(n, at, bytes, v, 0);
}

const struct block_snapshot_ops qcow2_snapshot_ops = {
    .list = snapshot_list,
    .create = snapshot_create,
    .apply = snapshot_apply,
    .del = snapshot_delete,
    .vmstate_read = vmstate_read,
    .vmstate_write = vmstate_write,
};
