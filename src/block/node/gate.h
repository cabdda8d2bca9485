// What block jobs put between a node and the requests to it: a gate that keeps requests out while
// the graph changes, maps of what was written, and ranges that a copy keeps to itself. In every
// node; costs a comparison each where no job is. In coroutines of the node's engine.
#pragma once

#include "base/list.h"
#include "block/io/co.h"

struct block_node;
struct block_req;

// Granules that were written since they were last copied.
struct dirty_map {
    uint64_t *bits, granules, set; // `set`: how many are
    unsigned shift;                // log2 of a granule's bytes
    struct co_queue *wake;         // told of every new bit; NULL: nobody
    struct list link;              // on the node that is watched
};
// `bytes` of disk, all clean. 0 or -ENOMEM.
int dirty_map_init(struct dirty_map *m, uint64_t bytes, unsigned shift);
void dirty_map_free(struct dirty_map *m); // also takes it off its node
void dirty_map_mark(struct dirty_map *m, uint64_t off, uint64_t bytes);
// Takes the first dirty run from granule `from` on, at most `max` granules; false: none left there.
bool dirty_map_take(struct dirty_map *m, uint64_t from, uint64_t max, uint64_t *at, uint64_t *n);

// Asked in a guest's request before it writes. The request goes on whatever comes of it.
struct gate_guard {
    void (*before)(void *opaque, uint64_t off, uint64_t bytes);
    void *opaque;
    struct list link;
};
// Runs of granules that are on their way somewhere; each waits until it overlaps no other.
struct flight {
    uint64_t at, end;
    struct list link;
};
struct flights {
    struct list list;
    struct co_queue landed;
};
void flights_init(struct flights *f);
// Waits until it overlaps none that is under way, and is under way then, until flight_end.
void flight_begin(struct co_sched *co, struct flights *all, struct flight *f, uint64_t at,
                  uint64_t n);
void flight_end(struct co_sched *co, struct flights *all, struct flight *f);
bool flights_wait(struct co_sched *co, struct flights *all, uint64_t at,
                  uint64_t n); // true: had to

struct gate {
    unsigned closed;        // requests wait outside while > 0
    unsigned inside;        // requests that are being carried out
    struct list waiting;    // outside
    struct co_queue vacant; // told when inside becomes 0
    struct list maps;       // struct dirty_map
    struct list guards;     // struct gate_guard
    unsigned ordered;       // > 0: guest writes are entered in `ranges`
    struct list ranges;
    struct co_queue range_free;
};
void gate_init(struct gate *g);

// Requests: enter (maybe after waiting, and then perhaps at another node) and leave.
struct block_node *gate_enter(struct block_req *r);
void gate_leave(struct block_node *n);
void gate_written(struct block_node *n, uint64_t off, uint64_t bytes);
void gate_before(struct block_node *n, uint64_t off, uint64_t bytes);

// Jobs: keep requests out and wait until those inside have left; let them in again. `to`: those
// that wait outside `n` go to that node.
void gate_close(struct block_node *n);
void gate_open(struct block_node *n);
void gate_redirect(struct block_node *n, struct block_node *to);
void gate_watch(struct block_node *n, struct dirty_map *m);
void gate_guard(struct block_node *n, struct gate_guard *g); // list_remove(&g->link) ends it
// While ordered, a range that is held exclusively is written by its holder alone.
void gate_order(struct block_node *n);
void gate_unorder(struct block_node *n);
struct gate_range {
    uint64_t off, end;
    bool exclusive, held;
    struct list link;
};
// Waits for overlapping ranges, unless both only share. Nothing is held where nothing is ordered.
void gate_range_hold(struct block_node *n, struct gate_range *r, uint64_t off, uint64_t bytes,
                     bool exclusive);
void gate_range_drop(struct block_node *n, struct gate_range *r);
