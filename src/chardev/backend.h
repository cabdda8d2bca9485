// Inside the room: what a kind of character back end provides, and what it may ask of the core. All
// on the loop's thread.
#pragma once

#include "chardev/chardev.h"
#include "chardev/queue.h"
#include "base/thread.h"
#include <sys/types.h>

#define CHR_MAX_FRONTENDS 8
#define CHR_INPUT_LIMIT   4096               // held for a front end that is busy
#define CHR_OUT_SOFT      ((size_t)64 * KiB) // chr_write refuses above this
#define CHR_OUT_LIMIT     ((size_t)1 * MiB)  // chr_write_all drops the oldest above this

struct chardev_type {
    const char *name;
    const char *help;        // one line of options
    const char *const *keys; // options of this type, for did-you-mean; may be NULL
    size_t size;             // of the type's own structure, which begins with struct chardev
    int (*open)(struct chardev *c, struct opts *o, struct err *e);
    void (*close)(struct chardev *c); // also after a failed open
    // Takes up to n bytes without blocking, the output lock held; how many were taken, or -1 when
    // the peer is gone; n may be 0. After a short write the type calls chr_be_writable once there
    // is room.
    ssize_t (*write)(struct chardev *c, const uint8_t *p, size_t n);
    void (*broken)(struct chardev *c);                    // a write returned -1; outside the lock
    void (*accept_input)(struct chardev *c);              // chr_be_can_receive() may have grown
    void (*describe)(struct chardev *c, struct buf *out); // default: the type's name
    int (*get_msgfd)(struct chardev *c);
};

struct chr_frontend {
    struct chardev *c; // NULL once the back end was closed
    const struct chr_frontend_ops *ops;
    void *opaque;
    bool blocked;         // had a short write and waits for can_write
    bool seen_open;       // the last event of the two was CHR_OPENED
    struct byte_queue in; // input that arrived while it was busy
    struct loop_work announce;
};

struct chr_mux {
    uint8_t escape;
    bool escaped;    // the escape character was the last byte
    bool timestamps; // Ctrl-A t
    bool line_start;
    int64_t start_ns;
    struct chr_mux_ops ops;
    bool has_ops;
};

struct chardev {
    const struct chardev_type *type;
    char *id;
    struct loop *loop;
    struct buf description;
    int out_fd;          // what a last flush waits for; -1: none
    _Atomic bool paused; // nothing is read

    pthread_mutex_t lock; // guards the next four
    struct byte_queue out;
    bool open;
    int log_fd;
    uint64_t lost; // bytes of chr_write_all that were dropped

    struct chr_frontend *fe[CHR_MAX_FRONTENDS];
    unsigned n_fe, focus;
    struct chr_mux *mux; // NULL: a single front end
    struct loop_work flush_work, input_work;
};

size_t chr_be_can_receive(struct chardev *c); // what the front end with the focus takes now
void chr_be_receive(struct chardev *c, const uint8_t *p, size_t n); // n <= chr_be_can_receive()
void chr_be_event(struct chardev *c, enum chr_event ev);
void chr_be_set_open(struct chardev *c, bool open); // drops unwritten output when closing
void chr_be_writable(struct chardev *c);            // tries to write what is queued

void chr_fe_feed(struct chr_frontend *f, const uint8_t *p, size_t n); // what overflows is lost
void chr_fe_drain(struct chr_frontend *f);                            // hands over what waits for f

// mux.c
void chr_mux_receive(struct chardev *c, const uint8_t *p, size_t n);
size_t chr_mux_write(struct chardev *c, const uint8_t *p, size_t n); // lock held; queues output
void chr_mux_detached(struct chardev *c, unsigned index);
