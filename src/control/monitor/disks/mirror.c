// blockdev-mirror and drive-mirror.
#include "base/bits.h"
#include "control/monitor/disks/transaction.h"

static bool read_args(struct monitor *m, struct json_object *args, struct mirror_options *o,
                      struct qmp_error *e)
{
    const char *sync = qmp_str(args, "sync"), *replaces = qmp_str(args, "replaces");
    int64_t granularity = qmp_int(args, "granularity");
    if (!qmp_job_args(args, &o->job, e) ||
        (replaces && !(o->replaces = action_node(m, replaces, e))))
        return false;
    if (granularity &&
        (granularity < 512 || granularity > 64 << 20 || !is_pow2((uint64_t)granularity))) {
        qmp_fail(e, "GenericError", "Parameter 'granularity' expects a power of 2 from 512 to 64M");
        return false;
    }
    o->job.id = o->job.id ? o->job.id : qmp_str(args, "device");
    o->granularity = (uint64_t)granularity;
    o->none = !strcmp(sync, "none");
    o->top_only = !strcmp(sync, "top");
    return true;
}

static struct block_node *find_source(struct monitor *m, struct json_object *args,
                                      struct qmp_error *e)
{
    const char *device = qmp_str(args, "device");
    struct block_node *n = graph_find(m->vm->drives, device);
    if (!n)
        qmp_fail(e, "DeviceNotFound", "Device '%s' not found", device);
    return n;
}

RUN(blockdev_mirror)
{
    struct mirror_options o = {.source = find_source(m, args, e)};
    o.target = o.source ? action_node(m, qmp_str(args, "target"), e) : NULL;
    if (!o.target || !read_args(m, args, &o, e))
        return NULL;
    return qmp_job_start(job_mirror(m->vm->drives, &o, &e->err), e);
}

RUN(drive_mirror)
{
    struct mirror_options o = {.source = find_source(m, args, e)};
    struct action a = {.node = o.source, .named = qmp_str(args, "node-name")};
    if (!o.source || !read_args(m, args, &o, e) ||
        !action_open_target(m, args, qmp_str(args, "sync"), &a, e))
        return NULL;
    o.target = a.other;
    o.target_held = 1;
    struct job *j = job_mirror(m->vm->drives, &o, &e->err);
    qmp_job_start(j, e);
    action_end(m, &a, j);
    return NULL;
}
