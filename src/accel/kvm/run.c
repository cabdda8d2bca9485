// A vCPU's thread in the kernel: entry, the exits that mean the same on every architecture, and the
// state that moves between the kernel and us. Others get the thread out with a signal and
// `immediate_exit`, which closes the race between looking and entering.
#include "accel/kvm/kvm.h"
#include "base/bits.h"
#include "base/log.h"
#include "base/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <stdio.h>

#define KICK SIGUSR1

static void kicked(int signal) {}

void kvm_vcpu_enter(struct accel *a, struct env *e)
{
    struct kvm_vcpu *v = kvm_vcpu_of(e);
    struct sigaction sa = {.sa_handler = kicked};
    sigset_t set;
    sigaction(KICK, &sa, NULL);
    sigemptyset(&set);
    sigaddset(&set, KICK);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    v->thread = pthread_self();
}

void kvm_vcpu_kick(struct accel *a, struct env *e)
{
    struct kvm_vcpu *v = kvm_vcpu_of(e);
    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (atomic_load(&v->in_kernel))
        pthread_kill(v->thread, KICK);
}

enum env_leave kvm_vcpu_failed(struct kvm_vcpu *v, bool host, const char *fmt, ...)
{
    char why[200];
    struct buf state = {0};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    kvm_arch_describe(v, &state);
    log_error("CPU %u: %s; %s", kvm_env(v)->cpu_index, why, buf_str(&state));
    buf_free(&state);
    v->broken = true;
    const struct isa_platform *p = v->config.platform;
    if (p && p->system_failed)
        p->system_failed(p->opaque, why, host);
    return LEAVE_STOP;
}

// ---- accesses ----

static struct mem_attrs attrs_of(struct kvm_vcpu *v)
{
    return (struct mem_attrs){.requester = kvm_env(v)->cpu_index};
}

// In pieces that are powers of two; what nobody decodes reads as ones.
static void access_pieces(struct kvm_vcpu *v, struct space *s, gpa_t at, uint8_t *p, unsigned n,
                          bool write)
{
    for (unsigned done = 0; done < n;) {
        unsigned left = n - done;
        unsigned size = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        uint64_t val = 0;
        if (write) {
            memcpy(&val, p + done, size);
            space_write(s, at + done, size, val, attrs_of(v));
        } else {
            if (space_read(s, at + done, size, &val, attrs_of(v)) != MEM_OK)
                val = UINT64_MAX;
            memcpy(p + done, &val, size);
        }
        done += size;
    }
}

void kvm_access(struct kvm_vcpu *v, struct space_near *near, struct space *s, gpa_t at, uint8_t *p,
                unsigned n, bool write)
{
    struct space_hit h = space_lookup_near(near, s, at);
    uint64_t val = 0;
    if (unlikely(!is_pow2(n) || h.len < n)) {
        access_pieces(v, s, at, p, n, write);
    } else if (write) {
        memcpy(&val, p, n);
        space_write_hit(&h, n, val, attrs_of(v));
    } else {
        if (h.kind == SPACE_NOTHING || space_read_hit(&h, n, &val, attrs_of(v)) != MEM_OK)
            val = UINT64_MAX;
        memcpy(p, &val, n);
    }
}

static void port_exit(struct kvm_vcpu *v)
{
    struct kvm_run *r = v->run;
    uint8_t *p = (uint8_t *)r + r->io.data_offset;
    bool write = r->io.direction == KVM_EXIT_IO_OUT;
    struct space_near *near = &v->ports[r->io.port / 8 % ARRAY_SIZE(v->ports)];
    for (uint32_t i = 0; i < r->io.count; i++, p += r->io.size)
        if (v->config.ports)
            kvm_access(v, near, v->config.ports, r->io.port, p, r->io.size, write);
        else if (!write)
            memset(p, 0xff, r->io.size);
    v->unfinished = true;
}

static void mmio_exit(struct kvm_vcpu *v)
{
    struct kvm_run *r = v->run;
    gpa_t at = r->mmio.phys_addr;
    kvm_access(v, &v->registers[at / 512 % ARRAY_SIZE(v->registers)], v->kvm->accel->memory, at,
               r->mmio.data, MIN(r->mmio.len, 8u), r->mmio.is_write);
    v->unfinished = true;
}

static enum env_leave system_event(struct kvm_vcpu *v)
{
    const struct isa_platform *p = v->config.platform;
    switch (v->run->system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
        p->system_off(p->opaque);
        return LEAVE_INTERRUPT;
    case KVM_SYSTEM_EVENT_RESET:
        p->system_reset(p->opaque);
        return LEAVE_INTERRUPT;
    default:
        return kvm_vcpu_failed(v, false, "the guest crashed (system event %u)",
                               v->run->system_event.type);
    }
}

// A CPU that lost its way for good (on x86 a triple fault): the machine starts again, which is also
// how some kernels reboot on purpose.
static enum env_leave shutdown(struct kvm_vcpu *v)
{
    struct buf state = {0};
    const struct isa_platform *p = v->config.platform;
    kvm_arch_describe(v, &state);
    log_warn("CPU %u: triple fault, the machine is reset; %s", kvm_env(v)->cpu_index,
             buf_str(&state));
    buf_free(&state);
    p->system_reset(p->opaque);
    return LEAVE_STOP;
}

// ---- the exits ----

static const char *const exit_names[] = {
    [KVM_EXIT_UNKNOWN] = "unknown",
    [KVM_EXIT_EXCEPTION] = "exception",
    [KVM_EXIT_IO] = "io",
    [KVM_EXIT_HYPERCALL] = "hypercall",
    [KVM_EXIT_DEBUG] = "debug",
    [KVM_EXIT_HLT] = "hlt",
    [KVM_EXIT_MMIO] = "mmio",
    [KVM_EXIT_IRQ_WINDOW_OPEN] = "irq-window-open",
    [KVM_EXIT_SHUTDOWN] = "shutdown",
    [KVM_EXIT_FAIL_ENTRY] = "fail-entry",
    [KVM_EXIT_INTR] = "intr",
    [KVM_EXIT_SET_TPR] = "set-tpr",
    [KVM_EXIT_TPR_ACCESS] = "tpr-access",
    [KVM_EXIT_NMI] = "nmi",
    [KVM_EXIT_INTERNAL_ERROR] = "internal-error",
    [KVM_EXIT_SYSTEM_EVENT] = "system-event",
    [KVM_EXIT_IOAPIC_EOI] = "ioapic-eoi",
    [KVM_EXIT_HYPERV] = "hyperv",
    [KVM_EXIT_ARM_NISV] = "arm-nisv",
    [KVM_EXIT_X86_RDMSR] = "rdmsr",
    [KVM_EXIT_X86_WRMSR] = "wrmsr",
    [KVM_EXIT_DIRTY_RING_FULL] = "dirty-ring-full",
};

static enum env_leave internal_error(struct kvm_vcpu *v)
{
    static const char *const kinds[] = {"", "emulation of an instruction failed",
                                        "two faults at once", "an exit while delivering an event",
                                        "an exit it did not expect"};
    uint32_t kind = v->run->internal.suberror;
    // A kernel that emulates all instructions does not know the trap of a breakpoint.
    if (kind == KVM_INTERNAL_ERROR_EMULATION && kvm_arch_at_breakpoint(v))
        return LEAVE_DEBUG;
    return kvm_vcpu_failed(v, kind != KVM_INTERNAL_ERROR_EMULATION, "KVM cannot go on: %s (%u)",
                           kind < ARRAY_SIZE(kinds) ? kinds[kind] : "", kind);
}

// LEAVE_AGAIN: enter again at once.
static enum env_leave rare_exit(struct kvm_vcpu *v)
{
    struct kvm_run *r = v->run;
    enum env_leave why = LEAVE_AGAIN;
    switch (r->exit_reason) {
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        return LEAVE_AGAIN;
    case KVM_EXIT_HLT:
        return LEAVE_HALT;
    case KVM_EXIT_DEBUG:
        return kvm_arch_debug_exit(v) ? LEAVE_DEBUG : LEAVE_AGAIN;
    case KVM_EXIT_SHUTDOWN:
        return shutdown(v);
    case KVM_EXIT_SYSTEM_EVENT:
        return system_event(v);
    case KVM_EXIT_DIRTY_RING_FULL:
        kvm_dirty_ring_full(v->kvm);
        return LEAVE_AGAIN;
    case KVM_EXIT_FAIL_ENTRY:
        return kvm_vcpu_failed(v, true,
                               "the processor refused to enter the guest (reason 0x%" PRIx64 ")",
                               (uint64_t)r->fail_entry.hardware_entry_failure_reason);
    case KVM_EXIT_INTERNAL_ERROR:
        return internal_error(v);
    default:
        if (kvm_arch_exit(v, &why))
            return why;
        return kvm_vcpu_failed(v, true, "KVM came back for a reason we do not serve: %u (%s)",
                               r->exit_reason,
                               r->exit_reason < ARRAY_SIZE(exit_names) && exit_names[r->exit_reason]
                                   ? exit_names[r->exit_reason]
                                   : "?");
    }
}

static enum env_leave handle_exit(struct kvm_vcpu *v)
{
    TRACE(kvm_exit, "cpu %u reason %u", kvm_env(v)->cpu_index, v->run->exit_reason);
    if (kvm_coalesced_any(v->kvm))
        kvm_coalesced_serve(v);
    switch (v->run->exit_reason) {
    case KVM_EXIT_IO:
        kvm_count(v, KVM_COUNT_PORT);
        port_exit(v);
        return LEAVE_AGAIN;
    case KVM_EXIT_MMIO:
        kvm_count(v, KVM_COUNT_REGISTER);
        mmio_exit(v);
        return LEAVE_AGAIN;
    default:
        kvm_count(v, KVM_COUNT_OTHER);
        return rare_exit(v);
    }
}

// ---- entering ----

static void leave(struct kvm_vcpu *v)
{
    struct kvm *k = v->kvm;
    atomic_store(&v->in_kernel, false);
    if (unlikely(atomic_load(&k->held))) {
        mutex_lock(&k->hold_lock);
        pthread_cond_broadcast(&k->hold_changed);
        mutex_unlock(&k->hold_lock);
    }
}

static void wait_for_release(struct kvm_vcpu *v)
{
    struct kvm *k = v->kvm;
    atomic_store(&v->in_kernel, true);
    while (unlikely(atomic_load(&k->held))) {
        leave(v);
        mutex_lock(&k->hold_lock);
        while (atomic_load(&k->held))
            pthread_cond_wait(&k->hold_changed, &k->hold_lock);
        mutex_unlock(&k->hold_lock);
        atomic_store(&v->in_kernel, true);
    }
}

void kvm_hold(struct kvm *k)
{
    mutex_lock(&k->hold_lock);
    atomic_store(&k->held, true);
    for (size_t i = 0; i < k->vcpus.len; i++)
        kvm_vcpu_kick(k->accel, kvm_env(k->vcpus.data[i]));
    for (size_t i = 0; i < k->vcpus.len; i++)
        while (atomic_load(&k->vcpus.data[i]->in_kernel))
            pthread_cond_wait(&k->hold_changed, &k->hold_lock);
    mutex_unlock(&k->hold_lock);
}

void kvm_release(struct kvm *k)
{
    mutex_lock(&k->hold_lock);
    atomic_store(&k->held, false);
    pthread_cond_broadcast(&k->hold_changed);
    mutex_unlock(&k->hold_lock);
}

// One entry. True: an exit is to be handled.
static bool enter(struct kvm_vcpu *v)
{
    wait_for_release(v);
    int r = ioctl(v->fd, KVM_RUN, 0);
    int error = r ? errno : 0;
    leave(v);
    v->unfinished = false;
    v->stale = true;
    if (!r)
        return true;
    kvm_count(v, KVM_COUNT_KICK);
    if (error == EFAULT && v->run->exit_reason == KVM_EXIT_DIRTY_RING_FULL)
        return true;
    if (error != EINTR && error != EAGAIN)
        kvm_vcpu_failed(v, true, "KVM_RUN: %s", strerror(error));
    return false;
}

// An access that was answered changes registers only at the next entry: one that comes straight
// back makes the state exact.
static enum env_leave finish_access(struct kvm_vcpu *v)
{
    enum env_leave why = LEAVE_AGAIN;
    while (v->unfinished && why == LEAVE_AGAIN && !v->broken) {
        __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
        if (enter(v))
            why = handle_exit(v);
    }
    return why;
}

enum env_leave kvm_vcpu_run(struct accel *a, struct env *e)
{
    struct kvm_vcpu *v = kvm_vcpu_of(e);
    struct err err = {0};
    v->broken = false;
    if (!v->stale && kvm_arch_push(v, &err))
        return kvm_vcpu_failed(v, true, "%s", err.msg);
    kvm_debug_update(v);
    for (;;) {
        if (__atomic_load_n(&v->run->immediate_exit, __ATOMIC_SEQ_CST))
            __atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
        if (atomic_load(&e->interrupt)) {
            enum env_leave why = finish_access(v);
            return why == LEAVE_AGAIN ? LEAVE_INTERRUPT : why;
        }
        if (enter(v)) {
            enum env_leave why = handle_exit(v);
            if (why != LEAVE_AGAIN)
                return why;
        }
        if (v->broken)
            return LEAVE_STOP;
    }
}

void kvm_vcpu_sync(struct accel *a, struct env *e)
{
    struct kvm_vcpu *v = kvm_vcpu_of(e);
    if (!v->stale)
        return;
    kvm_arch_pull(v);
    v->stale = false;
}
