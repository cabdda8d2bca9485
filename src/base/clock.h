// Time. A machine has one virtual clock (stops with the machine, can follow the host or, later, the
// instruction count); the host's monotonic and wall clocks stand beside it. All in nanoseconds.
#pragma once

#include "base/base.h"

struct clock; // one per machine; thread-safe

struct clock *clock_new(void); // created stopped, at 0
void clock_free(struct clock *c);
void clock_start(struct clock *c); // goes on from where it stopped; timers on it are due again
void clock_stop(struct clock *c);
int64_t clock_now(struct clock *c);          // virtual nanoseconds
void clock_set(struct clock *c, int64_t ns); // only while stopped (restore)
// The host monotonic time at which virtual time `ns` is reached; INT64_MAX while stopped.
int64_t clock_host_deadline(struct clock *c, int64_t ns);

int64_t host_monotonic_ns(void); // CLOCK_MONOTONIC: for intervals
int64_t host_realtime_ns(void);  // since the Epoch
