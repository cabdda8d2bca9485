// Copying between nodes, several requests at a time: what convert, commit and the block jobs share.
// Both nodes live on one engine.
#pragma once

#include "block/node/node.h"

struct block_copy {
    struct block_node *src, *dst;
    uint64_t src_offset, dst_offset, bytes;
    unsigned workers;        // requests in flight; 0: a default
    uint64_t chunk;          // bytes per request; 0: a default
    uint64_t sparse;         // runs of zeros this long are not written as data; 0: write everything
    struct block_node *base; // the copy goes down src's chain to above this layer
    bool allocated_only;     // copy only what the layers above base decide
    bool dst_reads_zero;     // untouched parts of dst need no zeros
    bool compress, salvage;
    // After each piece, with the bytes done so far; false ends the copy with -ECANCELED.
    bool (*progress)(void *opaque, uint64_t done);
    void *opaque;
};
int block_copy_run(struct block_copy *c); // in a coroutine; 0 or -errno
int block_copy(struct block_copy *c);     // outside: waits for its end

// What a range of the whole chain reads as, down to but without `base` (NULL: all of it). `depth`
// is the number of the layer that decides, 0 being n. With a base, `allocated` is false where only
// base or what is below decides.
int node_status_above(struct block_node *n, struct block_node *base, uint64_t off, uint64_t bytes,
                      struct block_extent *x, unsigned *depth);
