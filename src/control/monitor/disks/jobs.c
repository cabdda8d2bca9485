// QMP commands that start block jobs and steer them.
#include "control/monitor/disks/transaction.h"
#include <stdio.h>
#include <stdlib.h>

// ---- arguments ----

int64_t qmp_int(struct json_object *args, const char *key)
{
    struct json_object *v;
    return args && json_object_object_get_ex(args, key, &v) ? json_object_get_int64(v) : 0;
}

bool qmp_bool(struct json_object *args, const char *key, bool otherwise)
{
    struct json_object *v;
    return args && json_object_object_get_ex(args, key, &v) ? json_object_get_boolean(v)
                                                            : otherwise;
}

static enum job_on_error get_policy(struct json_object *args, const char *key)
{
    const char *v = qmp_str(args, key);
    for (unsigned i = 0; v && job_on_error_names[i]; i++)
        if (!strcmp(v, job_on_error_names[i]))
            return (enum job_on_error)i;
    return JOB_REPORT;
}

bool qmp_job_args(struct json_object *args, struct job_options *o, struct qmp_error *e)
{
    bool two = qmp_str(args, "on-source-error") || qmp_str(args, "on-target-error");
    *o = (struct job_options){
        .id = qmp_str(args, "job-id"),
        .manual_finalize = !qmp_bool(args, "auto-finalize", true),
        .manual_dismiss = !qmp_bool(args, "auto-dismiss", true),
        .speed = (uint64_t)qmp_int(args, "speed"),
        .on_read_error = get_policy(args, two ? "on-source-error" : "on-error"),
        .on_write_error = get_policy(args, two ? "on-target-error" : "on-error")};
    if (qmp_int(args, "speed") >= 0)
        return true;
    qmp_fail(e, "GenericError", "Parameter 'speed' expects a non-negative value");
    return false;
}

static struct block_node *find_node(struct monitor *m, const char *name, struct qmp_error *e)
{
    struct block_node *n = graph_find(m->vm->drives, name);
    if (!n)
        qmp_fail(e, "GenericError", "Cannot find device='' nor node-name='%s'", name);
    return n;
}

static struct block_node *find_root(struct monitor *m, const char *device, struct qmp_error *e)
{
    struct block_node *n = graph_find(m->vm->drives, device);
    if (!n)
        qmp_fail(e, "DeviceNotFound", "Device '%s' not found", device);
    return n;
}

// A layer of n's chain by node name (key-node) or file name (key); NULL without *e: not said.
static struct block_node *find_layer(struct monitor *m, struct block_node *n,
                                     struct json_object *args, const char *node_key,
                                     const char *file_key, struct qmp_error *e)
{
    const char *node = qmp_str(args, node_key), *file = qmp_str(args, file_key);
    if (node && file)
        return qmp_fail(e, "GenericError", "'%s' and '%s' cannot be specified at the same time",
                        node_key, file_key),
               NULL;
    for (struct block_node *k = n; k && (node || file); k = block_backing(k))
        if (node ? !strcmp(block_node_name(k), node) : !strcmp(block_filename(k), file))
            return k;
    if (node || file)
        qmp_fail(e, "GenericError", "Can't find '%s' in the backing chain", node ? node : file);
    return NULL;
}

struct json_object *qmp_job_start(struct job *j, struct qmp_error *e)
{
    if (j)
        job_start(j);
    else
        e->class = "GenericError";
    return NULL;
}

// ---- starting ----

RUN(block_commit)
{
    struct mirror_options o = {.commit = true};
    struct block_node *root = find_root(m, qmp_str(args, "device"), e);
    if (!root || !qmp_job_args(args, &o.job, e))
        return NULL;
    o.job.id = o.job.id ? o.job.id : qmp_str(args, "device");
    o.source = find_layer(m, root, args, "top-node", "top", e);
    o.target = e->class ? NULL : find_layer(m, root, args, "base-node", "base", e);
    if (e->class)
        return NULL;
    o.source = o.source ? o.source : root;
    if (!o.target)
        for (o.target = o.source; block_backing(o.target);)
            o.target = block_backing(o.target);
    o.backing_name = qmp_str(args, "backing-file");
    if (o.target == o.source)
        return qmp_fail(e, "GenericError", "cannot commit an image into itself");
    return qmp_job_start(job_mirror(m->vm->drives, &o, &e->err), e);
}

RUN(block_stream)
{
    struct stream_options o = {0};
    const char *bottom = qmp_str(args, "bottom");
    o.node = find_root(m, qmp_str(args, "device"), e);
    if (!o.node || !qmp_job_args(args, &o.job, e))
        return NULL;
    o.job.id = o.job.id ? o.job.id : qmp_str(args, "device");
    o.base = find_layer(m, o.node, args, "base-node", "base", e);
    if (!e->class && bottom) {
        struct block_node *last = find_layer(m, o.node, args, "bottom", "bottom-file", e);
        o.base = last ? block_backing(last) : NULL;
    }
    o.backing_name = qmp_str(args, "backing-file");
    return e->class ? NULL : qmp_job_start(job_stream(m->vm->drives, &o, &e->err), e);
}

// The options of qemu-img's -o by the names that QMP has for them.
static void take_format_options(struct json_object *options, struct opts *o)
{
    static const char *const own[] = {"driver", "file", "size", "backing-file", "backing-fmt"};
    json_object_object_foreach(options, key, value)
    {
        char name[64];
        bool known = false;
        for (size_t i = 0; i < ARRAY_SIZE(own); i++)
            known |= !strcmp(own[i], key);
        if (known)
            continue;
        snprintf(name, sizeof name, "%s", strcmp(key, "version") ? key : "compat");
        for (char *p = name; *p; p++)
            *p = *p == '-' ? '_' : *p;
        opts_set(o, name, json_object_get_string(value));
    }
}

RUN(blockdev_create)
{
    struct json_object *options;
    struct create_options o = {.job = {.id = qmp_str(args, "job-id")}};
    json_object_object_get_ex(args, "options", &options);
    if (!qmp_check_members("BlockdevCreateOptions", options, e))
        return NULL;
    o.driver = qmp_str(options, "driver");
    if (!json_object_object_get_ex(options, "size", NULL) || qmp_int(options, "size") < 0)
        return qmp_fail(e, "GenericError", "Parameter 'size' is missing");
    o.size = (uint64_t)qmp_int(options, "size");
    const char *file = qmp_str(options, "file"), *name = qmp_str(options, "filename"),
               *backing = qmp_str(options, "backing-file"), *fmt = qmp_str(options, "backing-fmt");
    if (file && !(o.file = find_node(m, file, e)))
        return NULL;
    o.filename = name && !file ? xstrdup(name) : NULL;
    o.backing_name = backing ? xstrdup(backing) : NULL;
    o.backing_format = fmt ? xstrdup(fmt) : NULL;
    if (file)
        take_format_options(options, &o.format);
    return qmp_job_start(job_create(m->vm->drives, &o, &e->err), e);
}

// ---- steering ----

typedef int verb(struct job *j, struct json_object *args, struct err *e);

static int do_pause(struct job *j, struct json_object *args, struct err *e)
{
    return job_pause(j, e);
}
static int do_resume(struct job *j, struct json_object *args, struct err *e)
{
    return job_resume(j, e);
}
static int do_complete(struct job *j, struct json_object *args, struct err *e)
{
    return job_complete(j, e);
}
static int do_finalize(struct job *j, struct json_object *args, struct err *e)
{
    return job_finalize(j, e);
}
static int do_dismiss(struct job *j, struct json_object *args, struct err *e)
{
    return job_dismiss(j, e);
}
static int do_cancel(struct job *j, struct json_object *args, struct err *e)
{
    return job_cancel(j, true, e);
}
static int do_block_cancel(struct job *j, struct json_object *args, struct err *e)
{
    return job_cancel(j, qmp_bool(args, "force", false), e);
}
static int do_set_speed(struct job *j, struct json_object *args, struct err *e)
{
    int64_t speed = qmp_int(args, "speed");
    return speed < 0 ? err_set(e, "Parameter 'speed' expects a non-negative value")
                     : job_set_speed(j, (uint64_t)speed, e);
}

// `block`: a command of block jobs alone.
static struct json_object *steer(struct monitor *m, struct json_object *args, const char *key,
                                 bool block, verb *v, struct qmp_error *e)
{
    const char *id = qmp_str(args, key);
    struct job *j = job_find(m->vm->drives, id);
    if (!j)
        return block ? qmp_fail(e, "DeviceNotActive", "Block job '%s' not found", id)
                     : qmp_fail(e, "GenericError", "Job not found");
    if (v(j, args, &e->err))
        e->class = "GenericError";
    return NULL;
}

#define STEER(name, key, block, v)                                                                 \
    RUN(name)                                                                                      \
    {                                                                                              \
        return steer(m, args, key, block, v, e);                                                   \
    }
STEER(job_pause, "id", false, do_pause)
STEER(job_resume, "id", false, do_resume)
STEER(job_complete, "id", false, do_complete)
STEER(job_finalize, "id", false, do_finalize)
STEER(job_dismiss, "id", false, do_dismiss)
STEER(job_cancel, "id", false, do_cancel)
STEER(block_job_pause, "device", true, do_pause)
STEER(block_job_resume, "device", true, do_resume)
STEER(block_job_complete, "device", true, do_complete)
STEER(block_job_finalize, "id", true, do_finalize)
STEER(block_job_dismiss, "id", true, do_dismiss)
STEER(block_job_cancel, "device", true, do_block_cancel)
STEER(block_job_set_speed, "device", true, do_set_speed)

// ---- asking ----

RUN(query_jobs)
{
    struct json_object *a = array();
    for (struct job *j = job_next(m->vm->drives, NULL); j; j = job_next(m->vm->drives, j)) {
        struct json_object *o = object();
        put_str(o, "id", j->id);
        put_str(o, "type", j->type->name);
        put_str(o, "status", job_status_names[j->status]);
        put_int(o, "current-progress", (int64_t)j->progress);
        put_int(o, "total-progress", (int64_t)j->total);
        if (j->err.msg[0])
            put_str(o, "error", j->err.msg);
        json_object_array_add(a, o);
    }
    return a;
}

RUN(query_block_jobs)
{
    struct json_object *a = array();
    for (struct job *j = job_next(m->vm->drives, NULL); j; j = job_next(m->vm->drives, j)) {
        if (!j->type->block)
            continue;
        struct json_object *o = object();
        put_str(o, "type", j->type->name);
        put_str(o, "device", j->id);
        put_int(o, "len", (int64_t)j->total);
        put_int(o, "offset", (int64_t)j->progress);
        put_bool(o, "busy", j->status == JOB_RUNNING);
        put_bool(o, "paused", j->paused);
        put_int(o, "speed", (int64_t)j->speed);
        put_str(o, "io-status", "ok");
        put_bool(o, "ready", j->ready);
        put_str(o, "status", job_status_names[j->status]);
        put_bool(o, "auto-finalize", j->auto_finalize);
        put_bool(o, "auto-dismiss", j->auto_dismiss);
        if (j->err.msg[0])
            put_str(o, "error", j->err.msg);
        json_object_array_add(a, o);
    }
    return a;
}
