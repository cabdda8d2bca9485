// The disk image tool: `myna img VERB …`, `qemu-img VERB …`. Verbs, flags, exit codes and output
// fields are those that QEMU's users and their scripts know.
#pragma once

#include "block/image.h"

int img_main(int argc, char **argv); // argv[0] is the program's name; the exit status

// Each verb gets argv[0] = its own name.
int img_bench(int argc, char **argv);
int img_check(int argc, char **argv);
int img_commit(int argc, char **argv);
int img_compare(int argc, char **argv);
int img_convert(int argc, char **argv);
int img_create(int argc, char **argv);
int img_dd(int argc, char **argv);
int img_info(int argc, char **argv);
int img_map(int argc, char **argv);
int img_measure(int argc, char **argv);
int img_rebase(int argc, char **argv);
int img_resize(int argc, char **argv);
int img_snapshot(int argc, char **argv);

// Flags that most verbs share, taken from getopt by img_common.
struct img_args {
    const char *format, *cache, *src_cache;
    bool image_opts, share, quiet, progress, json, no_backing;
};
enum { OPT_OBJECT = 256, OPT_IMAGE_OPTS, OPT_OUTPUT, OPT_FIRST_OWN };
#define IMG_COMMON_LONG                                                                            \
    {"object", required_argument, NULL, OPT_OBJECT},                                               \
        {"image-opts", no_argument, NULL, OPT_IMAGE_OPTS},                                         \
        {"output", required_argument, NULL, OPT_OUTPUT}, {"force-share", no_argument, NULL, 'U'},  \
    {                                                                                              \
        "help", no_argument, NULL, 'h'                                                             \
    }

// Handles one option that getopt returned: 0, or the exit status of a usage error.
int img_common(struct img_args *a, int opt, const char *arg);
int img_usage(const char *fmt, ...) PRINTF(1, 2); // prints one line; returns 1
int img_fail(const struct err *e);                // prints the line; returns 1
// Opens what the user named; NULL after printing why not.
struct block_node *img_open(const struct img_args *a, const char *name, const char *format,
                            unsigned flags, struct block_node *beside);
// An argument of -o that asks for help ("help", "?"); and the help itself: the exit status.
bool img_asks_for_options(const char *arg);
int img_print_options(const char *format);
int img_parse_size(const char *text, uint64_t *size, const char *what);
void img_progress(const struct img_args *a, uint64_t done, uint64_t all);
void img_progress_end(const struct img_args *a);
void img_print_size(uint64_t bytes); // "1.5 GiB"
struct buf;
void img_format_snapshot_list(struct buf *out, const struct block_snapshot *list, int count,
                              bool heading);
void img_print_snapshot_list(const struct block_snapshot *list, int count, bool heading);
