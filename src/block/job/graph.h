// The graph of a machine's nodes as a whole: who stands above a node, and putting one node into
// another's place. Main loop thread; what changes the graph runs in a coroutine of the engine.
#pragma once

#include "block/drive.h"

// A node by its name or by the id of the drive that holds it; also nodes nobody named. NULL.
struct block_node *graph_find(struct drives *ds, const char *name);
// The node whose backing file `n` is, or NULL.
struct block_node *graph_overlay(struct drives *ds, const struct block_node *n);
bool graph_is_below(const struct block_node *n, const struct block_node *top); // by backing files
// May something else take n's place? Not where a holder is unknown to the tables of drives and
// nodes.
// `held`: references of the caller's own.
int graph_check_movable(struct drives *ds, const struct block_node *n, unsigned held,
                        struct err *e) MUST_CHECK;
// Brings `n` and what is below it, idle and used by nobody else, to the engine of `at`.
int graph_join(struct drives *ds, struct block_node *n, const struct block_node *at,
               struct err *e) MUST_CHECK;
// Brings `n` and what is below it, which only `holder` uses, to an engine on `loop`.
int graph_move(struct drives *ds, struct block_node *n, struct loop *loop,
               const struct drive *holder, struct err *e) MUST_CHECK;
// Everyone above `from` then stands above `to` (but `to` itself), requests that wait at from's
// closed gate included. In a coroutine.
void graph_replace(struct drives *ds, struct block_node *from, struct block_node *to);

// Changes an open node's options to `o`: read-only, auto-read-only, discard, detect-zeroes and its
// backing file. What else is named must be as it is; unlike the others it is checked first.
int graph_reopen(struct drives *ds, struct block_node *n, struct opts *o, struct err *e) MUST_CHECK;

// An overlay, open and without a backing file, on top of `n`: blockdev-snapshot. `check` before any
// of a transaction's changes, `apply` cannot fail.
int graph_snapshot_check(struct drives *ds, struct block_node *n, struct block_node *overlay,
                         struct err *e) MUST_CHECK;
// An image by its path, opened for writing on the engine of `at`; made first unless it exists. With
// a name it is in the table of nodes. The caller's reference.
struct graph_image {
    const char *path, *format, *node_name;
    const char *backing_name, *backing_format; // what it is to name, or NULL
    uint64_t size;
    bool existing;
    bool open_backing; // open what it names below; else it has no backing file
};
struct block_node *graph_open_image(struct drives *ds, struct block_node *at,
                                    const struct graph_image *i, struct err *e);
void graph_snapshot_apply(struct drives *ds, struct block_node *n, struct block_node *overlay);
