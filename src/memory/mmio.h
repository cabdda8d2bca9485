// A window of device registers: what a bus dispatches to. Access size is 1, 2, 4 or 8 bytes and
// never crosses the window's end; what a device does not support is split or merged by the bus
// according to the two limits. Values are little-endian numbers in the low bits.
#pragma once

#include "memory/types.h"
#include <pthread.h>

struct mmio_ops {
    // Either may be NULL: reads give zero, writes are dropped, both are counted as guest errors.
    enum mem_result (*read)(void *opaque, gpa_t off, unsigned size, uint64_t *val,
                            struct mem_attrs attrs);
    enum mem_result (*write)(void *opaque, gpa_t off, unsigned size, uint64_t val,
                             struct mem_attrs attrs);
    uint8_t min_size, max_size; // 0 means 1 and 8; wider accesses are split, narrower ones
                                // read-modified or passed as `narrow` says
    bool narrow; // pass accesses below min_size through unchanged instead of widening them
};

// The state the bus keeps for one device: its lock, and the flag by which a device is never entered
// while it is on the stack (SECURITY.md, R5): such a read gives all ones, such a write is dropped,
// both are counted and traced.
struct mmio_guard {
    pthread_mutex_t lock; // held while a handler runs, and by the device's own timers, deferred
                          // work and completions
    unsigned engaged;     // how often the device is on the lock holder's stack
    uint64_t refused;     // re-entrant accesses turned away
};
void mmio_guard_init(struct mmio_guard *g);
// For the device's own asynchronous work: lock and engaged. Nests.
void mmio_guard_enter(struct mmio_guard *g);
void mmio_guard_leave(struct mmio_guard *g);
