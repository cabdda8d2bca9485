// The block layer as devices and the control plane see it: nodes (a format over a protocol),
// asynchronous requests, and the drives that devices hold. Offsets and lengths are bytes. Requests
// run on the loop given at attach; completions come there, never inside the submit call.
#pragma once

#include "base/err.h"
#include "base/loop.h"
#include "base/opt.h"
#include <sys/uio.h>

struct block_node; // opened image; reference-counted

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };
// COMPRESSED: a WRITE of whole clusters to a format that can pack them.
enum { BLOCK_FUA = 1, BLOCK_MAY_UNMAP = 2, BLOCK_COMPRESSED = 4 };

// One request. Zero it, fill the first part, submit; the structure and the iovecs belong to the
// layer until `done` is called.
struct block_req {
    enum block_op op;
    uint32_t flags;
    uint64_t offset, bytes;
    const struct iovec *iov; // READ and WRITE; total length == bytes
    unsigned n_iov;
    void (*done)(struct block_req *r, int result); // 0 or -errno
    void *opaque;
    void *priv[4]; // the layer's
    struct {       // drive_submit's
        struct drive *drive;
        void (*done)(struct block_req *r, int result);
        struct list link;
        int result;
    } held;
};

// Opens from QEMU-style options: "file" or "filename", "format"/"driver", "read-only", "snapshot",
// "cache", "aio", "discard", "detect-zeroes", "node-name", dotted children ("file.filename",
// "backing.…"). Unknown keys are errors. An image without a stated format that is writable is raw,
// with a warning (R9).
struct drives;
struct block_node *block_open(struct opts *o, struct loop *loop, struct err *e);
struct block_node *block_ref(struct block_node *n);
void block_unref(struct block_node *n); // the last one flushes and closes; drains first
uint64_t block_size(const struct block_node *n);
bool block_readonly(const struct block_node *n);
bool block_writethrough(const struct block_node *n); // cache=writethrough, directsync
const char *block_node_name(const struct block_node *n);
const char *block_driver_name(const struct block_node *n);
const char *block_filename(const struct block_node *n); // never NULL
struct block_node *block_file(struct block_node *n);    // the protocol node below a format, or NULL
struct block_node *block_backing(struct block_node *n); // or NULL
unsigned block_alignment(const struct block_node *n);   // of offsets without a detour, in bytes

void block_submit(struct block_node *n, struct block_req *r); // loop thread
// Between plug and unplug submissions are only collected, so that a batch costs one system call.
void block_plug(struct block_node *n);
void block_unplug(struct block_node *n);
void block_drain(struct block_node *n); // loop thread: until no request is in flight
// Moves an idle node (and all below it) to another loop, before a device on that loop uses it.
void block_set_loop(struct block_node *n, struct loop *loop);
// Synchronous forms for tools, loaders and pflash: on the loop's thread, or while no thread runs
// that loop; they wait for this node's I/O only and run no other handler of the loop. 0 or -errno.
int block_pread(struct block_node *n, uint64_t off, void *buf, size_t len) MUST_CHECK;
int block_pwrite(struct block_node *n, uint64_t off, const void *buf, size_t len) MUST_CHECK;
int block_flush(struct block_node *n) MUST_CHECK;
int block_resize(struct block_node *n, uint64_t size, struct err *e) MUST_CHECK;

struct block_stats {
    uint64_t ops[5], bytes[5], time_ns[5], failed[5];
};
void block_get_stats(const struct block_node *n, struct block_stats *s);

// Internal snapshots and the VM state area beside them (qcow2). `id` and `name` are NUL-terminated.
struct block_snapshot {
    char id[32], name[256];
    uint64_t vmstate_bytes, disk_bytes;
    uint64_t date_ns;  // since the Epoch
    uint64_t clock_ns; // guest run time
};
bool block_can_snapshot(const struct block_node *n);
// Fills a fresh array that the caller frees; the count, or -1.
int block_snapshot_list(struct block_node *n, struct block_snapshot **out, struct err *e);
int block_snapshot_create(struct block_node *n, const struct block_snapshot *s,
                          struct err *e) MUST_CHECK;
int block_snapshot_apply(struct block_node *n, const char *id_or_name, struct err *e) MUST_CHECK;
int block_snapshot_delete(struct block_node *n, const char *id_or_name, struct err *e) MUST_CHECK;
// The VM state of the active layer, taken along by the next snapshot_create. 0 or -errno.
int block_vmstate_pread(struct block_node *n, uint64_t off, void *buf, size_t len) MUST_CHECK;
int block_vmstate_pwrite(struct block_node *n, uint64_t off, const void *buf,
                         size_t len) MUST_CHECK;

// A drive: what `-drive id=` or `-blockdev node-name=` names and a device holds. Keeps error policy
// and identity apart from the node.
struct drive {
    struct drives *owner;
    struct list link;
    char *id;
    struct block_node *node; // NULL: no medium
    char *serial;            // legacy -drive serial=, or NULL
    bool is_cdrom, removable, locked, tray_open;
    bool from_blockdev; // made for -device drive=NODE-NAME
    struct loop *loop;  // NULL: the main loop
    enum drive_err {
        DRIVE_ERR_AUTO, // reads: report, writes: enospc
        DRIVE_ERR_REPORT,
        DRIVE_ERR_IGNORE,
        DRIVE_ERR_ENOSPC, // stop when the host has no room left, else report
        DRIVE_ERR_STOP
    } rerror,
        werror;
    char *interface; // "none", "virtio", "pflash", …
    int bus, unit, index;
    void *dev;                        // the device that holds it, or NULL
    void (*media_changed)(void *dev); // set by that device
    int failure;                      // -errno of what stopped the machine; 0 once it went on
    struct list held;                 // requests that failed and wait for the machine to go on
    bool draining;
};

extern const char *const drive_err_names[]; // NULL-terminated

// Devices. Taking a drive makes `dev` its only holder; a policy that is not AUTO replaces the
// drive's own.
int drive_take(struct drive *d, void *dev, void (*media_changed)(void *dev), uint32_t rerror,
               uint32_t werror, struct err *e) MUST_CHECK;
void drive_release(struct drive *d);
// The drive's images, now and later ones, work on `loop` (NULL: the main loop); it and the present
// one are held. Refused where something else uses one of their nodes elsewhere.
int drive_set_loop(struct drive *d, struct loop *loop, struct err *e) MUST_CHECK;
// As block_submit to the drive's node, but what `done` learns of a failure is up to rerror and
// werror (every request but READ counts as a write). With "stop", `done` waits until drives_retry
// has brought success or another end.
void drive_submit(struct drive *d, struct block_req *r);
void drive_drain(struct drive *d); // until no request is in flight; those that waited have failed

// All drives and named nodes of one machine. Main thread.
struct drives *drives_new(struct loop *loop);
// Called on the drive's loop for every failure: what was asked, what the policy made of it and the
// -errno. DRIVE_ERR_STOP: the machine is to be stopped soon; once it goes on, drives_retry.
typedef void drives_failed_fn(void *opaque, struct drive *d, enum block_op op,
                              enum drive_err action, int result);
void drives_on_failure(struct drives *ds, drives_failed_fn *fn, void *opaque);
// What block jobs have to tell: QMP events with their data. Any thread.
typedef void drives_event_fn(void *opaque, const char *name, const char *json_data);
void drives_on_event(struct drives *ds, drives_event_fn *fn, void *opaque);
void drives_retry(struct drives *ds);   // requests that waited are sent again
void drives_give_up(struct drives *ds); // they have failed: the guest that asked is gone
void drives_free(struct drives *d);     // closes every node
// The descriptors that file names /dev/fdset/N stand for; the caller's.
struct fdsets;
void drives_set_fdsets(struct drives *d, struct fdsets *fds);
// -drive: if, index, bus, unit, media, id, file, format, cache, read-only, snapshot, serial,
// werror, rerror, discard, detect-zeroes, aio and every key of block_open. `default_if` is the
// board's ("virtio", "ide"). Index, bus and unit are assigned when not given. NULL and *e.
struct drive *drive_open_from_opts(struct drives *d, struct opts *o, const char *default_if,
                                   struct err *e);
// -blockdev and blockdev-add: node-name is required. NULL and *e.
struct block_node *drives_add_node(struct drives *d, struct opts *o, struct err *e);
int drives_del_node(struct drives *d, const char *node_name, struct err *e) MUST_CHECK;
struct block_node *drives_find_node(struct drives *d, const char *node_name); // or NULL
struct drive *drives_find(struct drives *d, const char *id);                  // or NULL
// What -device drive=NAME means: the drive of that id, else a new one over the node of that name.
struct drive *drives_get(struct drives *d, const char *name, struct err *e);
struct drive *drives_find_slot(struct drives *d, const char *interface, int index); // or NULL
bool drives_use_loop(struct drives *d, const struct loop *loop); // does a node live there?
struct drive *drives_next(struct drives *d, struct drive *prev); // NULL starts and ends the walk
struct block_node *drives_next_node(struct drives *d, struct block_node *prev);
void drives_del(struct drives *d, struct drive *drive); // closes its node unless shared
// A new medium (opts as for block_open), or NULL for none; tells the device.
int drive_change(struct drives *d, struct drive *drive, struct opts *o, struct err *e) MUST_CHECK;
