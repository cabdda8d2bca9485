// Sockets: messages and filters, whose structures hold pointers. Addresses and most options have
// the host's layout.
#include "user/calls.h"

#include <linux/filter.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

// ---- control messages: a header with a size_t in it, data, and padding to a long ----

static size_t control_round(const struct thread *t, size_t n)
{
    size_t a = t->u->abi->data.long_size;
    return (n + a - 1) / a * a;
}

// Data of times is longs in the messages that old programs ask for.
static enum layout_id control_data(const struct cmsghdr *c, size_t n)
{
    enum { TIMESTAMP = 29 };
    bool time = c->cmsg_level == SOL_SOCKET && c->cmsg_type == TIMESTAMP;
    return time && n >= sizeof(struct timeval) ? LAYOUT_timeval : LAYOUTS;
}

// The guest's messages in the host's form; 0 or a negative errno.
static int64_t control_to_host(struct thread *t, uint64_t addr, uint64_t len, struct msghdr *m)
{
    size_t head = layout_size(t, LAYOUT_cmsghdr), used = 0;
    for (uint64_t at = 0; len - at >= head && at < len;) {
        struct cmsghdr c;
        if (!layout_read(t, LAYOUT_cmsghdr, addr + at, &c))
            return -EFAULT;
        if (c.cmsg_len < head || c.cmsg_len > len - at)
            return -EINVAL;
        size_t n = c.cmsg_len - head;
        if (used + CMSG_SPACE(n) > m->msg_controllen)
            return -ENOBUFS;
        struct cmsghdr *out = (struct cmsghdr *)((uint8_t *)m->msg_control + used);
        *out = (struct cmsghdr){CMSG_LEN(n), c.cmsg_level, c.cmsg_type};
        if (!guest_read(t, addr + at + head, CMSG_DATA(out), n))
            return -EFAULT;
        used += CMSG_SPACE(n);
        at += control_round(t, c.cmsg_len);
    }
    m->msg_controllen = used;
    return 0;
}

// And back, as many as there is room for; the length goes to m.
static int64_t control_to_guest(struct thread *t, uint64_t addr, uint64_t len, struct msghdr *m)
{
    size_t head = layout_size(t, LAYOUT_cmsghdr), at = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        size_t n = c->cmsg_len - CMSG_LEN(0);
        uint8_t data[LAYOUT_MOST];
        enum layout_id id = control_data(c, n);
        const uint8_t *from = CMSG_DATA(c);
        if (id != LAYOUTS) {
            layout_pack(t->u, id, data, from);
            from = data;
            n = layout_size(t, id);
        }
        if (len - at < head + n) {
            m->msg_flags |= MSG_CTRUNC;
            break;
        }
        struct cmsghdr out = {head + n, c->cmsg_level, c->cmsg_type};
        if (!layout_write(t, LAYOUT_cmsghdr, addr + at, &out) ||
            !guest_write(t, addr + at + head, from, n))
            return -EFAULT;
        at = MIN(at + control_round(t, head + n), (size_t)len);
    }
    m->msg_controllen = at;
    return 0;
}

// ---- messages ----

// Room for the host's form of what takes n bytes in the guest's: headers grow.
static size_t control_room(const struct thread *t, uint64_t n)
{
    return n / layout_size(t, LAYOUT_cmsghdr) * sizeof(struct cmsghdr) + n + CMSG_SPACE(0);
}

static int64_t convert_control(struct thread *t, const struct msghdr *g, struct msghdr *m,
                               bool receives)
{
    enum { MOST = 1 << 20 };
    if (layout_same(t, LAYOUT_cmsghdr) || !g->msg_control || !g->msg_controllen)
        return 0;
    if (g->msg_controllen > MOST)
        return -ENOBUFS;
    m->msg_controllen = control_room(t, g->msg_controllen);
    m->msg_control = xalloc(m->msg_controllen);
    uint64_t at = (uint64_t)(uintptr_t)g->msg_control;
    return receives ? 0 : control_to_host(t, at, g->msg_controllen, m);
}

static int64_t to_host(struct thread *t, const struct msghdr *g, struct msghdr *m)
{
    struct iovec *v;
    int64_t r = g->msg_iovlen > IOV_LIMIT
                    ? -EMSGSIZE
                    : iov_read(t, (uint64_t)(uintptr_t)g->msg_iov, g->msg_iovlen, &v);
    if (r)
        return r;
    *m = *g;
    m->msg_name = guest_ptr(t, (uint64_t)(uintptr_t)g->msg_name);
    m->msg_iov = v;
    m->msg_control = guest_ptr(t, (uint64_t)(uintptr_t)g->msg_control);
    return 0;
}

static int64_t message(struct thread *t, long nr, int fd, uint64_t addr, int flags, bool receives)
{
    struct msghdr g, m; // g: with the guest's addresses
    if (!layout_read(t, LAYOUT_msghdr, addr, &g))
        return -EFAULT;
    int64_t r = to_host(t, &g, &m);
    if (r)
        return r;
    uint64_t control = (uint64_t)(uintptr_t)g.msg_control, control_len = g.msg_controllen;
    void *passed = m.msg_control;
    r = convert_control(t, &g, &m, receives);
    bool converted = m.msg_control != passed;
    const uint64_t args[6] = {(uint64_t)fd, (uint64_t)(uintptr_t)&m, (uint64_t)flags};
    if (!r)
        r = call_host(t, nr, args);
    if (r >= 0 && receives) {
        int64_t back = converted ? control_to_guest(t, control, control_len, &m) : 0;
        g.msg_namelen = m.msg_namelen;
        g.msg_controllen = m.msg_controllen;
        g.msg_flags = m.msg_flags;
        if (back || !layout_write(t, LAYOUT_msghdr, addr, &g))
            r = -EFAULT;
    }
    if (converted)
        free(m.msg_control);
    free(m.msg_iov);
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
    size_t len_at = layout_size(t, LAYOUT_msghdr), size = control_round(t, len_at + 4);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t at = a[1] + i * size; // struct mmsghdr
        int64_t r = message(t, receives ? SYS_recvmsg : SYS_sendmsg, (int)a[0], at,
                            flags & ~MSG_WAITFORONE, receives);
        if (r < 0)
            return i ? (int64_t)i : r;
        if (!guest_write_u32(t, at + len_at, (uint32_t)r))
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

// ---- options ----

static bool is_timeout(const uint64_t *a)
{
    return (int)a[1] == SOL_SOCKET && ((int)a[2] == SO_RCVTIMEO || (int)a[2] == SO_SNDTIMEO);
}

static bool is_filter(const uint64_t *a)
{
    return (int)a[1] == SOL_SOCKET &&
           ((int)a[2] == SO_ATTACH_FILTER || (int)a[2] == SO_ATTACH_REUSEPORT_CBPF);
}

int64_t sys_setsockopt(struct thread *t, const uint64_t *a)
{
    union {
        struct sock_fprog filter;
        struct timeval time;
    } v;
    bool filter = is_filter(a);
    enum layout_id id = filter ? LAYOUT_sock_fprog : LAYOUT_timeval;
    if (!filter && (!is_timeout(a) || layout_same(t, LAYOUT_timeval)))
        return CALL_HOST(t, setsockopt, a[0], a[1], a[2], call_ptr(t, a[3]), a[4]);
    if (a[4] < layout_size(t, id))
        return -EINVAL;
    if (!layout_read(t, id, a[3], &v))
        return -EFAULT;
    if (filter)
        v.filter.filter = guest_ptr(t, (uint64_t)(uintptr_t)v.filter.filter);
    return CALL_HOST(t, setsockopt, a[0], a[1], a[2], (uint64_t)(uintptr_t)&v,
                     filter ? sizeof v.filter : sizeof v.time);
}

int64_t sys_getsockopt(struct thread *t, const uint64_t *a)
{
    struct timeval v;
    socklen_t size = sizeof v;
    uint32_t room;
    if (!is_timeout(a) || layout_same(t, LAYOUT_timeval))
        return CALL_HOST(t, getsockopt, a[0], a[1], a[2], call_ptr(t, a[3]), call_ptr(t, a[4]));
    if (!guest_read(t, a[4], &room, sizeof room))
        return -EFAULT;
    if (room < layout_size(t, LAYOUT_timeval))
        return -EINVAL;
    int64_t r = CALL_HOST(t, getsockopt, a[0], a[1], a[2], (uint64_t)(uintptr_t)&v,
                          (uint64_t)(uintptr_t)&size);
    if (r < 0)
        return r;
    size = (socklen_t)layout_size(t, LAYOUT_timeval);
    return layout_write(t, LAYOUT_timeval, a[3], &v) && guest_write_u32(t, a[4], size) ? 0
                                                                                       : -EFAULT;
}
