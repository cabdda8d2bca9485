// IPv4 reassembly in front of libslirp, which is given whole datagrams only: its own reassembly
// (4.7) can be made to write outside its buffers by fragments that contradict each other.
#pragma once

#include "base/base.h"

#define FRAGMENT_SLOTS 4

struct fragment_slot {
    uint8_t *frame;         // Ethernet and IP header, then the data; NULL: never used
    uint8_t have[8192 / 8]; // one bit for each 8 bytes of data
    uint8_t key[12];        // addresses, identification, protocol
    size_t header_len;      // both headers of the fragment at offset 0; 0: not yet here
    size_t got, total;      // bytes of data; total is 0 until the last fragment is here
    int64_t started;        // 0: free
};
struct fragments {
    struct fragment_slot slots[FRAGMENT_SLOTS];
};

bool fragment_is(const uint8_t *frame, size_t len); // an IPv4 fragment
// Takes a fragment. When it completes a datagram, returns that as a frame, valid until the next
// call; else NULL. What is malformed or overlaps is dropped with all of its datagram.
const uint8_t *fragment_take(struct fragments *f, const uint8_t *frame, size_t len, int64_t now_ns,
                             size_t *whole_len);
void fragment_free(struct fragments *f);
