// The process of a vfork child. Such a child runs on its parent's memory, and with it on the
// parent's emulator, but anybody may kill it at any instruction. So its process does none of the
// emulator's work: it is a proxy that makes system calls to order, one after the other. The child's
// code is run, and everything that belongs to the emulator is changed, by the parent's thread,
// which could do nothing else meanwhile. Whenever the proxy dies, the parent's thread is between
// two of its own instructions, and what it holds it also lets go.
#pragma once

#include "user/user.h"

struct proxy;

// For a thread that becomes a child of vfork, in the process it is so far, with all signals
// blocked. `flags` go to clone; the child's signal mask is `mask`. NULL with *error, a negative
// errno.
struct proxy *proxy_start(struct thread *t, uint64_t flags, int exit_signal, uint64_t mask,
                          int *pidfd, int64_t *error);
void proxy_free(struct proxy *p); // that has gone
int proxy_pid(const struct proxy *p);
// It has ended or become another program, and nothing can be ordered any more.
bool proxy_gone(struct proxy *p);
// As host_call and host_do have it (`captured` NULL: nothing stops it), or HOST_GONE.
int64_t proxy_call(struct proxy *p, long nr, const uint64_t a[6], _Atomic int *captured);
// The proxy makes a process by `fork`, which says 0 in the new one; there this, too, returns 0,
// with a copy of the calling thread's stack and no more a proxy.
int64_t proxy_fork(struct proxy *p, long (*fork)(const struct clone_request *r, int *pidfd),
                   const struct clone_request *r, int *pidfd);
// What PR_SET_PDEATHSIG is for the child; the proxy itself dies with its parent.
int64_t proxy_set_death_signal(struct proxy *p, uint64_t sig);
int proxy_death_signal(const struct proxy *p);
struct own_fds *proxy_fds(struct proxy *p); // as the child has them
// For struct mm: a child's descriptor is the proxy's. At an address of the caller's choice, since
// nobody would know the proxy's when it dies.
int64_t proxy_map_file(uint64_t len, int prot, int flags, int fd, uint64_t off, void **ready);
// Is this signal the reminder to look whether the proxy has gone? Has it, then the CPU leaves
// translated code. For the handler of faults.
bool proxy_reminds(const siginfo_t *info);
