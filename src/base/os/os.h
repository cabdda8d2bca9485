// What the host's operating system must give: threads' names and numbers, and a way to wait for
// descriptors, a wake-up and one timer at once. For base/ alone; one file per system.
#pragma once

#include "base/base.h"

void os_thread_set_name(const char *name); // the calling thread's; at most 15 bytes
int os_thread_id(void);                    // the caller's, as host tools count threads

struct os_poll;
struct os_event {
    void *tag;
    unsigned events; // LOOP_*
};
struct os_poll *os_poll_new(void);
void os_poll_free(struct os_poll *p);
// Change a descriptor's interest from `old` to `events` (LOOP_IN | LOOP_OUT | LOOP_EDGE); 0 is not
// registered.
// False when the descriptor cannot be waited for because it is always ready (a regular file).
bool os_poll_set(struct os_poll *p, int fd, unsigned old, unsigned events, void *tag);
void os_poll_wake(struct os_poll *p);                      // any thread
void os_poll_arm(struct os_poll *p, int64_t monotonic_ns); // any thread; INT64_MAX disarms
// Waits for at most timeout_ms (-1: for ever); returns the number of descriptors' events. A wake-up
// is consumed; *timer tells that the timer expired, which disarms it.
int os_poll_wait(struct os_poll *p, struct os_event *out, int max, int timeout_ms, bool *timer);
