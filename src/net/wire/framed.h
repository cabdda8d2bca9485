// A back end whose host side is a byte stream: each frame goes with its length, 4 bytes,
// big-endian, before it. A server serves one peer at a time, a client may reconnect.
#pragma once

#include "net/net.h"
#include "base/sock.h"

#define FRAMED_READ (256 * KiB) // holds several frames of the largest size

struct framed_netdev {
    struct netdev n;
    struct sock_addr addr;
    bool server, bound_path;
    int64_t reconnect_ns;          // 0: never
    int listen_fd, fd, connect_fd; // -1: none
    struct loop_fd *listen_watch, *watch, *connect_watch;
    struct loop_timer retry;
    uint8_t *rx; // FRAMED_READ bytes; [start, end) is yet to be delivered
    size_t rx_start, rx_end;
    bool rx_paused; // the NIC has no room
    uint8_t *tx;    // what is left of a frame that was begun
    size_t tx_start, tx_end;
    bool want_out;      // the NIC waits to send
    char *peer;         // while connected
    unsigned bad_peers; // that sent a length no frame has
};

// All take over what they are given.
struct framed_netdev *framed_new(struct loop *loop);
void framed_start(struct framed_netdev *f, int fd); // connected
int framed_listen(struct framed_netdev *f, const struct sock_addr *a, struct err *e) MUST_CHECK;
void framed_listen_fd(struct framed_netdev *f, int fd);
// Connects now, or for ever tries to when reconnect_ns is set.
int framed_connect(struct framed_netdev *f, const struct sock_addr *a, struct err *e) MUST_CHECK;

// For netdev_ops.
bool framed_send(struct netdev *n, const struct iovec *iov, unsigned n_iov);
void framed_rx_ready(struct netdev *n);
void framed_print(struct netdev *n, struct buf *out);
void framed_close(struct netdev *n);
