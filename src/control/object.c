// The object types this program knows. Entropy sources are opened here and I/O threads started;
// memory back ends say what the machine's RAM is to be made of (other hints than share and prealloc
// are taken and change nothing). An I/O thread waits in its loop: the properties about polling
// without sleep are taken and change nothing.
#include "control/object.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/loop.h"
#include "device/virtio/rng_source.h"

struct object_type {
    const char *name;
    const char *const *props; // NULL-terminated; others are refused
    int (*make)(struct object *obj, struct opts *o, struct err *e); // or NULL
    void (*end)(struct object *obj);
};

static int make_rng_random(struct object *obj, struct opts *o, struct err *e)
{
    const char *file = opts_get(o, "filename");
    obj->backend = rng_source_open(file ? file : "/dev/urandom", e);
    return obj->backend ? 0 : -1;
}

static int make_rng_builtin(struct object *obj, struct opts *o, struct err *e)
{
    obj->backend = rng_source_open(NULL, e);
    return obj->backend ? 0 : -1;
}

static void end_rng(struct object *obj)
{
    rng_source_close(obj->backend);
}

static int make_iothread(struct object *obj, struct opts *o, struct err *e)
{
    char name[16];
    snprintf(name, sizeof name, "IO %.12s", opts_get(o, "id"));
    obj->backend = loop_new(name);
    loop_start_thread(obj->backend);
    return 0;
}

static void end_iothread(struct object *obj)
{
    loop_stop_thread(obj->backend);
    loop_free(obj->backend);
}

static int make_backend(struct object *obj, struct opts *o, bool shared, struct err *e)
{
    struct memory_backend *b = xalloc(sizeof *b);
    const char *path = opts_get(o, "mem-path");
    obj->backend = b;
    b->source = (struct hostmem_source){.shared = shared};
    if (!opts_has(o, "size"))
        return err_set(e, "give it a size=");
    if (opts_get_size(o, "size", &b->size, 1, e) ||
        opts_get_bool(o, "share", &b->source.shared, e) ||
        opts_get_bool(o, "prealloc", &b->source.fill, e))
        return -1;
    if (path)
        b->source.path = b->path = xstrdup(path);
    return 0;
}

static int make_memory(struct object *obj, struct opts *o, struct err *e)
{
    return make_backend(obj, o, false, e);
}

static int make_memfd(struct object *obj, struct opts *o, struct err *e)
{
    bool huge = false;
    if (opts_get_bool(o, "hugetlb", &huge, e))
        return -1;
    if (huge)
        return err_set(e, "hugetlb=on is not supported; use memory-backend-file with a mem-path "
                          "where huge pages are mounted");
    return make_backend(obj, o, true, e);
}

static int make_file(struct object *obj, struct opts *o, struct err *e)
{
    bool readonly = false;
    uint64_t offset = 0;
    if (opts_get_bool(o, "readonly", &readonly, e) || opts_get_size(o, "offset", &offset, 1, e))
        return -1;
    if (readonly || offset)
        return err_set(e, "readonly= and offset= are not supported");
    return opts_has(o, "mem-path") ? make_backend(obj, o, false, e)
                                   : err_set(e, "give it a mem-path=");
}

static void end_memory(struct object *obj)
{
    struct memory_backend *b = obj->backend;
    if (b)
        free(b->path);
    free(b);
}

static int make_secret(struct object *obj, struct opts *o, struct err *e)
{
    if (opts_has(o, "data") == opts_has(o, "file"))
        return err_set(e, "give it either data= or file=");
    return 0;
}

#define PROPS(name, ...) static const char *const name[] = {__VA_ARGS__, "id", "qom-type", NULL}
PROPS(iothread_props, "poll-max-ns", "poll-grow", "poll-shrink", "aio-max-batch", "thread-pool-min",
      "thread-pool-max");
PROPS(memory_props, "size", "share", "prealloc", "prealloc-threads", "merge", "dump", "host-nodes",
      "policy", "reserve", "x-use-canonical-path-for-ramblock-id");
PROPS(memfd_props, "size", "share", "prealloc", "prealloc-threads", "merge", "dump", "host-nodes",
      "policy", "reserve", "seal", "hugetlb", "hugetlbsize",
      "x-use-canonical-path-for-ramblock-id");
PROPS(file_props, "size", "share", "prealloc", "prealloc-threads", "merge", "dump", "host-nodes",
      "policy", "reserve", "mem-path", "align", "discard-data", "pmem", "readonly", "offset",
      "x-use-canonical-path-for-ramblock-id");
PROPS(rng_props, "filename");
PROPS(secret_props, "data", "file", "format", "keyid", "iv");
static const char *const no_props[] = {"id", "qom-type", NULL};

static const struct object_type types[] = {
    {"iothread", iothread_props, make_iothread, end_iothread},
    {"memory-backend-file", file_props, make_file, end_memory},
    {"memory-backend-memfd", memfd_props, make_memfd, end_memory},
    {"memory-backend-ram", memory_props, make_memory, end_memory},
    {"rng-builtin", no_props, make_rng_builtin, end_rng},
    {"rng-random", rng_props, make_rng_random, end_rng},
    {"secret", secret_props, make_secret, NULL},
};

const char *object_type_next(unsigned i)
{
    return i < ARRAY_SIZE(types) ? types[i].name : NULL;
}

const char *const *object_type_props(unsigned i)
{
    return types[i].props;
}

const char *object_type_name(const struct object *o)
{
    return o->type->name;
}

struct memory_backend *object_memory(const struct object *o)
{
    return o->type->end == end_memory ? o->backend : NULL;
}

bool object_is_iothread(const struct object *o)
{
    return o->type->make == make_iothread;
}

void object_print_help(struct buf *out)
{
    buf_printf(out, "List of user creatable objects:\n");
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        buf_printf(out, "  %s\n", types[i].name);
}

struct object *object_find(object_list *l, const char *id)
{
    for (size_t i = 0; i < l->len; i++)
        if (!strcmp(l->data[i].id, id))
            return &l->data[i];
    return NULL;
}

static const struct object_type *find_type(const char *name, struct err *e)
{
    const char *names[ARRAY_SIZE(types) + 1];
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (!strcmp(types[i].name, name))
            return &types[i];
        names[i] = types[i].name;
    }
    names[ARRAY_SIZE(types)] = NULL;
    err_set(e, "'%s' is not an object type this program has (-object help lists them)", name);
    err_did_you_mean(e, name, names);
    return NULL;
}

// Repeats a list property's elements ("host-nodes.0") under its own name for the check.
static void note_lists(struct opts *o)
{
    for (size_t i = 0; i < o->len; i++)
        if (!strncmp(o->data[i].key, "host-nodes.", 11))
            o->data[i].used = true;
}

int object_add(object_list *l, struct opts *o, struct err *e)
{
    const char *name = opts_get(o, "qom-type"), *id = opts_get(o, "id");
    const struct object_type *t = find_type(name ? name : "", e);
    if (!t)
        return -1;
    if (!id)
        return err_set(e, "%s: give it an id=", t->name);
    if (object_find(l, id))
        return err_set(e, "attempt to add duplicate property '%s' to object (type 'container')",
                       id);
    for (const char *const *p = t->props; *p; p++)
        opts_get(o, *p);
    note_lists(o);
    struct object obj = {.type = t};
    if (opts_check_unused(o, t->name, t->props, e))
        return -1;
    if (t->make && t->make(&obj, o, e)) {
        if (t->end == end_memory)
            end_memory(&obj);
        return err_prefix(e, "%s '%s'", t->name, id);
    }
    obj.id = xstrdup(id);
    vec_push(l, obj);
    return 0;
}

static void end(struct object *obj)
{
    if (obj->type->end)
        obj->type->end(obj);
    free(obj->id);
}

int object_del(object_list *l, const char *id, struct err *e)
{
    struct object *obj = object_find(l, id);
    if (!obj)
        return err_set(e, "object '%s' not found", id);
    end(obj);
    vec_remove(l, (size_t)(obj - l->data));
    return 0;
}

void object_free_all(object_list *l)
{
    for (size_t i = 0; i < l->len; i++)
        end(&l->data[i]);
    vec_free(l);
}
