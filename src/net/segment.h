// What network cards do for their drivers in silicon: completing checksums and cutting large TCP
// segments into frames.
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

// Adds 16-bit big-endian words, a last odd byte being the high half; ~net_sum_fold is the checksum.
uint64_t net_sum(const uint8_t *p, size_t n, uint64_t sum);
uint16_t net_sum_fold(uint64_t sum);
bool net_complete_checksum(uint8_t *frame, size_t len, const struct net_offload *o);
// False when the frame is not TCP over IPv4 or IPv6 with all its headers. `frame` must stay.
bool net_cut_begin(struct net_cut *c, const uint8_t *frame, size_t len, uint16_t segment);
// The next segment as header and payload; false at the end. net_cut_next moves on.
bool net_cut_peek(struct net_cut *c, struct iovec iov[2]);
void net_cut_next(struct net_cut *c);
