// An open qcow2 image. How the pieces fit, and the order in which they reach the disk, is told in
// README.md. Everything runs in coroutines of the node's engine.
#pragma once

#include "block/format/qcow2/layout.h"
#include "block/node/node.h"
#include "base/bits.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/vec.h"

// What the header says, in host byte order.
struct qcow2_header {
    uint32_t version, cluster_bits, crypt_method, l1_entries, reftable_clusters, n_snapshots;
    uint32_t refcount_order, header_length;
    uint64_t backing_offset, size, l1_offset, reftable_offset, snapshots_offset;
    uint32_t backing_len;
    uint64_t incompatible, compatible, autoclear;
    uint8_t compression;
    char backing_name[QCOW2_BACKING_NAME_MAX + 1], backing_format[64];
    char data_file[QCOW2_BACKING_NAME_MAX + 1];
    struct buf feature_names; // the extension's data as read
    struct buf unknown;       // unknown extensions, whole, kept when the header is rewritten
    uint64_t bitmaps_directory, bitmaps_bytes;
    uint32_t n_bitmaps;
};
// Parses the first cluster. Knows nothing of the rest of the file.
int qcow2_header_parse(struct qcow2_header *h, const void *data, size_t len, struct err *e);
// The header with its extensions and backing name, one cluster long.
int qcow2_header_build(const struct qcow2_header *h, struct buf *out, struct err *e);
void qcow2_header_free(struct qcow2_header *h);

// Part of an L2 table or refcount block in memory.
struct qcow2_slice {
    uint64_t off; // in the file
    uint8_t *data;
    unsigned pins;
    bool dirty, loading, detached;
    int load_error;
    struct list lru, dirty_link;
    struct co_queue loaded;
};
struct qcow2_cache {
    struct block_node *n;
    struct map slices; // by off / bytes, plus one
    struct list lru;   // oldest first
    struct list dirty;
    size_t bytes, count, max, n_dirty; // `bytes` of a slice; numbers of slices
};
// Guest clusters whose mapping a request is changing; later ones wait.
struct qcow2_claim {
    struct list link;
    uint64_t first, end; // guest offsets, cluster-aligned
    struct co_queue waiters;
};
struct qcow2_flight {
    struct list link;
    uint64_t seq;
};
struct qcow2_free {
    uint64_t off, bytes, seq; // host range; seq: requests older than this may still use it
};
struct qcow2_snapshot {
    struct block_snapshot info;
    uint64_t l1_offset;
    uint32_t l1_entries;
    uint8_t extra[QCOW2_SNAPSHOT_EXTRA_MAX];
    uint32_t extra_len;
};

// A table that is wholly in memory (L1, refcount table), with the sectors to be written.
struct qcow2_table {
    uint64_t *entry;
    size_t len; // entries
    uint64_t off;
    uint8_t *dirty; // one per sector of 64 entries
    bool any_dirty;
};

struct qcow2 {
    struct qcow2_header h;
    struct block_node *data; // the file, or the external data file
    unsigned cluster_bits, l2_bits, l2_entry_size, subclusters, refcount_order;
    uint64_t cluster_size;
    struct qcow2_table l1, reftable;
    struct qcow2_cache l2, refblocks;
    struct map
        metadata; // host cluster number plus one: what lives there (enum qcow2_kind plus one)
    struct co_rwlock gate; // requests read-lock; snapshots, resizing and checks write-lock
    struct co_mutex alloc_lock, l2_lock, commit_lock;
    uint64_t free_hint;   // no free cluster below this one
    uint64_t fresh_from;  // clusters from here were never written: they read as zeros
    uint64_t compress_at; // next byte for compressed data, 0: none open
    struct list claims, flights;
    uint64_t flight_seq, commits_begun, commits_done;
    VEC(struct qcow2_free)
    freed, ripe; // since the last commit; committed, waiting for old requests
    bool freeing, data_is_external, corrupt;
    bool opened;         // wholly
    bool bitmaps_loaded; // what the header names is what the node has
    VEC(struct qcow2_snapshot) snapshots;
    struct {
        uint64_t entry; // the descriptor it came from; 0: empty
        uint8_t *data;
    } unpacked;
};

static inline struct qcow2 *qcow2_of(struct block_node *n)
{
    return n->s;
}
static inline uint64_t cluster_start(const struct qcow2 *s, uint64_t off)
{
    return off & ~(s->cluster_size - 1);
}
static inline uint64_t cluster_end(const struct qcow2 *s, uint64_t off)
{
    return (off + s->cluster_size - 1) & ~(s->cluster_size - 1);
}
static inline uint64_t l2_coverage(const struct qcow2 *s)
{
    return s->cluster_size << s->l2_bits;
}
// Guest offset at which the VM state area begins.
static inline uint64_t vmstate_start(const struct qcow2 *s)
{
    uint64_t c = l2_coverage(s);
    return (s->h.size + c - 1) / c * c;
}

// header.c: the feature words alone, durable when it returns 0.
int qcow2_write_features(struct block_node *n, uint64_t incompatible, uint64_t autoclear);

// Corruption: says so once, marks the image, lets later writes fail. Returns -EIO.
int qcow2_corrupt(struct block_node *n, const char *fmt, ...) PRINTF(2, 3);

// What host clusters are used for beside guest data.
enum qcow2_kind {
    KIND_HEADER,
    KIND_L1,
    KIND_L2,
    KIND_REFTABLE,
    KIND_REFBLOCK,
    KIND_SNAPSHOTS,
    KIND_BITMAPS
};
void qcow2_metadata_add(struct qcow2 *s, enum qcow2_kind k, uint64_t off, uint64_t bytes);
void qcow2_metadata_del(struct qcow2 *s, uint64_t off, uint64_t bytes);
// The name of what the range would destroy, or NULL.
const char *qcow2_metadata_at(const struct qcow2 *s, uint64_t off, uint64_t bytes);

// cache.c
void qcow2_cache_init(struct qcow2_cache *c, struct block_node *n, size_t slice, size_t max_bytes);
void qcow2_cache_free(struct qcow2_cache *c);
int qcow2_slice_get(struct qcow2_cache *c, uint64_t off, struct qcow2_slice **out); // pinned
void qcow2_slice_put(struct qcow2_cache *c, struct qcow2_slice *sl);
void qcow2_slice_dirty(struct qcow2_cache *c, struct qcow2_slice *sl);
void qcow2_cache_forget(struct qcow2_cache *c, uint64_t off, uint64_t bytes); // drops, dirty or not
void qcow2_cache_forget_all(struct qcow2_cache *c);

// table.c
int qcow2_table_load(struct block_node *n, struct qcow2_table *t, uint64_t off, size_t len);
void qcow2_table_set(struct qcow2_table *t, size_t i, uint64_t v);
void qcow2_table_free(struct qcow2_table *t);
int qcow2_write_entries(struct block_node *n, uint64_t off, const uint64_t *entry, size_t len);

// commit.c
int qcow2_commit(struct block_node *n); // all that finished before is durable when it returns 0
bool qcow2_wants_commit(const struct qcow2 *s);
int qcow2_free_ripe(struct block_node *n); // gives back what nobody can use any more
void qcow2_flight_begin(struct qcow2 *s, struct qcow2_flight *f);
void qcow2_flight_end(struct block_node *n, struct qcow2_flight *f);

// refcount.c
int qcow2_refcount_get(struct block_node *n, uint64_t cluster, uint64_t *v);
// The range lost its last reference: it is given back once the commit that says so is on disk
// (qcow2_free_ripe).
void qcow2_free_later(struct qcow2 *s, uint64_t off, uint64_t bytes);
// Adds delta to each cluster that the byte range touches. Takes alloc_lock.
int qcow2_refcount_add(struct block_node *n, uint64_t off, uint64_t bytes, int delta);
// Up to `want` contiguous clusters: the number got, the first one's offset in *off; or -errno.
int64_t qcow2_alloc(struct block_node *n, uint64_t want, uint64_t *off, bool *fresh);
int qcow2_alloc_exact(struct block_node *n, uint64_t clusters, uint64_t *off);
// Room for compressed data: `bytes` at *off, counted in the refcounts.
int qcow2_alloc_bytes(struct block_node *n, uint64_t bytes, uint64_t *off);
uint64_t qcow2_refcount_max(const struct qcow2 *s);
uint64_t qcow2_refcount_in(const struct qcow2 *s, const uint8_t *block, uint64_t index);
void qcow2_refcount_put(const struct qcow2 *s, uint8_t *block, uint64_t index, uint64_t v);
uint64_t qcow2_refblock_entries(const struct qcow2 *s);

// map.c
enum qcow2_state { MAP_UNALLOCATED, MAP_ZERO, MAP_DATA, MAP_COMPRESSED };
struct qcow2_mapping {
    enum qcow2_state state;
    uint64_t bytes; // of this state, contiguous on the host
    uint64_t host;  // DATA: of the first byte; ZERO: of a preallocated cluster, or 0
    uint64_t entry; // COMPRESSED: the descriptor
    bool writable;  // DATA whose host cluster belongs to this mapping alone
};
// A pinned piece of an L2 table and where a guest offset is in it.
struct qcow2_l2ref {
    struct qcow2_slice *sl;
    unsigned index; // entry in the slice
    unsigned left;  // entries from index to the end of the slice
};
int qcow2_map(struct block_node *n, uint64_t off, uint64_t bytes, struct qcow2_mapping *m);
// The same within one slice, whose entry for `off` is ref's.
int qcow2_map_at(struct block_node *n, const struct qcow2_l2ref *ref, uint64_t off, uint64_t bytes,
                 struct qcow2_mapping *m);
// For changing: makes the table exist and belong to the active layer alone.
int qcow2_l2_writable(struct block_node *n, uint64_t off, struct qcow2_l2ref *ref);
int qcow2_l2_find(struct block_node *n, uint64_t off, struct qcow2_l2ref *ref); // sl NULL: none
uint64_t qcow2_l2_entry(const struct qcow2 *s, const struct qcow2_slice *sl, unsigned i);
uint64_t qcow2_l2_bitmap(const struct qcow2 *s, const struct qcow2_slice *sl, unsigned i);
void qcow2_l2_set(struct qcow2 *s, struct qcow2_slice *sl, unsigned i, uint64_t entry,
                  uint64_t bitmap);
enum qcow2_state qcow2_entry_state(const struct qcow2 *s, uint64_t entry, uint64_t bitmap,
                                   unsigned subcluster);
// Checks a data cluster's address, and that writing there would destroy no table; `what` and `at`
// are for the message.
int qcow2_check_host(struct block_node *n, uint64_t host, bool writable, const char *what,
                     uint64_t at);
void qcow2_compressed_range(const struct qcow2 *s, uint64_t entry, uint64_t *off, uint64_t *bytes);
// The host range that an L2 entry holds a reference on; bytes 0: none.
void qcow2_entry_range(const struct qcow2 *s, uint64_t entry, uint64_t *off, uint64_t *bytes);

// claim.c
void qcow2_claim(struct block_node *n, struct qcow2_claim *c, uint64_t first, uint64_t end);
void qcow2_claim_shrink(struct block_node *n, struct qcow2_claim *c, uint64_t end);
void qcow2_claim_end(struct block_node *n, struct qcow2_claim *c);

// read.c, write.c, zero.c, compress.c. The *_range forms run inside a flight; offsets may reach
// into the VM state area
int qcow2_read(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v);
int qcow2_write(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v,
                uint32_t flags);
bool qcow2_reads_zero(struct block_node *n, uint64_t off, uint64_t bytes);
int qcow2_read_compressed(struct block_node *n, uint64_t entry, uint64_t from, uint64_t bytes,
                          struct iov_view v);
int qcow2_read_range(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v);
int qcow2_write_range(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v);
int qcow2_write_zeroes(struct block_node *n, uint64_t off, uint64_t bytes, uint32_t flags);
int qcow2_discard(struct block_node *n, uint64_t off, uint64_t bytes);
int qcow2_discard_range(struct block_node *n, uint64_t off, uint64_t bytes, bool expose_backing);
int qcow2_write_compressed(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v);
// Unpacks `len` bytes into exactly one cluster at dst. Any thread.
int qcow2_unpack(unsigned method, const void *src, size_t len, void *dst, size_t cluster);
// Packs a cluster; the bytes used, or 0 when it does not get smaller. Any thread.
size_t qcow2_pack(unsigned method, const void *src, size_t cluster, void *dst);

// resize.c
// Exclusive, nothing uncommitted: a longer L1 table, on disk at once.
int qcow2_grow_l1(struct block_node *n, uint64_t entries);
// The same state: makes `entry` (len entries) the active L1 table; the old one's clusters are
// freed.
int qcow2_switch_l1(struct block_node *n, const uint64_t *entry, size_t len);
int qcow2_resize(struct block_node *n, uint64_t size, struct err *e);
int qcow2_zero_range(struct block_node *n, uint64_t off, uint64_t bytes, uint32_t flags);

// tree.c; exclusive
// Nothing uncommitted in the tables of `l1`. Adds delta to the count of all that it reaches.
int qcow2_count_tree(struct block_node *n, const uint64_t *l1, size_t len, int delta);
// Sets the COPIED flags of the active tables from the reference counts.
int qcow2_fix_copied(struct block_node *n);

// snapshot.c
int qcow2_snapshots_load(struct block_node *n, struct err *e);
// Lets a read-only image show a snapshot's content. -ENOENT: no such snapshot.
int qcow2_show_snapshot(struct block_node *n, const char *id);
extern const struct block_snapshot_ops qcow2_snapshot_ops;

// bitmaps.c
int qcow2_bitmaps_load(struct block_node *n, struct err *e); // to the node
int qcow2_bitmaps_begin(struct block_node *n);               // those on disk are out of date now
int qcow2_bitmaps_store(struct block_node *n);               // the node's persistent ones
int qcow2_check_bitmap(struct block_node *n, struct err *e);

// check.c
int qcow2_check(struct block_node *n, struct block_check *c, struct err *e);
int qcow2_check_locked(struct block_node *n, struct block_check *c, struct err *e);

// create.c
extern const struct block_create_option qcow2_create_options[];
int qcow2_create(struct block_node *file, const struct block_create *c, struct err *e);
int qcow2_measure(const struct block_create *c, struct block_measure *m, struct err *e);
int qcow2_set_backing(struct block_node *n, const char *name, const char *format, struct err *e);

// preallocate.c
int qcow2_preallocate(struct block_node *n, struct err *e);
