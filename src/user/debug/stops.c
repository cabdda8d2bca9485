// The gate that guest threads pass around every run of guest code. To stop the program is to close
// it and to wait until none is inside; a thread in a system call of the host does not count, and
// waits at the gate when it is back. While something is watched the program is interpreted.
#include "user/debug/state.h"

void debug_wait(struct debug *d, struct thread *t)
{
    while (d->stopped || t->debug_held)
        pthread_cond_wait(&d->changed, &d->lock);
}

void debug_enter(struct thread *t)
{
    struct debug *d = t->u->debug;
    mutex_lock(&d->lock);
    debug_wait(d, t);
    d->running++;
    mutex_unlock(&d->lock);
}

void debug_leave(struct thread *t)
{
    struct debug *d = t->u->debug;
    mutex_lock(&d->lock);
    d->running--;
    if (d->stopped)
        pthread_cond_broadcast(&d->changed);
    mutex_unlock(&d->lock);
}

// Closes the gate and waits until nobody is inside. Lock held.
static void quiesce(struct debug *d)
{
    d->stopped = true;
    mutex_lock(&d->u->threads_lock);
    for (unsigned i = 0; i < d->u->max_threads; i++)
        if (d->u->threads[i])
            atomic_fetch_or(&d->u->threads[i]->env->interrupt, INTR_WORK);
    mutex_unlock(&d->u->threads_lock);
    while (d->running)
        pthread_cond_wait(&d->changed, &d->lock);
}

void debug_announce(struct debug *d, const struct gdb_stop *event)
{
    d->stopped = d->pending = true;
    d->event = *event;
    loop_defer(&d->announced);
}

static void step_none(struct debug *d)
{
    mutex_lock(&d->u->threads_lock);
    for (unsigned i = 0; i < d->u->max_threads; i++)
        if (d->u->threads[i] && d->u->threads[i]->debug_step) {
            d->u->threads[i]->debug_step = false;
            d->u->isa->debug_step(d->u->threads[i]->env, false);
        }
    mutex_unlock(&d->u->threads_lock);
}

void debug_stop_for(struct debug *d, const struct gdb_stop *otherwise)
{
    mutex_lock(&d->lock);
    quiesce(d);
    step_none(d);
    struct gdb_stop event = d->pending ? d->event : *otherwise;
    d->pending = false;
    mutex_unlock(&d->lock);
    gdb_stub_stopped(d->stub, &event);
    mutex_lock(&d->lock);
    d->told = event.why == GDB_STOP_EXIT || event.why == GDB_STOP_KILLED;
    pthread_cond_broadcast(&d->changed);
    mutex_unlock(&d->lock);
}

void debug_tell(void *opaque)
{
    struct debug *d = opaque;
    mutex_lock(&d->lock);
    bool pending = d->pending; // a request may have told it
    mutex_unlock(&d->lock);
    if (pending)
        debug_stop_for(d, &d->event);
}

// The access that met a watchpoint, where the debugger wants to stop behind it. One that faults is
// met again.
static void pass_watchpoint(struct thread *t)
{
    struct env *e = t->env;
    unsigned n = e->n_watchpoints;
    e->n_watchpoints = 0;
    t->u->isa->debug_step(e, true);
    t->u->accel->ops->run(t->u->accel, e);
    t->u->isa->debug_step(e, t->debug_step);
    atomic_fetch_and(&e->interrupt, ~(uint32_t)INTR_STEP);
    e->n_watchpoints = n;
}

static void watch_trap(struct thread *t, const struct env_watchpoint *w)
{
    struct debug *d = t->u->debug;
    t->env->watch_hit = NULL;
    struct gdb_stop stop = {.cpu = t->index,
                            .why = GDB_STOP_WATCH,
                            .address = w->va,
                            .watch = w->access == ENV_WRITE  ? GDB_WRITE_WATCH
                                     : w->access == ENV_READ ? GDB_READ_WATCH
                                                             : GDB_ACCESS_WATCH};
    mutex_lock(&d->lock);
    bool first = !d->stopped; // else it is met again
    if (first && !t->u->abi->watch_before)
        pass_watchpoint(t);
    if (first)
        debug_announce(d, &stop);
    mutex_unlock(&d->lock);
}

void debug_trap(struct thread *t, bool breakpoint)
{
    struct debug *d = t->u->debug;
    if (breakpoint && t->env->watch_hit) {
        watch_trap(t, t->env->watch_hit);
        return;
    }
    bool stepped = atomic_fetch_and(&t->env->interrupt, ~(uint32_t)INTR_STEP) & INTR_STEP;
    if (!breakpoint && !(stepped && t->debug_step))
        return;
    mutex_lock(&d->lock);
    if (!d->stopped) // else a breakpoint is met again when the thread goes on
        debug_announce(d, &(struct gdb_stop){.cpu = t->index, .why = GDB_STOP_TRAP});
    mutex_unlock(&d->lock);
}

int debug_signal(struct thread *t, int sig)
{
    struct debug *d = t->u->debug;
    mutex_lock(&d->lock);
    debug_wait(d, t);
    if (d->attached) {
        t->debug_signal = 0;
        debug_announce(d, &(struct gdb_stop){.cpu = t->index,
                                             .why = GDB_STOP_SIGNAL,
                                             .signal = debug_to_gdb(sig)});
        debug_wait(d, t);
        sig = d->attached ? t->debug_signal : sig;
    }
    mutex_unlock(&d->lock);
    return sig;
}

void debug_end(struct user *u, int status, int sig)
{
    struct debug *d = u->debug;
    mutex_lock(&d->lock);
    while (d->stopped)
        pthread_cond_wait(&d->changed, &d->lock);
    if (d->attached) {
        debug_announce(d, &(struct gdb_stop){.why = sig ? GDB_STOP_KILLED : GDB_STOP_EXIT,
                                             .signal = sig ? debug_to_gdb(sig) : 0,
                                             .exit_status = (uint8_t)status});
        while (!d->told)
            pthread_cond_wait(&d->changed, &d->lock);
    }
    mutex_unlock(&d->lock);
}

void debug_watch(struct thread *t)
{
    struct debug *d = t->u->debug;
    t->env->watchpoints = d->watchpoints.data;
    t->env->n_watchpoints = (unsigned)d->watchpoints.len;
    t->env->watch_hit = NULL;
}
