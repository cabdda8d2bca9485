// Dirty bitmaps: records, by name, of what was written to a node since a point in time; what
// incremental backups are made of. Kept in memory, and by formats that can (qcow2) in the image
// when it is closed. Main loop thread, or in coroutines of the node's engine.
#pragma once

#include "base/err.h"
#include "block/node/gate.h"

struct bitmap {
    struct dirty_map map; // on the node's gate while it records
    struct block_node *n;
    char *name;
    const char *busy;  // the job that works with it, or NULL
    bool enabled;      // records what is written
    bool persistent;   // goes into the image
    bool inconsistent; // was not kept when the image was last written; good for removal only
    struct list link;  // on the node
};
enum { BITMAP_NAME_MAX = 1023, BITMAP_SHIFT_MIN = 9, BITMAP_SHIFT_MAX = 31 };

struct bitmap *bitmap_find(const struct block_node *n, const char *name); // or NULL
struct bitmap *bitmap_next(const struct block_node *n, struct bitmap *prev);
// All clean and enabled. `shift`: log2 of a granule's bytes, 0: a default. NULL and *e.
struct bitmap *bitmap_new(struct block_node *n, const char *name, unsigned shift, bool persistent,
                          struct err *e);
void bitmap_free(struct bitmap *b); // also takes it off its node
void bitmaps_free(struct block_node *n);
void bitmap_enable(struct bitmap *b, bool on);
// May it be used: not by a job already, not inconsistent, and (`change`) can it be changed?
int bitmap_check(const struct bitmap *b, bool change, struct err *e) MUST_CHECK;
// The bits themselves, for undoing and merging.
uint64_t *bitmap_take_bits(struct bitmap *b);                 // leaves clean ones; the caller's
void bitmap_put_bits(struct bitmap *b, uint64_t *bits);       // instead of its own; takes them over
void bitmap_add_bits(struct bitmap *b, const uint64_t *bits); // of the same shape
// Marks in b what is marked in `from`, whatever their granules; nodes of one size.
void bitmap_merge(struct bitmap *b, const struct bitmap *from);
void bitmaps_resize(struct block_node *n); // the node has another size now
