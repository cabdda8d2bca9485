// Network back ends as NICs see them: a peer that takes and gives whole Ethernet frames on one
// event loop.
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/opt.h"
#include <sys/uio.h>

#define NET_FRAME_MAX (65536 + 18) // Ethernet header and VLAN tag over 64 KiB
#define NET_FRAME_MIN 14

struct netdev;
struct net_segments;

// Work that a driver left to its device (virtio 1.2, section 5.1.6.2): a checksum to complete, a
// TCP segment to cut up.
struct net_offload {
    bool csum; // the Internet checksum from csum_start to the end goes csum_offset behind it
    uint16_t csum_start, csum_offset;
    uint16_t segment; // payload bytes of a TCP segment on the wire; 0: leave it whole
};

struct netdev_ops {
    const char *name;        // "user", "tap", …
    const char *help;        // one line of options
    const char *const *keys; // options of this type, for did-you-mean; may be NULL
    // Returns a structure that begins with struct netdev, from xalloc; may set its ops.
    struct netdev *(*open)(struct opts *o, struct loop *loop, struct err *e);
    // A frame from the guest. Returns true when taken; false: full, nic_ops.can_send is called
    // later.
    bool (*send)(struct netdev *n, const struct iovec *iov, unsigned n_iov);
    bool large;                         // takes TCP segments of any length: no need to cut them up
    void (*rx_ready)(struct netdev *n); // the NIC has room again
    void (*print)(struct netdev *n, struct buf *out); // `info network`; may be NULL
    int (*command)(struct netdev *n, const char *verb, const char *arg, struct buf *out,
                   struct err *e); // hostfwd_add …; may be NULL
    void (*close)(struct netdev *n);
};
struct nic_ops {
    // A frame for the guest (at most NET_FRAME_MAX). False: no room; the back end keeps it
    // (bounded) and waits for rx_ready. Never called from inside netdev_send.
    bool (*receive)(void *nic, const uint8_t *frame, size_t len);
    // A TCP segment that stands for several frames of `segment` bytes of payload each (the last may
    // be shorter), with the sum of its pseudo header for a checksum; as receive. The most bytes
    // such a frame may have, 0 for none, is `largest`. Both may be NULL.
    bool (*receive_large)(void *nic, const uint8_t *frame, size_t len, const struct net_offload *o,
                          bool v6);
    size_t (*largest)(void *nic, bool v6);
    void (*can_send)(void *nic);
    void (*link_changed)(void *nic, bool up);
    void (*gone)(void *nic); // the back end is being closed: forget it; may be NULL
};
struct netdev {
    const struct netdev_ops *ops;
    char *id;
    struct loop *loop;
    const struct nic_ops *nic_ops; // NULL while no NIC is attached: frames are dropped
    void *nic;
    bool link_up;
    bool sending;                  // netdev_send is on the stack
    bool rx_checked;               // checksums of what it delivers are known to be right
    struct net_segments *segments; // the core's: scratch and what is left of a large frame
    uint64_t rx_frames, rx_bytes, tx_frames, tx_bytes, dropped;
    struct list link;
};
// -netdev TYPE,id=… (the key of TYPE is "type"); all on the loop's thread.
struct netdev *netdev_open(struct opts *o, struct loop *loop, struct err *e);
void netdev_close(struct netdev *n);
int netdev_attach(struct netdev *n, const struct nic_ops *ops, void *nic, struct err *e) MUST_CHECK;
void netdev_detach(struct netdev *n);
bool netdev_send(struct netdev *n, const struct iovec *iov, unsigned n_iov);
// The same, finishing the driver's work first. A frame that the work does not fit is dropped.
bool netdev_send_offload(struct netdev *n, const struct net_offload *o, const struct iovec *iov,
                         unsigned n_iov);
void netdev_rx_ready(struct netdev *n);
void netdev_set_link(struct netdev *n, bool up);
void netdev_can_send(struct netdev *n); // back ends: there is room again
bool netdev_deliver(struct netdev *n, const uint8_t *frame,
                    size_t len); // back ends: hand a frame to the NIC
// The most bytes a TCP segment may have that netdev_deliver_large hands over; 0: the NIC wants
// none.
size_t netdev_largest(const struct netdev *n, bool v6);
bool netdev_deliver_large(struct netdev *n, const uint8_t *frame, size_t len,
                          const struct net_offload *o, bool v6);
// hostfwd_add, hostfwd_remove, usernet (its state as text): -1 when this back end has no such
// command.
int netdev_command(struct netdev *n, const char *verb, const char *arg, struct buf *out,
                   struct err *e) MUST_CHECK;
// "user,net=10.0.2.0/24,restrict=off": one line without its end, for `info network`.
void netdev_print(struct netdev *n, struct buf *out);
void netdev_print_help(struct buf *out);
const struct netdev_ops *netdev_type_at(unsigned i); // NULL after the last
// Ties a new hubport to the hub of its number and to the netdev it names, both looked up among
// `all`, a list through netdev.link. Does nothing for other back ends.
int netdev_join_hub(struct netdev *n, struct list *all, struct err *e) MUST_CHECK;
