// Descriptors that clients hand to a machine: by name (getfd) and in sets (add-fd). Main loop
// thread.
#pragma once

#include "block/protocol/fdset.h"
#include "base/opt.h"
#include "base/vec.h"

struct fd_store {
    struct fdsets *sets;
    VEC(struct {
        char *name;
        int fd;
    })
    named;
};

void fd_store_init(struct fd_store *s);
void fd_store_free(struct fd_store *s);
// Takes the descriptor over; one of the same name is closed.
void fd_store_put(struct fd_store *s, const char *name, int fd);
int fd_store_take(struct fd_store *s, const char *name); // the caller's now; -1: no such name
// Puts numbers where the options of a back end name descriptors ("fd", "vhostfd", "addr.str", …):
// the name's descriptor is then the back end's. 0, or -1 with one line.
int fd_store_resolve_names(struct fd_store *s, struct opts *o, struct err *e) MUST_CHECK;
// The same for the files of a chardev that are /dev/fdset/N: "path" becomes "fd", "logfile"
// "logfd".
int fd_store_resolve_files(struct fd_store *s, struct opts *o, struct err *e) MUST_CHECK;
