// transaction: all of its actions, or none.
#include "control/monitor/disks/transaction.h"

#include <stdlib.h>
#include <unistd.h>

static const struct action_type *const types[] = {
    &action_abort,         &action_bitmap_add,   &action_bitmap_clear,  &action_bitmap_disable,
    &action_bitmap_enable, &action_bitmap_merge, &action_bitmap_remove, &action_blockdev_backup,
    &action_drive_backup,  &action_snapshot,     &action_snapshot_sync};

const struct action_type *action_type_at(unsigned i)
{
    return i < ARRAY_SIZE(types) ? types[i] : NULL;
}

struct block_node *action_node(struct monitor *m, const char *name, struct qmp_error *e)
{
    struct block_node *n = graph_find(m->vm->drives, name);
    if (!n)
        qmp_fail(e, "GenericError", "Cannot find device='%s' nor node-name='%s'", name, name);
    return n;
}

static bool fail_on_purpose(struct monitor *m, struct json_object *data, struct action *a,
                            struct qmp_error *e)
{
    qmp_fail(e, "GenericError", "Transaction aborted using Abort action");
    return false;
}

const struct action_type action_abort = {
    .name = "abort", .data = "Abort", .prepare = fail_on_purpose};

// ---- targets ----

bool action_open(struct monitor *m, const struct graph_image *i, struct action *a,
                 struct qmp_error *e)
{
    bool fresh = !i->existing && access(i->path, F_OK);
    a->other = graph_open_image(m->vm->drives, a->node, i, &e->err);
    a->ours = a->other;
    a->made = a->other && fresh ? xstrdup(i->path) : NULL;
    return a->other || action_fail(e);
}

bool action_open_target(struct monitor *m, struct json_object *args, const char *sync,
                        struct action *a, struct qmp_error *e)
{
    const char *format = qmp_str(args, "format"), *mode = qmp_str(args, "mode");
    struct graph_image i = {.path = qmp_str(args, "target"),
                            .format = format ? format : block_driver_name(a->node),
                            .existing = mode && !strcmp(mode, "existing"),
                            .node_name = a->named,
                            .size = block_size(a->node)};
    struct block_node *below = !strcmp(sync, "top") ? block_backing(a->node) : NULL;
    if (below) {
        i.backing_name = block_filename(below);
        i.backing_format = block_driver_name(below);
        i.open_backing = true;
    }
    return action_open(m, &i, a, e);
}

static void drop_target(struct monitor *m, struct action *a, bool good)
{
    struct err ignored = {0};
    if (a->ours)
        block_unref(a->other);
    if (!good && a->ours && a->named && drives_del_node(m->vm->drives, a->named, &ignored))
        return; // it is in use, and so it stays
    if (!good && a->made)
        unlink(a->made);
}

void action_end(struct monitor *m, struct action *a, bool good)
{
    drop_target(m, a, good);
    free(a->made);
    free(a->bits);
}

// ---- all or none ----

static bool prepare(struct monitor *m, struct json_object *data, struct action *a,
                    struct qmp_error *e)
{
    bool good = a->type->prepare(m, data, a, e);
    if (!good)
        action_end(m, a, false);
    return good;
}

static bool prepare_action(struct monitor *m, struct json_object *o, struct action *a,
                           struct qmp_error *e)
{
    struct json_object *data = NULL;
    const char *name = json_object_is_type(o, json_type_object) ? qmp_str(o, "type") : NULL;
    if (!name || !json_object_object_get_ex(o, "data", &data) ||
        !json_object_is_type(data, json_type_object)) {
        qmp_fail(e, "GenericError", "Parameter 'actions' expects objects with 'type' and 'data'");
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(types) && !a->type; i++)
        if (!strcmp(types[i]->name, name))
            a->type = types[i];
    if (!a->type) {
        qmp_fail(e, "GenericError", "Parameter 'type' does not accept value '%.60s'", name);
        return false;
    }
    return qmp_check_members(a->type->data, data, e) && prepare(m, data, a, e);
}

static void finish(struct monitor *m, struct action *a, bool good)
{
    void (*fn)(struct monitor *, struct action *) = good ? a->type->commit : a->type->abort;
    if (fn)
        fn(m, a);
    action_end(m, a, good);
}

// What is under way is done before the moment at which everything happens.
static void quiesce(struct monitor *m)
{
    for (struct drive *d = drives_next(m->vm->drives, NULL); d; d = drives_next(m->vm->drives, d))
        if (d->node)
            block_drain(d->node);
}

// Of two snapshots of one node, the second would be of the first's overlay.
static bool clashes(const struct action *a, const struct action *b, struct qmp_error *e)
{
    bool snapshots =
        a->type->commit == action_snapshot.commit && a->type->commit == b->type->commit;
    if (!snapshots || (a->node != b->node && a->other != b->other))
        return false;
    qmp_fail(e, "GenericError", "two actions of the transaction change node '%s'",
             block_node_name(a->node));
    return true;
}

static struct json_object *run(struct monitor *m, struct json_object *list, struct qmp_error *e)
{
    size_t n = json_object_array_length(list), prepared = 0;
    struct action *actions = xcalloc(n + 1, sizeof *actions);
    bool good = true;
    quiesce(m);
    for (size_t i = 0; i < n && good; i++) {
        good = prepare_action(m, json_object_array_get_idx(list, i), &actions[i], e);
        prepared += good;
        for (size_t k = 0; k < i && good; k++)
            good = !clashes(&actions[k], &actions[i], e);
    }
    for (size_t i = 0; i < prepared; i++)
        finish(m, &actions[good ? i : prepared - 1 - i], good);
    free(actions);
    return NULL;
}

RUN(transaction)
{
    struct json_object *list, *properties = NULL;
    if (json_object_object_get_ex(args, "properties", &properties)) {
        const char *mode = qmp_str(properties, "completion-mode");
        if (mode && strcmp(mode, "individual"))
            return qmp_fail(e, "GenericError",
                            "completion-mode '%s' is not supported: jobs end on their own", mode);
    }
    json_object_object_get_ex(args, "actions", &list);
    return run(m, list, e);
}

struct json_object *action_run(struct monitor *m, const struct action_type *t,
                               struct json_object *args, struct qmp_error *e)
{
    struct action a = {.type = t};
    quiesce(m);
    if (prepare(m, args, &a, e))
        finish(m, &a, true);
    return NULL;
}
