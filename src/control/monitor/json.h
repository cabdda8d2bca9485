// Short forms for building replies. Private to control/monitor.
#pragma once

#include "control/monitor/internal.h"

static inline struct json_object *object(void)
{
    return json_object_new_object();
}
static inline struct json_object *array(void)
{
    return json_object_new_array();
}
static inline void put_str(struct json_object *o, const char *key, const char *v)
{
    json_object_object_add(o, key, json_object_new_string(v));
}
static inline void put_bool(struct json_object *o, const char *key, bool v)
{
    json_object_object_add(o, key, json_object_new_boolean(v));
}
static inline void put_int(struct json_object *o, const char *key, int64_t v)
{
    json_object_object_add(o, key, json_object_new_int64(v));
}
static inline struct json_object *named(const char *name)
{
    struct json_object *o = object();
    put_str(o, "name", name);
    return o;
}

// "cortex-a72-arm-cpu": the type name of a CPU model.
const char *qmp_cpu_type(const struct isa *isa, const char *model, char *buf, size_t n);
// Where a vCPU sits: socket-id, cluster-id, core-id, thread-id.
struct json_object *qmp_cpu_place(struct monitor *m, unsigned i);
// An argument object as options: nested members become dotted keys. False with *e filled.
bool qmp_to_opts(struct json_object *args, struct opts *o, struct qmp_error *e);
// The end of a command that either worked or filled e->err; frees the options.
struct json_object *qmp_outcome(bool ok, struct opts *o, struct qmp_error *e);
