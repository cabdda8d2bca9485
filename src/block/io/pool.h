// Worker threads for what the host cannot do asynchronously: compression, and all I/O where
// io_uring is absent. Private to the engine.
#pragma once

#include "base/list.h"

struct pool;
struct pool_job {
    struct list link;
    void (*run)(void *arg); // on a worker
    void *arg;
    void *owner; // the submitter's
};
struct pool *pool_new(void);
void pool_free(struct pool *p);    // no job may be left
int pool_fd(const struct pool *p); // readable when jobs are done
// From the engine's thread; j is the pool's until pool_reap gives it back.
void pool_submit(struct pool *p, struct pool_job *j);
struct pool_job *pool_reap(struct pool *p); // a finished job, or NULL; rearms the fd when empty
