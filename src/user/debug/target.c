// What the gdb stub asks of the process (gdb/gdb.h), on the stub's thread; the program is stopped.
#include "user/debug/state.h"

#include "base/buf.h"
#include "user/guest.h"

#include <sys/uio.h>
#include <unistd.h>

// The thread, which stays as long as threads_lock is held. NULL: it has ended.
static struct thread *thread_at(struct debug *d, unsigned cpu)
{
    return cpu < d->u->max_threads ? d->u->threads[cpu] : NULL;
}

static unsigned target_n_cpus(void *opaque)
{
    struct debug *d = opaque;
    unsigned n = 1;
    mutex_lock(&d->u->threads_lock);
    for (unsigned i = 0; i < d->u->max_threads; i++)
        if (d->u->threads[i])
            n = i + 1;
    mutex_unlock(&d->u->threads_lock);
    return n;
}

static bool target_alive(void *opaque, unsigned cpu)
{
    struct debug *d = opaque;
    mutex_lock(&d->u->threads_lock);
    bool there = thread_at(d, cpu) != NULL;
    mutex_unlock(&d->u->threads_lock);
    return there;
}

static void target_cpu_text(void *opaque, unsigned cpu, struct buf *out)
{
    struct debug *d = opaque;
    mutex_lock(&d->u->threads_lock);
    struct thread *t = thread_at(d, cpu);
    if (t)
        buf_printf(out, "thread %d", t->tid);
    mutex_unlock(&d->u->threads_lock);
}

static const struct isa_reg *reg_of(const struct isa *isa, unsigned n)
{
    for (unsigned i = 0; i < isa->n_regs; i++)
        if (isa->regs[i].gdb == (int)n)
            return &isa->regs[i];
    return NULL;
}

static unsigned target_n_regs(void *opaque)
{
    const struct isa *isa = ((struct debug *)opaque)->u->isa;
    int n = 0;
    for (unsigned i = 0; i < isa->n_regs; i++)
        n = MAX(n, isa->regs[i].gdb + 1);
    return (unsigned)n;
}

static size_t access_reg(struct debug *d, unsigned cpu, unsigned n, uint8_t *out, const uint8_t *in,
                         size_t len)
{
    const struct isa_reg *r = reg_of(d->u->isa, n);
    size_t size = r ? (r->bits + 7u) / 8 : 0;
    mutex_lock(&d->u->threads_lock);
    struct thread *t = thread_at(d, cpu);
    if (!t || size > len)
        size = 0;
    else if (size && in)
        r->set(t->env, r, in);
    else if (size)
        r->get(t->env, r, out);
    mutex_unlock(&d->u->threads_lock);
    return size;
}

static size_t target_read_reg(void *opaque, unsigned cpu, unsigned n, uint8_t *out)
{
    return access_reg(opaque, cpu, n, out, NULL, GDB_REG_MAX);
}

static size_t target_write_reg(void *opaque, unsigned cpu, unsigned n, const uint8_t *in,
                               size_t len)
{
    return access_reg(opaque, cpu, n, NULL, in, len);
}

static void target_set_pc(void *opaque, unsigned cpu, uint64_t pc)
{
    struct debug *d = opaque;
    mutex_lock(&d->u->threads_lock);
    struct thread *t = thread_at(d, cpu);
    if (t)
        d->u->isa->set_pc(t->env, pc);
    mutex_unlock(&d->u->threads_lock);
}

// By the kernel, which says where memory ends instead of faulting: page by page, for what comes
// before the end.
static size_t access_mem(struct debug *d, uint64_t addr, void *buf, size_t n, bool write)
{
    size_t done = 0;
    while (done < n && mm_inside(&d->u->mm, addr + done, 1)) {
        size_t k = MIN(n - done, (size_t)(4096 - ((addr + done) & 4095)));
        struct iovec ours = {(uint8_t *)buf + done, k};
        struct iovec guest = {mm_host(&d->u->mm, addr + done), k};
        ssize_t got = write ? process_vm_writev(getpid(), &ours, 1, &guest, 1, 0)
                            : process_vm_readv(getpid(), &ours, 1, &guest, 1, 0);
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    if (write && done)
        d->u->accel->ops->notice(d->u->accel, ACCEL_CODE);
    return done;
}

static size_t target_read_mem(void *opaque, unsigned cpu, enum gdb_memory m, uint64_t addr,
                              void *dst, size_t n)
{
    return access_mem(opaque, addr, dst, n, false);
}

static size_t target_write_mem(void *opaque, unsigned cpu, enum gdb_memory m, uint64_t addr,
                               const void *src, size_t n)
{
    return access_mem(opaque, addr, (void *)(uintptr_t)src, n, true);
}

static int change_point(struct debug *d, uint64_t addr, bool insert)
{
    if (accel_breakpoint(d->u->accel, addr, insert))
        return -1;
    d->u->accel->ops->notice(d->u->accel, ACCEL_CODE);
    return 0;
}

static int change_watchpoint(struct debug *d, enum gdb_point kind, uint64_t addr, uint64_t len,
                             bool insert)
{
    static const unsigned accesses[GDB_N_POINTS] = {[GDB_WRITE_WATCH] = ENV_WRITE,
                                                    [GDB_READ_WATCH] = ENV_READ,
                                                    [GDB_ACCESS_WATCH] = ENV_READ | ENV_WRITE};
    size_t at = 0;
    while (at < d->watchpoints.len &&
           (d->watchpoints.data[at].va != addr || d->watchpoints.data[at].len != len ||
            d->watchpoints.data[at].access != accesses[kind]))
        at++;
    if (insert == (at < d->watchpoints.len))
        return -1;
    if (insert)
        vec_push(&d->watchpoints, (struct env_watchpoint){addr, len, accesses[kind]});
    else
        vec_remove(&d->watchpoints, at);
    mutex_lock(&d->u->threads_lock);
    for (unsigned i = 0; i < d->u->max_threads; i++)
        if (d->u->threads[i])
            debug_watch(d->u->threads[i]);
    mutex_unlock(&d->u->threads_lock);
    return 0;
}

static int target_insert(void *opaque, enum gdb_point kind, uint64_t addr, uint64_t len)
{
    return kind > GDB_HARDWARE_BREAK ? change_watchpoint(opaque, kind, addr, len, true)
                                     : change_point(opaque, addr, true);
}

static int target_remove(void *opaque, enum gdb_point kind, uint64_t addr, uint64_t len)
{
    return kind > GDB_HARDWARE_BREAK ? change_watchpoint(opaque, kind, addr, len, false)
                                     : change_point(opaque, addr, false);
}

static void target_signal(void *opaque, unsigned cpu, unsigned number)
{
    struct debug *d = opaque;
    mutex_lock(&d->u->threads_lock);
    struct thread *t = thread_at(d, cpu);
    if (t)
        t->debug_signal = debug_from_gdb(number);
    mutex_unlock(&d->u->threads_lock);
}

static void target_resume(void *opaque, const enum gdb_action *actions, unsigned n)
{
    struct debug *d = opaque;
    mutex_lock(&d->lock);
    d->attached = gdb_stub_attached(d->stub);
    mutex_lock(&d->u->threads_lock);
    for (unsigned i = 0; i < d->u->max_threads; i++) {
        struct thread *t = d->u->threads[i];
        enum gdb_action a = i < n ? actions[i] : GDB_CONTINUE;
        if (!t)
            continue;
        t->debug_held = a == GDB_STAY;
        t->debug_step = a == GDB_STEP;
        atomic_fetch_and(&t->env->interrupt, ~(uint32_t)INTR_STEP);
        d->u->isa->debug_step(t->env, t->debug_step);
    }
    mutex_unlock(&d->u->threads_lock);
    d->stopped = false;
    pthread_cond_broadcast(&d->changed);
    mutex_unlock(&d->lock);
}

static void target_stop(void *opaque)
{
    struct debug *d = opaque;
    mutex_lock(&d->lock);
    d->attached = true;
    mutex_unlock(&d->lock);
    debug_stop_for(d, &(struct gdb_stop){.why = GDB_STOP_REQUEST});
}

static const char *target_xml(void *opaque, const char *annex)
{
    struct debug *d = opaque;
    const struct isa *isa = d->u->isa;
    mutex_lock(&d->u->threads_lock);
    struct thread *t = NULL;
    for (unsigned i = 0; i < d->u->max_threads && !t; i++)
        t = d->u->threads[i];
    const char *text = t && isa->gdb_xml ? isa->gdb_xml(t->env, annex) : NULL;
    mutex_unlock(&d->u->threads_lock);
    return text;
}

static void target_auxv(void *opaque, struct buf *out)
{
    struct debug *d = opaque;
    void *p = buf_grow(out, d->u->auxv_size);
    size_t got = access_mem(d, d->u->auxv, p, d->u->auxv_size, false);
    memset((uint8_t *)p + got, 0, d->u->auxv_size - got);
}

static unsigned target_pid(void *opaque)
{
    return (unsigned)((struct debug *)opaque)->pid;
}

static void target_follow(void *opaque, bool child)
{
    struct debug *d = opaque;
    mutex_lock(&d->lock);
    if (d->vfork == VFORK_ASKED && child) {
        d->parent_pid = d->pid;
        d->pid = d->vfork_pid;
    }
    if (d->vfork == VFORK_ASKED)
        d->vfork = child ? VFORK_FOLLOWED : VFORK_ALONE;
    else if (d->child >= 0)
        debug_decide(d->child, child ? d->child_pid : 0);
    d->child = -1;
    mutex_unlock(&d->lock);
}

static void target_kill(void *opaque)
{
    _exit(128 + SIGKILL);
}

const struct gdb_target_ops debug_target = {
    .n_cpus = target_n_cpus,
    .alive = target_alive,
    .cpu_text = target_cpu_text,
    .n_regs = target_n_regs,
    .read_reg = target_read_reg,
    .write_reg = target_write_reg,
    .set_pc = target_set_pc,
    .read_mem = target_read_mem,
    .write_mem = target_write_mem,
    .insert = target_insert,
    .remove = target_remove,
    .signal = target_signal,
    .resume = target_resume,
    .stop = target_stop,
    .xml = target_xml,
    .auxv = target_auxv,
    .kill = target_kill,
    .pid = target_pid,
    .follow = target_follow,
};
