// The host's structures that calls/layouts.def describes, and room for any one of them.
#pragma once

#include <linux/filter.h>
#include <linux/hdreg.h>
#include <mqueue.h>
#include <net/if.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/vfs.h>

// Those that the C library has otherwise, or not at all, as the kernel has them.
struct host_flock { // without O_LARGEFILE's
    short type, whence;
    long start, len;
    int pid;
};
struct host_message {
    long type;
};
struct host_robust_list {
    uint64_t next;
    int64_t offset;
    uint64_t pending;
};
struct host_sigevent {
    uint64_t value;
    int signo, notify, tid, pad[11];
};
struct host_sigset_arg { // of pselect6
    uint64_t set, size;
};
struct host_stack {
    uint64_t sp;
    int flags;
    uint64_t size;
};
struct host_mq_attr {
    long flags, maxmsg, msgsize, curmsgs, reserved[4];
};
struct host_word {
    unsigned long value;
};

union layout_host {
#define LAYOUT(name, type) type name;
#define FIELD(...)
#define GAP(...)
#include "user/calls/layouts.def"
#undef LAYOUT
#undef FIELD
#undef GAP
};
