// Linux: epoll with an eventfd for wake-ups and a timerfd for the loop's earliest timer (its
// nanoseconds matter to guests; epoll's own timeout has milliseconds).
#include "base/os/os.h"
#include "base/log.h"
#include "base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct os_poll {
    int epoll, wake, timer;
};

void os_thread_set_name(const char *name)
{
    pthread_setname_np(pthread_self(), name);
}

int os_thread_id(void)
{
    return (int)syscall(SYS_gettid);
}

// Descriptors that a loop cannot do without.
static int need(int fd, const char *what)
{
    if (fd < 0) {
        log_error("cannot create %s: %s (see ulimit -n)", what, strerror(errno));
        exit(1);
    }
    return fd;
}

static uint32_t to_epoll(unsigned events)
{
    return (events & LOOP_IN ? EPOLLIN : 0u) | (events & LOOP_OUT ? EPOLLOUT : 0u) |
           (events & LOOP_EDGE ? EPOLLET : 0u);
}

struct os_poll *os_poll_new(void)
{
    struct os_poll *p = xalloc(sizeof *p);
    p->epoll = need(epoll_create1(EPOLL_CLOEXEC), "an epoll descriptor");
    p->wake = need(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "an event descriptor");
    p->timer = need(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "a timer");
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = &p->wake};
    struct epoll_event timer = {.events = EPOLLIN, .data.ptr = &p->timer};
    need(epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->wake, &wake), "an event registration");
    need(epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->timer, &timer), "a timer registration");
    return p;
}

void os_poll_free(struct os_poll *p)
{
    close(p->epoll);
    close(p->wake);
    close(p->timer);
    free(p);
}

bool os_poll_set(struct os_poll *p, int fd, unsigned old, unsigned events, void *tag)
{
    struct epoll_event ev = {.events = to_epoll(events), .data.ptr = tag};
    int op = !events ? EPOLL_CTL_DEL : !old ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (!events && !old)
        return true;
    if (!epoll_ctl(p->epoll, op, fd, &ev))
        return true;
    if (op == EPOLL_CTL_DEL) // closed by its owner before it was taken out: the kernel did it
        return true;
    if (errno == EPERM)
        return false;
    BUG_ON(errno == EBADF || errno == EEXIST || errno == ENOENT || errno == EINVAL);
    need(-1, "a descriptor's registration");
    return false;
}

void os_poll_wake(struct os_poll *p)
{
    uint64_t one = 1;
    if (write(p->wake, &one, sizeof one) < 0)
        BUG_ON(errno != EAGAIN); // full: it is awake
}

void os_poll_arm(struct os_poll *p, int64_t ns)
{
    struct itimerspec t = {0};
    if (ns != INT64_MAX) {
        ns = MAX(ns, (int64_t)1); // 0 would disarm
        t.it_value.tv_sec = ns / 1000000000;
        t.it_value.tv_nsec = ns % 1000000000;
    }
    BUG_ON(timerfd_settime(p->timer, TFD_TIMER_ABSTIME, &t, NULL));
}

int os_poll_wait(struct os_poll *p, struct os_event *out, int max, int timeout_ms, bool *timer)
{
    struct epoll_event ev[64];
    uint64_t count;
    int n = epoll_wait(p->epoll, ev, MIN(max, (int)ARRAY_SIZE(ev)), timeout_ms), used = 0;
    BUG_ON(n < 0 && errno != EINTR);
    *timer = false;
    for (int i = 0; i < n; i++) {
        if (ev[i].data.ptr == &p->wake) {
            (void)!read(p->wake, &count, sizeof count);
            continue;
        }
        if (ev[i].data.ptr == &p->timer) {
            *timer = read(p->timer, &count, sizeof count) == sizeof count;
            continue;
        }
        uint32_t e = ev[i].events;
        out[used++] = (struct os_event){
            .tag = ev[i].data.ptr,
            .events = (e & EPOLLIN ? LOOP_IN : 0) | (e & EPOLLOUT ? LOOP_OUT : 0) |
                      (e & EPOLLHUP ? LOOP_HUP : 0) | (e & EPOLLERR ? LOOP_ERR : 0),
        };
    }
    return used;
}
