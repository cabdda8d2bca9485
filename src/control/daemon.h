// -daemonize and -pidfile.
#pragma once

#include "base/err.h"

struct daemon {
    int ready;     // pipe to the process that waits, or -1
    int null;      // /dev/null, opened early
    char *pidfile; // absolute; removed at the end
};

// Forks before any thread exists. The first process waits, and ends with status 0 once the child
// calls daemon_finish, with 1 if it ends before; only the child returns.
int daemon_begin(struct daemon *d, struct err *e) MUST_CHECK;
int daemon_write_pid(struct daemon *d, const char *path, struct err *e) MUST_CHECK;
// The machine and its sockets are there: detach from the terminal and let the first process go.
int daemon_finish(struct daemon *d, struct err *e) MUST_CHECK;
void daemon_end(struct daemon *d);
