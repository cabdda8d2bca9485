// Threads. Signals are the main thread's business; others keep only those that a fault of their own
// raises.
#include "base/thread.h"
#include "base/log.h"
#include "base/os/os.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct start {
    char name[16];
    void (*run)(void *);
    void *arg;
};

static void *enter(void *opaque)
{
    struct start s = *(struct start *)opaque;
    free(opaque);
    os_thread_set_name(s.name);
    s.run(s.arg);
    return NULL;
}

pthread_t thread_start(const char *name, void (*run)(void *), void *arg)
{
    struct start *s = xalloc(sizeof *s);
    snprintf(s->name, sizeof s->name, "%s", name);
    s->run = run;
    s->arg = arg;
    sigset_t all, old;
    sigfillset(&all);
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
        sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_t id;
    int rc = pthread_create(&id, NULL, enter, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc) {
        log_error("cannot start thread '%s': %s (see ulimit -u and the cgroup's pids.max)", name,
                  strerror(rc));
        exit(1);
    }
    return id;
}

int thread_host_id(void)
{
    return os_thread_id();
}
