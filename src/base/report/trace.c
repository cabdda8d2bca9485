// Trace points register themselves at first use; patterns are kept, so that they also decide about
// points reached later.
#include "base/trace.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/vec.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
    pthread_mutex_t lock;
    struct trace_point *points;
    VEC(char *) patterns; // "-glob" switches off; the last that matches decides
} trace_state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char *const names[] = {
#define TRACE_NAME(n) #n,
#include "trace_names.def"
#undef TRACE_NAME
};

static bool chosen(const char *name)
{
    bool on = false;
    for (size_t i = 0; i < trace_state.patterns.len; i++) {
        const char *p = trace_state.patterns.data[i];
        if (!fnmatch(p + (*p == '-'), name, 0))
            on = *p != '-';
    }
    return on;
}

static void decide(struct trace_point *t)
{
    __atomic_store_n(&t->on, chosen(t->name), __ATOMIC_RELAXED);
}

bool trace_known(const char *glob)
{
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (!fnmatch(glob + (*glob == '-'), names[i], 0))
            return true;
    return false;
}

void trace_print(const char *glob, struct buf *out)
{
    mutex_lock(&trace_state.lock);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (!fnmatch(glob, names[i], 0))
            buf_printf(out, "%s : state %d\n", names[i], chosen(names[i]));
    mutex_unlock(&trace_state.lock);
}

void trace_point_link(struct trace_point *t)
{
    mutex_lock(&trace_state.lock);
    if (!t->linked) {
        decide(t);
        t->next = trace_state.points;
        trace_state.points = t;
        __atomic_store_n(&t->linked, true, __ATOMIC_RELEASE);
    }
    mutex_unlock(&trace_state.lock);
}

void trace_enable(const char *glob)
{
    mutex_lock(&trace_state.lock);
    vec_push(&trace_state.patterns, xstrdup(glob));
    for (struct trace_point *t = trace_state.points; t; t = t->next)
        decide(t);
    mutex_unlock(&trace_state.lock);
}

void trace_write(const struct trace_point *t, const char *fmt, ...)
{
    char *text;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    log_debug("%d %s %s", thread_host_id(), t->name, text);
    free(text);
}
