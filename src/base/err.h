// Operator and host errors (docs/architecture.md, "Failure"): a function that can fail for such a
// reason returns 0 or -1 and fills the caller's struct err. Each layer may prefix the name of the
// thing it worked on; main prints the one line.
#pragma once

#include "base/base.h"

struct err {
    char msg[1024]; // one line, no newline, NUL-terminated; empty when there was no error
};

// Set the message; always return -1, so that callers can `return err_set(e, …)`. `e` must not be
// NULL.
int err_set(struct err *e, const char *fmt, ...) PRINTF(2, 3);
// The same, with ": " and the text of errno value `errnum` at the end.
int err_errno(struct err *e, int errnum, const char *fmt, ...) PRINTF(3, 4);
// Put "text: " before the message that is there; return -1.
int err_prefix(struct err *e, const char *fmt, ...) PRINTF(2, 3);
// Append "; did you mean 'x'?" if a name in the NULL-terminated list is near `name`; return -1.
int err_did_you_mean(struct err *e, const char *name, const char *const *names);
