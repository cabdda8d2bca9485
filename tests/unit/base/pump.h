// Turning an event loop by hand in tests, with a deadline.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/loop.h"

// Runs the loop until cond holds; fails after five seconds.
#define pump_until(l, cond)                                                                        \
    do {                                                                                           \
        int64_t end_ = host_monotonic_ns() + 5000000000ll;                                         \
        while (!(cond)) {                                                                          \
            if (host_monotonic_ns() > end_)                                                        \
                fail_msg("%s:%d: still waiting for %s", __FILE__, __LINE__, #cond);                \
            loop_run_once(l, 10);                                                                  \
        }                                                                                          \
    } while (0)
// Runs what is ready now.
static inline void pump(struct loop *l)
{
    for (int i = 0; i < 10; i++)
        loop_run_once(l, 0);
}
