// Messages, debug log and the count of guest errors. A line is formatted whole and written with one
// write(2), so that lines of several threads never mix.
#include "base/log.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LINES_PER_SITE = 8 };

uint32_t log_mask_;

static struct {
    char name[64];
    bool timestamps;
    int debug_fd; // 0: stderr
    pthread_mutex_t lock;
    _Atomic(struct log_site *) sites;
} log_state = {.name = "myna", .lock = PTHREAD_MUTEX_INITIALIZER};

static const struct {
    uint32_t bit;
    const char *name, *help;
} categories[] = {
    {LOG_CPU, "cpu", "CPU state before each translated block"},
    {LOG_EXEC, "exec", "one line for each translated block entered"},
    {LOG_GUEST_ERRORS, "guest_errors", "what guests do against their devices' specifications"},
    {LOG_IN_ASM, "in_asm", "guest instructions as they are translated"},
    {LOG_INT, "int", "interrupts and exceptions taken"},
    {LOG_IR, "ir", "the translator's intermediate code (also: op)"},
    {LOG_MMU, "mmu", "page table walks, faults and TLB maintenance"},
    {LOG_IR, "op", "the same as ir"},
    {LOG_OUT_ASM, "out_asm", "host code as it is generated"},
    {LOG_STRACE, "strace", "system calls in user mode"},
    {LOG_UNIMP, "unimp", "uses of features that are not modelled"},
};

static void write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return; // nobody reads our messages: nothing to be done about it
        p += done;
        n -= (size_t)done;
    }
}

static void put_timestamp(struct buf *b)
{
    int64_t ns = host_realtime_ns();
    time_t s = (time_t)(ns / 1000000000);
    struct tm tm;
    char text[32];
    gmtime_r(&s, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_printf(b, "%s.%06dZ ", text, (int)(ns % 1000000000 / 1000));
}

// Formats one line and writes it. `who`: begin with the program's name.
static void put_line(int fd, bool who, const char *kind, const char *fmt, va_list ap)
{
    struct buf b = {0};
    char text[512], *longer = NULL;
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    if (n >= (int)sizeof text && vasprintf(&longer, fmt, again) < 0)
        longer = NULL;
    va_end(again);
    if (who && log_state.timestamps)
        put_timestamp(&b);
    if (who)
        buf_printf(&b, "%s: ", log_state.name);
    buf_printf(&b, "%s%s\n", kind, longer ? longer : text);
    write_all(fd, (const char *)b.data, b.len);
    buf_free(&b);
    free(longer);
}

#define MESSAGE(function, kind)                                                                    \
    void function(const char *fmt, ...)                                                            \
    {                                                                                              \
        va_list ap;                                                                                \
        va_start(ap, fmt);                                                                         \
        put_line(STDERR_FILENO, true, kind, fmt, ap);                                              \
        va_end(ap);                                                                                \
    }
MESSAGE(log_error, "")
MESSAGE(log_info, "")
MESSAGE(log_warn, "warning: ")
#undef MESSAGE

void log_debug(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    put_line(log_state.debug_fd ? log_state.debug_fd : STDERR_FILENO, false, "", fmt, ap);
    va_end(ap);
}

void log_set_name(const char *name)
{
    snprintf(log_state.name, sizeof log_state.name, "%s", name);
}

const char *log_name(void)
{
    return log_state.name;
}

void log_set_timestamps(bool on)
{
    log_state.timestamps = on;
}

static void summarise_at_exit(void)
{
    if (!log_on(LOG_GUEST_ERRORS))
        return;
    for (struct log_site *s = atomic_load(&log_state.sites); s; s = atomic_load(&s->next))
        if (s->count > LINES_PER_SITE)
            log_debug("guest error: %s: %llu in all", s->what, (unsigned long long)s->count);
}

static void link_site(struct log_site *site)
{
    mutex_lock(&log_state.lock);
    if (!site->linked) {
        struct log_site *first = atomic_load(&log_state.sites);
        if (!first)
            atexit(summarise_at_exit);
        atomic_store(&site->next, first);
        atomic_store(&log_state.sites, site);
        atomic_store(&site->linked, true);
    }
    mutex_unlock(&log_state.lock);
}

void log_guest_at(struct log_site *site, const char *fmt, ...)
{
    if (!atomic_load_explicit(&site->linked, memory_order_acquire))
        link_site(site);
    uint64_t before = atomic_fetch_add_explicit(&site->count, 1, memory_order_relaxed);
    if (!log_on(LOG_GUEST_ERRORS) || before >= LINES_PER_SITE)
        return;
    va_list ap;
    char kind[160];
    snprintf(kind, sizeof kind, "guest error: %s: ", site->what);
    va_start(ap, fmt);
    put_line(log_state.debug_fd ? log_state.debug_fd : STDERR_FILENO, false, kind, fmt, ap);
    va_end(ap);
}

void log_guest_print(struct buf *out)
{
    for (struct log_site *s = atomic_load(&log_state.sites); s; s = atomic_load(&s->next))
        buf_printf(out, "%12llu  %s\n", (unsigned long long)s->count, s->what);
}

static int one_category(const char *name, uint32_t *mask, struct err *e)
{
    const char *names[ARRAY_SIZE(categories) + 1] = {0};
    for (size_t i = 0; i < ARRAY_SIZE(categories); i++) {
        if (!strcmp(name, categories[i].name)) {
            *mask |= categories[i].bit;
            return 0;
        }
        names[i] = categories[i].name;
    }
    err_set(e, "-d: unknown category '%s' (-d help lists them)", name);
    return err_did_you_mean(e, name, names);
}

int log_set_mask(const char *comma_list, struct err *e)
{
    uint32_t mask = 0;
    if (!strcmp(comma_list, "help")) {
        for (size_t i = 0; i < ARRAY_SIZE(categories); i++)
            printf("%-14s %s\n", categories[i].name, categories[i].help);
        return 0;
    }
    char *list = xstrdup(comma_list), *rest = list, *name;
    int rc = 0;
    while (!rc && (name = strsep(&rest, ",")))
        if (*name && strcmp(name, "none"))
            rc = one_category(name, &mask, e);
    free(list);
    if (!rc)
        __atomic_store_n(&log_mask_, mask, __ATOMIC_RELAXED);
    return rc;
}

int log_set_file(const char *path, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_errno(e, errno, "-D %s", path);
    if (log_state.debug_fd)
        close(log_state.debug_fd);
    log_state.debug_fd = fd;
    return 0;
}
