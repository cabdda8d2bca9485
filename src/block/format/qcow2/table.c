// Tables that are wholly in memory: the active L1 table and the refcount table.

#include "block/format/qcow2/qcow2.h"
#include <errno.h>
#include <stdlib.h>

enum { SECTOR_ENTRIES = 64 };

int qcow2_table_load(struct block_node *n, struct qcow2_table *t, uint64_t off, size_t len)
{
    size_t sectors = (len + SECTOR_ENTRIES - 1) / SECTOR_ENTRIES;
    uint64_t *entry = calloc(sectors ?: 1, SECTOR_ENTRIES * 8);
    if (!entry)
        return -ENOMEM;
    int r = len ? node_read_buf(n->file, off, entry, len * 8) : 0;
    if (r) {
        free(entry);
        return r;
    }
    for (size_t i = 0; i < len; i++)
        entry[i] = ld_be64(&entry[i]);
    qcow2_table_free(t);
    *t = (struct qcow2_table){
        .entry = entry, .len = len, .off = off, .dirty = xcalloc(sectors ?: 1, 1)};
    return 0;
}

void qcow2_table_set(struct qcow2_table *t, size_t i, uint64_t v)
{
    BUG_ON(i >= t->len);
    t->entry[i] = v;
    t->dirty[i / SECTOR_ENTRIES] = 1;
    t->any_dirty = true;
}

void qcow2_table_free(struct qcow2_table *t)
{
    free(t->entry);
    free(t->dirty);
    *t = (struct qcow2_table){0};
}

int qcow2_write_entries(struct block_node *n, uint64_t off, const uint64_t *entry, size_t len)
{
    uint64_t *out = calloc(len ?: 1, 8);
    if (!out)
        return -ENOMEM;
    for (size_t i = 0; i < len; i++)
        st_be64(&out[i], entry[i]);
    int r = node_write_buf(n->file, off, out, len * 8);
    free(out);
    return r;
}
