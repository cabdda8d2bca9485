// Turning an event loop by hand in tests. What is waited for has a deadline that only something
// that will never come can miss, however busy the host is.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/loop.h"

static const int64_t PATIENCE_NS = 60000000000;

// Runs the loop until cond holds; fails when patience is over.
#define pump_until(l, cond)                                                                        \
    do {                                                                                           \
        int64_t end_ = host_monotonic_ns() + PATIENCE_NS;                                          \
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
