// Threads with names; mutexes and condition variables are pthreads' own.
#pragma once

#include "base/base.h"
#include <pthread.h>

// Starts a joinable thread with all signals blocked except those that report its own faults. The
// name shows in ps and gdb (at most 15 bytes).
pthread_t thread_start(const char *name, void (*run)(void *), void *arg);
int thread_host_id(void); // gettid()

static inline void mutex_lock(pthread_mutex_t *m)
{
    BUG_ON(pthread_mutex_lock(m));
}
static inline void mutex_unlock(pthread_mutex_t *m)
{
    BUG_ON(pthread_mutex_unlock(m));
}
