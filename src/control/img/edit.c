// qemu-img resize and snapshot.

#include "control/img/img.h"
#include "base/clock.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static int resize(struct block_node *n, const char *text, bool may_shrink)
{
    struct err e = {0};
    uint64_t size, old = block_size(n);
    bool plus = *text == '+', minus = *text == '-';
    if (img_parse_size(text + (plus || minus), &size, "image size"))
        return 1;
    if (minus && size > old)
        return img_usage("New image size must be positive");
    if (plus && __builtin_add_overflow(old, size, &size))
        return img_usage("the new size is too large");
    size = minus ? old - size : size;
    size = (size + 511) & ~511ull;
    if (size < old && !may_shrink)
        return img_usage("Use the --shrink option to perform a shrink operation: shrinking an "
                         "image will delete all data beyond the shrunken image's end");
    return block_resize(n, size, &e) ? img_fail(&e) : 0;
}

int img_resize(int argc, char **argv)
{
    enum { OPT_SHRINK = OPT_FIRST_OWN, OPT_PREALLOCATION };
    static const struct option longs[] = {
        IMG_COMMON_LONG,
        {"shrink", no_argument, NULL, OPT_SHRINK},
        {"preallocation", required_argument, NULL, OPT_PREALLOCATION},
        {0}};
    struct img_args a = {0};
    bool shrink = false;
    int opt, r = 0;
    // The size comes last and may begin with '-', which getopt must not see.
    if (argc < 3)
        return img_usage("resize: Expecting image file name and size");
    const char *size = argv[--argc];
    argv[argc] = NULL;
    while (!r && (opt = getopt_long(argc, argv, "f:q", longs, NULL)) != -1) {
        if (opt == OPT_SHRINK)
            shrink = true;
        else if (opt == OPT_PREALLOCATION && strcmp(optarg, "off"))
            r = img_usage("resize: --preallocation=%s is not supported; only off is", optarg);
        else if (opt != OPT_PREALLOCATION)
            r = img_common(&a, opt, optarg);
    }
    if (r || optind != argc - 1)
        return r ?: img_usage("resize: Expecting image file name and size");
    struct block_node *n = img_open(&a, argv[optind], a.format, 0, NULL);
    if (!n)
        return 1;
    r = resize(n, size, shrink);
    block_unref(n);
    if (!r && !a.quiet)
        printf("Image resized.\n");
    return r;
}

static int list(struct block_node *n)
{
    struct err e = {0};
    struct block_snapshot *all;
    int count = block_snapshot_list(n, &all, &e);
    if (count < 0)
        return img_fail(&e);
    if (count) {
        printf("Snapshot list:\n");
        img_print_snapshot_list(all, count, true);
    }
    free(all);
    return 0;
}

static int run_snapshot(struct block_node *n, int action, const char *name)
{
    struct err e = {0};
    struct block_snapshot s = {.date_ns = (uint64_t)host_realtime_ns()};
    switch (action) {
    case 'c':
        if (strlen(name) >= sizeof s.name)
            return img_usage("the snapshot name is too long");
        strcpy(s.name, name);
        return block_snapshot_create(n, &s, &e) ? img_fail(&e) : 0;
    case 'a':
        return block_snapshot_apply(n, name, &e) ? img_fail(&e) : 0;
    case 'd':
        return block_snapshot_delete(n, name, &e) ? img_fail(&e) : 0;
    default:
        return list(n);
    }
}

int img_snapshot(int argc, char **argv)
{
    static const struct option longs[] = {IMG_COMMON_LONG, {0}};
    struct img_args a = {0};
    int opt, action = 0, r = 0;
    const char *name = NULL;
    while (!r && (opt = getopt_long(argc, argv, "la:c:d:f:qU", longs, NULL)) != -1) {
        if (!strchr("lacd", opt)) {
            r = img_common(&a, opt, optarg);
        } else if (action) {
            r = img_usage("snapshot: Cannot mix '-l', '-a', '-c', '-d'");
        } else {
            action = opt;
            name = optarg;
        }
    }
    if (r || optind != argc - 1)
        return r ?: img_usage("snapshot: Expecting one image file name");
    unsigned flags = IMAGE_NO_BACKING | (!action || action == 'l' ? IMAGE_READ_ONLY : 0);
    struct block_node *n = img_open(&a, argv[optind], a.format, flags, NULL);
    if (!n)
        return 1;
    r = run_snapshot(n, action, name);
    block_unref(n);
    return r;
}
