// -rtc: what the machine's clock of day begins with.
#include "base/clock.h"
#include "control/cli/internal.h"

#include <stdio.h>
#include <time.h>

// "2006-06-17T16:01:21" or "2006-06-17", in universal time.
static int read_date(const char *text, uint64_t *base, struct err *e)
{
    struct tm tm = {0};
    int used = 0, n = sscanf(text, "%d-%d-%d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &used);
    if (n == 3 && text[used] == 'T') {
        const char *hour = text + used;
        n = sscanf(hour, "T%d:%d:%d%n", &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &used);
        text = hour;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    time_t t = n == 3 && !text[used] && tm.tm_mon >= 0 && tm.tm_mon < 12 && tm.tm_mday >= 1 &&
                       tm.tm_mday <= 31
                   ? timegm(&tm)
                   : -1;
    if (t <= 0 || t > UINT32_MAX)
        return err_set(e,
                       "-rtc: base=%s: give utc, localtime or a date from 1970 to 2106 like "
                       "2006-06-17T16:01:21",
                       text);
    *base = (uint64_t)t;
    return 0;
}

static int read_base(const char *text, uint64_t *base, struct err *e)
{
    time_t now = (time_t)(host_realtime_ns() / 1000000000);
    struct tm tm;
    if (!text || !strcmp(text, "utc"))
        return 0;
    if (strcmp(text, "localtime"))
        return read_date(text, base, e);
    if (localtime_r(&now, &tm) && tm.tm_gmtoff)
        *base = (uint64_t)(now + tm.tm_gmtoff);
    return 0;
}

int cli_read_rtc(struct opts *o, uint64_t *base, struct err *e)
{
    static const char *const known[] = {"base", "clock", "driftfix", NULL};
    const char *clock = opts_get(o, "clock"), *fix = opts_get(o, "driftfix");
    if (clock && !strcmp(clock, "vm"))
        return err_set(e, "-rtc: clock=vm: the clock of day follows the host's; use clock=host");
    if (clock && strcmp(clock, "host") && strcmp(clock, "rt"))
        return err_set(e, "-rtc: clock=%s: give host", clock);
    if (fix && strcmp(fix, "none") && strcmp(fix, "slew"))
        return err_set(e, "-rtc: driftfix=%s: give none or slew", fix);
    return read_base(opts_get(o, "base"), base, e) || opts_check_unused(o, "-rtc", known, e) ? -1
                                                                                             : 0;
}
