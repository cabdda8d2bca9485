// qemu-img convert: copies one or several images into a new (or with -n an existing) one.

#include "block/copy.h"
#include "control/img/img.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum { SOURCES_MAX = 64, WORKERS_MAX = 16 };

struct convert {
    struct img_args a;
    const char *dst_format, *backing, *backing_format, *dst, *snapshot;
    struct opts opts;
    bool compress, no_create, target_is_zero, salvage, help;
    uint64_t sparse, workers, total, before; // before: bytes of the sources that are done
    struct block_node *src[SOURCES_MAX], *out;
    unsigned n_src;
};

static bool show_progress(void *opaque, uint64_t done)
{
    struct convert *c = opaque;
    img_progress(&c->a, c->before + done, c->total);
    return true;
}

// "-l snapshot.name=X", "-l snapshot.id=X" or plain "-l X".
static int read_snapshot(struct convert *c, char *text)
{
    char *eq = strncmp(text, "snapshot.", 9) ? NULL : strchr(text, '=');
    c->snapshot = eq ? eq + 1 : text;
    return 0;
}

static int take_option(struct convert *c, int opt, char *arg)
{
    struct err e = {0};
    switch (opt) {
    case 'O':
        c->dst_format = arg;
        return 0;
    case 'B':
        c->backing = arg;
        return 0;
    case 'F':
        c->backing_format = arg;
        return 0;
    case 'c':
        c->compress = true;
        return 0;
    case 'n':
        c->no_create = true;
        return 0;
    case 'l':
        return read_snapshot(c, arg);
    case 'W': // order is never kept
    case 'C': // copy offloading: the plain way is as correct
    case 'r':
        return 0;
    case 'o':
        c->help |= img_asks_for_options(arg);
        return c->help ? 0 : opts_parse(&c->opts, arg, NULL, &e) ? img_fail(&e) : 0;
    case 'S':
        return img_parse_size(arg, &c->sparse, "buffer size for sparse output");
    case 'm':
        if (parse_u64(arg, &c->workers) || !c->workers || c->workers > WORKERS_MAX)
            return img_usage("convert: -m %s: allowed is 1 to %d", arg, WORKERS_MAX);
        return 0;
    default:
        return img_common(&c->a, opt, arg);
    }
}

static int open_sources(struct convert *c, char **names, int count)
{
    if (count > SOURCES_MAX)
        return img_usage("convert: at most %d source images", SOURCES_MAX);
    for (int i = 0; i < count; i++) {
        struct err e = {0};
        struct opts o = {0};
        if (c->snapshot) {
            opts_set(&o, "file", names[i]);
            opts_set(&o, "driver", c->a.format ?: "qcow2");
            opts_set(&o, "load-snapshot", c->snapshot);
            c->src[i] = image_open(&o, IMAGE_READ_ONLY, c->src[0], &e);
            opts_free(&o);
            if (!c->src[i])
                return img_fail(&e);
        } else {
            c->src[i] = img_open(&c->a, names[i], c->a.format, IMAGE_READ_ONLY, c->src[0]);
        }
        if (!c->src[i])
            return 1;
        c->n_src++;
        c->total += block_size(c->src[i]);
    }
    return 0;
}

static int make_target(struct convert *c)
{
    struct err e = {0};
    struct img_args out = {.cache = c->a.cache ?: "unsafe"};
    const char *backing = opts_get(&c->opts, "backing_file");
    const char *backing_format = opts_get(&c->opts, "backing_fmt");
    c->backing = backing ?: c->backing;
    struct block_create create = {.size = c->total,
                                  .opts = &c->opts,
                                  .backing_name = c->backing,
                                  .backing_format = backing_format ?: c->backing_format};
    if (c->backing && c->n_src > 1)
        return img_usage("convert: Having a backing file for the target makes no sense when "
                         "concatenating multiple input images");
    if (c->backing && !create.backing_format)
        return img_usage("convert: backing file specified without backing format; add -F FORMAT");
    if (!c->no_create && image_create(c->dst_format, c->dst, &create, &e)) {
        err_prefix(&e, "%s: error while converting %s", c->dst, c->dst_format);
        return img_fail(&e);
    }
    c->out = img_open(&out, c->dst, c->dst_format, c->backing ? 0 : IMAGE_NO_BACKING, c->src[0]);
    if (!c->out)
        return 1;
    if (block_size(c->out) < c->total)
        return img_usage("%s: the target is smaller than the source (%llu < %llu bytes)", c->dst,
                         (unsigned long long)block_size(c->out), (unsigned long long)c->total);
    return 0;
}

static int copy_all(struct convert *c)
{
    struct block_facts f;
    image_facts(c->out, &f);
    if (c->compress && !f.cluster_size)
        return img_usage("Compression not supported for this file format");
    bool created = !c->no_create && !c->backing && strcmp(c->out->drv->name, "host_device");
    for (unsigned i = 0; i < c->n_src; i++) {
        struct block_copy copy = {.src = c->src[i],
                                  .dst = c->out,
                                  .dst_offset = c->before,
                                  .bytes = block_size(c->src[i]),
                                  .workers = (unsigned)c->workers,
                                  .chunk = c->compress ? f.cluster_size : 0,
                                  .sparse = c->sparse,
                                  .dst_reads_zero = created || c->target_is_zero,
                                  .allocated_only = c->backing,
                                  .base = c->backing ? block_backing(c->src[i]) : NULL,
                                  .compress = c->compress,
                                  .salvage = c->salvage,
                                  .progress = show_progress,
                                  .opaque = c};
        // Whole clusters are taken anyway; finding shorter holes would only cut up the requests.
        if (copy.sparse && f.cluster_size)
            copy.sparse = MAX(copy.sparse, MIN(f.cluster_size, 64 * KiB));
        int r = block_copy(&copy);
        if (r) {
            struct err e = {0};
            err_errno(&e, -r, "error while copying %s to %s", block_filename(c->src[i]), c->dst);
            return img_fail(&e);
        }
        c->before += block_size(c->src[i]);
    }
    int r = block_flush(c->out);
    if (r)
        return img_usage("%s: cannot write the image: %s", c->dst, strerror(-r));
    img_progress_end(&c->a);
    return 0;
}

int img_convert(int argc, char **argv)
{
    enum { OPT_ZERO = OPT_FIRST_OWN, OPT_SALVAGE };
    static const struct option longs[] = {IMG_COMMON_LONG,
                                          {"target-is-zero", no_argument, NULL, OPT_ZERO},
                                          {"salvage", no_argument, NULL, OPT_SALVAGE},
                                          {0}};
    struct convert c = {.dst_format = "raw", .sparse = 4096};
    int opt, r = 0;
    while (!r &&
           (opt = getopt_long(argc, argv, "B:CF:O:S:T:Wcf:l:m:no:pqr:t:U", longs, NULL)) != -1) {
        if (opt == OPT_ZERO)
            c.target_is_zero = true;
        else if (opt == OPT_SALVAGE)
            c.salvage = true;
        else
            r = take_option(&c, opt, optarg);
    }
    if (!r && c.help)
        return img_print_options(c.dst_format);
    if (!r && argc - optind < 2)
        r = img_usage("convert: Must specify image file name");
    if (!r && c.target_is_zero && !c.no_create)
        r = img_usage("--target-is-zero requires use of -n flag");
    if (!r) {
        c.dst = argv[argc - 1];
        r = open_sources(&c, argv + optind, argc - 1 - optind) ?: make_target(&c) ?: copy_all(&c);
    }
    block_unref(c.out);
    for (unsigned i = c.n_src; i-- > 0;)
        block_unref(c.src[i]);
    opts_free(&c.opts);
    return r;
}
