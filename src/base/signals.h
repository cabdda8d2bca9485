// Signals that ask the process to end (SIGTERM, SIGINT, SIGHUP), taken on a loop. They are blocked
// from the call on, so call it before other threads start.
#pragma once

#include "base/loop.h"

struct signals;
struct signals *signals_watch(struct loop *l, void (*asked)(void *opaque, int signal),
                              void *opaque);
void signals_unwatch(struct signals *s); // NULL is fine; they stay blocked
