// Doorbells by ioeventfd: the kernel turns a guest's write into a signal on a descriptor that the
// doorbell's loop watches, so a kick costs the vCPU no way out of the kernel. The kernel is told on
// the thread that made the change; the loop takes the descriptor up, or lets go of it, in work of
// its own.
//
// A guest that rings again and again for nothing would keep the loop from all its other work (and
// its own vCPU slow, as each ring wakes a thread): such a bell is listened to only now and then,
// until there was something to do once more.
#include "accel/kvm/kvm.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { IDLE_RINGS = 16, REST_NS = 100000 };

static int assign(struct kvm_bell *b, bool on)
{
    const struct doorbell *d = &b->spec;
    struct kvm_ioeventfd io = {
        .datamatch = d->value,
        .addr = b->at,
        .len = kvm_has(b->kvm, KVM_CAP_IOEVENTFD_ANY_LENGTH) ? d->size : MAX(d->size, 2u),
        .fd = b->fd,
        .flags =
            (d->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0u) | (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
    };
    return kvm_ioctl(b->kvm->vm, KVM_IOEVENTFD, &io);
}

// Whether there was anything to do.
static bool ring(struct kvm_bell *b)
{
    return __atomic_load_n(&b->bell, __ATOMIC_ACQUIRE) && b->spec.ring(b->spec.opaque);
}

static bool rang_meanwhile(struct kvm_bell *b)
{
    uint64_t n;
    return read(b->fd, &n, sizeof n) == sizeof n;
}

static void rest(struct kvm_bell *b)
{
    loop_timer_set(&b->again, host_monotonic_ns() + REST_NS);
}

// The descriptor is watched for edges, so nobody needs to read it between two rings.
static void ready(void *opaque, unsigned events)
{
    struct kvm_bell *b = opaque;
    b->idle = ring(b) ? 0 : b->idle + 1;
    if (b->idle < IDLE_RINGS)
        return;
    loop_fd_set(b->watch, 0);
    if (rang_meanwhile(b))
        ring(b); // one that came just before
    rest(b);
}

static void listen_again(void *opaque)
{
    struct kvm_bell *b = opaque;
    if (rang_meanwhile(b) && !ring(b)) {
        rest(b);
        return;
    }
    b->idle = 0;
    loop_fd_set(b->watch, LOOP_IN | LOOP_EDGE);
}

// On the doorbell's loop.
static void attend(void *opaque)
{
    struct kvm_bell *b = opaque;
    if (__atomic_load_n(&b->bell, __ATOMIC_ACQUIRE)) {
        if (!b->watch)
            b->watch = loop_fd_add(b->spec.loop, b->fd, LOOP_IN | LOOP_EDGE, ready, b);
        return;
    }
    loop_timer_cancel(&b->again);
    loop_fd_del(b->watch);
    close(b->fd);
    free(b);
}

static void take_back(struct kvm_bell *b)
{
    assign(b, false);
    list_remove(&b->link);
    __atomic_store_n(&b->bell, NULL, __ATOMIC_RELEASE);
    if (!loop_is_current(b->spec.loop)) {
        loop_defer(&b->work);
        return;
    }
    loop_work_cancel(&b->work);
    attend(b);
}

static void offer(void *opaque, gpa_t at, const struct doorbell *d)
{
    struct kvm *k = opaque;
    struct kvm_bell *b;
    list_for_each(b, &k->bells, link) if (b->bell == d && b->at == at)
    {
        b->seen = true;
        return;
    }
    b = xalloc(sizeof *b);
    *b = (struct kvm_bell){.kvm = k, .bell = d, .at = at, .spec = *d, .seen = true};
    b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (b->fd < 0 || assign(b, true)) { // the device's own register serves it, then
        if (b->fd >= 0)
            close(b->fd);
        free(b);
        return;
    }
    loop_work_init(&b->work, d->loop, attend, b);
    loop_timer_init(&b->again, d->loop, NULL, listen_again, b);
    list_append(&k->bells, &b->link);
    loop_defer(&b->work);
}

void kvm_bells_update(struct kvm *k)
{
    struct kvm_bell *b, *next;
    if (!k->vcpus.len || !kvm_has(k, KVM_CAP_IOEVENTFD))
        return;
    mutex_lock(&k->lock);
    list_for_each(b, &k->bells, link) b->seen = false;
    doorbell_each(k->accel->memory, offer, k);
    list_for_each_safe(b, next, &k->bells, link) if (!b->seen) take_back(b);
    mutex_unlock(&k->lock);
}

// The loops have ended their work: devices are gone.
void kvm_bells_free(struct kvm *k)
{
    struct kvm_bell *b, *next;
    list_for_each_safe(b, next, &k->bells, link) take_back(b);
}
