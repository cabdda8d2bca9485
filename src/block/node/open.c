// Opening an image from options: its driver by name or by probing, its children, and the options
// that all nodes have.

#include "base/buf.h"
#include "base/log.h"
#include "block/node/node.h"
#include "block/node/throttle.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PROBE_BYTES = 2048, CHAIN_MAX = 200, DRIVERS_MAX = 32 };

static const struct block_driver *find_driver(const char *name, struct err *e)
{
    const struct block_driver *d = block_driver_find(name);
    if (d)
        return d;
    const char *names[DRIVERS_MAX + 1] = {0};
    for (unsigned i = 0; i < DRIVERS_MAX && (d = block_driver_at(i)); i++)
        names[i] = d->name;
    err_set(e, "unknown disk format '%s'", name);
    err_did_you_mean(e, name, names);
    return NULL;
}

// Moves the options that begin with "prefix." into `out`, without the prefix.
static void take_children(struct opts *o, const char *prefix, struct opts *out)
{
    size_t len = strlen(prefix);
    for (size_t i = 0; i < o->len; i++) {
        const char *key = o->data[i].key;
        if (strncmp(key, prefix, len) || key[len] != '.')
            continue;
        opts_set(out, key + len + 1, o->data[i].val);
        o->data[i].used = true;
    }
}

static void node_close(struct block_node **n)
{
    node_unref(*n);
    *n = NULL;
}

static struct block_node *find_named(struct drives *nodes, const char *name)
{
    return nodes ? drives_find_node(nodes, name) : NULL;
}

static bool same_engine(struct block_node *parent, struct block_node *child, struct err *e)
{
    if (child->eng == parent->eng)
        return true;
    err_set(e, "node '%s' belongs to another loop than its parent", child->node_name);
    return false;
}

struct block_node *node_open_name(struct block_node *parent, const char *filename,
                                  const char *format, const struct block_inherit *in, struct err *e)
{
    struct opts o = {0};
    if (!strncmp(filename, "json:", 5)) {
        if (opts_parse(&o, filename + 5, NULL, e)) {
            opts_free(&o);
            return NULL;
        }
    } else {
        opts_set(&o, "filename", filename);
    }
    if (format && !opts_has(&o, "driver"))
        opts_set(&o, "driver", format);
    struct block_node *n = node_open(&o, in, parent->nodes, parent->eng, e);
    if (n && opts_check_unused(&o, filename, n->drv->options, e))
        node_close(&n);
    opts_free(&o);
    return n;
}

struct block_node *node_open_child(struct block_node *n, struct opts *o, const char *key,
                                   const struct block_inherit *in, bool *found, struct err *e)
{
    *found = true;
    struct opts sub = {0};
    take_children(o, key, &sub);
    const char *value = opts_get(o, key);
    struct block_node *child = NULL;
    if (sub.len) {
        if (!strcmp(key, "file") && !opts_has(&sub, "driver"))
            opts_set(&sub, "driver", "file");
        child = node_open(&sub, in, n->nodes, n->eng, e);
        if (child && opts_check_unused(&sub, key, child->drv->options, e))
            node_close(&child);
    } else if (value && *value && strcmp(value, "null")) {
        child = find_named(n->nodes, value);
        if (child && !same_engine(n, child, e))
            child = NULL;
        else if (child)
            block_ref(child);
        else if (!strcmp(key, "file"))
            child = node_open_name(n, value, "file", in, e);
        else
            child = node_open_name(n, value, NULL, in, e);
    } else {
        *found = value;
    }
    opts_free(&sub);
    return child;
}

// A value that is none of those there are.
static int not_one_of(const char *key, const char *value, const char *const *names, struct err *e)
{
    struct buf all = {0};
    for (const char *const *n = names; *n; n++)
        buf_printf(&all, "%s%s", n == names ? "" : n[1] ? ", " : " or ", *n);
    err_set(e, "%s=%s: give %s", key, value, buf_str(&all));
    buf_free(&all);
    return -1;
}

static int read_cache_mode(struct block_node *n, struct opts *o, struct err *e)
{
    static const struct {
        const char *name;
        bool direct, no_flush, writethrough;
    } modes[] = {
        {"none", true, false, false},       {"off", true, false, false},
        {"writeback", false, false, false}, {"writethrough", false, false, true},
        {"directsync", true, false, true},  {"unsafe", false, true, false},
    };
    static const char *const names[] = {"none",       "off",    "writeback", "writethrough",
                                        "directsync", "unsafe", NULL};
    const char *mode = opts_get(o, "cache");
    bool known = !mode;
    for (unsigned i = 0; mode && i < ARRAY_SIZE(modes); i++) {
        if (strcmp(mode, modes[i].name))
            continue;
        known = true;
        n->in.direct = modes[i].direct;
        n->in.no_flush = modes[i].no_flush;
        n->writethrough = modes[i].writethrough;
    }
    if (!known)
        return not_one_of("cache", mode, names, e);
    bool writeback = !n->writethrough;
    if (opts_get_bool(o, "cache.direct", &n->in.direct, e) ||
        opts_get_bool(o, "cache.no-flush", &n->in.no_flush, e) ||
        opts_get_bool(o, "cache.writeback", &writeback, e))
        return -1;
    n->writethrough = !writeback;
    return 0;
}

static int read_choice(struct opts *o, const char *key, const char *const *names, int *out,
                       struct err *e)
{
    const char *v = opts_get(o, key);
    if (!v)
        return 0;
    for (int i = 0; names[i]; i++) {
        if (!strcmp(names[i], v)) {
            *out = i;
            return 0;
        }
    }
    return not_one_of(key, v, names, e);
}

static int read_common(struct block_node *n, struct opts *o, struct err *e)
{
    static const char *const aio[] = {"threads", "native", "io_uring", NULL};
    static const char *const discard[] = {"ignore", "off", "unmap", "on", NULL};
    static const char *const detect[] = {"off", "on", "unmap", NULL};
    int which_aio = -1, which_discard = n->in.discard_unmap ? 2 : 0, which_detect = 0;
    bool ignored;
    if (opts_get_bool(o, "readonly", &n->in.read_only, e) ||
        opts_get_bool(o, "read-only", &n->in.read_only, e) ||
        opts_get_bool(o, "auto-read-only", &n->in.auto_read_only, e) ||
        opts_get_bool(o, "force-share", &n->in.force_share, e) ||
        opts_get_bool(o, "copy-on-read", &ignored, e) || read_cache_mode(n, o, e) ||
        read_choice(o, "aio", aio, &which_aio, e) ||
        read_choice(o, "discard", discard, &which_discard, e) ||
        read_choice(o, "detect-zeroes", detect, &which_detect, e) ||
        throttle_from_opts(&n->throttle, o, e))
        return -1;
    n->in.auto_read_only &= !n->in.read_only;
    if (which_aio >= 0)
        snprintf(n->in.aio, sizeof n->in.aio, "%s", aio[which_aio]);
    n->in.discard_unmap = which_discard >= 2;
    n->detect_zeroes = (enum detect_zeroes)which_detect;
    const char *name = opts_get(o, "node-name");
    if (name && find_named(n->nodes, name))
        return err_set(e, "node name '%s' is taken", name);
    n->node_name = name ? xstrdup(name) : xasprintf("#block%p", (void *)n);
    return 0;
}

// The best guess for an image whose format was not stated.
static const struct block_driver *probe(struct block_node *file, struct err *e)
{
    uint8_t head[PROBE_BYTES] = {0};
    int r = node_read_buf(file, 0, head, sizeof head);
    if (r) {
        err_errno(e, -r, "cannot read the start of the image");
        return NULL;
    }
    const struct block_driver *best = block_driver_find("raw");
    int best_score = 0;
    const struct block_driver *d;
    for (unsigned i = 0; (d = block_driver_at(i)); i++) {
        const struct block_image_ops *ops = d->image;
        int score = ops && ops->probe ? ops->probe(head, sizeof head) : 0;
        if (score > best_score) {
            best = d;
            best_score = score;
        }
    }
    return best;
}

// "nbd:…", "file:…", "null-co://": the protocol a file name asks for, and what it leaves of it.
static const char *protocol_of(const char **filename)
{
    if (!strncmp(*filename, "file:", 5)) {
        *filename += 5;
        return "file";
    }
    if (!strncmp(*filename, "null-co://", 10))
        return "null-co";
    return NULL;
}

static int open_file_child(struct block_node *n, struct opts *o, struct err *e)
{
    struct block_inherit in = n->in;
    bool found;
    const char *filename = opts_get(o, "filename");
    if (filename) {
        const char *protocol = protocol_of(&filename);
        struct opts sub = {0};
        take_children(o, "file", &sub);
        if (protocol || !opts_has(&sub, "driver"))
            opts_set(&sub, "driver", protocol ?: "file");
        opts_set(&sub, "filename", filename);
        n->file = node_open(&sub, &in, n->nodes, n->eng, e);
        if (n->file && opts_check_unused(&sub, filename, n->file->drv->options, e))
            node_close(&n->file);
        opts_free(&sub);
        return n->file ? 0 : -1;
    }
    n->file = node_open_child(n, o, "file", &in, &found, e);
    if (n->file)
        return 0;
    return found ? -1 : err_set(e, "no file name given (file=PATH)");
}

static void warn_guessed(struct block_node *n)
{
    n->guessed_raw = true;
    log_warn("%s: no format given, taken as raw; say format=raw (or -f raw) to use it without "
             "limits on its first sector",
             n->filename);
}

static int open_driver(struct block_node *n, struct opts *o, struct err *e)
{
    const char *name = opts_get(o, "driver"), *format = opts_get(o, "format");
    struct err why = {0};
    name = name ?: format;
    if (name && !(n->drv = find_driver(name, e)))
        return -1;
    if (!n->drv || !n->drv->protocol) {
        if (open_file_child(n, o, e))
            return -1;
        if (!n->in.read_only && n->file->in.auto_read_only &&
            node_set_read_only(n->file, false, n->in.auto_read_only ? &why : e) &&
            !n->in.auto_read_only)
            return -1;
        n->in.read_only |= n->file->in.read_only;
        if (!n->filename)
            n->filename = xstrdup(n->file->filename);
    }
    if (!n->drv) {
        if (!(n->drv = probe(n->file, e)))
            return -1;
        if (!strcmp(n->drv->name, "raw") && !n->in.read_only && !n->in.for_check)
            warn_guessed(n);
    }
    if (node_start(n, o, e))
        return -1;
    if (!n->filename)
        n->filename = xasprintf("%s:%s", n->drv->name, n->file ? n->file->filename : "//");
    return 0;
}

struct block_node *node_open(struct opts *o, const struct block_inherit *in, struct drives *nodes,
                             struct engine *eng, struct err *e)
{
    if (in->depth > CHAIN_MAX) {
        err_set(e, "the backing chain is longer than %d images; does it contain a loop?",
                CHAIN_MAX);
        return NULL;
    }
    struct block_node *n = node_new(in, nodes, eng);
    const char *filename = opts_get(o, "filename");
    n->filename = filename ? xstrdup(filename) : NULL;
    if (read_common(n, o, e) || open_driver(n, o, e)) {
        node_free(n);
        return NULL;
    }
    return n;
}

struct open_call {
    struct drives *nodes;
    struct opts *o;
    const struct block_inherit *base;
    struct engine *eng;
    struct err *e;
    struct block_node *n;
    bool snapshot;
};

// "file" names the image here, unless it names a node.
static void open_entry(void *arg)
{
    struct open_call *c = arg;
    const char *file = opts_has(c->o, "file") ? opts_get(c->o, "file") : NULL;
    struct block_inherit in = c->base ? *c->base : (struct block_inherit){0};
    if (opts_get_bool(c->o, "snapshot", &c->snapshot, c->e))
        return;
    if (file && !find_named(c->nodes, file)) {
        if (!strncmp(file, "json:", 5)) {
            if (opts_parse(c->o, file + 5, NULL, c->e))
                return;
        } else {
            char *copy = xstrdup(file);
            opts_set(c->o, "filename", copy);
            free(copy);
        }
    }
    in.read_only |= c->snapshot;
    c->n = node_open(c->o, &in, c->nodes, c->eng, c->e);
    if (c->n && opts_check_unused(c->o, c->n->drv->name, c->n->drv->options, c->e))
        node_close(&c->n);
}

static const char *name_in_opts(struct opts *o)
{
    static const char *const keys[] = {"filename", "file.filename", "node-name"};
    const char *name = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(keys) && !name; i++)
        name = opts_get(o, keys[i]);
    return name;
}

struct block_node *node_open_root(struct opts *o, const struct block_inherit *base,
                                  struct drives *nodes, struct engine *eng, struct err *e)
{
    struct open_call c = {.nodes = nodes, .o = o, .base = base, .eng = eng, .e = e};
    engine_run(eng, open_entry, &c);
    if (c.n && c.snapshot)
        c.n = node_temp_overlay(c.n, e);
    const char *name = name_in_opts(o);
    if (!c.n && name)
        err_prefix(e, "%s", name);
    return c.n;
}

struct block_node *block_open(struct opts *o, struct loop *loop, struct err *e)
{
    struct engine *eng = engine_new(loop);
    struct block_node *n = node_open_root(o, NULL, NULL, eng, e);
    engine_unref(eng);
    return n;
}
