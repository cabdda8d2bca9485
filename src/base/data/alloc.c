// Allocation for sizes we choose ourselves, the growing array's one function, and the stop on our
// own bugs. Sizes that a guest, an image or the wire chose are checked by their owners first.
#include "base/base.h"
#include "base/log.h"
#include "base/vec.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void bug(const char *file, int line, const char *what)
{
    log_error("internal error: %s:%d: %s", file, line, what);
    abort();
}

void host_out_of_memory(size_t bytes)
{
    // No formatting on the heap: that may be what has run out.
    dprintf(STDERR_FILENO, "%s: out of memory: the host refused %zu bytes\n", log_name(), bytes);
    _exit(1);
}

void *xcalloc(size_t n, size_t size)
{
    size_t bytes;
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p)
        host_out_of_memory(__builtin_mul_overflow(n, size, &bytes) ? SIZE_MAX : bytes);
    return p;
}

void *xalloc(size_t size)
{
    return xcalloc(1, size);
}

void *xrealloc(void *p, size_t size)
{
    void *q = realloc(p, size ? size : 1);
    if (!q)
        host_out_of_memory(size);
    return q;
}

char *xstrdup(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(xalloc(n), s, n);
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap;
    char *s;
    va_start(ap, fmt);
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    if (n < 0)
        host_out_of_memory(strlen(fmt));
    return s;
}

void *vec_grow_(void *data, size_t *cap, size_t want, size_t elem)
{
    size_t n = MAX(*cap + *cap / 2, MAX(want, (size_t)8));
    size_t bytes;
    if (__builtin_mul_overflow(n, elem, &bytes))
        host_out_of_memory(SIZE_MAX);
    *cap = n;
    return xrealloc(data, bytes);
}
