// qemu-img create, measure: images that do not exist yet.

#include "control/img/img.h"
#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// The size of the backing file, and its format when the user did not say. -1 after an error.
static int ask_backing(const char *image, const char *name, const char *format, uint64_t *size)
{
    struct img_args a = {.format = format, .share = true};
    char *path = strncmp(name, "json:", 5) ? node_resolve_name(image, name) : xstrdup(name);
    struct block_node *n = img_open(&a, path, format, IMAGE_READ_ONLY, NULL);
    free(path);
    if (!n)
        return -1;
    *size = block_size(n);
    block_unref(n);
    return 0;
}

static void describe(const char *format, const char *file, const struct block_create *c,
                     const char *options)
{
    printf("Formatting '%s', fmt=%s size=%llu", file, format, (unsigned long long)c->size);
    if (c->backing_name)
        printf(" backing_file=%s", c->backing_name);
    if (c->backing_format)
        printf(" backing_fmt=%s", c->backing_format);
    printf("%s%s\n", options && *options ? " " : "", options ?: "");
}

struct create_args {
    const char *format, *backing, *backing_format;
    struct opts opts;
    char *text; // the -o options as given
    bool unsafe, quiet;
    bool help; // one of them asks what there is
};

static int add_options(struct create_args *a, const char *text)
{
    struct err e = {0};
    if (img_asks_for_options(text)) {
        a->help = true;
        return 0;
    }
    if (opts_parse(&a->opts, text, NULL, &e))
        return img_fail(&e);
    char *all = a->text ? xasprintf("%s %s", a->text, text) : xstrdup(text);
    free(a->text);
    a->text = all;
    return 0;
}

static int run_create(struct create_args *a, const char *file, const char *size_text)
{
    struct err e = {0};
    uint64_t size = 0;
    bool have_size = size_text;
    if (size_text && img_parse_size(size_text, &size, "image size specified"))
        return 1;
    if (opts_get(&a->opts, "size") && !have_size) {
        have_size = true;
        if (opts_get_size(&a->opts, "size", &size, 1, &e))
            return img_fail(&e);
    }
    const char *backing = opts_get(&a->opts, "backing_file") ?: a->backing;
    const char *backing_format = opts_get(&a->opts, "backing_fmt") ?: a->backing_format;
    if (backing && !backing_format && !a->unsafe)
        return img_usage("%s: backing file specified without backing format; add -F FORMAT", file);
    if (backing && !a->unsafe) {
        uint64_t backing_size;
        if (ask_backing(file, backing, backing_format, &backing_size))
            return 1;
        size = have_size ? size : backing_size;
        have_size = true;
    }
    if (!have_size)
        return img_usage("%s: Image creation needs a size parameter", file);
    struct block_create c = {.size = strcmp(a->format, "raw") ? (size + 511) & ~511ull : size,
                             .backing_name = backing,
                             .backing_format = backing_format,
                             .opts = &a->opts};
    if (!a->quiet)
        describe(a->format, file, &c, a->text);
    if (image_create(a->format, file, &c, &e)) {
        err_prefix(&e, "%s", file);
        return img_fail(&e);
    }
    return 0;
}

int img_create(int argc, char **argv)
{
    static const struct option longs[] = {IMG_COMMON_LONG, {0}};
    struct create_args a = {.format = "raw"};
    struct img_args common = {0};
    int opt, r = 0;
    while (!r && (opt = getopt_long(argc, argv, "F:b:f:o:quU", longs, NULL)) != -1) {
        switch (opt) {
        case 'F':
            a.backing_format = optarg;
            break;
        case 'b':
            a.backing = optarg;
            break;
        case 'f':
            a.format = optarg;
            break;
        case 'o':
            r = add_options(&a, optarg);
            break;
        case 'u':
            a.unsafe = true;
            break;
        case 'q':
            a.quiet = true;
            break;
        default:
            r = img_common(&common, opt, optarg);
        }
    }
    if (!r && a.help)
        return img_print_options(a.format);
    if (!r && (optind >= argc || argc - optind > 2))
        r = img_usage(optind >= argc ? "create: Expecting image file name"
                                     : "create: Unexpected argument: %s",
                      optind >= argc ? "" : argv[argc - 1]);
    if (!r)
        r = run_create(&a, argv[optind], argv[optind + 1]);
    opts_free(&a.opts);
    free(a.text);
    return r;
}

// Bytes of data in the chain, as whole clusters of the new image.
static int count_data(struct block_node *n, uint64_t cluster, uint64_t *data)
{
    uint64_t size = block_size(n), last = UINT64_MAX;
    for (uint64_t off = 0; off < size;) {
        struct block_extent x;
        unsigned depth;
        int r = image_status(n, off, size - off, &x, &depth);
        if (r)
            return r;
        if (x.data && !x.zero) {
            uint64_t first = off / cluster, end = (off + x.bytes + cluster - 1) / cluster;
            first += first == last;
            *data += (end - first) * cluster;
            last = end - 1;
        }
        off += x.bytes;
    }
    return 0;
}

static void print_measure(const struct img_args *a, const struct block_measure *m)
{
    if (!a->json) {
        printf("required size: %llu\nfully allocated size: %llu\n", (unsigned long long)m->required,
               (unsigned long long)m->fully_allocated);
        return;
    }
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "required", json_object_new_uint64(m->required));
    json_object_object_add(o, "fully-allocated", json_object_new_uint64(m->fully_allocated));
    printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY));
    json_object_put(o);
}

int img_measure(int argc, char **argv)
{
    enum { OPT_SIZE = OPT_FIRST_OWN };
    static const struct option longs[] = {
        IMG_COMMON_LONG, {"size", required_argument, NULL, OPT_SIZE}, {0}};
    struct img_args a = {0};
    struct create_args made = {.format = "raw"};
    uint64_t size = UINT64_MAX, cluster = 65536;
    int opt, r = 0;
    while (!r && (opt = getopt_long(argc, argv, "f:l:o:O:U", longs, NULL)) != -1) {
        if (opt == 'O')
            made.format = optarg;
        else if (opt == 'o')
            r = add_options(&made, optarg);
        else if (opt == OPT_SIZE)
            r = img_parse_size(optarg, &size, "image size");
        else
            r = img_common(&a, opt, optarg);
    }
    if (!r && made.help)
        return img_print_options(made.format);
    struct err e = {0};
    struct block_measure m = {0};
    struct block_node *n = NULL;
    if (!r && (optind < argc) == (size != UINT64_MAX))
        r = img_usage("measure: Either --size N or one filename must be specified.");
    if (!r && optind < argc) {
        n = img_open(&a, argv[optind], a.format, IMAGE_READ_ONLY, NULL);
        r = !n;
    }
    if (!r && n) {
        size = block_size(n);
        const char *given = opts_get(&made.opts, "cluster_size");
        if (given && (parse_size(given, 1, &cluster) || !cluster))
            r = img_usage("cluster_size=%s: not a size", given);
        if (!r && count_data(n, strcmp(made.format, "raw") ? cluster : 512, &m.data_bytes))
            r = img_usage("cannot read the mapping of %s", argv[optind]);
    }
    struct block_create c = {.size = size, .opts = &made.opts};
    if (!r && image_measure(made.format, &c, &m, &e))
        r = img_fail(&e);
    if (!r)
        print_measure(&a, &m);
    block_unref(n);
    opts_free(&made.opts);
    free(made.text);
    return r;
}
