// I/O limits: six leaky buckets (all, read and write; operations and bytes each). A bucket drains
// at its average rate and lets a tenth of a second's worth through at once; a request that finds
// one over its level sleeps until it has drained. Burst lengths are not modelled.

#include "block/node/throttle.h"
#include "block/block.h"
#include "base/clock.h"
#include <stdio.h>
#include <stdlib.h>

enum { N_BUCKETS = 6, NS_PER_S = 1000000000 };

struct throttle {
    struct bucket {
        uint64_t rate, burst; // units a second; 0: no limit
        double level;
        int64_t at; // when `level` was right
    } b[N_BUCKETS];
};

static const char *const names[N_BUCKETS] = {"iops-total", "iops-read", "iops-write",
                                             "bps-total",  "bps-read",  "bps-write"};
static const char *const old_names[N_BUCKETS] = {"iops", "iops_rd", "iops_wr",
                                                 "bps",  "bps_rd",  "bps_wr"};

int throttle_from_opts(struct throttle **out, struct opts *o, struct err *e)
{
    struct throttle t = {0};
    bool any = false;
    for (unsigned i = 0; i < N_BUCKETS; i++) {
        char key[64];
        snprintf(key, sizeof key, "throttling.%s", names[i]);
        if (opts_get_u64(o, old_names[i], &t.b[i].rate, e) || opts_get_u64(o, key, &t.b[i].rate, e))
            return -1;
        snprintf(key, sizeof key, "throttling.%s-max", names[i]);
        if (opts_get_u64(o, key, &t.b[i].burst, e))
            return -1;
        any |= t.b[i].rate != 0;
    }
    if (any) {
        *out = xalloc(sizeof t);
        **out = t;
    }
    return 0;
}

void throttle_free(struct throttle *t)
{
    free(t);
}

static void drain(struct bucket *b, int64_t now)
{
    double gone = (double)(now - b->at) * (double)b->rate / NS_PER_S;
    b->level = b->level > gone ? b->level - gone : 0;
    b->at = now;
}

static bool applies(unsigned bucket, unsigned op)
{
    unsigned which = bucket % 3;
    return which == 0 || (which == 1) == (op == BLOCK_READ);
}

void throttle_wait(struct throttle *t, struct engine *eng, unsigned op, uint64_t bytes)
{
    if (op == BLOCK_FLUSH)
        return;
    for (;;) {
        int64_t now = host_monotonic_ns(), until = now;
        for (unsigned i = 0; i < N_BUCKETS; i++) {
            struct bucket *b = &t->b[i];
            if (!b->rate || !applies(i, op))
                continue;
            drain(b, now);
            double room = (double)(b->burst ?: MAX(b->rate / 10, 1u));
            if (b->level > room)
                until = MAX(until, now + (int64_t)((b->level - room) * NS_PER_S / (double)b->rate));
        }
        if (until == now)
            break;
        engine_sleep_until(eng, until + 1);
    }
    for (unsigned i = 0; i < N_BUCKETS; i++)
        if (t->b[i].rate && applies(i, op))
            t->b[i].level += i < 3 ? 1 : (double)bytes;
}
