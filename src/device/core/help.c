// What the operator is shown: -device help, -device X,help and `info qtree`, in the shapes that
// existing clients parse.
#include "device/device.h"

#include "base/buf.h"

#include <inttypes.h>
#include <stdlib.h>

static void print_type_line(const struct device_type *t, struct buf *out)
{
    buf_printf(out, "name \"%s\"", t->name);
    if (t->bus)
        buf_printf(out, ", bus %s", t->bus);
    if (t->alias)
        buf_printf(out, ", alias \"%s\"", t->alias);
    if (t->desc)
        buf_printf(out, ", desc \"%s\"", t->desc);
    buf_printf(out, "\n");
}

static int by_type_name(const void *a, const void *b)
{
    return strcmp((*(const struct device_type *const *)a)->name,
                  (*(const struct device_type *const *)b)->name);
}

void device_print_help(struct buf *out)
{
    static const char *const headings[] = {
        "Controller/Bridge/Hub", "USB", "Storage", "Network", "Input", "Display", "Sound", "Misc"};
    VEC(const struct device_type *) types = {0};
    for (const struct device_type *const *t = device_types(); *t; t++)
        if ((*t)->user_creatable)
            vec_push(&types, *t);
    qsort(types.data, types.len, sizeof *types.data, by_type_name);
    const char *gap = "";
    for (unsigned i = 0; i < ARRAY_SIZE(headings); i++) {
        bool begun = false;
        for (size_t k = 0; k < types.len; k++) {
            const struct device_type *t = types.data[k];
            if (strcmp(t->category ? t->category : "Misc", headings[i]))
                continue;
            if (!begun)
                buf_printf(out, "%s%s devices:\n", gap, headings[i]);
            begun = true;
            gap = "\n";
            print_type_line(t, out);
        }
    }
    vec_free(&types);
}

static const char *kind_name(const struct field *f)
{
    static const char *const names[] = {
        [F_BOOL] = "bool",         [F_U8] = "uint8",         [F_U16] = "uint16",
        [F_U32] = "uint32",        [F_U64] = "uint64",       [F_STR] = "str",
        [F_ENUM] = "str",          [F_MAC] = "str",          [F_SIZE] = "size",
        [F_BACKEND_BLOCK] = "str", [F_BACKEND_NET] = "str",  [F_BACKEND_CHR] = "str",
        [F_BACKEND_OBJ] = "str",   [F_BACKEND_LOOP] = "str",
    };
    const char *n = f->kind < ARRAY_SIZE(names) ? names[f->kind] : NULL;
    return n ? n : "bytes";
}

static const char *kind_help(const struct field *f)
{
    switch ((enum field_kind)f->kind) {
    case F_BOOL:
        return "on/off";
    case F_MAC:
        return "Ethernet 6-byte MAC Address, example: 52:54:00:12:34:56";
    case F_BACKEND_BLOCK:
        return "Node name or ID of a block device to use as a backend";
    case F_BACKEND_NET:
        return "ID of a netdev to use as a backend";
    case F_BACKEND_CHR:
        return "ID of a chardev to use as a backend";
    default:
        return "";
    }
}

static void print_default(const struct field *f, struct buf *out)
{
    if (f->kind == F_BOOL)
        buf_printf(out, " (default: %s)", f->init ? "true" : "false");
    else if (f->kind == F_ENUM)
        buf_printf(out, " (default: \"%s\")", f->names[f->init]);
    else if (f->kind <= F_U64 || f->kind == F_SIZE)
        buf_printf(out, " (default: %" PRIu64 ")", f->init);
}

static void print_prop(const struct field *f, struct buf *out)
{
    struct buf name = {0}, about = {0};
    buf_printf(&name, "%s=<%s>", f->name, kind_name(f));
    buf_printf(&about, "%s", f->help ? f->help : kind_help(f));
    if (f->kind == F_ENUM && !f->help)
        for (unsigned i = 0; f->names[i]; i++)
            buf_printf(&about, "%s%s", i ? "/" : "", f->names[i]);
    print_default(f, &about);
    if (about.len)
        buf_printf(out, "  %-22s - %s\n", buf_str(&name), buf_str(&about));
    else
        buf_printf(out, "  %s\n", buf_str(&name));
    buf_free(&name);
    buf_free(&about);
}

struct prop_list {
    VEC(const struct field *) f;
};

static void collect(const struct device_type *t, struct prop_list *l)
{
    device_for_each_field(t, b, f) if (f->use & FIELD_PROP) vec_push(&l->f, f);
    if (t->inner)
        collect(t->inner, l);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct field *const *)a)->name, (*(const struct field *const *)b)->name);
}

void device_type_print_help(const struct device_type *t, struct buf *out)
{
    struct prop_list l = {0};
    collect(t, &l);
    qsort(l.f.data, l.f.len, sizeof *l.f.data, by_name);
    if (l.f.len)
        buf_printf(out, "%s options:\n", t->name);
    else
        buf_printf(out, "There are no options for %s.\n", t->name);
    for (size_t i = 0; i < l.f.len; i++)
        print_prop(l.f.data[i], out);
    vec_free(&l.f);
}

static void print_bus(struct bus *b, unsigned indent, struct buf *out);

static void print_device(struct device *d, unsigned indent, struct buf *out)
{
    buf_printf(out, "%*sdev: %s, id \"%s\"\n", indent, "", d->type->name, d->id ? d->id : "");
    device_for_each_field(d->type, b, f)
    {
        if (!(f->use & FIELD_PROP))
            continue;
        buf_printf(out, "%*s%s = ", indent + 2, "", f->name);
        device_get(d, f->name, out);
        buf_printf(out, "\n");
    }
    for (size_t i = 0; i < d->child_buses.len; i++)
        print_bus(d->child_buses.data[i], indent + 2, out);
}

static void print_bus(struct bus *b, unsigned indent, struct buf *out)
{
    buf_printf(out, "%*sbus: %s\n%*stype %s\n", indent, "", b->name, indent + 2, "", b->type->name);
    struct device *d;
    list_for_each(d, &b->devices, siblings) print_device(d, indent + 2, out);
}

void device_print_tree(struct device_tree *t, struct buf *out)
{
    buf_printf(out, "bus: main-system-bus\n  type System\n");
    for (size_t i = 0; i < t->devices.len; i++)
        if (!t->devices.data[i]->parent_bus)
            print_device(t->devices.data[i], 2, out);
    struct bus *b;
    list_for_each(b, &t->buses, link) if (!b->owner) print_bus(b, 0, out);
}
