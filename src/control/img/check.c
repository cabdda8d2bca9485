// qemu-img check: exit status 0 sound, 1 the check itself failed, 2 corruption, 3 leaks only, 63
// the format cannot be checked.

#include "control/img/img.h"
#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>

enum { EXIT_CORRUPT = 2, EXIT_LEAKS = 3, EXIT_UNSUPPORTED = 63 };

static void print_line(void *opaque, const char *line)
{
    fprintf(opaque, "%s\n", line);
}

static void print_json(const struct block_check *c, const char *name, struct block_node *n)
{
    struct json_object *o = json_object_new_object();
    const struct {
        const char *key;
        uint64_t v;
        bool always;
    } numbers[] = {{"image-end-offset", c->image_end_offset, false},
                   {"total-clusters", c->total_clusters, false},
                   {"check-errors", c->check_errors, true},
                   {"corruptions", c->corruptions, false},
                   {"leaks", c->leaks, false},
                   {"corruptions-fixed", c->corruptions_fixed, false},
                   {"leaks-fixed", c->leaks_fixed, false},
                   {"allocated-clusters", c->allocated_clusters, false},
                   {"fragmented-clusters", c->fragmented_clusters, false},
                   {"compressed-clusters", c->compressed_clusters, false}};
    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
        if (numbers[i].v || numbers[i].always)
            json_object_object_add(o, numbers[i].key, json_object_new_uint64(numbers[i].v));
    json_object_object_add(o, "filename", json_object_new_string(name));
    json_object_object_add(o, "format", json_object_new_string(block_driver_name(n)));
    printf("%s\n",
           json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
                                                 JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(o);
}

static void print_human(const struct block_check *c)
{
    if (c->leaks_fixed || c->corruptions_fixed)
        printf("The following inconsistencies were found and repaired:\n\n"
               "    %llu leaked clusters\n    %llu corruptions\n\n",
               (unsigned long long)c->leaks_fixed, (unsigned long long)c->corruptions_fixed);
    if (!c->corruptions && !c->leaks && !c->check_errors)
        printf("No errors were found on the image.\n");
    if (c->corruptions)
        printf("\n%llu errors were found on the image.\nData may be corrupted, or further writes "
               "to the image may corrupt it.\n",
               (unsigned long long)c->corruptions);
    if (c->leaks)
        printf("\n%llu leaked clusters were found on the image.\nThis means waste of disk space, "
               "but no harm to data.\n",
               (unsigned long long)c->leaks);
    if (c->check_errors)
        printf("\n%llu internal errors have occurred during the check.\n",
               (unsigned long long)c->check_errors);
    if (c->total_clusters && c->allocated_clusters) {
        double all = (double)c->allocated_clusters;
        printf("%llu/%llu = %.2f%% allocated, %.2f%% fragmented, %.2f%% compressed clusters\n",
               (unsigned long long)c->allocated_clusters, (unsigned long long)c->total_clusters,
               100.0 * all / (double)c->total_clusters,
               100.0 * (double)c->fragmented_clusters / all,
               100.0 * (double)c->compressed_clusters / all);
    }
    if (c->image_end_offset)
        printf("Image end offset: %llu\n", (unsigned long long)c->image_end_offset);
}

int img_check(int argc, char **argv)
{
    static const struct option longs[] = {
        IMG_COMMON_LONG, {"repair", required_argument, NULL, 'r'}, {0}};
    struct img_args a = {0};
    struct block_check c = {0};
    struct err e = {0};
    int opt, r = 0;
    while (!r && (opt = getopt_long(argc, argv, "f:r:T:qU", longs, NULL)) != -1) {
        if (opt != 'r') {
            r = img_common(&a, opt, optarg);
        } else {
            c.fix_errors = !strcmp(optarg, "all");
            c.fix_leaks = c.fix_errors || !strcmp(optarg, "leaks");
            if (!c.fix_leaks)
                r = img_usage("check: -r %s: expected leaks or all", optarg);
        }
    }
    if (r || optind != argc - 1)
        return r ?: img_usage("check: Expecting one image file name");
    unsigned flags = IMAGE_CHECK | IMAGE_NO_BACKING | (c.fix_leaks ? 0 : IMAGE_READ_ONLY);
    struct block_node *n = img_open(&a, argv[optind], a.format, flags, NULL);
    if (!n)
        return 1;
    if (!n->drv->image || !n->drv->image->check) {
        img_usage("This image format does not support checks");
        block_unref(n);
        return EXIT_UNSUPPORTED;
    }
    c.report = a.quiet ? NULL : print_line;
    c.opaque = a.json ? stderr : stdout;
    if (image_check(n, &c, &e)) {
        img_fail(&e);
        c.check_errors++;
    }
    if (a.json)
        print_json(&c, argv[optind], n);
    else if (!a.quiet)
        print_human(&c);
    block_unref(n);
    return c.check_errors ? 1 : c.corruptions ? EXIT_CORRUPT : c.leaks ? EXIT_LEAKS : 0;
}
