// The object tree as far as clients walk it (qom-*), and the properties of types. Paths are those
// of QEMU: /machine/peripheral/ID for devices, …/virtio-backend for what a transport carries,
// /machine/unattached/device[N] for CPUs, /objects/ID.
#include "control/monitor/json.h"
#include "device/virtio/balloon.h"
#include <stdio.h>

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
    for (const struct accel_ops *const *k = accels; *k; k++) {
        char type[64];
        snprintf(type, sizeof type, "%s-accel", (*k)->alias ? (*k)->alias : (*k)->name);
        json_object_array_add(a, named(type));
    }
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
    for (unsigned i = 0; object_type_next(i); i++) {
        if (strcmp(object_type_next(i), name))
            continue;
        known = true;
        for (const char *const *p = object_type_props(i); *p; p++) {
            struct json_object *o = named(*p);
            put_str(o, "type", "str");
            json_object_array_add(a, o);
        }
    }
    char type[96];
    for (const struct isa_model *k = m->vm->machine->isa->models; k->name; k++)
        known |= !strcmp(qmp_cpu_type(m->vm->machine->isa, k->name, type, sizeof type), name);
    if (known)
        return a;
    json_object_put(a);
    return qmp_fail(e, "DeviceNotFound", "Class '%s' not found", name);
}

// ---- the object tree, as far as clients walk it ----

// The device a path names: /machine/peripheral/ID, or what it carries (ID/virtio-backend); NULL.
static struct device *peripheral(struct monitor *m, const char *path)
{
    static const char prefix[] = "/machine/peripheral/", part[] = "/virtio-backend";
    char id[128];
    bool absolute = !strncmp(path, prefix, sizeof prefix - 1);
    if (!absolute && *path == '/')
        return NULL;
    snprintf(id, sizeof id, "%s", path + (absolute ? sizeof prefix - 1 : 0));
    size_t n = strlen(id);
    bool inner = n > sizeof part - 1 && !strcmp(id + n - (sizeof part - 1), part);
    if (inner)
        id[n - (sizeof part - 1)] = 0;
    struct device *d = device_find(&m->vm->machine->tree, id);
    return d && inner ? d->inner : d;
}

static bool is_cpu(struct monitor *m, const char *path)
{
    unsigned i;
    int used = 0;
    return sscanf(path, "/machine/unattached/device[%u]%n", &i, &used) == 1 && !path[used] &&
           i < m->vm->machine->vcpus->n;
}

static struct device *balloon_of(struct device *d)
{
    struct device *inner = d->inner ? d->inner : d;
    return device_is_balloon(inner) ? inner : NULL;
}

// ---- lists ----

static void add_child(struct json_object *list, const char *name, const char *type)
{
    struct json_object *o = named(name);
    char text[128];
    snprintf(text, sizeof text, "child<%s>", type);
    put_str(o, "type", text);
    json_object_array_add(list, o);
}

static void list_peripherals(struct vm *vm, struct json_object *a)
{
    for (size_t i = 0; i < vm->machine->tree.devices.len; i++) {
        struct device *k = vm->machine->tree.devices.data[i];
        if (k->id && k->type->user_creatable)
            add_child(a, k->id, k->type->name);
    }
}

static void list_cpus(struct vm *vm, struct json_object *a)
{
    char name[32], type[96];
    const char *model = vm->machine->config.cpu ?: vm->machine->isa->default_model;
    for (unsigned i = 0; i < vm->machine->vcpus->n; i++) {
        snprintf(name, sizeof name, "device[%u]", i);
        add_child(a, name, qmp_cpu_type(vm->machine->isa, model, type, sizeof type));
    }
}

static void list_objects(struct vm *vm, struct json_object *a)
{
    for (size_t i = 0; i < vm->objects.len; i++)
        add_child(a, vm->objects.data[i].id, object_type_name(&vm->objects.data[i]));
}

static void list_device(struct device *d, struct json_object *a)
{
    struct json_object *type = named("type");
    put_str(type, "type", "string");
    json_object_array_add(a, type);
    list_properties(d->type, a);
    if (d->inner)
        add_child(a, "virtio-backend", d->inner->type->name);
    if (balloon_of(d)) {
        struct json_object *stats = named("guest-stats");
        put_str(stats, "type", "guest statistics");
        json_object_array_add(a, stats);
    }
}

RUN(qom_list)
{
    const char *path = qmp_str(args, "path");
    struct json_object *a = array();
    struct device *d = peripheral(m, path);
    if (d) {
        list_device(d, a);
    } else if (!strcmp(path, "/")) {
        add_child(a, "machine", "container");
        add_child(a, "objects", "container");
    } else if (!strcmp(path, "/machine")) {
        add_child(a, "peripheral", "container");
        add_child(a, "unattached", "container");
    } else if (!strcmp(path, "/objects")) {
        list_objects(m->vm, a);
    } else if (!strcmp(path, "/machine/peripheral")) {
        list_peripherals(m->vm, a);
    } else if (!strcmp(path, "/machine/unattached")) {
        list_cpus(m->vm, a);
    } else if (!is_cpu(m, path)) { // a CPU has nothing to list: no switch can be read back
        json_object_put(a);
        return qmp_fail(e, "DeviceNotFound", "Device '%s' not found", path);
    }
    return a;
}

// ---- values ----

static struct json_object *guest_stats(struct device *balloon)
{
    struct balloon_stats s;
    struct json_object *o = object(), *stats = object();
    balloon_get_stats(balloon, &s);
    for (unsigned i = 0; i < BALLOON_STATS; i++)
        put_int(stats, balloon_stat_names[i], (int64_t)s.value[i]);
    json_object_object_add(o, "stats", stats);
    put_int(o, "last-update", s.updated);
    return o;
}

static struct json_object *no_property(struct qmp_error *e, const char *owner, const char *prop)
{
    return qmp_fail(e, "GenericError", "Property '%s.%s' not found", owner, prop);
}

RUN(qom_get)
{
    const char *path = qmp_str(args, "path"), *prop = qmp_str(args, "property");
    struct device *d = peripheral(m, path);
    struct buf text = {0};
    if (!d)
        return is_cpu(m, path) ? no_property(e, path, prop)
                               : qmp_fail(e, "DeviceNotFound", "Device '%s' not found", path);
    if (!strcmp(prop, "type"))
        return json_object_new_string(d->type->name);
    if (!strcmp(prop, "guest-stats") && balloon_of(d))
        return guest_stats(balloon_of(d));
    if (device_get(d, prop, &text)) {
        buf_free(&text);
        return no_property(e, d->type->name, prop);
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

// What may change under a running guest is little: the rest was settled when the device was made.
RUN(qom_set)
{
    const char *path = qmp_str(args, "path"), *prop = qmp_str(args, "property");
    struct device *d = peripheral(m, path);
    struct json_object *value;
    json_object_object_get_ex(args, "value", &value);
    if (!d)
        return qmp_fail(e, "DeviceNotFound", "Device '%s' not found", path);
    if (!strcmp(prop, "guest-stats-polling-interval") && balloon_of(d)) {
        int64_t seconds = json_object_get_int64(value);
        if (!json_object_is_type(value, json_type_int) || seconds < 0 || seconds > 86400)
            return qmp_fail(e, "GenericError", "%s takes a number of seconds, 0 to 86400", prop);
        balloon_poll_stats(balloon_of(d), (unsigned)seconds);
        return NULL;
    }
    if (!device_type_prop(d->type, prop))
        return no_property(e, d->type->name, prop);
    return qmp_fail(e, "GenericError",
                    "Property '%s.%s' is set when the device is made and cannot change",
                    d->type->name, prop);
}

// ---- the balloon ----

static struct device *find_balloon(struct vm *vm)
{
    for (size_t i = 0; i < vm->machine->tree.devices.len; i++)
        if (device_is_balloon(vm->machine->tree.devices.data[i]))
            return vm->machine->tree.devices.data[i];
    return NULL;
}

static struct json_object *no_balloon(struct qmp_error *e)
{
    return qmp_fail(e, "DeviceNotActive", "No balloon device has been activated");
}

RUN(query_balloon)
{
    struct device *d = find_balloon(m->vm);
    if (!d)
        return no_balloon(e);
    struct json_object *o = object();
    put_int(o, "actual", (int64_t)(m->vm->machine->config.ram_size - balloon_held(d)));
    return o;
}

RUN(balloon)
{
    struct json_object *value;
    struct device *d = find_balloon(m->vm);
    json_object_object_get_ex(args, "value", &value);
    int64_t bytes = json_object_get_int64(value);
    if (!d)
        return no_balloon(e);
    if (bytes <= 0)
        return qmp_fail(e, "GenericError", "Parameter 'value' expects a size above 0");
    balloon_set_target(d, m->vm->machine->config.ram_size, (uint64_t)bytes);
    return NULL;
}
