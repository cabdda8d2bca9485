// Checking an image: counts what every table refers to, compares with the stored reference counts,
// and puts them right when asked. Counts that are too high are leaks; everything else is
// corruption. Broken refcount blocks are not patched: a new set is written behind the image.

#include "block/format/qcow2/qcow2.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct scan {
    struct block_node *n;
    struct qcow2 *s;
    struct block_check *c;
    uint32_t *want; // references found, per cluster of the file
    uint64_t clusters;
    bool rebuild;       // the refcount structures themselves are broken
    uint64_t highest;   // cluster in use
    uint64_t next_host; // where an unfragmented image would go on
};

static void report(struct scan *k, const char *fmt, ...) PRINTF(2, 3);
static void report(struct scan *k, const char *fmt, ...)
{
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (k->c->report)
        k->c->report(k->c->opaque, line);
}

static void corruption(struct scan *k, const char *what, uint64_t at)
{
    report(k, "ERROR %s 0x%llx", what, (unsigned long long)at);
    k->c->corruptions++;
}

// One more reference on every cluster that the range touches.
static void count(struct scan *k, uint64_t off, uint64_t bytes)
{
    if (!bytes)
        return;
    uint64_t first = off >> k->s->cluster_bits, last = (off + bytes - 1) >> k->s->cluster_bits;
    if (last < first || last >= k->clusters) {
        corruption(k, "a table refers to data beyond the end of the file, at", off);
        last = k->clusters ? MIN(last, k->clusters - 1) : 0;
    }
    for (uint64_t c = first; c <= last && c < k->clusters; c++) {
        if (k->want[c] < UINT32_MAX)
            k->want[c]++;
        k->highest = MAX(k->highest, c);
    }
}

static void check_copied(struct scan *k, const char *what, uint64_t entry)
{
    uint64_t refs, host = entry & QCOW2_OFFSET_MASK;
    if (!host || qcow2_refcount_get(k->n, host >> k->s->cluster_bits, &refs))
        return;
    if ((refs == 1) != !!(entry & QCOW2_COPIED)) {
        report(k, "ERROR OFLAG_COPIED %s: entry=%llx refcount=%llu", what,
               (unsigned long long)entry, (unsigned long long)refs);
        k->c->corruptions++;
    }
}

static void scan_entry(struct scan *k, uint64_t entry, bool active)
{
    struct qcow2 *s = k->s;
    uint64_t off, bytes;
    qcow2_entry_range(s, entry, &off, &bytes);
    if (!(entry & QCOW2_COMPRESSED) && (off & (s->cluster_size - 1))) {
        corruption(k, "data cluster is not properly aligned; offset", off);
        return;
    }
    count(k, off, bytes);
    if (!active || !bytes)
        return;
    k->c->allocated_clusters++;
    if (entry & QCOW2_COMPRESSED) {
        k->c->compressed_clusters++;
        k->c->fragmented_clusters++;
        return;
    }
    if (k->next_host && off != k->next_host)
        k->c->fragmented_clusters++;
    k->next_host = off + s->cluster_size;
    check_copied(k, "data cluster", entry);
}

static int scan_l2(struct scan *k, uint64_t table, bool active)
{
    struct qcow2 *s = k->s;
    uint8_t *l2 = malloc(s->cluster_size);
    if (!l2)
        return -ENOMEM;
    int r = node_read_buf(k->n->file, table, l2, s->cluster_size);
    for (size_t i = 0; !r && i < s->cluster_size; i += s->l2_entry_size)
        scan_entry(k, ld_be64(l2 + i), active);
    free(l2);
    return r;
}

static int scan_l1(struct scan *k, uint64_t off, const uint64_t *l1, size_t len, bool active)
{
    count(k, off, (uint64_t)len * 8);
    for (size_t i = 0; i < len; i++) {
        uint64_t table = l1[i] & QCOW2_OFFSET_MASK;
        if (!table)
            continue;
        if (table & (k->s->cluster_size - 1)) {
            corruption(k, "L2 table is not properly aligned; offset", table);
            continue;
        }
        count(k, table, k->s->cluster_size);
        if (active)
            check_copied(k, "L2 cluster", l1[i]);
        if (table >> k->s->cluster_bits < k->clusters && scan_l2(k, table, active)) {
            report(k, "ERROR cannot read the L2 table at 0x%llx", (unsigned long long)table);
            k->c->check_errors++;
        }
    }
    return 0;
}

static void scan_snapshots(struct scan *k)
{
    struct qcow2 *s = k->s;
    uint64_t table = 0;
    for (size_t i = 0; i < s->snapshots.len; i++) {
        struct qcow2_snapshot *sn = &s->snapshots.data[i];
        struct qcow2_table t = {0};
        table = align_up(
            table + 40 + MAX(sn->extra_len, 0u) + strlen(sn->info.id) + strlen(sn->info.name), 8);
        if ((sn->l1_offset & (s->cluster_size - 1)) ||
            qcow2_table_load(k->n, &t, sn->l1_offset, sn->l1_entries)) {
            corruption(k, "the L1 table of a snapshot is invalid; offset", sn->l1_offset);
            continue;
        }
        scan_l1(k, sn->l1_offset, t.entry, t.len, false);
        qcow2_table_free(&t);
    }
    count(k, s->h.snapshots_offset, table);
}

// Bitmaps are not ours to use, but their clusters are in use.
static void scan_bitmaps(struct scan *k)
{
    const struct qcow2_header *h = &k->s->h;
    if (!h->n_bitmaps || h->bitmaps_bytes > 64 * MiB)
        return;
    uint8_t *dir = malloc(h->bitmaps_bytes ?: 1);
    if (!dir || node_read_buf(k->n->file, h->bitmaps_directory, dir, h->bitmaps_bytes)) {
        free(dir);
        k->c->check_errors++;
        return;
    }
    count(k, h->bitmaps_directory, h->bitmaps_bytes);
    struct reader r = reader_of(dir, h->bitmaps_bytes);
    for (uint32_t i = 0; i < h->n_bitmaps && !r.bad; i++) {
        uint64_t off = rd_be64(&r);
        uint32_t entries = rd_be32(&r);
        rd_skip(&r, 6);
        uint32_t name = rd_be16(&r), extra = rd_be32(&r);
        rd_skip(&r, align_up(24ull + name + extra, 8) - 24);
        struct qcow2_table t = {0};
        if (r.bad || (uint64_t)entries * 8 > 64 * MiB || qcow2_table_load(k->n, &t, off, entries))
            continue;
        count(k, off, (uint64_t)entries * 8);
        for (size_t e = 0; e < t.len; e++)
            if (t.entry[e] & QCOW2_OFFSET_MASK)
                count(k, t.entry[e] & QCOW2_OFFSET_MASK, k->s->cluster_size);
        qcow2_table_free(&t);
    }
    free(dir);
}

static void scan_refcount_structures(struct scan *k)
{
    struct qcow2 *s = k->s;
    count(k, s->reftable.off, (uint64_t)s->h.reftable_clusters << s->cluster_bits);
    for (size_t i = 0; i < s->reftable.len; i++) {
        uint64_t off = s->reftable.entry[i];
        if (!off)
            continue;
        if ((off & (s->cluster_size - 1)) || off >> s->cluster_bits >= k->clusters) {
            corruption(k, "refcount block is not aligned or beyond the end; offset", off);
            k->rebuild = true;
            continue;
        }
        count(k, off, s->cluster_size);
        if (k->want[off >> s->cluster_bits] > 1) {
            corruption(k, "refcount block shares its cluster; offset", off);
            k->rebuild = true;
        }
    }
}

static int set_count(struct scan *k, uint64_t cluster, uint64_t have)
{
    uint64_t want = cluster < k->clusters ? k->want[cluster] : 0;
    if (want > qcow2_refcount_max(k->s))
        return -EOVERFLOW;
    uint64_t off = cluster << k->s->cluster_bits;
    int r = 0;
    for (; !r && have < want; have++)
        r = qcow2_refcount_add(k->n, off, 1, 1);
    for (; !r && have > want; have--)
        r = qcow2_refcount_add(k->n, off, 1, -1);
    return r;
}

static void compare_one(struct scan *k, uint64_t cluster, bool counted)
{
    uint64_t want = cluster < k->clusters ? k->want[cluster] : 0, have = 0;
    if (counted && qcow2_refcount_get(k->n, cluster, &have)) {
        k->c->check_errors++;
        return;
    }
    if (have == want)
        return;
    bool leak = have > want;
    bool fix = !k->rebuild && (leak ? k->c->fix_leaks : k->c->fix_errors);
    if (fix && !counted) {
        k->rebuild = true; // nowhere to write the count
        fix = false;
    }
    report(k, "%s cluster %llu refcount=%llu reference=%llu",
           fix    ? "Repairing"
           : leak ? "Leaked"
                  : "ERROR",
           (unsigned long long)cluster, (unsigned long long)have, (unsigned long long)want);
    bool fixed = fix && !set_count(k, cluster, have);
    if (leak)
        ++*(fixed ? &k->c->leaks_fixed : &k->c->leaks);
    else
        ++*(fixed ? &k->c->corruptions_fixed : &k->c->corruptions);
}

static void compare(struct scan *k)
{
    struct qcow2 *s = k->s;
    uint64_t entries = qcow2_refblock_entries(s);
    uint64_t blocks = MAX((uint64_t)s->reftable.len, (k->clusters + entries - 1) / entries);
    for (uint64_t b = 0; b < blocks; b++) {
        uint64_t off = b < s->reftable.len ? s->reftable.entry[b] : 0;
        bool counted = off && !(off & (s->cluster_size - 1));
        if (!counted && b * entries >= k->clusters)
            continue;
        for (uint64_t c = b * entries; c < (b + 1) * entries; c++)
            if (counted || c < k->clusters)
                compare_one(k, c, counted);
    }
}

// Writes a whole new set of counts behind the image and switches the header to it.
static int rebuild(struct scan *k)
{
    struct qcow2 *s = k->s;
    uint64_t entries = qcow2_refblock_entries(s), at = k->clusters, table = 1, blocks = 1;
    for (int i = 0; i < 16; i++) {
        blocks = (at + table + blocks + entries - 1) / entries;
        table = (blocks * 8 + s->cluster_size - 1) >> s->cluster_bits;
    }
    if (table << s->cluster_bits > QCOW2_REFTABLE_BYTES_MAX)
        return -EFBIG;
    uint64_t *reftable = calloc(table << s->cluster_bits >> 3, 8);
    uint8_t *block = malloc(s->cluster_size);
    int r = reftable && block ? 0 : -ENOMEM;
    uint64_t max = qcow2_refcount_max(s);
    for (uint64_t b = 0; !r && b < blocks; b++) {
        memset(block, 0, s->cluster_size);
        for (uint64_t i = 0; i < entries; i++) {
            uint64_t c = b * entries + i;
            uint64_t v = c < at ? k->want[c] : c < at + table + blocks;
            qcow2_refcount_put(s, block, i, MIN(v, max));
        }
        reftable[b] = (at + table + b) << s->cluster_bits;
        r = node_write_buf(k->n->file, reftable[b], block, s->cluster_size);
    }
    uint64_t off = at << s->cluster_bits;
    uint8_t head[12];
    st_be64(head, off);
    st_be32(head + 8, (uint32_t)table);
    r = r ?: qcow2_write_entries(k->n, off, reftable, table << s->cluster_bits >> 3)
          ?: node_flush(k->n->file)
          ?: node_write_buf(k->n->file, QCOW2_AT_REFTABLE, head, sizeof head)
          ?: node_flush(k->n->file);
    free(block);
    free(reftable);
    if (r)
        return r;
    s->h.reftable_offset = off;
    s->h.reftable_clusters = (uint32_t)table;
    qcow2_cache_forget_all(&s->refblocks);
    s->fresh_from = MAX(s->fresh_from, at + table + blocks);
    s->free_hint = 0;
    return qcow2_table_load(k->n, &s->reftable, off, table << s->cluster_bits >> 3);
}

static int scan_all(struct scan *k)
{
    struct qcow2 *s = k->s;
    count(k, 0, s->cluster_size);
    scan_l1(k, s->l1.off, s->l1.entry, s->l1.len, true);
    scan_snapshots(k);
    scan_bitmaps(k);
    uint32_t *user = NULL;
    if (k->c->fix_errors) { // a rebuild counts everything but the old structures
        user = malloc(k->clusters * sizeof *user);
        if (!user)
            return -ENOMEM;
        memcpy(user, k->want, k->clusters * sizeof *user);
    }
    scan_refcount_structures(k);
    compare(k);
    int r = 0;
    if (k->rebuild && k->c->fix_errors) {
        free(k->want);
        k->want = user;
        user = NULL;
        report(k, "Rebuilding refcount structure");
        r = rebuild(k);
        k->c->corruptions_fixed += r ? 0 : k->c->corruptions;
        k->c->leaks_fixed += r ? 0 : k->c->leaks;
        k->c->corruptions = k->c->leaks = 0;
    }
    free(user);
    return r;
}

static int repair_rest(struct scan *k)
{
    struct block_check *c = k->c;
    if (!c->fix_errors)
        return c->fix_leaks ? qcow2_commit(k->n) : 0;
    return qcow2_fix_copied(k->n) ?: qcow2_commit(k->n);
}

static int check_once(struct block_node *n, struct block_check *c)
{
    struct qcow2 *s = qcow2_of(n);
    struct scan k = {.n = n, .s = s, .c = c};
    k.clusters = (n->file->size + s->cluster_size - 1) >> s->cluster_bits;
    if (k.clusters > 1ull << 36)
        return -EFBIG;
    k.want = calloc(k.clusters ?: 1, sizeof *k.want);
    int r = k.want ? scan_all(&k) : -ENOMEM;
    if (!r && (c->fix_leaks || c->fix_errors))
        r = repair_rest(&k);
    c->total_clusters = (n->size + s->cluster_size - 1) >> s->cluster_bits;
    c->image_end_offset = (k.highest + 1) << s->cluster_bits;
    free(k.want);
    return r;
}

static int clear_marks(struct block_node *n)
{
    struct qcow2 *s = qcow2_of(n);
    uint64_t marks = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT;
    if (s->h.version < 3 || !(s->h.incompatible & marks))
        return 0;
    return qcow2_write_features(n, s->h.incompatible & ~marks, s->h.autoclear);
}

int qcow2_check_locked(struct block_node *n, struct block_check *c, struct err *e)
{
    int r = qcow2_commit(n) ?: check_once(n, c);
    if (!r && (c->fix_leaks || c->fix_errors)) {
        // What is left after the repair is what counts.
        struct block_check again = {.report = NULL};
        r = check_once(n, &again);
        uint64_t before = c->corruptions, leaks = c->leaks;
        c->corruptions_fixed += before > again.corruptions ? before - again.corruptions : 0;
        c->leaks_fixed += leaks > again.leaks ? leaks - again.leaks : 0;
        c->corruptions = again.corruptions;
        c->leaks = again.leaks;
        if (!r && c->fix_errors && !again.corruptions && !again.check_errors)
            r = clear_marks(n);
    }
    return r ? err_errno(e, -r, "the check could not be finished") : 0;
}

int qcow2_check(struct block_node *n, struct block_check *c, struct err *e)
{
    struct qcow2 *s = qcow2_of(n);
    co_rwlock_write(node_co(n), &s->gate);
    int r = qcow2_check_locked(n, c, e);
    co_rwlock_unlock(node_co(n), &s->gate);
    return r;
}
