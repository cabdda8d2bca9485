// What network cards do for their drivers in silicon: completing checksums, cutting large TCP
// segments into frames, and joining frames into large segments.
#pragma once

#include "net/net.h"

// A large TCP segment that is being cut up.
struct net_cut {
    const uint8_t *frame;
    size_t len, headers; // of the frame; of its Ethernet, IP and TCP headers
    size_t ip, tcp;      // where those begin
    bool v6;
    uint16_t segment;
    size_t done;       // payload bytes already given out
    uint8_t head[128]; // headers of the segment given out last
};

// TCP segments of one connection that follow each other, joined to one. The first is kept as it was
// until net_join_end.
struct net_join {
    uint8_t frame[NET_FRAME_MAX];
    size_t len, headers, ip, tcp; // as above
    bool v6;
    uint16_t segment; // payload of each but the last; 0: nothing is here
    unsigned count;
    bool ended; // by a short one or a push
};
// False when the frame is not one that others may follow.
bool net_join_begin(struct net_join *j, const uint8_t *frame, size_t len);
// False when it does not follow; `most` bytes are the largest frame wanted.
bool net_join_add(struct net_join *j, const uint8_t *frame, size_t len, size_t most);
// Headers for the whole, if it is more than one: lengths, the IPv4 checksum, and in place of TCP's
// the sum of its pseudo header.
void net_join_end(struct net_join *j);

// Adds 16-bit big-endian words, a last odd byte being the high half; ~net_sum_fold is the checksum.
uint64_t net_sum(const uint8_t *p, size_t n, uint64_t sum);
uint16_t net_sum_fold(uint64_t sum);
bool net_complete_checksum(uint8_t *frame, size_t len, const struct net_offload *o);
// False when the frame is not TCP over IPv4 or IPv6 with all its headers. `frame` must stay.
bool net_cut_begin(struct net_cut *c, const uint8_t *frame, size_t len, uint16_t segment);
// The next segment as header and payload; false at the end. net_cut_next moves on.
bool net_cut_peek(struct net_cut *c, struct iovec iov[2]);
void net_cut_next(struct net_cut *c);
