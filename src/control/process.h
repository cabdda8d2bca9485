// What the operator says of the process itself: -run-with and -overcommit.
#pragma once

#include "base/err.h"
#include "base/opt.h"

// -overcommit mem-lock=on|off|on-fault: RAM does not leave the host's memory.
int process_overcommit(struct opts *o, struct err *e) MUST_CHECK;
// -run-with, in two steps: what is said is checked and the parent watched; and, once everything is
// open, the root folder and the user change.
int process_prepare(struct opts *run_with, bool daemonize, struct err *e) MUST_CHECK;
int process_confine(struct opts *run_with, struct err *e) MUST_CHECK;
