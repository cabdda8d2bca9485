// The tool's front: which verb, and what the verbs share.

#include "control/img/img.h"
#include "base/buf.h"
#include "base/log.h"
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name, *args, *help;
    int (*run)(int argc, char **argv);
} verbs[] = {
#define VERB(name, args, help) {#name, args, help, img_##name},
#include "control/img/verbs.def"
#undef VERB
};

int img_usage(const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    log_error("%s", line);
    return 1;
}

int img_fail(const struct err *e)
{
    log_error("%s", e->msg);
    return 1;
}

int img_common(struct img_args *a, int opt, const char *arg)
{
    switch (opt) {
    case 'f':
        a->format = arg;
        return 0;
    case 't':
        a->cache = arg;
        return 0;
    case 'T':
        a->src_cache = arg;
        return 0;
    case 'U':
        a->share = true;
        return 0;
    case 'q':
        a->quiet = true;
        return 0;
    case 'p':
        a->progress = true;
        return 0;
    case OPT_IMAGE_OPTS:
        a->image_opts = true;
        return 0;
    case OPT_OBJECT: // secrets and the like: nothing here needs one
        return 0;
    case OPT_OUTPUT:
        if (strcmp(arg, "json") && strcmp(arg, "human"))
            return img_usage("--output must be used with human or json as argument.");
        a->json = !strcmp(arg, "json");
        return 0;
    case '?':
    case ':':
        return 1; // getopt has said why
    default:
        return img_usage("this verb does not take -%c", opt);
    }
}

struct block_node *img_open(const struct img_args *a, const char *name, const char *format,
                            unsigned flags, struct block_node *beside)
{
    struct err e = {0};
    struct opts o = {0};
    struct block_node *n = NULL;
    if (a->image_opts) {
        if (opts_parse(&o, name, NULL, &e))
            goto out;
    } else {
        opts_set(&o, "file", name);
        if (format)
            opts_set(&o, "driver", format);
    }
    const char *cache = flags & IMAGE_READ_ONLY && a->src_cache ? a->src_cache : a->cache;
    if (cache)
        opts_set(&o, "cache", cache);
    if (!(flags & IMAGE_READ_ONLY))
        opts_set(&o, "discard", "unmap");
    n = image_open(&o, flags | (a->share ? IMAGE_SHARE : 0), beside, &e);
out:
    opts_free(&o);
    if (!n)
        log_error("Could not open '%s': %s", name, e.msg);
    return n;
}

bool img_asks_for_options(const char *arg)
{
    return !strcmp(arg, "help") || !strcmp(arg, "?");
}

int img_print_options(const char *format)
{
    struct buf b = {0};
    struct err e = {0};
    int r = image_print_options(format, &b, &e) ? img_fail(&e) : 0;
    fputs(buf_str(&b), stdout);
    buf_free(&b);
    return r;
}

int img_parse_size(const char *text, uint64_t *size, const char *what)
{
    if (*text && !parse_size(text, 1, size) && *size <= INT64_MAX)
        return 0;
    return img_usage("Invalid %s '%s': expected a number with an optional suffix b K M G T P E",
                     what, text);
}

void img_progress(const struct img_args *a, uint64_t done, uint64_t all)
{
    if (a->progress) {
        printf("    (%.2f/100%%)\r", all ? 100.0 * (double)done / (double)all : 100.0);
        fflush(stdout);
    }
}

void img_progress_end(const struct img_args *a)
{
    if (a->progress)
        printf("    (100.00/100%%)\n");
}

void img_print_size(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    unsigned u = 0;
    for (; v >= 1000 && u + 1 < ARRAY_SIZE(units); u++)
        v /= 1024;
    printf("%0.3g %s", v, units[u]);
}

static int help(void)
{
    printf("usage: qemu-img VERB [ARGUMENTS]\n"
           "The disk image tool of myna %s.\n\n",
           MYNA_VERSION);
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        printf("  %-9s %s\n            %s\n", verbs[i].name, verbs[i].help, verbs[i].args);
    printf("\nSupported formats: raw qcow2 file host_device null-co\n");
    return 0;
}

int img_main(int argc, char **argv)
{
    log_set_name("qemu-img");
    // Global options that may stand before the verb.
    while (argc > 2 && (!strcmp(argv[1], "-T") || !strcmp(argv[1], "--trace"))) {
        argc -= 2;
        argv += 2;
    }
    if (argc < 2)
        return img_usage("Not enough arguments; 'qemu-img --help' lists the verbs");
    const char *verb = argv[1];
    if (!strcmp(verb, "--version") || !strcmp(verb, "-V") || !strcmp(verb, "-version")) {
        printf("qemu-img version 10.0.0 (myna %s)\n", MYNA_VERSION);
        return 0;
    }
    if (!strcmp(verb, "--help") || !strcmp(verb, "-h") || !strcmp(verb, "help"))
        return help();
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        if (strcmp(verbs[i].name, verb))
            continue;
        if (argc > 2 && (!strcmp(argv[2], "--help") || !strcmp(argv[2], "-h"))) {
            printf("usage: qemu-img %s %s\n", verb, verbs[i].args);
            return 0;
        }
        optind = 1;
        return verbs[i].run(argc - 1, argv + 1);
    }
    const char *names[ARRAY_SIZE(verbs) + 1] = {0};
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        names[i] = verbs[i].name;
    struct err e = {0};
    err_set(&e, "Command not found: %s ('qemu-img --help' lists them)", verb);
    err_did_you_mean(&e, verb, names);
    return img_fail(&e);
}
