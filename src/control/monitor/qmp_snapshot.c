// External snapshots, alone and in transactions: every action is checked and prepared before the
// first one changes anything.
#include "block/job/graph.h"
#include "base/vec.h"
#include "control/monitor/json.h"
#include "control/monitor/qmp_schema.h"
#include <stdlib.h>

struct action {
    struct block_node *node, *overlay;
    bool ours;         // the overlay was opened here: a reference to give back
    const char *named; // and put in the table of nodes under this name
};

static struct block_node *snapshot_root(struct monitor *m, const char *name, struct qmp_error *e)
{
    struct block_node *n = graph_find(m->vm->drives, name);
    if (!n)
        qmp_fail(e, "GenericError", "Cannot find device='%s' nor node-name='%s'", name, name);
    return n;
}

static bool prepare_snapshot(struct monitor *m, struct json_object *data, struct action *a,
                             struct qmp_error *e)
{
    if (!qmp_check_members("BlockdevSnapshot", data, e) ||
        !(a->node = snapshot_root(m, qmp_str(data, "node"), e)) ||
        !(a->overlay = snapshot_root(m, qmp_str(data, "overlay"), e)))
        return false;
    return true;
}

static bool prepare_sync(struct monitor *m, struct json_object *data, struct action *a,
                         struct qmp_error *e)
{
    if (!qmp_check_members("BlockdevSnapshotSync", data, e))
        return false;
    const char *device = qmp_str(data, "device"), *node = qmp_str(data, "node-name"),
               *mode = qmp_str(data, "mode"), *format = qmp_str(data, "format");
    if (!device == !node) {
        qmp_fail(e, "GenericError", "Give either 'device' or 'node-name'");
        return false;
    }
    a->node = snapshot_root(m, device ? device : node, e);
    if (!a->node)
        return false;
    a->named = qmp_str(data, "snapshot-node-name");
    a->overlay = graph_open_overlay(m->vm->drives, a->node, qmp_str(data, "snapshot-file"),
                                    format ? format : "qcow2", mode && !strcmp(mode, "existing"),
                                    a->named, &e->err);
    a->ours = a->overlay;
    if (!a->overlay)
        e->class = "GenericError";
    return a->overlay;
}

static bool check(struct monitor *m, const struct action *a, struct qmp_error *e)
{
    if (!graph_snapshot_check(m->vm->drives, a->node, a->overlay, &e->err))
        return true;
    e->class = "GenericError";
    return false;
}

static void end(struct monitor *m, const struct action *a, bool good)
{
    if (good)
        graph_snapshot_apply(m->vm->drives, a->node, a->overlay);
    if (a->ours)
        block_unref(a->overlay);
    struct err ignored = {0};
    if (!good && a->ours && a->named && drives_del_node(m->vm->drives, a->named, &ignored))
        return; // it is in use, and so it stays
}

typedef bool prepare_fn(struct monitor *m, struct json_object *data, struct action *a,
                        struct qmp_error *e);

static struct json_object *alone(struct monitor *m, struct json_object *args, prepare_fn *prepare,
                                 struct qmp_error *e)
{
    struct action a = {0};
    bool good = prepare(m, args, &a, e) && check(m, &a, e);
    if (a.overlay)
        end(m, &a, good);
    return NULL;
}

RUN(blockdev_snapshot)
{
    return alone(m, args, prepare_snapshot, e);
}

RUN(blockdev_snapshot_sync)
{
    return alone(m, args, prepare_sync, e);
}

static prepare_fn *find_action(const char *type)
{
    static const struct {
        const char *name;
        prepare_fn *prepare;
    } actions[] = {{"blockdev-snapshot", prepare_snapshot},
                   {"blockdev-snapshot-sync", prepare_sync}};
    for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
        if (type && !strcmp(actions[i].name, type))
            return actions[i].prepare;
    return NULL;
}

static bool prepare_action(struct monitor *m, struct json_object *o, struct action *a,
                           struct qmp_error *e)
{
    struct json_object *data = NULL;
    const char *type = json_object_is_type(o, json_type_object) ? qmp_str(o, "type") : NULL;
    prepare_fn *prepare = find_action(type);
    if (!type || !json_object_object_get_ex(o, "data", &data) ||
        !json_object_is_type(data, json_type_object)) {
        qmp_fail(e, "GenericError", "Parameter 'actions' expects objects with 'type' and 'data'");
        return false;
    }
    if (!prepare) {
        qmp_fail(e, "GenericError", "Parameter 'type' does not accept value '%.60s'", type);
        return false;
    }
    return prepare(m, data, a, e) && check(m, a, e);
}

RUN(transaction)
{
    struct json_object *list;
    VEC(struct action) actions = {0};
    bool good = true;
    json_object_object_get_ex(args, "actions", &list);
    for (size_t i = 0; i < json_object_array_length(list) && good; i++) {
        struct action a = {0};
        good = prepare_action(m, json_object_array_get_idx(list, i), &a, e);
        for (size_t k = 0; k < actions.len && good; k++)
            if (actions.data[k].node == a.node || actions.data[k].overlay == a.overlay) {
                qmp_fail(e, "GenericError", "two actions of the transaction change node '%s'",
                         block_node_name(a.node));
                good = false;
            }
        if (a.overlay)
            vec_push(&actions, a);
    }
    for (size_t i = 0; i < actions.len; i++)
        end(m, &actions.data[i], good);
    vec_free(&actions);
    return NULL;
}
