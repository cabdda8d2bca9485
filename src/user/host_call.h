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
// One that no signal stops, by the process the calling guest thread is (proxy.h): the kernel's
// result.
int64_t host_do(long nr, const uint64_t a[6]);
#define HOST_DO(name, ...) host_do(SYS_##name, (const uint64_t[6]){__VA_ARGS__})
#define HOST_PTR(p)        ((uint64_t)(uintptr_t)(p))
// That process has ended, and nobody knows whether it made the call.
#define HOST_GONE (-514)
// By the calling host thread, whatever it is; not even errno is touched.
int64_t host_call_plain(long nr, const uint64_t a[6]);
// For the handler of the signal that sets *captured: steps out of a call that has not begun.
void host_call_interrupt(void *ucontext);
