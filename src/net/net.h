// Network back ends as NICs see them: a peer that takes and gives whole Ethernet frames on one
// event loop.
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/opt.h"
#include <sys/uio.h>

struct netdev;

struct netdev_ops {
    const char *name; // "user", "tap", …
    const char *help;
    struct netdev *(*open)(struct opts *o, struct loop *loop, struct err *e);
    // A frame from the guest. Returns true when taken; false: full, nic_ops.can_send is called
    // later.
    bool (*send)(struct netdev *n, const struct iovec *iov, unsigned n_iov);
    void (*rx_ready)(struct netdev *n);               // the NIC has room again
    void (*print)(struct netdev *n, struct buf *out); // `info network`; may be NULL
    int (*command)(struct netdev *n, const char *verb, const char *arg, struct buf *out,
                   struct err *e); // hostfwd_add …; may be NULL
    void (*close)(struct netdev *n);
};
struct nic_ops {
    // A frame for the guest (at most 64 KiB + 14). False: no room; the back end keeps it (bounded)
    // and waits for rx_ready.
    bool (*receive)(void *nic, const uint8_t *frame, size_t len);
    void (*can_send)(void *nic);
    void (*link_changed)(void *nic, bool up);
};
struct netdev {
    const struct netdev_ops *ops;
    char *id;
    struct loop *loop;
    const struct nic_ops *nic_ops; // NULL while no NIC is attached: frames are dropped
    void *nic;
    bool link_up;
    uint64_t rx_frames, rx_bytes, tx_frames, tx_bytes, dropped;
    struct list link;
};
// -netdev TYPE,id=…; all on the loop's thread.
struct netdev *netdev_open(struct opts *o, struct loop *loop, struct err *e);
void netdev_close(struct netdev *n);
int netdev_attach(struct netdev *n, const struct nic_ops *ops, void *nic, struct err *e) MUST_CHECK;
void netdev_detach(struct netdev *n);
bool netdev_send(struct netdev *n, const struct iovec *iov, unsigned n_iov);
void netdev_rx_ready(struct netdev *n);
void netdev_set_link(struct netdev *n, bool up);
bool netdev_deliver(struct netdev *n, const uint8_t *frame,
                    size_t len); // back ends: hand a frame to the NIC
void netdev_print_help(struct buf *out);
