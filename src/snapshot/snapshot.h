// A saved machine as a stream: named sections, each with its length. What reads one trusts nothing
// in it (SECURITY.md): sizes are bounded before memory is taken, and every part checks its own.
// The machine stands still; main loop thread, or another while that one waits.
#pragma once

#include "base/buf.h"
#include "base/err.h"

struct device_tree;
struct ram;

// Where a stream goes. After the first failure nothing more is written and `error` stays.
struct state_out {
    int (*write)(void *opaque, const void *p, size_t n); // 0 or -errno
    void *opaque;
    int error;
    uint64_t bytes; // written so far
};
// Where one comes from: all n bytes, or -errno (-EIO at the end).
struct state_in {
    int (*read)(void *opaque, void *p, size_t n);
    void *opaque;
};

enum { STATE_NAME_MAX = 160 };

// A stream is state_begin, sections, state_end.
void state_begin(struct state_out *o);
void state_section(struct state_out *o, const char *name, const struct buf *payload);
void state_end(struct state_out *o);

int state_open(struct state_in *i, struct err *e) MUST_CHECK; // checks the magic and version
// The next section, its payload in a buffer that is emptied first. 1; 0 after the last; -1.
int state_next(struct state_in *i, char name[STATE_NAME_MAX], struct buf *payload, struct err *e);

// RAM blocks: sections "ram:NAME", without the pages that are zero.
void state_save_ram(struct state_out *o, struct ram *r);
// The pages whose bit is set; with `zeros` those that are zero, too.
void state_save_pages(struct state_out *o, struct ram *r, const uint64_t *pages, bool zeros);
int state_load_ram(struct ram *r, const struct buf *payload, struct err *e) MUST_CHECK;
// Every device of a tree: sections "device:TYPE…".
void state_save_devices(struct state_out *o, struct device_tree *t);
int state_load_device(struct device_tree *t, const char *name, const struct buf *payload,
                      struct err *e) MUST_CHECK;
