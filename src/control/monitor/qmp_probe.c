// QMP queries by which management programs learn what this program can do and what a machine
// consists of. Only what works is listed.
#include "control/monitor/internal.h"
#include <errno.h>
#include <stdio.h>

#define RUN(name)                                                                                  \
    struct json_object *qmp_do_##name(struct monitor *m, struct json_object *args,                 \
                                      struct qmp_error *e)

static struct json_object *object(void)
{
    return json_object_new_object();
}
static struct json_object *array(void)
{
    return json_object_new_array();
}
static void put_str(struct json_object *o, const char *key, const char *v)
{
    json_object_object_add(o, key, json_object_new_string(v));
}
static void put_bool(struct json_object *o, const char *key, bool v)
{
    json_object_object_add(o, key, json_object_new_boolean(v));
}
static void put_int(struct json_object *o, const char *key, int64_t v)
{
    json_object_object_add(o, key, json_object_new_int64(v));
}
static struct json_object *named(const char *name)
{
    struct json_object *o = object();
    put_str(o, "name", name);
    return o;
}

RUN(query_nothing)
{
    return array();
}

// ---- what there is to choose from ----

static const char *cpu_type(const struct isa *isa, const char *model, char *buf, size_t n)
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
            put_str(o, "default-cpu-type", cpu_type(isa, isa->default_model, type, sizeof type));
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
        put_str(o, "typename", cpu_type(isa, k->name, type, sizeof type));
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

RUN(qom_list_types)
{
    struct json_object *a = array();
    for (const struct device_type *const *t = device_types(); *t; t++) {
        struct json_object *o = named((*t)->name);
        put_str(o, "parent", "device");
        json_object_array_add(a, o);
    }
    for (unsigned i = 0; object_type_next(i); i++)
        json_object_array_add(a, named(object_type_next(i)));
    return a;
}

static const char *field_type(const struct field *f)
{
    switch ((enum field_kind)f->kind) {
    case F_BOOL:
        return "bool";
    case F_U8:
        return "uint8";
    case F_U16:
        return "uint16";
    case F_U32:
        return "uint32";
    case F_U64:
        return "uint64";
    case F_SIZE:
        return "size";
    default:
        return "str";
    }
}

static void list_properties(const struct device_type *t, struct json_object *a)
{
    device_for_each_field(t, b, f)
    {
        if (!(f->use & FIELD_PROP))
            continue;
        struct json_object *o = named(f->name);
        put_str(o, "type", field_type(f));
        if (f->help)
            put_str(o, "description", f->help);
        json_object_array_add(a, o);
    }
    if (t->inner)
        list_properties(t->inner, a);
}

RUN(device_list_properties)
{
    const char *name = qmp_str(args, "typename");
    const struct device_type *t = device_type_find(name);
    if (!t)
        return qmp_fail(e, "DeviceNotFound", "Device '%s' not found", name);
    struct json_object *a = array();
    list_properties(t, a);
    return a;
}

static const struct board *board_of_type(struct monitor *m, const char *type)
{
    char name[64];
    size_t n = strlen(type);
    if (n < 9 || n > sizeof name || strcmp(type + n - 8, "-machine"))
        return NULL;
    snprintf(name, sizeof name, "%.*s", (int)n - 8, type);
    return board_find(m->vm->machine->isa->name, name);
}

RUN(qom_list_properties)
{
    const char *name = qmp_str(args, "typename");
    const struct device_type *t = device_type_find(name);
    const struct board *b = board_of_type(m, name);
    struct json_object *a = array();
    bool known = t || b;
    if (t)
        list_properties(t, a);
    for (const struct board_prop *p = b ? b->props : NULL; p && p->name; p++) {
        struct json_object *o = named(p->name);
        put_str(o, "type", "str");
        json_object_array_add(a, o);
    }
    for (unsigned i = 0; object_type_next(i); i++)
        known |= !strcmp(object_type_next(i), name);
    char type[96];
    for (const struct isa_model *k = m->vm->machine->isa->models; k->name; k++)
        known |= !strcmp(cpu_type(m->vm->machine->isa, k->name, type, sizeof type), name);
    if (known)
        return a;
    json_object_put(a);
    return qmp_fail(e, "DeviceNotFound", "Class '%s' not found", name);
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

static struct json_object *describe_image(struct block_node *n)
{
    struct json_object *o = object();
    put_str(o, "filename", block_filename(n));
    put_str(o, "format", block_driver_name(n));
    put_int(o, "virtual-size", (int64_t)block_size(n));
    if (block_backing(n)) {
        put_str(o, "backing-filename", block_filename(block_backing(n)));
        json_object_object_add(o, "backing-image", describe_image(block_backing(n)));
    }
    return o;
}

static struct json_object *describe_node(struct block_node *n)
{
    struct json_object *o = object(), *cache = object();
    put_str(o, "node-name", block_node_name(n));
    put_str(o, "file", block_filename(n));
    put_str(o, "drv", block_driver_name(n));
    put_bool(o, "ro", block_readonly(n));
    put_bool(o, "encrypted", false);
    put_str(o, "detect_zeroes", "off");
    put_bool(cache, "writeback", !block_writethrough(n));
    put_bool(cache, "direct", false);
    put_bool(cache, "no-flush", false);
    json_object_object_add(o, "cache", cache);
    for (const char *const *k = (const char *const[]){"bps", "bps_rd", "bps_wr", "iops", "iops_rd",
                                                      "iops_wr", "write_threshold", NULL};
         *k; k++)
        put_int(o, *k, 0);
    if (block_backing(n))
        put_str(o, "backing_file", block_filename(block_backing(n)));
    json_object_object_add(o, "image", describe_image(n));
    return o;
}

RUN(query_named_block_nodes)
{
    struct json_object *a = array();
    for (struct block_node *n = drives_next_node(m->vm->drives, NULL); n;
         n = drives_next_node(m->vm->drives, n))
        json_object_array_add(a, describe_node(n));
    return a;
}

static void put_qdev(struct json_object *o, const struct drive *d)
{
    const struct device *dev = d->dev;
    if (dev && dev->host && !dev->id)
        dev = dev->host;
    char path[128];
    snprintf(path, sizeof path, "/machine/peripheral/%.60s/virtio-backend",
             dev && dev->id ? dev->id : d->id);
    if (dev)
        put_str(o, "qdev", path);
}

RUN(query_block)
{
    struct json_object *a = array();
    for (struct drive *d = drives_next(m->vm->drives, NULL); d; d = drives_next(m->vm->drives, d)) {
        struct json_object *o = object();
        put_str(o, "device", d->from_blockdev ? "" : d->id);
        put_str(o, "type", "unknown");
        put_bool(o, "removable", d->removable);
        put_bool(o, "locked", d->locked);
        put_qdev(o, d);
        if (d->removable)
            put_bool(o, "tray_open", d->tray_open);
        put_str(o, "io-status", !d->failure ? "ok" : d->failure == -ENOSPC ? "nospace" : "failed");
        if (d->node)
            json_object_object_add(o, "inserted", describe_node(d->node));
        json_object_array_add(a, o);
    }
    return a;
}

static struct json_object *node_stats(struct block_node *n)
{
    static const char *const names[] = {"rd", "wr", "flush", "unmap"};
    struct block_stats s;
    struct json_object *o = object();
    char key[40];
    block_get_stats(n, &s);
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (i != BLOCK_FLUSH) {
            snprintf(key, sizeof key, "%s_bytes", names[i]);
            put_int(o, key, (int64_t)s.bytes[i]);
        }
        snprintf(key, sizeof key, "%s_operations", names[i]);
        put_int(o, key, (int64_t)s.ops[i]);
        snprintf(key, sizeof key, "%s_total_time_ns", names[i]);
        put_int(o, key, (int64_t)s.time_ns[i]);
        snprintf(key, sizeof key, "failed_%s_operations", names[i]);
        put_int(o, key, (int64_t)s.failed[i]);
    }
    return o;
}

RUN(query_blockstats)
{
    struct json_object *a = array(), *nodes = NULL;
    bool by_node = args && json_object_object_get_ex(args, "query-nodes", &nodes) &&
                   json_object_get_boolean(nodes);
    struct drives *all = m->vm->drives;
    for (struct block_node *n = by_node ? drives_next_node(all, NULL) : NULL; n;
         n = drives_next_node(all, n)) {
        struct json_object *o = object();
        put_str(o, "node-name", block_node_name(n));
        json_object_object_add(o, "stats", node_stats(n));
        json_object_array_add(a, o);
    }
    for (struct drive *d = by_node ? NULL : drives_next(all, NULL); d; d = drives_next(all, d)) {
        if (!d->node)
            continue;
        struct json_object *o = object();
        put_str(o, "device", d->from_blockdev ? "" : d->id);
        put_str(o, "node-name", block_node_name(d->node));
        put_qdev(o, d);
        json_object_object_add(o, "stats", node_stats(d->node));
        json_object_array_add(a, o);
    }
    return a;
}

// ---- migration: events are always sent ----

RUN(query_migrate_capabilities)
{
    struct json_object *a = array(), *o = object();
    put_str(o, "capability", "events");
    put_bool(o, "state", true);
    json_object_array_add(a, o);
    return a;
}

RUN(migrate_set_capabilities)
{
    struct json_object *list, *on;
    json_object_object_get_ex(args, "capabilities", &list);
    if (!json_object_is_type(list, json_type_array))
        return qmp_fail(e, "GenericError",
                        "Invalid parameter type for 'capabilities', expected: array");
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *c = json_object_array_get_idx(list, i);
        const char *name = qmp_str(c, "capability");
        bool wanted = json_object_object_get_ex(c, "state", &on) && json_object_get_boolean(on);
        if (!name || (strcmp(name, "events") && wanted))
            return qmp_fail(e, "GenericError", "Migration capability '%s' is not available",
                            name ? name : "");
    }
    return NULL;
}

// ---- the object tree, as far as clients walk it ----

static struct json_object *child(const char *name, const char *type)
{
    struct json_object *o = named(name);
    char text[128];
    snprintf(text, sizeof text, "child<%s>", type);
    put_str(o, "type", text);
    return o;
}

static bool is_cpu(struct monitor *m, const char *path)
{
    unsigned i;
    int used = 0;
    return sscanf(path, "/machine/unattached/device[%u]%n", &i, &used) == 1 && !path[used] &&
           i < m->vm->machine->vcpus->n;
}

static struct device *peripheral(struct monitor *m, const char *path)
{
    static const char prefix[] = "/machine/peripheral/";
    if (strncmp(path, prefix, sizeof prefix - 1))
        return NULL;
    return device_find(&m->vm->machine->tree, path + sizeof prefix - 1);
}

RUN(qom_list)
{
    const char *path = qmp_str(args, "path");
    struct json_object *a = array();
    struct device *d = peripheral(m, path);
    if (d) {
        list_properties(d->type, a);
        return a;
    }
    if (is_cpu(m, path))
        return a;
    if (!strcmp(path, "/") || !strcmp(path, "/machine")) {
        json_object_array_add(a, path[1] ? child("peripheral", "container")
                                         : child("machine", "container"));
        return a;
    }
    if (!strcmp(path, "/objects")) {
        for (size_t i = 0; i < m->vm->objects.len; i++)
            json_object_array_add(
                a, child(m->vm->objects.data[i].id, object_type_name(&m->vm->objects.data[i])));
        return a;
    }
    if (!strcmp(path, "/machine/peripheral")) {
        for (size_t i = 0; i < m->vm->machine->tree.devices.len; i++) {
            struct device *k = m->vm->machine->tree.devices.data[i];
            if (k->id && k->type->user_creatable)
                json_object_array_add(a, child(k->id, k->type->name));
        }
        return a;
    }
    json_object_put(a);
    return qmp_fail(e, "DeviceNotFound", "Device '%s' not found", path);
}

RUN(qom_get)
{
    const char *path = qmp_str(args, "path"), *prop = qmp_str(args, "property");
    struct device *d = peripheral(m, path);
    struct buf text = {0};
    if (!d)
        return qmp_fail(e, is_cpu(m, path) ? "GenericError" : "DeviceNotFound",
                        "Property '%s.%s' not found", path, prop);
    if (device_get(d, prop, &text)) {
        buf_free(&text);
        return qmp_fail(e, "GenericError", "Property '%s.%s' not found", d->type->name, prop);
    }
    const struct field *f = device_type_prop(d->type, prop);
    const char *s = buf_str(&text);
    uint64_t v;
    struct json_object *r;
    if (f && f->kind == F_BOOL)
        r = json_object_new_boolean(!strcmp(s, "true"));
    else if (f && (f->kind <= F_U64 || f->kind == F_SIZE) && !parse_u64(s, &v))
        r = json_object_new_int64((int64_t)v);
    else
        r = json_object_new_string(s);
    buf_free(&text);
    return r;
}
