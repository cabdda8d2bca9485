// QMP queries by which management programs learn what this program can do and what a machine
// consists of. Only what works is listed.
#include "control/monitor/json.h"
#include <stdio.h>
#include <unistd.h>

RUN(query_nothing)
{
    return array();
}

// ---- what there is to choose from ----

const char *qmp_cpu_type(const struct isa *isa, const char *model, char *buf, size_t n)
{
    snprintf(buf, n, "%s-%s-cpu", model, !strcmp(isa->name, "aarch64") ? "arm" : isa->name);
    return buf;
}

RUN(query_machines)
{
    struct json_object *a = array();
    char type[96];
    const struct isa *isa = m->vm->machine->isa;
    for (const struct board *const *b = boards; *b; b++) {
        if (strcmp((*b)->arch, isa->name))
            continue;
        struct json_object *o = named((*b)->name);
        put_int(o, "cpu-max", (*b)->max_cpus);
        put_bool(o, "hotpluggable-cpus", false);
        put_bool(o, "numa-mem-supported", false);
        put_bool(o, "deprecated", false);
        put_bool(o, "acpi", (*b)->default_ram != 0);
        if ((*b)->default_ram)
            put_str(o, "default-cpu-type",
                    qmp_cpu_type(isa, isa->default_model, type, sizeof type));
        json_object_array_add(a, o);
    }
    return a;
}

RUN(query_cpu_definitions)
{
    struct json_object *a = array();
    char type[96];
    const struct isa *isa = m->vm->machine->isa;
    for (const struct isa_model *k = isa->models; k->name; k++) {
        struct json_object *o = named(k->name);
        put_str(o, "typename", qmp_cpu_type(isa, k->name, type, sizeof type));
        put_bool(o, "static", false);
        put_bool(o, "deprecated", false);
        json_object_array_add(a, o);
    }
    return a;
}

RUN(query_cpu_model_expansion)
{
    struct json_object *model = NULL;
    json_object_object_get_ex(args, "model", &model);
    const char *name = model ? qmp_str(model, "name") : NULL;
    for (const struct isa_model *k = m->vm->machine->isa->models; k->name; k++)
        if (name && !strcmp(k->name, name)) {
            struct json_object *r = object(), *o = named(name);
            json_object_object_add(r, "model", o);
            return r;
        }
    return qmp_fail(e, "GenericError", "The CPU type '%s' is not a recognized CPU type",
                    name ? name : "");
}

RUN(query_gic_capabilities)
{
    struct json_object *a = array();
    for (int version = 2; version <= 3; version++) {
        struct json_object *o = object();
        put_int(o, "version", version);
        put_bool(o, "emulated", true);
        put_bool(o, "kernel", false);
        json_object_array_add(a, o);
    }
    return a;
}

RUN(query_command_line_options)
{
    const struct {
        const char *option;
        const char *const *params;
    } groups[] = {
#define GROUP(name, ...)                                                                           \
    {                                                                                              \
        name, (const char *const[])                                                                \
        {                                                                                          \
            __VA_ARGS__, NULL                                                                      \
        }                                                                                          \
    }
        GROUP("accel", "accel"),
        GROUP("boot-opts", "order", "menu", "once", "strict"),
        GROUP("chardev", "backend", "id", "path", "host", "port", "server", "wait", "logfile"),
        GROUP("device", "driver", "id", "bus"),
        GROUP("drive", "file", "format", "if", "id", "index", "media", "cache", "snapshot"),
        GROUP("fw_cfg", "name", "file", "string"),
        GROUP("global", "driver", "property", "value"),
        GROUP("machine", "type", "accel", "gic-version"),
        GROUP("memory", "size", "slots", "maxmem"),
        GROUP("mon", "mode", "chardev", "pretty"),
        GROUP("msg", "timestamp"),
        GROUP("name", "guest", "process", "debug-threads"),
        GROUP("netdev", "type", "id"),
        GROUP("object", "qom-type", "id"),
        GROUP("overcommit", "mem-lock"),
        GROUP("rtc", "base", "clock", "driftfix"),
        GROUP("sandbox", "enable", "obsolete", "elevateprivileges", "spawn", "resourcecontrol"),
        GROUP("smp-opts", "cpus", "maxcpus", "sockets", "clusters", "cores", "threads"),
#undef GROUP
    };
    struct json_object *a = array();
    const char *only = args ? qmp_str(args, "option") : NULL;
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        if (only && strcmp(only, groups[i].option))
            continue;
        struct json_object *o = object(), *params = array();
        for (const char *const *p = groups[i].params; *p; p++) {
            struct json_object *param = named(*p);
            put_str(param, "type", "string");
            json_object_array_add(params, param);
        }
        put_str(o, "option", groups[i].option);
        json_object_object_add(o, "parameters", params);
        json_object_array_add(a, o);
    }
    return only && !json_object_array_length(a)
               ? (json_object_put(a), qmp_fail(e, "GenericError", "invalid option name: %s", only))
               : a;
}

// ---- the machine's parts ----

RUN(query_current_machine)
{
    struct json_object *o = object();
    put_bool(o, "wakeup-suspend-support", false);
    return o;
}

RUN(query_iothreads)
{
    struct json_object *a = array();
    for (size_t i = 0; i < m->vm->objects.len; i++) {
        if (!object_is_iothread(&m->vm->objects.data[i]))
            continue;
        struct json_object *o = object();
        put_str(o, "id", m->vm->objects.data[i].id);
        put_int(o, "thread-id", loop_thread_id(m->vm->objects.data[i].backend));
        put_int(o, "poll-max-ns", 0);
        put_int(o, "poll-grow", 0);
        put_int(o, "poll-shrink", 0);
        put_int(o, "aio-max-batch", 0);
        json_object_array_add(a, o);
    }
    return a;
}

struct json_object *qmp_cpu_place(struct monitor *m, unsigned i)
{
    const struct machine_config *c = &m->vm->machine->config;
    unsigned threads = c->threads ?: 1, cores = c->cores ?: 1, clusters = c->clusters ?: 1;
    struct json_object *o = object();
    put_int(o, "socket-id", i / threads / cores / clusters);
    put_int(o, "cluster-id", i / threads / cores % clusters);
    put_int(o, "core-id", i / threads % cores);
    put_int(o, "thread-id", i % threads);
    return o;
}

// All the places for CPUs, the last first. Those without a CPU stay so: none is plugged later.
RUN(query_hotpluggable_cpus)
{
    struct json_object *a = array();
    const struct machine *k = m->vm->machine;
    char type[96], path[64];
    for (unsigned i = MAX(k->config.max_cpus, k->vcpus->n); i-- > 0;) {
        struct json_object *o = object();
        put_str(o, "type",
                qmp_cpu_type(k->isa, k->config.cpu ?: k->isa->default_model, type, sizeof type));
        put_int(o, "vcpus-count", 1);
        json_object_object_add(o, "props", qmp_cpu_place(m, i));
        snprintf(path, sizeof path, "/machine/unattached/device[%u]", i);
        if (i < k->vcpus->n)
            put_str(o, "qom-path", path);
        json_object_array_add(a, o);
    }
    return a;
}

RUN(query_chardev)
{
    struct json_object *a = array();
    for (size_t i = 0; i < m->vm->chardevs.len; i++) {
        struct chardev *c = m->vm->chardevs.data[i];
        struct json_object *o = object();
        put_str(o, "label", chardev_id(c));
        put_str(o, "filename", chardev_describe(c));
        put_bool(o, "frontend-open", chardev_is_busy(c));
        json_object_array_add(a, o);
    }
    return a;
}
