// Sets of file descriptors that a client handed over, so that a program without rights of its own
// may "open" them: the file name /dev/fdset/N stands for the descriptor of set N whose access mode
// fits (one that can read and write fits every use). Main loop thread.
#pragma once

#include "base/err.h"

struct fdsets;
struct fdset_fd {
    int64_t set;
    int fd;
    char *opaque; // the client's note, or NULL
};

struct fdsets *fdsets_new(void);
void fdsets_free(struct fdsets *s); // closes them all; NULL is fine
// Takes the descriptor over, also on failure. `set` -1 means the lowest number not in use. The
// number of the set, or -1.
int64_t fdsets_add(struct fdsets *s, int64_t set, int fd, const char *opaque, struct err *e);
// One descriptor, or with fd -1 the whole set. What was opened through it stays open.
int fdsets_remove(struct fdsets *s, int64_t set, int fd, struct err *e) MUST_CHECK;
const struct fdset_fd *fdsets_at(const struct fdsets *s, size_t i); // by set; NULL at the end
// open(2), or for /dev/fdset/N a duplicate of its descriptor; `s` may be NULL. -1 and errno: EBADF
// when no descriptor of the set has the access mode.
int fdsets_open(const struct fdsets *s, const char *path, int flags, unsigned mode);
