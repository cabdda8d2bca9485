// A back end whose host side is a descriptor that keeps packets apart: a tap device or a datagram
// socket. One read or write is one frame.
#pragma once

#include "net/net.h"
#include "base/sock.h"

struct packet_netdev {
    struct netdev n;
    int fd, send_fd; // usually the same
    bool is_socket;
    bool has_dest;
    struct sock_addr dest; // where frames go, unless the socket is connected
    struct sock_addr self; // datagrams from here are our own, looped back; len 0: none
    struct loop_fd *watch;
    bool want_out;
    bool dead;         // the device is gone
    char *info;        // for `info network`, after the type
    char *unlink_path; // of a bound socket, or NULL
    void (*at_close)(struct packet_netdev *p);
    void *opaque; // at_close's
    uint8_t *frame;
    size_t held; // bytes in frame that the NIC had no room for
};

// Takes over fd, which is non-blocking; `info` too.
struct packet_netdev *packet_new(struct loop *loop, int fd, bool is_socket, char *info);

// For netdev_ops.
bool packet_send(struct netdev *n, const struct iovec *iov, unsigned n_iov);
void packet_rx_ready(struct netdev *n);
void packet_print(struct netdev *n, struct buf *out);
void packet_close(struct netdev *n);
