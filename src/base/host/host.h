// What the host offers a machine emulator, found out by trying, for `myna doctor`.
#pragma once

#include "base/base.h"

enum host_state { HOST_OK, HOST_NOTE, HOST_PROBLEM };
struct host_fact {
    const char *name;
    enum host_state state;
    char text[160];     // what was found
    const char *advice; // what to do about it, or NULL
};
// Fills up to `max` facts; how many.
unsigned host_probe(struct host_fact *facts, unsigned max);
