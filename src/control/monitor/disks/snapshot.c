// External snapshots: an overlay on top of a node.
#include "control/monitor/disks/transaction.h"

#include <stdlib.h>
#include <unistd.h>

static bool check(struct monitor *m, const struct action *a, struct qmp_error *e)
{
    return !graph_snapshot_check(m->vm->drives, a->node, a->other, &e->err) || action_fail(e);
}

static bool prepare_snapshot(struct monitor *m, struct json_object *data, struct action *a,
                             struct qmp_error *e)
{
    return (a->node = action_node(m, qmp_str(data, "node"), e)) &&
           (a->other = action_node(m, qmp_str(data, "overlay"), e)) && check(m, a, e);
}

static bool prepare_sync(struct monitor *m, struct json_object *data, struct action *a,
                         struct qmp_error *e)
{
    const char *device = qmp_str(data, "device"), *node = qmp_str(data, "node-name"),
               *mode = qmp_str(data, "mode"), *format = qmp_str(data, "format"),
               *path = qmp_str(data, "snapshot-file");
    if (!device == !node) {
        qmp_fail(e, "GenericError", "Give either 'device' or 'node-name'");
        return false;
    }
    a->node = action_node(m, device ? device : node, e);
    if (!a->node)
        return false;
    a->named = qmp_str(data, "snapshot-node-name");
    struct graph_image i = {.path = path,
                            .format = format ? format : "qcow2",
                            .existing = mode && !strcmp(mode, "existing"),
                            .node_name = a->named,
                            .size = block_size(a->node),
                            .backing_name = block_filename(a->node),
                            .backing_format = block_driver_name(a->node)};
    bool fresh = !i.existing && access(path, F_OK);
    a->other = graph_open_image(m->vm->drives, a->node, &i, &e->err);
    a->ours = a->other;
    if (!a->other)
        return action_fail(e);
    a->made = fresh ? xstrdup(path) : NULL;
    if (check(m, a, e))
        return true;
    action_drop_target(m, a, false);
    free(a->made);
    return false;
}

static void commit(struct monitor *m, struct action *a)
{
    graph_snapshot_apply(m->vm->drives, a->node, a->other);
    action_drop_target(m, a, true);
}

static void undo(struct monitor *m, struct action *a)
{
    action_drop_target(m, a, false);
}

const struct action_type action_snapshot = {.name = "blockdev-snapshot",
                                            .data = "BlockdevSnapshot",
                                            .prepare = prepare_snapshot,
                                            .commit = commit,
                                            .abort = undo};
const struct action_type action_snapshot_sync = {.name = "blockdev-snapshot-sync",
                                                 .data = "BlockdevSnapshotSync",
                                                 .prepare = prepare_sync,
                                                 .commit = commit,
                                                 .abort = undo};

RUN(blockdev_snapshot)
{
    return action_run(m, &action_snapshot, args, e);
}

RUN(blockdev_snapshot_sync)
{
    return action_run(m, &action_snapshot_sync, args, e);
}
