// Waiting for other vCPUs without ever stopping them. A vCPU is either in translated code (or in a
// helper called from there) or outside; on its way in it looks at what others asked of it. So a
// waiter first posts its wish, then waits only for those that are inside. Waiters serve their own
// queue meanwhile, so two that wait for each other both go on.
#include "jit/state.h"

#include <sched.h>
#include <time.h>

_Thread_local struct jit_vcpu *jit_current;

void jit_kick(struct jit_vcpu *v, uint32_t pending)
{
    atomic_fetch_or(&v->pending, pending);
    if (atomic_load(&v->in_code))
        atomic_fetch_or(&jit_env(v)->interrupt, INTR_EXECUTOR);
}

void jit_lock(struct jit *j)
{
    mutex_lock(&j->lock);
}

void jit_unlock(struct jit *j)
{
    mutex_unlock(&j->lock);
}

uint64_t jit_epoch_next(struct jit *j)
{
    uint64_t e = atomic_fetch_add(&j->epoch, 1) + 1;
    for (unsigned k = 0; k < j->c.max_vcpus; k++) {
        struct jit_vcpu *v = __atomic_load_n(&j->vcpu[k], __ATOMIC_ACQUIRE);
        if (v)
            jit_kick(v, PEND_EPOCH);
    }
    return e;
}

static void pause_a_little(unsigned round)
{
    if (round < 64) {
        sched_yield();
        return;
    }
    struct timespec t = {.tv_nsec = 20000};
    nanosleep(&t, NULL);
}

static void serve_own(void)
{
    if (jit_current && atomic_load(&jit_current->pending) & PEND_FLUSH)
        jit_flush_queue(jit_current);
}

// A CPU may be freed while somebody waits for it: its memory is kept until nobody waits.
static void wait_begin(struct jit *j)
{
    j->n_waiting++;
    jit_unlock(j); // those waited for may want it
}

static void wait_end(struct jit *j)
{
    jit_lock(j);
    if (!--j->n_waiting)
        jit_vcpus_forget(j);
}

void jit_wait_outside(struct jit *j)
{
    wait_begin(j);
    for (unsigned k = 0; k < j->c.max_vcpus; k++) {
        struct jit_vcpu *v = __atomic_load_n(&j->vcpu[k], __ATOMIC_ACQUIRE);
        if (!v || v == jit_current)
            continue;
        uint64_t entries = atomic_load(&v->entries);
        for (unsigned round = 0; atomic_load(&v->in_code) && atomic_load(&v->entries) == entries;
             round++) {
            if (!round)
                atomic_fetch_or(&jit_env(v)->interrupt, INTR_EXECUTOR);
            serve_own();
            pause_a_little(round);
        }
    }
    wait_end(j);
}

void jit_wait_quiet(struct jit *j, uint64_t epoch)
{
    wait_begin(j);
    for (unsigned k = 0; k < j->c.max_vcpus; k++) {
        struct jit_vcpu *v = __atomic_load_n(&j->vcpu[k], __ATOMIC_ACQUIRE);
        for (unsigned round = 0; v && v != jit_current && atomic_load(&v->in_code) &&
                                 atomic_load(&v->epoch_seen) < epoch;
             round++) {
            serve_own();
            pause_a_little(round);
        }
    }
    wait_end(j);
}

void jit_wait_flushed(struct jit *j)
{
    for (unsigned k = 0; k < j->c.max_vcpus; k++) {
        struct jit_vcpu *v = __atomic_load_n(&j->vcpu[k], __ATOMIC_ACQUIRE);
        for (unsigned round = 0; v && v != jit_current && atomic_load(&v->in_code) &&
                                 atomic_load(&v->pending) & PEND_FLUSH;
             round++) {
            serve_own();
            pause_a_little(round);
        }
    }
}
