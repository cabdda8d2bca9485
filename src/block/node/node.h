// Inside the block layer: what a node is, what a driver provides, and how drivers call their
// children. All I/O functions here run in a coroutine of the node's engine.
#pragma once

#include "block/block.h"
#include "block/io/co.h"
#include "block/io/engine.h"
#include "block/io/iov.h"
#include "block/node/gate.h"

// What a range of a node reads as, for `map`, `convert` and jobs.
struct block_extent {
    uint64_t bytes; // this much from the asked offset has one state
    bool data;      // stored here (else it reads from the backing file, or zero)
    bool zero;      // reads as zeros
    bool allocated; // this layer decides what it reads as (data or zero)
    bool compressed;
    bool offset_valid; // plain bytes at `offset` of `file`
    uint64_t offset;
    struct block_node *file;
};

struct block_check {
    uint64_t corruptions, leaks, check_errors, corruptions_fixed, leaks_fixed;
    uint64_t total_clusters, allocated_clusters, fragmented_clusters, compressed_clusters;
    uint64_t image_end_offset;
    bool fix_leaks, fix_errors; // asked for
    void (*report)(void *opaque, const char *line);
    void *opaque;
};

// What `create` and `measure` are asked for; strings may be NULL.
struct block_create {
    uint64_t size;
    const char *backing_name, *backing_format;
    struct opts *opts; // the format's own; what it does not know stays unused
};
// A key of those options, for help. A table of them ends with a name of NULL.
struct block_create_option {
    const char *name, *value, *meaning;
};
struct block_measure {
    uint64_t required, fully_allocated, data_bytes; // data_bytes: what has to be stored
};
// Facts about an image beyond its size, as `info` shows them.
struct block_info_sink {
    void (*text)(struct block_info_sink *s, const char *key, const char *v);
    void (*number)(struct block_info_sink *s, const char *key, uint64_t v);
    void (*flag)(struct block_info_sink *s, const char *key, bool v);
};

struct block_facts {
    uint64_t cluster_size; // 0: none
    bool dirty;
    const char *backing_name, *backing_format; // as stored, or NULL
};

// What can be done to an image as a whole. Each may be NULL.
struct block_image_ops {
    int (*probe)(const uint8_t *head, size_t len); // 0: not mine; else how sure, to 100
    const struct block_create_option *create_options;
    // `file` is empty; `data` is the external data file or NULL.
    int (*create)(struct block_node *file, const struct block_create *c, struct err *e);
    int (*preallocate)(struct block_node *n, struct err *e);
    int (*resize)(struct block_node *n, uint64_t size, struct err *e);
    int (*check)(struct block_node *n, struct block_check *c, struct err *e);
    void (*info)(struct block_node *n, struct block_info_sink *s);
    void (*facts)(struct block_node *n, struct block_facts *f);
    int (*check_bitmap)(struct block_node *n, struct err *e); // can it keep one? NULL: none can
    int (*set_backing)(struct block_node *n, const char *name, const char *format, struct err *e);
    int (*measure)(const struct block_create *c, struct block_measure *m, struct err *e);
};

struct block_driver {
    const char *name;
    bool protocol; // names a host object itself; has no file child
    size_t state_size;
    const char *const *options; // its own keys, for did-you-mean; NULL-terminated
    int (*open)(struct block_node *n, struct opts *o, struct err *e);
    void (*close)(struct block_node *n);
    int (*read)(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v);
    int (*write)(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v,
                 uint32_t flags);
    int (*write_zeroes)(struct block_node *n, uint64_t off, uint64_t bytes, uint32_t flags);
    int (*discard)(struct block_node *n, uint64_t off, uint64_t bytes);
    int (*flush)(struct block_node *n);
    int (*status)(struct block_node *n, uint64_t off, uint64_t bytes, struct block_extent *x);
    // Between reading only and writing, below users that go on; the node is told afterwards.
    // Missing for a format: nothing to do.
    int (*reopen)(struct block_node *n, bool read_only, struct err *e);
    const struct block_image_ops *image;
    const struct block_snapshot_ops *snapshots;
};

struct block_snapshot_ops {
    int (*list)(struct block_node *n, struct block_snapshot **out, struct err *e);
    int (*create)(struct block_node *n, const struct block_snapshot *s, struct err *e);
    int (*apply)(struct block_node *n, const char *id, struct err *e);
    int (*del)(struct block_node *n, const char *id, struct err *e);
    int (*vmstate_read)(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v);
    int (*vmstate_write)(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v);
};

// Options that children take over from their parent unless they say otherwise.
struct block_inherit {
    bool read_only, auto_read_only, direct, no_flush, force_share, discard_unmap;
    bool no_backing; // do not open the backing chain
    bool for_check;  // tolerate what a check is to find
    char aio[16];
    unsigned depth; // of the backing chain
};

enum detect_zeroes { DETECT_OFF, DETECT_ON, DETECT_UNMAP };

struct block_node {
    const struct block_driver *drv;
    void *s; // the driver's state
    struct engine *eng;
    struct drives *nodes;
    unsigned refs;
    char *node_name, *filename;
    struct block_node *file, *backing;
    bool backing_set; // by option: the header's name is not to be used
    struct block_inherit in;
    bool writethrough, guessed_raw;
    enum detect_zeroes detect_zeroes;
    uint64_t size;
    unsigned align;
    unsigned in_flight;
    struct co_queue idle;
    struct gate gate;
    struct list bitmaps; // struct bitmap
    const char *busy;    // the job that holds it, or NULL
    struct block_stats stats;
    struct throttle *throttle;
    struct list link; // in the machine's table
};

// The node's coroutine scheduler.
static inline struct co_sched *node_co(const struct block_node *n)
{
    return engine_co(n->eng);
}

// Opens with inherited options; runs in a coroutine of `eng`. Consumes what it knows of `o`.
struct block_node *node_open(struct opts *o, const struct block_inherit *in, struct drives *nodes,
                             struct engine *eng, struct err *e);
// The same from outside coroutines, with the top level's spelling ("file" may be a path,
// snapshot=).
struct block_node *node_open_root(struct opts *o, const struct block_inherit *base,
                                  struct drives *nodes, struct engine *eng, struct err *e);
// A node of format `drv` over an open protocol node (takes a reference of its own).
struct block_node *node_wrap(struct block_node *file, const struct block_driver *drv,
                             struct opts *o, struct err *e);
// The child at `key` of n's options: a node name, dotted options or (for "backing") nothing.
// *found is false when the key is absent.
struct block_node *node_open_child(struct block_node *n, struct opts *o, const char *key,
                                   const struct block_inherit *in, bool *found, struct err *e);
struct block_node *node_open_name(struct block_node *parent, const char *filename,
                                  const char *format, const struct block_inherit *in,
                                  struct err *e);
// A protocol node of the caller's own making: its state is zeroed, its driver's open not called.
struct block_node *node_new_protocol(const struct block_driver *drv, struct engine *eng,
                                     uint64_t size);
void node_unref(struct block_node *n); // in a coroutine
// Opens the files below anew for writing or only for reading. In a coroutine. 0 or -1.
int node_set_read_only(struct block_node *n, bool read_only, struct err *e) MUST_CHECK;
// A qcow2 overlay over `base`, in a file that is gone when it is closed. Takes over the reference,
// also on failure. Outside coroutines.
struct block_node *node_temp_overlay(struct block_node *base, struct err *e);
// The steps of making one, for open.c: without a driver, which node_start opens (0 or -1); after a
// failure node_free, as nothing was written.
struct block_node *node_new(const struct block_inherit *in, struct drives *nodes,
                            struct engine *eng);
int node_start(struct block_node *n, struct opts *o, struct err *e) MUST_CHECK;
void node_free(struct block_node *n);
// Path of `name` as seen from the image at `base`: the caller frees it.
char *node_resolve_name(const char *base, const char *name);
const struct block_driver *block_driver_find(const char *name);
const struct block_driver *block_driver_at(unsigned i); // NULL at the end

// 0 or -errno. Reads beyond the end of a protocol node give zeros.
int node_read(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v);
int node_write(struct block_node *n, uint64_t off, uint64_t bytes, struct iov_view v,
               uint32_t flags);
int node_read_buf(struct block_node *n, uint64_t off, void *buf, size_t len);
int node_write_buf(struct block_node *n, uint64_t off, const void *buf, size_t len);
int node_write_zeroes(struct block_node *n, uint64_t off, uint64_t bytes, uint32_t flags);
int node_discard(struct block_node *n, uint64_t off, uint64_t bytes);
int node_flush(struct block_node *n);
int node_status(struct block_node *n, uint64_t off, uint64_t bytes, struct block_extent *x);
int node_resize(struct block_node *n, uint64_t size, struct err *e);
