// vCPU threads: their life, what makes them stop and go on, and work that other threads hand them.
// One mutex and one condition per vCPU; the thread never holds it while guest code runs.
#include "accel/vcpu.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/trace.h"
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct work {
    struct list link;
    void (*fn)(struct vcpu *v, void *arg);
    void *arg;
    bool done;
};

struct vcpu_private {
    struct vcpus *vs;
    pthread_mutex_t lock;
    pthread_cond_t wake;    // to the vCPU's thread
    pthread_cond_t changed; // to those who wait for it
    struct list work;
    bool started, paused, parked, quit,
        step; // under lock; parked: the thread is not in guest code and sees `paused`
    enum vcpu_power power;
    uint64_t entry, arg;
    unsigned level;
    bool synced;         // env holds the whole state (ops->sync); the thread's own
    unsigned futile;     // waits in a row that had nothing to wait for; the thread's own
    atomic_bool waiting; // in pthread_cond_wait, or about to be
};

struct vcpus_private {
    struct isa_platform platform;
    bool running;
};

// ---- the vCPU's thread ----

// Before anyone else looks at the CPU's state. The lock is held again on return.
static void sync(struct vcpu *v)
{
    struct vcpu_private *p = v->p;
    if (p->synced || !v->accel->ops->sync)
        return;
    mutex_unlock(&p->lock);
    v->accel->ops->sync(v->accel, v->env);
    mutex_lock(&p->lock);
    p->synced = true;
}

// With the lock held: everything others asked for. Returns with `parked` false, ready to run guest
// code, or with quit set.
static void serve(struct vcpu *v)
{
    struct vcpu_private *p = v->p;
    for (;;) {
        if (!list_empty(&p->work) || p->paused || p->power != VCPU_ON)
            sync(v);
        while (!list_empty(&p->work)) {
            struct work *w = list_entry(p->work.next, struct work, link);
            list_remove(&w->link);
            mutex_unlock(&p->lock);
            w->fn(v, w->arg);
            mutex_lock(&p->lock);
            w->done = true;
            pthread_cond_broadcast(&p->changed);
        }
        if (p->quit)
            return;
        if (p->power == VCPU_ON_PENDING) { // also while paused: a debugger sees where it will start
            p->power = VCPU_ON;
            mutex_unlock(&p->lock);
            v->isa->start(v->env, p->entry, p->arg, p->level);
            mutex_lock(&p->lock);
            continue;
        }
        if (!p->paused && p->power == VCPU_ON) {
            p->parked = false;
            return;
        }
        p->parked = true;
        pthread_cond_broadcast(&p->changed);
        atomic_store(&p->waiting, true);
        pthread_cond_wait(&p->wake, &p->lock);
        atomic_store(&p->waiting, false);
    }
}

// With the lock held: something besides the interrupt that ends a wait.
static bool called(struct vcpu *v)
{
    struct vcpu_private *p = v->p;
    return p->quit || p->paused || !list_empty(&p->work) || atomic_load(&v->env->interrupt);
}

enum { FUTILE_WAITS = 64, DOZE_NS = 100000, DOZE_LIMIT = 10 };

// A wait ends at once where its interrupt is pending already. Software that then goes on waiting
// round after round instead of taking the interrupt looks at memory in between, for what another
// CPU is to write there: it gets ever longer naps, not to keep that one from its work.
static void doze(struct vcpu *v)
{
    struct vcpu_private *p = v->p;
    if (p->futile < FUTILE_WAITS + DOZE_LIMIT)
        p->futile++;
    if (p->futile <= FUTILE_WAITS)
        return;
    int64_t until = host_monotonic_ns() + ((int64_t)DOZE_NS << (p->futile - FUTILE_WAITS));
    struct timespec t = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    pthread_cond_clockwait(&p->wake, &p->lock, CLOCK_MONOTONIC, &t);
}

// WFI: sleep until an interrupt line, or anything else, wants the CPU.
static void halt(struct vcpu *v)
{
    struct vcpu_private *p = v->p;
    mutex_lock(&p->lock);
    atomic_store(&p->waiting, true);
    if (!called(v) && v->env->isa->has_work(v->env)) {
        doze(v);
    } else {
        p->futile = 0;
        while (!called(v) && !v->env->isa->has_work(v->env))
            pthread_cond_wait(&p->wake, &p->lock);
    }
    atomic_store(&p->waiting, false);
    mutex_unlock(&p->lock);
}

static void debug_stop(struct vcpu *v)
{
    struct vcpu_private *p = v->p;
    mutex_lock(&p->lock);
    p->paused = true;
    mutex_unlock(&p->lock);
    if (p->vs->debug_stop)
        p->vs->debug_stop(p->vs->opaque, v);
}

static void handle(struct vcpu *v, enum env_leave why)
{
    struct vcpu_private *p = v->p;
    switch (why) {
    case LEAVE_HALT:
        halt(v);
        break;
    case LEAVE_YIELD:
        sched_yield();
        break;
    case LEAVE_STOP:
        mutex_lock(&p->lock);
        if (p->power == VCPU_ON)
            p->power = VCPU_OFF;
        mutex_unlock(&p->lock);
        break;
    case LEAVE_DEBUG:
        debug_stop(v);
        break;
    default:
        break;
    }
}

enum { LINES = INTR_LINE | INTR_TIMER };

static void run_thread(void *arg)
{
    struct vcpu *v = arg;
    struct vcpu_private *p = v->p;
    const struct accel_ops *ops = v->accel->ops;
    v->host_tid = thread_host_id();
    if (ops->thread_enter)
        ops->thread_enter(v->accel, v->env);
    mutex_lock(&p->lock);
    p->started = true;
    for (;;) {
        atomic_fetch_and(&v->env->interrupt, ~(uint32_t)(INTR_WORK | INTR_STEP));
        serve(v);
        if (p->quit)
            break;
        bool step = p->step;
        p->synced = false;
        mutex_unlock(&p->lock);
        // A step keeps interrupts back: after a stop there is always one, and each step would end
        // in its handler.
        uint32_t held = step ? atomic_fetch_and(&v->env->interrupt, ~(uint32_t)LINES) & LINES : 0;
        enum env_leave why = ops->run(v->accel, v->env);
        atomic_fetch_or(&v->env->interrupt, held);
        if (why == LEAVE_INTERRUPT && !step && (atomic_load(&v->env->interrupt) & LINES) &&
            v->env->isa->take_interrupt(v->env))
            p->futile = 0;
        handle(v, why);
        // Work of other threads also makes a run come back, before anything was executed.
        if (step && why != LEAVE_DEBUG && (atomic_load(&v->env->interrupt) & INTR_STEP))
            debug_stop(v);
        mutex_lock(&p->lock);
    }
    p->parked = true;
    pthread_cond_broadcast(&p->changed);
    mutex_unlock(&p->lock);
    if (ops->thread_leave)
        ops->thread_leave(v->accel, v->env);
}

// ---- from other threads ----

static void wake(struct vcpu *v)
{
    pthread_cond_signal(&v->p->wake); // lock held
}

void vcpu_kick(struct vcpu *v, uint32_t interrupt_bits)
{
    struct vcpu_private *p = v->p;
    atomic_fetch_or(&v->env->interrupt, interrupt_bits);
    if (atomic_load(&p->waiting)) {
        mutex_lock(&p->lock);
        wake(v);
        mutex_unlock(&p->lock);
    }
    if (v->accel->ops->kick)
        v->accel->ops->kick(v->accel, v->env);
}

void vcpu_call(struct vcpu *v, void (*fn)(struct vcpu *v, void *arg), void *arg)
{
    struct vcpu_private *p = v->p;
    if (!v->thread || pthread_equal(pthread_self(), v->thread)) {
        fn(v, arg);
        return;
    }
    struct work w = {.fn = fn, .arg = arg};
    mutex_lock(&p->lock);
    list_append(&p->work, &w.link);
    wake(v);
    mutex_unlock(&p->lock);
    vcpu_kick(v, INTR_WORK);
    mutex_lock(&p->lock);
    while (!w.done)
        pthread_cond_wait(&p->changed, &p->lock);
    mutex_unlock(&p->lock);
}

static void notice(struct vcpus *vs, enum accel_notice what)
{
    if (vs->accel->ops->notice)
        vs->accel->ops->notice(vs->accel, what);
}

void vcpus_pause(struct vcpus *vs)
{
    for (unsigned i = 0; i < vs->n; i++) {
        struct vcpu_private *p = vs->v[i]->p;
        mutex_lock(&p->lock);
        p->paused = true;
        mutex_unlock(&p->lock);
        if (vs->v[i]->thread)
            vcpu_kick(vs->v[i], INTR_WORK);
    }
    for (unsigned i = 0; i < vs->n; i++) {
        struct vcpu_private *p = vs->v[i]->p;
        mutex_lock(&p->lock);
        while (vs->v[i]->thread && !p->parked)
            pthread_cond_wait(&p->changed, &p->lock);
        mutex_unlock(&p->lock);
    }
    if (vs->p->running)
        notice(vs, ACCEL_PAUSED);
    vs->p->running = false;
}

static void resume(struct vcpus *vs, const bool *which, unsigned n)
{
    if (!vs->p->running)
        notice(vs, ACCEL_RESUMED);
    vs->p->running = true;
    for (unsigned i = 0; i < n; i++) {
        struct vcpu_private *p = vs->v[i]->p;
        if (which && !which[i])
            continue;
        mutex_lock(&p->lock);
        p->paused = false;
        wake(vs->v[i]);
        mutex_unlock(&p->lock);
    }
}

void vcpus_resume(struct vcpus *vs)
{
    resume(vs, NULL, vs->n);
}

void vcpus_resume_some(struct vcpus *vs, const bool *which, unsigned n)
{
    resume(vs, which, MIN(n, vs->n));
}

bool vcpus_running(const struct vcpus *vs)
{
    return vs->p->running;
}

static void reset_one(struct vcpu *v, void *arg)
{
    v->isa->reset(v->env);
}

void vcpus_reset_chips(struct vcpus *vs)
{
    notice(vs, ACCEL_RESET);
}

void vcpu_reset(struct vcpu *v)
{
    mutex_lock(&v->p->lock);
    v->p->power = VCPU_OFF;
    mutex_unlock(&v->p->lock);
    vcpu_call(v, reset_one, NULL);
}

void vcpu_power_on(struct vcpu *v, uint64_t entry, uint64_t arg, unsigned level)
{
    struct vcpu_private *p = v->p;
    mutex_lock(&p->lock);
    p->entry = entry;
    p->arg = arg;
    p->level = level;
    p->power = VCPU_ON_PENDING;
    wake(v);
    mutex_unlock(&p->lock);
}

void vcpu_set_power(struct vcpu *v, bool on)
{
    mutex_lock(&v->p->lock);
    v->p->power = on ? VCPU_ON : VCPU_OFF;
    mutex_unlock(&v->p->lock);
}

enum vcpu_power vcpu_power_state(const struct vcpu *v)
{
    struct vcpu_private *p = v->p;
    mutex_lock(&p->lock);
    enum vcpu_power s = p->power;
    mutex_unlock(&p->lock);
    return s;
}

struct irq vcpu_line(struct vcpu *v, unsigned n)
{
    return v->isa->line(v->env, n);
}

// ---- what the CPU asks of the machine ----

static struct vcpu *by_hw_id(struct vcpus *vs, uint64_t hw_id)
{
    for (unsigned i = 0; i < vs->n; i++)
        if (vs->v[i]->hw_id == hw_id)
            return vs->v[i];
    return NULL;
}

static int platform_cpu_on(void *opaque, uint64_t hw_id, uint64_t entry, uint64_t arg,
                           unsigned level)
{
    struct vcpu *v = by_hw_id(opaque, hw_id);
    if (!v)
        return POWER_NO_SUCH_CPU;
    enum vcpu_power s = vcpu_power_state(v);
    if (s != VCPU_OFF)
        return s == VCPU_ON ? POWER_ALREADY_ON : POWER_ON_PENDING;
    vcpu_power_on(v, entry, arg, level);
    return POWER_OK;
}

static int platform_cpu_state(void *opaque, uint64_t hw_id)
{
    struct vcpu *v = by_hw_id(opaque, hw_id);
    return v ? vcpu_power_state(v) != VCPU_OFF : -2;
}

static void platform_cpu_off(void *opaque, struct env *e)
{
    TRACE(vcpu_power_off, "cpu %u", e->cpu_index);
}

static void platform_system_off(void *opaque)
{
    struct vcpus *vs = opaque;
    if (vs->guest_off)
        vs->guest_off(vs->opaque, false);
}

static void platform_system_reset(void *opaque)
{
    struct vcpus *vs = opaque;
    if (vs->guest_off)
        vs->guest_off(vs->opaque, true);
}

static void platform_system_failed(void *opaque, const char *why, bool host)
{
    struct vcpus *vs = opaque;
    if (vs->guest_failed)
        vs->guest_failed(vs->opaque, why, host);
}

static void platform_kick(void *opaque, struct env *e)
{
    struct vcpus *vs = opaque;
    vcpu_kick(vs->v[e->cpu_index], 0);
}

// ---- creation and end ----

static struct vcpu *vcpu_new(struct vcpus *vs, unsigned index,
                             void (*config)(void *, unsigned, struct isa_config *), void *opaque,
                             struct err *e)
{
    struct isa_config c = {
        .index = index, .hw_id = index, .memory = vs->accel->memory, .platform = &vs->p->platform};
    config(opaque, index, &c);
    struct vcpu *v = xalloc(sizeof *v);
    v->accel = vs->accel;
    v->isa = vs->isa;
    v->index = index;
    v->hw_id = c.hw_id;
    v->p = xalloc(sizeof *v->p);
    v->p->vs = vs;
    v->p->paused = v->p->parked = true;
    list_init(&v->p->work);
    pthread_mutex_init(&v->p->lock, NULL);
    pthread_cond_init(&v->p->wake, NULL);
    pthread_cond_init(&v->p->changed, NULL);
    v->env = vs->accel->ops->cpu_new(vs->accel, &c, e);
    if (!v->env) {
        free(v->p);
        free(v);
        return NULL;
    }
    v->env->vcpu = v;
    return v;
}

static void memory_changed(void *opaque)
{
    struct vcpus *vs = opaque;
    notice(vs, ACCEL_MEMORY);
}

struct vcpus *vcpus_new(struct accel *a, const struct isa *isa, unsigned n,
                        void (*config)(void *opaque, unsigned i, struct isa_config *c),
                        void *opaque, struct err *e)
{
    struct vcpus *vs = xalloc(sizeof *vs);
    vs->accel = a;
    vs->isa = isa;
    vs->p = xalloc(sizeof *vs->p);
    vs->p->platform = (struct isa_platform){.opaque = vs,
                                            .cpu_on = platform_cpu_on,
                                            .cpu_state = platform_cpu_state,
                                            .cpu_off = platform_cpu_off,
                                            .system_off = platform_system_off,
                                            .system_reset = platform_system_reset,
                                            .system_failed = platform_system_failed,
                                            .kick = platform_kick};
    vs->v = xcalloc(n, sizeof *vs->v);
    for (; vs->n < n; vs->n++)
        if (!(vs->v[vs->n] = vcpu_new(vs, vs->n, config, opaque, e))) {
            vcpus_free(vs);
            return NULL;
        }
    space_listen(a->memory, memory_changed, vs);
    return vs;
}

void vcpus_free(struct vcpus *vs)
{
    if (!vs)
        return;
    space_unlisten(vs->accel->memory, memory_changed, vs);
    for (unsigned i = 0; i < vs->n; i++) {
        struct vcpu *v = vs->v[i];
        if (v->thread) {
            mutex_lock(&v->p->lock);
            v->p->quit = true;
            wake(v);
            mutex_unlock(&v->p->lock);
            vcpu_kick(v, INTR_WORK);
            pthread_join(v->thread, NULL);
        }
    }
    for (unsigned i = 0; i < vs->n; i++) {
        struct vcpu *v = vs->v[i];
        vs->accel->ops->cpu_free(vs->accel, v->env);
        pthread_mutex_destroy(&v->p->lock);
        pthread_cond_destroy(&v->p->wake);
        pthread_cond_destroy(&v->p->changed);
        free(v->p);
        free(v);
    }
    free(vs->v);
    free(vs->p);
    free(vs);
}

int vcpus_start_threads(struct vcpus *vs, struct err *e)
{
    for (unsigned i = 0; i < vs->n; i++) {
        char name[16];
        snprintf(name, sizeof name, "CPU %u", i);
        vs->v[i]->thread = thread_start(name, run_thread, vs->v[i]);
    }
    return 0;
}

// ---- debugger ----

int vcpus_breakpoint(struct vcpus *vs, uint64_t pc, bool insert)
{
    if (accel_breakpoint(vs->accel, pc, insert))
        return -1;
    notice(vs, ACCEL_CODE);
    return 0;
}

int vcpus_watchpoints(struct vcpus *vs, const struct env_watchpoint *list, unsigned n)
{
    if (!vs->accel->ops->watches)
        return -1;
    for (unsigned i = 0; i < vs->n; i++) {
        vs->v[i]->env->watchpoints = list;
        vs->v[i]->env->n_watchpoints = n;
        vs->v[i]->env->watch_hit = NULL;
    }
    notice(vs, ACCEL_MEMORY); // what is cached was not looked at
    return 0;
}

static void set_step(struct vcpu *v, void *arg)
{
    v->isa->debug_step(v->env, *(bool *)arg);
}

void vcpu_single_step(struct vcpu *v, bool on)
{
    v->p->step = on;
    vcpu_call(v, set_step, &on);
}
