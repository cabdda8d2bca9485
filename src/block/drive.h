// The table of drives and named nodes, inside the block layer.
#pragma once

#include "base/thread.h"
#include "block/node/node.h"

void jobs_run_ended(void *drives); // job.c: what ended_jobs waits for
void jobs_end(struct drives *ds);

struct drives {
    struct loop *loop;
    struct engine *eng;       // shared by -blockdev nodes, which refer to each other
    struct list drives;       // struct drive
    struct list nodes;        // struct block_node
    struct fdsets *fdsets;    // what /dev/fdset/N means, or NULL
    drives_failed_fn *failed; // or NULL
    void *opaque;
    struct list jobs;       // struct job
    struct list ended_jobs; // under ended_lock: they end on their engines' threads
    pthread_mutex_t ended_lock;
    struct loop_work end_jobs;
    drives_event_fn *job_event; // or NULL
    void *job_opaque;
};
