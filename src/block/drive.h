// The table of drives and named nodes, inside the block layer.
#pragma once

#include "block/node.h"

struct drives {
    struct loop *loop;
    struct engine *eng;       // shared by -blockdev nodes, which refer to each other
    struct list drives;       // struct drive
    struct list nodes;        // struct block_node
    struct fdsets *fdsets;    // what /dev/fdset/N means, or NULL
    drives_failed_fn *failed; // or NULL
    void *opaque;
};
