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
enum { BLOCK_FUA = 1, BLOCK_MAY_UNMAP = 2 };

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
};

// Opens from QEMU-style options: "file" or "filename", "format"/"driver", "read-only", "snapshot",
// "cache", "aio", "discard", "detect-zeroes", "node-name", dotted children ("file.filename",
// "backing.…"). Unknown keys are errors. An image without a stated format that is writable is raw,
// with a warning (R9).
struct block_node *block_open(struct opts *o, struct loop *loop, struct err *e);
struct block_node *block_ref(struct block_node *n);
void block_unref(struct block_node *n); // the last one flushes and closes; drains first
uint64_t block_size(const struct block_node *n);
bool block_readonly(const struct block_node *n);
const char *block_node_name(const struct block_node *n);
const char *block_driver_name(const struct block_node *n);
const char *block_filename(const struct block_node *n);
struct block_node *block_file(struct block_node *n);    // the protocol node below a format, or NULL
struct block_node *block_backing(struct block_node *n); // or NULL

void block_submit(struct block_node *n, struct block_req *r); // loop thread
void block_drain(struct block_node *n); // loop thread: until no request is in flight
// Synchronous forms for tools, loaders and pflash: run the loop until done. 0 or -errno.
int block_pread(struct block_node *n, uint64_t off, void *buf, size_t len) MUST_CHECK;
int block_pwrite(struct block_node *n, uint64_t off, const void *buf, size_t len) MUST_CHECK;
int block_flush(struct block_node *n) MUST_CHECK;

struct block_stats {
    uint64_t ops[5], bytes[5], time_ns[5], failed[5];
};
void block_get_stats(const struct block_node *n, struct block_stats *s);

// A drive: what `-drive id=` or `-blockdev node-name=` names and a device holds. Keeps error policy
// and identity apart from the node.
struct drive {
    char *id;
    struct block_node *node; // NULL: no medium
    char *serial;            // legacy -drive serial=, or NULL
    bool is_cdrom, removable, locked, tray_open;
    enum { DRIVE_ERR_REPORT, DRIVE_ERR_IGNORE, DRIVE_ERR_ENOSPC, DRIVE_ERR_STOP } rerror, werror;
    char *interface; // "none", "virtio", "pflash", …
    int bus, unit, index;
    void *dev;                        // the device that holds it, or NULL
    void (*media_changed)(void *dev); // set by that device
};
