// System calls of the host that a signal may interrupt without being lost: the call is not begun
// when a signal has been captured, however late it came.
#pragma once

#include "base/base.h"

#include <stdatomic.h>

// Linux would restart the call: deliver the signal, then perhaps repeat it.
#define HOST_CALL_RESTART (-512)
// The same, but a call that was not made: it is made after the signal in any case, since for the
// program the signal came first.
#define HOST_CALL_NOT_MADE (-513)

// The result as the kernel gives it, negative errno included, or one of these.
int64_t host_call(long nr, const uint64_t a[6], _Atomic int *captured);
// For the handler of the signal that sets *captured: steps out of a call that has not begun.
void host_call_interrupt(void *ucontext);
