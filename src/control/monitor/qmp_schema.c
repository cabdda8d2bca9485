// QMP's types: checking arguments against them, and introspection (query-qmp-schema) in the terms
// of QEMU's documented schema: entities with a name and a meta-type. Type names are not part of the
// protocol's promises, so ours say what they are. What depends on which back ends there are (the
// branches of the unions) comes out of the back ends' own tables.
#include "control/monitor/qmp_schema.h"
#include "block/node/node.h"
#include "control/monitor/disks/transaction.h"
#include <stdio.h>

struct branch {
    const char *name;
    const char *members;     // beside the keys; may be NULL
    const char *const *keys; // NULL-terminated, or NULL
    bool wrapped;            // the keys are those of a member "data"
    const char *type;        // that member's type, instead
};
typedef bool branch_fn(unsigned i, struct branch *b);

static branch_fn blockdev_branch, chardev_branch, create_branch, netdev_branch, object_branch,
    transaction_branch;

static const struct type {
    const char *name;
    enum { T_ENUM, T_STRUCT, T_ALTERNATE, T_UNION } kind;
    const char *spec, *tag;
    branch_fn *branch;
} types[] = {
#define ENUM(n, values)              {#n, T_ENUM, values, NULL, NULL},
#define STRUCT(n, members)           {#n, T_STRUCT, members, NULL, NULL},
#define ALTERNATE(n, alternatives)   {#n, T_ALTERNATE, alternatives, NULL, NULL},
#define UNION(n, members, tag, list) {#n, T_UNION, members, tag, list},
#include "control/monitor/qmp_types.def"
#undef ENUM
#undef STRUCT
#undef ALTERNATE
#undef UNION
};

static const struct type *find_type(const char *name, size_t n)
{
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (!strncmp(types[i].name, name, n) && !types[i].name[n])
            return &types[i];
    return NULL;
}

// ---- branches: what there is to choose from ----

static bool blockdev_branch(unsigned i, struct branch *b)
{
    const struct block_driver *d = block_driver_at(i);
    if (!d)
        return false;
    *b = (struct branch){d->name, d->protocol ? NULL : "file:BlockdevRef", d->options, false};
    return true;
}

static bool create_branch(unsigned i, struct branch *b)
{
    static const struct branch kinds[] = {
        {"file", "filename:str size:int", NULL, false},
        {"qcow2",
         "file:str size:int version:BlockdevQcow2Version? backing-file:str? backing-fmt:str? "
         "cluster-size:int? lazy-refcounts:bool? refcount-bits:int? extended-l2:bool? "
         "compression-type:Qcow2CompressionType? data-file-raw:bool?",
         NULL, false},
        {"raw", "file:str size:int", NULL, false}};
    if (i < ARRAY_SIZE(kinds))
        *b = kinds[i];
    return i < ARRAY_SIZE(kinds);
}

static bool transaction_branch(unsigned i, struct branch *b)
{
    const struct action_type *t = action_type_at(i);
    if (!t)
        return false;
    *b = (struct branch){.name = t->name, .type = t->data};
    return true;
}

static bool chardev_branch(unsigned i, struct branch *b)
{
    b->name = chardev_type_at(i, &b->keys);
    b->wrapped = true;
    return b->name != NULL;
}

static bool netdev_branch(unsigned i, struct branch *b)
{
    const struct netdev_ops *ops = netdev_type_at(i);
    if (!ops)
        return false;
    *b = (struct branch){ops->name, NULL, ops->keys, false};
    return true;
}

static bool object_branch(unsigned i, struct branch *b)
{
    b->name = object_type_next(i);
    b->keys = b->name ? object_type_props(i) : NULL;
    return b->name != NULL;
}

// The type of a back end's key; most are taken in any form.
static const char *key_type(const char *key)
{
    static const char *const known[][2] = {{"aio", "BlockdevAioOptions"},
                                           {"backing", "BlockdevRef"},
                                           {"data-file", "BlockdevRef"},
                                           {"filename", "str"}};
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (!strcmp(known[i][0], key))
            return known[i][1];
    return "any";
}

// ---- walking a member list ----

struct member {
    const char *name, *type;
    size_t name_len, type_len;
    bool optional;
};

// The member at *list, which then begins at the next one; false at the end or at "*".
static bool next_member(const char **list, struct member *m)
{
    const char *p = *list, *colon, *end;
    if (!p || !*p || *p == '*')
        return false;
    colon = strchr(p, ':');
    end = colon + strcspn(colon, " ");
    *m = (struct member){.name = p, .name_len = (size_t)(colon - p), .type = colon + 1};
    m->type_len = (size_t)(end - colon - 1);
    m->optional = m->type[m->type_len - 1] == '?';
    m->type_len -= m->optional;
    *list = *end ? end + 1 : end;
    return true;
}

// A list that is the name of a type stands for its members; *open: others are admitted.
static const char *resolve(const char *list, bool *open)
{
    const struct type *t = strchr(list, ':') ? NULL : find_type(list, strlen(list));
    size_t n = strlen(list);
    *open = (t && t->kind == T_UNION) || (n && list[n - 1] == '*');
    return t ? t->spec : list;
}

// ---- checking ----

static bool in_words(const char *words, const char *s)
{
    size_t n = strlen(s);
    for (const char *p = words; n && p;) {
        if (!strncmp(p, s, n) && (!p[n] || p[n] == ' '))
            return true;
        p = strchr(p, ' ');
        p = p ? p + 1 : NULL;
    }
    return false;
}

static bool is(const struct member *m, const char *type)
{
    return strlen(type) == m->type_len && !strncmp(m->type, type, m->type_len);
}

static bool fits(const struct member *m, struct json_object *v, struct qmp_error *e)
{
    enum json_type have = json_object_get_type(v);
    const struct type *t = find_type(m->type, m->type_len);
    bool ok = true;
    if (is(m, "str") || (t && t->kind == T_ENUM))
        ok = have == json_type_string;
    else if (is(m, "int"))
        ok = have == json_type_int;
    else if (is(m, "bool"))
        ok = have == json_type_boolean;
    else if (*m->type == '[')
        ok = have == json_type_array;
    else if (t && t->kind != T_ALTERNATE)
        ok = have == json_type_object;
    if (!ok) {
        qmp_fail(e, "GenericError", "Invalid parameter type for '%.*s', expected: %.*s",
                 (int)m->name_len, m->name, (int)m->type_len, m->type);
        return false;
    }
    if (t && t->kind == T_ENUM && !in_words(t->spec, json_object_get_string(v))) {
        qmp_fail(e, "GenericError", "Parameter '%.*s' does not accept value '%.60s' (one of: %s)",
                 (int)m->name_len, m->name, json_object_get_string(v), t->spec);
        return false;
    }
    return true;
}

static bool listed(const char *list, const char *key)
{
    struct member m;
    while (next_member(&list, &m))
        if (strlen(key) == m.name_len && !strncmp(m.name, key, m.name_len))
            return true;
    return false;
}

bool qmp_check_members(const char *list, struct json_object *args, struct qmp_error *e)
{
    bool open;
    const char *all = resolve(list, &open);
    struct member m;
    for (const char *p = all; next_member(&p, &m);) {
        char key[64];
        struct json_object *v = NULL;
        snprintf(key, sizeof key, "%.*s", (int)m.name_len, m.name);
        if (args && json_object_object_get_ex(args, key, &v)) {
            if (!fits(&m, v, e))
                return false;
        } else if (!m.optional) {
            qmp_fail(e, "GenericError", "Parameter '%s' is missing", key);
            return false;
        }
    }
    if (!args || open)
        return true;
    json_object_object_foreach(args, key, val)
    {
        (void)val;
        if (!listed(all, key)) {
            qmp_fail(e, "GenericError", "Parameter '%s' is unexpected", key);
            return false;
        }
    }
    return true;
}

// ---- introspection ----

struct schema {
    struct json_object *all;
    struct json_object *seen; // names of types already there
};

static struct json_object *entity(struct schema *s, const char *name, const char *meta)
{
    struct json_object *o = json_object_new_object();
    put_str(o, "name", name);
    put_str(o, "meta-type", meta);
    json_object_array_add(s->all, o);
    return o;
}

// True the first time a name comes up.
static bool fresh(struct schema *s, const char *name)
{
    if (json_object_object_get_ex(s->seen, name, NULL))
        return false;
    json_object_object_add(s->seen, name, json_object_new_boolean(true));
    return true;
}

static void want_type(struct schema *s, const char *name);

static void add_member(struct schema *s, struct json_object *members, const char *name,
                       const char *type, bool optional)
{
    struct json_object *f = json_object_new_object();
    put_str(f, "name", name);
    put_str(f, "type", type);
    if (optional)
        json_object_object_add(f, "default", NULL);
    json_object_array_add(members, f);
    want_type(s, type);
}

// The members of `list`; one called `tag` gets the type `tag_type` instead.
static void add_members(struct schema *s, struct json_object *members, const char *list,
                        const char *tag, const char *tag_type)
{
    struct member m;
    while (next_member(&list, &m)) {
        char name[64], type[64];
        snprintf(name, sizeof name, "%.*s", (int)m.name_len, m.name);
        snprintf(type, sizeof type, "%.*s", (int)m.type_len, m.type);
        add_member(s, members, name, tag && !strcmp(tag, name) ? tag_type : type, m.optional);
    }
}

static void add_object(struct schema *s, const char *name, const char *list,
                       const char *const *keys)
{
    struct json_object *o = entity(s, name, "object"), *members = json_object_new_array();
    json_object_object_add(o, "members", members);
    add_members(s, members, list, NULL, NULL);
    for (; keys && *keys; keys++)
        if (strcmp(*keys, "id") && strcmp(*keys, "qom-type") && strcmp(*keys, "type"))
            add_member(s, members, *keys, key_type(*keys), true);
}

static void add_words(struct schema *s, const struct type *t)
{
    bool is_enum = t->kind == T_ENUM;
    struct json_object *o = entity(s, t->name, is_enum ? "enum" : "alternate"),
                       *members = json_object_new_array(), *values = json_object_new_array();
    for (const char *p = t->spec; *p;) {
        size_t n = strcspn(p, " ");
        char word[64];
        struct json_object *m = json_object_new_object();
        snprintf(word, sizeof word, "%.*s", (int)n, p);
        put_str(m, is_enum ? "name" : "type", word);
        json_object_array_add(members, m);
        json_object_array_add(values, json_object_new_string(word));
        if (!is_enum)
            want_type(s, word);
        p += n + (p[n] == ' ');
    }
    json_object_object_add(o, "members", members);
    if (is_enum)
        json_object_object_add(o, "values", values);
    else
        json_object_put(values);
}

static void add_union(struct schema *s, const struct type *t)
{
    char tag_type[80], type[128], data[160];
    snprintf(tag_type, sizeof tag_type, "%s-%s", t->name, t->tag);
    struct json_object *o = entity(s, t->name, "object"), *members = json_object_new_array(),
                       *variants = json_object_new_array(), *tags = entity(s, tag_type, "enum"),
                       *names = json_object_new_array(), *values = json_object_new_array();
    fresh(s, tag_type);
    json_object_object_add(o, "members", members);
    add_members(s, members, t->spec, t->tag, tag_type);
    struct branch b = {0};
    for (unsigned i = 0; t->branch(i, &b); i++, b = (struct branch){0}) {
        struct json_object *v = json_object_new_object(), *n = json_object_new_object();
        snprintf(type, sizeof type, "%s-%s", t->name, b.name);
        snprintf(data, sizeof data, "data:%s-data", type);
        put_str(v, "case", b.name);
        put_str(v, "type", type);
        put_str(n, "name", b.name);
        json_object_array_add(names, n);
        json_object_array_add(values, json_object_new_string(b.name));
        json_object_array_add(variants, v);
        if (b.wrapped && fresh(s, data + 5))
            add_object(s, data + 5, "", b.keys);
        if (b.type)
            snprintf(data, sizeof data, "data:%s", b.type);
        add_object(s, type, b.wrapped || b.type ? data : b.members, b.wrapped ? NULL : b.keys);
    }
    put_str(o, "tag", t->tag);
    json_object_object_add(o, "variants", variants);
    json_object_object_add(tags, "members", names);
    json_object_object_add(tags, "values", values);
}

static void want_type(struct schema *s, const char *name)
{
    static const char *const builtin[][2] = {
        {"str", "string"}, {"int", "int"}, {"bool", "boolean"}, {"null", "null"}, {"any", "value"}};
    if (!fresh(s, name))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(builtin); i++)
        if (!strcmp(builtin[i][0], name))
            put_str(entity(s, name, "builtin"), "json-type", builtin[i][1]);
    if (*name == '[') {
        char element[64];
        snprintf(element, sizeof element, "%.*s", (int)strlen(name) - 2, name + 1);
        put_str(entity(s, name, "array"), "element-type", element);
        want_type(s, element);
    }
    const struct type *t = find_type(name, strlen(name));
    if (t && t->kind == T_UNION)
        add_union(s, t);
    else if (t && t->kind == T_STRUCT)
        add_object(s, t->name, t->spec, NULL);
    else if (t)
        add_words(s, t);
}

// Behaviour that clients cannot see in names and types.
static void add_features(struct json_object *command, const char *name)
{
    static const char *const features[][2] = {{"device_add", "json-cli"},
                                              {"device_add", "json-cli-hotplug"},
                                              {"blockdev-snapshot", "allow-write-only-overlay"}};
    struct json_object *list = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
        if (strcmp(features[i][0], name))
            continue;
        if (!list)
            json_object_object_add(command, "features", list = json_object_new_array());
        json_object_array_add(list, json_object_new_string(features[i][1]));
    }
}

// The name of the type that `list` is, made up from `owner` when it has none.
static void arg_type(struct schema *s, struct json_object *o, const char *owner, const char *list)
{
    char type[96] = "empty";
    if (*list && !strchr(list, ':')) {
        snprintf(type, sizeof type, "%s", list);
        want_type(s, type);
    } else if (*list) {
        snprintf(type, sizeof type, "%s-arg", owner);
        add_object(s, type, list, NULL);
    }
    put_str(o, "arg-type", type);
}

RUN(query_schema)
{
    static const struct {
        const char *name, *members;
    } events[] = {
#define EVENT(n, m) {n, m},
#include "control/monitor/qmp_events.def"
#undef EVENT
    };
    struct schema s = {json_object_new_array(), json_object_new_object()};
    add_object(&s, "empty", "", NULL);
    for (size_t i = 0; i < n_qmp_commands; i++) {
        const struct qmp_command *c = &qmp_commands[i];
        struct json_object *o = entity(&s, c->name, "command");
        arg_type(&s, o, c->name, c->args);
        put_str(o, "ret-type", c->ret ? c->ret : "empty");
        if (c->ret)
            want_type(&s, c->ret);
        add_features(o, c->name);
    }
    for (size_t i = 0; i < ARRAY_SIZE(events); i++)
        arg_type(&s, entity(&s, events[i].name, "event"), events[i].name, events[i].members);
    json_object_put(s.seen);
    return s.all;
}
