// Linux: termination signals through a signalfd.
#include "base/signals.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct signals {
    int fd;
    struct loop_fd *watch;
    void (*asked)(void *opaque, int signal);
    void *opaque;
};

static void ready(void *opaque, unsigned events)
{
    struct signals *s = opaque;
    struct signalfd_siginfo info;
    if (read(s->fd, &info, sizeof info) == sizeof info)
        s->asked(s->opaque, (int)info.ssi_signo);
}

struct signals *signals_watch(struct loop *l, void (*asked)(void *opaque, int signal), void *opaque)
{
    struct signals *s = xalloc(sizeof *s);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    s->asked = asked;
    s->opaque = opaque;
    s->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    BUG_ON(s->fd < 0);
    s->watch = loop_fd_add(l, s->fd, LOOP_IN, ready, s);
    return s;
}

void signals_unwatch(struct signals *s)
{
    if (!s)
        return;
    loop_fd_del(s->watch);
    close(s->fd);
    free(s);
}
