// Actions of transactions: what can be done to several disks at one moment, and undone.
#pragma once

#include "block/node/bitmap.h"
#include "block/job/graph.h"
#include "block/job/job.h"
#include "control/monitor/json.h"
#include "control/monitor/qmp_schema.h"

struct action {
    const struct action_type *type;
    struct block_node *node, *other; // other: overlay or target
    // By action_open: `other` is a reference to give back; a file made for it. Both go when the
    // action has ended, and the file with an action that failed.
    bool ours;
    char *made;
    const char *named; // `other` is in the table of nodes under this name
    struct bitmap *bitmap;
    uint64_t *bits; // the bitmap's, before
    bool was;       // enabled
    struct job *job;
};
struct action_type {
    const char *name;
    const char *data; // type of its arguments
    // False with *e filled, and nothing to undo but what action_open did. May change what `abort`
    // puts back.
    bool (*prepare)(struct monitor *m, struct json_object *data, struct action *a,
                    struct qmp_error *e);
    void (*commit)(struct monitor *m, struct action *a); // NULL: nothing
    void (*abort)(struct monitor *m, struct action *a);  // NULL: nothing
};
extern const struct action_type action_abort, action_bitmap_add, action_bitmap_clear,
    action_bitmap_disable, action_bitmap_enable, action_bitmap_merge, action_bitmap_remove,
    action_blockdev_backup, action_drive_backup, action_snapshot, action_snapshot_sync;
// The i-th, or NULL.
const struct action_type *action_type_at(unsigned i);

// A command that is one action.
struct json_object *action_run(struct monitor *m, const struct action_type *t,
                               struct json_object *args, struct qmp_error *e);
// False: e->err has a line.
static inline bool action_fail(struct qmp_error *e)
{
    e->class = "GenericError";
    return false;
}
// A node by its name or the id of its drive; NULL and *e.
struct block_node *action_node(struct monitor *m, const char *name, struct qmp_error *e);
// Opens an image, made first unless it exists, as a->other.
bool action_open(struct monitor *m, const struct graph_image *i, struct action *a,
                 struct qmp_error *e);
// The same for a job to write, of the source's size; `sync` decides what it stands on.
bool action_open_target(struct monitor *m, struct json_object *args, const char *sync,
                        struct action *a, struct qmp_error *e);
// The action has ended: gives back what it held, and with `good` false takes away what it made.
void action_end(struct monitor *m, struct action *a, bool good);

// jobs.c: arguments that all jobs have.
bool qmp_job_args(struct json_object *args, struct job_options *o, struct qmp_error *e);
int64_t qmp_int(struct json_object *args, const char *key); // 0: not there
bool qmp_bool(struct json_object *args, const char *key, bool otherwise);
struct json_object *qmp_job_start(struct job *j, struct qmp_error *e);
