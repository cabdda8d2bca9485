// I/O limits of a node: leaky buckets for operations and bytes. Private to src/block.
#pragma once

#include "base/opt.h"
#include "block/io/engine.h"

struct throttle;
// From throttling.* (and the older iops=, bps=) keys; *t stays NULL when none is there.
int throttle_from_opts(struct throttle **t, struct opts *o, struct err *e) MUST_CHECK;
void throttle_free(struct throttle *t);
// In a coroutine: waits until the request fits; `op` is an enum block_op.
void throttle_wait(struct throttle *t, struct engine *eng, unsigned op, uint64_t bytes);
