// Disk images as whole files, for tools and for what makes images on the way (temporary overlays,
// external snapshots). Synchronous; outside coroutines.
#pragma once

#include "block/block.h"
#include "block/node/node.h"

struct buf;

enum {
    IMAGE_CHECK = 1,      // open even what a check is to repair
    IMAGE_NO_BACKING = 2, // this file only
    IMAGE_READ_ONLY = 4,
    IMAGE_SHARE = 8, // beside a running writer (-U)
};
// `beside` (or NULL) is a node whose engine the new one shares, so that they can copy.
struct block_node *image_open(struct opts *o, unsigned flags, struct block_node *beside,
                              struct err *e);
// Makes `filename`; what a running process holds is left alone. Format options are in c->opts.
int image_create(const char *format, const char *filename, const struct block_create *c,
                 struct err *e) MUST_CHECK;
// An empty file, or one that reads as `size` zeros; what a running process holds is left alone.
int image_make_file(const char *path, uint64_t size, struct err *e) MUST_CHECK;
// What c->opts may say for that format, one option a line.
int image_print_options(const char *format, struct buf *out, struct err *e) MUST_CHECK;
int image_measure(const char *format, const struct block_create *c, struct block_measure *m,
                  struct err *e) MUST_CHECK;
int image_check(struct block_node *n, struct block_check *c, struct err *e) MUST_CHECK;
int image_set_backing(struct block_node *n, const char *name, const char *format,
                      struct err *e) MUST_CHECK;
// Makes everything unallocated (an overlay after its commit).
int image_discard_all(struct block_node *n, struct err *e) MUST_CHECK;
void image_info(struct block_node *n, struct block_info_sink *s);
void image_facts(struct block_node *n, struct block_facts *f);
// Of the whole chain; *depth is the layer that decides.
int image_status(struct block_node *n, uint64_t off, uint64_t bytes, struct block_extent *x,
                 unsigned *depth);
