// blockdev-reopen: options of open nodes change, as far as they can while somebody uses the nodes.
#include "block/job/graph.h"
#include "control/monitor/json.h"
#include "control/monitor/qmp_schema.h"

static bool reopen_one(struct monitor *m, struct json_object *options, struct qmp_error *e)
{
    struct opts o = {0};
    if (!qmp_check_members("BlockdevOptions", options, e) || !qmp_to_opts(options, &o, e)) {
        opts_free(&o);
        return false;
    }
    const char *name = opts_get(&o, "node-name");
    struct block_node *n = name ? drives_find_node(m->vm->drives, name) : NULL;
    if (!name)
        qmp_fail(e, "GenericError", "node-name not specified");
    else if (!n)
        qmp_fail(e, "GenericError", "Failed to find node with node-name='%s'", name);
    else if (graph_reopen(m->vm->drives, n, &o, &e->err))
        e->class = "GenericError";
    opts_free(&o);
    return !e->class;
}

RUN(blockdev_reopen)
{
    struct json_object *list;
    json_object_object_get_ex(args, "options", &list);
    for (size_t i = 0; i < json_object_array_length(list); i++)
        if (!reopen_one(m, json_object_array_get_idx(list, i), e))
            break;
    return NULL;
}
