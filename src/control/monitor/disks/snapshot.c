// External snapshots: an overlay on top of a node.
#include "control/monitor/disks/transaction.h"

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
    return action_open(m, &i, a, e) && check(m, a, e);
}

static void commit(struct monitor *m, struct action *a)
{
    graph_snapshot_apply(m->vm->drives, a->node, a->other);
}

const struct action_type action_snapshot = {.name = "blockdev-snapshot",
                                            .data = "BlockdevSnapshot",
                                            .prepare = prepare_snapshot,
                                            .commit = commit};
const struct action_type action_snapshot_sync = {.name = "blockdev-snapshot-sync",
                                                 .data = "BlockdevSnapshotSync",
                                                 .prepare = prepare_sync,
                                                 .commit = commit};

RUN(blockdev_snapshot)
{
    return action_run(m, &action_snapshot, args, e);
}

RUN(blockdev_snapshot_sync)
{
    return action_run(m, &action_snapshot_sync, args, e);
}
