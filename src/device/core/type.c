// Device types: the registry made from devices.def, their fields, and setting and showing
// properties.
#include "device/device.h"

#include "base/bits.h"
#include "base/buf.h"
#include "block/block.h"
#include "chardev/chardev.h"
#include "net/net.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define DEVICE(sym) extern const struct device_type sym;
#include "device/devices.def"
#undef DEVICE

static const struct device_type *const types[] = {
#define DEVICE(sym) &sym,
#include "device/devices.def"
#undef DEVICE
    NULL,
};

const struct device_type *const *device_types(void)
{
    return types;
}

const struct device_type *device_type_find(const char *name)
{
    for (unsigned i = 0; types[i]; i++)
        if (!strcmp(types[i]->name, name) || (types[i]->alias && !strcmp(types[i]->alias, name)))
            return types[i];
    return NULL;
}

const struct field *device_type_prop(const struct device_type *t, const char *name)
{
    device_for_each_field(t, b, f) if ((f->use & FIELD_PROP) && !strcmp(f->name, name)) return f;
    return t->inner ? device_type_prop(t->inner, name) : NULL;
}

void *device_field_ptr(struct device *d, const struct field *f)
{
    return (char *)d + f->offset;
}

static void collect_props(const struct device_type *t, const char **names, size_t *n, size_t max)
{
    device_for_each_field(t, b, f) if ((f->use & FIELD_PROP) && *n < max) names[(*n)++] = f->name;
    if (t->inner)
        collect_props(t->inner, names, n, max);
}

static int no_such_property(const struct device_type *t, const char *prop, struct err *e)
{
    const char *names[257];
    size_t n = 0;
    collect_props(t, names, &n, ARRAY_SIZE(names) - 1);
    names[n] = NULL;
    err_set(e, "device '%s' has no property '%s'", t->name, prop);
    return err_did_you_mean(e, prop, names);
}

static uint64_t type_max(const struct field *f)
{
    switch (f->kind) {
    case F_U8:
        return UINT8_MAX;
    case F_U16:
        return UINT16_MAX;
    case F_U32:
        return UINT32_MAX;
    default:
        return UINT64_MAX;
    }
}

// "-1" is how the customary "not given" value of an unsigned property is written.
static int parse_int(const struct field *f, const char *val, uint64_t *v)
{
    if (f->kind == F_SIZE)
        return parse_size(val, 1, v);
    if (val[0] != '-')
        return parse_u64(val, v);
    if (parse_u64(val + 1, v) || *v > type_max(f) / 2)
        return -1;
    *v = -*v & type_max(f);
    return 0;
}

static int set_int(const struct field *f, void *at, const char *val, struct err *e)
{
    uint64_t v;
    if (parse_int(f, val, &v))
        return err_set(e, "property '%s' wants a number, not '%s'", f->name, val);
    uint64_t max = f->max ? f->max : type_max(f);
    if ((v < f->min || v > max) && v != f->init)
        return err_set(e, "property '%s' must be between %" PRIu64 " and %" PRIu64 ", not %s",
                       f->name, f->min, max, val);
    switch (f->kind) {
    case F_U8:
        *(uint8_t *)at = v;
        break;
    case F_U16:
        *(uint16_t *)at = v;
        break;
    case F_U32:
        *(uint32_t *)at = v;
        break;
    default:
        *(uint64_t *)at = v;
        break;
    }
    return 0;
}

static int set_enum(const struct field *f, uint32_t *at, const char *val, struct err *e)
{
    for (uint32_t i = 0; f->names[i]; i++) {
        if (!strcmp(f->names[i], val)) {
            *at = i;
            return 0;
        }
    }
    err_set(e, "property '%s' has no value '%s'", f->name, val);
    return err_did_you_mean(e, val, f->names);
}

static int set_mac(const struct field *f, uint8_t *at, const char *val, struct err *e)
{
    uint8_t mac[6];
    int end = 0;
    char sep = strchr(val, '-') ? '-' : ':';
    char fmt[] = "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n";
    for (char *p = fmt; *p; p++)
        if (*p == ':')
            *p = sep;
    if (sscanf(val, fmt, mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5, &end) != 6 || val[end])
        return err_set(e, "property '%s' wants an address like 52:54:00:12:34:56, not '%s'",
                       f->name, val);
    memcpy(at, mac, 6);
    return 0;
}

static int set_backend(struct device *d, const struct field *f, void **at, const char *val,
                       struct err *e)
{
    struct device_tree *t = d->tree;
    if (!t->find_backend)
        return err_set(e, "property '%s': there is no '%s'", f->name, val);
    void *p = t->find_backend(t->opaque, f->kind, val, d, e);
    if (!p)
        return -1;
    *at = p;
    return 0;
}

static int set_field(struct device *d, const struct field *f, const char *val, struct err *e)
{
    void *at = device_field_ptr(d, f);
    switch ((enum field_kind)f->kind) {
    case F_BOOL:
        if (parse_bool(val, at))
            return err_set(e, "property '%s' wants on or off, not '%s'", f->name, val);
        return 0;
    case F_U8:
    case F_U16:
    case F_U32:
    case F_U64:
    case F_SIZE:
        return set_int(f, at, val, e);
    case F_STR:
        free(*(char **)at);
        *(char **)at = xstrdup(val);
        return 0;
    case F_ENUM:
        return set_enum(f, at, val, e);
    case F_MAC:
        return set_mac(f, at, val, e);
    case F_BACKEND_BLOCK:
    case F_BACKEND_NET:
    case F_BACKEND_CHR:
    case F_BACKEND_OBJ:
    case F_BACKEND_LOOP:
        return set_backend(d, f, at, val, e);
    default:
        return err_set(e, "property '%s' cannot be set", f->name);
    }
}

int device_set(struct device *d, const char *prop, const char *val, struct err *e)
{
    BUG_ON(d->initialised);
    device_for_each_field(d->type, b, f)
    {
        if (!(f->use & FIELD_PROP) || strcmp(f->name, prop))
            continue;
        if (set_field(d, f, val, e))
            return err_prefix(e, "device '%s'", d->name);
        return 0;
    }
    if (d->inner && device_type_prop(d->inner->type, prop))
        return device_set(d->inner, prop, val, e);
    return no_such_property(d->type, prop, e);
}

void device_set_ptr(struct device *d, const char *prop, void *p)
{
    device_for_each_field(d->type, b, f)
    {
        if (!(f->use & FIELD_PROP) || strcmp(f->name, prop))
            continue;
        BUG_ON(f->kind < F_BACKEND_BLOCK || f->kind > F_BACKEND_LOOP);
        *(void **)device_field_ptr(d, f) = p;
        return;
    }
    BUG_ON(!d->inner);
    device_set_ptr(d->inner, prop, p);
}

static const char *backend_id(const struct field *f, void *p)
{
    if (!p)
        return "";
    if (f->kind == F_BACKEND_BLOCK)
        return ((struct drive *)p)->id;
    if (f->kind == F_BACKEND_NET)
        return ((struct netdev *)p)->id;
    if (f->kind == F_BACKEND_CHR)
        return chardev_id(p);
    return "(object)";
}

static void print_field(const struct field *f, const void *at, struct buf *out)
{
    const uint8_t *m = at;
    switch ((enum field_kind)f->kind) {
    case F_BOOL:
        buf_printf(out, "%s", *(const bool *)at ? "true" : "false");
        break;
    case F_U8:
        buf_printf(out, "%u", *m);
        break;
    case F_U16:
        buf_printf(out, "%u", *(const uint16_t *)at);
        break;
    case F_U32:
        buf_printf(out, "%" PRIu32, *(const uint32_t *)at);
        break;
    case F_U64:
    case F_SIZE:
        buf_printf(out, "%" PRIu64, *(const uint64_t *)at);
        break;
    case F_STR:
        buf_printf(out, "\"%s\"", *(char *const *)at ? *(char *const *)at : "");
        break;
    case F_ENUM:
        buf_printf(out, "\"%s\"", f->names[*(const uint32_t *)at]);
        break;
    case F_MAC:
        buf_printf(out, "\"%02x:%02x:%02x:%02x:%02x:%02x\"", m[0], m[1], m[2], m[3], m[4], m[5]);
        break;
    default:
        buf_printf(out, "\"%s\"", backend_id(f, *(void *const *)at));
        break;
    }
}

int device_get(struct device *d, const char *prop, struct buf *out)
{
    device_for_each_field(d->type, b, f)
    {
        if ((f->use & FIELD_PROP) && !strcmp(f->name, prop)) {
            print_field(f, device_field_ptr(d, f), out);
            return 0;
        }
    }
    return d->inner ? device_get(d->inner, prop, out) : -1;
}
