// Messages to the operator on stderr, and debug logging chosen with -d. Thread-safe; each call
// writes one whole line.
#pragma once

#include "base/base.h"

// "myna: warning: …" and "myna: …". The program name printed is that of the personality
// (log_set_name).
void log_warn(const char *fmt, ...) PRINTF(1, 2);
void log_error(const char *fmt, ...) PRINTF(1, 2);
void log_info(const char *fmt, ...) PRINTF(1, 2);
void log_set_name(const char *name);
const char *log_name(void); // for the few who cannot use the functions above
// -msg timestamp=on: put an ISO 8601 time before each line.
void log_set_timestamps(bool on);

// A guest did something its device's specification forbids. `site` limits the rate: at most 8 lines
// per site and then one line with the count at exit; it also counts for `info guest-errors`. Shown
// with -d guest_errors, else only counted.
struct log_site {
    const char *what;
    _Atomic uint64_t count;
    _Atomic(struct log_site *) next;
    _Atomic bool linked;
};
void log_guest_at(struct log_site *site, const char *fmt, ...) PRINTF(2, 3);
#define log_guest(what_, ...)                                                                      \
    do {                                                                                           \
        static struct log_site site_ = {.what = what_};                                            \
        log_guest_at(&site_, __VA_ARGS__);                                                         \
    } while (0)
struct buf;
void log_guest_print(struct buf *out); // `info guest-errors`: count and site, one a line

// -d categories. The table in log.c gives their names and help.
enum log_mask {
    LOG_IN_ASM = 1 << 0,
    LOG_IR = 1 << 1,
    LOG_OUT_ASM = 1 << 2,
    LOG_INT = 1 << 3,
    LOG_MMU = 1 << 4,
    LOG_GUEST_ERRORS = 1 << 5,
    LOG_UNIMP = 1 << 6,
    LOG_EXEC = 1 << 7,
    LOG_CPU = 1 << 8,
    LOG_STRACE = 1 << 9,
};
extern uint32_t log_mask_; // written before threads start and by the monitor's `log` command
static inline bool log_on(enum log_mask m)
{
    return unlikely(__atomic_load_n(&log_mask_, __ATOMIC_RELAXED) & m);
}
// Write to the debug log (stderr, or the file of -D). No newline is added.
void log_debug(const char *fmt, ...) PRINTF(1, 2);
struct err;
int log_set_mask(const char *comma_list, struct err *e) MUST_CHECK; // "in_asm,int"; "help" lists
int log_set_file(const char *path, struct err *e) MUST_CHECK;
