// qemu-img commit and rebase: moving data between an overlay and what stands below it.

#include "block/copy.h"
#include "control/img/img.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

struct progress {
    const struct img_args *a;
    uint64_t all;
};

static bool show(void *opaque, uint64_t done)
{
    struct progress *p = opaque;
    img_progress(p->a, done, p->all);
    return true;
}

// The layer of n's chain that has this name (as stored or as resolved); NULL: none.
static struct block_node *find_layer(struct block_node *n, const char *name)
{
    char *path = node_resolve_name(n->filename, name);
    struct block_node *layer = block_backing(n);
    while (layer && strcmp(layer->filename ?: "", name) && strcmp(layer->filename ?: "", path))
        layer = block_backing(layer);
    free(path);
    return layer;
}

static int copy_down(const struct img_args *a, struct block_node *top, struct block_node *layer)
{
    struct err e = {0};
    struct img_args base_args = {.cache = a->cache};
    struct block_node *base =
        img_open(&base_args, layer->filename, block_driver_name(layer), 0, top);
    if (!base)
        return 1;
    int r = 0;
    if (block_size(base) < block_size(top) && block_resize(base, block_size(top), &e))
        r = img_fail(&e);
    struct progress p = {a, block_size(top)};
    struct block_copy copy = {.src = top,
                              .dst = base,
                              .bytes = block_size(top),
                              .base = layer,
                              .allocated_only = true,
                              .sparse = 64 * KiB,
                              .progress = show,
                              .opaque = &p};
    if (!r) {
        int ret = block_copy(&copy) ?: block_flush(base);
        if (ret)
            r = img_usage("cannot commit to %s: %s", layer->filename, strerror(-ret));
    }
    block_unref(base);
    return r;
}

static int empty(const struct img_args *a, const char *name, const char *format)
{
    struct block_node *n = img_open(a, name, format, IMAGE_NO_BACKING, NULL);
    if (!n)
        return 1;
    struct err e = {0};
    int r = image_discard_all(n, &e) ? img_fail(&e) : 0;
    block_unref(n);
    return r;
}

int img_commit(int argc, char **argv)
{
    static const struct option longs[] = {IMG_COMMON_LONG, {0}};
    struct img_args a = {0};
    const char *base = NULL;
    bool keep = false;
    int opt, r = 0;
    while (!r && (opt = getopt_long(argc, argv, "b:df:pqr:t:U", longs, NULL)) != -1) {
        if (opt == 'b')
            base = optarg;
        else if (opt == 'd')
            keep = true;
        else if (opt != 'r')
            r = img_common(&a, opt, optarg);
    }
    if (r || optind != argc - 1)
        return r ?: img_usage("commit: Expecting one image file name");
    const char *name = argv[optind];
    struct img_args src = a;
    src.share = true; // the base is opened a second time, for writing
    struct block_node *top = img_open(&src, name, a.format, IMAGE_READ_ONLY, NULL);
    if (!top)
        return 1;
    struct block_node *layer = base ? find_layer(top, base) : block_backing(top);
    if (!layer)
        r = base ? img_usage("Did not find '%s' in the backing chain of '%s'", base, name)
                 : img_usage("Image '%s' does not have a backing file", name);
    bool direct = layer && layer == block_backing(top);
    r = r ?: copy_down(&a, top, layer);
    block_unref(top);
    if (!r && direct && !keep)
        r = empty(&a, name, a.format ?: "qcow2");
    if (!r) {
        img_progress_end(&a);
        if (!a.quiet)
            printf("Image committed.\n");
    }
    return r;
}

struct rebase {
    struct img_args a;
    const char *base, *base_format;
    struct block_node *top, *below;
    char *now, *then; // one piece as it reads with the old and with the new backing file
};

enum { PIECE = 1 << 20 };

static int read_below(struct block_node *n, uint64_t off, char *buf, size_t len)
{
    uint64_t size = n ? block_size(n) : 0;
    size_t have = off < size ? MIN((uint64_t)len, size - off) : 0;
    memset(buf + have, 0, len - have);
    return have ? block_pread(n, off, buf, have) : 0;
}

// Copies into the overlay what it would else read differently.
static int keep_content(struct rebase *r)
{
    uint64_t size = block_size(r->top);
    for (uint64_t off = 0; off < size;) {
        struct block_extent x;
        unsigned depth;
        uint64_t len = MIN(size - off, (uint64_t)PIECE);
        int ret = image_status(r->top, off, len, &x, &depth);
        if (ret)
            return ret;
        len = MIN(len, x.bytes);
        bool own = depth == 0 && x.allocated;
        if (!own)
            ret = block_pread(r->top, off, r->now, len) ?: read_below(r->below, off, r->then, len);
        if (!ret && !own && memcmp(r->now, r->then, len))
            ret = block_pwrite(r->top, off, r->now, len);
        if (ret)
            return ret;
        off += len;
        img_progress(&r->a, off, size);
    }
    return block_flush(r->top);
}

static int rebase_safely(struct rebase *r)
{
    if (*r->base) {
        char *path = node_resolve_name(r->top->filename, r->base);
        struct img_args below = {.src_cache = r->a.src_cache, .share = true};
        r->below = img_open(&below, path, r->base_format, IMAGE_READ_ONLY, NULL);
        free(path);
        if (!r->below)
            return 1;
    }
    r->now = xalloc(PIECE);
    r->then = xalloc(PIECE);
    int ret = keep_content(r);
    if (ret)
        return img_usage("cannot rebase: %s", strerror(-ret));
    img_progress_end(&r->a);
    return 0;
}

int img_rebase(int argc, char **argv)
{
    static const struct option longs[] = {IMG_COMMON_LONG, {0}};
    struct rebase r = {0};
    struct err e = {0};
    bool unsafe = false;
    int opt, ret = 0;
    while (!ret && (opt = getopt_long(argc, argv, "b:F:f:pqt:T:uU", longs, NULL)) != -1) {
        if (opt == 'b')
            r.base = optarg;
        else if (opt == 'F')
            r.base_format = optarg;
        else if (opt == 'u')
            unsafe = true;
        else
            ret = img_common(&r.a, opt, optarg);
    }
    if (ret || optind != argc - 1)
        return ret ?: img_usage("rebase: Expecting one image file name");
    if (!r.base)
        return img_usage("rebase: Use -b to give the new backing file (\"\" for none)");
    r.top = img_open(&r.a, argv[optind], r.a.format, unsafe ? IMAGE_NO_BACKING : 0, NULL);
    if (!r.top)
        return 1;
    ret = unsafe ? 0 : rebase_safely(&r);
    if (!ret && image_set_backing(r.top, *r.base ? r.base : NULL, r.base_format, &e))
        ret = img_fail(&e);
    block_unref(r.below);
    block_unref(r.top);
    free(r.now);
    free(r.then);
    return ret;
}
