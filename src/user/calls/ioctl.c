// ioctl: a table says what the argument is. Linux's request numbers are the same for every
// architecture that uses the generic ones, as all guests and the host here do; a request that
// carries its size and direction in its number needs no line of its own, unless its structure
// holds pointers.
#include "user/calls.h"

#include "base/log.h"

#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>

enum ioctl_kind { IOCTL_VALUE, IOCTL_MEMORY, IOCTL_IFCONF, IOCTL_REFUSED };

static const struct ioctl {
    uint32_t request;
    enum ioctl_kind kind;
} ioctls[] = {
#define IOCTL(name, request, kind) {request, IOCTL_##kind},
#include "user/calls/ioctls.def"
#undef IOCTL
};

// struct ifconf holds a pointer.
static int64_t interfaces(struct thread *t, const uint64_t *a)
{
    struct {
        int32_t len, pad;
        uint64_t buf;
    } g;
    if (!guest_read(t, a[2], &g, sizeof g))
        return -EFAULT;
    struct ifconf c = {.ifc_len = g.len};
    c.ifc_buf = guest_ptr(t, g.buf);
    int64_t r = CALL_HOST(t, ioctl, a[0], a[1], (uint64_t)(uintptr_t)&c);
    g.len = c.ifc_len;
    return r < 0 ? r : guest_write(t, a[2], &g, sizeof g) ? 0 : -EFAULT;
}

int64_t sys_ioctl(struct thread *t, const uint64_t *a)
{
    uint32_t request = (uint32_t)a[1];
    enum ioctl_kind kind = _IOC_DIR(request) == _IOC_NONE ? IOCTL_REFUSED : IOCTL_MEMORY;
    for (unsigned i = 0; i < ARRAY_SIZE(ioctls); i++)
        if (ioctls[i].request == request)
            kind = ioctls[i].kind;
    switch (kind) {
    case IOCTL_VALUE:
        return CALL_HOST(t, ioctl, a[0], request, a[2]);
    case IOCTL_MEMORY:
        return CALL_HOST(t, ioctl, a[0], request, call_ptr(t, a[2]));
    case IOCTL_IFCONF:
        return interfaces(t, a);
    default:
        if (log_on(LOG_UNIMP))
            log_debug("ioctl 0x%08x is not known", request);
        return -ENOTTY;
    }
}
