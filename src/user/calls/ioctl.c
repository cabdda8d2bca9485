// ioctl: a table says what the argument is. Linux's request numbers are the same for every
// architecture that uses the generic ones, as all guests and the host here do; a request that
// carries its size and direction in its number needs no line of its own, unless its structure
// holds longs or pointers.
#include "user/calls.h"

#include "base/log.h"
#include "user/abi/layout_host.h"

#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>

// SIZED: the number holds the size of a long, which the argument is not.
enum { VALUE, MEMORY, SIZED, IFREQ, IFCONF, REFUSED, STRUCT = K_OUT };

static const struct ioctl {
    uint32_t request; // the host's
    uint8_t kind;     // one of these, or K_OUT | enum layout_id
} ioctls[] = {
#define OUT(x)                     (K_OUT | LAYOUT_##x)
#define IOCTL(name, request, kind) {request, kind},
#include "user/calls/ioctls.def"
#undef IOCTL
#undef OUT
};

// struct ifreq ends with a union, whose largest member has two longs.
static int64_t interface(struct thread *t, const uint64_t *a)
{
    struct ifreq r = {0};
    size_t n = offsetof(struct ifreq, ifr_ifru) + 2u * t->u->abi->data.long_size + 8;
    if (n == sizeof r)
        return CALL_HOST(t, ioctl, a[0], a[1], call_ptr(t, a[2]));
    if (!guest_read(t, a[2], &r, n))
        return -EFAULT;
    int64_t e = CALL_HOST(t, ioctl, a[0], a[1], (uint64_t)(uintptr_t)&r);
    return e >= 0 && !guest_write(t, a[2], &r, n) ? -EFAULT : e;
}

// struct ifconf holds a pointer to an array of them.
static int64_t interfaces(struct thread *t, const uint64_t *a)
{
    enum { MOST = 1024 };
    size_t size = offsetof(struct ifreq, ifr_ifru) + 2u * t->u->abi->data.long_size + 8;
    struct ifconf c;
    if (!layout_read(t, LAYOUT_ifconf, a[2], &c))
        return -EFAULT;
    uint64_t at = (uint64_t)(uintptr_t)c.ifc_buf;
    size_t n = MIN((size_t)MAX(c.ifc_len, 0) / size, (size_t)MOST);
    struct ifreq *list = xcalloc(n, sizeof *list);
    c.ifc_len = (int)(n * sizeof *list);
    c.ifc_req = at ? list : NULL;
    int64_t r = CALL_HOST(t, ioctl, a[0], a[1], (uint64_t)(uintptr_t)&c);
    n = (size_t)c.ifc_len / sizeof *list;
    for (size_t i = 0; r >= 0 && at && i < n; i++)
        if (!guest_write(t, at + i * size, &list[i], size))
            r = -EFAULT;
    free(list);
    c.ifc_len = (int)(n * size);
    c.ifc_buf = (char *)(uintptr_t)at;
    return r >= 0 && !layout_write(t, LAYOUT_ifconf, a[2], &c) ? -EFAULT : r;
}

static int64_t structure(struct thread *t, const uint64_t *a, enum layout_id id)
{
    union layout_host s;
    if (layout_same(t, id))
        return CALL_HOST(t, ioctl, a[0], a[1], call_ptr(t, a[2]));
    memset(&s, 0, sizeof s);
    int64_t r = CALL_HOST(t, ioctl, a[0], a[1], (uint64_t)(uintptr_t)&s);
    return r >= 0 && !layout_write(t, id, a[2], &s) ? -EFAULT : r;
}

// The number as the guest has it.
static uint32_t guest_request(const struct thread *t, const struct ioctl *i)
{
    uint32_t size = (uint32_t)t->u->abi->data.long_size << _IOC_SIZESHIFT;
    return i->kind == SIZED ? (i->request & ~IOCSIZE_MASK) | size : i->request;
}

int64_t sys_ioctl(struct thread *t, const uint64_t *a)
{
    uint32_t request = (uint32_t)a[1];
    uint8_t kind = _IOC_DIR(request) == _IOC_NONE ? REFUSED : MEMORY;
    for (unsigned i = 0; i < ARRAY_SIZE(ioctls); i++)
        if (guest_request(t, &ioctls[i]) == request) {
            request = ioctls[i].request;
            kind = ioctls[i].kind;
            break;
        }
    const uint64_t args[3] = {a[0], request, a[2]};
    if (kind & STRUCT)
        return structure(t, args, kind & K_LAYOUT);
    switch (kind) {
    case VALUE:
        return CALL_HOST(t, ioctl, a[0], request, a[2]);
    case MEMORY:
    case SIZED:
        return CALL_HOST(t, ioctl, a[0], request, call_ptr(t, a[2]));
    case IFREQ:
        return interface(t, args);
    case IFCONF:
        return interfaces(t, args);
    default:
        if (log_on(LOG_UNIMP))
            log_debug("ioctl 0x%08x is not known", request);
        return -ENOTTY;
    }
}
