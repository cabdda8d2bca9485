// Block jobs: work on a machine's disks that takes its time while the guest goes on. A job is a
// coroutine on the engine of its nodes; its life is that of QEMU's documentation (created, running,
// ready, waiting, pending, concluded, null), every step of it an event. Main loop thread, but for
// what says otherwise.
#pragma once

#include "base/vec.h"
#include "block/drive.h"

enum job_status {
    JOB_UNDEFINED,
    JOB_CREATED,
    JOB_RUNNING,
    JOB_PAUSED,
    JOB_READY,
    JOB_STANDBY, // paused while ready
    JOB_WAITING,
    JOB_PENDING,
    JOB_ABORTING,
    JOB_CONCLUDED,
    JOB_NULL,
    JOB_STATES
};
extern const char *const job_status_names[];

enum job_on_error { JOB_REPORT, JOB_IGNORE, JOB_ENOSPC, JOB_STOP };
extern const char *const job_on_error_names[]; // NULL-terminated

struct job;
struct job_type {
    const char *name;
    bool block; // block-job-* commands and BLOCK_JOB_* events apply
    size_t size;
    // In a coroutine. 0, or -errno with j->err set or left to the errno.
    int (*run)(struct job *j); // NULL: nothing
    // Or, for work that no coroutine can do: on the main loop, after `run` has returned 0.
    int (*on_main)(struct job *j);
    // The end, in a coroutine while the main loop waits: the last of the work and the change of the
    // graph (good), or what was begun is put back. 0 or -errno.
    int (*finish)(struct job *j, bool good);
    void (*free)(struct job *j);
};

struct job {
    const struct job_type *type;
    struct drives *ds;
    struct engine *eng;
    char *id;
    enum job_status status;
    bool auto_finalize, auto_dismiss;
    bool ready, paused, completing, cancelled, forced, ended;
    uint64_t progress, total, speed; // bytes; bytes per second, 0: no limit
    int64_t not_before;              // the rate limit's clock
    enum job_on_error on_read_error, on_write_error;
    int result;
    int failed; // -errno of a piece, reported
    struct err err;
    struct co_queue wake;    // told of every change of what is asked for
    int64_t busy_since;      // when it last let others run
    unsigned hands, resting; // coroutines that work for it, and those of them that are paused
    struct list link, finish_link;
    VEC(struct block_node *) nodes; // a reference of each, marked busy
};

// What a new job begins with.
struct job_options {
    const char *id; // NULL: made up, from `device`
    bool manual_finalize, manual_dismiss;
    uint64_t speed;
    enum job_on_error on_read_error, on_write_error;
};
struct engine *drives_engine(struct drives *ds); // of jobs that belong to no node
// Made but not started; NULL and *e (the id is taken). `device` names block jobs without an id.
struct job *job_new(struct drives *ds, const struct job_type *type, const struct job_options *o,
                    const char *device, struct engine *eng, struct err *e);
// Holds a node for the job's life; one that a job holds already is refused.
int job_add_node(struct job *j, struct block_node *n, struct err *e) MUST_CHECK;
void job_discard(struct job *j); // one that was not started
void job_start(struct job *j);

struct job *job_find(struct drives *ds, const char *id); // or NULL
struct job *job_next(struct drives *ds, struct job *prev);

// The operator's verbs; a wrong moment is refused.
int job_pause(struct job *j, struct err *e) MUST_CHECK;
int job_resume(struct job *j, struct err *e) MUST_CHECK;
int job_complete(struct job *j, struct err *e) MUST_CHECK;
int job_cancel(struct job *j, bool force, struct err *e) MUST_CHECK;
int job_finalize(struct job *j, struct err *e) MUST_CHECK;
int job_dismiss(struct job *j, struct err *e) MUST_CHECK; // frees it
int job_set_speed(struct job *j, uint64_t speed, struct err *e) MUST_CHECK;

// At the end of a machine: stops and frees them all.
void jobs_end(struct drives *ds);

// ---- for the jobs themselves: in their coroutine ----
// Between two pieces of work: waits while paused and for the rate; then -ECANCELED when there is to
// be no more.
int job_pace(struct job *j, uint64_t bytes);
void job_wait(struct job *j); // until something is asked for, or the nodes change
void job_set_ready(struct job *j);
// Runs fn(j) in n coroutines at once, until all have returned: the first result that is not 0.
int job_share(struct job *j, unsigned n, int (*fn)(struct job *j));
void job_advance(struct job *j, uint64_t bytes);
// What is to become of a piece that failed: 1: do it again, 0: leave it out, else the end's error.
int job_failed(struct job *j, bool read, int error);

// ---- the kinds ----
struct mirror_options {
    struct job_options job;
    struct block_node *source, *target;
    unsigned target_held;        // references to it that the caller has and gives up
    struct block_node *base;     // commit: the layer that receives; its data is not copied
    struct block_node *replaces; // NULL: source
    bool commit, none;           // none: only what is written from now on
    bool top_only;               // sync=top
    uint64_t granularity;
    const char *backing_name; // commit below the top: as the overlay is to name the base
};
struct job *job_mirror(struct drives *ds, const struct mirror_options *o, struct err *e);
enum backup_bitmap_mode { BACKUP_ON_SUCCESS, BACKUP_NEVER, BACKUP_ALWAYS };
struct backup_options {
    struct job_options job;
    struct block_node *source, *target;
    struct bitmap *bitmap; // copy only what it marks; or NULL
    enum backup_bitmap_mode mode;
    bool top_only; // sync=top
    bool none;     // keep only what the guest overwrites
    bool compress;
    bool use_bitmap_as_well; // sync=full or top with a bitmap: which is then cleaned as by the mode
};
// From now on the target gets what the source has at this moment; the source is idle.
struct job *job_backup(struct drives *ds, const struct backup_options *o, struct err *e);
struct stream_options {
    struct job_options job;
    struct block_node *node, *base; // base: NULL, all of the chain
    const char *backing_name;
};
struct job *job_stream(struct drives *ds, const struct stream_options *o, struct err *e);
struct create_options {
    struct job_options job;
    const char *driver;
    struct block_node *file; // where a format goes; NULL for protocol "file"
    char *filename;          // of protocol "file"
    uint64_t size;
    char *backing_name, *backing_format;
    struct opts format; // as qemu-img's -o
};
// Takes over what the options own, also on failure.
struct job *job_create(struct drives *ds, struct create_options *o, struct err *e);
