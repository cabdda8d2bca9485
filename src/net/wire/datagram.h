// Frames as datagrams: what -netdev dgram and the datagram forms of -netdev socket share.
#pragma once

#include "net/wire/packet.h"

// From `local` (NULL: any free one) to `remote` (NULL: the socket only receives).
struct packet_netdev *datagram_open(struct loop *loop, const struct sock_addr *local,
                                    const struct sock_addr *remote, struct err *e);
// A multicast group on the interface that has address `local` (NULL: the default one).
struct packet_netdev *datagram_join(struct loop *loop, const struct sock_addr *group,
                                    const struct sock_addr *local, struct err *e);
