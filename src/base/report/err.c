// Error lines: formatting into the fixed message of struct err, and the did-you-mean.
#include "base/err.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

// One line, whatever names went into it: control characters become '?'.
static void one_line(struct err *e)
{
    for (char *p = e->msg; *p; p++)
        if (iscntrl((unsigned char)*p))
            *p = '?';
}

int err_set(struct err *e, const char *fmt, ...)
{
    va_list ap;
    char text[sizeof e->msg]; // the arguments may point into e
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    memcpy(e->msg, text, strlen(text) + 1);
    one_line(e);
    return -1;
}

static void append(struct err *e, const char *fmt, ...) PRINTF(2, 3);
static void append(struct err *e, const char *fmt, ...)
{
    va_list ap;
    size_t n = strlen(e->msg);
    va_start(ap, fmt);
    vsnprintf(e->msg + n, sizeof e->msg - n, fmt, ap);
    va_end(ap);
    one_line(e);
}

int err_errno(struct err *e, int errnum, const char *fmt, ...)
{
    va_list ap;
    char text[sizeof e->msg], why[128];
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    memcpy(e->msg, text, strlen(text) + 1);
    append(e, ": %s", strerror_r(errnum, why, sizeof why));
    return -1;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    va_list ap;
    char old[sizeof e->msg], text[sizeof e->msg];
    memcpy(old, e->msg, sizeof old);
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    memcpy(e->msg, text, strlen(text) + 1);
    append(e, ": %s", old);
    return -1;
}

// Optimal string alignment distance without regard to case, for names of up to 63 bytes; a large
// number for longer ones.
static unsigned distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    size_t n = strlen(a), m = strlen(b);
    unsigned row[3][LONGEST + 1];
    if (n > LONGEST || m > LONGEST)
        return 1000;
    for (size_t j = 0; j <= m; j++)
        row[0][j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned *now = row[i % 3], *up = row[(i + 2) % 3], *upup = row[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            now[j] = MIN(MIN(up[j], now[j - 1]) + 1, up[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                y == tolower((unsigned char)a[i - 2]))
                now[j] = MIN(now[j], upup[j - 2] + 1);
        }
    }
    return row[n % 3][m];
}

int err_did_you_mean(struct err *e, const char *name, const char *const *names)
{
    const char *best = NULL;
    size_t len = strlen(name);
    unsigned limit = len < 4 ? 1 : len < 8 ? 2 : 3, best_d = limit + 1;
    for (; names && *names; names++) {
        unsigned d = distance(name, *names);
        // A name cut short, or one that someone cut short, is near too.
        size_t l = strlen(*names);
        if (d > limit && len >= 3 && l > len && !strncasecmp(name, *names, len))
            d = limit;
        if (d < best_d && d < MAX(len, l)) {
            best = *names;
            best_d = d;
        }
    }
    if (best)
        append(e, "; did you mean '%s'?", best);
    return -1;
}
