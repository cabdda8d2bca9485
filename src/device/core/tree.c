// The tree of one machine: making devices, plugging them into buses, resetting and removing them.
#include "base/buf.h"
#include "device/device.h"

#include <stdlib.h>

void device_tree_init(struct device_tree *t, struct machine_env *env)
{
    *t = (struct device_tree){.env = env};
    list_init(&t->buses);
}

void device_tree_global(struct device_tree *t, const char *driver, const char *prop,
                        const char *val)
{
    vec_push(&t->globals, (struct device_global){xstrdup(driver), xstrdup(prop), xstrdup(val)});
}

void device_tree_free(struct device_tree *t)
{
    while (t->devices.len) {
        struct device *d = t->devices.data[t->devices.len - 1];
        while (d->parent_bus && d->parent_bus->owner) // what carries others takes them along
            d = d->parent_bus->owner;
        device_unplug(t, d);
    }
    struct bus *b, *tmp;
    list_for_each_safe(b, tmp, &t->buses, link) bus_free(b);
    for (size_t i = 0; i < t->globals.len; i++) {
        free(t->globals.data[i].driver);
        free(t->globals.data[i].prop);
        free(t->globals.data[i].val);
    }
    vec_free(&t->globals);
    vec_free(&t->devices);
}

struct bus *device_find_bus(struct device_tree *t, const char *name)
{
    struct bus *b;
    list_for_each(b, &t->buses, link) if (!strcmp(b->name, name)) return b;
    return NULL;
}

struct device *device_find(struct device_tree *t, const char *id)
{
    for (size_t i = 0; i < t->devices.len; i++)
        if (t->devices.data[i]->id && !strcmp(t->devices.data[i]->id, id))
            return t->devices.data[i];
    return NULL;
}

struct bus *bus_new(struct device_tree *t, const struct bus_type *type, const char *name,
                    struct device *owner)
{
    struct bus *b = xalloc(MAX(sizeof *b, type->size));
    b->type = type;
    b->name = xstrdup(name);
    b->owner = owner;
    b->env = t->env;
    list_init(&b->devices);
    list_append(&t->buses, &b->link);
    if (owner)
        vec_push(&owner->child_buses, b);
    return b;
}

void bus_free(struct bus *b)
{
    BUG_ON(!list_empty(&b->devices));
    for (size_t i = 0; b->owner && i < b->owner->child_buses.len; i++) {
        if (b->owner->child_buses.data[i] == b) {
            vec_remove(&b->owner->child_buses, i);
            break;
        }
    }
    list_remove(&b->link);
    free(b->name);
    free(b);
}

// Puts `f->init` into one scalar or every element of an array.
static void field_fill(char *at, const struct field *f)
{
    unsigned n = f->len ? f->len : 1;
    for (unsigned i = 0; i < n; i++) {
        switch ((enum field_kind)f->kind) {
        case F_BOOL:
            *(bool *)at = f->init;
            break;
        case F_U8:
        case F_U8A:
        case F_BYTES:
            ((uint8_t *)at)[i] = f->init;
            break;
        case F_U16:
        case F_U16A:
            ((uint16_t *)at)[i] = f->init;
            break;
        case F_U32:
        case F_U32A:
        case F_ENUM:
            ((uint32_t *)at)[i] = f->init;
            break;
        case F_U64:
        case F_U64A:
        case F_SIZE:
            ((uint64_t *)at)[i] = f->init;
            break;
        case F_STRUCT:
            for (const struct field *s = f->sub; s->name; s++)
                if (s->use & f->use & FIELD_RESET)
                    field_fill(at + i * f->stride + s->offset, s);
            break;
        default:
            return; // strings, addresses and back ends start empty
        }
    }
}

static void fields_init(struct device *d, enum field_use use)
{
    device_for_each_field(d->type, b, f) if (f->use & use) field_fill(device_field_ptr(d, f), f);
}

static void fields_free(struct device *d)
{
    device_for_each_field(d->type, b, f) if (f->kind == F_STR)
        free(*(char **)device_field_ptr(d, f));
}

static void apply_globals(struct device_tree *t, struct device *d)
{
    for (size_t i = 0; i < t->globals.len; i++) {
        struct device_global *g = &t->globals.data[i];
        struct err e = {0};
        if (strcmp(g->driver, d->type->name) && strcmp(g->driver, d->type->alias ?: ""))
            continue;
        g->used = true;
        if (device_set(d, g->prop, g->val, &e))
            log_warn("-global %s.%s=%s: %s", g->driver, g->prop, g->val, e.msg);
    }
}

struct device *device_new(struct device_tree *t, const struct device_type *type, const char *id)
{
    BUG_ON(type->size < sizeof(struct device));
    struct device *d = xalloc(type->size);
    d->type = type;
    d->name = type->name;
    d->id = id ? xstrdup(id) : NULL;
    d->tree = t;
    d->env = t->env;
    list_init(&d->siblings);
    mmio_guard_init(&d->guard);
    fields_init(d, FIELD_PROP | FIELD_RESET);
    if (type->inner) {
        d->inner = device_new(t, type->inner, NULL);
        d->inner->name = type->name;
    }
    apply_globals(t, d);
    return d;
}

void device_discard(struct device *d)
{
    BUG_ON(d->initialised);
    if (d->inner)
        device_discard(d->inner);
    fields_free(d);
    vec_free(&d->child_buses);
    free(d->id);
    free(d);
}

static void run_exits(struct device *d, const struct device_type *t)
{
    for (; t; t = t->base)
        if (t->exit)
            t->exit(d);
}

// Hooks of the family first.
static int run_init(struct device *d, const struct device_type *t, struct err *e)
{
    if (t->base && run_init(d, t->base, e))
        return -1;
    if (!t->init || !t->init(d, e))
        return 0;
    run_exits(d, t->base);
    return -1;
}

static void run_reset(struct device *d, const struct device_type *t)
{
    if (t->base)
        run_reset(d, t->base);
    if (t->reset)
        t->reset(d);
}

static unsigned bus_count(const struct bus *b)
{
    unsigned n = 0;
    for (const struct list *l = b->devices.next; l != &b->devices; l = l->next)
        n++;
    return n;
}

static bool bus_full(const struct bus *b)
{
    return b->type->max_devices && bus_count(b) >= b->type->max_devices;
}

static int plug(struct device *d, struct bus *bus, struct err *e)
{
    const char *want = d->type->bus;
    if (strcmp(want ? want : "", bus->type->name))
        return err_set(e, "device '%s' cannot go on bus '%s': it is a %s bus, not %s",
                       d->type->name, bus->name, bus->type->name, want ? want : "none");
    if (bus_full(bus))
        return err_set(e, "bus '%s' is full", bus->name);
    d->parent_bus = bus;
    if (bus->type->plug && bus->type->plug(bus, d, e)) {
        d->parent_bus = NULL;
        return -1;
    }
    list_append(&bus->devices, &d->siblings);
    return 0;
}

static void unplug_from_bus(struct device *d)
{
    if (!d->parent_bus)
        return;
    if (d->parent_bus->type->unplug)
        d->parent_bus->type->unplug(d->parent_bus, d);
    list_remove(&d->siblings);
    d->parent_bus = NULL;
}

int device_start(struct device_tree *t, struct device *d, struct bus *bus, struct err *e)
{
    if (d->id && device_find(t, d->id)) {
        err_set(e, "there is already a device with id '%s'", d->id);
        goto fail;
    }
    if (bus && plug(d, bus, e))
        goto fail;
    vec_push(&t->devices, d);
    if (run_init(d, d->type, e)) {
        if (d->inner && d->inner->initialised)
            device_unplug(t, d->inner);
        for (size_t i = t->devices.len; i-- > 0;)
            if (t->devices.data[i] == d)
                vec_remove(&t->devices, i);
        unplug_from_bus(d);
        goto fail;
    }
    device_reset(d);
    __atomic_store_n(&d->initialised, true, __ATOMIC_RELEASE); // now others may find it
    return 0;
fail:
    device_discard(d);
    return -1;
}

void device_unplug(struct device_tree *t, struct device *d)
{
    for (const struct device_type *b = d->type; b; b = b->base)
        if (b->hide)
            b->hide(d);
    device_drain(d);
    while (d->child_buses.len) {
        struct bus *b = d->child_buses.data[d->child_buses.len - 1];
        while (!list_empty(&b->devices))
            device_unplug(t, list_entry(b->devices.prev, struct device, siblings));
        bus_free(b);
    }
    device_lock(d);
    d->generation++;
    device_unlock(d);
    run_exits(d, d->type);
    unplug_from_bus(d);
    for (size_t i = t->devices.len; i-- > 0;)
        if (t->devices.data[i] == d)
            vec_remove(&t->devices, i);
    for (size_t i = 0; i < t->devices.len; i++)
        if (t->devices.data[i]->inner == d)
            t->devices.data[i]->inner = NULL;
    d->initialised = false;
    device_discard(d);
}

int device_request_unplug(struct device_tree *t, struct device *d, struct err *e)
{
    if (!d->type->user_creatable || !d->parent_bus)
        return err_set(e, "device '%s' is part of the board and cannot be removed",
                       d->id ? d->id : d->type->name);
    const struct bus_type *bus = d->parent_bus->type;
    if (!bus->ask || !bus->ask(d->parent_bus, d))
        device_remove(t, d);
    return 0;
}

static void send_deleted(struct machine_env *env, const char *id, const char *part)
{
    if (!env->event || !id)
        return;
    struct buf data = {0};
    char *path = xasprintf("/machine/peripheral/%s%s%s", id, part ? "/" : "", part ? part : "");
    buf_printf(&data, "{\"path\": ");
    buf_json_string(&data, path);
    if (!part) {
        buf_printf(&data, ", \"device\": ");
        buf_json_string(&data, id);
    }
    buf_printf(&data, "}");
    env->event(env->opaque, "DEVICE_DELETED", buf_str(&data));
    buf_free(&data);
    free(path);
}

void device_remove(struct device_tree *t, struct device *d)
{
    char *id = d->id ? xstrdup(d->id) : NULL;
    struct machine_env *env = d->env;
    bool inner = d->inner != NULL;
    device_unplug(t, d);
    if (inner)
        send_deleted(env, id, "virtio-backend");
    send_deleted(env, id, NULL);
    free(id);
}

struct mmio_guard *device_guard(struct device *d)
{
    while (d->host)
        d = d->host;
    return &d->guard;
}

void device_lock(struct device *d)
{
    mmio_guard_enter(device_guard(d));
}

void device_unlock(struct device *d)
{
    mmio_guard_leave(device_guard(d));
}

void device_reset(struct device *d)
{
    device_drain(d);
    device_lock(d);
    d->generation++;
    fields_init(d, FIELD_RESET);
    run_reset(d, d->type);
    device_unlock(d);
}

void device_tree_reset(struct device_tree *t)
{
    for (size_t i = 0; i < t->devices.len; i++)
        device_reset(t->devices.data[i]);
}

static struct bus *first_bus(struct device_tree *t, const struct device_type *type, struct err *e)
{
    struct bus *b;
    bool seen = false;
    list_for_each(b, &t->buses, link)
    {
        if (strcmp(b->type->name, type->bus))
            continue;
        seen = true;
        if (!bus_full(b))
            return b;
    }
    if (seen)
        err_set(e, "every %s bus is full", type->bus);
    else
        err_set(e, "this machine has no %s bus for device '%s'", type->bus, type->name);
    return NULL;
}

static struct bus *named_bus(struct device_tree *t, const char *name, struct err *e)
{
    struct bus *b = device_find_bus(t, name);
    if (b)
        return b;
    struct device *d = device_find(t, name); // bus=SCSI0 names the controller's only bus
    if (d && d->child_buses.len)
        return d->child_buses.data[0];
    VEC(const char *) names = {0};
    list_for_each(b, &t->buses, link) vec_push(&names, b->name);
    vec_push(&names, NULL);
    err_set(e, "there is no bus '%s'", name);
    err_did_you_mean(e, name, names.data);
    vec_free(&names);
    return NULL;
}

static const struct device_type *wanted_type(const char *driver, struct err *e)
{
    const struct device_type *type = device_type_find(driver);
    if (type && type->user_creatable)
        return type;
    if (type) {
        err_set(e, "device '%s' is part of the board and cannot be added", driver);
        return NULL;
    }
    VEC(const char *) names = {0};
    for (const struct device_type *const *t = device_types(); *t; t++)
        if ((*t)->user_creatable)
            vec_push(&names, (*t)->name);
    vec_push(&names, NULL);
    err_set(e, "'%s' is not a device this program has (-device help lists them)", driver);
    err_did_you_mean(e, driver, names.data);
    vec_free(&names);
    return NULL;
}

struct device *device_create_from_opts(struct device_tree *t, struct opts *o, struct err *e)
{
    const char *driver = opts_get(o, "driver"), *id = opts_get(o, "id"), *on = opts_get(o, "bus");
    if (!driver) {
        err_set(e, "name a device (-device help lists them)");
        return NULL;
    }
    const struct device_type *type = wanted_type(driver, e);
    if (!type)
        return NULL;
    struct bus *bus = NULL;
    if (on)
        bus = named_bus(t, on, e);
    else if (type->bus)
        bus = first_bus(t, type, e);
    if (!bus && (on || type->bus))
        return NULL;
    struct device *d = device_new(t, type, id);
    for (size_t i = 0; i < o->len; i++) {
        struct opt *p = &o->data[i];
        if (!strcmp(p->key, "driver") || !strcmp(p->key, "id") || !strcmp(p->key, "bus"))
            continue;
        p->used = true;
        if (device_set(d, p->key, p->val, e)) {
            device_discard(d);
            return NULL;
        }
    }
    if (device_start(t, d, bus, e))
        return NULL;
    return d;
}
