// Sockets: messages and filters, whose structures hold pointers. Addresses, options and control
// messages have the host's layout.
#include "user/calls.h"

#include <linux/filter.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

// struct msghdr of the guest, 64-bit.
struct guest_msg {
    uint64_t name;
    uint32_t name_len, pad;
    uint64_t iov, iov_len, control, control_len;
    uint32_t flags, pad2;
};
struct guest_mmsg {
    struct guest_msg msg;
    uint32_t len, pad;
};

static int64_t to_host(struct thread *t, const struct guest_msg *g, struct msghdr *m)
{
    struct iovec *v;
    int64_t r = g->iov_len > IOV_LIMIT ? -EMSGSIZE : iov_read(t, g->iov, g->iov_len, &v);
    if (r)
        return r;
    *m = (struct msghdr){.msg_name = guest_ptr(t, g->name),
                         .msg_namelen = g->name_len,
                         .msg_iov = v,
                         .msg_iovlen = g->iov_len,
                         .msg_control = guest_ptr(t, g->control),
                         .msg_controllen = g->control_len,
                         .msg_flags = (int)g->flags};
    return 0;
}

static int64_t message(struct thread *t, long nr, int fd, uint64_t addr, int flags, bool receives)
{
    struct guest_msg g;
    struct msghdr m;
    if (!guest_read(t, addr, &g, sizeof g))
        return -EFAULT;
    int64_t r = to_host(t, &g, &m);
    if (r)
        return r;
    const uint64_t args[6] = {(uint64_t)fd, (uint64_t)(uintptr_t)&m, (uint64_t)flags};
    r = host_call(nr, args, &t->captured);
    free(m.msg_iov);
    if (r >= 0 && receives) {
        g.name_len = m.msg_namelen;
        g.control_len = m.msg_controllen;
        g.flags = (uint32_t)m.msg_flags;
        if (!guest_write(t, addr, &g, sizeof g))
            return -EFAULT;
    }
    return r;
}

int64_t sys_sendmsg(struct thread *t, const uint64_t *a)
{
    return message(t, SYS_sendmsg, (int)a[0], a[1], (int)a[2], false);
}

int64_t sys_recvmsg(struct thread *t, const uint64_t *a)
{
    return message(t, SYS_recvmsg, (int)a[0], a[1], (int)a[2], true);
}

// One by one: what was done so far is the result when a later one fails.
static int64_t messages(struct thread *t, const uint64_t *a, bool receives)
{
    int flags = (int)a[3];
    uint64_t n = MIN(a[2] & 0xffffffff, (uint64_t)IOV_LIMIT);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t at = a[1] + i * sizeof(struct guest_mmsg);
        int64_t r = message(t, receives ? SYS_recvmsg : SYS_sendmsg, (int)a[0], at,
                            flags & ~MSG_WAITFORONE, receives);
        if (r < 0)
            return i ? (int64_t)i : r;
        if (!guest_write_u32(t, at + offsetof(struct guest_mmsg, len), (uint32_t)r))
            return -EFAULT;
        if (flags & MSG_WAITFORONE)
            flags |= MSG_DONTWAIT;
    }
    return (int64_t)n;
}

int64_t sys_sendmmsg(struct thread *t, const uint64_t *a)
{
    return messages(t, a, false);
}

int64_t sys_recvmmsg(struct thread *t, const uint64_t *a)
{
    return messages(t, a, true);
}

int64_t sys_setsockopt(struct thread *t, const uint64_t *a)
{
    if ((int)a[1] == SOL_SOCKET &&
        ((int)a[2] == SO_ATTACH_FILTER || (int)a[2] == SO_ATTACH_REUSEPORT_CBPF)) {
        struct sock_fprog p;
        if (a[4] < sizeof p)
            return -EINVAL;
        if (!guest_read(t, a[3], &p, sizeof p))
            return -EFAULT;
        p.filter = guest_ptr(t, (uint64_t)(uintptr_t)p.filter);
        return CALL_HOST(t, setsockopt, a[0], a[1], a[2], (uint64_t)(uintptr_t)&p, sizeof p);
    }
    return CALL_HOST(t, setsockopt, a[0], a[1], a[2], call_ptr(t, a[3]), a[4]);
}
