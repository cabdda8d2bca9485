// Trace points: TRACE(name, fmt, …) writes a line to the debug log when `-trace` (glob patterns)
// chose the name. Costs one load and branch when off. Names are "module_verb_object".
#pragma once

#include "base/base.h"

struct trace_point {
    const char *name;
    bool on;
    struct trace_point *next;
    bool linked;
};
void trace_point_link(struct trace_point *t); // first use: decides `on` from the patterns
void trace_write(const struct trace_point *t, const char *fmt, ...) PRINTF(2, 3);
void trace_enable(const char *glob); // before the machine starts or from the monitor
struct buf;
// The names that the pattern fits, one a line, with their state: of the whole program, whether
// reached or not.
void trace_print(const char *glob, struct buf *out);
bool trace_known(const char *glob); // does any name fit?
#define TRACE(name_, ...)                                                                          \
    do {                                                                                           \
        static struct trace_point tp_ = {.name = #name_};                                          \
        if (unlikely(!__atomic_load_n(&tp_.linked, __ATOMIC_ACQUIRE)))                             \
            trace_point_link(&tp_);                                                                \
        if (unlikely(__atomic_load_n(&tp_.on, __ATOMIC_RELAXED)))                                  \
            trace_write(&tp_, __VA_ARGS__);                                                        \
    } while (0)
